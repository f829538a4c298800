//! control.blobs, blob_chunks and pins: who owns which bytes, how far they were written, and who still needs them.

use strongroom_model::{BlobId, Timestamp};

use crate::error::StoreError;
use crate::sql::Tx;

strongroom_model::string_enum! {
    /// The states of a blob.
    pub enum BlobState {
        Writing "writing",
        Durable "durable",
        Doomed "doomed",
    }
}
enum_columns!(BlobState);

table! {
    /// A payload in storage.
    Blob in "blobs" {
        /// Its name.
        blob_id: BlobId,
        /// Its state.
        state: BlobState,
        /// The job that writes it.
        owner: String,
        /// No chunk at or beyond this number was ever written.
        upto: u32,
        /// The bytes, where they live in the row.
        inline: Option<Vec<u8>>,
        /// When it was given up.
        doomed_at: Option<Timestamp>,
    }
}

/// A chunk that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRow {
    /// Its number.
    pub n: u32,
    /// Its SHA-256.
    pub digest: Vec<u8>,
    /// Its bytes.
    pub length: i64,
}

/// A blob is announced before its first byte is written.
pub fn insert_writing(tx: &mut dyn Tx, id: &BlobId, owner: &str, upto: u32) -> Result<(), StoreError> {
    tx.insert(&Blob { blob_id: id.clone(), owner: owner.into(), upto, ..Blob::default() })
}

/// A blob.
pub fn get(tx: &mut dyn Tx, id: &BlobId) -> Result<Option<Blob>, StoreError> {
    tx.select_one("WHERE blob_id = $1", params![id])
}

/// All blobs; for checks.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<Blob>, StoreError> {
    tx.select("ORDER BY blob_id", &[])
}

/// Raises `upto` of a blob before a chunk beyond it is written: whether the blob may still be written.
pub fn raise_upto(tx: &mut dyn Tx, id: &BlobId, upto: u32) -> Result<bool, StoreError> {
    let sql = "UPDATE blobs SET upto = CASE WHEN upto < $2 THEN $2 ELSE upto END \
               WHERE blob_id = $1 AND state = 'writing'";
    tx.change(sql, params![id, upto])
}

/// S5, N6: every byte is there. Chunks that are not recorded yet are recorded now.
pub fn durable(tx: &mut dyn Tx, id: &BlobId, inline: Option<&[u8]>, chunks: &[ChunkRow]) -> Result<bool, StoreError> {
    for chunk in chunks {
        record_chunk(tx, id, chunk)?;
    }
    let sql = "UPDATE blobs SET state = 'durable', inline = $2, upto = CASE WHEN $3 = 1 THEN 0 ELSE upto END \
               WHERE blob_id = $1 AND state = 'writing'";
    tx.change(sql, params![id, inline, inline.is_some()])
}

/// Whether a blob is durable.
pub fn is_durable(tx: &mut dyn Tx, id: &BlobId) -> Result<bool, StoreError> {
    Ok(tx.query_opt("SELECT 1 FROM blobs WHERE blob_id = $1 AND state = 'durable'", params![id])?.is_some())
}

/// Gives a blob up, unless a pin holds it: whether it did.
pub fn doom(tx: &mut dyn Tx, id: &BlobId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE blobs SET state = 'doomed', doomed_at = $2, inline = NULL \
               WHERE blob_id = $1 AND state <> 'doomed' \
               AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.blob_id = $1)";
    tx.change(sql, params![id, now])
}

/// Z4: the rows of a doomed blob whose bytes are away.
pub fn delete(tx: &mut dyn Tx, id: &BlobId) -> Result<bool, StoreError> {
    let gone = tx.change("DELETE FROM blobs WHERE blob_id = $1 AND state = 'doomed'", params![id])?;
    if gone {
        tx.execute("DELETE FROM blob_chunks WHERE blob_id = $1", params![id])?;
    }
    Ok(gone)
}

/// Holds the bytes of a durable blob for somebody.
pub fn pin(tx: &mut dyn Tx, id: &BlobId, holder: &str) -> Result<(), StoreError> {
    if !is_durable(tx, id)? {
        return Err(StoreError::Corrupt(format!("the blob {id} is not durable and cannot be pinned")));
    }
    tx.execute("INSERT INTO pins (blob_id, holder) VALUES ($1, $2) ON CONFLICT DO NOTHING", params![id, holder])
        .map(drop)
}

/// Holds them no longer.
pub fn unpin(tx: &mut dyn Tx, id: &BlobId, holder: &str) -> Result<bool, StoreError> {
    tx.change("DELETE FROM pins WHERE blob_id = $1 AND holder = $2", params![id, holder])
}

/// All pins; for checks.
pub fn pins(tx: &mut dyn Tx) -> Result<Vec<(BlobId, String)>, StoreError> {
    let rows = tx.query("SELECT blob_id, holder FROM pins ORDER BY blob_id, holder", &[])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// N4: a chunk of a blob that is being written is durable: whether this was news.
pub fn record_chunk(tx: &mut dyn Tx, id: &BlobId, chunk: &ChunkRow) -> Result<bool, StoreError> {
    let sql = "INSERT INTO blob_chunks (blob_id, n, digest, length) SELECT $1, $2, $3, $4 \
               WHERE EXISTS (SELECT 1 FROM blobs WHERE blob_id = $1 AND state = 'writing') ON CONFLICT DO NOTHING";
    tx.change(sql, params![id, chunk.n, chunk.digest, chunk.length])
}

/// N5: a chunk is not what it was when it was recorded.
pub fn forget_chunk(tx: &mut dyn Tx, id: &BlobId, n: u32) -> Result<bool, StoreError> {
    tx.change("DELETE FROM blob_chunks WHERE blob_id = $1 AND n = $2", params![id, n])
}

/// The numbers of the chunks that are recorded, ascending.
pub fn chunk_numbers(tx: &mut dyn Tx, id: &BlobId) -> Result<Vec<u32>, StoreError> {
    tx.query_column("SELECT n FROM blob_chunks WHERE blob_id = $1 ORDER BY n", params![id])
}

/// How many chunks are recorded.
pub fn chunk_count(tx: &mut dyn Tx, id: &BlobId) -> Result<u32, StoreError> {
    Ok(tx.query_value("SELECT COUNT(*) FROM blob_chunks WHERE blob_id = $1", params![id])?.unwrap_or(0))
}

/// The chunks that are recorded, ascending.
pub fn chunks(tx: &mut dyn Tx, id: &BlobId) -> Result<Vec<ChunkRow>, StoreError> {
    let rows = tx.query("SELECT n, digest, length FROM blob_chunks WHERE blob_id = $1 ORDER BY n", params![id])?;
    rows.iter().map(|row| Ok(ChunkRow { n: row.get(0)?, digest: row.get(1)?, length: row.get(2)? })).collect()
}
