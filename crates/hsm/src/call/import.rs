//! Owns C_CreateObject: keys whose value is in the template. The value is checked as far as it can be before it is a key.

use strongroom_link::hsm::{Answer, Attribute, Failure};
use strongroom_link::pkcs11::*;
use zeroize::Zeroizing;

use super::generate::curve;
use super::keep;
use crate::attribute::{Origin, Template, name_of};
use crate::cluster::RequestName;
use crate::key::{AesKey, Class, Key};
use crate::lc::{Rejected, ec, rsa};
use crate::object::Object;
use crate::refusal::refusal;
use crate::session::Session;

pub(crate) fn create_object(
    session: &mut Session,
    name: &RequestName,
    template: &[Attribute],
) -> Result<Answer, Failure> {
    let owner = session.crypto_user()?.user.clone();
    let template = Template::read(template)?;
    let key = read_key(&template)?;
    // A handle is given when the key is kept.
    let object = Object::new(0, &owner, key, Origin::Imported, &template)?;
    keep::one(session, name, object)
}

fn read_key(template: &Template<'_>) -> Result<Key, Failure> {
    let class = template.required_ulong(CKA_CLASS)?;
    let key_type = template.required_ulong(CKA_KEY_TYPE)?;
    let class = Class::from_number(class).ok_or_else(|| not_supported(CKA_CLASS))?;
    match (class, key_type) {
        (Class::Secret, CKK_AES | CKK_GENERIC_SECRET) => read_secret(template, key_type),
        (Class::Private, CKK_RSA) => read_rsa_private(template),
        (Class::Private, CKK_EC) => {
            template.describes(class, key_type, &[CKA_EC_PARAMS, CKA_VALUE])?;
            let scalar = template.required_bytes(CKA_VALUE)?;
            let key = ec::PrivateKey::from_scalar(curve(template)?, scalar);
            key.map(Key::EcPrivate).map_err(|_| not_a_key(CKA_VALUE))
        }
        (Class::Public, CKK_RSA) => read_rsa_public(template),
        (Class::Public, CKK_EC) => read_ec_public(template),
        _ => Err(not_supported(CKA_KEY_TYPE)),
    }
}

fn read_secret(template: &Template<'_>, key_type: Ulong) -> Result<Key, Failure> {
    template.describes(Class::Secret, key_type, &[CKA_VALUE, CKA_VALUE_LEN])?;
    let value = Zeroizing::new(template.required_bytes(CKA_VALUE)?.to_vec());
    if template.ulong(CKA_VALUE_LEN).is_some_and(|length| length != value.len() as Ulong) {
        let message = "Attribute key-length-bytes is not the length of the value";
        return Err(refusal(CKR_TEMPLATE_INCONSISTENT, message));
    }
    let key = if key_type == CKK_AES { AesKey::new(value).map(Key::Aes) } else { Key::generic_secret(value) };
    key.map_err(|_| not_a_key(CKA_VALUE))
}

fn read_rsa_private(template: &Template<'_>) -> Result<Key, Failure> {
    let parts = [
        CKA_MODULUS,
        CKA_PUBLIC_EXPONENT,
        CKA_PRIVATE_EXPONENT,
        CKA_PRIME_1,
        CKA_PRIME_2,
        CKA_EXPONENT_1,
        CKA_EXPONENT_2,
        CKA_COEFFICIENT,
    ];
    template.describes(Class::Private, CKK_RSA, &parts)?;
    let key = rsa::PrivateKey::from_parts(&rsa::PrivateParts {
        modulus: template.required_bytes(CKA_MODULUS)?,
        public_exponent: template.required_bytes(CKA_PUBLIC_EXPONENT)?,
        private_exponent: template.required_bytes(CKA_PRIVATE_EXPONENT)?,
        prime_1: template.required_bytes(CKA_PRIME_1)?,
        prime_2: template.required_bytes(CKA_PRIME_2)?,
        exponent_1: template.required_bytes(CKA_EXPONENT_1)?,
        exponent_2: template.required_bytes(CKA_EXPONENT_2)?,
        coefficient: template.required_bytes(CKA_COEFFICIENT)?,
    });
    permitted_rsa(key.and_then(Key::rsa_private))
}

/// Either modulus and exponent, or a whole SubjectPublicKeyInfo.
fn read_rsa_public(template: &Template<'_>) -> Result<Key, Failure> {
    let key = match template.bytes(CKA_PUBLIC_KEY_INFO) {
        Some(info) => {
            template.describes(Class::Public, CKK_RSA, &[CKA_PUBLIC_KEY_INFO])?;
            rsa::PublicKey::from_spki(info)
        }
        None => {
            template.describes(Class::Public, CKK_RSA, &[CKA_MODULUS, CKA_PUBLIC_EXPONENT])?;
            let modulus = template.required_bytes(CKA_MODULUS)?;
            rsa::PublicKey::from_parts(modulus, template.required_bytes(CKA_PUBLIC_EXPONENT)?)
        }
    };
    permitted_rsa(key.and_then(Key::rsa_public))
}

/// Either curve and point, or a whole SubjectPublicKeyInfo.
fn read_ec_public(template: &Template<'_>) -> Result<Key, Failure> {
    if let Some(info) = template.bytes(CKA_PUBLIC_KEY_INFO) {
        template.describes(Class::Public, CKK_EC, &[CKA_PUBLIC_KEY_INFO])?;
        return ec::PublicKey::from_spki(info).map(Key::EcPublic).map_err(|_| not_a_key(CKA_PUBLIC_KEY_INFO));
    }
    template.describes(Class::Public, CKK_EC, &[CKA_EC_PARAMS, CKA_EC_POINT])?;
    let curve = curve(template)?;
    let point = point_of(template.required_bytes(CKA_EC_POINT)?).ok_or_else(|| not_a_key(CKA_EC_POINT))?;
    ec::PublicKey::from_point(curve, point).map(Key::EcPublic).map_err(|_| not_a_key(CKA_EC_POINT))
}

/// The content of a DER OCTET STRING of at most 255 bytes.
fn point_of(octets: &[u8]) -> Option<&[u8]> {
    let (length, content) = match octets {
        [0x04, 0x81, length, content @ ..] if *length >= 0x80 => (*length, content),
        [0x04, length, content @ ..] if *length < 0x80 => (*length, content),
        _ => return None,
    };
    (content.len() == usize::from(length)).then_some(content)
}

fn permitted_rsa(key: Result<Key, Rejected>) -> Result<Key, Failure> {
    key.map_err(|_| {
        let message = "The attributes are no RSA key of 2048 to 4096 bits, in steps of 256, with an odd exponent of 65537 \
                       or more";
        refusal(CKR_ATTRIBUTE_VALUE_INVALID, message)
    })
}

fn not_a_key(kind: Ulong) -> Failure {
    let name = name_of(kind).unwrap_or_default();
    refusal(CKR_ATTRIBUTE_VALUE_INVALID, format!("Attribute {name} is not one of a key of this type"))
}

fn not_supported(kind: Ulong) -> Failure {
    let name = name_of(kind).unwrap_or_default();
    refusal(CKR_ATTRIBUTE_VALUE_INVALID, format!("Attribute {name} has a value that cannot be imported"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_from_a_whole_octet_string_only() {
        assert_eq!(point_of(&[4, 2, 1, 2]), Some(&[1, 2][..]));
        assert_eq!(point_of(&[&[4, 0x81, 133][..], &[9; 133]].concat()), Some(&[9; 133][..]));
        for refused in [&[][..], &[4], &[4, 2, 1], &[4, 2, 1, 2, 3], &[3, 1, 1], &[4, 0x81, 1, 1], &[4, 0x82, 0, 0]] {
            assert_eq!(point_of(refused), None, "{refused:?}");
        }
    }
}
