//! Owns AES-256-GCM-SIV sealing: of rows under a key of their cluster ([`RowSealer`]), and of small secrets under a key
//! that the caller derived (`Sealer`). A sealed row is format ‖ nonce (12) ‖ ciphertext ‖ tag (16); region, cluster, id,
//! kind and version are its AAD, so that no row opens in another's place. The nonce is random, which GCM-SIV forgives up to
//! 2^48 seals under one key.
//!
//! What does not open is [`Damaged`]; nothing of it is ever returned.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::kdf::{Key, push_part};
use crate::seam::{Rng, random};

const FORMAT: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Bytes are not what their seal, digest or form says. The text names the place, never a content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Damaged(pub String);

impl Damaged {
    /// Says what is damaged.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// What a row of a cluster holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKind {
    /// A user; its id is the name in lower case.
    User,
    /// An object; its id is the handle, 8 bytes big endian.
    Object,
    /// The head; its id is empty.
    Head,
}

impl RowKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Object => "object",
            Self::Head => "head",
        }
    }
}

/// Seals and opens the rows of one cluster in one region.
pub struct RowSealer {
    sealer: Sealer,
    terms: hmac::Key,
    region_id: String,
    cluster: String,
}

impl RowSealer {
    pub(crate) fn new(rows: &Key, terms: &Key, region_id: &str, cluster: &str) -> Self {
        Self {
            sealer: Sealer::new(rows),
            terms: hmac::Key::new(hmac::HMAC_SHA256, terms.as_slice()),
            region_id: region_id.to_owned(),
            cluster: cluster.to_owned(),
        }
    }

    /// The cluster whose rows it seals.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Seals a row; `version` is the head version that writes it.
    pub fn seal(&self, kind: RowKind, id: &[u8], version: u64, plaintext: &[u8], rng: &dyn Rng) -> Vec<u8> {
        self.sealer.seal(&self.aad(kind, id, version), plaintext, rng)
    }

    /// Opens a row that was sealed as the same kind, id and version.
    ///
    /// # Errors
    /// [`Damaged`] if any byte of it, or any of the three, differs.
    pub fn open(&self, kind: RowKind, id: &[u8], version: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        self.sealer.open(&self.aad(kind, id, version), sealed).ok_or_else(|| {
            Damaged(format!("{} {} of {} does not open", kind.as_str(), shown_id(kind, id), self.cluster))
        })
    }

    /// The row's term in the head's sum: HMAC-SHA256 over where it stands and its sealed bytes.
    pub fn term(&self, kind: RowKind, id: &[u8], version: u64, sealed: &[u8]) -> [u8; 32] {
        let mut input = self.aad(kind, id, version);
        push_part(&mut input, sealed);
        let tag = hmac::sign(&self.terms, &input);
        tag.as_ref().try_into().expect("an HMAC-SHA256 tag has 32 bytes")
    }

    fn aad(&self, kind: RowKind, id: &[u8], version: u64) -> Vec<u8> {
        let mut aad = b"strongroom row\x00".to_vec();
        aad.push(FORMAT);
        push_part(&mut aad, self.region_id.as_bytes());
        push_part(&mut aad, self.cluster.as_bytes());
        push_part(&mut aad, id);
        push_part(&mut aad, kind.as_str().as_bytes());
        aad.extend_from_slice(&version.to_be_bytes());
        aad
    }
}

impl fmt::Debug for RowSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowSealer").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

fn shown_id(kind: RowKind, id: &[u8]) -> String {
    match kind {
        RowKind::User => String::from_utf8_lossy(id).into_owned(),
        RowKind::Object => format!("0x{}", data_encoding::HEXLOWER.encode(id)),
        RowKind::Head => String::new(),
    }
}

/// AES-256-GCM-SIV under one key.
pub(crate) struct Sealer(LessSafeKey);

impl Sealer {
    pub(crate) fn new(key: &Key) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).expect("the key has 32 bytes")))
    }

    /// format ‖ nonce ‖ ciphertext ‖ tag.
    pub(crate) fn seal(&self, aad: &[u8], plaintext: &[u8], rng: &dyn Rng) -> Vec<u8> {
        let nonce = random::<NONCE>(rng);
        let mut body = Vec::with_capacity(1 + NONCE + plaintext.len() + TAG);
        body.push(FORMAT);
        body.extend_from_slice(&nonce);
        body.extend_from_slice(plaintext);
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body[1 + NONCE..])
            .expect("a row is far below GCM-SIV's limit of 2^36 bytes");
        body.extend_from_slice(tag.as_ref());
        body
    }

    /// `None` if any byte differs from what was sealed.
    pub(crate) fn open(&self, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&format, rest) = sealed.split_first()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>()?;
        if format != FORMAT {
            return None;
        }
        let mut body = Zeroizing::new(ciphertext.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.0.open_in_place(nonce, Aad::from(aad), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_key::ClusterKey;
    use crate::seam::SystemRng;

    #[test]
    fn a_row_opens_in_its_place_only() {
        let key = ClusterKey::generate(&SystemRng);
        let rows = key.rows("region", "cluster-a");
        let sealed = rows.seal(RowKind::Object, b"id", 3, b"plaintext", &SystemRng);
        assert_eq!(rows.open(RowKind::Object, b"id", 3, &sealed).unwrap().as_slice(), b"plaintext");
        assert!(rows.open(RowKind::User, b"id", 3, &sealed).is_err());
        assert!(rows.open(RowKind::Object, b"ie", 3, &sealed).is_err());
        assert!(rows.open(RowKind::Object, b"id", 4, &sealed).is_err());
        assert!(key.rows("region", "cluster-b").open(RowKind::Object, b"id", 3, &sealed).is_err());
        assert!(key.rows("other", "cluster-a").open(RowKind::Object, b"id", 3, &sealed).is_err());
        let other = ClusterKey::generate(&SystemRng);
        assert!(other.rows("region", "cluster-a").open(RowKind::Object, b"id", 3, &sealed).is_err());
    }

    #[test]
    fn no_flipped_or_missing_byte_opens() {
        let rows = ClusterKey::generate(&SystemRng).rows("region", "cluster-a");
        let sealed = rows.seal(RowKind::User, b"admin", 1, b"a record", &SystemRng);
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert!(rows.open(RowKind::User, b"admin", 1, &changed).is_err(), "byte {i}");
            assert!(rows.open(RowKind::User, b"admin", 1, &sealed[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_term_depends_on_every_part() {
        let rows = ClusterKey::generate(&SystemRng).rows("region", "cluster-a");
        let term = rows.term(RowKind::User, b"a", 1, b"sealed");
        assert_eq!(term, rows.term(RowKind::User, b"a", 1, b"sealed"));
        assert_ne!(term, rows.term(RowKind::Object, b"a", 1, b"sealed"));
        assert_ne!(term, rows.term(RowKind::User, b"b", 1, b"sealed"));
        assert_ne!(term, rows.term(RowKind::User, b"a", 2, b"sealed"));
        assert_ne!(term, rows.term(RowKind::User, b"a", 1, b"sealee"));
    }
}
