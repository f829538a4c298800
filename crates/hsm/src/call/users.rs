//! Owns the management of users. Anyone may list them; admins make, delete and unlock them; everyone may change his own
//! password, which ends his logins.

use std::collections::BTreeSet;

use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Failure, Role, User as Listed};
use strongroom_link::pkcs11::*;

use crate::cluster::{Cache, Change, Edit, RequestName, TRIES, vault_failed};
use crate::refusal::refusal;
use crate::session::Session;
use crate::user::{User, normalized_name};

/// In the order of their making, the appliance user last.
pub(crate) fn list(session: &Session) -> Result<Answer, Failure> {
    let cluster = &session.cluster;
    let mut users = cluster.look(|cache| Ok(cache.users().cloned().collect::<Vec<_>>()))?;
    users.sort_by(|a, b| {
        let key = |user: &User| (user.role == Role::ApplianceUser, user.made);
        key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
    });
    let mut locked = BTreeSet::new();
    cluster
        .region()
        .rows
        .read(&mut |tx| {
            let logins = tx.logins(cluster.id())?;
            locked = logins.into_iter().filter(|(_, tries)| *tries >= TRIES).map(|(user, _)| user).collect();
            Ok(())
        })
        .map_err(|error| vault_failed(&error))?;
    let listed = |user: User| Listed { locked: locked.contains(&user.name), user: user.name, role: user.role };
    Ok(Answer::Users(users.into_iter().map(listed).collect()))
}

pub(crate) fn create(
    session: &Session,
    name: &RequestName,
    user: &str,
    role: Role,
    password: &Secret,
) -> Result<Answer, Failure> {
    let login = session.admin()?;
    let user = normalized_name(user)?;
    if !matches!(role, Role::Admin | Role::CryptoUser) {
        return Err(refusal(CKR_ARGUMENTS_BAD, format!("Role {} cannot be given to a new user", role.as_str())));
    }
    let require_free = |cache: &Cache| match cache.user(&user) {
        None => Ok(()),
        Some(_) => Err(refusal(CKR_ACTION_PROHIBITED, format!("User {user} already exists"))),
    };
    session.cluster.look(require_free)?;
    let cluster = &session.cluster;
    let hash = cluster.passwords().hash(password.expose(), &*cluster.region().rng)?;
    cluster.write(name, Some(login), &mut |cache| {
        require_free(cache)?;
        let made = User::new(user.clone(), role, hash.clone(), cache.next_version());
        Ok(Change { unlocks: Some(user.clone()), ..Change::of(vec![Edit::PutUser(made)], Answer::Done) })
    })
}

pub(crate) fn delete(session: &Session, name: &RequestName, user: &str, role: Role) -> Result<Answer, Failure> {
    let login = session.admin()?;
    let user = user.to_ascii_lowercase();
    if user == login.user {
        return Err(refusal(CKR_ACTION_PROHIBITED, format!("User {user} is logged in. Another admin can delete it.")));
    }
    session.cluster.write(name, Some(login), &mut |cache| {
        find(cache, &user, role)?;
        let keys = cache.objects().filter(|object| object.owner() == user).count();
        if keys > 0 {
            let message = format!("User {user} owns keys: {keys}. Delete them first.");
            return Err(refusal(CKR_ACTION_PROHIBITED, message));
        }
        Ok(Change { unlocks: Some(user.clone()), ..Change::of(vec![Edit::DropUser(user.clone())], Answer::Done) })
    })
}

pub(crate) fn change_password(
    session: &Session,
    name: &RequestName,
    user: &str,
    role: Role,
    password: &Secret,
) -> Result<Answer, Failure> {
    let login = session.login()?;
    let user = user.to_ascii_lowercase();
    if user != login.user {
        session.admin()?;
    }
    session.cluster.look(|cache| find(cache, &user, role).map(drop))?;
    let cluster = &session.cluster;
    let hash = cluster.passwords().hash(password.expose(), &*cluster.region().rng)?;
    cluster.write(name, Some(login), &mut |cache| {
        let made = find(cache, &user, role)?.made;
        let changed = User::new(user.clone(), role, hash.clone(), made);
        Ok(Change { unlocks: Some(user.clone()), ..Change::of(vec![Edit::PutUser(changed)], Answer::Done) })
    })
}

/// A user of this role who can log in.
fn find<'a>(cache: &'a Cache, name: &str, role: Role) -> Result<&'a User, Failure> {
    cache
        .user(name)
        .filter(|user| user.role == role && user.password.is_some())
        .ok_or_else(|| refusal(CKR_ARGUMENTS_BAD, "Specified user does not exist"))
}
