//! What the SQLite executor promises beyond the rows: closures that share a commit are undone one by one and fail
//! together, nobody is answered before the commit, a read sees one state, and one process at a time has the file.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use futures_util::poll;
use strongroom_store::hook::CommitHook;
use strongroom_store::migrate::Schema;
use strongroom_store::sql::Param;
use strongroom_store::{Committed, Database, OpenError, StoreError, Tx, WriteError, block_on};
use tempfile::TempDir;

const SCHEMA: Schema = Schema { migrations: &["CREATE TABLE words (word TEXT PRIMARY KEY)"] };

type Written = Result<Committed<()>, WriteError<StoreError>>;
type Writing = Pin<Box<dyn Future<Output = Written> + Send>>;

fn open(folder: &TempDir) -> Database {
    Database::open(&folder.path().join("words.db"), &SCHEMA, "test").unwrap()
}

fn open_with(folder: &TempDir, hook: Arc<dyn CommitHook>) -> Database {
    Database::open_with(&folder.path().join("words.db"), &SCHEMA, "test", hook).unwrap()
}

fn insert(tx: &mut dyn Tx, word: &str) -> Result<(), StoreError> {
    tx.execute("INSERT INTO words (word) VALUES ($1)", &[Param::Text(word)]).map(drop)
}

fn read_words(tx: &mut dyn Tx) -> Result<Vec<String>, StoreError> {
    tx.query_column("SELECT word FROM words ORDER BY word", &[])
}

fn words(database: &Database) -> Vec<String> {
    database.read_blocking(read_words).unwrap()
}

fn writing(database: &Database, word: &'static str) -> Writing {
    Box::pin(database.write(move |tx| insert(tx, word)))
}

/// Queues writes while the writer is held inside a transaction, so that they share the next commit (as many as have room
/// in the queue); then lets it go on.
fn as_one_group(database: &Database, mut writes: Vec<Writing>) -> Vec<Written> {
    let (entered, inside): (Sender<()>, Receiver<()>) = channel();
    let (leave, left): (Sender<()>, Receiver<()>) = channel();
    let holder = thread::spawn({
        let database = database.clone();
        move || {
            database.write_blocking(move |_| -> Result<(), StoreError> {
                entered.send(()).unwrap();
                left.recv().unwrap();
                Ok(())
            })
        }
    });
    inside.recv().unwrap();
    block_on(async {
        for write in &mut writes {
            assert!(poll!(write).is_pending());
        }
    });
    leave.send(()).unwrap();
    let _ = holder.join().unwrap();
    writes.into_iter().map(block_on).collect()
}

/// Fails the commits that it was told to, before or after them, and counts.
#[derive(Default)]
struct Failing {
    before: Option<u64>,
    after: Option<u64>,
    commits: AtomicU64,
}

impl CommitHook for Failing {
    fn before_commit(&self, n: u64) -> Result<(), StoreError> {
        self.commits.store(n, Ordering::SeqCst);
        if self.before == Some(n) { Err(StoreError::Full("planted".into())) } else { Ok(()) }
    }

    fn after_commit(&self, n: u64) -> Result<(), StoreError> {
        if self.after == Some(n) { Err(StoreError::Unknown("planted".into())) } else { Ok(()) }
    }
}

#[test]
fn error_and_panic_undo_their_own_closure_alone() {
    let folder = tempfile::tempdir().unwrap();
    let hook = Arc::new(Failing::default());
    let database = open_with(&folder, hook.clone());
    let refusing = database.write(|tx| -> Result<(), StoreError> {
        insert(tx, "refused")?;
        Err(StoreError::Busy("no".into()))
    });
    let panicking = database.write(|tx| -> Result<(), StoreError> {
        insert(tx, "panicked")?;
        panic!("planted")
    });
    let doubled = writing(&database, "first");
    let group =
        vec![writing(&database, "first"), Box::pin(refusing), Box::pin(panicking), doubled, writing(&database, "last")];
    let results = as_one_group(&database, group);
    assert_eq!(hook.commits.load(Ordering::SeqCst), 2, "the holder's commit, and one for the group");
    assert!(results[0].is_ok() && results[4].is_ok(), "{results:?}");
    assert_eq!(results[1], Err(WriteError::Refused(StoreError::Busy("no".into()))));
    assert_eq!(results[2], Err(WriteError::Panicked("planted".into())));
    assert!(matches!(results[3], Err(WriteError::Refused(StoreError::Conflict(_)))), "it sees its group's rows");
    assert_eq!(words(&database), ["first", "last"]);
    block_on(writing(&database, "after the panic")).unwrap().into_inner();
}

#[test]
fn failed_commit_fails_everyone_in_its_group_and_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_with(&folder, Arc::new(Failing { before: Some(2), ..Failing::default() }));
    let refusing = database.write(|_| -> Result<(), StoreError> { Err(StoreError::Busy("no".into())) });
    let group = vec![writing(&database, "a"), Box::pin(refusing), writing(&database, "b")];
    let results = as_one_group(&database, group);
    // The refusal may rest on a row that is gone now, so that it is told the failure too.
    for result in results {
        assert_eq!(result, Err(WriteError::Store(StoreError::Full("planted".into()))));
    }
    assert_eq!(words(&database), Vec::<String>::new());
    block_on(writing(&database, "next")).unwrap().into_inner();
    assert_eq!(words(&database), ["next"]);
}

#[test]
fn commit_of_unknown_outcome_is_told_so_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let database = open_with(&folder, Arc::new(Failing { after: Some(1), ..Failing::default() }));
    let result = block_on(writing(&database, "a"));
    assert_eq!(result, Err(WriteError::Store(StoreError::Unknown("planted".into()))));
    drop(database);
    assert_eq!(words(&open(&folder)), ["a"]);
}

/// Waits inside each commit until it is let go.
struct Gate {
    reached: Mutex<Sender<()>>,
    open: Mutex<Receiver<()>>,
}

impl CommitHook for Gate {
    fn before_commit(&self, _: u64) -> Result<(), StoreError> {
        self.reached.lock().unwrap().send(()).unwrap();
        self.open.lock().unwrap().recv().unwrap();
        Ok(())
    }
}

#[test]
fn nobody_is_answered_before_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let ((reached, at_commit), (go, open)) = (channel(), channel());
    let database = open_with(&folder, Arc::new(Gate { reached: Mutex::new(reached), open: Mutex::new(open) }));
    let mut accepted = writing(&database, "a");
    let mut refused: Writing = Box::pin(database.write(|_| Err(StoreError::Busy("no".into()))));
    for (write, answer) in [(&mut accepted, Ok(())), (&mut refused, Err(()))] {
        assert!(block_on(async { poll!(&mut *write) }).is_pending());
        at_commit.recv().unwrap();
        assert!(block_on(async { poll!(&mut *write) }).is_pending(), "the closure has run, the commit has not");
        go.send(()).unwrap();
        assert_eq!(block_on(write).map(Committed::into_inner).map_err(drop), answer);
    }
}

#[test]
fn read_sees_one_state_and_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    block_on(writing(&database, "before")).unwrap().into_inner();
    let (first, second) = database
        .read_blocking(|tx| {
            let first = read_words(tx)?;
            block_on(writing(&database, "meanwhile")).unwrap().into_inner();
            Ok::<_, StoreError>((first, read_words(tx)?))
        })
        .unwrap();
    assert_eq!((first, second), (vec!["before".to_owned()], vec!["before".to_owned()]));
    assert_eq!(words(&database), ["before", "meanwhile"]);
    assert!(database.read_blocking(|tx| insert(tx, "forbidden")).is_err());
    assert_eq!(words(&database), ["before", "meanwhile"]);
}

#[test]
fn a_read_sees_what_anybody_has_heard_of() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    let written = Arc::new(AtomicU64::new(0));
    let count = |database: &Database| words(database).len() as u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=500 {
                database.write_blocking(move |tx| insert(tx, &n.to_string())).unwrap().into_inner();
                assert_eq!(count(&database), n);
                written.store(n, Ordering::Release);
            }
        });
        for _ in 0..6 {
            scope.spawn(|| {
                let mut seen = 0;
                for _ in 0..2_000 {
                    let heard = written.load(Ordering::Acquire);
                    let sees = count(&database);
                    assert!(sees >= heard.max(seen), "{sees} of {heard}, and {seen} before");
                    seen = sees;
                }
            });
        }
    });
}

#[test]
fn the_log_begins_anew_though_connections_keep_their_transactions() {
    let folder = TempDir::new().unwrap();
    let database = open(&folder);
    // Four connections that are kept.
    let barrier = std::sync::Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| database.read_blocking(|tx| read_words(tx).map(|_| barrier.wait())).map(drop).unwrap());
        }
    });
    for n in 0..3_000 {
        let word = format!("{n} {}", "long ".repeat(1_000));
        database.write_blocking(move |tx| insert(tx, &word)).unwrap().into_inner();
        if n % 7 == 0 {
            database.read_blocking(|tx| tx.query_value::<i64>("SELECT COUNT(*) FROM words", &[])).unwrap();
        }
    }
    // Of 3,000 commits of more than 5 KB each.
    let log = std::fs::metadata(folder.path().join("words.db-wal")).unwrap().len();
    assert!(log < 8 << 20, "{log} bytes");
}

#[test]
fn more_callers_than_room_are_all_served() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    // The writer is held while all of them come, so that the queue fills and the rest wait for room in it.
    let callers = (0..400).map(|n| -> Writing { Box::pin(database.write(move |tx| insert(tx, &format!("{n:03}")))) });
    let results = as_one_group(&database, callers.collect());
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(words(&database), (0..400).map(|n| format!("{n:03}")).collect::<Vec<_>>());
}

#[test]
fn dropped_caller_does_not_hurt_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    let mut dropped = writing(&database, "dropped");
    let _ = block_on(async { poll!(&mut dropped) });
    drop(dropped);
    block_on(writing(&database, "kept")).unwrap().into_inner();
    assert_eq!(words(&database), ["dropped", "kept"], "a write that was queued happens");
    drop(writing(&database, "never polled"));
    block_on(writing(&database, "last")).unwrap().into_inner();
    assert_eq!(words(&database), ["dropped", "kept", "last"]);
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    let mut queued = writing(&database, "queued");
    let _ = block_on(async { poll!(&mut queued) });
    drop(database);
    assert!(block_on(queued).is_ok(), "closing finishes what is queued");
    let database = open(&folder);
    assert_eq!(words(&database), ["queued"]);
}

#[test]
fn second_opener_learns_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    database.note("dev, http://127.0.0.1:4225").unwrap();
    let path = folder.path().join("words.db");
    match Database::open(&path, &SCHEMA, "second") {
        Err(OpenError::InUse { holder, .. }) => {
            assert_eq!((holder.pid, holder.notes.as_str()), (Some(std::process::id()), "dev, http://127.0.0.1:4225"));
        }
        other => panic!("{:?}", other.map(drop)),
    }
    drop(database);
    open(&folder);
}

const LATER: Schema = Schema {
    migrations: &["CREATE TABLE words (word TEXT PRIMARY KEY)", "ALTER TABLE words ADD COLUMN length BIGINT"],
};
const BROKEN: Schema = Schema {
    migrations: &[
        "CREATE TABLE words (word TEXT PRIMARY KEY)",
        "CREATE TABLE half (a TEXT); CREATE TABLE words (b TEXT)",
    ],
};

#[test]
fn migrations_go_forward_and_a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.db");
    let reopen = |schema: &Schema| Database::open(&path, schema, "test");
    block_on(writing(&open(&folder), "kept")).unwrap().into_inner();
    assert!(matches!(reopen(&BROKEN), Err(OpenError::Store { .. })));
    assert!(!has_table(&open(&folder), "half"), "a migration that fails is undone whole");
    assert_eq!(words(&reopen(&LATER).unwrap()), ["kept"]);
    match reopen(&SCHEMA) {
        Err(OpenError::NewerSchema { found: 2, known: 1, .. }) => {}
        other => panic!("{:?}", other.map(drop)),
    }
    assert_eq!(words(&reopen(&LATER).unwrap()), ["kept"]);
}

fn has_table(database: &Database, name: &'static str) -> bool {
    let found = database.read_blocking(|tx| {
        tx.query_opt("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1", &[Param::Text(name)])
    });
    found.unwrap().is_some()
}

#[test]
fn placeholders_go_by_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let found: Option<String> = open(&folder)
        .read_blocking(|tx| tx.query_value("SELECT $2 || $1 || $2", &[Param::Text("a"), Param::Text("b")]))
        .unwrap();
    assert_eq!(found.as_deref(), Some("bab"));
}

#[test]
fn damaged_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.db");
    std::fs::write(
        &path,
        b"this is not a database, and long enough for a header of one hundred bytes, I should say so now!",
    )
    .unwrap();
    match open_error(&path) {
        OpenError::Store { cause: StoreError::Corrupt(_), .. } => {}
        other => panic!("{other:?}"),
    }
}

fn open_error(path: &Path) -> OpenError {
    Database::open(path, &SCHEMA, "test").map(drop).unwrap_err()
}
