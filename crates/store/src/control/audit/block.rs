//! Owns the form of many events in one row: each its time (milliseconds since 1970, 8 bytes), its hash (32), the length of
//! its text (4) and its text, numbers with the most significant byte first; all of them as one LZ4 block, its length before
//! it. Events resemble each other, so that a block takes about a tenth of what they take apart.

use strongroom_model::Timestamp;

use crate::chain::Hash;

/// A block is full with so many bytes of events.
const FULL: usize = 256 * 1024;
/// The most bytes that a block unpacks to: a full one and what filled it.
const MAX: usize = 4 * FULL;

/// Events on their way into a row.
#[derive(Default)]
pub(super) struct Block {
    frames: Vec<u8>,
}

/// One event of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub at: Timestamp,
    pub hash: Hash,
    pub event: String,
}

impl Block {
    pub(super) fn push(&mut self, at: Timestamp, hash: &Hash, event: &str) {
        self.frames.extend_from_slice(&at.millis().to_be_bytes());
        self.frames.extend_from_slice(hash);
        self.frames.extend_from_slice(&(event.len() as u32).to_be_bytes());
        self.frames.extend_from_slice(event.as_bytes());
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= FULL
    }

    /// The bytes for the row; the block is empty again.
    pub(super) fn pack(&mut self) -> Vec<u8> {
        let packed = lz4_flex::block::compress_prepend_size(&self.frames);
        self.frames.clear();
        packed
    }
}

/// The events of a row; `None` where it holds no block.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<Frame>> {
    let (size, packed) = lz4_flex::block::uncompressed_size(packed).ok()?;
    let frames = (size <= MAX).then(|| lz4_flex::block::decompress(packed, size).ok())??;
    let (mut rest, mut events) = (frames.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (at, after) = rest.split_first_chunk()?;
        let (hash, after) = after.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (event, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let event = std::str::from_utf8(event).ok()?.to_owned();
        events.push(Frame { at: Timestamp::from_millis(i64::from_be_bytes(*at)), hash: *hash, event });
        rest = after;
    }
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8, event: String) -> Frame {
        Frame { at: Timestamp::from_millis(1_795_511_647_000 + i64::from(n)), hash: [n; 32], event }
    }

    #[test]
    fn what_is_packed_is_unpacked_and_small() {
        let events: Vec<_> = (0..200).map(|n| frame(n, format!("{}{n}", "{\"eventName\":".repeat(80)))).collect();
        let mut block = Block::default();
        for Frame { at, hash, event } in &events {
            block.push(*at, hash, event);
        }
        let whole = block.frames.len();
        let packed = block.pack();
        assert!(packed.len() < whole / 8, "{} of {whole}", packed.len());
        assert!(!block.is_full() && block.frames.is_empty());
        assert_eq!(unpack(&packed).unwrap(), events);
        block.push(events[0].at, &events[0].hash, &"long".repeat(FULL / 2));
        assert!(block.is_full());
        assert_eq!(unpack(&block.pack()).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_block_is_told_apart() {
        let mut block = Block::default();
        block.push(Timestamp::from_millis(7), &[7; 32], "an event");
        let packed = block.pack();
        for length in 0..packed.len() {
            assert_eq!(unpack(&packed[..length]), None, "{length}");
        }
        // A length that is not its own, and one that nobody has room for.
        assert_eq!(unpack(&[&[255, 255, 255, 255], &packed[4..]].concat()), None);
        assert_eq!(unpack(&[&[8, 0, 0, 0], &packed[4..]].concat()), None);
        let cut = lz4_flex::block::compress_prepend_size(&[0; 43]);
        assert_eq!(unpack(&cut), None);
        assert_eq!(unpack(&lz4_flex::block::compress_prepend_size(&[])), Some(Vec::new()));
    }
}
