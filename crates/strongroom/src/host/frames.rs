//! Owns frames over blocking streams: between clients and HSMs, whose bytes are wiped, and between the API process and the
//! host, where all is public or sealed. A stream that ends between two frames has ended well.

use std::io::{self, Read, Write};

use minicbor::{Decode, Encode};
use strongroom_link::frame;
use zeroize::Zeroizing;

/// Reads the next message of a client; `None` where the stream ends before it.
pub(super) fn read<M: for<'b> Decode<'b, ()>>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let body = read_body(stream)?.map(Zeroizing::new);
    body.map(|body| frame::decode(&body).map_err(invalid)).transpose()
}

/// Reads the next message of the API process; `None` where the stream ends before it.
pub(super) fn read_sealed<M: for<'b> Decode<'b, ()>>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let body = read_body(stream)?;
    body.map(|body| frame::decode(&body).map_err(invalid)).transpose()
}

/// Writes a message to a client.
pub(super) fn write<M: Encode<()>>(stream: &mut impl Write, message: &M) -> io::Result<()> {
    stream.write_all(&frame::encode(message).map_err(invalid)?)?;
    stream.flush()
}

/// Writes a message to the API process.
pub(super) fn write_sealed<M: Encode<()>>(stream: &mut impl Write, message: &M) -> io::Result<()> {
    stream.write_all(&frame::encode_sealed(message).map_err(invalid)?)?;
    stream.flush()
}

fn read_body(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; frame::HEADER_LENGTH];
    if !fill_or_end(stream, &mut header)? {
        return Ok(None);
    }
    let mut body = vec![0; frame::length(header).map_err(invalid)?];
    stream.read_exact(&mut body)?;
    Ok(Some(body))
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
