//! Rows and blobs: one set of queries over an executor (SQLite), numbered migrations, and chunk storage in a directory.
//!
//! A mutation is a closure over [`Tx`], given to [`Database::write`]; it comes back as [`Committed`], the proof that its
//! transaction is durable. The row modules ([`control`] of the API process, [`vault`] of the HSM host) hold the SQL, one
//! file per table; they decide nothing. There is no clock and no randomness in here: both come as arguments.

#[macro_use]
pub mod sql;

pub mod blob;
pub mod chain;
pub mod control;
pub mod error;
pub mod lock;
pub mod migrate;
pub mod postgres;
pub mod sqlite;
pub mod vault;

mod answer;
#[cfg(not(feature = "faults"))]
mod hook;
#[cfg(feature = "faults")]
pub mod hook;
mod pending;
mod queue;

pub use answer::block_on;
pub use blob::{Blobs, Directory};
pub use error::{OpenError, StoreError, WriteError};
pub use sql::{Committed, Tx};
pub use sqlite::Database;
