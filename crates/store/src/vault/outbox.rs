//! vault.outbox: what the control plane must learn; one row per cluster and kind, replaced under a new number, so that an
//! acknowledgement of the number before leaves it.

use crate::error::StoreError;
use crate::sql::Tx;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub seq: i64,
    /// The cluster.
    pub cluster_id: String,
    /// activated, changed or health.
    pub kind: String,
    /// The head version, or the damage.
    pub data: String,
}

/// Replaces the row of a cluster and kind under the next number.
pub fn put(tx: &mut dyn Tx, cluster_id: &str, kind: &str, data: &str) -> Result<(), StoreError> {
    tx.execute("UPDATE meta SET outbox_seq = outbox_seq + 1 WHERE one = 1", &[])?;
    let next = seq(tx)?;
    let sql = "INSERT INTO outbox (cluster_id, kind, seq, data) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (cluster_id, kind) DO UPDATE SET seq = $3, data = $4";
    tx.execute(sql, params![cluster_id, kind, next, data]).map(drop)
}

/// Rows with a number above `cursor`, ascending.
pub fn after(tx: &mut dyn Tx, cursor: i64) -> Result<Vec<Event>, StoreError> {
    let sql = "SELECT seq, cluster_id, kind, data FROM outbox WHERE seq > $1 ORDER BY seq";
    let rows = tx.query(sql, params![cursor])?;
    rows.iter()
        .map(|row| Ok(Event { seq: row.get(0)?, cluster_id: row.get(1)?, kind: row.get(2)?, data: row.get(3)? }))
        .collect()
}

/// The highest number ever given.
pub fn seq(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let seq = tx.query_value("SELECT outbox_seq FROM meta WHERE one = 1", &[])?;
    seq.ok_or_else(|| StoreError::Corrupt("meta has no row".into()))
}

/// Deletes rows with numbers up to `seq`.
pub fn ack(tx: &mut dyn Tx, seq: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM outbox WHERE seq <= $1", params![seq]).map(drop)
}
