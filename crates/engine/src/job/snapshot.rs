//! S1 to S6: a backup is made. Each attempt has a blob and a data key of its own, and the attempt before is doomed first.
//! The chunks are stored, read back and opened by the host before the row says READY; damage is tried once more, then
//! the backup ends DELETED with its reason. Whoever waits for the backup goes on either way.

use strongroom_model::{BackupId, BlobId, ClusterId, Timestamp};
use strongroom_store::control::backups::{self, Backup, Content};
use strongroom_store::control::{blobs, jobs};
use strongroom_store::{StoreError, Tx};

use crate::blob::{Payload, PayloadSource, STRIDE, SnapshotSink};
use crate::job::cluster_remove::SHOWN;
use crate::job::{After, JobKind, Lease, Stop};
use crate::ports::{HsmsCode, HsmsError, Snapshot};
use crate::{names, payload};

/// How often damage is tried again.
const ATTEMPTS: i64 = 2;

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let backup_id = BackupId::new(&lease.claim.subject);
    let Some(backup) = begin_attempt(lease, &backup_id).await? else { return Ok(()) };
    let Some(cluster_id) = backup.cluster_id.clone() else { return lease.stop(After::End).await };
    match take(lease, &backup, &cluster_id).await {
        Ok((payload, snapshot)) => ready(lease, backup_id, payload, snapshot).await,
        Err(Stop::Hsms(error)) if error.code.is_retryable() => Err(error.into()),
        Err(Stop::Hsms(error)) if error.code == HsmsCode::Damaged && backup.attempt < ATTEMPTS => {
            lease.commit(|_, now| Ok(((), After::Due(now)))).await?;
            tracing::warn!(region = %lease.region.name(), backup = %backup_id, %error, "snapshot is tried again");
            Ok(())
        }
        Err(Stop::Hsms(error)) => failed(lease, backup_id, error.to_string()).await,
        Err(stop) => Err(stop),
    }
}

/// S1: the attempt is counted, and has a blob row before it has a byte. `None` where the backup has settled, or just did.
async fn begin_attempt(lease: &Lease, backup_id: &BackupId) -> Result<Option<Backup>, Stop> {
    let blob_id = BlobId::from_bytes(lease.region.draw());
    let id = backup_id.clone();
    let owner = format!("snapshot:{backup_id}");
    lease
        .commit(move |tx, now| {
            let Some(backup) = backups::get(tx, &id)? else { return Ok((None, After::End)) };
            if !backup.is_in_progress() {
                return Ok((None, After::End));
            }
            if backup.deadline_at.is_some_and(|deadline| deadline <= now) {
                let last = jobs::reason(tx, JobKind::Snapshot, id.as_str())?.unwrap_or_default();
                give_up(tx, &id, &format!("deadline: not made within an hour. {last}"), now)?;
                return Ok((None, After::End));
            }
            payload::doom_unpinned(tx, backup.blob_id.as_ref(), now)?;
            blobs::insert_writing(tx, &blob_id, &owner, STRIDE)?;
            backups::begin_attempt(tx, &id, &blob_id)?;
            Ok((backups::get(tx, &id)?, After::Stay))
        })
        .await
}

/// S2 to S4: the snapshot is taken, stored, read back and opened.
async fn take(lease: &Lease, backup: &Backup, cluster_id: &ClusterId) -> Result<(Payload, Snapshot), Stop> {
    let region = &lease.region;
    let blob_id = backup.blob_id.clone().ok_or_else(|| StoreError::Corrupt("an attempt has no blob".into()))?;
    let mut sink = SnapshotSink::new(lease, blob_id);
    let snapshot =
        region.hsms.snapshot(cluster_id, &backup.backup_id, &backup.hsm_type, backup.create_ts, &mut sink).await?;
    let payload = sink.finish().await?;
    let proved = {
        let mut source = PayloadSource::new(region, &payload, snapshot.facts.chunks());
        region.hsms.check(&snapshot.header, &snapshot.body, &mut source).await?
    };
    if proved != snapshot.facts {
        return Err(HsmsError::new(HsmsCode::Damaged, "what was read back is not what the snapshot says").into());
    }
    Ok((payload, snapshot))
}

/// S5: READY, with bytes that are durable and were opened.
async fn ready(lease: &Lease, backup_id: BackupId, payload: Payload, snapshot: Snapshot) -> Result<(), Stop> {
    lease
        .commit(move |tx, now| {
            blobs::durable(tx, &payload.blob_id, payload.inline.as_deref(), &chunk_rows(&snapshot))?;
            let facts = snapshot.facts.to_bytes();
            let content = Content {
                digest: &snapshot.facts.digest,
                body: &snapshot.body,
                header: &snapshot.header,
                facts: &facts,
                opened_at: now,
            };
            backups::ready(tx, &backup_id, &content)?;
            jobs::wake_waiters(tx, &names::backup(&backup_id), now)?;
            Ok(((), After::End))
        })
        .await
}

/// Number and digest of each chunk, and its length.
fn chunk_rows(snapshot: &Snapshot) -> Vec<blobs::ChunkRow> {
    let facts = &snapshot.facts;
    let last = facts.chunks().saturating_sub(1);
    let digests = facts.chunk_digests.chunks_exact(32).zip(0..);
    digests
        .map(|(digest, n)| blobs::ChunkRow {
            n,
            digest: digest.to_vec(),
            length: if n == last {
                facts.bytes as i64 - i64::from(last) * i64::from(facts.chunk_size)
            } else {
                i64::from(facts.chunk_size)
            },
        })
        .collect()
}

/// S6: DELETED with its reason.
async fn failed(lease: &Lease, backup_id: BackupId, reason: String) -> Result<(), Stop> {
    tracing::warn!(region = %lease.region.name(), backup = %backup_id, reason, "backup failed");
    lease
        .commit(move |tx, now| {
            give_up(tx, &backup_id, &reason, now)?;
            Ok(((), After::End))
        })
        .await
}

fn give_up(tx: &mut dyn Tx, backup_id: &BackupId, reason: &str, now: Timestamp) -> Result<(), StoreError> {
    let Some(backup) = backups::get(tx, backup_id)? else { return Ok(()) };
    if !backups::failed(tx, backup_id, reason, now)? {
        return Ok(());
    }
    payload::doom_unpinned(tx, backup.blob_id.as_ref(), now)?;
    jobs::schedule(tx, JobKind::Forget, &names::backup(backup_id), now.plus(SHOWN))?;
    jobs::wake_waiters(tx, &names::backup(backup_id), now)?;
    Ok(())
}
