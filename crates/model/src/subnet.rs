//! Owns subnets as our own service shows them: strongroom has no EC2, so it keeps what it was told or has adopted.

use crate::id::{SubnetId, VpcId};

crate::record! {
    /// A subnet that this region knows.
    pub struct Subnet {
        "SubnetId" subnet_id: SubnetId,
        "VpcId" vpc_id: VpcId,
        "AvailabilityZone" availability_zone: String,
        /// `default`, `stated` or `adopted`.
        "Origin" origin: String,
    }
}
