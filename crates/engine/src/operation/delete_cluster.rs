//! Y1: DeleteCluster, of a cluster without HSMs. The daily backups end with it; retention goes on for the backups it made.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, DeleteClusterRequest, DeleteClusterResponse, Reply};
use strongroom_model::cluster::Cluster;
use strongroom_store::control::{clusters, hsms, jobs};

use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::live_cluster;
use crate::region::Region;
use crate::view;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: DeleteClusterRequest,
) -> Result<Reply, ApiError> {
    mutation::run(region, caller, call, move |m| delete(m, &input)).await
}

fn delete(m: &mut Mutation<'_>, input: &DeleteClusterRequest) -> Result<Reply, Refusal> {
    let cluster = live_cluster(m.tx, &m.caller.account, &input.cluster_id)?;
    let id = &cluster.cluster_id;
    let hsms = hsms::of_cluster(m.tx, id)?.len();
    if hsms > 0 {
        let message = format!("{id} still has {hsms} HSM(s). Delete them first, and wait until they are gone.");
        return Err(ApiError::invalid(message).into());
    }
    if !clusters::delete_in_progress(m.tx, id, "The cluster is being deleted.")? {
        let message =
            format!("{id} is {}; it is deleted when it is UNINITIALIZED, INITIALIZED or ACTIVE.", cluster.state);
        return Err(ApiError::invalid(message).into());
    }
    jobs::remove(m.tx, JobKind::Daily, id.as_str())?;
    m.start(JobKind::ClusterRemove, id.as_str())?;
    let row = live_cluster(m.tx, &m.caller.account, id)?;
    let cluster = Cluster { tag_list: None, ..view::cluster(m.region, m.tx, row)? };
    Ok(Reply::DeleteCluster(DeleteClusterResponse { cluster: Some(cluster) }))
}
