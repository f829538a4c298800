//! P2 to P4: a cluster is made from a backup. The host installs it under its new ClusterId, checking everything while it
//! flows; only then the cluster is ACTIVE. The pin that the call took keeps the bytes until then, whatever becomes of the
//! backup. A final no ends the cluster DELETED with its reason; a host that is away is waited for.

use strongroom_model::time::DAY;
use strongroom_model::{BackupId, ClusterId, Timestamp};
use strongroom_store::control::backups::{self, Backup};
use strongroom_store::control::clusters::Cluster;
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{blobs, clusters, jobs};
use strongroom_store::{StoreError, Tx};

use crate::blob::{Payload, PayloadSource};
use crate::job::cluster_remove::SHOWN;
use crate::job::{After, Lease, Stop};
use crate::ports::{Facts, HsmsCode, HsmsError};
use crate::{names, payload};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let cluster_id = ClusterId::new(&lease.claim.subject);
    let Some((backup, payload)) = load(lease, &cluster_id).await? else { return lease.stop(After::End).await };
    match install(lease, &cluster_id, &backup, &payload).await {
        Ok(_) => active(lease, cluster_id, backup).await,
        Err(error) if error.code.is_retryable() => Err(error.into()),
        Err(error) => failed(lease, cluster_id, backup, error).await,
    }
}

async fn load(lease: &Lease, cluster_id: &ClusterId) -> Result<Option<(Backup, Payload)>, Stop> {
    let id = cluster_id.clone();
    let loaded = lease.region.control.read(move |tx| {
        let Some(Cluster { source_backup_id: Some(backup_id), .. }) = clusters::get(tx, &id)? else { return Ok(None) };
        let Some(backup) = backups::get(tx, &backup_id)? else { return Ok(None) };
        let Some(blob_id) = backup.blob_id.clone() else { return Ok(None) };
        let inline = blobs::get(tx, &blob_id)?.and_then(|b| b.inline);
        Ok::<_, StoreError>(Some((backup, Payload { blob_id, inline })))
    });
    Ok(loaded.await?)
}

async fn install(
    lease: &Lease,
    cluster_id: &ClusterId,
    backup: &Backup,
    payload: &Payload,
) -> Result<Facts, HsmsError> {
    let missing = |what| HsmsError::new(HsmsCode::Damaged, format!("the backup's row has no {what}"));
    let header = backup.header.as_deref().ok_or_else(|| missing("header"))?;
    let body = backup.body.as_deref().ok_or_else(|| missing("body"))?;
    let facts = backup.facts.as_deref().ok_or_else(|| missing("facts"))?;
    let facts = Facts::from_bytes(facts).map_err(|_| missing("facts that can be read"))?;
    let mut source = PayloadSource::new(&lease.region, payload, facts.chunks());
    lease.region.hsms.install(cluster_id, header, body, &mut source).await
}

/// P3.
async fn active(lease: &Lease, cluster_id: ClusterId, backup: Backup) -> Result<(), Stop> {
    lease
        .commit(move |tx, now| {
            clusters::restored(tx, &cluster_id, now)?;
            backups::opened(tx, &backup.backup_id, now)?;
            unpin(tx, &backup, &cluster_id, now)?;
            jobs::schedule(tx, JobKind::Daily, cluster_id.as_str(), now.plus(DAY))?;
            jobs::schedule(tx, JobKind::Retention, cluster_id.as_str(), now.plus(DAY))?;
            Ok(((), After::End))
        })
        .await
}

/// P4: what the host may have staged is destroyed, then the cluster is DELETED and the backup is known to be damaged.
async fn failed(lease: &Lease, cluster_id: ClusterId, backup: Backup, error: HsmsError) -> Result<(), Stop> {
    lease.region.hsms.destroy(&cluster_id).await?;
    let damage = format!("damaged: {}", error.text);
    tracing::warn!(region = %lease.region.name(), cluster = %cluster_id, backup = %backup.backup_id, damage, "restore failed");
    lease
        .commit(move |tx, now| {
            clusters::restore_failed(tx, &cluster_id, &message(&backup.backup_id, &error), now)?;
            backups::set_reason(tx, &backup.backup_id, &damage)?;
            unpin(tx, &backup, &cluster_id, now)?;
            jobs::schedule(tx, JobKind::Forget, &names::cluster(&cluster_id), now.plus(SHOWN))?;
            Ok(((), After::End))
        })
        .await
}

fn unpin(tx: &mut dyn Tx, backup: &Backup, cluster_id: &ClusterId, now: Timestamp) -> Result<(), StoreError> {
    backup.blob_id.as_ref().map_or(Ok(()), |blob_id| payload::unpin(tx, blob_id, cluster_id.as_str(), now))
}

/// A StateMessage has at most 300 characters.
fn message(backup_id: &BackupId, error: &HsmsError) -> String {
    format!("{backup_id} does not restore: {error}").chars().take(300).collect()
}
