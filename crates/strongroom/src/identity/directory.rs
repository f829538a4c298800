//! Owns who there is: users, roles and access keys of all accounts as of one moment, compiled from the account files, found
//! by access key id or ARN. A directory never changes; a later one takes its place.
//!
//! What a file says is checked here, all of it before any of it counts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_engine::Authority;
use strongroom_iam::{CallerKind, Document};
use strongroom_model::{AccountId, Tag, Timestamp};
use strongroom_wire::sigv4::SecretKey;

use super::compile::{self, Wrong};
use super::files::{AccountFile, Fault, KeyEntry, RoleEntry, UserEntry};
use super::principal::{Principal, SessionFacts};
use super::seal::{IdentityKey, Sealed};
use super::session::{Grant, Who};

/// The user that every `strongroom dev` has, for loopback only.
#[derive(Debug)]
pub struct DevCredentials;

impl DevCredentials {
    /// The access key.
    pub const ACCESS_KEY_ID: &str = "test";
    /// Its secret.
    pub const SECRET_ACCESS_KEY: &str = "test";
    /// The account.
    pub const ACCOUNT: &str = "000000000000";
    /// The name of the user.
    pub const USER: &str = "test";
    /// His unique id.
    pub const USER_ID: &str = "AIDASTRONGROOMDEVTEST";
}

/// Who there is.
#[derive(Debug, Default)]
pub struct Directory {
    keys: HashMap<String, Arc<Principal>>,
    users: HashMap<String, User>,
    roles: HashMap<String, Arc<Role>>,
}

/// A user who may call.
#[derive(Debug)]
struct User {
    account: AccountId,
    name: String,
    id: String,
    grants: compile::Grants,
}

/// A role.
#[derive(Debug)]
pub struct Role {
    /// The account.
    pub account: AccountId,
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// The unique id, `AROA…`.
    pub id: String,
    /// Who may assume it.
    pub trust: Document,
    /// How long its sessions may be, in seconds.
    pub max_session_seconds: i64,
    pub(super) grants: compile::Grants,
}

impl Role {
    /// Its tags.
    pub fn tags(&self) -> &[Tag] {
        &self.grants.tags
    }
}

impl Directory {
    /// The user of `dev`, and those of the files.
    ///
    /// # Errors
    /// The first fault.
    pub(super) fn compile(files: &[(PathBuf, AccountFile)], key: &IdentityKey) -> Result<Self, Fault> {
        let mut directory = Self::default();
        directory.add_dev_user();
        for (path, file) in files {
            let placed = |wrong: Wrong| Fault { path: path.clone(), place: wrong.place, text: wrong.text };
            directory.add_account(file, key).map_err(placed)?;
        }
        Ok(directory)
    }

    /// Whom an access key of a user speaks for, unless it or he is disabled.
    pub fn find(&self, access_key_id: &str) -> Option<Arc<Principal>> {
        self.keys.get(access_key_id).cloned()
    }

    /// The role of an ARN.
    pub fn role(&self, arn: &str) -> Option<Arc<Role>> {
        self.roles.get(arn).cloned()
    }

    /// Whom a session speaks for; `None` if its user or role is no longer there.
    pub(super) fn session(&self, grant: &Grant, secret: SecretKey) -> Option<Principal> {
        let (account, arn, user_id, authority) = match &grant.who {
            Who::User { arn, id } => {
                let user = self.users.get(arn).filter(|user| user.id == *id)?;
                (&user.account, arn.clone(), user.id.clone(), user.authority(arn, Some(grant)))
            }
            Who::Role { arn, id, session_name } => {
                let role = self.roles.get(arn).filter(|role| role.id == *id)?;
                let arn = format!("arn:aws:sts::{}:assumed-role/{}/{session_name}", role.account, role.name);
                let user_id = format!("{id}:{session_name}");
                let authority = role.authority(&arn, &user_id, grant)?;
                (&role.account, arn, user_id, authority)
            }
        };
        let passes_on = |key: &str| grant.transitive.iter().any(|there| there.eq_ignore_ascii_case(key));
        let tags = grant.tags.iter().filter(|(key, _)| passes_on(key));
        let facts = SessionFacts {
            expires: Timestamp::from_millis(grant.expires),
            transitive: tags.map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect(),
            source_identity: grant.source_identity.clone(),
        };
        let (account, authority) = (account.clone(), Arc::new(authority));
        Some(Principal { account, arn, user_id, secret, authority, session: Some(facts) })
    }

    fn add_dev_user(&mut self) {
        let account = AccountId::new(DevCredentials::ACCOUNT);
        let user = User {
            name: DevCredentials::USER.to_owned(),
            id: DevCredentials::USER_ID.to_owned(),
            grants: compile::Grants::administrator(),
            account,
        };
        let arn = compile::arn(DevCredentials::ACCOUNT, "user", "/", DevCredentials::USER);
        let secret = SecretKey::new(DevCredentials::SECRET_ACCESS_KEY);
        self.keys.insert(DevCredentials::ACCESS_KEY_ID.to_owned(), Arc::new(user.principal(&arn, secret)));
        self.users.insert(arn, user);
    }

    fn add_account(&mut self, file: &AccountFile, key: &IdentityKey) -> Result<(), Wrong> {
        let mut names = Vec::new();
        if file.account == DevCredentials::ACCOUNT {
            names.push(DevCredentials::USER.to_owned());
        }
        for (n, entry) in file.users.iter().enumerate() {
            let place = format!("users[{n}]");
            compile::unique_name(&mut names, &entry.name).map_err(|w| w.within(&place))?;
            self.add_user(&file.account, entry, key).map_err(|wrong| wrong.within(&place))?;
        }
        names.clear();
        for (n, entry) in file.roles.iter().enumerate() {
            let place = format!("roles[{n}]");
            compile::unique_name(&mut names, &entry.name).map_err(|w| w.within(&place))?;
            self.add_role(&file.account, entry).map_err(|wrong| wrong.within(&place))?;
        }
        Ok(())
    }

    fn add_user(&mut self, account: &str, entry: &UserEntry, key: &IdentityKey) -> Result<(), Wrong> {
        let arn = compile::arn(account, "user", &entry.path, &entry.name);
        let user = User {
            account: AccountId::new(account),
            name: entry.name.clone(),
            id: compile::unique_id(&entry.id, "AIDA")?,
            grants: compile::user(entry)?,
        };
        if entry.access_keys.len() > compile::KEYS_MAX {
            let text = format!("a user has at most {} access keys", compile::KEYS_MAX);
            return Err(Wrong::new("access_keys", text));
        }
        for (n, entry_key) in entry.access_keys.iter().enumerate() {
            let place = format!("access_keys[{n}]");
            let secret = open_key(account, entry_key, key).map_err(|wrong| wrong.within(&place))?;
            if self.keys.contains_key(&entry_key.id) {
                return Err(Wrong::new("id", "is there twice").within(&place));
            }
            if entry.enabled && entry_key.enabled {
                self.keys.insert(entry_key.id.clone(), Arc::new(user.principal(&arn, secret)));
            }
        }
        if entry.enabled {
            self.users.insert(arn, user);
        }
        Ok(())
    }

    fn add_role(&mut self, account: &str, entry: &RoleEntry) -> Result<(), Wrong> {
        let role = Role {
            account: AccountId::new(account),
            name: entry.name.clone(),
            arn: compile::arn(account, "role", &entry.path, &entry.name),
            id: compile::unique_id(&entry.id, "AROA")?,
            trust: compile::trust(&entry.trust)?,
            max_session_seconds: compile::max_session_seconds(entry.max_session_seconds)?,
            grants: compile::role(entry)?,
        };
        self.roles.insert(role.arn.clone(), Arc::new(role));
        Ok(())
    }
}

impl User {
    fn principal(&self, arn: &str, secret: SecretKey) -> Principal {
        Principal {
            account: self.account.clone(),
            arn: arn.to_owned(),
            user_id: self.id.clone(),
            secret,
            authority: Arc::new(self.authority(arn, None)),
            session: None,
        }
    }

    /// What he may, with a key of his own or in a session of his own, which may the same.
    fn authority(&self, arn: &str, session: Option<&Grant>) -> Authority {
        Authority {
            caller: caller(&self.account, arn, CallerKind::User),
            user_id: self.id.clone(),
            user_name: Some(self.name.clone()),
            tags: self.grants.tags.clone(),
            identity: self.grants.identity.clone(),
            boundary: self.grants.boundary.clone(),
            session: None,
            token_issued_at: session.map(|grant| Timestamp::from_millis(grant.issued)),
        }
    }
}

impl Role {
    /// What a session of it may; `None` if a session policy cannot be read, since nothing less than all of them counts.
    fn authority(&self, session_arn: &str, user_id: &str, grant: &Grant) -> Option<Authority> {
        let session = match &grant.policies {
            None => None,
            Some(texts) => Some(texts.iter().map(|text| compile::session(text).ok()).collect::<Option<Vec<_>>>()?),
        };
        Some(Authority {
            caller: caller(&self.account, session_arn, CallerKind::RoleSession { role_arn: self.arn.clone() }),
            user_id: user_id.to_owned(),
            user_name: None,
            tags: overridden(self.tags(), &grant.tags),
            identity: self.grants.identity.clone(),
            boundary: self.grants.boundary.clone(),
            session,
            token_issued_at: Some(Timestamp::from_millis(grant.issued)),
        })
    }
}

fn caller(account: &AccountId, arn: &str, kind: CallerKind) -> strongroom_iam::Caller {
    strongroom_iam::Caller { account: account.as_str().to_owned(), arn: arn.to_owned(), kind }
}

/// The role's tags, but for those whose keys the session has too, in whichever case.
fn overridden(role: &[Tag], session: &[(String, String)]) -> Vec<Tag> {
    let is_kept = |tag: &&Tag| !session.iter().any(|(key, _)| key.to_lowercase() == tag.key.to_lowercase());
    let kept = role.iter().filter(is_kept).cloned();
    kept.chain(session.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() })).collect()
}

fn open_key(account: &str, entry: &KeyEntry, key: &IdentityKey) -> Result<SecretKey, Wrong> {
    compile::access_key_id(&entry.id)?;
    if Timestamp::from_basic(&entry.created).is_none() {
        return Err(Wrong::new(
            "created",
            format!("\"{}\" is no time; one looks like 20261124T091407Z", entry.created),
        ));
    }
    let wrong = |text: String| Wrong::new("secret", text);
    let what = Sealed::AccessKey { account, id: &entry.id };
    let secret = key.open(what, &entry.secret).map_err(|error| wrong(error.to_string()))?;
    let secret = std::str::from_utf8(&secret).map_err(|_| wrong("is no text".to_owned()))?;
    Ok(SecretKey::new(secret))
}

/// All files of a folder, compiled.
///
/// # Errors
/// The first fault.
pub(super) fn read(folder: &Path, key: &IdentityKey) -> Result<Directory, Fault> {
    Directory::compile(&super::files::read(folder)?, key)
}
