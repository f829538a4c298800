use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn vault() -> (tempfile::TempDir, VaultRows) {
    let folder = tempfile::tempdir().unwrap();
    let rows = VaultRows::open(&folder.path().join("vault.db")).unwrap();
    (folder, rows)
}

fn cluster(state: ClusterState) -> ClusterRow {
    ClusterRow {
        cluster: "cluster-a".into(),
        state,
        epoch: 1,
        input_digest: vec![1; 32],
        lineage: "lineage".into(),
        mode: "FIPS".into(),
        sealed_keys: vec![2; 40],
        csr: "csr".into(),
        hardware_certificates: vec!["hsm".into(), "hardware".into(), "manufacturer".into()],
        cluster_certificate: String::new(),
        trust_anchor: String::new(),
    }
}

/// Reads one value in a transaction.
fn read<T>(rows: &VaultRows, mut look: impl FnMut(&mut dyn VaultTx) -> Result<T, RowsError>) -> T {
    let mut value = None;
    rows.read(&mut |tx| {
        value = Some(look(tx)?);
        Ok(())
    })
    .unwrap();
    value.unwrap()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let (folder, rows) = vault();
    let made = cluster(ClusterState::Made);
    rows.write(&mut |tx| {
        tx.put_meta(&MetaRow { region_id: "region".into(), roots: vec!["a".into(), "b".into()] })?;
        tx.put_cluster(&made)?;
        tx.put_cluster(&ClusterRow { cluster: "cluster-b".into(), hardware_certificates: vec![], ..made.clone() })?;
        tx.put_object("cluster-a", 1, &ObjectRow { object: 7, version: 2, sealed: vec![7] })?;
        tx.put_user("cluster-a", 1, &UserRow { user: "admin".into(), version: 1, sealed: vec![8] })?;
        tx.put_hsm(&HsmRow {
            hsm: "hsm-a".into(),
            cluster: "cluster-a".into(),
            address: "127.0.0.1".into(),
            withdrawn: true,
        })?;
        tx.put_outbox("cluster-a", "activated", "")?;
        tx.put_request("cluster-a", "admin", &[9; 16], &RequestRow { input_digest: vec![1], result: vec![2] }, 5)
    })
    .unwrap();
    drop(rows);
    let rows = VaultRows::open(&folder.path().join("vault.db")).unwrap();
    assert_eq!(read(&rows, |tx| tx.meta()).unwrap().roots, ["a", "b"]);
    assert_eq!(read(&rows, |tx| tx.cluster("cluster-a")), Some(made));
    assert!(read(&rows, |tx| tx.cluster("cluster-b")).unwrap().hardware_certificates.is_empty());
    assert_eq!(read(&rows, |tx| tx.objects("cluster-a", 1, None, 9))[0].object, 7);
    assert_eq!(read(&rows, |tx| tx.users("cluster-a", 1))[0].user, "admin");
    assert!(read(&rows, |tx| tx.hsm("hsm-a")).unwrap().withdrawn);
    assert_eq!(read(&rows, |tx| tx.outbox(0))[0].kind, "activated");
    assert_eq!(read(&rows, |tx| tx.request("cluster-a", "admin", &[9; 16])).unwrap().result, [2]);
}

#[test]
fn a_closure_that_fails_or_panics_changes_nothing() {
    let (_folder, rows) = vault();
    let refused = rows.write(&mut |tx| {
        tx.put_outbox("cluster-a", "activated", "")?;
        Err(RowsError::Full)
    });
    assert!(matches!(refused, Err(RowsError::Full)));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        rows.write(&mut |tx| {
            tx.put_outbox("cluster-a", "activated", "")?;
            panic!("in a transaction");
        })
    }));
    assert!(panicked.is_err());
    assert!(read(&rows, |tx| tx.outbox(0)).is_empty());
    rows.write(&mut |tx| tx.put_outbox("cluster-a", "activated", "")).unwrap();
    assert_eq!(read(&rows, |tx| tx.outbox_seq()), 1);
}

#[test]
fn heads_follow_each_other_under_concurrent_writers() {
    let (_folder, rows) = vault();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    rows.write(&mut |tx| {
                        let version = tx.head("cluster-a")?.map_or(1, |head| head.version + 1);
                        let is_next = tx.compare_and_set_head("cluster-a", &HeadRow { version, sealed: vec![1] })?;
                        assert!(is_next, "{version} was read in the same transaction");
                        Ok(())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(read(&rows, |tx| tx.head("cluster-a")).unwrap().version, 100);
    let stale = HeadRow { version: 100, sealed: vec![] };
    rows.write(&mut |tx| {
        assert!(!tx.compare_and_set_head("cluster-a", &stale)?);
        Ok(())
    })
    .unwrap();
}

#[test]
fn tries_are_counted_to_the_limit() {
    let (_folder, rows) = vault();
    let mut counted = Vec::new();
    for at in 10..14 {
        rows.write(&mut |tx| {
            counted.push(tx.reserve_login("cluster-a", "app", 3, at)?);
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(counted, [LoginTry::Spent(1), LoginTry::Spent(2), LoginTry::Spent(3), LoginTry::Locked(12)]);
    rows.write(&mut |tx| tx.clear_login("cluster-a", "app")).unwrap();
    assert!(read(&rows, |tx| tx.logins("cluster-a")).is_empty());
}
