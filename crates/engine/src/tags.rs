//! Owns the rules of tags that go beyond their shape: no key twice, no key of AWS's, at most 50 on a resource; and what can
//! have tags.

use std::collections::HashSet;

use strongroom_model::backup::BackupState;
use strongroom_model::tag::{FailureInfo, TAGS_MAX};
use strongroom_model::{AccountId, ApiError, BackupId, ClusterId, ErrorKind, Tag};
use strongroom_store::control::{backups, clusters, tags};
use strongroom_store::{StoreError, Tx};

use crate::region::Region;

/// Checks the tags of a request.
///
/// # Errors
/// `CloudHsmTagException` for a key of AWS's or a key that stands twice.
pub fn check(tags: &[Tag]) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for Tag { key, .. } in tags {
        check_key(key)?;
        if !seen.insert(key.as_str()) {
            return Err(tag_error(format!("The tag key {key:?} stands twice in the request. Give each key once.")));
        }
    }
    Ok(())
}

/// Checks a key that a request would write or remove.
///
/// # Errors
/// `CloudHsmTagException` for a key of AWS's.
pub fn check_key(key: &str) -> Result<(), ApiError> {
    if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
        return Err(tag_error(format!("The tag key {key:?} begins with aws:, which is reserved. Choose another key.")));
    }
    Ok(())
}

/// Checks how many tags a resource would have.
///
/// # Errors
/// `CloudHsmResourceLimitExceededException` above 50.
pub fn check_count(count: usize, resource: &str) -> Result<(), ApiError> {
    if count > TAGS_MAX {
        let message =
            format!("{resource} would have {count} tags; at most {TAGS_MAX} are possible. Remove some first.");
        return Err(ApiError::new(ErrorKind::CloudHsmResourceLimitExceeded, message));
    }
    Ok(())
}

/// A cluster or backup of an account that is there, DELETED ones left out.
pub struct Resource {
    /// Its id.
    pub id: String,
    /// Its ARN.
    pub arn: String,
}

impl Resource {
    /// The resource of an ARN; `None` for one of another region, account or kind, or none at all.
    ///
    /// # Errors
    /// What the store said.
    pub fn find(tx: &mut dyn Tx, region: &Region, account: &AccountId, arn: &str) -> Result<Option<Self>, StoreError> {
        let Some((_, id)) = arn.rsplit_once('/') else { return Ok(None) };
        Ok(Self::of_id(tx, region, account, id)?.filter(|resource| resource.arn == arn))
    }

    /// The resource of an id.
    ///
    /// # Errors
    /// What the store said.
    pub fn of_id(tx: &mut dyn Tx, region: &Region, account: &AccountId, id: &str) -> Result<Option<Self>, StoreError> {
        let (cluster_id, backup_id) = (ClusterId::new(id), BackupId::new(id));
        let arn = if id.starts_with("cluster-") {
            let cluster = clusters::get(tx, &cluster_id)?;
            cluster
                .filter(|cluster| cluster.account == *account && cluster.deleted_at.is_none())
                .map(|_| cluster_id.arn(region.name(), account))
        } else {
            let backup = backups::get(tx, &backup_id)?;
            backup
                .filter(|backup| backup.account == *account && backup.state != BackupState::Deleted)
                .map(|_| backup_id.arn(region.name(), account))
        };
        Ok(arn.map(|arn| Self { id: id.to_owned(), arn }))
    }

    /// `cloudhsm:cluster` or `cloudhsm:backup`.
    pub fn kind(&self) -> &'static str {
        if self.id.starts_with("cluster-") { "cloudhsm:cluster" } else { "cloudhsm:backup" }
    }

    /// Whether these tags may be put beside those that are there.
    ///
    /// # Errors
    /// What the store said; in it, as [`check_count`].
    pub fn room_for(&self, tx: &mut dyn Tx, put: &[Tag]) -> Result<Result<(), ApiError>, StoreError> {
        let there = tags::list(tx, &self.id)?;
        let kept = there.iter().filter(|tag| put.iter().all(|p| p.key != tag.key)).count();
        Ok(check_count(kept + put.len(), &self.id))
    }
}

/// Why the tags of one resource among several stay as they are.
pub fn failure(message: String) -> FailureInfo {
    FailureInfo {
        status_code: Some(400),
        error_code: Some("InvalidParameterException".to_owned()),
        error_message: Some(message),
    }
}

/// The failure of one that the caller may not change.
pub fn denied(error: &ApiError) -> FailureInfo {
    FailureInfo { error_code: Some(error.kind().name().to_owned()), ..failure(error.message().to_owned()) }
}

/// The failure of an ARN that names nothing.
pub fn not_found(arn: &str) -> FailureInfo {
    failure(format!("{arn} is no cluster or backup of this account and region."))
}

fn tag_error(message: String) -> ApiError {
    ApiError::new(ErrorKind::CloudHsmTag, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str) -> Tag {
        Tag { key: key.into(), value: String::new() }
    }

    #[test]
    fn reserved_and_repeated_keys_are_tag_errors() {
        assert!(check(&[tag("a"), tag("A"), tag("awsome")]).is_ok());
        for tags in [vec![tag("aws:x")], vec![tag("AWS:x")], vec![tag("a"), tag("a")]] {
            assert_eq!(check(&tags).unwrap_err().kind(), ErrorKind::CloudHsmTag);
        }
    }

    #[test]
    fn the_fifty_first_tag_is_too_many() {
        assert!(check_count(50, "cluster-a").is_ok());
        assert_eq!(check_count(51, "cluster-a").unwrap_err().kind(), ErrorKind::CloudHsmResourceLimitExceeded);
    }
}
