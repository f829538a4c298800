//! control.tags: of clusters and backups, by id.

use strongroom_model::Tag;

use crate::error::StoreError;
use crate::sql::Tx;

/// Adds tags behind those that are there, or overwrites their values where they stand.
pub fn put(tx: &mut dyn Tx, resource_id: &str, tags: &[Tag]) -> Result<(), StoreError> {
    for tag in tags {
        let sql = "INSERT INTO tags (resource_id, key, value, position) \
                   SELECT $1, $2, $3, COALESCE(MAX(position), 0) + 1 FROM tags WHERE resource_id = $1 \
                   ON CONFLICT (resource_id, key) DO UPDATE SET value = $3";
        tx.execute(sql, params![resource_id, tag.key, tag.value])?;
    }
    Ok(())
}

/// The tags of a resource, in the order in which they were put.
pub fn list(tx: &mut dyn Tx, resource_id: &str) -> Result<Vec<Tag>, StoreError> {
    Ok(after(tx, resource_id, 0)?.into_iter().map(|(_, tag)| tag).collect())
}

/// The tags of a resource after a position, each with its own.
pub fn after(tx: &mut dyn Tx, resource_id: &str, position: i64) -> Result<Vec<(i64, Tag)>, StoreError> {
    let sql = "SELECT position, key, value FROM tags WHERE resource_id = $1 AND position > $2 ORDER BY position";
    let rows = tx.query(sql, params![resource_id, position])?;
    rows.iter().map(|row| Ok((row.get(0)?, Tag { key: row.get(1)?, value: row.get(2)? }))).collect()
}

/// The next resources with tags, in the order of their ids.
pub fn resources(tx: &mut dyn Tx, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT resource_id FROM tags WHERE resource_id > $1 ORDER BY resource_id LIMIT $2";
    tx.query(sql, params![after, limit])?.iter().map(|row| row.get(0)).collect()
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
    let sql = "INSERT INTO tags (resource_id, key, value, position) \
               SELECT $2, key, value, position FROM tags WHERE resource_id = $1";
    tx.execute(sql, params![from, to]).map(drop)
}

/// Removes all tags of a resource.
pub fn delete_all(tx: &mut dyn Tx, resource_id: &str) -> Result<(), StoreError> {
    tx.execute("DELETE FROM tags WHERE resource_id = $1", params![resource_id]).map(drop)
}
