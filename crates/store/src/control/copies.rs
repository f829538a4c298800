//! control.copies and control.copy_steps: copies that leave this region. What the destination holds decides how they end.

use strongroom_model::copy::CopyState;
use strongroom_model::{AccountId, BackupId, BlobId, ClusterId, CopyId, RegionId, RegionName, Tag, Timestamp};

use crate::error::StoreError;
use crate::sql::{Cell, FromCell, Mismatch, Param, ToParam, Tx, parsed};

/// Tags as they were when the copy was accepted, in one column: key and value, each ended by U+001F (a character that no
/// tag may hold).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrozenTags(String);

impl From<&Vec<Tag>> for FrozenTags {
    fn from(tags: &Vec<Tag>) -> Self {
        Self(tags.iter().map(|t| format!("{}\u{1f}{}\u{1f}", t.key, t.value)).collect())
    }
}

impl ToParam for FrozenTags {
    fn param(&self) -> Param<'_> {
        Param::Text(&self.0)
    }
}

impl FromCell for FrozenTags {
    fn from_cell(cell: Cell) -> Result<Self, Mismatch> {
        parsed(cell, "frozen tags", |text| Some(Self(text.to_owned())))
    }
}

table! {
    /// A copy.
    Copy in "copies" {
        /// The copy.
        copy_id: CopyId,
        /// Whose it is.
        account: AccountId,
        /// The backup here.
        backup_id: BackupId,
        /// The cluster that the original was made of.
        source_cluster_id: ClusterId,
        /// The payload here.
        blob_id: BlobId,
        /// D.
        digest: Vec<u8>,
        /// What the manifest says; opaque here.
        facts: Vec<u8>,
        /// Where it goes.
        destination_region: RegionName,
        /// What that region was when the copy was accepted.
        destination_region_id: RegionId,
        /// The tags it will have there.
        tags: FrozenTags,
        /// Who asked.
        principal: String,
        /// From where.
        source_ip: String,
        /// In which request.
        request_id: String,
        /// In which call of an SDK.
        invocation_id: Option<String>,
        /// CreateTimestamp of the backup.
        backup_created_at: Timestamp,
        /// When the call was accepted.
        requested_at: Timestamp,
        /// When the source gives up.
        deadline_at: Timestamp,
        /// Its state, for display until it is settled.
        state: CopyState,
        /// Whether its deadline has passed.
        overdue: bool,
        /// Whether its destination lost it on an old disk.
        lost: bool,
        /// Whether an operator gave it up without knowing its outcome.
        abandoned: bool,
        /// Why it waits or how it ended, for machines.
        reason_code: Option<String>,
        /// The same for people.
        reason: Option<String>,
        /// Attempts begun.
        attempt: i64,
        /// Chunks that are durable there.
        chunks_done: i64,
        /// When the next attempt is made.
        next_attempt_at: Option<Timestamp>,
        /// The backup there.
        destination_backup_id: Option<BackupId>,
        /// The receipt that settled it.
        receipt_seq: Option<i64>,
        /// Its time, by the destination's clock.
        receipt_at: Option<Timestamp>,
        /// When it was settled.
        finished_at: Option<Timestamp>,
    }
}

impl Copy {
    /// The tags it will have there.
    pub fn frozen_tags(&self) -> Vec<Tag> {
        let words: Vec<_> = self.tags.0.split_terminator('\u{1f}').collect();
        words.chunks_exact(2).map(|pair| Tag { key: pair[0].to_owned(), value: pair[1].to_owned() }).collect()
    }
}

/// A step of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// `accepted`, `re-wrapped`, `announced`, `sent`, `settled`.
    pub name: String,
    /// The sentence.
    pub text: String,
}

/// How far a copy is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// waiting, sending or checking.
    pub state: CopyState,
    /// Attempts begun.
    pub attempt: i64,
    /// Chunks that are durable there.
    pub chunks_done: i64,
    /// When the next attempt is made.
    pub next_attempt_at: Option<Timestamp>,
    /// Why it waits.
    pub reason_code: Option<String>,
    /// The same for people.
    pub reason: Option<String>,
}

/// How a copy ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// ready, failed or cancelled.
    pub state: CopyState,
    /// Why, for machines.
    pub reason_code: Option<String>,
    /// The same for people.
    pub reason: Option<String>,
    /// The backup there.
    pub destination_backup_id: Option<BackupId>,
    /// The receipt's number.
    pub receipt_seq: i64,
    /// The receipt's time.
    pub receipt_at: Timestamp,
    /// When it came here.
    pub finished_at: Timestamp,
}

/// Inserts a new copy.
pub fn insert(tx: &mut dyn Tx, row: &Copy) -> Result<(), StoreError> {
    tx.insert(row)
}

/// A copy.
pub fn get(tx: &mut dyn Tx, id: &CopyId) -> Result<Option<Copy>, StoreError> {
    tx.select_one("WHERE copy_id = $1", params![id])
}

/// Copies of an account, newest first.
pub fn page(
    tx: &mut dyn Tx,
    account: &AccountId,
    after: Option<(Timestamp, &str)>,
    limit: u32,
) -> Result<Vec<Copy>, StoreError> {
    let (at, id) = after.unwrap_or((Timestamp::from_millis(i64::MAX), ""));
    let sql = "WHERE account = $1 AND (requested_at, copy_id) < ($2, $3) \
               ORDER BY requested_at DESC, copy_id DESC LIMIT $4";
    tx.select(sql, params![account, at, id, limit])
}

/// Copies that are not settled.
pub fn unsettled(tx: &mut dyn Tx) -> Result<Vec<Copy>, StoreError> {
    tx.select("WHERE finished_at IS NULL ORDER BY requested_at, copy_id", &[])
}

/// How many copies are not settled, and when the oldest of them was asked for.
pub fn backlog(tx: &mut dyn Tx) -> Result<(i64, Option<Timestamp>), StoreError> {
    let rows = tx.query("SELECT COUNT(*), MIN(requested_at) FROM copies WHERE finished_at IS NULL", &[])?;
    let row = rows.first().expect("an aggregate has one row");
    Ok((row.get(0)?, row.get(1)?))
}

/// K9: how far an unsettled copy is, for display only.
pub fn record(tx: &mut dyn Tx, id: &CopyId, p: &Progress) -> Result<bool, StoreError> {
    let sql = "UPDATE copies SET state = CASE WHEN finished_at IS NULL THEN $2 ELSE state END, attempt = $3, \
               chunks_done = $4, next_attempt_at = $5, \
               reason_code = CASE WHEN finished_at IS NULL THEN $6 ELSE reason_code END, \
               reason = CASE WHEN finished_at IS NULL THEN $7 ELSE reason END \
               WHERE copy_id = $1 AND (finished_at IS NULL OR lost = 1)";
    tx.change(sql, params![id, p.state, p.attempt, p.chunks_done, p.next_attempt_at, p.reason_code, p.reason])
}

/// K8: the deadline has passed; it never un-passes.
pub fn overdue(tx: &mut dyn Tx, id: &CopyId) -> Result<bool, StoreError> {
    tx.change("UPDATE copies SET overdue = 1 WHERE copy_id = $1 AND finished_at IS NULL", params![id])
}

/// K7 and O4: settles a copy that is unsettled, abandoned or lost; a late or doubled outcome changes nothing.
pub fn settle(tx: &mut dyn Tx, id: &CopyId, o: &Outcome) -> Result<bool, StoreError> {
    let sql = "UPDATE copies SET state = CASE WHEN lost = 1 THEN state ELSE $2 END, \
               reason_code = $3, reason = $4, destination_backup_id = $5, receipt_seq = $6, receipt_at = $7, \
               finished_at = $8, abandoned = 0, next_attempt_at = NULL, lost = CASE WHEN $2 = 'ready' THEN 0 ELSE lost END \
               WHERE copy_id = $1 AND (finished_at IS NULL OR abandoned = 1 OR lost = 1)";
    tx.change(
        sql,
        params![
            id,
            o.state,
            o.reason_code,
            o.reason,
            o.destination_backup_id,
            o.receipt_seq,
            o.receipt_at,
            o.finished_at
        ],
    )
}

/// O3: a ready copy that its destination lost.
pub fn lost(tx: &mut dyn Tx, id: &CopyId) -> Result<bool, StoreError> {
    tx.change("UPDATE copies SET lost = 1 WHERE copy_id = $1 AND state = 'ready' AND lost = 0", params![id])
}

/// K10.
pub fn abandon(tx: &mut dyn Tx, id: &CopyId, text: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE copies SET state = 'failed', abandoned = 1, reason_code = 'abandoned', reason = $2, \
               finished_at = $3, next_attempt_at = NULL WHERE copy_id = $1 AND finished_at IS NULL";
    tx.change(sql, params![id, text, now])
}

/// Makes the waiting jobs of a peer's copies due.
pub fn hurry(tx: &mut dyn Tx, peer: &RegionId, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "UPDATE jobs SET due_at = $2 WHERE kind = 'copy' AND owner IS NULL AND due_at > $2 AND subject IN \
               (SELECT copy_id FROM copies WHERE destination_region_id = $1 AND (finished_at IS NULL OR lost = 1))";
    tx.execute(sql, params![peer, now])
}

/// Appends steps.
pub fn add_steps(tx: &mut dyn Tx, id: &CopyId, steps: &[Step]) -> Result<(), StoreError> {
    for step in steps {
        let sql = "INSERT INTO copy_steps (copy_id, n, at, name, text) \
                   SELECT $1, COUNT(*), $2, $3, $4 FROM copy_steps WHERE copy_id = $1";
        tx.execute(sql, params![id, step.at, step.name, step.text])?;
    }
    Ok(())
}

/// The steps of a copy, in order.
pub fn steps(tx: &mut dyn Tx, id: &CopyId) -> Result<Vec<Step>, StoreError> {
    let rows = tx.query("SELECT at, name, text FROM copy_steps WHERE copy_id = $1 ORDER BY n", params![id])?;
    rows.iter().map(|row| Ok(Step { at: row.get(0)?, name: row.get(1)?, text: row.get(2)? })).collect()
}

/// All copies; for checks.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Copy>, StoreError> {
    tx.select("ORDER BY copy_id", &[])
}
