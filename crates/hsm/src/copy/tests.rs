//! Tests of copies between two hosts, and of what must never open.

use std::sync::atomic::Ordering;

use strongroom_link::host::{Answer, Call, FailureCode, Hello, VERSION};

use crate::key::Key;
use crate::manifest;
use crate::rows::{ClusterRow, HeadRow, ObjectRow, Rows, RowsError, UserRow, VaultTx};
use crate::testing::*;

const RESTORED: &str = "cluster-restored111";

/// Two regions that pin each other, and a backup of the first.
fn two_regions() -> (Rig, Rig, Backup) {
    let (source, destination) = (Rig::with_cluster(), Rig::new());
    source.trust(&destination);
    destination.trust(&source);
    let backup = source.snapshot();
    (source, destination, backup)
}

fn admitted(answer: Answer) -> (Vec<u8>, strongroom_link::host::Facts) {
    match answer {
        Answer::Admitted { header, facts } => (header, facts),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_that_was_copied_signs_in_the_other_region() {
    let (source, destination, backup) = two_regions();
    let envelope = source.envelope(&backup, &destination);
    let (header, facts) = admitted(destination.admit(&source, &envelope, &backup, None));
    assert_eq!(facts, backup.facts);
    let copy = Backup { header, ..backup.clone() };
    assert!(matches!(destination.check(&copy), Answer::Facts(proved) if proved == backup.facts));
    let Answer::Facts(_) = destination.install(RESTORED, &copy, &mut Stream::of(&copy.payload)) else { panic!() };

    let (private, public) = (destination.object(RESTORED, PRIVATE), source.object(CLUSTER, PUBLIC));
    let (Key::EcPrivate(private), Key::EcPublic(public)) = (private.key(), public.key()) else { panic!() };
    assert!(public.verify(&[7; 32], &private.sign(&[7; 32]).unwrap()));
    assert_eq!(destination.verified_head(RESTORED).count, 4);
    // Neither region's root opens what the other has at rest.
    assert_eq!(refusal(source.check(&copy)).code, FailureCode::Damaged);
    assert_eq!(refusal(destination.check(&backup)).code, FailureCode::Damaged);
    // A copy of the copy, back to where it came from.
    let envelope = destination.envelope(&copy, &source);
    let (header, facts) = admitted(source.admit(&destination, &envelope, &copy, None));
    assert_eq!(facts.digest, backup.facts.digest);
    assert!(matches!(source.check(&Backup { header, ..backup }), Answer::Facts(_)));
}

#[test]
fn a_payload_that_comes_along_is_checked_before_it_is_admitted() {
    let (source, destination, backup) = two_regions();
    let envelope = source.envelope(&backup, &destination);
    let payload = backup.payload[0].clone();
    let (header, _) = admitted(destination.admit(&source, &envelope, &backup, Some(payload.clone())));
    assert!(matches!(destination.check(&Backup { header, ..backup.clone() }), Answer::Facts(_)));
    let mut changed = payload;
    changed[100] ^= 1;
    let refused = refusal(destination.admit(&source, &envelope, &backup, Some(changed)));
    assert_eq!(refused.code, FailureCode::Damaged);
}

#[test]
fn only_a_pinned_region_is_wrapped_to_and_only_while_it_is() {
    let (source, destination, backup) = two_regions();
    let stranger = Rig::new();
    assert_eq!(refusal(source.rewrap(&backup, stranger.region_id())).code, FailureCode::Unpinned);
    source.pins.0.lock().unwrap().clear();
    assert_eq!(refusal(source.rewrap(&backup, destination.region_id())).code, FailureCode::Unpinned);
    source.trust(&destination);
    source.envelope(&backup, &destination);
    // A header of another backup is not wrapped under this manifest.
    let other = Backup { header: source.snapshot().header, ..backup };
    assert_eq!(refusal(source.rewrap(&other, destination.region_id())).code, FailureCode::Damaged);
}

#[test]
fn what_the_peer_did_not_sign_for_this_copy_is_rejected() {
    let (source, destination, backup) = two_regions();
    let envelope = source.envelope(&backup, &destination);
    let stranger = Rig::with_cluster();
    stranger.trust(&destination);
    let code = |answer| refusal(answer).code;
    assert_eq!(code(destination.admit(&stranger, &envelope, &backup, None)), FailureCode::KeyUnknown);
    let theirs = stranger.snapshot();
    let forged = stranger.envelope(&theirs, &destination);
    assert_eq!(code(destination.admit(&source, &forged, &theirs, None)), FailureCode::KeyUnknown);
    // Under the name of the pinned key, around random bytes.
    let renamed = [&envelope[..4], &forged[4..]].concat();
    let refused = refusal(destination.admit(&source, &renamed, &theirs, None));
    assert_eq!((refused.code, refused.text.contains("not signed")), (FailureCode::Rejected, true));
    let other = source.snapshot();
    assert_eq!(code(destination.admit(&source, &envelope, &other, None)), FailureCode::Rejected);
    let renamed = Call::Admit {
        peer: source.region_id().to_owned(),
        envelope,
        body: backup.body.clone(),
        copy: "copy-other".to_owned(),
        payload: None,
    };
    assert_eq!(destination.refusal(renamed).code, FailureCode::Rejected);
}

#[test]
fn rotation_is_survived_and_a_retired_key_is_told() {
    let (source, destination, backup) = two_regions();
    let before = source.envelope(&backup, &destination);
    let new = crate::root::Root::generate(&crate::seam::SystemRng);
    let rotated = Rig::open(vec![new.clone(), destination.root.clone()], destination.rows.clone()).unwrap();
    rotated.trust(&source);
    let (header, _) = admitted(rotated.admit(&source, &before, &backup, None));
    let Answer::Hello(Hello { hpke_keys, roots, .. }) = rotated.call(Call::Hello {
        version: VERSION,
        region: "eu-west-1".to_owned(),
        region_id: Some(destination.region_id().to_owned()),
        roots: vec![destination.root.fingerprint()],
        control_is_empty: true,
    }) else {
        panic!()
    };
    assert_eq!((hpke_keys.len(), roots[0].clone()), (2, new.fingerprint()));
    // Without the old root, which the vault must have forgotten first.
    rotated.change(&mut |tx| {
        let mut meta = tx.meta()?.unwrap();
        meta.roots.retain(|root| *root == new.fingerprint());
        tx.put_meta(&meta)
    });
    let retired = Rig::open(vec![new], destination.rows.clone()).unwrap();
    retired.trust(&source);
    assert_eq!(refusal(retired.admit(&source, &before, &backup, None)).code, FailureCode::KeyRetired);
    assert!(matches!(retired.check(&Backup { header, ..backup.clone() }), Answer::Facts(_)), "admitted before");
    source.pins.0.lock().unwrap().clear();
    source.trust(&retired);
    let after = source.envelope(&backup, &retired);
    admitted(retired.admit(&source, &after, &backup, None));
}

#[test]
fn envelopes_of_the_next_hour_open_as_well() {
    let (source, destination, backup) = two_regions();
    for hours in [0, 1, -5] {
        source.clock.0.store(NOW_MS + hours * 3_600_000, Ordering::Relaxed);
        let envelope = source.envelope(&backup, &destination);
        admitted(destination.admit(&source, &envelope, &backup, None));
    }
}

#[test]
fn no_flipped_byte_of_header_body_payload_or_envelope_opens() {
    let (source, destination, backup) = two_regions();
    let flips = |bytes: &[u8]| -> Vec<Vec<u8>> {
        (0..bytes.len())
            .map(|i| {
                let mut changed = bytes.to_vec();
                changed[i] ^= 1;
                changed
            })
            .collect()
    };
    for header in flips(&backup.header) {
        assert_eq!(refusal(source.check(&Backup { header, ..backup.clone() })).code, FailureCode::Damaged);
    }
    for body in flips(&backup.body) {
        assert_eq!(refusal(source.check(&Backup { body, ..backup.clone() })).code, FailureCode::Damaged);
    }
    for chunk in flips(&backup.payload[0]) {
        let payload = vec![chunk];
        assert_eq!(refusal(source.check(&Backup { payload, ..backup.clone() })).code, FailureCode::Damaged);
    }
    for envelope in flips(&source.envelope(&backup, &destination)) {
        let code = refusal(destination.admit(&source, &envelope, &backup, None)).code;
        assert!([FailureCode::Rejected, FailureCode::KeyUnknown].contains(&code));
    }
}

#[test]
fn a_payload_with_digests_made_to_fit_does_not_open() {
    let (source, _, backup) = two_regions();
    let mut changed = backup.clone();
    changed.payload[0][40] ^= 1;
    changed.facts.chunk_digests = manifest::sha256(&changed.payload[0]).to_vec();
    changed.body = manifest::write(&mut changed.facts);
    // The header names the old D …
    assert_eq!(refusal(source.check(&changed)).code, FailureCode::Damaged);
    // … and no one but the host can make one that names the new.
    let key = crate::data_key::DataKey::from_header(&source.host.region().roots, &backup.header, &backup.facts.digest);
    let roots = &source.host.region().roots;
    changed.header = key.unwrap().to_header(roots, &changed.facts.digest, &crate::seam::SystemRng);
    assert_eq!(refusal(source.check(&changed)).code, FailureCode::DoesNotOpen);
}

#[test]
fn chunks_must_be_there_whole_and_in_order() {
    let rig = Rig::new();
    rig.make_cluster(CLUSTER);
    rig.activate(CLUSTER, &(1..5000).map(secret).collect::<Vec<_>>());
    let backup = rig.snapshot();
    assert_eq!(backup.payload.len(), 2);
    let code = |payload: Vec<Vec<u8>>| refusal(rig.check(&Backup { payload, ..backup.clone() })).code;
    let [first, last] = [&backup.payload[0], &backup.payload[1]];
    assert_eq!(code(vec![last.clone(), first.clone()]), FailureCode::Damaged);
    assert_eq!(code(vec![first.clone(), first.clone()]), FailureCode::Damaged);
    assert_eq!(code(vec![first[1..].to_vec(), last.clone()]), FailureCode::Damaged);
    assert_eq!(code(vec![first.clone()]), FailureCode::Busy, "the connection ended");
    let mut stream = Stream::of(&backup.payload);
    let call = Call::Check { header: vec![], body: backup.body.clone() };
    assert_eq!(refusal(rig.host.answer(call, &mut stream)).code, FailureCode::Damaged);
    assert!(stream.incoming.is_empty() && !stream.is_abandoned);
    let call = Call::Check { header: backup.header.clone(), body: vec![0] };
    assert_eq!(refusal(rig.host.answer(call, &mut stream)).code, FailureCode::Damaged);
    assert!(stream.is_abandoned, "nobody can count the chunks of what is no manifest");
}

type Change<'a> = &'a mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>;

/// A snapshot after a change to a copy of the vault finds the damage.
fn assert_damaged(rig: &Rig, what: &str, change: Change<'_>) {
    let copied = Rig::open(vec![rig.root.clone()], (*rig.rows).clone().into()).unwrap();
    copied.change(change);
    assert_eq!(copied.refusal(snapshot_of(CLUSTER)).code, FailureCode::Damaged, "{what}");
}

fn flipped(bytes: &[u8], i: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[i] ^= 1;
    changed
}

#[test]
fn no_flipped_byte_of_a_row_goes_unnoticed() {
    let rig = Rig::with_cluster();
    let row = rig.row(CLUSTER).unwrap();
    let (mut head, mut users, mut objects) = (None, vec![], vec![]);
    rig.rows
        .read(&mut |tx| {
            head = tx.head(CLUSTER)?;
            users = tx.users(CLUSTER, row.epoch)?;
            objects = tx.objects(CLUSTER, row.epoch, None, 9)?;
            Ok(())
        })
        .unwrap();
    for i in 0..row.sealed_keys.len() {
        let changed = ClusterRow { sealed_keys: flipped(&row.sealed_keys, i), ..row.clone() };
        assert_damaged(&rig, &format!("keys {i}"), &mut |tx| tx.put_cluster(&changed));
    }
    let head = head.unwrap();
    for i in 0..head.sealed.len() {
        let changed = HeadRow { sealed: flipped(&head.sealed, i), ..head.clone() };
        assert_damaged(&rig, &format!("head {i}"), &mut |tx| tx.put_head(CLUSTER, &changed));
    }
    for user in &users {
        for i in 0..user.sealed.len() {
            let changed = UserRow { sealed: flipped(&user.sealed, i), ..user.clone() };
            assert_damaged(&rig, &format!("user {i}"), &mut |tx| tx.put_user(CLUSTER, row.epoch, &changed));
        }
    }
    for object in &objects {
        for i in 0..object.sealed.len() {
            let changed = ObjectRow { sealed: flipped(&object.sealed, i), ..object.clone() };
            assert_damaged(&rig, &format!("object {i}"), &mut |tx| tx.put_object(CLUSTER, row.epoch, &changed));
        }
    }
}

#[test]
fn rows_that_were_moved_removed_or_brought_back_do_not_go_unnoticed() {
    let rig = Rig::with_cluster();
    let epoch = rig.row(CLUSTER).unwrap().epoch;
    let (mut old_head, mut admin, mut private) = (None, None, None);
    rig.rows
        .read(&mut |tx| {
            old_head = tx.head(CLUSTER)?;
            admin = tx.users(CLUSTER, epoch)?.into_iter().find(|user| user.user == "admin");
            private = tx.objects(CLUSTER, epoch, None, 1)?.pop();
            Ok(())
        })
        .unwrap();
    let (old_head, admin, private) = (old_head.unwrap(), admin.unwrap(), private.unwrap());
    assert_damaged(&rig, "no user", &mut |tx| tx.delete_user(CLUSTER, epoch, "admin").map(drop));
    assert_damaged(&rig, "moved", &mut |tx| tx.put_object(CLUSTER, epoch, &ObjectRow { object: 6, ..private.clone() }));
    let newer = ObjectRow { version: private.version + 1, ..private.clone() };
    assert_damaged(&rig, "version", &mut |tx| tx.put_object(CLUSTER, epoch, &newer));
    let renamed = UserRow { user: "root".to_owned(), ..admin.clone() };
    assert_damaged(&rig, "renamed", &mut |tx| tx.put_user(CLUSTER, epoch, &renamed));
    // A later password and an older one's row or head.
    rig.activate(CLUSTER, &[]);
    assert_damaged(&rig, "old user", &mut |tx| tx.put_user(CLUSTER, epoch, &admin));
    assert_damaged(&rig, "old head", &mut |tx| tx.put_head(CLUSTER, &old_head));
    assert_damaged(&rig, "another lineage", &mut |tx| {
        let row = tx.cluster(CLUSTER)?.unwrap();
        tx.put_cluster(&ClusterRow { lineage: "other".to_owned(), ..row })
    });
}
