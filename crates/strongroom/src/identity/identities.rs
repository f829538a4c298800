//! Owns the identities that count now: one directory, and the sessions that were opened under it. A change of the account
//! files makes a new directory, all of it or nothing; what it cannot read keeps the one that was there.
//!
//! Whoever asks never waits for a file.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use strongroom_model::{ApiError, ErrorKind, Timestamp};
use tokio::task::JoinHandle;

use super::directory::{self, Directory, Role};
use super::files::{self, Fault, Marks};
use super::principal::Principal;
use super::seal::IdentityKey;
use super::session::{self, Grant, Issued};
use crate::layout::Layout;

/// How often the account files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Opened sessions that are kept.
const SESSIONS_KEPT: usize = 256;

/// The identities that count now.
pub struct Identities {
    folder: PathBuf,
    key: IdentityKey,
    now: RwLock<Arc<Snapshot>>,
    /// Of the files that were last looked at, whether they could be read or not.
    seen: Mutex<Marks>,
}

/// A directory with the sessions that were opened under it: they go with it.
#[derive(Debug)]
struct Snapshot {
    directory: Directory,
    sessions: RwLock<HashMap<TokenHash, Opened>>,
}

type TokenHash = [u8; 32];

#[derive(Clone, Debug)]
struct Opened {
    access_key_id: String,
    expires: i64,
    principal: Arc<Principal>,
}

impl Identities {
    /// Reads the account files of a data folder; there need not be any.
    ///
    /// # Errors
    /// The first fault.
    pub fn read(layout: &Layout) -> Result<Self, Fault> {
        let (folder, key) = (layout.identity(), IdentityKey::at(layout.identity_key()));
        // Before they are read, so that what changes meanwhile is read again.
        let seen = files::marks(&folder).unwrap_or_default();
        let now = RwLock::new(Snapshot::of(directory::read(&folder, &key)?));
        Ok(Self { folder, key, now, seen: Mutex::new(seen) })
    }

    /// Whom an access key speaks for, with the token that came along; `None` if there is none, or it is another's.
    ///
    /// # Errors
    /// `ExpiredTokenException`
    pub fn find(
        &self,
        access_key_id: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, ApiError> {
        let snapshot = self.snapshot();
        match token {
            None => Ok(snapshot.directory.find(access_key_id)),
            Some(token) => self.session(&snapshot, access_key_id, token, now),
        }
    }

    /// The role of an ARN.
    pub fn role(&self, arn: &str) -> Option<Arc<Role>> {
        self.snapshot().directory.role(arn)
    }

    /// Gives out the credentials of a session.
    ///
    /// # Errors
    /// An internal failure, where the identity key cannot be read or made.
    pub fn issue(&self, grant: &Grant) -> Result<Issued, ApiError> {
        session::issue(&self.key, grant).map_err(|e| ApiError::internal("No session was made. Repeat the call.", e))
    }

    /// Reads the files anew if they have changed; says whether that made a difference.
    pub(super) fn refresh(&self) -> bool {
        let marks = match files::marks(&self.folder) {
            Ok(marks) => marks,
            // A file that was just taken away is not there at the next look.
            Err(_) => return false,
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == marks {
            return false;
        }
        *seen = marks;
        match directory::read(&self.folder, &self.key) {
            Ok(directory) => {
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Snapshot::of(directory);
                tracing::info!(kind = "identity", "the account files were read anew");
                true
            }
            Err(fault) => {
                tracing::error!(kind = "identity", "the account files stay as they were: {fault}");
                false
            }
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn session(
        &self,
        snapshot: &Snapshot,
        access_key_id: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Principal>>, ApiError> {
        if !access_key_id.starts_with(session::PREFIX) {
            return Ok(None);
        }
        let hash = hash(token);
        let opened = match snapshot.kept(&hash) {
            Some(opened) => opened,
            None => {
                let read = session::open(&self.key, access_key_id, token)
                    .map_err(|e| ApiError::internal("The session token cannot be read now. Repeat the call.", e))?;
                let Some((secret, grant)) = read else { return Ok(None) };
                refuse_expired(grant.expires, now)?;
                let Some(principal) = snapshot.directory.session(&grant, secret) else { return Ok(None) };
                let (access_key_id, expires) = (access_key_id.to_owned(), grant.expires);
                snapshot.keep(hash, Opened { access_key_id, expires, principal: Arc::new(principal) })
            }
        };
        if opened.access_key_id != access_key_id {
            return Ok(None);
        }
        refuse_expired(opened.expires, now)?;
        Ok(Some(opened.principal))
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Snapshot {
    fn of(directory: Directory) -> Arc<Self> {
        Arc::new(Self { directory, sessions: RwLock::default() })
    }

    fn kept(&self, hash: &TokenHash) -> Option<Opened> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    /// Keeps a session, or gives the one that another request has kept meanwhile.
    fn keep(&self, hash: TokenHash, opened: Opened) -> Opened {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS_KEPT
            && let Some(first_to_end) = sessions.iter().min_by_key(|(_, opened)| opened.expires).map(|(hash, _)| *hash)
        {
            sessions.remove(&first_to_end);
        }
        sessions.entry(hash).or_insert(opened).clone()
    }
}

/// Looks at the account files until the task is cut.
pub fn watch(identities: Arc<Identities>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            let identities = identities.clone();
            let looked = tokio::task::spawn_blocking(move || identities.refresh()).await;
            if let Err(panic) = looked {
                tracing::error!(kind = "identity", "the account files could not be looked at: {panic}");
            }
        }
    })
}

fn refuse_expired(expires: i64, now: Timestamp) -> Result<(), ApiError> {
    match now.millis() >= expires {
        true => Err(ApiError::new(ErrorKind::ExpiredToken, "The security token included in the request is expired")),
        false => Ok(()),
    }
}

fn hash(token: &str) -> TokenHash {
    let mut hash = TokenHash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}
