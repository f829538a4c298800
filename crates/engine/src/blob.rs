//! Owns how a payload becomes bytes in storage and is read again. Up to [`INLINE_MAX`] a payload lives in its row; a longer
//! one is chunk objects under a name of its own. The blob's row is there, and its `upto` is raised, before a chunk is
//! written, so that every object in storage is owned by a row that says how far to delete.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt, TryStreamExt};
use strongroom_model::BlobId;
use strongroom_store::StoreError;
use strongroom_store::control::blobs;

use crate::job::{After, Lease, Stop};
use crate::ports::{ChunkSink, ChunkSource, HsmsCode, HsmsError};
use crate::region::Region;

/// The longest payload that lives in its row, in bytes.
pub(crate) const INLINE_MAX: usize = 64 * 1024;
/// By how many chunks `upto` is raised.
pub(crate) const STRIDE: u32 = 64;
/// Chunks on their way to storage, or from it, at once.
const IN_FLIGHT: usize = 4;

/// A payload as its rows describe it.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub blob_id: BlobId,
    /// The bytes, where they live in the row.
    pub inline: Option<Vec<u8>>,
}

/// Reads a payload chunk by chunk, a few ahead of what is asked for.
pub(crate) struct PayloadSource<'a> {
    region: &'a Region,
    payload: &'a Payload,
    /// The chunks that are left to read.
    left: Range<u32>,
    reading: FuturesOrdered<BoxFuture<'a, Result<Vec<u8>, StoreError>>>,
}

impl<'a> PayloadSource<'a> {
    pub fn new(region: &'a Region, payload: &'a Payload, chunks: u32) -> Self {
        Self { region, payload, left: 0..chunks, reading: FuturesOrdered::new() }
    }
}

#[async_trait]
impl ChunkSource for PayloadSource<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, HsmsError> {
        while self.reading.len() < IN_FLIGHT
            && let Some(n) = self.left.next()
        {
            self.reading.push_back(Box::pin(read_chunk(self.region, self.payload, n)));
        }
        self.reading.try_next().await.map_err(store_to_hsms)
    }
}

/// One chunk of a payload.
pub(crate) async fn read_chunk(region: &Region, payload: &Payload, n: u32) -> Result<Vec<u8>, StoreError> {
    match &payload.inline {
        Some(bytes) if n == 0 => Ok(bytes.clone()),
        Some(_) => Err(StoreError::Corrupt(format!("a payload of one piece has no chunk {n}"))),
        None => region.blobs.get_chunk(&payload.blob_id, n).await,
    }
}

/// Takes the chunks of a snapshot: keeps a single small one in memory, stores all others, several at once.
pub(crate) struct SnapshotSink<'a> {
    lease: &'a Lease,
    blob_id: BlobId,
    upto: u32,
    first: Option<Vec<u8>>,
    writing: FuturesUnordered<BoxFuture<'static, Result<(), StoreError>>>,
}

impl<'a> SnapshotSink<'a> {
    pub fn new(lease: &'a Lease, blob_id: BlobId) -> Self {
        Self { lease, blob_id, upto: STRIDE, first: None, writing: FuturesUnordered::new() }
    }

    /// Waits for what is being written; the payload, and every chunk is durable.
    pub async fn finish(mut self) -> Result<Payload, Stop> {
        let inline = match self.first.take() {
            Some(bytes) if bytes.len() <= INLINE_MAX => Some(bytes),
            Some(bytes) => {
                self.write(0, bytes).await?;
                None
            }
            None => None,
        };
        while let Some(written) = self.writing.next().await {
            written?;
        }
        Ok(Payload { blob_id: self.blob_id, inline })
    }

    async fn write(&mut self, n: u32, bytes: Vec<u8>) -> Result<(), Stop> {
        if n >= self.upto {
            self.upto = n + STRIDE;
            let (blob_id, upto) = (self.blob_id.clone(), self.upto);
            let open =
                self.lease.commit(move |tx, _| Ok((blobs::raise_upto(tx, &blob_id, upto)?, After::Stay))).await?;
            if !open {
                return Err(Stop::Lost);
            }
        }
        while self.writing.len() >= IN_FLIGHT {
            if let Some(written) = self.writing.next().await {
                written?;
            }
        }
        let (store, blob_id): (Arc<_>, _) = (self.lease.region.blobs.clone(), self.blob_id.clone());
        self.writing.push(Box::pin(async move { store.put_chunk(&blob_id, n, bytes).await }));
        Ok(())
    }
}

#[async_trait]
impl ChunkSink for SnapshotSink<'_> {
    async fn put(&mut self, n: u32, bytes: Vec<u8>) -> Result<(), HsmsError> {
        if n == 0 {
            self.first = Some(bytes);
            return Ok(());
        }
        if let Some(first) = self.first.take() {
            self.write(0, first).await.map_err(stop_to_hsms)?;
        }
        self.write(n, bytes).await.map_err(stop_to_hsms)
    }
}

/// A store's failure in the words of the call that it ends.
pub(crate) fn store_to_hsms(error: StoreError) -> HsmsError {
    let code = match &error {
        StoreError::Full(_) => HsmsCode::NoSpace,
        StoreError::Corrupt(_) => HsmsCode::Damaged,
        _ => HsmsCode::Busy,
    };
    HsmsError::new(code, error.to_string())
}

fn stop_to_hsms(stop: Stop) -> HsmsError {
    match stop {
        Stop::Store(error) => store_to_hsms(error),
        Stop::Hsms(error) => error,
        Stop::Lost => HsmsError::new(HsmsCode::Busy, stop.to_string()),
    }
}
