//! Owns where subnets lie. There is no EC2 behind strongroom: a region begins with a default VPC, an operator may state the
//! truth about a subnet, and any other well-formed id is adopted, in the order of the request, into the first free zones of
//! one VPC, which is kept for good.

use std::collections::BTreeMap;

use strongroom_model::id::hex;
use strongroom_model::{ApiError, RegionName, SubnetId, VpcId};
use strongroom_store::control::subnets::{self, Subnet};
use strongroom_store::{StoreError, Tx};

use crate::mutation::Refusal;

/// The zones of a region.
const ZONES: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];
/// The default VPC of every region.
const DEFAULT_VPC: &str = "vpc-0d0d0d0d0d0d0d0d0";
/// The zones that the default VPC has subnets in.
const DEFAULT_ZONES: [char; 3] = ['a', 'b', 'c'];

/// The zone with this letter.
fn zone(region: &RegionName, letter: char) -> String {
    format!("{region}{letter}")
}

/// Writes the default VPC of a new region.
pub(crate) fn ensure_defaults(tx: &mut dyn Tx, region: &RegionName) -> Result<(), StoreError> {
    for letter in DEFAULT_ZONES {
        let subnet = Subnet {
            subnet_id: SubnetId::new(format!("subnet-0d0d0d0d0d0d0d0d{letter}")),
            vpc_id: VpcId::new(DEFAULT_VPC),
            az: zone(region, letter),
            origin: "default".into(),
        };
        subnets::insert_new(tx, &subnet)?;
    }
    Ok(())
}

/// The VPC and the zone of each subnet of a request, at most one in a zone. Unknown ones are adopted.
pub(crate) fn place(
    tx: &mut dyn Tx,
    region: &RegionName,
    ids: &[SubnetId],
    new_vpc: [u8; 9],
) -> Result<(VpcId, BTreeMap<String, SubnetId>), Refusal> {
    let mut known = Vec::new();
    for id in ids {
        known.push(subnets::get(tx, id)?);
    }
    let vpcs: Vec<&VpcId> = known.iter().flatten().map(|s| &s.vpc_id).collect();
    if let Some(other) = vpcs.iter().find(|vpc| **vpc != vpcs[0]) {
        let message = format!("The subnets lie in {} and {other}. All subnets of a cluster lie in one VPC.", vpcs[0]);
        return Err(ApiError::invalid(message).into());
    }
    let vpc = vpcs.first().map_or_else(|| VpcId::new(format!("vpc-{}", &hex(&new_vpc)[..17])), |vpc| (*vpc).clone());
    let mut placed = BTreeMap::new();
    for (id, subnet) in ids.iter().zip(&known) {
        if placed.values().any(|other| other == id) {
            return Err(ApiError::invalid(format!("{id} stands twice in SubnetIds.")).into());
        }
        if let Some(Subnet { az, .. }) = subnet
            && let Some(other) = placed.insert(az.clone(), id.clone())
        {
            let message = format!("{other} and {id} both lie in {az}. Give at most one subnet of a zone.");
            return Err(ApiError::invalid(message).into());
        }
    }
    for (id, subnet) in ids.iter().zip(known) {
        if subnet.is_none() {
            let az = adopt(tx, region, id, &vpc, &placed)?;
            placed.insert(az, id.clone());
        }
    }
    Ok((vpc, placed))
}

/// Takes an unknown subnet into the first zone that is free in this cluster.
fn adopt(
    tx: &mut dyn Tx,
    region: &RegionName,
    id: &SubnetId,
    vpc: &VpcId,
    placed: &BTreeMap<String, SubnetId>,
) -> Result<String, Refusal> {
    let free = ZONES.iter().map(|letter| zone(region, *letter)).find(|az| !placed.contains_key(az));
    let az = free.ok_or_else(|| {
        ApiError::invalid(format!("{region} has {} zones; give at most one subnet of each.", ZONES.len()))
    })?;
    let subnet = Subnet { subnet_id: id.clone(), vpc_id: vpc.clone(), az: az.clone(), origin: "adopted".into() };
    subnets::insert(tx, &subnet)?;
    Ok(az)
}
