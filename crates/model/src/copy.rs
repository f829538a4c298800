//! Owns the copy as our own service (`Strongroom`) shows it: what leaves and enters a region, and how far it is.

use crate::cluster::ClusterMode;
use crate::id::{BackupId, ClusterId, CopyId, RegionId, RegionName};
use crate::tag::Tag;
use crate::time::Timestamp;

crate::string_enum! {
    /// The states of a copy, in lower case since they are ours and not AWS's.
    pub enum CopyState {
        Waiting "waiting",
        Sending "sending",
        Checking "checking",
        Ready "ready",
        Failed "failed",
        Cancelled "cancelled",
    }

    /// Whether a copy leaves this region or enters it.
    pub enum CopyDirection {
        Outgoing "outgoing",
        Incoming "incoming",
    }
}

impl CopyState {
    /// Whether its outcome is known, so that nothing more is sent.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Cancelled)
    }
}

crate::record! {
    /// Why a copy ended or why it waits.
    pub struct CopyReason {
        "Code" code: String,
        "Text" text: String,
    }

    /// One end of a copy.
    pub struct CopyEnd {
        "Region" region: RegionName,
        "RegionId" region_id: RegionId,
        "BackupId" backup_id: Option<BackupId>,
        "ClusterId" cluster_id: Option<ClusterId>,
    }

    /// The destination's word that settled the copy.
    pub struct CopyReceipt {
        "Sequence" sequence: i64,
        "KeyId" key_id: Option<String>,
        "At" at: Timestamp,
    }

    /// A step of a copy, for `copies show`.
    pub struct CopyStep {
        "At" at: Timestamp,
        "Name" name: String,
        "Text" text: String,
    }

    /// A copy. Members are only ever added.
    pub struct Copy {
        "CopyId" copy_id: CopyId,
        "Direction" direction: CopyDirection,
        "State" state: CopyState,
        "Overdue" overdue: bool,
        "Reason" reason: Option<CopyReason>,
        "Source" source: CopyEnd,
        "Destination" destination: CopyEnd,
        "RequestedAt" requested_at: Timestamp,
        "RequestedBy" requested_by: Option<String>,
        "SourceIp" source_ip: Option<String>,
        "RequestId" request_id: Option<String>,
        "InvocationId" invocation_id: Option<String>,
        "BackupCreatedAt" backup_created_at: Timestamp,
        "DeadlineAt" deadline_at: Option<Timestamp>,
        "FinishedAt" finished_at: Option<Timestamp>,
        "BytesTotal" bytes_total: i64,
        "BytesSent" bytes_sent: i64,
        "ChunksTotal" chunks_total: i64,
        "ChunksDone" chunks_done: i64,
        "Attempts" attempts: i64,
        "NextAttemptAt" next_attempt_at: Option<Timestamp>,
        "Digest" digest: Option<String>,
        "Receipt" receipt: Option<CopyReceipt>,
        "Users" users: Option<i64>,
        "Keys" keys: Option<i64>,
        "Mode" mode: Option<ClusterMode>,
        "TagList" tag_list: Option<Vec<Tag>>,
        "Steps" steps: Option<Vec<CopyStep>>,
    }

    /// What a backup holds and when it was last opened.
    pub struct BackupContent {
        "BackupId" backup_id: BackupId,
        "State" state: String,
        "Cause" cause: Option<String>,
        "Origin" origin: String,
        "CreatedAt" created_at: Timestamp,
        "OpenedAt" opened_at: Option<Timestamp>,
        "Users" users: Option<i64>,
        "Keys" keys: Option<i64>,
        "Bytes" bytes: Option<i64>,
        "Chunks" chunks: Option<i64>,
        "Lineage" lineage: Option<String>,
        "Digest" digest: Option<String>,
        "Reason" reason: Option<String>,
    }

    /// Where an HSM is reached by a client of the data plane.
    pub struct HsmEndpoint {
        "HsmId" hsm_id: String,
        "EniIp" eni_ip: String,
        "Address" address: String,
        "Port" port: i64,
        "Sni" sni: String,
        "State" state: String,
    }
}
