//! Owns tags: at most 50 on a resource, keys unique.

crate::record! {
    /// A tag of a cluster or a backup.
    pub struct Tag {
        "Key" key: String,
        "Value" value: String,
    }
}

crate::record! {
    /// What `GetResources` selects by: the key, and one of the values if there are any.
    pub struct TagFilter {
        "Key" key: Option<String>,
        "Values" values: Option<Vec<String>>,
    }

    /// A resource with its tags.
    pub struct ResourceTagMapping {
        "ResourceARN" resource_arn: Option<String>,
        "Tags" tags: Option<Vec<Tag>>,
    }

    /// Why the tags of one resource among several were not changed.
    pub struct FailureInfo {
        "StatusCode" status_code: Option<i64>,
        "ErrorCode" error_code: Option<String>,
        "ErrorMessage" error_message: Option<String>,
    }
}

/// The most tags that a resource can have.
pub const TAGS_MAX: usize = 50;
