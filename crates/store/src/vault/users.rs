//! vault.users: sealed users, by the epoch of their cluster's installation.

use crate::error::StoreError;
use crate::sql::Tx;

/// A sealed user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Lower case.
    pub name: String,
    /// The head version that wrote it.
    pub version: i64,
    /// The sealed record.
    pub sealed: Vec<u8>,
}

/// Users of an epoch, by version and name.
pub fn all(tx: &mut dyn Tx, cluster_id: &str, epoch: i64) -> Result<Vec<User>, StoreError> {
    let sql = "SELECT name, version, sealed FROM users WHERE cluster_id = $1 AND epoch = $2 ORDER BY version, name";
    let rows = tx.query(sql, params![cluster_id, epoch])?;
    rows.iter().map(|row| Ok(User { name: row.get(0)?, version: row.get(1)?, sealed: row.get(2)? })).collect()
}

/// Inserts or replaces a user.
pub fn put(tx: &mut dyn Tx, cluster_id: &str, epoch: i64, row: &User) -> Result<(), StoreError> {
    let sql = "INSERT INTO users (cluster_id, epoch, name, version, sealed) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (cluster_id, epoch, name) DO UPDATE SET version = $4, sealed = $5";
    tx.execute(sql, params![cluster_id, epoch, row.name, row.version, row.sealed]).map(drop)
}

/// Deletes a user: whether he was there.
pub fn delete(tx: &mut dyn Tx, cluster_id: &str, epoch: i64, name: &str) -> Result<bool, StoreError> {
    tx.change("DELETE FROM users WHERE cluster_id = $1 AND epoch = $2 AND name = $3", params![cluster_id, epoch, name])
}
