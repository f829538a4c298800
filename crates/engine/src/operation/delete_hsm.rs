//! X1: DeleteHsm, by exactly one of three selectors. An ACTIVE HSM that leaves an ACTIVE cluster makes a backup first; one
//! that is still being made is taken back.

use std::sync::Arc;

use strongroom_model::call::{Call, DeleteHsmRequest, DeleteHsmResponse, Reply};
use strongroom_model::cluster::ClusterState;
use strongroom_model::hsm::HsmState;
use strongroom_model::{ApiError, BackupId};
use strongroom_store::control::hsms::{self, Hsm};
use strongroom_store::control::jobs;

use crate::backup::{self, Cause};
use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::names;
use crate::operation::live_cluster;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: DeleteHsmRequest,
) -> Result<Reply, ApiError> {
    let given = [input.hsm_id.is_some(), input.eni_id.is_some(), input.eni_ip.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(ApiError::invalid("Name the HSM by exactly one of HsmId, EniId and EniIp."));
    }
    let backup_id = BackupId::from_bytes(region.draw());
    mutation::run(region, caller, call, move |m| delete(m, &input, &backup_id)).await
}

fn delete(m: &mut Mutation<'_>, input: &DeleteHsmRequest, backup_id: &BackupId) -> Result<Reply, Refusal> {
    let cluster = live_cluster(m.tx, &m.caller.account, &input.cluster_id)?;
    let hsm = hsms::of_cluster(m.tx, &cluster.cluster_id)?.into_iter().find(|h| is_meant(h, input));
    let hsm = hsm.ok_or_else(|| ApiError::not_found(format!("{} has no such HSM.", cluster.cluster_id)))?;
    let id = &hsm.hsm_id;
    if matches!(cluster.state, ClusterState::ModifyInProgress | ClusterState::RollbackInProgress) {
        let message =
            format!("{} is {}; no HSM of it can be deleted until it is ACTIVE.", cluster.cluster_id, cluster.state);
        return Err(ApiError::invalid(message).into());
    }
    if !hsms::delete_in_progress(m.tx, id)? {
        return Err(ApiError::invalid(format!("{id} is {} already.", hsm.state)).into());
    }
    jobs::remove(m.tx, JobKind::HsmMake, id.as_str())?;
    if hsm.state == HsmState::Active && cluster.state == ClusterState::Active {
        backup::begin(m.tx, &cluster, backup_id, &Cause::Leave(id.as_str()), m.now)?;
        m.start(JobKind::Snapshot, backup_id.as_str())?;
        m.start_waiting(JobKind::HsmRemove, id.as_str(), Some(&names::backup(backup_id)))?;
    } else {
        m.start(JobKind::HsmRemove, id.as_str())?;
    }
    Ok(Reply::DeleteHsm(DeleteHsmResponse { hsm_id: Some(id.clone()) }))
}

fn is_meant(hsm: &Hsm, input: &DeleteHsmRequest) -> bool {
    input.hsm_id.as_ref() == Some(&hsm.hsm_id)
        || input.eni_id.as_ref() == Some(&hsm.eni_id)
        || input.eni_ip.as_ref() == Some(&hsm.eni_ip)
}
