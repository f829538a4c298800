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

use strongroom_model::call::{Call, Reply};
use strongroom_model::{AccountId, ApiError, BackupId, ClusterId, CopyId};
use strongroom_store::control::backups::{self, Backup};
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::control::copies::{self, Copy};
use strongroom_store::{StoreError, Tx};

use crate::arn;
use crate::caller::Caller;
use crate::mutation::Refusal;
use crate::region::Region;

/// Hands a call to its operation.
pub(crate) async fn dispatch(region: &Arc<Region>, caller: &Caller, call: &Call) -> Result<Reply, ApiError> {
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

/// A backup of the account, DELETED ones too while they are shown.
fn own_backup(tx: &mut dyn Tx, account: &AccountId, id: &BackupId) -> Result<Backup, Refusal> {
    let found = backups::get(tx, id)?.filter(|b| b.account == *account);
    found.ok_or_else(|| ApiError::not_found(format!("There is no backup {id} in this account and region.")).into())
}

/// A copy that leaves this region.
fn own_copy(tx: &mut dyn Tx, account: &AccountId, id: &CopyId) -> Result<Copy, Refusal> {
    let found = copies::get(tx, id)?.filter(|c| c.account == *account);
    found.ok_or_else(|| ApiError::not_found(format!("There is no copy {id} in this account and region.")).into())
}

/// Checks that a cluster or backup that tags are asked of or for is there.
fn taggable(tx: &mut dyn Tx, account: &AccountId, resource_id: &str) -> Result<(), Refusal> {
    if resource_id.starts_with("cluster-") {
        live_cluster(tx, account, &ClusterId::new(resource_id)).map(drop)
    } else {
        let backup = own_backup(tx, account, &BackupId::new(resource_id))?;
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
    if let Some((of_region, of_account)) = &reference.owner
        && (of_region != region.name() || *of_account != caller.account)
    {
        let message = format!("There is no backup {} in this account and region.", reference.backup_id);
        return Err(ApiError::not_found(message).into());
    }
    own_backup(tx, &caller.account, &reference.backup_id)
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
