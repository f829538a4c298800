//! Owns migrations: numbered, forward only, each in one transaction together with the number that says it ran. A store
//! that a later release wrote is refused untouched. What a release has shipped is never edited, only followed.

use crate::error::StoreError;
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

/// Prepares the row that holds the schema's number, and reads it; 0 for a new store.
pub fn current(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    tx.execute("CREATE TABLE IF NOT EXISTS meta (one BIGINT PRIMARY KEY, schema BIGINT NOT NULL)", &[])?;
    tx.execute("INSERT INTO meta (one, schema) VALUES (1, 0) ON CONFLICT DO NOTHING", &[])?;
    tx.query_value("SELECT schema FROM meta WHERE one = 1", &[])?
        .ok_or_else(|| StoreError::Corrupt("meta has no row".into()))
}

/// Runs migration `number` (from 1) and records it.
pub fn step(tx: &mut dyn Tx, schema: &Schema, number: i64) -> Result<(), StoreError> {
    let text = usize::try_from(number - 1).ok().and_then(|i| schema.migrations.get(i));
    let text = text.ok_or_else(|| StoreError::Other(format!("there is no migration {number}")))?;
    for statement in statements(text) {
        tx.execute(statement, &[])?;
    }
    match tx.change("UPDATE meta SET schema = $1 WHERE one = 1 AND schema = $2", params![number, number - 1])? {
        true => Ok(()),
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
