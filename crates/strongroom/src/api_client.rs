//! Calls the API, as any AWS tool does: signed, in JSON, with an invocation id that stays the same on each retry, so that a
//! call that is repeated here happens once there. Retries what is worth it: no connection, or an answer that says so.

mod https;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use strongroom_client::config::KeyPin;
use strongroom_model::call::DescribeHsmEndpointsRequest;
use strongroom_model::{Call, ClusterId, Operation, Reply, Timestamp, table};
use strongroom_wire::Head;
use strongroom_wire::json;
use strongroom_wire::sigv4::Signer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use self::https::Https;
use crate::aws_config::AwsConfig;
use crate::configure::{Endpoints, HsmEndpoint, HsmEndpoints};
use crate::problem::{Exit, Problem};
use crate::seams::{SystemClock, random, uuid};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// The pauses before the retries.
const RETRIES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];
/// How long an answer may take: a little more than the API gives itself.
const TIMEOUT: Duration = Duration::from_secs(35);

/// A client of one region.
pub struct ApiClient {
    config: AwsConfig,
    /// `host:port`, as in the URL.
    authority: String,
    /// How it is spoken to, where that is not in the clear.
    https: Option<Https>,
    runtime: Runtime,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// Why a call has no reply.
#[derive(Debug)]
pub enum CallError {
    /// The API said no.
    Refused {
        /// AWS's name of the error.
        name: String,
        /// Its words.
        message: String,
        /// The id under which the API's log has more.
        request_id: String,
    },
    /// There was no answer, or none that can be read.
    Problem(Problem),
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused { name, message, request_id } => Problem::new("refused", format!("{name}: {message}"))
                .cause(format!("request {request_id}"))
                .exit(Exit::Refused),
            CallError::Problem(problem) => problem,
        }
    }
}

/// What came back.
struct Raw {
    status: u16,
    request_id: String,
    body: Bytes,
}

impl ApiClient {
    /// A client as the environment says; nothing is connected yet.
    ///
    /// # Errors
    /// A [`Problem`] that names what is missing.
    pub fn from_environment(region: Option<&str>, endpoint: Option<&str>) -> Result<Self, Problem> {
        Self::new(AwsConfig::find(region, endpoint, &|name| std::env::var(name).ok())?)
    }

    /// A client of this region at this endpoint.
    ///
    /// # Errors
    /// A [`Problem`] for a URL that cannot be called.
    pub fn new(config: AwsConfig) -> Result<Self, Problem> {
        let unusable = |cause: String| {
            Problem::new("endpoint", format!("{} cannot be called", config.endpoint)).cause(cause).exit(Exit::Usage)
        };
        let uri: Uri = config.endpoint.parse().map_err(|e| unusable(format!("it is no URL: {e}")))?;
        let authority =
            uri.authority().map(ToString::to_string).ok_or_else(|| unusable("it names no host".to_owned()))?;
        let https = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => {
                Some(Https::new(uri.host().unwrap_or_default(), config.ca_bundle.as_deref()).map_err(unusable)?)
            }
            _ => return Err(unusable("it begins with neither http:// nor https://".to_owned())),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Problem::new("threads", "cannot start").cause(e))?;
        Ok(Self { config, authority, https, runtime, connection: None })
    }

    /// Where and as whom it calls.
    pub fn config(&self) -> &AwsConfig {
        &self.config
    }

    /// Makes a call.
    ///
    /// # Errors
    /// [`CallError`], after retries where these make sense.
    pub fn call(&mut self, call: Call) -> Result<Reply, CallError> {
        let id = uuid(random());
        self.call_as(&id, call)
    }

    /// Makes a call under an invocation id: with the same id and input it happens once, however often it is made.
    ///
    /// # Errors
    /// As [`ApiClient::call`].
    pub fn call_as(&mut self, invocation_id: &str, call: Call) -> Result<Reply, CallError> {
        let operation = call.operation();
        let table = table::api();
        let shape = table.find(operation.input()).expect("the table has the input of every operation");
        let body = Bytes::from(json::encode(&call.into_value(), table, shape));
        let mut pauses = RETRIES.into_iter();
        loop {
            let outcome = self.attempt(invocation_id, operation, body.clone());
            let worth_it = match &outcome {
                Ok(raw) => raw.status >= 500,
                Err(_) => true,
            };
            match pauses.next().filter(|_| worth_it) {
                Some(pause) => std::thread::sleep(pause),
                None => return read(operation, &outcome.map_err(CallError::Problem)?),
            }
        }
    }

    fn attempt(&mut self, invocation_id: &str, operation: Operation, body: Bytes) -> Result<Raw, Problem> {
        let request = self.request(invocation_id, operation, body);
        let (address, https, kept) = (self.address(), self.https.clone(), self.connection.take());
        let exchange = async {
            let mut connection = match kept.filter(|connection| !connection.is_closed()) {
                Some(connection) => connection,
                None => connect(&address, https.as_ref()).await?,
            };
            connection.ready().await.map_err(|e| e.to_string())?;
            let response = connection.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status().as_u16();
            let request_id = response.headers().get("x-amzn-requestid").and_then(|id| id.to_str().ok());
            let request_id = request_id.unwrap_or("unknown").to_owned();
            let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
            Ok::<_, String>((connection, Raw { status, request_id, body }))
        };
        let outcome = self.runtime.block_on(async { tokio::time::timeout(TIMEOUT, exchange).await });
        match outcome.unwrap_or_else(|_| Err(format!("there was no answer for {} s", TIMEOUT.as_secs()))) {
            Ok((connection, raw)) => {
                self.connection = Some(connection);
                Ok(raw)
            }
            Err(cause) => Err(Problem::new("not-reachable", format!("{} does not answer", self.config.endpoint))
                .cause(cause)
                .help("is it running?  strongroom dev")
                .exit(Exit::Unreachable)),
        }
    }

    fn request(&self, invocation_id: &str, operation: Operation, body: Bytes) -> Request<Full<Bytes>> {
        let target = format!("{}.{}", operation.service().shape_name(), operation.name());
        let headers = vec![("host", &*self.authority), ("content-type", CONTENT_TYPE), ("x-amz-target", &*target)];
        let head = Head { method: "POST", path: "/", query: "", headers };
        let signer = Signer {
            access_key_id: &self.config.access_key_id,
            secret: &self.config.secret,
            session_token: self.config.session_token.as_deref(),
            region: &self.config.region,
            service: operation.service().signing_name(),
        };
        let added = signer.sign(&head, &body, Timestamp::from_millis(SystemClock.millis()));
        let mut request = Request::builder().method(Method::POST).uri("/");
        for (name, value) in &head.headers {
            request = request.header(*name, *value);
        }
        for (name, value) in &added {
            request = request.header(*name, value);
        }
        request
            .header("amz-sdk-invocation-id", invocation_id)
            .header("user-agent", concat!("strongroom/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .expect("the headers were made from an URL, an ASCII region and ASCII keys")
    }

    fn address(&self) -> String {
        let port = self.authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let usual = if self.https.is_some() { 443 } else { 80 };
        if port.is_some() { self.authority.clone() } else { format!("{}:{usual}", self.authority) }
    }
}

async fn connect(address: &str, https: Option<&Https>) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    // Small requests leave at once; where that cannot be set they only leave later.
    let _ = stream.set_nodelay(true);
    match https {
        Some(https) => speak(https.connect(stream).await?).await,
        None => speak(stream).await,
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (connection, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(async move {
        // A connection that breaks shows in the call that uses it.
        let _ = driver.await;
    });
    Ok(connection)
}

fn read(operation: Operation, raw: &Raw) -> Result<Reply, CallError> {
    let unreadable = |cause: String| {
        CallError::Problem(
            Problem::new("answer", format!("the answer to {} cannot be read", operation.name()))
                .cause(cause)
                .help("is it the API of strongroom, of this version?"),
        )
    };
    if raw.status != 200 {
        return Err(refusal(raw).unwrap_or_else(|| unreadable(format!("status {}", raw.status))));
    }
    let table = table::api();
    let shape = table.find(operation.output()).expect("the table has the output of every operation");
    let value = json::decode(&raw.body, table, shape).map_err(|e| unreadable(e.to_string()))?;
    Reply::from_value(operation, value).map_err(|e| unreadable(e.to_string()))
}

fn refusal(raw: &Raw) -> Option<CallError> {
    let value: serde_json::Value = serde_json::from_slice(&raw.body).ok()?;
    let name = value.get("__type")?.as_str()?.to_owned();
    let message = value.get("Message").or_else(|| value.get("message")).and_then(|message| message.as_str());
    Some(CallError::Refused {
        name,
        message: message.unwrap_or_default().to_owned(),
        request_id: raw.request_id.clone(),
    })
}

/// The API of the environment, for `configure`: it is only looked for when a cluster is asked about.
pub struct FromEnvironment;

impl Endpoints for FromEnvironment {
    fn describe_hsm_endpoints(
        &self,
        cluster_id: &str,
        region: Option<&str>,
        endpoint: Option<&str>,
    ) -> Result<HsmEndpoints, Problem> {
        hsm_endpoints(&mut ApiClient::from_environment(region, endpoint)?, cluster_id)
    }
}

/// Asks where the HSMs of a cluster are.
///
/// # Errors
/// A [`Problem`], as a command should end.
pub fn hsm_endpoints(api: &mut ApiClient, cluster_id: &str) -> Result<HsmEndpoints, Problem> {
    let call = Call::DescribeHsmEndpoints(DescribeHsmEndpointsRequest { cluster_id: ClusterId::new(cluster_id) });
    let Reply::DescribeHsmEndpoints(reply) = api.call(call)? else {
        unreachable!("a reply is of its call's operation")
    };
    let hsms = reply.endpoints.into_iter().filter_map(|hsm| {
        let port = u16::try_from(hsm.port).ok()?;
        Some(HsmEndpoint { hsm_id: hsm.hsm_id, address: hsm.address, port, sni: hsm.sni })
    });
    Ok(HsmEndpoints {
        cluster_id: reply.cluster_id.to_string(),
        key_pin: reply.cluster_key_digest.and_then(|digest| key_pin(&digest)),
        hsms: hsms.collect(),
    })
}

/// `sha256:` and hex.
fn key_pin(digest: &str) -> Option<KeyPin> {
    let hex = digest.strip_prefix("sha256:")?;
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?;
    Some(KeyPin(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> AwsConfig {
        let variable = |name: &str| {
            Some(match name {
                "AWS_ENDPOINT_URL" => endpoint.to_owned(),
                "AWS_REGION" => "us-east-1".to_owned(),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test".to_owned(),
                _ => return None,
            })
        };
        AwsConfig::find(None, None, &variable).unwrap()
    }

    #[test]
    fn only_what_can_be_called_is_an_endpoint() {
        for bad in ["ftp://hsm.example.com", "127.0.0.1:4225", "not a URL"] {
            let problem = ApiClient::new(config(bad)).err().unwrap();
            assert_eq!((problem.slug(), problem.exit_code()), ("endpoint", Exit::Usage), "{bad}");
        }
        assert_eq!(ApiClient::new(config("http://hsm.example.com/")).unwrap().address(), "hsm.example.com:80");
        let bundle = tempfile::tempdir().unwrap();
        let bundle = bundle.path().join("none.pem");
        let secure = AwsConfig { ca_bundle: Some(bundle), ..config("https://hsm.example.com") };
        let problem = ApiClient::new(secure).err().unwrap();
        assert!(problem.to_string().contains("none.pem"), "{problem}");
        assert_eq!(ApiClient::new(config("http://[::1]:4225")).unwrap().address(), "[::1]:4225");
    }

    #[test]
    fn nobody_there_is_worth_a_later_try() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut api = ApiClient::new(config(&format!("http://127.0.0.1:{port}"))).unwrap();
        let input = strongroom_model::call::ListSubnetsRequest {};
        let problem = Problem::from(api.call(Call::ListSubnets(input)).unwrap_err());
        assert_eq!((problem.slug(), problem.exit_code()), ("not-reachable", Exit::Unreachable));
    }

    #[test]
    fn refusals_are_read() {
        let raw = |status, body: &'static str| Raw { status, request_id: "r".into(), body: body.into() };
        let error = read(Operation::DeleteBackup, &raw(400, r#"{"__type":"A","Message":"b"}"#)).unwrap_err();
        assert!(
            matches!(&error, CallError::Refused { name, message, .. } if name == "A" && message == "b"),
            "{error:?}"
        );
        assert_eq!(Problem::from(error).exit_code(), Exit::Refused);
        for unreadable in [raw(500, "<html>"), raw(200, "[]")] {
            assert!(matches!(read(Operation::DeleteBackup, &unreadable), Err(CallError::Problem(_))));
        }
        assert!(read(Operation::DeleteBackup, &raw(200, "{}")).is_ok());
    }

    #[test]
    fn pins_are_read() {
        assert_eq!(key_pin(&format!("sha256:{}", "07".repeat(32))), Some(KeyPin([7; 32])));
        assert_eq!(key_pin("sha256:07"), None);
        assert_eq!(key_pin(&"07".repeat(32)), None);
    }
}
