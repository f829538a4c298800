//! The life of a cluster over two regions, from CreateCluster to the last byte deleted, without a fault and with one at
//! each crossing of a seam: every run must end in the same place and keep every invariant.

mod support;

use std::time::Duration;

use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::copy::CopyState;
use strongroom_model::time::{DAY, HOUR, MINUTE};
use strongroom_model::{BackupId, ClusterId, CopyId, ErrorKind, RegionId, RegionName};
use strongroom_store::control::{backups, blobs, copies, jobs, receipts};
use strongroom_store::{StoreError, Tx};

use support::clusters::*;
use support::fault::{Faults, Kind, Plan};
use support::host::VaultCluster;
use support::{NAMES, World, files};

/// An ACTIVE cluster with two HSMs, and the backup that the second one made.
async fn active_cluster(world: &World) -> (ClusterId, BackupId) {
    let id = create_cluster(world, 0, None).await;
    activate(world, &id).await;
    create_hsm(world, 0, &id, "b").await;
    let found = backups_by(world, 0, "clusterIds", id.as_str()).await;
    assert_eq!(found.len(), 2, "activation and join");
    // Newest first: who waits for the HSM finds the backup.
    assert_eq!(found[0].backup_state, Some(BackupState::Ready));
    (id, found[0].backup_id.clone())
}

async fn copy(world: &World, backup_id: &BackupId) -> BackupId {
    let input = CopyBackupToRegionRequest {
        destination_region: RegionName::new(NAMES[1]),
        backup_id: backup_id.clone(),
        tag_list: None,
    };
    let Reply::CopyBackupToRegion(output) = world.call(0, Call::CopyBackupToRegion(input)).await else { panic!() };
    assert_eq!(output.destination_backup.unwrap().source_backup.as_ref(), Some(backup_id));
    let found = world
        .wait("copy READY", async || {
            let found = backups_by(world, 1, "sourceBackupIds", backup_id.as_str()).await;
            found.into_iter().find(|b| b.backup_state == Some(BackupState::Ready))
        })
        .await;
    assert_eq!(found.tag_list.unwrap().len(), 1, "the source's tags");
    assert_eq!(found.cluster_id, None);
    found.backup_id
}

/// The whole life; returns how many seams were crossed.
async fn live(world: &World) {
    let (id, backup_id) = active_cluster(world).await;
    let copied = copy(world, &backup_id).await;
    let restored = create_cluster(world, 1, Some(&copied)).await;
    wait_cluster(world, 1, &restored, ClusterState::Active).await;
    create_hsm(world, 1, &restored, "a").await;
    let installed = world.vaults[1].clusters.lock().unwrap().get(&restored).cloned();
    assert_eq!(installed, Some(VaultCluster::Installed(id.as_str().to_owned())));
    for (at, cluster_id) in [(0, &id), (1, &restored)] {
        empty_and_delete(world, at, cluster_id).await;
    }
    purge_all(world).await;
}

async fn empty_and_delete(world: &World, at: usize, id: &ClusterId) {
    for hsm in cluster(world, at, id).await.unwrap().hsms.unwrap() {
        let input = DeleteHsmRequest { cluster_id: id.clone(), hsm_id: Some(hsm.hsm_id), ..Default::default() };
        world.call(at, Call::DeleteHsm(input)).await;
    }
    world
        .wait("HSMs gone", async || cluster(world, at, id).await.filter(|c| c.hsms.as_ref().unwrap().is_empty()))
        .await;
    world.call(at, Call::DeleteCluster(DeleteClusterRequest { cluster_id: id.clone() })).await;
    wait_cluster(world, at, id, ClusterState::Deleted).await;
    assert_eq!(world.vaults[at].clusters.lock().unwrap().get(id), Some(&VaultCluster::Destroyed));
}

/// Deletes every backup, lets a week and two hours pass, and sees every byte gone.
async fn purge_all(world: &World) {
    for at in 0..2 {
        let Reply::DescribeBackups(output) = world.call(at, Call::DescribeBackups(Default::default())).await else {
            panic!()
        };
        for backup in output.backups.unwrap() {
            world.call(at, Call::DeleteBackup(DeleteBackupRequest { backup_id: backup.backup_id })).await;
        }
    }
    world.clock.advance(7 * DAY + HOUR);
    world
        .wait("backups purged", async || {
            let mut left = 0;
            for at in 0..2 {
                let Reply::DescribeBackups(output) = world.call(at, Call::DescribeBackups(Default::default())).await
                else {
                    panic!()
                };
                left += output.backups.unwrap().len();
            }
            (left == 0).then_some(())
        })
        .await;
    world.clock.advance(2 * HOUR);
    world
        .wait("bytes gone", async || {
            let left: usize = (0..2).map(|at| files(&world.path(at).join("blobs"))).sum();
            (left == 0).then_some(())
        })
        .await;
}

/// The invariants of the rows, over both regions.
async fn check_invariants(world: &World) {
    for at in 0..2 {
        let peer = world.ids[1 - at].clone();
        // A fault may come as late as now.
        world.wait("rows", async || world.database(at).read_blocking(|tx| invariants(tx, &peer)).ok()).await;
    }
}

fn invariants(tx: &mut dyn Tx, peer: &RegionId) -> Result<(), StoreError> {
    for backup in backups::all(tx)? {
        if matches!(backup.state, BackupState::Ready | BackupState::PendingDeletion) {
            let blob = blobs::get(tx, backup.blob_id.as_ref().unwrap())?.unwrap();
            assert_eq!(blob.state, blobs::BlobState::Durable, "{backup:?}");
            assert!(backup.opened_at.is_some() && backup.header.is_some());
        }
    }
    for (blob_id, holder) in blobs::pins(tx)? {
        assert!(blobs::is_durable(tx, &blob_id)?, "a pin of {holder} on a blob that is not durable");
        if holder.starts_with("copy-") {
            let copy = copies::get(tx, &CopyId::new(&*holder))?.unwrap();
            assert!(!copy.state.is_settled(), "{holder} is settled and pins");
        }
    }
    let mut outcomes = std::collections::HashSet::new();
    for receipt in receipts::page(tx, receipts::Direction::Given, peer, 0, 10_000)? {
        if matches!(receipt.kind, receipts::ReceiptKind::Ready | receipts::ReceiptKind::Deleted) {
            assert!(outcomes.insert(receipt.copy_id.clone()), "two outcomes of {:?}", receipt.copy_id);
        }
    }
    for job in jobs::all(tx)? {
        assert!(job.epoch >= 0, "{job:?}");
    }
    Ok(())
}

/// Exactly one backup for the one copy, READY once, and the copy settled.
async fn check_copies(world: &World) {
    let settled = world
        .wait("copy settled", async || {
            let database = world.database(0);
            database.read_blocking(copies::unsettled).ok().filter(Vec::is_empty).map(|_| ())
        })
        .await;
    let () = settled;
    // A fault may come as late as now.
    let rows = world.wait("copies", async || world.database(0).read_blocking(copies::all).ok()).await;
    assert_eq!(rows.len(), 1, "one copy for one call");
    assert_eq!(rows[0].state, CopyState::Ready);
    let incoming = world.wait("backups", async || world.database(1).read_blocking(backups::all).ok()).await;
    let incoming: Vec<_> = incoming.iter().filter(|b| b.copy_id.is_some()).collect();
    assert!(incoming.len() <= 1, "{incoming:?}");
}

async fn run(plan: Option<Plan>, chunks: u32) -> Vec<String> {
    let world = World::start(Faults::new(plan), chunks).await;
    live(&world).await;
    world.mend().await;
    check_copies(&world).await;
    check_invariants(&world).await;
    world.faults.crossings()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn one_piece() {
    runtime().block_on(run(None, 1));
}

#[test]
fn several_pieces() {
    runtime().block_on(run(None, 5));
}

fn type_change(id: &ClusterId, hsm_type: &str) -> Call {
    Call::ModifyCluster(ModifyClusterRequest {
        cluster_id: id.clone(),
        hsm_type: Some(hsm_type.into()),
        backup_retention_policy: None,
    })
}

/// A cluster of the type from before AWS's own end of it: changed, changed back, and changed for good.
async fn change_types(plan: Option<Plan>) -> usize {
    let world = World::start_with(Faults::new(plan), 1, |settings| settings.legacy_hsm_types = true).await;
    let id = create_cluster_of(&world, 0, "hsm1.medium", None).await;
    activate(&world, &id).await;
    for (hsm_type, state) in [
        ("hsm2m.medium", ClusterState::ModifyInProgress),
        ("hsm1.medium", ClusterState::RollbackInProgress),
        ("hsm2m.medium", ClusterState::ModifyInProgress),
    ] {
        let Reply::ModifyCluster(output) = world.call(0, type_change(&id, hsm_type)).await else { panic!() };
        let changing = output.cluster.unwrap();
        assert_eq!((changing.hsm_type.as_deref(), changing.state), (Some(hsm_type), Some(state)));
        assert_eq!(changing.hsm_type_rollback_expiration, None, "told once the change is through");
        let changed = wait_cluster(&world, 0, &id, ClusterState::Active).await;
        assert_eq!(changed.hsms.unwrap()[0].hsm_type.as_deref(), Some(hsm_type));
        let until = changed.hsm_type_rollback_expiration;
        assert_eq!(until.is_some(), hsm_type == "hsm2m.medium");
    }
    world.mend().await;
    world.clock.advance(DAY + HOUR);
    // The fault may meet this call; it is no refusal then.
    let refusal = async || {
        let outcome = world.try_call(0, type_change(&id, "hsm1.medium")).await;
        outcome.err().filter(|error| error.kind() == ErrorKind::CloudHsmInvalidRequest)
    };
    let error = world.wait("a refusal", refusal).await;
    assert!(error.message().contains("within a day"), "{error}");
    world.faults.crossings().len()
}

#[test]
fn a_type_changes_and_changes_back_whatever_fails() {
    let runtime = runtime();
    let total = runtime.block_on(change_types(None));
    for kind in [Kind::Before, Kind::After, Kind::Lost, Kind::Twice] {
        for at in (0..total).step_by(5) {
            let plan = Some(Plan { at, kind });
            let run = || runtime.block_on(change_types(plan));
            assert!(
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok(),
                "{plan:?} of {total} crossings"
            );
        }
    }
}

#[test]
fn a_type_changes_only_at_rest_and_nothing_else_meanwhile() {
    runtime().block_on(async {
        let world = World::start_with(Faults::new(None), 1, |settings| {
            settings.legacy_hsm_types = true;
            settings.pace = strongroom_engine::Pace::Aws(1.0);
        });
        let world = world.await;
        let id = create_cluster_of(&world, 0, "hsm1.medium", None).await;
        let refused = world.try_call(0, type_change(&id, "hsm2m.medium")).await.unwrap_err();
        assert!(refused.message().contains("while it is ACTIVE"), "{refused}");
        let time_passes = async {
            loop {
                world.clock.advance(MINUTE);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = activate(&world, &id) => {}
            () = time_passes => {}
        }
        let Reply::ModifyCluster(output) = world.call(0, type_change(&id, "hsm2m.medium")).await else { panic!() };
        let hsm_id = output.cluster.unwrap().hsms.unwrap().remove(0).hsm_id;
        let zone = format!("{}b", NAMES[0]);
        for call in [
            Call::CreateHsm(CreateHsmRequest { cluster_id: id.clone(), availability_zone: zone, ip_address: None }),
            Call::DeleteHsm(DeleteHsmRequest { cluster_id: id.clone(), hsm_id: Some(hsm_id), ..Default::default() }),
        ] {
            let refused = world.try_call(0, call).await.unwrap_err();
            assert!(refused.message().contains("MODIFY_IN_PROGRESS"), "{refused}");
        }
        let refused = world.try_call(0, type_change(&id, "hsm1.medium")).await.unwrap_err();
        assert!(refused.message().contains("is MODIFY_IN_PROGRESS"), "{refused}");
        world.clock.advance(31 * MINUTE);
        wait_cluster(&world, 0, &id, ClusterState::Active).await;
    });
}

/// Runs with one fault at each crossing; `share` of the crossings, spread evenly.
fn matrix(kind: Kind, chunks: u32) {
    let runtime = runtime();
    let total = runtime.block_on(run(None, chunks)).len();
    let step = std::env::var("STRONGROOM_MATRIX_STEP").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
    for at in (0..total).step_by(step) {
        let plan = Plan { at, kind };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(run(Some(plan), chunks))));
        assert!(done.is_ok(), "{plan:?} of {total} crossings");
    }
}

#[test]
fn each_crossing_fails_before_its_effect() {
    matrix(Kind::Before, 5);
}

#[test]
fn each_crossing_is_cut_after_its_effect() {
    matrix(Kind::After, 5);
}

#[test]
fn each_crossing_is_lost_with_its_process() {
    matrix(Kind::Lost, 5);
}

#[test]
fn each_crossing_happens_twice() {
    matrix(Kind::Twice, 5);
}
