//! Owns the places where a test can step between the store and its disk. In a release nothing is hooked.

use crate::error::StoreError;

/// Called by a database around its effects. Commits are counted from 1, over the life of the hook's database.
pub trait CommitHook: Send + Sync {
    /// Before a group is committed; an error rolls it back and fails all in it.
    fn before_commit(&self, _n: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// After a group was committed; an error is all that its callers get to see, though the rows are there.
    fn after_commit(&self, _n: u64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Before a read begins.
    fn before_read(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// No fault.
pub(crate) struct NoHook;

impl CommitHook for NoHook {}
