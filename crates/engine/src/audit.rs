//! Owns the audit trail: one event for each call. The event of a change is written in the transaction that it records
//! ([`append`]); those of reads and of calls that failed wait in memory and are written many at once, within a second. Each
//! life of the region chains its events, and signs the head of its chain each minute and at its end.
//!
//! The order: a call takes its place in the queue, is made, and leaves its event there; where the queue is full the call
//! waits, and no event is lost but by a crash of the process. Events that could not be written are tried again; where
//! the outcome of a write is not known, one may be there twice, under one eventID.

mod event;

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::select;
use strongroom_model::call::{Call, Operation, Reply};
use strongroom_model::time::MINUTE;
use strongroom_model::{ApiError, ErrorKind, Timestamp};
use strongroom_store::control::audit::{self, Records, Signature};
use strongroom_store::{StoreError, Tx, WriteError, chain};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use self::event::{Asked, Came};
use crate::caller::Caller;
use crate::region::Region;

pub(crate) use self::event::room;

/// The events that may wait; a further call waits with them.
const WAITING_MAX: usize = 10_000;
/// So many are written at once, without waiting for more.
const ENOUGH: usize = 512;
/// How long an event waits for others.
const WAIT: Duration = Duration::from_millis(250);
/// How often a head that moved is signed, in milliseconds.
const SIGNED_EACH: i64 = MINUTE;

/// The events that wait to be written.
pub(crate) struct Trail {
    places: Semaphore,
    waiting: Mutex<Records>,
    /// The first has come, or the region stops.
    arrived: Notify,
    /// So many have come that they are worth a write.
    enough: Notify,
    /// The eventIDs of this life: the first, which is random, and how many were drawn.
    ids: ([u8; 16], AtomicU64),
}

impl Trail {
    /// `first_id` is random.
    pub(crate) fn new(first_id: [u8; 16]) -> Self {
        Self {
            places: Semaphore::new(WAITING_MAX),
            waiting: Mutex::default(),
            arrived: Notify::new(),
            enough: Notify::new(),
            ids: (first_id, AtomicU64::new(0)),
        }
    }

    /// The first id and a count, added to its last eight bytes: an eventID need only be like no other, and randomness costs.
    fn draw_id(&self) -> [u8; 16] {
        let (mut id, count) = (self.ids.0, self.ids.1.fetch_add(1, Ordering::Relaxed));
        let tail = u64::from_be_bytes(*id.last_chunk().expect("it has 16 bytes"));
        *id.last_chunk_mut().expect("it has 16 bytes") = tail.wrapping_add(count).to_be_bytes();
        id
    }

    fn add(&self, at: Timestamp, event: &str) {
        let count = {
            let mut waiting = self.waiting();
            waiting.push(at, event);
            waiting.len()
        };
        match count {
            1 => self.arrived.notify_one(),
            ENOUGH => self.enough.notify_one(),
            _ => {}
        }
    }

    /// Nobody waits for room any more: what is under way at the end is written with the end.
    pub(crate) fn stop(&self) {
        self.places.close();
        self.arrived.notify_one();
        self.enough.notify_one();
    }

    /// No code of ours panics while it holds the lock, so that a poisoned one is whole.
    fn waiting(&self) -> MutexGuard<'_, Records> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has its place in the queue, and leaves an event there unless its transaction has written one.
pub(crate) struct Entry<'a> {
    region: &'a Region,
    caller: &'a Caller,
    operation: Operation,
    call: Option<&'a Call>,
    at: Timestamp,
    /// None once the region stops.
    place: Option<SemaphorePermit<'a>>,
    is_open: bool,
}

impl<'a> Entry<'a> {
    /// Takes a place, once there is room.
    pub(crate) async fn begin(
        region: &'a Region,
        caller: &'a Caller,
        operation: Operation,
        call: Option<&'a Call>,
    ) -> Self {
        let place = region.trail.places.acquire().await.ok();
        Self { region, caller, operation, call, at: region.now(), place, is_open: true }
    }

    /// Leaves the event; a change that was made has written its own.
    pub(crate) fn end(mut self, error: Option<&ApiError>) {
        self.is_open = false;
        if error.is_some() || self.operation.only_reads() {
            self.leave(error);
        }
    }

    fn leave(&mut self, error: Option<&ApiError>) {
        let input = self.call.map(|call| call.clone().into_value());
        let asked = Asked {
            region: self.region.name(),
            caller: self.caller,
            operation: self.operation,
            input: input.as_ref(),
            event_id: self.region.trail.draw_id(),
            at: self.at,
        };
        let event = event::text(&asked, &Came { error, ..Came::default() });
        // Its place is free again when it is written.
        if let Some(place) = self.place.take() {
            place.forget();
        }
        self.region.trail.add(self.at, &event);
    }
}

/// A read whose caller goes away before its answer was asked for all the same.
impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if self.is_open && self.operation.only_reads() {
            let gone = ApiError::new(ErrorKind::ServiceUnavailable, "The caller went away before the answer.");
            self.leave(Some(&gone));
        }
    }
}

/// What the event of a change needs from outside of its transaction.
pub(crate) struct Change {
    pub call: Call,
    event_id: [u8; 16],
}

impl Change {
    pub(crate) fn new(region: &Region, call: &Call) -> Self {
        Self { call: call.clone(), event_id: region.trail.draw_id() }
    }
}

/// Writes the event of a change, or of a repeat of one, in its transaction.
pub(crate) fn append(
    tx: &mut dyn Tx,
    region: &Region,
    caller: &Caller,
    change: &Change,
    reply: &Reply,
    repeat: bool,
    at: Timestamp,
) -> Result<(), StoreError> {
    let input = change.call.clone().into_value();
    let asked = Asked {
        region: region.name(),
        caller,
        operation: reply.operation(),
        input: Some(&input),
        event_id: change.event_id,
        at,
    };
    let output = reply.clone().into_value();
    let event = event::text(&asked, &Came { output: Some(&output), repeat, error: None });
    audit::append(tx, &region.owner, &Records::one(at, &event))
}

/// Writes what waits, until the region stops, and then the rest.
pub(crate) async fn write(region: Arc<Region>) {
    let mut signed_at = region.now();
    while !region.is_stopping() {
        let trail = &region.trail;
        let minute = Duration::from_millis(SIGNED_EACH.unsigned_abs());
        select(std::pin::pin!(trail.arrived.notified()), region.clock.sleep(minute)).await;
        if !region.is_stopping() {
            select(std::pin::pin!(trail.enough.notified()), region.clock.sleep(WAIT)).await;
        }
        let mut written = flush(&region).await;
        if written.is_ok() && region.now().since(signed_at).abs() >= SIGNED_EACH {
            signed_at = region.now();
            written = sign(&region).await;
        }
        if let Err(error) = written {
            tracing::error!(kind = "audit", region = %region.name(), "audit events wait: {error}");
        }
    }
    // Whoever stops in order asks for it once more, and hears what failed.
    let _ = close(&region).await;
}

/// Writes what is left and signs the head.
pub(crate) async fn close(region: &Region) -> Result<(), StoreError> {
    flush(region).await?;
    sign(region).await
}

async fn flush(region: &Region) -> Result<(), StoreError> {
    let trail = &region.trail;
    let batch = Arc::new(mem::take(&mut *trail.waiting()));
    if batch.is_empty() {
        return Ok(());
    }
    let (records, writer) = (batch.clone(), region.owner.clone());
    let written = region.control.write(move |tx| audit::append(tx, &writer, &records)).await;
    if let Err(error) = written {
        let mut again = Arc::unwrap_or_clone(batch);
        let mut waiting = trail.waiting();
        waiting.iter().for_each(|(at, event)| again.push(at, event));
        *waiting = again;
        drop(waiting);
        trail.arrived.notify_one();
        return Err(WriteError::flatten(error));
    }
    trail.places.add_permits(batch.len());
    Ok(())
}

async fn sign(region: &Region) -> Result<(), StoreError> {
    let writer = region.owner.clone();
    let head = region.control.read(move |tx| audit::head(tx, &writer)).await?;
    let Some(head) = head.filter(|head| head.n > head.signed_n) else { return Ok(()) };
    let at = region.now();
    let signature = Signature {
        hash: head.hash,
        at,
        key_id: chain::key_id(&region.signer.public_key()),
        signature: region.signer.sign(&chain::statement(&region.owner, head.n, &head.hash, at)),
    };
    let writer = region.owner.clone();
    let written = region.control.write(move |tx| audit::sign(tx, &writer, head.n, &signature)).await;
    written.map(drop).map_err(WriteError::flatten)
}
