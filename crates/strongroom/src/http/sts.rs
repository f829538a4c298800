//! Owns the one call of AWS's Security Token Service that CloudHSM's clients cannot do without: `GetCallerIdentity`, in the
//! query protocol: a form goes in, XML comes out. It knows no region: whoever is who he is, is it everywhere.
//!
//! The door has checked the signature before anything of the body is read here.

use std::borrow::Cow;
use std::fmt::Write as _;

use strongroom_model::{ApiError, ErrorKind};
use strongroom_wire::{Answer, Head, Verified};

use super::credentials::Principal;

/// The call, as it is counted.
pub(super) const OPERATION: &str = "GetCallerIdentity";
/// The service in the scope of a signature.
pub(super) const SIGNING_NAME: &str = "sts";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const FORM: &str = "application/x-www-form-urlencoded";

/// Whether a request is in the query protocol, which no other service here speaks.
pub(super) fn is_asked(head: &Head<'_>) -> bool {
    let media_type = head.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    head.method == "POST" && head.path == "/" && media_type.trim().eq_ignore_ascii_case(FORM)
}

/// Answers a request whose signature holds.
///
/// # Errors
/// `UnknownOperationException` for any other action.
pub(super) fn answer(_: &Verified, principal: &Principal, body: &[u8]) -> Result<String, ApiError> {
    let action = form_urlencoded::parse(body).find(|(name, _)| name == "Action").map(|(_, value)| value);
    match action.as_deref() {
        Some("GetCallerIdentity") => Ok(caller_identity(principal)),
        action => {
            let message = format!("Could not find operation {} for version 2011-06-15", action.unwrap_or("(none)"));
            Err(ApiError::new(ErrorKind::UnknownOperation, message))
        }
    }
}

fn caller_identity(principal: &Principal) -> String {
    let (arn, user_id, account) = (escaped(&principal.arn), escaped(&principal.user_id), principal.account.as_str());
    format!("<Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{account}</Account>")
}

/// The bytes of an outcome of `GetCallerIdentity`.
pub(super) fn message(outcome: Result<String, ApiError>, request_id: &str) -> Answer {
    let (status, body) = match outcome {
        Ok(result) => (
            200,
            format!(
                "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult>{result}\
                 </GetCallerIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
                 </GetCallerIdentityResponse>"
            ),
        ),
        Err(error) => {
            let (status, code) = code(error.kind());
            let kind = if status < 500 { "Sender" } else { "Receiver" };
            let message = escaped(error.message());
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

/// Status and name of an error in the query protocol, which are others than in JSON.
fn code(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::ExpiredToken => (403, "ExpiredToken"),
        ErrorKind::IncompleteSignature => (403, "IncompleteSignature"),
        ErrorKind::InvalidSignature => (403, "SignatureDoesNotMatch"),
        ErrorKind::MissingAuthenticationToken => (403, "MissingAuthenticationToken"),
        ErrorKind::Throttling => (400, "Throttling"),
        ErrorKind::UnknownOperation => (400, "InvalidAction"),
        ErrorKind::UnrecognizedClient => (403, "InvalidClientTokenId"),
        kind => (kind.status(), kind.name()),
    }
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
mod tests {
    use super::*;

    #[test]
    fn only_forms_are_for_it() {
        let head = |content_type| Head {
            method: "POST",
            path: "/",
            query: "",
            headers: vec![("Content-Type", content_type), ("x", "y")],
        };
        assert!(is_asked(&head("application/x-www-form-urlencoded; charset=utf-8")));
        assert!(!is_asked(&head("application/x-amz-json-1.1")));
        assert!(!is_asked(&Head { method: "GET", ..head(FORM) }));
    }

    #[test]
    fn errors_have_the_names_of_the_query_protocol() {
        let error = ApiError::new(ErrorKind::UnrecognizedClient, "a < b & \"c\"");
        let answer = message(Err(error), "id");
        assert_eq!(answer.status, 403);
        let body = String::from_utf8(answer.body).unwrap();
        assert!(body.contains("<Type>Sender</Type><Code>InvalidClientTokenId</Code>"), "{body}");
        assert!(body.contains("<Message>a &#60; b &#38; &#34;c&#34;</Message>"), "{body}");
    }
}
