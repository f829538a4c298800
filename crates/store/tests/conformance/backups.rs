//! Backups and the blobs that they own.

use strongroom_model::backup::BackupState;
use strongroom_model::{AccountId, BackupId, BlobId, ClusterId, CopyId, RegionId, Timestamp};
use strongroom_store::control::backups::{self, Backup, Content, Origin, Query};
use strongroom_store::control::blobs::{self, BlobState};
use strongroom_store::control::copies::{self, Copy};

use crate::executor::{Contender, Executor, Failure, ROUNDS, race, winners};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A local backup in a state, its ids made of a number.
fn backup(n: u8, state: BackupState) -> Backup {
    Backup {
        backup_id: BackupId::from_bytes([n; 7]),
        account: AccountId::new("000000000000"),
        state,
        blob_id: Some(BlobId::from_bytes([n; 17])),
        ..Backup::default()
    }
}

/// Two joins of the same HSM, two dues of the same day: one backup.
pub fn cause_is_unique_in_a_cluster<E: Executor>() {
    let store = E::control();
    let cluster = ClusterId::from_bytes([0; 7]);
    for round in 0..ROUNDS {
        let contenders = [1, 2].map(|side| -> Contender<bool> {
            let row = Backup {
                cluster_id: Some(cluster.clone()),
                cause: Some(format!("daily:{round}")),
                ..backup(round * 2 + side, BackupState::CreateInProgress)
            };
            Box::new(move |tx| Ok(backups::insert_new(tx, &row)?))
        });
        assert_eq!(winners(race(&store, contenders.into())), 1);
        let cause = format!("daily:{round}");
        assert!(store.get(|tx| backups::by_cause(tx, &cluster, &cause)).is_some());
    }
    assert_eq!(store.get(backups::all).len(), usize::from(ROUNDS));
}

/// N1: two announcements of one copy make one row; copies without a cause do not exclude each other.
pub fn copy_is_unique_in_its_region<E: Executor>() {
    let store = E::control();
    let peer = RegionId::from_bytes([9; 17]);
    for round in 0..ROUNDS {
        let contenders = [1, 2].map(|side| -> Contender<bool> {
            let row = Backup {
                origin: Origin::Copy,
                source_region_id: Some(peer.clone()),
                copy_id: Some(CopyId::from_bytes([round; 7])),
                ..backup(round * 2 + side, BackupState::CreateInProgress)
            };
            Box::new(move |tx| Ok(backups::insert_new(tx, &row)?))
        });
        assert_eq!(winners(race(&store, contenders.into())), 1);
        let copy = CopyId::from_bytes([round; 7]);
        assert!(store.get(|tx| backups::by_copy(tx, &peer, &copy)).is_some());
    }
    assert_eq!(store.get(backups::all).len(), usize::from(ROUNDS));
}

/// Z2 and Z3 race on one row, whatever the clocks of their callers say.
pub fn restore_or_purge<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let row = Backup { delete_at: Some(at(100)), ..backup(round, BackupState::PendingDeletion) };
        let id = row.backup_id.clone();
        store.set(move |tx| Ok(backups::insert(tx, &row)?));
        let (early, late) = (id.clone(), id.clone());
        let too_soon =
            store.set(move |tx| Ok((backups::restored(tx, &late, at(100))?, backups::purged(tx, &early, at(99))?)));
        assert_eq!(too_soon, (false, false));
        let (restored, purged) = (id.clone(), id.clone());
        let contenders: Vec<Contender<bool>> = vec![
            Box::new(move |tx| Ok(backups::restored(tx, &restored, at(99))?)),
            Box::new(move |tx| Ok(backups::purged(tx, &purged, at(100))?)),
        ];
        assert_eq!(winners(race(&store, contenders)), 1);
        let row = store.get(|tx| backups::get(tx, &id)).unwrap();
        match row.state {
            BackupState::Ready => assert_eq!((row.delete_at, row.deleted_at), (None, None)),
            state => assert_eq!((state, row.deleted_at), (BackupState::Deleted, Some(at(100)))),
        }
    }
}

/// N6 and N8 race on one row: READY or DELETED, never both.
pub fn ready_or_failed<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let row = backup(round, BackupState::CreateInProgress);
        let id = row.backup_id.clone();
        store.set(move |tx| Ok(backups::insert(tx, &row)?));
        let (ready, failed) = (id.clone(), id.clone());
        let contenders: Vec<Contender<bool>> = vec![
            Box::new(move |tx| {
                let content =
                    Content { digest: &[1; 32], body: b"body", header: b"header", facts: b"facts", opened_at: at(5) };
                Ok(backups::ready(tx, &ready, &content)?)
            }),
            Box::new(move |tx| Ok(backups::failed(tx, &failed, "cancelled", at(5))?)),
        ];
        assert_eq!(winners(race(&store, contenders)), 1);
        let row = store.get(|tx| backups::get(tx, &id)).unwrap();
        match row.state {
            BackupState::Ready => {
                assert_eq!((row.reason, row.opened_at, row.body), (None, Some(at(5)), Some(b"body".into())))
            }
            state => assert_eq!(
                (state, row.reason.as_deref(), row.opened_at),
                (BackupState::Deleted, Some("cancelled"), None)
            ),
        }
    }
}

/// A copy pins the bytes or they are doomed; no blob is doomed with a pin.
pub fn pin_or_purge<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let row = Backup { delete_at: Some(at(100)), ..backup(round, BackupState::Ready) };
        let (id, blob) = (row.backup_id.clone(), row.blob_id.clone().unwrap());
        let new = blob.clone();
        store.set(move |tx| {
            blobs::insert_writing(tx, &new, row.backup_id.as_str(), 1)?;
            blobs::durable(tx, &new, None, &[])?;
            Ok(backups::insert(tx, &row)?)
        });
        let (copied, purged, pinned, doomed) = (id.clone(), id.clone(), blob.clone(), blob.clone());
        let contenders: Vec<Contender<bool>> = vec![
            Box::new(move |tx| {
                let ready = backups::get(tx, &copied)?.is_some_and(|b| b.state == BackupState::Ready);
                if ready {
                    blobs::pin(tx, &pinned, "copy-a")?;
                }
                Ok(ready)
            }),
            Box::new(move |tx| {
                backups::pending_deletion(tx, &purged, at(100))?;
                backups::purged(tx, &purged, at(100))?;
                Ok(blobs::doom(tx, &doomed, at(100))?)
            }),
        ];
        assert_eq!(winners(race(&store, contenders)), 1);
        let state = store.get(|tx| blobs::get(tx, &blob)).unwrap().state;
        let pinned = store.get(blobs::pins).iter().any(|(pin, _)| *pin == blob);
        assert_eq!(state, if pinned { BlobState::Durable } else { BlobState::Doomed });
        assert_eq!(store.get(|tx| backups::get(tx, &id)).unwrap().state, BackupState::Deleted);
    }
}

/// Two holders: the bytes stay until both have let go; a blob that is written or doomed cannot be pinned.
pub fn pinned_blob_is_not_doomed<E: Executor>() {
    let store = E::control();
    let blob = BlobId::from_bytes([1; 17]);
    let new = blob.clone();
    store.set(move |tx| Ok(blobs::insert_writing(tx, &new, "backup", 1)?));
    let writing = blob.clone();
    assert!(store.write(move |tx| Ok(blobs::pin(tx, &writing, "copy-a")?)).is_err());
    let each = blob.clone();
    let steps = store.set(move |tx| {
        blobs::durable(tx, &each, None, &[])?;
        blobs::pin(tx, &each, "copy-a")?;
        blobs::pin(tx, &each, "copy-a")?;
        blobs::pin(tx, &each, "cluster-b")?;
        Ok([
            blobs::doom(tx, &each, at(1))?,
            blobs::unpin(tx, &each, "copy-a")?,
            blobs::unpin(tx, &each, "copy-a")?,
            blobs::doom(tx, &each, at(2))?,
            blobs::delete(tx, &each)?,
            blobs::unpin(tx, &each, "cluster-b")?,
            blobs::doom(tx, &each, at(3))?,
            blobs::doom(tx, &each, at(4))?,
            blobs::durable(tx, &each, None, &[])?,
        ])
    });
    assert_eq!(steps, [false, true, false, false, false, true, true, false, false]);
    assert_eq!(store.get(|tx| blobs::get(tx, &blob)).unwrap().doomed_at, Some(at(3)));
    let doomed = blob.clone();
    assert!(store.write(move |tx| Ok(blobs::pin(tx, &doomed, "copy-c")?)).is_err());
    let gone = blob.clone();
    assert!(store.set(move |tx| Ok(blobs::delete(tx, &gone)?)));
    assert_eq!(store.get(blobs::all), []);
}

/// R1: oldest first, never one that is kept for ever, never the newest READY one, however old.
pub fn retention_spares_the_newest<E: Executor>() {
    let store = E::control();
    let cluster = ClusterId::from_bytes([0; 7]);
    let of = cluster.clone();
    store.set(move |tx| {
        for n in 0..6 {
            let state = if n == 5 { BackupState::PendingDeletion } else { BackupState::Ready };
            let row = Backup {
                cluster_id: Some(of.clone()),
                create_ts: at(i64::from(n)),
                never_expires: n == 1,
                ..backup(n, state)
            };
            backups::insert(tx, &row)?;
        }
        Ok(())
    });
    let ids = |numbers: &[u8]| numbers.iter().map(|n| BackupId::from_bytes([*n; 7])).collect::<Vec<_>>();
    assert_eq!(store.get(|tx| backups::expired(tx, &cluster, at(100), 10)), ids(&[0, 2, 3]));
    assert_eq!(store.get(|tx| backups::expired(tx, &cluster, at(100), 2)), ids(&[0, 2]));
    assert_eq!(store.get(|tx| backups::expired(tx, &cluster, at(2), 10)), ids(&[0]));
}

/// Every backup that a query matches is on exactly one page, in order, whichever index it is read by.
pub fn pages_show_each_row_once<E: Executor>() {
    let store = E::control();
    let states =
        [BackupState::Ready, BackupState::CreateInProgress, BackupState::PendingDeletion, BackupState::Deleted];
    let row = move |n: u8| Backup {
        create_ts: at(i64::from(n / 7)),
        never_expires: n.is_multiple_of(3),
        cluster_id: (n.is_multiple_of(2)).then(|| ClusterId::from_bytes([n % 4; 7])),
        source_backup_id: (n % 2 == 1).then(|| BackupId::from_bytes([n % 6; 7])),
        ..backup(n, states[usize::from(n % 4)])
    };
    store.set(move |tx| {
        (0..60).try_for_each(|n| backups::insert(tx, &row(n)))?;
        let foreign = Backup { account: AccountId::new("111111111111"), ..row(200) };
        Ok(backups::insert(tx, &foreign)?)
    });
    let check = |query: Query, keep: &dyn Fn(&Backup) -> bool| {
        for ascending in [false, true] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let account = AccountId::new("000000000000");
                let query = Query { account, limit: 4, ascending, after: after.take(), ..query.clone() };
                let page = store.get(|tx| backups::page(tx, &query));
                assert!(page.rows.len() <= 4);
                seen.extend(page.rows.into_iter().map(|b| (b.create_ts, b.backup_id)));
                match page.more {
                    Some(more) => after = Some(more),
                    None => break,
                }
            }
            let mut expected: Vec<_> =
                (0..60).map(row).filter(|b| keep(b)).map(|b| (b.create_ts, b.backup_id)).collect();
            expected.sort();
            if !ascending {
                expected.reverse();
            }
            assert_eq!(seen, expected, "{query:?}, ascending: {ascending}");
        }
    };
    let listed = |b: &Backup| b.state != BackupState::Deleted;
    check(Query::default(), &listed);
    check(Query { states: Some(states[2..].to_vec()), ..Query::default() }, &|b| states[2..].contains(&b.state));
    check(Query { never_expires: Some(vec![true]), ..Query::default() }, &|b| b.never_expires && listed(b));
    let clusters = [0, 2].map(|n| ClusterId::from_bytes([n; 7])).to_vec();
    check(Query { cluster_ids: Some(clusters), ..Query::default() }, &|b| b.cluster_id.is_some() && listed(b));
    let sources = [1, 5, 1].map(|n| BackupId::from_bytes([n; 7])).to_vec();
    let of_source = |b: &Backup| b.source_backup_id.as_ref().is_some_and(|id| sources.contains(id));
    check(Query { source_backup_ids: Some(sources.clone()), ..Query::default() }, &of_source);
    let both = Query {
        source_backup_ids: Some(sources.clone()),
        states: Some(vec![BackupState::Deleted]),
        ..Query::default()
    };
    check(both, &|b| of_source(b) && b.state == BackupState::Deleted);
    let ids = [7, 3, 7, 200].map(|n| BackupId::from_bytes([n; 7])).to_vec();
    check(Query { backup_ids: Some(ids.clone()), ..Query::default() }, &|b| ids.contains(&b.backup_id));
}

/// A DELETED backup is on no page that did not ask for it by id, source or state.
pub fn deleted_is_shown_to_who_asks<E: Executor>() {
    let store = E::control();
    let row = Backup { source_backup_id: Some(BackupId::from_bytes([8; 7])), ..backup(1, BackupState::Deleted) };
    let id = row.backup_id.clone();
    store.set(move |tx| Ok(backups::insert(tx, &row)?));
    let shown = |query: Query| {
        let query = Query { account: AccountId::new("000000000000"), limit: 10, ..query };
        store.get(|tx| backups::page(tx, &query)).rows.len()
    };
    assert_eq!(shown(Query::default()), 0);
    assert_eq!(shown(Query { never_expires: Some(vec![false]), ..Query::default() }), 0);
    assert_eq!(shown(Query { backup_ids: Some(vec![id]), ..Query::default() }), 1);
    assert_eq!(shown(Query { states: Some(vec![BackupState::Deleted]), ..Query::default() }), 1);
    assert_eq!(shown(Query { source_backup_ids: Some(vec![BackupId::from_bytes([8; 7])]), ..Query::default() }), 1);
}

/// Z5: not while its bytes are pinned, not while a copy of it is unsettled, not before it is DELETED.
pub fn forgotten_only_when_nobody_needs_it<E: Executor>() {
    let store = E::control();
    let row = backup(1, BackupState::PendingDeletion);
    let (id, blob) = (row.backup_id.clone(), row.blob_id.clone().unwrap());
    let copy = Copy { copy_id: CopyId::from_bytes([1; 7]), backup_id: id.clone(), ..Copy::default() };
    let steps = store.set(move |tx| {
        backups::insert(tx, &Backup { delete_at: Some(at(1)), ..row.clone() })?;
        blobs::insert_writing(tx, &blob, "backup", 1)?;
        blobs::durable(tx, &blob, None, &[])?;
        blobs::pin(tx, &blob, "copy-a")?;
        copies::insert(tx, &copy)?;
        let before = backups::forget(tx, &row.backup_id)?;
        backups::purged(tx, &row.backup_id, at(1))?;
        let pinned = backups::forget(tx, &row.backup_id)?;
        blobs::unpin(tx, &blob, "copy-a")?;
        let unsettled = backups::forget(tx, &row.backup_id)?;
        copies::abandon(tx, &copy.copy_id, "gone", at(2))?;
        Ok([before, pinned, unsettled, backups::forget(tx, &row.backup_id)?])
    });
    assert_eq!(steps, [false, false, false, true]);
    assert_eq!(store.get(|tx| backups::get(tx, &id)), None);
}

/// Each column keeps its value, and a closure that refuses keeps nothing.
pub fn row_comes_back_as_it_was<E: Executor>() {
    let store = E::control();
    let row = Backup {
        origin: Origin::Copy,
        reason: Some("damaged: record 31 fails its seal".into()),
        copy_ts: Some(at(-1)),
        never_expires: true,
        digest: Some(vec![0xff; 32]),
        body: Some(vec![0; 70_000]),
        header: Some(Vec::new()),
        deadline_at: Some(at(i64::MAX)),
        ..backup(1, BackupState::Ready)
    };
    let (id, written, undone) = (row.backup_id.clone(), row.clone(), row.clone());
    let refused = store.write(move |tx| -> Result<(), Failure> {
        backups::insert(tx, &undone)?;
        Err(Failure::Refused)
    });
    assert!(refused.is_err());
    assert_eq!(store.get(|tx| backups::get(tx, &id)), None);
    store.set(move |tx| Ok(backups::insert(tx, &row)?));
    assert_eq!(store.get(|tx| backups::get(tx, &id)), Some(written));
}
