//! Each way in which a request can break a constraint of our table, and the sentence that tells it, in both protocols:
//! `tests/violations.txt`. `STRONGROOM_BLESS=1` writes the file anew; look at the difference before you keep it.
#![allow(missing_docs, reason = "test code")]

mod common;

use std::path::Path;

use strongroom_model::shape::{Kind, ShapeIndex};
use strongroom_model::{Operation, Value, table};
use strongroom_wire::{cbor, json, validate};

use common::sample;

#[test]
fn every_violation_has_its_sentence() {
    let api = table::api();
    let (mut text, mut told) = (String::new(), 0);
    for operation in Operation::ALL {
        let input = api.find(operation.input()).unwrap();
        text += &format!("== {}\n", operation.name());
        violations("", input, &|value| value, &mut |place, what, request| {
            let sentence = |decoded: Value| validate::check(&decoded, api, input).unwrap_err().to_string();
            let by_json = sentence(json::decode(&json::encode(&request, api, input), api, input).unwrap());
            let by_cbor = sentence(cbor::decode(&cbor::encode(&request, api, input), api, input).unwrap());
            assert_eq!(by_json, by_cbor, "{} {place} {what}", operation.name());
            text += &format!("{place} {what}: {}\n", abbreviated(&by_json));
            told += 1;
        });
    }
    assert!(told > 150, "{told}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/violations.txt");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (ours, golden) in text.lines().zip(golden.lines()) {
        assert_eq!(ours, golden, "{}", path.display());
    }
    assert_eq!(text.len(), golden.len(), "{}", path.display());
}

/// Calls `tell` with a whole request for each violation at any depth. `around` puts a value of `index` into the request.
fn violations(
    place: &str,
    index: ShapeIndex,
    around: &dyn Fn(Value) -> Value,
    tell: &mut dyn FnMut(&str, &str, Value),
) {
    let api = table::api();
    for (what, value) in wrong(index) {
        tell(place, what, around(value));
    }
    match &api[index].kind {
        Kind::Structure(members) => {
            let Value::Structure(whole) = sample(api, index, true) else { unreachable!() };
            for (i, member) in members.iter().enumerate() {
                let place = if place.is_empty() { member.name.to_string() } else { format!("{place}.{}", member.name) };
                if member.required {
                    let mut without = whole.clone();
                    without.remove(i);
                    tell(&place, "missing", around(Value::Structure(without)));
                }
                let inside = |value: Value| {
                    let mut whole = whole.clone();
                    whole[i].1 = value;
                    around(Value::Structure(whole))
                };
                violations(&place, member.target, &inside, tell);
            }
        }
        Kind::List { member, .. } => {
            violations(&format!("{place}[]"), member.target, &|value| around(Value::List(vec![value])), tell);
        }
        Kind::Map { key, value, .. } => {
            let good = sample(api, value.target, true);
            let with_key = |key: Value| match key {
                Value::String(key) => around(Value::Map(vec![(key, good.clone())])),
                other => panic!("{other:?} is no key"),
            };
            violations(&format!("{place} key"), key.target, &with_key, tell);
            let known = sample(api, key.target, true).as_str().unwrap().to_owned();
            let with_value = |value: Value| around(Value::Map(vec![(known.clone(), value)]));
            violations(&format!("{place} value"), value.target, &with_value, tell);
        }
        _ => {}
    }
}

/// Values of a shape that each break one of its constraints at least.
fn wrong(index: ShapeIndex) -> Vec<(&'static str, Value)> {
    let api = table::api();
    let shape = &api[index];
    let mut values = Vec::new();
    let mut add = |what, value| values.push((what, value));
    let (length, range) = (&shape.constraints.length, &shape.constraints.range);
    match &shape.kind {
        Kind::String => {
            let text = |n: usize| Value::String("a".repeat(n));
            length.min.filter(|min| *min > 0).into_iter().for_each(|min| add("too short", text(min - 1)));
            length.max.into_iter().for_each(|max| add("too long", text(max + 1)));
            // A line break is in no pattern but that of certificates, which have no §.
            if shape.constraints.pattern.is_some() {
                add("of another form", Value::String("a\n§".to_owned()));
            }
        }
        Kind::Enum(_) => add("of no such value", Value::String("X".to_owned())),
        Kind::Integer | Kind::Long => {
            range.min.into_iter().for_each(|min| add("too low", Value::Integer(min as i64 - 1)));
            range.max.into_iter().for_each(|max| add("too high", Value::Integer(max as i64 + 1)));
        }
        Kind::List { member, .. } => {
            let of = |n: usize| Value::List(vec![sample(api, member.target, true); n]);
            length.min.filter(|min| *min > 0).into_iter().for_each(|min| add("too few", of(min - 1)));
            length.max.into_iter().for_each(|max| add("too many", of(max + 1)));
        }
        Kind::Map { value, .. } => {
            let of =
                |n: usize| Value::Map((0..n).map(|n| (format!("k{n}"), sample(api, value.target, true))).collect());
            length.min.filter(|min| *min > 0).into_iter().for_each(|min| add("too few", of(min - 1)));
            length.max.into_iter().for_each(|max| add("too many", of(max + 1)));
        }
        _ => {}
    }
    values
}

/// Long runs of one letter, and repeated elements, in short.
fn abbreviated(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|c| *c == first).count();
        if run > 20 {
            out += &format!("{first}{{{run}}}");
        } else {
            out.extend(std::iter::repeat_n(first, run));
        }
        rest = &rest[run * first.len_utf8()..];
    }
    out.replace('\n', "\\n")
}
