//! What is durable: repeats, other hosts, damage, a full vault.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::region::Region;
use crate::root::Roots;
use crate::rows::memory::MemoryRows;
use crate::rows::{HeadRow, ObjectRow, RequestRow, Rows, RowsError, VaultTx};

/// What the vault holds.
fn stored<T>(rows: &MemoryRows, read: fn(&mut dyn VaultTx) -> Result<T, RowsError>) -> T {
    let mut found = None;
    rows.read(&mut |tx| {
        found = Some(read(tx)?);
        Ok(())
    })
    .unwrap();
    found.unwrap()
}

/// Changes an object's row behind the cluster's back.
fn with_object(served: &Served, handle: Ulong, change: impl Fn(&mut dyn VaultTx, u64, ObjectRow)) {
    served.rig.change(&mut |tx| {
        let epoch = tx.cluster(CLUSTER)?.unwrap().epoch;
        let row = tx.objects(CLUSTER, epoch, Some(handle - 1), 1)?.remove(0);
        change(tx, epoch, row);
        Ok(())
    });
}

#[test]
fn a_repeated_request_gives_the_first_result_on_every_hsm() {
    let served = Served::with_users();
    let elsewhere = served.elsewhere();
    let (mut alice, mut other) = (served.alice(), elsewhere.alice());
    let create = || generate_ec(ec::Curve::P256, "signer");
    let pair = |answer| match answer {
        Ok(Answer::Pair { public, private }) => (public, private),
        other => panic!("{other:?}"),
    };
    let (public, private) = pair(alice.send([1; 16], create()));
    for session in [&mut alice, &mut other] {
        assert_eq!(pair(session.send([1; 16], create())), (public, private));
    }
    assert_eq!(alice.found(vec![]).len(), 2);
    let refused = other.send([1; 16], generate_aes(vec![token()])).unwrap_err();
    assert_eq!(refused.ckr, CKR_ARGUMENTS_BAD);
    assert!(matches!(alice.send([2; 16], Call::DestroyObject(private)), Ok(Answer::Done)));
    assert!(matches!(other.send([2; 16], Call::DestroyObject(private)), Ok(Answer::Done)), "deletes are repeated too");
    assert_eq!(other.ckr(Call::DestroyObject(private)), CKR_OBJECT_HANDLE_INVALID);
    let mut bob = served.log_in("bob", Role::CryptoUser);
    assert_ne!(pair(bob.send([1; 16], create())).0, public, "another user's request is another one");
}

#[test]
fn a_changing_request_without_an_id_is_refused_and_a_repeated_activation_is_not() {
    let served = Served::new();
    let mut session = served.session();
    let request = Request { request_id: None, call: Call::Activate(secret(PASSWORD)) };
    assert!(matches!(session.answer(request), Response::Failed(Failure { ckr: CKR_ARGUMENTS_BAD, .. })));
    session.send([1; 16], Call::Activate(secret(PASSWORD))).unwrap();
    session.send([1; 16], Call::Activate(secret(PASSWORD))).unwrap();
    let refused = session.send([1; 16], Call::Activate(secret(b"password2"))).unwrap_err();
    assert_eq!(refused.ckr, CKR_ARGUMENTS_BAD, "the password is part of what was asked");
}

#[test]
fn no_stored_row_shows_a_password_or_its_plain_hash() {
    let served = Served::new();
    served.session().send([1; 16], Call::Activate(secret(PASSWORD))).unwrap();
    let row: Option<RequestRow> = stored(&served.rig.rows, |tx| tx.request(CLUSTER, "admin", &[1; 16]));
    let encoded = strongroom_link::frame::encode(&Call::Activate(secret(PASSWORD))).unwrap();
    let plain = crate::digest::Digest::Sha256.hash(&encoded);
    let digest = row.unwrap().input_digest;
    assert_ne!(digest, plain.as_ref());
    assert_eq!(digest.len(), 32);
}

#[test]
fn two_hosts_write_side_by_side_and_lose_nothing() {
    let served = Served::with_users();
    let elsewhere = served.elsewhere();
    std::thread::scope(|scope| {
        for served in [&served, &elsewhere] {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut alice = served.alice();
                    for _ in 0..5 {
                        // Eight lost races in a row are told to the client, who tries again.
                        let id = random(&SystemRng);
                        while alice.send(id, generate_aes(vec![token()])).is_err() {}
                    }
                });
            }
        }
    });
    served.rig.verified_head(CLUSTER);
    for served in [served.elsewhere(), served, elsewhere] {
        served.cluster.reload().unwrap();
        assert_eq!(served.alice().found(vec![]).len(), 20);
        assert!(served.health.0.lock().unwrap().iter().all(Option::is_none));
    }
}

#[test]
fn the_head_holds_after_every_kind_of_write() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let mut admin = served.log_in("admin", Role::Admin);
    let mut version = served.rig.verified_head(CLUSTER).version;
    let key = alice.handle(generate_aes(vec![token()]));
    let calls = [
        (true, Call::SetAttributes { handle: key, template: vec![Attribute::bytes(CKA_LABEL, "x")] }),
        (true, Call::DestroyObject(key)),
        (false, create_user("carol", Role::CryptoUser)),
        (false, change_password("carol", Role::CryptoUser, b"password2")),
        (false, Call::DeleteUser { user: "carol".into(), role: Role::CryptoUser }),
    ];
    version += 1;
    for (is_alice, call) in calls {
        if is_alice {
            alice.ask(call)
        } else {
            admin.ask(call)
        };
        version += 1;
        assert_eq!(served.rig.verified_head(CLUSTER).version, version);
    }
    assert_eq!(served.elsewhere().alice().found(vec![]), []);
}

#[test]
fn a_restarted_host_serves_what_was_answered() {
    let served = Served::with_users();
    let (public, private) = served.alice().pair(generate_rsa(2048, "signer"));
    let restarted = served.elsewhere();
    let mut alice = restarted.alice();
    let signature = alice.bytes(sign(private, CKM_SHA256_RSA_PKCS, b"message"));
    alice.ask(verify(public, CKM_SHA256_RSA_PKCS, b"message", &signature));
}

#[test]
fn damaged_rows_are_never_used() {
    type Damage = fn(&mut dyn VaultTx, u64, ObjectRow);
    let damages: [(&str, Damage); 4] = [
        ("a flipped bit", |tx, epoch, mut row| {
            row.sealed[40] ^= 1;
            tx.put_object(CLUSTER, epoch, &row).unwrap();
        }),
        ("a row in another's place", |tx, epoch, mut row| {
            row.object += 1;
            tx.put_object(CLUSTER, epoch, &row).unwrap();
        }),
        ("a missing row", |tx, epoch, row| assert!(tx.delete_object(CLUSTER, epoch, row.object).unwrap())),
        ("another version", |tx, epoch, mut row| {
            row.version += 1;
            tx.put_object(CLUSTER, epoch, &row).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let served = Served::with_users();
        let (_, private) = served.alice().pair(generate_ec(ec::Curve::P256, "signer"));
        let mut running = served.alice();
        with_object(&served, private, damage);
        let restarted = served.elsewhere();
        let mut session = restarted.session();
        let calls = [Call::Info, Call::ListUsers, login("alice", Role::CryptoUser, PASSWORD)];
        for call in calls {
            let refused = session.try_ask(call).unwrap_err();
            assert_eq!(refused.ckr, CKR_DEVICE_ERROR, "{what}");
            assert!(refused.message.starts_with(&format!("{CLUSTER} is DEGRADED")), "{}", refused.message);
        }
        assert!(matches!(restarted.health.0.lock().unwrap().as_slice(), [Some(_)]));
        // A host that runs notices when it reads the rows again, and then signs nothing either.
        served.cluster.reload().unwrap();
        assert_eq!(running.ckr(sign(private, CKM_ECDSA, &[1; 32])), CKR_DEVICE_ERROR, "{what}");
    }
}

#[test]
fn a_repaired_cluster_is_served_again() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let key = alice.handle(generate_aes(vec![token()]));
    let row = stored(&served.rig.rows, |tx| tx.objects(CLUSTER, 1, None, 1)).remove(0);
    with_object(&served, key, |tx, epoch, _| assert!(tx.delete_object(CLUSTER, epoch, key).unwrap()));
    served.cluster.reload().unwrap();
    assert_eq!(alice.ckr(Call::Random(1)), CKR_DEVICE_ERROR);
    served.rig.change(&mut |tx| tx.put_object(CLUSTER, 1, &row));
    served.cluster.reload().unwrap();
    alice.ask(Call::Random(1));
    assert!(matches!(served.health.0.lock().unwrap().as_slice(), [None, Some(_), None]));
}

#[test]
fn a_head_lower_than_the_one_served_is_damage_though_its_rows_fit() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let key = alice.handle(generate_aes(vec![token()]));
    let row = stored(&served.rig.rows, |tx| tx.objects(CLUSTER, 1, None, 1)).remove(0);
    let head: HeadRow = stored(&served.rig.rows, |tx| tx.head(CLUSTER)).unwrap();
    alice.ask(Call::SetAttributes { handle: key, template: vec![Attribute::bytes(CKA_LABEL, "new")] });
    served.rig.change(&mut |tx| {
        tx.put_object(CLUSTER, 1, &row)?;
        tx.put_head(CLUSTER, &head)
    });
    served.elsewhere().alice().ask(Call::Random(1));
    served.cluster.reload().unwrap();
    let refused = alice.try_ask(Call::Random(1)).unwrap_err();
    assert!(refused.message.contains("went back"), "{}", refused.message);
}

#[test]
fn a_full_vault_changes_nothing_and_says_so() {
    let served = Served::with_users();
    let mut alice = served.alice();
    served.rig.rows.fill_after(Some(0));
    let refused = alice.try_ask(generate_aes(vec![token()])).unwrap_err();
    assert_eq!(refused.ckr, CKR_DEVICE_MEMORY);
    assert_eq!(refused.message, "Nothing was changed: the store is full.");
    assert_eq!(alice.found(vec![]), []);
    served.rig.rows.fill_after(None);
    alice.handle(generate_aes(vec![token()]));
    served.rig.verified_head(CLUSTER);
}

/// A vault that commits and then loses the answer, while `loses` is set; with `is_dead` nothing is answered any more.
#[derive(Debug)]
struct Faulty {
    rows: Arc<MemoryRows>,
    loses: AtomicBool,
    is_dead: AtomicBool,
}

impl Rows for Faulty {
    fn read(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError> {
        if self.is_dead.load(Ordering::Relaxed) {
            return Err(RowsError::Failed("dead".into()));
        }
        self.rows.read(closure)
    }

    fn write(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError> {
        self.rows.write(closure)?;
        if self.loses.load(Ordering::Relaxed) { Err(RowsError::Failed("cut".into())) } else { Ok(()) }
    }
}

#[test]
fn a_commit_whose_answer_is_lost_is_looked_up_and_never_made_twice() {
    let served = Served::with_users();
    let rows = Arc::clone(&served.rig.rows);
    let faulty = Arc::new(Faulty { rows, loses: AtomicBool::new(false), is_dead: AtomicBool::new(false) });
    let region = served.rig.host.region();
    let roots = Roots::new(vec![served.rig.root.clone()]).unwrap();
    let (id, clock, rng) = (region.region_id.clone(), Arc::clone(&region.clock), Arc::clone(&region.rng));
    let region = Arc::new(Region::new(id, roots, Arc::clone(&faulty) as _, clock, rng));
    let mut alice = Session::new(open_in(&region, &served.health), HSM, "127.0.0.1");
    alice.ask(login("alice", Role::CryptoUser, PASSWORD));
    faulty.loses.store(true, Ordering::Relaxed);
    let key = alice.handle(generate_aes(vec![token()]));
    assert_eq!(alice.found(vec![]), [key]);
    let first = alice.send([1; 16], generate_aes(vec![token()])).unwrap();
    faulty.is_dead.store(true, Ordering::Relaxed);
    assert_eq!(alice.send([2; 16], Call::DestroyObject(key)).unwrap_err().ckr, CKR_DEVICE_ERROR);
    faulty.is_dead.store(false, Ordering::Relaxed);
    faulty.loses.store(false, Ordering::Relaxed);
    let again = alice.send([1; 16], generate_aes(vec![token()])).unwrap();
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_eq!(alice.found(vec![]).len(), 2, "the refused delete never reached the vault");
    served.rig.verified_head(CLUSTER);
}

#[test]
fn a_cluster_without_certificates_is_not_activated() {
    let rig = Rig::new();
    rig.identity(CLUSTER);
    let mut session = Session::new(open_in(rig.host.region(), &Arc::default()), HSM, "127.0.0.1");
    let refused = session.try_ask(Call::Activate(secret(PASSWORD))).unwrap_err();
    assert_eq!(refused.ckr, CKR_ACTION_PROHIBITED);
    assert!(refused.message.contains("InitializeCluster"), "{}", refused.message);
}

#[test]
fn a_destroyed_cluster_forgets_its_keys() {
    let served = Served::with_users();
    let mut alice = served.alice();
    let (_, private) = alice.pair(generate_ec(ec::Curve::P256, "signer"));
    served.cluster.close();
    let refused = alice.try_ask(sign(private, CKM_ECDSA, &[1; 32])).unwrap_err();
    assert_eq!(refused.message, format!("{CLUSTER} was deleted"));
}

#[test]
fn many_connections_sign_at_once() {
    let served = Served::with_users();
    let (public, private) = served.alice().pair(generate_ec(ec::Curve::P256, "signer"));
    std::thread::scope(|scope| {
        for n in 0..8_u8 {
            let served = &served;
            scope.spawn(move || {
                let mut alice = served.alice();
                for _ in 0..20 {
                    let signature = alice.bytes(sign(private, CKM_ECDSA_SHA256, &[n]));
                    alice.ask(verify(public, CKM_ECDSA_SHA256, &[n], &signature));
                    if n == 0 {
                        alice.handle(generate_aes(vec![token()]));
                    }
                }
            });
        }
    });
}
