//! Owns the load generator: one thread and many connections, so that it costs the two cores little beside the server. Every
//! request is freshly signed, and every answer is held against the first one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use strongroom_model::{Operation, Timestamp};
use strongroom_wire::front::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is asked again and again.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub address: String,
    pub region: &'static str,
    pub protocol: Protocol,
    pub operation: Operation,
    pub body: Vec<u8>,
    pub connections: usize,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Run {
    /// Answers per second.
    pub rate: f64,
    /// How long each answer took, in milliseconds, ascending.
    times: Vec<f64>,
}

impl Run {
    /// The time that all but one in a hundred answers kept, in milliseconds.
    pub(super) fn p99(&self) -> f64 {
        self.times[self.times.len() * 99 / 100]
    }
}

impl Load {
    /// Asks for so long.
    pub(super) fn run(&self, time: Duration) -> Run {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let began = Instant::now();
            let workers = (0..self.connections).map(|_| self.worker(began + time));
            let mut times = futures_util::future::join_all(workers).await.concat();
            let rate = times.len() as f64 / began.elapsed().as_secs_f64();
            times.sort_by(f64::total_cmp);
            Run { rate, times }
        })
    }

    /// Asks over one connection until it is time; how long each answer took.
    async fn worker(&self, until: Instant) -> Vec<f64> {
        let signer = Signer::new(self);
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut request, mut answer, mut first, mut times) = (Vec::new(), vec![0; 256 * 1024], None, Vec::new());
        let mut begin = Instant::now();
        while begin < until {
            signer.request(&mut request);
            stream.write_all(&request).await.unwrap();
            let (mut length, mut whole) = (0, None);
            while whole.is_none_or(|(_, whole)| length < whole) {
                length += match stream.read(&mut answer[length..]).await.unwrap() {
                    0 => panic!("the connection was closed"),
                    read => read,
                };
                whole = whole.or_else(|| head_and_whole(&answer[..length]));
            }
            let (head, whole) = whole.expect("the loop ended");
            assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..whole]));
            assert_eq!(first.get_or_insert_with(|| answer[head..whole].to_vec()), &answer[head..whole]);
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            begin = Instant::now();
        }
        times
    }
}

/// How long the head is, and the whole answer, once the head is there.
fn head_and_whole(answer: &[u8]) -> Option<(usize, usize)> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    Some((head, head + length.parse::<usize>().unwrap()))
}

/// Signs one request anew each time; only the key of the day is kept, as SDKs do.
struct Signer {
    key: hmac::Key,
    scope: String,
    path: String,
    /// Headers in the order of their names, up to the date, and those after it.
    headers: [String; 2],
    names: &'static str,
    body: Vec<u8>,
}

impl Signer {
    fn new(load: &Load) -> Self {
        let service = load.operation.service();
        let (name, host) = (load.operation.name(), &load.address);
        let (path, names, headers) = match load.protocol {
            Protocol::AwsJson11 => (
                "/".to_owned(),
                "content-type;host;x-amz-date;x-amz-target",
                [
                    format!("content-type:application/x-amz-json-1.1\nhost:{host}\n"),
                    format!("x-amz-target:{}.{name}\n", service.shape_name()),
                ],
            ),
            Protocol::RpcV2Cbor => (
                format!("/service/{}/operation/{name}", service.shape_name()),
                "accept;content-type;host;smithy-protocol;x-amz-date",
                [
                    format!(
                        "accept:application/cbor\ncontent-type:application/cbor\nhost:{host}\nsmithy-protocol:rpc-v2-cbor\n"
                    ),
                    String::new(),
                ],
            ),
        };
        let day = now()[..8].to_owned();
        let scope = format!("{day}/{}/{}/aws4_request", load.region, service.signing_name());
        let mut key = b"AWS4test".to_vec();
        for part in scope.split('/') {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, scope, path, headers, names, body: load.body.clone() }
    }

    fn request(&self, request: &mut Vec<u8>) {
        let Self { key, scope, path, headers: [before, after], names, body } = self;
        let date = now();
        let headers = format!("{before}x-amz-date:{date}\n{after}");
        let canonical = format!("POST\n{path}\n\n{headers}\n{names}\n{}", sha256(body));
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let signature = HEXLOWER.encode(hmac::sign(key, to_sign.as_bytes()).as_ref());
        let head = format!(
            "POST {path} HTTP/1.1\r\n{}authorization: AWS4-HMAC-SHA256 Credential=test/{scope}, SignedHeaders={names}, \
             Signature={signature}\r\ncontent-length: {}\r\n\r\n",
            headers.replace('\n', "\r\n"),
            body.len()
        );
        request.clear();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
    }
}

fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(now.as_millis() as i64).basic()
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}
