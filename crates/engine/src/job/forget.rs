//! Z5: the row of a DELETED backup or cluster goes when nobody may ask for it any more and nothing needs it: no pin, no
//! unsettled copy of a backup; no backup of a cluster. Receipts and tombstones stay for good.

use strongroom_model::time::HOUR;
use strongroom_store::control::{backups, clusters, policies, tags};

use crate::job::{After, Lease, Stop};
use crate::names::{self, Named};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let Some(named) = names::parse(&lease.claim.subject) else { return lease.stop(After::End).await };
    lease
        .commit(move |tx, now| {
            let (gone, id) = match &named {
                Named::Backup(id) => (backups::forget(tx, id)?, id.as_str()),
                Named::Cluster(id) => (clusters::forget(tx, id)?, id.as_str()),
            };
            if !gone {
                return Ok(((), After::Due(now.plus(HOUR))));
            }
            tags::delete_all(tx, id)?;
            policies::delete(tx, id)?;
            Ok(((), After::End))
        })
        .await
}
