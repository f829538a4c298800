//! Memory under work that goes on: calls that read, change, copy, delete and are refused, over connections that come and go.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::{ClusterId, RegionName, Tag};
use strongroom_wire::front::Protocol;

use super::kit::*;
use super::{figure, pss_kib};

/// Calls after which a client opens a new connection.
const CALLS_PER_CONNECTION: usize = 500;
const WORKERS: usize = 6;

/// The memory of both processes late in the soak against that after its first fifth, when caches are full.
pub(super) fn memory() {
    let seconds = std::env::var("STRONGROOM_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600_u64);
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    generate_ec(&mut cluster.login(), "ec");
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let samples = thread::scope(|scope| {
        for n in 0..WORKERS {
            let (dev, id, stop, calls) = (&dev, &cluster.id, &stop, &calls);
            scope.spawn(move || work(n, dev, id, stop, calls));
        }
        let began = Instant::now();
        let mut samples = Vec::new();
        while began.elapsed().as_secs() < seconds {
            thread::sleep(Duration::from_secs(1));
            let pids = [Some(dev.pid()), dev.host_pid()];
            samples.push(pids.into_iter().flatten().map(pss_kib).sum::<f64>() / 1024.0);
        }
        stop.store(true, Ordering::Relaxed);
        samples
    });
    let fifth = (samples.len() / 5).max(1);
    let median = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let (early, late) = (median(&samples[fifth..2 * fifth]), median(&samples[samples.len() - fifth..]));
    println!("soak of {seconds} s, {} calls: {early:.1} MiB early, {late:.1} MiB late", calls.load(Ordering::Relaxed));
    figure("memory of both processes, late against early", 100.0 * late / early, "%", 105.0, true);
}

fn work(n: usize, dev: &Dev, id: &ClusterId, stop: &AtomicBool, calls: &AtomicUsize) {
    let protocol = if n.is_multiple_of(2) { Protocol::AwsJson11 } else { Protocol::RpcV2Cbor };
    while !stop.load(Ordering::Relaxed) {
        let (mut api, mut other) = (Api::new(&dev.address, SOURCE, protocol), dev.api(DESTINATION));
        for call in 0..CALLS_PER_CONNECTION {
            match call % 10 {
                0 => tag(&mut api, id, n, call),
                1 if n == 0 && call % 50 == 1 => copy(&mut api, &mut other),
                2 => drop(
                    api.try_call(Call::DeleteCluster(DeleteClusterRequest { cluster_id: id.clone() })).unwrap_err(),
                ),
                3 => drop(api.call(Call::DescribeBackups(Default::default()))),
                _ => drop(api.call(Call::DescribeClusters(Default::default()))),
            }
            calls.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

fn tag(api: &mut Api, id: &ClusterId, n: usize, value: usize) {
    let tag_list = vec![Tag { key: format!("worker-{n}"), value: value.to_string() }];
    api.call(Call::TagResource(TagResourceRequest { resource_id: id.as_str().into(), tag_list }));
}

/// Copies the newest backup and deletes the copy.
fn copy(api: &mut Api, other: &mut Api) {
    let states = || Some([("states".to_owned(), vec!["READY".to_owned()])].into_iter().collect());
    let input = DescribeBackupsRequest { filters: states(), ..Default::default() };
    let Reply::DescribeBackups(found) = api.call(Call::DescribeBackups(input.clone())) else { unreachable!() };
    let Some(backup) = found.backups.unwrap().pop() else { return };
    let input_of_copy = CopyBackupToRegionRequest {
        destination_region: RegionName::new(DESTINATION),
        backup_id: backup.backup_id,
        tag_list: None,
    };
    api.call(Call::CopyBackupToRegion(input_of_copy));
    let Reply::DescribeBackups(there) = other.call(Call::DescribeBackups(input)) else { unreachable!() };
    for backup in there.backups.unwrap().into_iter().filter(|b| b.backup_state == Some(BackupState::Ready)) {
        other.call(Call::DeleteBackup(DeleteBackupRequest { backup_id: backup.backup_id }));
    }
}
