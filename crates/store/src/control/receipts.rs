//! control.receipts: given to peers and got from them. No function deletes or changes one.

use strongroom_model::{BackupId, CopyId, RegionId, Timestamp};

use crate::error::StoreError;
use crate::sql::Tx;

strongroom_model::string_enum! {
    /// Which way a receipt went.
    pub enum Direction {
        Given "given",
        Got "got",
    }

    /// What a receipt tells.
    pub enum ReceiptKind {
        Ready "ready",
        Deleted "deleted",
        Purged "purged",
        Resumed "resumed",
    }
}
enum_columns!(Direction, ReceiptKind);

table! {
    /// A receipt.
    Receipt in "receipts" {
        /// Given or got.
        direction: Direction,
        /// To whom, or from whom.
        peer: RegionId,
        /// Its number, of the one who gives.
        seq: i64,
        /// What it tells.
        kind: ReceiptKind,
        /// Of which copy.
        copy_id: Option<CopyId>,
        /// The backup at the destination.
        backup_id: Option<BackupId>,
        /// D.
        digest: Option<Vec<u8>>,
        /// Why it was deleted, for machines.
        reason_code: Option<String>,
        /// The same for people.
        reason: Option<String>,
        /// When it was given.
        at: Timestamp,
        /// Got anew for a copy that its destination had lost.
        again: bool,
    }
}

/// Inserts a receipt; one with this number or, if given, of this outcome is a conflict.
pub fn insert(tx: &mut dyn Tx, row: &Receipt) -> Result<(), StoreError> {
    tx.insert(row)
}

/// Inserts a receipt unless its number is there: whether it did.
pub fn insert_new(tx: &mut dyn Tx, row: &Receipt) -> Result<bool, StoreError> {
    tx.insert_new(row)
}

/// The receipt that settled a copy.
pub fn outcome(
    tx: &mut dyn Tx,
    direction: Direction,
    peer: &RegionId,
    copy_id: &CopyId,
) -> Result<Option<Receipt>, StoreError> {
    let sql = "WHERE direction = $1 AND peer = $2 AND copy_id = $3 AND kind IN ('ready', 'deleted') \
               ORDER BY seq DESC LIMIT 1";
    tx.select_one(sql, params![direction, peer, copy_id])
}

/// The receipt of a purge.
pub fn purge(
    tx: &mut dyn Tx,
    direction: Direction,
    peer: &RegionId,
    copy_id: &CopyId,
) -> Result<Option<Receipt>, StoreError> {
    let sql = "WHERE direction = $1 AND peer = $2 AND copy_id = $3 AND kind = 'purged' LIMIT 1";
    tx.select_one(sql, params![direction, peer, copy_id])
}

/// A receipt by number.
pub fn by_seq(tx: &mut dyn Tx, direction: Direction, peer: &RegionId, seq: i64) -> Result<Option<Receipt>, StoreError> {
    tx.select_one("WHERE direction = $1 AND peer = $2 AND seq = $3", params![direction, peer, seq])
}

/// The receipt with the highest number.
pub fn highest(tx: &mut dyn Tx, direction: Direction, peer: &RegionId) -> Result<Option<Receipt>, StoreError> {
    tx.select_one("WHERE direction = $1 AND peer = $2 ORDER BY seq DESC LIMIT 1", params![direction, peer])
}

/// Receipts after a number, ascending.
pub fn page(
    tx: &mut dyn Tx,
    direction: Direction,
    peer: &RegionId,
    after: i64,
    limit: u32,
) -> Result<Vec<Receipt>, StoreError> {
    let sql = "WHERE direction = $1 AND peer = $2 AND seq > $3 ORDER BY seq LIMIT $4";
    tx.select(sql, params![direction, peer, after, limit])
}
