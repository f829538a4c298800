//! Owns login tickets: who logged in, with which version of his record, and when, under a MAC whose key every HSM of the
//! cluster has and its clones have not. A ticket is CBOR ‖ HMAC-SHA256 (32 bytes) and holds nothing secret, but whoever has
//! it is that user for its time. It says nothing about whether the user still is as he was; that is for the caller to hold
//! against the cluster.

use std::fmt;

use aws_lc_rs::hmac;
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// How long a ticket is good, in milliseconds.
const LIFETIME_MS: i64 = 12 * 60 * 60 * 1000;

/// How far the clock of the HSM that issued it may be ahead of ours, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// The bytes of the MAC.
const TAG: usize = 32;

/// Set before what is authenticated, so that the key's other use (request digests) never meets this one.
const LABEL: &[u8] = b"strongroom ticket\x00";
const REQUEST_LABEL: &[u8] = b"strongroom request\x00";

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ticket {
    /// The user, in lower case.
    #[n(0)]
    pub user: String,
    /// The version of the user's record.
    #[n(1)]
    pub version: u64,
    /// Milliseconds since 1970.
    #[n(2)]
    pub issued_at: i64,
}

/// Issues and opens the tickets of one cluster.
pub struct TicketKey(hmac::Key);

impl TicketKey {
    /// The key of a cluster: [`crate::cluster_key::ClusterKey::tickets`].
    pub fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
    }

    /// Issues a ticket.
    pub fn issue(&self, ticket: &Ticket) -> Vec<u8> {
        let mut bytes = minicbor::to_vec(ticket).expect("a vector takes any number of bytes");
        let tag = self.mac(LABEL, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        bytes
    }

    /// Opens a ticket that is authentic and, at `now`, neither too old nor from the future.
    pub fn open(&self, bytes: &[u8], now: i64) -> Option<Ticket> {
        let (body, tag) = bytes.split_last_chunk::<TAG>()?;
        if !bool::from(self.mac(LABEL, body).as_ref().ct_eq(tag.as_slice())) {
            return None;
        }
        let ticket: Ticket = minicbor::decode(body).ok()?;
        let age = now.saturating_sub(ticket.issued_at);
        (-SKEW_MS..LIFETIME_MS).contains(&age).then_some(ticket)
    }

    /// A keyed digest of a request, which may hold a password: without the key nothing can be tried against it.
    pub fn request_digest(&self, request: &[u8]) -> Vec<u8> {
        self.mac(REQUEST_LABEL, request).as_ref().to_vec()
    }

    fn mac(&self, label: &[u8], bytes: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(label);
        context.update(bytes);
        context.sign()
    }
}

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_key::ClusterKey;
    use crate::seam::SystemRng;

    const HOUR: i64 = 60 * 60 * 1000;

    fn ticket() -> Ticket {
        Ticket { user: "alice".into(), version: 9, issued_at: 1_000 * HOUR }
    }

    #[test]
    fn a_ticket_is_good_for_twelve_hours() {
        let key = TicketKey::new(&ClusterKey::generate(&SystemRng).tickets("cluster-a"));
        let bytes = key.issue(&ticket());
        let at = |age: i64| key.open(&bytes, ticket().issued_at + age);
        assert_eq!(at(0), Some(ticket()));
        assert_eq!(at(12 * HOUR - 1), Some(ticket()));
        assert_eq!(at(12 * HOUR), None);
        assert_eq!(at(-SKEW_MS), Some(ticket()));
        assert_eq!(at(-SKEW_MS - 1), None);
        assert_eq!(key.open(&bytes, i64::MIN), None);
        assert_eq!(key.open(&bytes, i64::MAX), None);
    }

    #[test]
    fn neither_a_clone_nor_a_changed_byte_is_accepted() {
        let cluster_key = ClusterKey::generate(&SystemRng);
        let key = TicketKey::new(&cluster_key.tickets("cluster-a"));
        let clone = TicketKey::new(&cluster_key.tickets("cluster-b"));
        let bytes = key.issue(&ticket());
        assert_eq!(clone.open(&bytes, ticket().issued_at), None);
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            assert_eq!(key.open(&changed, ticket().issued_at), None, "byte {i}");
            assert_eq!(key.open(&bytes[..i], ticket().issued_at), None, "cut at {i}");
        }
    }

    #[test]
    fn a_request_digest_is_no_ticket() {
        let key = TicketKey::new(&ClusterKey::generate(&SystemRng).tickets("cluster-a"));
        let body = minicbor::to_vec(ticket()).unwrap();
        let forged = [body.clone(), key.request_digest(&body)].concat();
        assert_eq!(key.open(&forged, ticket().issued_at), None);
        assert_ne!(key.request_digest(b"a"), key.request_digest(b"b"));
    }
}
