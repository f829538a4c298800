//! X2, X3: an HSM is withdrawn, then its row goes. Open connections end after their answer.

use strongroom_model::HsmId;
use strongroom_store::control::hsms;

use crate::job::{After, Lease, Stop};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let hsm_id = HsmId::new(&lease.claim.subject);
    let id = hsm_id.clone();
    let Some(hsm) = lease.region.control.read(move |tx| hsms::get(tx, &id)).await? else {
        return lease.stop(After::End).await;
    };
    lease.region.hsms.withdraw(&hsm.cluster_id, &hsm_id).await?;
    lease.commit(move |tx, _| Ok((hsms::delete(tx, &hsm_id)?, After::End))).await.map(drop)
}
