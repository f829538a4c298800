//! Owns how errors are called in the query protocol, where names and statuses are others than in JSON, and the errors that
//! only STS has.

use std::error::Error;

use strongroom_model::{ApiError, ErrorKind};

/// An answer that is an error.
#[derive(Debug)]
pub enum StsError {
    /// One that every service has.
    Common(ApiError),
    /// One of STS's own.
    Own {
        /// Its name.
        code: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the caller reads.
        message: String,
    },
}

impl StsError {
    /// `AccessDenied`
    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self::Own { code: "AccessDenied", status: 403, message: message.into() }
    }

    /// `ValidationError`
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Own { code: "ValidationError", status: 400, message: message.into() }
    }

    /// `MalformedPolicyDocument`
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::Own { code: "MalformedPolicyDocument", status: 400, message: message.into() }
    }

    /// `PackedPolicyTooLarge`
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::Own { code: "PackedPolicyTooLarge", status: 400, message: message.into() }
    }

    /// The name in the query protocol.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Common(error) => common(error.kind()).1,
            Self::Own { code, .. } => code,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::Common(error) => common(error.kind()).0,
            Self::Own { status, .. } => *status,
        }
    }

    /// What the caller reads.
    pub fn message(&self) -> &str {
        match self {
            Self::Common(error) => error.message(),
            Self::Own { message, .. } => message,
        }
    }

    /// What only the log gets.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        match self {
            Self::Common(error) => error.cause(),
            Self::Own { .. } => None,
        }
    }
}

impl From<ApiError> for StsError {
    fn from(error: ApiError) -> Self {
        Self::Common(error)
    }
}

fn common(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::CloudHsmInternalFailure | ErrorKind::InternalFailure => (500, "InternalFailure"),
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
