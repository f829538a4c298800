//! Owns the rows of outgoing copies: what is announced of one, how a receipt settles it (K7), and how one that the
//! destination lost is sent again (O3, O4).

use strongroom_model::copy::CopyState;
use strongroom_model::{CopyId, RegionId, Timestamp};
use strongroom_store::control::copies::{self, Copy, Step};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::receipts::{self as rows, ReceiptKind};
use strongroom_store::control::{alarms, backups, blobs, jobs, peers};
use strongroom_store::{StoreError, Tx};

use crate::copy::message::{Ended, Listing};
use crate::copy::receipts;
use crate::payload;
use crate::ports::Facts;
use crate::region::Region;

/// What is announced of a copy; `None` for a row whose facts cannot be read, which no row of ours has.
pub(crate) fn listing(region: &Region, copy: &Copy) -> Option<Listing> {
    let facts = Facts::from_bytes(&copy.facts).ok()?;
    Some(Listing {
        source_region: region.name().as_str().to_owned(),
        source_backup: copy.backup_id.as_str().to_owned(),
        source_cluster: copy.source_cluster_id.as_str().to_owned(),
        requested_at: copy.requested_at.millis(),
        facts,
    })
}

/// K7 and O4: a receipt is kept and settles its copy, once. One for an unknown copy is kept and raises an alarm (O5).
pub(crate) fn apply(
    tx: &mut dyn Tx,
    peer: &RegionId,
    ended: &Ended,
    steps: Vec<Step>,
    now: Timestamp,
) -> Result<Option<CopyState>, StoreError> {
    let Some(receipt) = receipts::got(peer, ended) else { return Ok(None) };
    peers::answered(tx, peer, now)?;
    let Some(copy_id) = receipt.copy_id.clone() else { return rows::insert_new(tx, &receipt).map(|_| None) };
    let Some(copy) = copies::get(tx, &copy_id)? else {
        rows::insert_new(tx, &receipt)?;
        alarms::raise(tx, "control-older", copy_id.as_str(), "a receipt came for a copy that no row knows", now)?;
        return Ok(None);
    };
    let mut receipt = receipt;
    receipt.again = copy.lost;
    rows::insert_new(tx, &receipt)?;
    let (state, code, text) = match receipt.kind {
        ReceiptKind::Ready if receipt.digest.as_deref() == Some(&copy.digest[..]) => (CopyState::Ready, None, None),
        ReceiptKind::Ready => (
            CopyState::Failed,
            Some("conflict".to_owned()),
            Some("the destination confirmed another manifest".to_owned()),
        ),
        ReceiptKind::Deleted if receipt.reason_code.as_deref() == Some("cancelled") => {
            (CopyState::Cancelled, receipt.reason_code.clone(), receipt.reason.clone())
        }
        ReceiptKind::Deleted => (CopyState::Failed, receipt.reason_code.clone(), receipt.reason.clone()),
        ReceiptKind::Purged | ReceiptKind::Resumed => return Ok(None),
    };
    let outcome = copies::Outcome {
        state,
        reason_code: code,
        reason: text,
        destination_backup_id: receipt.backup_id.clone(),
        receipt_seq: receipt.seq,
        receipt_at: receipt.at,
        finished_at: now,
    };
    if !copies::settle(tx, &copy_id, &outcome)? {
        return Ok(None);
    }
    copies::add_steps(tx, &copy_id, &steps)?;
    payload::unpin(tx, &copy.blob_id, copy_id.as_str(), now)?;
    jobs::remove(tx, JobKind::Copy, copy_id.as_str())?;
    Ok(Some(state))
}

/// O3: a ready copy that the destination lost is sent again under its own id, where the bytes are still here.
pub(crate) fn send_again(tx: &mut dyn Tx, copy_id: &CopyId, now: Timestamp) -> Result<(), StoreError> {
    let Some(copy) = copies::get(tx, copy_id)? else { return Ok(()) };
    let bytes_are_here =
        backups::get(tx, &copy.backup_id)?.is_some_and(|b| b.header.is_some()) && blobs::is_durable(tx, &copy.blob_id)?;
    if copies::lost(tx, copy_id)? && bytes_are_here {
        blobs::pin(tx, &copy.blob_id, copy_id.as_str())?;
        jobs::schedule(tx, JobKind::Copy, copy_id.as_str(), now)?;
    }
    Ok(())
}
