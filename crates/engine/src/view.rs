//! Owns what a caller sees of a row: clusters, HSMs and backups as AWS shows them. DEGRADED is decided here and only here:
//! an ACTIVE cluster or HSM whose vault is damaged or whose host does not answer.

use std::collections::BTreeMap;

use strongroom_model::backup as wire_backup;
use strongroom_model::cluster::{
    BackupPolicy, BackupRetentionPolicy, BackupRetentionType, Certificates, Cluster, ClusterState,
};
use strongroom_model::hsm::{Hsm, HsmState};
use strongroom_model::{RegionName, Tag};
use strongroom_store::control::backups::{Backup, Origin};
use strongroom_store::control::clusters::Cluster as ClusterRow;
use strongroom_store::control::hsms::Hsm as HsmRow;
use strongroom_store::control::{hsms, tags};
use strongroom_store::{StoreError, Tx};

use crate::region::Region;

/// A cluster with its HSMs and tags.
pub(crate) fn cluster(region: &Region, tx: &mut dyn Tx, row: ClusterRow) -> Result<Cluster, StoreError> {
    let hsms = hsms::of_cluster(tx, &row.cluster_id)?;
    let tag_list = tags::list(tx, row.cluster_id.as_str())?;
    Ok(shown(region, row, hsms, Some(tag_list)))
}

/// A cluster as it is when it was just created: no security group and no tags yet, as on AWS.
pub(crate) fn new_cluster(region: &Region, row: ClusterRow) -> Cluster {
    Cluster { security_group: None, ..shown(region, row, Vec::new(), None) }
}

fn shown(region: &Region, row: ClusterRow, hsms: Vec<HsmRow>, tag_list: Option<Vec<Tag>>) -> Cluster {
    let degraded = row.damage.is_some() || (!hsms.is_empty() && !region.hsms.is_up());
    let certificates = certificates(&row);
    let (state, state_message) = match (row.state, &row.damage) {
        (ClusterState::Active, Some(damage)) => (ClusterState::Degraded, Some(damage.chars().take(300).collect())),
        (ClusterState::Active, None) if degraded => {
            (ClusterState::Degraded, Some("The HSM host of this region does not answer.".to_owned()))
        }
        (state, _) => (state, row.state_message),
    };
    let security_group = row.cluster_id.security_group();
    Cluster {
        backup_policy: Some(BackupPolicy::Default),
        backup_retention_policy: Some(BackupRetentionPolicy {
            kind: Some(BackupRetentionType::Days),
            value: Some(row.retention_days.to_string()),
        }),
        cluster_id: Some(row.cluster_id),
        create_timestamp: Some(row.create_ts),
        hsms: Some(hsms.into_iter().map(|h| hsm(h, &row.hsm_type, degraded)).collect()),
        hsm_type: Some(row.hsm_type.clone()),
        hsm_type_rollback_expiration: row.rollback_until.filter(|_| row.state == ClusterState::Active),
        pre_co_password: None,
        security_group: Some(security_group),
        source_backup_id: row.source_backup_id,
        state: Some(state),
        state_message,
        subnet_mapping: Some(row.subnets.0.into_iter().collect::<BTreeMap<_, _>>()),
        vpc_id: Some(row.vpc_id),
        network_type: Some(row.network_type),
        certificates: Some(certificates),
        tag_list,
        mode: Some(row.mode),
    }
}

/// `{}` before the first HSM; CSR and vouching certificates while UNINITIALIZED; the cluster certificate afterwards.
fn certificates(row: &ClusterRow) -> Certificates {
    if row.cluster_certificate.is_some() {
        return Certificates { cluster_certificate: row.cluster_certificate.clone(), ..Certificates::default() };
    }
    Certificates {
        cluster_csr: row.csr.clone(),
        hsm_certificate: row.hsm_certificate.clone(),
        aws_hardware_certificate: row.hardware_certificate.clone(),
        manufacturer_hardware_certificate: row.manufacturer_certificate.clone(),
        cluster_certificate: None,
    }
}

/// An HSM.
pub(crate) fn hsm(row: HsmRow, hsm_type: &str, degraded: bool) -> Hsm {
    let state = if degraded && row.state == HsmState::Active { HsmState::Degraded } else { row.state };
    Hsm {
        availability_zone: Some(row.az),
        cluster_id: Some(row.cluster_id),
        subnet_id: Some(row.subnet_id),
        eni_id: Some(row.eni_id),
        eni_ip: Some(row.eni_ip),
        eni_ip_v6: None,
        hsm_id: row.hsm_id,
        hsm_type: Some(hsm_type.to_owned()),
        state: Some(state),
        state_message: row.state_message,
    }
}

/// A backup with its tags.
pub(crate) fn backup(region: &RegionName, tx: &mut dyn Tx, row: Backup) -> Result<wire_backup::Backup, StoreError> {
    let tag_list = tags::list(tx, row.backup_id.as_str())?;
    Ok(wire_backup::Backup {
        backup_arn: Some(row.backup_id.arn(region, &row.account)),
        backup_state: Some(row.state),
        cluster_id: row.cluster_id.filter(|_| row.origin == Origin::Local),
        create_timestamp: Some(row.create_ts),
        copy_timestamp: row.copy_ts,
        never_expires: Some(row.never_expires),
        source_region: row.source_region,
        source_backup: row.source_backup_id,
        source_cluster: row.source_cluster_id,
        delete_timestamp: row.delete_at,
        tag_list: Some(tag_list),
        hsm_type: Some(row.hsm_type),
        mode: Some(row.mode),
        backup_id: row.backup_id,
    })
}
