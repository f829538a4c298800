//! DeleteResourcePolicy: removes the policy of a backup and returns it. Clusters that were made under it stay.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, DeleteResourcePolicyRequest, DeleteResourcePolicyResponse, Reply};
use strongroom_store::control::policies;

use crate::caller::Caller;
use crate::mutation;
use crate::operation::policy_backup;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: DeleteResourcePolicyRequest,
) -> Result<Reply, ApiError> {
    mutation::run(region, caller, call, move |m| {
        let backup = policy_backup(m.region, m.tx, m.caller, input.resource_arn.as_deref())?;
        let policy = policies::get(m.tx, backup.backup_id.as_str())?;
        policies::delete(m.tx, backup.backup_id.as_str())?;
        Ok(Reply::DeleteResourcePolicy(DeleteResourcePolicyResponse {
            resource_arn: Some(backup.backup_id.arn(m.region.name(), &backup.account)),
            policy: Some(policy.unwrap_or_else(|| "{}".to_owned())),
        }))
    })
    .await
}
