//! control.peers: the numbers of receipts per peer, and when it was heard of. No trust and no key is here.

use strongroom_model::{RegionId, Timestamp};

use crate::error::StoreError;
use crate::sql::Tx;

/// Makes the row of a peer, if it is new.
pub fn ensure(tx: &mut dyn Tx, peer: &RegionId) -> Result<(), StoreError> {
    let sql = "INSERT INTO peers (region_id, next_seq, read_upto) VALUES ($1, 1, 0) ON CONFLICT DO NOTHING";
    tx.execute(sql, params![peer]).map(drop)
}

/// Takes the next number for a receipt.
pub fn next_seq(tx: &mut dyn Tx, peer: &RegionId) -> Result<i64, StoreError> {
    ensure(tx, peer)?;
    tx.execute("UPDATE peers SET next_seq = next_seq + 1 WHERE region_id = $1", params![peer])?;
    let next: Option<i64> = tx.query_value("SELECT next_seq FROM peers WHERE region_id = $1", params![peer])?;
    next.map(|n| n - 1).ok_or_else(|| StoreError::Corrupt(format!("{peer} has no row")))
}

/// Raises the next number; never lowers it.
pub fn raise_next_seq(tx: &mut dyn Tx, peer: &RegionId, next: i64) -> Result<(), StoreError> {
    ensure(tx, peer)?;
    tx.execute("UPDATE peers SET next_seq = $2 WHERE region_id = $1 AND next_seq < $2", params![peer, next]).map(drop)
}

/// O1: this region is behind what the peer holds; its next number lies above both.
pub fn fall_behind(tx: &mut dyn Tx, peer: &RegionId, next: i64, now: Timestamp) -> Result<(), StoreError> {
    raise_next_seq(tx, peer, next)?;
    let sql = "UPDATE peers SET behind_since = $2 WHERE region_id = $1 AND behind_since IS NULL";
    tx.execute(sql, params![peer, now]).map(drop)
}

/// O2: all has been told: whether this region was behind until now.
pub fn catch_up(tx: &mut dyn Tx, peer: &RegionId) -> Result<bool, StoreError> {
    let sql = "UPDATE peers SET behind_since = NULL WHERE region_id = $1 AND behind_since IS NOT NULL";
    tx.change(sql, params![peer])
}

/// Whether this region is behind what the peer holds.
pub fn is_behind(tx: &mut dyn Tx, peer: &RegionId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM peers WHERE region_id = $1 AND behind_since IS NOT NULL";
    Ok(tx.query_opt(sql, params![peer])?.is_some())
}

/// Notes that the peer answered.
pub fn answered(tx: &mut dyn Tx, peer: &RegionId, now: Timestamp) -> Result<(), StoreError> {
    ensure(tx, peer)?;
    tx.execute("UPDATE peers SET last_answer = $2 WHERE region_id = $1", params![peer, now]).map(drop)
}

/// When the peer answered last, as far as that was noted.
pub fn last_answer(tx: &mut dyn Tx, peer: &RegionId) -> Result<Option<Timestamp>, StoreError> {
    let answered: Option<Option<Timestamp>> =
        tx.query_value("SELECT last_answer FROM peers WHERE region_id = $1", params![peer])?;
    Ok(answered.flatten())
}

/// The highest receipt number that was read from the peer without a gap.
pub fn read_upto(tx: &mut dyn Tx, peer: &RegionId) -> Result<i64, StoreError> {
    Ok(tx.query_value("SELECT read_upto FROM peers WHERE region_id = $1", params![peer])?.unwrap_or(0))
}

/// Notes that receipts were read up to a number.
pub fn set_read_upto(tx: &mut dyn Tx, peer: &RegionId, seq: i64) -> Result<(), StoreError> {
    ensure(tx, peer)?;
    tx.execute("UPDATE peers SET read_upto = $2 WHERE region_id = $1 AND read_upto < $2", params![peer, seq]).map(drop)
}
