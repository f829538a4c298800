//! Owns the errors of the store, split by what the caller does about them: wait for space, try again, stop and repair, or
//! report. The text is a private cause for the log, never an answer to a caller.

use std::io;
use std::path::PathBuf;

use crate::lock::Holder;

/// Why the store did not do something. Nothing was changed, except where [`StoreError::Unknown`] says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space is left. Frees itself; what failed can be tried again.
    #[error("no space is left: {0}")]
    Full(String),
    /// Another connection held the store too long, or the queue is gone. Can be tried again at once.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// A row that must be unique is there already.
    #[error("a row with this key is there already: {0}")]
    Conflict(String),
    /// What is stored is not what was written. Needs an operator.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The commit was begun and its outcome is not known: it may show after a restart.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// The store has been closed: the process is stopping.
    #[error("the store is closed")]
    Closed,
    /// Anything else: an I/O error, a statement that does not fit the schema.
    #[error("the store failed: {0}")]
    Other(String),
}

/// Why a write did not happen. `E` is the closure's own error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError<E> {
    /// The closure said no; its changes were undone.
    #[error("{0}")]
    Refused(E),
    /// The closure panicked; its changes were undone. The text is the panic's message.
    #[error("a transaction panicked: {0}")]
    Panicked(String),
    /// The store could not begin or commit the transaction.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<E: From<StoreError>> WriteError<E> {
    /// The closure's error type for every case.
    pub fn flatten(self) -> E {
        match self {
            Self::Refused(error) => error,
            Self::Panicked(message) => StoreError::Other(format!("a transaction panicked: {message}")).into(),
            Self::Store(error) => error.into(),
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A running process holds its lock.
    #[error("{} belongs to a running process: {holder}", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, in its own words.
        holder: Holder,
    },
    /// The lock file could not be made or read.
    #[error("cannot use the lock file {}: {cause}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A later release wrote it; this one would not understand the rows.
    #[error("{} has schema {found}, this release knows schemas up to {known}", path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// The schema it has.
        found: i64,
        /// The latest schema of this release.
        known: i64,
    },
    /// The database itself.
    #[error("cannot open {}: {cause}", path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// What failed.
        cause: StoreError,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            ConstraintViolation, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
        };
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(DiskFull) => Self::Full(text),
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy(text),
            Some(DatabaseCorrupt | NotADatabase) => Self::Corrupt(text),
            Some(ConstraintViolation) => Self::Conflict(text),
            _ => Self::Other(text),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(error.to_string())
            }
            _ => Self::Other(error.to_string()),
        }
    }
}
