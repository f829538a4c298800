//! Owns how accounts, users, roles and keys look, to people and to machines. Nothing here shows a secret but a key's own,
//! when it is made.

use std::path::PathBuf;

use serde_json::{Value, json};
use strongroom_wire::sigv4::SecretKey;

use crate::human::{Style, Table};
use crate::identity::compile;
use crate::identity::files::{AccountFile, Members, RoleEntry, UserEntry};

pub(super) fn accounts(accounts: &[(PathBuf, AccountFile)], style: &Style) -> String {
    let accounts = accounts.iter().map(|(_, file)| file);
    if style.json {
        let one = |file: &AccountFile| json!({ "account": file.account, "name": file.name, "users": file.users.len(), "roles": file.roles.len() });
        return document("strongroom.accounts/1", "accounts", accounts.map(one).collect());
    }
    let mut table = Table::new(&["ACCOUNT", "NAME", "USERS", "ROLES"]);
    for file in accounts {
        let name = file.name.clone().unwrap_or_default();
        table.row(vec![file.account.clone(), name, file.users.len().to_string(), file.roles.len().to_string()]);
    }
    table.text(style)
}

pub(super) fn users(account: &str, users: &[UserEntry], style: &Style) -> String {
    let arn = |user: &UserEntry| compile::arn(account, "user", &user.path, &user.name);
    if style.json {
        let one = |user: &UserEntry| {
            json!({
                "name": user.name,
                "arn": arn(user),
                "id": user.id,
                "enabled": user.enabled,
                "policies": names(&user.managed_policies, &user.policies),
                "boundary": user.boundary.is_some(),
                "tags": tags(&user.tags),
                "access_keys": user.access_keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
            })
        };
        return document("strongroom.users/1", "users", users.iter().map(one).collect());
    }
    let mut table = Table::new(&["USER", "ARN", "KEYS", "POLICIES", "NOTE"]);
    for user in users {
        table.row(vec![
            user.name.clone(),
            arn(user),
            user.access_keys.len().to_string(),
            names(&user.managed_policies, &user.policies).join(" "),
            if user.enabled { String::new() } else { "disabled".to_owned() },
        ]);
    }
    table.text(style)
}

pub(super) fn roles(account: &str, roles: &[RoleEntry], style: &Style) -> String {
    let arn = |role: &RoleEntry| compile::arn(account, "role", &role.path, &role.name);
    if style.json {
        let one = |role: &RoleEntry| {
            json!({
                "name": role.name,
                "arn": arn(role),
                "id": role.id,
                "max_session_seconds": role.max_session_seconds,
                "policies": names(&role.managed_policies, &role.policies),
                "boundary": role.boundary.is_some(),
                "tags": tags(&role.tags),
            })
        };
        return document("strongroom.roles/1", "roles", roles.iter().map(one).collect());
    }
    let mut table = Table::new(&["ROLE", "ARN", "LONGEST SESSION", "POLICIES"]);
    for role in roles {
        table.row(vec![
            role.name.clone(),
            arn(role),
            format!("{} s", role.max_session_seconds),
            names(&role.managed_policies, &role.policies).join(" "),
        ]);
    }
    table.text(style)
}

pub(super) fn keys(users: &[UserEntry], style: &Style) -> String {
    let keys = || users.iter().flat_map(|user| user.access_keys.iter().map(move |key| (user, key)));
    if style.json {
        let one = |(user, key): (&UserEntry, &crate::identity::files::KeyEntry)| json!({ "id": key.id, "user": user.name, "enabled": key.enabled && user.enabled, "created": key.created });
        return document("strongroom.keys/1", "keys", keys().map(one).collect());
    }
    let mut table = Table::new(&["KEY", "USER", "CREATED", "NOTE"]);
    for (user, key) in keys() {
        let note = match (user.enabled, key.enabled) {
            (true, true) => "",
            (true, false) => "disabled",
            (false, _) => "its user is disabled",
        };
        table.row(vec![key.id.clone(), user.name.clone(), key.created.clone(), note.to_owned()]);
    }
    table.text(style)
}

/// A new key, as a shell takes it.
pub(super) fn new_key(id: &str, secret: &SecretKey, style: &Style) -> String {
    let secret = secret.expose();
    if style.json {
        let key = json!({ "format": "strongroom.key/1", "access_key_id": id, "secret_access_key": secret });
        return format!("{key}\n");
    }
    format!("AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\n")
}

fn document(format: &str, name: &str, list: Vec<Value>) -> String {
    format!("{}\n", json!({ "format": format, name: list }))
}

fn names<T>(attached: &[String], inline: &Members<T>) -> Vec<String> {
    attached.iter().cloned().chain(inline.0.iter().map(|(name, _)| name.clone())).collect()
}

fn tags(tags: &Members<String>) -> Value {
    tags.0
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
