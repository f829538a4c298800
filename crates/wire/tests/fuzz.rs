//! Fuzz targets of the door: heads, signatures, bodies in both protocols. What decodes must come back from its own encoding.
#![allow(missing_docs, reason = "test code")]

mod common;

use strongroom_fuzz::{Target, word};
use strongroom_model::{Call, Operation, Timestamp, table};
use strongroom_wire::sigv4::{self, Expected, SecretKey, Signer};
use strongroom_wire::{DecodeError, Head, Protocol, cbor, front, json, validate};

use common::sample;

const NOW: Timestamp = Timestamp::from_millis(1_795_511_647_000);

/// A request in lines: method, path, query, then headers. Whatever is no text is left out.
fn head(input: &[u8]) -> (String, String, String, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.split('\n').map(str::to_owned);
    let mut next = || lines.next().unwrap_or_default();
    let (method, path, query) = (next(), next(), next());
    let headers = lines.take(64).filter_map(|line| line.split_once(':').map(|(n, v)| (n.to_owned(), v.to_owned())));
    (method, path, query, headers.collect())
}

#[test]
fn heads_and_signatures() {
    let secret = SecretKey::new("secret");
    let signer =
        Signer { access_key_id: "key", secret: &secret, session_token: None, region: "us-east-1", service: "cloudhsm" };
    let headers = vec![
        ("host", "localhost"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "BaldrApiService.ListTags"),
    ];
    let unsigned = Head { method: "POST", path: "/", query: "", headers };
    let mut json = String::from("POST\n/\n\n");
    for (name, value) in &unsigned.headers {
        json += &format!("{name}:{value}\n");
    }
    for (name, value) in signer.sign(&unsigned, b"{}", NOW) {
        json += &format!("{name}:{value}\n");
    }
    let cbor = "POST\n/service/BaldrApiService/operation/ListTags\n\nsmithy-protocol:rpc-v2-cbor\ncontent-type:application/cbor\n";
    let query = "POST\n/a/../b//%20\nX-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=key%2F20261124%2Fus-east-1%2Fcloudhsm%2Faws4_request&X-Amz-Date=20261124T091407Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature=00\nhost:localhost\n";
    let seeds = [json.as_str(), cbor, query].map(|text| text.as_bytes().to_vec()).to_vec();
    Target::new("head", env!("CARGO_MANIFEST_DIR"), seeds).fuzz(|input| {
        let (method, path, query, headers) = head(input);
        let headers = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let head = Head { method: &method, path: &path, query: &query, headers };
        let route = match front::route(&head) {
            Ok(target) => word(target.operation.name()),
            Err(refusal) => word(&String::from_utf8_lossy(&front::refused(&refusal, "id").body)),
        };
        let signed = match sigv4::parse(&head) {
            Err(error) => word(error.message()),
            Ok(claim) => {
                let expected = Expected { service: "cloudhsm", now: NOW, normalize_path: true };
                match claim.verify(&head, b"{}", &claim.signing_key(&secret), &expected) {
                    Ok(_) => 1,
                    Err(error) => word(error.message()),
                }
            }
        };
        route ^ signed.rotate_left(7)
    });
}

/// The first byte says which operation the rest is for.
fn body(protocol: Protocol, input: &[u8]) -> u64 {
    let Some((first, body)) = input.split_first() else { return 0 };
    let operation = Operation::ALL[usize::from(*first) % Operation::ALL.len()];
    let (api, shape) = (table::api(), table::api().find(operation.input()).unwrap());
    let decode = |body: &[u8]| match protocol {
        Protocol::AwsJson11 => json::decode(body, api, shape),
        Protocol::RpcV2Cbor => cbor::decode(body, api, shape),
    };
    let value = match decode(body) {
        Ok(value) => value,
        Err(error) => {
            let kind = matches!(error, DecodeError::NotWellFormed(_));
            return word(&error.to_string()) ^ u64::from(kind);
        }
    };
    let encoded = match protocol {
        Protocol::AwsJson11 => json::encode(&value, api, shape),
        Protocol::RpcV2Cbor => cbor::encode(&value, api, shape),
    };
    assert_eq!(decode(&encoded).as_ref(), Ok(&value), "{operation:?} comes back from its own encoding");
    match validate::check(&value, api, shape) {
        Err(violations) => word(&violations.to_string()),
        // What is valid is a call.
        Ok(()) => word(Call::from_value(operation, value).unwrap().operation().name()),
    }
}

fn bodies(protocol: Protocol) -> Vec<Vec<u8>> {
    let api = table::api();
    let one = |(n, operation): (usize, &Operation)| {
        let shape = api.find(operation.input()).unwrap();
        let value = sample(api, shape, true);
        let body = match protocol {
            Protocol::AwsJson11 => json::encode(&value, api, shape),
            Protocol::RpcV2Cbor => cbor::encode(&value, api, shape),
        };
        [&[n as u8], &body[..]].concat()
    };
    Operation::ALL.iter().enumerate().map(one).collect()
}

#[test]
fn bodies_in_json() {
    let protocol = Protocol::AwsJson11;
    Target::new("json", env!("CARGO_MANIFEST_DIR"), bodies(protocol)).fuzz(|input| body(protocol, input));
}

#[test]
fn bodies_in_cbor() {
    let protocol = Protocol::RpcV2Cbor;
    Target::new("cbor", env!("CARGO_MANIFEST_DIR"), bodies(protocol)).fuzz(|input| body(protocol, input));
}
