//! Owns the secrets of SigV4: the caller's secret key and the signing key that is derived from it. Both are wiped when they
//! are dropped and show nothing in `Debug`.

use std::fmt;

use aws_lc_rs::hmac;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The secret half of an access key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey(Box<str>);

impl SecretKey {
    /// Takes the secret.
    pub fn new(secret: impl Into<Box<str>>) -> Self {
        Self(secret.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

/// What signs requests of one access key for one day, region and service. Deriving it takes four HMACs.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives the key of a scope; `date` is `YYYYMMDD`.
    pub fn derive(secret: &SecretKey, date: &str, region: &str, service: &str) -> Self {
        let first = Zeroizing::new(format!("AWS4{}", secret.expose()));
        let key = [date, region, service, super::TERMINATOR]
            .iter()
            .fold(hmac_key(first.as_bytes()), |key, part| hmac_key(hmac::sign(&key, part.as_bytes()).as_ref()));
        Self(key)
    }

    pub(super) fn sign(&self, text: &str) -> [u8; 32] {
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.0, text.as_bytes()).as_ref());
        signature
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(redacted)")
    }
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}
