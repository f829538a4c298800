//! Z1 and N7: DeleteBackup. A READY backup goes to PENDING_DELETION for seven days; a copy that is still coming in is
//! cancelled and goes to DELETED at once.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::backup::{BackupState, UNDELETE_WINDOW};
use strongroom_model::call::{Call, DeleteBackupRequest, DeleteBackupResponse, Reply};
use strongroom_store::control::backups::{self, Origin};

use crate::caller::Caller;
use crate::copy::incoming;
use crate::copy::message::Reason;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::own_backup;
use crate::region::Region;
use crate::{names, view};

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: DeleteBackupRequest,
) -> Result<Reply, ApiError> {
    mutation::run(region, caller, call, move |m| delete(m, &input)).await
}

fn delete(m: &mut Mutation<'_>, input: &DeleteBackupRequest) -> Result<Reply, Refusal> {
    let backup = own_backup(m.tx, m.region, m.caller, &input.backup_id)?;
    let id = &backup.backup_id;
    match (backup.state, backup.origin) {
        (BackupState::Ready, _) => {
            let delete_at = m.now.plus(UNDELETE_WINDOW);
            backups::pending_deletion(m.tx, id, delete_at)?;
            m.schedule(JobKind::Purge, &names::backup(id), delete_at)?;
        }
        (BackupState::CreateInProgress, Origin::Copy) => {
            let text = format!("by DeleteBackup in {}, {}", m.region.name(), m.caller.principal);
            incoming::delete_unsettled(m.tx, &backup, &Reason::new("cancelled", text), m.now)?;
            backups::set_delete_at(m.tx, id, m.now)?;
        }
        (state, _) => {
            let message =
                format!("{id} is {state}; DeleteBackup takes a READY backup, or a copy that is still coming in.");
            return Err(ApiError::invalid(message).into());
        }
    }
    let row = own_backup(m.tx, m.region, m.caller, &input.backup_id)?;
    let backup = Some(view::backup(m.region.name(), m.tx, row)?);
    Ok(Reply::DeleteBackup(DeleteBackupResponse { backup }))
}
