//! Owns the HSM as a caller of the control plane sees it.

use crate::id::{ClusterId, EniId, HsmId, SubnetId};

crate::string_enum! {
    /// The states of an HSM. DEGRADED is shown, never stored; an HSM that is gone is absent.
    pub enum HsmState {
        CreateInProgress "CREATE_IN_PROGRESS",
        Active "ACTIVE",
        Degraded "DEGRADED",
        DeleteInProgress "DELETE_IN_PROGRESS",
        Deleted "DELETED",
    }
}

crate::record! {
    /// An HSM of a cluster.
    pub struct Hsm {
        "AvailabilityZone" availability_zone: Option<String>,
        "ClusterId" cluster_id: Option<ClusterId>,
        "SubnetId" subnet_id: Option<SubnetId>,
        "EniId" eni_id: Option<EniId>,
        "EniIp" eni_ip: Option<String>,
        "EniIpV6" eni_ip_v6: Option<String>,
        "HsmId" hsm_id: HsmId,
        "HsmType" hsm_type: Option<String>,
        "State" state: Option<HsmState>,
        "StateMessage" state_message: Option<String>,
    }
}
