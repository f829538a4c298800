//! Owns [`ApiError`]: the errors that a caller sees, each with a public message and, apart from it, a private cause for
//! the log. Which errors an operation may answer is in the table of shapes; the common ones may answer any call.

use std::error::Error;
use std::fmt;

use crate::call::Service;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $wire:literal $status:literal $modelled:literal),+ $(,)?) => {
        /// What went wrong, by AWS's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $($(#[$doc])* $name,)+ }

        impl ErrorKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// AWS's name, without a namespace.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire),+ }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// Whether the service's model declares it (its member is `Message`); a common error has `message`.
            pub const fn is_modelled(self) -> bool {
                match self { $(Self::$name => $modelled),+ }
            }
        }
    };
}

kinds! {
    /// A denial by the service itself, such as a shared backup that may not be copied.
    CloudHsmAccessDenied "CloudHsmAccessDeniedException" 400 true,
    /// The store, the HSM host or a peer failed; nothing was changed, and the call may be repeated.
    CloudHsmInternalFailure "CloudHsmInternalFailureException" 500 true,
    /// The request is not valid, or not in this state.
    CloudHsmInvalidRequest "CloudHsmInvalidRequestException" 400 true,
    /// More than 50 tags.
    CloudHsmResourceLimitExceeded "CloudHsmResourceLimitExceededException" 400 true,
    /// No such cluster, HSM or backup.
    CloudHsmResourceNotFound "CloudHsmResourceNotFoundException" 400 true,
    /// What the service holds is damaged; a repeat does not help.
    CloudHsmService "CloudHsmServiceException" 400 true,
    /// A tag, or a policy about tags, forbids it.
    CloudHsmTag "CloudHsmTagException" 400 true,
    /// A policy denies the call.
    AccessDenied "AccessDeniedException" 400 false,
    /// The session's credentials have run out.
    ExpiredToken "ExpiredTokenException" 400 false,
    /// A part of the signature is missing.
    IncompleteSignature "IncompleteSignatureException" 400 false,
    /// A failure before any operation is known.
    InternalFailure "InternalFailure" 500 false,
    /// The signature, its date or its scope is wrong.
    InvalidSignature "InvalidSignatureException" 400 false,
    /// The call is not signed.
    MissingAuthenticationToken "MissingAuthenticationTokenException" 400 false,
    /// The body is longer than the service takes.
    RequestEntityTooLarge "RequestEntityTooLargeException" 413 false,
    /// The body is not of the protocol or not of the shape.
    Serialization "SerializationException" 400 false,
    /// The service is stopping.
    ServiceUnavailable "ServiceUnavailable" 503 false,
    /// Too many calls.
    Throttling "ThrottlingException" 400 false,
    /// No such operation.
    UnknownOperation "UnknownOperationException" 400 false,
    /// No such access key.
    UnrecognizedClient "UnrecognizedClientException" 400 false,
}

impl ErrorKind {
    /// The name by which a service knows it.
    pub const fn name_in(self, service: Service) -> &'static str {
        match (service, self) {
            (Service::Tagging, Self::CloudHsmInternalFailure | Self::CloudHsmService) => "InternalServiceException",
            (Service::Tagging, Self::CloudHsmInvalidRequest | Self::CloudHsmTag) => "InvalidParameterException",
            (Service::Tagging, Self::Throttling) => "ThrottledException",
            _ => self.name(),
        }
    }
}

/// An answer that is an error. `Display` shows the public message only; the cause is for the log.
#[derive(Debug)]
pub struct ApiError {
    kind: ErrorKind,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// An error with its public message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None }
    }

    /// `CloudHsmInvalidRequestException`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::CloudHsmInvalidRequest, message)
    }

    /// `CloudHsmResourceNotFoundException`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::CloudHsmResourceNotFound, message)
    }

    /// `CloudHsmInternalFailureException`, retriable, with the cause for the log.
    pub fn internal(message: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: ErrorKind::CloudHsmInternalFailure, message: message.into(), cause: Some(cause.into()) }
    }

    /// `CloudHsmServiceException`: what is there is damaged, and a repeat does not help; with the cause for the log.
    pub fn damaged(message: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: ErrorKind::CloudHsmService, ..Self::internal(message, cause) }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the caller reads.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What only the log gets.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|c| &**c as &(dyn Error + 'static))
    }
}
