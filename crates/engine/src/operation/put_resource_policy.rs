//! PutResourcePolicy: keeps a policy on a READY backup.

use std::sync::Arc;

use strongroom_iam::{Document, Kind};
use strongroom_model::ApiError;
use strongroom_model::backup::BackupState;
use strongroom_model::call::{Call, PutResourcePolicyRequest, PutResourcePolicyResponse, Reply};
use strongroom_store::control::policies;

use crate::caller::Caller;
use crate::mutation::{self, Refusal};
use crate::operation::policy_backup;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: PutResourcePolicyRequest,
) -> Result<Reply, ApiError> {
    let Some(document) = input.policy.clone() else {
        return Err(ApiError::invalid("Policy is missing. Give a policy document."));
    };
    if let Err(fault) = Document::parse(&document, Kind::Resource) {
        return Err(ApiError::invalid(format!("Policy is not valid: {fault}.")));
    }
    mutation::run(region, caller, call, move |m| {
        let backup = policy_backup(m.region, m.tx, m.caller, input.resource_arn.as_deref())?;
        if backup.state != BackupState::Ready {
            let message = format!("{} is {}; only a READY backup is shared.", backup.backup_id, backup.state);
            return Err(Refusal::Api(ApiError::invalid(message)));
        }
        policies::put(m.tx, backup.backup_id.as_str(), &document)?;
        Ok(Reply::PutResourcePolicy(PutResourcePolicyResponse {
            resource_arn: Some(backup.backup_id.arn(m.region.name(), &backup.account)),
            policy: Some(document.clone()),
        }))
    })
    .await
}
