//! Owns the executor over PostgreSQL: a few plain threads, each with one connection and the statements that it has prepared.
//! A write is one SERIALIZABLE transaction, a read one REPEATABLE READ that cannot write; what PostgreSQL could not
//! serialize is run again here, and nowhere else. A refusal commits too, unless it wrote: only then has PostgreSQL vouched
//! for the rows that it rests on.
//!
//! The client blocks, and ends the process if an async worker so much as drops it: no connection leaves these threads, and
//! those of blocking reads are dropped on a thread of their own.

mod value;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::postgres::error::SqlState;
use ::postgres::types::ToSql;
use ::postgres::{Client, Config, IsolationLevel, NoTls, Statement, Transaction};

use crate::answer::block_on;
use crate::error::{OpenError, StoreError, WriteError};
use crate::migrate::{self, Schema, Step};
use crate::pending::{self, Work};
use crate::queue::Queue;
use crate::sql::{Committed, Param, Row, Tx};

/// The connections that write, and those that read beside them.
const WORKERS: usize = 8;
/// The closures that can be queued before a caller waits for room.
const QUEUED: usize = 32 * WORKERS;
/// How often a transaction is run until it is said to be too busy.
const TRIES: u32 = 40;
/// The longest wait before a transaction is run again.
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// The tables of one schema in a PostgreSQL database. Clones share its connections; the last one closes them.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    target: Target,
    queue: Arc<Queue<Item>>,
    workers: Vec<JoinHandle<()>>,
    /// For reads of threads that block.
    idle: Mutex<Vec<Session>>,
}

/// Where to connect to.
#[derive(Clone)]
struct Target {
    config: Config,
    /// For messages: never with a password.
    name: String,
}

struct Item {
    work: Box<dyn Work>,
    only_reads: bool,
}

impl Postgres {
    /// Connects (`url` as libpq has it, such as `host=/run/postgresql user=strongroom dbname=strongroom`), makes the schema
    /// `name` if it is missing, and migrates it.
    ///
    /// # Errors
    /// What could not be done, without what the URL holds.
    pub fn open(url: &str, name: &str, schema: &Schema) -> Result<Self, OpenError> {
        let target = Target::new(url, name);
        let failed = |cause| OpenError::Store { path: name.into(), cause };
        let target = target.map_err(failed)?;
        migrate_all(&target, schema)?;
        let queue = Arc::new(Queue::new(QUEUED));
        let workers = (0..WORKERS).map(|n| {
            let (queue, target) = (queue.clone(), target.clone());
            thread::Builder::new()
                .name(format!("store-{n}"))
                .spawn(move || Worker { target, session: None }.run(&queue))
        });
        let workers = workers.collect::<Result<_, _>>().map_err(|error| failed(error.into()))?;
        Ok(Self(Arc::new(Inner { target, queue, workers, idle: Mutex::default() })))
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
        let done = pending::queued(self.0.queue.clone(), closure, |work| Item { work, only_reads: false });
        async move { done.await.map(Committed::new) }
    }

    /// As [`write`](Self::write), for threads of no async runtime.
    ///
    /// # Errors
    /// As there.
    pub fn write_blocking<T, E, F>(&self, closure: F) -> Result<Committed<T>, WriteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        block_on(self.write(closure))
    }

    /// Runs a closure that only reads, in one transaction that sees one state.
    ///
    /// # Errors
    /// The closure's own, or what the store said.
    pub async fn read<T, E, F>(&self, closure: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        let done = pending::queued(self.0.queue.clone(), closure, |work| Item { work, only_reads: true });
        done.await.map_err(WriteError::flatten)
    }

    /// As [`read`](Self::read), for threads of no async runtime; the closure may borrow.
    ///
    /// # Errors
    /// As there.
    pub fn read_blocking<T, E, F>(&self, mut closure: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnMut(&mut dyn Tx) -> Result<T, E>,
    {
        loop {
            let kept = self.idle().pop();
            let is_new = kept.is_none();
            let mut session = kept.map_or_else(|| Session::open(&self.0.target), Ok)?;
            let result = session.begin(true).map_err(E::from).and_then(|mut tx| closure(&mut tx));
            match session.is_of_use() {
                true => self.idle().push(session),
                // It was lost while nobody used it.
                false if !is_new && result.is_err() => continue,
                false => {}
            }
            return result;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        let idle = std::mem::take(self.idle.get_mut().unwrap_or_else(PoisonError::into_inner));
        let closing = thread::spawn(move || drop(idle));
        for thread in self.workers.drain(..).chain([closing]) {
            // A panic of a worker was seen by whoever waited for it.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Target {
    fn new(url: &str, schema: &str) -> Result<Self, StoreError> {
        // The schema's name goes into statements as it is.
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || !schema.chars().all(is_plain) {
            return Err(StoreError::Other(format!("{schema:?} is no name of a schema: use a to z, 0 to 9 and _")));
        }
        let mut config: Config = url.parse().map_err(|_| StoreError::Other("the URL cannot be read".to_owned()))?;
        config.options(&format!("-c search_path={schema}")).application_name(&format!("strongroom {schema}"));
        config.connect_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(30));
        Ok(Self { config, name: schema.to_owned() })
    }
}

/// A connection with the statements that it has prepared.
struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    /// PostgreSQL has said so, perhaps before its line was cut; or the line was.
    is_lost: bool,
}

impl Session {
    fn open(target: &Target) -> Result<Self, StoreError> {
        Ok(Self { client: target.config.connect(NoTls)?, statements: HashMap::new(), is_lost: false })
    }

    fn begin(&mut self, only_reads: bool) -> Result<PostgresTx<'_>, StoreError> {
        let level = if only_reads { IsolationLevel::RepeatableRead } else { IsolationLevel::Serializable };
        let begun = self.client.build_transaction().isolation_level(level).read_only(only_reads).start();
        let (statements, is_lost) = (&mut self.statements, &mut self.is_lost);
        match begun {
            Ok(transaction) => Ok(PostgresTx { transaction, statements, is_lost, failure: None, has_written: false }),
            Err(error) => {
                *is_lost = means_lost(&error);
                Err(error.into())
            }
        }
    }

    fn is_of_use(&self) -> bool {
        !self.is_lost && !self.client.is_closed()
    }
}

/// A thread with its connection.
struct Worker {
    target: Target,
    session: Option<Session>,
}

/// What became of one run of a transaction.
enum Outcome {
    Done,
    /// It could not be serialized, or its connection was lost before it was to be committed.
    Again(StoreError),
}

impl Worker {
    fn run(mut self, queue: &Queue<Item>) {
        while let Some(mut item) = queue.pop(1).pop() {
            let outcome = self.until_done(&mut item);
            if let Err(error) = &outcome {
                tracing::debug!(%error, "a transaction was not committed");
            }
            item.work.answer(outcome);
        }
    }

    fn until_done(&mut self, item: &mut Item) -> Result<(), StoreError> {
        let mut pause = Duration::from_micros(500);
        let mut tries = 1;
        while let Outcome::Again(error) = self.once(item)? {
            if tries == TRIES {
                return Err(error);
            }
            thread::sleep(pause);
            (tries, pause) = (tries + 1, (2 * pause).min(PAUSE_MAX));
        }
        Ok(())
    }

    fn once(&mut self, item: &mut Item) -> Result<Outcome, StoreError> {
        let mut session = match self.session.take().filter(Session::is_of_use) {
            Some(session) => session,
            None => Session::open(&self.target)?,
        };
        let outcome = transact(&mut session, item);
        // A line that was cut before the commit has changed nothing.
        let is_lost = !session.is_of_use();
        self.session = Some(session);
        match outcome {
            Err(error @ StoreError::Busy(_)) if is_lost => Ok(Outcome::Again(error)),
            outcome => outcome,
        }
    }
}

fn transact(session: &mut Session, item: &mut Item) -> Result<Outcome, StoreError> {
    let mut tx = session.begin(item.only_reads)?;
    let keep = item.work.run(&mut tx);
    match tx.failure.take() {
        Some(failure) if failure.is_for_now => return Ok(Outcome::Again(failure.error)),
        // The closure went on as if nothing had failed, and PostgreSQL has undone everything; or its line was cut.
        Some(failure) if keep || matches!(failure.error, StoreError::Busy(_)) => return Err(failure.error),
        Some(_) => return Ok(Outcome::Done),
        None => {}
    }
    // Nothing to commit: the transaction is undone where it is dropped.
    if item.only_reads || !keep && tx.has_written {
        return Ok(Outcome::Done);
    }
    match tx.transaction.commit() {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if is_for_now(&error) => Ok(Outcome::Again(error.into())),
        // PostgreSQL may have committed before the line was cut, or before it was stopped.
        Err(error) if error.code().is_none() || means_lost(&error) => Err(StoreError::Unknown(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// A transaction on a connection. Remembers its first failure, after which PostgreSQL takes no further statement.
struct PostgresTx<'s> {
    transaction: Transaction<'s>,
    statements: &'s mut HashMap<String, Statement>,
    is_lost: &'s mut bool,
    failure: Option<Failure>,
    has_written: bool,
}

struct Failure {
    error: StoreError,
    is_for_now: bool,
}

impl PostgresTx<'_> {
    fn prepared(&mut self, sql: &str) -> Result<Statement, ::postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.transaction.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    fn noting<T>(&mut self, result: Result<T, ::postgres::Error>) -> Result<T, StoreError> {
        result.map_err(|error| {
            let is_for_now = is_for_now(&error);
            *self.is_lost |= means_lost(&error);
            let error = StoreError::from(error);
            self.failure.get_or_insert_with(|| Failure { error: error.clone(), is_for_now });
            error
        })
    }
}

impl Tx for PostgresTx<'_> {
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.has_written = true;
        let statement = self.prepared(sql);
        let changed = statement.and_then(|statement| self.transaction.execute(&statement, &values(params)));
        self.noting(changed)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql);
        let rows = statement.and_then(|statement| self.transaction.query(&statement, &values(params)));
        self.noting(rows)?.iter().map(value::row).collect()
    }
}

fn values<'p>(params: &'p [Param<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

/// Whether the same transaction may succeed when it is run again.
fn is_for_now(error: &::postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// Whether the connection is of no further use: its line was cut, or PostgreSQL ends it.
fn means_lost(error: &::postgres::Error) -> bool {
    let cause = std::error::Error::source(error);
    error.is_closed()
        || cause.is_some_and(|cause| cause.is::<std::io::Error>())
        || error.code().is_some_and(|code| code.code().starts_with("57P"))
}

impl From<::postgres::Error> for StoreError {
    fn from(error: ::postgres::Error) -> Self {
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        let text = format!("{error}{cause}");
        let Some(code) = error.code() else {
            return if means_lost(&error) { Self::Busy(text) } else { Self::Other(text) };
        };
        match code.code() {
            "53100" => Self::Full(text),
            "XX001" | "XX002" => Self::Corrupt(text),
            code if code.starts_with("23") => Self::Conflict(text),
            // Not serializable; too many connections or too little memory; the server stops or has not started yet.
            code if ["40", "53", "57"].iter().any(|class| code.starts_with(class)) => Self::Busy(text),
            _ => Self::Other(text),
        }
    }
}

/// Makes the schema, and runs what is missing, one transaction per migration; one process at a time.
fn migrate_all(target: &Target, schema: &Schema) -> Result<(), OpenError> {
    let name = &target.name;
    let failed = |cause: StoreError| OpenError::Store { path: name.into(), cause };
    let mut session = Session::open(target).map_err(failed)?;
    let lock = format!("SELECT pg_advisory_lock(hashtext('strongroom {name}')); CREATE SCHEMA IF NOT EXISTS {name}");
    session.client.batch_execute(&lock).map_err(|error| failed(error.into()))?;
    migrate::to_latest(Path::new(name), schema, |step| in_transaction(&mut session, step))
}

fn in_transaction(session: &mut Session, step: &mut Step<'_>) -> Result<i64, StoreError> {
    let mut tx = Translated(session.begin(false)?);
    let number = step(&mut tx)?;
    tx.0.transaction.commit()?;
    Ok(number)
}

/// A migration's transaction: SQLite's name for a number that is the row's own is an integer of half the size here.
struct Translated<'s>(PostgresTx<'s>);

impl Tx for Translated<'_> {
    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.0.execute(&sql.replace("INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY"), params)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.0.query(sql, params)
    }
}
