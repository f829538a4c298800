//! Owns the running of jobs. A job is a row that says what is under way for a subject; whoever holds its lease runs it, and
//! each claim raises its epoch. Every record that a job writes is conditional on its epoch ([`Lease::commit`]), so that a
//! runner that was only slow writes nothing. Any step may run twice or be cut after its effect: each kind of job, in a
//! file of its own, begins by reading where it is. Wake-ups are hints; the scan finds what they miss.

pub(crate) mod cluster_make;
pub(crate) mod cluster_remove;
pub(crate) mod daily;
pub(crate) mod forget;
pub(crate) mod hsm_make;
pub(crate) mod hsm_remove;
pub(crate) mod incoming;
pub(crate) mod init;
pub(crate) mod modify;
pub(crate) mod purge;
pub(crate) mod reap;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod snapshot;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use strongroom_model::Timestamp;
use strongroom_model::time::{HOUR, SECOND};
pub(crate) use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{idempotency, jobs};
use strongroom_store::{Committed, StoreError, Tx, WriteError};

use crate::copy::source;
use crate::ports::HsmsError;
use crate::region::Region;

/// How long a lease lasts, in milliseconds.
pub(crate) const LEASE: i64 = 30 * SECOND;
/// How often a lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// The longest wait between two scans: a wake-up may be missed, a clock may jump.
const SCAN: Duration = Duration::from_secs(1);
/// A clock that goes back by more than this, in milliseconds, has jumped.
const JUMP: i64 = 10 * SECOND;
/// The most jobs that one scan claims.
const CLAIMED: u32 = 256;
/// The longest wait between two attempts, in milliseconds.
const BACK_OFF_MAX: i64 = 30 * SECOND;
/// A time that does not come: the due time of a job that waits for a row.
pub(crate) const LATEST: Timestamp = Timestamp::from_millis(i64::MAX / 2);

/// A job that this process has claimed.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub kind: JobKind,
    pub subject: String,
    pub epoch: i64,
}

/// What becomes of a job when it stops running.
#[derive(Debug)]
pub(crate) enum After {
    /// Its row is gone.
    End,
    /// It runs again at this time.
    Due(Timestamp),
    /// It runs again when that row settles.
    Wait(String),
    /// It goes on running.
    Stay,
}

/// Why a job stopped before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Somebody else has the job.
    Lost,
    /// The store failed: again later.
    Store(StoreError),
    /// The HSM host failed, not for good: again later.
    Hsms(HsmsError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<HsmsError> for Stop {
    fn from(error: HsmsError) -> Self {
        Self::Hsms(error)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("another process has the job"),
            Self::Store(error) => write!(f, "{error}"),
            Self::Hsms(error) => write!(f, "{error}"),
        }
    }
}

/// The right to record what a job did.
pub(crate) struct Lease {
    pub region: Arc<Region>,
    pub claim: Claim,
}

impl Lease {
    /// Runs the closure in a transaction if this lease still holds, and records what becomes of the job.
    pub async fn commit<T, F>(&self, mut closure: F) -> Result<T, Stop>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx, Timestamp) -> Result<(T, After), StoreError> + Send + 'static,
    {
        let (region, claim) = (self.region.clone(), self.claim.clone());
        let committed = self.region.control.write(move |tx| {
            if !jobs::holds(tx, claim.kind, &claim.subject, claim.epoch)? {
                return Err(Stop::Lost);
            }
            let (value, after) = closure(tx, region.now())?;
            let goes_on = matches!(after, After::Stay);
            match after {
                After::End => jobs::finish(tx, claim.kind, &claim.subject, claim.epoch)?,
                After::Due(at) => jobs::release(tx, claim.kind, &claim.subject, claim.epoch, at)?,
                After::Wait(row) => jobs::wait_for(tx, claim.kind, &claim.subject, claim.epoch, &row, LATEST)?,
                After::Stay => true,
            };
            Ok((value, !goes_on))
        });
        let (value, scan) = committed.await.map_err(WriteError::flatten)?.into_inner();
        if scan {
            self.region.wake.notify_one();
        }
        Ok(value)
    }

    /// A commit that ends the run without another row.
    pub async fn stop(&self, after: After) -> Result<(), Stop> {
        let mut after = Some(after);
        self.commit(move |_, now| Ok(((), after.take().unwrap_or(After::Due(now))))).await
    }

    /// When the next attempt is made after `attempts` failed ones.
    pub fn back_off(now: Timestamp, attempts: i64) -> Timestamp {
        now.plus((100 << attempts.clamp(0, 10)).min(BACK_OFF_MAX))
    }
}

/// Voids the leases of former lives, so that every job goes on.
pub(crate) async fn recover(region: &Arc<Region>) -> Result<(), StoreError> {
    let region_in = region.clone();
    let recovered = region.control.write(move |tx| jobs::recover(tx, region_in.now())).await;
    recovered.map(drop).map_err(WriteError::flatten)
}

/// Claims what is due and runs it, until the region stops.
pub(crate) async fn run_due(region: Arc<Region>) {
    let mut last = region.now();
    while !region.is_stopping() {
        let now = region.now();
        if now < last.plus(-JUMP) {
            bring_forward(&region).await;
        }
        last = now;
        match claim_due(&region).await {
            Ok(claims) => {
                let full = claims.len() as u32 == CLAIMED;
                claims.into_iter().for_each(|claim| start(&region, claim));
                if full {
                    continue;
                }
            }
            Err(error) => tracing::warn!(region = %region.name(), %error, "cannot claim jobs"),
        }
        let woken = std::pin::pin!(region.wake.notified());
        future::select(woken, region.clock.sleep(SCAN)).await;
    }
}

async fn bring_forward(region: &Arc<Region>) {
    let region_in = region.clone();
    let moved = region.control.write(move |tx| jobs::bring_forward(tx, region_in.now())).await;
    if let Err(error) = moved.map_err(WriteError::<StoreError>::flatten) {
        tracing::warn!(region = %region.name(), %error, "the clock went back, and jobs wait for it");
    }
}

async fn claim_due(region: &Arc<Region>) -> Result<Vec<Claim>, StoreError> {
    let now = region.now();
    // Most scans find nothing; a read costs no commit.
    if !region.control.read(move |tx| jobs::any_due(tx, now)).await? {
        return Ok(Vec::new());
    }
    let region_in = region.clone();
    let claimed = region
        .control
        .write(move |tx| {
            let now = region_in.now();
            jobs::claim_due(tx, now, &region_in.owner, now.plus(LEASE), CLAIMED)
        })
        .await;
    let claimed = claimed.map_err(WriteError::flatten)?.into_inner();
    Ok(claimed.into_iter().map(|j| Claim { kind: j.kind, subject: j.subject, epoch: j.epoch }).collect())
}

/// Runs a claimed job beside everything else.
pub(crate) fn start(region: &Arc<Region>, claim: Claim) {
    let lease = Lease { region: region.clone(), claim };
    region.spawn.spawn(Box::pin(run(lease)));
}

async fn run(lease: Lease) {
    let renewing = std::pin::pin!(renew(&lease));
    let running = std::pin::pin!(run_kind(&lease));
    let stop = match future::select(running, renewing).await {
        Either::Left((Ok(()), _)) => return,
        Either::Left((Err(stop), _)) => stop,
        Either::Right((stop, _)) => stop,
    };
    if lease.region.is_stopping() || matches!(stop, Stop::Lost) {
        return;
    }
    postpone(&lease, &stop).await;
}

async fn run_kind(lease: &Lease) -> Result<(), Stop> {
    match lease.claim.kind {
        JobKind::ClusterMake => cluster_make::run(lease).await,
        JobKind::ClusterRemove => cluster_remove::run(lease).await,
        JobKind::Copy => source::run(lease).await,
        JobKind::Daily => daily::run(lease).await,
        JobKind::Forget => forget::run(lease).await,
        JobKind::HsmMake => hsm_make::run(lease).await,
        JobKind::HsmRemove => hsm_remove::run(lease).await,
        JobKind::Incoming => incoming::run(lease).await,
        JobKind::Init => init::run(lease).await,
        JobKind::Modify => modify::run(lease).await,
        JobKind::Purge => purge::run(lease).await,
        JobKind::Reap => reap::run(lease).await,
        JobKind::Restore => restore::run(lease).await,
        JobKind::Retention => retention::run(lease).await,
        JobKind::Snapshot => snapshot::run(lease).await,
        // Roots rotate in a later release; no row of this kind is written yet.
        JobKind::Reseal => lease.stop(After::End).await,
    }
}

/// Renews the lease while the job runs. Returns when it is lost, or when that cannot be known: then the step stops too, and
/// the job is put off under its epoch.
async fn renew(lease: &Lease) -> Stop {
    loop {
        lease.region.clock.sleep(RENEW).await;
        let (region, claim) = (lease.region.clone(), lease.claim.clone());
        let renewed = lease
            .region
            .control
            .write(move |tx| jobs::renew(tx, claim.kind, &claim.subject, claim.epoch, region.now().plus(LEASE)));
        match renewed.await.map_err(WriteError::flatten).map(Committed::into_inner) {
            Ok(true) => {}
            Ok(false) => return Stop::Lost,
            Err(error) => return Stop::Store(error),
        }
    }
}

/// Records that a job goes on later. If even that fails the store is away: the row is left claimed, and tried again here.
async fn postpone(lease: &Lease, stop: &Stop) {
    let Claim { kind, subject, .. } = &lease.claim;
    tracing::debug!(region = %lease.region.name(), ?kind, subject, cause = %stop, "job postponed");
    let reason = stop.to_string();
    for attempt in 0.. {
        let (claim, reason) = (lease.claim.clone(), reason.clone());
        let region = lease.region.clone();
        let postponed = lease.region.control.write(move |tx| {
            let attempts = jobs::attempts(tx, claim.kind, &claim.subject)?;
            let due = Lease::back_off(region.now(), attempts);
            jobs::postpone(tx, claim.kind, &claim.subject, claim.epoch, due, &reason)
        });
        match postponed.await.map_err(WriteError::<StoreError>::flatten) {
            Ok(_) => return lease.region.wake.notify_one(),
            Err(StoreError::Closed) => return,
            Err(_) if lease.region.is_stopping() => return,
            Err(_) => lease.region.clock.sleep(Duration::from_millis(100 << attempt.min(8))).await,
        }
    }
}

/// Removes what has expired, hourly.
pub(crate) async fn sweep(region: Arc<Region>) {
    while !region.is_stopping() {
        let region_in = region.clone();
        let swept = region.control.write(move |tx| idempotency::sweep(tx, region_in.now(), 1_000)).await;
        if let Err(error) = swept.map_err(WriteError::<StoreError>::flatten) {
            tracing::warn!(region = %region.name(), %error, "cannot remove expired invocation ids");
        }
        region.clock.sleep(Duration::from_millis(HOUR as u64)).await;
    }
}
