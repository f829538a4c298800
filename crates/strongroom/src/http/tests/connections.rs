//! Connections: both versions of HTTP, TLS, and what is cut or told to come again.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// A client over HTTP/2, on whatever stream.
async fn over_http2<S, B>(stream: S) -> hyper::client::conn::http2::SendRequest<B>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin + Send + 'static,
{
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A signed request as a client over HTTP/2 sends it: the host is in its URI alone.
fn request_over_http2(request: &Request) -> hyper::Request<Full<Bytes>> {
    let text = String::from_utf8(request.bytes()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut built = hyper::Request::builder().method("POST");
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        built = match name {
            "host" => built.uri(format!("http://{value}/")),
            "content-length" => built,
            name => built.header(name, value),
        };
    }
    built.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

#[tokio::test]
async fn calls_go_side_by_side_over_http2() {
    let server = Server::start().await;
    let sender = over_http2(TcpStream::connect(server.address).await.unwrap()).await;
    let slow = request_over_http2(&tag());
    let slow = tokio::spawn(sender.clone().send_request(slow));
    server.engine.begun.notified().await;
    let quick = sender.clone().send_request(request_over_http2(&Request::new("DescribeClusters", "{}")));
    assert_eq!(quick.await.unwrap().status(), 200);
    server.engine.let_go.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    // Not signed for this host: the name is under the signature here too.
    let mut foreign = request_over_http2(&Request::new("DescribeClusters", "{}"));
    *foreign.uri_mut() = "http://elsewhere/".parse().unwrap();
    assert_eq!(sender.clone().send_request(foreign).await.unwrap().status(), 400);
}

#[tokio::test]
async fn an_answer_over_http2_waits_for_a_body_that_it_does_not_need() {
    let server = Server::start().await;
    let mut sender = over_http2(TcpStream::connect(server.address).await.unwrap()).await;
    let late = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, Infallible>(hyper::body::Frame::data(Bytes::from("{}")))
    });
    let request = hyper::Request::builder().method("POST").uri("http://127.0.0.1/");
    let request = request.header("content-type", "application/x-amz-json-1.1");
    let request = request.header("x-amz-target", "BaldrApiService.DescribeClusters");
    let body = http_body_util::StreamBody::new(Box::pin(late));
    // Not signed: the answer is known at once.
    let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    let whole = http_body_util::BodyExt::collect(answer.into_body()).await.expect("no reset of the stream").to_bytes();
    assert!(whole.starts_with(br#"{"__type":"MissingAuthenticationTokenException""#));
}

#[tokio::test]
async fn an_http2_connection_without_a_call_is_ended() {
    let server = Server::start_as(true, Duration::from_millis(100)).await;
    let mut sender = over_http2(TcpStream::connect(server.address).await.unwrap()).await;
    let answer = sender.send_request(request_over_http2(&Request::new("DescribeClusters", "{}"))).await.unwrap();
    assert_eq!(answer.status(), 200);
    tokio::time::timeout(Duration::from_secs(10), async {
        while sender.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the server ends it");
}

#[tokio::test]
async fn who_calls_too_much_is_told_to_come_again() {
    let most = Most { connections: 2, calls: 1, calls_of_all: 9 };
    let server = Server::start_on(true, HEAD_TIMEOUT, most, None).await;
    let bytes = tag().bytes();
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(&bytes).await.unwrap();
    server.engine.begun.notified().await;
    let second = server.send(&Request::new("DescribeClusters", "{}")).await;
    assert_eq!((second.status, second.error()), (400, ("ThrottlingException".into(), "Rate exceeded".into())));
    server.engine.let_go.notify_one();
    assert_eq!(read_answer(&mut first).await.status, 200);
    assert_eq!(server.send(&Request::new("DescribeClusters", "{}")).await.status, 200);
    // The third connection is closed, and one that ends makes room.
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(b"P").await.unwrap();
    let is_closed = async || {
        let mut third = TcpStream::connect(server.address).await.unwrap();
        let _ = third.write_all(&Request::new("DescribeClusters", "{}").bytes()).await;
        third.read(&mut [0; 1]).await.map_or(true, |n| n == 0)
    };
    while !is_closed().await {}
    drop(second);
    while is_closed().await {}
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_cut() {
    let server = Server::start_as(true, Duration::from_millis(100)).await;
    for first in [&b""[..], b"P", b"PR"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0; 1])).await.expect("it is cut");
        assert!(read.map_or(true, |n| n == 0), "{first:?}");
    }
}

/// A certificate of its own in two files, and a client that trusts it.
fn certificate(folder: &std::path::Path) -> (TlsFiles, rustls::ClientConfig) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (files, client.with_root_certificates(roots).with_no_client_auth())
}

async fn over_tls(
    server: &Server,
    client: &rustls::ClientConfig,
    protocols: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut client = client.clone();
    // Each shows whom it trusts.
    client.resumption = rustls::client::Resumption::disabled();
    client.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await
}

#[tokio::test]
async fn tls_serves_both_versions_of_http_and_a_certificate_that_was_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (files, client) = certificate(folder.path());
    let acceptor = files.clone().acceptor().unwrap();
    let server = Server::start_on(true, HEAD_TIMEOUT, Most::default(), Some(acceptor)).await;
    let request = Request::new("DescribeClusters", "{}");

    let stream = over_tls(&server, &client, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut sender = over_http2(stream).await;
    assert_eq!(sender.send_request(request_over_http2(&request)).await.unwrap().status(), 200);
    let mut stream = over_tls(&server, &client, &[]).await.unwrap();
    stream.write_all(&request.bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    // What cannot be used changes nothing; what can, serves.
    std::fs::write(&files.key, "not a key").unwrap();
    assert!(over_tls(&server, &client, &[]).await.is_ok());
    let (_, renewed) = certificate(folder.path());
    assert!(over_tls(&server, &client, &[]).await.is_err(), "the former certificate is gone");
    assert!(over_tls(&server, &renewed, &[]).await.is_ok());
    assert!(TlsFiles { certificate: files.key.clone(), ..files }.acceptor().is_err_and(|e| e.contains("key.pem")));
}
