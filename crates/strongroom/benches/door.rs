//! The figures of the front door: tags made durable, answers under light load, and what a page costs when there are many.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::{AccountId, BackupId, ClusterId, Tag, Timestamp};
use strongroom_store::control::backups::{self, Backup, Origin};
use strongroom_store::{Database, StoreError, WriteError, control};
use strongroom_wire::front::Protocol;

use super::kit::*;
use super::{figure, rate};

/// TagResource at 64 connections, and the slowest answers at four.
pub(super) fn tags_and_latency() {
    let dev = Dev::start();
    let clusters: Vec<_> = (0..64).map(|_| dev.api(SOURCE).create_cluster(None)).collect();
    for (protocol, name) in [(Protocol::AwsJson11, "JSON"), (Protocol::RpcV2Cbor, "CBOR")] {
        let tagged = rate(64, Duration::from_secs(5), |n| {
            let (mut api, id) = (Api::new(&dev.address, SOURCE, protocol), clusters[n].clone());
            let mut value = 0_u64;
            move || {
                value += 1;
                let tag_list = vec![Tag { key: "count".into(), value: value.to_string() }];
                api.call(Call::TagResource(TagResourceRequest { resource_id: id.as_str().into(), tag_list }));
            }
        });
        figure(&format!("TagResource, durable, {name}, 64 connections"), tagged, "/s", 5_000.0, false);
        let times = Mutex::new(Vec::new());
        rate(4, Duration::from_secs(5), |_| {
            let mut api = Api::new(&dev.address, SOURCE, protocol);
            let times = &times;
            move || {
                let begin = Instant::now();
                api.call(Call::DescribeClusters(DescribeClustersRequest {
                    max_results: Some(1),
                    ..Default::default()
                }));
                times.lock().unwrap().push(begin.elapsed());
            }
        });
        let mut times = times.into_inner().unwrap();
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100].as_secs_f64() * 1e3;
        figure(&format!("DescribeClusters, p99, {name}, 4 connections"), p99, "ms", 2.0, true);
    }
}

/// A page of backups out of a thousand and out of a million, for every filter.
pub(super) fn pages() {
    let few = page_costs(1_000);
    let many = page_costs(1_000_000);
    for ((name, few), (_, many)) in few.into_iter().zip(many) {
        println!("{:<52} {few:>7.2} {many:>7.2} ms", format!("page of 50 by {name}, of 1,000 and of 1,000,000"));
        figure(&format!("page by {name}, a million against a thousand"), many / few, "x", 1.5, true);
    }
}

const CLUSTERS: usize = 50;

fn id(prefix: &str, n: usize) -> String {
    let letter = |i: u32| char::from(b'a' + ((n / 26_usize.pow(i)) % 26) as u8);
    format!("{prefix}{}aaaaa", (0..6).map(letter).collect::<String>())
}

/// The median time of a page by each filter, in milliseconds.
fn page_costs(rows: usize) -> Vec<(&'static str, f64)> {
    let mut dev = Dev::start();
    dev.interrupt();
    seed(&dev, rows);
    dev.run();
    let filters: [(&str, Option<(&str, String)>); 6] = [
        ("nothing", None),
        ("backupIds", Some(("backupIds", id("backup-", rows / 2)))),
        ("sourceBackupIds", Some(("sourceBackupIds", id("backup-", rows / 2)))),
        ("clusterIds", Some(("clusterIds", id("cluster-", 7)))),
        ("states", Some(("states", "PENDING_DELETION".to_owned()))),
        ("neverExpires", Some(("neverExpires", "True".to_owned()))),
    ];
    let mut api = dev.api(SOURCE);
    let mut costs = Vec::new();
    for (name, filter) in filters {
        let filters = filter.map(|(name, value)| [(name.to_owned(), vec![value])].into_iter().collect());
        let input = DescribeBackupsRequest { filters, ..Default::default() };
        let mut times = Vec::new();
        for _ in 0..101 {
            let begin = Instant::now();
            api.call(Call::DescribeBackups(input.clone()));
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        costs.push((name, times[50]));
    }
    costs
}

/// Backups of nothing, of which each filter finds a page at least.
fn seed(dev: &Dev, rows: usize) {
    let path = dev.data().join(SOURCE).join("control.db");
    let database = Database::open(&path, &control::SCHEMA, "figures").unwrap();
    for first in (0..rows).step_by(20_000) {
        let batch: Vec<_> = (first..rows.min(first + 20_000)).map(backup).collect();
        let written = database.write_blocking(move |tx| batch.iter().try_for_each(|row| backups::insert(tx, row)));
        written.map_err(WriteError::<StoreError>::flatten).unwrap().into_inner();
    }
}

fn backup(n: usize) -> Backup {
    let copied = n.is_multiple_of(10);
    Backup {
        backup_id: BackupId::new(id("backup-", n)),
        account: AccountId::new("000000000000"),
        origin: if copied { Origin::Copy } else { Origin::Local },
        state: if n.is_multiple_of(17) { BackupState::PendingDeletion } else { BackupState::Ready },
        cluster_id: (!copied).then(|| ClusterId::new(id("cluster-", n % CLUSTERS % 20))),
        cause: (!copied).then(|| format!("daily:{n}")),
        source_backup_id: copied.then(|| BackupId::new(id("backup-", n))),
        source_cluster_id: copied.then(|| ClusterId::new(id("cluster-", n % CLUSTERS))),
        hsm_type: "hsm2m.medium".into(),
        create_ts: Timestamp::from_millis(1_700_000_000_000 + 1_000 * n as i64),
        never_expires: n.is_multiple_of(13),
        ..Backup::default()
    }
}
