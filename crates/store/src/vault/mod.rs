//! The rows of the HSM host (schema `vault`), one file per table. Everything secret in them is sealed before it comes here.

pub mod clusters;
pub mod heads;
pub mod hsms;
pub mod logins;
pub mod meta;
pub mod objects;
pub mod outbox;
pub mod requests;
pub mod users;

use crate::error::StoreError;
use crate::migrate::Schema;
use crate::sql::Tx;

/// The migrations of the vault.
pub const SCHEMA: Schema = Schema { migrations: &[include_str!("0001.sql")] };

/// Deletes users and objects of a cluster in all epochs but one.
pub fn delete_other_epochs(tx: &mut dyn Tx, cluster_id: &str, keep: i64) -> Result<(), StoreError> {
    for table in ["objects", "users"] {
        let sql = format!("DELETE FROM {table} WHERE cluster_id = $1 AND epoch <> $2");
        tx.execute(&sql, params![cluster_id, keep])?;
    }
    Ok(())
}

/// Deletes everything of a cluster but its row: users, objects, head, logins and requests.
pub fn delete_all(tx: &mut dyn Tx, cluster_id: &str) -> Result<(), StoreError> {
    for table in ["objects", "users", "heads", "logins", "requests"] {
        tx.execute(&format!("DELETE FROM {table} WHERE cluster_id = $1"), params![cluster_id])?;
    }
    Ok(())
}
