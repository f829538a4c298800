//! Owns the rules of names, ids, tags and policies in account files, and what becomes of them. It says what is wrong, and in
//! which member.

use std::sync::Arc;

use serde_json::value::RawValue;
use strongroom_iam::{Document, Kind};
use strongroom_model::Tag;
use strongroom_model::tag::TAGS_MAX;

use super::files::{Members, RoleEntry, UserEntry};
use super::managed;

/// Access keys of a user: one, and the one that takes its place.
pub(super) const KEYS_MAX: usize = 2;
const NAME_MAX: usize = 64;
const PATH_MAX: usize = 512;
const MANAGED_MAX: usize = 10;
// Characters of policies, white space not counted, as IAM counts them.
const USER_POLICIES_MAX: usize = 2_048;
const ROLE_POLICIES_MAX: usize = 10_240;
const BOUNDARY_MAX: usize = 6_144;
const TRUST_MAX: usize = 4_096;

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub place: String,
    pub text: String,
}

impl Wrong {
    pub(super) fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }

    /// The same, seen from outside.
    pub(super) fn within(self, place: &str) -> Self {
        Self { place: format!("{place}.{}", self.place), text: self.text }
    }
}

/// What a user or a role is given.
#[derive(Clone, Debug)]
pub(super) struct Grants {
    pub tags: Vec<Tag>,
    pub identity: Vec<Arc<Document>>,
    pub boundary: Option<Arc<Document>>,
}

impl Grants {
    /// Everything.
    pub(super) fn administrator() -> Self {
        let document = managed::document("AdministratorAccess").and_then(|text| session(text).ok());
        Self { tags: Vec::new(), identity: vec![document.expect("it is built in")], boundary: None }
    }
}

pub(super) fn user(entry: &UserEntry) -> Result<Grants, Wrong> {
    self::path(&entry.path)?;
    Ok(Grants {
        tags: tags(&entry.tags)?,
        identity: policies(&entry.managed_policies, &entry.policies, USER_POLICIES_MAX)?,
        boundary: boundary(entry.boundary.as_deref())?,
    })
}

pub(super) fn role(entry: &RoleEntry) -> Result<Grants, Wrong> {
    self::path(&entry.path)?;
    Ok(Grants {
        tags: tags(&entry.tags)?,
        identity: policies(&entry.managed_policies, &entry.policies, ROLE_POLICIES_MAX)?,
        boundary: boundary(entry.boundary.as_deref())?,
    })
}

pub(super) fn trust(policy: &RawValue) -> Result<Document, Wrong> {
    document("trust", policy, Kind::Trust, TRUST_MAX)
}

/// A policy by its text alone.
pub(super) fn session(text: &str) -> Result<Arc<Document>, strongroom_iam::Fault> {
    Document::parse(text, Kind::Identity).map(Arc::new)
}

pub(super) fn max_session_seconds(seconds: i64) -> Result<i64, Wrong> {
    match seconds {
        3_600..=43_200 => Ok(seconds),
        _ => Err(Wrong::new("max_session_seconds", format!("{seconds} is not from 3600 to 43200"))),
    }
}

/// `arn:aws:iam::111122223333:user/path/name`
pub(super) fn arn(account: &str, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

/// Checks a name, and that no other is the same in any case.
pub(super) fn unique_name(names: &mut Vec<String>, name: &str) -> Result<(), Wrong> {
    let is_good = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_word);
    if !is_good {
        let text = format!("\"{name}\" is no name: it has 1 to {NAME_MAX} of A-Z, a-z, 0-9 and +=,.@_-");
        return Err(Wrong::new("name", text));
    }
    if names.iter().any(|there| there.eq_ignore_ascii_case(name)) {
        return Err(Wrong::new("name", format!("there is a \"{name}\" already; case does not tell names apart")));
    }
    names.push(name.to_owned());
    Ok(())
}

/// What names and session names are made of.
pub(super) fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b)
}

pub(super) fn unique_id(id: &str, prefix: &str) -> Result<String, Wrong> {
    let rest = id.strip_prefix(prefix).unwrap_or_default();
    match rest.len() == 17 && rest.bytes().all(is_base32) {
        true => Ok(id.to_owned()),
        false => Err(Wrong::new("id", format!("\"{id}\" is not {prefix} and 17 of A-Z and 2-7"))),
    }
}

pub(super) fn access_key_id(id: &str) -> Result<(), Wrong> {
    let rest = id.strip_prefix("AKIA").unwrap_or_default();
    match rest.len() == 16 && rest.bytes().all(is_base32) {
        true => Ok(()),
        false => Err(Wrong::new("id", format!("\"{id}\" is not AKIA and 16 of A-Z and 2-7"))),
    }
}

fn is_base32(b: u8) -> bool {
    b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)
}

fn path(path: &str) -> Result<(), Wrong> {
    let is_visible = path.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'?');
    match path.starts_with('/') && path.ends_with('/') && path.len() <= PATH_MAX && is_visible {
        true => Ok(()),
        false => Err(Wrong::new("path", format!("\"{path}\" is no path: it begins and ends with a slash"))),
    }
}

fn tags(members: &Members<String>) -> Result<Vec<Tag>, Wrong> {
    if members.0.len() > TAGS_MAX {
        return Err(Wrong::new("tags", format!("there are more than {TAGS_MAX}")));
    }
    let mut tags: Vec<Tag> = Vec::new();
    for (key, value) in &members.0 {
        let wrong = |text: &str| Err(Wrong::new(format!("tags.{key}"), text));
        match () {
            () if !(1..=128).contains(&key.chars().count()) => return wrong("a key has 1 to 128 characters"),
            () if value.chars().count() > 256 => return wrong("a value has at most 256 characters"),
            () if key.to_lowercase().starts_with("aws:") => return wrong("aws: is AWS's own"),
            () if tags.iter().any(|tag| tag.key.to_lowercase() == key.to_lowercase()) => {
                return wrong("is there already; case does not tell keys apart");
            }
            () => tags.push(Tag { key: key.clone(), value: value.clone() }),
        }
    }
    Ok(tags)
}

fn policies(
    attached: &[String],
    inline: &Members<Box<RawValue>>,
    length_max: usize,
) -> Result<Vec<Arc<Document>>, Wrong> {
    if attached.len() > MANAGED_MAX {
        return Err(Wrong::new("managed_policies", format!("there are more than {MANAGED_MAX}")));
    }
    let mut documents = Vec::new();
    for (n, name) in attached.iter().enumerate() {
        let text = managed::document(name).ok_or_else(|| {
            let text = format!("there is no managed policy {name}; there are {}", managed::NAMES.join(", "));
            Wrong::new(format!("managed_policies[{n}]"), text)
        })?;
        documents.push(session(text).expect("it is built in"));
    }
    let length: usize = inline.0.iter().map(|(_, policy)| counted(policy)).sum();
    if length > length_max {
        return Err(Wrong::new("policies", format!("together they have {length} characters, {length_max} at most")));
    }
    for (name, policy) in &inline.0 {
        documents.push(Arc::new(document(&format!("policies.{name}"), policy, Kind::Identity, length_max)?));
    }
    Ok(documents)
}

fn boundary(policy: Option<&RawValue>) -> Result<Option<Arc<Document>>, Wrong> {
    policy.map(|policy| document("boundary", policy, Kind::Identity, BOUNDARY_MAX).map(Arc::new)).transpose()
}

fn document(place: &str, policy: &RawValue, kind: Kind, length_max: usize) -> Result<Document, Wrong> {
    let length = counted(policy);
    if length > length_max {
        return Err(Wrong::new(place, format!("it has {length} characters, {length_max} at most")));
    }
    Document::parse(policy.get(), kind).map_err(|fault| Wrong::new(place, fault.to_string()))
}

fn counted(policy: &RawValue) -> usize {
    policy.get().chars().filter(|c| !c.is_whitespace()).count()
}
