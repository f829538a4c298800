//! Measures the store on a disk: durable transactions per second by the number of callers, reads, chunks, and a page of
//! backups. `cargo build --release -p strongroom-store --example throughput`, then `throughput [FOLDER]`; a folder of its
//! own is made inside FOLDER and removed after.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use strongroom_model::{AccountId, BackupId, BlobId, ClusterId, Timestamp};
use strongroom_store::control::backups::{self, Backup, Query};
use strongroom_store::control::{self, audit, clusters, tags};
use strongroom_store::{Blobs, Database, Directory, StoreError, block_on};

const SPAN: Duration = Duration::from_secs(3);
const CHUNK: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args().nth(1) {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    let database = Database::open(&folder.path().join("control.db"), &control::SCHEMA, "throughput")?;
    for callers in [1, 16, 64, 256] {
        writes(&database, callers);
    }
    reads(&database)?;
    for in_flight in [1, 4, 8] {
        chunks(folder.path(), in_flight)?;
    }
    for manifest in [1 << 10, 64 << 10] {
        pages(folder.path(), manifest)?;
    }
    Ok(())
}

/// A tag replaced and an audit row added: what a small mutation writes.
fn writes(database: &Database, callers: usize) {
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let threads: Vec<_> = (0..callers)
        .map(|caller| {
            let (database, stop) = (database.clone(), stop.clone());
            thread::spawn(move || {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    write(&database, caller, latencies.len());
                    latencies.push(begin.elapsed());
                }
                latencies
            })
        })
        .collect();
    thread::sleep(SPAN);
    stop.store(true, Ordering::Relaxed);
    let mut latencies: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect();
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let part = |of: usize| latencies.get(latencies.len() * of / 100).copied().unwrap_or_default();
    println!("{callers:>4} callers  {rate:>8.0} durable tx/s   p50 {:?}  p99 {:?}", part(50), part(99));
}

fn write(database: &Database, caller: usize, n: usize) {
    let tag = strongroom_model::Tag { key: "n".into(), value: n.to_string() };
    let written = database.write_blocking(move |tx| {
        tags::put(tx, &format!("cluster-{caller}"), std::slice::from_ref(&tag))?;
        let event = "{\"operation\":\"TagResource\"}";
        audit::append(tx, "writer", &audit::Records::one(Timestamp::from_millis(n as i64), event))
    });
    if let Err(error) = written {
        println!("     failed: {error}");
    }
}

/// One row by its key, each in a transaction of its own.
fn reads(database: &Database) -> Result<(), StoreError> {
    let id = ClusterId::from_bytes([1; 7]);
    let row = clusters::Cluster { cluster_id: id.clone(), ..clusters::Cluster::default() };
    database.write_blocking(move |tx| clusters::insert(tx, &row)).map_err(|e| e.flatten())?.into_inner();
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < SPAN / 3 {
        database.read_blocking(|tx| clusters::get(tx, &id))?;
        count += 1;
    }
    println!("   1 reader   {:>8.0} reads/s", f64::from(count) / begin.elapsed().as_secs_f64());
    Ok(())
}

/// Chunks of 1 MiB, so many under way at once.
fn chunks(folder: &Path, in_flight: usize) -> Result<(), StoreError> {
    const COUNT: usize = 192;
    let blobs = Arc::new(Directory::open(&folder.join("blobs"))?);
    let blob = BlobId::from_bytes([in_flight as u8; 17]);
    let begin = Instant::now();
    let threads: Vec<_> = (0..in_flight)
        .map(|part| {
            let (blobs, blob) = (blobs.clone(), blob.clone());
            thread::spawn(move || {
                (part..COUNT)
                    .step_by(in_flight)
                    .try_for_each(|n| block_on(blobs.put_chunk(&blob, n as u32, vec![7; CHUNK])))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| StoreError::Closed)??;
    }
    let rate = COUNT as f64 / begin.elapsed().as_secs_f64();
    println!("{in_flight:>4} chunks in flight  {rate:>6.0} durable MiB/s");
    for n in 0..COUNT {
        block_on(blobs.delete_chunk(&blob, n as u32))?;
    }
    Ok(())
}

/// The first 50 of 1,000 backups, each with a manifest of so many bytes.
fn pages(folder: &Path, manifest: usize) -> Result<(), Box<dyn Error>> {
    let path = folder.join(format!("pages-{manifest}.db"));
    let database = Database::open(&path, &control::SCHEMA, "throughput")?;
    let account = AccountId::new("000000000000");
    let of = account.clone();
    let filled = database.write_blocking(move |tx| {
        (0..1_000u16).try_for_each(|n| {
            let [high, low] = n.to_be_bytes();
            let row = Backup {
                backup_id: BackupId::from_bytes([high, low, 0, 0, 0, 0, 0]),
                account: of.clone(),
                create_ts: Timestamp::from_millis(i64::from(n)),
                body: Some(vec![1; manifest]),
                ..Backup::default()
            };
            backups::insert(tx, &row)
        })
    });
    filled.map_err(|e| e.flatten())?.into_inner();
    let query = Query { account, limit: 50, ..Query::default() };
    let begin = Instant::now();
    let rows = database.read_blocking(|tx| backups::page(tx, &query))?.rows.len();
    println!("page of {rows} among 1,000 backups, manifests of {:>2} KiB  {:?}", manifest >> 10, begin.elapsed());
    Ok(())
}
