//! Owns the names of rows that jobs are about or wait for: `backup:ID`, `cluster:ID`.

use strongroom_model::{BackupId, ClusterId};

/// The name of a backup's row.
pub(crate) fn backup(id: &BackupId) -> String {
    format!("backup:{id}")
}

/// The name of a cluster's row.
pub(crate) fn cluster(id: &ClusterId) -> String {
    format!("cluster:{id}")
}

/// The id behind a name, with what it is.
pub(crate) enum Named {
    Backup(BackupId),
    Cluster(ClusterId),
}

/// Reads a name.
pub(crate) fn parse(name: &str) -> Option<Named> {
    match name.split_once(':')? {
        ("backup", id) => Some(Named::Backup(BackupId::new(id))),
        ("cluster", id) => Some(Named::Cluster(ClusterId::new(id))),
        _ => None,
    }
}
