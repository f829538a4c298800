//! vault.meta: which region this vault is, and which roots it knows. One row.

use crate::error::StoreError;
use crate::sql::Tx;

/// RegionId and the fingerprints of the roots; `None` in a new vault.
pub fn get(tx: &mut dyn Tx) -> Result<Option<(String, Vec<String>)>, StoreError> {
    let row = tx.query_opt("SELECT region_id, roots FROM meta WHERE one = 1 AND region_id IS NOT NULL", &[])?;
    row.map(|row| {
        let roots: String = row.get(1)?;
        Ok((row.get(0)?, roots.split_whitespace().map(str::to_owned).collect()))
    })
    .transpose()
}

/// Writes them.
pub fn put(tx: &mut dyn Tx, region_id: &str, roots: &[String]) -> Result<(), StoreError> {
    let roots = roots.join(" ");
    tx.execute("UPDATE meta SET region_id = $1, roots = $2 WHERE one = 1", params![region_id, roots]).map(drop)
}
