//! Owns the host's part in a copy: [`rewrap`] at the source, [`admit`] at the destination. Only a region that the host's own
//! files pin is wrapped to; nothing of an envelope is parsed before a pinned key's signature over it holds; what was admitted
//! is sealed under this region's root at once, so that no later rotation touches it.

use strongroom_link::host::{Chunk, Facts, Failure, FailureCode};

use crate::check;
use crate::data_key::DataKey;
use crate::envelope::{Expected, Hop};
use crate::fault::failure;
use crate::host::{ChunkIo, Cut, Host};
use crate::manifest::{self, sha256};

/// What is wrapped, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rewrap<'a> {
    pub(crate) copy: &'a str,
    pub(crate) backup: &'a str,
    pub(crate) header: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) destination: &'a str,
}

/// Makes an envelope for the destination.
///
/// # Errors
/// `Unpinned`, or `Damaged` if the header is not that of the body.
pub(crate) fn rewrap(host: &Host, order: Rewrap<'_>) -> Result<Vec<u8>, Failure> {
    let Some(pin) = host.pins.pin(order.destination) else {
        let text = format!("this host does not pin region {}", order.destination);
        return Err(failure(FailureCode::Unpinned, text));
    };
    let region = &host.region;
    let digest = sha256(order.body);
    let key = DataKey::from_header(&region.roots, order.header, &digest)?;
    let hop = Hop {
        copy: order.copy,
        source: &region.region_id,
        backup: order.backup,
        destination: order.destination,
        digest: &digest,
    };
    host.envelopes.wrap(hop, &key, &pin, &host.keys[0], region.clock.now_ms(), &*region.rng)
}

/// What a peer sent.
#[derive(Debug)]
pub(crate) struct Announced<'a> {
    pub(crate) peer: &'a str,
    pub(crate) envelope: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) copy: &'a str,
    pub(crate) payload: Option<Vec<u8>>,
}

/// Verifies the envelope and returns the header under this region's root, and the facts; proved, if the payload came along.
///
/// # Errors
/// Those of the envelope; `DoesNotOpen` for the manifest, those of [`check::check`] for the payload.
pub(crate) fn admit(host: &Host, announced: Announced<'_>) -> Result<(Vec<u8>, Facts), Failure> {
    let region = &host.region;
    let digest = sha256(announced.body);
    let expected =
        Expected { copy: announced.copy, source: announced.peer, destination: &region.region_id, digest: &digest };
    let pin = host.pins.pin(announced.peer);
    let now_ms = region.clock.now_ms();
    let key = host.envelopes.open(announced.envelope, pin.as_ref(), expected, &host.keys, now_ms)?;
    let facts = manifest::read(announced.body).map_err(|what| failure(FailureCode::DoesNotOpen, what))?;
    if let Some(payload) = announced.payload {
        if manifest::chunk_count(&facts) != 1 {
            return Err(failure(FailureCode::DoesNotOpen, "the payload came in one piece, the manifest has more"));
        }
        check::check(&facts, &key, &mut OnePiece(Some(payload)))?;
    }
    Ok((key.to_header(&region.roots, &digest, &*region.rng), facts))
}

/// A payload that is here already.
struct OnePiece(Option<Vec<u8>>);

impl ChunkIo for OnePiece {
    fn send(&mut self, _: Chunk) -> Result<(), Cut> {
        Err(Cut)
    }

    fn receive(&mut self) -> Result<Chunk, Cut> {
        self.0.take().map(|bytes| Chunk { n: 0, bytes }).ok_or(Cut)
    }

    fn abandon(&mut self) {}
}

#[cfg(test)]
mod tests;
