//! Clusters, their HSMs and tags; answers by invocation id; the rows about the region itself.

use std::collections::BTreeMap;

use strongroom_model::cluster::ClusterState;
use strongroom_model::tag::TAGS_MAX;
use strongroom_model::{AccountId, BackupId, ClusterId, EniId, HsmId, SubnetId, Tag, Timestamp, VpcId};
use strongroom_store::control::audit::{self, Records};
use strongroom_store::control::clusters::{self, Cluster, Query};
use strongroom_store::control::hsms::{self, Hsm};
use strongroom_store::control::idempotency::{self, Key};
use strongroom_store::control::{alarms, meta, tags};
use strongroom_store::{StoreError, Tx, WriteError};

use crate::executor::{Contender, Executor, Failure, ROUNDS, race, winners};

/// A cluster in a state, its id made of a number.
pub fn cluster(n: u8, state: ClusterState) -> Cluster {
    Cluster {
        cluster_id: ClusterId::from_bytes([n; 7]),
        account: AccountId::new("000000000000"),
        state,
        ..Cluster::default()
    }
}

fn hsm(n: u8, cluster: &ClusterId, address: String) -> Hsm {
    Hsm {
        hsm_id: HsmId::from_bytes([n; 7]),
        cluster_id: cluster.clone(),
        eni_id: EniId::from_bytes([n; 9]),
        eni_ip: address,
        ..Hsm::default()
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Before activation a cluster has one HSM at most: the other contender sees its row.
pub fn first_hsm_is_one<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let row = cluster(round, ClusterState::Uninitialized);
        let id = row.cluster_id.clone();
        store.set(move |tx| Ok(clusters::insert(tx, &row)?));
        let contenders = [1, 2].map(|side| -> Contender<()> {
            let row = hsm(round * 2 + side, &id, format!("127.0.{side}.{round}"));
            Box::new(move |tx| match hsms::of_cluster(tx, &row.cluster_id)?.len() {
                0 => Ok(hsms::insert(tx, &row)?),
                _ => Err(Failure::Refused),
            })
        });
        let results = race(&store, contenders.into());
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
        assert!(results.contains(&Err(WriteError::Refused(Failure::Refused))), "{results:?}");
        assert_eq!(store.get(|tx| hsms::of_cluster(tx, &id)).len(), 1);
    }
}

/// Each takes the lowest address that is free, and a taken one is a conflict.
pub fn addresses_are_not_shared<E: Executor>() {
    let store = E::control();
    let id = ClusterId::from_bytes([0; 7]);
    for round in 0..ROUNDS {
        let contenders = [1, 2].map(|side| -> Contender<()> {
            let mut row = hsm(round * 2 + side, &id, String::new());
            Box::new(move |tx| {
                let taken = hsms::addresses(tx)?;
                let free = (1..=250).map(|n| format!("127.0.0.{n}")).find(|a| !taken.contains(a));
                row.eni_ip = free.ok_or(Failure::Refused)?;
                Ok(hsms::insert(tx, &row)?)
            })
        });
        assert!(race(&store, contenders.into()).iter().all(Result::is_ok));
    }
    let mut addresses = store.get(hsms::addresses);
    addresses.sort_by_key(|a| a.rsplit('.').next().unwrap().parse::<u8>().unwrap());
    let lowest: Vec<_> = (1..=ROUNDS * 2).map(|n| format!("127.0.0.{n}")).collect();
    assert_eq!(addresses, lowest);
    let twin = hsm(255, &id, "127.0.0.1".into());
    let refused = store.write(move |tx| Ok(hsms::insert(tx, &twin)?));
    assert!(matches!(refused, Err(WriteError::Refused(Failure::Store(StoreError::Conflict(_))))), "{refused:?}");
}

/// DeleteCluster against CreateHsm: never an HSM in a cluster that goes.
pub fn cluster_goes_or_gets_an_hsm<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let row = cluster(round, ClusterState::Active);
        let id = row.cluster_id.clone();
        store.set(move |tx| Ok(clusters::insert(tx, &row)?));
        let (created, deleted) = (id.clone(), id.clone());
        let row = hsm(round, &id, format!("127.0.0.{round}"));
        let contenders: Vec<Contender<bool>> = vec![
            Box::new(move |tx| {
                let active = clusters::get(tx, &created)?.is_some_and(|c| c.state == ClusterState::Active);
                if active {
                    hsms::insert(tx, &row)?;
                }
                Ok(active)
            }),
            Box::new(move |tx| Ok(clusters::delete_in_progress(tx, &deleted, "goes")?)),
        ];
        assert_eq!(winners(race(&store, contenders)), 1);
        let state = store.get(|tx| clusters::get(tx, &id)).unwrap().state;
        let hsms = store.get(|tx| hsms::of_cluster(tx, &id)).len();
        assert!(
            matches!((state, hsms), (ClusterState::Active, 1) | (ClusterState::DeleteInProgress, 0)),
            "{state} {hsms}"
        );
    }
}

/// Two calls that fit alone do not fit together.
pub fn tags_are_at_most_fifty<E: Executor>() {
    let store = E::control();
    let tag = |key: String| Tag { key, value: String::new() };
    for round in 0..ROUNDS {
        let id = format!("cluster-{round}");
        let there: Vec<_> = (0..45).map(|n| tag(format!("there-{n}"))).collect();
        let resource = id.clone();
        store.set(move |tx| Ok(tags::put(tx, &resource, &there)?));
        let contenders = ["a", "b"].map(|side| -> Contender<()> {
            let (id, more) = (id.clone(), (0..5).map(|n| tag(format!("{side}-{n}"))).collect::<Vec<_>>());
            Box::new(move |tx| {
                tags::put(tx, &id, &more)?;
                if tags::list(tx, &id)?.len() > TAGS_MAX { Err(Failure::Refused) } else { Ok(()) }
            })
        });
        let results = race(&store, contenders.into());
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
        assert_eq!(store.get(|tx| tags::list(tx, &id)).len(), TAGS_MAX);
    }
}

/// Tags stand in the order in which they were put, an overwritten one where it stood; a copy has them alike.
pub fn tags_keep_their_order<E: Executor>() {
    let store = E::control();
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    let first = vec![tag("owner", "a"), tag("Zone", "b")];
    let more = vec![tag("custodian", "c"), tag("owner", "d")];
    store.set(move |tx| Ok(tags::put(tx, "cluster-a", &first)?));
    store.set(move |tx| Ok(tags::put(tx, "cluster-a", &more)?));
    store.set(|tx| Ok(tags::copy_all(tx, "cluster-a", "backup-a")?));
    let expected = [tag("owner", "d"), tag("Zone", "b"), tag("custodian", "c")];
    for resource in ["cluster-a", "backup-a"] {
        assert_eq!(store.get(|tx| tags::list(tx, resource)), expected);
        let second = store.get(|tx| tags::after(tx, resource, 0))[1].0;
        assert_eq!(store.get(|tx| tags::after(tx, resource, second)).len(), 1);
    }
    assert_eq!(store.get(|tx| tags::resources(tx, "", 9)), ["backup-a", "cluster-a"]);
    assert_eq!(store.get(|tx| tags::resources(tx, "backup-a", 9)), ["cluster-a"]);
}

/// I2: the certificates were checked against one CSR and hold for that alone; a second call is told the state.
pub fn initialized_by_the_csr_that_was_checked<E: Executor>() {
    let store = E::control();
    let row = cluster(1, ClusterState::Uninitialized);
    let id = row.cluster_id.clone();
    store.set(move |tx| Ok(clusters::insert(tx, &row)?));
    let edge = |csr: &'static str| {
        let id = id.clone();
        move |tx: &mut dyn Tx| Ok(clusters::initialize_in_progress(tx, &id, csr, "leaf", "ca", "…")?)
    };
    assert!(!store.set(edge("csr")), "there is no CSR yet");
    let made = id.clone();
    assert!(store.set(move |tx| Ok(clusters::set_identity(tx, &made, "csr", ["a", "b", "c"])?)));
    let again = id.clone();
    assert!(!store.set(move |tx| Ok(clusters::set_identity(tx, &again, "another", ["a", "b", "c"])?)));
    assert!(!store.set(edge("another")));
    assert_eq!(winners(race(&store, vec![Box::new(edge("csr")), Box::new(edge("csr"))])), 1);
    let row = store.get(|tx| clusters::get(tx, &id)).unwrap();
    assert_eq!((row.state, row.cluster_certificate.as_deref()), (ClusterState::InitializeInProgress, Some("leaf")));
}

/// The password and the certificates may come in either order; ACTIVE needs both.
pub fn active_needs_both<E: Executor>() {
    let store = E::control();
    let row = cluster(1, ClusterState::InitializeInProgress);
    let id = row.cluster_id.clone();
    store.set(move |tx| Ok(clusters::insert(tx, &row)?));
    let each = id.clone();
    let steps = store.set(move |tx| {
        Ok([
            clusters::active(tx, &each)?,
            clusters::initialized(tx, &each)?,
            clusters::active(tx, &each)?,
            clusters::activated(tx, &each, at(5))?,
            clusters::activated(tx, &each, at(6))?,
            clusters::active(tx, &each)?,
            clusters::active(tx, &each)?,
        ])
    });
    assert_eq!(steps, [false, true, false, true, false, true, false]);
    let row = store.get(|tx| clusters::get(tx, &id)).unwrap();
    assert_eq!((row.state, row.activated_at), (ClusterState::Active, Some(at(5))));
}

fn key(invocation: u8, input: u8) -> Key {
    Key {
        account: AccountId::new("000000000000"),
        principal: "arn:aws:iam::000000000000:user/test".into(),
        operation: "CopyBackupToRegion".into(),
        invocation_id: format!("invocation-{invocation}"),
        input_digest: [input; 32],
    }
}

/// One call by its invocation id: the first answer, unless there is one; each effect is an audit row.
fn call(key: Key, answer: String) -> Contender<String> {
    Box::new(move |tx| {
        if let Some(answer) = idempotency::find(tx, &key, at(10))? {
            return Ok(answer);
        }
        audit::append(tx, "writer", &Records::one(at(10), &answer))?;
        idempotency::insert(tx, &key, &answer, at(0), at(20))?;
        Ok(answer.clone())
    })
}

/// A repeat that overtakes its original gets the same answer, and there is one effect.
pub fn answer_is_given_once<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let contenders = [1, 2].map(|side| call(key(round, 0), format!("copy {round}.{side}")));
        let answers: Vec<_> = race(&store, contenders.into()).into_iter().map(Result::unwrap).collect();
        assert_eq!(answers[0], answers[1]);
    }
    assert_eq!(store.get(|tx| audit::after(tx, 0, 1_000)).len(), usize::from(ROUNDS));
}

/// The same id with another input is another call, never an error.
pub fn other_input_is_another_call<E: Executor>() {
    let store = E::control();
    let contenders = [1, 2].map(|side| call(key(0, side), format!("copy {side}")));
    let answers: Vec<_> = race(&store, contenders.into()).into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, ["copy 1", "copy 2"]);
}

/// An answer ends at its time, and the sweep takes the oldest first, at most so many.
pub fn answers_end<E: Executor>() {
    let store = E::control();
    store.set(|tx| {
        for n in 0..5 {
            idempotency::insert(tx, &key(n, 0), "answer", at(0), at(20 + i64::from(n)))?;
        }
        Ok(())
    });
    let found = |n, now| store.get(|tx| idempotency::find(tx, &key(n, 0), at(now))).is_some();
    assert!(found(0, 19) && !found(0, 20));
    assert_eq!(store.set(|tx| Ok(idempotency::sweep(tx, at(23), 3)?)), 3);
    assert!(!found(2, 0) && found(3, 0));
    assert_eq!(store.set(|tx| Ok(idempotency::sweep(tx, at(23), 3)?)), 1);
    assert!(!found(3, 0) && found(4, 0));
}

/// A2, A3: two readers of the same events apply them once.
pub fn outbox_cursor_moves_once<E: Executor>() {
    let store = E::control();
    for round in 0..i64::from(ROUNDS) {
        let contenders = [1, 2]
            .map(|_| -> Contender<bool> { Box::new(move |tx| Ok(meta::move_outbox_cursor(tx, round, round + 1)?)) });
        assert_eq!(winners(race(&store, contenders.into())), 1);
    }
    assert_eq!(store.get(meta::outbox_cursor), i64::from(ROUNDS));
}

/// Raised again, an alarm keeps its beginning; cleared, it can begin anew.
pub fn alarm_stays_as_it_began<E: Executor>() {
    let store = E::control();
    store.set(|tx| Ok(alarms::raise(tx, "behind", "peer", "first", at(1))?));
    store.set(|tx| Ok(alarms::raise(tx, "behind", "peer", "second", at(2))?));
    let raised = store.get(alarms::list);
    assert_eq!(raised.iter().map(|a| (a.text.as_str(), a.since)).collect::<Vec<_>>(), [("first", at(1))]);
    assert!(store.set(|tx| Ok(alarms::clear(tx, "behind", "peer")?)));
    assert!(!store.set(|tx| Ok(alarms::clear(tx, "behind", "peer")?)));
    assert_eq!(store.get(alarms::list), []);
}

/// Every cluster of an account on exactly one page, newest first, also where times are equal.
pub fn pages_show_each_row_once<E: Executor>() {
    let store = E::control();
    store.set(|tx| {
        for n in 0..23 {
            let mut row = cluster(n, if n % 4 == 0 { ClusterState::Deleted } else { ClusterState::Active });
            row.create_ts = at(i64::from(n / 5));
            row.vpc_id = VpcId::new(if n % 2 == 0 { "vpc-a" } else { "vpc-b" });
            clusters::insert(tx, &row)?;
        }
        let foreign = Cluster { account: AccountId::new("111111111111"), ..cluster(99, ClusterState::Active) };
        Ok(clusters::insert(tx, &foreign)?)
    });
    let walk = |query: Query| {
        let (mut seen, mut query) = (Vec::new(), Query { account: AccountId::new("000000000000"), limit: 4, ..query });
        loop {
            let page = store.get(|tx| clusters::page(tx, &query));
            assert!(page.rows.len() <= 4);
            seen.extend(page.rows.into_iter().map(|c| (c.create_ts, c.cluster_id)));
            match page.more {
                Some(after) => query.after = Some(after),
                None => return seen,
            }
        }
    };
    let expected = |keep: fn(u8) -> bool| {
        let mut rows: Vec<_> =
            (0..23).filter(|n| keep(*n)).map(|n| (at(i64::from(n / 5)), ClusterId::from_bytes([n; 7]))).collect();
        rows.sort_by(|a, b| b.cmp(a));
        rows
    };
    assert_eq!(walk(Query::default()), expected(|n| n % 4 != 0));
    let states = Some(vec![ClusterState::Deleted]);
    assert_eq!(walk(Query { states, ..Query::default() }), expected(|n| n % 4 == 0));
    let vpc_ids = Some(vec![VpcId::new("vpc-b")]);
    assert_eq!(walk(Query { vpc_ids, ..Query::default() }), expected(|n| n % 2 == 1));
    let cluster_ids = Some([3, 4, 5, 3, 99].map(|n| ClusterId::from_bytes([n; 7])).to_vec());
    assert_eq!(walk(Query { cluster_ids, ..Query::default() }), expected(|n| (3..=5).contains(&n)));
}

/// Each column keeps its value, the ones of several values too.
pub fn row_comes_back_as_it_was<E: Executor>() {
    let store = E::control();
    let mut row = cluster(1, ClusterState::Active);
    let subnets = [("us-east-1a", "subnet-0"), ("us-east-1b", "subnet-1")];
    row.subnets = BTreeMap::from(subnets.map(|(az, subnet)| (az.to_owned(), SubnetId::new(subnet)))).into();
    row.source_backup_id = Some(BackupId::from_bytes([1; 7]));
    row.state_message = Some("x".repeat(300));
    row.activated_at = Some(at(-5));
    let (id, written) = (row.cluster_id.clone(), row.clone());
    store.set(move |tx| Ok(clusters::insert(tx, &row)?));
    assert_eq!(store.get(|tx| clusters::get(tx, &id)), Some(written));
}
