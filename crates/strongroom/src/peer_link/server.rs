//! Owns the answering side: accepts connections, learns from the key that TLS proved which region is there, and gives each
//! message to a session of its own, several at once. Before each answer the trust folder is asked again: a peer that is
//! trusted no longer is cut off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use strongroom_engine::copy::message::{Answer, Message};
use strongroom_engine::ports::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::identity::LinkIdentity;
use super::{line, tls, wire};
use crate::trust::Trust;

/// Connections at once; each peer needs one.
const CONNECTIONS: usize = 256;
/// Messages of one connection that are answered at once. Each may hold a chunk.
const ANSWERING: usize = 64;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take to be read by the peer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers the messages of one connection.
pub trait Session: Send + Sync + 'static {
    /// The answer to a message.
    fn answer(self: Arc<Self>, message: Message) -> impl Future<Output = Answer> + Send;
}

impl Session for strongroom_engine::PeerSession {
    async fn answer(self: Arc<Self>, message: Message) -> Answer {
        strongroom_engine::PeerSession::answer(&self, message).await
    }
}

/// Serves connections until the task is dropped. `session` makes the session of a connection with a peer.
///
/// # Errors
/// If the key cannot be used for TLS.
pub async fn serve<S: Session>(
    listener: TcpListener,
    identity: &LinkIdentity,
    trust: Arc<Trust>,
    session: impl Fn(Peer) -> Arc<S> + Send + Sync + 'static,
) -> Result<(), rustls::Error> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::server(identity, trust.clone())?));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let session = Arc::new(session);
    // Dropped with this future, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let place = room.clone().acquire_owned().await.expect("never closed");
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, for the moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, trust, session) = (acceptor.clone(), trust.clone(), session.clone());
        connections.spawn(async move {
            let _place = place;
            if let Err(cause) = answer_connection(stream, acceptor, trust, &*session).await {
                tracing::debug!(kind = "link", "a connection of the region link ended: {cause}");
            }
        });
    }
}

async fn answer_connection<S: Session>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    trust: Arc<Trust>,
    session: impl Fn(Peer) -> Arc<S>,
) -> io::Result<()> {
    line::prepare(&stream)?;
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let shown = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(tls::public_key);
    let shown = shown.ok_or(io::ErrorKind::PermissionDenied)?;
    let known = trust.by_link_key(&shown).ok_or(io::ErrorKind::PermissionDenied)?;
    let peer = known.peer();
    let (reading, writing) = tokio::io::split(stream);
    let (answers, queue) = mpsc::channel(ANSWERING);
    let still_trusted = || trust.by_link_key(&shown).is_some_and(|now| now.region_id == peer.region_id);
    tokio::select! {
        ended = answer_messages(reading, answers, session(peer.clone()), still_trusted) => ended,
        () = write_answers(writing, queue) => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

async fn answer_messages<S: Session>(
    mut stream: impl tokio::io::AsyncRead + Unpin,
    answers: mpsc::Sender<(u64, Answer)>,
    session: Arc<S>,
    still_trusted: impl Fn() -> bool,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(ANSWERING));
    let mut tasks = JoinSet::new();
    loop {
        let place = room.clone().acquire_owned().await.expect("never closed");
        while tasks.try_join_next().is_some() {}
        // A peer may be silent for as long as it likes: its next copy finds the line open.
        let Some((id, message)) = wire::read::<Message, _>(&mut stream).await? else { return Ok(()) };
        if !still_trusted() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the peer is trusted no longer"));
        }
        let (session, answers) = (session.clone(), answers.clone());
        tasks.spawn(async move {
            let answer = session.answer(message).await;
            // The line may be gone meanwhile; the source asks again.
            let _ = answers.send((id, answer)).await;
            drop(place);
        });
    }
}

async fn write_answers(mut stream: impl tokio::io::AsyncWrite + Unpin, mut queue: mpsc::Receiver<(u64, Answer)>) {
    while let Some((id, answer)) = queue.recv().await {
        let Ok(frame) = wire::encode(id, &answer) else {
            tracing::error!(kind = "link", "an answer to a peer is longer than a frame");
            return;
        };
        if !write_in_time(&mut stream, &frame).await {
            return;
        }
    }
}

async fn write_in_time(stream: &mut (impl tokio::io::AsyncWrite + Unpin), frame: &[u8]) -> bool {
    matches!(timeout(WRITE_TIMEOUT, wire::write(stream, frame)).await, Ok(Ok(())))
}
