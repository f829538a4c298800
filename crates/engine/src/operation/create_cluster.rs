//! CC1 and P1: CreateCluster, new or from a backup, which may be another account's that shares it. From a backup, its bytes
//! are pinned until the cluster is made of them.

use std::sync::Arc;

use strongroom_model::backup::BackupState;
use strongroom_model::call::{Call, CreateClusterRequest, CreateClusterResponse, Reply};
use strongroom_model::cluster::{
    BackupRetentionPolicy, ClusterMode, ClusterState, RETENTION_DAYS, RETENTION_DAYS_DEFAULT,
};
use strongroom_model::{ApiError, ClusterId};
use strongroom_store::StoreError;
use strongroom_store::control::backups::{self, Backup};
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::control::{blobs, tags};

use crate::caller::Caller;
use crate::job::JobKind;
use crate::mutation::{self, Mutation, Refusal};
use crate::operation::{no_backup, own_backup, unreadable};
use crate::ports::Facts;
use crate::region::Region;
use crate::{arn, subnet, view};

/// The type that clusters have today.
pub(super) const HSM_TYPE: &str = "hsm2m.medium";
/// The type from before, behind a switch.
pub(super) const LEGACY_HSM_TYPE: &str = "hsm1.medium";

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: CreateClusterRequest,
) -> Result<Reply, ApiError> {
    check_type(region, &input)?;
    let retention_days = retention_days(input.backup_retention_policy.as_ref())?;
    crate::tags::check(input.tag_list.as_deref().unwrap_or_default())?;
    let cluster_id = ClusterId::from_bytes(region.draw());
    let vpc = region.draw();
    mutation::run(region, caller, call, move |m| create(m, &input, &cluster_id, retention_days, vpc)).await
}

fn check_type(region: &Region, input: &CreateClusterRequest) -> Result<(), ApiError> {
    let known = match input.hsm_type.as_str() {
        HSM_TYPE => true,
        LEGACY_HSM_TYPE => region.settings.legacy_hsm_types,
        _ => false,
    };
    if !known {
        return Err(ApiError::invalid("Provided HsmType is not supported."));
    }
    if input.hsm_type == LEGACY_HSM_TYPE && input.mode == Some(ClusterMode::NonFips) {
        return Err(ApiError::invalid(format!("{LEGACY_HSM_TYPE} has no mode NON_FIPS. Choose FIPS, or {HSM_TYPE}.")));
    }
    Ok(())
}

/// The days of a policy: 7 to 379, 90 where nothing is said.
pub(super) fn retention_days(policy: Option<&BackupRetentionPolicy>) -> Result<i64, ApiError> {
    let Some(value) = policy.and_then(|p| p.value.as_deref()) else { return Ok(RETENTION_DAYS_DEFAULT) };
    value.parse().ok().filter(|days| RETENTION_DAYS.contains(days)).ok_or_else(|| {
        ApiError::invalid(format!(
            "BackupRetentionPolicy.Value {value} is out of range. Give days from {} to {}.",
            RETENTION_DAYS.start(),
            RETENTION_DAYS.end()
        ))
    })
}

fn create(
    m: &mut Mutation<'_>,
    input: &CreateClusterRequest,
    cluster_id: &ClusterId,
    retention_days: i64,
    vpc: [u8; 9],
) -> Result<Reply, Refusal> {
    let source = source(m, input)?;
    let (vpc_id, subnets) = subnet::place(m.tx, m.region.name(), &input.subnet_ids, vpc)?;
    let mode = source.as_ref().map(|b| b.mode).or(input.mode).unwrap_or_default();
    let mut row = Cluster {
        cluster_id: cluster_id.clone(),
        account: m.caller.account.clone(),
        state: ClusterState::CreateInProgress,
        hsm_type: input.hsm_type.clone(),
        mode,
        network_type: input.network_type.unwrap_or_default(),
        vpc_id,
        subnets: subnets.into(),
        retention_days,
        create_ts: m.now,
        ..Cluster::default()
    };
    if let Some(backup) = &source {
        let facts = backup.facts.as_deref().and_then(|f| Facts::from_bytes(f).ok());
        let facts = facts.ok_or_else(|| unreadable("what the backup holds"))?;
        row.source_backup_id = Some(backup.backup_id.clone());
        row.cluster_certificate = Some(facts.cluster_certificate);
    }
    clusters::insert(m.tx, &row)?;
    tags::put(m.tx, cluster_id.as_str(), input.tag_list.as_deref().unwrap_or_default())?;
    match &source {
        None => m.start(JobKind::ClusterMake, cluster_id.as_str())?,
        Some(backup) => {
            let blob_id = backup.blob_id.as_ref().ok_or_else(|| unreadable("a READY backup's payload"))?;
            blobs::pin(m.tx, blob_id, cluster_id.as_str())?;
            m.start(JobKind::Restore, cluster_id.as_str())?;
        }
    }
    let cluster = Some(view::new_cluster(m.region, row));
    Ok(Reply::CreateCluster(CreateClusterResponse { cluster }))
}

/// The backup that the cluster is made from: READY, and of a type and mode that fit.
fn source(m: &mut Mutation<'_>, input: &CreateClusterRequest) -> Result<Option<Backup>, Refusal> {
    let Some(text) = &input.source_backup_id else { return Ok(None) };
    let reference = arn::backup(text)?;
    let backup = match &reference.owner {
        Some((region, _)) if region != m.region.name() => return Err(no_backup(&reference.backup_id).into()),
        // Both sides have allowed the caller to make a cluster of it.
        Some((_, account)) if *account != m.caller.account => {
            let found = backups::get(m.tx, &reference.backup_id)?.filter(|backup| backup.account == *account);
            found.ok_or_else(|| no_backup(&reference.backup_id))?
        }
        _ => own_backup(m.tx, m.region, m.caller, &reference.backup_id)?,
    };
    let id = &backup.backup_id;
    if backup.state != BackupState::Ready {
        let state = backup.state;
        return Err(ApiError::invalid(format!("{id} is {state}; a cluster is made from a READY backup only.")).into());
    }
    if input.mode.is_some_and(|mode| mode != backup.mode) {
        let mode = backup.mode;
        return Err(ApiError::invalid(format!("{id} is of mode {mode}, which a cluster made from it keeps.")).into());
    }
    if backup.hsm_type == HSM_TYPE && input.hsm_type == LEGACY_HSM_TYPE {
        return Err(ApiError::invalid(format!(
            "{id} was made on {HSM_TYPE}; it does not restore to {LEGACY_HSM_TYPE}."
        ))
        .into());
    }
    if backup.blob_id.is_none() {
        return Err(StoreError::Corrupt(format!("{id} is READY without a payload")).into());
    }
    Ok(Some(backup))
}
