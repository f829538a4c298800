//! Owns the trust in an HSM: a certificate is trusted if the pinned customer CA signed it, its dates hold and, where
//! the configuration pins a key, it is of that key; then the TLS 1.3 signature is verified with that raw key.
//!
//! It is checked by hand because AWS's documented OpenSSL commands make X.509 v1 certificates without names, which a
//! web PKI refuses. The check ends before the first byte of a call is sent: no password can reach an untrusted HSM.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, SignatureScheme, version};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::config::{ConfigError, KeyPin};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The pinned CA did not sign it.
    #[error("the pinned CA did not sign it")]
    NotSigned,
    /// The pinned CA signed it with an algorithm that is not allowed.
    #[error("it is signed with an algorithm that is not allowed ({0})")]
    Algorithm(String),
    /// Its time has not come.
    #[error("it is valid only from {0}; is this machine's clock right?")]
    NotYetValid(String),
    /// Its time is over.
    #[error("it expired at {0}")]
    Expired(String),
    /// It is of another key than the pinned one.
    #[error("it is of another key than the configured one")]
    OtherKey,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(String),
}

/// The customer CA that a configuration pins.
#[derive(Clone, Debug)]
pub struct TrustAnchor(Certificate);

impl TrustAnchor {
    /// Reads the PEM file that the configuration names `hsm_ca_file`.
    ///
    /// # Errors
    /// [`ConfigError::Referenced`], [`ConfigError::TrustAnchor`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let pem = std::fs::read(path).map_err(|cause| ConfigError::Referenced {
            key: "hsm_ca_file",
            path: path.into(),
            cause,
        })?;
        Self::from_pem(&pem).map_err(|cause| ConfigError::TrustAnchor { path: path.into(), cause })
    }

    /// Reads PEM.
    ///
    /// # Errors
    /// Why it is not one certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        Certificate::from_pem(pem).map(Self).map_err(|e| e.to_string())
    }

    /// Checks a certificate (DER) at a time since the Unix epoch, and gives its key.
    ///
    /// # Errors
    /// [`Untrusted`].
    pub fn check(&self, der: &[u8], pin: Option<KeyPin>, now: Duration) -> Result<HsmKey, Untrusted> {
        let leaf = Certificate::from_der(der).map_err(malformed)?;
        self.check_signature(&leaf)?;
        check_dates(&leaf, now)?;
        let key = HsmKey::of(&leaf)?;
        match pin {
            Some(pin) if pin != key.pin() => Err(Untrusted::OtherKey),
            _ => Ok(key),
        }
    }

    fn check_signature(&self, leaf: &Certificate) -> Result<(), Untrusted> {
        let ca = self.0.tbs_certificate();
        if leaf.tbs_certificate().issuer() != ca.subject() {
            return Err(Untrusted::NotSigned);
        }
        let signed = leaf.tbs_certificate().to_der().map_err(malformed)?;
        verify_signature(
            leaf.signature_algorithm(),
            ca.subject_public_key_info(),
            &signed,
            leaf.signature().raw_bytes(),
        )
    }
}

/// Verifies the signature under a certificate or a CSR.
///
/// # Errors
/// [`Untrusted::Algorithm`] for what is neither RSA of 2048 bits or more nor a NIST curve, or not with SHA-2;
/// [`Untrusted::NotSigned`].
pub fn verify_signature(
    algorithm: &AlgorithmIdentifierOwned,
    key: &SubjectPublicKeyInfoOwned,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Untrusted> {
    let verification =
        verification_algorithm(algorithm, key).ok_or_else(|| Untrusted::Algorithm(algorithm.oid.to_string()))?;
    UnparsedPublicKey::new(verification, key.subject_public_key.raw_bytes())
        .verify(message, signature)
        .map_err(|_| Untrusted::NotSigned)
}

/// The key of a trusted certificate: SubjectPublicKeyInfo, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsmKey(Vec<u8>);

impl HsmKey {
    /// The key of a certificate (DER), trusted or not.
    pub(crate) fn of_der(der: &[u8]) -> Result<Self, Untrusted> {
        Self::of(&Certificate::from_der(der).map_err(malformed)?)
    }

    fn of(certificate: &Certificate) -> Result<Self, Untrusted> {
        certificate.tbs_certificate().subject_public_key_info().to_der().map(Self).map_err(malformed)
    }

    /// What a configuration keeps of it.
    pub fn pin(&self) -> KeyPin {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        KeyPin(pin)
    }
}

/// A TLS configuration that trusts the HSMs of one cluster and nobody else.
pub(crate) fn tls_config(anchor: TrustAnchor, pin: Option<KeyPin>) -> Arc<ClientConfig> {
    let provider = Arc::new(provider::default_provider());
    let verifier = HsmVerifier { anchor, pin, provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .expect("the provider has TLS 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // Each connection checks the certificate anew.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// The reason, if a TLS error is this verifier's refusal.
pub(crate) fn refusal(error: &rustls::Error) -> Option<Untrusted> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            cause.downcast_ref::<Untrusted>().cloned()
        }
        _ => None,
    }
}

struct HsmVerifier {
    anchor: TrustAnchor,
    pin: Option<KeyPin>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for HsmVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HsmVerifier").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for HsmVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.anchor
            .check(end_entity, self.pin, Duration::from_secs(now.as_secs()))
            .map(|_| ServerCertVerified::assertion())
            .map_err(|reason| CertificateError::Other(OtherError(Arc::new(reason))).into())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let HsmKey(spki) = HsmKey::of_der(cert).map_err(|_| CertificateError::BadEncoding)?;
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(spki), dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn verification_algorithm(
    signature: &AlgorithmIdentifierOwned,
    key: &SubjectPublicKeyInfoOwned,
) -> Option<&'static dyn VerificationAlgorithm> {
    let curve = || key.algorithm.parameters.as_ref().and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
    Some(match (key.algorithm.oid, signature.oid) {
        (RSA_ENCRYPTION, SHA256_WITH_RSA) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (RSA_ENCRYPTION, SHA384_WITH_RSA) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RSA_ENCRYPTION, SHA512_WITH_RSA) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (EC_PUBLIC_KEY, hash) => match (curve()?, hash) {
            (P256, ECDSA_WITH_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (P256, ECDSA_WITH_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
            (P256, ECDSA_WITH_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
            (P384, ECDSA_WITH_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            (P384, ECDSA_WITH_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
            (P384, ECDSA_WITH_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
            (P521, ECDSA_WITH_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
            (P521, ECDSA_WITH_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
            (P521, ECDSA_WITH_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        },
        _ => return None,
    })
}

fn check_dates(leaf: &Certificate, now: Duration) -> Result<(), Untrusted> {
    let validity = leaf.tbs_certificate().validity();
    if now < validity.not_before.to_unix_duration() {
        Err(Untrusted::NotYetValid(validity.not_before.to_date_time().to_string()))
    } else if now > validity.not_after.to_unix_duration() {
        Err(Untrusted::Expired(validity.not_after.to_date_time().to_string()))
    } else {
        Ok(())
    }
}

fn malformed(error: x509_cert::der::Error) -> Untrusted {
    Untrusted::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};

    use super::*;
    use crate::fake::CustomerCa;

    /// 2026-11-24.
    const NOW: Duration = Duration::from_secs(1_795_478_400);

    fn anchor(ca: &CustomerCa) -> TrustAnchor {
        TrustAnchor::read(&ca.folder.path().join("customerCA.crt")).unwrap()
    }

    #[test]
    fn a_v1_certificate_of_the_pinned_ca_is_trusted() {
        let key = KeyPair::generate().unwrap();
        for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let ca = CustomerCa::new(algorithm);
            let leaf = ca.sign(&key, 2026, 2036);
            let trusted = anchor(&ca).check(&leaf, None, NOW).unwrap();
            assert_eq!(anchor(&ca).check(&leaf, Some(trusted.pin()), NOW).unwrap(), trusted);
        }
    }

    #[test]
    fn another_ca_of_the_same_name_is_not() {
        let key = KeyPair::generate().unwrap();
        let (ca, other) = (CustomerCa::new(&PKCS_ECDSA_P256_SHA256), CustomerCa::new(&PKCS_ECDSA_P256_SHA256));
        let leaf = other.sign(&key, 2026, 2036);
        assert_eq!(anchor(&ca).check(&leaf, None, NOW), Err(Untrusted::NotSigned));
    }

    #[test]
    fn an_altered_certificate_is_not() {
        let ca = CustomerCa::new(&PKCS_ECDSA_P256_SHA256);
        let mut leaf = ca.sign(&KeyPair::generate().unwrap(), 2026, 2036);
        let serial = leaf.windows(3).position(|w| w == [2, 1, 7]).unwrap();
        leaf[serial + 2] = 8;
        assert_eq!(anchor(&ca).check(&leaf, None, NOW), Err(Untrusted::NotSigned));
    }

    #[test]
    fn dates_must_hold() {
        let ca = CustomerCa::new(&PKCS_ECDSA_P256_SHA256);
        let key = KeyPair::generate().unwrap();
        assert!(matches!(anchor(&ca).check(&ca.sign(&key, 2027, 2036), None, NOW), Err(Untrusted::NotYetValid(_))));
        assert!(matches!(anchor(&ca).check(&ca.sign(&key, 2020, 2026), None, NOW), Err(Untrusted::Expired(_))));
    }

    #[test]
    fn another_key_than_the_pinned_one_is_not() {
        let ca = CustomerCa::new(&PKCS_ECDSA_P256_SHA256);
        let leaf = ca.sign(&KeyPair::generate().unwrap(), 2026, 2036);
        assert_eq!(anchor(&ca).check(&leaf, Some(KeyPin([0; 32])), NOW), Err(Untrusted::OtherKey));
    }

    #[test]
    fn an_algorithm_outside_the_list_is_refused() {
        let ca = CustomerCa::new(&PKCS_ECDSA_P256_SHA256);
        let sha1 =
            AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"), parameters: None };
        assert!(verification_algorithm(&sha1, anchor(&ca).0.tbs_certificate().subject_public_key_info()).is_none());
    }
}
