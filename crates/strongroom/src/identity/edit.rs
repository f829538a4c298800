//! Owns changes of the account files: under a lock, all that there is read and checked, the change made in memory, all of it
//! checked again, and only then one file written, whole. What fails changes nothing.

use std::path::{Path, PathBuf};

use strongroom_store::lock::Lock;

use super::directory::Directory;
use super::files::{self, AccountFile, Fault, RoleEntry, UserEntry};
use super::seal::IdentityKey;
use crate::files::make_private_folder;
use crate::layout::Layout;
use crate::problem::{Exit, Problem};

/// The account files of a data folder, read and sound.
#[derive(Debug)]
pub(super) struct Book {
    folder: PathBuf,
    pub key: IdentityKey,
    pub accounts: Vec<(PathBuf, AccountFile)>,
    /// Held while the book is open for changes.
    _lock: Option<Lock>,
}

impl Book {
    /// Opens it to read.
    pub(super) fn read(layout: &Layout) -> Result<Self, Problem> {
        Self::open(layout, None)
    }

    /// Opens it to change something; another change waits for nobody but is told.
    pub(super) fn change(layout: &Layout) -> Result<Self, Problem> {
        let folder = layout.identity();
        let failed = |cause: &dyn std::fmt::Display| {
            Problem::new("identity", format!("cannot change the accounts in {}", folder.display())).cause(cause)
        };
        make_private_folder(&folder).map_err(|e| failed(&e))?;
        let lock = Lock::take(&folder.join(".lock"), "strongroom admin").map_err(|e| failed(&e).help("try again"))?;
        Self::open(layout, Some(lock))
    }

    fn open(layout: &Layout, lock: Option<Lock>) -> Result<Self, Problem> {
        let (folder, key) = (layout.identity(), IdentityKey::at(layout.identity_key()));
        let accounts = files::read(&folder).map_err(unsound)?;
        Directory::compile(&accounts, &key).map_err(unsound)?;
        Ok(Self { folder, key, accounts, _lock: lock })
    }

    /// An account.
    pub(super) fn account(&mut self, id: &str) -> Result<&mut AccountFile, Problem> {
        let found = self.accounts.iter_mut().map(|(_, file)| file).find(|file| file.account == id);
        found.ok_or_else(|| {
            Problem::new("no-account", format!("there is no account {id}"))
                .help(format!("strongroom admin account create {id}"))
                .exit(Exit::Usage)
        })
    }

    /// A user of an account.
    pub(super) fn user(&mut self, account: &str, name: &str) -> Result<&mut UserEntry, Problem> {
        let users = &mut self.account(account)?.users;
        users.iter_mut().find(|user| user.name == name).ok_or_else(|| {
            Problem::new("no-user", format!("account {account} has no user {name}"))
                .help(format!("strongroom admin user list {account}"))
                .exit(Exit::Usage)
        })
    }

    /// A role of an account, by its place in it.
    pub(super) fn role(&mut self, account: &str, name: &str) -> Result<usize, Problem> {
        let is_it = |role: &RoleEntry| role.name == name;
        self.account(account)?.roles.iter().position(is_it).ok_or_else(|| {
            Problem::new("no-role", format!("account {account} has no role {name}"))
                .help(format!("strongroom admin role list {account}"))
                .exit(Exit::Usage)
        })
    }

    /// Adds an account.
    pub(super) fn add(&mut self, file: AccountFile) -> Result<(), Problem> {
        if !files::is_account(&file.account) {
            return Err(
                Problem::new("account", format!("{} is no account: it has 12 digits", file.account)).exit(Exit::Usage)
            );
        }
        if self.accounts.iter().any(|(_, there)| there.account == file.account) {
            return Err(
                Problem::new("account", format!("there is an account {} already", file.account)).exit(Exit::Usage)
            );
        }
        self.accounts.push((files::path(&self.folder, &file.account), file));
        Ok(())
    }

    /// Checks everything and writes one account.
    pub(super) fn write(&self, account: &str) -> Result<(), Problem> {
        Directory::compile(&self.accounts, &self.key).map_err(|fault| {
            Problem::new("refused", "nothing was changed")
                .cause(format!("{}: {}", fault.place, fault.text))
                .exit(Exit::Usage)
        })?;
        let file = self.accounts.iter().map(|(_, file)| file).find(|file| file.account == account);
        let file = file.expect("an account that is changed is there");
        let path = files::path(&self.folder, account);
        files::write(&self.folder, file)
            .map_err(|e| Problem::new("identity", format!("cannot write {}", shown(&path))).cause(e))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn unsound(fault: Fault) -> Problem {
    Problem::new("identity", "the account files cannot be used")
        .cause(fault)
        .help("mend the file, or take it out of the folder")
}
