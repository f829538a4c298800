//! K1: CopyBackupToRegion. One transaction pins the backup's bytes, freezes the tags, and writes the copy and its job; the
//! answer is a function of those rows. Then the destination's first answer is awaited for a short while, so that in the
//! ordinary case it lists the copy when the caller looks; a destination that is slow or away does not fail the call.

use std::sync::Arc;

use futures_util::future;
use strongroom_model::backup::{BackupState, DestinationBackup};
use strongroom_model::call::{Call, CopyBackupToRegionRequest, CopyBackupToRegionResponse, Reply};
use strongroom_model::copy::CopyState;
use strongroom_model::{ApiError, CopyId, RegionName};
use strongroom_store::StoreError;
use strongroom_store::control::copies::{self, Copy, Step};
use strongroom_store::control::{blobs, tags};

use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::own_backup;
use crate::ports::Peer;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: CopyBackupToRegionRequest,
) -> Result<Reply, ApiError> {
    let copy_id = CopyId::from_bytes(region.draw());
    let destination = destination(region, &input)?;
    crate::tags::check(input.tag_list.as_deref().unwrap_or_default())?;

    let first_answer = region.first_answers.expect(&copy_id);
    let (id, peer) = (copy_id.clone(), destination.clone());
    let answered = mutation::run(region, caller, call, move |m| accept(m, &input, &id, &peer)).await;
    if answered.is_ok() && !region.sessions.is_away(&destination.region_id) {
        let wait = region.clock.sleep(region.settings.announce_wait);
        future::select(std::pin::pin!(first_answer.notified()), wait).await;
    }
    region.first_answers.forget(&copy_id);
    answered
}

fn destination(region: &Region, input: &CopyBackupToRegionRequest) -> Result<Peer, ApiError> {
    let peers = region.peers.list();
    let others = || names(peers.iter().map(|p| &p.name));
    if input.destination_region == *region.name() {
        return Err(ApiError::invalid(format!(
            "{} is in {} already; a copy goes to another region. Choose one of: {}.",
            input.backup_id,
            region.name(),
            others()
        )));
    }
    peers.iter().find(|p| p.name == input.destination_region).cloned().ok_or_else(|| {
        ApiError::invalid(format!(
            "There is no region {} to copy to. Choose one of: {}.",
            input.destination_region,
            others()
        ))
    })
}

fn names<'a>(names: impl Iterator<Item = &'a RegionName>) -> String {
    let mut names: Vec<_> = names.map(RegionName::as_str).collect();
    names.sort_unstable();
    if names.is_empty() { "(none is paired with this region)".to_owned() } else { names.join(", ") }
}

fn accept(
    m: &mut Mutation<'_>,
    input: &CopyBackupToRegionRequest,
    copy_id: &CopyId,
    destination: &Peer,
) -> Result<Reply, Refusal> {
    let backup = own_backup(m.tx, m.region, m.caller, &input.backup_id)?;
    if backup.state != BackupState::Ready {
        return Err(not_ready(&backup).into());
    }
    let (Some(blob_id), Some(facts), Some(digest)) = (&backup.blob_id, &backup.facts, &backup.digest) else {
        return Err(StoreError::Corrupt(format!("{} is READY without a payload", backup.backup_id)).into());
    };
    let frozen = match &input.tag_list {
        Some(tags) => tags.clone(),
        None => tags::list(m.tx, backup.backup_id.as_str())?,
    };
    let source_cluster_id = backup.source_cluster_id.clone().or_else(|| backup.cluster_id.clone());
    let copy = Copy {
        copy_id: copy_id.clone(),
        account: m.caller.account.clone(),
        backup_id: backup.backup_id.clone(),
        source_cluster_id: source_cluster_id.clone().unwrap_or_default(),
        blob_id: blob_id.clone(),
        digest: digest.clone(),
        facts: facts.clone(),
        destination_region: destination.name.clone(),
        destination_region_id: destination.region_id.clone(),
        tags: (&frozen).into(),
        principal: m.caller.principal.clone(),
        source_ip: m.caller.source_ip.clone(),
        request_id: m.caller.request_id.clone(),
        invocation_id: m.caller.invocation_id.clone(),
        backup_created_at: backup.create_ts,
        requested_at: m.now,
        deadline_at: m.now.plus(m.region.settings.copy_deadline),
        state: CopyState::Waiting,
        ..Copy::default()
    };
    copies::insert(m.tx, &copy)?;
    let text =
        format!("job and audit written, bytes pinned, {} tags frozen; due by {}", frozen.len(), copy.deadline_at);
    copies::add_steps(m.tx, copy_id, &[Step { at: m.now, name: "accepted".into(), text }])?;
    blobs::pin(m.tx, blob_id, copy_id.as_str())?;
    m.start(JobKind::Copy, copy_id.as_str())?;
    Ok(Reply::CopyBackupToRegion(CopyBackupToRegionResponse {
        destination_backup: Some(DestinationBackup {
            create_timestamp: Some(backup.create_ts),
            source_region: Some(m.region.name().clone()),
            source_backup: Some(backup.backup_id),
            source_cluster: source_cluster_id,
        }),
    }))
}

fn not_ready(backup: &strongroom_store::control::backups::Backup) -> ApiError {
    let id = &backup.backup_id;
    ApiError::invalid(match (backup.state, backup.delete_at) {
        (BackupState::Deleted, _) => format!(
            "{id} is DELETED and cannot come back; only READY backups are copied. List them with the filter states=READY."
        ),
        (BackupState::PendingDeletion, Some(until)) => {
            format!("{id} is PENDING_DELETION until {until}; only READY backups are copied. Call RestoreBackup first.")
        }
        (state, _) => format!("{id} is {state}; only READY backups are copied. Wait until it is."),
    })
}
