//! Owns the ids: AWS's (`cluster-…`, `hsm-…`, `backup-…`, `eni-…`) in the form that real ones have, and our own. An id is
//! made from bytes that the caller drew or hashed; nothing here is random.

use std::fmt;

use crate::record::{Mismatch, Record};
use crate::value::Value;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The first `length` characters of the lower-case base32 of `bytes`, which must hold 5 bits for each.
pub fn base32(bytes: &[u8], length: usize) -> String {
    assert!(bytes.len() * 8 >= length * 5, "too few bytes for {length} characters");
    (0..length)
        .map(|i| {
            let (byte, shift) = (i * 5 / 8, i * 5 % 8);
            let pair = u16::from(bytes[byte]) << 8 | u16::from(bytes.get(byte + 1).copied().unwrap_or(0));
            char::from(BASE32[usize::from(pair >> (11 - shift) & 31)])
        })
        .collect()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(b"0123456789abcdef"[usize::from(n)])).collect()
}

/// Sixteen bytes in the form of a UUID of version 4: `8c1f0c1e-52b0-4d0e-9a83-6d5a64a0e0a7`.
pub fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = hex(&bytes);
    for at in [20, 16, 12, 8] {
        id.insert(at, '-');
    }
    id
}

macro_rules! text_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that was checked where it came in (by the codec's patterns, or read from a row).
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl Record for $name {
            fn from_value(value: Value) -> Result<Self, Mismatch> {
                String::from_value(value).map(Self)
            }
            fn into_value(self) -> Value {
                Value::String(self.0)
            }
        }
    )+};
}

text_id! {
    /// Twelve digits.
    AccountId,
    /// `backup-` and 11 base32 characters.
    BackupId,
    /// A payload in storage: 26 base32 characters, drawn anew for each payload.
    BlobId,
    /// `cluster-` and 11 base32 characters.
    ClusterId,
    /// `copy-` and 11 base32 characters: one accepted `CopyBackupToRegion`.
    CopyId,
    /// `eni-` and 17 hex digits.
    EniId,
    /// `hsm-` and 11 base32 characters.
    HsmId,
    /// 26 base32 characters, minted once per region: what a region is. Its name is only a label.
    RegionId,
    /// `us-east-1`: a region's immutable label.
    RegionName,
    /// `subnet-` and 8 to 17 hex digits.
    SubnetId,
    /// `vpc-` and 8 to 17 hex digits.
    VpcId,
}

macro_rules! minted {
    ($($name:ident $prefix:literal $bytes:literal $length:literal),+) => {$(
        impl $name {
            /// From bytes that were drawn or hashed.
            pub fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(format!(concat!($prefix, "{}"), base32(&bytes, $length)))
            }
        }
    )+};
}
minted!(BackupId "backup-" 7 11, ClusterId "cluster-" 7 11, CopyId "copy-" 7 11, HsmId "hsm-" 7 11, BlobId "" 17 26, RegionId "" 17 26);

impl EniId {
    /// From bytes that were drawn: `eni-` and 17 hex digits.
    pub fn from_bytes(bytes: [u8; 9]) -> Self {
        Self(format!("eni-{}", &hex(&bytes)[..17]))
    }
}

impl BackupId {
    /// `arn:aws:cloudhsm:REGION:ACCOUNT:backup/ID`.
    pub fn arn(&self, region: &RegionName, account: &AccountId) -> String {
        format!("arn:{}:cloudhsm:{region}:{account}:backup/{self}", region.partition())
    }
}

impl ClusterId {
    /// `arn:aws:cloudhsm:REGION:ACCOUNT:cluster/ID`.
    pub fn arn(&self, region: &RegionName, account: &AccountId) -> String {
        format!("arn:{}:cloudhsm:{region}:{account}:cluster/{self}", region.partition())
    }

    /// The group that AWS makes beside a cluster, here derived from its id: `sg-` and 17 hex digits.
    pub fn security_group(&self) -> String {
        // FNV-1a, twice: a stable label, nothing secret.
        let hash = |seed: u64| self.0.bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        format!("sg-{:016x}{:x}", hash(0xcbf2_9ce4_8422_2325), hash(7) & 15)
    }
}

impl RegionName {
    /// AWS's partition by the form of the name.
    pub fn partition(&self) -> &'static str {
        match () {
            () if self.0.starts_with("us-gov-") => "aws-us-gov",
            () if self.0.starts_with("cn-") => "aws-cn",
            () => "aws",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_rfc4648_lower_case() {
        assert_eq!(base32(b"foobar", 9), "mzxw6ytbo");
        assert_eq!(base32(&[0xff; 7], 11), "77777777777");
    }

    #[test]
    fn ids_have_the_form_of_uuids() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn ids_have_the_form_of_real_ones() {
        assert_eq!(BackupId::from_bytes([0; 7]).as_str(), "backup-aaaaaaaaaaa");
        assert_eq!(EniId::from_bytes([0xab; 9]).as_str(), "eni-abababababababab".to_owned() + "a");
        assert_eq!(ClusterId::new("cluster-laci57k43pe").security_group().len(), 20);
    }

    #[test]
    fn arns_name_the_partition() {
        let arn = BackupId::new("backup-a").arn(&RegionName::new("us-gov-west-1"), &AccountId::new("000000000000"));
        assert_eq!(arn, "arn:aws-us-gov:cloudhsm:us-gov-west-1:000000000000:backup/backup-a");
    }
}
