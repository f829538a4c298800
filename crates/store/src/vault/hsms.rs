//! vault.hsms: which HSMs are served. A withdrawn one stays as its tombstone.

use crate::error::StoreError;
use crate::sql::Tx;

table! {
    /// An HSM of the vault.
    Hsm in "hsms" {
        /// The HSM.
        hsm_id: String,
        /// Its cluster.
        cluster_id: String,
        /// Its EniIp.
        address: String,
        /// Whether it was withdrawn, for good.
        withdrawn: bool,
    }
}

/// An HSM, tombstones too.
pub fn get(tx: &mut dyn Tx, id: &str) -> Result<Option<Hsm>, StoreError> {
    tx.select_one("WHERE hsm_id = $1", params![id])
}

/// All HSMs, tombstones too.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Hsm>, StoreError> {
    tx.select("ORDER BY hsm_id", &[])
}

/// Inserts or replaces an HSM.
pub fn put(tx: &mut dyn Tx, row: &Hsm) -> Result<(), StoreError> {
    tx.execute("DELETE FROM hsms WHERE hsm_id = $1", params![row.hsm_id])?;
    tx.insert(row)
}
