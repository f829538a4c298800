//! D1: a backup a day of a cluster that is ACTIVE with an ACTIVE HSM. However many days were missed, one is made; after a
//! clock that jumped the next comes no sooner than in an hour.

use strongroom_model::time::{DAY, HOUR};
use strongroom_model::{BackupId, ClusterId, Timestamp};
use strongroom_store::control::jobs;

use crate::backup;
use crate::job::{After, Lease, Stop};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let cluster_id = ClusterId::new(&lease.claim.subject);
    let backup_id = BackupId::from_bytes(lease.region.draw());
    let claim = lease.claim.clone();
    lease
        .commit(move |tx, now| {
            let due = jobs::due_at(tx, claim.kind, &claim.subject)?.unwrap_or(now);
            backup::begin_daily(tx, &cluster_id, &backup_id, due, now)?;
            Ok(((), After::Due(next(due, now))))
        })
        .await
}

fn next(due: Timestamp, now: Timestamp) -> Timestamp {
    due.plus(DAY).max(now.plus(HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_days_are_made_up_for_once() {
        let t = Timestamp::from_millis;
        assert_eq!(next(t(0), t(5)), t(DAY));
        assert_eq!(next(t(0), t(10 * DAY)), t(10 * DAY + HOUR));
    }
}
