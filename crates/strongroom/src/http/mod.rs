//! The API over HTTP/1.1 and HTTP/2, with TLS or without: accepts connections within limits, hands each request to the
//! [`Front`], and drains on request.
//!
//! A connection has [`HEAD_TIMEOUT`] for each head; what hyper refuses before there is a head (garbage, more than twice our
//! own limits) it answers or cuts by itself. Everything after the head is the front's.

mod connection;
mod front;
mod limits;
mod metrics;
mod signing_keys;
mod sts;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use connection::Shared;
pub use front::{Api, Front, Source};
pub use limits::Most;
use metrics::Refused;
pub use tls::TlsFiles;

/// Bytes of a head: request line and headers.
const HEAD_MAX: usize = 32 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a handshake and a head may take, and how long an HTTP/1.1 connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/2 connection may be without a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a call may take, its body included; and how long calls under way may take to end when the server stops.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after an accept that failed: descriptors run out, and come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves; then accepts nothing more and returns when the calls under way have been answered, at the
/// latest after [`CALL_TIMEOUT`].
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, front: Arc<Front>, stop: impl Future<Output = ()>) {
    let shared = Shared { front, tls, head_timeout: HEAD_TIMEOUT, idle_timeout: IDLE_TIMEOUT };
    serve_connections(listener, shared, stop).await;
}

async fn serve_connections(listener: TcpListener, shared: Shared, stop: impl Future<Output = ()>) {
    let shared = Arc::new(shared);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = watch::channel(());
    let accepting = async {
        loop {
            let place = room.clone().acquire_owned().await.expect("never closed");
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(own_place) = shared.front.limits().connect(peer.ip()) else {
                shared.front.metrics().refused(Refused::Connection);
                tracing::debug!(kind = "http", "{} has too many connections: one was closed", peer.ip());
                continue;
            };
            let (shared, stopped) = (shared.clone(), stopped.clone());
            tokio::spawn(async move {
                connection::serve(&shared, stream, peer.ip(), stopped).await;
                drop((own_place, place));
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop((listener, stopping));
    // Every place is free again once every connection has ended.
    let ended = room.acquire_many(CONNECTIONS_MAX as u32);
    let _ = tokio::time::timeout(CALL_TIMEOUT, ended).await;
}

#[cfg(test)]
mod tests;
