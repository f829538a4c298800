//! Owns the rows of incoming copies: how one is listed, under which id, and how one that is not settled ends DELETED.

use aws_lc_rs::digest::{Context, SHA256};
use strongroom_model::backup::BackupState;
use strongroom_model::cluster::ClusterMode;
use strongroom_model::time::DAY;
use strongroom_model::{AccountId, BackupId, BlobId, ClusterId, CopyId, RegionId, Timestamp};
use strongroom_store::control::backups::{Backup, Origin};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{backups, jobs};
use strongroom_store::{StoreError, Tx};

use crate::copy::message::{Announce, Answer, Ended, Listing, Reason};
use crate::copy::receipts;
use crate::ports::{Facts, Peer};
use crate::region::Region;
use crate::{names, payload};

/// How long a copy that failed is shown, in milliseconds.
const FAILED_SHOWN: i64 = 7 * DAY;
/// The largest count of chunks that is believed: 64 GiB in chunks of 1 MiB.
const CHUNKS_MAX: u32 = 65_536;

/// The row of a copy as it is announced, under an id that is the same after any repeat; no state and no bytes yet.
pub(crate) fn listed(
    tx: &mut dyn Tx,
    region: &Region,
    peer: &Peer,
    copy_id: &CopyId,
    account: &str,
    listing: &Listing,
) -> Result<Backup, StoreError> {
    let facts = &listing.facts;
    let (backup_id, n) = free_id(tx, &region.id, &peer.region_id, copy_id)?;
    Ok(Backup {
        backup_id,
        id_n: n,
        account: AccountId::new(account),
        origin: Origin::Copy,
        source_region: Some(peer.name.clone()),
        source_region_id: Some(peer.region_id.clone()),
        source_backup_id: Some(BackupId::new(&*listing.source_backup)),
        source_cluster_id: Some(ClusterId::new(&*listing.source_cluster)),
        copy_id: Some(copy_id.clone()),
        hsm_type: facts.hsm_type.clone(),
        mode: ClusterMode::parse(&facts.mode).unwrap_or_default(),
        create_ts: Timestamp::from_millis(facts.created_at),
        copy_ts: Some(Timestamp::from_millis(listing.requested_at)),
        digest: Some(facts.digest.to_vec()),
        listing: Some(facts.to_bytes()),
        ..Backup::default()
    })
}

fn free_id(
    tx: &mut dyn Tx,
    region: &RegionId,
    peer: &RegionId,
    copy_id: &CopyId,
) -> Result<(BackupId, u32), StoreError> {
    for n in 0.. {
        let id = backup_id(region, peer, copy_id, n);
        if backups::get(tx, &id)?.is_none() {
            return Ok((id, n));
        }
    }
    unreachable!("one of 2^32 ids is free")
}

/// The id of a copy: first 11 base32 characters of SHA-256(destination ‖ source ‖ copy id ‖ n).
fn backup_id(region: &RegionId, peer: &RegionId, copy_id: &CopyId, n: u32) -> BackupId {
    let mut context = Context::new(&SHA256);
    for part in [region.as_str(), peer.as_str(), copy_id.as_str()] {
        context.update(&(part.len() as u32).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.update(&n.to_be_bytes());
    BackupId::from_bytes(context.finish().as_ref()[..7].try_into().expect("SHA-256 has 32 bytes"))
}

/// The bad end of a copy that is not settled: DELETED, blob doomed, jobs away, receipt, in the caller's transaction. For a
/// copy that is settled already, its receipt.
pub(crate) fn delete_unsettled(
    tx: &mut dyn Tx,
    backup: &Backup,
    reason: &Reason,
    now: Timestamp,
) -> Result<Ended, StoreError> {
    let (peer, copy_id) = (peer_of(backup)?, copy_id_of(backup)?);
    if let Some(ended) = receipts::outcome(tx, &peer, &copy_id)? {
        return Ok(ended);
    }
    if !backups::failed(tx, &backup.backup_id, &format!("{}: {}", reason.code, reason.text), now)? {
        return Err(StoreError::Corrupt("an unsettled copy is in no unsettled state".into()));
    }
    payload::doom_unpinned(tx, backup.blob_id.as_ref(), now)?;
    jobs::remove(tx, JobKind::Incoming, backup.backup_id.as_str())?;
    jobs::schedule(tx, JobKind::Forget, &names::backup(&backup.backup_id), now.plus(FAILED_SHOWN))?;
    receipts::give_deleted(tx, backup, reason, now)
}

/// The row of a copy that was given up before it was ever announced here.
pub(crate) fn insert_deleted(
    tx: &mut dyn Tx,
    mut backup: Backup,
    reason: &Reason,
    now: Timestamp,
) -> Result<Ended, StoreError> {
    backup.state = BackupState::CreateInProgress;
    backups::insert(tx, &backup)?;
    delete_unsettled(tx, &backup, reason, now)
}

/// What is announced is checked for what this region relies on before anything is proved.
pub(crate) fn plausible(announce: &Announce) -> Result<(), &'static str> {
    let facts = &announce.listing.facts;
    let chunks = facts.chunks();
    match () {
        () if !facts.chunk_digests.len().is_multiple_of(32) => Err("the chunk digests are cut off"),
        () if chunks == 0 || chunks > CHUNKS_MAX => Err("the count of chunks is out of range"),
        () if announce.payload.is_some() && chunks != 1 => Err("a payload of several chunks came in one piece"),
        () if ClusterMode::parse(&facts.mode).is_none() => Err("there is no such mode"),
        () if announce.tags.len() > strongroom_model::tag::TAGS_MAX => Err("there are too many tags"),
        () => Ok(()),
    }
}

/// What was announced of a copy.
pub(crate) fn facts_of(backup: &Backup) -> Option<Facts> {
    Facts::from_bytes(backup.listing.as_deref()?).ok()
}

/// The ranges of `0..total` that `held`, in ascending order, leaves out; both ends included.
pub(crate) fn ranges_without(held: &[u32], total: u32) -> Vec<(u32, u32)> {
    let mut ranges = Vec::new();
    let mut next = 0;
    for &n in held.iter().chain([&total]) {
        if n > next {
            ranges.push((next, n - 1));
        }
        next = n + 1;
    }
    ranges
}

/// `Lacks` of a copy whose listed facts cannot be read, which no row of ours has.
pub(crate) fn lacks(backup_id: &BackupId, ranges: Vec<(u32, u32)>) -> Answer {
    Answer::Lacks { backup_id: backup_id.as_str().to_owned(), ranges }
}

pub(crate) fn copy_id_of(backup: &Backup) -> Result<CopyId, StoreError> {
    backup.copy_id.clone().ok_or_else(|| StoreError::Corrupt(format!("{} has no copy id", backup.backup_id)))
}

pub(crate) fn peer_of(backup: &Backup) -> Result<RegionId, StoreError> {
    let peer = backup.source_region_id.clone();
    peer.ok_or_else(|| StoreError::Corrupt(format!("{} has no source region", backup.backup_id)))
}

pub(crate) fn blob_id_of(backup: &Backup) -> Result<BlobId, StoreError> {
    backup.blob_id.clone().ok_or_else(|| StoreError::Corrupt(format!("{} has no blob", backup.backup_id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_what_is_not_held() {
        assert_eq!(ranges_without(&[], 3), [(0, 2)]);
        assert_eq!(ranges_without(&[0, 1, 2], 3), []);
        assert_eq!(ranges_without(&[1], 3), [(0, 0), (2, 2)]);
        assert_eq!(ranges_without(&[0, 3, 4], 7), [(1, 2), (5, 6)]);
    }

    #[test]
    fn the_id_of_a_copy_depends_on_both_regions_and_the_copy() {
        let id = |to: &str, from: &str, copy: &str, n| {
            backup_id(&RegionId::new(to), &RegionId::new(from), &CopyId::new(copy), n)
        };
        assert_eq!(id("a", "b", "c", 0), id("a", "b", "c", 0));
        let others = [id("b", "a", "c", 0), id("a", "b", "d", 0), id("a", "b", "c", 1), id("ab", "", "c", 0)];
        assert!(others.iter().all(|other| *other != id("a", "b", "c", 0)));
    }
}
