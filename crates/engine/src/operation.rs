//! The operations, one file each, named as AWS names them. A mutation goes through [`crate::mutation::run`]; a read is one
//! transaction that sees one state. What needs more than rows (a certificate to be checked) asks before the transaction
//! and makes it conditional on what was asked about.

mod abandon_copy;
mod add_subnet;
mod copy_backup_to_region;
mod create_cluster;
mod create_hsm;
mod delete_backup;
mod delete_cluster;
mod delete_hsm;
mod delete_resource_policy;
mod describe_backups;
mod describe_clusters;
mod describe_copy;
mod describe_hsm_endpoints;
mod get_resource_policy;
mod get_resources;
mod initialize_cluster;
mod list_audit_events;
mod list_backup_contents;
mod list_copies;
mod list_subnets;
mod list_tags;
mod modify_backup_attributes;
mod modify_cluster;
mod put_resource_policy;
mod restore_backup;
mod tag_resource;
mod tag_resources;
mod untag_resource;
mod untag_resources;

use std::sync::Arc;

use strongroom_model::call::{Call, Operation, Reply};
use strongroom_model::{AccountId, ApiError, BackupId, ClusterId, CopyId, ErrorKind};
use strongroom_store::control::backups::{self, Backup};
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::control::copies::{self, Copy};
use strongroom_store::{StoreError, Tx};

use crate::arn;
use crate::authorize;
use crate::caller::Caller;
use crate::mutation::Refusal;
use crate::region::Region;

/// Hands a call to its operation; one that only reads once it is allowed, since a mutation asks in its transaction.
pub(crate) async fn dispatch(region: &Arc<Region>, caller: &Caller, call: &Call) -> Result<Reply, ApiError> {
    if call.operation().only_reads() {
        authorize::check(region, caller, call).await?;
    }
    macro_rules! hand {
        ($($name:ident $file:ident),+ $(,)?) => {
            match call { $(Call::$name(input) => $file::run(region, caller, call, input.clone()).await,)+ }
        };
    }
    hand! {
        AbandonCopy abandon_copy,
        AddSubnet add_subnet,
        CopyBackupToRegion copy_backup_to_region,
        CreateCluster create_cluster,
        CreateHsm create_hsm,
        DeleteBackup delete_backup,
        DeleteCluster delete_cluster,
        DeleteHsm delete_hsm,
        DeleteResourcePolicy delete_resource_policy,
        DescribeBackups describe_backups,
        DescribeClusters describe_clusters,
        DescribeCopy describe_copy,
        DescribeHsmEndpoints describe_hsm_endpoints,
        GetResourcePolicy get_resource_policy,
        GetResources get_resources,
        InitializeCluster initialize_cluster,
        ListAuditEvents list_audit_events,
        ListBackupContents list_backup_contents,
        ListCopies list_copies,
        ListSubnets list_subnets,
        ListTags list_tags,
        ModifyBackupAttributes modify_backup_attributes,
        ModifyCluster modify_cluster,
        PutResourcePolicy put_resource_policy,
        RestoreBackup restore_backup,
        TagResource tag_resource,
        TagResources tag_resources,
        UntagResource untag_resource,
        UntagResources untag_resources,
    }
}

/// A cluster of the account that is not DELETED.
fn live_cluster(tx: &mut dyn Tx, account: &AccountId, id: &ClusterId) -> Result<Cluster, Refusal> {
    let found = clusters::get(tx, id)?.filter(|c| c.account == *account && c.deleted_at.is_none());
    found.ok_or_else(|| ApiError::not_found(format!("There is no cluster {id} in this account and region.")).into())
}

/// What the owner of a backup can let another account do with it.
const SHARED_FOR: &[Operation] = &[Operation::DescribeBackups, Operation::CreateCluster];

/// A backup of the caller's account, DELETED ones too while they are shown. One that is shared with him is refused as such;
/// one that is not is not there.
fn own_backup(tx: &mut dyn Tx, region: &Region, caller: &Caller, id: &BackupId) -> Result<Backup, Refusal> {
    match backups::get(tx, id)? {
        Some(backup) if backup.account == caller.account => Ok(backup),
        Some(backup) if authorize::is_shared(tx, region, caller, &backup, SHARED_FOR)? => {
            Err(only_shared(&backup).into())
        }
        _ => Err(no_backup(id).into()),
    }
}

fn only_shared(backup: &Backup) -> ApiError {
    let (id, owner) = (&backup.backup_id, &backup.account);
    let message = format!(
        "{id} belongs to account {owner}, which shares it: it can be listed with Shared, and CreateCluster takes its ARN. \
         Only its owner can do anything else with it."
    );
    ApiError::new(ErrorKind::CloudHsmAccessDenied, message)
}

fn no_backup(id: &BackupId) -> ApiError {
    ApiError::not_found(format!("There is no backup {id} in this account and region."))
}

/// A copy that leaves this region.
fn own_copy(tx: &mut dyn Tx, account: &AccountId, id: &CopyId) -> Result<Copy, Refusal> {
    let found = copies::get(tx, id)?.filter(|c| c.account == *account);
    found.ok_or_else(|| ApiError::not_found(format!("There is no copy {id} in this account and region.")).into())
}

/// Checks that a cluster or backup that tags are asked of or for is there.
fn taggable(tx: &mut dyn Tx, region: &Region, caller: &Caller, resource_id: &str) -> Result<(), Refusal> {
    if resource_id.starts_with("cluster-") {
        live_cluster(tx, &caller.account, &ClusterId::new(resource_id)).map(drop)
    } else {
        let backup = own_backup(tx, region, caller, &BackupId::new(resource_id))?;
        if backup.state == strongroom_model::backup::BackupState::Deleted {
            return Err(ApiError::not_found(format!("{resource_id} is DELETED.")).into());
        }
        Ok(())
    }
}

/// The backup behind the ARN of a policy call: of this region and the caller's own.
fn policy_backup(
    region: &Region,
    tx: &mut dyn Tx,
    caller: &Caller,
    resource_arn: Option<&str>,
) -> Result<Backup, Refusal> {
    let Some(text) = resource_arn else {
        return Err(ApiError::invalid("ResourceArn is missing. Give the ARN of a backup.").into());
    };
    let reference = arn::backup(text)?;
    if reference.owner.as_ref().is_some_and(|(of_region, _)| of_region != region.name()) {
        return Err(no_backup(&reference.backup_id).into());
    }
    let backup = own_backup(tx, region, caller, &reference.backup_id)?;
    match &reference.owner {
        Some((_, of_account)) if *of_account != backup.account => Err(no_backup(&reference.backup_id).into()),
        _ => Ok(backup),
    }
}

/// Runs a read on one state of the store.
async fn read<T: Send + 'static>(
    region: &Region,
    closure: impl FnMut(&mut dyn Tx) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, ApiError> {
    region.control.read(closure).await.map_err(ApiError::from)
}

/// The page size: what was asked, or the maximum.
fn page_size(asked: Option<i64>, maximum: u32) -> u32 {
    asked.and_then(|n| u32::try_from(n).ok()).unwrap_or(maximum).clamp(1, maximum)
}

/// What a stored fact that cannot be read is.
fn unreadable(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} cannot be read"))
}
