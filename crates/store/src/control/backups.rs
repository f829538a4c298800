//! control.backups: those made here and those that came from a peer, also while they come.

use std::cell::RefCell;
use std::collections::HashSet;

use strongroom_model::backup::BackupState;
use strongroom_model::cluster::ClusterMode;
use strongroom_model::{AccountId, BackupId, BlobId, ClusterId, CopyId, RegionId, RegionName, Timestamp};

use crate::control::{Page, Position, fill};
use crate::error::StoreError;
use crate::sql::{Param, Table, Tx};

strongroom_model::string_enum! {
    /// Where a backup comes from.
    pub enum Origin {
        Local "local",
        Copy "copy",
    }
}
enum_columns!(Origin);

table! {
    /// A backup.
    Backup in "backups" {
        /// The backup.
        backup_id: BackupId,
        /// The n of a copy's id: above 0 only after a collision.
        id_n: u32,
        /// Whose it is.
        account: AccountId,
        /// Made here, or a copy.
        origin: Origin,
        /// Its state.
        state: BackupState,
        /// Why it is DELETED, or `damaged: …`.
        reason: Option<String>,
        /// The cluster it was made of; absent on a copy.
        cluster_id: Option<ClusterId>,
        /// Why it was made; absent on a copy.
        cause: Option<String>,
        /// The region it was copied from.
        source_region: Option<RegionName>,
        /// What that region is.
        source_region_id: Option<RegionId>,
        /// The backup there.
        source_backup_id: Option<BackupId>,
        /// The cluster that the original was made of.
        source_cluster_id: Option<ClusterId>,
        /// The copy that brought it.
        copy_id: Option<CopyId>,
        /// `hsm2m.medium`.
        hsm_type: String,
        /// FIPS or NON_FIPS.
        mode: ClusterMode,
        /// CreateTimestamp; a copy has its source's.
        create_ts: Timestamp,
        /// CopyTimestamp.
        copy_ts: Option<Timestamp>,
        /// DeleteTimestamp.
        delete_at: Option<Timestamp>,
        /// When it became DELETED.
        deleted_at: Option<Timestamp>,
        /// Whether retention leaves it alone.
        never_expires: bool,
        /// Its payload.
        blob_id: Option<BlobId>,
        /// How often a snapshot was taken for it.
        attempt: i64,
        /// How often a chunk of it had to be asked for again.
        repairs: i64,
        /// When it is given up.
        deadline_at: Option<Timestamp>,
        /// D.
        digest: Option<Vec<u8>>,
        /// The manifest's body.
        body: Option<Vec<u8>>,
        /// Its data key, sealed under this region's root.
        header: Option<Vec<u8>>,
        /// What its source announced; opaque here.
        listing: Option<Vec<u8>>,
        /// What was proved; opaque here.
        facts: Option<Vec<u8>>,
        /// When it was last opened.
        opened_at: Option<Timestamp>,
    }
}

impl Backup {
    /// Whether it is CREATE_IN_PROGRESS.
    pub fn is_in_progress(&self) -> bool {
        self.state == BackupState::CreateInProgress
    }
}

/// What a READY backup holds.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// D.
    pub digest: &'a [u8],
    /// The manifest's body.
    pub body: &'a [u8],
    /// The sealed data key.
    pub header: &'a [u8],
    /// What was proved.
    pub facts: &'a [u8],
    /// When.
    pub opened_at: Timestamp,
}

/// Inserts a new backup.
pub fn insert(tx: &mut dyn Tx, row: &Backup) -> Result<(), StoreError> {
    tx.insert(row)
}

/// Inserts a new backup, unless its cause or its copy has one: whether it did.
pub fn insert_new(tx: &mut dyn Tx, row: &Backup) -> Result<bool, StoreError> {
    tx.insert_new(row)
}

/// A backup, DELETED ones too.
pub fn get(tx: &mut dyn Tx, id: &BackupId) -> Result<Option<Backup>, StoreError> {
    tx.select_one("WHERE backup_id = $1", params![id])
}

/// The backup that a copy brought, or is bringing.
pub fn by_copy(tx: &mut dyn Tx, peer: &RegionId, copy_id: &CopyId) -> Result<Option<Backup>, StoreError> {
    tx.select_one("WHERE source_region_id = $1 AND copy_id = $2", params![peer, copy_id])
}

/// The backup of a cause.
pub fn by_cause(tx: &mut dyn Tx, cluster_id: &ClusterId, cause: &str) -> Result<Option<Backup>, StoreError> {
    tx.select_one("WHERE cluster_id = $1 AND cause = $2", params![cluster_id, cause])
}

/// A backup of a cluster that is still being made.
pub fn in_progress_of_cluster(tx: &mut dyn Tx, cluster_id: &ClusterId) -> Result<Option<BackupId>, StoreError> {
    let sql = "SELECT backup_id FROM backups WHERE cluster_id = $1 AND state = 'CREATE_IN_PROGRESS' LIMIT 1";
    tx.query_value(sql, params![cluster_id])
}

/// Whether a backup is CREATE_IN_PROGRESS.
pub fn is_in_progress(tx: &mut dyn Tx, id: &BackupId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM backups WHERE backup_id = $1 AND state = 'CREATE_IN_PROGRESS'";
    Ok(tx.query_opt(sql, params![id])?.is_some())
}

/// Whether a payload belongs to a backup that is not DELETED.
pub fn is_wanted(tx: &mut dyn Tx, blob_id: &BlobId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM backups WHERE blob_id = $1 AND state <> 'DELETED' LIMIT 1";
    Ok(tx.query_opt(sql, params![blob_id])?.is_some())
}

/// S1: counts an attempt and gives it a blob.
pub fn begin_attempt(tx: &mut dyn Tx, id: &BackupId, blob_id: &BlobId) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET attempt = attempt + 1, blob_id = $2 \
               WHERE backup_id = $1 AND state = 'CREATE_IN_PROGRESS'";
    tx.change(sql, params![id, blob_id])
}

/// N3: the data key of an incoming copy is sealed under our own root; the first one counts.
pub fn admitted(tx: &mut dyn Tx, id: &BackupId, header: &[u8], facts: &[u8]) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET header = $2, facts = $3 \
               WHERE backup_id = $1 AND state = 'CREATE_IN_PROGRESS' AND header IS NULL";
    tx.change(sql, params![id, header, facts])
}

/// N5: counts a chunk that had to be asked for again; how many did.
pub fn count_repair(tx: &mut dyn Tx, id: &BackupId) -> Result<i64, StoreError> {
    tx.execute("UPDATE backups SET repairs = repairs + 1 WHERE backup_id = $1", params![id])?;
    Ok(tx.query_value("SELECT repairs FROM backups WHERE backup_id = $1", params![id])?.unwrap_or(0))
}

/// S5, N6: READY.
pub fn ready(tx: &mut dyn Tx, id: &BackupId, content: &Content<'_>) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET state = 'READY', digest = $2, body = $3, header = $4, facts = $5, opened_at = $6, \
               deadline_at = NULL WHERE backup_id = $1 AND state = 'CREATE_IN_PROGRESS'";
    tx.change(sql, params![id, content.digest, content.body, content.header, content.facts, content.opened_at])
}

/// S6, N3, N6 to N9: DELETED with its reason.
pub fn failed(tx: &mut dyn Tx, id: &BackupId, reason: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET state = 'DELETED', reason = $2, deleted_at = $3 \
               WHERE backup_id = $1 AND state = 'CREATE_IN_PROGRESS'";
    tx.change(sql, params![id, reason, now])
}

/// Z1, R1.
pub fn pending_deletion(tx: &mut dyn Tx, id: &BackupId, delete_at: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET state = 'PENDING_DELETION', delete_at = $2 WHERE backup_id = $1 AND state = 'READY'";
    tx.change(sql, params![id, delete_at])
}

/// N7: the DeleteTimestamp of a copy that was cancelled.
pub fn set_delete_at(tx: &mut dyn Tx, id: &BackupId, delete_at: Timestamp) -> Result<bool, StoreError> {
    tx.change("UPDATE backups SET delete_at = $2 WHERE backup_id = $1", params![id, delete_at])
}

/// Z2: before its time only.
pub fn restored(tx: &mut dyn Tx, id: &BackupId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET state = 'READY', delete_at = NULL \
               WHERE backup_id = $1 AND state = 'PENDING_DELETION' AND delete_at > $2";
    tx.change(sql, params![id, now])
}

/// Z3: at its time.
pub fn purged(tx: &mut dyn Tx, id: &BackupId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET state = 'DELETED', deleted_at = $2 \
               WHERE backup_id = $1 AND state = 'PENDING_DELETION' AND delete_at <= $2";
    tx.change(sql, params![id, now])
}

/// Z5: a DELETED backup that no pin and no unsettled copy needs is forgotten: whether its row is gone now.
pub fn forget(tx: &mut dyn Tx, id: &BackupId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM backups WHERE backup_id = $1 AND state = 'DELETED' \
               AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.blob_id = backups.blob_id) \
               AND NOT EXISTS (SELECT 1 FROM copies WHERE copies.backup_id = $1 AND copies.finished_at IS NULL)";
    tx.execute(sql, params![id])?;
    Ok(get(tx, id)?.is_none())
}

/// Notes that a backup was opened.
pub fn opened(tx: &mut dyn Tx, id: &BackupId, now: Timestamp) -> Result<bool, StoreError> {
    tx.change("UPDATE backups SET opened_at = $2 WHERE backup_id = $1", params![id, now])
}

/// Notes why a backup is not what it should be.
pub fn set_reason(tx: &mut dyn Tx, id: &BackupId, reason: &str) -> Result<bool, StoreError> {
    tx.change("UPDATE backups SET reason = $2 WHERE backup_id = $1", params![id, reason])
}

/// Whether retention leaves a READY backup alone.
pub fn set_never_expires(tx: &mut dyn Tx, id: &BackupId, never_expires: bool) -> Result<bool, StoreError> {
    let sql = "UPDATE backups SET never_expires = $2 WHERE backup_id = $1 AND state = 'READY'";
    tx.change(sql, params![id, never_expires])
}

/// R1: READY backups of a cluster older than `older`, oldest first, never the newest READY one.
pub fn expired(
    tx: &mut dyn Tx,
    cluster_id: &ClusterId,
    older: Timestamp,
    limit: u32,
) -> Result<Vec<BackupId>, StoreError> {
    let sql = "SELECT backup_id FROM backups WHERE cluster_id = $1 AND state = 'READY' AND never_expires = 0 \
               AND create_ts < $2 AND backup_id <> (SELECT b.backup_id FROM backups b WHERE b.cluster_id = $1 \
               AND b.state = 'READY' ORDER BY b.create_ts DESC, b.backup_id DESC LIMIT 1) \
               ORDER BY create_ts, backup_id LIMIT $3";
    tx.query_column(sql, params![cluster_id, older, limit])
}

/// How many backups are in the store, DELETED ones left out.
pub fn count(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    Ok(tx.query_value("SELECT COUNT(*) FROM backups WHERE state <> 'DELETED'", &[])?.unwrap_or(0))
}

/// Incoming copies of an account, newest first by when they were asked for.
pub fn incoming_page(
    tx: &mut dyn Tx,
    account: &AccountId,
    after: Option<(Timestamp, &str)>,
    limit: u32,
) -> Result<Vec<Backup>, StoreError> {
    let (at, id) = after.unwrap_or((Timestamp::from_millis(i64::MAX), ""));
    let sql = "WHERE account = $1 AND copy_id IS NOT NULL AND (copy_ts, copy_id) < ($2, $3) \
               ORDER BY copy_ts DESC, copy_id DESC LIMIT $4";
    tx.select(sql, params![account, at, id, limit])
}

/// What a page of backups is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Whose.
    pub account: AccountId,
    /// Only these, if given.
    pub backup_ids: Option<Vec<BackupId>>,
    /// Only copies of these, if given.
    pub source_backup_ids: Option<Vec<BackupId>>,
    /// Only of these clusters, if given.
    pub cluster_ids: Option<Vec<ClusterId>>,
    /// Only in these states, if given.
    pub states: Option<Vec<BackupState>>,
    /// Only with these values, if given.
    pub never_expires: Option<Vec<bool>>,
    /// Oldest first.
    pub ascending: bool,
    /// The position that the page follows.
    pub after: Option<(Timestamp, String)>,
    /// The most rows.
    pub limit: u32,
}

impl Query {
    /// DELETED backups are shown only to whom asks for them.
    fn shows_deleted(&self) -> bool {
        self.backup_ids.is_some() || self.source_backup_ids.is_some() || self.states.is_some()
    }

    fn matches(&self, b: &Backup) -> bool {
        b.account == self.account && (self.shows_deleted() || b.state != BackupState::Deleted) && self.filters_match(b)
    }

    fn filters_match(&self, b: &Backup) -> bool {
        self.backup_ids.as_ref().is_none_or(|ids| ids.contains(&b.backup_id))
            && in_some(self.source_backup_ids.as_ref(), b.source_backup_id.as_ref())
            && in_some(self.cluster_ids.as_ref(), b.cluster_id.as_ref())
            && self.states.as_ref().is_none_or(|states| states.contains(&b.state))
            && self.never_expires.as_ref().is_none_or(|values| values.contains(&b.never_expires))
    }

    /// The index of the most selective filter: a condition, and the values that it is read for, one after the other.
    fn key(&self) -> (&'static str, Vec<Param<'_>>) {
        match self {
            Self { source_backup_ids: Some(ids), .. } => {
                ("source_backup_id = $1", ids.iter().map(|id| Param::Text(id.as_str())).collect())
            }
            Self { cluster_ids: Some(ids), .. } => {
                ("cluster_id = $1", ids.iter().map(|id| Param::Text(id.as_str())).collect())
            }
            Self { states: Some(states), .. } => {
                ("account = $5 AND state = $1", states.iter().map(|s| Param::Text(s.as_str())).collect())
            }
            Self { never_expires: Some(values), .. } => {
                ("account = $5 AND never_expires = $1", values.iter().map(|v| Param::Int(i64::from(*v))).collect())
            }
            _ => ("account = $1", vec![Param::Text(self.account.as_str())]),
        }
    }
}

/// A page of other accounts' READY backups that have a policy and are shared with the account of the query, as `is_shared`
/// says. There are few policies, so that all of them are looked at.
pub fn shared_page(
    tx: &mut dyn Tx,
    query: &Query,
    mut is_shared: impl FnMut(&mut dyn Tx, &Backup) -> Result<bool, StoreError>,
) -> Result<Page<Backup>, StoreError> {
    let shared = RefCell::new(HashSet::new());
    let next = |after: Option<&Position>, batch| {
        let condition = "backup_id IN (SELECT resource_id FROM policies) AND state = 'READY' AND account <> $1";
        let account = Param::Text(query.account.as_str());
        let rows = read_index(tx, query, condition, account, after, batch)?;
        for row in &rows {
            if is_shared(tx, row)? {
                shared.borrow_mut().insert(row.backup_id.clone());
            }
        }
        let read_all = (rows.len() as u32) < batch;
        Ok((rows, read_all))
    };
    let matches = |row: &Backup| shared.borrow().contains(&row.backup_id) && query.filters_match(row);
    fill(query.limit, query.after.clone(), position, matches, next)
}

fn in_some<T: PartialEq>(wanted: Option<&Vec<T>>, found: Option<&T>) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| wanted.contains(found)))
}

/// A page of backups by CreateTimestamp, from the index of one filter. The rows come without body, header and listing.
pub fn page(tx: &mut dyn Tx, query: &Query) -> Result<Page<Backup>, StoreError> {
    let next = |after: Option<&Position>, batch| candidates(tx, query, after, batch);
    fill(query.limit, query.after.clone(), position, |row| query.matches(row), next)
}

/// The next rows of the index in order, and whether these were all. Where several values are read, one after the other,
/// nothing is kept that lies beyond what was read of each.
fn candidates(
    tx: &mut dyn Tx,
    query: &Query,
    after: Option<&Position>,
    batch: u32,
) -> Result<(Vec<Backup>, bool), StoreError> {
    let before = |a: &Position, b: &Position| if query.ascending { a < b } else { a > b };
    let mut rows = Vec::new();
    let mut read_upto: Option<Position> = None;
    if let Some(ids) = &query.backup_ids {
        for id in ids {
            let found = select_listed(tx, "WHERE backup_id = $1", params![id])?;
            rows.extend(found.into_iter().filter(|b| after.is_none_or(|after| before(after, &position(b)))));
        }
    } else {
        let (condition, values) = query.key();
        for value in values {
            let found = read_index(tx, query, condition, value, after, batch)?;
            if let Some(last) = found.last().map(position).filter(|_| found.len() as u32 == batch)
                && read_upto.as_ref().is_none_or(|upto| before(&last, upto))
            {
                read_upto = Some(last);
            }
            rows.extend(found);
        }
    }
    if let Some(upto) = &read_upto {
        rows.retain(|b| !before(upto, &position(b)));
    }
    rows.sort_by_key(position);
    rows.dedup_by(|a, b| a.backup_id == b.backup_id);
    if !query.ascending {
        rows.reverse();
    }
    Ok((rows, read_upto.is_none()))
}

/// The next rows of the index for one value.
fn read_index(
    tx: &mut dyn Tx,
    query: &Query,
    condition: &str,
    value: Param<'_>,
    after: Option<&Position>,
    batch: u32,
) -> Result<Vec<Backup>, StoreError> {
    let (order, compare, start) = if query.ascending { ("ASC", ">", i64::MIN) } else { ("DESC", "<", i64::MAX) };
    let (at, id) = after.cloned().unwrap_or((Timestamp::from_millis(start), String::new()));
    let rest = format!(
        "WHERE {condition} AND (create_ts, backup_id) {compare} ($2, $3) \
         ORDER BY create_ts {order}, backup_id {order} LIMIT $4"
    );
    let mut params = vec![value, Param::Int(at.millis()), Param::Text(&id), Param::Int(i64::from(batch))];
    if condition.contains("$5") {
        params.push(Param::Text(query.account.as_str()));
    }
    select_listed(tx, &rest, &params)
}

/// Rows without what a list does not show and what may be long.
fn select_listed(tx: &mut dyn Tx, rest: &str, params: &[Param<'_>]) -> Result<Vec<Backup>, StoreError> {
    let columns = Backup::COLUMNS.iter().map(|column| match *column {
        "body" | "header" | "listing" => "NULL",
        column => column,
    });
    let sql = format!("SELECT {} FROM backups {rest}", columns.collect::<Vec<_>>().join(", "));
    tx.query(&sql, params)?.into_iter().map(Backup::from_row).collect()
}

fn position(row: &Backup) -> Position {
    (row.create_ts, row.backup_id.as_str().to_owned())
}

/// All backups; for checks.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Backup>, StoreError> {
    tx.select("ORDER BY backup_id", &[])
}
