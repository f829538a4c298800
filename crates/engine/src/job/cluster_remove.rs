//! Y2 to Y4: a cluster without HSMs is removed. A backup under way is finished first, one at a time; then the vault
//! destroys the cluster for good, and only then it is DELETED. Its backups open without it: they hold its key themselves.

use strongroom_model::ClusterId;
use strongroom_model::time::HOUR;
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{backups, clusters, jobs};

use crate::job::{After, Lease, Stop};
use crate::names;

/// How long a DELETED cluster or backup is still shown, in milliseconds.
pub(crate) const SHOWN: i64 = HOUR;

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let cluster_id = ClusterId::new(&lease.claim.subject);
    let id = cluster_id.clone();
    if let Some(backup_id) = lease.region.control.read(move |tx| backups::in_progress_of_cluster(tx, &id)).await? {
        // Conditional on the row's state, so that a backup that settled meanwhile is not waited for.
        return lease
            .commit(move |tx, now| {
                let open = backups::is_in_progress(tx, &backup_id)?;
                Ok(((), if open { After::Wait(names::backup(&backup_id)) } else { After::Due(now) }))
            })
            .await;
    }
    lease.region.hsms.destroy(&cluster_id).await?;
    lease
        .commit(move |tx, now| {
            if clusters::deleted(tx, &cluster_id, now)? {
                jobs::schedule(tx, JobKind::Forget, &names::cluster(&cluster_id), now.plus(SHOWN))?;
            }
            Ok(((), After::End))
        })
        .await
}
