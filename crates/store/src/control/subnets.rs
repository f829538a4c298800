//! control.subnets: what this region knows of subnets, kept for good.

use strongroom_model::{SubnetId, VpcId};

use crate::error::StoreError;
use crate::sql::Tx;

table! {
    /// A subnet.
    Subnet in "subnets" {
        /// The subnet.
        subnet_id: SubnetId,
        /// Its VPC.
        vpc_id: VpcId,
        /// Its zone.
        az: String,
        /// `default`, `stated` or `adopted`.
        origin: String,
    }
}

/// Inserts a new subnet.
pub fn insert(tx: &mut dyn Tx, row: &Subnet) -> Result<(), StoreError> {
    tx.insert(row)
}

/// Inserts a subnet unless it is known: whether it did.
pub fn insert_new(tx: &mut dyn Tx, row: &Subnet) -> Result<bool, StoreError> {
    tx.insert_new(row)
}

/// A subnet.
pub fn get(tx: &mut dyn Tx, id: &SubnetId) -> Result<Option<Subnet>, StoreError> {
    tx.select_one("WHERE subnet_id = $1", params![id])
}

/// All subnets.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<Subnet>, StoreError> {
    tx.select("ORDER BY vpc_id, az, subnet_id", &[])
}
