//! Owns a running region: its stores, its seams, its loops. It starts by taking up the jobs of its former life, answers
//! calls ([`Region::call`]) and peers ([`Region::peer_session`]), and stops by handing its jobs back. Decisions are not
//! made here: each operation and each kind of job has a file of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strongroom_model::call::{Call, Operation, Reply};
use strongroom_model::id::base32;
use strongroom_model::time::DAY;
use strongroom_model::{AccountId, ApiError, RegionId, RegionName, Timestamp};
use strongroom_store::control::copies;
use strongroom_store::{Blobs, Database, StoreError, WriteError};
use tokio::sync::Notify;

use crate::audit::{Entry, Trail};
use crate::caller::Caller;
use crate::copy::destination::{Checks, PeerSession};
use crate::copy::source::{FirstAnswers, Sessions};
use crate::ports::{Clock, Hsms, Peer, Peers, Rng, Signer, Spawn};
use crate::{audit, job, operation, outbox, subnet};

/// What is decided for a region from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region's name.
    pub name: RegionName,
    /// The account of those who operate the region: its callers read the whole audit trail.
    pub operator: AccountId,
    /// The /24 in which HSMs get their addresses.
    pub network: [u8; 3],
    /// Milliseconds until the source of a copy gives up.
    pub copy_deadline: i64,
    /// How long CopyBackupToRegion waits for the destination's first answer before its own.
    pub announce_wait: Duration,
    /// How fast states change.
    pub pace: Pace,
    /// Whether `hsm1.medium` exists, for clusters from before its end.
    pub legacy_hsm_types: bool,
    /// The most bytes per second that a copy sends; for tests that want to see one under way.
    pub copy_max_rate: Option<u64>,
}

impl Settings {
    /// The settings of a region in `dev`.
    pub fn new(name: RegionName, network: [u8; 3]) -> Self {
        Self {
            name,
            operator: AccountId::new("000000000000"),
            network,
            copy_deadline: DAY,
            announce_wait: Duration::from_millis(250),
            pace: Pace::AtOnce,
            legacy_hsm_types: false,
            copy_max_rate: None,
        }
    }
}

/// How fast states change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As fast as the work is done.
    AtOnce,
    /// About as slowly as on AWS, times a factor.
    Aws(f64),
}

/// What a region is made of.
pub struct Parts {
    /// What is decided from outside.
    pub settings: Settings,
    /// The control store.
    pub control: Database,
    /// The payloads.
    pub blobs: Arc<dyn Blobs>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub rng: Arc<dyn Rng>,
    /// Tasks.
    pub spawn: Arc<dyn Spawn>,
    /// The HSM host.
    pub hsms: Arc<dyn Hsms>,
    /// The paired regions.
    pub peers: Arc<dyn Peers>,
    /// What signs the audit trail.
    pub signer: Arc<dyn Signer>,
}

/// A running region.
pub struct Region {
    pub(crate) settings: Settings,
    pub(crate) id: RegionId,
    pub(crate) control: Database,
    pub(crate) blobs: Arc<dyn Blobs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) spawn: Arc<dyn Spawn>,
    pub(crate) hsms: Arc<dyn Hsms>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) signer: Arc<dyn Signer>,
    /// This life of this process, in the leases that it takes and the events that it writes.
    pub(crate) owner: String,
    /// Jobs may have become due.
    pub(crate) wake: Notify,
    pub(crate) sessions: Sessions,
    pub(crate) first_answers: FirstAnswers,
    pub(crate) checks: Checks,
    pub(crate) trail: Trail,
    stopping: AtomicBool,
}

impl Region {
    /// Takes up the jobs of a former life and starts the region's loops.
    ///
    /// # Errors
    /// When the control store fails.
    pub async fn start(parts: Parts, id: RegionId) -> Result<Arc<Self>, StoreError> {
        let (mut life, mut first_id) = ([0; 16], [0; 16]);
        parts.rng.fill(&mut life);
        parts.rng.fill(&mut first_id);
        let region = Arc::new(Self {
            settings: parts.settings,
            id,
            control: parts.control,
            blobs: parts.blobs,
            clock: parts.clock,
            rng: parts.rng,
            spawn: parts.spawn,
            hsms: parts.hsms,
            peers: parts.peers,
            signer: parts.signer,
            owner: base32(&life, 25),
            wake: Notify::new(),
            sessions: Sessions::default(),
            first_answers: FirstAnswers::default(),
            checks: Checks::default(),
            trail: Trail::new(first_id),
            stopping: AtomicBool::new(false),
        });
        let name = region.settings.name.clone();
        let defaults = region.control.write(move |tx| subnet::ensure_defaults(tx, &name)).await;
        defaults.map(drop).map_err(WriteError::flatten)?;
        job::recover(&region).await?;
        region.spawn.spawn(Box::pin(audit::write(region.clone())));
        region.spawn.spawn(Box::pin(job::run_due(region.clone())));
        region.spawn.spawn(Box::pin(outbox::follow(region.clone())));
        region.spawn.spawn(Box::pin(job::sweep(region.clone())));
        Ok(region)
    }

    /// Answers a call, and leaves an event of it in the audit trail.
    ///
    /// # Errors
    /// What the caller is to read; the error's cause is for the log.
    pub async fn call(self: &Arc<Self>, caller: &Caller, call: Call) -> Result<Reply, ApiError> {
        let entry = Entry::begin(self, caller, call.operation(), Some(&call)).await;
        let outcome = operation::dispatch(self, caller, &call).await;
        entry.end(outcome.as_ref().err());
        outcome
    }

    /// Leaves an event of a call that was refused before it came here, though it was known who called.
    pub async fn record_refused(&self, caller: &Caller, operation: Operation, error: &ApiError) {
        Entry::begin(self, caller, operation, None).await.end(Some(error));
    }

    /// The answering side of a connection that a peer has opened.
    pub fn peer_session(self: &Arc<Self>, peer: Peer) -> Arc<PeerSession> {
        Arc::new(PeerSession::new(self.clone(), peer))
    }

    /// Begins no further job. Jobs under way are cut by the end of the process, as by a crash, and go on after a restart.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.notify_waiters();
        self.trail.stop();
    }

    /// Makes durable what the audit trail still lacks, and signs it: after [`stop`](Self::stop), and the last call.
    ///
    /// # Errors
    /// When the control store fails; what it lacks is lost with the process.
    pub async fn close_trail(&self) -> Result<(), StoreError> {
        audit::close(self).await
    }

    /// The region's name.
    pub fn name(&self) -> &RegionName {
        &self.settings.name
    }

    /// What the region is.
    pub fn id(&self) -> &RegionId {
        &self.id
    }

    /// How many copies leave this region and are not settled, and when the oldest of them was asked for.
    ///
    /// # Errors
    /// When the control store fails.
    pub async fn copy_backlog(&self) -> Result<(i64, Option<Timestamp>), StoreError> {
        self.control.read(copies::backlog).await
    }

    /// The ARN of a cluster that is about to be made, whose id nobody knows yet.
    pub(crate) fn new_cluster_arn(&self, account: &AccountId) -> String {
        format!("arn:aws:cloudhsm:{}:{account}:cluster/*", self.settings.name)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// `N` random bytes.
    pub(crate) fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill(&mut bytes);
        bytes
    }
}
