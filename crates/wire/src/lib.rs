//! Bytes to calls and back. Owns the front door's grammar: which operation a request asks for ([`front`]), who signed it
//! ([`sigv4`]), what it says ([`json`], [`cbor`], [`validate`]), and the bytes of every answer. Order for a request: head,
//! operation, signature, then [`decode_call`], which alone makes a [`Call`] of bytes and takes a [`Verified`] to do so.
//! Never a socket, never a clock: the time is an argument.

use strongroom_model::{ApiError, Call, ErrorKind, table};

pub mod cbor;
pub mod front;
pub mod json;
mod place;
pub mod sigv4;
mod timestamp;
pub mod validate;

pub use front::{Answer, Head, Protocol, Target};
pub use sigv4::Verified;

/// The longest body that is read, in bytes.
pub const BODY_MAX: usize = 128 * 1024;

/// How deep lists, maps, structures and tags may nest.
pub const NESTING_MAX: usize = 32;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More than [`BODY_MAX`] bytes.
    #[error("the body is longer than {BODY_MAX} bytes")]
    TooLong,
    /// More than [`NESTING_MAX`] levels.
    #[error("the body nests deeper than {NESTING_MAX} levels")]
    TooDeep,
    /// Not JSON or not CBOR at all.
    #[error("the body is not well-formed: {0}")]
    NotWellFormed(String),
    /// Well-formed, but not what the operation takes.
    #[error("the body is not of the operation's shape: {0}")]
    NotOfShape(String),
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        let kind = match error {
            DecodeError::TooLong => ErrorKind::RequestEntityTooLarge,
            _ => ErrorKind::Serialization,
        };
        Self::new(kind, sentence(&error.to_string()))
    }
}

/// Makes a call of the body of a request whose signature holds.
///
/// # Errors
/// `SerializationException` if the body is not of the protocol or not of the operation's shape,
/// `RequestEntityTooLargeException`, `CloudHsmInvalidRequestException` if values break constraints (all are named), and
/// `InvalidSignatureException` if the signature was made for another body.
pub fn decode_call(verified: &Verified, target: &Target, body: &[u8]) -> Result<Call, ApiError> {
    if body.len() > BODY_MAX {
        return Err(DecodeError::TooLong.into());
    }
    if !verified.covers(body) {
        return Err(sigv4::mismatch());
    }
    let table = table::api();
    let shape = table.find(target.operation.input()).expect("the table has the input of every operation");
    let value = match target.protocol {
        Protocol::AwsJson11 => json::decode(body, table, shape)?,
        Protocol::RpcV2Cbor => cbor::decode(body, table, shape)?,
    };
    validate::check(&value, table, shape).map_err(|violations| ApiError::invalid(violations.to_string()))?;
    Call::from_value(target.operation, value)
        .map_err(|mismatch| ApiError::internal("The request could not be read.", mismatch))
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}
