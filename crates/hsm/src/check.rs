//! Owns reading a stored payload from the API process: the chunks come in order, each is held against its digest in the
//! manifest, and only then opened, parsed and checked; the next are received and hashed meanwhile, on a thread of their own.
//! All are read, also after a fault, so that the connection stays usable. [`check`] keeps nothing; the installation stages
//! what it is given.

use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;

use strongroom_link::host::{Facts, Failure, FailureCode};

use crate::contents::{Checked, Cluster, Contents};
use crate::data_key::DataKey;
use crate::fault::{Stop, failure};
use crate::host::{ChunkIo, Cut};
use crate::manifest::{chunk_count, chunk_digest, sha256};
use crate::payload::{PayloadReader, Record};
use crate::snapshot::cut;

/// Chunks that wait to be opened while the next is received.
const AHEAD: usize = 1;

/// What is done with the records while they are checked.
pub(crate) trait Sink {
    /// Takes a record; the cluster is known from the first on.
    fn record(&mut self, cluster: &Cluster, record: Checked<'_>) -> Result<(), Stop>;

    /// All records of a chunk were taken.
    fn chunk_done(&mut self) -> Result<(), Stop>;
}

/// Checks a payload and keeps nothing of it.
struct Nothing;

impl Sink for Nothing {
    fn record(&mut self, _: &Cluster, _: Checked<'_>) -> Result<(), Stop> {
        Ok(())
    }

    fn chunk_done(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

/// Test-opens a payload.
///
/// # Errors
/// `Damaged` for a chunk that is not the one of the manifest, `DoesNotOpen` for what is inside.
pub(crate) fn check(facts: &Facts, key: &DataKey, io: &mut dyn ChunkIo) -> Result<(), Failure> {
    open(facts, key, io, &mut Nothing).map(drop)
}

/// Opens a payload into `sink` and returns its cluster once all is checked.
///
/// # Errors
/// As [`check`], and what the sink returned.
pub(crate) fn open(
    facts: &Facts,
    key: &DataKey,
    io: &mut dyn ChunkIo,
    sink: &mut dyn Sink,
) -> Result<Cluster, Failure> {
    let chunks = chunk_count(facts);
    let mut reader = PayloadReader::new(key, chunks);
    let mut contents = Contents::new(facts);
    let mut so_far = Ok(());
    let mut take = |chunk: Result<Vec<u8>, Failure>| {
        if so_far.is_ok() {
            so_far = chunk.and_then(|chunk| take(&chunk, &mut reader, &mut contents, sink));
        }
    };
    if chunks == 1 {
        take(receive(facts, 0, io)?);
    } else {
        thread::scope(|scope| {
            let (sender, received) = mpsc::sync_channel(AHEAD);
            // Who takes them may have met a fault and gone: the rest is read all the same.
            let receiving = scope.spawn(move || {
                (0..chunks).try_for_each(|n| receive(facts, n, io).map(|chunk| drop(sender.send(chunk))))
            });
            received.into_iter().for_each(&mut take);
            receiving.join().unwrap_or_else(|panic| resume_unwind(panic))
        })?;
    }
    so_far?;
    contents.finish().map_err(|what| Stop::from(what).into())
}

/// Receives a chunk: its bytes, or that they are not those of the manifest.
fn receive(facts: &Facts, n: u32, io: &mut dyn ChunkIo) -> Result<Result<Vec<u8>, Failure>, Failure> {
    let chunk = io.receive().map_err(|Cut| cut())?;
    Ok(match chunk.n == n && sha256(&chunk.bytes) == *chunk_digest(facts, n) {
        true => Ok(chunk.bytes),
        false => Err(failure(FailureCode::Damaged, format!("chunk {n} differs from its digest"))),
    })
}

/// Reads as many chunks as the manifest counts and drops them, where the answer is known already.
///
/// # Errors
/// The connection ended.
pub(crate) fn drain(facts: &Facts, io: &mut dyn ChunkIo) -> Result<(), Failure> {
    (0..chunk_count(facts)).try_for_each(|_| io.receive().map(drop).map_err(|Cut| cut()))
}

/// Opens a chunk and takes its records.
fn take(
    chunk: &[u8],
    reader: &mut PayloadReader,
    contents: &mut Contents<'_>,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let mut each = |record: Record<'_>| -> Result<(), Stop> {
        let checked = contents.record(record)?;
        match contents.cluster() {
            Some(cluster) => sink.record(cluster, checked),
            None => Err(Stop::from("the first record is not the cluster's".to_owned())),
        }
    };
    reader.chunk(chunk, &mut each)?;
    Ok(sink.chunk_done()?)
}
