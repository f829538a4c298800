//! Owns what the source of a copy does (K3 to K9): one exchange, keyed by the copy id and repeatable at will. Each attempt
//! wraps the data key anew, announces, sends what the destination lacks, and asks it to finish. Nothing here decides the
//! outcome: the destination's receipt does, and until it comes the job and the pin stay. At the deadline the copy is
//! overdue and an abort goes out in place of the exchange; it too is only settled by what the destination answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use strongroom_model::copy::CopyState;
use strongroom_model::{CopyId, Timestamp};
use strongroom_store::StoreError;
use strongroom_store::control::backups::{self, Backup};
use strongroom_store::control::blobs;
use strongroom_store::control::copies::{self, Copy, Progress, Step};
use tokio::sync::Notify;

use crate::blob::{Payload, PayloadSource, read_chunk};
use crate::copy::message::{Announce, Answer, Ended, Listing, Message, Reason};
use crate::copy::outgoing;
pub(crate) use crate::copy::session::Sessions;
use crate::copy::session::{Away, Peering};
use crate::job::{After, Lease, Stop};
use crate::ports::{PeerConnection, PeerDown};
use crate::region::Region;

/// Chunks on their way at once.
const IN_FLIGHT: usize = 8;
/// Between two records of progress.
const RECORD: i64 = 1_000;

/// Who waits for the destination's first answer to a copy.
#[derive(Default)]
pub(crate) struct FirstAnswers(Mutex<HashMap<CopyId, Arc<Notify>>>);

impl FirstAnswers {
    /// Begins to wait; whoever began first and all that follow are woken together.
    pub fn expect(&self, copy_id: &CopyId) -> Arc<Notify> {
        self.lock().entry(copy_id.clone()).or_default().clone()
    }

    /// Nobody waits any more.
    pub fn forget(&self, copy_id: &CopyId) {
        self.lock().remove(copy_id);
    }

    fn came(&self, copy_id: &CopyId) {
        if let Some(notify) = self.lock().remove(copy_id) {
            // A permit is stored too, for a caller that has not begun to wait yet.
            notify.notify_waiters();
            notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CopyId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt works on.
struct Attempt<'a> {
    lease: &'a Lease,
    copy: Copy,
    backup: Backup,
    payload: Payload,
    listing: Listing,
    steps: Vec<Step>,
    recorded_at: Timestamp,
    number: i64,
}

/// The chunks of a payload on their way.
struct Chunks<'a> {
    region: &'a Region,
    payload: &'a Payload,
    copy_id: &'a str,
    /// Held by the one whose bytes count against the rate.
    turn: tokio::sync::Mutex<()>,
}

/// Why a chunk has no answer.
enum Unsent {
    /// It cannot be read, or is not what the manifest says.
    Changed,
    Store(StoreError),
    Down(PeerDown),
}

impl Chunks<'_> {
    async fn send(&self, connection: &dyn PeerConnection, n: u32) -> Result<Answer, Unsent> {
        let bytes = match read_chunk(self.region, self.payload, n).await {
            Ok(bytes) => bytes,
            Err(StoreError::Corrupt(_) | StoreError::Other(_)) => return Err(Unsent::Changed),
            Err(error) => return Err(Unsent::Store(error)),
        };
        if let Some(rate) = self.region.settings.copy_max_rate {
            let _turn = self.turn.lock().await;
            self.region.clock.sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
        }
        // The destination holds the chunk against the manifest, so that it is not done here too.
        match connection.ask(Message::Chunk { copy_id: self.copy_id.to_owned(), n, bytes }).await {
            Ok(Answer::Retry(reason)) if reason.code == "bad-chunk" => Err(Unsent::Changed),
            answer => answer.map_err(Unsent::Down),
        }
    }
}

/// Why an attempt ended without a receipt.
enum Pause {
    /// Again at this time, for this reason.
    Until(Timestamp, Reason),
    /// The job cannot go on now.
    Stop(Stop),
    /// The source's own bytes do not open.
    Damaged(String),
}

impl From<Stop> for Pause {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<StoreError> for Pause {
    fn from(error: StoreError) -> Self {
        Self::Stop(error.into())
    }
}

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let Some(mut attempt) = load(lease).await? else { return lease.stop(After::End).await };
    let ended = attempt.exchange().await;
    lease.region.first_answers.came(&attempt.copy.copy_id);
    match ended {
        Ok(ended) => attempt.settle(ended).await,
        Err(Pause::Until(due, reason)) => attempt.pause(due, reason).await,
        Err(Pause::Stop(stop)) => Err(stop),
        Err(Pause::Damaged(text)) => attempt.mark_damaged(text).await,
    }
}

async fn load(lease: &Lease) -> Result<Option<Attempt<'_>>, Stop> {
    let copy_id = CopyId::new(&lease.claim.subject);
    let loaded = lease.region.control.read(move |tx| {
        let Some(copy) = copies::get(tx, &copy_id)? else { return Ok(None) };
        if copy.state.is_settled() && !copy.lost {
            return Ok(None);
        }
        let backup = backups::get(tx, &copy.backup_id)?;
        let backup = backup.ok_or_else(|| StoreError::Corrupt(format!("{} has no row, but a copy", copy.backup_id)))?;
        let inline = blobs::get(tx, &copy.blob_id)?.and_then(|b| b.inline);
        Ok::<_, StoreError>(Some((copy, backup, inline)))
    });
    let Some((copy, backup, inline)) = loaded.await? else { return Ok(None) };
    let listing = outgoing::listing(&lease.region, &copy);
    let listing =
        listing.ok_or_else(|| StoreError::Corrupt(format!("{} has facts that cannot be read", copy.copy_id)))?;
    let number = copy.attempt + 1;
    let payload = Payload { blob_id: copy.blob_id.clone(), inline };
    let recorded_at = lease.region.now();
    Ok(Some(Attempt { lease, copy, backup, payload, listing, steps: Vec::new(), recorded_at, number }))
}

impl Attempt<'_> {
    fn region(&self) -> &Arc<Region> {
        &self.lease.region
    }

    /// K3 to K6, or K8.
    async fn exchange(&mut self) -> Result<Ended, Pause> {
        let overdue = self.is_overdue().await?;
        let peer = self.copy.destination_region_id.clone();
        let peering = self.region().sessions.peering(&peer);
        let _place = peering.places.acquire().await.map_err(|_| StoreError::Closed)?;
        if !self.region().peers.list().iter().any(|p| p.region_id == peer) {
            let text = format!("{} is not paired with this region any more", self.copy.destination_region);
            return Err(self.later(Reason::new("no-trust", text)));
        }
        if overdue {
            let connection = self.open(&peering).await?;
            return self
                .abort(&peering, &*connection, Reason::new("deadline", "its source gave up at its deadline"))
                .await;
        }
        if let Some(damage) = self.backup.reason.as_deref().and_then(|r| r.strip_prefix("damaged: ")) {
            let reason = Reason::new("does-not-open", damage);
            let connection = self.open(&peering).await?;
            return self.abort(&peering, &*connection, reason).await;
        }
        let envelope = self.rewrap().await?;
        let connection = self.open(&peering).await?;
        let answer = self.announce(&peering, &*connection, envelope).await?;
        self.follow(&peering, &*connection, answer).await
    }

    /// K8: at the deadline the copy becomes overdue, and never ceases to be.
    async fn is_overdue(&self) -> Result<bool, Stop> {
        if self.copy.overdue || self.copy.lost || self.region().now() < self.copy.deadline_at {
            return Ok(self.copy.overdue && !self.copy.lost);
        }
        let copy_id = self.copy.copy_id.clone();
        self.lease.commit(move |tx, _| Ok((copies::overdue(tx, &copy_id)?, After::Stay))).await?;
        Ok(true)
    }

    /// K3.
    async fn rewrap(&mut self) -> Result<Vec<u8>, Pause> {
        let (Some(header), Some(body)) = (self.backup.header.clone(), self.backup.body.clone()) else {
            return Err(StoreError::Corrupt(format!("{} has no manifest", self.copy.backup_id)).into());
        };
        let destination = &self.copy.destination_region_id;
        let hsms = self.region().hsms.clone();
        match hsms.rewrap(&self.copy.copy_id, &self.copy.backup_id, &header, &body, destination).await {
            Ok(envelope) => {
                let text =
                    format!("to {}'s key (X-Wing), signed; attempt {}", self.copy.destination_region, self.number);
                self.step("re-wrapped", text);
                Ok(envelope)
            }
            Err(error) if error.code.is_retryable() => Err(self.later(Reason::new(error.code.as_str(), error.text))),
            Err(error) => Err(Pause::Damaged(error.text)),
        }
    }

    async fn open(&self, peering: &Peering) -> Result<Arc<dyn PeerConnection>, Pause> {
        let opened = peering.open(self.region(), &self.copy.destination_region_id).await;
        opened.map_err(|away| self.away(away))
    }

    /// K4.
    async fn announce(
        &mut self,
        peering: &Peering,
        connection: &dyn PeerConnection,
        envelope: Vec<u8>,
    ) -> Result<Answer, Pause> {
        let time_left = self.copy.deadline_at.since(self.region().now());
        let announce = Announce {
            copy_id: self.copy.copy_id.as_str().to_owned(),
            attempt: self.number as u32,
            account: self.copy.account.as_str().to_owned(),
            principal: self.copy.principal.clone(),
            listing: self.listing.clone(),
            tags: self.copy.frozen_tags().into_iter().map(|t| (t.key, t.value)).collect(),
            body: self.backup.body.clone().unwrap_or_default(),
            envelope,
            time_left,
            payload: self.payload.inline.clone(),
        };
        let answer = self.ask(peering, connection, Message::Announce(Box::new(announce))).await?;
        self.region().first_answers.came(&self.copy.copy_id);
        match &answer {
            Answer::Retry(reason) => return Err(self.later(reason.clone())),
            _ => self.step("announced", format!("CREATE_IN_PROGRESS in {}", self.copy.destination_region)),
        }
        Ok(answer)
    }

    /// K5, K6: what it lacks is sent and the copy is finished, until it has ended.
    async fn follow(
        &mut self,
        peering: &Peering,
        connection: &dyn PeerConnection,
        mut answer: Answer,
    ) -> Result<Ended, Pause> {
        loop {
            match answer {
                Answer::Ended(ended) => return Ok(ended),
                Answer::Lacks { ranges, .. } => {
                    self.send(peering, connection, &ranges).await?;
                    self.record(CopyState::Checking).await?;
                }
                Answer::Checking { .. } => self.record(CopyState::Checking).await?,
                Answer::Retry(reason) => return Err(self.later(reason)),
                Answer::Unknown => return Err(Pause::Until(self.region().now(), Reason::new("busy", "begun again"))),
                _ => return Err(self.later(Reason::new("peer-down", "the peer does not answer as agreed"))),
            }
            let copy_id = self.copy.copy_id.as_str().to_owned();
            answer = self.ask(peering, connection, Message::Finish { copy_id }).await?;
        }
    }

    /// K5: several chunks are read and under way at once; each that is acknowledged is durable there.
    async fn send(
        &mut self,
        peering: &Peering,
        connection: &dyn PeerConnection,
        ranges: &[(u32, u32)],
    ) -> Result<(), Pause> {
        let total = self.listing.facts.chunks();
        let lacking: u32 = ranges.iter().map(|(first, last)| last.saturating_sub(*first).saturating_add(1)).sum();
        self.copy.chunks_done = i64::from(total.saturating_sub(lacking));
        let (region, payload) = (self.region().clone(), self.payload.clone());
        let copy_id = self.copy.copy_id.as_str().to_owned();
        let chunks =
            Chunks { region: &region, payload: &payload, copy_id: &copy_id, turn: tokio::sync::Mutex::new(()) };
        let mut numbers = ranges.iter().flat_map(|&(first, last)| first..=last.min(total.saturating_sub(1)));
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < IN_FLIGHT {
                let Some(n) = numbers.next() else { break };
                under_way.push(chunks.send(connection, n));
            }
            let Some(sent) = under_way.next().await else { break };
            match sent {
                Ok(Answer::Have { .. }) => self.copy.chunks_done += 1,
                // Settled meanwhile; Finish tells how.
                Ok(Answer::Ended(_)) => break,
                Ok(Answer::Retry(reason)) => return Err(self.later(reason)),
                Ok(_) => return Err(Pause::Until(self.region().now(), Reason::new("busy", "begun again"))),
                Err(Unsent::Changed) => return Err(self.opens_no_more().await),
                Err(Unsent::Store(error)) => return Err(error.into()),
                Err(Unsent::Down(down)) => return Err(self.broke(peering, connection, &down)),
            }
            self.record(CopyState::Sending).await?;
            if self.region().now() >= self.copy.deadline_at && !self.copy.lost {
                return Err(Pause::Until(self.region().now(), Reason::new("deadline", "its time is over")));
            }
        }
        self.step("sent", format!("{total} pieces, {} bytes", self.listing.facts.bytes));
        Ok(())
    }

    /// A chunk is not what the manifest says: the whole backup is opened, to know whether it is damaged.
    async fn opens_no_more(&self) -> Pause {
        let (header, body) = (self.backup.header.as_deref(), self.backup.body.as_deref());
        let mut source = PayloadSource::new(self.region(), &self.payload, self.listing.facts.chunks());
        let (header, body) = (header.unwrap_or_default(), body.unwrap_or_default());
        match self.region().hsms.check(header, body, &mut source).await {
            Ok(_) => Pause::Until(self.region().now(), Reason::new("busy", "a chunk was read wrongly once")),
            Err(error) if error.code.is_retryable() => self.later(Reason::new(error.code.as_str(), error.text)),
            Err(error) => Pause::Damaged(error.text),
        }
    }

    /// K8: the abort; the answer is an outcome, maybe that the copy is ready all the same.
    async fn abort(
        &mut self,
        peering: &Peering,
        connection: &dyn PeerConnection,
        reason: Reason,
    ) -> Result<Ended, Pause> {
        let message = Message::Abort {
            copy_id: self.copy.copy_id.as_str().to_owned(),
            reason,
            account: self.copy.account.as_str().to_owned(),
            listing: Box::new(self.listing.clone()),
        };
        match self.ask(peering, connection, message).await? {
            Answer::Ended(ended) => Ok(ended),
            Answer::Retry(reason) => Err(self.later(reason)),
            _ => Err(self.later(Reason::new("peer-down", "the peer does not answer Abort as agreed"))),
        }
    }

    async fn ask(&self, peering: &Peering, connection: &dyn PeerConnection, message: Message) -> Result<Answer, Pause> {
        connection.ask(message).await.map_err(|down| self.broke(peering, connection, &down))
    }

    fn broke(&self, peering: &Peering, connection: &dyn PeerConnection, down: &PeerDown) -> Pause {
        self.away(peering.broke(connection, &down.0, self.region().now()))
    }

    fn away(&self, away: Away) -> Pause {
        Pause::Until(away.until, away.reason)
    }

    fn later(&self, reason: Reason) -> Pause {
        Pause::Until(Lease::back_off(self.region().now(), self.number), reason)
    }

    fn step(&mut self, name: &str, text: String) {
        self.steps.push(Step { at: self.region().now(), name: name.to_owned(), text });
    }

    /// K9, at most once a second: for display only.
    async fn record(&mut self, state: CopyState) -> Result<(), Stop> {
        let now = self.region().now();
        if (0..RECORD).contains(&now.since(self.recorded_at)) {
            return Ok(());
        }
        self.recorded_at = now;
        let progress = self.progress(state, None);
        let (copy_id, steps) = (self.copy.copy_id.clone(), std::mem::take(&mut self.steps));
        self.lease
            .commit(move |tx, _| {
                copies::add_steps(tx, &copy_id, &steps)?;
                Ok((copies::record(tx, &copy_id, &progress)?, After::Stay))
            })
            .await
            .map(drop)
    }

    fn progress(&self, state: CopyState, next: Option<(Timestamp, Reason)>) -> Progress {
        let (next_attempt_at, reason) = next.unzip();
        let (reason_code, reason) = reason.map(|r| (r.code, r.text)).unzip();
        Progress {
            state,
            attempt: self.number,
            chunks_done: self.copy.chunks_done,
            next_attempt_at,
            reason_code,
            reason,
        }
    }

    /// K7.
    async fn settle(&mut self, ended: Ended) -> Result<(), Stop> {
        let (peer, copy_id) = (self.copy.destination_region_id.clone(), self.copy.copy_id.clone());
        self.step("settled", format!("{}, receipt {} of {}", ended.kind, ended.seq, self.copy.destination_region));
        let (steps, name, taken) =
            (std::mem::take(&mut self.steps), self.region().name().clone(), self.copy.requested_at);
        let destination = self.copy.destination_region.clone();
        let progress = self.progress(CopyState::Checking, None);
        let bytes = self.listing.facts.bytes;
        let settled = self
            .lease
            .commit(move |tx, now| {
                copies::record(tx, &copy_id, &progress)?;
                let state = outgoing::apply(tx, &peer, &ended, steps.clone(), now)?;
                Ok(((state, now.since(taken)), After::End))
            })
            .await?;
        if let (Some(state), took) = settled {
            let copy = &self.copy.copy_id;
            tracing::info!(target: "copy", region = %name, %copy, to = %destination, %state, took_ms = took, bytes, "copy settled");
        }
        Ok(())
    }

    /// K9 at the end of an attempt.
    async fn pause(&mut self, due: Timestamp, reason: Reason) -> Result<(), Stop> {
        let progress = self.progress(CopyState::Waiting, Some((due, reason)));
        let (copy_id, steps) = (self.copy.copy_id.clone(), std::mem::take(&mut self.steps));
        self.lease
            .commit(move |tx, _| {
                copies::add_steps(tx, &copy_id, &steps)?;
                copies::record(tx, &copy_id, &progress)?;
                Ok(((), After::Due(due)))
            })
            .await
    }

    /// The backup is known to be damaged from now on; the next attempt aborts the copy.
    async fn mark_damaged(&mut self, text: String) -> Result<(), Stop> {
        let backup_id = self.copy.backup_id.clone();
        self.lease
            .commit(move |tx, now| {
                backups::set_reason(tx, &backup_id, &format!("damaged: {text}"))?;
                Ok(((), After::Due(now)))
            })
            .await
    }
}
