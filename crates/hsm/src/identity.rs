//! Owns a cluster's identity: its RSA-2048 key pair, the CSR over it, and the certificates that vouch for the key. The chain
//! is manufacturer (self-signed) → hardware → HSM; the first two have P-384 keys that follow from the region root, so that
//! nothing about them is stored and every cluster of a root shows the same keys. Their certificates say the same each time
//! and differ only in their signatures, which ECDSA randomizes.
//!
//! Key pairs come from aws-lc's own generator, not from [`crate::seam::Rng`]: it takes no other source.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, Error, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use strongroom_link::host::Identity;
use zeroize::Zeroizing;

use crate::root::Root;

/// The key pair by which a cluster proves itself.
pub struct ClusterKeyPair(RsaKeyPair);

impl ClusterKeyPair {
    /// A new RSA-2048 key pair.
    pub fn generate() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).expect("aws-lc makes RSA-2048 keys"))
    }

    /// Reads PKCS#8; `None` if it is not an RSA key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        RsaKeyPair::from_pkcs8(pkcs8).ok().map(Self)
    }

    /// The private key as PKCS#8, DER.
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().expect("an RSA key has a PKCS#8 form");
        Zeroizing::new(der.as_ref().to_vec())
    }

    /// The public key as SubjectPublicKeyInfo, DER.
    pub fn public_key(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }
}

impl fmt::Debug for ClusterKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKeyPair(..)")
    }
}

impl PublicKeyData for ClusterKeyPair {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for ClusterKeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        let signed = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| Error::RemoteKeyError)
    }
}

/// Makes CSR and certificates for the key pair of a new cluster. `mode` is `FIPS` or `NON_FIPS`, `now_ms` in milliseconds
/// since 1970.
pub fn make(root: &Root, key_pair: &ClusterKeyPair, hsm: &str, mode: &str, now_ms: i64) -> Identity {
    make_chain(root, key_pair, hsm, mode, now_ms).expect("the parameters are constants and ids, all fit for encoding")
}

fn make_chain(root: &Root, key_pair: &ClusterKeyPair, hsm: &str, mode: &str, now_ms: i64) -> Result<Identity, Error> {
    let subject = cluster_subject(hsm, mode)?;
    let manufacturer_key = VouchingKey::derive(root, "strongroom manufacturer certificate");
    let manufacturer = authority("manufacturer", root, 1)?;
    let hardware_key = VouchingKey::derive(root, "strongroom hardware certificate");
    let hardware = authority("hardware", root, 0)?;

    let mut csr = CertificateParams::default();
    csr.distinguished_name = subject.clone();
    let mut hsm = CertificateParams::default();
    hsm.distinguished_name = subject;
    hsm.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    hsm.use_authority_key_identifier_extension = true;
    let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or_default());
    hsm.not_before = date_time_ymd(1970, 1, 1) + now;
    hsm.not_after = hardware.not_after;

    let manufacturer_certificate = manufacturer.self_signed(&manufacturer_key)?;
    let manufacturer = Issuer::from_params(&manufacturer, &manufacturer_key);
    let hardware_certificate = hardware.signed_by(&hardware_key, &manufacturer)?;
    let hardware = Issuer::from_params(&hardware, &hardware_key);
    Ok(Identity {
        csr: csr.serialize_request(key_pair)?.pem()?,
        hsm_certificate: hsm.signed_by(key_pair, &hardware)?.pem(),
        hardware_certificate: hardware_certificate.pem(),
        manufacturer_certificate: manufacturer_certificate.pem(),
    })
}

fn cluster_subject(hsm: &str, mode: &str) -> Result<DistinguishedName, Error> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CountryName, DnValue::PrintableString("US".try_into()?));
    subject.push(DnType::StateOrProvinceName, "CA");
    subject.push(DnType::OrganizationName, "strongroom");
    subject.push(DnType::OrganizationalUnitName, "software");
    subject.push(DnType::CommonName, format!("HSM:{hsm}:PARTN:1, for {mode} mode"));
    Ok(subject)
}

fn authority(name: &str, root: &Root, authorities_below: u8) -> Result<CertificateParams, Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name = DistinguishedName::new();
    authority.distinguished_name.push(DnType::CountryName, DnValue::PrintableString("US".try_into()?));
    authority.distinguished_name.push(DnType::OrganizationName, "strongroom");
    authority.distinguished_name.push(DnType::CommonName, format!("strongroom {name} {}", root.fingerprint()));
    authority.not_before = date_time_ymd(2026, 1, 1);
    authority.not_after = date_time_ymd(2126, 1, 1);
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(authorities_below));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.use_authority_key_identifier_extension = true;
    Ok(authority)
}

/// A P-384 key that follows from the region root.
struct VouchingKey(EcdsaKeyPair);

impl VouchingKey {
    fn derive(root: &Root, label: &str) -> Self {
        // A scalar is refused if it is zero or not below the group's order, which happens with a chance of 2^-190.
        (0..=u8::MAX)
            .find_map(|attempt| {
                let high = root.derive(label, &[&[attempt], b"high"]);
                let low = root.derive(label, &[&[attempt], b"low"]);
                let der = ec_private_key(&high[..16], low.as_slice());
                EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, &der).ok()
            })
            .map(Self)
            .expect("one of 256 scalars is in range")
    }
}

/// ECPrivateKey (RFC 5915) of P-384 without its public key, which aws-lc computes.
fn ec_private_key(high: &[u8], low: &[u8]) -> Zeroizing<Vec<u8>> {
    const SEQUENCE_VERSION_AND_SCALAR: [u8; 7] = [0x30, 62, 0x02, 1, 1, 0x04, 48];
    const SECP384R1: [u8; 9] = [0xa0, 7, 0x06, 5, 0x2b, 0x81, 0x04, 0x00, 0x22];
    let mut der = Zeroizing::new(Vec::with_capacity(64));
    for part in [&SEQUENCE_VERSION_AND_SCALAR[..], high, low, &SECP384R1[..]] {
        der.extend_from_slice(part);
    }
    der
}

impl PublicKeyData for VouchingKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}

impl SigningKey for VouchingKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_| Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Certificate, Csr};
    use crate::seam::SystemRng;

    const NOW_MS: i64 = 1_795_000_000_000;

    #[test]
    fn the_chain_vouches_for_the_key_in_the_csr() {
        let root = Root::generate(&SystemRng);
        let key_pair = ClusterKeyPair::generate();
        let identity = make(&root, &key_pair, "hsm-nx7kj5ucqzy", "FIPS", NOW_MS);
        let csr = Csr::parse(&identity.csr).unwrap();
        let hsm = Certificate::parse(&identity.hsm_certificate).unwrap();
        let hardware = Certificate::parse(&identity.hardware_certificate).unwrap();
        let manufacturer = Certificate::parse(&identity.manufacturer_certificate).unwrap();
        assert_eq!(csr.public_key(), key_pair.public_key());
        assert_eq!(hsm.public_key(), key_pair.public_key());
        assert!(hsm.is_signed_by(&hardware).unwrap());
        assert!(hardware.is_signed_by(&manufacturer).unwrap());
        assert!(manufacturer.is_signed_by(&manufacturer).unwrap());
        assert!(!hsm.is_signed_by(&manufacturer).unwrap());
        assert_eq!(
            hsm.subject(),
            r"CN=HSM:hsm-nx7kj5ucqzy:PARTN:1\, for FIPS mode,OU=software,O=strongroom,ST=CA,C=US"
        );
    }

    #[test]
    fn the_vouching_keys_follow_from_the_root() {
        let root = Root::generate(&SystemRng);
        let key = |root: &Root, label| VouchingKey::derive(root, label).der_bytes().to_vec();
        assert_eq!(key(&root, "a"), key(&root, "a"));
        assert_ne!(key(&root, "a"), key(&root, "b"));
        assert_ne!(key(&root, "a"), key(&Root::generate(&SystemRng), "a"));
    }

    #[test]
    fn a_key_pair_reads_back() {
        let key_pair = ClusterKeyPair::generate();
        let again = ClusterKeyPair::from_pkcs8(&key_pair.to_pkcs8()).unwrap();
        assert_eq!(again.public_key(), key_pair.public_key());
        assert!(ClusterKeyPair::from_pkcs8(b"no key").is_none());
    }
}
