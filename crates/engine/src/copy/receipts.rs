//! Owns receipts: a destination's word that settled a copy (`ready` or `deleted`), that a copy was purged later, or that it
//! has been told everything after it came back on an old disk (`resumed`). Each has the next number of its peer, is written
//! in the transaction of what it tells, and is never deleted, so that a repeat is answered the same for ever.

use strongroom_model::{BackupId, CopyId, RegionId, Timestamp};
use strongroom_store::control::backups::Backup;
use strongroom_store::control::peers;
use strongroom_store::control::receipts::{self, Direction, Receipt, ReceiptKind};
use strongroom_store::{StoreError, Tx};

use crate::copy::incoming;
use crate::copy::message::{Ended, Reason};

/// The stored outcome of a copy, if it is settled.
pub(crate) fn outcome(tx: &mut dyn Tx, peer: &RegionId, copy_id: &CopyId) -> Result<Option<Ended>, StoreError> {
    Ok(receipts::outcome(tx, Direction::Given, peer, copy_id)?.map(ended))
}

/// Writes that a copy is READY here, for good, and returns it as it will always be told.
pub(crate) fn give_ready(tx: &mut dyn Tx, backup: &Backup, now: Timestamp) -> Result<Ended, StoreError> {
    give_outcome(tx, backup, ReceiptKind::Ready, None, now)
}

/// Writes that a copy is DELETED here, for good, and why.
pub(crate) fn give_deleted(
    tx: &mut dyn Tx,
    backup: &Backup,
    reason: &Reason,
    now: Timestamp,
) -> Result<Ended, StoreError> {
    give_outcome(tx, backup, ReceiptKind::Deleted, Some(reason), now)
}

fn give_outcome(
    tx: &mut dyn Tx,
    backup: &Backup,
    kind: ReceiptKind,
    reason: Option<&Reason>,
    now: Timestamp,
) -> Result<Ended, StoreError> {
    give(tx, &incoming::peer_of(backup)?, now, |receipt| {
        receipt.copy_id.clone_from(&backup.copy_id);
        receipt.kind = kind;
        receipt.backup_id = Some(backup.backup_id.clone());
        receipt.digest.clone_from(&backup.digest);
        receipt.reason_code = reason.map(|r| r.code.clone());
        receipt.reason = reason.map(|r| r.text.clone());
    })
}

/// Tells the source that its copy was purged, so that it never sends it again.
pub(crate) fn give_purged(
    tx: &mut dyn Tx,
    peer: &RegionId,
    copy_id: &CopyId,
    backup: &Backup,
    now: Timestamp,
) -> Result<(), StoreError> {
    let told = give(tx, peer, now, |receipt| {
        receipt.copy_id = Some(copy_id.clone());
        receipt.kind = ReceiptKind::Purged;
        receipt.backup_id = Some(backup.backup_id.clone());
        receipt.digest.clone_from(&backup.digest);
    });
    told.map(drop)
}

/// Ends the telling of a destination that was behind.
pub(crate) fn give_resumed(tx: &mut dyn Tx, peer: &RegionId, now: Timestamp) -> Result<(), StoreError> {
    give(tx, peer, now, |receipt| receipt.kind = ReceiptKind::Resumed).map(drop)
}

fn give(
    tx: &mut dyn Tx,
    peer: &RegionId,
    now: Timestamp,
    fill: impl FnOnce(&mut Receipt),
) -> Result<Ended, StoreError> {
    let mut receipt = Receipt {
        direction: Direction::Given,
        peer: peer.clone(),
        seq: peers::next_seq(tx, peer)?,
        at: now,
        ..Receipt::default()
    };
    fill(&mut receipt);
    receipts::insert(tx, &receipt)?;
    Ok(ended(receipt))
}

/// A receipt as it is told.
pub(crate) fn ended(receipt: Receipt) -> Ended {
    Ended {
        seq: receipt.seq as u64,
        copy_id: receipt.copy_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        kind: receipt.kind.as_str().to_owned(),
        backup_id: receipt.backup_id.map(|id| id.as_str().to_owned()),
        digest: receipt.digest,
        reason: receipt.reason_code.map(|code| Reason { code, text: receipt.reason.unwrap_or_default() }),
        at: receipt.at.millis(),
    }
}

/// A told receipt as the source keeps it; `None` for a kind that this release does not know.
pub(crate) fn got(peer: &RegionId, ended: &Ended) -> Option<Receipt> {
    Some(Receipt {
        direction: Direction::Got,
        peer: peer.clone(),
        seq: ended.seq as i64,
        kind: ReceiptKind::parse(&ended.kind)?,
        copy_id: (!ended.copy_id.is_empty()).then(|| CopyId::new(&*ended.copy_id)),
        backup_id: ended.backup_id.as_deref().map(BackupId::new),
        digest: ended.digest.clone(),
        reason_code: ended.reason.as_ref().map(|r| r.code.clone()),
        reason: ended.reason.as_ref().map(|r| r.text.clone()),
        at: Timestamp::from_millis(ended.at),
        ..Receipt::default()
    })
}
