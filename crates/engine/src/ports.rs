//! Owns the seams through which the engine meets the world: [`Clock`], [`Rng`], [`Spawn`], [`Signer`], [`Hsms`] and [`Peers`] (the
//! store's are in its crate). Nothing else in this crate takes the time, draws a number, starts a task, reaches an HSM
//! host or a peer, so that a test can stand in for each of them and regions can be simulated on one thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use minicbor::{Decode, Encode};
use strongroom_model::cluster::ClusterMode;
use strongroom_model::{AccountId, BackupId, ClusterId, CopyId, HsmId, RegionId, RegionName, Timestamp};

use crate::copy::message::{Answer, Message};

/// The time, and waiting for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, by the clock on the wall. It may jump.
    fn now(&self) -> Timestamp;
    /// Returns after `duration` of a clock that does not jump.
    async fn sleep(&self, duration: Duration);
}

/// Random bytes, good enough for ids that must not be guessed.
pub trait Rng: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// Starts tasks that nobody waits for.
pub trait Spawn: Send + Sync {
    /// Runs the future to its end, beside everything else.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Signs the audit trail, with a key (Ed25519) that a region has for this alone.
pub trait Signer: Send + Sync {
    /// The signature of a message.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
    /// The public key, 32 bytes.
    fn public_key(&self) -> Vec<u8>;
}

/// Why a call of the HSM host failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsmsError {
    /// What it means.
    pub code: HsmsCode,
    /// The sentence for people.
    pub text: String,
}

impl HsmsError {
    /// An error.
    pub fn new(code: HsmsCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl fmt::Display for HsmsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.text)
    }
}

impl std::error::Error for HsmsError {}

/// What a failure of the HSM host means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HsmsCode {
    /// Again later: the host does not answer.
    HostDown,
    /// Again later: too much under way.
    Busy,
    /// Again later: the vault is full.
    NoSpace,
    /// Again later: the vault failed.
    VaultFailed,
    /// Again with a new envelope: the key it is wrapped to is retired.
    KeyRetired,
    /// Again later: the key that signed it is not pinned here.
    KeyUnknown,
    /// Again later: the host's files do not pin the destination.
    Unpinned,
    /// Final: the same row was made from other input.
    Conflict,
    /// Final: removed for good.
    Gone,
    /// Final: the vault lacks the cluster, which is damage.
    Unknown,
    /// Final: bytes are not what their seal or digest says.
    Damaged,
    /// Final: sealed rightly, but what is inside is no backup.
    DoesNotOpen,
    /// Final: an envelope that its peer did not sign, or about something else.
    Rejected,
    /// Final: the input is not valid; the text is for the caller.
    Invalid,
}

impl HsmsCode {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::HostDown
                | Self::Busy
                | Self::NoSpace
                | Self::VaultFailed
                | Self::KeyRetired
                | Self::KeyUnknown
                | Self::Unpinned
        )
    }

    /// The reason code that people and rows see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostDown => "hsm-host-down",
            Self::Busy => "busy",
            Self::NoSpace => "no-space",
            Self::VaultFailed => "vault-failed",
            Self::KeyRetired => "key-retired",
            Self::KeyUnknown => "key-unknown",
            Self::Unpinned => "no-trust",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
            Self::Damaged => "damaged",
            Self::DoesNotOpen => "does-not-open",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
        }
    }
}

/// A new cluster's CSR and the certificates that vouch for its key; all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// ClusterCsr.
    pub csr: String,
    /// HsmCertificate.
    pub hsm_certificate: String,
    /// AwsHardwareCertificate.
    pub hardware_certificate: String,
    /// ManufacturerHardwareCertificate.
    pub manufacturer_certificate: String,
}

/// Where clients reach an HSM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Whether the EniIp itself is bound.
    pub bound: bool,
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
    /// SHA-256 of the SubjectPublicKeyInfo that the certificate there shows.
    pub key_digest: [u8; 32],
}

/// What a manifest's body says about its backup. READY needs these proved and equal to the announced ones.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Facts {
    /// RegionId where the snapshot was made.
    #[n(0)]
    pub origin: String,
    /// The backup there.
    #[n(1)]
    pub backup: String,
    /// The cluster there.
    #[n(2)]
    pub cluster: String,
    /// The lineage of its cluster key.
    #[n(3)]
    pub lineage: String,
    /// `FIPS` or `NON_FIPS`.
    #[n(4)]
    pub mode: String,
    /// `hsm2m.medium`.
    #[n(5)]
    pub hsm_type: String,
    /// CreateTimestamp, milliseconds since 1970.
    #[n(6)]
    pub created_at: i64,
    /// Users in it.
    #[n(7)]
    pub users: u32,
    /// Keys in it.
    #[n(8)]
    pub keys: u32,
    /// Bytes of the sealed payload.
    #[n(9)]
    pub bytes: u64,
    /// Bytes of each sealed chunk but the last.
    #[n(10)]
    pub chunk_size: u32,
    /// SHA-256 of each sealed chunk, one after the other.
    #[cbor(n(11), with = "minicbor::bytes")]
    pub chunk_digests: Vec<u8>,
    /// D: SHA-256 of the body.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub digest: [u8; 32],
    /// The cluster certificate, PEM.
    #[n(13)]
    pub cluster_certificate: String,
}

impl Facts {
    /// How many chunks the payload has.
    pub fn chunks(&self) -> u32 {
        (self.chunk_digests.len() / 32) as u32
    }

    /// The digest of chunk `n`; `None` if there is none.
    pub fn chunk_digest(&self, n: u32) -> Option<&[u8]> {
        self.chunk_digests.chunks_exact(32).nth(n as usize)
    }

    /// The form in a row.
    pub fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to memory does not fail")
    }

    /// Reads the form in a row.
    ///
    /// # Errors
    /// For bytes that are no facts.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, minicbor::decode::Error> {
        minicbor::decode(bytes)
    }
}

/// A snapshot's manifest and key; its chunks went to the sink.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The manifest's body.
    pub body: Vec<u8>,
    /// The data key, sealed under this region's root.
    pub header: Vec<u8>,
    /// What the body says.
    pub facts: Facts,
}

/// A peer's backup whose data key now is sealed under this region's root.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The data key, sealed under this region's root.
    pub header: Vec<u8>,
    /// What the body says; proved if the payload came along.
    pub facts: Facts,
}

/// Something that happened on the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number.
    pub seq: u64,
    /// The cluster.
    pub cluster: ClusterId,
    /// What happened.
    pub event: OutboxEvent,
}

/// The kinds of outbox rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxEvent {
    /// The admin has a password.
    Activated,
    /// Users or keys changed.
    Changed(u64),
    /// Damage found (what), or gone.
    Health(Option<String>),
}

/// Takes the chunks of a snapshot, in order.
#[async_trait]
pub trait ChunkSink: Send {
    /// Takes chunk `n`. An error ends the snapshot.
    async fn put(&mut self, n: u32, bytes: Vec<u8>) -> Result<(), HsmsError>;
}

/// Gives the chunks of a payload, in order.
#[async_trait]
pub trait ChunkSource: Send {
    /// Gives the next chunk, `None` after the last. An error ends the call with it.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, HsmsError>;
}

/// The HSM host of this region. Calls that write are idempotent by the row they make, and removal leaves a tombstone for
/// good, so that each may be repeated, also late.
#[async_trait]
pub trait Hsms: Send + Sync {
    /// Makes key pair and CSR of a new cluster.
    async fn create_identity(
        &self,
        cluster: &ClusterId,
        mode: ClusterMode,
        first_hsm: &HsmId,
    ) -> Result<Identity, HsmsError>;
    /// Checks what InitializeCluster brings; [`HsmsCode::Invalid`] carries the sentence for the caller.
    async fn check_certificates(&self, csr: &str, signed_cert: &str, trust_anchor: &str) -> Result<(), HsmsError>;
    /// Installs checked certificates.
    async fn install_certificate(
        &self,
        cluster: &ClusterId,
        signed_cert: &str,
        trust_anchor: &str,
    ) -> Result<(), HsmsError>;
    /// Serves an HSM at an address, or says where it is served already.
    async fn serve(&self, cluster: &ClusterId, hsm: &HsmId, address: &str) -> Result<Served, HsmsError>;
    /// Serves an HSM no longer, for good.
    async fn withdraw(&self, cluster: &ClusterId, hsm: &HsmId) -> Result<(), HsmsError>;
    /// Writes a snapshot under a new data key. A repeat is a new snapshot.
    async fn snapshot(
        &self,
        cluster: &ClusterId,
        backup: &BackupId,
        hsm_type: &str,
        created_at: Timestamp,
        sink: &mut dyn ChunkSink,
    ) -> Result<Snapshot, HsmsError>;
    /// Opens a stored payload and checks everything in it.
    async fn check(&self, header: &[u8], body: &[u8], source: &mut dyn ChunkSource) -> Result<Facts, HsmsError>;
    /// Wraps a data key to a pinned peer.
    async fn rewrap(
        &self,
        copy: &CopyId,
        backup: &BackupId,
        header: &[u8],
        body: &[u8],
        destination: &RegionId,
    ) -> Result<Vec<u8>, HsmsError>;
    /// Verifies a peer's envelope and re-seals its data key; with the payload, checks that too.
    async fn admit(
        &self,
        peer: &RegionId,
        copy: &CopyId,
        envelope: &[u8],
        body: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<Admitted, HsmsError>;
    /// Makes a cluster from a payload of `chunks` pieces.
    async fn install(
        &self,
        cluster: &ClusterId,
        header: &[u8],
        body: &[u8],
        source: &mut dyn ChunkSource,
    ) -> Result<Facts, HsmsError>;
    /// Removes everything of a cluster, for good.
    async fn destroy(&self, cluster: &ClusterId) -> Result<(), HsmsError>;
    /// Waits up to `wait` for outbox rows with a number above `cursor`.
    async fn outbox_read(&self, cursor: u64, wait: Duration) -> Result<Vec<OutboxRow>, HsmsError>;
    /// Deletes outbox rows with numbers up to `seq`.
    async fn outbox_ack(&self, seq: u64) -> Result<(), HsmsError>;
    /// Whether the host answered the last time it was asked.
    fn is_up(&self) -> bool;
}

/// A region that this one is paired with, as its files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: RegionName,
    /// What it is.
    pub region_id: RegionId,
    /// The accounts whose copies are taken from it; all of them where none is named.
    pub accounts: Option<Vec<AccountId>>,
}

impl Peer {
    /// Whether copies of an account are taken from it.
    pub fn may_send_for(&self, account: &str) -> bool {
        self.accounts.as_ref().is_none_or(|accounts| accounts.iter().any(|accepted| accepted.as_str() == account))
    }
}

/// A peer that did not answer; the text says how and from when.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerDown(pub String);

/// The paired regions.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Those that the files name now.
    fn list(&self) -> Vec<Peer>;
    /// A connection to a peer: the open one, or a new one. Mutual TLS has proved both RegionIds.
    async fn connect(&self, peer: &RegionId) -> Result<Arc<dyn PeerConnection>, PeerDown>;
}

/// An open connection to a peer; many messages may be under way at once.
#[async_trait]
pub trait PeerConnection: Send + Sync {
    /// Told apart from every earlier connection of this process.
    fn number(&self) -> u64;
    /// Asks and waits for the answer. After an error the connection is of no further use.
    async fn ask(&self, message: Message) -> Result<Answer, PeerDown>;
}
