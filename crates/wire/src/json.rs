//! Owns the bytes of awsJson1_1 bodies, by shape. Reading: length and nesting are bounded before anything is parsed; then
//! one pass makes a [`Value`] of the shape. Null is absent, unknown members are skipped, a key that comes twice is refused.
//! Constraints are not looked at here. Writing cannot fail.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use strongroom_model::shape::{Kind, ShapeIndex, Table, TimestampFormat};
use strongroom_model::{Timestamp, Value};

use crate::place::{Place, has_twins};
use crate::{BODY_MAX, DecodeError, NESTING_MAX, timestamp};

/// Reads a message. An empty body is the empty structure.
///
/// # Errors
/// What [`DecodeError`] tells; the text names line and column.
pub fn decode(bytes: &[u8], table: &Table, shape: ShapeIndex) -> Result<Value, DecodeError> {
    if bytes.len() > BODY_MAX {
        return Err(DecodeError::TooLong);
    }
    if bytes.is_empty() {
        return Ok(Value::Structure(Vec::new()));
    }
    check_nesting(bytes)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Reader(Place::root(table, shape)).deserialize(&mut json).and_then(|v| json.end().map(|()| v));
    match value {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(DecodeError::NotOfShape("it is null".to_owned())),
        Err(e) if e.is_data() => Err(DecodeError::NotOfShape(e.to_string())),
        Err(e) => Err(DecodeError::NotWellFormed(e.to_string())),
    }
}

/// Writes a message that is of its shape. A member that the shape does not declare is written as its value stands.
pub fn encode(value: &Value, table: &Table, shape: ShapeIndex) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value, Place::root(table, shape));
    out
}

/// Bounds the depth of the brackets outside of strings. Whether they fit together is the parser's business.
fn check_nesting(bytes: &[u8]) -> Result<(), DecodeError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Err(DecodeError::TooDeep);
        }
    }
    Ok(())
}

/// Reads the value at a place; `None` is null.
#[derive(Clone, Copy)]
struct Reader<'t>(Place<'t>);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Self::Value, E> {
        match self.0.kind() {
            Kind::Boolean | Kind::Document => Ok(Some(Value::Boolean(b))),
            _ => Err(E::invalid_type(Unexpected::Bool(b), &self)),
        }
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Self::Value, E> {
        match (self.0.kind(), self.0.integers()) {
            (_, Some(range)) if range.contains(&n) => Ok(Some(Value::Integer(n))),
            (_, Some(_)) => Err(E::invalid_value(Unexpected::Signed(n), &self)),
            (Kind::Document, _) => Ok(Some(Value::Integer(n))),
            (Kind::Float | Kind::Double | Kind::Timestamp(_), _) => self.visit_f64(n as f64),
            _ => Err(E::invalid_type(Unexpected::Signed(n), &self)),
        }
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Self::Value, E> {
        match (i64::try_from(n), self.0.integers()) {
            (Ok(n), _) => self.visit_i64(n),
            (Err(_), Some(_)) => Err(E::invalid_value(Unexpected::Unsigned(n), &self)),
            (Err(_), None) => self.visit_f64(n as f64),
        }
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Self::Value, E> {
        let refused = || E::invalid_value(Unexpected::Float(n), &self);
        match self.0.kind() {
            Kind::Float | Kind::Double | Kind::Document => Ok(Some(Value::Float(n))),
            Kind::Timestamp(_) if self.0.timestamp_format() == TimestampFormat::EpochSeconds => {
                timestamp::from_epoch_seconds(n).map(|t| Some(Value::Timestamp(t))).ok_or_else(refused)
            }
            _ => Err(E::invalid_type(Unexpected::Float(n), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let value = match self.0.kind() {
            Kind::String | Kind::Enum(_) | Kind::Document => Some(Value::String(text.to_owned())),
            Kind::Blob => data_encoding::BASE64.decode(text.as_bytes()).ok().map(Value::Blob),
            Kind::Float | Kind::Double => named_float(text).map(Value::Float),
            Kind::Timestamp(_) => read_timestamp(text, self.0.timestamp_format()).map(Value::Timestamp),
            _ => return Err(E::invalid_type(Unexpected::Str(text), &self)),
        };
        value.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let (element, sparse) = match self.0.kind() {
            Kind::List { sparse, .. } => (self.0.element(), *sparse),
            Kind::Document => (self.0, true),
            _ => return Err(A::Error::invalid_type(Unexpected::Seq, &self)),
        };
        let mut list = Vec::new();
        while let Some(value) = elements.next_element_seed(Reader(element))? {
            list.push(or_null(value, sparse)?);
        }
        Ok(Some(Value::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        match self.0.kind() {
            Kind::Structure(_) | Kind::Unit => read_structure(self.0, entries).map(Some),
            Kind::Union(_) => read_union(self, entries).map(Some),
            Kind::Map { sparse, .. } => read_map(self.0.entry(), *sparse, entries).map(Some),
            Kind::Document => read_map(self.0, true, entries).map(Some),
            _ => Err(A::Error::invalid_type(Unexpected::Map, &self)),
        }
    }
}

fn read_structure<'de, A: MapAccess<'de>>(place: Place<'_>, mut entries: A) -> Result<Value, A::Error> {
    let members = place.members();
    let mut values: Vec<Option<Option<Value>>> = vec![None; members.len()];
    while let Some(found) = entries.next_key_seed(MemberName(place))? {
        let Some(i) = found.member() else {
            entries.next_value::<IgnoredAny>()?;
            continue;
        };
        let value = entries.next_value_seed(Reader(place.at(&members[i])))?;
        if values[i].replace(value).is_some() {
            return Err(A::Error::custom(format_args!("{} is there twice", members[i].name)));
        }
    }
    let present = members.iter().zip(values).filter_map(|(m, v)| Some((m.name.clone(), v.flatten()?)));
    Ok(Value::Structure(present.collect()))
}

/// Nulls count as absent, and so does `__type`, which some clients send; any other unknown member is an error.
fn read_union<'de, A: MapAccess<'de>>(reader: Reader<'_>, mut entries: A) -> Result<Value, A::Error> {
    let members = reader.0.members();
    let mut only = None;
    while let Some(found) = entries.next_key_seed(MemberName(reader.0))? {
        let (name, value) = match found {
            Found::Member(i) => (&members[i].name, entries.next_value_seed(Reader(reader.0.at(&members[i])))?),
            Found::Type => {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            Found::Unknown => return Err(A::Error::custom("a union has an unknown member")),
        };
        if let Some(value) = value
            && only.replace((name.clone(), value)).is_some()
        {
            return Err(A::Error::invalid_value(Unexpected::Map, &reader));
        }
    }
    only.map(|o| Value::Structure(vec![o])).ok_or_else(|| A::Error::invalid_value(Unexpected::Map, &reader))
}

fn read_map<'de, A: MapAccess<'de>>(entry: Place<'_>, sparse: bool, mut entries: A) -> Result<Value, A::Error> {
    let mut map = Vec::new();
    while let Some(key) = entries.next_key::<String>()? {
        let value = entries.next_value_seed(Reader(entry))?;
        map.push((key, or_null(value, sparse)?));
    }
    if has_twins(&map) { Err(A::Error::custom("a key is there twice")) } else { Ok(Value::Map(map)) }
}

fn or_null<E: Error>(value: Option<Value>, sparse: bool) -> Result<Value, E> {
    match value {
        Some(value) => Ok(value),
        None if sparse => Ok(Value::Null),
        None => Err(E::custom("null in a list or map that takes none")),
    }
}

fn named_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn read_timestamp(text: &str, format: TimestampFormat) -> Option<Timestamp> {
    match format {
        TimestampFormat::EpochSeconds => None,
        TimestampFormat::DateTime => timestamp::from_date_time(text),
        TimestampFormat::HttpDate => timestamp::from_http_date(text),
    }
}

/// Finds the member that a key names, without keeping the key.
struct MemberName<'t>(Place<'t>);

enum Found {
    Member(usize),
    Type,
    Unknown,
}

impl Found {
    fn member(self) -> Option<usize> {
        match self {
            Self::Member(i) => Some(i),
            Self::Type | Self::Unknown => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for MemberName<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for MemberName<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Found, E> {
        let position = self.0.members().iter().position(|m| m.name == key);
        Ok(position.map_or(if key == "__type" { Found::Type } else { Found::Unknown }, Found::Member))
    }
}

fn write(out: &mut Vec<u8>, value: &Value, place: Place<'_>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Boolean(b) => out.extend(if *b { &b"true"[..] } else { b"false" }),
        Value::Integer(n) => out.extend(n.to_string().as_bytes()),
        Value::Float(n) => write_float(out, *n),
        Value::String(text) => write_string(out, text),
        Value::Blob(bytes) => write_string(out, &data_encoding::BASE64.encode(bytes)),
        Value::Timestamp(t) => match place.timestamp_format() {
            TimestampFormat::EpochSeconds => out.extend(timestamp::epoch_seconds(*t).as_bytes()),
            TimestampFormat::DateTime => write_string(out, &timestamp::date_time(*t)),
            TimestampFormat::HttpDate => write_string(out, &timestamp::http_date(*t)),
        },
        Value::List(elements) => {
            write_all(out, *b"[]", elements, |out, element| write(out, element, place.element()));
        }
        Value::Map(entries) => write_all(out, *b"{}", entries, |out, (key, value)| {
            write_string(out, key);
            out.push(b':');
            write(out, value, place.entry());
        }),
        Value::Structure(members) => {
            write_all(out, *b"{}", members.iter().filter(|(_, v)| *v != Value::Null), |out, (name, value)| {
                write_string(out, name);
                out.push(b':');
                write(out, value, place.named(name));
            });
        }
    }
}

fn write_all<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    mut write_one: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_one(out, item);
    }
    out.push(close);
}

fn write_float(out: &mut Vec<u8>, n: f64) {
    match n {
        _ if n.is_nan() => write_string(out, "NaN"),
        f64::INFINITY => write_string(out, "Infinity"),
        f64::NEG_INFINITY => write_string(out, "-Infinity"),
        _ => serde_json::to_writer(out, &n).expect("a Vec takes every byte"),
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every byte");
}

#[cfg(test)]
mod tests {
    use strongroom_model::table;

    use super::*;

    fn read(shape: &str, body: &str) -> Result<Value, DecodeError> {
        decode(body.as_bytes(), table::api(), table::api().find(shape).unwrap())
    }

    fn not_of_shape(shape: &str, body: &str) {
        assert!(matches!(read(shape, body), Err(DecodeError::NotOfShape(_))), "{body}: {:?}", read(shape, body));
    }

    #[test]
    fn reads_by_shape_in_the_order_of_the_table() {
        let value =
            read("DeleteHsmRequest", r#"{"EniIp":"1.2.3.4","Other":[{}],"HsmId":null,"ClusterId":"c"}"#).unwrap();
        let members = [("ClusterId", "c"), ("EniIp", "1.2.3.4")];
        let expected = members.map(|(n, v)| (n.into(), Value::String(v.into())));
        assert_eq!(value, Value::Structure(expected.into()));
        assert_eq!(read("DeleteHsmRequest", "").unwrap(), Value::Structure(vec![]));
    }

    #[test]
    fn refuses_what_is_not_of_the_shape() {
        not_of_shape("DescribeClustersRequest", r#"{"MaxResults":5.0}"#);
        not_of_shape("DescribeClustersRequest", r#"{"MaxResults":3000000000}"#);
        not_of_shape("DescribeClustersRequest", r#"{"MaxResults":"5"}"#);
        not_of_shape("DescribeClustersRequest", r#"{"Filters":{"states":[null]}}"#);
        not_of_shape("DescribeClustersRequest", r#"{"Filters":{"states":[],"states":[]}}"#);
        not_of_shape("DescribeClustersRequest", r#"{"NextToken":null,"NextToken":"t"}"#);
        not_of_shape("DescribeClustersRequest", "[]");
        not_of_shape("DescribeClustersRequest", "null");
        for body in ["{", "{}x", "{\"NextToken\":\"\\ud800\"}", "{'a':1}", " ", "{}{}"] {
            assert!(matches!(read("DescribeClustersRequest", body), Err(DecodeError::NotWellFormed(_))), "{body}");
        }
    }

    #[test]
    fn bounds_length_and_nesting() {
        let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(read("ListSubnetsRequest", &nested(NESTING_MAX - 1)).is_ok());
        assert_eq!(read("ListSubnetsRequest", &nested(NESTING_MAX)), Err(DecodeError::TooDeep));
        assert_eq!(read("ListSubnetsRequest", &nested(60_000)), Err(DecodeError::TooDeep));
        assert!(read("ListSubnetsRequest", &format!(r#"{{"x":"\"{}"}}"#, "[".repeat(99))).is_ok());
        assert_eq!(read("ListSubnetsRequest", &" ".repeat(BODY_MAX + 1)), Err(DecodeError::TooLong));
    }

    #[test]
    fn writes_seconds_and_escapes() {
        let backup = Value::Structure(vec![
            ("BackupId".into(), Value::String("a\"\n\u{e9}".into())),
            ("CreateTimestamp".into(), Value::Timestamp(Timestamp::from_millis(1_534_461_854_640))),
            ("ClusterId".into(), Value::Null),
        ]);
        let bytes = encode(&backup, table::api(), table::api().find("Backup").unwrap());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"BackupId\":\"a\\\"\\n\u{e9}\",\"CreateTimestamp\":1534461854.64}"
        );
    }
}
