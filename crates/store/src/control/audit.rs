//! control.audit: one event per mutation, in the transaction that it records.

use strongroom_model::Timestamp;

use crate::error::StoreError;
use crate::sql::Tx;

/// Appends an event under the next number.
pub fn append(tx: &mut dyn Tx, at: Timestamp, event: &str) -> Result<(), StoreError> {
    tx.execute("INSERT INTO audit (at, event) VALUES ($1, $2)", params![at, event]).map(drop)
}

/// Events after a number, ascending, with their numbers.
pub fn page(tx: &mut dyn Tx, after: i64, limit: u32) -> Result<Vec<(i64, String)>, StoreError> {
    let sql = "SELECT seq, event FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
    tx.query(sql, params![after, limit])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}
