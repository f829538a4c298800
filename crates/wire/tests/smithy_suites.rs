//! Runs the server's side of Smithy's own protocol suites through the codec, with tables made of their shapes. Whatever is
//! not run stands in a ledger with its reason.
#![allow(missing_docs, reason = "test code")]

mod common;

use minicbor::Decoder;
use minicbor::data::Type;
use serde_json::{Map, Value as Json, json};
use strongroom_model::shape::{Kind, Member, ShapeIndex, Table};
use strongroom_model::{Timestamp, Value};
use strongroom_wire::{DecodeError, Protocol, cbor, front, validate};

use common::{smithy_table, text, vectors};

const REQUEST_ID: &str = "amazon-uniq-request-id";

/// Cases that are not run.
const LEDGER: &[(&str, &str)] = &[
    ("SDKAppliedContentEncoding_awsJson1_1", "gives no body: a client compresses"),
    ("SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_1", "gives no body: a client compresses"),
    ("SDKAppliedContentEncoding_awsJson1_0", "gives no body: a client compresses"),
    ("SDKAppendsGzipAndIgnoresHttpProvidedEncoding_awsJson1_0", "gives no body: a client compresses"),
    ("RpcV2CborServerPopulatesDefaultsWhenMissingInRequestBody", "CloudHSM's model has no defaults"),
    ("RpcV2CborServerPopulatesDefaultsInResponseWhenMissingInParams", "CloudHSM's model has no defaults"),
    ("AwsJson10ServerPopulatesDefaultsWhenMissingInRequestBody", "CloudHSM's model has no defaults"),
    ("AwsJson10ServerPopulatesNestedDefaultsWhenMissingInRequestBody", "CloudHSM's model has no defaults"),
    ("QueryCompatibleRpcV2CborCustomCodeError", "x-amzn-query-error is of query-compatible services"),
];

struct Suite {
    cases: Vec<Json>,
    table: Table,
    protocols: Json,
}

impl Suite {
    fn load() -> Option<Self> {
        let shapes = vectors("smithy_shapes.json")?;
        let cases = vectors("smithy_protocol.json")?.as_array().unwrap().clone();
        Some(Self { cases, table: smithy_table(&shapes), protocols: shapes["protocols"].clone() })
    }

    fn server_side(&self, protocol: &str, kind: &str) -> impl Iterator<Item = &Json> {
        self.cases.iter().filter(move |case| {
            let id = text(&case["id"]);
            case["protocol"] == protocol
                && case["trait"] == kind
                && case["appliesTo"] != "client"
                && !LEDGER.iter().any(|(skipped, _)| *skipped == id)
        })
    }
}

#[test]
fn requests_decode_to_their_parameters() {
    let Some(suite) = Suite::load() else { return };
    for (name, protocol, count) in [
        ("awsJson1_1", Protocol::AwsJson11, 56),
        ("awsJson1_0", Protocol::AwsJson11, 22),
        ("rpcv2Cbor", Protocol::RpcV2Cbor, 38),
    ] {
        let mut run = 0;
        for case in suite.server_side(name, "httpRequestTests") {
            let operation = suite.table.operation(name, &text(&case["shape"])).unwrap();
            let expected = value_of(&suite.table, operation.input, &case["params"]);
            let decoded = decode(protocol, &body(case, protocol), &suite.table, operation.input);
            match decoded {
                Ok(value) => assert!(same(&value, &expected), "{}: {value:?} is not {expected:?}", case["id"]),
                Err(e) => panic!("{}: {e}", case["id"]),
            }
            run += 1;
        }
        assert_eq!(run, count, "{name}");
    }
}

#[test]
fn answers_have_status_headers_and_body() {
    let Some(suite) = Suite::load() else { return };
    for (name, protocol, count) in [("awsJson1_1", Protocol::AwsJson11, 45), ("rpcv2Cbor", Protocol::RpcV2Cbor, 27)] {
        let mut run = 0;
        for case in suite.server_side(name, "httpResponseTests") {
            let shape = text(&case["shape"]);
            let error = suite.protocols[name]["errors"].get(&shape);
            let index = match error {
                Some(error) => suite.table.find(error["id"].as_str().unwrap()).unwrap(),
                None => suite.table.operation(name, &shape).unwrap().output,
            };
            let mut value = value_of(&suite.table, index, &case["params"]);
            if error.is_some() {
                value = front::error_structure(protocol, &suite.table[index].name, value);
            }
            let status = case["code"].as_u64().unwrap() as u16;
            let answer = front::message(protocol, status, &value, &suite.table, index, REQUEST_ID);
            check_headers(case, &answer.headers);
            if case.get("body").is_some() {
                let (ours, theirs) = (generic(protocol, &answer.body), generic(protocol, &body(case, protocol)));
                assert_eq!(ours, theirs, "{}", case["id"]);
            }
            run += 1;
        }
        assert_eq!(run, count, "{name}");
    }
}

/// Some cases of the suite want a request's target in the answer, which is a slip of theirs.
fn check_headers(case: &Json, ours: &[(&'static str, String)]) {
    let find = |name: &str| ours.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        if name != "X-Amz-Target" {
            assert_eq!(find(name), value.as_str(), "{}: {name}", case["id"]);
        }
    }
    for name in case["forbidHeaders"].as_array().into_iter().flatten() {
        assert_eq!(find(name.as_str().unwrap()), None, "{}", case["id"]);
    }
}

#[test]
fn malformed_bodies_are_refused() {
    let (Some(shapes), Some(cases)) = (vectors("smithy_shapes.json"), vectors("smithy_malformed.json")) else { return };
    let table = smithy_table(&shapes);
    let (mut serialization, mut validation, mut skipped) = (0, 0, 0);
    for case in cases.as_array().unwrap().iter().filter(|case| case["where"] == "body") {
        let id = text(&case["id"]);
        let input = table.operation("restJson1", &text(&case["shape"])).unwrap().input;
        let body = case["request"]["body"].as_str().unwrap_or_default();
        let kind = case["response"]["headers"]["x-amzn-errortype"].as_str().unwrap();
        if NOT_OF_THIS_PROTOCOL.iter().any(|(prefix, _)| id.starts_with(prefix)) {
            skipped += 1;
            continue;
        }
        let decoded = decode(Protocol::AwsJson11, body.as_bytes(), &table, input);
        match (kind, decoded) {
            ("SerializationException", Err(DecodeError::NotOfShape(_) | DecodeError::NotWellFormed(_))) => {
                serialization += 1;
            }
            ("ValidationException", Ok(value)) if validate::check(&value, &table, input).is_err() => validation += 1,
            (_, decoded) => panic!("{id}: {body} is {decoded:?}, expected {kind}"),
        }
    }
    assert_eq!((serialization, validation, skipped), (190, 105, 18));
}

/// Malformed bodies that cannot be held against this codec.
const NOT_OF_THIS_PROTOCOL: &[(&str, &str)] =
    &[("RestJsonMalformedUniqueItems", "CloudHSM's model has no list of unique items")];

fn decode(protocol: Protocol, body: &[u8], table: &Table, shape: ShapeIndex) -> Result<Value, DecodeError> {
    match protocol {
        Protocol::AwsJson11 => strongroom_wire::json::decode(body, table, shape),
        Protocol::RpcV2Cbor => cbor::decode(body, table, shape),
    }
}

fn body(case: &Json, protocol: Protocol) -> Vec<u8> {
    let body = case["body"].as_str().unwrap_or_default();
    match protocol {
        Protocol::AwsJson11 => body.into(),
        Protocol::RpcV2Cbor => data_encoding::BASE64.decode(body.as_bytes()).unwrap(),
    }
}

/// The value that a case's parameters mean. Absent parameters are the empty input.
fn value_of(table: &Table, index: ShapeIndex, params: &Json) -> Value {
    if params.is_null() {
        return Value::Structure(vec![]);
    }
    let at = |member: &Member, json: &Json| match json {
        Json::Null => Value::Null,
        json => value_of(table, member.target, json),
    };
    match &table[index].kind {
        Kind::Unit => Value::Structure(vec![]),
        Kind::Boolean => Value::Boolean(params.as_bool().unwrap()),
        Kind::Byte | Kind::Short | Kind::Integer | Kind::Long | Kind::IntEnum(_) => {
            Value::Integer(params.as_i64().unwrap())
        }
        Kind::Float | Kind::Double => Value::Float(match params.as_str() {
            Some("NaN") => f64::NAN,
            Some("Infinity") => f64::INFINITY,
            Some("-Infinity") => f64::NEG_INFINITY,
            _ => params.as_f64().unwrap(),
        }),
        Kind::Blob => Value::Blob(text(params).into_bytes()),
        Kind::String | Kind::Enum(_) => Value::String(text(params)),
        Kind::Timestamp(_) => {
            Value::Timestamp(Timestamp::from_millis((params.as_f64().unwrap() * 1_000.0).round() as i64))
        }
        Kind::Document => document(params),
        Kind::List { member, .. } => {
            Value::List(params.as_array().unwrap().iter().map(|json| at(member, json)).collect())
        }
        Kind::Map { value, .. } => {
            Value::Map(params.as_object().unwrap().iter().map(|(key, json)| (key.clone(), at(value, json))).collect())
        }
        Kind::Structure(members) | Kind::Union(members) => {
            let known = params.as_object().unwrap();
            assert!(known.keys().all(|name| members.iter().any(|m| m.name == *name)), "{params}");
            let present = members.iter().filter_map(|m| Some((m.name.clone(), at(m, known.get(&*m.name)?))));
            Value::Structure(present.collect())
        }
    }
}

fn document(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Boolean(*b),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap()), Value::Integer),
        Json::String(text) => Value::String(text.clone()),
        Json::Array(elements) => Value::List(elements.iter().map(document).collect()),
        Json::Object(members) => {
            Value::Map(members.iter().map(|(key, value)| (key.clone(), document(value))).collect())
        }
    }
}

/// Equality but for the order of maps, where floats are equal as binary32 and two NaN are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => *a as f32 == *b as f32 || a.is_nan() && b.is_nan(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Structure(a), Value::Structure(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.iter().any(|(k, b)| k == key && same(a, b)))
        }
        _ => a == b,
    }
}

/// A body as JSON, whatever it was, so that two can be compared. Nothing is JSON's null.
fn generic(protocol: Protocol, body: &[u8]) -> Json {
    match protocol {
        _ if body.is_empty() => Json::Null,
        Protocol::AwsJson11 => serde_json::from_slice(body).unwrap(),
        Protocol::RpcV2Cbor => generic_cbor(&mut Decoder::new(body)),
    }
}

fn generic_cbor(cbor: &mut Decoder<'_>) -> Json {
    match cbor.datatype().unwrap() {
        Type::Bool => json!(cbor.bool().unwrap()),
        Type::Null => {
            cbor.null().unwrap();
            Json::Null
        }
        Type::F16 | Type::F32 | Type::F64 => {
            let n = cbor.f64().unwrap();
            if n.is_finite() { json!(n) } else { json!(n.to_string()) }
        }
        Type::String | Type::StringIndef => json!(cbor.str_iter().unwrap().map(Result::unwrap).collect::<String>()),
        Type::Bytes | Type::BytesIndef => {
            json!({ "bytes": cbor.bytes_iter().unwrap().map(Result::unwrap).collect::<Vec<_>>().concat() })
        }
        Type::Tag => {
            let tag = cbor.tag().unwrap().as_u64();
            let seconds = match generic_cbor(cbor) {
                Json::Number(n) => n.as_f64().unwrap(),
                other => panic!("{other}"),
            };
            json!({ "tag": tag, "value": seconds })
        }
        Type::Array | Type::ArrayIndef => {
            let length = cbor.array().unwrap();
            Json::Array(items(cbor, length, generic_cbor))
        }
        Type::Map | Type::MapIndef => {
            let length = cbor.map().unwrap();
            let entry = |cbor: &mut Decoder<'_>| match generic_cbor(cbor) {
                Json::String(key) => (key, generic_cbor(cbor)),
                other => panic!("{other}"),
            };
            Json::Object(items(cbor, length, entry).into_iter().collect::<Map<_, _>>())
        }
        _ => json!(i128::from(cbor.int().unwrap()).to_string()),
    }
}

fn items<T>(cbor: &mut Decoder<'_>, length: Option<u64>, one: impl Fn(&mut Decoder<'_>) -> T) -> Vec<T> {
    match length {
        Some(length) => (0..length).map(|_| one(cbor)).collect(),
        None => {
            let mut all = Vec::new();
            while cbor.datatype().unwrap() != Type::Break {
                all.push(one(cbor));
            }
            cbor.skip().unwrap();
            all
        }
    }
}
