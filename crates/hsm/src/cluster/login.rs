//! Owns how a user proves himself. A try is reserved in the vault before the password is hashed and forgiven only when it
//! was right, so that neither a crash nor any number of connections gives more than five. One user's tries on this host come
//! one after the other, so that right passwords side by side do not lock each other out. A user that does not exist costs
//! the same time and reserves nothing.

use std::sync::PoisonError;
use std::time::Duration;

use strongroom_link::hsm::{Failure, Role};
use strongroom_link::pkcs11::*;
use x509_cert::der::DateTime;

use super::{Cluster, Login, lock, vault_failed};
use crate::password::PasswordHash;
use crate::refusal::refusal;
use crate::rows::{LoginTry, RowsError, VaultTx};
use crate::ticket::Ticket;

/// Wrong passwords in a row that lock a user out.
pub(crate) const TRIES: u32 = 5;

/// How a reservation ended.
enum Reservation {
    Try(LoginTry),
    /// Another host changed the user.
    Stale,
}

impl Cluster {
    /// Logs a user in by password. `name` is in lower case; `from` is the client's address, for the log.
    ///
    /// # Errors
    /// CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_USER_PIN_NOT_INITIALIZED before activation, or the vault failed.
    pub(crate) fn log_in(&self, name: &str, role: Role, password: &[u8], from: &str) -> Result<Login, Failure> {
        if self.find_user(name, role)?.is_none() {
            self.passwords.verify_nobody(password)?;
            return Err(incorrect(None));
        }
        let _turn = self.turn(name);
        loop {
            let Some((hash, version)) = self.find_user(name, role)? else {
                return Err(incorrect(None));
            };
            match self.reserve(name, version)? {
                Reservation::Try(LoginTry::Locked(since)) => return Err(locked(name, role, since)),
                Reservation::Stale => self.reload().map_err(|error| vault_failed(&error))?,
                Reservation::Try(LoginTry::Spent(tries)) => {
                    let is_right = self.passwords.verify(&hash, password)?;
                    if is_right && self.forgive(name, version)? {
                        return Ok(Login { user: name.to_owned(), role, version });
                    }
                    if tries == TRIES {
                        let cluster = &*self.id;
                        tracing::warn!(cluster, "user {name} locked after {TRIES} wrong passwords, from {from}");
                    }
                    return Err(incorrect(Some(TRIES - tries)));
                }
            }
        }
    }

    /// Logs a user in by ticket.
    ///
    /// # Errors
    /// CKR_PIN_INCORRECT for one that is not good, or not any more.
    pub(crate) fn present(&self, ticket: &[u8]) -> Result<Login, Failure> {
        let void = || refusal(CKR_PIN_INCORRECT, "The login has ended. Log in with the password.");
        let ticket = self.tickets.open(ticket, self.region.clock.now_ms()).ok_or_else(void)?;
        let role = self.look(|cache| Ok(cache.user(&ticket.user).map(|user| user.role)))?.ok_or_else(void)?;
        let login = Login { user: ticket.user, role, version: ticket.version };
        if self.look(|cache| Ok(cache.is_current(&login)))? { Ok(login) } else { Err(void()) }
    }

    /// A ticket for a login.
    pub(crate) fn issue_ticket(&self, login: &Login) -> Vec<u8> {
        let issued_at = self.region.clock.now_ms();
        self.tickets.issue(&Ticket { user: login.user.clone(), version: login.version, issued_at })
    }

    /// The password and version of a user of this role.
    fn find_user(&self, name: &str, role: Role) -> Result<Option<(PasswordHash, u64)>, Failure> {
        self.look(|cache| {
            if !cache.is_activated() {
                let message = "The cluster has no admin password yet. Run: cluster activate";
                return Err(refusal(CKR_USER_PIN_NOT_INITIALIZED, message));
            }
            let kept = cache.users.get(name).filter(|kept| kept.value.role == role);
            Ok(kept.and_then(|kept| kept.value.password.clone().map(|hash| (hash, kept.version))))
        })
    }

    /// Reserves a try of a user whose record has this version.
    fn reserve(&self, name: &str, version: u64) -> Result<Reservation, Failure> {
        let mut reservation = Reservation::Stale;
        let now_ms = self.region.clock.now_ms();
        self.region
            .rows
            .write(&mut |tx| {
                reservation = match self.stored_version(tx, name)? {
                    Some(stored) if stored == version => {
                        Reservation::Try(tx.reserve_login(&self.id, name, TRIES, now_ms)?)
                    }
                    _ => Reservation::Stale,
                };
                Ok(())
            })
            .map_err(|error| vault_failed(&error))?;
        Ok(reservation)
    }

    /// Forgives a user's tries, if his record still has this version; whether it had.
    fn forgive(&self, name: &str, version: u64) -> Result<bool, Failure> {
        let mut is_forgiven = false;
        self.region
            .rows
            .write(&mut |tx| {
                is_forgiven = self.stored_version(tx, name)? == Some(version);
                if is_forgiven { tx.clear_login(&self.id, name) } else { Ok(()) }
            })
            .map_err(|error| vault_failed(&error))?;
        Ok(is_forgiven)
    }

    fn stored_version(&self, tx: &mut dyn VaultTx, name: &str) -> Result<Option<u64>, RowsError> {
        let epoch = tx.cluster(&self.id)?.map_or(0, |row| row.epoch);
        Ok(tx.users(&self.id, epoch)?.into_iter().find(|row| row.user == name).map(|row| row.version))
    }

    /// Waits until no other try of the user is under way on this host.
    fn turn<'a>(&'a self, name: &'a str) -> Turn<'a> {
        let trying = lock(&self.trying);
        let mut trying =
            self.tried.wait_while(trying, |trying| trying.contains(name)).unwrap_or_else(PoisonError::into_inner);
        trying.insert(name.to_owned());
        Turn { cluster: self, name }
    }
}

/// A user's turn to try, given back when dropped.
struct Turn<'a> {
    cluster: &'a Cluster,
    name: &'a str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.cluster.trying).remove(self.name);
        self.cluster.tried.notify_all();
    }
}

/// AWS's sentence, with the tries that are left where the user exists.
fn incorrect(tries_left: Option<u32>) -> Failure {
    let left = match tries_left {
        None => String::new(),
        Some(0) => " No tries left.".into(),
        Some(1) => " 1 try left.".into(),
        Some(n) => format!(" {n} tries left."),
    };
    refusal(CKR_PIN_INCORRECT, format!("Incorrect authentication credentials.{left}"))
}

fn locked(name: &str, role: Role, since_ms: i64) -> Failure {
    let since = DateTime::from_unix_duration(Duration::from_millis(since_ms.try_into().unwrap_or_default()));
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let role = role.as_str();
    refusal(
        CKR_PIN_LOCKED,
        format!(
            "User {name} is locked{since}, after {TRIES} wrong passwords. An admin unlocks it: user change-password --username \
             {name} --role {role}"
        ),
    )
}
