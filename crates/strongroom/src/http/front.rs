//! Owns the order at the door: head, operation, who signed, body, signature, call, and only then the region's engine. Each
//! request gets an id that its answer carries; what went wrong inside is logged under it, once, and never shown.
//!
//! A call that changes something runs as a task of its own, so that a client that goes away cuts it nowhere.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Body;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use prometheus_client::registry::Registry;
use strongroom_engine::Caller;
use strongroom_engine::ports::Clock;
use strongroom_model::time::{HOUR, MINUTE, SECOND};
use strongroom_model::{ApiError, Call, ErrorKind, Operation, Reply, Timestamp};
use strongroom_wire::sigv4::{self, Claim, Expected};
use strongroom_wire::{Answer, BODY_MAX, DecodeError, Head, Target, Verified, decode_call, front};

use super::limits::{Limits, Most};
use super::metrics::{Metrics, Refused};
use super::signing_keys::SigningKeys;
use super::sts::{self, StsError};
use super::{CALL_TIMEOUT, HEAD_MAX, HEADERS_MAX};
use crate::identity::{Identities, Principal};
use crate::seams::{random, uuid};

/// So much of a body that nobody asks for is read before the answer, since a client that still sends may miss it.
const DRAIN_MAX: usize = 1024 * 1024;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers the calls of one region.
#[async_trait]
pub trait Api: Send + Sync {
    /// Answers a call.
    async fn call(&self, caller: &Caller, call: Call) -> Result<Reply, ApiError>;

    /// Hears of a call that was refused here, though it is known who called.
    async fn refused(&self, caller: &Caller, operation: Operation, error: &ApiError) {
        let _ = (caller, operation, error);
    }
}

/// The door of all regions behind one endpoint.
pub struct Front {
    regions: BTreeMap<String, Arc<dyn Api>>,
    identities: Arc<Identities>,
    clock: Arc<dyn Clock>,
    /// Whether errors say more than AWS's to callers that are not authenticated: in `dev`.
    explains: bool,
    signing_keys: SigningKeys,
    limits: Arc<Limits>,
    metrics: Metrics,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The peer's address.
    pub address: IpAddr,
    /// Whether it came over TLS.
    pub is_secure: bool,
}

type HttpResponse = Response<Full<Bytes>>;

impl Front {
    /// The door of regions by name.
    pub fn new(
        regions: BTreeMap<String, Arc<dyn Api>>,
        identities: Arc<Identities>,
        clock: Arc<dyn Clock>,
        explains: bool,
    ) -> Self {
        Self {
            regions,
            identities,
            clock,
            explains,
            signing_keys: SigningKeys::default(),
            limits: Limits::new(Most::default()),
            metrics: Metrics::default(),
        }
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(self, most: Most) -> Self {
        Self { limits: Limits::new(most), ..self }
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Makes readable what is counted here.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Requests that have not been answered yet.
    pub fn under_way(&self) -> usize {
        self.limits.calls()
    }

    /// Connections that there are.
    pub fn connections(&self) -> usize {
        self.limits.connections()
    }

    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>, source: Source) -> HttpResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (parts, mut body) = request.into_parts();
        let answer = self.answer_to(&parts, &mut body, source).await;
        // A client that still sends may miss an answer that came before its end.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, drain(&mut body)).await;
        answer
    }

    async fn answer_to<B>(&self, parts: &Parts, body: &mut B, source: Source) -> HttpResponse
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (request_id, started) = (uuid(random()), Instant::now());
        let head = match head(parts) {
            Ok(head) => head,
            Err(text) => {
                self.metrics.refused(Refused::Head);
                return plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &text, request_id);
            }
        };
        if sts::is_asked(&head) {
            let mut action = None;
            let outcome = self.in_limits(source.address, self.ask_sts(&head, body, source, &mut action)).await;
            if let Some(cause) = outcome.as_ref().err().and_then(StsError::cause) {
                tracing::error!(kind = "call", request_id, "a call of STS failed: {cause}");
            }
            let error = outcome.as_ref().err().map_or("", StsError::code);
            self.metrics.answered(sts::label(action), "", error, started.elapsed());
            return response(sts::message(action, outcome, &request_id));
        }
        let target = match front::route(&head) {
            Ok(target) => target,
            Err(refusal) => {
                self.metrics.refused(Refused::Operation);
                return response(front::refused(&refusal, &request_id));
            }
        };
        let source_ip = source.address.to_string();
        let mut visit = Visit {
            head,
            target,
            source_ip: &source_ip,
            request_id: &request_id,
            is_secure: source.is_secure,
            principal: None,
            region: None,
        };
        let outcome = self.in_limits(source.address, self.call(&mut visit, body)).await;
        visit.log(&outcome, started);
        let error = outcome.as_ref().err().map_or("", |error| error.kind().name());
        self.metrics.answered(target.operation.name(), visit.region.unwrap_or_default(), error, started.elapsed());
        response(match outcome {
            Ok(reply) => front::success(target.protocol, target.operation, &reply.into_value(), &request_id),
            Err(error) => front::failure(target.protocol, target.operation.service(), &error, &request_id),
        })
    }

    /// Does it if there is room for one more of this source, and for so long as a call may take.
    async fn in_limits<T, E: From<ApiError>>(
        &self,
        source: IpAddr,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(_place) = self.limits.call(source) else {
            return Err(ApiError::new(ErrorKind::Throttling, "Rate exceeded").into());
        };
        tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| Err(too_late().into()))
    }

    async fn call<'a, B>(&'a self, visit: &mut Visit<'a>, body: &mut B) -> Result<Reply, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let claim = sigv4::parse(&visit.head)?;
        let principal = self.principal(&claim)?;
        visit.principal = Some(principal.clone());
        let (region, api) = self.region(&claim, &visit.head)?;
        visit.region = Some(region);
        let body = read_body(body).await?;
        let service = visit.target.operation.service().signing_name();
        let verified = self.verify(&claim, &visit.head, service, &body, &principal)?;
        let caller = visit.caller(&claim, &principal);
        let call = match decode_call(&verified, &visit.target, &body) {
            Ok(call) => call,
            Err(error) => {
                api.refused(&caller, visit.target.operation, &error).await;
                return Err(error);
            }
        };
        if visit.target.operation.only_reads() {
            return api.call(&caller, call).await;
        }
        let api = api.clone();
        let task = tokio::spawn(async move { api.call(&caller, call).await });
        task.await.unwrap_or_else(|panic| Err(ApiError::internal("The call failed. Repeat it.", panic)))
    }

    async fn ask_sts<B>(
        &self,
        head: &Head<'_>,
        body: &mut B,
        source: Source,
        action: &mut Option<sts::Action>,
    ) -> Result<String, StsError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let claim = sigv4::parse(head)?;
        let principal = self.principal(&claim)?;
        let body = read_body(body).await?;
        let verified = self.verify(&claim, head, sts::SIGNING_NAME, &body, &principal)?;
        let asking = sts::Asking {
            principal: &principal,
            identities: &self.identities,
            now: self.clock.now(),
            source_ip: &source.address.to_string(),
            is_secure: source.is_secure,
            user_agent: head.header("user-agent"),
        };
        sts::answer(&verified, &asking, head, &body, action)
    }

    fn principal(&self, claim: &Claim) -> Result<Arc<Principal>, ApiError> {
        let (id, token) = (claim.access_key_id(), claim.session_token());
        if let Some(known) = self.identities.find(id, token, self.clock.now())? {
            return Ok(known);
        }
        let text = "The security token included in the request is invalid.";
        Err(self.explained(ErrorKind::UnrecognizedClient, text.to_owned(), || {
            let help = match (id.starts_with("ASIA"), token) {
                (true, None) => "A temporary access key needs its session token: set AWS_SESSION_TOKEN.",
                (true, Some(_)) => {
                    "The token is not of this access key, or its user or role is gone: ask for a new one."
                }
                (false, Some(_)) => "This access key has no session token. Unset AWS_SESSION_TOKEN.",
                (false, None) => "This is strongroom dev: use test / test.",
            };
            format!(" {help}")
        }))
    }

    /// The region is the scope's; a host of AWS's form must name the same.
    fn region(&self, claim: &Claim, head: &Head<'_>) -> Result<(&str, &Arc<dyn Api>), ApiError> {
        let name = claim.region();
        let by_host = head.header("host").and_then(region_of_host);
        let found = self.regions.get_key_value(name).filter(|_| by_host.is_none_or(|by_host| by_host == name));
        found.map(|(name, api)| (name.as_str(), api)).ok_or_else(|| {
            let text = format!("Credential should be scoped to a valid region, not '{name}'.");
            self.explained(ErrorKind::InvalidSignature, text, || {
                let names: Vec<&str> = self.regions.keys().map(String::as_str).collect();
                format!(" Regions here: {}. Set AWS_REGION.", names.join(", "))
            })
        })
    }

    fn verify(
        &self,
        claim: &Claim,
        head: &Head<'_>,
        service: &str,
        body: &[u8],
        principal: &Arc<Principal>,
    ) -> Result<Verified, ApiError> {
        let now = self.clock.now();
        let expected = Expected { service, now, normalize_path: true };
        if let Some(key) = self.signing_keys.find(principal, claim) {
            return claim.verify(head, body, &key, &expected).and_then(with_its_token);
        }
        let key = claim.signing_key(&principal.secret);
        let verified = claim.verify(head, body, &key, &expected).map_err(|error| {
            let skew = head.header("x-amz-date").and_then(Timestamp::from_basic).map(|t| now.since(t));
            match skew.filter(|skew| skew.abs() > sigv4::SKEW_MAX && error.message().starts_with("Signature ")) {
                Some(skew) => self.explained(error.kind(), error.message().to_owned(), || set_the_clock(skew)),
                None => error,
            }
        })?;
        self.signing_keys.keep(principal, claim, key);
        with_its_token(verified)
    }

    /// An error in AWS's words, in `dev` with help of ours after them.
    fn explained(&self, kind: ErrorKind, text: String, help: impl FnOnce() -> String) -> ApiError {
        ApiError::new(kind, if self.explains { text + &help() } else { text })
    }
}

/// A request on its way through the door.
struct Visit<'a> {
    head: Head<'a>,
    target: Target,
    source_ip: &'a str,
    is_secure: bool,
    request_id: &'a str,
    principal: Option<Arc<Principal>>,
    region: Option<&'a str>,
}

impl Visit<'_> {
    fn caller(&self, claim: &Claim, principal: &Principal) -> Caller {
        Caller {
            account: principal.account.clone(),
            principal: principal.arn.clone(),
            access_key: claim.access_key_id().to_owned(),
            source_ip: self.source_ip.to_owned(),
            request_id: self.request_id.to_owned(),
            invocation_id: self.head.header("amz-sdk-invocation-id").map(str::to_owned),
            user_agent: self.head.header("user-agent").map(str::to_owned),
            is_secure: self.is_secure,
            authority: principal.authority.clone(),
        }
    }

    fn log(&self, outcome: &Result<Reply, ApiError>, started: Instant) {
        let (region, request_id) = (self.region, self.request_id);
        let operation = self.target.operation.name();
        if let Some(cause) = outcome.as_ref().err().and_then(ApiError::cause) {
            tracing::error!(kind = "call", region, request_id, "{operation} failed: {cause}");
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let status = outcome.as_ref().err().map_or(200, |error| error.kind().status());
            let who = self.principal.as_ref().map_or("-", |p| p.short_name());
            let took = started.elapsed().as_millis();
            tracing::debug!(kind = "call", region, request_id, "{operation}  {status}  {took} ms  {who}");
        }
    }
}

/// The head as the codec reads it; a header that is no text is an empty one.
fn head(parts: &Parts) -> Result<Head<'_>, String> {
    if parts.headers.len() > HEADERS_MAX {
        return Err(format!("The request has more than {HEADERS_MAX} headers."));
    }
    let mut headers = Vec::with_capacity(parts.headers.len());
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let mut length = parts.method.as_str().len() + target.len();
    for (name, value) in &parts.headers {
        length += name.as_str().len() + value.len() + 4;
        headers.push((name.as_str(), std::str::from_utf8(value.as_bytes()).unwrap_or_default()));
    }
    if length > HEAD_MAX {
        return Err(format!("The head of the request is longer than {HEAD_MAX} bytes."));
    }
    // HTTP/2 has it apart from the headers.
    if let Some(authority) = parts.uri.authority()
        && !parts.headers.contains_key("host")
    {
        headers.push(("host", authority.as_str()));
    }
    let query = parts.uri.query().unwrap_or_default();
    Ok(Head { method: parts.method.as_str(), path: parts.uri.path(), query, headers })
}

async fn read_body<B>(body: &mut B) -> Result<Vec<u8>, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut whole, mut length) = (Vec::new(), 0);
    while length <= DRAIN_MAX
        && let Some(frame) = body.frame().await
    {
        let cut = |_| ApiError::new(ErrorKind::Serialization, "The body ended before its end.");
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        length += data.len();
        if length <= BODY_MAX {
            whole.extend_from_slice(&data);
        }
    }
    if length > BODY_MAX { Err(DecodeError::TooLong.into()) } else { Ok(whole) }
}

/// Reads what is left of a body, within limits.
async fn drain<B>(body: &mut B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut length = 0;
    while length <= DRAIN_MAX
        && !body.is_end_stream()
        && let Some(Ok(frame)) = body.frame().await
    {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// `cloudhsmv2.us-east-1.amazonaws.com` and the like; any other host says nothing about the region.
fn region_of_host(host: &str) -> Option<&str> {
    let name = host.split(':').next().unwrap_or(host);
    let labels = name.strip_suffix(".amazonaws.com").or_else(|| name.strip_suffix(".amazonaws.com.cn"))?;
    labels.strip_prefix("cloudhsmv2.").or_else(|| labels.strip_prefix("cloudhsmv2-fips."))
}

fn set_the_clock(skew: i64) -> String {
    let (hours, minutes, seconds) = (skew.abs() / HOUR, skew.abs() % HOUR / MINUTE, skew.abs() % MINUTE / SECOND);
    let parts = [(hours, "h"), (minutes, "min"), (seconds, "s")].into_iter().filter(|(n, _)| *n > 0);
    let off = parts.map(|(n, unit)| format!("{n} {unit}")).collect::<Vec<_>>().join(" ");
    let direction = if skew > 0 { "behind" } else { "ahead" };
    format!(" Set the client's clock; it is {off} {direction}.")
}

/// Refuses a session token that the signature does not cover: nobody adds one on the way here.
fn with_its_token(verified: Verified) -> Result<Verified, ApiError> {
    match verified.covers_session_token() {
        true => Ok(verified),
        false => {
            let text = "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.";
            Err(ApiError::new(ErrorKind::InvalidSignature, text))
        }
    }
}

fn too_late() -> ApiError {
    let text = format!(
        "There was no answer within {} s; whether the change was made is not known. Repeat the call.",
        CALL_TIMEOUT.as_secs()
    );
    ApiError::internal(text, "the call took too long")
}

fn response(answer: Answer) -> HttpResponse {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        let value = HeaderValue::try_from(value).expect("content types and ids are visible ASCII");
        headers.insert(HeaderName::from_static(name), value);
    }
    response
}

fn plain(status: StatusCode, text: &str, request_id: String) -> HttpResponse {
    let headers = vec![("content-type", "text/plain".to_owned()), ("x-amzn-requestid", request_id)];
    response(Answer { status: status.as_u16(), headers, body: format!("{text}\n").into() })
}
