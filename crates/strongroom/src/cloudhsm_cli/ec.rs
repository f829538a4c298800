//! Owns what the command line knows of elliptic curves: their names, and the two forms of a signature. A signature is
//! r and s of equal length, as PKCS#11 and AWS have it, or a DER sequence of two integers, as OpenSSL has it.

use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef, Uint};
use x509_cert::der::{Decode as _, Encode as _};

use super::execute::CommandError;

struct NamedCurve {
    name: &'static str,
    oid: ObjectIdentifier,
    /// Bytes of the order.
    length: usize,
}

const fn curve(name: &'static str, oid: &str, length: usize) -> NamedCurve {
    NamedCurve { name, oid: ObjectIdentifier::new_unwrap(oid), length }
}

const CURVES: &[NamedCurve] = &[
    curve("secp256r1", "1.2.840.10045.3.1.7", 32),
    curve("secp384r1", "1.3.132.0.34", 48),
    curve("secp521r1", "1.3.132.0.35", 66),
];

/// CKA_EC_PARAMS of a curve by name; `prime256v1` is OpenSSL's name of `secp256r1`.
pub fn parameters_of_name(name: &str) -> Option<Vec<u8>> {
    let name = if name == "prime256v1" { "secp256r1" } else { name };
    let curve = CURVES.iter().find(|curve| curve.name == name)?;
    Some(curve.oid.to_der().expect("a short object identifier has a DER form"))
}

/// The name of a curve by CKA_EC_PARAMS.
pub fn name_of_parameters(der: &[u8]) -> Option<&'static str> {
    by_parameters(der).map(|curve| curve.name)
}

fn by_parameters(der: &[u8]) -> Option<&'static NamedCurve> {
    let oid = ObjectIdentifier::from_der(der).ok()?;
    CURVES.iter().find(|curve| curve.oid == oid)
}

/// The point within CKA_EC_POINT.
pub fn point_of_octet_string(der: &[u8]) -> Option<&[u8]> {
    <&OctetStringRef>::from_der(der).ok().map(OctetStringRef::as_bytes)
}

/// CKA_EC_POINT of a point.
pub fn octet_string_of_point(point: &[u8]) -> Option<Vec<u8>> {
    OctetStringRef::new(point).ok()?.to_der().ok()
}

/// A signature in DER from r and s of equal length.
pub fn der_of_raw(raw: &[u8]) -> Result<Vec<u8>, CommandError> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let integers = [r, s].map(Uint::new);
    let [Ok(r), Ok(s)] = integers else { return Err(CommandError::text("The signature is too long.")) };
    vec![r, s].to_der().map_err(|error| CommandError::text(format!("The signature has no DER form: {error}")))
}

/// r and s, each as long as the order of the key's curve, from a signature in DER. `parameters` is CKA_EC_PARAMS.
pub fn raw_of_der(der: &[u8], parameters: Option<&[u8]>) -> Result<Vec<u8>, CommandError> {
    let curve = parameters.and_then(by_parameters);
    let length = curve.ok_or_else(|| CommandError::text("The key is on no curve that is known here."))?.length;
    let integers = Vec::<Uint>::from_der(der).ok().filter(|integers| integers.len() == 2);
    let integers =
        integers.ok_or_else(|| CommandError::text("The signature is not a DER sequence of two integers."))?;
    let mut raw = Vec::with_capacity(2 * length);
    for integer in &integers {
        let bytes = integer.as_bytes();
        let padding =
            length.checked_sub(bytes.len()).ok_or_else(|| CommandError::text("Signature verification failed"))?;
        raw.extend(std::iter::repeat_n(0, padding).chain(bytes.iter().copied()));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_keeps_its_value_in_both_forms() {
        let parameters = parameters_of_name("secp256r1").unwrap();
        let mut raw = vec![0; 64];
        raw[1] = 0x80;
        raw[63] = 5;
        let der = der_of_raw(&raw).unwrap();
        assert_eq!(der[..5], [0x30, 0x25, 0x02, 0x20, 0x00]);
        assert_eq!(der[der.len() - 3..], [0x02, 0x01, 0x05]);
        assert_eq!(raw_of_der(&der, Some(&parameters)).unwrap(), raw);
        assert!(raw_of_der(&der[1..], Some(&parameters)).is_err());
        assert!(raw_of_der(&der, None).is_err());
    }

    #[test]
    fn one_curve_has_two_names() {
        assert_eq!(parameters_of_name("prime256v1"), parameters_of_name("secp256r1"));
        assert_eq!(name_of_parameters(&parameters_of_name("prime256v1").unwrap()), Some("secp256r1"));
        assert_eq!(name_of_parameters(&[6, 1, 0]), None);
    }
}
