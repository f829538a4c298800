//! Owns the bytes of rpcv2Cbor bodies, by shape. Reading: first [`check`] holds the whole body to RFC 8949's grammar and
//! bounds its nesting, then one pass makes a [`Value`] of the shape. Null and undefined are absent, unknown members are
//! skipped, a key that comes twice is refused. No length that a body claims is ever allocated. Writing cannot fail.

use std::borrow::Cow;
use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use strongroom_model::shape::{Kind, ShapeIndex, Table};
use strongroom_model::{Timestamp, Value};

use crate::place::{Place, has_twins};
use crate::{BODY_MAX, DecodeError, timestamp};

mod grammar;

pub use grammar::check;

/// The tag of a time in seconds since 1970.
const EPOCH_SECONDS: u64 = 1;

/// Reads a message. An empty body is the empty structure.
///
/// # Errors
/// What [`DecodeError`] tells.
pub fn decode(bytes: &[u8], table: &Table, shape: ShapeIndex) -> Result<Value, DecodeError> {
    if bytes.len() > BODY_MAX {
        return Err(DecodeError::TooLong);
    }
    if bytes.is_empty() {
        return Ok(Value::Structure(Vec::new()));
    }
    check(bytes)?;
    read(&mut Decoder::new(bytes), Place::root(table, shape))?.ok_or_else(|| not_of_shape("it is null"))
}

/// Writes a message that is of its shape, with definite lengths. A member that the shape does not declare is written as its
/// value stands.
pub fn encode(value: &Value, table: &Table, shape: ShapeIndex) -> Vec<u8> {
    let mut out = Encoder::new(Vec::with_capacity(256));
    write(&mut out, value, Place::root(table, shape)).expect("a Vec takes every byte");
    out.into_writer()
}

/// Reads the value at a place; `None` is null or undefined.
fn read(cbor: &mut Decoder<'_>, place: Place<'_>) -> Result<Option<Value>, DecodeError> {
    if is_null(cbor)? {
        cbor.skip()?;
        return Ok(None);
    }
    let at = cbor.position();
    let value = match place.kind() {
        Kind::Boolean => Value::Boolean(cbor.bool()?),
        Kind::Float | Kind::Double => Value::Float(read_number(cbor)?),
        Kind::Blob => Value::Blob(read_blob(cbor)?),
        Kind::String | Kind::Enum(_) => Value::String(read_text(cbor)?.into_owned()),
        Kind::Timestamp(_) => Value::Timestamp(read_timestamp(cbor)?),
        Kind::List { sparse, .. } => read_list(cbor, place.element(), *sparse)?,
        Kind::Map { sparse, .. } => read_map(cbor, place.entry(), *sparse)?,
        Kind::Structure(_) | Kind::Unit => read_structure(cbor, place)?,
        Kind::Union(_) => read_union(cbor, place)?,
        Kind::Byte | Kind::Short | Kind::Integer | Kind::IntEnum(_) | Kind::Long => Value::Integer(cbor.i64()?),
        Kind::Document => return Err(not_of_shape("documents have no CBOR form")),
    };
    match (&value, place.integers()) {
        (Value::Integer(n), Some(range)) if !range.contains(n) => {
            Err(not_of_shape(format!("{n} at byte {at} is not {}", place.expected())))
        }
        _ => Ok(Some(value)),
    }
}

fn is_null(cbor: &Decoder<'_>) -> Result<bool, DecodeError> {
    Ok(matches!(cbor.datatype()?, Type::Null | Type::Undefined))
}

fn read_list(cbor: &mut Decoder<'_>, element: Place<'_>, sparse: bool) -> Result<Value, DecodeError> {
    let mut list = Vec::new();
    let mut items = Items::new(cbor.array()?);
    while items.next(cbor)? {
        list.push(or_null(read(cbor, element)?, sparse)?);
    }
    Ok(Value::List(list))
}

fn read_map(cbor: &mut Decoder<'_>, entry: Place<'_>, sparse: bool) -> Result<Value, DecodeError> {
    let mut map = Vec::new();
    let mut items = Items::new(cbor.map()?);
    while items.next(cbor)? {
        let key = read_text(cbor)?.into_owned();
        map.push((key, or_null(read(cbor, entry)?, sparse)?));
    }
    if has_twins(&map) { Err(not_of_shape("a key is there twice")) } else { Ok(Value::Map(map)) }
}

fn read_structure(cbor: &mut Decoder<'_>, place: Place<'_>) -> Result<Value, DecodeError> {
    let members = place.members();
    let mut values: Vec<Option<Option<Value>>> = vec![None; members.len()];
    let mut items = Items::new(cbor.map()?);
    while items.next(cbor)? {
        let name = read_text(cbor)?;
        let Some(i) = members.iter().position(|m| m.name == name) else {
            cbor.skip()?;
            continue;
        };
        if values[i].replace(read(cbor, place.at(&members[i]))?).is_some() {
            return Err(not_of_shape(format!("{name} is there twice")));
        }
    }
    let present = members.iter().zip(values).filter_map(|(m, v)| Some((m.name.clone(), v.flatten()?)));
    Ok(Value::Structure(present.collect()))
}

/// Nulls count as absent, and so does `__type`, which some clients send; any other unknown member is an error.
fn read_union(cbor: &mut Decoder<'_>, place: Place<'_>) -> Result<Value, DecodeError> {
    let mut only = None;
    let mut items = Items::new(cbor.map()?);
    while items.next(cbor)? {
        let name = read_text(cbor)?;
        match place.members().iter().find(|m| m.name == name) {
            Some(member) => {
                if let Some(value) = read(cbor, place.at(member))?
                    && only.replace((member.name.clone(), value)).is_some()
                {
                    return Err(not_of_shape("a union has two members"));
                }
            }
            None if name == "__type" => cbor.skip()?,
            None => return Err(not_of_shape(format!("a union has an unknown member {name}"))),
        }
    }
    only.map(|o| Value::Structure(vec![o])).ok_or_else(|| not_of_shape("a union has no member"))
}

/// The elements that are left of a list or map, be its length given or not.
struct Items(Option<u64>);

impl Items {
    fn new(length: Option<u64>) -> Self {
        Self(length)
    }

    /// Whether there is another one; takes the break that ends an indefinite length.
    fn next(&mut self, cbor: &mut Decoder<'_>) -> Result<bool, DecodeError> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if cbor.datatype()? == Type::Break => {
                cbor.skip()?;
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

fn or_null(value: Option<Value>, sparse: bool) -> Result<Value, DecodeError> {
    match value {
        Some(value) => Ok(value),
        None if sparse => Ok(Value::Null),
        None => Err(not_of_shape("null in a list or map that takes none")),
    }
}

fn read_text<'b>(cbor: &mut Decoder<'b>) -> Result<Cow<'b, str>, DecodeError> {
    if cbor.datatype()? == Type::String {
        return Ok(Cow::Borrowed(cbor.str()?));
    }
    Ok(Cow::Owned(cbor.str_iter()?.collect::<Result<String, _>>()?))
}

fn read_blob(cbor: &mut Decoder<'_>) -> Result<Vec<u8>, DecodeError> {
    Ok(cbor.bytes_iter()?.collect::<Result<Vec<_>, _>>()?.concat())
}

fn read_number(cbor: &mut Decoder<'_>) -> Result<f64, DecodeError> {
    match cbor.datatype()? {
        Type::F16 | Type::F32 | Type::F64 => Ok(cbor.f64()?),
        _ => Ok(i128::from(cbor.int()?) as f64),
    }
}

fn read_timestamp(cbor: &mut Decoder<'_>) -> Result<Timestamp, DecodeError> {
    if cbor.tag()?.as_u64() != EPOCH_SECONDS {
        return Err(not_of_shape("a timestamp has another tag than 1"));
    }
    let seconds = read_number(cbor)?;
    timestamp::from_epoch_seconds(seconds).ok_or_else(|| not_of_shape(format!("{seconds} is no timestamp")))
}

fn not_of_shape(text: impl Into<String>) -> DecodeError {
    DecodeError::NotOfShape(text.into())
}

/// The grammar was checked before, so that whatever minicbor refuses is a value of another kind.
impl From<minicbor::decode::Error> for DecodeError {
    fn from(error: minicbor::decode::Error) -> Self {
        not_of_shape(error.to_string())
    }
}

type Written = Result<(), minicbor::encode::Error<Infallible>>;

fn write(out: &mut Encoder<Vec<u8>>, value: &Value, place: Place<'_>) -> Written {
    match value {
        Value::Null => out.null()?.ok(),
        Value::Boolean(b) => out.bool(*b)?.ok(),
        Value::Integer(n) => out.i64(*n)?.ok(),
        Value::Float(n) if matches!(place.kind(), Kind::Float) => out.f32(*n as f32)?.ok(),
        Value::Float(n) => out.f64(*n)?.ok(),
        Value::String(text) => out.str(text)?.ok(),
        Value::Blob(bytes) => out.bytes(bytes)?.ok(),
        Value::Timestamp(t) => out.tag(minicbor::data::Tag::new(EPOCH_SECONDS))?.f64(t.epoch_seconds())?.ok(),
        Value::List(elements) => {
            out.array(elements.len() as u64)?;
            elements.iter().try_for_each(|element| write(out, element, place.element()))
        }
        Value::Map(entries) => {
            out.map(entries.len() as u64)?;
            entries.iter().try_for_each(|(key, value)| write(out.str(key)?, value, place.entry()))
        }
        Value::Structure(members) => {
            let present = || members.iter().filter(|(_, v)| *v != Value::Null);
            out.map(present().count() as u64)?;
            present().try_for_each(|(name, value)| write(out.str(name)?, value, place.named(name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_model::table;

    use super::*;
    use crate::NESTING_MAX;

    fn read_hex(shape: &str, hex: &str) -> Result<Value, DecodeError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.replace(' ', "").as_bytes()).unwrap();
        decode(&bytes, table::api(), table::api().find(shape).unwrap())
    }

    fn text(value: &str) -> String {
        format!("{:02x}{}", 0x60 + value.len(), data_encoding::HEXLOWER.encode(value.as_bytes()))
    }

    #[test]
    fn reads_indefinite_maps_and_text_and_skips_the_unknown() {
        let body = format!(
            "bf 7f {} {} ff {} {} a1 01 9f ff {} f7 ff",
            text("Next"),
            text("Token"),
            text("t"),
            text("Other"),
            text("MaxResults")
        );
        let value = read_hex("DescribeClustersRequest", &body).unwrap();
        assert_eq!(value, Value::Structure(vec![("NextToken".into(), Value::String("t".into()))]));
        assert_eq!(read_hex("DescribeClustersRequest", "").unwrap(), Value::Structure(vec![]));
    }

    #[test]
    fn reads_every_form_of_a_timestamp() {
        let member = text("CreateTimestamp");
        for (seconds, millis) in [
            ("c1 1a 5b7608de", 1_534_462_174_000),
            ("c1 f9 3e00", 1_500),
            ("c1 fa 3fc00000", 1_500),
            ("c1 fb 41d6dd8237a3d70a", 1_534_462_174_560),
            ("c1 20", -1_000),
        ] {
            let value = read_hex("DestinationBackup", &format!("a1 {member} {seconds}")).unwrap();
            assert_eq!(
                value.member("CreateTimestamp"),
                Some(&Value::Timestamp(Timestamp::from_millis(millis))),
                "{seconds}"
            );
        }
        for seconds in ["01", "c0 01", "c1 61 31", "c1 fb 7ff8000000000000", "c1 1b ffffffffffffffff", "c1 f6"] {
            let refused = read_hex("DestinationBackup", &format!("a1 {member} {seconds}"));
            assert!(matches!(refused, Err(DecodeError::NotOfShape(_))), "{seconds}: {refused:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_of_the_shape() {
        let (max, token) = (text("MaxResults"), text("NextToken"));
        for body in [
            format!("a1 {max} f9 4500"),
            format!("a1 {max} 1a ffffffff"),
            format!("a1 {max} {}", text("5")),
            format!("a1 {token} 41 61"),
            format!("a2 {token} f6 {token} {}", text("t")),
            format!("a1 {} a2 {} 80 {} 80", text("Filters"), text("s"), text("s")),
            "a1 01 01".to_owned(),
            "80".to_owned(),
            "f6".to_owned(),
        ] {
            let refused = read_hex("DescribeClustersRequest", &body);
            assert!(matches!(refused, Err(DecodeError::NotOfShape(_))), "{body}: {refused:?}");
        }
    }

    #[test]
    fn bounds_length_and_nesting() {
        let deep = |n: usize| read_hex("ListSubnetsRequest", &format!("a1 {} {} 00", text("x"), "81".repeat(n)));
        assert!(deep(NESTING_MAX - 1).is_ok());
        assert_eq!(deep(NESTING_MAX), Err(DecodeError::TooDeep));
        assert_eq!(deep(60_000), Err(DecodeError::TooDeep));
        assert_eq!(read_hex("ListSubnetsRequest", &"00".repeat(BODY_MAX + 1)), Err(DecodeError::TooLong));
        for bomb in ["9b 7fffffffffffffff", "bb ffffffffffffffff", "7b ffffffffffffffff", "5b 7fffffffffffffff"] {
            let refused = read_hex("ListSubnetsRequest", &format!("a1 {} {bomb} 00", text("x")));
            assert!(matches!(refused, Err(DecodeError::NotWellFormed(_))), "{bomb}: {refused:?}");
        }
    }

    #[test]
    fn strings_consist_of_chunks_of_their_own_type() {
        assert_eq!(check(&[0x5f, 0x41, 0x61, 0xff]), Ok(()));
        for mixed in
            [&[0x5f, 0x61, 0x61, 0xff][..], &[0x7f, 0x41, 0x61, 0xff], &[0x7f, 0x01, 0xff], &[0x7f, 0x61, 0xff, 0xff]]
        {
            assert!(matches!(check(mixed), Err(DecodeError::NotWellFormed(_))), "{mixed:02x?}");
        }
    }

    #[test]
    fn writes_definite_lengths_and_no_nulls() {
        let backup = Value::Structure(vec![
            ("BackupId".into(), Value::String("b".into())),
            ("ClusterId".into(), Value::Null),
            ("CreateTimestamp".into(), Value::Timestamp(Timestamp::from_millis(1_500))),
        ]);
        let bytes = encode(&backup, table::api(), table::api().find("Backup").unwrap());
        let expected = format!("a2{}{}{}c1fb3ff8000000000000", text("BackupId"), text("b"), text("CreateTimestamp"));
        assert_eq!(data_encoding::HEXLOWER.encode(&bytes), expected);
    }
}
