//! Owns the frame: four bytes of length, most significant first, then one CBOR message. Both ends refuse a length above
//! [`FRAME_MAX`] before they allocate anything.

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

/// The longest message in a frame, in bytes: a chunk of 1 MiB with what names it, or the manifest of 64 GiB.
pub const FRAME_MAX: usize = 2 * 1024 * 1024;

/// The bytes of the length that begins each frame.
pub const HEADER_LENGTH: usize = 4;

/// A frame that cannot be read; the connection it came on is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length says more than [`FRAME_MAX`].
    #[error("a frame of {0} bytes is over the limit of {FRAME_MAX}")]
    TooLong(usize),
    /// The message is not of the vocabulary.
    #[error("the message cannot be read: {0}")]
    Malformed(String),
}

/// A whole frame, header included. The message may hold secrets, so the bytes are wiped when dropped.
///
/// # Errors
/// [`FrameError::TooLong`] for a message over the limit.
pub fn encode<M: Encode<()>>(message: &M) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    encode_sealed(message).map(Zeroizing::new)
}

/// As [`encode`], for what the API process says to its HSM host and to other regions: all of it is public or sealed, and
/// wiping a chunk costs as much as encrypting it.
///
/// # Errors
/// [`FrameError::TooLong`] for a message over the limit.
pub fn encode_sealed<M: Encode<()>>(message: &M) -> Result<Vec<u8>, FrameError> {
    // Growing a buffer would leave unwiped copies behind: a counting pass first makes it one allocation.
    let mut counter = Counter(0);
    minicbor::encode(message, &mut counter).map_err(|e| FrameError::Malformed(e.to_string()))?;
    if counter.0 > FRAME_MAX {
        return Err(FrameError::TooLong(counter.0));
    }
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + counter.0);
    bytes.extend_from_slice(&(counter.0 as u32).to_be_bytes());
    minicbor::encode(message, &mut bytes).map_err(|e| FrameError::Malformed(e.to_string()))?;
    Ok(bytes)
}

/// The length of the message that follows a header.
///
/// # Errors
/// [`FrameError::TooLong`].
pub fn length(header: [u8; HEADER_LENGTH]) -> Result<usize, FrameError> {
    let length = u32::from_be_bytes(header) as usize;
    if length > FRAME_MAX { Err(FrameError::TooLong(length)) } else { Ok(length) }
}

/// Reads the message of a frame, which must be all of it.
///
/// # Errors
/// [`FrameError::Malformed`].
pub fn decode<'b, M: Decode<'b, ()>>(message: &'b [u8]) -> Result<M, FrameError> {
    let mut decoder = minicbor::Decoder::new(message);
    let decoded = decoder.decode().map_err(|e| FrameError::Malformed(e.to_string()))?;
    if decoder.position() == message.len() {
        Ok(decoded)
    } else {
        Err(FrameError::Malformed("bytes after the message".into()))
    }
}

/// Counts what would be written.
struct Counter(usize);

impl minicbor::encode::Write for Counter {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0 += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Call, Chunk, Request};

    #[test]
    fn a_frame_is_read_back() {
        let request = Request { rid: [7; 16], call: Call::OutboxAck { seq: 9 } };
        let frame = encode(&request).unwrap();
        let header: [u8; 4] = frame[..4].try_into().unwrap();
        assert_eq!(length(header).unwrap(), frame.len() - 4);
        let back: Request = decode(&frame[4..]).unwrap();
        assert!(matches!(back.call, Call::OutboxAck { seq: 9 }));
    }

    #[test]
    fn limits_and_remainders_are_refused() {
        let long = Chunk { n: 0, bytes: vec![0; FRAME_MAX] };
        assert!(matches!(encode(&long), Err(FrameError::TooLong(_))));
        assert!(matches!(length([0xff; 4]), Err(FrameError::TooLong(_))));
        let mut frame = encode(&Chunk { n: 0, bytes: vec![1] }).unwrap().to_vec();
        frame.push(0);
        assert!(matches!(decode::<Chunk>(&frame[4..]), Err(FrameError::Malformed(_))));
    }
}
