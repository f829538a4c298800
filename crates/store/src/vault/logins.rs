//! vault.logins: spent login tries, outside the head, so that a login reseals nothing.

use crate::error::StoreError;
use crate::sql::Tx;

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is counted: so many are spent now.
    Spent(i64),
    /// Not counted: the limit was reached at this time, in milliseconds.
    Locked(i64),
}

/// G1: counts a try at the time `now` (milliseconds) where fewer than `limit` are spent.
pub fn reserve(tx: &mut dyn Tx, cluster_id: &str, name: &str, limit: u32, now: i64) -> Result<Reserved, StoreError> {
    let sql = "INSERT INTO logins (cluster_id, name, tries, last_try) VALUES ($1, $2, 0, $3) ON CONFLICT DO NOTHING";
    tx.execute(sql, params![cluster_id, name, now])?;
    let sql = "UPDATE logins SET tries = tries + 1, last_try = $4 WHERE cluster_id = $1 AND name = $2 AND tries < $3";
    let (column, reserved): (_, fn(i64) -> Reserved) = match tx.change(sql, params![cluster_id, name, limit, now])? {
        true => ("tries", Reserved::Spent),
        false => ("last_try", Reserved::Locked),
    };
    let sql = format!("SELECT {column} FROM logins WHERE cluster_id = $1 AND name = $2");
    let value = tx.query_value(&sql, params![cluster_id, name])?;
    value.map(reserved).ok_or_else(|| StoreError::Corrupt(format!("no row counts the tries of {name}")))
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
