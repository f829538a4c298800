//! Owns the chain of the audit trail: how an event's hash follows from the one before it, and what the signature of a head
//! is made over. Whoever writes the trail and whoever checks it computes it here; nothing else does.

use aws_lc_rs::digest::{Context, SHA256, digest};
use strongroom_model::Timestamp;
use strongroom_model::id::hex;

/// The hash of an event.
pub type Hash = [u8; 32];

/// What the first event of a writer follows: 32 zero bytes and the writer's id.
pub fn start(writer: &str) -> Vec<u8> {
    [&[0; 32], writer.as_bytes()].concat()
}

/// The hash of a writer's event `n` (from 1): SHA-256 of what it follows (the hash before it, or [`start`]), its number in
/// eight bytes, the most significant first, and its text.
pub fn link(previous: &[u8], n: i64, event: &str) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(previous);
    context.update(&n.to_be_bytes());
    context.update(event.as_bytes());
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// What is signed to vouch for a writer's events up to `n`: a prefix that no other use of the key has, hash, number and
/// time, and the writer's id.
pub fn statement(writer: &str, n: i64, hash: &Hash, at: Timestamp) -> Vec<u8> {
    let (n, at) = (n.to_be_bytes(), at.millis().to_be_bytes());
    [b"strongroom audit head 1\n".as_slice(), hash, &n, &at, writer.as_bytes()].concat()
}

/// The name of a signing key: the first 16 hex digits of the SHA-256 of its public key.
pub fn key_id(public_key: &[u8]) -> String {
    hex(&digest(&SHA256, public_key).as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_all_that_it_covers() {
        let first = link(&start("a"), 1, "event");
        assert_ne!(first, link(&start("b"), 1, "event"));
        assert_ne!(first, link(&start("a"), 2, "event"));
        assert_ne!(first, link(&start("a"), 1, "evenT"));
        assert_ne!(link(&first, 2, "event"), link(&[0; 32], 2, "event"));
        // SHA-256 of 32 zero bytes, `a`, seven zero bytes, 1, `event`.
        let bytes = [&[0; 32][..], b"a", &[0, 0, 0, 0, 0, 0, 0, 1], b"event"].concat();
        assert_eq!(first.as_slice(), digest(&SHA256, &bytes).as_ref());
    }
}
