//! Owns frames over blocking streams. A stream that ends between two frames has ended well.

use std::io::{self, Read, Write};

use minicbor::{Decode, Encode};
use strongroom_link::frame;
use zeroize::Zeroizing;

/// Reads the next message; `None` where the stream ends before it.
pub(super) fn read<M: for<'b> Decode<'b, ()>>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let mut header = [0; frame::HEADER_LENGTH];
    if !fill_or_end(stream, &mut header)? {
        return Ok(None);
    }
    let mut body = Zeroizing::new(vec![0; frame::length(header).map_err(invalid)?]);
    stream.read_exact(&mut body)?;
    frame::decode(&body).map(Some).map_err(invalid)
}

/// Writes a message.
pub(super) fn write<M: Encode<()>>(stream: &mut impl Write, message: &M) -> io::Result<()> {
    let frame = frame::encode(message).map_err(invalid)?;
    stream.write_all(&frame)?;
    stream.flush()
}

fn fill_or_end(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn invalid(error: frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
