//! Fuzz targets of the frames: what clients say to HSMs and hear, and what the API process says to its host and hears. What
//! decodes must come back from its own encoding.
#![allow(missing_docs, reason = "test code")]

use minicbor::{Decode, Encode};
use strongroom_fuzz::{Target, word};
use strongroom_link::frame::{self, HEADER_LENGTH};
use strongroom_link::hsm::{self, Attribute, Mechanism, Role};
use strongroom_link::pkcs11::{CKA_LABEL, CKM_SHA256_RSA_PKCS};
use strongroom_link::{Secret, host};

fn message<M: Encode<()>>(message: &M) -> Vec<u8> {
    frame::encode(message).unwrap()[HEADER_LENGTH..].to_vec()
}

fn read<M: for<'b> Decode<'b, ()> + Encode<()>>(input: &[u8]) -> u64 {
    match frame::decode::<M>(input) {
        Ok(read) => {
            let again = message(&read);
            let back = frame::decode::<M>(&again).expect("it comes back");
            assert_eq!(message(&back), again);
            // The first bytes name the call or answer.
            word(&format!("{:?}", &again[..again.len().min(2)])) | 1
        }
        Err(error) => word(&error.to_string()),
    }
}

fn fuzz<M: for<'b> Decode<'b, ()> + Encode<()>>(name: &str, seeds: Vec<Vec<u8>>) {
    Target::new(name, env!("CARGO_MANIFEST_DIR"), seeds).fuzz(read::<M>);
}

#[test]
fn between_clients_and_hsms() {
    let call = |call| message(&hsm::Request { request_id: Some([7; 16]), call });
    let label = vec![Attribute::bytes(CKA_LABEL, "label")];
    fuzz::<hsm::Request>(
        "hsm-request",
        vec![
            call(hsm::Call::Info),
            call(hsm::Call::Login { user: "app".into(), role: Role::CryptoUser, password: Secret::new(vec![1; 9]) }),
            call(hsm::Call::FindObjects { template: label.clone(), skip: 0, limit: 9 }),
            call(hsm::Call::Sign {
                handle: 5,
                mechanism: Mechanism::plain(CKM_SHA256_RSA_PKCS),
                data: b"message".to_vec(),
            }),
        ],
    );
    fuzz::<hsm::Response>(
        "hsm-response",
        vec![
            message(&hsm::Response::Ok(hsm::Answer::Done)),
            message(&hsm::Response::Ok(hsm::Answer::Found { handles: vec![1, 2], total: 2 })),
            message(&hsm::Response::Ok(hsm::Answer::Attributes {
                attributes: label,
                owners: vec!["app".into()],
                sensitive: vec![],
            })),
        ],
    );
}

#[test]
fn between_the_api_process_and_its_host() {
    let call = |call| message(&host::Request { rid: [7; 16], call });
    fuzz::<host::Request>(
        "host-request",
        vec![
            call(host::Call::Facts),
            call(host::Call::OutboxRead { cursor: 1, wait_ms: 2 }),
            call(host::Call::Check { header: vec![1; 40], body: vec![2; 40] }),
        ],
    );
    fuzz::<host::Answer>(
        "host-answer",
        vec![message(&host::Answer::Done), message(&host::Answer::Chunk(host::Chunk { n: 3, bytes: vec![9; 30] }))],
    );
}
