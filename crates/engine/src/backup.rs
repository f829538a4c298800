//! Owns how a local backup begins and how any backup settles. A backup is made on activation, when an HSM joins others or
//! leaves, and daily: one for each cause, unique in its cluster, written in the transaction of its cause.

use strongroom_model::backup::BackupState;
use strongroom_model::cluster::ClusterState;
use strongroom_model::time::HOUR;
use strongroom_model::{BackupId, ClusterId, Timestamp};
use strongroom_store::control::backups::{Backup, Origin};
use strongroom_store::control::clusters::Cluster;
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{backups, clusters, hsms, jobs, tags};
use strongroom_store::{StoreError, Tx};

/// How long a local backup may take, in milliseconds: nothing waits for ever.
pub(crate) const DEADLINE: i64 = HOUR;

/// Why a backup is made; the text is unique in its cluster.
pub(crate) enum Cause<'a> {
    Activation,
    Join(&'a str),
    Leave(&'a str),
    Daily(Timestamp),
}

impl Cause<'_> {
    pub fn text(&self) -> String {
        match self {
            Self::Activation => "activation".into(),
            Self::Join(hsm) => format!("join:{hsm}"),
            Self::Leave(hsm) => format!("leave:{hsm}"),
            Self::Daily(due) => format!("daily:{}", due.millis()),
        }
    }
}

/// Writes the row of a backup and its tags, those of the cluster; false where this cause has its backup already.
pub(crate) fn begin(
    tx: &mut dyn Tx,
    cluster: &Cluster,
    backup_id: &BackupId,
    cause: &Cause<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let row = Backup {
        backup_id: backup_id.clone(),
        account: cluster.account.clone(),
        origin: Origin::Local,
        state: BackupState::CreateInProgress,
        cluster_id: Some(cluster.cluster_id.clone()),
        cause: Some(cause.text()),
        hsm_type: cluster.hsm_type.clone(),
        mode: cluster.mode,
        create_ts: now,
        deadline_at: Some(now.plus(DEADLINE)),
        ..Backup::default()
    };
    if !backups::insert_new(tx, &row)? {
        return Ok(false);
    }
    tags::copy_all(tx, cluster.cluster_id.as_str(), backup_id.as_str())?;
    Ok(true)
}

/// D1: the daily backup, where the cluster is ACTIVE and has an ACTIVE HSM.
pub(crate) fn begin_daily(
    tx: &mut dyn Tx,
    cluster_id: &ClusterId,
    backup_id: &BackupId,
    due: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(cluster) = clusters::get(tx, cluster_id)? else { return Ok(()) };
    if cluster.state != ClusterState::Active || !hsms::any_active(tx, cluster_id)? {
        return Ok(());
    }
    if begin(tx, &cluster, backup_id, &Cause::Daily(due), now)? {
        jobs::schedule(tx, JobKind::Snapshot, backup_id.as_str(), now)?;
    }
    Ok(())
}
