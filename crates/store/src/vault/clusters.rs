//! vault.clusters. A destroyed cluster's row stays as its tombstone.

use crate::error::StoreError;
use crate::sql::Tx;

table! {
    /// A cluster of the vault.
    Cluster in "clusters" {
        /// The cluster.
        cluster_id: String,
        /// installing, made, initialized, active or destroyed.
        state: String,
        /// Raised by each installation.
        epoch: i64,
        /// SHA-256 of the input that made it.
        input_digest: Vec<u8>,
        /// The lineage of its cluster key.
        lineage: String,
        /// FIPS or NON_FIPS.
        mode: String,
        /// Cluster key and key pair, sealed.
        sealed_keys: Vec<u8>,
        /// The CSR.
        csr: String,
        /// HsmCertificate.
        hsm_certificate: String,
        /// AwsHardwareCertificate.
        hardware_certificate: String,
        /// ManufacturerHardwareCertificate.
        manufacturer_certificate: String,
        /// ClusterCertificate; empty before it is there.
        cluster_certificate: String,
        /// The customer CA; empty before it is there.
        trust_anchor: String,
    }
}

/// A cluster, tombstones too.
pub fn get(tx: &mut dyn Tx, id: &str) -> Result<Option<Cluster>, StoreError> {
    tx.select_one("WHERE cluster_id = $1", params![id])
}

/// All clusters, tombstones too.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Cluster>, StoreError> {
    tx.select("ORDER BY cluster_id", &[])
}

/// Writes a cluster, whatever was there.
pub fn put(tx: &mut dyn Tx, row: &Cluster) -> Result<(), StoreError> {
    tx.execute("DELETE FROM clusters WHERE cluster_id = $1", params![row.cluster_id])?;
    tx.insert(row)
}
