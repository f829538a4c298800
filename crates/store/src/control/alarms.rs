//! control.alarms: what an operator must see, until it is cleared.

use strongroom_model::Timestamp;

use crate::error::StoreError;
use crate::sql::Tx;

table! {
    /// An alarm.
    Alarm in "alarms" {
        /// `behind`, `conflict`, `control-older`, `lost`, `vault-older`.
        kind: String,
        /// About what.
        subject: String,
        /// The sentence.
        text: String,
        /// Since when.
        since: Timestamp,
    }
}

/// Raises an alarm; one that is raised stays as it began.
pub fn raise(tx: &mut dyn Tx, kind: &str, subject: &str, text: &str, now: Timestamp) -> Result<(), StoreError> {
    let alarm = Alarm { kind: kind.into(), subject: subject.into(), text: text.into(), since: now };
    tx.insert_new(&alarm).map(drop)
}

/// All alarms.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<Alarm>, StoreError> {
    tx.select("ORDER BY since, kind, subject", &[])
}

/// Clears an alarm.
pub fn clear(tx: &mut dyn Tx, kind: &str, subject: &str) -> Result<bool, StoreError> {
    tx.change("DELETE FROM alarms WHERE kind = $1 AND subject = $2", params![kind, subject])
}
