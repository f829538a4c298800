//! Tests of payloads that are sealed rightly and hold what no HSM makes.

use std::convert::Infallible;

use strongroom_link::Secret;
use strongroom_link::host::{Answer, FailureCode};

use crate::data_key::DataKey;
use crate::manifest::{self, sha256};
use crate::payload::{ClusterRecord, PayloadWriter};
use crate::rows::ClusterState;
use crate::seam::SystemRng;
use crate::testing::*;
use crate::user::{User, appliance_user};

/// What goes into a payload; changed by each case.
struct Contents {
    cluster: ClusterRecord,
    clusters: usize,
    users: Vec<(u64, Vec<u8>)>,
    objects: Vec<(u64, u64, Vec<u8>)>,
    /// Users that come after the objects.
    late_users: Vec<(u64, Vec<u8>)>,
    counts: (u32, u32),
}

fn contents(rig: &Rig) -> Contents {
    let row = rig.row(CLUSTER).unwrap();
    let keys = rig.host.region().keys(&row).unwrap();
    let objects = [PRIVATE, PUBLIC].map(|handle| (handle, 2, rig.object(CLUSTER, handle).encode().to_vec()));
    Contents {
        cluster: ClusterRecord {
            cluster: row.cluster,
            lineage: row.lineage,
            mode: row.mode,
            cluster_key: Secret::new(keys.cluster_key.expose().to_vec()),
            key_pair: Secret::new(keys.key_pair.to_pkcs8().to_vec()),
            cluster_certificate: row.cluster_certificate,
            trust_anchor: row.trust_anchor,
            version: 2,
        },
        clusters: 1,
        users: [admin_record(), appliance_user()].map(|user| (1, encode(&user))).to_vec(),
        objects: objects.to_vec(),
        late_users: vec![],
        counts: (2, 2),
    }
}

fn encode(user: &User) -> Vec<u8> {
    user.encode().to_vec()
}

/// A backup of these contents under the manifest of a real one.
fn seal(rig: &Rig, contents: &Contents) -> Backup {
    let key = DataKey::generate(&SystemRng);
    let mut payload = Vec::new();
    let mut writer = PayloadWriter::new(&key, |_, chunk| {
        payload.push(chunk);
        Ok::<_, Infallible>(())
    });
    (0..contents.clusters).for_each(|_| writer.cluster(&contents.cluster).unwrap());
    contents.users.iter().for_each(|(version, user)| writer.user(*version, user).unwrap());
    contents.objects.iter().for_each(|(handle, version, object)| writer.object(*handle, *version, object).unwrap());
    contents.late_users.iter().for_each(|(version, user)| writer.user(*version, user).unwrap());
    writer.finish().unwrap();
    let mut facts = rig.snapshot().facts;
    (facts.users, facts.keys) = contents.counts;
    facts.chunk_digests = payload.iter().flat_map(|chunk| sha256(chunk)).collect();
    facts.bytes = payload.iter().map(|chunk| chunk.len() as u64).sum();
    let body = manifest::write(&mut facts);
    let header = key.to_header(&rig.host.region().roots, &facts.digest, &SystemRng);
    Backup { body, header, facts, payload }
}

#[test]
fn what_a_snapshot_makes_opens() {
    let rig = Rig::with_cluster();
    let answer = rig.check(&seal(&rig, &contents(&rig)));
    assert!(matches!(answer, Answer::Facts(_)), "{answer:?}");
}

#[test]
fn what_no_snapshot_makes_does_not_open() {
    let rig = Rig::with_cluster();
    let mut count = 0;
    let mut refused = |words: &str, change: &mut dyn FnMut(&mut Contents)| {
        let mut contents = contents(&rig);
        change(&mut contents);
        let backup = seal(&rig, &contents);
        let failure = refusal(rig.check(&backup));
        assert_eq!(failure.code, FailureCode::DoesNotOpen, "{}", failure.text);
        assert!(failure.text.contains(words), "{words:?} is not in {:?}", failure.text);
        // Nor does it become a cluster.
        count += 1;
        let restored = format!("cluster-restored{count}");
        refusal(rig.install(&restored, &backup, &mut Stream::of(&backup.payload)));
        assert_eq!(rig.row(&restored).unwrap().state, ClusterState::Installing);
    };
    let other = pair();
    refused("no cluster's record", &mut |c| (c.clusters, c.users, c.objects) = (0, vec![], vec![]));
    refused("first record is not the cluster's", &mut |c| c.clusters = 0);
    refused("second cluster's record", &mut |c| c.clusters = 2);
    refused("not the one that the manifest names", &mut |c| c.cluster.lineage = "other".to_owned());
    refused("not the one that the manifest names", &mut |c| c.cluster.cluster_certificate.push('\n'));
    refused("wrong length", &mut |c| c.cluster.cluster_key = Secret::new(vec![1; 31]));
    refused("key pair is none", &mut |c| c.cluster.key_pair = Secret::new(vec![1; 31]));
    refused("not that of its certificate", &mut |c| {
        let another = crate::identity::ClusterKeyPair::generate();
        c.cluster.key_pair = Secret::new(another.to_pkcs8().to_vec());
    });
    refused("manifest says 2 and 3", &mut |c| c.counts = (2, 3));
    refused("more users than the 1", &mut |c| c.counts = (1, 2));
    refused("more keys than the 1", &mut |c| c.counts = (2, 1));
    refused("has version 3", &mut |c| c.users[0].0 = 3);
    refused("there twice", &mut |c| c.users[1] = c.users[0].clone());
    refused("user", &mut |c| c.users[1].1.truncate(3));
    refused("user comes after", &mut |c| c.late_users.push(c.users[1].clone()));
    refused("order of their handles", &mut |c| c.objects.reverse());
    refused("order of their handles", &mut |c| c.objects[1] = c.objects[0].clone());
    refused("says that it is", &mut |c| c.objects[1].0 = 9);
    refused("who is no user", &mut |c| c.users.retain(|(_, user)| *user == encode(&appliance_user())));
    refused("object", &mut |c| c.objects[0].2.truncate(20));
    refused("halves", &mut |c| c.objects[0].2 = other[0].encode().to_vec());
    refused("halves", &mut |c| c.objects[1].2 = other[1].encode().to_vec());
}

#[test]
fn any_flipped_bit_of_a_record_is_refused_or_means_something() {
    // The seals hold here; only the parsers stand between these bytes and the vault. None of them may panic.
    let rig = Rig::with_cluster();
    let made = contents(&rig);
    let mut refused = 0;
    for (record, bytes) in made.objects.iter().map(|(_, _, object)| object).enumerate() {
        for i in 0..bytes.len() {
            let mut contents = contents(&rig);
            contents.objects[record].2[i] ^= 1;
            refused += u32::from(matches!(rig.check(&seal(&rig, &contents)), Answer::Failed(_)));
        }
    }
    let mut contents = contents(&rig);
    for i in 0..contents.users[0].1.len() {
        contents.users[0].1[i] ^= 1;
        refused += u32::from(matches!(rig.check(&seal(&rig, &contents)), Answer::Failed(_)));
        contents.users[0].1[i] ^= 1;
    }
    assert!(refused > 100, "{refused}");
}
