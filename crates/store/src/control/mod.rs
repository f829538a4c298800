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

use strongroom_model::Timestamp;

use crate::error::StoreError;
use crate::migrate::Schema;

/// The migrations of the control store.
pub const SCHEMA: Schema = Schema { migrations: &[include_str!("0001.sql"), include_str!("0002.sql")] };

/// A page of a list: its rows, and the position after which it goes on, if it does.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows that match, in order.
    pub rows: Vec<T>,
    /// The last position read, where more rows may follow.
    pub more: Option<Position>,
}

/// Where a row stands in a list: its time, then its id.
pub(crate) type Position = (Timestamp, String);

/// The most rows that one page reads, so that its cost does not grow with the store: a page whose filters match few of them
/// ends short, with a position.
const READ_MAX: usize = 1_000;

/// Fills a page from the batches of an index. `next` gives the rows after a position, at most so many, and whether these
/// were all. The first batch is what the page needs if everything matches; each further one is twice as large.
pub(crate) fn fill<T>(
    limit: u32,
    mut after: Option<Position>,
    position: impl Fn(&T) -> Position,
    matches: impl Fn(&T) -> bool,
    mut next: impl FnMut(Option<&Position>, u32) -> Result<(Vec<T>, bool), StoreError>,
) -> Result<Page<T>, StoreError> {
    let (mut rows, mut read, mut batch) = (Vec::new(), 0, limit.saturating_add(1).min(READ_MAX as u32));
    loop {
        let (found, read_all) = next(after.as_ref(), batch)?;
        read += found.len();
        let last = found.last().map(&position);
        rows.extend(found.into_iter().filter(&matches));
        if rows.len() > limit as usize {
            rows.truncate(limit as usize);
            let more = rows.last().map(&position);
            return Ok(Page { rows, more });
        }
        if read_all || last.is_none() {
            return Ok(Page { rows, more: None });
        }
        if read >= READ_MAX {
            return Ok(Page { rows, more: last });
        }
        after = last;
        batch = (2 * batch).min(READ_MAX as u32);
    }
}
