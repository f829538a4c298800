//! The API over HTTP/1.1: accepts connections within limits, hands each request to the [`Front`], and drains on request.
//!
//! A connection has [`HEAD_TIMEOUT`] for each head; what hyper refuses before there is a head (garbage, more than twice our
//! own limits) it answers or cuts by itself. Everything after the head is the front's.

mod credentials;
mod front;
mod sts;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

pub use credentials::{Credentials, DevCredentials, Principal};
pub use front::{Api, Front};

/// Bytes of a head: request line and headers.
const HEAD_MAX: usize = 32 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a head may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take, its body included; and how long calls under way may take to end when the server stops.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after an accept that failed: descriptors run out, and come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves; then accepts nothing more and returns when the calls under way have been answered, at the
/// latest after [`CALL_TIMEOUT`].
pub async fn serve(listener: TcpListener, front: Arc<Front>, stop: impl Future<Output = ()>) {
    serve_within(HEAD_TIMEOUT, listener, front, stop).await;
}

async fn serve_within(
    head_timeout: Duration,
    listener: TcpListener,
    front: Arc<Front>,
    stop: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = watch::channel(());
    let accepting = async {
        loop {
            let place = room.clone().acquire_owned().await.expect("never closed");
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (front, stopped) = (front.clone(), stopped.clone());
            tokio::spawn(async move {
                serve_connection(head_timeout, stream, peer.ip(), front, stopped).await;
                drop(place);
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

/// Serves one connection to its end; when the server stops, to the end of the call under way.
async fn serve_connection(
    head_timeout: Duration,
    stream: TcpStream,
    peer: IpAddr,
    front: Arc<Front>,
    mut stopped: watch::Receiver<()>,
) {
    // Small answers leave at once; where that cannot be set they only leave later.
    let _ = stream.set_nodelay(true);
    let source_ip: Arc<str> = peer.to_string().into();
    let service = service_fn(move |request| {
        let (front, source_ip) = (front.clone(), source_ip.clone());
        async move { Ok::<_, Infallible>(front.answer(request, &source_ip).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        // Twice our own limits, so that the front can say what is wrong.
        .max_buf_size(2 * HEAD_MAX)
        .max_headers(2 * HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // A connection that breaks has told its client all there is to tell.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
