//! Owns the backup as a caller sees it.

use crate::cluster::ClusterMode;
use crate::id::{BackupId, ClusterId, RegionName};
use crate::tag::Tag;
use crate::time::{DAY, Timestamp};

crate::string_enum! {
    /// The states of a backup.
    pub enum BackupState {
        CreateInProgress "CREATE_IN_PROGRESS",
        Ready "READY",
        Deleted "DELETED",
        PendingDeletion "PENDING_DELETION",
    }
}

crate::record! {
    /// A backup, made here or copied from another region.
    pub struct Backup {
        "BackupId" backup_id: BackupId,
        "BackupArn" backup_arn: Option<String>,
        "BackupState" backup_state: Option<BackupState>,
        "ClusterId" cluster_id: Option<ClusterId>,
        "CreateTimestamp" create_timestamp: Option<Timestamp>,
        "CopyTimestamp" copy_timestamp: Option<Timestamp>,
        "NeverExpires" never_expires: Option<bool>,
        "SourceRegion" source_region: Option<RegionName>,
        "SourceBackup" source_backup: Option<BackupId>,
        "SourceCluster" source_cluster: Option<ClusterId>,
        "DeleteTimestamp" delete_timestamp: Option<Timestamp>,
        "TagList" tag_list: Option<Vec<Tag>>,
        "HsmType" hsm_type: Option<String>,
        "Mode" mode: Option<ClusterMode>,
    }

    /// What `CopyBackupToRegion` tells of the copy: AWS gives no id, it is found by `sourceBackupIds`.
    pub struct DestinationBackup {
        "CreateTimestamp" create_timestamp: Option<Timestamp>,
        "SourceRegion" source_region: Option<RegionName>,
        "SourceBackup" source_backup: Option<BackupId>,
        "SourceCluster" source_cluster: Option<ClusterId>,
    }
}

/// From DeleteBackup to the purge, in milliseconds.
pub const UNDELETE_WINDOW: i64 = 7 * DAY;
