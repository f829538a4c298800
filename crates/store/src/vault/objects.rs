//! vault.objects: sealed keys, by the epoch of their cluster's installation.

use crate::error::StoreError;
use crate::sql::Tx;

/// A sealed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its id, which is its handle.
    pub object_id: i64,
    /// The head version that wrote it.
    pub version: i64,
    /// The sealed record.
    pub sealed: Vec<u8>,
}

/// Objects of an epoch by ascending id, those above `after`.
pub fn page(
    tx: &mut dyn Tx,
    cluster_id: &str,
    epoch: i64,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Object>, StoreError> {
    let sql = "SELECT object_id, version, sealed FROM objects \
               WHERE cluster_id = $1 AND epoch = $2 AND object_id > $3 ORDER BY object_id LIMIT $4";
    let rows = tx.query(sql, params![cluster_id, epoch, after.unwrap_or(-1), limit])?;
    rows.iter().map(|row| Ok(Object { object_id: row.get(0)?, version: row.get(1)?, sealed: row.get(2)? })).collect()
}

/// Inserts or replaces an object.
pub fn put(tx: &mut dyn Tx, cluster_id: &str, epoch: i64, row: &Object) -> Result<(), StoreError> {
    let sql = "INSERT INTO objects (cluster_id, epoch, object_id, version, sealed) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (cluster_id, epoch, object_id) DO UPDATE SET version = $4, sealed = $5";
    tx.execute(sql, params![cluster_id, epoch, row.object_id, row.version, row.sealed]).map(drop)
}

/// Deletes an object: whether it was there.
pub fn delete(tx: &mut dyn Tx, cluster_id: &str, epoch: i64, object_id: i64) -> Result<bool, StoreError> {
    let sql = "DELETE FROM objects WHERE cluster_id = $1 AND epoch = $2 AND object_id = $3";
    tx.change(sql, params![cluster_id, epoch, object_id])
}
