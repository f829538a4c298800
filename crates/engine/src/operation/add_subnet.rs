//! AddSubnet (ours): states the VPC and zone of a subnet before a cluster uses it. What is known already stays as it is.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{AddSubnetRequest, AddSubnetResponse, Call, Reply};
use strongroom_model::subnet::Subnet as Shown;
use strongroom_store::control::subnets::{self, Subnet};

use crate::caller::Caller;
use crate::mutation::{self, Mutation, Refusal};
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: AddSubnetRequest,
) -> Result<Reply, ApiError> {
    if input.availability_zone.strip_prefix(region.name().as_str()).is_none_or(|zone| zone.len() != 1) {
        return Err(ApiError::invalid(format!(
            "{} is no zone of {}. Give one such as {}a.",
            input.availability_zone,
            region.name(),
            region.name()
        )));
    }
    mutation::run(region, caller, call, move |m| add(m, &input)).await
}

fn add(m: &mut Mutation<'_>, input: &AddSubnetRequest) -> Result<Reply, Refusal> {
    let stated = Subnet {
        subnet_id: input.subnet_id.clone(),
        vpc_id: input.vpc_id.clone(),
        az: input.availability_zone.clone(),
        origin: "stated".into(),
    };
    if !subnets::insert_new(m.tx, &stated)?
        && let Some(known) = subnets::get(m.tx, &input.subnet_id)?
        && (known.vpc_id != stated.vpc_id || known.az != stated.az)
    {
        let message = format!("{} is known in {} and {}, and that is kept.", known.subnet_id, known.vpc_id, known.az);
        return Err(ApiError::invalid(message).into());
    }
    Ok(Reply::AddSubnet(AddSubnetResponse { subnet: shown(stated) }))
}

/// A subnet as our own service shows it.
pub(super) fn shown(row: Subnet) -> Shown {
    Shown { subnet_id: row.subnet_id, vpc_id: row.vpc_id, availability_zone: row.az, origin: row.origin }
}
