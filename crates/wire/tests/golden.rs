//! Holds the bytes of both services to golden files: per operation a request and an answer in both protocols, and the
//! errors. `STRONGROOM_BLESS=1` writes the files anew; look at the difference before you keep it.
#![allow(missing_docs, reason = "test code")]

mod common;

use std::path::Path;

use strongroom_model::shape::{Kind, ShapeIndex};
use strongroom_model::{ApiError, Call, ErrorKind, Operation, Reply, Service, Value, table};
use strongroom_wire::{Answer, Protocol, cbor, front, json, validate};

use common::sample;

const REQUEST_ID: &str = "3f2b1c04-5d6e-4f70-8a91-b2c3d4e5f607";

/// A file of named sections, compared byte for byte.
struct Golden {
    file: String,
    text: String,
}

impl Golden {
    fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), text: String::new() }
    }

    fn section(&mut self, name: &str, text: &str) {
        self.text += &format!("== {name}\n{text}\n");
    }

    fn answer(&mut self, name: &str, protocol: Protocol, answer: &Answer) {
        let headers: Vec<String> = answer.headers.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
        let body = match protocol {
            Protocol::AwsJson11 => String::from_utf8(answer.body.clone()).unwrap(),
            Protocol::RpcV2Cbor => hex(&answer.body),
        };
        self.section(name, &format!("{}\n{}\n{body}", answer.status, headers.concat()));
    }

    fn compare(self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(self.file);
        if std::env::var_os("STRONGROOM_BLESS").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == self.text, "{} differs; it would be:\n{}", path.display(), self.text);
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn shape(name: &str) -> ShapeIndex {
    table::api().find(name).unwrap()
}

#[test]
fn every_operation_in_both_protocols() {
    let api = table::api();
    for operation in Operation::ALL {
        let (input, output) = (shape(operation.input()), shape(operation.output()));
        let (request, reply) = (sample(api, input, true), sample(api, output, true));
        let mut golden = Golden::new(format!("{}.txt", operation.name()));

        let (json, cbor) = (json::encode(&request, api, input), cbor::encode(&request, api, input));
        assert_eq!(json::decode(&json, api, input).unwrap(), request, "{operation:?}");
        assert_eq!(cbor::decode(&cbor, api, input).unwrap(), request, "{operation:?}");
        golden.section("request, JSON", &String::from_utf8(json).unwrap());
        golden.section("request, CBOR", &hex(&cbor));

        let answers = [("answer, JSON", Protocol::AwsJson11), ("answer, CBOR", Protocol::RpcV2Cbor)];
        for (name, protocol) in answers {
            let answer = front::success(protocol, *operation, &reply, REQUEST_ID);
            let read = match protocol {
                Protocol::AwsJson11 => json::decode(&answer.body, api, output),
                Protocol::RpcV2Cbor => cbor::decode(&answer.body, api, output),
            };
            assert_eq!(read.unwrap(), reply, "{operation:?}");
            golden.answer(name, protocol, &answer);
        }
        golden.compare();
    }
}

#[test]
fn errors_in_both_protocols() {
    let mut golden = Golden::new("errors.txt");
    for kind in ErrorKind::ALL {
        let error = ApiError::new(*kind, "What happened.");
        for (name, protocol) in [("JSON", Protocol::AwsJson11), ("CBOR", Protocol::RpcV2Cbor)] {
            let answer = front::failure(protocol, Service::CloudHsm, &error, REQUEST_ID);
            golden.answer(&format!("{}, {name}", kind.name()), protocol, &answer);
        }
    }
    golden.compare();
}

#[test]
fn samples_are_valid_and_of_the_records() {
    let api = table::api();
    for operation in Operation::ALL {
        let (input, output) = (shape(operation.input()), shape(operation.output()));
        for all in [true, false] {
            let (request, reply) = (sample(api, input, all), sample(api, output, all));
            assert_eq!(validate::check(&request, api, input), Ok(()), "{operation:?}");
            let call = Call::from_value(*operation, request.clone()).unwrap();
            assert_eq!(call.into_value(), request, "{operation:?}");
            let answer = Reply::from_value(*operation, reply.clone()).unwrap();
            assert_eq!(answer.into_value(), reply, "{operation:?}");
        }
    }
}

/// A record has an `Option` exactly where the table says that a member may be absent.
#[test]
fn required_members_are_those_of_the_records() {
    for operation in Operation::ALL {
        let (input, output) = (shape(operation.input()), shape(operation.output()));
        for (index, is_input) in [(input, true), (output, false)] {
            let reads = |value: Value| match is_input {
                true => Call::from_value(*operation, value).is_ok(),
                false => Reply::from_value(*operation, value).is_ok(),
            };
            for_each_member_removed(index, &|value| value, &mut |value, name, required| {
                assert_eq!(reads(value), !required, "{operation:?} without {name}");
            });
        }
    }
}

/// Calls `then` with a whole message that lacks one member, for each member at any depth. `around` puts a value of `index`
/// into the whole message.
fn for_each_member_removed(
    index: ShapeIndex,
    around: &dyn Fn(Value) -> Value,
    then: &mut dyn FnMut(Value, &str, bool),
) {
    let api = table::api();
    let whole = sample(api, index, true);
    match &api[index].kind {
        Kind::Structure(members) => {
            let Value::Structure(present) = whole else { unreachable!() };
            for (i, member) in members.iter().enumerate() {
                let mut without = present.clone();
                without.remove(i);
                then(around(Value::Structure(without)), &member.name, member.required);
                let inside = |value: Value| {
                    let mut present = present.clone();
                    present[i].1 = value;
                    around(Value::Structure(present))
                };
                for_each_member_removed(member.target, &inside, then);
            }
        }
        Kind::List { member, .. } => {
            for_each_member_removed(member.target, &|value| around(Value::List(vec![value])), then);
        }
        _ => {}
    }
}
