//! Owns the seam to the vault: what the HSM asks of whoever keeps its rows. The binary implements it over the store; tests
//! use [`memory::MemoryRows`]. Everything secret in a row is sealed before it comes here. A write is one transaction:
//! either all of a closure's changes are durable when [`Rows::write`] returns, or none is.

use std::fmt;

pub mod memory;

/// Why the vault did not answer. Typed, since a full disk is told apart from a broken one.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// No room; the same write may succeed later.
    #[error("the vault is full")]
    Full,
    /// Anything else; the caller's memory of the rows is void.
    #[error("the vault failed: {0}")]
    Failed(String),
}

/// The vault of one region.
pub trait Rows: Send + Sync + fmt::Debug {
    /// Runs the closure in one transaction that only reads, on one consistent state.
    ///
    /// # Errors
    /// What the closure returned, or the vault's failure.
    fn read(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError>;

    /// Runs the closure in one transaction and commits it durably; rolled back if the closure fails. The closure may be
    /// run again from its start, so it keeps no effect but its last run's.
    ///
    /// # Errors
    /// What the closure returned, or the vault's failure.
    fn write(&self, closure: &mut dyn FnMut(&mut dyn VaultTx) -> Result<(), RowsError>) -> Result<(), RowsError>;
}

/// vault.meta: which region this vault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaRow {
    /// The RegionId.
    pub region_id: String,
    /// Fingerprints of the roots that this vault knows.
    pub roots: Vec<String>,
}

/// The states of a vault cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// Being installed from a backup; its rows are staged under its epoch and nothing may use them.
    Installing,
    /// Has a key pair and a CSR.
    Made,
    /// Has its certificates.
    Initialized,
    /// Its admin has a password.
    Active,
    /// Gone for good; the tombstone.
    Destroyed,
}

impl ClusterState {
    /// The text in the row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Installing => "installing",
            Self::Made => "made",
            Self::Initialized => "initialized",
            Self::Active => "active",
            Self::Destroyed => "destroyed",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Installing, Self::Made, Self::Initialized, Self::Active, Self::Destroyed]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// vault.clusters. Public parts are plain, secret ones sealed under the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRow {
    /// The cluster.
    pub cluster: String,
    /// Its state.
    pub state: ClusterState,
    /// Raised by each installation; rows of a lower epoch are nobody's.
    pub epoch: u64,
    /// SHA-256 of the input that made it, so that a repeat is told from another input.
    pub input_digest: Vec<u8>,
    /// The lineage of its cluster key.
    pub lineage: String,
    /// `FIPS` or `NON_FIPS`.
    pub mode: String,
    /// Cluster key and key pair, sealed under the root that the header names.
    pub sealed_keys: Vec<u8>,
    /// The CSR, PEM.
    pub csr: String,
    /// HsmCertificate, hardware and manufacturer certificate, PEM.
    pub hardware_certificates: Vec<String>,
    /// ClusterCertificate, PEM; empty before InitializeCluster.
    pub cluster_certificate: String,
    /// The customer CA, PEM; empty before InitializeCluster.
    pub trust_anchor: String,
}

/// vault.heads: the sealed sum over a cluster's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRow {
    /// Raised by one with each write.
    pub version: u64,
    /// Version, count and digest under the cluster's row key.
    pub sealed: Vec<u8>,
}

/// vault.objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// The object id, which is its handle.
    pub object: u64,
    /// The head version that wrote it.
    pub version: u64,
    /// The sealed record.
    pub sealed: Vec<u8>,
}

/// vault.users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// Lower case.
    pub user: String,
    /// The head version that wrote it.
    pub version: u64,
    /// The sealed record.
    pub sealed: Vec<u8>,
}

/// vault.hsms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsmRow {
    /// The HSM.
    pub hsm: String,
    /// Its cluster.
    pub cluster: String,
    /// Its EniIp; empty in a tombstone of an HSM that was never served.
    pub address: String,
    /// Whether it was withdrawn, for good.
    pub withdrawn: bool,
}

/// vault.requests: the result of a mutating call, for 24 hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// SHA-256 of the call's public input.
    pub input_digest: Vec<u8>,
    /// The encoded answer; nothing secret.
    pub result: Vec<u8>,
}

/// vault.outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number.
    pub seq: u64,
    /// The cluster.
    pub cluster: String,
    /// `activated`, `changed` or `health`.
    pub kind: String,
    /// The head version, or the damage.
    pub data: String,
}

/// What became of a login try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginTry {
    /// It is counted: so many are spent now.
    Spent(u32),
    /// Not counted: the last one that was had this time, in milliseconds since 1970.
    Locked(i64),
}

/// The rows, inside a transaction.
pub trait VaultTx {
    /// The meta row; `None` in a new vault.
    fn meta(&mut self) -> Result<Option<MetaRow>, RowsError>;
    /// Writes the meta row.
    fn put_meta(&mut self, row: &MetaRow) -> Result<(), RowsError>;

    /// A cluster, tombstones too.
    fn cluster(&mut self, cluster: &str) -> Result<Option<ClusterRow>, RowsError>;
    /// All clusters, tombstones too.
    fn clusters(&mut self) -> Result<Vec<ClusterRow>, RowsError>;
    /// Writes a cluster row, whatever was there.
    fn put_cluster(&mut self, row: &ClusterRow) -> Result<(), RowsError>;

    /// The head of a cluster.
    fn head(&mut self, cluster: &str) -> Result<Option<HeadRow>, RowsError>;
    /// Writes the first head, or replaces the one of version `row.version - 1`; false if another version is there.
    fn compare_and_set_head(&mut self, cluster: &str, row: &HeadRow) -> Result<bool, RowsError>;
    /// Writes the head whatever was there: only at the end of an installation.
    fn put_head(&mut self, cluster: &str, row: &HeadRow) -> Result<(), RowsError>;

    /// Objects of an epoch by ascending id, those after `after`, at most `limit`.
    fn objects(
        &mut self,
        cluster: &str,
        epoch: u64,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ObjectRow>, RowsError>;
    /// Inserts or replaces an object.
    fn put_object(&mut self, cluster: &str, epoch: u64, row: &ObjectRow) -> Result<(), RowsError>;
    /// Deletes an object; whether it was there.
    fn delete_object(&mut self, cluster: &str, epoch: u64, object: u64) -> Result<bool, RowsError>;

    /// Users of an epoch, by version and name.
    fn users(&mut self, cluster: &str, epoch: u64) -> Result<Vec<UserRow>, RowsError>;
    /// Inserts or replaces a user.
    fn put_user(&mut self, cluster: &str, epoch: u64, row: &UserRow) -> Result<(), RowsError>;
    /// Deletes a user; whether it was there.
    fn delete_user(&mut self, cluster: &str, epoch: u64, user: &str) -> Result<bool, RowsError>;

    /// Deletes users and objects of all epochs but `keep`; `None` deletes all, and the head, logins and requests.
    fn delete_rows(&mut self, cluster: &str, keep: Option<u64>) -> Result<(), RowsError>;

    /// Reserves one login try at the time `now_ms`: counts it where fewer than `limit` are spent.
    fn reserve_login(&mut self, cluster: &str, user: &str, limit: u32, now_ms: i64) -> Result<LoginTry, RowsError>;
    /// Spent tries by user, those with any.
    fn logins(&mut self, cluster: &str) -> Result<Vec<(String, u32)>, RowsError>;
    /// Sets the tries of a user to 0.
    fn clear_login(&mut self, cluster: &str, user: &str) -> Result<(), RowsError>;

    /// An HSM, tombstones too.
    fn hsm(&mut self, hsm: &str) -> Result<Option<HsmRow>, RowsError>;
    /// All HSMs, tombstones too.
    fn hsms(&mut self) -> Result<Vec<HsmRow>, RowsError>;
    /// Inserts or replaces an HSM.
    fn put_hsm(&mut self, row: &HsmRow) -> Result<(), RowsError>;

    /// Replaces the row of (cluster, kind) under a new number.
    fn put_outbox(&mut self, cluster: &str, kind: &str, data: &str) -> Result<(), RowsError>;
    /// Rows with a number above `cursor`, ascending.
    fn outbox(&mut self, cursor: u64) -> Result<Vec<OutboxRow>, RowsError>;
    /// The highest number ever given.
    fn outbox_seq(&mut self) -> Result<u64, RowsError>;
    /// Deletes rows with numbers up to `seq`.
    fn ack_outbox(&mut self, seq: u64) -> Result<(), RowsError>;

    /// The result of an earlier call with this request id.
    fn request(&mut self, cluster: &str, user: &str, request: &[u8; 16]) -> Result<Option<RequestRow>, RowsError>;
    /// Keeps a result until `expires_at`, in milliseconds since 1970.
    fn put_request(
        &mut self,
        cluster: &str,
        user: &str,
        request: &[u8; 16],
        row: &RequestRow,
        expires_at: i64,
    ) -> Result<(), RowsError>;
    /// Deletes results that expired before `now`, at most `limit`.
    fn sweep_requests(&mut self, now: i64, limit: u32) -> Result<(), RowsError>;
}
