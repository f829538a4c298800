//! What the PostgreSQL executor promises beyond the rows: what cannot be serialized is run again, a refusal and a panic undo
//! what they wrote, a lost connection is made anew, and nothing of it may be dropped where it would end the process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use strongroom_store::migrate::Schema;
use strongroom_store::postgres::Postgres;
use strongroom_store::sql::Param;
use strongroom_store::{OpenError, StoreError, Tx, WriteError};

const SCHEMA: Schema = Schema { migrations: &["CREATE TABLE counts (name TEXT PRIMARY KEY, n BIGINT NOT NULL)"] };

/// The URL of the server that the tests may use, and a schema of this test's own; `None` where there is no server.
#[allow(clippy::print_stdout, reason = "whoever reads the test's output must learn that it was skipped")]
fn place() -> Option<(String, String)> {
    static PLACES: AtomicU32 = AtomicU32::new(0);
    let Ok(url) = std::env::var("STRONGROOM_TEST_POSTGRES") else {
        println!("skipped: STRONGROOM_TEST_POSTGRES names no server");
        return None;
    };
    Some((url, format!("executor_{}_{}", std::process::id(), PLACES.fetch_add(1, Ordering::Relaxed))))
}

fn open() -> Option<Postgres> {
    let (url, name) = place()?;
    Some(Postgres::open(&url, &name, &SCHEMA).unwrap())
}

fn add(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let n = tx.query_value::<i64>("SELECT n FROM counts WHERE name = 'one'", &[])?;
    let sql = match n {
        None => "INSERT INTO counts (name, n) VALUES ('one', 1)",
        Some(_) => "UPDATE counts SET n = n + 1 WHERE name = 'one'",
    };
    tx.execute(sql, &[])?;
    Ok(n.unwrap_or(0) + 1)
}

fn count(database: &Postgres) -> i64 {
    let counted = database.read_blocking(|tx| tx.query_value("SELECT n FROM counts WHERE name = 'one'", &[]));
    counted.unwrap().unwrap_or(0)
}

#[test]
fn what_cannot_be_serialized_is_run_again() {
    let Some(database) = open() else { return };
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(database.write_blocking(add).unwrap().into_inner() > 0);
                }
            });
        }
    });
    assert_eq!(count(&database), 120);
}

#[test]
fn a_refusal_and_a_panic_undo_what_they_wrote() {
    let Some(database) = open() else { return };
    let refused = database.write_blocking(|tx| add(tx).and(Err::<(), _>(StoreError::Closed)));
    assert_eq!(refused.map(|_| ()), Err(WriteError::Refused(StoreError::Closed)));
    let panicked = database.write_blocking(|tx| -> Result<(), StoreError> {
        add(tx)?;
        panic!("on purpose")
    });
    assert_eq!(panicked.map(|_| ()), Err(WriteError::Panicked("on purpose".into())));
    assert_eq!(count(&database), 0);
    // Nor is anything kept of a closure that goes on after a statement failed.
    let deaf = database.write_blocking(|tx| -> Result<(), StoreError> {
        add(tx)?;
        let _ = tx.execute("INSERT INTO counts (name, n) VALUES ('one', 7)", &[]);
        Ok(())
    });
    assert!(matches!(deaf.map(|_| ()), Err(WriteError::Store(StoreError::Conflict(_)))));
    assert_eq!(count(&database), 0);
}

#[test]
fn a_read_sees_one_state_and_cannot_write() {
    let Some(database) = open() else { return };
    let other = database.clone();
    let seen = database.read_blocking(move |tx| {
        let sql = "SELECT COUNT(*) FROM counts";
        let before = tx.query_value::<i64>(sql, &[])?;
        other.write_blocking(add).map_err(WriteError::flatten)?.into_inner();
        Ok::<_, StoreError>((before, tx.query_value::<i64>(sql, &[])?))
    });
    assert_eq!(seen.unwrap(), (Some(0), Some(0)));
    assert!(database.read_blocking(add).is_err());
    assert_eq!(count(&database), 1);
}

#[test]
fn a_connection_that_is_lost_is_made_anew() {
    let Some(database) = open() else { return };
    for n in 1..=20 {
        // Nothing was under way on any of them.
        let others = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity \
                      WHERE pid <> pg_backend_pid() AND application_name = current_setting('application_name')";
        let ended = database.write_blocking(|tx| tx.query_column::<i64>(others, &[])).unwrap().into_inner();
        assert!(!ended.is_empty() || n == 1);
        // One that is only going could still be in the middle of a write.
        for pid in ended {
            let left = "SELECT 1 FROM pg_stat_activity WHERE pid = CAST($1 AS BIGINT)";
            while database.read_blocking(|tx| tx.query_opt(left, &[Param::Int(pid)])).unwrap().is_some() {}
        }
        for _ in 0..10 {
            database.write_blocking(add).unwrap().into_inner();
        }
        assert_eq!(count(&database), 10 * n);
    }
}

#[tokio::test]
async fn the_last_handle_may_go_in_async_code() {
    let Some((url, name)) = place() else { return };
    let database = tokio::task::spawn_blocking(move || {
        let database = Postgres::open(&url, &name, &SCHEMA).unwrap();
        assert_eq!(count(&database), 0);
        database
    });
    let database = database.await.unwrap();
    assert_eq!(database.write(add).await.unwrap().into_inner(), 1);
    assert_eq!(database.read(|tx| tx.query_value::<i64>("SELECT n FROM counts", &[])).await, Ok(Some(1)));
    drop(database);
}

#[test]
fn whoever_comes_first_migrates_and_a_newer_schema_is_refused() {
    const NEWER: Schema = Schema { migrations: &[SCHEMA.migrations[0], "CREATE TABLE more (n BIGINT)"] };
    let Some((url, name)) = place() else { return };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| Postgres::open(&url, &name, &NEWER).map(drop).unwrap());
        }
    });
    let refused = Postgres::open(&url, &name, &SCHEMA).map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::NewerSchema { found: 2, known: 1, .. }), "{refused}");
}

#[test]
fn a_url_that_cannot_be_used_is_not_repeated() {
    for url in ["host=/nowhere user=u password=open-sesame", "postgres://u:open-sesame@[", "open-sesame"] {
        let error = Postgres::open(url, "a", &SCHEMA).map(drop).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
    let error = Postgres::open("host=/nowhere user=u", "a; DROP SCHEMA b", &SCHEMA).map(drop).unwrap_err();
    assert!(error.to_string().contains("is no name of a schema"), "{error}");
}
