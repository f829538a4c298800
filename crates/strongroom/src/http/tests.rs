//! A running front before a fake engine, spoken to over a socket.

mod connections;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use strongroom_engine::Caller;
use strongroom_engine::ports::Clock;
use strongroom_model::call::{DescribeClustersResponse, TagResourceResponse};
use strongroom_model::{ApiError, Call, Reply, Timestamp};
use strongroom_wire::Head;
use strongroom_wire::sigv4::{SecretKey, Signer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

use super::*;
use crate::identity::Identities;
use crate::layout::Layout;

const NOW: Timestamp = Timestamp::from_millis(1_795_511_647_000);

struct StoppedClock;

#[async_trait]
impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn sleep(&self, _: Duration) {}
}

/// Counts calls, keeps the last caller, and holds back TagResource until it is let go.
#[derive(Default)]
struct FakeEngine {
    calls: AtomicUsize,
    caller: Mutex<Option<Caller>>,
    begun: Notify,
    let_go: Notify,
}

#[async_trait]
impl Api for FakeEngine {
    async fn call(&self, caller: &Caller, call: Call) -> Result<Reply, ApiError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        *self.caller.lock().unwrap() = Some(caller.clone());
        match call {
            Call::DescribeClusters(_) => Ok(Reply::DescribeClusters(DescribeClustersResponse::default())),
            Call::TagResource(_) => {
                self.begun.notify_one();
                self.let_go.notified().await;
                Ok(Reply::TagResource(TagResourceResponse {}))
            }
            Call::DeleteHsm(_) => panic!("a bug"),
            _ => Err(ApiError::internal("Nothing was changed.", "the private cause")),
        }
    }
}

struct Server {
    address: SocketAddr,
    engine: Arc<FakeEngine>,
    front: Arc<Front>,
    /// Where the identity key is.
    _folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::start_as(true, HEAD_TIMEOUT).await
    }

    async fn start_as(explains: bool, head_timeout: Duration) -> Self {
        Self::start_on(explains, head_timeout, Most::default(), None).await
    }

    async fn start_on(explains: bool, head_timeout: Duration, most: Most, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let engine = Arc::<FakeEngine>::default();
        let names = ["us-east-1", "eu-west-1"];
        let regions: BTreeMap<_, _> = names.map(|name| (name.to_owned(), engine.clone() as Arc<dyn Api>)).into();
        let folder = tempfile::tempdir().unwrap();
        let identities = Arc::new(Identities::read(&Layout::new(folder.path().join("data"))).unwrap());
        let front = Front::new(regions, identities, Arc::new(StoppedClock), explains);
        let front = Arc::new(front.with_limits(most));
        let (stop, stopped) = oneshot::channel();
        let shared = Shared { front: front.clone(), tls, head_timeout, idle_timeout: head_timeout };
        let serving = tokio::spawn(serve_connections(listener, shared, async {
            let _ = stopped.await;
        }));
        Self { address, engine, front, _folder: folder, stop: Some(stop), serving }
    }

    async fn send(&self, request: &Request) -> Answer {
        self.send_raw(&request.bytes()).await
    }

    async fn send_raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_answer(&mut stream).await
    }

    fn calls(&self) -> usize {
        self.engine.calls.load(Ordering::Relaxed)
    }
}

/// A signed request, as a client sends it.
#[derive(Clone)]
struct Request {
    operation: &'static str,
    body: Vec<u8>,
    region: &'static str,
    access_key: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
    at: Timestamp,
    signed: Vec<(&'static str, String)>,
    unsigned: Vec<(String, String)>,
}

impl Request {
    fn new(operation: &'static str, body: &str) -> Self {
        Self {
            operation,
            body: body.into(),
            region: "us-east-1",
            access_key: "test",
            secret: "test",
            token: None,
            at: NOW,
            signed: Vec::new(),
            unsigned: Vec::new(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let target = format!("BaldrApiService.{}", self.operation);
        let mut headers = vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        headers.extend(self.signed.iter().map(|(name, value)| (*name, value.as_str())));
        if !self.signed.iter().any(|(name, _)| *name == "host") {
            headers.push(("host", "127.0.0.1:4225"));
        }
        let head = Head { method: "POST", path: "/", query: "", headers };
        let secret = SecretKey::new(self.secret);
        let signer = Signer {
            access_key_id: self.access_key,
            secret: &secret,
            session_token: self.token,
            region: self.region,
            service: "cloudhsm",
        };
        let added = signer.sign(&head, &self.body, self.at);
        let headers = head.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let headers = headers.chain(added.into_iter().map(|(n, v)| (n.to_owned(), v)));
        let mut text = "POST / HTTP/1.1\r\n".to_owned();
        for (name, value) in headers.chain(self.unsigned.clone()) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        [text.as_bytes(), &self.body].concat()
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    fn error(&self) -> (String, String) {
        let value: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        let message = value.get("Message").or(value.get("message")).and_then(|m| m.as_str());
        (value["__type"].as_str().unwrap_or_default().to_owned(), message.unwrap_or_default().to_owned())
    }
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "no answer: {}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head[9..12].parse().unwrap();
    let mut answer = Answer { status, head, body: String::new() };
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    while bytes.len() < end + length {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the answer is cut");
    }
    answer.body = String::from_utf8(bytes[end..end + length].to_vec()).unwrap();
    answer
}

fn describe() -> Request {
    Request::new("DescribeClusters", "{}")
}

#[tokio::test]
async fn a_signed_call_reaches_the_engine_with_its_caller() {
    let server = Server::start().await;
    let mut request = describe();
    request.unsigned =
        vec![("amz-sdk-invocation-id".into(), "one-call".into()), ("user-agent".into(), "a test".into())];
    let answer = server.send(&request).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    let caller = server.engine.caller.lock().unwrap().take().unwrap();
    assert_eq!(answer.header("x-amzn-requestid"), Some(caller.request_id.as_str()));
    assert_eq!(caller.principal, "arn:aws:iam::000000000000:user/test");
    assert_eq!(caller.source_ip, "127.0.0.1");
    assert_eq!(caller.invocation_id.as_deref(), Some("one-call"));
    assert_eq!(caller.user_agent.as_deref(), Some("a test"));
}

#[tokio::test]
async fn a_connection_carries_many_calls() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut ids = Vec::new();
    for n in 1..=3 {
        stream.write_all(&describe().bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        ids.push(answer.header("x-amzn-requestid").unwrap().to_owned());
        assert_eq!((answer.status, server.calls()), (200, n));
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn wrong_credentials_get_awss_words_and_in_dev_help() {
    let wrong = Request { access_key: "AKIAEXAMPLE", ..describe() };
    let text = "The security token included in the request is invalid.";
    let server = Server::start().await;
    let error = server.send(&wrong).await.error();
    assert_eq!(
        error,
        ("UnrecognizedClientException".into(), format!("{text} This is strongroom dev: use test / test."))
    );
    let with_token = Request { token: Some("token"), ..describe() };
    let (kind, message) = server.send(&with_token).await.error();
    assert_eq!(kind, "UnrecognizedClientException");
    assert!(message.contains("Unset AWS_SESSION_TOKEN"), "{message}");
    let (kind, message) = server.send(&Request { secret: "wrong", ..describe() }).await.error();
    assert_eq!(kind, "InvalidSignatureException");
    assert!(message.starts_with("The request signature we calculated does not match"), "{message}");
    let silent = Server::start_as(false, HEAD_TIMEOUT).await;
    assert_eq!(silent.send(&wrong).await.error().1, text);
    assert_eq!(server.calls() + silent.calls(), 0);
}

#[tokio::test]
async fn the_region_is_the_scopes() {
    let server = Server::start().await;
    let (kind, message) = server.send(&Request { region: "us-west-2", ..describe() }).await.error();
    assert_eq!(kind, "InvalidSignatureException");
    assert_eq!(
        message,
        "Credential should be scoped to a valid region, not 'us-west-2'. Regions here: eu-west-1, us-east-1. Set AWS_REGION."
    );
    let at_host = |host: &str| Request { signed: vec![("host", host.to_owned())], ..describe() };
    let elsewhere = server.send(&at_host("cloudhsmv2.eu-west-1.amazonaws.com")).await;
    assert!(elsewhere.error().1.contains("not 'us-east-1'"), "{elsewhere:?}");
    for host in ["cloudhsmv2.us-east-1.amazonaws.com", "hsm.example.com", "localhost:1"] {
        assert_eq!(server.send(&at_host(host)).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told() {
    let server = Server::start().await;
    let late = Request { at: NOW.plus(-(19 * 60 + 5) * 1_000), ..describe() };
    assert_eq!(
        server.send(&late).await.error().1,
        "Signature expired: 20261124T085502Z is now earlier than 20261124T090907Z (20261124T091407Z - 5 min.) \
         Set the client's clock; it is 19 min 5 s behind."
    );
    let early = Request { at: NOW.plus(2 * 3_600_000), ..describe() };
    assert!(server.send(&early).await.error().1.ends_with("Set the client's clock; it is 2 h ahead."));
}

#[tokio::test]
async fn a_broken_body_is_told_only_to_who_signed_it() {
    let server = Server::start().await;
    let broken = Request::new("DescribeClusters", "{");
    assert_eq!(server.send(&broken).await.error().0, "SerializationException");
    let unsigned = "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-amz-json-1.1\r\n\
                    x-amz-target: BaldrApiService.DescribeClusters\r\ncontent-length: 1\r\n\r\n{";
    assert_eq!(server.send_raw(unsigned.as_bytes()).await.error().0, "MissingAuthenticationTokenException");
    let invalid = Request::new("DeleteBackup", r#"{"BackupId":"bad"}"#);
    assert_eq!(server.send(&invalid).await.error().0, "CloudHsmInvalidRequestException");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn what_asks_for_nothing_is_answered_in_awss_way() {
    let server = Server::start().await;
    let get = server.send_raw(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(get.status, 403);
    let unknown = server.send(&Request { operation: "DescribeEverything", ..describe() }).await;
    assert_eq!((unknown.status, unknown.error().0.as_str()), (400, "UnknownOperationException"));
    for answer in [get, unknown] {
        assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));
    }
}

#[tokio::test]
async fn a_body_has_its_limit() {
    let server = Server::start().await;
    let padded = |length: usize| Request { body: format!("{{{}}}", " ".repeat(length - 2)).into(), ..describe() };
    assert_eq!(server.send(&padded(128 * 1024)).await.status, 200);
    let answer = server.send(&padded(128 * 1024 + 1)).await;
    assert_eq!((answer.status, answer.error().0.as_str()), (413, "RequestEntityTooLargeException"));
    assert_eq!(server.send(&padded(900 * 1024)).await.status, 413);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_head_has_its_limits() {
    let server = Server::start().await;
    let with = |headers: Vec<(String, String)>| Request { unsigned: headers, ..describe() };
    let many = |n: usize| with((0..n).map(|i| (format!("x-h{i}"), "v".to_owned())).collect());
    // Five are the call's own, one is content-length.
    assert_eq!(server.send(&many(64 - 6)).await.status, 200);
    let answer = server.send(&many(65 - 6)).await;
    assert_eq!((answer.status, answer.header("x-amzn-requestid").map(str::len)), (431, Some(36)));
    assert_eq!(server.send(&many(300)).await.status, 431, "hyper's own answer");
    let long = |n: usize| with(vec![("x-long".to_owned(), "v".repeat(n))]);
    assert_eq!(server.send(&long(31 * 1024)).await.status, 200);
    assert_eq!(server.send(&long(33 * 1024)).await.status, 431);
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn garbage_is_refused_and_harms_nobody() {
    let server = Server::start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"POST / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.send(&describe()).await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = Server::start_as(true, Duration::from_millis(50)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost:").await.unwrap();
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn inner_failures_show_nothing_of_their_cause() {
    let server = Server::start().await;
    let failed = server.send(&Request::new("RestoreBackup", r#"{"BackupId":"backup-aaaaaaaaaaa"}"#)).await;
    assert_eq!((failed.status, failed.error().0.as_str()), (500, "CloudHsmInternalFailureException"));
    assert!(!failed.body.contains("private"), "{failed:?}");
    let panicked = Request::new("DeleteHsm", r#"{"ClusterId":"cluster-aaaaaaaaaaa","HsmId":"hsm-aaaaaaaaaaa"}"#);
    let panicked = server.send(&panicked).await;
    assert_eq!(panicked.status, 500);
    assert!(!panicked.body.contains("a bug"), "{panicked:?}");
}

fn tag() -> Request {
    Request::new("TagResource", r#"{"ResourceId":"backup-aaaaaaaaaaa","TagList":[{"Key":"k","Value":"v"}]}"#)
}

#[tokio::test]
async fn a_stop_waits_for_the_call_under_way() {
    let mut server = Server::start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&tag().bytes()).await.unwrap();
    server.engine.begun.notified().await;
    assert_eq!(server.front.under_way(), 1);
    server.stop.take().unwrap().send(()).unwrap();
    // The idle connection ends first: the stop is under way.
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert!(!server.serving.is_finished());
    server.engine.let_go.notify_one();
    let answer = read_answer(&mut stream).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    server.serving.await.unwrap();
    assert_eq!(server.front.under_way(), 0);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_client_that_goes_away_cuts_no_change() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&tag().bytes()).await.unwrap();
    server.engine.begun.notified().await;
    drop(stream);
    while server.front.under_way() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&server.engine), 3 + 1, "the task still holds the engine");
    server.engine.let_go.notify_one();
}

/// A signed call of STS, as a client sends it.
fn ask_sts(access_key: &str, secret: &str, token: Option<&str>, form: &str) -> Vec<u8> {
    let headers = vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8"), ("host", "127.0.0.1")];
    let head = Head { method: "POST", path: "/", query: "", headers };
    let secret = SecretKey::new(secret);
    // No region of ours: the answer is the same in each.
    let region = "ap-northeast-3";
    let signer = Signer { access_key_id: access_key, secret: &secret, session_token: token, region, service: "sts" };
    let added = signer.sign(&head, form.as_bytes(), NOW);
    let headers = head.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    let lines: String = headers
        .chain(added.into_iter().map(|(n, v)| (n.to_owned(), v)))
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("POST / HTTP/1.1\r\n{lines}content-length: {}\r\n\r\n{form}", form.len()).into_bytes()
}

const WHO_AM_I: &str = "Action=GetCallerIdentity&Version=2011-06-15";

#[tokio::test]
async fn a_caller_is_told_who_he_is_by_sts() {
    let server = Server::start().await;
    let answer = server.send_raw(&ask_sts("test", "test", None, WHO_AM_I)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/xml")), "{answer:?}");
    assert!(answer.body.contains("<Arn>arn:aws:iam::000000000000:user/test</Arn>"), "{}", answer.body);
    assert!(answer.body.contains("<Account>000000000000</Account>"), "{}", answer.body);
    let wrong = server.send_raw(&ask_sts("test", "other", None, WHO_AM_I)).await;
    assert_eq!(wrong.status, 403);
    assert!(wrong.body.contains("<Code>SignatureDoesNotMatch</Code>"), "{}", wrong.body);
    let other = server.send_raw(&ask_sts("test", "test", None, "Action=DecodeAuthorizationMessage")).await;
    assert_eq!(other.status, 400);
    assert!(other.body.contains("<Code>InvalidAction</Code>"), "{}", other.body);
}

#[tokio::test]
async fn a_session_signs_with_its_token_and_only_with_it() {
    let server = Server::start().await;
    let answer = server.send_raw(&ask_sts("test", "test", None, "Action=GetSessionToken&DurationSeconds=900")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let between = |name: &str| {
        let (start, end) = (format!("<{name}>"), format!("</{name}>"));
        let rest = answer.body.split_once(&start).unwrap().1;
        rest.split_once(&end).unwrap().0.to_owned()
    };
    let [id, secret, token] = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(between);
    let [id, secret, token] = [id, secret, token].map(|text| &*Box::leak(text.into_boxed_str()));
    assert_eq!(between("Expiration"), "2026-11-24T09:29:07Z");
    let request = Request { access_key: id, secret, token: Some(token), ..describe() };
    assert_eq!(server.send(&request).await.status, 200);
    let caller = server.engine.caller.lock().unwrap().take().unwrap();
    assert_eq!((caller.principal.as_str(), caller.access_key.as_str()), ("arn:aws:iam::000000000000:user/test", id));
    assert_eq!(caller.authority.token_issued_at, Some(NOW));

    let (kind, message) = server.send(&Request { token: None, ..request.clone() }).await.error();
    assert_eq!(kind, "UnrecognizedClientException");
    assert!(message.ends_with("set AWS_SESSION_TOKEN."), "{message}");
    let unsigned = vec![("x-amz-security-token".to_owned(), token.to_owned())];
    let added_on_the_way = Request { token: None, unsigned, ..request.clone() };
    let (kind, message) = server.send(&added_on_the_way).await.error();
    assert_eq!(kind, "InvalidSignatureException");
    assert!(message.starts_with("'x-amz-security-token' must be a 'SignedHeader'"), "{message}");
    assert_eq!(server.send(&Request { secret: "wrong", ..request }).await.error().0, "InvalidSignatureException");

    let again = server.send_raw(&ask_sts(id, secret, Some(token), "Action=GetSessionToken")).await;
    assert_eq!(again.status, 403);
    assert!(again.body.contains("<Message>Cannot call GetSessionToken with session credentials<"), "{}", again.body);
    assert_eq!(server.send_raw(&ask_sts(id, secret, Some(token), WHO_AM_I)).await.status, 200);
}
