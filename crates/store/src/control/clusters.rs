//! control.clusters. DEGRADED is shown by the engine, never stored.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use strongroom_model::cluster::{ClusterMode, ClusterState, NetworkType};
use strongroom_model::{AccountId, BackupId, ClusterId, SubnetId, Timestamp, VpcId};

use crate::control::{Page, Position, fill};
use crate::error::StoreError;
use crate::sql::{Cell, FromCell, Mismatch, Param, ToParam, Tx, parsed};

/// Zone to subnet, in one column: `us-east-1a subnet-…` separated by spaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subnets(pub BTreeMap<String, SubnetId>, String);

impl From<BTreeMap<String, SubnetId>> for Subnets {
    fn from(map: BTreeMap<String, SubnetId>) -> Self {
        let text = map.iter().map(|(az, subnet)| format!("{az} {subnet}")).collect::<Vec<_>>().join(" ");
        Self(map, text)
    }
}

impl ToParam for Subnets {
    fn param(&self) -> Param<'_> {
        Param::Text(&self.1)
    }
}

impl FromCell for Subnets {
    fn from_cell(cell: Cell) -> Result<Self, Mismatch> {
        parsed(cell, "zones with subnets", |text| {
            let words: Vec<_> = text.split_whitespace().collect();
            let pairs = words.chunks(2).map(|pair| match pair {
                [az, subnet] => Some(((*az).to_owned(), SubnetId::new(*subnet))),
                _ => None,
            });
            pairs.collect::<Option<BTreeMap<_, _>>>().map(Self::from)
        })
    }
}

table! {
    /// A cluster.
    Cluster in "clusters" {
        /// The cluster.
        cluster_id: ClusterId,
        /// Whose it is.
        account: AccountId,
        /// Its state.
        state: ClusterState,
        /// The sentence beside it.
        state_message: Option<String>,
        /// `hsm2m.medium`.
        hsm_type: String,
        /// FIPS or NON_FIPS.
        mode: ClusterMode,
        /// IPV4 or DUALSTACK.
        network_type: NetworkType,
        /// The VPC of its subnets.
        vpc_id: VpcId,
        /// Zone to subnet.
        subnets: Subnets,
        /// Days that its backups stay.
        retention_days: i64,
        /// CreateTimestamp.
        create_ts: Timestamp,
        /// The backup that it was made from.
        source_backup_id: Option<BackupId>,
        /// ClusterCsr.
        csr: Option<String>,
        /// HsmCertificate.
        hsm_certificate: Option<String>,
        /// AwsHardwareCertificate.
        hardware_certificate: Option<String>,
        /// ManufacturerHardwareCertificate.
        manufacturer_certificate: Option<String>,
        /// ClusterCertificate.
        cluster_certificate: Option<String>,
        /// The customer CA.
        trust_anchor: Option<String>,
        /// When the admin got a password.
        activated_at: Option<Timestamp>,
        /// HsmTypeRollbackExpiration.
        rollback_until: Option<Timestamp>,
        /// The head version last told by the host.
        head: i64,
        /// What is wrong with its vault.
        damage: Option<String>,
        /// When it became DELETED.
        deleted_at: Option<Timestamp>,
    }
}

/// Inserts a new cluster.
pub fn insert(tx: &mut dyn Tx, row: &Cluster) -> Result<(), StoreError> {
    tx.insert(row)
}

/// A cluster, DELETED ones too.
pub fn get(tx: &mut dyn Tx, id: &ClusterId) -> Result<Option<Cluster>, StoreError> {
    tx.select_one("WHERE cluster_id = $1", params![id])
}

/// CC2.
pub fn uninitialized(tx: &mut dyn Tx, id: &ClusterId) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'UNINITIALIZED' WHERE cluster_id = $1 AND state = 'CREATE_IN_PROGRESS' \
               AND source_backup_id IS NULL";
    tx.change(sql, params![id])
}

/// H4: the first HSM brought the CSR and the certificates that vouch for its key.
pub fn set_identity(tx: &mut dyn Tx, id: &ClusterId, csr: &str, vouching: [&str; 3]) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET csr = $2, hsm_certificate = $3, hardware_certificate = $4, \
               manufacturer_certificate = $5 WHERE cluster_id = $1 AND csr IS NULL";
    tx.change(sql, params![id, csr, vouching[0], vouching[1], vouching[2]])
}

/// I2: conditional on the CSR that was checked.
pub fn initialize_in_progress(
    tx: &mut dyn Tx,
    id: &ClusterId,
    csr: &str,
    certificate: &str,
    trust_anchor: &str,
    message: &str,
) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'INITIALIZE_IN_PROGRESS', cluster_certificate = $3, trust_anchor = $4, \
               state_message = $5 WHERE cluster_id = $1 AND state = 'UNINITIALIZED' AND csr = $2";
    tx.change(sql, params![id, csr, certificate, trust_anchor, message])
}

/// I4.
pub fn initialized(tx: &mut dyn Tx, id: &ClusterId) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'INITIALIZED', state_message = NULL \
               WHERE cluster_id = $1 AND state = 'INITIALIZE_IN_PROGRESS'";
    tx.change(sql, params![id])
}

/// A3: the admin has a password; the first time counts.
pub fn activated(tx: &mut dyn Tx, id: &ClusterId, now: Timestamp) -> Result<bool, StoreError> {
    tx.change("UPDATE clusters SET activated_at = $2 WHERE cluster_id = $1 AND activated_at IS NULL", params![id, now])
}

/// A3, I4: both the certificates and the password are there.
pub fn active(tx: &mut dyn Tx, id: &ClusterId) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'ACTIVE', state_message = NULL \
               WHERE cluster_id = $1 AND state = 'INITIALIZED' AND activated_at IS NOT NULL";
    tx.change(sql, params![id])
}

/// P3.
pub fn restored(tx: &mut dyn Tx, id: &ClusterId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'ACTIVE', activated_at = $2 \
               WHERE cluster_id = $1 AND state = 'CREATE_IN_PROGRESS' AND source_backup_id IS NOT NULL";
    tx.change(sql, params![id, now])
}

/// P4.
pub fn restore_failed(tx: &mut dyn Tx, id: &ClusterId, message: &str, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'DELETED', state_message = $2, deleted_at = $3 \
               WHERE cluster_id = $1 AND state = 'CREATE_IN_PROGRESS' AND source_backup_id IS NOT NULL";
    tx.change(sql, params![id, message, now])
}

/// Y1: no HSM of any state may be left.
pub fn delete_in_progress(tx: &mut dyn Tx, id: &ClusterId, message: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'DELETE_IN_PROGRESS', state_message = $2 WHERE cluster_id = $1 \
               AND state IN ('UNINITIALIZED', 'INITIALIZED', 'ACTIVE') \
               AND NOT EXISTS (SELECT 1 FROM hsms WHERE hsms.cluster_id = $1)";
    tx.change(sql, params![id, message])
}

/// A change of type begins; no HSM may be coming or going meanwhile.
pub fn modify_in_progress(
    tx: &mut dyn Tx,
    id: &ClusterId,
    hsm_type: &str,
    rollback_until: Timestamp,
    message: &str,
) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'MODIFY_IN_PROGRESS', hsm_type = $2, rollback_until = $3, \
               state_message = $4 WHERE cluster_id = $1 AND state = 'ACTIVE' \
               AND NOT EXISTS (SELECT 1 FROM hsms WHERE hsms.cluster_id = $1 AND hsms.state <> 'ACTIVE')";
    tx.change(sql, params![id, hsm_type, rollback_until, message])
}

/// A change of type is taken back, while it may be.
pub fn rollback_in_progress(
    tx: &mut dyn Tx,
    id: &ClusterId,
    hsm_type: &str,
    message: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'ROLLBACK_IN_PROGRESS', hsm_type = $2, rollback_until = NULL, \
               state_message = $3 WHERE cluster_id = $1 AND state = 'ACTIVE' AND rollback_until > $4 \
               AND NOT EXISTS (SELECT 1 FROM hsms WHERE hsms.cluster_id = $1 AND hsms.state <> 'ACTIVE')";
    tx.change(sql, params![id, hsm_type, message, now])
}

/// A change of type is through, or taken back.
pub fn modified(tx: &mut dyn Tx, id: &ClusterId) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'ACTIVE', state_message = NULL \
               WHERE cluster_id = $1 AND state IN ('MODIFY_IN_PROGRESS', 'ROLLBACK_IN_PROGRESS')";
    tx.change(sql, params![id])
}

/// Y4.
pub fn deleted(tx: &mut dyn Tx, id: &ClusterId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "UPDATE clusters SET state = 'DELETED', state_message = NULL, deleted_at = $2 \
               WHERE cluster_id = $1 AND state = 'DELETE_IN_PROGRESS'";
    tx.change(sql, params![id, now])
}

/// Z5: a DELETED cluster that no backup names is forgotten: whether its row is gone now.
pub fn forget(tx: &mut dyn Tx, id: &ClusterId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM clusters WHERE cluster_id = $1 AND state = 'DELETED' \
               AND NOT EXISTS (SELECT 1 FROM backups WHERE backups.cluster_id = $1)";
    tx.execute(sql, params![id])?;
    Ok(get(tx, id)?.is_none())
}

/// Sets or clears what is wrong with its vault.
pub fn set_damage(tx: &mut dyn Tx, id: &ClusterId, damage: Option<&str>) -> Result<bool, StoreError> {
    tx.change("UPDATE clusters SET damage = $2 WHERE cluster_id = $1", params![id, damage])
}

/// Notes the head version that the host told.
pub fn set_head(tx: &mut dyn Tx, id: &ClusterId, head: i64) -> Result<bool, StoreError> {
    tx.change("UPDATE clusters SET head = $2 WHERE cluster_id = $1", params![id, head])
}

/// Sets the days that backups stay.
pub fn set_retention(tx: &mut dyn Tx, id: &ClusterId, days: i64) -> Result<bool, StoreError> {
    tx.change("UPDATE clusters SET retention_days = $2 WHERE cluster_id = $1", params![id, days])
}

/// How many clusters are in the store, DELETED ones left out.
pub fn count(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    Ok(tx.query_value("SELECT COUNT(*) FROM clusters WHERE deleted_at IS NULL", &[])?.unwrap_or(0))
}

/// What a page of clusters is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Whose.
    pub account: AccountId,
    /// Only these, if given.
    pub cluster_ids: Option<Vec<ClusterId>>,
    /// Only of these VPCs, if given.
    pub vpc_ids: Option<Vec<VpcId>>,
    /// Only in these states, if given.
    pub states: Option<Vec<ClusterState>>,
    /// The position that the page follows.
    pub after: Option<(Timestamp, String)>,
    /// The most rows.
    pub limit: u32,
}

impl Query {
    /// DELETED clusters are shown only to whom asks for them.
    fn matches(&self, c: &Cluster) -> bool {
        c.account == self.account
            && (self.cluster_ids.is_some() || self.states.is_some() || c.state != ClusterState::Deleted)
            && self.states.as_ref().is_none_or(|states| states.contains(&c.state))
            && self.vpc_ids.as_ref().is_none_or(|ids| ids.contains(&c.vpc_id))
    }
}

/// A page of clusters, newest first.
pub fn page(tx: &mut dyn Tx, query: &Query) -> Result<Page<Cluster>, StoreError> {
    let next = |after: Option<&Position>, batch| match &query.cluster_ids {
        Some(ids) => Ok((by_ids(tx, ids, after)?, true)),
        None => {
            let rows = newest(tx, &query.account, after, batch)?;
            let read_all = (rows.len() as u32) < batch;
            Ok((rows, read_all))
        }
    };
    fill(query.limit, query.after.clone(), position, |row| query.matches(row), next)
}

/// Clusters by their ids, newest first.
fn by_ids(tx: &mut dyn Tx, ids: &[ClusterId], after: Option<&Position>) -> Result<Vec<Cluster>, StoreError> {
    let mut rows = Vec::new();
    for id in ids {
        rows.extend(get(tx, id)?.filter(|row| after.is_none_or(|after| position(row) < *after)));
    }
    rows.sort_by_key(|row| Reverse(position(row)));
    rows.dedup_by(|a, b| a.cluster_id == b.cluster_id);
    Ok(rows)
}

/// The next clusters of an account, newest first.
fn newest(
    tx: &mut dyn Tx,
    account: &AccountId,
    after: Option<&Position>,
    batch: u32,
) -> Result<Vec<Cluster>, StoreError> {
    let (at, id) = after.map_or((Timestamp::from_millis(i64::MAX), ""), |(at, id)| (*at, id));
    let sql = "WHERE account = $1 AND (create_ts, cluster_id) < ($2, $3) \
               ORDER BY create_ts DESC, cluster_id DESC LIMIT $4";
    tx.select(sql, params![account, at, id, batch])
}

fn position(row: &Cluster) -> Position {
    (row.create_ts, row.cluster_id.as_str().to_owned())
}
