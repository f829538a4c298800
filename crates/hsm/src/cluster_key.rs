//! Owns the cluster key: AES-256, one per lineage, so the same in a cluster and all clusters restored from its backups. It
//! seals nothing itself: what is sealed under it is sealed under keys derived with a ClusterId. It leaves this process only
//! sealed, in a vault row or a backup.

use std::fmt;

use minicbor::{Decode, Encode};
use strongroom_link::Secret;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::identity::ClusterKeyPair;
use crate::kdf::{self, push_part};
use crate::root::{Purpose, Roots};
use crate::rows::ClusterRow;
use crate::seal::{Damaged, RowSealer};
use crate::seam::{Rng, random};

/// A cluster key with the name of its lineage.
#[derive(Clone)]
pub struct ClusterKey {
    key: Zeroizing<[u8; 32]>,
    lineage: String,
}

impl ClusterKey {
    /// A new key of a new lineage.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(key.as_mut_slice());
        Self { key, lineage: data_encoding::BASE32_NOPAD.encode(&random::<16>(rng)).to_ascii_lowercase() }
    }

    /// The key of a record that was opened; `None` if it has not 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8], lineage: String) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self { key, lineage })
    }

    /// The key itself, for the record that is about to be sealed.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.key
    }

    /// The lineage id: 26 characters of base32, random, public.
    pub fn lineage(&self) -> &str {
        &self.lineage
    }

    /// What seals and opens the rows of `cluster` in this region.
    pub fn rows(&self, region_id: &str, cluster: &str) -> RowSealer {
        let rows = kdf::derive(&self.key, "strongroom rows", &[cluster.as_bytes()]);
        let terms = kdf::derive(&self.key, "strongroom head terms", &[cluster.as_bytes()]);
        RowSealer::new(&rows, &terms, region_id, cluster)
    }

    /// The key that authenticates login tickets of `cluster`; a clone's differs, though it has the same cluster key.
    pub fn tickets(&self, cluster: &str) -> Zeroizing<[u8; 32]> {
        kdf::derive(&self.key, "strongroom tickets", &[cluster.as_bytes()])
    }
}

impl PartialEq for ClusterKey {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.key.ct_eq(other.key.as_slice())) && self.lineage == other.lineage
    }
}

impl Eq for ClusterKey {}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterKey").field("lineage", &self.lineage).finish_non_exhaustive()
    }
}

/// What a cluster keeps sealed under the root: its key and the key pair by which it proves itself.
#[derive(Debug)]
pub struct ClusterKeys {
    /// The cluster key.
    pub cluster_key: ClusterKey,
    /// The key pair of the cluster certificate.
    pub key_pair: ClusterKeyPair,
}

/// The sealed form.
#[derive(Encode, Decode)]
#[cbor(map)]
struct KeysRecord {
    #[n(0)]
    cluster_key: Secret,
    #[n(1)]
    lineage: String,
    #[n(2)]
    key_pair: Secret,
}

impl ClusterKeys {
    /// Keys of a new lineage.
    pub fn generate(rng: &dyn Rng) -> Self {
        Self { cluster_key: ClusterKey::generate(rng), key_pair: ClusterKeyPair::generate() }
    }

    /// Seals them under the current root for the row of `cluster`.
    pub fn seal(&self, roots: &Roots, region_id: &str, cluster: &str, rng: &dyn Rng) -> Vec<u8> {
        let record = KeysRecord {
            cluster_key: Secret::new(self.cluster_key.expose().to_vec()),
            lineage: self.cluster_key.lineage().to_owned(),
            key_pair: Secret::new(self.key_pair.to_pkcs8().to_vec()),
        };
        let mut plaintext = Zeroizing::new(Vec::with_capacity(4096));
        minicbor::encode(&record, &mut *plaintext).expect("a vector takes all bytes");
        roots.seal(Purpose::ClusterKeys, &keys_aad(region_id, cluster), &plaintext, rng)
    }

    /// Opens those of a cluster's row.
    ///
    /// # Errors
    /// [`Damaged`] if they do not open or are not those of the lineage that the row names.
    pub fn open(roots: &Roots, region_id: &str, row: &ClusterRow) -> Result<Self, Damaged> {
        let aad = keys_aad(region_id, &row.cluster);
        let damaged = |what: &str| Damaged(format!("the keys of {}: {what}", row.cluster));
        let opened = roots.open(Purpose::ClusterKeys, &aad, &row.sealed_keys).map_err(|e| damaged(&e.0))?;
        let record: KeysRecord = minicbor::decode(&opened).map_err(|_| damaged("they are no record"))?;
        if record.lineage != row.lineage {
            return Err(damaged("they are of another lineage"));
        }
        let cluster_key = ClusterKey::from_slice(record.cluster_key.expose(), record.lineage)
            .ok_or_else(|| damaged("the cluster key has the wrong length"))?;
        let key_pair = ClusterKeyPair::from_pkcs8(record.key_pair.expose());
        Ok(Self { cluster_key, key_pair: key_pair.ok_or_else(|| damaged("the key pair is none"))? })
    }
}

fn keys_aad(region_id: &str, cluster: &str) -> Vec<u8> {
    let mut aad = Vec::new();
    push_part(&mut aad, region_id.as_bytes());
    push_part(&mut aad, cluster.as_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::SystemRng;

    #[test]
    fn keys_differ_by_cluster_and_purpose_and_are_not_shown() {
        let key = ClusterKey::generate(&SystemRng);
        assert_ne!(key.tickets("cluster-a"), key.tickets("cluster-b"));
        assert_ne!(key, ClusterKey::generate(&SystemRng));
        assert_eq!(key.lineage().len(), 26);
        let shown = format!("{key:?}");
        assert!(shown.contains(key.lineage()));
        assert!(!shown.contains(&format!("{}, {}", key.expose()[0], key.expose()[1])));
    }
}
