//! Tests of a whole host: the life of a cluster, snapshots and restores, the outbox, the start.

use std::sync::Arc;

use strongroom_link::host::{Answer, Call, Chunk, Failure, FailureCode, OutboxEvent, VERSION};

use super::{ChunkIo, Cut};
use crate::key::Key;
use crate::root::Root;
use crate::rows::{ClusterState, Rows};
use crate::seam::SystemRng;
use crate::testing::*;

const RESTORED: &str = "cluster-restored111";

fn hello(rig: &Rig) -> Call {
    Call::Hello {
        version: VERSION,
        region: "us-east-1".to_owned(),
        region_id: Some(rig.region_id().to_owned()),
        roots: vec![rig.root.fingerprint()],
        control_is_empty: false,
    }
}

fn serve(cluster: &str, hsm: &str, address: &str) -> Call {
    Call::Serve { cluster: cluster.to_owned(), hsm: hsm.to_owned(), address: address.to_owned() }
}

fn withdraw(cluster: &str, hsm: &str) -> Call {
    Call::Withdraw { cluster: cluster.to_owned(), hsm: hsm.to_owned() }
}

fn destroy(cluster: &str) -> Call {
    Call::Destroy { cluster: cluster.to_owned() }
}

fn outbox(rig: &Rig, cursor: u64) -> Vec<(String, OutboxEvent)> {
    match rig.call(Call::OutboxRead { cursor, wait_ms: 0 }) {
        Answer::Outbox(rows) => rows.into_iter().map(|row| (row.cluster, row.event)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hello_tells_who_the_host_is_and_refuses_another_region() {
    let rig = Rig::new();
    let Answer::Hello(hello_answer) = rig.call(hello(&rig)) else { panic!() };
    assert_eq!(hello_answer.region_id, rig.region_id());
    assert_eq!(hello_answer.roots, [rig.root.fingerprint()]);
    assert_eq!((hello_answer.hpke_keys.len(), hello_answer.identity_keys.len()), (1, 1));
    let Call::Hello { version, region, region_id, roots, control_is_empty } = hello(&rig) else { panic!() };
    let newer =
        Call::Hello { version: version + 1, region: region.clone(), region_id, roots: roots.clone(), control_is_empty };
    assert_eq!(rig.refusal(newer).code, FailureCode::WrongRegion);
    let other = Call::Hello { version, region, region_id: Some("other".to_owned()), roots, control_is_empty };
    assert!(rig.refusal(other).text.contains("the control store is region other"));
}

#[test]
fn a_host_opens_under_the_roots_of_its_vault_only() {
    let rig = Rig::with_cluster();
    let refused = Rig::open(vec![Root::generate(&SystemRng)], rig.rows.clone()).map(drop).unwrap_err();
    assert_eq!(refused.code, FailureCode::WrongRegion);
    assert!(refused.text.contains(&rig.root.fingerprint()));
    let empty = Rig::open(vec![rig.root.clone()], Arc::default()).map(drop).unwrap_err();
    assert_eq!(empty.code, FailureCode::WrongRegion);
    let rotated = Rig::open(vec![Root::generate(&SystemRng), rig.root.clone()], rig.rows.clone()).unwrap();
    assert_eq!(rotated.region_id(), rig.region_id());
    assert!(matches!(rotated.check(&rotated.snapshot()), Answer::Facts(_)));
    let backup = rig.snapshot();
    let Answer::Header(header) = rotated.call(Call::Reseal { header: backup.header.clone() }) else { panic!() };
    assert!(matches!(rotated.check(&Backup { header: header.clone(), ..backup.clone() }), Answer::Facts(_)));
    assert_eq!(refusal(rig.check(&Backup { header, ..backup })).code, FailureCode::Damaged, "the old root cannot");
}

#[test]
fn an_identity_is_made_once() {
    let rig = Rig::new();
    let identity = rig.identity(CLUSTER);
    assert_eq!(rig.identity(CLUSTER), identity);
    let head = rig.verified_head(CLUSTER);
    assert_eq!((head.version, head.count), (1, 2));
    let other = |mode: &str, hsm: &str| Call::CreateIdentity {
        cluster: CLUSTER.to_owned(),
        mode: mode.to_owned(),
        first_hsm: hsm.to_owned(),
    };
    assert_eq!(rig.refusal(other("NON_FIPS", HSM)).code, FailureCode::Conflict);
    assert_eq!(rig.refusal(other("FIPS", "hsm-other")).code, FailureCode::Conflict);
    assert_eq!(rig.refusal(other("fips", HSM)).code, FailureCode::Invalid);
}

#[test]
fn certificates_are_checked_and_installed_once() {
    let rig = Rig::new();
    let csr = rig.identity(CLUSTER).csr;
    let (signed_cert, trust_anchor) = sign(&csr);
    let check = Call::CheckCertificates {
        csr: csr.clone(),
        signed_cert: signed_cert.clone(),
        trust_anchor: trust_anchor.clone(),
    };
    assert!(matches!(rig.call(check), Answer::Done));
    let other = rig.identity("cluster-other111111").csr;
    let check =
        Call::CheckCertificates { csr: other, signed_cert: signed_cert.clone(), trust_anchor: trust_anchor.clone() };
    let refused = rig.refusal(check);
    assert_eq!(refused.code, FailureCode::Invalid);
    assert_eq!(
        refused.text,
        "SignedCert holds another key than the CSR of cluster-other111111. Fetch that CSR and sign it."
    );
    let install = |cluster: &str, (signed_cert, trust_anchor): (String, String)| Call::InstallCertificate {
        cluster: cluster.to_owned(),
        signed_cert,
        trust_anchor,
    };
    let ours = (signed_cert, trust_anchor);
    assert_eq!(rig.refusal(install("cluster-other111111", ours.clone())).code, FailureCode::Invalid);
    assert_eq!(rig.refusal(install("cluster-nobodys1111", ours.clone())).code, FailureCode::Unknown);
    for _ in 0..2 {
        assert!(matches!(rig.call(install(CLUSTER, ours.clone())), Answer::Done));
        assert_eq!(rig.row(CLUSTER).unwrap().state, ClusterState::Initialized);
    }
    assert_eq!(rig.refusal(install(CLUSTER, sign(&csr))).code, FailureCode::Conflict);
    assert_eq!(rig.refusal(snapshot_of(CLUSTER)).code, FailureCode::Invalid, "there is nobody to use it yet");
}

#[test]
fn an_hsm_is_served_until_it_is_withdrawn_for_good() {
    let rig = Rig::new();
    assert_eq!(rig.refusal(serve(CLUSTER, HSM, "127.0.0.9")).code, FailureCode::Unknown);
    rig.identity(CLUSTER);
    for _ in 0..2 {
        let Answer::Served { bound, address, port, .. } = rig.call(serve(CLUSTER, HSM, "127.0.0.9")) else { panic!() };
        assert_eq!((bound, address.as_str(), port), (true, "127.0.0.9", 2225));
    }
    assert_eq!(rig.refusal(serve(CLUSTER, HSM, "127.0.0.8")).code, FailureCode::Conflict);
    assert_eq!(rig.refusal(withdraw("cluster-other111111", HSM)).code, FailureCode::Conflict);
    let restarted = Rig::open(vec![rig.root.clone()], rig.rows.clone()).unwrap();
    assert_eq!(restarted.host.bind_all().unwrap().len(), 1);
    for hsm in [HSM, HSM, "hsm-neverserved1"] {
        assert!(matches!(rig.call(withdraw(CLUSTER, hsm)), Answer::Done));
        assert_eq!(rig.refusal(serve(CLUSTER, hsm, "127.0.0.9")).code, FailureCode::Gone);
    }
    assert!(restarted.host.bind_all().unwrap().is_empty());
    let told = rig.listener.0.lock().unwrap().clone();
    assert_eq!(told[0], format!("bind {HSM} {CLUSTER} 127.0.0.9"));
    assert_eq!(told.last().unwrap(), "release hsm-neverserved1");
}

#[test]
fn a_destroyed_cluster_is_gone_and_nothing_brings_it_back() {
    let rig = Rig::with_cluster();
    let backup = rig.snapshot();
    let sealer = rig.sealer(CLUSTER);
    let epoch = rig.row(CLUSTER).unwrap().epoch;
    for _ in 0..2 {
        assert!(matches!(rig.call(destroy(CLUSTER)), Answer::Done));
    }
    rig.rows
        .read(&mut |tx| {
            assert!(tx.users(CLUSTER, epoch)?.is_empty());
            assert!(tx.objects(CLUSTER, epoch, None, 9)?.is_empty());
            assert!(crate::head::verify(&sealer, tx, CLUSTER, epoch)?.is_err());
            Ok(())
        })
        .unwrap();
    let tombstone = rig.row(CLUSTER).unwrap();
    assert_eq!((tombstone.state, tombstone.sealed_keys.len()), (ClusterState::Destroyed, 0));
    assert_eq!(rig.refusal(create_identity(CLUSTER)).code, FailureCode::Gone);
    assert_eq!(rig.refusal(snapshot_of(CLUSTER)).code, FailureCode::Gone);
    assert_eq!(rig.refusal(serve(CLUSTER, HSM, "127.0.0.9")).code, FailureCode::Gone);
    let mut stream = Stream::of(&backup.payload);
    assert_eq!(refusal(rig.install(CLUSTER, &backup, &mut stream)).code, FailureCode::Gone);
    assert!(stream.incoming.is_empty());
    // Also where it never was: an installation that was only slow finds the tombstone.
    assert!(matches!(rig.call(destroy(RESTORED)), Answer::Done));
    assert_eq!(refusal(rig.install(RESTORED, &backup, &mut Stream::of(&backup.payload))).code, FailureCode::Gone);
    // The backup opens without its cluster.
    assert!(matches!(rig.check(&backup), Answer::Facts(_)));
}

#[test]
fn a_snapshot_holds_what_the_cluster_holds_and_each_has_its_own_key() {
    let rig = Rig::with_cluster();
    let (first, second) = (rig.snapshot(), rig.snapshot());
    assert_eq!((first.facts.users, first.facts.keys), (2, 2));
    assert_eq!(first.facts.origin, rig.region_id());
    assert_eq!(first.facts.bytes, first.payload.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
    let Answer::Facts(proved) = rig.check(&first) else { panic!() };
    assert_eq!(proved, first.facts);
    assert_ne!(first.payload, second.payload);
    let mixed = Backup { header: second.header, ..first };
    assert_eq!(refusal(rig.check(&mixed)).code, FailureCode::Damaged);
}

#[test]
fn a_restored_cluster_has_the_keys_and_users_under_its_own_name() {
    let rig = Rig::with_cluster();
    let backup = rig.snapshot();
    for _ in 0..2 {
        let mut stream = Stream::of(&backup.payload);
        let Answer::Facts(facts) = rig.install(RESTORED, &backup, &mut stream) else { panic!() };
        assert_eq!(facts, backup.facts);
        assert!(stream.incoming.is_empty());
    }
    assert_signs(&rig, RESTORED, &rig.object(CLUSTER, PUBLIC));
    let (row, original) = (rig.row(RESTORED).unwrap(), rig.row(CLUSTER).unwrap());
    assert_eq!((row.state, &row.lineage), (ClusterState::Active, &original.lineage));
    assert_eq!((&row.cluster_certificate, &row.trust_anchor), (&original.cluster_certificate, &original.trust_anchor));
    let (head, head_there) = (rig.verified_head(RESTORED), rig.verified_head(CLUSTER));
    assert_eq!((head.version, head.count), (head_there.version, head_there.count));
    let keys = |row| rig.host.region().keys(row).unwrap().cluster_key;
    assert_eq!(keys(&row), keys(&original));
    assert_ne!(keys(&row).tickets(RESTORED), keys(&original).tickets(CLUSTER));
    // A backup of the restored cluster restores as well.
    let mut stream = Stream::default();
    let Answer::Snapshot { facts, .. } = rig.host.answer(snapshot_of(RESTORED), &mut stream) else { panic!() };
    assert_eq!((facts.cluster.as_str(), facts.lineage), (RESTORED, row.lineage));
    // Other input for the same name is refused.
    let other = rig.snapshot();
    assert_eq!(refusal(rig.install(RESTORED, &other, &mut Stream::of(&other.payload))).code, FailureCode::Conflict);
    assert_eq!(rig.refusal(create_identity(RESTORED)).code, FailureCode::Conflict);
}

/// The private key of a cluster signs what a public key verifies.
fn assert_signs(rig: &Rig, cluster: &str, public: &crate::object::Object) {
    let private = rig.object(cluster, PRIVATE);
    let (Key::EcPrivate(private), Key::EcPublic(public)) = (private.key(), public.key()) else { panic!() };
    let signature = private.sign(&[7; 32]).unwrap();
    assert!(public.verify(&[7; 32], &signature));
    assert!(!public.verify(&[8; 32], &signature));
}

#[test]
fn an_interrupted_installation_is_repeated() {
    let rig = Rig::new();
    rig.make_cluster(CLUSTER);
    let objects: Vec<_> = (1..5000).map(secret).collect();
    rig.activate(CLUSTER, &objects);
    let backup = rig.snapshot();
    assert!(backup.payload.len() >= 2, "{} chunks", backup.payload.len());
    // The vault is full after 1, 2, … writes: the row, each chunk, the end.
    let writes = 2 + backup.payload.len() as u32;
    for cut in 0..writes {
        rig.rows.fill_after(Some(cut));
        let mut stream = Stream::of(&backup.payload);
        assert_eq!(refusal(rig.install(RESTORED, &backup, &mut stream)).code, FailureCode::NoSpace);
        assert!(stream.incoming.is_empty(), "all chunks are read, also after a fault");
        let state = rig.row(RESTORED).map(|row| (row.state, row.epoch));
        assert_eq!(state, (cut > 0).then_some((ClusterState::Installing, cut.into())));
    }
    // The connection is cut.
    let mut stream = Stream::of(&backup.payload[..1]);
    assert_eq!(refusal(rig.install(RESTORED, &backup, &mut stream)).code, FailureCode::Busy);
    rig.rows.fill_after(None);
    assert_eq!(rig.refusal(snapshot_of(RESTORED)).code, FailureCode::Busy);
    assert_eq!(rig.refusal(serve(RESTORED, HSM, "127.0.0.9")).code, FailureCode::Busy);
    assert!(matches!(rig.install(RESTORED, &backup, &mut Stream::of(&backup.payload)), Answer::Facts(_)));
    assert_eq!(rig.verified_head(RESTORED).count, 2 + objects.len() as u64);
    rig.rows
        .read(&mut |tx| {
            for earlier in 1..rig.row(RESTORED).unwrap().epoch {
                assert!(tx.users(RESTORED, earlier)?.is_empty());
                assert!(tx.objects(RESTORED, earlier, None, 1)?.is_empty());
            }
            Ok(())
        })
        .unwrap();
}

/// Does something else before it gives a chunk.
struct Meanwhile<'a> {
    stream: Stream,
    act: &'a mut (dyn FnMut() + Send),
}

impl ChunkIo for Meanwhile<'_> {
    fn send(&mut self, chunk: Chunk) -> Result<(), Cut> {
        self.stream.send(chunk)
    }

    fn receive(&mut self) -> Result<Chunk, Cut> {
        (self.act)();
        self.stream.receive()
    }

    fn abandon(&mut self) {}
}

#[test]
fn a_slow_installation_writes_no_more_once_another_began_or_the_cluster_went() {
    let rig = Rig::with_cluster();
    let backup = rig.snapshot();
    let slow = |act: &mut (dyn FnMut() + Send)| {
        let stream = Stream::of(&backup.payload);
        refusal(rig.install(RESTORED, &backup, &mut Meanwhile { stream, act })).code
    };
    let mut second =
        || assert!(matches!(rig.install(RESTORED, &backup, &mut Stream::of(&backup.payload)), Answer::Facts(_)));
    assert_eq!(slow(&mut second), FailureCode::Busy);
    assert_eq!(rig.verified_head(RESTORED).count, 4);
    assert!(matches!(rig.call(destroy(RESTORED)), Answer::Done));
    let third = "cluster-third111111";
    let mut removed = || assert!(matches!(rig.call(destroy(third)), Answer::Done));
    let stream = Stream::of(&backup.payload);
    let refused = refusal(rig.install(third, &backup, &mut Meanwhile { stream, act: &mut removed }));
    assert_eq!(refused.code, FailureCode::Gone);
    assert_eq!(rig.row(third).unwrap().state, ClusterState::Destroyed);
}

#[test]
fn payloads_under_way_are_bounded() {
    let rig = Rig::with_cluster();
    let backup = rig.snapshot();
    let mut deepest = None;
    nest(&rig, &backup, super::STREAMS_MAX + 1, &mut deepest);
    assert_eq!(deepest.unwrap().code, FailureCode::Busy);
    assert!(matches!(rig.check(&backup), Answer::Facts(_)), "places are given back");
}

/// Checks a backup while checking a backup, `depth` deep, and keeps what the deepest is told.
fn nest(rig: &Rig, backup: &Backup, depth: usize, deepest: &mut Option<Failure>) {
    let call = Call::Check { header: backup.header.clone(), body: backup.body.clone() };
    let stream = Stream::of(&backup.payload);
    if depth == 1 {
        *deepest = Some(refusal(rig.host.answer(call, &mut { stream })));
    } else {
        let mut act = || nest(rig, backup, depth - 1, deepest);
        assert!(matches!(rig.host.answer(call, &mut Meanwhile { stream, act: &mut act }), Answer::Facts(_)));
    }
}

#[test]
fn damage_is_told_and_told_to_be_gone() {
    let rig = Rig::with_cluster();
    let epoch = rig.row(CLUSTER).unwrap().epoch;
    let mut taken = None;
    rig.change(&mut |tx| {
        taken = tx.objects(CLUSTER, epoch, None, 1)?.pop();
        tx.delete_object(CLUSTER, epoch, PRIVATE).map(drop)
    });
    let refused = rig.refusal(snapshot_of(CLUSTER));
    assert_eq!(refused.code, FailureCode::Damaged);
    assert!(refused.text.contains("3 found, 4 counted"), "{}", refused.text);
    assert_eq!(outbox(&rig, 0), [(CLUSTER.to_owned(), OutboxEvent::Health(Some(refused.text)))]);
    rig.change(&mut |tx| tx.put_object(CLUSTER, epoch, taken.as_ref().unwrap()));
    for _ in 0..2 {
        rig.snapshot();
        assert_eq!(outbox(&rig, 1), [(CLUSTER.to_owned(), OutboxEvent::Health(None))]);
    }
    assert!(outbox(&rig, 2).is_empty(), "what was told last is not told again");
}

#[test]
fn a_snapshot_takes_back_only_what_a_snapshot_told() {
    let rig = Rig::with_cluster();
    rig.snapshot();
    assert!(outbox(&rig, 0).is_empty());
    rig.host.region().report_health(CLUSTER, Some("found by its HSMs")).unwrap();
    rig.snapshot();
    let told = OutboxEvent::Health(Some("found by its HSMs".to_owned()));
    assert_eq!(outbox(&rig, 0), [(CLUSTER.to_owned(), told)]);
}

#[test]
fn a_vault_that_went_back_under_a_running_host_is_damaged() {
    let rig = Rig::with_cluster();
    let before = (*rig.rows).clone();
    rig.activate(CLUSTER, &[]);
    rig.snapshot();
    rig.rows.restore(&before);
    let refused = rig.refusal(snapshot_of(CLUSTER));
    assert_eq!(refused.code, FailureCode::Damaged);
    assert!(refused.text.contains("its head is 2, 3 was seen"), "{}", refused.text);
}

#[test]
fn the_outbox_waits_is_acknowledged_and_knows_its_end() {
    let rig = Rig::new();
    assert!(outbox(&rig, 0).is_empty());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| rig.call(Call::OutboxRead { cursor: 0, wait_ms: 10_000 }));
        rig.host.region().report_health(CLUSTER, Some("damage")).unwrap();
        let Answer::Outbox(rows) = reader.join().unwrap() else { panic!() };
        assert_eq!(rows[0].event, OutboxEvent::Health(Some("damage".to_owned())));
    });
    rig.change(&mut |tx| {
        tx.put_outbox(CLUSTER, "activated", "")?;
        tx.put_outbox(CLUSTER, "changed", "7")
    });
    let events: Vec<_> = outbox(&rig, 1).into_iter().map(|(_, event)| event).collect();
    assert_eq!(events, [OutboxEvent::Activated, OutboxEvent::Changed(7)]);
    assert!(matches!(rig.call(Call::OutboxAck { seq: 2 }), Answer::Done));
    assert_eq!(outbox(&rig, 0).len(), 1);
    assert_eq!(rig.refusal(Call::OutboxRead { cursor: 4, wait_ms: 0 }).code, FailureCode::Conflict);
}

#[test]
fn facts_list_clusters_and_hsms() {
    let rig = Rig::with_cluster();
    rig.call(serve(CLUSTER, HSM, "127.0.0.9"));
    rig.call(destroy("cluster-gone1111111"));
    let Answer::HostFacts(facts) = rig.call(Call::Facts) else { panic!() };
    assert_eq!(
        facts.clusters,
        [("cluster-gone1111111".to_owned(), "destroyed".to_owned(), 0), (CLUSTER.to_owned(), "active".to_owned(), 2)]
    );
    assert_eq!(facts.hsms, [HSM]);
}

#[test]
fn a_full_vault_changes_nothing() {
    let rig = Rig::new();
    rig.rows.fill_after(Some(0));
    assert_eq!(rig.refusal(create_identity(CLUSTER)).code, FailureCode::NoSpace);
    assert!(rig.row(CLUSTER).is_none());
    rig.rows.fill_after(None);
    rig.identity(CLUSTER);
    assert_eq!(rig.verified_head(CLUSTER).count, 2);
}
