//! Owns migrations: numbered, forward only, each in one transaction together with the number that says it ran. A store
//! that a later release wrote is refused untouched. What a release has shipped is never edited, only followed.

use std::path::Path;

use crate::error::{OpenError, StoreError};
use crate::sql::Tx;

/// The migrations of a store, the first is number 1. Each is a text of statements that end in `;`.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The texts, in order.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// The number of the latest migration.
    pub fn latest(&self) -> i64 {
        self.migrations.len() as i64
    }
}

/// What one transaction of a migration does; the number that the schema has then.
pub type Step<'s> = dyn FnMut(&mut dyn Tx) -> Result<i64, StoreError> + 's;

/// Runs what is missing in the store at a path, one transaction per migration; `run` runs a transaction.
pub fn to_latest(
    path: &Path,
    schema: &Schema,
    mut run: impl FnMut(&mut Step<'_>) -> Result<i64, StoreError>,
) -> Result<(), OpenError> {
    let failed = |cause| OpenError::Store { path: path.to_owned(), cause };
    let found = run(&mut current).map_err(failed)?;
    let known = schema.latest();
    if found > known {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, known });
    }
    for number in found + 1..=known {
        run(&mut |tx| step(tx, schema, number)).map_err(failed)?;
    }
    Ok(())
}

/// Prepares the row that holds the schema's number, and reads it; 0 for a new store.
fn current(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    tx.execute("CREATE TABLE IF NOT EXISTS meta (one BIGINT PRIMARY KEY, schema BIGINT NOT NULL)", &[])?;
    tx.execute("INSERT INTO meta (one, schema) VALUES (1, 0) ON CONFLICT DO NOTHING", &[])?;
    tx.query_value("SELECT schema FROM meta WHERE one = 1", &[])?
        .ok_or_else(|| StoreError::Corrupt("meta has no row".into()))
}

/// Runs migration `number` (from 1) and records it.
fn step(tx: &mut dyn Tx, schema: &Schema, number: i64) -> Result<i64, StoreError> {
    let text = usize::try_from(number - 1).ok().and_then(|i| schema.migrations.get(i));
    let text = text.ok_or_else(|| StoreError::Other(format!("there is no migration {number}")))?;
    for statement in statements(text) {
        tx.execute(statement, &[])?;
    }
    match tx.change("UPDATE meta SET schema = $1 WHERE one = 1 AND schema = $2", params![number, number - 1])? {
        true => Ok(number),
        false => Err(StoreError::Busy(format!("migration {number} was run by another process"))),
    }
}

/// The statements of a text. Schemas hold no `;` inside a statement.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split(';').map(str::trim).filter(|s| !s.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_in_semicolons() {
        assert_eq!(statements("CREATE a;\n\nCREATE b ;\n").collect::<Vec<_>>(), ["CREATE a", "CREATE b"]);
    }
}
