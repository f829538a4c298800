//! DescribeHsmEndpoints (ours): where clients reach the HSMs of a cluster, and what certificate these must show.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use strongroom_model::ApiError;
use strongroom_model::call::{Call, DescribeHsmEndpointsRequest, DescribeHsmEndpointsResponse, Reply};
use strongroom_model::copy::HsmEndpoint;
use strongroom_model::hsm::HsmState;
use strongroom_store::control::hsms::{self, Hsm};

use crate::caller::Caller;
use crate::operation::{live_cluster, read};
use crate::ports::Served;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: DescribeHsmEndpointsRequest,
) -> Result<Reply, ApiError> {
    let account = caller.account.clone();
    let (cluster, hsms) = read(region, move |tx| {
        let cluster = live_cluster(tx, &account, &input.cluster_id)?;
        let hsms = hsms::of_cluster(tx, &cluster.cluster_id)?;
        Ok((cluster, hsms))
    })
    .await?;
    let (mut endpoints, mut key_digest) = (Vec::new(), None);
    for hsm in hsms.into_iter().filter(|h| h.state == HsmState::Active) {
        let served = serve(region, &hsm).await?;
        key_digest = Some(format!("sha256:{}", HEXLOWER.encode(&served.key_digest)));
        endpoints.push(endpoint(hsm, served));
    }
    Ok(Reply::DescribeHsmEndpoints(DescribeHsmEndpointsResponse {
        cluster_id: cluster.cluster_id,
        state: cluster.state,
        endpoints,
        cluster_certificate: cluster.cluster_certificate,
        cluster_key_digest: key_digest,
    }))
}

/// The host is asked, since only it knows what it could bind; serving what is served changes nothing.
async fn serve(region: &Region, hsm: &Hsm) -> Result<Served, ApiError> {
    let served = region.hsms.serve(&hsm.cluster_id, &hsm.hsm_id, &hsm.eni_ip).await;
    served.map_err(|e| ApiError::internal("The HSM host does not answer. Repeat the call.", e))
}

fn endpoint(hsm: Hsm, served: Served) -> HsmEndpoint {
    HsmEndpoint {
        sni: format!("{}.{}", hsm.hsm_id, hsm.cluster_id),
        hsm_id: hsm.hsm_id.as_str().to_owned(),
        eni_ip: hsm.eni_ip,
        address: served.address,
        port: i64::from(served.port),
        state: hsm.state.as_str().to_owned(),
    }
}
