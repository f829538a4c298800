//! Owns tags: at most 50 on a resource, keys unique.

crate::record! {
    /// A tag of a cluster or a backup.
    pub struct Tag {
        "Key" key: String,
        "Value" value: String,
    }
}

/// The most tags that a resource can have.
pub const TAGS_MAX: usize = 50;
