//! CC2: a cluster without a backup becomes UNINITIALIZED. Nothing of it is in the vault before its first HSM.

use strongroom_model::ClusterId;
use strongroom_store::control::clusters;

use crate::job::{After, Lease, Stop};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let cluster_id = ClusterId::new(&lease.claim.subject);
    lease.commit(move |tx, _| Ok((clusters::uninitialized(tx, &cluster_id)?, After::End))).await.map(drop)
}
