//! control.hsms. The row goes when the HSM is gone.

use strongroom_model::hsm::HsmState;
use strongroom_model::{ClusterId, EniId, HsmId, SubnetId};

use crate::error::StoreError;
use crate::sql::Tx;

table! {
    /// An HSM.
    Hsm in "hsms" {
        /// The HSM.
        hsm_id: HsmId,
        /// Its cluster.
        cluster_id: ClusterId,
        /// Its state.
        state: HsmState,
        /// The sentence beside it.
        state_message: Option<String>,
        /// Its zone.
        az: String,
        /// Its subnet.
        subnet_id: SubnetId,
        /// Its network interface.
        eni_id: EniId,
        /// Its address.
        eni_ip: String,
    }
}

/// Inserts a new HSM.
pub fn insert(tx: &mut dyn Tx, row: &Hsm) -> Result<(), StoreError> {
    tx.insert(row)
}

/// An HSM.
pub fn get(tx: &mut dyn Tx, id: &HsmId) -> Result<Option<Hsm>, StoreError> {
    tx.select_one("WHERE hsm_id = $1", params![id])
}

/// The HSMs of a cluster, of any state.
pub fn of_cluster(tx: &mut dyn Tx, id: &ClusterId) -> Result<Vec<Hsm>, StoreError> {
    tx.select("WHERE cluster_id = $1 ORDER BY hsm_id", params![id])
}

/// Every address that is taken in this region.
pub fn addresses(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    tx.query_column("SELECT eni_ip FROM hsms", &[])
}

/// Whether a cluster has an ACTIVE HSM.
pub fn any_active(tx: &mut dyn Tx, id: &ClusterId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM hsms WHERE cluster_id = $1 AND state = 'ACTIVE' LIMIT 1";
    Ok(tx.query_opt(sql, params![id])?.is_some())
}

/// H4.
pub fn active(tx: &mut dyn Tx, id: &HsmId, message: &str) -> Result<bool, StoreError> {
    let sql = "UPDATE hsms SET state = 'ACTIVE', state_message = $2 \
               WHERE hsm_id = $1 AND state = 'CREATE_IN_PROGRESS'";
    tx.change(sql, params![id, message])
}

/// X1.
pub fn delete_in_progress(tx: &mut dyn Tx, id: &HsmId) -> Result<bool, StoreError> {
    let sql = "UPDATE hsms SET state = 'DELETE_IN_PROGRESS', state_message = NULL \
               WHERE hsm_id = $1 AND state IN ('CREATE_IN_PROGRESS', 'ACTIVE')";
    tx.change(sql, params![id])
}

/// X3.
pub fn delete(tx: &mut dyn Tx, id: &HsmId) -> Result<bool, StoreError> {
    tx.change("DELETE FROM hsms WHERE hsm_id = $1 AND state = 'DELETE_IN_PROGRESS'", params![id])
}

/// How many HSMs are in the store.
pub fn count(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    Ok(tx.query_value("SELECT COUNT(*) FROM hsms", &[])?.unwrap_or(0))
}
