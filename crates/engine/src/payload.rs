//! Owns the end of a payload: a blob is doomed when its backup is gone and no pin holds it, and reaped afterwards.

use strongroom_model::{BlobId, Timestamp};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{backups, blobs, jobs};
use strongroom_store::{StoreError, Tx};

/// Dooms a blob unless a pin holds it.
pub(crate) fn doom_unpinned(tx: &mut dyn Tx, blob_id: Option<&BlobId>, now: Timestamp) -> Result<(), StoreError> {
    let Some(blob_id) = blob_id else { return Ok(()) };
    if blobs::doom(tx, blob_id, now)? {
        jobs::schedule(tx, JobKind::Reap, blob_id.as_str(), now)?;
    }
    Ok(())
}

/// Removes a pin; dooms the blob where its backup is DELETED and no other pin is left.
pub(crate) fn unpin(tx: &mut dyn Tx, blob_id: &BlobId, holder: &str, now: Timestamp) -> Result<(), StoreError> {
    blobs::unpin(tx, blob_id, holder)?;
    if backups::is_wanted(tx, blob_id)? {
        return Ok(());
    }
    doom_unpinned(tx, Some(blob_id), now)
}
