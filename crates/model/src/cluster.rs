//! Owns the cluster as a caller sees it.

use std::collections::BTreeMap;

use crate::hsm::Hsm;
use crate::id::{BackupId, ClusterId, SubnetId, VpcId};
use crate::tag::Tag;
use crate::time::Timestamp;

crate::string_enum! {
    /// The states of a cluster. DEGRADED is shown, never stored.
    pub enum ClusterState {
        CreateInProgress "CREATE_IN_PROGRESS",
        Uninitialized "UNINITIALIZED",
        InitializeInProgress "INITIALIZE_IN_PROGRESS",
        Initialized "INITIALIZED",
        Active "ACTIVE",
        UpdateInProgress "UPDATE_IN_PROGRESS",
        ModifyInProgress "MODIFY_IN_PROGRESS",
        RollbackInProgress "ROLLBACK_IN_PROGRESS",
        DeleteInProgress "DELETE_IN_PROGRESS",
        Deleted "DELETED",
        Degraded "DEGRADED",
    }

    /// Fixed for a cluster's life and for its backups.
    pub enum ClusterMode {
        Fips "FIPS",
        NonFips "NON_FIPS",
    }

    /// The network of a cluster.
    pub enum NetworkType {
        Ipv4 "IPV4",
        Dualstack "DUALSTACK",
    }

    /// Always `DEFAULT`.
    pub enum BackupPolicy {
        Default "DEFAULT",
    }

    /// Always `DAYS`.
    pub enum BackupRetentionType {
        Days "DAYS",
    }
}

crate::record! {
    /// How long a cluster's own backups stay.
    pub struct BackupRetentionPolicy {
        "Type" kind: Option<BackupRetentionType>,
        "Value" value: Option<String>,
    }

    /// The certificates of a cluster; which are present depends on its state.
    pub struct Certificates {
        "ClusterCsr" cluster_csr: Option<String>,
        "HsmCertificate" hsm_certificate: Option<String>,
        "AwsHardwareCertificate" aws_hardware_certificate: Option<String>,
        "ManufacturerHardwareCertificate" manufacturer_hardware_certificate: Option<String>,
        "ClusterCertificate" cluster_certificate: Option<String>,
    }

    /// A cluster.
    pub struct Cluster {
        "BackupPolicy" backup_policy: Option<BackupPolicy>,
        "BackupRetentionPolicy" backup_retention_policy: Option<BackupRetentionPolicy>,
        "ClusterId" cluster_id: Option<ClusterId>,
        "CreateTimestamp" create_timestamp: Option<Timestamp>,
        "Hsms" hsms: Option<Vec<Hsm>>,
        "HsmType" hsm_type: Option<String>,
        "HsmTypeRollbackExpiration" hsm_type_rollback_expiration: Option<Timestamp>,
        "PreCoPassword" pre_co_password: Option<String>,
        "SecurityGroup" security_group: Option<String>,
        "SourceBackupId" source_backup_id: Option<BackupId>,
        "State" state: Option<ClusterState>,
        "StateMessage" state_message: Option<String>,
        "SubnetMapping" subnet_mapping: Option<BTreeMap<String, SubnetId>>,
        "VpcId" vpc_id: Option<VpcId>,
        "NetworkType" network_type: Option<NetworkType>,
        "Certificates" certificates: Option<Certificates>,
        "TagList" tag_list: Option<Vec<Tag>>,
        "Mode" mode: Option<ClusterMode>,
    }
}

/// The most HSMs that a cluster can have.
pub const HSMS_MAX: usize = 28;
/// The days that a backup stays when nothing else was said.
pub const RETENTION_DAYS_DEFAULT: i64 = 90;
/// The days that a policy may say.
pub const RETENTION_DAYS: std::ops::RangeInclusive<i64> = 7..=379;
