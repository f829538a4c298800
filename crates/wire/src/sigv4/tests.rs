//! What the vectors do not have: the words of every refusal, the clock, and the way from a signed body to a call.

use strongroom_model::time::{DAY, MINUTE, SECOND};
use strongroom_model::{Call, Operation};

use super::*;
use crate::front::{Protocol, Target};

const NOW: Timestamp = Timestamp::from_millis(1_795_511_647_112);
const EXPECTED: Expected<'_> = Expected { service: "cloudhsm", now: NOW, normalize_path: true };

fn secret() -> SecretKey {
    SecretKey::new("test")
}

/// The headers of a signed call, `Authorization` last.
fn signed(body: &[u8], at: Timestamp, service: &str) -> Vec<(&'static str, String)> {
    let mut headers =
        vec![("host", "localhost:8443".to_owned()), ("x-amz-target", "BaldrApiService.ListTags".to_owned())];
    let secret = secret();
    let signer = Signer { access_key_id: "test", secret: &secret, session_token: None, region: "us-east-1", service };
    let added = signer.sign(&head(&headers), body, at);
    headers.extend(added);
    headers
}

fn head<'a>(headers: &'a [(&'static str, String)]) -> Head<'a> {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Head { method: "POST", path: "/", query: "", headers }
}

fn verify(headers: &[(&'static str, String)], body: &[u8], expected: &Expected<'_>) -> Result<Verified, ApiError> {
    let head = head(headers);
    let claim = parse(&head)?;
    claim.verify(&head, body, &claim.signing_key(&secret()), expected)
}

fn refusal(headers: &[(&'static str, String)]) -> String {
    verify(headers, b"", &EXPECTED).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_signed_body_becomes_a_call() {
    let body = br#"{"ResourceId":"backup-5tptus75gbc"}"#;
    let verified = verify(&signed(body, NOW, "cloudhsm"), body, &EXPECTED).unwrap();
    assert_eq!((verified.access_key_id(), verified.region()), ("test", "us-east-1"));
    assert_eq!(verified.signed_at(), NOW.plus(-112));
    let target = Target { protocol: Protocol::AwsJson11, operation: Operation::ListTags };
    let Call::ListTags(input) = crate::decode_call(&verified, &target, body).unwrap() else { panic!() };
    assert_eq!(input.resource_id, "backup-5tptus75gbc");
    let other = crate::decode_call(&verified, &target, br#"{"ResourceId":"backup-aaaaaaaaaaa"}"#);
    assert_eq!(other.unwrap_err().kind(), ErrorKind::InvalidSignature);
}

#[test]
fn broken_bodies_have_the_error_of_their_kind() {
    let target = Target { protocol: Protocol::AwsJson11, operation: Operation::ListTags };
    for (body, kind, message) in [
        ("{", ErrorKind::Serialization, "The body is not well-formed: EOF while parsing an object at line 1 column 1."),
        (
            "{}",
            ErrorKind::CloudHsmInvalidRequest,
            "1 validation error detected: Value null at 'resourceId' failed to satisfy constraint: Member must not be null",
        ),
    ] {
        let verified = verify(&signed(body.as_bytes(), NOW, "cloudhsm"), body.as_bytes(), &EXPECTED).unwrap();
        let error = crate::decode_call(&verified, &target, body.as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
    let long = vec![b' '; crate::BODY_MAX + 1];
    let verified = verify(&signed(&long, NOW, "cloudhsm"), &long, &EXPECTED).unwrap();
    let error = crate::decode_call(&verified, &target, &long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RequestEntityTooLarge);
}

#[test]
fn clocks_may_differ_by_five_minutes() {
    let at = |millis: i64| verify(&signed(b"", NOW.plus(millis), "cloudhsm"), b"", &EXPECTED);
    assert!(at(-5 * MINUTE + SECOND).is_ok() && at(5 * MINUTE).is_ok());
    assert_eq!(
        at(-(19 * MINUTE + 5 * SECOND)).unwrap_err().message(),
        "Signature expired: 20261124T085502Z is now earlier than 20261124T090907Z (20261124T091407Z - 5 min.)"
    );
    assert_eq!(
        at(6 * MINUTE).unwrap_err().message(),
        "Signature not yet current: 20261124T092007Z is still later than 20261124T091907Z (20261124T091407Z + 5 min.)"
    );
}

#[test]
fn scopes_are_held_against_ours() {
    let other = verify(&signed(b"", NOW, "s3"), b"", &EXPECTED).unwrap_err();
    assert_eq!(other.message(), "Credential should be scoped to correct service: 'cloudhsm'.");
    let mut headers = signed(b"", NOW, "cloudhsm");
    headers.last_mut().unwrap().1 = headers.last().unwrap().1.replace("aws4_request", "aws5_request");
    assert_eq!(
        refusal(&headers),
        "InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
    );
    let mut headers = signed(b"", NOW, "cloudhsm");
    headers.last_mut().unwrap().1 = headers.last().unwrap().1.replace("/20261124/", "/20261123/");
    assert_eq!(
        refusal(&headers),
        "InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
         HTTP: '20261123' != '20261124', from '20261124T091407Z'."
    );
}

#[test]
fn what_decides_must_be_signed() {
    for name in ["host", "x-amz-target", "x-amz-date"] {
        let mut headers = signed(b"", NOW, "cloudhsm");
        let authorization = &mut headers.last_mut().unwrap().1;
        *authorization = authorization.replace(&format!("{name};"), "").replace(&format!(";{name}"), "");
        let expected =
            format!("InvalidSignatureException: '{name}' must be a 'SignedHeader' in the AWS Authorization.");
        assert_eq!(refusal(&headers), expected);
    }
    let mut headers = signed(b"", NOW, "cloudhsm");
    headers.insert(0, ("X-Amz-Other", "added on the way".to_owned()));
    assert!(refusal(&headers).ends_with("'x-amz-other' must be a 'SignedHeader' in the AWS Authorization."));
    assert!(verify(&headers[1..], b"", &EXPECTED).unwrap().covers_session_token());
    headers[0] = ("x-amz-security-token", "added on the way".to_owned());
    assert!(!verify(&headers, b"", &EXPECTED).unwrap().covers_session_token());
}

#[test]
fn a_signed_header_must_be_there_even_if_it_was_empty() {
    let mut headers = vec![("host", "localhost".to_owned()), ("x-note", String::new())];
    let secret = secret();
    let signer = Signer {
        access_key_id: "test",
        secret: &secret,
        session_token: None,
        region: "us-east-1",
        service: "cloudhsm",
    };
    let added = signer.sign(&head(&headers), b"", NOW);
    headers.extend(added);
    assert!(verify(&headers, b"", &EXPECTED).is_ok());
    headers.remove(1);
    assert_eq!(verify(&headers, b"", &EXPECTED).unwrap_err().message(), mismatch().message());
}

#[test]
fn tells_what_a_signature_lacks() {
    let with = |authorization: &str| {
        let mut headers = signed(b"", NOW, "cloudhsm");
        headers.last_mut().unwrap().1 = authorization.to_owned();
        refusal(&headers)
    };
    assert_eq!(refusal(&[]), "MissingAuthenticationTokenException: Missing Authentication Token");
    assert_eq!(
        with("AWS4-HMAC-SHA256 SignedHeaders=host"),
        "IncompleteSignatureException: Authorization header requires 'Credential' parameter. Authorization header requires \
         'Signature' parameter. (Hashed with SHA-256 and encoded with Base64) \
         Authorization=T6TlTF0tP7OEirEb+CC+gAdhBAW19reUS2EXKW3XV6M="
    );
    let basic = with("Basic dGVzdDp0ZXN0");
    assert!(basic.contains("requires 'SignedHeaders' parameter.") && !basic.contains("dGVzdDp0ZXN0"), "{basic}");
    let short = with("AWS4-HMAC-SHA256 Credential=test/20261124, SignedHeaders=host, Signature=00");
    assert!(short.contains("must have exactly 5 slash-delimited elements"), "{short}");
    let query = Head { query: "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c", ..head(&[]) };
    let message = parse(&query).unwrap_err().message().to_owned();
    assert_eq!(
        message,
        "AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters."
    );
    let headers = signed(b"", NOW, "cloudhsm");
    let both = Head { query: "X-Amz-Algorithm=AWS4-HMAC-SHA256", ..head(&headers) };
    assert_eq!(
        parse(&both).unwrap_err().message(),
        "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."
    );
}

#[test]
fn a_query_is_valid_as_long_as_it_says_but_a_week_at_most() {
    let query = |expires: i64| {
        format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F20261124%2Fus-east-1%2Fcloudhsm%2Faws4_request&\
             X-Amz-Date=20261124T091407Z&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature="
        )
    };
    let verify = |query: &str, now: Timestamp| {
        let head = Head { method: "POST", path: "/", query, headers: vec![("host", "localhost")] };
        let claim = parse(&head)?;
        claim.verify(&head, b"", &claim.signing_key(&secret()), &Expected { now, ..EXPECTED })
    };
    let unsigned = query(90);
    let head = Head { method: "POST", path: "/", query: &unsigned, headers: vec![("host", "localhost")] };
    let claim = parse(&head).unwrap();
    let request = canonical::request(&head, &canonical::query(&unsigned, &[SIGNATURE]), "host", &sha256(b""), true);
    let to_sign = string_to_sign("20261124T091407Z", &claim.scope, &request);
    let signed = unsigned + &data_encoding::HEXLOWER.encode(&claim.signing_key(&secret()).sign(&to_sign));
    assert!(verify(&signed, NOW).is_ok() && verify(&signed, NOW.plus(89 * SECOND)).is_ok());
    assert_eq!(
        verify(&signed, NOW.plus(DAY)).unwrap_err().message(),
        "Signature expired: 20261124T091407Z is now earlier than 20261125T091237Z (20261125T091407Z - 90 sec.)"
    );
    for expires in [0, -1, EXPIRES_MAX + 1] {
        let message = verify(&query(expires), NOW).unwrap_err().message().to_owned();
        assert!(message.starts_with("X-Amz-Expires must be a number of seconds from 1 to 604800"), "{message}");
    }
}

#[test]
fn secrets_do_not_show() {
    let headers = signed(b"", NOW, "cloudhsm");
    let claim = parse(&head(&headers)).unwrap();
    let verified = verify(&headers, b"", &EXPECTED).unwrap();
    let key = SecretKey::new("s3cr3t");
    let shown = format!("{key:?} {:?} {claim:?} {verified:?}", claim.signing_key(&key));
    assert!(!shown.contains("s3cr3t") && !shown.contains("signature") && shown.contains("us-east-1"), "{shown}");
}
