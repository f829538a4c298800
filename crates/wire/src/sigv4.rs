//! Owns AWS Signature Version 4, both ways over one canonical form. A request is verified in two steps, since the secret is
//! looked up between them: [`parse`] reads who claims to have signed it, by header or by query, and [`Claim::verify`] holds
//! scope, time and signature against that, in this order. Only the latter makes a [`Verified`]. Whether the scope's region
//! is one of ours, and whether the access key exists, is the caller's business. Secrets never get into a message.

use std::fmt;

use aws_lc_rs::digest;
use strongroom_model::time::{MINUTE, SECOND};
use strongroom_model::{ApiError, ErrorKind, Timestamp};
use subtle::ConstantTimeEq;

use crate::front::Head;

mod canonical;
mod keys;
mod parse;
mod sign;

pub use keys::{SecretKey, SigningKey};
pub use parse::parse;
pub use sign::Signer;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// How far a client's clock may be off.
pub const SKEW_MAX: i64 = 5 * MINUTE;

/// How long a request that is signed by query may be valid, in seconds.
pub const EXPIRES_MAX: i64 = 7 * 24 * 3_600;

/// The only `x-amz-` header, and the only parameter, that may be added after signing: what it proves, it proves by itself.
const SESSION_TOKEN: &str = "X-Amz-Security-Token";

/// The parameter that holds the signature, which cannot sign itself.
const SIGNATURE: &str = "X-Amz-Signature";

/// Where a signature is valid: `DATE/REGION/SERVICE/aws4_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    date: String,
    region: String,
    service: String,
    terminator: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.date, self.region, self.service, self.terminator)
    }
}

/// What a request says about its signature; nothing of it is proved.
#[derive(Clone)]
pub struct Claim {
    access_key_id: String,
    scope: Scope,
    /// As it was sent, for messages and for the string to sign.
    signed_at: String,
    signed_headers: String,
    signature: Vec<u8>,
    session_token: Option<String>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Header,
    Query { expires_seconds: i64 },
}

/// What a signature is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The signing name: `cloudhsm`.
    pub service: &'a str,
    /// The time.
    pub now: Timestamp,
    /// Whether dot segments and repeated slashes are removed from the path, as every service but S3 does.
    pub normalize_path: bool,
}

/// Proof that a request was signed by an access key. Only [`Claim::verify`] makes one, and only for one body.
pub struct Verified {
    access_key_id: String,
    region: String,
    signed_at: Timestamp,
    session_token: Option<String>,
    covers_session_token: bool,
    body_digest: [u8; 32],
}

impl Claim {
    /// The access key that the request names.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The region of the scope.
    pub fn region(&self) -> &str {
        &self.scope.region
    }

    /// The service of the scope.
    pub fn service(&self) -> &str {
        &self.scope.service
    }

    /// The day of the scope, `YYYYMMDD`.
    pub fn date(&self) -> &str {
        &self.scope.date
    }

    /// The session token that came along.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// The key that must have signed the request, if the secret is this one.
    pub fn signing_key(&self, secret: &SecretKey) -> SigningKey {
        SigningKey::derive(secret, &self.scope.date, &self.scope.region, &self.scope.service)
    }

    /// Holds the request against its claim. `key` is what [`Claim::signing_key`] gives, or a copy that was kept.
    ///
    /// # Errors
    /// `InvalidSignatureException` with AWS's words for what is wrong.
    pub fn verify(
        &self,
        head: &Head<'_>,
        body: &[u8],
        key: &SigningKey,
        expected: &Expected<'_>,
    ) -> Result<Verified, ApiError> {
        self.check_scope(expected.service)?;
        let signed_at = self.check_time(expected.now)?;
        self.check_signed_headers(head)?;
        let body_digest = sha256(body);
        let unsigned_parameters: &[&[&str]] = match self.form {
            Form::Header => &[&[]],
            Form::Query { .. } if self.session_token.is_none() => &[&[SIGNATURE]],
            Form::Query { .. } => &[&[SIGNATURE], &[SIGNATURE, SESSION_TOKEN]],
        };
        let matches = |unsigned: &&[&str]| {
            let query = canonical::query(head.query, unsigned);
            let request = canonical::request(head, &query, &self.signed_headers, &body_digest, expected.normalize_path);
            let expected = key.sign(&string_to_sign(&self.signed_at, &self.scope, &request));
            bool::from(expected[..].ct_eq(&self.signature))
        };
        let Some(matched) = unsigned_parameters.iter().position(matches) else {
            return Err(mismatch());
        };
        let covers_session_token = self.session_token.is_none()
            || match self.form {
                Form::Header => self.signed_headers.split(';').any(|name| name.eq_ignore_ascii_case(SESSION_TOKEN)),
                Form::Query { .. } => matched == 0,
            };
        Ok(Verified {
            access_key_id: self.access_key_id.clone(),
            region: self.scope.region.clone(),
            signed_at,
            session_token: self.session_token.clone(),
            covers_session_token,
            body_digest,
        })
    }

    fn check_scope(&self, service: &str) -> Result<(), ApiError> {
        let Scope { date, terminator, .. } = &self.scope;
        if terminator != TERMINATOR {
            let text =
                format!("Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'.");
            return Err(invalid(text));
        }
        if self.scope.service != service {
            return Err(invalid(format!("Credential should be scoped to correct service: '{service}'.")));
        }
        if !self.signed_at.starts_with(date.as_str()) || date.len() != 8 {
            let day = self.signed_at.get(..8).unwrap_or(&self.signed_at);
            return Err(invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != \
                 '{day}', from '{}'.",
                self.signed_at
            )));
        }
        Ok(())
    }

    /// By header, a request is valid for as long as clocks may differ; by query, for as long as it says.
    fn check_time(&self, now: Timestamp) -> Result<Timestamp, ApiError> {
        let signed_at = Timestamp::from_basic(&self.signed_at)
            .ok_or_else(|| invalid(format!("Date must be in ISO-8601 'basic format'. Got '{}'.", self.signed_at)))?;
        let lifetime = match self.form {
            Form::Header => SKEW_MAX,
            Form::Query { expires_seconds } => expires_seconds * SECOND,
        };
        let (t, now_text) = (&self.signed_at, now.basic());
        if now.since(signed_at) > lifetime {
            let earliest = now.plus(-lifetime).basic();
            let lifetime = minutes(lifetime);
            let text = format!("Signature expired: {t} is now earlier than {earliest} ({now_text} - {lifetime}.)");
            return Err(invalid(text));
        }
        if signed_at.since(now) > SKEW_MAX {
            let latest = now.plus(SKEW_MAX).basic();
            let skew = minutes(SKEW_MAX);
            let text = format!("Signature not yet current: {t} is still later than {latest} ({now_text} + {skew}.)");
            return Err(invalid(text));
        }
        Ok(signed_at)
    }

    /// `host` and every `x-amz-` header but the session token must be signed.
    fn check_signed_headers(&self, head: &Head<'_>) -> Result<(), ApiError> {
        let is_signed = |name: &str| self.signed_headers.split(';').any(|signed| signed == name);
        let sent = head.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
        let sent = sent.filter(|name| name.starts_with("x-amz-") && !name.eq_ignore_ascii_case(SESSION_TOKEN));
        match ["host".to_owned()].into_iter().chain(sent).find(|name| !is_signed(name)) {
            Some(name) => Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("access_key_id", &self.access_key_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl Verified {
    /// The access key that signed.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The region that the signature is for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// When it was signed, by the client's clock.
    pub fn signed_at(&self) -> Timestamp {
        self.signed_at
    }

    /// The session token that came along. It is not proved: hold it against the session of the access key.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }

    /// Whether the signature covers the session token, or there is none.
    pub fn covers_session_token(&self) -> bool {
        self.covers_session_token
    }

    /// Whether this is the body that was signed.
    pub(crate) fn covers(&self, body: &[u8]) -> bool {
        self.body_digest == sha256(body)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Verified");
        out.field("access_key_id", &self.access_key_id).field("region", &self.region).finish_non_exhaustive()
    }
}

/// The signature is not that of this request with this secret.
pub(crate) fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
         and signing method. Consult the service documentation for details.",
    )
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidSignature, message)
}

fn string_to_sign(signed_at: &str, scope: &Scope, canonical_request: &str) -> String {
    let digest = data_encoding::HEXLOWER.encode(&sha256(canonical_request.as_bytes()));
    format!("{ALGORITHM}\n{signed_at}\n{scope}\n{digest}")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn minutes(millis: i64) -> String {
    if millis % MINUTE == 0 { format!("{} min", millis / MINUTE) } else { format!("{} sec", millis / SECOND) }
}

#[cfg(test)]
mod tests;
