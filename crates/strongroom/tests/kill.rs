//! Rounds of `kill -9` of either process at random moments under a load of copies. Clients repeat a call that got no answer
//! under the same invocation id, as SDKs do. In the end: no accepted copy is lost, none is there twice, every READY one was
//! opened, and a sample of them restores to a signature.

mod kit;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use kit::*;
use strongroom_client::Hsm;
use strongroom_link::hsm::Mechanism;
use strongroom_link::pkcs11::*;
use strongroom_model::BackupId;
use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_wire::front::Protocol;

/// Clients that copy at once.
const CLIENTS: usize = 6;

fn rounds() -> usize {
    std::env::var("STRONGROOM_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

/// Keys in the larger cluster: enough for a payload of several pieces.
const KEYS: usize = 3_500;

#[test]
fn no_copy_is_lost_or_doubled_by_any_kill() {
    let mut dev = Dev::start();
    let small = dev.cluster(SOURCE);
    generate_ec(&mut small.login(), "ec");
    let large = dev.cluster(SOURCE);
    let mut session = large.login();
    for n in 0..KEYS {
        generate_aes(&mut session, &format!("aes {n}"));
    }
    generate_ec(&mut session, "ec");
    let mut api = dev.api(SOURCE);
    let backups: Vec<_> = [&small, &large].iter().map(|cluster| api.fresh_backup(&cluster.id)).collect();

    let address = Arc::new(RwLock::new(dev.address.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (address, stop, accepted) = (address.clone(), stop.clone(), accepted.clone());
            // One client in three copies the larger backup.
            let backup_id = backups[usize::from(n % 3 == 0)].clone();
            thread::spawn(move || copy_until(&address, &stop, &accepted, n, &backup_id))
        })
        .collect();

    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    for round in 0..rounds() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(20 + (random >> 33) % 280));
        if round % 2 == 0 {
            dev.kill();
            dev.run();
            address.write().unwrap().clone_from(&dev.address);
        } else if let Some(pid) = dev.host_pid() {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
    stop.store(true, Ordering::SeqCst);
    let counts: Vec<HashMap<BackupId, usize>> = clients.into_iter().map(|c| c.join().unwrap()).collect();
    let expected = |id: &BackupId| counts.iter().filter_map(|c| c.get(id)).sum::<usize>();

    let mut api = dev.api(DESTINATION);
    settle(&dev);
    for backup_id in &backups {
        let arrived = api.backups(Some(("sourceBackupIds", backup_id.as_str())));
        let unready = arrived.iter().filter(|b| b.backup_state != Some(BackupState::Ready)).count();
        assert_eq!(unready, 0, "copies of {backup_id} that are not READY");
        assert_eq!(
            arrived.len(),
            expected(backup_id),
            "copies of {backup_id}, of {} accepted",
            accepted.load(Ordering::SeqCst)
        );
    }
    all_opened(&mut api);
    for (backup_id, cluster) in backups.iter().zip([&small, &large]) {
        let copy = ready_copies(&mut api, backup_id).remove(0);
        let restored = api.create_cluster(Some(&copy.backup_id));
        api.wait_cluster(&restored, ClusterState::Active);
        api.create_hsm(&restored, "a");
        let restored = TestCluster::new(&dev, DESTINATION, restored, cluster.ca.clone());
        let mut session = restored.login();
        let ec = find(&mut session, "ec");
        session.sign(ec, Mechanism::plain(CKM_ECDSA_SHA256), b"after the kills".to_vec()).unwrap();
    }
    report(&format!("{} rounds, {} copies, none lost, none doubled", rounds(), accepted.load(Ordering::SeqCst)));
}

/// Copies until told to stop; how many calls were answered with success, by backup. The last call is carried to its answer.
fn copy_until(
    address: &RwLock<String>,
    stop: &AtomicBool,
    accepted: &AtomicUsize,
    client: usize,
    backup_id: &BackupId,
) -> HashMap<BackupId, usize> {
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        let invocation = format!("client {client} call {count}");
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < until, "{invocation} has no answer");
            let mut api = Api::new(&address.read().unwrap().clone(), SOURCE, Protocol::AwsJson11);
            api.invocation_id = Some(invocation.clone());
            match api.send(Api::copy_call(backup_id, DESTINATION)) {
                Ok(Ok(_)) => break,
                Ok(Err(refusal)) if refusal.status >= 500 => {}
                Ok(Err(refusal)) => panic!("{invocation}: {refusal:?}"),
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(20));
        }
        count += 1;
        accepted.fetch_add(1, Ordering::SeqCst);
    }
    HashMap::from([(backup_id.clone(), count)])
}

/// Waits until no copy is under way.
fn settle(dev: &Dev) {
    let mut api = dev.api(SOURCE);
    wait("copies settled", || {
        let mut next_token = None;
        loop {
            let input = ListCopiesRequest { next_token: next_token.take(), ..Default::default() };
            let Reply::ListCopies(output) = api.call(Call::ListCopies(input)) else { panic!() };
            if output.copies.iter().any(|c| !c.state.is_settled()) {
                thread::sleep(Duration::from_millis(50));
                return None;
            }
            next_token = output.next_token;
            if next_token.is_none() {
                return Some(());
            }
        }
    });
}

fn all_opened(api: &mut Api) {
    let mut next_token = None;
    loop {
        let input = ListBackupContentsRequest { next_token: next_token.take(), ..Default::default() };
        let Reply::ListBackupContents(output) = api.call(Call::ListBackupContents(input)) else { panic!() };
        assert!(output.backups.iter().all(|b| b.opened_at.is_some()), "{:?}", output.backups);
        next_token = output.next_token;
        if next_token.is_none() {
            return;
        }
    }
}

/// For whoever runs it with `--nocapture`.
#[allow(clippy::print_stdout, reason = "the figure that this run is for")]
fn report(text: &str) {
    println!("{text}");
}
