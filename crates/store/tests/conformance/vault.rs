//! The HSM host's rows: heads, logins, the outbox, results by request id, epochs of an installation.

use strongroom_store::vault::hsms::Hsm;
use strongroom_store::vault::logins::Reserved;
use strongroom_store::vault::objects::Object;
use strongroom_store::vault::users::User;
use strongroom_store::vault::{self, clusters, heads, hsms, logins, objects, outbox, requests, users};
use strongroom_store::{StoreError, WriteError};

use crate::executor::{Contender, Executor, Failure, ROUNDS, race, winners};

const CLUSTER: &str = "cluster-aaaaaaaaaaa";

/// Two writes from the same head: one of them is the next one.
pub fn head_moves_once<E: Executor>() {
    let store = E::vault();
    for round in 0..i64::from(ROUNDS) {
        let contenders = [1, 2].map(|side| -> Contender<bool> {
            Box::new(move |tx| Ok(heads::compare_and_set(tx, CLUSTER, round + 1, &[side])?))
        });
        assert_eq!(winners(race(&store, contenders.into())), 1);
        let (version, sealed) = store.get(|tx| heads::get(tx, CLUSTER)).unwrap();
        assert_eq!(version, round + 1);
        assert!(sealed == [1] || sealed == [2]);
    }
    let current = i64::from(ROUNDS);
    for version in [current - 1, current, current + 2] {
        assert!(!store.set(move |tx| Ok(heads::compare_and_set(tx, CLUSTER, version, b"stale")?)), "{version}");
    }
}

/// Twenty wrong passwords at once: five are tried, the rest are locked out; another user is not.
pub fn login_tries_are_five<E: Executor>() {
    let store = E::vault();
    let contenders =
        (0..20).map(|_| -> Contender<Reserved> { Box::new(|tx| Ok(logins::reserve(tx, CLUSTER, "app", 5, 7)?)) });
    let tried: Vec<_> = race(&store, contenders.collect()).into_iter().map(Result::unwrap).collect();
    for n in 1..=5 {
        assert_eq!(tried.iter().filter(|t| **t == Reserved::Spent(n)).count(), 1, "{tried:?}");
    }
    assert_eq!(tried.iter().filter(|t| **t == Reserved::Locked(7)).count(), 15, "{tried:?}");
    assert_eq!(store.set(|tx| Ok(logins::reserve(tx, CLUSTER, "app", 5, 8)?)), Reserved::Locked(7));
    assert_eq!(store.set(|tx| Ok(logins::reserve(tx, CLUSTER, "admin", 5, 8)?)), Reserved::Spent(1));
    assert_eq!(store.get(|tx| logins::all(tx, CLUSTER)), [("admin".to_owned(), 1), ("app".to_owned(), 5)]);
    store.set(|tx| Ok(logins::clear(tx, CLUSTER, "app")?));
    assert_eq!(store.set(|tx| Ok(logins::reserve(tx, CLUSTER, "app", 5, 9)?)), Reserved::Spent(1));
}

/// A change between reading and acknowledging has a number of its own and outlives the acknowledgement.
pub fn acknowledgement_spares_what_is_newer<E: Executor>() {
    let store = E::vault();
    store.set(|tx| {
        outbox::put(tx, CLUSTER, "activated", "1")?;
        Ok(outbox::put(tx, CLUSTER, "changed", "1")?)
    });
    let read = store.get(|tx| outbox::after(tx, 0));
    assert_eq!(read.iter().map(|e| (e.seq, e.kind.as_str())).collect::<Vec<_>>(), [(1, "activated"), (2, "changed")]);
    store.set(|tx| Ok(outbox::put(tx, CLUSTER, "changed", "2")?));
    store.set(|tx| Ok(outbox::ack(tx, 2)?));
    let left = store.get(|tx| outbox::after(tx, 0));
    assert_eq!(left.iter().map(|e| (e.seq, e.data.as_str())).collect::<Vec<_>>(), [(3, "2")]);
    store.set(|tx| Ok(outbox::ack(tx, 3)?));
    store.set(|tx| Ok(outbox::put(tx, CLUSTER, "changed", "3")?));
    assert_eq!(store.get(|tx| outbox::after(tx, 3)).iter().map(|e| e.seq).collect::<Vec<_>>(), [4], "no number twice");
}

/// A client repeats its call on two HSMs at once: one result is kept, and the other transaction is undone whole.
pub fn request_is_answered_once<E: Executor>() {
    let store = E::vault();
    for round in 0..ROUNDS {
        let contenders = [1u8, 2].map(|side| -> Contender<Vec<u8>> {
            Box::new(move |tx| {
                if let Some(request) = requests::get(tx, CLUSTER, "app", &[round; 16])? {
                    return Ok(request.result);
                }
                let object =
                    Object { object_id: i64::from(round) * 2 + i64::from(side), version: 1, sealed: vec![side] };
                objects::put(tx, CLUSTER, 1, &object)?;
                requests::put(tx, CLUSTER, "app", &[round; 16], &[0; 32], &[side], 100 + i64::from(round))?;
                Ok(vec![side])
            })
        });
        let results: Vec<_> = race(&store, contenders.into()).into_iter().map(Result::unwrap).collect();
        assert_eq!(results[0], results[1]);
    }
    assert_eq!(store.get(|tx| objects::page(tx, CLUSTER, 1, None, 100)).len(), usize::from(ROUNDS));
    let again = store.write(|tx| Ok(requests::put(tx, CLUSTER, "app", &[0; 16], &[0; 32], b"other", 100)?));
    assert!(matches!(again, Err(WriteError::Refused(Failure::Store(StoreError::Conflict(_))))), "{again:?}");
    store.set(|tx| Ok(requests::sweep(tx, 103, 3)?));
    let kept = |n: u8| store.get(|tx| requests::get(tx, CLUSTER, "app", &[n; 16])).is_some();
    assert_eq!([kept(2), kept(3), kept(4)], [false, true, true], "the oldest first, at most three");
}

fn cluster(state: &str) -> clusters::Cluster {
    clusters::Cluster { cluster_id: CLUSTER.into(), state: state.into(), ..clusters::Cluster::default() }
}

/// Rows that a cut installation staged go; those of the epoch that was installed stay.
pub fn staged_rows_go_with_their_epoch<E: Executor>() {
    let store = E::vault();
    store.set(|tx| {
        for epoch in [1, 2] {
            users::put(tx, CLUSTER, epoch, &User { name: "app".into(), version: epoch, sealed: vec![1] })?;
            objects::put(tx, CLUSTER, epoch, &Object { object_id: 7, version: epoch, sealed: vec![2] })?;
            objects::put(tx, "cluster-bbbbbbbbbbb", epoch, &Object { object_id: 7, version: 9, sealed: vec![3] })?;
        }
        Ok(vault::delete_other_epochs(tx, CLUSTER, 2)?)
    });
    let of = |cluster: &'static str, epoch| store.get(|tx| objects::page(tx, cluster, epoch, None, 10)).len();
    assert_eq!([of(CLUSTER, 1), of(CLUSTER, 2)], [0, 1]);
    assert_eq!([of("cluster-bbbbbbbbbbb", 1), of("cluster-bbbbbbbbbbb", 2)], [1, 1]);
    assert_eq!(store.get(|tx| users::all(tx, CLUSTER, 1)), []);
    assert_eq!(store.get(|tx| users::all(tx, CLUSTER, 2)).len(), 1);
}

/// Destroyed: nothing sealed is left but the tombstone, and its outbox is not taken from the control plane.
pub fn tombstone_keeps_no_row<E: Executor>() {
    let store = E::vault();
    store.set(|tx| {
        clusters::put(tx, &cluster("active"))?;
        heads::compare_and_set(tx, CLUSTER, 1, b"head")?;
        users::put(tx, CLUSTER, 1, &User { name: "app".into(), version: 1, sealed: vec![1] })?;
        objects::put(tx, CLUSTER, 1, &Object { object_id: 7, version: 1, sealed: vec![2] })?;
        logins::reserve(tx, CLUSTER, "app", 5, 7)?;
        requests::put(tx, CLUSTER, "app", &[1; 16], &[0; 32], b"result", 100)?;
        outbox::put(tx, CLUSTER, "health", "damaged")?;
        Ok(())
    });
    store.set(|tx| {
        vault::delete_all(tx, CLUSTER)?;
        Ok(clusters::put(tx, &cluster("destroyed"))?)
    });
    assert_eq!(store.get(|tx| clusters::get(tx, CLUSTER)), Some(cluster("destroyed")));
    assert_eq!(store.get(clusters::all).len(), 1);
    assert_eq!(store.get(|tx| heads::get(tx, CLUSTER)), None);
    assert_eq!(store.get(|tx| users::all(tx, CLUSTER, 1)), []);
    assert_eq!(store.get(|tx| objects::page(tx, CLUSTER, 1, None, 10)), []);
    assert_eq!(store.get(|tx| logins::all(tx, CLUSTER)), []);
    assert_eq!(store.get(|tx| requests::get(tx, CLUSTER, "app", &[1; 16])), None);
    assert_eq!(store.get(|tx| outbox::after(tx, 0)).len(), 1);
}

/// An HSM's row is replaced, and a tombstone is a row like any other to a start that binds what it finds.
pub fn withdrawn_hsm_stays<E: Executor>() {
    let store = E::vault();
    let hsm = Hsm { hsm_id: "hsm-a".into(), cluster_id: CLUSTER.into(), address: "127.0.0.1".into(), withdrawn: false };
    let (served, withdrawn) = (hsm.clone(), Hsm { withdrawn: true, ..hsm });
    let expected = withdrawn.clone();
    store.set(move |tx| Ok(hsms::put(tx, &served)?));
    store.set(move |tx| Ok(hsms::put(tx, &withdrawn)?));
    assert_eq!(store.get(|tx| hsms::get(tx, "hsm-a")), Some(expected.clone()));
    assert_eq!(store.get(hsms::all), [expected]);
}

/// Every object once, by id, from a page size that does not divide their number.
pub fn objects_come_in_pages<E: Executor>() {
    let store = E::vault();
    store.set(|tx| {
        for id in (0..23).rev() {
            objects::put(tx, CLUSTER, 1, &Object { object_id: id, version: 1, sealed: vec![] })?;
        }
        objects::put(tx, CLUSTER, 1, &Object { object_id: 3, version: 2, sealed: vec![9] })?;
        Ok(objects::delete(tx, CLUSTER, 1, 4)?)
    });
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.get(|tx| objects::page(tx, CLUSTER, 1, after, 5));
        let Some(last) = page.last() else { break };
        after = Some(last.object_id);
        seen.extend(page.iter().map(|o| (o.object_id, o.version)));
    }
    let expected: Vec<_> = (0..23).filter(|id| *id != 4).map(|id| (id, if id == 3 { 2 } else { 1 })).collect();
    assert_eq!(seen, expected);
}
