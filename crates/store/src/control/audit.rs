//! control.audit, control.audit_heads and control.audit_signatures: one event per call, each chained to the one before it of
//! the same writer (a life of the process), and the signatures of heads. An event of a change is in the transaction that it
//! records. Everything is derived from rows, so that a closure may run again.
//!
//! Rows from before there were chains have no writer and no hash.

use strongroom_model::Timestamp;

use crate::chain::{self, Hash};
use crate::error::StoreError;
use crate::sql::{Row, Tx};

/// An event on its way into the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the call was made.
    pub at: Timestamp,
    /// The event, JSON.
    pub event: String,
}

/// The last event of a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number, from 1.
    pub n: i64,
    /// Its hash.
    pub hash: Hash,
    /// The number of the last event that a signature covers, 0 if there is none.
    pub signed_n: i64,
}

/// A signature of a writer's events up to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The hash that it is made over.
    pub hash: Hash,
    /// When it was made.
    pub at: Timestamp,
    /// The name of the key.
    pub key_id: String,
    /// The signature of [`chain::statement`].
    pub signature: Vec<u8>,
}

/// An event of the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number in the store, without a gap.
    pub seq: i64,
    /// Who wrote it; nobody where it is from before there were chains.
    pub writer: String,
    /// Its number among this writer's.
    pub n: i64,
    /// When the call was made.
    pub at: Timestamp,
    /// The event, JSON.
    pub event: String,
    /// Its hash.
    pub hash: Option<Hash>,
    /// The signature of the chain up to this event, if one was made here.
    pub signature: Option<Signature>,
}

/// Appends events to a writer's chain, in order.
pub fn append(tx: &mut dyn Tx, writer: &str, records: &[Record]) -> Result<(), StoreError> {
    let head = head(tx, writer)?;
    let mut n = head.as_ref().map_or(0, |head| head.n);
    let mut previous = head.map_or_else(|| chain::start(writer), |head| head.hash.to_vec());
    let mut seq = last(tx)?;
    let insert = "INSERT INTO audit (seq, at, event, writer, n, hash) VALUES ($1, $2, $3, $4, $5, $6)";
    for record in records {
        (seq, n) = (seq + 1, n + 1);
        let hash = chain::link(&previous, n, &record.event);
        tx.execute(insert, params![seq, record.at, record.event, writer, n, hash])?;
        previous.clear();
        previous.extend_from_slice(&hash);
    }
    let sql = "INSERT INTO audit_heads (writer, n, hash, signed_n) VALUES ($1, $2, $3, 0) \
               ON CONFLICT (writer) DO UPDATE SET n = $2, hash = $3";
    match records {
        [] => Ok(()),
        _ => tx.execute(sql, params![writer, n, previous]).map(drop),
    }
}

/// The head of a writer's chain; `None` before its first event.
pub fn head(tx: &mut dyn Tx, writer: &str) -> Result<Option<Head>, StoreError> {
    let row = tx.query_opt("SELECT n, hash, signed_n FROM audit_heads WHERE writer = $1", params![writer])?;
    row.map(|row| Ok(Head { n: row.get(0)?, hash: row.get(1)?, signed_n: row.get(2)? })).transpose()
}

/// Keeps a signature of a writer's chain up to event `n`; one that is there stays.
pub fn sign(tx: &mut dyn Tx, writer: &str, n: i64, s: &Signature) -> Result<(), StoreError> {
    let sql = "INSERT INTO audit_signatures (writer, n, hash, at, key_id, signature) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT DO NOTHING";
    tx.execute(sql, params![writer, n, s.hash, s.at, s.key_id, s.signature])?;
    let sql = "UPDATE audit_heads SET signed_n = $2 WHERE writer = $1 AND signed_n < $2";
    tx.execute(sql, params![writer, n]).map(drop)
}

/// The number of the newest event, 0 if there is none.
pub fn last(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    Ok(tx.query_value::<Option<i64>>("SELECT MAX(seq) FROM audit", &[])?.flatten().unwrap_or(0))
}

/// Events after a number of the store's, oldest first.
pub fn after(tx: &mut dyn Tx, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
    select(tx, "WHERE a.seq > $1 ORDER BY a.seq LIMIT $2", seq, limit)
}

/// Events before a number of the store's, newest first.
pub fn before(tx: &mut dyn Tx, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
    select(tx, "WHERE a.seq < $1 ORDER BY a.seq DESC LIMIT $2", seq, limit)
}

fn select(tx: &mut dyn Tx, rest: &str, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
    let select = "SELECT a.seq, a.writer, a.n, a.at, a.event, a.hash, s.hash, s.at, s.key_id, s.signature FROM audit a \
                  LEFT JOIN audit_signatures s ON s.writer = a.writer AND s.n = a.n ";
    tx.query(&[select, rest].concat(), params![seq, limit])?.iter().map(event).collect()
}

fn event(row: &Row) -> Result<Event, StoreError> {
    let signature = match row.get::<Option<Hash>>(6)? {
        Some(hash) => Some(Signature { hash, at: row.get(7)?, key_id: row.get(8)?, signature: row.get(9)? }),
        None => None,
    };
    Ok(Event {
        seq: row.get(0)?,
        writer: row.get(1)?,
        n: row.get(2)?,
        at: row.get(3)?,
        event: row.get(4)?,
        hash: row.get(5)?,
        signature,
    })
}
