//! ModifyCluster: changes the retention of a cluster's backups. (Changing the type of a cluster belongs to hsm1.medium,
//! which exists only behind a switch: ACTIVE → MODIFY_IN_PROGRESS or ROLLBACK_IN_PROGRESS → ACTIVE.)

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, ModifyClusterRequest, ModifyClusterResponse, Reply};
use strongroom_model::cluster::ClusterState;
use strongroom_store::control::clusters;

use crate::caller::Caller;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::create_cluster::retention_days;
use crate::operation::live_cluster;
use crate::region::Region;
use crate::view;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: ModifyClusterRequest,
) -> Result<Reply, ApiError> {
    let given = input.backup_retention_policy.as_ref().is_some_and(|p| p.value.is_some());
    let days = given.then(|| retention_days(input.backup_retention_policy.as_ref())).transpose()?;
    mutation::run(region, caller, call, move |m| modify(m, &input, days)).await
}

fn modify(m: &mut Mutation<'_>, input: &ModifyClusterRequest, days: Option<i64>) -> Result<Reply, Refusal> {
    let cluster = live_cluster(m.tx, &m.caller.account, &input.cluster_id)?;
    let id = &cluster.cluster_id;
    if let Some(hsm_type) = input.hsm_type.as_ref().filter(|t| **t != cluster.hsm_type) {
        let message = format!("{id} is of type {}; it cannot be changed to {hsm_type}.", cluster.hsm_type);
        return Err(ApiError::invalid(message).into());
    }
    if days.is_none() && input.hsm_type.is_none() {
        return Err(
            ApiError::invalid("Nothing to modify: give BackupRetentionPolicy with its Value, or HsmType.").into()
        );
    }
    if matches!(cluster.state, ClusterState::DeleteInProgress | ClusterState::Deleted) {
        return Err(ApiError::invalid(format!("{id} is {}; it cannot be modified.", cluster.state)).into());
    }
    if let Some(days) = days {
        clusters::set_retention(m.tx, id, days)?;
    }
    let row = live_cluster(m.tx, &m.caller.account, id)?;
    let cluster = Some(view::cluster(m.region, m.tx, row)?);
    Ok(Reply::ModifyCluster(ModifyClusterResponse { cluster }))
}
