//! A cluster whose type changes, or changes back, becomes ACTIVE. There is nothing else to do: an HSM of either type is the
//! same software, and keeps its address and its keys.

use strongroom_model::ClusterId;
use strongroom_store::control::clusters;

use crate::job::{After, Lease, Stop};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let cluster_id = ClusterId::new(&lease.claim.subject);
    lease.commit(move |tx, _| Ok((clusters::modified(tx, &cluster_id)?, After::End))).await.map(drop)
}
