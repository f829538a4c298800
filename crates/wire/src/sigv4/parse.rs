//! Owns what a request says about its signature: the grammar of the `Authorization` header and of the `X-Amz-…` query
//! parameters. Proves nothing.

use strongroom_model::{ApiError, ErrorKind};

use super::canonical::parameter;
use super::{ALGORITHM, Claim, EXPIRES_MAX, Form, Scope, invalid, mismatch, sha256};
use crate::front::Head;

/// Reads the claim of a request, by header or by query.
///
/// # Errors
/// `MissingAuthenticationTokenException`, `IncompleteSignatureException` or `InvalidSignatureException`, in AWS's words.
pub fn parse(head: &Head<'_>) -> Result<Claim, ApiError> {
    let by_query = parameter(head.query, "X-Amz-Algorithm");
    match (head.header("authorization"), by_query) {
        (Some(_), Some(_)) => {
            Err(invalid("Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."))
        }
        (Some(authorization), None) => by_header(head, authorization),
        (None, Some(algorithm)) => from_query(head.query, &algorithm),
        (None, None) => Err(ApiError::new(ErrorKind::MissingAuthenticationToken, "Missing Authentication Token")),
    }
}

fn by_header(head: &Head<'_>, authorization: &str) -> Result<Claim, ApiError> {
    let (algorithm, fields) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let field = |name: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
        fields.find(|(n, _)| *n == name).map(|(_, value)| value).filter(|_| algorithm == ALGORITHM)
    };
    let (credential, signature) = (field("Credential"), field("Signature"));
    let (signed_headers, date) = (field("SignedHeaders"), head.header("x-amz-date"));
    let (Some(credential), Some(signature), Some(signed_headers), Some(date)) =
        (credential, signature, signed_headers, date)
    else {
        let mut missing: Vec<String> =
            [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)]
                .into_iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
                .collect();
        if date.is_none() {
            missing.push(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned(),
            );
        }
        return Err(incomplete(&missing, authorization));
    };
    Ok(Claim {
        session_token: head.header("x-amz-security-token").map(str::to_owned),
        ..claim(credential, signature, signed_headers, date, Form::Header)?
    })
}

fn from_query(query: &str, algorithm: &str) -> Result<Claim, ApiError> {
    if algorithm != ALGORITHM {
        return Err(ApiError::new(
            ErrorKind::IncompleteSignature,
            format!("Unsupported AWS 'algorithm': '{algorithm}'. The algorithm is '{ALGORITHM}'."),
        ));
    }
    let required = |name: &str| {
        parameter(query, name).ok_or_else(|| {
            let text =
                format!("AWS query-string parameters must include '{name}'. Re-examine the query-string parameters.");
            ApiError::new(ErrorKind::IncompleteSignature, text)
        })
    };
    let credential = required("X-Amz-Credential")?;
    let signature = required("X-Amz-Signature")?;
    let signed_headers = required("X-Amz-SignedHeaders")?;
    let date = required("X-Amz-Date")?;
    let expires = required("X-Amz-Expires")?;
    let expires_seconds = expires.parse().ok().filter(|s| (1..=EXPIRES_MAX).contains(s)).ok_or_else(|| {
        invalid(format!("X-Amz-Expires must be a number of seconds from 1 to {EXPIRES_MAX}, not '{expires}'."))
    })?;
    Ok(Claim {
        session_token: parameter(query, "X-Amz-Security-Token"),
        ..claim(&credential, &signature, &signed_headers, &date, Form::Query { expires_seconds })?
    })
}

fn claim(credential: &str, signature: &str, signed_headers: &str, date: &str, form: Form) -> Result<Claim, ApiError> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [access_key_id, scope_date, region, service, terminator] = parts[..] else {
        return Err(ApiError::new(
            ErrorKind::IncompleteSignature,
            format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            ),
        ));
    };
    Ok(Claim {
        access_key_id: access_key_id.to_owned(),
        scope: Scope {
            date: scope_date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
        },
        signed_at: date.to_owned(),
        signed_headers: signed_headers.to_owned(),
        signature: data_encoding::HEXLOWER.decode(signature.as_bytes()).map_err(|_| mismatch())?,
        session_token: None,
        form,
    })
}

/// The header is not shown: whoever sends the wrong kind of credentials may have sent a password.
fn incomplete(missing: &[String], authorization: &str) -> ApiError {
    let digest = data_encoding::BASE64.encode(&sha256(authorization.as_bytes()));
    let text = format!("{} (Hashed with SHA-256 and encoded with Base64) Authorization={digest}", missing.join(" "));
    ApiError::new(ErrorKind::IncompleteSignature, text)
}
