//! Fuzz targets of what comes from storage and from peers: manifests, the records inside a payload that opened, envelopes,
//! and what the vault's rows hold.

use strongroom_fuzz::{Target, word};
use strongroom_link::host::{Answer, Facts};
use zeroize::Zeroizing;

use crate::contents::Contents;
use crate::data_key::DataKey;
use crate::manifest;
use crate::object::Object;
use crate::payload::PayloadReader;
use crate::payload::tests::{plaintext, sealed};
use crate::testing::{Rig, pair, refusal};
use crate::user::User;

fn target(name: &str, seeds: Vec<Vec<u8>>) -> Target<'_> {
    Target::new(name, env!("CARGO_MANIFEST_DIR"), seeds)
}

#[test]
fn manifests() {
    let backup = Rig::with_cluster().snapshot();
    target("manifest", vec![backup.body]).fuzz(|input| match manifest::read(input) {
        // Reading takes only the bytes that writing makes.
        Ok(facts) => {
            let mut again = facts.clone();
            assert_eq!(manifest::write(&mut again), input);
            1
        }
        Err(fault) => word(&fault),
    });
}

/// What is checked of the records inside a payload whose seal holds.
fn records(key: &DataKey, facts: &Facts, input: &[u8]) -> Result<(), String> {
    let (mut reader, mut contents) = (PayloadReader::new(key, 1), Contents::new(facts));
    reader.chunk::<String>(&sealed(key, input), &mut |record| contents.record(record).map(drop))?;
    contents.finish().map(drop)
}

#[test]
fn payloads() {
    let rig = Rig::with_cluster();
    let backup = rig.snapshot();
    let roots = &rig.host.region().roots;
    let key = DataKey::from_header(roots, &backup.header, &backup.facts.digest).unwrap();
    let whole = plaintext(&key, &backup.payload);
    assert_eq!(records(&key, &backup.facts, &whole), Ok(()));
    target("payload", vec![whole.clone()]).fuzz(|input| match records(&key, &backup.facts, input) {
        Ok(()) => 1,
        Err(fault) => word(&fault),
    });
    // A chunk that was changed is not opened at all.
    target("chunk", vec![backup.payload[0].clone()]).fuzz(|input| {
        let read = PayloadReader::new(&key, 1).chunk::<String>(input, &mut |_| Ok(()));
        assert_eq!(read.is_ok(), input == backup.payload[0]);
        u64::from(read.is_ok())
    });
}

#[test]
fn envelopes() {
    let (source, destination) = (Rig::with_cluster(), Rig::new());
    let backup = source.snapshot();
    source.trust(&destination);
    destination.trust(&source);
    let envelope = source.envelope(&backup, &destination);
    target("envelope", vec![envelope.clone()]).fuzz(|input| match destination.admit(&source, input, &backup, None) {
        Answer::Admitted { .. } => {
            assert_eq!(input, envelope, "nothing but what was signed");
            1
        }
        other => word(&refusal(other).text),
    });
}

#[test]
fn objects_and_users() {
    let objects = pair().map(|object| object.encode().to_vec()).to_vec();
    target("object", objects).fuzz(|input| match Object::decode(input) {
        Ok(object) => {
            let again: Zeroizing<Vec<u8>> = object.encode();
            assert!(Object::decode(&again).is_ok());
            1
        }
        Err(fault) => word(&fault),
    });
    let user = crate::testing::admin_record().encode().to_vec();
    target("user", vec![user]).fuzz(|input| User::decode(input).map_or_else(|fault| word(&fault), |_| 1));
}
