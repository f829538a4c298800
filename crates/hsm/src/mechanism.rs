//! Owns signature mechanisms: which CKM_… with which parameter means what, on which keys, over what input. Checks come in
//! PKCS#11's order: mechanism, parameter, type of key, length of data.

use aws_lc_rs::hmac;
use strongroom_link::hsm::{Failure, Mechanism, Parameter};
use strongroom_link::pkcs11::*;
use subtle::ConstantTimeEq;

use crate::digest::Digest;
use crate::key::Key;
use crate::lc::rsa::Padding;
use crate::refusal::{refusal, unexpected};

/// CKM_…_HMAC, by the standard's values.
const CKM_SHA_1_HMAC: Ulong = 0x0221;
const CKM_SHA224_HMAC: Ulong = 0x0256;
const CKM_SHA256_HMAC: Ulong = 0x0251;
const CKM_SHA384_HMAC: Ulong = 0x0261;
const CKM_SHA512_HMAC: Ulong = 0x0271;

/// The most that ECDSA takes unhashed: the order of P-521. More would be cut off and so not be signed.
const ECDSA_INPUT_MAX: usize = 66;

/// A signature mechanism, with its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMechanism {
    /// RSASSA-PKCS1-v1_5; without a hash the data is padded as it is.
    RsaPkcs(Option<Digest>),
    /// RSASSA-PSS; `is_hashed`: the data is the hash value already.
    RsaPss {
        /// Whether the data is the hash value already.
        is_hashed: bool,
        /// The hash.
        digest: Digest,
        /// The hash of MGF1.
        mgf: Digest,
        /// Salt bytes.
        salt: u32,
    },
    /// ECDSA; without a hash the data is the hash value already.
    Ecdsa(Option<Digest>),
    /// HMAC.
    Hmac(Digest),
}

impl SignatureMechanism {
    /// Reads a mechanism.
    ///
    /// # Errors
    /// CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID.
    pub fn read(mechanism: &Mechanism) -> Result<Self, Failure> {
        let pss = |digest| read_pss(&mechanism.parameter, digest);
        let read = match mechanism.mechanism {
            CKM_RSA_PKCS_PSS => return pss(None),
            CKM_SHA1_RSA_PKCS_PSS => return pss(Some(Digest::Sha1)),
            CKM_SHA224_RSA_PKCS_PSS => return pss(Some(Digest::Sha224)),
            CKM_SHA256_RSA_PKCS_PSS => return pss(Some(Digest::Sha256)),
            CKM_SHA384_RSA_PKCS_PSS => return pss(Some(Digest::Sha384)),
            CKM_SHA512_RSA_PKCS_PSS => return pss(Some(Digest::Sha512)),
            CKM_RSA_PKCS => Self::RsaPkcs(None),
            CKM_SHA1_RSA_PKCS => Self::RsaPkcs(Some(Digest::Sha1)),
            CKM_SHA224_RSA_PKCS => Self::RsaPkcs(Some(Digest::Sha224)),
            CKM_SHA256_RSA_PKCS => Self::RsaPkcs(Some(Digest::Sha256)),
            CKM_SHA384_RSA_PKCS => Self::RsaPkcs(Some(Digest::Sha384)),
            CKM_SHA512_RSA_PKCS => Self::RsaPkcs(Some(Digest::Sha512)),
            CKM_ECDSA => Self::Ecdsa(None),
            CKM_ECDSA_SHA1 => Self::Ecdsa(Some(Digest::Sha1)),
            CKM_ECDSA_SHA224 => Self::Ecdsa(Some(Digest::Sha224)),
            CKM_ECDSA_SHA256 => Self::Ecdsa(Some(Digest::Sha256)),
            CKM_ECDSA_SHA384 => Self::Ecdsa(Some(Digest::Sha384)),
            CKM_ECDSA_SHA512 => Self::Ecdsa(Some(Digest::Sha512)),
            CKM_SHA_1_HMAC => Self::Hmac(Digest::Sha1),
            CKM_SHA224_HMAC => Self::Hmac(Digest::Sha224),
            CKM_SHA256_HMAC => Self::Hmac(Digest::Sha256),
            CKM_SHA384_HMAC => Self::Hmac(Digest::Sha384),
            CKM_SHA512_HMAC => Self::Hmac(Digest::Sha512),
            other => return Err(not_supported(other)),
        };
        no_parameter(mechanism)?;
        Ok(read)
    }

    /// Signs.
    ///
    /// # Errors
    /// CKR_KEY_TYPE_INCONSISTENT, CKR_DATA_LEN_RANGE, CKR_MECHANISM_PARAM_INVALID for a salt that the key has no room for.
    pub fn sign(self, key: &Key, data: &[u8]) -> Result<Vec<u8>, Failure> {
        match (self, key) {
            (Self::RsaPkcs(_) | Self::RsaPss { .. }, Key::RsaPrivate(key)) => {
                let padding = self.padding(key.size(), data)?;
                self.with_input(data, |input| key.sign(padding, input)).map_err(unexpected)
            }
            (Self::Ecdsa(_), Key::EcPrivate(key)) => {
                self.check_ecdsa_input(data)?;
                self.with_input(data, |input| key.sign(input)).map_err(unexpected)
            }
            (Self::Hmac(digest), Key::GenericSecret(value)) => Ok(compute_hmac(digest, value, data).as_ref().to_vec()),
            _ => Err(wrong_type()),
        }
    }

    /// Verifies.
    ///
    /// # Errors
    /// As [`Self::sign`], and CKR_SIGNATURE_LEN_RANGE or CKR_SIGNATURE_INVALID.
    pub fn verify(self, key: &Key, data: &[u8], signature: &[u8]) -> Result<(), Failure> {
        let has_length = |length: usize| {
            if signature.len() == length { Ok(()) } else { Err(does_not_verify(CKR_SIGNATURE_LEN_RANGE)) }
        };
        let holds: bool = match (self, key) {
            (Self::RsaPkcs(_) | Self::RsaPss { .. }, Key::RsaPublic(key)) => {
                let padding = self.padding(key.size(), data)?;
                has_length(key.size())?;
                self.with_input(data, |input| key.verify(padding, input, signature))
            }
            (Self::Ecdsa(_), Key::EcPublic(key)) => {
                self.check_ecdsa_input(data)?;
                has_length(2 * key.curve().size())?;
                self.with_input(data, |input| key.verify(input, signature))
            }
            (Self::Hmac(digest), Key::GenericSecret(value)) => {
                has_length(digest.length())?;
                compute_hmac(digest, value, data).as_ref().ct_eq(signature).into()
            }
            _ => return Err(wrong_type()),
        };
        if holds { Ok(()) } else { Err(does_not_verify(CKR_SIGNATURE_INVALID)) }
    }

    /// Gives what is signed: the data, or its hash value.
    fn with_input<T>(self, data: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::RsaPkcs(None) | Self::Ecdsa(None) | Self::RsaPss { is_hashed: true, .. } => then(data),
            Self::RsaPkcs(Some(digest))
            | Self::Ecdsa(Some(digest))
            | Self::RsaPss { digest, .. }
            | Self::Hmac(digest) => then(digest.hash(data).as_ref()),
        }
    }

    /// The padding of an RSA mechanism, for a modulus of `size` bytes.
    fn padding(self, size: usize, data: &[u8]) -> Result<Padding, Failure> {
        match self {
            Self::RsaPss { is_hashed, digest, mgf, salt } => {
                if is_hashed && data.len() != digest.length() {
                    return Err(wrong_length("must be a hash value of the hash that the parameter names"));
                }
                if salt as usize + digest.length() + 2 > size {
                    return Err(wrong_parameter("The salt is longer than the key has room for."));
                }
                Ok(Padding::Pss { digest, mgf, salt })
            }
            Self::RsaPkcs(Some(digest)) => Ok(Padding::Pkcs1(digest)),
            _ if data.len() + 11 > size => Err(wrong_length("is longer than the key has room for")),
            _ => Ok(Padding::Pkcs1Raw),
        }
    }

    fn check_ecdsa_input(self, data: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Ecdsa(None) if !(1..=ECDSA_INPUT_MAX).contains(&data.len()) => {
                Err(wrong_length("must be a hash value, of 1 to 66 bytes"))
            }
            _ => Ok(()),
        }
    }
}

fn read_pss(parameter: &Parameter, hashes_with: Option<Digest>) -> Result<SignatureMechanism, Failure> {
    let Parameter::Pss { hash, mgf, salt } = *parameter else {
        return Err(wrong_parameter("PSS takes CK_RSA_PKCS_PSS_PARAMS."));
    };
    let digest = Digest::from_mechanism(hash).ok_or_else(|| wrong_parameter("The hash of PSS is not supported."))?;
    let mgf = Digest::from_mgf(mgf).ok_or_else(|| wrong_parameter("The mask generation of PSS is not supported."))?;
    if hashes_with.is_some_and(|mechanism| mechanism != digest) {
        return Err(wrong_parameter("The hash of the PSS parameter is not that of the mechanism."));
    }
    Ok(SignatureMechanism::RsaPss { is_hashed: hashes_with.is_none(), digest, mgf, salt })
}

fn compute_hmac(digest: Digest, key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(digest.hmac(), key), data)
}

/// Refuses a parameter where there is none to give.
pub(crate) fn no_parameter(mechanism: &Mechanism) -> Result<(), Failure> {
    match mechanism.parameter {
        Parameter::None => Ok(()),
        _ => Err(wrong_parameter("This mechanism takes no parameter.")),
    }
}

/// The refusal of a mechanism.
pub(crate) fn not_supported(mechanism: Ulong) -> Failure {
    refusal(CKR_MECHANISM_INVALID, format!("Mechanism 0x{mechanism:x} is not supported for this operation"))
}

/// The refusal of a parameter.
pub(crate) fn wrong_parameter(message: &str) -> Failure {
    refusal(CKR_MECHANISM_PARAM_INVALID, message)
}

/// The refusal of a key of another type than the mechanism's.
pub(crate) fn wrong_type() -> Failure {
    refusal(CKR_KEY_TYPE_INCONSISTENT, "The mechanism does not work with a key of this type")
}

fn wrong_length(what: &str) -> Failure {
    refusal(CKR_DATA_LEN_RANGE, format!("The data {what}"))
}

/// AWS's words for a signature that does not verify.
fn does_not_verify(ckr: Ulong) -> Failure {
    refusal(ckr, "Signature verification failed")
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use zeroize::Zeroizing;

    use super::*;
    use crate::lc::{ec, rsa};

    fn read(mechanism: Ulong) -> SignatureMechanism {
        SignatureMechanism::read(&Mechanism::plain(mechanism)).unwrap()
    }

    fn pss(mechanism: Ulong, hash: Ulong, mgf: Ulong, salt: u32) -> Result<SignatureMechanism, Failure> {
        SignatureMechanism::read(&Mechanism { mechanism, parameter: Parameter::Pss { hash, mgf, salt } })
    }

    /// RFC 4231, test case 2; SHA-1 from RFC 2202, test case 2.
    #[test]
    fn hmac_gives_the_published_values() {
        let key = Key::generic_secret(Zeroizing::new(b"Jefe".to_vec())).unwrap();
        let cases = [
            (CKM_SHA_1_HMAC, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (CKM_SHA224_HMAC, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
            (CKM_SHA256_HMAC, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                CKM_SHA384_HMAC,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                CKM_SHA512_HMAC,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdca\
                 eab1a34d4a6b4b636e070a38bce737",
            ),
        ];
        for (mechanism, expected) in cases {
            let data = b"what do ya want for nothing?";
            let tag = read(mechanism).sign(&key, data).unwrap();
            assert_eq!(HEXLOWER.encode(&tag), expected);
            assert_eq!(read(mechanism).verify(&key, data, &tag), Ok(()));
            assert_eq!(read(mechanism).verify(&key, b"other", &tag).unwrap_err().ckr, CKR_SIGNATURE_INVALID);
            assert_eq!(read(mechanism).verify(&key, data, &tag[1..]).unwrap_err().ckr, CKR_SIGNATURE_LEN_RANGE);
        }
    }

    #[test]
    fn a_hashing_mechanism_signs_what_the_plain_one_signs_over_the_hash() {
        let private = rsa::PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let public = Key::RsaPublic(private.public().unwrap());
        let private = Key::RsaPrivate(private);
        let hash = Digest::Sha256.hash(b"message");
        let prefix = HEXLOWER.decode(b"3031300d060960864801650304020105000420").unwrap();
        let digest_info = [&prefix, hash.as_ref()].concat();
        let signature = read(CKM_SHA256_RSA_PKCS).sign(&private, b"message").unwrap();
        assert_eq!(read(CKM_RSA_PKCS).sign(&private, &digest_info).unwrap(), signature);
        assert_eq!(read(CKM_RSA_PKCS).verify(&public, &digest_info, &signature), Ok(()));
        let plain = pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA1, 32).unwrap();
        let hashing = pss(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA1, 32).unwrap();
        let signature = plain.sign(&private, hash.as_ref()).unwrap();
        assert_eq!(hashing.verify(&public, b"message", &signature), Ok(()));
        let ec = ec::PrivateKey::generate(ec::Curve::P256).unwrap();
        let ec_public = Key::EcPublic(ec.public().unwrap());
        let signature = read(CKM_ECDSA).sign(&Key::EcPrivate(ec), hash.as_ref()).unwrap();
        assert_eq!(read(CKM_ECDSA_SHA256).verify(&ec_public, b"message", &signature), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_number() {
        let private = Key::RsaPrivate(rsa::PrivateKey::generate(2048, &[1, 0, 1]).unwrap());
        let ec = Key::EcPrivate(ec::PrivateKey::generate(ec::Curve::P256).unwrap());
        let ckr = |result: Result<Vec<u8>, Failure>| result.unwrap_err().ckr;
        assert_eq!(ckr(read(CKM_ECDSA).sign(&private, &[1; 32])), CKR_KEY_TYPE_INCONSISTENT);
        assert_eq!(ckr(read(CKM_RSA_PKCS).sign(&ec, &[1; 32])), CKR_KEY_TYPE_INCONSISTENT);
        assert_eq!(ckr(read(CKM_SHA256_HMAC).sign(&ec, &[1; 32])), CKR_KEY_TYPE_INCONSISTENT);
        assert_eq!(ckr(read(CKM_RSA_PKCS).sign(&private, &[1; 246])), CKR_DATA_LEN_RANGE);
        assert_eq!(ckr(read(CKM_ECDSA).sign(&ec, &[])), CKR_DATA_LEN_RANGE);
        assert_eq!(ckr(read(CKM_ECDSA).sign(&ec, &[1; 67])), CKR_DATA_LEN_RANGE);
        let plain = pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32).unwrap();
        assert_eq!(ckr(plain.sign(&private, &[1; 31])), CKR_DATA_LEN_RANGE);
        let salted = pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 223).unwrap();
        assert_eq!(ckr(salted.sign(&private, &[1; 32])), CKR_MECHANISM_PARAM_INVALID);
        let read_error = |mechanism| SignatureMechanism::read(&Mechanism::plain(mechanism)).unwrap_err().ckr;
        assert_eq!(read_error(CKM_AES_GCM), CKR_MECHANISM_INVALID);
        assert_eq!(read_error(CKM_RSA_PKCS_PSS), CKR_MECHANISM_PARAM_INVALID);
        let parameter = |result: Result<SignatureMechanism, Failure>| result.unwrap_err().ckr;
        assert_eq!(parameter(pss(CKM_RSA_PKCS, CKM_SHA256, CKG_MGF1_SHA256, 32)), CKR_MECHANISM_PARAM_INVALID);
        let other = pss(CKM_SHA384_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32);
        assert_eq!(parameter(other), CKR_MECHANISM_PARAM_INVALID);
    }
}
