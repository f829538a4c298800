//! ListSubnets (ours): the subnets that this region knows.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, ListSubnetsRequest, ListSubnetsResponse, Reply};
use strongroom_store::control::subnets;

use crate::caller::Caller;
use crate::operation::{add_subnet, read};
use crate::region::Region;

pub(super) async fn run(region: &Arc<Region>, _: &Caller, _: &Call, _: ListSubnetsRequest) -> Result<Reply, ApiError> {
    let rows = read(region, |tx| Ok(subnets::list(tx)?)).await?;
    let subnets = rows.into_iter().map(add_subnet::shown).collect();
    Ok(Reply::ListSubnets(ListSubnetsResponse { subnets }))
}
