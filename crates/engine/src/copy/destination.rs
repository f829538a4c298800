//! Owns what a destination does with a peer's copies (N1 to N8, O1 and O2). It answers from its rows and trusts nothing
//! that is listed: READY needs every chunk recorded, the host's proof, and proved facts equal to the announced ones. The
//! row alone decides the outcome: confirm, cancel, abort and expiry are compare-and-set on it, each with its receipt in
//! the same transaction. A receipt is looked up before anything else. The destination never dials and never starts a
//! check by itself: only for a message on a connection that has exchanged its status.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future;
use strongroom_model::backup::BackupState;
use strongroom_model::time::DAY;
use strongroom_model::{AccountId, BackupId, BlobId, CopyId, RegionId, Tag};
use strongroom_store::control::backups::{Backup, Content};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::receipts::Direction;
use strongroom_store::control::{alarms, backups, blobs, jobs, peers, tags};
use strongroom_store::{StoreError, Tx, WriteError};
use tokio::sync::Notify;

use crate::blob::{Payload, PayloadSource, read_chunk, store_to_hsms};
use crate::copy::behind;
use crate::copy::incoming::{self, facts_of};
use crate::copy::message::{Announce, Answer, Ended, Listing, Message, Reason, ReceiptMark, Told, VERSION};
use crate::copy::receipts;
use crate::ports::{Admitted, ChunkSource, Facts, HsmsCode, HsmsError, Peer};
use crate::region::Region;

/// How much longer than its source a destination waits, in milliseconds.
const SOURCE_LOST: i64 = 7 * DAY;
/// How long a Finish waits for its check before it tells how far it is.
const FINISH_WAIT: Duration = Duration::from_secs(1);
/// How often chunks that changed on disk are asked for again.
const REPAIRS: u32 = 3;
/// The receipts told in one answer.
const RECEIPTS_PAGE: u32 = 256;

/// The answering side of one connection that a peer has opened.
pub struct PeerSession {
    region: Arc<Region>,
    peer: Peer,
    /// Whether this connection has exchanged its status and is not behind.
    open: AtomicBool,
}

/// Checks under way by backup, so that a Finish that is repeated joins the first one's.
#[derive(Default)]
pub(crate) struct Checks(Mutex<HashMap<BackupId, Arc<Check>>>);

struct Check {
    done: AtomicU32,
    total: u32,
    ended: AtomicBool,
    wake: Notify,
}

/// Why a message has no other answer.
enum No {
    Store(StoreError),
    Hsms(HsmsError),
}

impl From<StoreError> for No {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<HsmsError> for No {
    fn from(error: HsmsError) -> Self {
        Self::Hsms(error)
    }
}

impl PeerSession {
    pub(crate) fn new(region: Arc<Region>, peer: Peer) -> Self {
        Self { region, peer, open: AtomicBool::new(false) }
    }

    /// Answers a message. Messages of one connection may be answered side by side.
    pub async fn answer(self: &Arc<Self>, message: Message) -> Answer {
        let answered = match message {
            Message::Status { version, highest } => self.status(version, highest).await,
            Message::Receipts { after } => self.receipts(after).await,
            Message::Tell(told) => self.tell(told).await,
            _ if !self.open.load(Ordering::Acquire) => {
                Ok(retry("behind", "this connection has not exchanged its status"))
            }
            Message::Announce(announce) => self.announce(*announce).await,
            Message::Chunk { copy_id, n, bytes } => self.chunk(CopyId::new(copy_id), n, bytes).await,
            Message::Finish { copy_id } => self.finish(CopyId::new(copy_id)).await,
            Message::Abort { copy_id, reason, account, listing } => {
                self.abort(CopyId::new(copy_id), reason, AccountId::new(account), *listing).await
            }
        };
        answered.unwrap_or_else(|no| self.refusal(no))
    }

    fn refusal(&self, no: No) -> Answer {
        let error = match no {
            No::Store(error) => store_to_hsms(error),
            No::Hsms(error) => error,
        };
        tracing::debug!(region = %self.region.name(), peer = %self.peer.name, %error, "a peer's message is put off");
        let code = if error.code == HsmsCode::Damaged { HsmsCode::Busy } else { error.code };
        retry(code.as_str(), error.text)
    }

    /// O1: whether the receipts given here still hold the highest that the source has.
    async fn status(&self, version: u32, mark: Option<ReceiptMark>) -> Result<Answer, No> {
        if version != VERSION {
            return Ok(retry("busy", format!("this region speaks version {VERSION} of the link, not {version}")));
        }
        let (region, peer) = (self.region.clone(), self.peer.clone());
        let (highest, behind) = self
            .write(move |tx| {
                peers::ensure(tx, &peer.region_id)?;
                let highest = receipts_highest(tx, &peer.region_id)?;
                let held = match &mark {
                    None => true,
                    Some(mark) => strongroom_store::control::receipts::by_seq(
                        tx,
                        Direction::Given,
                        &peer.region_id,
                        mark.seq as i64,
                    )?
                    .is_some_and(|r| {
                        r.kind.as_str() == mark.kind && r.copy_id.as_ref().map_or("", |id| id.as_str()) == mark.copy_id
                    }),
                };
                if !held {
                    let above = mark.as_ref().map_or(0, |m| m.seq as i64).max(highest) + 1;
                    peers::fall_behind(tx, &peer.region_id, above, region.now())?;
                    alarms::raise(
                        tx,
                        "behind",
                        peer.region_id.as_str(),
                        "this region came back on an old disk",
                        region.now(),
                    )?;
                }
                Ok((highest, !held || peers::is_behind(tx, &peer.region_id)?))
            })
            .await?;
        self.open.store(!behind, Ordering::Release);
        Ok(Answer::Status { version: VERSION, highest: highest as u64, behind })
    }

    async fn receipts(&self, after: u64) -> Result<Answer, No> {
        let peer = self.peer.region_id.clone();
        let page = self.region.control.read(move |tx| {
            strongroom_store::control::receipts::page(tx, Direction::Given, &peer, after as i64, RECEIPTS_PAGE)
        });
        let page: Vec<_> = page.await.map_err(|e: StoreError| e)?;
        let more = page.len() as u32 == RECEIPTS_PAGE;
        Ok(Answer::Receipts { receipts: page.into_iter().map(receipts::ended).collect(), more })
    }

    /// O2: the source tells what this region once told it. Nothing is destroyed at a peer's word.
    async fn tell(&self, told: Told) -> Result<Answer, No> {
        let (region, peer) = (self.region.clone(), self.peer.clone());
        let answer = self
            .write(move |tx| {
                let now = region.now();
                match &told {
                    Told::Receipt { receipt, account, listing } => {
                        behind::told(tx, &region, &peer, receipt, account, listing.as_deref(), now)
                    }
                    Told::Done { highest } => {
                        peers::raise_next_seq(tx, &peer.region_id, *highest as i64 + 1)?;
                        if peers::catch_up(tx, &peer.region_id)? {
                            receipts::give_resumed(tx, &peer.region_id, now)?;
                        }
                        Ok(Answer::Held)
                    }
                }
            })
            .await?;
        if matches!(answer, Answer::Held) {
            let peer = self.peer.region_id.clone();
            let behind = self.region.control.read(move |tx| peers::is_behind(tx, &peer)).await?;
            self.open.store(!behind, Ordering::Release);
        }
        Ok(answer)
    }

    /// N1 to N3, and N5 and N6 where the payload came along.
    async fn announce(&self, announce: Announce) -> Result<Answer, No> {
        if let Err(fault) = incoming::plausible(&announce) {
            return Ok(retry("rejected", fault));
        }
        let announce = Arc::new(announce);
        let listed = self.list(announce.clone()).await?;
        let backup = match listed {
            Listed::Settled(ended) => return Ok(Answer::Ended(ended)),
            Listed::Conflict => return Ok(retry("conflict", "this copy id was announced with another manifest")),
            Listed::Open(backup) => *backup,
        };
        if let Some(payload) = &announce.payload {
            return self.admit_and_settle(&backup, &announce, payload).await;
        }
        if backup.header.is_none()
            && let Some(ended) = self.admit(&backup, &announce).await?
        {
            return Ok(Answer::Ended(ended));
        }
        self.lacks(&backup).await
    }

    /// N1.
    async fn list(&self, announce: Arc<Announce>) -> Result<Listed, No> {
        let (region, peer) = (self.region.clone(), self.peer.clone());
        let blob_id = BlobId::from_bytes(region.draw());
        let listed = self.write(move |tx| {
            let copy_id = CopyId::new(&*announce.copy_id);
            if let Some(ended) = receipts::outcome(tx, &peer.region_id, &copy_id)? {
                return Ok(Listed::Settled(ended));
            }
            if let Some(backup) = backups::by_copy(tx, &peer.region_id, &copy_id)? {
                if backup.digest.as_deref() == Some(&announce.listing.facts.digest[..]) {
                    return Ok(Listed::Open(Box::new(backup)));
                }
                alarms::raise(tx, "conflict", copy_id.as_str(), "announced with another manifest", region.now())?;
                return Ok(Listed::Conflict);
            }
            let now = region.now();
            let mut backup = incoming::listed(tx, &region, &peer, &copy_id, &announce.account, &announce.listing)?;
            if !peer.may_send_for(&announce.account) {
                let (here, account, there) = (region.name(), &announce.account, &peer.name);
                let text = format!("{here} takes no copies of account {account} from {there}");
                let ended = incoming::insert_deleted(tx, backup, &Reason::new("rejected", text), now)?;
                return Ok(Listed::Settled(ended));
            }
            backup.state = BackupState::CreateInProgress;
            backup.blob_id = Some(blob_id.clone());
            backup.body = Some(announce.body.clone());
            backup.deadline_at = Some(now.plus(announce.time_left.max(0)).plus(SOURCE_LOST));
            let facts = &announce.listing.facts;
            let upto = if announce.payload.is_some() { 0 } else { facts.chunks() };
            blobs::insert_writing(tx, &blob_id, &format!("incoming:{}", backup.backup_id), upto)?;
            backups::insert(tx, &backup)?;
            let frozen: Vec<Tag> =
                announce.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
            tags::put(tx, backup.backup_id.as_str(), &frozen)?;
            jobs::schedule(tx, JobKind::Incoming, backup.backup_id.as_str(), backup.deadline_at.unwrap_or(now))?;
            Ok(Listed::Open(Box::new(backup)))
        });
        listed.await
    }

    /// N2, N3: the envelope is proved and the data key sealed under our own root. `Some` where that settled the copy.
    async fn admit(&self, backup: &Backup, announce: &Announce) -> Result<Option<Ended>, No> {
        let admitted = self.ask_to_admit(announce, None).await;
        let Admitted { header, facts } = match admitted {
            Ok(admitted) => admitted,
            Err(error) if error.code.is_retryable() => return Err(error.into()),
            Err(error) => return self.settle_deleted(backup, "rejected", error.text).await.map(Some),
        };
        if facts != announce.listing.facts {
            let text = "what the envelope proves is not what was announced";
            return self.settle_deleted(backup, "rejected", text.into()).await.map(Some);
        }
        let backup_id = backup.backup_id.clone();
        self.write(move |tx| backups::admitted(tx, &backup_id, &header, &facts.to_bytes())).await?;
        Ok(None)
    }

    /// N2, N3, N5, N6 in one: the payload came with the announcement.
    async fn admit_and_settle(&self, backup: &Backup, announce: &Announce, payload: &[u8]) -> Result<Answer, No> {
        let ended = match self.ask_to_admit(announce, Some(payload)).await {
            Ok(admitted) if admitted.facts == announce.listing.facts => {
                self.settle_ready(backup, admitted.header, admitted.facts, Some(payload.to_vec())).await?
            }
            Ok(_) => {
                let text = "what the payload proves is not what was announced";
                self.settle_deleted(backup, "rejected", text.into()).await?
            }
            Err(error) if error.code.is_retryable() => return Err(error.into()),
            Err(error) => self.settle_deleted(backup, final_code(error.code), error.text).await?,
        };
        Ok(Answer::Ended(ended))
    }

    async fn ask_to_admit(&self, announce: &Announce, payload: Option<&[u8]>) -> Result<Admitted, HsmsError> {
        let copy_id = CopyId::new(&*announce.copy_id);
        let peer = &self.peer.region_id;
        self.region.hsms.admit(peer, &copy_id, &announce.envelope, &announce.body, payload).await
    }

    /// N4: a chunk is recorded when it is durable and what the manifest says.
    async fn chunk(&self, copy_id: CopyId, n: u32, bytes: Vec<u8>) -> Result<Answer, No> {
        let Some(backup) = self.find(&copy_id).await? else { return Ok(Answer::Unknown) };
        if let Some(ended) = self.outcome(&copy_id).await? {
            return Ok(Answer::Ended(ended));
        }
        let (Some(facts), Some(blob_id)) = (facts_of(&backup), backup.blob_id.clone()) else {
            return Ok(Answer::Unknown);
        };
        let told = digest(&SHA256, &bytes);
        if facts.chunk_digest(n) != Some(told.as_ref()) {
            return Ok(retry("bad-chunk", format!("chunk {n} is not what the manifest says")));
        }
        let length = bytes.len() as i64;
        self.region.blobs.put_chunk(&blob_id, n, bytes).await?;
        let row = blobs::ChunkRow { n, digest: told.as_ref().to_vec(), length };
        let backup_id = backup.backup_id.clone();
        let recorded = self.write(move |tx| {
            let open = backups::is_in_progress(tx, &backup_id)?;
            if open {
                blobs::record_chunk(tx, &blob_id, &row)?;
            }
            Ok(open)
        });
        if recorded.await? {
            return Ok(Answer::Have { n });
        }
        Ok(self.outcome(&copy_id).await?.map_or(Answer::Unknown, Answer::Ended))
    }

    /// N5, N6: the stored bytes are opened, and the outcome is written.
    async fn finish(self: &Arc<Self>, copy_id: CopyId) -> Result<Answer, No> {
        if let Some(ended) = self.outcome(&copy_id).await? {
            return Ok(Answer::Ended(ended));
        }
        let Some(backup) = self.find(&copy_id).await? else { return Ok(Answer::Unknown) };
        if backup.header.is_none() {
            return Ok(Answer::Unknown);
        }
        if let Answer::Lacks { backup_id, ranges } = self.lacks(&backup).await?
            && !ranges.is_empty()
        {
            return Ok(Answer::Lacks { backup_id, ranges });
        }
        let check = self.join_or_start(backup);
        self.wait_for(&check).await;
        match self.outcome(&copy_id).await? {
            Some(ended) => Ok(Answer::Ended(ended)),
            None if check.ended.load(Ordering::Acquire) => match self.find(&copy_id).await? {
                Some(backup) => self.lacks(&backup).await,
                None => Ok(Answer::Unknown),
            },
            None => Ok(Answer::Checking { done: check.done.load(Ordering::Relaxed), total: check.total }),
        }
    }

    fn join_or_start(self: &Arc<Self>, backup: Backup) -> Arc<Check> {
        let mut checks = self.region.checks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checks.get(&backup.backup_id) {
            return check.clone();
        }
        let total = facts_of(&backup).map_or(0, |f| f.chunks());
        let check =
            Arc::new(Check { done: AtomicU32::new(0), total, ended: AtomicBool::new(false), wake: Notify::new() });
        checks.insert(backup.backup_id.clone(), check.clone());
        let (session, running) = (self.clone(), check.clone());
        self.region.spawn.spawn(Box::pin(async move {
            let backup_id = backup.backup_id.clone();
            if let Err(No::Store(error)) = session.check(&backup, &running).await {
                tracing::warn!(region = %session.region.name(), backup = %backup_id, %error, "a check is put off");
            }
            let mut checks = session.region.checks.0.lock().unwrap_or_else(PoisonError::into_inner);
            checks.remove(&backup_id);
            drop(checks);
            running.ended.store(true, Ordering::Release);
            running.wake.notify_waiters();
        }));
        check
    }

    async fn wait_for(&self, check: &Check) {
        let woken = std::pin::pin!(check.wake.notified());
        if !check.ended.load(Ordering::Acquire) {
            future::select(woken, self.region.clock.sleep(FINISH_WAIT)).await;
        }
    }

    async fn check(&self, backup: &Backup, check: &Check) -> Result<(), No> {
        let (Some(header), Some(body), Some(listing), Some(blob_id)) =
            (&backup.header, &backup.body, facts_of(backup), backup.blob_id.clone())
        else {
            return Ok(());
        };
        let payload = Payload { blob_id: blob_id.clone(), inline: None };
        let mut source = CountedSource { source: PayloadSource::new(&self.region, &payload, listing.chunks()), check };
        let proved = self.region.hsms.check(header, body, &mut source).await;
        let is_damaged = matches!(&proved, Err(error) if error.code == HsmsCode::Damaged);
        if is_damaged && let Some(n) = self.changed_chunk(&payload, &listing).await? {
            let backup_id = backup.backup_id.clone();
            let rounds = self.write(move |tx| {
                blobs::forget_chunk(tx, &blob_id, n)?;
                backups::count_repair(tx, &backup_id)
            });
            if i64::from(REPAIRS) >= rounds.await? {
                return Ok(());
            }
            let text = format!("chunk {n} changed on this region's disk {REPAIRS} times");
            return self.settle_deleted(backup, "does-not-open", text).await.map(drop);
        }
        match proved {
            Ok(facts) if facts == listing => self.settle_ready(backup, header.clone(), facts, None).await.map(drop),
            Ok(_) => {
                let text = "what the payload proves is not what was announced";
                self.settle_deleted(backup, "rejected", text.into()).await.map(drop)
            }
            Err(error) if error.code.is_retryable() => Err(error.into()),
            Err(error) => self.settle_deleted(backup, final_code(error.code), error.text).await.map(drop),
        }
    }

    /// The first chunk that is not what it was when it was recorded.
    async fn changed_chunk(&self, payload: &Payload, facts: &Facts) -> Result<Option<u32>, No> {
        for n in 0..facts.chunks() {
            match read_chunk(&self.region, payload, n).await {
                Ok(bytes) if facts.chunk_digest(n) == Some(digest(&SHA256, &bytes).as_ref()) => {}
                Ok(_) | Err(StoreError::Corrupt(_)) => return Ok(Some(n)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// N6, the good end. Whoever settled the copy before has the word: its receipt is the answer.
    async fn settle_ready(
        &self,
        backup: &Backup,
        header: Vec<u8>,
        facts: Facts,
        inline: Option<Vec<u8>>,
    ) -> Result<Ended, No> {
        let (region, peer, backup) = (self.region.clone(), self.peer.region_id.clone(), backup.clone());
        let (backup_id, copy) = (backup.backup_id.clone(), backup.copy_id.clone());
        let ended = self
            .write(move |tx| {
                let copy_id = incoming::copy_id_of(&backup)?;
                if let Some(ended) = receipts::outcome(tx, &peer, &copy_id)? {
                    return Ok(ended);
                }
                let now = region.now();
                let blob_id = incoming::blob_id_of(&backup)?;
                if inline.is_none() && blobs::chunk_count(tx, &blob_id)? != facts.chunks() {
                    return Err(StoreError::Busy("a chunk went missing while it was checked".into()));
                }
                let chunks = inline.as_ref().map(|bytes| {
                    vec![blobs::ChunkRow { n: 0, digest: facts.chunk_digests.clone(), length: bytes.len() as i64 }]
                });
                blobs::durable(tx, &blob_id, inline.as_deref(), &chunks.unwrap_or_default())?;
                let bytes = facts.to_bytes();
                let body = backup.body.as_deref().unwrap_or_default();
                let content = Content { digest: &facts.digest, body, header: &header, facts: &bytes, opened_at: now };
                if !backups::ready(tx, &backup.backup_id, &content)? {
                    return Err(StoreError::Corrupt("an unsettled copy is in no unsettled state".into()));
                }
                jobs::remove(tx, JobKind::Incoming, backup.backup_id.as_str())?;
                receipts::give_ready(tx, &backup, now)
            })
            .await?;
        tracing::debug!(region = %self.region.name(), backup = %backup_id, copy = ?copy, outcome = ended.kind, "copy settled");
        Ok(ended)
    }

    /// N3 and N6, the bad end.
    async fn settle_deleted(&self, backup: &Backup, code: &str, text: String) -> Result<Ended, No> {
        let (region, backup, reason) = (self.region.clone(), backup.clone(), Reason::new(code, text));
        tracing::warn!(region = %region.name(), backup = %backup.backup_id, reason = reason.text, "copy ends {}", code);
        self.write(move |tx| incoming::delete_unsettled(tx, &backup, &reason, region.now())).await
    }

    /// N8.
    async fn abort(&self, copy_id: CopyId, reason: Reason, account: AccountId, listing: Listing) -> Result<Answer, No> {
        let (region, peer) = (self.region.clone(), self.peer.clone());
        let ended = self.write(move |tx| {
            let now = region.now();
            if let Some(ended) = receipts::outcome(tx, &peer.region_id, &copy_id)? {
                return Ok(ended);
            }
            match backups::by_copy(tx, &peer.region_id, &copy_id)? {
                Some(backup) => incoming::delete_unsettled(tx, &backup, &reason, now),
                None => {
                    let backup = incoming::listed(tx, &region, &peer, &copy_id, account.as_str(), &listing)?;
                    incoming::insert_deleted(tx, backup, &reason, now)
                }
            }
        });
        Ok(Answer::Ended(ended.await?))
    }

    async fn lacks(&self, backup: &Backup) -> Result<Answer, No> {
        let (Some(facts), Some(blob_id)) = (facts_of(backup), backup.blob_id.clone()) else {
            return Ok(Answer::Unknown);
        };
        let held =
            self.region.control.read(move |tx| blobs::chunk_numbers(tx, &blob_id)).await.map_err(|e: StoreError| e)?;
        let ranges = incoming::ranges_without(&held, facts.chunks());
        Ok(incoming::lacks(&backup.backup_id, ranges))
    }

    async fn find(&self, copy_id: &CopyId) -> Result<Option<Backup>, No> {
        let (peer, copy_id) = (self.peer.region_id.clone(), copy_id.clone());
        Ok(self
            .region
            .control
            .read(move |tx| backups::by_copy(tx, &peer, &copy_id))
            .await
            .map_err(|e: StoreError| e)?)
    }

    async fn outcome(&self, copy_id: &CopyId) -> Result<Option<Ended>, No> {
        let (peer, copy_id) = (self.peer.region_id.clone(), copy_id.clone());
        Ok(self.region.control.read(move |tx| receipts::outcome(tx, &peer, &copy_id)).await?)
    }

    async fn write<T: Send + 'static>(
        &self,
        closure: impl FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, No> {
        let committed = self.region.control.write(closure).await;
        let value = committed.map_err(WriteError::flatten)?.into_inner();
        self.region.wake.notify_one();
        Ok(value)
    }
}

enum Listed {
    Settled(Ended),
    Open(Box<Backup>),
    Conflict,
}

/// Gives the stored chunks to a check, and counts them.
struct CountedSource<'a> {
    source: PayloadSource<'a>,
    check: &'a Check,
}

#[async_trait]
impl ChunkSource for CountedSource<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, HsmsError> {
        let chunk = self.source.next().await?;
        self.check.done.fetch_add(u32::from(chunk.is_some()), Ordering::Relaxed);
        Ok(chunk)
    }
}

fn receipts_highest(tx: &mut dyn Tx, peer: &RegionId) -> Result<i64, StoreError> {
    Ok(strongroom_store::control::receipts::highest(tx, Direction::Given, peer)?.map_or(0, |r| r.seq))
}

/// The reason with which a final no of the host ends a copy.
fn final_code(code: HsmsCode) -> &'static str {
    match code {
        HsmsCode::Rejected | HsmsCode::Invalid | HsmsCode::Conflict => "rejected",
        _ => "does-not-open",
    }
}

fn retry(code: &str, text: impl Into<String>) -> Answer {
    Answer::Retry(Reason::new(code, text))
}
