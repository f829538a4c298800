//! Owns the cluster key: AES-256, one per lineage, so the same in a cluster and all clusters restored from its backups. It
//! seals nothing itself: what is sealed under it is sealed under keys derived with a ClusterId. It leaves this process only
//! sealed, in a vault row or a backup.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::kdf;
use crate::seal::RowSealer;
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

    /// The key of a record that was opened.
    pub(crate) fn from_parts(key: Zeroizing<[u8; 32]>, lineage: String) -> Self {
        Self { key, lineage }
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
