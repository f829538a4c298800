//! Owns the executor over SQLite: one file, one writer thread, a few reading connections, one lock file beside it.
//!
//! A write is queued; the writer takes what is there (at most [`GROUP`]), runs each closure in a savepoint of its own
//! (an error or a panic undoes that one alone), commits the group once, and only then answers anybody, refusals too,
//! since these may rest on rows of the same group. A failed commit fails all in it. Reads run on the caller's thread, each
//! in one transaction that sees one state; a connection keeps its transaction for further reads until something was
//! committed, for beginning and ending one costs as much as a small read. Nothing here awaits inside a transaction, and
//! nothing retries: the writer is the only one there is.

use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement};

use crate::answer::block_on;
use crate::error::{OpenError, StoreError, WriteError};
use crate::hook::{CommitHook, NoHook};
use crate::lock::Lock;
use crate::migrate::{self, Schema, Step};
use crate::pending::{self, Work};
use crate::queue::Queue;
use crate::sql::{Cell, Committed, Param, Row, Tx};

/// The most closures that share a commit. Larger groups gain no throughput and cost latency.
pub const GROUP: usize = 64;
/// The closures that can be queued before a caller waits for room.
const QUEUED: usize = 4 * GROUP;
/// The reading connections that are kept; more are opened and closed again as needed.
const READERS_KEPT: usize = 4;

/// A database file that this process alone has open. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Database(Arc<Inner>);

struct Inner {
    queue: Arc<Queue<Box<dyn Work>>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    hook: Arc<dyn CommitHook>,
    lock: Arc<Lock>,
}

impl Database {
    /// Opens or creates the file, takes `<name>.lock` beside it, and migrates it to the schema. `notes` go into the lock
    /// file, for whoever meets it. The folder must be there.
    pub fn open(path: &Path, schema: &Schema, notes: &str) -> Result<Self, OpenError> {
        Self::open_hooked(path, schema, notes, Arc::new(NoHook))
    }

    /// As [`open`](Self::open), with a hook around each effect. Migrations are not counted.
    #[cfg(feature = "faults")]
    pub fn open_with(path: &Path, schema: &Schema, notes: &str, hook: Arc<dyn CommitHook>) -> Result<Self, OpenError> {
        Self::open_hooked(path, schema, notes, hook)
    }

    fn open_hooked(path: &Path, schema: &Schema, notes: &str, hook: Arc<dyn CommitHook>) -> Result<Self, OpenError> {
        let lock = Arc::new(Lock::take(&path.with_extension("lock"), notes)?);
        let failed = |cause| OpenError::Store { path: path.to_owned(), cause };
        let connection = open_writer(path).map_err(failed)?;
        migrate::to_latest(path, schema, |step| in_transaction(&connection, step))?;
        sync_folder(path).map_err(failed)?;

        let queue = Arc::new(Queue::new(QUEUED));
        let readers = Arc::new(Readers { path: path.to_owned(), idle: Mutex::default(), commits: AtomicU64::new(0) });
        let writer =
            Writer { connection, readers: readers.clone(), hook: hook.clone(), commits: 0, _lock: lock.clone() };
        let thread = thread::Builder::new().name("store-writer".into()).spawn({
            let queue = queue.clone();
            move || writer.run(&queue)
        });
        let writer = Some(thread.map_err(|e| failed(e.into()))?);
        Ok(Self(Arc::new(Inner { queue, writer, readers, hook, lock })))
    }

    /// Replaces the notes in the lock file.
    pub fn note(&self, notes: &str) -> Result<(), StoreError> {
        Ok(self.0.lock.note(notes)?)
    }

    /// Runs a closure in a transaction of its own and makes it durable. The closure holds no effect but rows and may be
    /// run again. Dropping the future after its first poll leaves open whether the write happens.
    pub fn write<T, E, F>(
        &self,
        closure: F,
    ) -> impl Future<Output = Result<Committed<T>, WriteError<E>>> + Send + use<T, E, F>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        let done = pending::queued(self.0.queue.clone(), closure, |work| work);
        async move { done.await.map(Committed::new) }
    }

    /// As [`write`](Self::write), for threads of no async runtime.
    pub fn write_blocking<T, E, F>(&self, closure: F) -> Result<Committed<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        block_on(self.write(closure))
    }

    /// Runs a closure that only reads, in one transaction that sees one state. Here it runs on the caller's thread; it is
    /// async for executors that are not as near.
    pub async fn read<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        self.read_blocking(closure)
    }

    /// As [`read`](Self::read), for threads of no async runtime; the closure may borrow.
    pub fn read_blocking<T, E, F>(&self, mut closure: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(&mut dyn Tx) -> Result<T, E>,
    {
        self.0.hook.before_read()?;
        // A panic drops the connection with its transaction.
        let reader = self.0.readers.take()?;
        let mut tx = SqliteTx::new(&reader.connection);
        let result = closure(&mut tx);
        if tx.failure.is_none() {
            self.0.readers.put_back(reader);
        }
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.thread().id() != thread::current().id()
        {
            // A panic of the writer thread was seen by everyone who waited for it.
            let _ = writer.join();
        }
    }
}

/// The connections that only read.
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Reader>>,
    /// Counts twice for each commit, before it can be seen and before anybody hears of it: it is odd in between.
    commits: AtomicU64,
}

struct Reader {
    connection: Connection,
    /// The count when its transaction was begun; `None` where there is none.
    begun_at: Option<u64>,
}

impl Readers {
    /// A connection whose transaction sees what one that begins now would see. One that is open does so if no commit has
    /// begun since, and none was under way.
    fn take(&self) -> Result<Reader, StoreError> {
        let kept = self.idle().pop();
        let mut reader = match kept {
            Some(reader) => reader,
            None => Reader { connection: open_reader(&self.path)?, begun_at: None },
        };
        let now = self.commits.load(Ordering::SeqCst);
        if reader.begun_at != Some(now) || now % 2 == 1 {
            reader.end()?;
            run(&reader.connection, "BEGIN DEFERRED")?;
            reader.begun_at = Some(now);
        }
        Ok(reader)
    }

    fn put_back(&self, reader: Reader) {
        let mut idle = self.idle();
        if idle.len() < READERS_KEPT {
            idle.push(reader);
        }
    }

    /// Ends the transactions that nobody uses: the log of the file begins anew only where none is open.
    fn end_idle(&self) {
        self.idle().retain_mut(|reader| reader.end().is_ok());
    }

    /// No code of ours panics while it holds the lock, so that a poisoned one is whole.
    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn end(&mut self) -> Result<(), StoreError> {
        match self.begun_at.take() {
            Some(_) => run(&self.connection, "ROLLBACK"),
            None => Ok(()),
        }
    }
}

struct Writer {
    connection: Connection,
    readers: Arc<Readers>,
    hook: Arc<dyn CommitHook>,
    commits: u64,
    _lock: Arc<Lock>,
}

impl Writer {
    fn run(mut self, queue: &Queue<Box<dyn Work>>) {
        loop {
            let mut group = queue.pop(GROUP);
            if group.is_empty() {
                return;
            }
            self.readers.end_idle();
            let outcome = self.commit(&mut group);
            if let Err(error) = &outcome {
                tracing::debug!(%error, writes = group.len(), "a group of writes was not committed");
                if !self.connection.is_autocommit() {
                    // If even this fails, the next BEGIN does, and says so.
                    let _ = run(&self.connection, "ROLLBACK");
                }
            }
            for write in group {
                write.answer(outcome.clone());
            }
        }
    }

    fn commit(&mut self, group: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
        run(&self.connection, "BEGIN IMMEDIATE")?;
        for write in group {
            self.savepoint(write.as_mut())?;
        }
        self.commits += 1;
        self.hook.before_commit(self.commits)?;
        self.readers.commits.fetch_add(1, Ordering::SeqCst);
        let committed = run(&self.connection, "COMMIT");
        self.readers.commits.fetch_add(1, Ordering::SeqCst);
        committed.map_err(|error| match error {
            // After an I/O error the frames may be on the disk and show after a restart.
            StoreError::Other(cause) => StoreError::Unknown(cause),
            refused => refused,
        })?;
        self.hook.after_commit(self.commits)
    }

    /// Runs one closure. An error is the whole group's: SQLite rolls everything back when, say, the disk is full.
    fn savepoint(&self, write: &mut dyn Work) -> Result<(), StoreError> {
        run(&self.connection, "SAVEPOINT one")?;
        let mut tx = SqliteTx::new(&self.connection);
        let keep = write.run(&mut tx);
        if self.connection.is_autocommit() {
            return Err(tx.failure.unwrap_or_else(|| StoreError::Other("the transaction was rolled back".into())));
        }
        if !keep {
            run(&self.connection, "ROLLBACK TO one")?;
        }
        run(&self.connection, "RELEASE one")
    }
}

/// A transaction on a connection. Remembers its last failure, which explains a transaction that SQLite ended itself.
struct SqliteTx<'c> {
    connection: &'c Connection,
    failure: Option<StoreError>,
}

impl<'c> SqliteTx<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self { connection, failure: None }
    }

    fn noting<T>(&mut self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| self.failure.insert(error.into()).clone())
    }
}

impl Tx for SqliteTx<'_> {
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let connection = self.connection;
        let changed = connection.prepare_cached(sql).and_then(|mut statement| {
            bind(&mut statement, params)?;
            statement.raw_execute()
        });
        self.noting(changed).map(|n| n as u64)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let connection = self.connection;
        let rows = connection.prepare_cached(sql).and_then(|mut statement| {
            bind(&mut statement, params)?;
            let columns = statement.column_count();
            let (mut rows, mut found) = (Vec::new(), statement.raw_query());
            while let Some(row) = found.next()? {
                let cells = (0..columns).map(|i| row.get_ref(i).map(cell));
                rows.push(Row::new(cells.collect::<rusqlite::Result<Vec<_>>>()?));
            }
            Ok(rows)
        });
        self.noting(rows)
    }
}

/// Binds each parameter by the number in its name: SQLite itself counts `$2` by where it first stands.
fn bind(statement: &mut Statement<'_>, params: &[Param<'_>]) -> rusqlite::Result<()> {
    let wanted = statement.parameter_count();
    let wrong = || rusqlite::Error::InvalidParameterCount(params.len(), wanted);
    if wanted != params.len() {
        return Err(wrong());
    }
    for index in 1..=wanted {
        let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let param = number.and_then(|number| params.get(number.checked_sub(1)?));
        statement.raw_bind_parameter(index, param.ok_or_else(wrong)?)?;
    }
    Ok(())
}

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Int(n) => ValueRef::Integer(*n),
            Param::Text(text) => ValueRef::Text(text.as_bytes()),
            Param::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// No column is declared REAL; one that shows anyway is read as the text that it is not.
fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(n) => Cell::Int(n),
        ValueRef::Real(x) => Cell::Text(x.to_string()),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Blob(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    }
}

fn run(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    // Created here for its mode, which SQLite's other files take over.
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    tune(connection, 2048, 128)
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    tune(connection, 512, 64)
}

/// Settings of every connection; the page cache is in KiB.
fn tune(connection: Connection, cache: i64, statements: usize) -> Result<Connection, StoreError> {
    connection.busy_timeout(Duration::from_secs(10))?;
    // Without this a statement is planned anew whenever a bound value of a range changes, which costs more than running it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cache_size", -cache)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_prepared_statement_cache_capacity(statements);
    Ok(connection)
}

fn in_transaction(connection: &Connection, step: &mut Step<'_>) -> Result<i64, StoreError> {
    run(connection, "BEGIN IMMEDIATE")?;
    let result = step(&mut SqliteTx::new(connection));
    run(connection, if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    result
}

/// Makes the names of the files in the folder durable.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(std::fs::File::open(folder)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_began_beside_a_commit_is_not_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("words.db");
        let writer = open_writer(&path).unwrap();
        writer.execute_batch("CREATE TABLE words (word TEXT)").unwrap();
        let readers = Readers { path, idle: Mutex::default(), commits: AtomicU64::new(0) };
        let count = || {
            let reader = readers.take().unwrap();
            let count: i64 = reader.connection.query_row("SELECT COUNT(*) FROM words", [], |row| row.get(0)).unwrap();
            readers.put_back(reader);
            count
        };
        // Each time there is one row more; only the last finds a transaction that it may go on with.
        for (counted, seen) in [(0, 0), (1, 1), (1, 2), (2, 3), (2, 3)] {
            readers.commits.store(counted, Ordering::SeqCst);
            assert_eq!(count(), seen, "{counted}");
            writer.execute_batch("INSERT INTO words VALUES ('one more')").unwrap();
        }
    }
}
