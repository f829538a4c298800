//! I1, I2: InitializeCluster. The host checks the certificates against the CSR that was just read; the transaction that
//! follows is conditional on the same CSR. A host that is away makes a retriable error, and nothing is changed.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, InitializeClusterRequest, InitializeClusterResponse, Reply};
use strongroom_model::cluster::ClusterState;
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::control::hsms;

use crate::authorize;
use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::{live_cluster, read};
use crate::ports::HsmsCode;
use crate::region::Region;

/// AWS's sentence.
const IN_PROGRESS: &str = "Cluster is initializing. State will change to INITIALIZED upon completion.";

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: InitializeClusterRequest,
) -> Result<Reply, ApiError> {
    // The host is asked about certificates only for who may.
    authorize::check(region, caller, call).await?;
    let (account, id) = (caller.account.clone(), input.cluster_id.clone());
    let cluster = read(region, move |tx| live_cluster(tx, &account, &id)).await?;
    // A repeat of a call that was accepted finds another state; its stored answer is looked up in the transaction.
    let csr = match checkable(&cluster) {
        Ok(csr) => {
            check(region, &csr, &input).await?;
            Some(csr)
        }
        Err(_) => None,
    };
    mutation::run(region, caller, call, move |m| initialize(m, &input, csr.as_deref())).await
}

/// The CSR of a cluster that may be initialized now.
fn checkable(cluster: &Cluster) -> Result<String, ApiError> {
    let id = &cluster.cluster_id;
    match (cluster.state, &cluster.csr) {
        (ClusterState::Uninitialized, Some(csr)) => Ok(csr.clone()),
        (ClusterState::Uninitialized, None) => Err(ApiError::invalid(format!(
            "{id} has no HSM that is ACTIVE, and so no CSR. Call CreateHsm first, and sign the ClusterCsr that it brings."
        ))),
        (state, _) => Err(ApiError::invalid(format!("{id} is {state}; only an UNINITIALIZED cluster is initialized."))),
    }
}

async fn check(region: &Region, csr: &str, input: &InitializeClusterRequest) -> Result<(), ApiError> {
    let checked = region.hsms.check_certificates(csr, &input.signed_cert, &input.trust_anchor).await;
    checked.map_err(|error| match error.code {
        HsmsCode::Invalid => ApiError::invalid(error.text),
        _ => ApiError::internal("Nothing was changed: the HSM host does not answer. Repeat the call.", error),
    })
}

fn initialize(m: &mut Mutation<'_>, input: &InitializeClusterRequest, checked: Option<&str>) -> Result<Reply, Refusal> {
    let cluster = live_cluster(m.tx, &m.caller.account, &input.cluster_id)?;
    let csr = checkable(&cluster)?;
    if !hsms::any_active(m.tx, &cluster.cluster_id)? {
        return Err(
            ApiError::invalid(format!("{} has no ACTIVE HSM. Call CreateHsm first.", cluster.cluster_id)).into()
        );
    }
    if checked != Some(&*csr) {
        let message = "Nothing was changed: the cluster changed while its certificates were checked. Repeat the call.";
        return Err(ApiError::internal(message, "the CSR is another one than was checked").into());
    }
    clusters::initialize_in_progress(
        m.tx,
        &cluster.cluster_id,
        &csr,
        &input.signed_cert,
        &input.trust_anchor,
        IN_PROGRESS,
    )?;
    m.start(JobKind::Init, cluster.cluster_id.as_str())?;
    Ok(Reply::InitializeCluster(InitializeClusterResponse {
        state: Some(ClusterState::InitializeInProgress),
        state_message: Some(IN_PROGRESS.to_owned()),
    }))
}
