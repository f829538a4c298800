//! Owns what all parts of a region's host share: who the region is, its roots, and the seams to vault, time and randomness.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster_key::ClusterKeys;
use crate::head::Head;
use crate::root::Roots;
use crate::rows::{ClusterRow, Rows, RowsError};
use crate::seal::Damaged;
use crate::seam::{Bell, Clock, Rng};

/// The outbox kind for a cluster whose admin has a password.
pub const ACTIVATED: &str = "activated";
/// The outbox kind for a cluster whose users or keys changed; its data is the head version.
pub const CHANGED: &str = "changed";
/// The outbox kind for damage; its data is the description, empty once the damage is gone.
pub const HEALTH: &str = "health";

/// One region on this host.
#[derive(Debug)]
pub struct Region {
    /// The RegionId.
    pub region_id: String,
    /// The loaded roots.
    pub roots: Roots,
    /// The vault.
    pub rows: Arc<dyn Rows>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub rng: Arc<dyn Rng>,
    /// Wakes those who wait for outbox rows.
    pub bell: Bell,
    /// What was told last of each cluster's health.
    health: Mutex<HashMap<String, Option<String>>>,
    /// The highest head accepted of each cluster.
    heads: Mutex<HashMap<String, Head>>,
}

impl Region {
    pub(crate) fn new(
        region_id: String,
        roots: Roots,
        rows: Arc<dyn Rows>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        let (health, heads) = (Mutex::default(), Mutex::default());
        Self { region_id, roots, rows, clock, rng, bell: Bell::default(), health, heads }
    }

    /// Opens the keys of a cluster.
    ///
    /// # Errors
    /// [`Damaged`] if they do not open.
    pub fn keys(&self, row: &ClusterRow) -> Result<ClusterKeys, Damaged> {
        ClusterKeys::open(&self.roots, &self.region_id, row)
    }

    /// Tells the control plane of damage in a cluster (`Some`) or of its soundness (`None`), where that is not what this
    /// process told last. The first word after a start is always told: damage may have been mended meanwhile.
    ///
    /// # Errors
    /// The vault's failure; then nothing was told.
    pub fn report_health(&self, cluster: &str, damage: Option<&str>) -> Result<(), RowsError> {
        let mut told = lock(&self.health);
        let damage = damage.map(str::to_owned);
        if told.get(cluster) == Some(&damage) {
            return Ok(());
        }
        self.rows.write(&mut |tx| tx.put_outbox(cluster, HEALTH, damage.as_deref().unwrap_or_default()))?;
        told.insert(cluster.to_owned(), damage);
        self.bell.ring();
        Ok(())
    }

    /// What this process told last of a cluster's health: damage, or that it is sound; `None` before the first word.
    pub fn told_health(&self, cluster: &str) -> Option<Option<String>> {
        lock(&self.health).get(cluster).cloned()
    }

    /// The highest head accepted so far: looked up before a transaction reads the head, given to [`Self::accept_head`] with
    /// what it read.
    pub fn highest_head(&self, cluster: &str) -> Option<Head> {
        lock(&self.heads).get(cluster).cloned()
    }

    /// Accepts a head unless it is lower than `highest`, or another of the same version. This lasts as long as the process;
    /// the roll-back of a vault under a stopped host is not detected.
    ///
    /// # Errors
    /// [`Damaged`] if the vault went back.
    pub fn accept_head(&self, cluster: &str, highest: Option<&Head>, head: &Head) -> Result<(), Damaged> {
        if let Some(highest) = highest
            && (head.version < highest.version || head.version == highest.version && head != highest)
        {
            let (found, seen) = (head.version, highest.version);
            return Err(Damaged(format!("the vault of {cluster} went back: its head is {found}, {seen} was seen")));
        }
        let mut heads = lock(&self.heads);
        // A transaction that began later may have been accepted meanwhile.
        if heads.get(cluster).is_none_or(|accepted| accepted.version < head.version) {
            heads.insert(cluster.to_owned(), head.clone());
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
