//! The rows of the API process (schema `control`), one file per table. A function is one statement or a few; it decides
//! nothing. Each edge of a state machine is one UPDATE with the old state in its WHERE, and tells whether it changed a row.

pub mod alarms;
pub mod audit;
pub mod backups;
pub mod blobs;
pub mod clusters;
pub mod copies;
pub mod hsms;
pub mod idempotency;
pub mod jobs;
pub mod meta;
pub mod peers;
pub mod policies;
pub mod receipts;
pub mod subnets;
pub mod tags;

use crate::migrate::Schema;

/// The migrations of the control store.
pub const SCHEMA: Schema = Schema { migrations: &[include_str!("0001.sql")] };

/// A page of a list: its rows, and the position after which it goes on, if it does.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows that match, in order.
    pub rows: Vec<T>,
    /// The last position read, where more rows may follow.
    pub more: Option<(strongroom_model::Timestamp, String)>,
}

/// The most rows that one page reads: a page whose filters match few of them ends short, with a position.
pub(crate) const READ_MAX: u32 = 1_000;
