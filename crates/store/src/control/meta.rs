//! control.meta: which region this store is, which roots it knows, and how far the host's outbox has been read. One row.

use strongroom_model::{RegionId, RegionName};

use crate::error::StoreError;
use crate::sql::Tx;

/// Which region this store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it is.
    pub region_id: RegionId,
    /// Its label.
    pub name: RegionName,
    /// Fingerprints of the roots that this store knows.
    pub roots: Vec<String>,
}

/// The region; `None` in a new store.
pub fn region(tx: &mut dyn Tx) -> Result<Option<Region>, StoreError> {
    let row = tx.query_opt("SELECT region_id, name, roots FROM meta WHERE one = 1 AND region_id IS NOT NULL", &[])?;
    row.map(|row| {
        let roots: String = row.get(2)?;
        let roots = roots.split_whitespace().map(str::to_owned).collect();
        Ok(Region { region_id: row.get(0)?, name: row.get(1)?, roots })
    })
    .transpose()
}

/// Writes the region, or the roots that it knows now.
pub fn put_region(tx: &mut dyn Tx, region: &Region) -> Result<(), StoreError> {
    let roots = region.roots.join(" ");
    let sql = "UPDATE meta SET region_id = $1, name = $2, roots = $3 WHERE one = 1";
    tx.execute(sql, params![region.region_id, region.name, roots]).map(drop)
}

/// Whether no cluster and no backup is in this store.
pub fn is_empty(tx: &mut dyn Tx) -> Result<bool, StoreError> {
    let sql = "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM clusters LIMIT 1) c) \
               + (SELECT COUNT(*) FROM (SELECT 1 FROM backups LIMIT 1) b)";
    Ok(tx.query_value::<i64>(sql, &[])? == Some(0))
}

/// The highest outbox number that was applied.
pub fn outbox_cursor(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let cursor = tx.query_value("SELECT outbox_cursor FROM meta WHERE one = 1", &[])?;
    cursor.ok_or_else(|| StoreError::Corrupt("meta has no row".into()))
}

/// Moves the cursor, unless another reader has.
pub fn move_outbox_cursor(tx: &mut dyn Tx, from: i64, to: i64) -> Result<bool, StoreError> {
    tx.change("UPDATE meta SET outbox_cursor = $1 WHERE one = 1 AND outbox_cursor = $2", params![to, from])
}
