//! Owns the form of the account files, `DATA/identity/111122223333.json`: what is in them, read whole or refused with the
//! place of the fault, and written whole. What the words mean is the directory's.
//!
//! Never shows a secret: what a file holds of one is sealed.

use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::files;

/// The form that this release reads and writes.
pub(super) const FORMAT: &str = "strongroom.account/1";

/// What is wrong with the account files, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// `users[0].policies.name: Statement[0].Action`, or `line 3 column 7`; empty for the file as a whole.
    pub place: String,
    /// What it is.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountFile {
    pub format: String,
    pub account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub users: Vec<UserEntry>,
    #[serde(default)]
    pub roles: Vec<RoleEntry>,
}

/// A user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserEntry {
    pub name: String,
    #[serde(default = "root_path")]
    pub path: String,
    pub id: String,
    /// Without it neither his keys nor sessions of his own count.
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub tags: Members<String>,
    #[serde(default)]
    pub managed_policies: Vec<String>,
    #[serde(default)]
    pub policies: Members<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Box<RawValue>>,
    #[serde(default)]
    pub access_keys: Vec<KeyEntry>,
}

/// An access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyEntry {
    pub id: String,
    /// Sealed under the identity key.
    pub secret: String,
    #[serde(default = "yes")]
    pub enabled: bool,
    /// `20261124T091407Z`
    pub created: String,
}

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleEntry {
    pub name: String,
    #[serde(default = "root_path")]
    pub path: String,
    pub id: String,
    #[serde(default = "hour")]
    pub max_session_seconds: i64,
    #[serde(default)]
    pub tags: Members<String>,
    #[serde(default)]
    pub managed_policies: Vec<String>,
    #[serde(default)]
    pub policies: Members<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Box<RawValue>>,
    pub trust: Box<RawValue>,
}

fn root_path() -> String {
    "/".to_owned()
}

fn yes() -> bool {
    true
}

fn hour() -> i64 {
    3_600
}

/// The members of an object in their order; a name that is there twice is refused, since one of the two would be lost.
#[derive(Clone, Debug)]
pub(super) struct Members<T>(pub Vec<(String, T)>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Serialize> Serialize for Members<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Unique(PhantomData))
    }
}

struct Unique<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Unique<T> {
    type Value = Members<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, T)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if members.iter().any(|(there, _)| *there == name) {
                return Err(A::Error::custom(format!("\"{name}\" is there twice")));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

impl AccountFile {
    /// A new account.
    pub(super) fn new(account: &str, name: Option<String>) -> Self {
        Self { format: FORMAT.to_owned(), account: account.to_owned(), name, users: Vec::new(), roles: Vec::new() }
    }
}

/// What tells whether the files have changed: the name, inode, length and time of each.
pub(super) type Marks = Vec<(PathBuf, u64, u64, i64, i64)>;

/// The marks of the files that there are; none where there is no folder.
///
/// # Errors
/// What the system said.
pub(super) fn marks(folder: &Path) -> io::Result<Marks> {
    let mut marks = Vec::new();
    for path in paths(folder)? {
        let about = fs::metadata(&path)?;
        marks.push((path, about.ino(), about.len(), about.mtime(), about.mtime_nsec()));
    }
    Ok(marks)
}

/// All account files, by account.
///
/// # Errors
/// The first fault.
pub(super) fn read(folder: &Path) -> Result<Vec<(PathBuf, AccountFile)>, Fault> {
    let unreadable = |path: &Path, error: io::Error| Fault {
        path: path.to_owned(),
        place: String::new(),
        text: format!("cannot be read: {error}"),
    };
    let mut accounts = Vec::new();
    for path in paths(folder).map_err(|e| unreadable(folder, e))? {
        let text = fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
        let file = parse(&path, &text)?;
        accounts.push((path, file));
    }
    Ok(accounts)
}

/// Writes an account's file, whole or not at all.
///
/// # Errors
/// What the system said.
pub(super) fn write(folder: &Path, file: &AccountFile) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(file).expect("names and strings are JSON");
    text.push('\n');
    files::write_whole(&path(folder, &file.account), text.as_bytes(), 0o600)
}

/// Where an account's file is.
pub(super) fn path(folder: &Path, account: &str) -> PathBuf {
    folder.join(format!("{account}.json"))
}

/// What ends in `.json` and is not hidden, as a file is while it is written.
fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn parse(path: &Path, text: &str) -> Result<AccountFile, Fault> {
    let fault = |place: &str, text: String| Fault { path: path.to_owned(), place: place.to_owned(), text };
    let file: AccountFile = serde_json::from_str(text).map_err(|error| {
        let place = format!("line {} column {}", error.line(), error.column());
        let what = error.to_string();
        // serde_json puts the place last.
        let what = what.strip_suffix(&format!(" at {place}")).unwrap_or(&what);
        fault(&place, what.to_owned())
    })?;
    if file.format != FORMAT {
        return Err(fault("format", format!("is \"{}\"; this release reads {FORMAT}", file.format)));
    }
    if !is_account(&file.account) {
        return Err(fault("account", format!("\"{}\" is no account: it has 12 digits", file.account)));
    }
    if path.file_stem().is_none_or(|stem| stem != file.account.as_str()) {
        return Err(fault("account", format!("is {}, so that the file is {0}.json", file.account)));
    }
    Ok(file)
}

/// Whether it is 12 digits.
pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let fault = parse(Path::new("f/111122223333.json"), text).map(|_| ()).unwrap_err();
        assert_eq!(fault.path, Path::new("f/111122223333.json"));
        format!("{}: {}", fault.place, fault.text)
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let broken = "{\n \"format\": \"strongroom.account/1\",\n \"acount\": 1}";
        assert!(
            fault(broken).starts_with("line 3 column 9: unknown field `acount`, expected one of"),
            "{}",
            fault(broken)
        );
        let twice = r#"{"format":"strongroom.account/1","account":"111122223333","users":[
            {"name":"a","id":"x","policies":{"p":{},"p":{}}}]}"#;
        assert!(fault(twice).contains("\"p\" is there twice"), "{}", fault(twice));
        let other = r#"{"format":"strongroom.account/1","account":"111122223334"}"#;
        assert_eq!(fault(other), "account: is 111122223334, so that the file is 111122223334.json");
        assert!(fault(r#"{"format":"strongroom.account/2","account":"111122223333"}"#).starts_with("format: is"));
        assert!(fault("{").starts_with("line 1 column 1: EOF"), "{}", fault("{"));
    }

    #[test]
    fn a_file_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert!(marks(folder.path()).unwrap().is_empty());
        let file = AccountFile::new("111122223333", Some("tests".into()));
        write(folder.path(), &file).unwrap();
        let before = marks(folder.path()).unwrap();
        let read = read(folder.path()).unwrap();
        assert_eq!((read.len(), read[0].1.name.as_deref()), (1, Some("tests")));
        write(folder.path(), &file).unwrap();
        assert_ne!(marks(folder.path()).unwrap(), before, "also where nothing but the file is new");
        fs::write(folder.path().join(".draft.json"), "{").unwrap();
        fs::write(folder.path().join("note.txt"), "{").unwrap();
        assert_eq!(super::read(folder.path()).unwrap().len(), 1);
    }
}
