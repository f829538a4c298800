//! Any value of a shape comes back as it was, through either protocol, and no bytes make the decoders panic.
#![allow(missing_docs, reason = "test code")]

use proptest::prelude::*;
use strongroom_model::shape::{Kind, ShapeIndex, Table};
use strongroom_model::{Operation, Timestamp, Value, table};
use strongroom_wire::{cbor, json, validate};

/// A value of a shape. Constraints are not the codec's business, so strings are any text.
fn any_value(table: &'static Table, index: ShapeIndex) -> BoxedStrategy<Value> {
    match &table[index].kind {
        Kind::Unit => Just(Value::Structure(vec![])).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Kind::Integer => any::<i32>().prop_map(|n| Value::Integer(n.into())).boxed(),
        Kind::Long => any::<i64>().prop_map(Value::Integer).boxed(),
        Kind::String | Kind::Enum(_) => any::<String>().prop_map(Value::String).boxed(),
        Kind::Timestamp(_) => (-62_135_596_800_000_i64..253_402_300_800_000)
            .prop_map(|millis| Value::Timestamp(Timestamp::from_millis(millis)))
            .boxed(),
        Kind::List { member, .. } => {
            prop::collection::vec(any_value(table, member.target), 0..3).prop_map(Value::List).boxed()
        }
        Kind::Map { value, .. } => prop::collection::btree_map(any::<String>(), any_value(table, value.target), 0..3)
            .prop_map(|map| Value::Map(map.into_iter().collect()))
            .boxed(),
        Kind::Structure(members) => {
            let members = members.iter().map(|m| (Just(m.name.clone()), prop::option::of(any_value(table, m.target))));
            let present = |(name, value): (_, Option<Value>)| Some((name, value?));
            members
                .collect::<Vec<_>>()
                .prop_map(move |all| Value::Structure(all.into_iter().filter_map(present).collect()))
                .boxed()
        }
        other => unreachable!("our table has no {other:?}"),
    }
}

fn any_message() -> impl Strategy<Value = (ShapeIndex, Value)> {
    let api = table::api();
    let shapes: Vec<ShapeIndex> =
        Operation::ALL.iter().flat_map(|o| [o.input(), o.output()]).map(|name| api.find(name).unwrap()).collect();
    prop::sample::select(shapes).prop_flat_map(move |index| (Just(index), any_value(api, index)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn json_gives_back_what_it_was_given((index, value) in any_message()) {
        let bytes = json::encode(&value, table::api(), index);
        prop_assert_eq!(json::decode(&bytes, table::api(), index), Ok(value));
    }

    #[test]
    fn cbor_gives_back_what_it_was_given((index, value) in any_message()) {
        let bytes = cbor::encode(&value, table::api(), index);
        prop_assert_eq!(cbor::decode(&bytes, table::api(), index), Ok(value));
    }

    #[test]
    fn both_protocols_mean_the_same((index, value) in any_message()) {
        let by_json = json::decode(&json::encode(&value, table::api(), index), table::api(), index).unwrap();
        let by_cbor = cbor::decode(&cbor::encode(&value, table::api(), index), table::api(), index).unwrap();
        prop_assert_eq!(validate::check(&by_json, table::api(), index), validate::check(&by_cbor, table::api(), index));
        prop_assert_eq!(by_json, by_cbor);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic((index, value) in any_message(), at in any::<prop::sample::Index>(), byte: u8) {
        for mut bytes in [json::encode(&value, table::api(), index), cbor::encode(&value, table::api(), index)] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = json::decode(&bytes, table::api(), index);
            let _ = cbor::decode(&bytes, table::api(), index);
            let _ = cbor::decode(&bytes[..at], table::api(), index);
            let _ = json::decode(&bytes[..at], table::api(), index);
        }
    }
}
