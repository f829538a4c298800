//! Owns one cluster as its HSMs on this host serve it: a cache of its users and live keys, read through the sealed rows of
//! the vault and held against their head. All HSMs of a cluster on a host share one [`Cluster`].
//!
//! Looking takes a read lock for as long as a look in a map; no key is ever used under a lock. A change is sealed, committed,
//! applied to the cache, and only then answered (`write`). What does not match its head makes the cluster damaged: every
//! call is refused until [`Cluster::reload`] finds it sound. A head lower than one served before is damage too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use strongroom_link::hsm::{Failure, Role};
use strongroom_link::pkcs11::*;

use crate::head::Head;
use crate::key::Class;
use crate::object::Object;
use crate::password::PasswordHasher;
use crate::refusal::refusal;
use crate::region::Region;
use crate::rows::RowsError;
use crate::seal::{Damaged, RowSealer};
use crate::ticket::TicketKey;
use crate::user::User;

mod load;
mod login;
mod write;

pub(crate) use login::TRIES;
pub(crate) use write::{Change, Edit, RequestName};

/// Hears of damage.
pub trait Health: Send + Sync + fmt::Debug {
    /// The cluster was read, and is damaged or, with `None`, sound. The text names a place, never a content.
    fn report(&self, cluster: &str, damage: Option<&str>);
}

impl Health for Region {
    /// Tells the control plane, by the outbox.
    fn report(&self, cluster: &str, damage: Option<&str>) {
        if let Err(error) = self.report_health(cluster, damage) {
            tracing::error!(cluster, damage, %error, "the health of a cluster cannot be reported");
        }
    }
}

/// Why a cluster cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The vault failed.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The cluster's keys do not open.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The vault does not have the cluster, has only its tombstone, or is still installing it.
    #[error("the vault has no cluster {0} that can be served")]
    Absent(String),
}

/// A cluster that is served.
pub struct Cluster {
    id: String,
    region: Arc<Region>,
    passwords: Arc<PasswordHasher>,
    health: Arc<dyn Health>,
    sealer: RowSealer,
    tickets: TicketKey,
    state: RwLock<State>,
    /// Held by whoever writes or reloads, so that writers of one host do not make each other's attempts void.
    writing: Mutex<()>,
    /// Users whose password is being tried, each at most once at a time.
    trying: Mutex<BTreeSet<String>>,
    tried: Condvar,
}

/// What is known of the rows.
enum State {
    /// They are in memory.
    Serving(Box<Cache>),
    /// Whether memory is right is not known; they are read again at the next look.
    Unknown,
    /// They are damaged: why.
    Damaged(String),
    /// The cluster is destroyed.
    Gone,
}

/// A cluster's rows, opened.
pub(crate) struct Cache {
    head: Head,
    epoch: u64,
    mode: String,
    is_activated: bool,
    users: BTreeMap<String, Kept<User>>,
    objects: BTreeMap<Ulong, Kept<Arc<Object>>>,
}

/// What a row holds, and the row's part in the head.
struct Kept<T> {
    value: T,
    version: u64,
    term: [u8; 32],
}

/// A user bound to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) role: Role,
    /// The version of the user's record; a new password makes it void.
    pub(crate) version: u64,
}

impl Login {
    /// Whether the user may see the object: his own keys and public ones; an admin all, since he sets `trusted`.
    pub(crate) fn sees(&self, object: &Object) -> bool {
        self.role == Role::Admin || self.owns(object) || object.key().class() == Class::Public
    }

    /// Whether the object is the user's.
    pub(crate) fn owns(&self, object: &Object) -> bool {
        object.owner() == self.user
    }
}

impl Cluster {
    /// Reads a cluster to serve it. One with damaged rows is opened too: it refuses every call. All clusters of a host
    /// share one [`PasswordHasher`], which bounds what hashing may take.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        region: &Arc<Region>,
        cluster: &str,
        passwords: &Arc<PasswordHasher>,
        health: &Arc<dyn Health>,
    ) -> Result<Arc<Self>, OpenError> {
        let absent = || OpenError::Absent(cluster.to_owned());
        let mut row = None;
        region.rows.read(&mut |tx| {
            row = tx.cluster(cluster)?;
            Ok(())
        })?;
        let row = row.filter(load::can_be_served).ok_or_else(absent)?;
        let keys = region.keys(&row)?;
        let opened = Self {
            id: cluster.to_owned(),
            region: Arc::clone(region),
            passwords: Arc::clone(passwords),
            health: Arc::clone(health),
            sealer: keys.cluster_key.rows(&region.region_id, cluster),
            tickets: TicketKey::new(&keys.cluster_key.tickets(cluster)),
            state: RwLock::new(State::Unknown),
            writing: Mutex::new(()),
            trying: Mutex::new(BTreeSet::new()),
            tried: Condvar::new(),
        };
        opened.reload()?;
        if matches!(*opened.state(), State::Gone) { Err(absent()) } else { Ok(Arc::new(opened)) }
    }

    /// The ClusterId.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads all rows again, after a repair.
    ///
    /// # Errors
    /// The vault failed.
    pub fn reload(&self) -> Result<(), RowsError> {
        let _writing = lock(&self.writing);
        self.load()
    }

    /// Forgets every key, after the cluster was destroyed.
    pub fn close(&self) {
        let _writing = lock(&self.writing);
        self.put(State::Gone);
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    pub(crate) fn passwords(&self) -> &PasswordHasher {
        &self.passwords
    }

    pub(crate) fn tickets(&self) -> &TicketKey {
        &self.tickets
    }

    /// Looks into the cache. Whatever takes long must be done afterwards.
    ///
    /// # Errors
    /// The cluster is damaged or gone, or what `look` returns.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Cache) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut state = self.state();
        if matches!(*state, State::Unknown) {
            drop(state);
            self.reload().map_err(|error| vault_failed(&error))?;
            state = self.state();
        }
        match &*state {
            State::Serving(cache) => look(cache),
            State::Damaged(damage) => Err(refusal(
                CKR_DEVICE_ERROR,
                format!("{} is DEGRADED and serves nothing until it is repaired: {damage}", self.id),
            )),
            State::Gone => Err(refusal(CKR_DEVICE_ERROR, format!("{} was deleted", self.id))),
            State::Unknown => Err(refusal(CKR_DEVICE_ERROR, "The HSM is being read from its vault. Try again.")),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl Cache {
    pub(crate) fn mode(&self) -> &str {
        &self.mode
    }

    pub(crate) fn is_activated(&self) -> bool {
        self.is_activated
    }

    /// The version that the next write makes.
    pub(crate) fn next_version(&self) -> u64 {
        self.head.version + 1
    }

    /// Whether the login's user is as he was when he logged in.
    pub(crate) fn is_current(&self, login: &Login) -> bool {
        self.users.get(&login.user).is_some_and(|user| user.version == login.version)
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name).map(|user| &user.value)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values().map(|user| &user.value)
    }

    pub(crate) fn object(&self, handle: Ulong) -> Option<&Arc<Object>> {
        self.objects.get(&handle).map(|object| &object.value)
    }

    /// By ascending handle.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values().map(|object| &object.value)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a caller hears when the vault failed before anything was changed.
pub(crate) fn vault_failed(error: &RowsError) -> Failure {
    match error {
        RowsError::Full => refusal(CKR_DEVICE_MEMORY, "Nothing was changed: the store is full."),
        RowsError::Failed(cause) => {
            tracing::error!(cause, "the vault failed");
            refusal(CKR_DEVICE_ERROR, "Nothing was changed: the HSM's vault failed. Try again.")
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
