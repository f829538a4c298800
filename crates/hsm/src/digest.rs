//! Owns the hash functions that mechanisms name: which CKM_… and CKG_… number means which, and hashing itself.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA224, SHA256, SHA384, SHA512};
use aws_lc_rs::hmac;
use strongroom_link::pkcs11::*;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// SHA-1, for signatures that still need it.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// The hash that a CKM_SHA… number names.
    pub const fn from_mechanism(mechanism: Ulong) -> Option<Self> {
        match mechanism {
            CKM_SHA_1 => Some(Self::Sha1),
            CKM_SHA224 => Some(Self::Sha224),
            CKM_SHA256 => Some(Self::Sha256),
            CKM_SHA384 => Some(Self::Sha384),
            CKM_SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash of a mask generation function, CKG_MGF1_….
    pub const fn from_mgf(mgf: Ulong) -> Option<Self> {
        match mgf {
            CKG_MGF1_SHA1 => Some(Self::Sha1),
            CKG_MGF1_SHA224 => Some(Self::Sha224),
            CKG_MGF1_SHA256 => Some(Self::Sha256),
            CKG_MGF1_SHA384 => Some(Self::Sha384),
            CKG_MGF1_SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The bytes of a hash value.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The hash of `data`.
    pub fn hash(self, data: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &SHA224,
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        };
        digest::digest(algorithm, data)
    }

    /// HMAC with this hash.
    pub fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => hmac::HMAC_SHA224,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's one-block message "abc"; the first four bytes of each hash.
    #[test]
    fn each_number_names_its_hash() {
        let cases: [(Ulong, Ulong, [u8; 4]); 5] = [
            (CKM_SHA_1, CKG_MGF1_SHA1, [0xa9, 0x99, 0x3e, 0x36]),
            (CKM_SHA224, CKG_MGF1_SHA224, [0x23, 0x09, 0x7d, 0x22]),
            (CKM_SHA256, CKG_MGF1_SHA256, [0xba, 0x78, 0x16, 0xbf]),
            (CKM_SHA384, CKG_MGF1_SHA384, [0xcb, 0x00, 0x75, 0x3f]),
            (CKM_SHA512, CKG_MGF1_SHA512, [0xdd, 0xaf, 0x35, 0xa1]),
        ];
        for (mechanism, mgf, start) in cases {
            let digest = Digest::from_mechanism(mechanism).unwrap();
            assert_eq!(Digest::from_mgf(mgf), Some(digest));
            assert_eq!(digest.hash(b"abc").as_ref()[..4], start);
            assert_eq!(digest.hash(b"abc").as_ref().len(), digest.length());
        }
        assert_eq!(Digest::from_mechanism(CKM_RSA_PKCS), None);
    }
}
