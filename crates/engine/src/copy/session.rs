//! Owns the source's connections to its peers: one for each, dialled when a copy needs it and opened by exchanging the
//! status and reading the receipts that were given meanwhile. A peer that does not answer is probed by one copy at a time,
//! ever more rarely, and everybody else waits for that; when it answers again its copies go on at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strongroom_model::time::SECOND;
use strongroom_model::{RegionId, Timestamp};
use strongroom_store::control::receipts::Direction;
use strongroom_store::control::{alarms, copies, peers, receipts as rows};
use strongroom_store::{StoreError, WriteError};
use tokio::sync::Semaphore;

use crate::copy::message::{Answer, Ended, Message, Reason, ReceiptMark, Told, VERSION};
use crate::copy::{outgoing, receipts};
use crate::job::Stop;
use crate::ports::PeerConnection;
use crate::region::Region;

/// The most copies that are under way to one peer at once.
const UNDER_WAY: usize = 64;
/// The first pause after a failure, in milliseconds; each further one is twice as long.
const PAUSE_FIRST: i64 = 250;
/// The longest pause.
const PAUSE_MAX: i64 = 30 * SECOND;

/// The sessions of a region, by peer.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<RegionId, Arc<Peering>>>);

/// What this process knows of a peer.
pub(crate) struct Peering {
    /// Places for copies under way.
    pub places: Semaphore,
    /// Held while dialling, so that one copy probes and the others wait for it.
    dialling: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<dyn PeerConnection>>,
    failures: u32,
    failed_since: Option<Timestamp>,
    next_probe: Option<Timestamp>,
    cause: String,
}

/// Why there is no session, and when to ask again.
pub(crate) struct Away {
    pub reason: Reason,
    pub until: Timestamp,
}

impl Sessions {
    /// What is known of a peer.
    pub fn peering(&self, peer: &RegionId) -> Arc<Peering> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Peering {
                places: Semaphore::new(UNDER_WAY),
                dialling: tokio::sync::Mutex::new(()),
                state: Mutex::default(),
            })
        };
        peers.entry(peer.clone()).or_insert_with(new).clone()
    }

    /// Whether the last attempt to reach a peer failed.
    pub fn is_away(&self, peer: &RegionId) -> bool {
        self.peering(peer).lock().failures > 0
    }
}

impl Peering {
    /// The open connection, or a new one whose status and receipts have been exchanged.
    pub async fn open(&self, region: &Arc<Region>, peer: &RegionId) -> Result<Arc<dyn PeerConnection>, Away> {
        if let Some(answer) = self.known(region.now()) {
            return answer;
        }
        let _dialling = self.dialling.lock().await;
        if let Some(answer) = self.known(region.now()) {
            return answer;
        }
        let opened = self.dial(region, peer).await;
        let now = region.now();
        match opened {
            Ok(connection) => {
                let was_away = {
                    let mut state = self.lock();
                    let was_away = state.failures > 0;
                    *state = State { connection: Some(connection.clone()), ..State::default() };
                    was_away
                };
                if was_away {
                    go_on(region, peer).await;
                }
                Ok(connection)
            }
            Err(reason) => Err(self.fail(reason, now)),
        }
    }

    /// Notes that a connection broke, unless another has taken its place.
    pub fn broke(&self, connection: &dyn PeerConnection, cause: &str, now: Timestamp) -> Away {
        let current = self.lock().connection.as_ref().map(|c| c.number());
        if current.is_some_and(|number| number != connection.number()) {
            return Away { reason: Reason::new("peer-down", cause), until: now };
        }
        self.fail(Reason::new("peer-down", cause), now)
    }

    fn known(&self, now: Timestamp) -> Option<Result<Arc<dyn PeerConnection>, Away>> {
        let state = self.lock();
        if let Some(connection) = &state.connection {
            return Some(Ok(connection.clone()));
        }
        // A clock that jumped back must not keep a peer away for longer than the longest pause.
        let until = state.next_probe.filter(|t| *t > now && t.since(now) <= PAUSE_MAX)?;
        Some(Err(Away { reason: Reason::new("peer-down", state.cause.clone()), until }))
    }

    fn fail(&self, reason: Reason, now: Timestamp) -> Away {
        let mut state = self.lock();
        let pause = (PAUSE_FIRST << state.failures.min(10)).min(PAUSE_MAX);
        state.connection = None;
        state.failures += 1;
        state.failed_since.get_or_insert(now);
        state.next_probe = Some(now.plus(pause));
        state.cause.clone_from(&reason.text);
        Away { reason, until: now.plus(pause) }
    }

    /// K4: dial, exchange the status, read what was given since.
    async fn dial(&self, region: &Arc<Region>, peer: &RegionId) -> Result<Arc<dyn PeerConnection>, Reason> {
        let down = |cause: String| Reason::new("peer-down", cause);
        let connection = region.peers.connect(peer).await.map_err(|e| down(e.0))?;
        let (mark, read_upto) = self.marks(region, peer).await.map_err(|e| Reason::new("no-space", e.to_string()))?;
        let status = Message::Status { version: VERSION, highest: mark };
        match connection.ask(status).await.map_err(|e| down(e.0))? {
            Answer::Status { behind: false, .. } => {}
            Answer::Status { behind: true, .. } => tell_again(region, peer, &*connection).await?,
            Answer::Retry(reason) => return Err(reason),
            _ => return Err(down("the peer does not answer Status as agreed".into())),
        }
        note_answer(region, peer).await?;
        read_receipts(region, peer, &*connection, read_upto).await?;
        Ok(connection)
    }

    async fn marks(&self, region: &Arc<Region>, peer: &RegionId) -> Result<(Option<ReceiptMark>, i64), StoreError> {
        let peer = peer.clone();
        region
            .control
            .read(move |tx| {
                let highest = rows::highest(tx, Direction::Got, &peer)?;
                let mark =
                    highest.map(receipts::ended).map(|e| ReceiptMark { seq: e.seq, copy_id: e.copy_id, kind: e.kind });
                Ok((mark, peers::read_upto(tx, &peer)?))
            })
            .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn note_answer(region: &Arc<Region>, peer: &RegionId) -> Result<(), Reason> {
    let (region_in, peer) = (region.clone(), peer.clone());
    let noted = region.control.write(move |tx| peers::answered(tx, &peer, region_in.now()));
    let noted = noted.await.map(drop).map_err(WriteError::<StoreError>::flatten);
    noted.map_err(|e| Reason::new("no-space", e.to_string()))
}

/// Reads the receipts that the peer gave since, purges included, and applies each.
async fn read_receipts(
    region: &Arc<Region>,
    peer: &RegionId,
    connection: &dyn PeerConnection,
    mut after: i64,
) -> Result<(), Reason> {
    loop {
        let asked = connection.ask(Message::Receipts { after: after as u64 }).await;
        let (page, more) = match asked.map_err(|e| Reason::new("peer-down", e.0))? {
            Answer::Receipts { receipts, more } => (receipts, more),
            Answer::Retry(reason) => return Err(reason),
            _ => return Err(Reason::new("peer-down", "the peer does not answer Receipts as agreed")),
        };
        let Some(last) = page.last().map(|r| r.seq as i64) else { return Ok(()) };
        let (region_in, peer_in) = (region.clone(), peer.clone());
        let applied = region.control.write(move |tx| {
            let now = region_in.now();
            page.iter().try_for_each(|ended| outgoing::apply(tx, &peer_in, ended, Vec::new(), now).map(drop))?;
            peers::set_read_upto(tx, &peer_in, last)
        });
        let applied = applied.await.map(drop).map_err(WriteError::<StoreError>::flatten);
        applied.map_err(|e| Reason::new("no-space", e.to_string()))?;
        if last <= after || !more {
            return Ok(());
        }
        after = last;
    }
}

/// O2: a destination that came back on an old disk is told every receipt that it once gave. What it lost is sent again
/// where the bytes are still here (O3).
async fn tell_again(region: &Arc<Region>, peer: &RegionId, connection: &dyn PeerConnection) -> Result<(), Reason> {
    let down = |cause: String| Reason::new("peer-down", cause);
    let (mut after, mut highest) = (0, 0);
    loop {
        let peer_in = peer.clone();
        let page = region.control.read(move |tx| rows::page(tx, Direction::Got, &peer_in, after, 256));
        let page = page.await.map_err(|e: StoreError| down(e.to_string()))?;
        let Some(last) = page.last().map(|r| r.seq) else { break };
        for receipt in page {
            highest = highest.max(receipt.seq);
            if receipt.copy_id.is_some() {
                tell_one(region, peer, connection, receipts::ended(receipt)).await?;
            }
        }
        after = last;
    }
    let done = Message::Tell(Told::Done { highest: highest as u64 });
    connection.ask(done).await.map(drop).map_err(|e| down(e.0))
}

async fn tell_one(
    region: &Arc<Region>,
    peer: &RegionId,
    connection: &dyn PeerConnection,
    receipt: Ended,
) -> Result<(), Reason> {
    let down = |cause: String| Reason::new("peer-down", cause);
    let copy_id = strongroom_model::CopyId::new(&*receipt.copy_id);
    let id = copy_id.clone();
    let row = region.control.read(move |tx| copies::get(tx, &id)).await.map_err(|e: StoreError| down(e.to_string()))?;
    let account = row.as_ref().map(|c| c.account.as_str().to_owned()).unwrap_or_default();
    let listing = row.as_ref().and_then(|c| outgoing::listing(region, c)).map(Box::new);
    let told = Message::Tell(Told::Receipt { receipt, account, listing });
    if !matches!(connection.ask(told).await.map_err(|e| down(e.0))?, Answer::Missing) {
        return Ok(());
    }
    let (region_in, peer_in) = (region.clone(), peer.clone());
    let lost = region.control.write(move |tx| {
        let now = region_in.now();
        alarms::raise(tx, "lost", copy_id.as_str(), &format!("{peer_in} lost it on an old disk"), now)?;
        outgoing::send_again(tx, &copy_id, now)
    });
    lost.await.map(drop).map_err(|e| down(WriteError::<StoreError>::flatten(e).to_string()))
}

/// The copies that wait for a peer go on now that it answers.
async fn go_on(region: &Arc<Region>, peer: &RegionId) {
    let (region_in, peer) = (region.clone(), peer.clone());
    let hurried = region.control.write(move |tx| copies::hurry(tx, &peer, region_in.now()));
    match hurried.await.map_err(WriteError::<StoreError>::flatten) {
        Ok(_) => region.wake.notify_one(),
        // They go on by themselves, at their own time.
        Err(error) => tracing::debug!(region = %region.name(), cause = %Stop::Store(error), "copies are not hurried"),
    }
}
