//! Z2: RestoreBackup takes a backup back from PENDING_DELETION, until its DeleteTimestamp, purged or not.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::backup::BackupState;
use strongroom_model::call::{Call, Reply, RestoreBackupRequest, RestoreBackupResponse};
use strongroom_store::control::{backups, jobs};

use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::own_backup;
use crate::region::Region;
use crate::{names, view};

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: RestoreBackupRequest,
) -> Result<Reply, ApiError> {
    mutation::run(region, caller, call, move |m| restore(m, &input)).await
}

fn restore(m: &mut Mutation<'_>, input: &RestoreBackupRequest) -> Result<Reply, Refusal> {
    let backup = own_backup(m.tx, m.region, m.caller, &input.backup_id)?;
    let id = &backup.backup_id;
    if backup.state != BackupState::PendingDeletion {
        let state = backup.state;
        return Err(
            ApiError::invalid(format!("{id} is {state}; RestoreBackup takes one that is PENDING_DELETION.")).into()
        );
    }
    if !backups::restored(m.tx, id, m.now)? {
        let message =
            format!("{id} could be restored until {}; it is being deleted.", backup.delete_at.unwrap_or(m.now));
        return Err(ApiError::invalid(message).into());
    }
    jobs::remove(m.tx, JobKind::Purge, &names::backup(id))?;
    let row = own_backup(m.tx, m.region, m.caller, id)?;
    let backup = Some(view::backup(m.region.name(), m.tx, row)?);
    Ok(Reply::RestoreBackup(RestoreBackupResponse { backup }))
}
