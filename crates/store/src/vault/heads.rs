//! vault.heads: the sealed sum over a cluster's rows.

use crate::error::StoreError;
use crate::sql::Tx;

/// Version and seal of a cluster's head.
pub fn get(tx: &mut dyn Tx, cluster_id: &str) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
    let row = tx.query_opt("SELECT version, sealed FROM heads WHERE cluster_id = $1", params![cluster_id])?;
    row.map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Writes the first head, or follows the one before: whether that was the one there.
pub fn compare_and_set(tx: &mut dyn Tx, cluster_id: &str, version: i64, sealed: &[u8]) -> Result<bool, StoreError> {
    let sql = "UPDATE heads SET version = $2, sealed = $3 WHERE cluster_id = $1 AND version = $2 - 1";
    if tx.change(sql, params![cluster_id, version, sealed])? {
        return Ok(true);
    }
    // Only a cluster that never had a head begins one, and it begins at 1.
    let sql = "INSERT INTO heads (cluster_id, version, sealed) SELECT $1, $2, $3 WHERE CAST($2 AS BIGINT) = 1 \
               ON CONFLICT DO NOTHING";
    tx.change(sql, params![cluster_id, version, sealed])
}

/// Writes the head, whatever was there.
pub fn put(tx: &mut dyn Tx, cluster_id: &str, version: i64, sealed: &[u8]) -> Result<(), StoreError> {
    let sql = "INSERT INTO heads (cluster_id, version, sealed) VALUES ($1, $2, $3) \
               ON CONFLICT (cluster_id) DO UPDATE SET version = $2, sealed = $3";
    tx.execute(sql, params![cluster_id, version, sealed]).map(drop)
}
