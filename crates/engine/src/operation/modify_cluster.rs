//! ModifyCluster: changes the retention of a cluster's backups at once, and its type from hsm1.medium to hsm2m.medium by a
//! job: ACTIVE → MODIFY_IN_PROGRESS → ACTIVE, and within a day back: ROLLBACK_IN_PROGRESS → ACTIVE.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, ModifyClusterRequest, ModifyClusterResponse, Reply};
use strongroom_model::cluster::{ClusterState, HSMS_MAX};
use strongroom_model::time::DAY;
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::control::hsms;

use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::create_cluster::{HSM_TYPE, LEGACY_HSM_TYPE, retention_days};
use crate::operation::live_cluster;
use crate::region::Region;
use crate::view;

/// How long a change of type can be taken back, in milliseconds.
const ROLLBACK: i64 = DAY;

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
    if days.is_none() && input.hsm_type.is_none() {
        return Err(
            ApiError::invalid("Nothing to modify: give BackupRetentionPolicy with its Value, or HsmType.").into()
        );
    }
    if matches!(cluster.state, ClusterState::DeleteInProgress | ClusterState::Deleted) {
        return Err(ApiError::invalid(format!("{id} is {}; it cannot be modified.", cluster.state)).into());
    }
    if let Some(hsm_type) = input.hsm_type.as_ref().filter(|t| **t != cluster.hsm_type) {
        change_type(m, &cluster, hsm_type)?;
    }
    if let Some(days) = days {
        clusters::set_retention(m.tx, id, days)?;
    }
    let row = live_cluster(m.tx, &m.caller.account, id)?;
    let cluster = Some(view::cluster(m.region, m.tx, row)?);
    Ok(Reply::ModifyCluster(ModifyClusterResponse { cluster }))
}

/// The edges that there are: from hsm1.medium to hsm2m.medium, and back within [`ROLLBACK`].
fn change_type(m: &mut Mutation<'_>, cluster: &Cluster, hsm_type: &str) -> Result<(), Refusal> {
    let id = &cluster.cluster_id;
    let hsms = hsms::of_cluster(m.tx, id)?.len();
    let begun = match hsm_type {
        HSM_TYPE if hsms == HSMS_MAX => {
            let message = format!("{id} has {hsms} HSMs; its type can be changed with at most {}.", HSMS_MAX - 1);
            return Err(ApiError::invalid(message).into());
        }
        HSM_TYPE => {
            let until = m.now.plus(ROLLBACK);
            clusters::modify_in_progress(m.tx, id, hsm_type, until, "Cluster HSM type is being modified.")?
        }
        LEGACY_HSM_TYPE if cluster.rollback_until.is_some_and(|until| m.now < until) => {
            let message = "Cluster HSM type modification is being rolled back.";
            clusters::rollback_in_progress(m.tx, id, hsm_type, message, m.now)?
        }
        LEGACY_HSM_TYPE => {
            let message = format!("{id} is of type {HSM_TYPE}; only within a day of a change can that be taken back.");
            return Err(ApiError::invalid(message).into());
        }
        _ => return Err(ApiError::invalid("Provided HsmType is not supported.").into()),
    };
    if !begun {
        let message = match cluster.state {
            ClusterState::Active => {
                format!("An HSM of {id} is being created or deleted; repeat the call when it is not.")
            }
            state => format!("{id} is {state}; its type can be changed while it is ACTIVE."),
        };
        return Err(ApiError::invalid(message).into());
    }
    Ok(m.start(JobKind::Modify, id.as_str())?)
}
