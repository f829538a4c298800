//! What is promised of a copy, each promise by itself: once per call, cancellable, overdue but not lost, told when it does
//! not open, and never a second time after its destination came back on an old disk.

mod support;

use std::sync::atomic::Ordering;

use strongroom_model::backup::{Backup, BackupState};
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::copy::{Copy, CopyState};
use strongroom_model::hsm::HsmState;
use strongroom_model::time::{DAY, HOUR};
use strongroom_model::{BackupId, ClusterId, ErrorKind, RegionName, SubnetId, Tag};
use strongroom_store::control::{alarms, backups, blobs, copies, peers};

use support::fault::Faults;
use support::{NAMES, World, caller};

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test());
}

/// A world with an ACTIVE cluster and its READY backup.
async fn world_with_backup(chunks: u32) -> (World, ClusterId, BackupId) {
    with_backup(World::start(Faults::default(), chunks).await).await
}

async fn with_backup(world: World) -> (World, ClusterId, BackupId) {
    let input = CreateClusterRequest {
        hsm_type: "hsm2m.medium".into(),
        subnet_ids: vec![SubnetId::new("subnet-0aaaaaaaaaaaaaaa1")],
        tag_list: Some(vec![tag("team", "blue")]),
        ..Default::default()
    };
    let Reply::CreateCluster(output) = world.call(0, Call::CreateCluster(input)).await else { panic!() };
    let id = output.cluster.unwrap().cluster_id.unwrap();
    state(&world, &id, ClusterState::Uninitialized).await;
    let input =
        CreateHsmRequest { cluster_id: id.clone(), availability_zone: format!("{}a", NAMES[0]), ip_address: None };
    world.call(0, Call::CreateHsm(input)).await;
    world
        .wait("HSM", async || {
            let clusters = clusters(&world, 0).await;
            clusters[0].hsms.as_ref()?.iter().any(|h| h.state == Some(HsmState::Active)).then_some(())
        })
        .await;
    let input = InitializeClusterRequest {
        cluster_id: id.clone(),
        signed_cert: format!("signed csr of {id}"),
        trust_anchor: "anchor".into(),
    };
    world.call(0, Call::InitializeCluster(input)).await;
    state(&world, &id, ClusterState::Initialized).await;
    world.vaults[0].activate(&id);
    state(&world, &id, ClusterState::Active).await;
    let backup = world
        .wait("backup", async || {
            backups_of(&world, 0).await.into_iter().find(|b| b.backup_state == Some(BackupState::Ready))
        })
        .await;
    (world, id, backup.backup_id)
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.into(), value: value.into() }
}

async fn clusters(world: &World, at: usize) -> Vec<strongroom_model::cluster::Cluster> {
    match world.call(at, Call::DescribeClusters(Default::default())).await {
        Reply::DescribeClusters(output) => output.clusters.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn state(world: &World, id: &ClusterId, state: ClusterState) {
    world
        .wait(&format!("{id} {state}"), async || {
            clusters(world, 0).await.iter().any(|c| c.state == Some(state)).then_some(())
        })
        .await;
}

async fn backups_of(world: &World, at: usize) -> Vec<Backup> {
    match world.call(at, Call::DescribeBackups(Default::default())).await {
        Reply::DescribeBackups(output) => output.backups.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Copies of a backup at the destination, DELETED ones too.
async fn arrived(world: &World, backup_id: &BackupId) -> Vec<Backup> {
    let filters = [("sourceBackupIds".to_owned(), vec![backup_id.as_str().to_owned()])].into_iter().collect();
    let input = DescribeBackupsRequest { filters: Some(filters), ..Default::default() };
    match world.call(1, Call::DescribeBackups(input)).await {
        Reply::DescribeBackups(output) => output.backups.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn copy_call(backup_id: &BackupId) -> Call {
    Call::CopyBackupToRegion(CopyBackupToRegionRequest {
        destination_region: RegionName::new(NAMES[1]),
        backup_id: backup_id.clone(),
        tag_list: None,
    })
}

async fn copies_of(world: &World) -> Vec<Copy> {
    match world.call(0, Call::ListCopies(Default::default())).await {
        Reply::ListCopies(output) => output.copies,
        other => panic!("{other:?}"),
    }
}

async fn settled(world: &World, count: usize) -> Vec<Copy> {
    world
        .wait("copies settled", async || {
            let copies = copies_of(world).await;
            (copies.len() == count && copies.iter().all(|c| c.state.is_settled())).then_some(copies)
        })
        .await
}

#[test]
fn the_same_invocation_fifty_times_at_once_is_one_copy_with_one_answer() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        let region = world.region(0);
        let calls = (0..50).map(|_| {
            let (region, call) = (region.clone(), copy_call(&backup_id));
            tokio::spawn(async move { region.call(&caller(Some("one invocation".into())), call).await.unwrap() })
        });
        let mut answers = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            answers.push(call.await.unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
        assert_eq!(settled(&world, 1).await[0].state, CopyState::Ready);
        assert_eq!(arrived(&world, &backup_id).await.len(), 1);
    });
}

#[test]
fn fifty_calls_are_fifty_copies() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        let region = world.region(0);
        let calls = (0..50).map(|n| {
            let (region, call) = (region.clone(), copy_call(&backup_id));
            // Half of them by a client that sends no invocation id: each request is a call of its own.
            let invocation = (n % 2 == 0).then(|| format!("invocation {n}"));
            tokio::spawn(async move { region.call(&caller(invocation), call).await.unwrap() })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        assert!(settled(&world, 50).await.iter().all(|c| c.state == CopyState::Ready));
        let ready = arrived(&world, &backup_id).await;
        assert_eq!(ready.len(), 50);
        assert!(ready.iter().all(|b| b.tag_list == Some(vec![tag("team", "blue")])));
    });
}

#[test]
fn the_same_id_with_another_input_is_another_call() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        let mut tagged = copy_call(&backup_id);
        if let Call::CopyBackupToRegion(input) = &mut tagged {
            input.tag_list = Some(vec![tag("only", "this")]);
        }
        for call in [copy_call(&backup_id), tagged] {
            world.region(0).call(&caller(Some("same".into())), call).await.unwrap();
        }
        settled(&world, 2).await;
        let mut tags: Vec<_> = arrived(&world, &backup_id).await.into_iter().map(|b| b.tag_list.unwrap()).collect();
        tags.sort_by(|a, b| a[0].key.cmp(&b[0].key));
        assert_eq!(tags, [vec![tag("only", "this")], vec![tag("team", "blue")]]);
    });
}

#[test]
fn tags_are_those_of_the_call_whatever_becomes_of_the_source() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        world.line_cut.store(true, Ordering::SeqCst);
        world.call(0, copy_call(&backup_id)).await;
        let input = TagResourceRequest {
            resource_id: backup_id.as_str().into(),
            tag_list: vec![tag("team", "red"), tag("late", "yes")],
        };
        world.call(0, Call::TagResource(input)).await;
        world.line_cut.store(false, Ordering::SeqCst);
        settled(&world, 1).await;
        assert_eq!(arrived(&world, &backup_id).await[0].tag_list, Some(vec![tag("team", "blue")]));
    });
}

#[test]
fn a_destination_that_is_away_does_not_fail_the_call_and_gets_the_copy_later() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(4).await;
        world.line_cut.store(true, Ordering::SeqCst);
        world.call(0, copy_call(&backup_id)).await;
        let waiting =
            world.wait("reason", async || copies_of(&world).await.into_iter().find(|c| c.reason.is_some())).await;
        assert_eq!((waiting.state, waiting.reason.unwrap().code.as_str()), (CopyState::Waiting, "peer-down"));
        assert!(arrived(&world, &backup_id).await.is_empty());
        world.line_cut.store(false, Ordering::SeqCst);
        assert_eq!(settled(&world, 1).await[0].state, CopyState::Ready);
    });
}

#[test]
fn a_source_that_is_deleted_and_purged_while_it_waits_is_copied_all_the_same() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(3).await;
        world.line_cut.store(true, Ordering::SeqCst);
        world.call(0, copy_call(&backup_id)).await;
        world.call(0, Call::DeleteBackup(DeleteBackupRequest { backup_id: backup_id.clone() })).await;
        // Purged, but not so late that the copy is overdue: its deadline is a day, the purge a week.
        world.database(0).write(|tx| tx_forward_deadlines(tx)).await.map(drop).unwrap();
        world.clock.advance(7 * DAY + HOUR / 2);
        world
            .wait("purged", async || {
                let id = backup_id.clone();
                let row = world.database(0).read_blocking(|tx| backups::get(tx, &id)).unwrap()?;
                (row.state == BackupState::Deleted).then_some(())
            })
            .await;
        world.line_cut.store(false, Ordering::SeqCst);
        assert_eq!(settled(&world, 1).await[0].state, CopyState::Ready);
        // Nothing pins the bytes any more: they go.
        world.clock.advance(2 * HOUR);
        let id = backup_id.clone();
        let database = world.database(0);
        let blob_id = database.read_blocking(copies::all).unwrap()[0].blob_id.clone();
        world
            .wait("bytes of the source gone", async || {
                let row = database.read_blocking(|tx| backups::get(tx, &id)).unwrap();
                let bytes = database.read_blocking(|tx| blobs::get(tx, &blob_id)).unwrap();
                (row.is_none() && bytes.is_none()).then_some(())
            })
            .await;
    });
}

/// Moves every copy's deadline far away.
fn tx_forward_deadlines(tx: &mut dyn strongroom_store::Tx) -> Result<(), strongroom_store::StoreError> {
    tx.execute("UPDATE copies SET deadline_at = deadline_at + 8640000000", &[]).map(drop)
}

#[test]
fn deleting_a_copy_that_is_coming_in_cancels_it_for_good() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(5).await;
        world.call(0, copy_call(&backup_id)).await;
        // As the copy is announced it is cut, so that it can be cancelled while it comes in.
        let coming = world.wait("listed", async || arrived(&world, &backup_id).await.into_iter().next()).await;
        let input = DeleteBackupRequest { backup_id: coming.backup_id.clone() };
        match world.try_call(1, Call::DeleteBackup(input)).await {
            Ok(Reply::DeleteBackup(output)) => {
                let state = output.backup.unwrap().backup_state;
                assert!(matches!(state, Some(BackupState::Deleted | BackupState::PendingDeletion)));
                if state == Some(BackupState::Deleted) {
                    assert_eq!(settled(&world, 1).await[0].state, CopyState::Cancelled);
                    let input = RestoreBackupRequest { backup_id: coming.backup_id };
                    let refused = world.try_call(1, Call::RestoreBackup(input)).await.unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::CloudHsmInvalidRequest);
                }
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn at_its_deadline_a_copy_is_overdue_and_its_abort_is_the_end() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        world.line_cut.store(true, Ordering::SeqCst);
        world.call(0, copy_call(&backup_id)).await;
        world.clock.advance(DAY + HOUR);
        let overdue = world.wait("overdue", async || copies_of(&world).await.into_iter().find(|c| c.overdue)).await;
        assert!(!overdue.state.is_settled(), "without the destination's word nothing is settled");
        // A clock that jumps back undoes nothing.
        world.clock.advance(-2 * DAY);
        world.line_cut.store(false, Ordering::SeqCst);
        let copy = &settled(&world, 1).await[0];
        assert_eq!((copy.state, copy.reason.clone().unwrap().code.as_str()), (CopyState::Failed, "deadline"));
        let rows = arrived(&world, &backup_id).await;
        assert_eq!((rows.len(), rows[0].backup_state), (1, Some(BackupState::Deleted)));
    });
}

#[test]
fn bytes_that_changed_at_the_source_end_the_copy_with_the_reason() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(3).await;
        world.line_cut.store(true, Ordering::SeqCst);
        world.call(0, copy_call(&backup_id)).await;
        damage(&world, 0, 1);
        world.line_cut.store(false, Ordering::SeqCst);
        let copy = &settled(&world, 1).await[0];
        assert_eq!((copy.state, copy.reason.clone().unwrap().code.as_str()), (CopyState::Failed, "does-not-open"));
        assert!(copy.reason.as_ref().unwrap().text.contains("chunk 1"), "{:?}", copy.reason);
        assert!(arrived(&world, &backup_id).await.iter().all(|b| b.backup_state == Some(BackupState::Deleted)));
    });
}

#[test]
fn a_chunk_that_changed_at_the_destination_is_asked_for_again() {
    run(async || {
        // A rate at which each chunk takes a while, so that one can be changed before the last is there.
        let world = World::start_with(Faults::default(), 30, |s| s.copy_max_rate = Some(1 << 20)).await;
        let (world, _, backup_id) = with_backup(world).await;
        world.call(0, copy_call(&backup_id)).await;
        let recorded = async || {
            let database = world.database(1);
            let blob = database.read_blocking(blobs::all).unwrap().pop()?;
            let chunks = database.read_blocking(|tx| blobs::chunk_numbers(tx, &blob.blob_id)).unwrap();
            (!chunks.is_empty() && chunks.len() < 25).then(|| chunks[0])
        };
        let n = world.wait("a first chunk", recorded).await;
        damage(&world, 1, n);
        assert_eq!(settled(&world, 1).await[0].state, CopyState::Ready);
        let row = world.database(1).read_blocking(backups::all).unwrap().remove(0);
        assert_eq!((row.state, row.repairs), (BackupState::Ready, 1));
    });
}

/// Flips a byte of a chunk in storage.
fn damage(world: &World, at: usize, n: u32) {
    fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
        std::fs::read_dir(folder).unwrap().flatten().find_map(|entry| {
            let path = entry.path();
            match path.is_dir() {
                true => find(&path, name),
                false => (entry.file_name() == name).then_some(path),
            }
        })
    }
    let path = find(&world.path(at).join("blobs"), &n.to_string()).expect("the chunk is there");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn only_ready_backups_are_copied_and_the_answer_says_why() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        let call = |region: &str| {
            Call::CopyBackupToRegion(CopyBackupToRegionRequest {
                destination_region: RegionName::new(region),
                backup_id: backup_id.clone(),
                tag_list: None,
            })
        };
        for (region, text) in [(NAMES[0], "is in us-east-1 already"), ("mars-north-1", "Choose one of: eu-west-1")] {
            let error = world.try_call(0, call(region)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CloudHsmInvalidRequest);
            assert!(error.message().contains(text), "{error}");
        }
        world.call(0, Call::DeleteBackup(DeleteBackupRequest { backup_id: backup_id.clone() })).await;
        let error = world.try_call(0, call(NAMES[1])).await.unwrap_err();
        assert!(error.message().contains("PENDING_DELETION until"), "{error}");
        let missing = Call::CopyBackupToRegion(CopyBackupToRegionRequest {
            destination_region: RegionName::new(NAMES[1]),
            backup_id: BackupId::new("backup-zzzzzzzzzzz"),
            tag_list: None,
        });
        assert_eq!(world.try_call(0, missing).await.unwrap_err().kind(), ErrorKind::CloudHsmResourceNotFound);
    });
}

#[test]
fn a_destination_on_an_old_disk_is_told_and_gets_what_it_lost_again() {
    run(async || {
        let (world, _, backup_id) = world_with_backup(1).await;
        world.call(0, copy_call(&backup_id)).await;
        settled(&world, 1).await;
        let first = arrived(&world, &backup_id).await.remove(0);
        let old = world.keep_disk(1).await;
        // After the disk was kept: a second copy, which the old disk will not know.
        world.call(0, copy_call(&backup_id)).await;
        settled(&world, 2).await;
        let both: Vec<_> = arrived(&world, &backup_id).await.into_iter().map(|b| b.backup_id).collect();
        assert_eq!(both.len(), 2);

        world.return_to_disk(1, &old).await;
        world.call(0, copy_call(&backup_id)).await;
        settled(&world, 3).await;
        let again = world
            .wait("sent again", async || {
                let rows = arrived(&world, &backup_id).await;
                (rows.len() == 3 && rows.iter().all(|b| b.backup_state == Some(BackupState::Ready))).then_some(rows)
            })
            .await;
        assert!(both.iter().all(|id| again.iter().any(|b| b.backup_id == *id)), "the same ids as before");
        assert!(again.iter().any(|b| b.backup_id == first.backup_id));
        let raised = world.database(1).read_blocking(alarms::list).unwrap();
        assert!(raised.iter().any(|a| a.kind == "behind"), "{raised:?}");
        let peer = world.ids[1].clone();
        let answered = world.database(0).read_blocking(|tx| peers::last_answer(tx, &peer)).unwrap();
        assert!(answered.is_some(), "when the peer answered last is kept");
        // The source hears of it a moment after the destination lists it.
        world
            .wait("nothing is lost", async || {
                let rows = world.database(0).read_blocking(copies::all).unwrap();
                rows.iter().all(|c| !c.lost && c.state == CopyState::Ready).then_some(())
            })
            .await;
    });
}

#[test]
fn retention_leaves_the_newest_and_a_restored_backup_is_taken_again() {
    run(async || {
        let (world, id, first) = world_with_backup(1).await;
        for _ in 0..3 {
            world.clock.advance(DAY + HOUR);
            let before = backups_of(&world, 0).await.len();
            world
                .wait("daily backup", async || {
                    let rows = backups_of(&world, 0).await;
                    (rows.len() > before && rows.iter().all(|b| b.backup_state == Some(BackupState::Ready)))
                        .then_some(())
                })
                .await;
        }
        let input = ModifyClusterRequest {
            cluster_id: id,
            backup_retention_policy: Some(strongroom_model::cluster::BackupRetentionPolicy {
                kind: None,
                value: Some("7".into()),
            }),
            hsm_type: None,
        };
        world.call(0, Call::ModifyCluster(input)).await;
        let keep = ModifyBackupAttributesRequest { backup_id: first.clone(), never_expires: true };
        world.call(0, Call::ModifyBackupAttributes(keep)).await;
        world.clock.advance(12 * DAY);
        let rows = world
            .wait("retention", async || {
                let rows = backups_of(&world, 0).await;
                let taken = rows.iter().filter(|b| b.backup_state == Some(BackupState::PendingDeletion)).count();
                // Of the first and three daily ones, all older than a week: one never expires, the newest stays.
                (taken >= 2).then_some(rows)
            })
            .await;
        let kept = rows.iter().find(|b| b.backup_id == first).unwrap();
        assert_eq!(kept.backup_state, Some(BackupState::Ready), "never expires");
        let newest = rows.iter().find(|b| b.backup_state != Some(BackupState::CreateInProgress)).unwrap();
        assert_eq!(newest.backup_state, Some(BackupState::Ready), "the newest stays");
    });
}

#[test]
fn a_row_that_cannot_be_read_is_told_and_not_as_worth_a_repeat() {
    run(async || {
        let (world, _, backup) = world_with_backup(1).await;
        world.write(0, |tx| tx.execute("UPDATE backups SET blob_id = NULL", &[]).map(drop));
        let input = CopyBackupToRegionRequest {
            destination_region: RegionName::new(NAMES[1]),
            backup_id: backup.clone(),
            tag_list: None,
        };
        let error = world.try_call(0, Call::CopyBackupToRegion(input)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CloudHsmService);
        assert!(!error.message().contains("payload"), "what is wrong is for the log: {error}");
        assert_eq!(
            error.cause().unwrap().to_string(),
            format!("the store is damaged: {backup} is READY without a payload")
        );
    });
}
