//! Owns what is done with aws-lc by its C interface, where aws-lc-rs does not reach: RSA with any padding, ECDSA over given
//! digests, keys as PKCS#8 and SubjectPublicKeyInfo, AES-GCM with short tags. Each handle owns one C object, frees it when
//! dropped, and is used through shared references only by functions that aws-lc documents as non-mutating, so handles may
//! be used by many threads at once.
//!
//! This is the only module of the crate with `unsafe`. It checks nothing that is policy (key sizes, exponents, permitted
//! mechanisms); its callers do. Key pairs, blinding, ECDSA nonces and PSS salts come from aws-lc's own generator.
#![allow(unsafe_code, reason = "aws-lc's interface is C; nothing outside this module calls it")]
#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

use std::ffi::c_int;
use std::ptr::NonNull;

mod bn;
pub mod ec;
pub mod gcm;
mod pkey;
pub mod rsa;

/// aws-lc refused: the input is not a valid key, does not fit the key, or memory ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the crypto library refused the input")]
pub struct Rejected;

/// Takes ownership of what a constructor returned.
fn owned<T>(pointer: *mut T) -> Result<NonNull<T>, Rejected> {
    NonNull::new(pointer).ok_or_else(rejected)
}

/// Reads aws-lc's return value, where 1 is success.
fn succeeded(result: c_int) -> Result<(), Rejected> {
    if result == 1 { Ok(()) } else { Err(rejected()) }
}

/// Clears the thread's error queue, so that a failure leaves nothing behind for the next caller on this thread.
fn rejected() -> Rejected {
    // SAFETY: touches only the calling thread's error queue.
    unsafe { aws_lc_sys::ERR_clear_error() };
    Rejected
}
