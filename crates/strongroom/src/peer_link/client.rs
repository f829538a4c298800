//! Owns the dialling side: the engine's [`Peers`] over the trust folder, with one connection per peer that all copies to it
//! share. A connection that failed is never used again; the next [`Peers::connect`] makes a new one. A peer that is trusted
//! no longer is not dialled, and its open connection is dropped.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustls::pki_types::ServerName;
use strongroom_engine::copy::message::{Answer, Message};
use strongroom_engine::ports::{Peer, PeerConnection, PeerDown, Peers};
use strongroom_model::RegionId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::identity::{LinkIdentity, NAME};
use super::{line, tls, wire};
use crate::region_file::RegionFile;
use crate::trust::Trust;

/// How long a peer may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may take for an answer: more than a chunk of 1 MiB takes on a slow line.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What is heard of a peer without a file.
const NO_TRUST: &str = "no file names this region as trusted";
/// Frames that wait to be written before those who send do.
const QUEUED: usize = 16;

/// The links of one region to those it trusts.
pub struct Links {
    identity: LinkIdentity,
    trust: Arc<Trust>,
    numbers: AtomicU64,
    slots: Mutex<HashMap<RegionId, Arc<Slot>>>,
}

/// The connection to one peer; the lock is held while it is made, so that it is made once.
type Slot = tokio::sync::Mutex<Option<Arc<Connection>>>;

impl Links {
    /// Links that show `identity` to the regions of `trust`.
    pub fn new(identity: LinkIdentity, trust: Arc<Trust>) -> Self {
        Self { identity, trust, numbers: AtomicU64::new(1), slots: Mutex::default() }
    }

    fn slot(&self, peer: &RegionId) -> Arc<Slot> {
        lock(&self.slots).entry(peer.clone()).or_default().clone()
    }

    async fn dial(&self, peer: &RegionFile) -> Result<Arc<Connection>, PeerDown> {
        let down = |cause: io::Error| PeerDown(describe(peer, &cause));
        let config = tls::client(&self.identity, peer.link_keys.clone()).map_err(|e| down(io::Error::other(e)))?;
        let stream = connect(&peer.address, config).await.map_err(down)?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Ok(Connection::start(number, peer.clone(), self.trust.clone(), stream))
    }
}

#[async_trait]
impl Peers for Links {
    fn list(&self) -> Vec<Peer> {
        let peers = self.trust.peers();
        peers.values().map(RegionFile::peer).collect()
    }

    async fn connect(&self, peer: &RegionId) -> Result<Arc<dyn PeerConnection>, PeerDown> {
        let slot = self.slot(peer);
        let mut slot = slot.lock().await;
        let Some(now) = self.trust.peer(peer) else {
            *slot = None;
            return Err(PeerDown(NO_TRUST.into()));
        };
        if let Some(connection) = &*slot
            && connection.peer == now
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        let connection = self.dial(&now).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

async fn connect(address: &str, config: rustls::ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = in_time(CONNECT_TIMEOUT, TcpStream::connect(address)).await?;
    line::prepare(&stream)?;
    let name = ServerName::try_from(NAME).expect("a valid DNS name");
    in_time(HANDSHAKE_TIMEOUT, TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn describe(peer: &RegionFile, cause: &io::Error) -> String {
    let (name, address) = (&peer.name, &peer.address);
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => format!("{name} at {address} refuses connections"),
        io::ErrorKind::TimedOut => format!("{name} at {address} does not answer"),
        io::ErrorKind::InvalidData => format!("{name} at {address} shows another key than its file names: {cause}"),
        _ => format!("{name} at {address} cannot be reached: {cause}"),
    }
}

type Waiting = HashMap<u64, oneshot::Sender<Answer>>;

/// An open connection. Its two tasks end with it, or with the line.
struct Connection {
    number: u64,
    /// As its file was when it was dialled.
    peer: RegionFile,
    trust: Arc<Trust>,
    next: AtomicU64,
    frames: mpsc::Sender<Vec<u8>>,
    end: End,
    tasks: [tokio::task::AbortHandle; 2],
}

impl Connection {
    fn start<S>(number: u64, peer: RegionFile, trust: Arc<Trust>, stream: S) -> Arc<Self>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reading, writing) = tokio::io::split(stream);
        let (frames, queue) = mpsc::channel(QUEUED);
        let end = End::default();
        let reader = tokio::spawn(read_answers(reading, end.clone())).abort_handle();
        let writer = tokio::spawn(write_frames(writing, queue, end.clone())).abort_handle();
        Arc::new(Self { number, peer, trust, next: AtomicU64::new(1), frames, end, tasks: [reader, writer] })
    }

    fn is_closed(&self) -> bool {
        self.end.closed.load(Ordering::Acquire)
    }

    async fn exchange(&self, message: &Message) -> io::Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = wire::encode(id, message)?;
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = lock(&self.end.waiting);
            // Checked under the lock under which the end of the line empties the map.
            if self.is_closed() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            waiting.insert(id, sender);
        }
        let _forget = Forget { waiting: &self.end.waiting, id };
        self.frames.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(receiver.await.map_err(|_| io::ErrorKind::ConnectionReset)?)
    }
}

#[async_trait]
impl PeerConnection for Connection {
    fn number(&self) -> u64 {
        self.number
    }

    async fn ask(&self, message: Message) -> Result<Answer, PeerDown> {
        let RegionFile { name, address, .. } = &self.peer;
        let trusted = self.trust.peer(&self.peer.region_id);
        if trusted.as_ref() != Some(&self.peer) {
            self.end.close();
            return Err(PeerDown(
                trusted.map_or_else(|| NO_TRUST.into(), |_| format!("the file of {name} has changed")),
            ));
        }
        match timeout(ANSWER_TIMEOUT, self.exchange(&message)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(PeerDown(format!("the line to {name} at {address} was cut: {cause}"))),
            Err(_) => {
                self.end.close();
                Err(PeerDown(format!("{name} at {address} gave no answer for {} s", ANSWER_TIMEOUT.as_secs())))
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

/// Takes the place of an answer that nobody waits for any more.
struct Forget<'a> {
    waiting: &'a Mutex<Waiting>,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).remove(&self.id);
    }
}

/// The end of the line: whoever meets it first, either task or one who waited in vain, tells all who wait.
#[derive(Clone, Default)]
struct End {
    waiting: Arc<Mutex<Waiting>>,
    closed: Arc<AtomicBool>,
}

impl End {
    fn close(&self) {
        let mut waiting = lock(&self.waiting);
        self.closed.store(true, Ordering::Release);
        waiting.clear();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

async fn read_answers<S: AsyncRead>(stream: tokio::io::ReadHalf<S>, end: End) {
    let mut stream = stream;
    // An error ends the line like its end does; those who wait are told by `end`.
    while let Ok(Some((id, answer))) = wire::read::<Answer, _>(&mut stream).await {
        if let Some(sender) = lock(&end.waiting).remove(&id) {
            // Who no longer waits needs no answer.
            let _ = sender.send(answer);
        }
    }
}

async fn write_frames<S: AsyncWrite>(
    mut stream: tokio::io::WriteHalf<S>,
    mut queue: mpsc::Receiver<Vec<u8>>,
    _end: End,
) {
    while let Some(frame) = queue.recv().await {
        if wire::write(&mut stream, &frame).await.is_err() {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
