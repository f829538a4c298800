//! Jobs: who has them, and what one who was only slow can still do, which is nothing.

use strongroom_model::Timestamp;
use strongroom_store::control::jobs::{self, Job, JobKind};

use crate::executor::{Contender, Executor, ROUNDS, race};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Two processes scan at the same moment: one gets the job.
pub fn claimed_by_one<E: Executor>() {
    let store = E::control();
    for round in 0..ROUNDS {
        store.set(move |tx| Ok(jobs::schedule(tx, JobKind::Purge, &format!("backup-{round}"), at(5))?));
        let contenders = ["a", "b"].map(|owner| -> Contender<Vec<Job>> {
            Box::new(move |tx| Ok(jobs::claim_due(tx, at(10), owner, at(40), 10)?))
        });
        let claimed: Vec<_> = race(&store, contenders.into()).into_iter().map(Result::unwrap).collect();
        assert_eq!(claimed.iter().map(Vec::len).sum::<usize>(), 1, "{claimed:?}");
        let job = claimed.into_iter().flatten().next().unwrap();
        // An epoch is taken once, over all jobs.
        assert_eq!((job.subject, job.epoch), (format!("backup-{round}"), round as i64 + 1));
    }
}

/// Its lease ran out and another has the job: nothing of the first owner's is recorded any more.
pub fn slow_owner_cannot_write<E: Executor>() {
    let store = E::control();
    store.set(|tx| Ok(jobs::insert_claimed(tx, JobKind::Copy, "copy-a", "slow", at(30))?));
    let twice = store.write(|tx| Ok(jobs::insert_claimed(tx, JobKind::Copy, "copy-a", "other", at(30))?));
    assert!(twice.is_err(), "one job for each kind and subject");
    let claimed = store.set(|tx| Ok(jobs::claim_due(tx, at(31), "next", at(61), 10)?));
    assert_eq!(claimed.iter().map(|j| j.epoch).collect::<Vec<_>>(), [2]);
    let before = store.get(jobs::all);
    let (kind, subject) = (JobKind::Copy, "copy-a");
    let slow = store.set(move |tx| {
        Ok([
            jobs::holds(tx, kind, subject, 1)?,
            jobs::renew(tx, kind, subject, 1, at(99))?,
            jobs::release(tx, kind, subject, 1, at(99))?,
            jobs::postpone(tx, kind, subject, 1, at(99), "slow")?,
            jobs::wait_for(tx, kind, subject, 1, "backup:b", at(99))?,
            jobs::finish(tx, kind, subject, 1)?,
        ])
    });
    assert_eq!(slow, [false; 6]);
    assert_eq!(store.get(jobs::all), before);
    let next = store.set(move |tx| Ok([jobs::holds(tx, kind, subject, 2)?, jobs::finish(tx, kind, subject, 2)?]));
    assert_eq!(next, [true; 2]);
    assert_eq!(store.get(jobs::all), []);
}

/// A job that waits for a row is due when the row settles, or at its own time at the latest.
pub fn waiter_wakes_with_its_row<E: Executor>() {
    let store = E::control();
    store.set(|tx| {
        jobs::insert_waiting(tx, JobKind::HsmMake, "hsm-a", "backup:b", at(1_000))?;
        jobs::insert_waiting(tx, JobKind::HsmMake, "hsm-b", "backup:other", at(1_000))?;
        Ok(jobs::insert_claimed(tx, JobKind::ClusterRemove, "cluster-a", "me", at(50))?)
    });
    let claim = |now| {
        let claimed = store.set(move |tx| Ok(jobs::claim_due(tx, at(now), "me", at(now + 30), 10)?));
        claimed.into_iter().map(|j| j.subject).collect::<Vec<_>>()
    };
    assert_eq!(claim(10), Vec::<String>::new());
    let (kind, subject) = (JobKind::ClusterRemove, "cluster-a");
    assert!(store.set(move |tx| Ok(jobs::wait_for(tx, kind, subject, 1, "backup:b", at(1_000))?)));
    assert_eq!(claim(20), Vec::<String>::new());
    assert_eq!(store.set(|tx| Ok(jobs::wake_waiters(tx, "backup:b", at(30))?)), 2);
    let mut woken = claim(30);
    woken.sort();
    assert_eq!(woken, ["cluster-a", "hsm-a"]);
    assert_eq!(claim(1_000).last().map(String::as_str), Some("hsm-b"), "the latest time");
}

/// A due job under a lease that is renewed stays its owner's.
pub fn live_lease_is_kept<E: Executor>() {
    let store = E::control();
    store.set(|tx| Ok(jobs::insert_claimed(tx, JobKind::Snapshot, "backup-a", "me", at(30))?));
    assert!(store.set(|tx| Ok(jobs::renew(tx, JobKind::Snapshot, "backup-a", 1, at(60))?)));
    for now in [20, 40, 60] {
        assert!(!store.get(|tx| jobs::any_due(tx, at(now))));
        assert_eq!(store.set(move |tx| Ok(jobs::claim_due(tx, at(now), "other", at(99), 10)?)), []);
    }
    assert!(store.get(|tx| jobs::any_due(tx, at(61))));
}

/// U4: a start voids what former lives had claimed, whatever their leases say; jobs for later stay for later.
pub fn recovery_voids_leases<E: Executor>() {
    let store = E::control();
    store.set(|tx| {
        jobs::insert_claimed(tx, JobKind::Copy, "copy-a", "dead", at(1_000_000))?;
        Ok(jobs::schedule(tx, JobKind::Daily, "cluster-a", at(500_000))?)
    });
    assert_eq!(store.set(|tx| Ok(jobs::recover(tx, at(10))?)), 1);
    let claimed = store.set(|tx| Ok(jobs::claim_due(tx, at(10), "living", at(40), 10)?));
    assert_eq!(claimed.iter().map(|j| (j.subject.as_str(), j.epoch)).collect::<Vec<_>>(), [("copy-a", 2)]);
    assert_eq!(store.get(|tx| jobs::due_at(tx, JobKind::Daily, "cluster-a")), Some(at(500_000)));
}

/// One row for each kind and subject: a second time moves the first.
pub fn schedule_moves_what_is_there<E: Executor>() {
    let store = E::control();
    store.set(|tx| {
        jobs::schedule(tx, JobKind::Purge, "backup-a", at(5))?;
        jobs::schedule(tx, JobKind::Forget, "backup-a", at(6))?;
        Ok(jobs::schedule(tx, JobKind::Purge, "backup-a", at(7))?)
    });
    let due: Vec<_> = store.get(jobs::all).iter().map(|j| (j.kind, j.due_at)).collect();
    assert_eq!(due, [(JobKind::Forget, at(6)), (JobKind::Purge, at(7))]);
    let failed = store.set(|tx| {
        let claimed = jobs::claim_due(tx, at(10), "me", at(40), 10)?;
        let purge = claimed.iter().find(|j| j.kind == JobKind::Purge).unwrap();
        jobs::postpone(tx, JobKind::Purge, "backup-a", purge.epoch, at(20), "no space")?;
        Ok((jobs::attempts(tx, JobKind::Purge, "backup-a")?, jobs::reason(tx, JobKind::Purge, "backup-a")?))
    });
    assert_eq!(failed, (1, Some("no space".into())));
}

/// A job that was removed and written anew is another job: nothing of the first owner's is recorded.
pub fn removed_and_written_anew<E: Executor>() {
    let store = E::control();
    let epochs = store.set(|tx| {
        let (kind, subject) = (JobKind::Purge, "backup:backup-a");
        jobs::schedule(tx, kind, subject, at(5))?;
        let first = jobs::claim_due(tx, at(5), "first", at(35), 10)?[0].epoch;
        jobs::remove(tx, kind, subject)?;
        jobs::schedule(tx, kind, subject, at(6))?;
        let second = jobs::claim_due(tx, at(6), "second", at(36), 10)?[0].epoch;
        Ok((jobs::holds(tx, kind, subject, first)?, jobs::holds(tx, kind, subject, second)?))
    });
    assert_eq!(epochs, (false, true));
}

/// A renewal that comes after the release takes the job from nobody.
pub fn late_renewal<E: Executor>() {
    let store = E::control();
    let claimable = store.set(|tx| {
        let (kind, subject) = (JobKind::Copy, "copy-a");
        let epoch = jobs::insert_claimed(tx, kind, subject, "me", at(30))?;
        jobs::release(tx, kind, subject, epoch, at(10))?;
        jobs::renew(tx, kind, subject, epoch, at(60))?;
        Ok(jobs::any_due(tx, at(11))?)
    });
    assert!(claimable);
}
