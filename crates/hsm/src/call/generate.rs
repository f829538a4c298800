//! Owns making keys and random bytes. A key is made before anything is locked or written.

use strongroom_link::hsm::{Answer, Attribute, Failure, Mechanism};
use strongroom_link::pkcs11::*;
use zeroize::Zeroizing;

use super::keep;
use crate::attribute::{Origin, Template};
use crate::cluster::RequestName;
use crate::key::{AesKey, Class, Key, modulus_bits_are_permitted, public_exponent_is_permitted};
use crate::lc::{ec, rsa};
use crate::mechanism::{no_parameter, not_supported};
use crate::object::Object;
use crate::refusal::{refusal, unexpected};
use crate::session::Session;

/// The most random bytes at once.
const RANDOM_MAX: u32 = 1024 * 1024;

/// 65537
const DEFAULT_PUBLIC_EXPONENT: &[u8] = &[1, 0, 1];

pub(crate) fn key(
    session: &mut Session,
    name: &RequestName,
    mechanism: &Mechanism,
    template: &[Attribute],
) -> Result<Answer, Failure> {
    let owner = session.crypto_user()?.user.clone();
    no_parameter(mechanism)?;
    let template = Template::read(template)?;
    let key = match mechanism.mechanism {
        CKM_AES_KEY_GEN => {
            template.describes(Class::Secret, CKK_AES, &[CKA_VALUE_LEN])?;
            let value = secret(session, &template, |length| matches!(length, 16 | 24 | 32), "16, 24 or 32")?;
            AesKey::new(value).map(Key::Aes)
        }
        CKM_GENERIC_SECRET_KEY_GEN => {
            template.describes(Class::Secret, CKK_GENERIC_SECRET, &[CKA_VALUE_LEN])?;
            Key::generic_secret(secret(session, &template, |length| (1..=800).contains(&length), "1 to 800")?)
        }
        other => return Err(not_supported(other)),
    };
    // A handle is given when the key is kept.
    let object = Object::new(0, &owner, key.map_err(unexpected)?, Origin::Generated, &template)?;
    keep::one(session, name, object)
}

pub(crate) fn key_pair(
    session: &mut Session,
    name: &RequestName,
    mechanism: &Mechanism,
    public: &[Attribute],
    private: &[Attribute],
) -> Result<Answer, Failure> {
    let owner = session.crypto_user()?.user.clone();
    no_parameter(mechanism)?;
    let (public, private) = (Template::read(public)?, Template::read(private)?);
    let (public_key, private_key) = match mechanism.mechanism {
        CKM_RSA_PKCS_KEY_PAIR_GEN => rsa_pair(&public, &private)?,
        CKM_EC_KEY_PAIR_GEN => ec_pair(&public, &private)?,
        other => return Err(not_supported(other)),
    };
    let public = Object::new(0, &owner, public_key, Origin::Generated, &public)?;
    let private = Object::new(0, &owner, private_key, Origin::Generated, &private)?;
    keep::pair(session, name, public, private)
}

pub(crate) fn random(session: &Session, length: u32) -> Result<Answer, Failure> {
    session.crypto_user()?;
    if length > RANDOM_MAX {
        return Err(refusal(CKR_ARGUMENTS_BAD, format!("{length} random bytes are over the limit of {RANDOM_MAX}")));
    }
    let mut bytes = vec![0; length as usize];
    session.cluster.region().rng.fill(&mut bytes);
    Ok(Answer::Bytes(bytes))
}

fn secret(
    session: &Session,
    template: &Template<'_>,
    is_permitted: impl Fn(u64) -> bool,
    permitted: &str,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let length = template.required_ulong(CKA_VALUE_LEN)?;
    if !is_permitted(length) {
        let message = format!("Attribute key-length-bytes is {length}; {permitted} are permitted");
        return Err(refusal(CKR_ATTRIBUTE_VALUE_INVALID, message));
    }
    let mut value = Zeroizing::new(vec![0; length as usize]);
    session.cluster.region().rng.fill(&mut value);
    Ok(value)
}

fn rsa_pair(public: &Template<'_>, private: &Template<'_>) -> Result<(Key, Key), Failure> {
    public.describes(Class::Public, CKK_RSA, &[CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT])?;
    private.describes(Class::Private, CKK_RSA, &[])?;
    let bits = public.required_ulong(CKA_MODULUS_BITS)?;
    if !modulus_bits_are_permitted(bits) {
        let message = format!("Attribute modulus-size-bits is {bits}; 2048 to 4096 in steps of 256 are permitted");
        return Err(refusal(CKR_ATTRIBUTE_VALUE_INVALID, message));
    }
    let exponent = public.bytes(CKA_PUBLIC_EXPONENT).unwrap_or(DEFAULT_PUBLIC_EXPONENT);
    let exponent = &exponent[exponent.iter().take_while(|byte| **byte == 0).count()..];
    if !public_exponent_is_permitted(exponent) {
        let message = "Attribute public-exponent must be odd, 65537 or more, and of at most 32 bits";
        return Err(refusal(CKR_ATTRIBUTE_VALUE_INVALID, message));
    }
    let private = rsa::PrivateKey::generate(bits as u32, exponent).map_err(unexpected)?;
    let public = private.public().and_then(Key::rsa_public).map_err(unexpected)?;
    Ok((public, Key::rsa_private(private).map_err(unexpected)?))
}

fn ec_pair(public: &Template<'_>, private: &Template<'_>) -> Result<(Key, Key), Failure> {
    public.describes(Class::Public, CKK_EC, &[CKA_EC_PARAMS])?;
    private.describes(Class::Private, CKK_EC, &[])?;
    let curve = curve(public)?;
    let private = ec::PrivateKey::generate(curve).map_err(unexpected)?;
    let public = private.public().map_err(unexpected)?;
    Ok((Key::EcPublic(public), Key::EcPrivate(private)))
}

/// The curve that CKA_EC_PARAMS names.
pub(super) fn curve(template: &Template<'_>) -> Result<ec::Curve, Failure> {
    let oid = template.required_bytes(CKA_EC_PARAMS)?;
    ec::Curve::from_oid(oid).ok_or_else(|| {
        let message = "Attribute curve names no supported curve: secp256r1 (prime256v1), secp384r1 or secp521r1";
        refusal(CKR_ATTRIBUTE_VALUE_INVALID, message)
    })
}
