//! Owns one connection: TLS where there is a certificate, HTTP/2 where the client speaks it (by ALPN, or by its first bytes
//! where there is no TLS), else HTTP/1.1. In this order: handshake, protocol, requests, end. Each part has its time: a client
//! that says nothing, or goes on saying it slowly, is cut.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::front::{Front, Source};
use super::{HEAD_MAX, HEADERS_MAX};

/// Calls at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Streams that a client may open and reset before it is cut.
const RESETS_MAX: usize = 32;
/// How long an HTTP/2 connection may be silent before it is asked whether it is there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client that speaks HTTP/2 without TLS says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// So much of that tells it from every method.
const PREFACE_MIN: usize = 3;

/// What connections have in common.
pub(super) struct Shared {
    pub front: Arc<Front>,
    pub tls: Option<TlsAcceptor>,
    /// How long a handshake and a head may take, and how long an HTTP/1.1 connection may be idle.
    pub head_timeout: Duration,
    /// How long an HTTP/2 connection may be without a call.
    pub idle_timeout: Duration,
}

/// Serves one connection to its end; when the server stops, to the end of the calls under way.
pub(super) async fn serve(shared: &Shared, stream: TcpStream, peer: IpAddr, stopped: watch::Receiver<()>) {
    // Small answers leave at once; where that cannot be set they only leave later.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = &shared.tls else {
        // Who says nothing, or breaks, has nothing to be told.
        if let Ok(Ok(is_http2)) = timeout(shared.head_timeout, speaks_http2(&stream)).await {
            serve_stream(shared, stream, is_http2, peer, stopped).await;
        }
        return;
    };
    match timeout(shared.head_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve_stream(shared, stream, is_http2, peer, stopped).await;
        }
        Ok(Err(cause)) => tracing::debug!(kind = "http", "a TLS handshake with {peer} failed: {cause}"),
        Err(_) => tracing::debug!(kind = "http", "a TLS handshake with {peer} took too long"),
    }
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let (mut first, mut pause) = ([0; PREFACE_MIN], Duration::from_millis(1));
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n if !PREFACE.starts_with(&first[..n]) => return Ok(false),
            PREFACE_MIN => return Ok(true),
            // The rest is on its way; who never sends it costs a few looks, not a thousand each second.
            _ => {
                sleep(pause).await;
                pause *= 2;
            }
        }
    }
}

async fn serve_stream(
    shared: &Shared,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    is_http2: bool,
    peer: IpAddr,
    stopped: watch::Receiver<()>,
) {
    let source = Source { address: peer, is_secure: shared.tls.is_some() };
    let (front, activity) = (shared.front.clone(), Arc::<Activity>::default());
    let happens = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, busy) = (front.clone(), happens.begin());
        async move {
            let answer: Response<Full<Bytes>> = front.answer(request, source).await;
            drop(busy);
            Ok::<_, Infallible>(answer)
        }
    });
    let stream = TokioIo::new(stream);
    // Twice our own limits of a head, so that the front can say what is wrong.
    if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(2 * HEAD_MAX as u32)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(stream, service);
        drive(connection, http2::Connection::graceful_shutdown, stopped, activity.idle(shared.idle_timeout)).await;
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.head_timeout)
            .max_buf_size(2 * HEAD_MAX)
            .max_headers(2 * HEADERS_MAX)
            .serve_connection(stream, service);
        // The time for the next head is the time that it may be idle.
        drive(connection, http1::Connection::graceful_shutdown, stopped, pending()).await;
    }
}

/// Runs a connection to its end; when the server stops or nothing happens any more, to the end of the calls under way.
async fn drive<C: Future>(
    connection: C,
    end: impl FnOnce(Pin<&mut C>),
    mut stopped: watch::Receiver<()>,
    idle: impl Future<Output = ()>,
) {
    let mut connection = pin!(connection);
    tokio::select! {
        // A connection that breaks has told its client all there is to tell.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => {}
        () = idle => {}
    }
    end(connection.as_mut());
    let _ = connection.await;
}

/// What happens on a connection.
struct Activity {
    under_way: AtomicUsize,
    last: Mutex<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { under_way: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// Resolves when there was no call for so long.
    async fn idle(self: Arc<Self>, limit: Duration) {
        loop {
            let silent = match self.under_way.load(Ordering::Acquire) {
                0 => self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed(),
                _ => Duration::ZERO,
            };
            match limit.checked_sub(silent) {
                Some(left) if !left.is_zero() => sleep(left).await,
                _ => return,
            }
        }
    }
}

/// A call under way.
struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
