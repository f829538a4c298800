//! Owns the check of what InitializeCluster brings: SignedCert is the CSR's key, signed by TrustAnchor, which is a
//! self-signed CA; both are valid now. By hand over x509-cert and aws-lc, because the documented OpenSSL commands make an
//! X.509 v1 leaf, which path-building libraries refuse. Nothing is written here.
//!
//! The sentences of errors are shown to the caller of the API.

use std::time::Duration;

use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::asn1::ObjectIdentifier as Oid;
use x509_cert::der::{Decode, Encode, Header, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::request::CertReq;
use x509_cert::time::Time;

/// The longest PEM text that is taken, as AWS's API has it. A manifest holds as much: what was taken can be backed up.
pub(crate) const PEM_MAX: usize = 20_000;

const RSA: Oid = Oid::new_unwrap("1.2.840.113549.1.1.1");
const EC: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
const P256: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
const P384: Oid = Oid::new_unwrap("1.3.132.0.34");
const P521: Oid = Oid::new_unwrap("1.3.132.0.35");
const RSA_SHA1: Oid = Oid::new_unwrap("1.2.840.113549.1.1.5");
const RSA_SHA256: Oid = Oid::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: Oid = Oid::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: Oid = Oid::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA1: Oid = Oid::new_unwrap("1.2.840.10045.4.1");
const ECDSA_SHA256: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: Oid = Oid::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: Oid = Oid::new_unwrap("1.2.840.10045.4.3.4");

/// Checks the certificates of InitializeCluster against the CSR of `cluster`; all PEM.
///
/// # Errors
/// The sentence for the caller.
pub fn check(cluster: &str, csr: &str, signed_cert: &str, trust_anchor: &str, now_ms: i64) -> Result<(), String> {
    let csr = Csr::parse(csr).map_err(|what| format!("The CSR of {cluster} {what}."))?;
    let leaf = Certificate::parse(signed_cert).map_err(|what| format!("SignedCert {what}."))?;
    let anchor = Certificate::parse(trust_anchor).map_err(|what| format!("TrustAnchor {what}."))?;
    check_anchor(&anchor)?;
    let is_signed = leaf.is_signed_by(&anchor).map_err(|what| format!("SignedCert {what}."))?;
    if !is_signed {
        return Err(format!(
            "SignedCert is not signed by the key of TrustAnchor \"{}\". Sign the CSR with the key of that certificate and \
             send both.",
            anchor.subject()
        ));
    }
    if leaf.public_key() != csr.public_key() {
        return Err(format!("SignedCert holds another key than the CSR of {cluster}. Fetch that CSR and sign it."));
    }
    leaf.check_dates(now_ms).map_err(|what| format!("SignedCert {what}."))?;
    anchor.check_dates(now_ms).map_err(|what| format!("TrustAnchor {what}."))
}

fn check_anchor(anchor: &Certificate) -> Result<(), String> {
    let is_self_signed = anchor.is_signed_by(anchor).map_err(|what| format!("TrustAnchor {what}."))?;
    if !is_self_signed {
        return Err(format!(
            "TrustAnchor \"{}\" is not self-signed. Send the self-signed certificate of the CA that signed the CSR.",
            anchor.subject()
        ));
    }
    if !anchor.may_sign_certificates() {
        return Err(format!(
            "TrustAnchor \"{}\" is not a CA: its extensions say that it may not sign certificates.",
            anchor.subject()
        ));
    }
    Ok(())
}

/// A certificate signing request that was read.
pub(crate) struct Csr(CertReq);

impl Csr {
    /// Reads one PEM block; the error continues a sentence that begins with what it is.
    pub(crate) fn parse(pem: &str) -> Result<Self, String> {
        let der = pem_block(pem, "CERTIFICATE REQUEST")?;
        CertReq::from_der(&der).map(Self).map_err(|_| "is not a certificate signing request".to_owned())
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.0.info.public_key.to_der().expect("what was decoded can be encoded")
    }
}

/// A certificate that was read.
pub(crate) struct Certificate {
    parsed: x509_cert::Certificate,
    /// The bytes that are signed, as they came.
    signed: Vec<u8>,
}

impl Certificate {
    /// Reads one PEM block; the error continues a sentence that begins with what it is.
    pub(crate) fn parse(pem: &str) -> Result<Self, String> {
        let der = pem_block(pem, "CERTIFICATE")?;
        let not_one = |_| "is not an X.509 certificate".to_owned();
        let parsed = x509_cert::Certificate::from_der(&der).map_err(not_one)?;
        let signed = signed_bytes(&der).map_err(not_one)?;
        Ok(Self { parsed, signed })
    }

    /// The subject, in the form of RFC 4514.
    pub(crate) fn subject(&self) -> String {
        self.parsed.tbs_certificate().subject().to_string()
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.parsed.tbs_certificate().subject_public_key_info().to_der().expect("what was decoded can be encoded")
    }

    /// Whether `issuer`'s name and key made this certificate.
    ///
    /// # Errors
    /// A key or an algorithm that is not accepted; continues a sentence as in [`Self::parse`].
    pub(crate) fn is_signed_by(&self, issuer: &Self) -> Result<bool, String> {
        let tbs = self.parsed.tbs_certificate();
        let algorithm = self.parsed.signature_algorithm();
        if *algorithm != *tbs.signature() {
            return Err("names two different signature algorithms".to_owned());
        }
        if [RSA_SHA1, ECDSA_SHA1].contains(&algorithm.oid) {
            return Err("is signed over SHA-1, which is not accepted. Sign with SHA-256".to_owned());
        }
        let key = issuer.signing_key()?;
        if tbs.issuer() != issuer.parsed.tbs_certificate().subject() {
            return Ok(false);
        }
        let Some(verification) = key.verification(algorithm.oid) else {
            // An RSA signature under an EC issuer, or the other way round, is somebody else's.
            return if is_known(algorithm.oid) {
                Ok(false)
            } else {
                Err(format!("is signed with an algorithm that is not accepted ({})", algorithm.oid))
            };
        };
        let Some(signature) = self.parsed.signature().as_bytes() else {
            return Ok(false);
        };
        let spki = issuer.parsed.tbs_certificate().subject_public_key_info();
        let key = UnparsedPublicKey::new(verification, spki.subject_public_key.raw_bytes());
        Ok(key.verify(&self.signed, signature).is_ok())
    }

    fn signing_key(&self) -> Result<KeyKind, String> {
        let spki = self.parsed.tbs_certificate().subject_public_key_info();
        if spki.algorithm.oid == RSA {
            let key =
                RsaPublicKey::from_der(spki.subject_public_key.raw_bytes()).map_err(|_| "has no RSA key in it")?;
            return match key.modulus_len() {
                256 | 384 | 512 => Ok(KeyKind::Rsa),
                other => Err(format!("is under an RSA key of {} bits; 2048, 3072 and 4096 are accepted", other * 8)),
            };
        }
        let parameters = spki.algorithm.parameters.as_ref().filter(|_| spki.algorithm.oid == EC);
        let curve = parameters.and_then(|parameters| parameters.decode_as::<Oid>().ok());
        [(P256, KeyKind::P256), (P384, KeyKind::P384), (P521, KeyKind::P521)]
            .into_iter()
            .find_map(|(oid, kind)| (curve == Some(oid)).then_some(kind))
            .ok_or_else(|| "is under a key that is neither RSA nor on P-256, P-384 or P-521".to_owned())
    }

    /// Without extensions (X.509 v1) a self-signed certificate is taken for a CA, as OpenSSL does.
    fn may_sign_certificates(&self) -> bool {
        let tbs = self.parsed.tbs_certificate();
        if tbs.extensions().is_none() {
            return true;
        }
        let is_ca = matches!(tbs.get_extension::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca);
        let usage_fits = match tbs.get_extension::<KeyUsage>() {
            Ok(None) => true,
            Ok(Some((_, usage))) => usage.key_cert_sign(),
            Err(_) => false,
        };
        is_ca && usage_fits
    }

    fn check_dates(&self, now_ms: i64) -> Result<(), String> {
        let validity = self.parsed.tbs_certificate().validity();
        let now = Duration::from_millis(u64::try_from(now_ms).unwrap_or_default());
        let shown = |time: Time| time.to_date_time().to_string();
        if now < validity.not_before.to_unix_duration() {
            return Err(format!(
                "is valid only from {}; compare the clocks of the machine that made it and this one",
                shown(validity.not_before)
            ));
        }
        // The last second counts in full.
        if now >= validity.not_after.to_unix_duration() + Duration::from_secs(1) {
            return Err(format!("is valid only until {}", shown(validity.not_after)));
        }
        Ok(())
    }
}

/// Keys that may sign certificates.
#[derive(Clone, Copy)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
}

impl KeyKind {
    fn verification(self, algorithm: Oid) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self, algorithm) {
            (Self::Rsa, RSA_SHA256) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa, RSA_SHA384) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Self::Rsa, RSA_SHA512) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Self::P256, ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::P256, ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
            (Self::P256, ECDSA_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
            (Self::P384, ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            (Self::P384, ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Self::P384, ECDSA_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
            (Self::P521, ECDSA_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
            (Self::P521, ECDSA_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
            (Self::P521, ECDSA_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        })
    }
}

fn is_known(algorithm: Oid) -> bool {
    [RSA_SHA256, RSA_SHA384, RSA_SHA512, ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512].contains(&algorithm)
}

/// TBSCertificate as it came: re-encoding could differ from what was signed.
fn signed_bytes(der: &[u8]) -> x509_cert::der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    Ok(reader.tlv_bytes()?.to_vec())
}

/// The DER of the only PEM block with this label; text around it is skipped, as OpenSSL does.
fn pem_block(text: &str, label: &str) -> Result<Vec<u8>, String> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    if text.len() > PEM_MAX {
        return Err("is too long".to_owned());
    }
    let (_, rest) = text.split_once(&begin).ok_or_else(|| format!("is not PEM: there is no \"{begin}\""))?;
    let (base64, rest) = rest.split_once(&end).ok_or_else(|| format!("is not PEM: there is no \"{end}\""))?;
    if rest.contains(&begin) {
        return Err("holds more than one PEM block. Send one".to_owned());
    }
    let base64: String = base64.split_ascii_whitespace().collect();
    data_encoding::BASE64.decode(base64.as_bytes()).map_err(|_| "is not PEM: its base64 is broken".to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData};

    use super::*;

    const NOW_MS: i64 = 1_795_000_000_000;
    const CLUSTER: &str = "cluster-laci57k43pe";

    struct Ca {
        params: CertificateParams,
        key: KeyPair,
    }

    impl Ca {
        fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
            let mut params = CertificateParams::default();
            params.distinguished_name = named("Example CA");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            let key = if algorithm == &rcgen::PKCS_RSA_SHA256 {
                KeyPair::generate_rsa_for(algorithm, rcgen::RsaKeySize::_2048).unwrap()
            } else {
                KeyPair::generate_for(algorithm).unwrap()
            };
            Self { params, key }
        }

        fn certificate(&self) -> String {
            self.params.self_signed(&self.key).unwrap().pem()
        }

        fn sign(&self, public_key: &impl PublicKeyData, change: impl FnOnce(&mut CertificateParams)) -> String {
            let mut leaf = CertificateParams::default();
            leaf.distinguished_name = named("leaf");
            change(&mut leaf);
            leaf.signed_by(public_key, &Issuer::from_params(&self.params, &self.key)).unwrap().pem()
        }
    }

    fn named(name: &str) -> rcgen::DistinguishedName {
        let mut distinguished_name = rcgen::DistinguishedName::new();
        distinguished_name.push(DnType::CommonName, name);
        distinguished_name
    }

    fn cluster() -> (KeyPair, String) {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        (key, csr)
    }

    #[test]
    fn every_accepted_ca_key_is_accepted() {
        let (key, csr) = cluster();
        for algorithm in [
            &rcgen::PKCS_RSA_SHA256,
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ECDSA_P521_SHA512,
        ] {
            let ca = Ca::new(algorithm);
            check(CLUSTER, &csr, &ca.sign(&key, |_| ()), &ca.certificate(), NOW_MS).unwrap();
        }
        let ca = Ca::new(&rcgen::PKCS_ED25519);
        let refused = check(CLUSTER, &csr, &ca.sign(&key, |_| ()), &ca.certificate(), NOW_MS).unwrap_err();
        assert!(refused.contains("neither RSA nor on P-256"), "{refused}");
    }

    #[test]
    fn another_ca_or_another_key_is_told_in_these_words() {
        let (key, csr) = cluster();
        let (ours, theirs) = (Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256), Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256));
        let leaf = ours.sign(&key, |_| ());
        let not_signed = "SignedCert is not signed by the key of TrustAnchor \"CN=Example CA\". Sign the CSR with the key \
                          of that certificate and send both.";
        assert_eq!(check(CLUSTER, &csr, &leaf, &theirs.certificate(), NOW_MS).unwrap_err(), not_signed);
        let rsa = Ca::new(&rcgen::PKCS_RSA_SHA256);
        assert_eq!(check(CLUSTER, &csr, &leaf, &rsa.certificate(), NOW_MS).unwrap_err(), not_signed);
        let (other_key, _) = cluster();
        assert_eq!(
            check(CLUSTER, &csr, &ours.sign(&other_key, |_| ()), &ours.certificate(), NOW_MS).unwrap_err(),
            "SignedCert holds another key than the CSR of cluster-laci57k43pe. Fetch that CSR and sign it."
        );
    }

    #[test]
    fn an_anchor_is_a_self_signed_ca() {
        let (key, csr) = cluster();
        let mut ca = Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let leaf = ca.sign(&key, |_| ());
        let above = Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let below = ca.params.signed_by(&ca.key, &Issuer::from_params(&above.params, &above.key)).unwrap().pem();
        assert!(check(CLUSTER, &csr, &leaf, &below, NOW_MS).unwrap_err().contains("not self-signed"));
        ca.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        assert!(check(CLUSTER, &csr, &leaf, &ca.certificate(), NOW_MS).unwrap_err().contains("not a CA"));
        ca.params.key_usages = vec![];
        ca.params.is_ca = IsCa::ExplicitNoCa;
        assert!(check(CLUSTER, &csr, &leaf, &ca.certificate(), NOW_MS).unwrap_err().contains("not a CA"));
    }

    #[test]
    fn dates_hold() {
        let (key, csr) = cluster();
        let mut ca = Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let past = ca.sign(&key, |leaf| leaf.not_after = rcgen::date_time_ymd(2020, 1, 1));
        let refused = check(CLUSTER, &csr, &past, &ca.certificate(), NOW_MS).unwrap_err();
        assert_eq!(refused, "SignedCert is valid only until 2020-01-01T00:00:00Z.");
        let future = ca.sign(&key, |leaf| leaf.not_before = rcgen::date_time_ymd(2030, 1, 1));
        let refused = check(CLUSTER, &csr, &future, &ca.certificate(), NOW_MS).unwrap_err();
        assert!(refused.starts_with("SignedCert is valid only from 2030-01-01T00:00:00Z;"), "{refused}");
        let leaf = ca.sign(&key, |_| ());
        ca.params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let refused = check(CLUSTER, &csr, &leaf, &ca.certificate(), NOW_MS).unwrap_err();
        assert_eq!(refused, "TrustAnchor is valid only until 2021-01-01T00:00:00Z.");
    }

    #[test]
    fn no_flipped_byte_of_the_signed_certificate_is_accepted() {
        let (key, csr) = cluster();
        let ca = Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let der = pem_block(&ca.sign(&key, |_| ()), "CERTIFICATE").unwrap();
        for i in 0..der.len() {
            let mut changed = der.clone();
            changed[i] ^= 1;
            let base64 = data_encoding::BASE64.encode(&changed);
            let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
            assert!(check(CLUSTER, &csr, &pem, &ca.certificate(), NOW_MS).is_err(), "byte {i}");
        }
    }

    #[test]
    fn what_is_not_one_pem_block_is_told() {
        let (key, csr) = cluster();
        let ca = Ca::new(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (leaf, anchor) = (ca.sign(&key, |_| ()), ca.certificate());
        let refused = |leaf: &str, anchor: &str| check(CLUSTER, &csr, leaf, anchor, NOW_MS).unwrap_err();
        assert!(refused("hello", &anchor).starts_with("SignedCert is not PEM"));
        assert!(refused(&leaf, &format!("{anchor}{anchor}")).starts_with("TrustAnchor holds more than one PEM block"));
        assert!(refused(&leaf, &leaf.replace('A', "!")).starts_with("TrustAnchor is not PEM"));
        let text_before = format!("subject=CN = leaf\r\n{}", leaf.replace('\n', "\r\n"));
        check(CLUSTER, &csr, &text_before, &anchor, NOW_MS).unwrap();
    }
}
