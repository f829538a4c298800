//! N9: a copy whose source never came back to finish it ends DELETED, seven days after the source's own deadline.

use strongroom_model::BackupId;
use strongroom_store::control::backups;

use crate::copy::incoming;
use crate::copy::message::Reason;
use crate::job::{After, Lease, Stop};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let backup_id = BackupId::new(&lease.claim.subject);
    lease
        .commit(move |tx, now| {
            let Some(backup) = backups::get(tx, &backup_id)? else { return Ok(((), After::End)) };
            match backup.deadline_at {
                Some(deadline) if deadline > now => return Ok(((), After::Due(deadline))),
                _ => {}
            }
            let reason = Reason::new("source-lost", "its source did not finish it in time");
            incoming::delete_unsettled(tx, &backup, &reason, now)?;
            Ok(((), After::End))
        })
        .await
}
