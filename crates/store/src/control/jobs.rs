//! control.jobs: what is under way, and who has it. Each claim takes an epoch that no claim had before, of this job or of
//! one of the same name that was removed; every record is conditional on it.

use strongroom_model::Timestamp;

use crate::error::StoreError;
use crate::sql::Tx;

strongroom_model::string_enum! {
    /// The kinds of jobs.
    pub enum JobKind {
        ClusterMake "cluster-make",
        ClusterRemove "cluster-remove",
        Copy "copy",
        Daily "daily",
        Forget "forget",
        HsmMake "hsm-make",
        HsmRemove "hsm-remove",
        Incoming "incoming",
        Init "init",
        Modify "modify",
        Purge "purge",
        Reap "reap",
        Reseal "reseal",
        Restore "restore",
        Retention "retention",
        Snapshot "snapshot",
    }
}
enum_columns!(JobKind);

table! {
    /// A job.
    Job in "jobs" {
        /// What is done.
        kind: JobKind,
        /// To what.
        subject: String,
        /// That of its last claim; 0 before the first.
        epoch: i64,
        /// Who has it; nobody where absent.
        owner: Option<String>,
        /// Until when.
        lease_until: Timestamp,
        /// When it is to run.
        due_at: Timestamp,
        /// The row that must settle first.
        waits_for: Option<String>,
        /// Attempts that failed since it last got on.
        attempts: i64,
        /// Why the last one did.
        reason: Option<String>,
    }
}

/// Inserts a job that its own process has claimed already: its epoch.
pub fn insert_claimed(
    tx: &mut dyn Tx,
    kind: JobKind,
    subject: &str,
    owner: &str,
    lease_until: Timestamp,
) -> Result<i64, StoreError> {
    let (owner, epoch) = (Some(owner.to_owned()), next_epoch(tx)?);
    tx.insert(&Job { kind, subject: subject.into(), epoch, owner, lease_until, ..Job::default() })?;
    Ok(epoch)
}

/// An epoch that no claim had before.
fn next_epoch(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    tx.execute("UPDATE meta SET job_epoch = job_epoch + 1 WHERE one = 1", &[])?;
    let epoch = tx.query_value("SELECT job_epoch FROM meta WHERE one = 1", &[])?;
    epoch.ok_or_else(|| StoreError::Corrupt("meta has no row".into()))
}

/// Inserts a job that waits for a row.
pub fn insert_waiting(
    tx: &mut dyn Tx,
    kind: JobKind,
    subject: &str,
    row: &str,
    due_at: Timestamp,
) -> Result<(), StoreError> {
    tx.insert(&Job { kind, subject: subject.into(), waits_for: Some(row.into()), due_at, ..Job::default() })
}

/// Inserts a job for later, or moves the one that is there.
pub fn schedule(tx: &mut dyn Tx, kind: JobKind, subject: &str, due_at: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO jobs (kind, subject, epoch, lease_until, due_at, attempts) VALUES ($1, $2, 0, 0, $3, 0) \
               ON CONFLICT (kind, subject) DO UPDATE SET due_at = $3";
    tx.execute(sql, params![kind, subject, due_at]).map(drop)
}

/// Removes a job, whoever has it: its owner's next record finds nothing.
pub fn remove(tx: &mut dyn Tx, kind: JobKind, subject: &str) -> Result<bool, StoreError> {
    tx.change("DELETE FROM jobs WHERE kind = $1 AND subject = $2", params![kind, subject])
}

/// A job.
pub fn get(tx: &mut dyn Tx, kind: JobKind, subject: &str) -> Result<Option<Job>, StoreError> {
    tx.select_one("WHERE kind = $1 AND subject = $2", params![kind, subject])
}

/// All jobs; for checks.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Job>, StoreError> {
    tx.select("ORDER BY kind, subject", &[])
}

/// When a job is to run.
pub fn due_at(tx: &mut dyn Tx, kind: JobKind, subject: &str) -> Result<Option<Timestamp>, StoreError> {
    tx.query_value("SELECT due_at FROM jobs WHERE kind = $1 AND subject = $2", params![kind, subject])
}

/// Attempts that failed since it last got on.
pub fn attempts(tx: &mut dyn Tx, kind: JobKind, subject: &str) -> Result<i64, StoreError> {
    let found = tx.query_value("SELECT attempts FROM jobs WHERE kind = $1 AND subject = $2", params![kind, subject]);
    Ok(found?.unwrap_or(0))
}

/// Why the last attempt failed.
pub fn reason(tx: &mut dyn Tx, kind: JobKind, subject: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT reason FROM jobs WHERE kind = $1 AND subject = $2";
    Ok(tx.query_value::<Option<String>>(sql, params![kind, subject])?.flatten())
}

/// Whether any job can be claimed.
pub fn any_due(tx: &mut dyn Tx, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM jobs WHERE due_at <= $1 AND lease_until < $1 LIMIT 1";
    Ok(tx.query_opt(sql, params![now])?.is_some())
}

/// Claims jobs that are due and that nobody has, those due for longest first.
pub fn claim_due(
    tx: &mut dyn Tx,
    now: Timestamp,
    owner: &str,
    lease_until: Timestamp,
    limit: u32,
) -> Result<Vec<Job>, StoreError> {
    let sql = "WHERE due_at <= $1 AND lease_until < $1 ORDER BY due_at LIMIT $2";
    let mut jobs: Vec<Job> = tx.select(sql, params![now, limit])?;
    for job in &mut jobs {
        job.epoch = next_epoch(tx)?;
        let sql = "UPDATE jobs SET epoch = $3, owner = $4, lease_until = $5, waits_for = NULL \
                   WHERE kind = $1 AND subject = $2";
        tx.execute(sql, params![job.kind, job.subject, job.epoch, owner, lease_until])?;
    }
    Ok(jobs)
}

/// Whether this epoch has the job.
pub fn holds(tx: &mut dyn Tx, kind: JobKind, subject: &str, epoch: i64) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM jobs WHERE kind = $1 AND subject = $2 AND epoch = $3";
    Ok(tx.query_opt(sql, params![kind, subject, epoch])?.is_some())
}

/// Renews a lease.
pub fn renew(
    tx: &mut dyn Tx,
    kind: JobKind,
    subject: &str,
    epoch: i64,
    lease_until: Timestamp,
) -> Result<bool, StoreError> {
    // A renewal that comes late, after the job was released, must not take it from whoever comes next.
    let sql = "UPDATE jobs SET lease_until = $4 \
               WHERE kind = $1 AND subject = $2 AND epoch = $3 AND owner IS NOT NULL";
    tx.change(sql, params![kind, subject, epoch, lease_until])
}

/// The job is done.
pub fn finish(tx: &mut dyn Tx, kind: JobKind, subject: &str, epoch: i64) -> Result<bool, StoreError> {
    tx.change("DELETE FROM jobs WHERE kind = $1 AND subject = $2 AND epoch = $3", params![kind, subject, epoch])
}

/// The job got on, and runs again later.
pub fn release(
    tx: &mut dyn Tx,
    kind: JobKind,
    subject: &str,
    epoch: i64,
    due_at: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET owner = NULL, lease_until = 0, due_at = $4, attempts = 0, reason = NULL \
               WHERE kind = $1 AND subject = $2 AND epoch = $3";
    tx.change(sql, params![kind, subject, epoch, due_at])
}

/// The job failed, and is tried again later.
pub fn postpone(
    tx: &mut dyn Tx,
    kind: JobKind,
    subject: &str,
    epoch: i64,
    due_at: Timestamp,
    reason: &str,
) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET owner = NULL, lease_until = 0, due_at = $4, attempts = attempts + 1, reason = $5 \
               WHERE kind = $1 AND subject = $2 AND epoch = $3";
    tx.change(sql, params![kind, subject, epoch, due_at, reason])
}

/// The job runs again when a row settles, or at `due_at`.
pub fn wait_for(
    tx: &mut dyn Tx,
    kind: JobKind,
    subject: &str,
    epoch: i64,
    row: &str,
    due_at: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE jobs SET owner = NULL, lease_until = 0, due_at = $5, waits_for = $4, attempts = 0, \
               reason = NULL WHERE kind = $1 AND subject = $2 AND epoch = $3";
    tx.change(sql, params![kind, subject, epoch, row, due_at])
}

/// A row has settled: whoever waits for it is due.
pub fn wake_waiters(tx: &mut dyn Tx, row: &str, now: Timestamp) -> Result<u64, StoreError> {
    tx.execute("UPDATE jobs SET due_at = $2, waits_for = NULL WHERE waits_for = $1", params![row, now])
}

/// U4: leases of former lives are void, and every job that was claimed is due.
pub fn recover(tx: &mut dyn Tx, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "UPDATE jobs SET owner = NULL, lease_until = 0, due_at = $1 WHERE owner IS NOT NULL";
    tx.execute(sql, params![now])
}

/// The clock went back: what only ever waits for moments is due now, lest it wait for as long as the clock went back.
pub fn bring_forward(tx: &mut dyn Tx, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "UPDATE jobs SET due_at = $1 WHERE due_at > $1 AND owner IS NULL AND waits_for IS NULL \
               AND kind NOT IN ('daily', 'retention', 'purge', 'reap', 'forget', 'incoming')";
    tx.execute(sql, params![now])
}
