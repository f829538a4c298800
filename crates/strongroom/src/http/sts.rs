//! Owns what there is of AWS's Security Token Service: `AssumeRole`, `GetSessionToken` and `GetCallerIdentity`, in the query
//! protocol: a form goes in, XML comes out. It knows no region: whoever is who he is, is it everywhere.
//!
//! The door has checked the signature before anything of the form is read here. Nothing is stored: a session is in its token.

mod assume_role;
mod context;
mod error;
mod parameters;

use std::borrow::Cow;
use std::fmt::Write as _;

use strongroom_model::time::{HOUR, SECOND};
use strongroom_model::{ApiError, ErrorKind, Timestamp};
use strongroom_wire::{Answer, Head, Verified};

pub(super) use self::error::StsError;
use self::parameters::Parameters;
use crate::identity::{Grant, Identities, Issued, Principal, Who};

/// The service in the scope of a signature.
pub(super) const SIGNING_NAME: &str = "sts";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const FORM: &str = "application/x-www-form-urlencoded";

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    AssumeRole,
    GetCallerIdentity,
    GetSessionToken,
}

/// Who asks, when and from where.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    pub principal: &'a Principal,
    pub identities: &'a Identities,
    pub now: Timestamp,
    pub source_ip: &'a str,
    pub is_secure: bool,
    pub user_agent: Option<&'a str>,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::AssumeRole => "AssumeRole",
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::GetSessionToken => "GetSessionToken",
        }
    }
}

/// A call, as it is counted.
pub(super) fn label(action: Option<Action>) -> &'static str {
    action.map_or("SecurityTokenService", Action::name)
}

/// Whether a request is in the query protocol, which no other service here speaks.
pub(super) fn is_asked(head: &Head<'_>) -> bool {
    let media_type = head.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let is_form = head.method == "POST" && media_type.trim().eq_ignore_ascii_case(FORM);
    let is_query = head.method == "GET" && head.query.split('&').any(|part| part.starts_with("Action="));
    head.path == "/" && (is_form || is_query)
}

/// Answers a request whose signature holds; `called` becomes what it calls, as soon as that is known.
///
/// # Errors
/// [`StsError`]
pub(super) fn answer(
    verified: &Verified,
    asking: &Asking<'_>,
    head: &Head<'_>,
    body: &[u8],
    called: &mut Option<Action>,
) -> Result<String, StsError> {
    let parameters = Parameters::parse(if head.method == "GET" { head.query.as_bytes() } else { body });
    let action = match parameters.text("Action") {
        Some("AssumeRole") => Action::AssumeRole,
        Some("GetCallerIdentity") => Action::GetCallerIdentity,
        Some("GetSessionToken") => Action::GetSessionToken,
        other => {
            let message = format!("Could not find operation {} for version 2011-06-15", other.unwrap_or("(none)"));
            return Err(ApiError::new(ErrorKind::UnknownOperation, message).into());
        }
    };
    *called = Some(action);
    match action {
        Action::AssumeRole => assume_role::answer(asking, verified.region(), &parameters),
        Action::GetCallerIdentity => Ok(caller_identity(asking.principal)),
        Action::GetSessionToken => session_token(asking, &parameters),
    }
}

fn caller_identity(principal: &Principal) -> String {
    let (arn, user_id, account) = (escaped(&principal.arn), escaped(&principal.user_id), principal.account.as_str());
    format!("<Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{account}</Account>")
}

/// A session of the user himself: it may what he may.
fn session_token(asking: &Asking<'_>, parameters: &Parameters) -> Result<String, StsError> {
    let principal = asking.principal;
    if principal.session.is_some() {
        return Err(StsError::denied("Cannot call GetSessionToken with session credentials"));
    }
    if parameters.text("SerialNumber").or(parameters.text("TokenCode")).is_some() {
        return Err(StsError::denied("MultiFactorAuthentication failed: there are no MFA devices here."));
    }
    let seconds = parameters.number("DurationSeconds", 900, 129_600)?.unwrap_or(12 * HOUR / SECOND);
    let issued = whole_second(asking.now);
    let grant = Grant {
        who: Who::User { arn: principal.arn.clone(), id: principal.user_id.clone() },
        issued,
        expires: issued + seconds * SECOND,
        policies: None,
        tags: Vec::new(),
        transitive: Vec::new(),
        source_identity: None,
    };
    Ok(credentials(&asking.identities.issue(&grant)?))
}

/// Times in answers have no fraction; the session's are the same.
fn whole_second(now: Timestamp) -> i64 {
    now.millis() - now.millis().rem_euclid(SECOND)
}

fn credentials(issued: &Issued) -> String {
    format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken>\
         <Expiration>{}</Expiration></Credentials>",
        issued.access_key_id,
        issued.secret.expose(),
        issued.token,
        issued.expires.seconds()
    )
}

/// The bytes of an outcome.
pub(super) fn message(action: Option<Action>, outcome: Result<String, StsError>, request_id: &str) -> Answer {
    let name = label(action);
    let (status, body) = match outcome {
        Ok(result) => (
            200,
            format!(
                "<{name}Response xmlns=\"{NAMESPACE}\"><{name}Result>{result}</{name}Result><ResponseMetadata>\
                 <RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
            ),
        ),
        Err(error) => {
            let (status, code, message) = (error.status(), error.code(), escaped(error.message()));
            let kind = if status < 500 { "Sender" } else { "Receiver" };
            let error = format!("<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>");
            let body = format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\">{error}<RequestId>{request_id}</RequestId></ErrorResponse>"
            );
            (status, body)
        }
    };
    let headers = vec![("content-type", "text/xml".to_owned()), ("x-amzn-requestid", request_id.to_owned())];
    Answer { status, headers, body: body.into() }
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '"']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '"' => drop(write!(escaped, "&#{};", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests;
