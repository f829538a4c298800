//! Owns payload bytes in storage: chunks by number under a blob's name. A chunk that was put is durable when the call
//! returns: file, folder and parent folders are fsynced. Names are fresh and random, so that a chunk is only ever written
//! with the same bytes; deleting what is away already is success. File I/O runs on a few threads of its own, so that no
//! async worker waits for a disk.

use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use strongroom_model::BlobId;

use crate::answer;
use crate::error::StoreError;
use crate::queue::Queue;

/// Threads for file I/O: enough that several fsyncs are under way at once.
const THREADS: usize = 6;
/// Operations that wait for a thread before their callers do.
const QUEUED: usize = 64;

/// A future that borrows nothing.
pub type BlobFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Where chunks are kept.
pub trait Blobs: Send + Sync {
    /// Makes a chunk durable. The same chunk may be put again with the same bytes.
    fn put_chunk(&self, blob: &BlobId, n: u32, bytes: Vec<u8>) -> BlobFuture<()>;
    /// Reads a chunk; one that is not there is [`StoreError::Corrupt`], since rows only name chunks that are.
    fn get_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<Vec<u8>>;
    /// Deletes a chunk, and the blob's folder with its last one. Absent is success.
    fn delete_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<()>;
    /// Every chunk in storage. Only `verify` and tests list; nothing is ever collected from a listing.
    fn list(&self) -> BlobFuture<Vec<(BlobId, u32)>>;
}

type Task = Box<dyn FnOnce() + Send>;

/// Chunks as files: `<root>/<first two characters>/<blob>/<n>`.
pub struct Directory {
    root: Arc<Path>,
    tasks: Arc<Queue<Task>>,
}

impl Directory {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        make_folder(root)?;
        let tasks = Arc::new(Queue::<Task>::new(QUEUED));
        for n in 0..THREADS {
            let tasks = tasks.clone();
            let thread = thread::Builder::new().name(format!("store-blob-{n}")).stack_size(256 * 1024);
            thread.spawn(move || {
                while let Some(task) = tasks.pop(1).pop() {
                    task();
                }
            })?;
        }
        Ok(Self { root: root.into(), tasks })
    }

    fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> BlobFuture<T> {
        let (sender, receiver) = answer::channel();
        let root = self.root.clone();
        let tasks = self.tasks.clone();
        Box::pin(async move {
            tasks.push(Box::new(move || sender.send(task(&root)))).await.map_err(|_| StoreError::Closed)?;
            receiver.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.tasks.close();
    }
}

impl Blobs for Directory {
    fn put_chunk(&self, blob: &BlobId, n: u32, bytes: Vec<u8>) -> BlobFuture<()> {
        let blob = blob.clone();
        self.run(move |root| Ok(put(&folder(root, &blob), n, &bytes)?))
    }

    fn get_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<Vec<u8>> {
        let blob = blob.clone();
        self.run(move |root| {
            get(&folder(root, &blob), n).map_err(|error| match error.kind() {
                ErrorKind::NotFound => StoreError::Corrupt(format!("chunk {n} of {blob} is not there")),
                _ => error.into(),
            })
        })
    }

    fn delete_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<()> {
        let blob = blob.clone();
        self.run(move |root| Ok(delete(&folder(root, &blob), n)?))
    }

    fn list(&self) -> BlobFuture<Vec<(BlobId, u32)>> {
        self.run(|root| Ok(list(root)?))
    }
}

fn folder(root: &Path, blob: &BlobId) -> PathBuf {
    let name = blob.as_str();
    root.join(name.get(..2).unwrap_or(name)).join(name)
}

/// Writes beside the final name, under a name of its own, and renames, so that no reader meets half a chunk and two writers
/// of the same chunk do not meet at all.
fn put(folder: &Path, n: u32, bytes: &[u8]) -> io::Result<()> {
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    make_folder(folder)?;
    let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
    let (name, partial) = (folder.join(n.to_string()), folder.join(format!("{n}.{}.{writer}", std::process::id())));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    evict(&file);
    fs::rename(&partial, &name)?;
    File::open(folder)?.sync_all()
}

fn get(folder: &Path, n: u32) -> io::Result<Vec<u8>> {
    let mut file = File::open(folder.join(n.to_string()))?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    evict(&file);
    Ok(bytes)
}

/// A chunk is written once and read once or twice, much later or to prove it: it has no place in the system's cache, where
/// it would push out what is used again. It also means that what proves a chunk is read from the disk. This is advice: a
/// file system that does not take it loses nothing but speed.
#[cfg(target_os = "linux")]
fn evict(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn evict(_: &File) {}

/// Deletes a chunk, what a cut writer left of it, and the folder with its last chunk.
fn delete(folder: &Path, n: u32) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let own = [n.to_string(), format!("{n}.")];
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name == own[0].as_str() || name.starts_with(&own[1]))
            && let Err(error) = fs::remove_file(entry.path())
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    match fs::remove_dir(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all()),
        // It holds other chunks.
        Err(_) => File::open(folder).map_or(Ok(()), |folder| folder.sync_all()),
    }
}

/// Makes a folder and makes its name durable, up to a parent that was there. One at a time: who finds a folder must not
/// rely on it before whoever made it has made it durable.
fn make_folder(path: &Path) -> io::Result<()> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    make_missing(path)
}

fn make_missing(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        make_missing(parent)?;
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        return File::open(parent)?.sync_all();
    }
    fs::DirBuilder::new().mode(0o700).create(path)
}

fn list(root: &Path) -> io::Result<Vec<(BlobId, u32)>> {
    let mut chunks = Vec::new();
    for prefix in fs::read_dir(root)? {
        for blob in fs::read_dir(prefix?.path())? {
            let blob = blob?;
            let id = BlobId::new(blob.file_name().to_string_lossy());
            for chunk in fs::read_dir(blob.path())? {
                let name = chunk?.file_name();
                if let Ok(n) = name.to_string_lossy().split('.').next().unwrap_or_default().parse() {
                    chunks.push((id.clone(), n));
                }
            }
        }
    }
    chunks.sort_unstable();
    chunks.dedup();
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block_on;

    #[test]
    fn chunks_come_back_and_go_for_good() {
        let root = tempfile::tempdir().unwrap();
        let blobs = Directory::open(&root.path().join("blobs")).unwrap();
        let blob = BlobId::from_bytes([7; 17]);
        block_on(blobs.put_chunk(&blob, 0, vec![1; 100])).unwrap();
        block_on(blobs.put_chunk(&blob, 0, vec![1; 100])).unwrap();
        block_on(blobs.put_chunk(&blob, 12, vec![2])).unwrap();
        assert_eq!(block_on(blobs.get_chunk(&blob, 12)).unwrap(), [2]);
        assert_eq!(block_on(blobs.list()).unwrap(), [(blob.clone(), 0), (blob.clone(), 12)]);
        block_on(blobs.delete_chunk(&blob, 0)).unwrap();
        block_on(blobs.delete_chunk(&blob, 0)).unwrap();
        assert!(matches!(block_on(blobs.get_chunk(&blob, 0)), Err(StoreError::Corrupt(_))));
        block_on(blobs.delete_chunk(&blob, 12)).unwrap();
        assert!(!folder(&root.path().join("blobs"), &blob).exists());
    }
}
