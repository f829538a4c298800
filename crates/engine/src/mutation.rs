//! Owns the way a call changes something: one transaction that looks the call up by its invocation id, lets the operation
//! decide, and writes its rows, its stored answer, its audit event and the jobs that it needs. Only when that transaction
//! is durable do the jobs start and the caller gets an answer. First it is asked whether the caller may; then the invocation
//! id is looked up, before any check of states, so that a repeat is told what the first was told.

use std::sync::Arc;

use strongroom_model::call::{Call, Operation, Reply};
use strongroom_model::time::DAY;
use strongroom_model::{ApiError, Timestamp};
use strongroom_store::control::{idempotency, jobs};
use strongroom_store::{StoreError, Tx, WriteError};

use crate::audit::{self, Change};
use crate::authorize;
use crate::caller::Caller;
use crate::job::{self, Claim, JobKind};
use crate::pace;
use crate::region::Region;
use crate::stored;

/// How long an invocation id is remembered, in milliseconds.
const REMEMBERED: i64 = DAY;

/// Why a mutation changed nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The operation said no.
    Api(ApiError),
    /// The store failed.
    Store(StoreError),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Api(error) => error,
            Refusal::Store(error) => store_failed(error),
        }
    }
}

/// The answer for a store that failed: retriable, and nothing was changed; or, where what it holds cannot be read, not.
pub(crate) fn store_failed(error: StoreError) -> ApiError {
    let message = match &error {
        StoreError::Corrupt(_) => {
            let text = "Nothing was changed: what this region holds of it cannot be read, and a repeat does not help. The \
                        region's log says what is wrong, under the id of this request.";
            return ApiError::damaged(text, error);
        }
        StoreError::Full(_) => "Nothing was changed: the store is full. Repeat the call when there is room.",
        StoreError::Unknown(_) => {
            "The store failed while it wrote; whether the change was made is not known. Repeat the call."
        }
        _ => "Nothing was changed: the store failed. Repeat the call.",
    };
    ApiError::internal(message, error)
}

/// An open transaction of a mutation.
pub(crate) struct Mutation<'a> {
    pub tx: &'a mut dyn Tx,
    pub region: &'a Region,
    pub caller: &'a Caller,
    /// The time of the call: one for all its rows.
    pub now: Timestamp,
    started: Vec<Claim>,
}

impl Mutation<'_> {
    /// Writes a job that is claimed already and starts after the commit.
    pub fn start(&mut self, kind: JobKind, subject: &str) -> Result<(), StoreError> {
        self.start_waiting(kind, subject, None)
    }

    /// Writes a job that starts after the commit (at a pace like AWS's: later) or, where it waits for a row, when that row settles.
    pub fn start_waiting(&mut self, kind: JobKind, subject: &str, waits_for: Option<&str>) -> Result<(), StoreError> {
        match waits_for {
            Some(row) => jobs::insert_waiting(self.tx, kind, subject, row, job::LATEST),
            None if pace::delay(self.region.settings.pace, kind) > 0 => {
                let due_at = self.now.plus(pace::delay(self.region.settings.pace, kind));
                jobs::schedule(self.tx, kind, subject, due_at)
            }
            None => {
                let until = self.now.plus(job::LEASE);
                let epoch = jobs::insert_claimed(self.tx, kind, subject, &self.region.owner, until)?;
                self.started.push(Claim { kind, subject: subject.to_owned(), epoch });
                Ok(())
            }
        }
    }

    /// Writes a job for later, or moves it there.
    pub fn schedule(&mut self, kind: JobKind, subject: &str, due_at: Timestamp) -> Result<(), StoreError> {
        jobs::schedule(self.tx, kind, subject, due_at)
    }
}

/// Runs a mutation and starts its jobs. `decide` may run more than once and must take every id that it writes from
/// outside.
pub(crate) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    mut decide: impl FnMut(&mut Mutation<'_>) -> Result<Reply, Refusal> + Send + 'static,
) -> Result<Reply, ApiError> {
    let operation = call.operation();
    let key = caller.invocation_id.clone().map(|invocation_id| idempotency::Key {
        account: caller.account.clone(),
        principal: caller.principal.clone(),
        operation: operation.name().to_owned(),
        invocation_id,
        input_digest: stored::input_digest(call),
    });
    let change = Change::new(region, call);
    let (region_in, caller_in) = (region.clone(), caller.clone());
    let committed = region
        .control
        .write(move |tx| {
            let now = region_in.now();
            authorize::check_in(tx, &region_in, &caller_in, &change.call, now)?;
            if let Some(reply) = earlier_answer(tx, operation, key.as_ref(), now)? {
                audit::append(tx, &region_in, &caller_in, &change, &reply, true, now)?;
                return Ok((reply, Vec::new()));
            }
            let mut mutation = Mutation { tx, region: &region_in, caller: &caller_in, now, started: Vec::new() };
            let reply = decide(&mut mutation)?;
            let started = mutation.started;
            if let Some(key) = &key {
                idempotency::insert(tx, key, &stored::reply_to_text(&reply), now, now.plus(REMEMBERED))?;
            }
            audit::append(tx, &region_in, &caller_in, &change, &reply, false, now)?;
            Ok::<_, Refusal>((reply, started))
        })
        .await;
    let (reply, started) = committed.map_err(WriteError::flatten)?.into_inner();
    for claim in started {
        job::start(region, claim);
    }
    Ok(reply)
}

fn earlier_answer(
    tx: &mut dyn Tx,
    operation: Operation,
    key: Option<&idempotency::Key>,
    now: Timestamp,
) -> Result<Option<Reply>, Refusal> {
    let Some(key) = key else { return Ok(None) };
    let Some(text) = idempotency::find(tx, key, now)? else { return Ok(None) };
    let reply = stored::reply_from_text(operation, &text);
    reply
        .map(Some)
        .ok_or_else(|| StoreError::Corrupt(format!("a stored answer of {} cannot be read", operation.name())).into())
}
