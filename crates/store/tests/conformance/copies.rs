//! Outgoing copies, receipts and the numbers of receipts.

use std::collections::BTreeSet;

use strongroom_model::copy::CopyState;
use strongroom_model::{BackupId, CopyId, RegionId, Tag, Timestamp};
use strongroom_store::control::copies::{self, Copy, FrozenTags, Outcome, Progress, Step};
use strongroom_store::control::peers;
use strongroom_store::control::receipts::{self, Direction, Receipt, ReceiptKind};
use strongroom_store::{StoreError, WriteError};

use crate::executor::{Contender, Executor, Failure, ROUNDS, race, winners};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn copy(n: u8) -> Copy {
    Copy { copy_id: CopyId::from_bytes([n; 7]), state: CopyState::Waiting, ..Copy::default() }
}

fn outcome(state: CopyState, receipt_seq: i64) -> Outcome {
    Outcome {
        state,
        reason_code: (state != CopyState::Ready).then(|| "deadline".into()),
        reason: None,
        destination_backup_id: Some(BackupId::from_bytes([1; 7])),
        receipt_seq,
        receipt_at: at(1),
        finished_at: at(2),
    }
}

/// K7: a late or doubled outcome changes nothing, and no progress is recorded after it.
pub fn settled_once<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let row = copy(round);
        let (id, asked) = (row.copy_id.clone(), row.requested_at);
        store.set(move |tx| Ok(copies::insert(tx, &row)?));
        assert_eq!(store.get(copies::backlog), (1, Some(asked)));
        let contenders = [(CopyState::Ready, 1), (CopyState::Failed, 2)].map(|(state, seq)| -> Contender<bool> {
            let id = id.clone();
            Box::new(move |tx| Ok(copies::settle(tx, &id, &outcome(state, seq))?))
        });
        assert_eq!(winners(race(&store, contenders.into())), 1);
        assert_eq!(store.get(copies::backlog), (0, None));
        let settled = store.get(|tx| copies::get(tx, &id)).unwrap();
        assert!(matches!(
            (settled.state, settled.receipt_seq),
            (CopyState::Ready, Some(1)) | (CopyState::Failed, Some(2))
        ));
        let late = id.clone();
        let progress = Progress {
            state: CopyState::Sending,
            attempt: 9,
            chunks_done: 9,
            next_attempt_at: None,
            reason_code: None,
            reason: None,
        };
        let after = store.set(move |tx| {
            Ok([
                copies::record(tx, &late, &progress)?,
                copies::overdue(tx, &late)?,
                copies::abandon(tx, &late, "late", at(3))?,
            ])
        });
        assert_eq!(after, [false; 3]);
        assert_eq!(store.get(|tx| copies::get(tx, &id)), Some(settled));
    }
}

/// K10: failed, and only a receipt moves it from there, once.
pub fn abandoned_is_corrected_by_a_receipt<E: Executor>() {
    let store = E::control();
    let id = copy(1).copy_id;
    let each = id.clone();
    let steps = store.set(move |tx| {
        copies::insert(tx, &copy(1))?;
        Ok([
            copies::abandon(tx, &each, "its outcome there is unknown", at(1))?,
            copies::abandon(tx, &each, "again", at(2))?,
            copies::overdue(tx, &each)?,
            copies::settle(tx, &each, &outcome(CopyState::Ready, 7))?,
            copies::settle(tx, &each, &outcome(CopyState::Failed, 8))?,
        ])
    });
    assert_eq!(steps, [true, false, false, true, false]);
    let row = store.get(|tx| copies::get(tx, &id)).unwrap();
    assert_eq!((row.state, row.abandoned, row.receipt_seq, row.reason_code), (CopyState::Ready, false, Some(7), None));
}

/// O3, O4: a READY copy is lost and found again; one that is only unsettled cannot be lost.
pub fn lost_is_sent_again<E: Executor>() {
    let store = E::control();
    let id = copy(1).copy_id;
    let each = id.clone();
    let steps = store.set(move |tx| {
        copies::insert(tx, &copy(1))?;
        Ok([
            copies::lost(tx, &each)?,
            copies::settle(tx, &each, &outcome(CopyState::Ready, 1))?,
            copies::lost(tx, &each)?,
            copies::lost(tx, &each)?,
            copies::settle(tx, &each, &outcome(CopyState::Failed, 2))?,
        ])
    });
    assert_eq!(steps, [false, true, true, false, true]);
    let row = store.get(|tx| copies::get(tx, &id)).unwrap();
    assert_eq!((row.state, row.lost), (CopyState::Ready, true), "ready once is shown as ready; the loss stays");
    let found = id.clone();
    assert!(store.set(move |tx| Ok(copies::settle(tx, &found, &outcome(CopyState::Ready, 3))?)));
    let row = store.get(|tx| copies::get(tx, &id)).unwrap();
    assert_eq!((row.state, row.lost, row.receipt_seq), (CopyState::Ready, false, Some(3)));
}

fn receipt(peer: &RegionId, seq: i64, kind: ReceiptKind, copy: u8) -> Receipt {
    Receipt { peer: peer.clone(), seq, kind, copy_id: Some(CopyId::from_bytes([copy; 7])), ..Receipt::default() }
}

/// No number is given twice to a peer; an undone transaction leaves no gap; each peer has numbers of its own.
pub fn receipt_numbers_have_no_gap<E: Executor>() {
    let store = E::control();
    let (a, b) = (RegionId::from_bytes([1; 17]), RegionId::from_bytes([2; 17]));
    for round in 0..ROUNDS {
        let contenders = (0..6u8).map(|side| -> Contender<()> {
            let peer = if side == 5 { b.clone() } else { a.clone() };
            Box::new(move |tx| {
                let seq = peers::next_seq(tx, &peer)?;
                receipts::insert(tx, &receipt(&peer, seq, ReceiptKind::Ready, round * 6 + side))?;
                if side == 4 { Err(Failure::Refused) } else { Ok(()) }
            })
        });
        race(&store, contenders.collect());
    }
    let numbers = |peer| -> Vec<_> {
        store.get(|tx| receipts::page(tx, Direction::Given, peer, 0, 1_000)).iter().map(|r| r.seq).collect()
    };
    assert_eq!(numbers(&a), (1..=i64::from(ROUNDS) * 4).collect::<Vec<_>>());
    assert_eq!(numbers(&b), (1..=i64::from(ROUNDS)).collect::<Vec<_>>());
    assert_eq!(store.get(|tx| receipts::highest(tx, Direction::Given, &a)).unwrap().seq, i64::from(ROUNDS) * 4);
}

/// Ready and deleted exclude each other for one copy; what was got may repeat under its own number.
pub fn outcome_is_given_once<E: Executor>() {
    let store = E::control();
    let peer = RegionId::from_bytes([1; 17]);
    for round in 0..ROUNDS {
        let contenders = [ReceiptKind::Ready, ReceiptKind::Deleted].map(|kind| -> Contender<()> {
            let peer = peer.clone();
            Box::new(move |tx| {
                let seq = peers::next_seq(tx, &peer)?;
                Ok(receipts::insert(tx, &receipt(&peer, seq, kind, round))?)
            })
        });
        let results = race(&store, contenders.into());
        let conflicts = results
            .iter()
            .filter(|r| matches!(r, Err(WriteError::Refused(Failure::Store(StoreError::Conflict(_))))))
            .count();
        assert_eq!((conflicts, results.iter().filter(|r| r.is_ok()).count()), (1, 1), "{results:?}");
        let copy = CopyId::from_bytes([round; 7]);
        assert!(store.get(|tx| receipts::outcome(tx, Direction::Given, &peer, &copy)).is_some());
        assert_eq!(store.get(|tx| receipts::outcome(tx, Direction::Got, &peer, &copy)), None);
    }
    let got =
        |seq| Receipt { direction: Direction::Got, again: seq > 1, ..receipt(&peer, seq, ReceiptKind::Ready, 200) };
    let (first, second, doubled) = (got(1), got(2), got(2));
    let inserted = store.set(move |tx| {
        Ok([receipts::insert_new(tx, &first)?, receipts::insert_new(tx, &second)?, receipts::insert_new(tx, &doubled)?])
    });
    assert_eq!(inserted, [true, true, false]);
    let copy = CopyId::from_bytes([200; 7]);
    assert_eq!(store.get(|tx| receipts::outcome(tx, Direction::Got, &peer, &copy)).unwrap().seq, 2);
}

/// A copy that was ready is purged once; the purge stands beside the outcome and is no outcome.
pub fn purge_is_given_once<E: Executor>() {
    let store = E::control();
    let peer = RegionId::from_bytes([1; 17]);
    let each = peer.clone();
    let inserted = store.set(move |tx| {
        let mut given = Vec::new();
        for (seq, kind) in [(1, ReceiptKind::Ready), (2, ReceiptKind::Purged), (3, ReceiptKind::Purged)] {
            given.push(receipts::insert_new(tx, &receipt(&each, seq, kind, 1))?);
        }
        // `resumed` is of no copy, and there may be many.
        for seq in [4, 5] {
            let resumed = Receipt { copy_id: None, ..receipt(&each, seq, ReceiptKind::Resumed, 0) };
            given.push(receipts::insert_new(tx, &resumed)?);
        }
        Ok(given)
    });
    assert_eq!(inserted, [true, true, false, true, true]);
    let copy = CopyId::from_bytes([1; 7]);
    assert_eq!(store.get(|tx| receipts::outcome(tx, Direction::Given, &peer, &copy)).unwrap().kind, ReceiptKind::Ready);
    assert_eq!(store.get(|tx| receipts::purge(tx, Direction::Given, &peer, &copy)).unwrap().seq, 2);
}

/// O1, O2: the next number is only ever raised, and being behind ends once.
pub fn behind_raises_the_number_for_good<E: Executor>() {
    let store = E::control();
    let peer = RegionId::from_bytes([1; 17]);
    let each = peer.clone();
    let numbers = store.set(move |tx| {
        let first = peers::next_seq(tx, &each)?;
        peers::fall_behind(tx, &each, 100, at(5))?;
        peers::fall_behind(tx, &each, 50, at(6))?;
        Ok([first, peers::next_seq(tx, &each)?, peers::next_seq(tx, &each)?])
    });
    assert_eq!(numbers, [1, 100, 101]);
    assert!(store.get(|tx| peers::is_behind(tx, &peer)));
    let contenders = [1, 2].map(|_| -> Contender<bool> {
        let peer = peer.clone();
        Box::new(move |tx| Ok(peers::catch_up(tx, &peer)?))
    });
    assert_eq!(winners(race(&store, contenders.into())), 1);
    assert!(!store.get(|tx| peers::is_behind(tx, &peer)));
    let each = peer.clone();
    store.set(move |tx| {
        peers::set_read_upto(tx, &each, 9)?;
        Ok(peers::set_read_upto(tx, &each, 4)?)
    });
    assert_eq!(store.get(|tx| peers::read_upto(tx, &peer)), 9);
}

/// K1 froze them: values may be empty and hold any character that a tag may.
pub fn frozen_tags_come_back<E: Executor>() {
    let store = E::control();
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    for (n, tags) in [vec![], vec![tag("owner", "")], vec![tag("a b", "x=y, ü"), tag("c", "+-@/:."), tag("d", "")]]
        .into_iter()
        .enumerate()
    {
        let row = Copy { tags: FrozenTags::from(&tags), ..copy(n as u8) };
        let id = row.copy_id.clone();
        store.set(move |tx| Ok(copies::insert(tx, &row)?));
        assert_eq!(store.get(|tx| copies::get(tx, &id)).unwrap().frozen_tags(), tags);
    }
}

/// Steps that are appended at the same time all stand, each once, in the order of their commits.
pub fn steps_keep_their_order<E: Executor>() {
    let store = E::control();
    let id = CopyId::from_bytes([1; 7]);
    let contenders = (0..4).map(|side| -> Contender<()> {
        let id = id.clone();
        let steps = [0, 1, 2].map(|n| Step { at: at(n), name: format!("step {n}"), text: format!("by {side}") });
        Box::new(move |tx| Ok(copies::add_steps(tx, &id, &steps)?))
    });
    assert!(race(&store, contenders.collect()).iter().all(Result::is_ok));
    let steps = store.get(|tx| copies::steps(tx, &id));
    let names: Vec<_> = steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["step 0", "step 1", "step 2"].repeat(4));
    assert_eq!(steps.chunks(3).map(|of_one| of_one[0].text.clone()).collect::<BTreeSet<_>>().len(), 4);
}
