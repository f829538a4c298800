//! Owns what a destination does when it came back on an old disk and its source tells it what it once said (O2): it takes
//! each receipt that it lacks as settled, and asks again for what it lost.

use strongroom_model::backup::{BackupState, UNDELETE_WINDOW};
use strongroom_model::{CopyId, Timestamp};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::receipts::{self as rows, Direction};
use strongroom_store::control::{backups, jobs};
use strongroom_store::{StoreError, Tx};

use crate::copy::message::{Answer, Ended, Listing, Reason};
use crate::copy::{incoming, receipts};
use crate::names;
use crate::ports::Peer;
use crate::region::Region;

/// O2, one receipt. Nothing is destroyed at a peer's word.
pub(crate) fn told(
    tx: &mut dyn Tx,
    region: &Region,
    peer: &Peer,
    told: &Ended,
    account: &str,
    listing: Option<&Listing>,
    now: Timestamp,
) -> Result<Answer, StoreError> {
    let copy_id = CopyId::new(&*told.copy_id);
    let held = receipts::outcome(tx, &peer.region_id, &copy_id)?;
    match told.kind.as_str() {
        "ready" => Ok(if held.is_some() { Answer::Held } else { Answer::Missing }),
        "deleted" => {
            if held.is_none() {
                let reason = told.reason.clone().unwrap_or_else(|| Reason::new("deleted", "as its source was told"));
                match (backups::by_copy(tx, &peer.region_id, &copy_id)?, listing) {
                    (Some(backup), _) => drop(incoming::delete_unsettled(tx, &backup, &reason, now)?),
                    (None, Some(listing)) => {
                        let backup = incoming::listed(tx, region, peer, &copy_id, account, listing)?;
                        incoming::insert_deleted(tx, backup, &reason, now)?;
                    }
                    (None, None) => {}
                }
            }
            Ok(Answer::Held)
        }
        "purged" => {
            told_purge(tx, region, peer, &copy_id, account, listing, now)?;
            Ok(Answer::Held)
        }
        _ => Ok(Answer::Held),
    }
}

/// A purge that this region forgot: the copy goes to PENDING_DELETION; one that was never here again is purged at once.
fn told_purge(
    tx: &mut dyn Tx,
    region: &Region,
    peer: &Peer,
    copy_id: &CopyId,
    account: &str,
    listing: Option<&Listing>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if rows::purge(tx, Direction::Given, &peer.region_id, copy_id)?.is_some() {
        return Ok(());
    }
    match (backups::by_copy(tx, &peer.region_id, copy_id)?, listing) {
        (Some(backup), _) if backup.state == BackupState::Ready => {
            let delete_at = now.plus(UNDELETE_WINDOW);
            backups::pending_deletion(tx, &backup.backup_id, delete_at)?;
            jobs::schedule(tx, JobKind::Purge, &names::backup(&backup.backup_id), delete_at)
        }
        (Some(backup), _) if backup.is_in_progress() => {
            incoming::delete_unsettled(tx, &backup, &Reason::new("purged", "as its source was told"), now)?;
            receipts::give_purged(tx, &peer.region_id, copy_id, &backup, now)
        }
        (Some(_), _) => Ok(()),
        (None, Some(listing)) => {
            let backup = incoming::listed(tx, region, peer, copy_id, account, listing)?;
            let reason = Reason::new("purged", "as its source was told");
            incoming::insert_deleted(tx, backup.clone(), &reason, now)?;
            receipts::give_purged(tx, &peer.region_id, copy_id, &backup, now)
        }
        (None, None) => Ok(()),
    }
}
