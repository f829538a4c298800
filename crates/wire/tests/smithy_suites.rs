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

use common::{Ledger, smithy_table, text, vectors};

const REQUEST_ID: &str = "amazon-uniq-request-id";

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
        self.cases
            .iter()
            .filter(move |case| case["protocol"] == protocol && case["trait"] == kind && case["appliesTo"] != "client")
    }
}

#[test]
fn requests_decode_to_their_parameters() {
    let Some(suite) = Suite::load() else { return };
    let ledger = Ledger::of("smithy_protocol.json");
    for (name, protocol, count) in [
        ("awsJson1_1", Protocol::AwsJson11, 56),
        ("awsJson1_0", Protocol::AwsJson11, 22),
        ("rpcv2Cbor", Protocol::RpcV2Cbor, 38),
    ] {
        let cases = suite.server_side(name, "httpRequestTests");
        let run = cases.filter(|case| ledger.judge(&text(&case["id"]), suite.request(name, protocol, case))).count();
        assert_eq!(run, count, "{name}");
    }
    assert_eq!(ledger.met(), 7);
}

#[test]
fn answers_have_status_headers_and_body() {
    let Some(suite) = Suite::load() else { return };
    let ledger = Ledger::of("smithy_protocol.json");
    for (name, protocol, count) in [("awsJson1_1", Protocol::AwsJson11, 45), ("rpcv2Cbor", Protocol::RpcV2Cbor, 27)] {
        let cases = suite.server_side(name, "httpResponseTests");
        let run = cases.filter(|case| ledger.judge(&text(&case["id"]), suite.answer(name, protocol, case))).count();
        assert_eq!(run, count, "{name}");
    }
    assert_eq!(ledger.met(), 2);
}

impl Suite {
    fn request(&self, name: &str, protocol: Protocol, case: &Json) -> Result<(), String> {
        let operation = self.table.operation(name, &text(&case["shape"])).unwrap();
        let expected = value_of(&self.table, operation.input, &case["params"]);
        let value = decode(protocol, &body(case, protocol), &self.table, operation.input).map_err(|e| e.to_string())?;
        if same(&value, &expected) { Ok(()) } else { Err(format!("{value:?} is not {expected:?}")) }
    }

    fn answer(&self, name: &str, protocol: Protocol, case: &Json) -> Result<(), String> {
        let shape = text(&case["shape"]);
        let error = self.protocols[name]["errors"].get(&shape);
        let index = match error {
            Some(error) => self.table.find(error["id"].as_str().unwrap()).unwrap(),
            None => self.table.operation(name, &shape).unwrap().output,
        };
        let mut value = value_of(&self.table, index, &case["params"]);
        if error.is_some() {
            value = front::error_structure(protocol, &self.table[index].name, value);
        }
        let status = case["code"].as_u64().unwrap() as u16;
        let answer = front::message(protocol, status, &value, &self.table, index, REQUEST_ID);
        check_headers(case, &answer.headers)?;
        if case.get("body").is_none() {
            return Ok(());
        }
        let (ours, theirs) = (generic(protocol, &answer.body), generic(protocol, &body(case, protocol)));
        if ours == theirs { Ok(()) } else { Err(format!("{ours} is not {theirs}")) }
    }
}

/// Some cases of the suite want a request's target in the answer, which is a slip of theirs.
fn check_headers(case: &Json, ours: &[(&'static str, String)]) -> Result<(), String> {
    let find = |name: &str| ours.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        if name != "X-Amz-Target" && find(name) != value.as_str() {
            return Err(format!("{name} is {:?}, not {value}", find(name)));
        }
    }
    for name in case["requireHeaders"].as_array().into_iter().flatten() {
        if find(name.as_str().unwrap()).is_none() {
            return Err(format!("{name} is missing"));
        }
    }
    for name in case["forbidHeaders"].as_array().into_iter().flatten() {
        if find(name.as_str().unwrap()).is_some() {
            return Err(format!("{name} is there"));
        }
    }
    Ok(())
}

#[test]
fn malformed_bodies_are_refused() {
    let (Some(shapes), Some(cases)) = (vectors("smithy_shapes.json"), vectors("smithy_malformed.json")) else { return };
    let table = smithy_table(&shapes);
    let ledger = Ledger::of("smithy_malformed.json");
    let (mut serialization, mut validation) = (0, 0);
    for case in cases.as_array().unwrap().iter().filter(|case| case["where"] == "body") {
        let input = table.operation("restJson1", &text(&case["shape"])).unwrap().input;
        let body = case["request"]["body"].as_str().unwrap_or_default();
        let kind = case["response"]["headers"]["x-amzn-errortype"].as_str().unwrap();
        let decoded = decode(Protocol::AwsJson11, body.as_bytes(), &table, input);
        let count = if kind == "ValidationException" { &mut validation } else { &mut serialization };
        let outcome = match (kind, decoded) {
            ("SerializationException", Err(DecodeError::NotOfShape(_) | DecodeError::NotWellFormed(_))) => Ok(()),
            ("ValidationException", Ok(value)) if validate::check(&value, &table, input).is_err() => Ok(()),
            (_, decoded) => Err(format!("{body} is {decoded:?}, expected {kind}")),
        };
        *count += usize::from(ledger.judge(&text(&case["id"]), outcome));
    }
    assert_eq!((serialization, validation, ledger.met()), (190, 106, 17));
}

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
