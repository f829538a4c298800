//! What a database offers to be held to this suite, and how two callers are raced on it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use strongroom_store::migrate::Schema;
use strongroom_store::postgres::Postgres;
use strongroom_store::{Committed, Database, StoreError, Tx, WriteError, control, vault};
use tempfile::TempDir;

/// How often a race is run: each time from new rows.
pub const ROUNDS: u8 = 12;

/// A database with a schema and no rows. Clones are other connections to the same one.
pub trait Executor: Clone + Send + 'static {
    /// Whether there is a server for it here.
    fn is_there() -> bool {
        true
    }

    /// A new database of a schema.
    fn open(schema: &Schema) -> Self;

    /// A transaction that is durable when it returns.
    fn write<T, F>(&self, closure: F) -> Result<Committed<T>, WriteError<Failure>>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, Failure> + Send + 'static;

    /// A transaction that only reads.
    fn read<T, F>(&self, closure: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut dyn Tx) -> Result<T, StoreError>;

    /// A new control store.
    fn control() -> Self {
        Self::open(&control::SCHEMA)
    }

    /// A new vault.
    fn vault() -> Self {
        Self::open(&vault::SCHEMA)
    }

    /// A write that must succeed.
    fn set<T, F>(&self, closure: F) -> T
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, Failure> + Send + 'static,
    {
        self.write(closure).unwrap().into_inner()
    }

    /// A read that must succeed.
    fn get<T>(&self, closure: impl FnMut(&mut dyn Tx) -> Result<T, StoreError>) -> T {
        self.read(closure).unwrap()
    }
}

/// Runs a test where there is a server for it.
#[allow(clippy::print_stdout, reason = "whoever reads the test's output must learn that it was skipped")]
pub fn run<E: Executor>(test: fn()) {
    match E::is_there() {
        true => test(),
        false => println!("skipped: {SERVER} names no server"),
    }
}

/// Why a closure of a test undoes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The rows forbid it.
    Refused,
    /// The store said no.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A contender of a race.
pub type Contender<T> = Box<dyn FnMut(&mut dyn Tx) -> Result<T, Failure> + Send>;

/// Runs closures at the same moment, each as a transaction of its own on a thread of its own; their results in order.
pub fn race<T: Send + 'static>(
    executor: &impl Executor,
    contenders: Vec<Contender<T>>,
) -> Vec<Result<T, WriteError<Failure>>> {
    let start = Arc::new(Barrier::new(contenders.len()));
    let threads: Vec<_> = contenders
        .into_iter()
        .map(|contender| {
            let (executor, start) = (executor.clone(), start.clone());
            thread::spawn(move || {
                start.wait();
                executor.write(contender).map(Committed::into_inner)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// How many of the results are `Ok(true)`; none may be an error.
pub fn winners(results: Vec<Result<bool, WriteError<Failure>>>) -> usize {
    results.into_iter().filter(|result| *result.as_ref().unwrap()).count()
}

/// SQLite: one file, one writer, readers beside it.
#[derive(Clone)]
pub struct Sqlite {
    database: Database,
    _folder: Arc<TempDir>,
}

impl Executor for Sqlite {
    fn open(schema: &Schema) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("store.db"), schema, "conformance").unwrap();
        Self { database, _folder: Arc::new(folder) }
    }

    fn write<T, F>(&self, closure: F) -> Result<Committed<T>, WriteError<Failure>>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, Failure> + Send + 'static,
    {
        self.database.write_blocking(closure)
    }

    fn read<T, F>(&self, closure: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut dyn Tx) -> Result<T, StoreError>,
    {
        self.database.read_blocking(closure)
    }
}

/// The server that the tests may use, as libpq has it.
const SERVER: &str = "STRONGROOM_TEST_POSTGRES";

/// PostgreSQL: a schema of its own in the server that [`SERVER`] names.
impl Executor for Postgres {
    fn is_there() -> bool {
        std::env::var_os(SERVER).is_some()
    }

    fn open(schema: &Schema) -> Self {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed));
        Self::open(&std::env::var(SERVER).unwrap(), &name, schema).unwrap()
    }

    fn write<T, F>(&self, closure: F) -> Result<Committed<T>, WriteError<Failure>>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, Failure> + Send + 'static,
    {
        self.write_blocking(closure)
    }

    fn read<T, F>(&self, closure: F) -> Result<T, StoreError>
    where
        F: FnMut(&mut dyn Tx) -> Result<T, StoreError>,
    {
        self.read_blocking(closure)
    }
}
