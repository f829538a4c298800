//! Owns the address for those who watch a process, apart from the API so that neither stands in the other's way: `/livez`
//! (it answers), `/readyz` (calls are answered; else why not) and `/metrics` (in Prometheus's text form, OpenMetrics).
//!
//! It asks nobody who they are, so nothing that it says is secret.

mod process;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use process::ProcessMetrics;

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take for a head, and may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever happens on it.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What can be watched.
#[async_trait]
pub trait Watched: Send + Sync {
    /// Why calls are not answered, a line each; empty where they are.
    async fn not_ready(&self) -> Vec<String>;

    /// The metrics as they are now, in OpenMetrics's text form.
    async fn metrics(&self) -> String;
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, watched: Arc<dyn Watched>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = room.clone().acquire_owned().await.expect("never closed");
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let watched = watched.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let watched = watched.clone();
                async move { Ok::<_, Infallible>(answer(&request, watched.as_ref()).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            // Who breaks off comes again.
            let _ = timeout(CONNECTION_MAX, connection).await;
            drop(place);
        });
    }
}

async fn answer(request: &Request<Incoming>, watched: &dyn Watched) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and HEAD only\n".to_owned());
    }
    match request.uri().path() {
        "/livez" => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => {
            let reasons = watched.not_ready().await;
            if reasons.is_empty() {
                return response(StatusCode::OK, TEXT, "ok\n".to_owned());
            }
            response(StatusCode::SERVICE_UNAVAILABLE, TEXT, reasons.join("\n") + "\n")
        }
        "/metrics" => response(StatusCode::OK, OPEN_METRICS, watched.metrics().await),
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /livez, /readyz and /metrics\n".to_owned()),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
