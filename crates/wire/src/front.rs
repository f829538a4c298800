//! Owns the outside of a message: which operation a head asks for, in which protocol, and the bytes of every answer. It
//! looks at method, path, target and content type, never at a body or a signature. Each error becomes bytes here and nowhere
//! else.

use std::borrow::Cow;

use strongroom_model::shape::{Kind, ShapeIndex, Table};
use strongroom_model::{ApiError, ErrorKind, Operation, Service, Value, table};

use crate::{cbor, json};

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/cbor";
const RPC_V2_CBOR: &str = "rpc-v2-cbor";

/// Every error is a structure of one string, and the common ones have no shape of their own: all are written as this one.
const ANY_ERROR: &str = ErrorKind::CloudHsmService.name();

/// The head of a request, as it was sent: path and query are not decoded.
#[derive(Clone, Debug, Default)]
pub struct Head<'a> {
    /// `POST`
    pub method: &'a str,
    /// `/`, without the query.
    pub path: &'a str,
    /// What follows the question mark, or nothing.
    pub query: &'a str,
    /// Names in any case, values as text, in their order.
    pub headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON, the operation in `X-Amz-Target`.
    AwsJson11,
    /// CBOR, the operation in the path.
    RpcV2Cbor,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// How its body is written, and its answer.
    pub protocol: Protocol,
    /// What is to be done.
    pub operation: Operation,
}

/// Why a head asks for nothing that there is.
#[derive(Debug)]
pub enum Refusal {
    /// Another method than POST.
    Method,
    /// A path, content type or protocol that is none of ours.
    Protocol,
    /// No such operation, in a protocol that is known.
    Operation(Protocol, ApiError),
}

/// An answer, but for the headers that the server adds to every one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Finds the operation that a request asks for.
///
/// # Errors
/// A [`Refusal`], which [`refused`] turns into an answer.
pub fn route(head: &Head<'_>) -> Result<Target, Refusal> {
    if head.method != "POST" {
        return Err(Refusal::Method);
    }
    let (protocol, service, operation) = named(head)?;
    let services = [Service::CloudHsm, Service::Strongroom, Service::Tagging];
    let found = services.into_iter().find(|s| is_name_of(*s, protocol, service));
    match found.and_then(|service| Operation::find(service, operation)) {
        Some(operation) => Ok(Target { protocol, operation }),
        None => Err(unknown(protocol, format!("There is no operation {operation} of service {service}."))),
    }
}

/// The protocol of a request, and the service and operation that it names.
fn named<'a>(head: &Head<'a>) -> Result<(Protocol, &'a str, &'a str), Refusal> {
    match head.header("smithy-protocol") {
        Some(RPC_V2_CBOR) => named_in_path(head),
        None if head.path == "/" && has_content_type(head, JSON) => {
            let target = head.header("x-amz-target").and_then(|target| target.split_once('.'));
            target
                .map(|(service, operation)| (Protocol::AwsJson11, service, operation))
                .ok_or_else(|| unknown(Protocol::AwsJson11, "X-Amz-Target names no operation."))
        }
        _ => Err(Refusal::Protocol),
    }
}

fn named_in_path<'a>(head: &Head<'a>) -> Result<(Protocol, &'a str, &'a str), Refusal> {
    if ["x-amz-target", "x-amzn-target"].iter().any(|name| head.header(name).is_some()) {
        let text = "A request of protocol rpc-v2-cbor names its operation in the path and must not have X-Amz-Target.";
        return Err(unknown(Protocol::RpcV2Cbor, text));
    }
    if head.header("content-type").is_some() && !has_content_type(head, CBOR) {
        return Err(Refusal::Protocol);
    }
    let mut path = head.path.rsplit('/');
    let last = [path.next(), path.next(), path.next(), path.next(), path.next()];
    match last {
        [Some(operation), Some("operation"), Some(service), Some("service"), Some(_)] => {
            Ok((Protocol::RpcV2Cbor, service, operation))
        }
        _ => Err(Refusal::Protocol),
    }
}

fn unknown(protocol: Protocol, message: impl Into<String>) -> Refusal {
    Refusal::Operation(protocol, ApiError::new(ErrorKind::UnknownOperation, message))
}

/// CBOR also takes the absolute shape id, with a dot for its `#`.
fn is_name_of(service: Service, protocol: Protocol, name: &str) -> bool {
    let shape_name = match (protocol, name.rsplit_once('.')) {
        (Protocol::RpcV2Cbor, Some((namespace, shape_name))) if namespace == service.namespace() => shape_name,
        _ => name,
    };
    shape_name == service.shape_name()
}

/// Whether the media type is this one, whatever its parameters.
fn has_content_type(head: &Head<'_>, media_type: &str) -> bool {
    let given = head.header("content-type").unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// The answer to a call that succeeded.
pub fn success(protocol: Protocol, operation: Operation, output: &Value, request_id: &str) -> Answer {
    let table = table::api();
    let shape = table.find(operation.output()).expect("the table has the output of every operation");
    message(protocol, 200, output, table, shape, request_id)
}

/// The answer to a call that failed. What the model declares has AWS's member `Message`; the common errors have `message`.
pub fn failure(protocol: Protocol, service: Service, error: &ApiError, request_id: &str) -> Answer {
    let (kind, table) = (error.kind(), table::api());
    // Denials have the member of modelled errors, though no model declares them.
    let name = if kind.is_modelled() || kind == ErrorKind::AccessDenied { "Message" } else { "message" };
    let shape = table.find(ANY_ERROR).expect("the table has the errors that are modelled");
    let text = Value::Structure(vec![(name.into(), Value::String(error.message().to_owned()))]);
    let id = format!("{}#{}", service.namespace(), kind.name_in(service));
    let body = error_structure(protocol, &id, text);
    message(protocol, kind.status(), &body, table, shape, request_id)
}

/// The answer to a head that asks for nothing that there is.
pub fn refused(refusal: &Refusal, request_id: &str) -> Answer {
    let (status, body) = match refusal {
        Refusal::Operation(protocol, error) => return failure(*protocol, Service::CloudHsm, error, request_id),
        Refusal::Protocol => (404, "<UnknownOperationException/>\n"),
        Refusal::Method => (
            403,
            "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n\
             </AccessDeniedException>\n",
        ),
    };
    let headers = vec![("content-type", "text/xml".to_owned()), ("x-amzn-requestid", request_id.to_owned())];
    Answer { status, headers, body: body.into() }
}

/// An error's structure with its type in front: the bare name in JSON, the absolute shape id in CBOR.
pub fn error_structure(protocol: Protocol, shape_id: &str, error: Value) -> Value {
    let name = match protocol {
        Protocol::AwsJson11 => shape_id.rsplit('#').next().unwrap_or(shape_id),
        Protocol::RpcV2Cbor => shape_id,
    };
    let mut members = vec![(Cow::Borrowed("__type"), Value::String(name.to_owned()))];
    if let Value::Structure(own) = error {
        members.extend(own);
    }
    Value::Structure(members)
}

/// The answer that a value of a shape is. The unit has no body, and in CBOR no content type either.
pub fn message(
    protocol: Protocol,
    status: u16,
    value: &Value,
    table: &Table,
    shape: ShapeIndex,
    request_id: &str,
) -> Answer {
    let mut headers = vec![("x-amzn-requestid", request_id.to_owned())];
    let is_unit = matches!(table[shape].kind, Kind::Unit);
    match protocol {
        Protocol::AwsJson11 => headers.push(("content-type", JSON.to_owned())),
        Protocol::RpcV2Cbor => {
            headers.push(("smithy-protocol", RPC_V2_CBOR.to_owned()));
            headers.extend((!is_unit).then(|| ("content-type", CBOR.to_owned())));
        }
    }
    let body = match protocol {
        _ if is_unit => Vec::new(),
        Protocol::AwsJson11 => json::encode(value, table, shape),
        Protocol::RpcV2Cbor => cbor::encode(value, table, shape),
    };
    Answer { status, headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_head<'a>(target: &'a str) -> Head<'a> {
        let headers = vec![("Content-Type", "application/x-amz-json-1.1; charset=utf-8"), ("X-Amz-Target", target)];
        Head { method: "POST", path: "/", query: "", headers }
    }

    fn cbor_head(path: &str) -> Head<'_> {
        let headers = vec![("Smithy-Protocol", "rpc-v2-cbor"), ("Content-Type", "application/cbor")];
        Head { method: "POST", path, query: "", headers }
    }

    fn refusal(head: &Head<'_>) -> Answer {
        refused(&route(head).unwrap_err(), "id")
    }

    #[test]
    fn finds_the_operation_in_both_protocols() {
        let found = |head: &Head<'_>| route(head).map(|t| (t.protocol, t.operation)).ok();
        let (json, cbor) = (Protocol::AwsJson11, Protocol::RpcV2Cbor);
        assert_eq!(found(&json_head("BaldrApiService.ListTags")), Some((json, Operation::ListTags)));
        assert_eq!(found(&json_head("Strongroom.ListCopies")), Some((json, Operation::ListCopies)));
        for service in ["BaldrApiService", "com.amazonaws.cloudhsmv2.BaldrApiService"] {
            let path = format!("/prefix/service/{service}/operation/CopyBackupToRegion");
            assert_eq!(found(&cbor_head(&path)), Some((cbor, Operation::CopyBackupToRegion)), "{path}");
        }
        let own = cbor_head("/service/strongroom.Strongroom/operation/ListSubnets");
        assert_eq!(found(&own), Some((cbor, Operation::ListSubnets)));
    }

    #[test]
    fn refuses_unknown_operations_in_their_protocol() {
        for target in ["BaldrApiService.ListCopies", "Strongroom.ListTags", "BaldrApiService.", "ListTags", ""] {
            let answer = refusal(&json_head(target));
            assert_eq!(answer.status, ErrorKind::UnknownOperation.status(), "{target}");
            let body = String::from_utf8(answer.body).unwrap();
            assert!(body.starts_with(r#"{"__type":"UnknownOperationException","message":""#), "{body}");
        }
        for service in ["Strongroom", "com.amazonaws.cloudhsmv2.Strongroom", "x.BaldrApiService"] {
            let answer = refusal(&cbor_head(&format!("/service/{service}/operation/ListTags")));
            assert!(answer.headers.contains(&("smithy-protocol", "rpc-v2-cbor".to_owned())), "{service}");
        }
    }

    #[test]
    fn refuses_other_methods_types_and_paths() {
        let get = refusal(&Head { method: "GET", ..json_head("BaldrApiService.ListTags") });
        assert_eq!(get.status, 403);
        assert!(get.body.starts_with(b"<AccessDeniedException>\n  <Message>Unable to determine service/operation"));
        let json_1_0 =
            vec![("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "BaldrApiService.ListTags")];
        let cbor_as_json = vec![("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/json")];
        let other = vec![("smithy-protocol", "rpc-v2-json"), ("content-type", "application/cbor")];
        let path = "/service/BaldrApiService/operation/ListTags";
        for head in [
            Head { headers: json_1_0, ..json_head("") },
            Head { path: "/x", ..json_head("BaldrApiService.ListTags") },
            Head { headers: cbor_as_json, ..cbor_head(path) },
            Head { headers: other, ..cbor_head(path) },
            cbor_head("/service/BaldrApiService/operation/ListTags/"),
            cbor_head("service/BaldrApiService/operation/ListTags"),
            cbor_head("/"),
        ] {
            let answer = refusal(&head);
            assert_eq!((answer.status, &*answer.body), (404, &b"<UnknownOperationException/>\n"[..]), "{head:?}");
        }
    }

    #[test]
    fn cbor_must_not_come_with_a_target() {
        for name in ["X-Amz-Target", "x-amzn-target"] {
            let mut head = cbor_head("/service/BaldrApiService/operation/ListTags");
            head.headers.push((name, "BaldrApiService.ListTags"));
            assert!(matches!(route(&head), Err(Refusal::Operation(Protocol::RpcV2Cbor, _))), "{name}");
        }
    }
}
