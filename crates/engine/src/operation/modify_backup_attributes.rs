//! ModifyBackupAttributes: whether a backup is exempt from its cluster's retention. It does not keep it from DeleteBackup.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, ModifyBackupAttributesRequest, ModifyBackupAttributesResponse, Reply};
use strongroom_store::control::backups;

use crate::caller::Caller;
use crate::mutation::{self, Refusal};
use crate::operation::own_backup;
use crate::region::Region;
use crate::view;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: ModifyBackupAttributesRequest,
) -> Result<Reply, ApiError> {
    mutation::run(region, caller, call, move |m| {
        let backup = own_backup(m.tx, m.region, m.caller, &input.backup_id)?;
        let id = &backup.backup_id;
        if !backups::set_never_expires(m.tx, id, input.never_expires)? {
            let state = backup.state;
            return Err(Refusal::Api(ApiError::invalid(format!("{id} is {state}; only a READY backup is modified."))));
        }
        let row = own_backup(m.tx, m.region, m.caller, id)?;
        let backup = Some(view::backup(m.region.name(), m.tx, row)?);
        Ok(Reply::ModifyBackupAttributes(ModifyBackupAttributesResponse { backup }))
    })
    .await
}
