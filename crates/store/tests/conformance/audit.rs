//! The audit trail: one order in the store, one chain for each writer, signatures that stay.

use strongroom_model::Timestamp;
use strongroom_store::chain;
use strongroom_store::control::audit::{self, Event, Records, Signature};
use strongroom_store::{StoreError, Tx};

use crate::executor::{Contender, Executor, Failure, ROUNDS, race};

fn records<T: AsRef<str>>(events: impl IntoIterator<Item = T>) -> Records {
    let mut records = Records::default();
    events.into_iter().for_each(|event| records.push(Timestamp::from_millis(5), event.as_ref()));
    records
}

fn all(tx: &mut dyn Tx) -> Result<Vec<Event>, StoreError> {
    audit::after(tx, 0, 10_000)
}

/// Panics unless these events are a whole chain.
fn check_chain(writer: &str, events: &[&Event]) {
    let mut previous = chain::start(writer);
    for (event, n) in events.iter().zip(1..) {
        let hash = chain::link(&previous, n, &event.event);
        assert_eq!((event.n, event.hash), (n, Some(hash)), "{event:?}");
        previous = hash.to_vec();
    }
}

/// Events have the order of their commits and numbers without a gap; what was undone leaves no event.
pub fn events_are_numbered_in_order<E: Executor>() {
    let store = E::control();
    let contenders = (0..6).map(|n| -> Contender<()> {
        Box::new(move |tx| {
            audit::append(tx, "w", &records([format!("event {n}")]))?;
            if n % 3 == 0 { Err(Failure::Refused) } else { Ok(()) }
        })
    });
    race(&store, contenders.collect());
    let events = store.get(all);
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let mut texts: Vec<_> = events.iter().map(|e| e.event.as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["event 1", "event 2", "event 4", "event 5"]);
    check_chain("w", &events.iter().collect::<Vec<_>>());
    let newest = store.get(|tx| audit::before(tx, 4, 2));
    assert_eq!(newest.iter().map(|e| e.seq).collect::<Vec<_>>(), [3, 2]);
}

/// Whoever writes at the same time has a whole chain of his own, batches and single events together.
pub fn writers_have_a_chain_each<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        let contenders = ["a", "b", "a"].map(|writer| -> Contender<()> {
            let batch = records((0..3).map(|n| format!("{round}.{n}")));
            Box::new(move |tx| {
                audit::append(tx, writer, &batch)?;
                audit::append(tx, writer, &Records::default())?;
                Ok(audit::append(tx, writer, &records(["one"]))?)
            })
        });
        race(&store, contenders.into()).into_iter().for_each(|result| result.unwrap());
    }
    let events = store.get(all);
    for (writer, count) in [("a", 8), ("b", 4)] {
        let own: Vec<_> = events.iter().filter(|event| event.writer == writer).collect();
        assert_eq!(own.len(), count * usize::from(ROUNDS));
        check_chain(writer, &own);
        let head = store.get(|tx| audit::head(tx, writer)).unwrap();
        assert_eq!((head.n, Some(head.hash)), (own.len() as i64, own[own.len() - 1].hash));
    }
}

/// A closure that runs again, after a run that was undone, takes up the rows that are there and nothing of its first run.
pub fn closures_that_run_again_chain_once<E: Executor>() {
    let store = E::control();
    store.set(|tx| Ok(audit::append(tx, "w", &records(["first"]))?));
    let append = |tx: &mut dyn Tx| audit::append(tx, "w", &records(["again"]));
    let undone = store.write(move |tx| {
        append(tx)?;
        Err::<(), _>(Failure::Refused)
    });
    assert!(undone.is_err());
    store.set(|tx| Ok(audit::append(tx, "w", &records(["between"]))?));
    store.set(move |tx| Ok(append(tx)?));
    let events = store.get(all);
    assert_eq!(events.iter().map(|e| e.event.as_str()).collect::<Vec<_>>(), ["first", "between", "again"]);
    check_chain("w", &events.iter().collect::<Vec<_>>());
}

/// A head has one signature, the first; it is shown with the event that it covers last.
pub fn heads_are_signed_once<E: Executor>() {
    let store = E::control();
    store.set(|tx| Ok(audit::append(tx, "w", &records(["1", "2"]))?));
    store.set(|tx| Ok(audit::append(tx, "w", &records(["3"]))?));
    let signature = |key_id: &str, hash| Signature {
        hash,
        at: Timestamp::from_millis(7),
        key_id: key_id.into(),
        signature: vec![7; 64],
    };
    let hash = store.get(all)[1].hash.unwrap();
    let contenders = ["x", "y"].map(|key| -> Contender<()> {
        let signature = signature(key, hash);
        Box::new(move |tx| Ok(audit::sign(tx, "w", 2, &signature)?))
    });
    race(&store, contenders.into()).into_iter().for_each(|result| result.unwrap());
    let head = store.get(|tx| audit::head(tx, "w")).unwrap();
    assert_eq!((head.n, head.signed_n), (3, 2));
    store.set(|tx| Ok(audit::append(tx, "w", &records(["4"]))?));
    assert_eq!(store.get(|tx| audit::head(tx, "w")).unwrap().signed_n, 2);
    let signed: Vec<_> = store.get(all).into_iter().filter_map(|e| Some((e.n, e.signature?))).collect();
    assert_eq!(signed.len(), 1);
    assert!(signed[0] == (2, signature("x", hash)) || signed[0] == (2, signature("y", hash)), "{signed:?}");
}

/// A batch is read as its events, from any of them on and in both directions, however many rows it took.
pub fn batches_are_read_as_their_events<E: Executor>() {
    let store = E::control();
    let long = "an event that is long ".repeat(1_000);
    for batch in [1, 40, 1, 2] {
        let batch = records((0..batch).map(|n| format!("{n} {long}")));
        store.set(move |tx| Ok(audit::append(tx, "w", &batch)?));
    }
    let events = store.get(all);
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=44).collect::<Vec<_>>());
    check_chain("w", &events.iter().collect::<Vec<_>>());
    for seq in 0..=45 {
        for limit in [1, 2, 7, 100] {
            let expected: Vec<_> = events.iter().filter(|event| event.seq > seq).take(limit as usize).collect();
            assert_eq!(store.get(|tx| audit::after(tx, seq, limit)).iter().collect::<Vec<_>>(), expected);
            let expected: Vec<_> = events.iter().rev().filter(|event| event.seq < seq).take(limit as usize).collect();
            assert_eq!(store.get(|tx| audit::before(tx, seq, limit)).iter().collect::<Vec<_>>(), expected);
        }
    }
    assert_eq!(store.get(|tx| audit::before(tx, i64::MAX, 3)).len(), 3);
    assert_eq!(store.get(audit::last), 44);
}

/// A block that cannot be read is an event that no chain holds, in its place; all others are read.
pub fn a_damaged_block_is_told_apart<E: Executor>() {
    let store = E::control();
    for _ in 0..3 {
        store.set(|tx| Ok(audit::append(tx, "w", &records(["1", "2", "3"]))?));
    }
    store.set(|tx| Ok(tx.execute("UPDATE audit SET block = hash WHERE seq = 6", &[]).map(drop)?));
    let seqs: Vec<_> = store.get(all).into_iter().map(|event| (event.seq, event.n, event.event)).collect();
    let expected = [(1, "1"), (2, "2"), (3, "3"), (6, ""), (7, "1"), (8, "2"), (9, "3")];
    assert_eq!(seqs, expected.map(|(n, text)| (n, n, text.to_owned())));
}

/// Events of a store from before there were chains have no writer and no hash, and numbers go on after theirs.
pub fn events_from_before_the_chain_stay_readable<E: Executor>() {
    let store = E::control();
    store.set(|tx| Ok(tx.execute("INSERT INTO audit (seq, at, event) VALUES (1, 5, 'old')", &[]).map(drop)?));
    store.set(|tx| Ok(audit::append(tx, "w", &records(["new"]))?));
    let events = store.get(all);
    assert_eq!((events[0].writer.as_str(), events[0].n, events[0].hash), ("", 0, None));
    assert_eq!((events[1].seq, events[1].n), (2, 1));
    check_chain("w", &[&events[1]]);
}
