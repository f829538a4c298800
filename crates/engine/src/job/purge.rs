//! Z3: a backup whose week is over becomes DELETED. Its bytes go unless a pin holds them; then the pin's owner dooms them.
//! The purge of a copy is told to its source by a receipt, so that the copy is never sent again.

use strongroom_store::StoreError;
use strongroom_store::control::jobs::JobKind;
use strongroom_store::control::{backups, jobs};

use crate::copy::receipts;
use crate::job::cluster_remove::SHOWN;
use crate::job::{After, Lease, Stop};
use crate::names::{self, Named};
use crate::payload;

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let Some(Named::Backup(backup_id)) = names::parse(&lease.claim.subject) else {
        return lease.stop(After::End).await;
    };
    lease
        .commit(move |tx, now| {
            let Some(backup) = backups::get(tx, &backup_id)? else { return Ok(((), After::End)) };
            let Some(delete_at) = backup.delete_at else { return Ok(((), After::End)) };
            if delete_at > now {
                return Ok(((), After::Due(delete_at)));
            }
            if backups::purged(tx, &backup_id, now)? {
                payload::doom_unpinned(tx, backup.blob_id.as_ref(), now)?;
                if let (Some(peer), Some(copy_id)) = (&backup.source_region_id, &backup.copy_id) {
                    receipts::give_purged(tx, peer, copy_id, &backup, now)?;
                }
                jobs::schedule(tx, JobKind::Forget, &names::backup(&backup_id), now.plus(SHOWN))?;
            }
            Ok::<_, StoreError>(((), After::End))
        })
        .await
}
