//! control.tags: of clusters and backups, by id.

use strongroom_model::Tag;

use crate::error::StoreError;
use crate::sql::Tx;

/// Adds tags or overwrites their values.
pub fn put(tx: &mut dyn Tx, resource_id: &str, tags: &[Tag]) -> Result<(), StoreError> {
    for tag in tags {
        let sql = "INSERT INTO tags (resource_id, key, value) VALUES ($1, $2, $3) \
                   ON CONFLICT (resource_id, key) DO UPDATE SET value = $3";
        tx.execute(sql, params![resource_id, tag.key, tag.value])?;
    }
    Ok(())
}

/// The tags of a resource, by key.
pub fn list(tx: &mut dyn Tx, resource_id: &str) -> Result<Vec<Tag>, StoreError> {
    let rows = tx.query("SELECT key, value FROM tags WHERE resource_id = $1 ORDER BY key", params![resource_id])?;
    rows.iter().map(|row| Ok(Tag { key: row.get(0)?, value: row.get(1)? })).collect()
}

/// Removes tags by key; one that is not there is no error.
pub fn remove(tx: &mut dyn Tx, resource_id: &str, keys: &[String]) -> Result<(), StoreError> {
    for key in keys {
        tx.execute("DELETE FROM tags WHERE resource_id = $1 AND key = $2", params![resource_id, key])?;
    }
    Ok(())
}

/// Gives a resource the tags that another has.
pub fn copy_all(tx: &mut dyn Tx, from: &str, to: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO tags (resource_id, key, value) SELECT $2, key, value FROM tags WHERE resource_id = $1";
    tx.execute(sql, params![from, to]).map(drop)
}

/// Removes all tags of a resource.
pub fn delete_all(tx: &mut dyn Tx, resource_id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM tags WHERE resource_id = $1", params![resource_id]).map(drop)
}
