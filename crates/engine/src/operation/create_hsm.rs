//! H1: CreateHsm. Before activation a cluster has one HSM at most. An HSM that joins others makes a backup, which it waits
//! for: who waits for the HSM finds the backup.

use std::sync::Arc;

use strongroom_model::call::{Call, CreateHsmRequest, CreateHsmResponse, Reply};
use strongroom_model::cluster::{ClusterState, HSMS_MAX};
use strongroom_model::hsm::HsmState;
use strongroom_model::{ApiError, BackupId, EniId, HsmId};
use strongroom_store::control::clusters::Cluster;
use strongroom_store::control::hsms::{self, Hsm};

use crate::backup::{self, Cause};
use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::live_cluster;
use crate::region::Region;
use crate::{names, network, view};

/// The ids that a new HSM may need.
struct Ids {
    hsm: HsmId,
    eni: EniId,
    backup: BackupId,
}

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: CreateHsmRequest,
) -> Result<Reply, ApiError> {
    let ids = Ids {
        hsm: HsmId::from_bytes(region.draw()),
        eni: EniId::from_bytes(region.draw()),
        backup: BackupId::from_bytes(region.draw()),
    };
    mutation::run(region, caller, call, move |m| create(m, &input, &ids)).await
}

fn create(m: &mut Mutation<'_>, input: &CreateHsmRequest, ids: &Ids) -> Result<Reply, Refusal> {
    let cluster = live_cluster(m.tx, &m.caller.account, &input.cluster_id)?;
    let others = hsms::of_cluster(m.tx, &cluster.cluster_id)?.len();
    check_state(&cluster, others)?;
    let subnet_id = cluster.subnets.0.get(&input.availability_zone).cloned().ok_or_else(|| {
        let zones: Vec<_> = cluster.subnets.0.keys().cloned().collect();
        ApiError::invalid(format!(
            "{} has no subnet in {}. Choose one of: {}.",
            cluster.cluster_id,
            input.availability_zone,
            zones.join(", ")
        ))
    })?;
    let taken = hsms::addresses(m.tx)?.into_iter().collect();
    let hsm = Hsm {
        hsm_id: ids.hsm.clone(),
        cluster_id: cluster.cluster_id.clone(),
        state: HsmState::CreateInProgress,
        state_message: None,
        az: input.availability_zone.clone(),
        subnet_id,
        eni_id: ids.eni.clone(),
        eni_ip: network::choose(m.region.settings.network, input.ip_address.as_deref(), &taken)?,
    };
    hsms::insert(m.tx, &hsm)?;
    if cluster.state == ClusterState::Active && others > 0 {
        backup::begin(m.tx, &cluster, &ids.backup, &Cause::Join(ids.hsm.as_str()), m.now)?;
        m.start(JobKind::Snapshot, ids.backup.as_str())?;
        m.start_waiting(JobKind::HsmMake, ids.hsm.as_str(), Some(&names::backup(&ids.backup)))?;
    } else {
        m.start(JobKind::HsmMake, ids.hsm.as_str())?;
    }
    let hsm = Some(view::hsm(hsm, &cluster.hsm_type, false));
    Ok(Reply::CreateHsm(CreateHsmResponse { hsm }))
}

fn check_state(cluster: &Cluster, others: usize) -> Result<(), ApiError> {
    let id = &cluster.cluster_id;
    match cluster.state {
        ClusterState::Uninitialized | ClusterState::Initialized if others == 0 => Ok(()),
        ClusterState::Uninitialized | ClusterState::InitializeInProgress | ClusterState::Initialized if others > 0 => {
            // AWS's sentence, to the letter.
            Err(ApiError::invalid(format!(
                "Cluster '{id}' already contains an HSM but has not yet been fully activated"
            )))
        }
        ClusterState::Active if others < HSMS_MAX => Ok(()),
        ClusterState::Active => {
            Err(ApiError::invalid(format!("{id} has {HSMS_MAX} HSMs, the most that a cluster can have.")))
        }
        state => {
            Err(ApiError::invalid(format!("{id} is {state}; an HSM is added when it is UNINITIALIZED or ACTIVE.")))
        }
    }
}
