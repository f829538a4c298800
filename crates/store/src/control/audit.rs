//! control.audit, control.audit_heads and control.audit_signatures: one event per call, each chained to the one before it of
//! the same writer (a life of the process), and the signatures of heads. An event of a change is in the transaction that it
//! records. Everything is derived from rows, so that a closure may run again.
//!
//! A row holds one event, or a block of many ([`block`]); its numbers, time and hash are those of its last. Rows from before
//! there were chains have no writer and no hash.

mod block;

use strongroom_model::Timestamp;

use self::block::Block;
use crate::chain::{self, Hash};
use crate::error::StoreError;
use crate::sql::{Row, Tx};

/// Events on their way into the trail, in order; one piece of memory for all their texts.
#[derive(Clone, Debug, Default)]
pub struct Records {
    texts: String,
    /// When each call was made, and where its text ends.
    ends: Vec<(Timestamp, usize)>,
}

impl Records {
    /// One event: when the call was made, and its JSON.
    pub fn one(at: Timestamp, event: &str) -> Self {
        let mut records = Self::default();
        records.push(at, event);
        records
    }

    /// Adds an event: when the call was made, and its JSON.
    pub fn push(&mut self, at: Timestamp, event: &str) {
        self.texts.push_str(event);
        self.ends.push((at, self.texts.len()));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The events, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, &str)> {
        let begins = [0].into_iter().chain(self.ends.iter().map(|(_, end)| *end));
        self.ends.iter().zip(begins).map(|((at, end), begin)| (*at, &self.texts[begin..*end]))
    }
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
pub fn append(tx: &mut dyn Tx, writer: &str, records: &Records) -> Result<(), StoreError> {
    let head = head(tx, writer)?;
    let mut n = head.as_ref().map_or(0, |head| head.n);
    let mut previous = head.map_or_else(|| chain::start(writer), |head| head.hash.to_vec());
    let mut seq = last(tx)?;
    let insert = "INSERT INTO audit (seq, at, event, writer, n, hash, block) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (mut block, mut rest) = (Block::default(), records.iter().peekable());
    while let Some((at, event)) = rest.next() {
        (seq, n) = (seq + 1, n + 1);
        let hash = chain::link(&previous, n, event);
        previous.clear();
        previous.extend_from_slice(&hash);
        if records.len() == 1 {
            tx.execute(insert, params![seq, at, event, writer, n, hash, None::<Vec<u8>>])?;
            continue;
        }
        block.push(at, &hash, event);
        if block.is_full() || rest.peek().is_none() {
            tx.execute(insert, params![seq, at, "", writer, n, hash, block.pack()])?;
        }
    }
    let sql = "INSERT INTO audit_heads (writer, n, hash, signed_n) VALUES ($1, $2, $3, 0) \
               ON CONFLICT (writer) DO UPDATE SET n = $2, hash = $3";
    match records.is_empty() {
        true => Ok(()),
        false => tx.execute(sql, params![writer, n, previous]).map(drop),
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
    let mut events = Vec::new();
    walk(tx, "WHERE a.seq > $1 ORDER BY a.seq LIMIT $2", seq, limit, |row| {
        events.extend(row.into_iter().filter(|event| event.seq > seq));
        events.len()
    })?;
    events.truncate(limit as usize);
    Ok(events)
}

/// Events before a number of the store's, newest first.
pub fn before(tx: &mut dyn Tx, seq: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
    // The row that holds this number may hold some before it.
    let mut events = Vec::new();
    for row in select(tx, "WHERE a.seq >= $1 ORDER BY a.seq LIMIT $2", seq, 1)? {
        events.extend(row.into_iter().rev().filter(|event| event.seq < seq));
    }
    if events.len() < limit as usize {
        walk(tx, "WHERE a.seq < $1 ORDER BY a.seq DESC LIMIT $2", seq, limit, |row| {
            events.extend(row.into_iter().rev());
            events.len()
        })?;
    }
    events.truncate(limit as usize);
    Ok(events)
}

/// Reads rows until there are so many events or no row is left: first few, as a row may hold many events, then more.
fn walk(
    tx: &mut dyn Tx,
    rest: &str,
    mut from: i64,
    limit: u32,
    mut take: impl FnMut(Vec<Event>) -> usize,
) -> Result<(), StoreError> {
    let mut batch = 2;
    loop {
        let rows = select(tx, rest, from, batch)?;
        let read_all = rows.len() < batch as usize;
        for row in rows {
            from = row.last().map_or(from, |event| event.seq);
            if take(row) >= limit as usize {
                return Ok(());
            }
        }
        if read_all {
            return Ok(());
        }
        batch = (2 * batch).min(limit.max(2));
    }
}

/// The events of each row, oldest first; a row has one at least.
fn select(tx: &mut dyn Tx, rest: &str, seq: i64, limit: u32) -> Result<Vec<Vec<Event>>, StoreError> {
    let select = "SELECT a.seq, a.writer, a.n, a.at, a.event, a.hash, s.hash, s.at, s.key_id, s.signature, a.block \
                  FROM audit a LEFT JOIN audit_signatures s ON s.writer = a.writer AND s.n = a.n ";
    tx.query(&[select, rest].concat(), params![seq, limit])?.iter().map(events).collect()
}

fn events(row: &Row) -> Result<Vec<Event>, StoreError> {
    let signature = match row.get::<Option<Hash>>(6)? {
        Some(hash) => Some(Signature { hash, at: row.get(7)?, key_id: row.get(8)?, signature: row.get(9)? }),
        None => None,
    };
    let last = Event {
        seq: row.get(0)?,
        writer: row.get(1)?,
        n: row.get(2)?,
        at: row.get(3)?,
        event: row.get(4)?,
        hash: row.get(5)?,
        signature,
    };
    let Some(block) = row.get::<Option<Vec<u8>>>(10)? else { return Ok(vec![last]) };
    // A block that cannot be read is an event without a text, which no chain holds.
    let frames = block::unpack(&block).unwrap_or_default();
    let Some(before) = frames.len().checked_sub(1) else { return Ok(vec![last]) };
    let events = frames.into_iter().zip(0..).map(|(frame, at)| {
        let back = before as i64 - at;
        Event {
            seq: last.seq - back,
            writer: last.writer.clone(),
            n: last.n - back,
            at: frame.at,
            event: frame.event,
            hash: Some(frame.hash),
            signature: last.signature.clone().filter(|_| back == 0),
        }
    });
    Ok(events.collect())
}
