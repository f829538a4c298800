//! Owns key material: one live crypto context per key, made when the key is generated, imported or loaded, and used by
//! every operation from then on. A [`Key`] never shows its secret but through [`Key::material`], for a record that is about
//! to be sealed, and [`Key::secret_value`], for an owner who may read it.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};
use strongroom_link::pkcs11::*;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::lc::gcm::Gcm;
use crate::lc::{Rejected, ec, rsa};

/// The bytes of a full GCM tag.
const TAG: usize = 16;

/// The classes of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// CKO_SECRET_KEY
    Secret,
    /// CKO_PRIVATE_KEY
    Private,
    /// CKO_PUBLIC_KEY
    Public,
}

impl Class {
    /// CKO_…
    pub const fn number(self) -> Ulong {
        match self {
            Self::Secret => CKO_SECRET_KEY,
            Self::Private => CKO_PRIVATE_KEY,
            Self::Public => CKO_PUBLIC_KEY,
        }
    }

    /// The class of CKO_….
    pub fn from_number(number: Ulong) -> Option<Self> {
        [Self::Secret, Self::Private, Self::Public].into_iter().find(|class| class.number() == number)
    }
}

/// A key, ready for use.
pub enum Key {
    /// An RSA private key of 2048 to 4096 bits.
    RsaPrivate(rsa::PrivateKey),
    /// An RSA public key of 2048 to 4096 bits.
    RsaPublic(rsa::PublicKey),
    /// A private key on a curve.
    EcPrivate(ec::PrivateKey),
    /// A public key on a curve.
    EcPublic(ec::PublicKey),
    /// An AES key of 16, 24 or 32 bytes.
    Aes(AesKey),
    /// A generic secret of 1 to 800 bytes.
    GenericSecret(Zeroizing<Vec<u8>>),
}

impl Key {
    /// A generic secret.
    ///
    /// # Errors
    /// Fewer than 1 or more than 800 bytes.
    pub fn generic_secret(value: Zeroizing<Vec<u8>>) -> Result<Self, Rejected> {
        if (1..=800).contains(&value.len()) { Ok(Self::GenericSecret(value)) } else { Err(Rejected) }
    }

    /// Takes an RSA private key of a permitted size and exponent.
    ///
    /// # Errors
    /// Any other.
    pub fn rsa_private(key: rsa::PrivateKey) -> Result<Self, Rejected> {
        rsa_is_permitted(&key.modulus(), &key.public_exponent()).then_some(Self::RsaPrivate(key)).ok_or(Rejected)
    }

    /// Takes an RSA public key of a permitted size and exponent.
    ///
    /// # Errors
    /// Any other.
    pub fn rsa_public(key: rsa::PublicKey) -> Result<Self, Rejected> {
        rsa_is_permitted(&key.modulus(), &key.public_exponent()).then_some(Self::RsaPublic(key)).ok_or(Rejected)
    }

    /// Reads what [`Self::material`] gave.
    ///
    /// # Errors
    /// It is not a consistent key of this class and type.
    pub fn from_material(class: Class, key_type: Ulong, material: &[u8]) -> Result<Self, Rejected> {
        match (class, key_type) {
            (Class::Private, CKK_RSA) => Self::rsa_private(rsa::PrivateKey::from_pkcs8(material)?),
            (Class::Public, CKK_RSA) => Self::rsa_public(rsa::PublicKey::from_spki(material)?),
            (Class::Private, CKK_EC) => ec::PrivateKey::from_pkcs8(material).map(Self::EcPrivate),
            (Class::Public, CKK_EC) => ec::PublicKey::from_spki(material).map(Self::EcPublic),
            (Class::Secret, CKK_AES) => AesKey::new(Zeroizing::new(material.to_vec())).map(Self::Aes),
            (Class::Secret, CKK_GENERIC_SECRET) => Self::generic_secret(Zeroizing::new(material.to_vec())),
            _ => Err(Rejected),
        }
    }

    /// What a record keeps: PKCS#8, SubjectPublicKeyInfo, or the value.
    ///
    /// # Errors
    /// Out of memory.
    pub fn material(&self) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        match self {
            Self::RsaPrivate(key) => key.to_pkcs8(),
            Self::RsaPublic(key) => key.to_spki().map(Zeroizing::new),
            Self::EcPrivate(key) => key.to_pkcs8(),
            Self::EcPublic(key) => key.to_spki().map(Zeroizing::new),
            Self::Aes(key) => Ok(key.value.clone()),
            Self::GenericSecret(value) => Ok(value.clone()),
        }
    }

    /// The class.
    pub const fn class(&self) -> Class {
        match self {
            Self::RsaPrivate(_) | Self::EcPrivate(_) => Class::Private,
            Self::RsaPublic(_) | Self::EcPublic(_) => Class::Public,
            Self::Aes(_) | Self::GenericSecret(_) => Class::Secret,
        }
    }

    /// CKK_…
    pub const fn key_type(&self) -> Ulong {
        match self {
            Self::RsaPrivate(_) | Self::RsaPublic(_) => CKK_RSA,
            Self::EcPrivate(_) | Self::EcPublic(_) => CKK_EC,
            Self::Aes(_) => CKK_AES,
            Self::GenericSecret(_) => CKK_GENERIC_SECRET,
        }
    }

    /// The value of a secret key.
    pub fn secret_value(&self) -> Option<&[u8]> {
        match self {
            Self::Aes(key) => Some(&key.value),
            Self::GenericSecret(value) => Some(value),
            _ => None,
        }
    }

    /// The SubjectPublicKeyInfo, of either half of a pair.
    ///
    /// # Errors
    /// Out of memory.
    pub fn public_key_info(&self) -> Result<Option<Vec<u8>>, Rejected> {
        match self {
            Self::RsaPrivate(key) => key.public()?.to_spki().map(Some),
            Self::RsaPublic(key) => key.to_spki().map(Some),
            Self::EcPrivate(key) => key.public()?.to_spki().map(Some),
            Self::EcPublic(key) => key.to_spki().map(Some),
            Self::Aes(_) | Self::GenericSecret(_) => Ok(None),
        }
    }

    /// CKA_CHECK_VALUE: of an AES key the first 3 bytes of the encrypted zero block; of both halves of a pair the first 3
    /// bytes of SHA-1 over the public key's bits, so the start of the key identifier of RFC 5280, 4.2.1.2 (1). A generic
    /// secret has none.
    ///
    /// # Errors
    /// Out of memory.
    pub fn check_value(&self) -> Result<Option<[u8; 3]>, Rejected> {
        let bits = match self {
            Self::RsaPrivate(key) => key.public()?.to_pkcs1()?,
            Self::RsaPublic(key) => key.to_pkcs1()?,
            Self::EcPrivate(key) => key.public()?.to_point()?,
            Self::EcPublic(key) => key.to_point()?,
            Self::Aes(key) => return key.check_value().map(Some),
            Self::GenericSecret(_) => return Ok(None),
        };
        Ok(Digest::Sha1.hash(&bits).as_ref().first_chunk().copied())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPrivate(key) => key.fmt(f),
            Self::RsaPublic(key) => key.fmt(f),
            Self::EcPrivate(key) => key.fmt(f),
            Self::EcPublic(key) => key.fmt(f),
            Self::Aes(key) => write!(f, "Aes({} bits)", key.value.len() * 8),
            Self::GenericSecret(value) => write!(f, "GenericSecret({} bytes)", value.len()),
        }
    }
}

/// An AES key.
pub struct AesKey {
    value: Zeroizing<Vec<u8>>,
    gcm: Gcm,
}

impl AesKey {
    /// A key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// Any other length.
    pub fn new(value: Zeroizing<Vec<u8>>) -> Result<Self, Rejected> {
        let gcm = Gcm::new(&value, TAG)?;
        Ok(Self { value, gcm })
    }

    /// AES-GCM with a tag of `tag` bytes: ciphertext ‖ tag.
    ///
    /// # Errors
    /// As [`Gcm::seal`].
    pub fn gcm_seal(&self, tag: usize, iv: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Rejected> {
        match tag {
            TAG => self.gcm.seal(iv, aad, plaintext),
            _ => Gcm::new(&self.value, tag)?.seal(iv, aad, plaintext),
        }
    }

    /// The plaintext of ciphertext ‖ tag.
    ///
    /// # Errors
    /// The tag does not fit.
    pub fn gcm_open(
        &self,
        tag: usize,
        iv: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        match tag {
            TAG => self.gcm.open(iv, aad, ciphertext),
            _ => Gcm::new(&self.value, tag)?.open(iv, aad, ciphertext),
        }
    }

    fn check_value(&self) -> Result<[u8; 3], Rejected> {
        let algorithm = match self.value.len() {
            16 => &AES_128,
            24 => &AES_192,
            _ => &AES_256,
        };
        let mut block = [0; 16];
        UnboundCipherKey::new(algorithm, &self.value)
            .and_then(EncryptingKey::ecb)
            .and_then(|key| key.encrypt(&mut block))
            .map_err(|_| Rejected)?;
        Ok([block[0], block[1], block[2]])
    }
}

/// The bits of a modulus, big-endian without leading zero bytes.
pub fn modulus_bits(modulus: &[u8]) -> u32 {
    modulus.first().map_or(0, |first| modulus.len() as u32 * 8 - first.leading_zeros())
}

/// Whether keys of so many bits may be: 2048 to 4096 in steps of 256, as on AWS.
pub fn modulus_bits_are_permitted(bits: u64) -> bool {
    (2048..=4096).contains(&bits) && bits.is_multiple_of(256)
}

/// Whether a public exponent, big-endian without leading zero bytes, may be: odd, 65537 or more, at most 32 bits (aws-lc
/// takes no longer ones).
pub fn public_exponent_is_permitted(exponent: &[u8]) -> bool {
    exponent.len() <= 4
        && exponent.iter().fold(0, |value: u32, byte| value << 8 | u32::from(*byte)) >= 65537
        && exponent.last().is_some_and(|last| last % 2 == 1)
}

fn rsa_is_permitted(modulus: &[u8], public_exponent: &[u8]) -> bool {
    modulus_bits_are_permitted(modulus_bits(modulus).into()) && public_exponent_is_permitted(public_exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn material_is_read_back_as_the_same_key() {
        let rsa = rsa::PrivateKey::generate(2048, &[1, 0, 1]).unwrap();
        let ec = ec::PrivateKey::generate(ec::Curve::P384).unwrap();
        let keys = [
            Key::RsaPublic(rsa.public().unwrap()),
            Key::RsaPrivate(rsa),
            Key::EcPublic(ec.public().unwrap()),
            Key::EcPrivate(ec),
            Key::Aes(AesKey::new(Zeroizing::new(vec![7; 24])).unwrap()),
            Key::generic_secret(Zeroizing::new(vec![7; 5])).unwrap(),
        ];
        for key in &keys {
            let material = key.material().unwrap();
            let back = Key::from_material(key.class(), key.key_type(), &material).unwrap();
            assert_eq!(back.material().unwrap(), material);
            assert_eq!(back.check_value(), key.check_value());
            assert_eq!(back.public_key_info(), key.public_key_info());
            let other = if key.class() == Class::Secret { Class::Private } else { Class::Secret };
            assert!(Key::from_material(other, key.key_type(), &material).is_err());
        }
        assert_eq!(keys[0].check_value(), keys[1].check_value());
        assert_eq!(keys[2].public_key_info(), keys[3].public_key_info());
    }

    /// The zero block under the key of FIPS 197, C.1 to C.3 is not in it; these are NIST's KAT for the zero key (AESAVS,
    /// GCM's H in McGrew and Viega's test cases 1, 7 and 13).
    #[test]
    fn the_check_value_of_an_aes_key_is_the_encrypted_zero_block() {
        for (length, start) in [(16, [0x66, 0xe9, 0x4b]), (24, [0xaa, 0xe0, 0x69]), (32, [0xdc, 0x95, 0xc0])] {
            let key = AesKey::new(Zeroizing::new(vec![0; length])).unwrap();
            assert_eq!(key.check_value(), Ok(start));
        }
    }

    #[test]
    fn sizes_and_exponents_outside_the_limits_are_rejected() {
        assert!(AesKey::new(Zeroizing::new(vec![0; 17])).is_err());
        assert!(Key::generic_secret(Zeroizing::default()).is_err());
        assert!(Key::generic_secret(Zeroizing::new(vec![0; 801])).is_err());
        assert!(Key::rsa_private(rsa::PrivateKey::generate(1024, &[1, 0, 1]).unwrap()).is_err());
        assert!(Key::rsa_private(rsa::PrivateKey::generate(2048, &[3]).unwrap()).is_err());
        assert_eq!(
            [2047, 2048, 2100, 2304, 4096, 4352].map(modulus_bits_are_permitted),
            [false, true, false, true, true, false]
        );
        let permitted = |exponent: &[u8]| public_exponent_is_permitted(exponent);
        assert!(permitted(&[1, 0, 1]) && permitted(&[1, 0, 3]) && permitted(&[0xff, 0xff, 0xff, 0xff]));
        assert!(!permitted(&[]) && !permitted(&[0xff, 0xff]) && !permitted(&[1, 0, 2]) && !permitted(&[1, 0, 0, 0, 1]));
    }
}
