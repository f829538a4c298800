//! Owns what the host knows of other regions. Pins come from the host's own files, never from a database, so that nobody
//! who holds the control plane can have a backup wrapped to a key of his own.

use std::fmt;

/// A region that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its name, for people.
    pub name: String,
    /// Its RegionId.
    pub region_id: String,
    /// Its X-Wing public keys, raw; backups are wrapped to the first.
    pub hpke_keys: Vec<Vec<u8>>,
    /// Its Ed25519 public keys, raw; any of them may have signed.
    pub identity_keys: Vec<Vec<u8>>,
}

/// The pinned regions, looked up on each use: a pin that is removed holds from then on.
pub trait Pins: Send + Sync + fmt::Debug {
    /// The pin of a region, if it has one.
    fn pin(&self, region_id: &str) -> Option<Pin>;
}

impl Pins for Vec<Pin> {
    fn pin(&self, region_id: &str) -> Option<Pin> {
        self.iter().find(|pin| pin.region_id == region_id).cloned()
    }
}
