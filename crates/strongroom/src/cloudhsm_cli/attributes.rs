//! Owns the attributes of keys: AWS's names for PKCS#11's, how a value is written on the command line and in a result,
//! and the order of a result. An attribute that an HSM does not tell is what AWS prints for it.

use std::borrow::Cow;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Map, Value};
use strongroom_link::hsm::{Attribute, AttributeValue};
use strongroom_link::pkcs11::*;

use super::ec;
use super::execute::CommandError;

/// How the value of an attribute is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `true` or `false`.
    Flag,
    /// A number.
    Number,
    /// Text.
    Text,
    /// `0x` and hex digits.
    Hex,
    /// A name for a number.
    Name(&'static [(&'static str, Ulong)]),
    /// The name of a curve.
    Curve,
}

use Form::{Curve, Flag, Hex, Name, Number, Text};

/// An attribute with AWS's name.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    name: &'static str,
    kind: Ulong,
    form: Form,
}

const CLASSES: &[(&str, Ulong)] =
    &[("secret-key", CKO_SECRET_KEY), ("public-key", CKO_PUBLIC_KEY), ("private-key", CKO_PRIVATE_KEY)];
const KEY_TYPES: &[(&str, Ulong)] =
    &[("aes", CKK_AES), ("rsa", CKK_RSA), ("ec", CKK_EC), ("generic-secret", CKK_GENERIC_SECRET)];

const fn attribute(name: &'static str, kind: Ulong, form: Form) -> KeyAttribute {
    KeyAttribute { name, kind, form }
}

/// All attributes, in the order of a result.
const ATTRIBUTES: &[KeyAttribute] = &[
    attribute("key-type", CKA_KEY_TYPE, Name(KEY_TYPES)),
    attribute("label", CKA_LABEL, Text),
    attribute("id", CKA_ID, Hex),
    attribute("check-value", CKA_CHECK_VALUE, Hex),
    attribute("class", CKA_CLASS, Name(CLASSES)),
    attribute("encrypt", CKA_ENCRYPT, Flag),
    attribute("decrypt", CKA_DECRYPT, Flag),
    attribute("token", CKA_TOKEN, Flag),
    attribute("always-sensitive", CKA_ALWAYS_SENSITIVE, Flag),
    attribute("derive", CKA_DERIVE, Flag),
    attribute("destroyable", CKA_DESTROYABLE, Flag),
    attribute("extractable", CKA_EXTRACTABLE, Flag),
    attribute("local", CKA_LOCAL, Flag),
    attribute("modifiable", CKA_MODIFIABLE, Flag),
    attribute("never-extractable", CKA_NEVER_EXTRACTABLE, Flag),
    attribute("private", CKA_PRIVATE, Flag),
    attribute("sensitive", CKA_SENSITIVE, Flag),
    attribute("sign", CKA_SIGN, Flag),
    attribute("trusted", CKA_TRUSTED, Flag),
    attribute("unwrap", CKA_UNWRAP, Flag),
    attribute("verify", CKA_VERIFY, Flag),
    attribute("wrap", CKA_WRAP, Flag),
    attribute("wrap-with-trusted", CKA_WRAP_WITH_TRUSTED, Flag),
    attribute("key-length-bytes", CKA_VALUE_LEN, Number),
    attribute("ec-point", CKA_EC_POINT, Hex),
    attribute("curve", CKA_EC_PARAMS, Curve),
    attribute("public-exponent", CKA_PUBLIC_EXPONENT, Hex),
    attribute("modulus", CKA_MODULUS, Hex),
    attribute("modulus-size-bits", CKA_MODULUS_BITS, Number),
];

/// What a result shows of a key: all that have a name.
pub fn shown_kinds() -> Vec<Ulong> {
    ATTRIBUTES.iter().map(|attribute| attribute.kind).collect()
}

/// Reads `NAME=VALUE`.
///
/// # Errors
/// An unknown name, or a value of another form.
pub fn parse_pair(text: &str) -> Result<Attribute, CommandError> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        CommandError::text(format!("{text:?} is not of the form KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE"))
    })?;
    parse(name, value)
}

/// Reads a value of the attribute of that name.
///
/// # Errors
/// An unknown name, or a value of another form.
pub fn parse(name: &str, value: &str) -> Result<Attribute, CommandError> {
    let attribute = ATTRIBUTES
        .iter()
        .find(|attribute| attribute.name == name)
        .ok_or_else(|| CommandError::text(format!("There is no key attribute {name:?}.")))?;
    let value_of = |form: &str| CommandError::text(format!("Key attribute {name} takes {form}, not {value:?}."));
    let parsed = match attribute.form {
        Flag => AttributeValue::Bool(value.parse().map_err(|_| value_of("true or false"))?),
        Number => AttributeValue::Ulong(value.parse().map_err(|_| value_of("a number"))?),
        Text => AttributeValue::Bytes(value.as_bytes().to_vec()),
        Hex => AttributeValue::Bytes(parse_hex(value).ok_or_else(|| value_of("0x and hex digits"))?),
        Name(names) => {
            let known = names.iter().find(|(known, _)| *known == value);
            let all = || names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            AttributeValue::Ulong(known.ok_or_else(|| value_of(&format!("one of {}", all())))?.1)
        }
        Curve => AttributeValue::Bytes(ec::parameters_of_name(value).ok_or_else(|| value_of("the name of a curve"))?),
    };
    Ok(Attribute { kind: attribute.kind, value: parsed })
}

/// The attributes that a generation or import command takes beside its own flags.
///
/// # Errors
/// As [`parse_pair`]; `token` has a flag of its own.
pub fn parse_template(pairs: &[String]) -> Result<Vec<Attribute>, CommandError> {
    let template = pairs.iter().map(|pair| parse_pair(pair)).collect::<Result<Vec<_>, _>>()?;
    if template.iter().any(|attribute| attribute.kind == CKA_TOKEN) {
        return Err(CommandError::text("Token key attribute cannot be supplied via optional attributes"));
    }
    Ok(template)
}

/// The member `attributes` of a result.
pub fn render(attributes: &[Attribute]) -> Map<String, Value> {
    let mut shown = Map::new();
    for KeyAttribute { name, kind, form } in ATTRIBUTES {
        let value = attributes.iter().find(|attribute| attribute.kind == *kind).map(|attribute| &attribute.value);
        if let Some(value) = render_value(*kind, *form, value, attributes) {
            shown.insert((*name).into(), value);
        }
    }
    shown
}

fn render_value(kind: Ulong, form: Form, value: Option<&AttributeValue>, all: &[Attribute]) -> Option<Value> {
    Some(match (form, value) {
        (Flag, Some(AttributeValue::Bool(flag))) => Value::Bool(*flag),
        // AWS prints every flag of every key; what a class of keys has not is false, but that a public key can be read.
        (Flag, _) => Value::Bool(kind == CKA_EXTRACTABLE && ulong(all, CKA_CLASS) == Some(CKO_PUBLIC_KEY)),
        (Number, Some(AttributeValue::Ulong(number))) => Value::from(*number),
        (Name(names), Some(AttributeValue::Ulong(number))) => {
            let name = names.iter().find(|(_, known)| known == number).map(|(name, _)| Cow::Borrowed(*name));
            Value::from(name.unwrap_or_else(|| Cow::Owned(format!("{number:#x}"))))
        }
        (Text, Some(AttributeValue::Bytes(text))) => Value::from(String::from_utf8_lossy(text)),
        (Text, _) => Value::from(""),
        (Curve, Some(AttributeValue::Bytes(der))) => match ec::name_of_parameters(der) {
            Some(name) => Value::from(name),
            None => Value::from(hex(der)),
        },
        (Hex, Some(AttributeValue::Bytes(bytes))) => Value::from(hex(bytes)),
        (Hex, _) if kind == CKA_ID => Value::from(hex(&[])),
        _ => return None,
    })
}

/// The bytes of an attribute.
pub fn bytes(attributes: &[Attribute], kind: Ulong) -> Option<&[u8]> {
    attributes.iter().find(|attribute| attribute.kind == kind).and_then(|attribute| match &attribute.value {
        AttributeValue::Bytes(bytes) => Some(bytes.as_slice()),
        _ => None,
    })
}

/// The number of an attribute.
pub fn ulong(attributes: &[Attribute], kind: Ulong) -> Option<Ulong> {
    attributes.iter().find(|attribute| attribute.kind == kind).and_then(|attribute| match attribute.value {
        AttributeValue::Ulong(number) => Some(number),
        _ => None,
    })
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", HEXLOWER.encode(bytes))
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.strip_prefix("0x")?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse_pair(text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_read_by_the_form_of_their_attribute() {
        let read = |text| parse_pair(text).unwrap().value;
        assert!(matches!(read("sign=true"), AttributeValue::Bool(true)));
        assert!(matches!(read("label=a=b"), AttributeValue::Bytes(label) if label == b"a=b"));
        assert!(matches!(read("id=0x01aB"), AttributeValue::Bytes(id) if id == [0x01, 0xab]));
        assert!(matches!(read("class=private-key"), AttributeValue::Ulong(CKO_PRIVATE_KEY)));
        assert!(matches!(read("key-length-bytes=32"), AttributeValue::Ulong(32)));
        assert!(matches!(read("curve=prime256v1"), AttributeValue::Bytes(der) if der[..2] == [6, 8]));
    }

    #[test]
    fn other_values_are_refused_with_what_is_taken() {
        assert_eq!(refusal("sign=yes"), "Key attribute sign takes true or false, not \"yes\".");
        assert_eq!(refusal("colour=red"), "There is no key attribute \"colour\".");
        assert!(refusal("key-type=des").contains("aes, rsa, ec, generic-secret"));
        assert!(refusal("sign").contains("KEY_ATTRIBUTE_NAME=KEY_ATTRIBUTE_VALUE"));
        let template = parse_template(&["token=true".into()]).unwrap_err();
        assert_eq!(template.to_string(), "Token key attribute cannot be supplied via optional attributes");
    }

    #[test]
    fn a_result_is_in_the_order_of_aws() {
        let told = [
            Attribute::ulong(CKA_KEY_TYPE, CKK_RSA),
            Attribute::ulong(CKA_CLASS, CKO_PUBLIC_KEY),
            Attribute::bytes(CKA_MODULUS, [0xab; 256]),
            Attribute::bytes(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
            Attribute::ulong(CKA_MODULUS_BITS, 2048),
            Attribute::ulong(CKA_VALUE_LEN, 512),
            Attribute::boolean(CKA_VERIFY, true),
        ];
        let shown = render(&told);
        let names: Vec<_> = shown.keys().map(String::as_str).collect();
        assert_eq!(names[..4], ["key-type", "label", "id", "class"]);
        assert_eq!(names[names.len() - 4..], ["key-length-bytes", "public-exponent", "modulus", "modulus-size-bits"]);
        assert_eq!(shown["extractable"], true);
        assert_eq!(shown["sign"], false);
        assert_eq!(shown["id"], "0x");
        assert_eq!(shown["public-exponent"], "0x010001");
    }
}
