//! Owns how numbered messages go over a stream: one frame each, read whole, within the frame's limit.

use std::io;

use minicbor::{Decode, Encode};
use strongroom_link::frame;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The frame of a message and its number.
pub(super) fn encode<M: Encode<()>>(number: u64, message: &M) -> io::Result<Vec<u8>> {
    frame::encode_sealed(&(number, message)).map_err(invalid)
}

/// Reads the next message and its number; `None` where the stream ends between two.
pub(super) async fn read<M, S>(stream: &mut S) -> io::Result<Option<(u64, M)>>
where
    M: for<'b> Decode<'b, ()>,
    S: AsyncRead + Unpin,
{
    let mut header = [0; frame::HEADER_LENGTH];
    match stream.read_exact(&mut header).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map(drop)?,
    }
    let mut body = vec![0; frame::length(header).map_err(invalid)?];
    stream.read_exact(&mut body).await?;
    frame::decode(&body).map(Some).map_err(invalid)
}

/// Writes a frame and flushes it.
pub(super) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}

fn invalid(error: frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
