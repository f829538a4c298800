//! control.policies: resource policies by id, as they were given.

use crate::error::StoreError;
use crate::sql::Tx;

/// Keeps a policy, in place of another.
pub fn put(tx: &mut dyn Tx, resource_id: &str, document: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO policies (resource_id, document) VALUES ($1, $2) \
               ON CONFLICT (resource_id) DO UPDATE SET document = $2";
    tx.execute(sql, params![resource_id, document]).map(drop)
}

/// The policy of a resource.
pub fn get(tx: &mut dyn Tx, resource_id: &str) -> Result<Option<String>, StoreError> {
    tx.query_value("SELECT document FROM policies WHERE resource_id = $1", params![resource_id])
}

/// Removes the policy of a resource: whether it had one.
pub fn delete(tx: &mut dyn Tx, resource_id: &str) -> Result<bool, StoreError> {
    tx.change("DELETE FROM policies WHERE resource_id = $1", params![resource_id])
}
