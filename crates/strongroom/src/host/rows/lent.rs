//! Owns a write whose closure borrows: the store wants closures that it may keep, so the one it gets here only serves
//! statements, while the real closure runs on its own thread against [`Lent`]. The writer is held meanwhile; a thread that
//! dies closes the channel, and the transaction is undone.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use strongroom_store::sql::{Cell, Param, Row, Tx};
use strongroom_store::{Database, StoreError, WriteError, block_on};

/// What the writer hears.
enum Word {
    Execute(String, Vec<Cell>),
    Query(String, Vec<Cell>),
    /// The closure succeeded. If instead nothing is heard any more, the transaction is undone.
    Commit,
}

/// What the closure's thread hears: rows changed, or rows read.
type Heard = Result<(u64, Vec<Row>), StoreError>;

/// Runs `closure` in a transaction of `database` and commits it durably, unless it fails.
///
/// # Errors
/// What the closure returned, or the store's failure through `failed`.
pub(super) fn write<E>(
    database: &Database,
    closure: &mut dyn FnMut(&mut dyn Tx) -> Result<(), E>,
    failed: fn(StoreError) -> E,
) -> Result<(), E> {
    let (words, hears) = sync_channel(1);
    let (answers, heard) = sync_channel(1);
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let mut served = Some((hears, answers, opened));
    let held = database.write(move |tx| {
        // The store may run a closure again; this one's other half has gone by then.
        let (hears, answers, opened) = served.take().ok_or(Undone)?;
        opened.send(()).map_err(|()| Undone)?;
        serve(tx, &hears, &answers)
    });
    let run = async move {
        if is_open.await.is_err() {
            // The store never began; the other future says why.
            return Ok(());
        }
        let mut lent = Lent { words, heard };
        closure(&mut lent)?;
        // A writer that is gone has told why.
        let _ = lent.words.send(Word::Commit);
        Ok(())
    };
    let (held, run) = block_on(futures_util::future::join(held, run));
    run?;
    match held {
        Ok(_) => Ok(()),
        Err(WriteError::Store(error)) => Err(failed(error)),
        Err(error) => Err(failed(StoreError::Other(error.to_string()))),
    }
}

/// The closure did not succeed, so that its transaction is undone.
#[derive(Debug, thiserror::Error)]
#[error("the transaction was undone")]
struct Undone;

fn serve(tx: &mut dyn Tx, hears: &Receiver<Word>, answers: &SyncSender<Heard>) -> Result<(), Undone> {
    loop {
        let heard = match hears.recv().map_err(|_| Undone)? {
            Word::Execute(sql, params) => tx.execute(&sql, &borrowed(&params)).map(|changed| (changed, Vec::new())),
            Word::Query(sql, params) => tx.query(&sql, &borrowed(&params)).map(|rows| (0, rows)),
            Word::Commit => return Ok(()),
        };
        answers.send(heard).map_err(|_| Undone)?;
    }
}

/// A transaction that is open on the writer's thread.
struct Lent {
    words: SyncSender<Word>,
    heard: Receiver<Heard>,
}

impl Lent {
    fn run(&self, word: Word) -> Heard {
        self.words.send(word).map_err(|_| StoreError::Closed)?;
        self.heard.recv().map_err(|_| StoreError::Closed)?
    }
}

impl Tx for Lent {
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        Ok(self.run(Word::Execute(sql.into(), owned(params)))?.0)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.run(Word::Query(sql.into(), owned(params)))?.1)
    }
}

fn owned(params: &[Param<'_>]) -> Vec<Cell> {
    let owned = |param: &Param<'_>| match *param {
        Param::Null => Cell::Null,
        Param::Int(n) => Cell::Int(n),
        Param::Text(text) => Cell::Text(text.into()),
        Param::Blob(bytes) => Cell::Blob(bytes.into()),
    };
    params.iter().map(owned).collect()
}

fn borrowed(cells: &[Cell]) -> Vec<Param<'_>> {
    let borrowed = |cell| match cell {
        &Cell::Null => Param::Null,
        &Cell::Int(n) => Param::Int(n),
        Cell::Text(text) => Param::Text(text),
        Cell::Blob(bytes) => Param::Blob(bytes),
    };
    cells.iter().map(borrowed).collect()
}
