//! Owns how a refusal is made: a CKR_… number and a sentence for people, AWS's where one is known.

use strongroom_link::hsm::Failure;
use strongroom_link::pkcs11::{CKR_FUNCTION_FAILED, Ulong};

use crate::lc::Rejected;

/// A refusal.
pub(crate) fn refusal(ckr: Ulong, message: impl Into<String>) -> Failure {
    Failure { ckr, message: message.into() }
}

/// What a caller hears when aws-lc refuses what our own checks let through.
pub(crate) fn unexpected(_: Rejected) -> Failure {
    refusal(CKR_FUNCTION_FAILED, "The crypto library refused the operation. Nothing was changed.")
}
