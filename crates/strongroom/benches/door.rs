//! The figures of the front door: signed reads of few and of many clusters, tags made durable, answers under light load, and
//! what a page costs when there are many.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::{AccountId, BackupId, ClusterId, Operation, Tag, Timestamp, Value, table};
use strongroom_store::control::backups::{self, Backup, Origin};
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::{Database, StoreError, Tx, WriteError, control};
use strongroom_wire::front::Protocol;
use strongroom_wire::{cbor, json};

use super::kit::*;
use super::load::Load;
use super::{figure, rate};

const PROTOCOLS: [(Protocol, &str); 2] = [(Protocol::AwsJson11, "JSON"), (Protocol::RpcV2Cbor, "CBOR")];
const ACCOUNT: &str = "000000000000";
/// How often a rate is measured; the median counts, since a machine has other work at times.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

/// Signed DescribeClusters: of the only cluster and among ten thousand; the slowest answers at four connections; and, where
/// it is installed, moto.
pub(super) fn describe_clusters() {
    let (one, mut many) = (Dev::start(), Dev::start());
    let ids = [&one, &many].map(|dev| dev.cluster(SOURCE).id);
    many.interrupt();
    seed(&many, 10_000, cluster, clusters::insert);
    many.run();
    for (protocol, name) in PROTOCOLS {
        let load = |dev: &Dev, input| describe(&dev.address, protocol, input, 64);
        let [(rate, cpu)] = medians([(&one, load(&one, DescribeClustersRequest::default()))]);
        figure(&format!("DescribeClusters, {name}, 64 connections"), rate, "/s", 25_000.0, false);
        println!("{:<52} {cpu:>12.1} us", "  of the server's processor time for each");
        let by_id = |id: &ClusterId| {
            let filters = Some([("clusterIds".to_owned(), vec![id.as_str().to_owned()])].into_iter().collect());
            DescribeClustersRequest { filters, ..Default::default() }
        };
        let loads = [(&one, load(&one, by_id(&ids[0]))), (&many, load(&many, by_id(&ids[1])))];
        let [(few, _), (among_many, _)] = medians(loads);
        figure(&format!("one of 10,000 against the only one, {name}"), 100.0 * among_many / few, "%", 90.0, false);
        // This answer has a NextToken more, so that it costs a little more by itself.
        let newest = DescribeClustersRequest { max_results: Some(1), ..Default::default() };
        let [(rate, _)] = medians([(&many, load(&many, newest))]);
        figure(&format!("the newest of 10,000, {name}"), rate, "/s", 22_500.0, false);
        let p99 = describe(&one.address, protocol, DescribeClustersRequest::default(), 4).run(2 * ROUND).p99();
        figure(&format!("DescribeClusters, p99, {name}, 4 connections"), p99, "ms", 2.0, true);
    }
    moto();
}

fn describe(address: &str, protocol: Protocol, input: DescribeClustersRequest, connections: usize) -> Load {
    let operation = Operation::DescribeClusters;
    let shape = table::api().find(operation.input()).unwrap();
    let value: Value = Call::DescribeClusters(input).into_value();
    let body = match protocol {
        Protocol::AwsJson11 => json::encode(&value, table::api(), shape),
        Protocol::RpcV2Cbor => cbor::encode(&value, table::api(), shape),
    };
    Load { address: address.to_owned(), region: SOURCE, protocol, operation, body, connections }
}

/// The median rates, measured in turn so that all meet the same machine, and the server's processor time for each answer in
/// microseconds.
fn medians<const N: usize>(loads: [(&Dev, Load); N]) -> [(f64, f64); N] {
    let mut runs = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for ((dev, load), runs) in loads.iter().zip(&mut runs) {
            let before = cpu_micros(dev.pid());
            let rate = load.run(ROUND).rate;
            runs.push((rate, (cpu_micros(dev.pid()) - before) / (rate * ROUND.as_secs_f64())));
        }
    }
    runs.map(|mut runs| {
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        runs[ROUNDS / 2]
    })
}

/// The processor time that a process has had, which the kernel counts in hundredths of a second.
fn cpu_micros(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").expect("a name in brackets").1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<f64>().unwrap() * 1e4).sum()
}

/// moto's server under the same load, one cluster in it. It checks no signature and has no HSM.
fn moto() {
    let Ok(program) = std::env::var("STRONGROOM_MOTO") else {
        println!("moto is not installed here; make bench does that");
        return;
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Ended(command.spawn().unwrap());
    let address = format!("127.0.0.1:{port}");
    let until = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < until, "moto does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut api = Api::new(&address, SOURCE, Protocol::AwsJson11);
    let input = br#"{"HsmType":"hsm2m.medium","Mode":"FIPS","SubnetIds":["subnet-0123456789abcdef0"]}"#;
    let (status, _) = api.exchange(&api.request(Operation::CreateCluster, input)).unwrap();
    assert_eq!(status, 200, "moto makes a cluster");
    let calls = rate(4, 2 * ROUND, |_| {
        // It closes the connection after each answer.
        let mut api = Api::new(&address, SOURCE, Protocol::AwsJson11);
        move || {
            let (status, _) = api.exchange(&api.request(Operation::DescribeClusters, b"{}")).unwrap();
            assert_eq!(status, 200);
        }
    });
    println!("{:<52} {calls:>12.1} /s", "moto, DescribeClusters, JSON, 4 connections");
}

/// A process that ends with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// TagResource, durable, at 64 connections.
pub(super) fn tags() {
    let dev = Dev::start();
    let clusters: Vec<_> = (0..64).map(|_| dev.api(SOURCE).create_cluster(None)).collect();
    for (protocol, name) in PROTOCOLS {
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
    }
}

/// A page of backups out of a thousand and out of a million, for every filter, asked for in turn.
pub(super) fn pages() {
    let sizes = [1_000, 1_000_000];
    let devs = sizes.map(|rows| {
        let mut dev = Dev::start();
        dev.interrupt();
        seed(&dev, rows, backup, backups::insert);
        dev.run();
        dev
    });
    let mut apis = [&devs[0], &devs[1]].map(|dev| dev.api(SOURCE));
    let filters =
        [None, Some("backupIds"), Some("sourceBackupIds"), Some("clusterIds"), Some("states"), Some("neverExpires")];
    for filter in filters {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..10 {
            for ((api, rows), times) in apis.iter_mut().zip(sizes).zip(&mut times) {
                let filters = filter.map(|name| [(name.to_owned(), vec![found_by(name, rows)])].into_iter().collect());
                let input = DescribeBackupsRequest { filters, ..Default::default() };
                // Several in a row, since the first one after a pause waits for a processor.
                for _ in 0..50 {
                    let begin = Instant::now();
                    api.call(Call::DescribeBackups(input.clone()));
                    times.push(begin.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        let [few, many] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        let name = filter.unwrap_or("nothing");
        println!("{:<52} {few:>7.2} {many:>7.2} ms", format!("page of 50 by {name}, of 1,000 and of 1,000,000"));
        figure(&format!("page by {name}, a million against a thousand"), many / few, "x", 1.5, true);
    }
}

/// A value that a filter finds among so many rows.
fn found_by(filter: &str, rows: usize) -> String {
    match filter {
        "backupIds" | "sourceBackupIds" => id("backup-", rows / 2),
        "clusterIds" => id("cluster-", 7),
        "states" => "PENDING_DELETION".to_owned(),
        "neverExpires" => "True".to_owned(),
        other => unreachable!("{other}"),
    }
}

const CLUSTERS: usize = 50;

fn id(prefix: &str, n: usize) -> String {
    let letter = |i: u32| char::from(b'a' + ((n / 26_usize.pow(i)) % 26) as u8);
    format!("{prefix}{}aaaaa", (0..6).map(letter).collect::<String>())
}

/// Writes rows into the store of a `dev` that does not run.
fn seed<T: Send + 'static>(
    dev: &Dev,
    rows: usize,
    row: fn(usize) -> T,
    insert: fn(&mut dyn Tx, &T) -> Result<(), StoreError>,
) {
    let path = dev.data().join(SOURCE).join("control.db");
    let database = Database::open(&path, &control::SCHEMA, "figures").unwrap();
    for first in (0..rows).step_by(20_000) {
        let batch: Vec<_> = (first..rows.min(first + 20_000)).map(row).collect();
        let written = database.write_blocking(move |tx| batch.iter().try_for_each(|row| insert(tx, row)));
        written.map_err(WriteError::<StoreError>::flatten).unwrap().into_inner();
    }
}

/// A cluster that waits for its first HSM, older than any that is made now.
fn cluster(n: usize) -> Cluster {
    Cluster {
        cluster_id: ClusterId::new(id("cluster-", n)),
        account: AccountId::new(ACCOUNT),
        state: ClusterState::Uninitialized,
        hsm_type: "hsm2m.medium".into(),
        retention_days: 90,
        create_ts: Timestamp::from_millis(1_700_000_000_000 + 1_000 * n as i64),
        ..Cluster::default()
    }
}

/// A backup of nothing; each filter finds a page of them at least.
fn backup(n: usize) -> Backup {
    let copied = n.is_multiple_of(10);
    Backup {
        backup_id: BackupId::new(id("backup-", n)),
        account: AccountId::new(ACCOUNT),
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
