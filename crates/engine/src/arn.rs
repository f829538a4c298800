//! Owns the reading of ARNs that requests carry.

use strongroom_model::{AccountId, ApiError, BackupId, RegionName};

/// A backup's ARN, or its id alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupReference {
    /// Region and account, where an ARN was given.
    pub owner: Option<(RegionName, AccountId)>,
    /// The backup.
    pub backup_id: BackupId,
}

/// Reads an id or an ARN of a backup; its form was checked by the table of shapes.
///
/// # Errors
/// `CloudHsmInvalidRequestException` for an ARN of something else.
pub fn backup(text: &str) -> Result<BackupReference, ApiError> {
    if !text.starts_with("arn:") {
        return Ok(BackupReference { owner: None, backup_id: BackupId::new(text) });
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        [_, _, "cloudhsm", region, account, resource] => match resource.split_once('/') {
            Some(("backup", id)) => Ok(BackupReference {
                owner: Some((RegionName::new(region), AccountId::new(account))),
                backup_id: BackupId::new(id),
            }),
            _ => Err(not_a_backup(text)),
        },
        _ => Err(not_a_backup(text)),
    }
}

fn not_a_backup(text: &str) -> ApiError {
    ApiError::invalid(format!("{text} is not the ARN of a backup; only backups are meant here."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_arns_of_backups_are_read() {
        let arn = backup("arn:aws:cloudhsm:us-east-1:000000000000:backup/backup-aaaaaaaaaaa").unwrap();
        assert_eq!(arn.owner, Some((RegionName::new("us-east-1"), AccountId::new("000000000000"))));
        assert_eq!(backup("backup-aaaaaaaaaaa").unwrap().backup_id, arn.backup_id);
        assert!(backup("arn:aws:cloudhsm:us-east-1:000000000000:cluster/cluster-aaaaaaaaaaa").is_err());
    }
}
