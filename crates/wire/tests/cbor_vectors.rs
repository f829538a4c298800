//! Runs the CBOR vectors of botocore and of RFC 8949's appendix A against the grammar, and feeds each of them to the decoder
//! as a whole message, as an unknown member and as a member of every kind: nothing may panic.
#![allow(missing_docs, reason = "test code")]

mod common;

use serde_json::Value as Json;
use strongroom_model::table;
use strongroom_wire::{DecodeError, cbor};

use common::{Ledger, text, vectors};

fn bytes(case: &Json, key: &str) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(text(&case[key]).as_bytes()).unwrap()
}

#[test]
fn what_must_not_decode_does_not() {
    let Some(vectors) = vectors("cbor_decode.json") else { return };
    let errors = vectors["error"].as_array().unwrap();
    assert_eq!(errors.len(), 56);
    for case in errors {
        let refused = cbor::check(&bytes(case, "input"));
        assert!(matches!(refused, Err(DecodeError::NotWellFormed(_))), "{}: {refused:?}", case["description"]);
        feed_to_the_decoder(&bytes(case, "input"));
    }
}

#[test]
fn what_is_well_formed_is_taken() {
    let Some(vectors) = vectors("cbor_decode.json") else { return };
    let success = vectors["success"].as_array().unwrap().iter().map(|case| (case, "input"));
    let appendix = vectors["rfc8949_appendix_a"].as_array().unwrap().iter().map(|case| (case, "hex"));
    let ledger = Ledger::of("cbor_decode.json");
    let mut taken = 0;
    for (case, key) in success.chain(appendix) {
        let checked = cbor::check(&bytes(case, key)).map_err(|error| error.to_string());
        taken += usize::from(ledger.judge(&text(&case[key]), checked));
        feed_to_the_decoder(&bytes(case, key));
    }
    assert_eq!((taken, ledger.met()), (151 + 82 - 1, 1));
}

/// The item as the message, as an unknown member, and as each member of a request that has many kinds. Whatever comes of it
/// is fine, so long as it is an answer.
fn feed_to_the_decoder(item: &[u8]) {
    let api = table::api();
    for operation in api.operations() {
        let shape = operation.output;
        let _ = cbor::decode(item, api, shape);
        let unknown = member("Unknown", item);
        assert_eq!(cbor::decode(&unknown, api, shape).is_ok(), cbor::check(item).is_ok());
        for known in api[shape].members() {
            let _ = cbor::decode(&member(&known.name, item), api, shape);
        }
    }
}

fn member(name: &str, item: &[u8]) -> Vec<u8> {
    [&[0xa1, 0x78, name.len() as u8], name.as_bytes(), item].concat()
}
