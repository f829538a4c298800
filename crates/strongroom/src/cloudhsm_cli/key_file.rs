//! Owns public keys in files: SubjectPublicKeyInfo in PEM, from and to the attributes of RSA and EC keys.

use strongroom_link::hsm::Attribute;
use strongroom_link::pkcs11::*;
use x509_cert::der::asn1::{Any, BitString, ObjectIdentifier, Uint};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{self, Decode as _, DecodePem as _, Encode as _, EncodePem as _};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use super::execute::CommandError;
use super::grammar::KeyTypeClass;
use super::{attributes, ec};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The attributes that make a public key.
pub const PUBLIC_KINDS: [Ulong; 6] =
    [CKA_CLASS, CKA_KEY_TYPE, CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_EC_PARAMS, CKA_EC_POINT];

/// A public key in PEM, from [`PUBLIC_KINDS`] of it.
///
/// # Errors
/// A key of another class, or one that is not whole.
pub fn pem_of_public_key(told: &[Attribute]) -> Result<String, CommandError> {
    if attributes::ulong(told, CKA_CLASS) != Some(CKO_PUBLIC_KEY) {
        return Err(CommandError::text("PEM files hold public keys; select one with attr.class=public-key."));
    }
    let key = match attributes::ulong(told, CKA_KEY_TYPE) {
        Some(CKK_RSA) => rsa_key(told),
        Some(CKK_EC) => ec_key(told),
        _ => None,
    };
    let key = key.ok_or_else(|| CommandError::text("The HSM does not tell the whole public key."))?;
    key.to_pem(LineEnding::LF).map_err(|error| CommandError::text(format!("The key cannot be written: {error}")))
}

fn rsa_key(told: &[Attribute]) -> Option<SubjectPublicKeyInfoOwned> {
    let modulus = Uint::new(attributes::bytes(told, CKA_MODULUS)?).ok()?;
    let exponent = Uint::new(attributes::bytes(told, CKA_PUBLIC_EXPONENT)?).ok()?;
    let key = vec![modulus, exponent].to_der().ok()?;
    public_key(RSA_ENCRYPTION, Any::null(), &key)
}

fn ec_key(told: &[Attribute]) -> Option<SubjectPublicKeyInfoOwned> {
    let parameters = Any::from_der(attributes::bytes(told, CKA_EC_PARAMS)?).ok()?;
    let point = ec::point_of_octet_string(attributes::bytes(told, CKA_EC_POINT)?)?;
    public_key(EC_PUBLIC_KEY, parameters, point)
}

fn public_key(oid: ObjectIdentifier, parameters: Any, key: &[u8]) -> Option<SubjectPublicKeyInfoOwned> {
    let algorithm = AlgorithmIdentifierOwned { oid, parameters: Some(parameters) };
    Some(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(key).ok()? })
}

/// The attributes of a public key in PEM.
///
/// # Errors
/// Text that is no public key, or a key of another type than the one said.
pub fn public_key_of_pem(pem: &str, class: KeyTypeClass) -> Result<Vec<Attribute>, CommandError> {
    let key = SubjectPublicKeyInfoOwned::from_pem(pem)
        .map_err(|error| CommandError::text(format!("The file holds no public key in PEM: {error}")))?;
    match (class, key.algorithm.oid) {
        (KeyTypeClass::RsaPublic, RSA_ENCRYPTION) => rsa_attributes(&key),
        (KeyTypeClass::EcPublic, EC_PUBLIC_KEY) => ec_attributes(&key),
        _ => return Err(CommandError::text("The key in the file is of another type than --key-type-class says.")),
    }
    .map_err(|error| CommandError::text(format!("The public key in the file cannot be read: {error}")))
}

fn rsa_attributes(key: &SubjectPublicKeyInfoOwned) -> der::Result<Vec<Attribute>> {
    let integers = Vec::<Uint>::from_der(key.subject_public_key.raw_bytes())?;
    let [modulus, exponent] = integers.as_slice() else { return Err(der::Tag::Sequence.length_error().into()) };
    Ok(vec![
        Attribute::ulong(CKA_CLASS, CKO_PUBLIC_KEY),
        Attribute::ulong(CKA_KEY_TYPE, CKK_RSA),
        Attribute::bytes(CKA_MODULUS, modulus.as_bytes()),
        Attribute::bytes(CKA_PUBLIC_EXPONENT, exponent.as_bytes()),
    ])
}

fn ec_attributes(key: &SubjectPublicKeyInfoOwned) -> der::Result<Vec<Attribute>> {
    let parameters = key.algorithm.parameters.as_ref().ok_or(der::ErrorKind::Failed)?;
    let point = ec::octet_string_of_point(key.subject_public_key.raw_bytes()).ok_or(der::ErrorKind::Failed)?;
    Ok(vec![
        Attribute::ulong(CKA_CLASS, CKO_PUBLIC_KEY),
        Attribute::ulong(CKA_KEY_TYPE, CKK_EC),
        Attribute::bytes(CKA_EC_PARAMS, parameters.to_der()?),
        Attribute::bytes(CKA_EC_POINT, point),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(key: &rcgen::KeyPair, class: KeyTypeClass) {
        let pem = key.public_key_pem();
        let read = public_key_of_pem(&pem, class).unwrap();
        assert_eq!(pem_of_public_key(&read).unwrap(), pem.replace("\r\n", "\n"));
    }

    #[test]
    fn keys_come_back_as_they_were() {
        round_trip(&rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap(), KeyTypeClass::RsaPublic);
        round_trip(&rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(), KeyTypeClass::EcPublic);
    }

    #[test]
    fn what_is_no_such_key_is_refused() {
        let ec = rcgen::KeyPair::generate().unwrap();
        assert!(public_key_of_pem(&ec.public_key_pem(), KeyTypeClass::RsaPublic).is_err());
        assert!(public_key_of_pem(&ec.serialize_pem(), KeyTypeClass::EcPublic).is_err());
        assert!(public_key_of_pem("hello", KeyTypeClass::EcPublic).is_err());
        let private = [Attribute::ulong(CKA_CLASS, CKO_PRIVATE_KEY), Attribute::ulong(CKA_KEY_TYPE, CKK_EC)];
        assert!(pem_of_public_key(&private).unwrap_err().to_string().contains("attr.class=public-key"));
    }
}
