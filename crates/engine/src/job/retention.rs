//! R1: once a day, also for a DELETED cluster, its backups that are older than its policy allows go to PENDING_DELETION,
//! oldest first. The newest READY one always stays, and so does one that never expires.

use strongroom_model::backup::UNDELETE_WINDOW;
use strongroom_model::time::DAY;
use strongroom_model::{ClusterId, Timestamp};
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{backups, clusters, jobs};

use crate::job::{After, Lease, Stop};
use crate::names;

/// The most backups that one run takes.
const TAKEN: u32 = 100;

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let cluster_id = ClusterId::new(&lease.claim.subject);
    lease
        .commit(move |tx, now| {
            let Some(cluster) = clusters::get(tx, &cluster_id)? else { return Ok(((), After::End)) };
            let older = older_than(now, cluster.retention_days);
            let expired = backups::expired(tx, &cluster_id, older, TAKEN)?;
            for backup_id in &expired {
                if backups::pending_deletion(tx, backup_id, now.plus(UNDELETE_WINDOW))? {
                    jobs::schedule(tx, JobKind::Purge, &names::backup(backup_id), now.plus(UNDELETE_WINDOW))?;
                }
            }
            let more = expired.len() as u32 == TAKEN;
            Ok(((), After::Due(if more { now } else { now.plus(DAY) })))
        })
        .await
}

fn older_than(now: Timestamp, days: i64) -> Timestamp {
    now.plus(-days * DAY)
}
