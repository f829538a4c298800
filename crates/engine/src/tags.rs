//! Owns the rules of tags that go beyond their shape: no key twice, no key of AWS's, at most 50 on a resource.

use std::collections::HashSet;

use strongroom_model::tag::TAGS_MAX;
use strongroom_model::{ApiError, ErrorKind, Tag};

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
