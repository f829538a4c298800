//! vault.logins: spent login tries, outside the head, so that a login reseals nothing.

use crate::error::StoreError;
use crate::sql::Tx;

/// G1: counts a try where fewer than `limit` are spent: how many are now, or `None` if locked.
pub fn reserve(tx: &mut dyn Tx, cluster_id: &str, name: &str, limit: u32) -> Result<Option<i64>, StoreError> {
    let sql = "INSERT INTO logins (cluster_id, name, tries) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
    tx.execute(sql, params![cluster_id, name])?;
    let sql = "UPDATE logins SET tries = tries + 1 WHERE cluster_id = $1 AND name = $2 AND tries < $3";
    if !tx.change(sql, params![cluster_id, name, limit])? {
        return Ok(None);
    }
    tx.query_value("SELECT tries FROM logins WHERE cluster_id = $1 AND name = $2", params![cluster_id, name])
}

/// Spent tries by user, those with any.
pub fn all(tx: &mut dyn Tx, cluster_id: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = "SELECT name, tries FROM logins WHERE cluster_id = $1 AND tries > 0 ORDER BY name";
    tx.query(sql, params![cluster_id])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// G3: no try is spent any more.
pub fn clear(tx: &mut dyn Tx, cluster_id: &str, name: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM logins WHERE cluster_id = $1 AND name = $2", params![cluster_id, name]).map(drop)
}
