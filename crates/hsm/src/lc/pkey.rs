//! Owns keys in their standard encodings: PKCS#8 for private keys, SubjectPublicKeyInfo for public ones.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use aws_lc_sys::{
    CBB, CBB_cleanup, CBB_finish, CBB_init, CBS, CBS_init, EC_KEY, EVP_PKEY, EVP_PKEY_EC, EVP_PKEY_RSA, EVP_PKEY_free,
    EVP_PKEY_get1_EC_KEY, EVP_PKEY_get1_RSA, EVP_PKEY_id, EVP_PKEY_new, EVP_PKEY_set1_EC_KEY, EVP_PKEY_set1_RSA,
    EVP_marshal_private_key, EVP_marshal_public_key, EVP_parse_private_key, EVP_parse_public_key, OPENSSL_free, RSA,
};
use zeroize::Zeroizing;

use super::{Rejected, owned, rejected, succeeded};

/// A key of any type, as a container on the way to or from an encoding.
pub(super) struct Pkey(NonNull<EVP_PKEY>);

impl Pkey {
    fn empty() -> Result<Self, Rejected> {
        // SAFETY: takes nothing, returns a new object or null.
        owned(unsafe { EVP_PKEY_new() }).map(Self)
    }

    /// A container that shares `rsa`.
    ///
    /// # Safety
    /// `rsa` is a valid pointer.
    pub(super) unsafe fn of_rsa(rsa: *mut RSA) -> Result<Self, Rejected> {
        let pkey = Self::empty()?;
        // SAFETY: the caller's promise; the container takes a reference of its own.
        succeeded(unsafe { EVP_PKEY_set1_RSA(pkey.0.as_ptr(), rsa) })?;
        Ok(pkey)
    }

    /// A container that shares `ec`.
    ///
    /// # Safety
    /// `ec` is a valid pointer.
    pub(super) unsafe fn of_ec(ec: *mut EC_KEY) -> Result<Self, Rejected> {
        let pkey = Self::empty()?;
        // SAFETY: the caller's promise; the container takes a reference of its own.
        succeeded(unsafe { EVP_PKEY_set1_EC_KEY(pkey.0.as_ptr(), ec) })?;
        Ok(pkey)
    }

    /// Reads PKCS#8 (PrivateKeyInfo), which must be all of `der`.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, Rejected> {
        Self::parse(der, EVP_parse_private_key)
    }

    /// Reads a SubjectPublicKeyInfo, which must be all of `der`.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, Rejected> {
        Self::parse(der, EVP_parse_public_key)
    }

    fn parse(der: &[u8], parser: unsafe extern "C" fn(*mut CBS) -> *mut EVP_PKEY) -> Result<Self, Rejected> {
        let mut input = MaybeUninit::<CBS>::uninit();
        // SAFETY: CBS_init fills the struct, which then borrows `der` for the length of this function.
        let mut input = unsafe {
            CBS_init(input.as_mut_ptr(), der.as_ptr(), der.len());
            input.assume_init()
        };
        // SAFETY: `input` was filled above; the result is a new object or null.
        let pkey = Self(owned(unsafe { parser(&mut input) })?);
        if input.len == 0 { Ok(pkey) } else { Err(Rejected) }
    }

    /// The RSA key in it, as an object of its own.
    pub(super) fn rsa(&self) -> Result<NonNull<RSA>, Rejected> {
        self.require(EVP_PKEY_RSA)?;
        // SAFETY: `self` is valid; the result is a reference that the caller owns.
        owned(unsafe { EVP_PKEY_get1_RSA(self.0.as_ptr()) })
    }

    /// The EC key in it, as an object of its own.
    pub(super) fn ec(&self) -> Result<NonNull<EC_KEY>, Rejected> {
        self.require(EVP_PKEY_EC)?;
        // SAFETY: `self` is valid; the result is a reference that the caller owns.
        owned(unsafe { EVP_PKEY_get1_EC_KEY(self.0.as_ptr()) })
    }

    fn require(&self, kind: i32) -> Result<(), Rejected> {
        // SAFETY: `self` is valid; reads its type.
        if unsafe { EVP_PKEY_id(self.0.as_ptr()) } == kind { Ok(()) } else { Err(Rejected) }
    }

    /// The private key as PKCS#8.
    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        // SAFETY: `self` is valid, `writer` is initialized by `written`.
        written(|writer| unsafe { EVP_marshal_private_key(writer, self.0.as_ptr()) })
    }

    /// The public key as SubjectPublicKeyInfo.
    pub(super) fn to_spki(&self) -> Result<Vec<u8>, Rejected> {
        // SAFETY: `self` is valid, `writer` is initialized by `written`.
        written(|writer| unsafe { EVP_marshal_public_key(writer, self.0.as_ptr()) }).map(|der| der.to_vec())
    }
}

impl Drop for Pkey {
    fn drop(&mut self) {
        // SAFETY: this handle owns one reference.
        unsafe { EVP_PKEY_free(self.0.as_ptr()) }
    }
}

/// What `write` writes. aws-lc wipes its buffer, also the outgrown ones, as it frees them.
fn written(write: impl FnOnce(*mut CBB) -> i32) -> Result<Zeroizing<Vec<u8>>, Rejected> {
    let mut writer = MaybeUninit::<CBB>::uninit();
    // SAFETY: CBB_init fills the struct or fails.
    succeeded(unsafe { CBB_init(writer.as_mut_ptr(), 2048) })?;
    if write(writer.as_mut_ptr()) != 1 {
        // SAFETY: `writer` was initialized and not finished.
        unsafe { CBB_cleanup(writer.as_mut_ptr()) };
        return Err(rejected());
    }
    take_bytes(|bytes, length| {
        // SAFETY: `writer` was initialized; on success both out-pointers are written, on failure it is cleaned up.
        let finished = unsafe { CBB_finish(writer.as_mut_ptr(), bytes, length) };
        if finished != 1 {
            // SAFETY: CBB_finish leaves an unfinished writer to its owner.
            unsafe { CBB_cleanup(writer.as_mut_ptr()) };
        }
        finished
    })
}

/// Copies the bytes that `give` allocates with aws-lc, and frees them.
pub(super) fn take_bytes(give: impl FnOnce(*mut *mut u8, *mut usize) -> i32) -> Result<Zeroizing<Vec<u8>>, Rejected> {
    let mut bytes = std::ptr::null_mut();
    let mut length = 0;
    succeeded(give(&mut bytes, &mut length))?;
    // SAFETY: on success `bytes` points to `length` bytes that are ours; freeing wipes them.
    unsafe {
        let copy = Zeroizing::new(std::slice::from_raw_parts(bytes, length).to_vec());
        OPENSSL_free(bytes.cast());
        Ok(copy)
    }
}
