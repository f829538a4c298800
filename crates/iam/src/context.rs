//! Owns what is known of a request beside its action and resource: condition keys with their values.

use std::borrow::Cow;

/// Condition keys with values. Names ignore case, those of tags too.
#[derive(Clone, Debug, Default)]
pub struct Context<'a> {
    /// By lower-case name; of two under one name the later counts. There are few, so that looking at each is faster than
    /// hashing.
    entries: Vec<(Cow<'a, str>, Values<'a>)>,
}

#[derive(Clone, Debug)]
enum Values<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
}

impl<'a> Context<'a> {
    /// Sets a key of one value.
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) {
        self.entries.push((lower(key), Values::One(value.into())));
    }

    /// Sets a key of several values, or of none.
    pub fn set_all(&mut self, key: &'a str, values: Vec<Cow<'a, str>>) {
        self.entries.push((lower(key), Values::Many(values)));
    }

    /// Sets the key of a tag: a prefix such as `aws:requesttag/`, in lower case, and the tag's own key.
    pub fn set_tag(&mut self, prefix: &str, key: &str, value: impl Into<Cow<'a, str>>) {
        self.entries.push((Cow::Owned(prefix.to_owned() + &key.to_lowercase()), Values::One(value.into())));
    }

    /// The values of a key, which is in lower case; none where it is missing.
    pub(crate) fn values(&self, key: &str) -> &[Cow<'a, str>] {
        match self.entries.iter().rev().find(|(there, _)| there == key) {
            None => &[],
            Some((_, Values::One(value))) => std::slice::from_ref(value),
            Some((_, Values::Many(values))) => values,
        }
    }

    /// The value of a key that has exactly one.
    pub(crate) fn single(&self, key: &str) -> Option<&str> {
        match self.values(key) {
            [value] => Some(value),
            _ => None,
        }
    }
}

fn lower(key: &str) -> Cow<'_, str> {
    match key.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        true => Cow::Borrowed(key),
        false => Cow::Owned(key.to_lowercase()),
    }
}
