//! Owns the lock file that keeps a second process off a folder. The lock is the system's (flock), so that it ends with its
//! holder however that ends; the file's text only tells a second process whom it met. The descriptor is close-on-exec: a
//! child that outlives its parent does not keep it.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::error::OpenError;

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock(Mutex<File>);

/// Who holds a lock, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` if it has not written it yet.
    pub pid: Option<u32>,
    /// What it noted beside: its command, its endpoint, its start.
    pub notes: String,
}

impl Lock {
    /// Takes the lock and notes this process in it; [`OpenError::InUse`] if another holds it.
    pub fn take(path: &Path, notes: &str) -> Result<Self, OpenError> {
        let failed = |cause| OpenError::Lock { path: path.to_owned(), cause };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: path.to_owned(), holder: Holder::read(&mut file) });
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let lock = Self(Mutex::new(file));
        lock.note(notes).map_err(failed)?;
        Ok(lock)
    }

    /// Replaces the notes, for instance once the endpoint is known.
    pub fn note(&self, notes: &str) -> std::io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}\n{notes}\n", std::process::id())
    }
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        // Whoever cannot be read is still a holder.
        let _ = file.read_to_string(&mut text);
        let (pid, notes) = text.split_once('\n').unwrap_or_default();
        Self { pid: pid.parse().ok(), notes: notes.trim_end().to_owned() }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) if self.notes.is_empty() => write!(f, "pid {pid}"),
            Some(pid) => write!(f, "pid {pid} ({})", self.notes),
            None => f.write_str("one that is just starting"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_taker_learns_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.lock");
        let lock = Lock::take(&path, "a long note that is replaced").unwrap();
        lock.note("dev, http://127.0.0.1:4225").unwrap();
        let Err(OpenError::InUse { holder, .. }) = Lock::take(&path, "second") else { panic!("taken twice") };
        let pid = std::process::id();
        assert_eq!(holder, Holder { pid: Some(pid), notes: "dev, http://127.0.0.1:4225".into() });
        assert_eq!(holder.to_string(), format!("pid {pid} (dev, http://127.0.0.1:4225)"));
        drop(lock);
        Lock::take(&path, "third").unwrap();
    }
}
