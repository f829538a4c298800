//! `strongroom admin`: accounts, users, roles and access keys, in the files that a running `dev` reads when they change. A
//! secret is shown once, where its key is made, and nowhere again.

mod show;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use data_encoding::BASE32_NOPAD;
use serde_json::value::RawValue;
use strongroom_engine::ports::Clock as _;

use super::compile::KEYS_MAX;
use super::edit::Book;
use super::files::{AccountFile, KeyEntry, Members, RoleEntry, UserEntry};
use super::managed;
use super::seal::Sealed;
use super::session;
use crate::dev;
use crate::human::Style;
use crate::layout::Layout;
use crate::problem::{Exit, Problem};
use crate::seams::{SystemClock, random};

/// `strongroom admin`
#[derive(Clone, Debug, Args)]
pub struct Admin {
    #[command(subcommand)]
    command: AdminCommand,
    /// The data folder of `strongroom dev`
    #[arg(long, value_name = "DIR", global = true, env = "STRONGROOM_DATA")]
    data: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum AdminCommand {
    /// Accounts
    #[command(subcommand)]
    Account(AccountCommand),
    /// Users of an account
    #[command(subcommand)]
    User(UserCommand),
    /// Roles of an account
    #[command(subcommand)]
    Role(RoleCommand),
    /// Access keys of users
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Clone, Debug, Subcommand)]
enum AccountCommand {
    /// Make an account
    Create {
        /// 12 digits
        account: String,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
    },
    /// The accounts that there are
    List,
}

#[derive(Clone, Debug, Subcommand)]
enum UserCommand {
    /// Make a user, who may do what the policies say and nothing else
    Create {
        /// The account
        account: String,
        /// His name
        name: String,
        #[command(flatten)]
        given: Given,
    },
    /// The users of an account
    List {
        /// The account
        account: String,
    },
    /// Refuse his keys and his own sessions
    Disable(Named),
    /// Let him call again
    Enable(Named),
    /// Take him away, with his keys
    Delete(Named),
}

#[derive(Clone, Debug, Subcommand)]
enum RoleCommand {
    /// Make a role
    Create {
        /// The account
        account: String,
        /// Its name
        name: String,
        /// The policy that says who may assume it, JSON
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
        /// How long its sessions may be, 3600 to 43200
        #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
        max_session: i64,
        #[command(flatten)]
        given: Given,
    },
    /// The roles of an account
    List {
        /// The account
        account: String,
    },
    /// Take it away; its sessions end
    Delete(Named),
}

#[derive(Clone, Debug, Subcommand)]
enum KeyCommand {
    /// Make an access key; its secret is shown this once
    Create(OfUser),
    /// The access keys of an account
    List {
        /// The account
        account: String,
    },
    /// Refuse a key
    Disable(Key),
    /// Accept it again
    Enable(Key),
    /// Take it away
    Delete(Key),
    /// Make a second key beside the one that there is, which stays until it is disabled
    Rotate(OfUser),
}

#[derive(Clone, Debug, Args)]
struct Named {
    /// The account
    account: String,
    /// The name
    name: String,
}

#[derive(Clone, Debug, Args)]
struct OfUser {
    /// The account
    account: String,
    /// The user
    user: String,
}

#[derive(Clone, Debug, Args)]
struct Key {
    /// The account
    account: String,
    /// The id, AKIA...
    key: String,
}

/// What a user or a role is given.
#[derive(Clone, Debug, Args)]
struct Given {
    /// A managed policy by its name, or a file with a policy, JSON
    #[arg(long, value_name = "NAME_OR_FILE")]
    policy: Vec<String>,
    /// The policy that is the most that he may, JSON
    #[arg(long, value_name = "FILE")]
    boundary: Option<PathBuf>,
    /// A tag
    #[arg(long, value_name = "K=V", value_parser = tag)]
    tag: Vec<(String, String)>,
}

/// Runs the command. What is meant for people beside a result goes to `beside`.
///
/// # Errors
/// [`Problem`]; nothing was changed.
pub fn run(admin: &Admin, style: &Style, out: &mut dyn Write, beside: &mut dyn Write) -> Result<(), Problem> {
    let layout = dev::layout(admin.data.clone())?;
    let (text, note) = match &admin.command {
        AdminCommand::Account(command) => account(&layout, command, style)?,
        AdminCommand::User(command) => user(&layout, command, style)?,
        AdminCommand::Role(command) => role(&layout, command, style)?,
        AdminCommand::Key(command) => key(&layout, command, style)?,
    };
    let written = write!(out, "{text}").and_then(|()| match note.is_empty() {
        true => Ok(()),
        false => writeln!(beside, "{note}"),
    });
    written.map_err(|e| Problem::new("output", "cannot write to standard output").cause(e))
}

/// What goes to standard output, and what people are told beside it.
type Said = (String, String);

fn account(layout: &Layout, command: &AccountCommand, style: &Style) -> Result<Said, Problem> {
    match command {
        AccountCommand::List => Ok((show::accounts(&Book::read(layout)?.accounts, style), String::new())),
        AccountCommand::Create { account, name } => {
            let mut book = Book::change(layout)?;
            book.add(AccountFile::new(account, name.clone()))?;
            book.write(account)?;
            Ok((show::accounts(&book.accounts[book.accounts.len() - 1..], style), String::new()))
        }
    }
}

fn user(layout: &Layout, command: &UserCommand, style: &Style) -> Result<Said, Problem> {
    let set = |named: &Named, enabled: bool| {
        let mut book = Book::change(layout)?;
        book.user(&named.account, &named.name)?.enabled = enabled;
        book.write(&named.account)?;
        let user = book.user(&named.account, &named.name)?.clone();
        Ok((show::users(&named.account, &[user], style), String::new()))
    };
    match command {
        UserCommand::List { account } => {
            let mut book = Book::read(layout)?;
            Ok((show::users(account, &book.account(account)?.users, style), String::new()))
        }
        UserCommand::Create { account, name, given } => {
            let mut book = Book::change(layout)?;
            let (managed_policies, policies) = policies(&given.policy)?;
            let entry = UserEntry {
                name: name.clone(),
                path: "/".to_owned(),
                id: unique_id("AIDA"),
                enabled: true,
                tags: Members(given.tag.clone()),
                managed_policies,
                policies,
                boundary: given.boundary.as_deref().map(document).transpose()?,
                access_keys: Vec::new(),
            };
            book.account(account)?.users.push(entry.clone());
            book.write(account)?;
            let note = format!("He has no key yet:  strongroom admin key create {account} {name}");
            Ok((show::users(account, &[entry], style), note))
        }
        UserCommand::Disable(named) => set(named, false),
        UserCommand::Enable(named) => set(named, true),
        UserCommand::Delete(Named { account, name }) => {
            let mut book = Book::change(layout)?;
            book.user(account, name)?;
            book.account(account)?.users.retain(|user| user.name != *name);
            book.write(account)?;
            Ok((String::new(), format!("User {name} of account {account} is gone.")))
        }
    }
}

fn role(layout: &Layout, command: &RoleCommand, style: &Style) -> Result<Said, Problem> {
    match command {
        RoleCommand::List { account } => {
            let mut book = Book::read(layout)?;
            Ok((show::roles(account, &book.account(account)?.roles, style), String::new()))
        }
        RoleCommand::Create { account, name, trust, max_session, given } => {
            let mut book = Book::change(layout)?;
            let (managed_policies, policies) = policies(&given.policy)?;
            let entry = RoleEntry {
                name: name.clone(),
                path: "/".to_owned(),
                id: unique_id("AROA"),
                max_session_seconds: *max_session,
                tags: Members(given.tag.clone()),
                managed_policies,
                policies,
                boundary: given.boundary.as_deref().map(document).transpose()?,
                trust: document(trust)?,
            };
            book.account(account)?.roles.push(entry.clone());
            book.write(account)?;
            Ok((show::roles(account, &[entry], style), String::new()))
        }
        RoleCommand::Delete(Named { account, name }) => {
            let mut book = Book::change(layout)?;
            let at = book.role(account, name)?;
            book.account(account)?.roles.remove(at);
            book.write(account)?;
            Ok((String::new(), format!("Role {name} of account {account} is gone.")))
        }
    }
}

fn key(layout: &Layout, command: &KeyCommand, style: &Style) -> Result<Said, Problem> {
    match command {
        KeyCommand::List { account } => {
            let mut book = Book::read(layout)?;
            Ok((show::keys(&book.account(account)?.users, style), String::new()))
        }
        KeyCommand::Create(of) => {
            let said = create_key(&mut Book::change(layout)?, of, style)?;
            Ok((said, "The secret is shown this once.".to_owned()))
        }
        KeyCommand::Rotate(of) => {
            let mut book = Book::change(layout)?;
            let Some(old) = book.user(&of.account, &of.user)?.access_keys.first().map(|key| key.id.clone()) else {
                return Err(Problem::new("no-key", format!("user {} has no key to rotate", of.user))
                    .help(format!("strongroom admin key create {} {}", of.account, of.user))
                    .exit(Exit::Usage));
            };
            let said = create_key(&mut book, of, style)?;
            let disable = format!("strongroom admin key disable {} {old}", of.account);
            Ok((said, format!("The secret is shown this once. When nothing uses the old key:  {disable}")))
        }
        KeyCommand::Disable(key) => set_key(layout, key, style, |entry| entry.enabled = false),
        KeyCommand::Enable(key) => set_key(layout, key, style, |entry| entry.enabled = true),
        KeyCommand::Delete(Key { account, key }) => {
            let mut book = Book::change(layout)?;
            let user = key_owner(&mut book, account, key)?;
            user.access_keys.retain(|entry| entry.id != *key);
            book.write(account)?;
            Ok((String::new(), format!("Access key {key} of account {account} is gone.")))
        }
    }
}

fn create_key(book: &mut Book, OfUser { account, user }: &OfUser, style: &Style) -> Result<String, Problem> {
    if let [first, _, ..] = &book.user(account, user)?.access_keys[..] {
        return Err(Problem::new(
            "keys-full",
            format!("user {user} has {KEYS_MAX} access keys, the most that there can be"),
        )
        .help(format!("delete the one that is no longer used:  strongroom admin key delete {account} {}", first.id))
        .exit(Exit::Usage));
    }
    let (id, secret) = (format!("AKIA{}", session::key_id()), session::secret());
    let sealed = book.key.seal(Sealed::AccessKey { account, id: &id }, secret.expose().as_bytes());
    let sealed = sealed.map_err(|e| Problem::new("identity-key", "the secret cannot be sealed").cause(e))?;
    let created = SystemClock.now().basic();
    book.user(account, user)?.access_keys.push(KeyEntry { id: id.clone(), secret: sealed, enabled: true, created });
    book.write(account)?;
    Ok(show::new_key(&id, &secret, style))
}

fn set_key(layout: &Layout, key: &Key, style: &Style, set: impl Fn(&mut KeyEntry)) -> Result<Said, Problem> {
    let mut book = Book::change(layout)?;
    let user = key_owner(&mut book, &key.account, &key.key)?;
    user.access_keys.iter_mut().filter(|entry| entry.id == key.key).for_each(set);
    let user = user.clone();
    book.write(&key.account)?;
    Ok((show::keys(&[user], style), String::new()))
}

fn key_owner<'a>(book: &'a mut Book, account: &str, key: &str) -> Result<&'a mut UserEntry, Problem> {
    let users = &mut book.account(account)?.users;
    users.iter_mut().find(|user| user.access_keys.iter().any(|entry| entry.id == key)).ok_or_else(|| {
        Problem::new("no-key", format!("account {account} has no access key {key}"))
            .help(format!("strongroom admin key list {account}"))
            .exit(Exit::Usage)
    })
}

/// Names of managed policies, and files, which are named by what they are called without `.json`.
fn policies(asked: &[String]) -> Result<(Vec<String>, Members<Box<RawValue>>), Problem> {
    let (mut attached, mut inline) = (Vec::new(), Vec::new());
    for policy in asked {
        if managed::document(policy).is_some() {
            attached.push(policy.clone());
            continue;
        }
        let path = Path::new(policy);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if inline.iter().any(|(there, _)| *there == name) {
            let what = format!("two policies would be called {name}, after their files");
            return Err(Problem::new("policy", what).exit(Exit::Usage));
        }
        inline.push((name, document(path)?));
    }
    Ok((attached, Members(inline)))
}

fn document(path: &Path) -> Result<Box<RawValue>, Problem> {
    let failed = |cause: &dyn std::fmt::Display| {
        let names = managed::NAMES.join(", ");
        Problem::new("policy", format!("{} is no file with a policy", path.display()))
            .cause(cause)
            .help(format!("write one, or name a managed policy: {names}"))
            .exit(Exit::Usage)
    };
    let text = fs::read_to_string(path).map_err(|e| failed(&e))?;
    serde_json::from_str::<&RawValue>(&text).map(ToOwned::to_owned).map_err(|e| failed(&e))
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn unique_id(prefix: &str) -> String {
    let text = BASE32_NOPAD.encode(&random::<11>());
    format!("{prefix}{}", &text[..17])
}

#[cfg(test)]
mod tests;
