//! Owns what the API process says to the HSM host, and what it hears. The host never calls back. A connection begins with
//! [`Call::Hello`], which binds it to one region; then it carries one call at a time.
//!
//! Three calls stream. [`Call::Snapshot`] is answered by [`Answer::Chunk`] frames in order, then [`Answer::Snapshot`].
//! [`Call::Check`] and [`Call::Install`] are followed by as many [`Chunk`] frames as the body counts, in order; the host
//! reads them all, also after it has found a fault, and then answers once. Calls that write are idempotent by the row
//! they make.

use minicbor::{Decode, Encode};

/// The version of this vocabulary; hosts and API processes of different versions refuse each other.
pub const VERSION: u32 = 1;

/// One call, named in the logs of both sides by `rid`.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Request {
    /// First 16 bytes of SHA-256("strongroom request" ‖ RegionId ‖ name ‖ parts).
    #[cbor(n(0), with = "minicbor::bytes")]
    pub rid: [u8; 16],
    /// What is asked.
    #[n(1)]
    pub call: Call,
}

/// A call of the host. Ids are AWS's texts; `header`, `body` and `envelope` are opaque to the caller.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Call {
    /// First on every connection.
    #[n(0)]
    Hello {
        /// [`VERSION`].
        #[n(0)]
        version: u32,
        /// The region's name, which chooses the vault.
        #[n(1)]
        region: String,
        /// The RegionId that the control store knows, if it knows one.
        #[n(2)]
        region_id: Option<String>,
        /// Fingerprints of the roots that the control store knows.
        #[n(3)]
        roots: Vec<String>,
        /// Whether the control store holds no cluster and no backup.
        #[n(4)]
        control_is_empty: bool,
    },
    /// Make key pair and CSR of a new cluster.
    #[n(1)]
    CreateIdentity {
        /// The cluster.
        #[n(0)]
        cluster: String,
        /// `FIPS` or `NON_FIPS`.
        #[n(1)]
        mode: String,
        /// The HSM that the CSR's subject names.
        #[n(2)]
        first_hsm: String,
    },
    /// Check what InitializeCluster brings, without writing.
    #[n(2)]
    CheckCertificates {
        /// The CSR, PEM.
        #[n(0)]
        csr: String,
        /// The cluster certificate, PEM.
        #[n(1)]
        signed_cert: String,
        /// The customer CA, PEM.
        #[n(2)]
        trust_anchor: String,
    },
    /// Install the checked certificates.
    #[n(3)]
    InstallCertificate {
        /// The cluster.
        #[n(0)]
        cluster: String,
        /// The cluster certificate, PEM.
        #[n(1)]
        signed_cert: String,
        /// The customer CA, PEM.
        #[n(2)]
        trust_anchor: String,
    },
    /// Serve an HSM at an address.
    #[n(4)]
    Serve {
        /// The cluster.
        #[n(0)]
        cluster: String,
        /// The HSM.
        #[n(1)]
        hsm: String,
        /// Its EniIp.
        #[n(2)]
        address: String,
    },
    /// Serve an HSM no longer; also leaves a tombstone where it never was.
    #[n(5)]
    Withdraw {
        /// The cluster.
        #[n(0)]
        cluster: String,
        /// The HSM.
        #[n(1)]
        hsm: String,
    },
    /// Write a snapshot of a cluster under a new data key.
    #[n(6)]
    Snapshot {
        /// The cluster.
        #[n(0)]
        cluster: String,
        /// The backup that it becomes.
        #[n(1)]
        backup: String,
        /// `hsm2m.medium`, for the manifest.
        #[n(2)]
        hsm_type: String,
        /// When the backup was asked for, in milliseconds since 1970, for the manifest.
        #[n(3)]
        created_at: i64,
    },
    /// Open a stored payload and check everything in it.
    #[n(7)]
    Check {
        /// The data key, sealed under this region's root.
        #[cbor(n(0), with = "minicbor::bytes")]
        header: Vec<u8>,
        /// The manifest's body.
        #[cbor(n(1), with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// Wrap a data key to another region's pinned key.
    #[n(8)]
    Rewrap {
        /// The copy.
        #[n(0)]
        copy: String,
        /// The backup at the source.
        #[n(1)]
        backup: String,
        /// The data key, sealed under this region's root.
        #[cbor(n(2), with = "minicbor::bytes")]
        header: Vec<u8>,
        /// The manifest's body.
        #[cbor(n(3), with = "minicbor::bytes")]
        body: Vec<u8>,
        /// RegionId of the destination.
        #[n(4)]
        destination: String,
    },
    /// Verify a peer's envelope and re-seal its data key under this region's root; with the payload, check that too.
    #[n(9)]
    Admit {
        /// RegionId of the source, as the link's TLS proved it.
        #[n(0)]
        peer: String,
        /// The envelope.
        #[cbor(n(1), with = "minicbor::bytes")]
        envelope: Vec<u8>,
        /// The manifest's body.
        #[cbor(n(2), with = "minicbor::bytes")]
        body: Vec<u8>,
        /// The copy that the envelope must name.
        #[n(3)]
        copy: String,
        /// The payload, where it is one piece.
        #[cbor(n(4), with = "minicbor::bytes")]
        payload: Option<Vec<u8>>,
    },
    /// Make a cluster from a payload.
    #[n(10)]
    Install {
        /// The new cluster.
        #[n(0)]
        cluster: String,
        /// The data key, sealed under this region's root.
        #[cbor(n(1), with = "minicbor::bytes")]
        header: Vec<u8>,
        /// The manifest's body.
        #[cbor(n(2), with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// Remove everything of a cluster, for good.
    #[n(11)]
    Destroy {
        /// The cluster.
        #[n(0)]
        cluster: String,
    },
    /// Wait for outbox rows after a cursor.
    #[n(12)]
    OutboxRead {
        /// The highest number already handled.
        #[n(0)]
        cursor: u64,
        /// How long to wait for a row, in milliseconds.
        #[n(1)]
        wait_ms: u32,
    },
    /// Delete outbox rows up to a number.
    #[n(13)]
    OutboxAck {
        /// The highest number handled.
        #[n(0)]
        seq: u64,
    },
    /// Seal a data key under the current root.
    #[n(14)]
    Reseal {
        /// The data key under any loaded root.
        #[cbor(n(0), with = "minicbor::bytes")]
        header: Vec<u8>,
    },
    /// What the host holds.
    #[n(15)]
    Facts,
}

/// A piece of a payload on its way to the host.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Chunk {
    /// Its number, from 0.
    #[n(0)]
    pub n: u32,
    /// Its sealed bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// What the host answers.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Answer {
    /// To [`Call::Hello`].
    #[n(0)]
    Hello(#[n(0)] Hello),
    /// To [`Call::CreateIdentity`].
    #[n(1)]
    Identity(#[n(0)] Identity),
    /// Done; nothing to tell.
    #[n(2)]
    Done,
    /// To [`Call::Serve`].
    #[n(3)]
    Served {
        /// Whether the EniIp itself could be bound.
        #[n(0)]
        bound: bool,
        /// Where clients reach the HSM.
        #[n(1)]
        address: String,
        /// The port there.
        #[n(2)]
        port: u16,
        /// SHA-256 of the cluster's SubjectPublicKeyInfo, which the certificate there shows.
        #[cbor(n(3), with = "minicbor::bytes")]
        key_digest: [u8; 32],
    },
    /// A piece of a snapshot.
    #[n(4)]
    Chunk(#[n(0)] Chunk),
    /// A snapshot's end.
    #[n(5)]
    Snapshot {
        /// The manifest's body.
        #[cbor(n(0), with = "minicbor::bytes")]
        body: Vec<u8>,
        /// The data key, sealed under the current root.
        #[cbor(n(1), with = "minicbor::bytes")]
        header: Vec<u8>,
        /// What the body says.
        #[n(2)]
        facts: Facts,
    },
    /// To [`Call::Check`] and [`Call::Install`]: what was proved.
    #[n(6)]
    Facts(#[n(0)] Facts),
    /// To [`Call::Rewrap`].
    #[n(7)]
    Envelope(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// To [`Call::Admit`].
    #[n(8)]
    Admitted {
        /// The data key, sealed under this region's root.
        #[cbor(n(0), with = "minicbor::bytes")]
        header: Vec<u8>,
        /// What the body says; proved if a payload came along.
        #[n(1)]
        facts: Facts,
    },
    /// To [`Call::OutboxRead`], in the order of their numbers.
    #[n(9)]
    Outbox(#[n(0)] Vec<OutboxRow>),
    /// To [`Call::Reseal`].
    #[n(10)]
    Header(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// To [`Call::Facts`].
    #[n(11)]
    HostFacts(#[n(0)] HostFacts),
    /// A call that failed.
    #[n(12)]
    Failed(#[n(0)] Failure),
}

/// Who the host is for this region.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The region's id, minted at its first start.
    #[n(0)]
    pub region_id: String,
    /// Fingerprints of the roots that are loaded, the current one first.
    #[n(1)]
    pub roots: Vec<String>,
    /// The X-Wing public keys that open envelopes, the current one first.
    #[n(2)]
    pub hpke_keys: Vec<PublicKey>,
    /// The Ed25519 public keys that sign envelopes, the current one first.
    #[n(3)]
    pub identity_keys: Vec<PublicKey>,
}

/// A public key and its short name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PublicKey {
    /// First 8 hex digits of the key's SHA-256.
    #[n(0)]
    pub id: String,
    /// The raw key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// A new cluster's CSR and what vouches for its key; all PEM.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    /// ClusterCsr.
    #[n(0)]
    pub csr: String,
    /// HsmCertificate.
    #[n(1)]
    pub hsm_certificate: String,
    /// AwsHardwareCertificate.
    #[n(2)]
    pub hardware_certificate: String,
    /// ManufacturerHardwareCertificate.
    #[n(3)]
    pub manufacturer_certificate: String,
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
    /// When it was asked for, milliseconds since 1970.
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

/// Something that happened on the data plane and that the control plane must learn: one row per cluster and kind,
/// replaced under a new number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OutboxRow {
    /// Its number.
    #[n(0)]
    pub seq: u64,
    /// The cluster.
    #[n(1)]
    pub cluster: String,
    /// What happened.
    #[n(2)]
    pub event: OutboxEvent,
}

/// The kinds of outbox rows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OutboxEvent {
    /// The admin has a password.
    #[n(0)]
    Activated,
    /// Users or keys changed; the head's version.
    #[n(1)]
    Changed(#[n(0)] u64),
    /// Damage found (its description) or gone (`None`).
    #[n(2)]
    Health(#[n(0)] Option<String>),
}

/// What the host holds, for `doctor` and for tests.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HostFacts {
    /// Clusters with their state and head version.
    #[n(0)]
    pub clusters: Vec<(String, String, u64)>,
    /// HSMs that are served.
    #[n(1)]
    pub hsms: Vec<String>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// What it means for the caller.
    #[n(0)]
    pub code: FailureCode,
    /// The sentence for people.
    #[n(1)]
    pub text: String,
}

/// What a failure means. The first group may be repeated as it is, the second is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FailureCode {
    /// Try again: too much under way.
    #[n(0)]
    Busy,
    /// Try again: the vault is full.
    #[n(1)]
    NoSpace,
    /// Try again: the vault failed.
    #[n(2)]
    VaultFailed,
    /// Try again with a new envelope: the key it is wrapped to is retired.
    #[n(3)]
    KeyRetired,
    /// Try again later: the key that signed it is not pinned here (yet).
    #[n(4)]
    KeyUnknown,
    /// Try again later: this host's files do not pin the destination.
    #[n(5)]
    Unpinned,
    /// Final: the same row was made from other input.
    #[n(10)]
    Conflict,
    /// Final: removed for good.
    #[n(11)]
    Gone,
    /// Final: the vault lacks the cluster, which is damage.
    #[n(12)]
    Unknown,
    /// Final: bytes are not what their seal or digest says.
    #[n(13)]
    Damaged,
    /// Final: sealed rightly, but what is inside is not a backup.
    #[n(14)]
    DoesNotOpen,
    /// Final: an envelope that its peer did not sign, or about something else.
    #[n(15)]
    Rejected,
    /// Final: the certificates or the input are not valid; the text is for the caller.
    #[n(16)]
    Invalid,
    /// Final: root, region or version differ from what the control store knows.
    #[n(17)]
    WrongRegion,
}

impl FailureCode {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Busy | Self::NoSpace | Self::VaultFailed | Self::KeyRetired | Self::KeyUnknown | Self::Unpinned
        )
    }
}
