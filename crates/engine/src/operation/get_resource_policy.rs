//! GetResourcePolicy: the policy of a backup; `{}` where it has none, as on AWS.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, GetResourcePolicyRequest, GetResourcePolicyResponse, Reply};
use strongroom_store::control::policies;

use crate::caller::Caller;
use crate::operation::{policy_backup, read};
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: GetResourcePolicyRequest,
) -> Result<Reply, ApiError> {
    let (region_in, caller) = (region.clone(), caller.clone());
    let policy = read(region, move |tx| {
        let backup = policy_backup(&region_in, tx, &caller, input.resource_arn.as_deref())?;
        Ok(policies::get(tx, backup.backup_id.as_str())?)
    })
    .await?;
    let policy = Some(policy.unwrap_or_else(|| "{}".to_owned()));
    Ok(Reply::GetResourcePolicy(GetResourcePolicyResponse { policy }))
}
