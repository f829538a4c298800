//! Owns big integers on their way in and out of aws-lc.

use std::ptr::NonNull;

use aws_lc_sys::{BIGNUM, BN_bin2bn, BN_bn2bin, BN_bn2bin_padded, BN_clear_free, BN_num_bytes};

use super::{Rejected, owned, succeeded};

/// An owned big integer, wiped when dropped.
pub(super) struct Bn(NonNull<BIGNUM>);

impl Bn {
    /// Reads big-endian bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Rejected> {
        // SAFETY: reads `bytes.len()` bytes; a null third argument makes a new integer.
        owned(unsafe { BN_bin2bn(bytes.as_ptr(), bytes.len(), std::ptr::null_mut()) }).map(Self)
    }

    pub(super) fn as_ptr(&self) -> *const BIGNUM {
        self.0.as_ptr()
    }

    /// Gives the integer up to a function that takes ownership of it.
    pub(super) fn into_raw(self) -> *mut BIGNUM {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }
}

impl Drop for Bn {
    fn drop(&mut self) {
        // SAFETY: this handle owns the integer.
        unsafe { BN_clear_free(self.0.as_ptr()) }
    }
}

/// The shortest big-endian form of a public integer.
///
/// # Safety
/// `integer` is a valid pointer.
pub(super) unsafe fn minimal(integer: *const BIGNUM) -> Vec<u8> {
    // SAFETY: the caller's promise.
    let length = unsafe { BN_num_bytes(integer) } as usize;
    let mut bytes = vec![0; length];
    // SAFETY: writes exactly BN_num_bytes bytes.
    unsafe { BN_bn2bin(integer, bytes.as_mut_ptr()) };
    bytes
}

/// Writes an integer big-endian over all of `out`.
///
/// # Safety
/// `integer` is a valid pointer.
pub(super) unsafe fn padded(integer: *const BIGNUM, out: &mut [u8]) -> Result<(), Rejected> {
    // SAFETY: the caller's promise; writes exactly `out.len()` bytes or fails.
    succeeded(unsafe { BN_bn2bin_padded(out.as_mut_ptr(), out.len(), integer) })
}
