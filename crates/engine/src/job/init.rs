//! I3, I4: the checked certificates are installed in the vault, then the cluster becomes INITIALIZED, or ACTIVE at once
//! where the admin was faster than this job.

use strongroom_model::ClusterId;
use strongroom_store::control::clusters;

use crate::job::{After, Lease, Stop};
use crate::outbox;
use crate::ports::HsmsCode;

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let region = &lease.region;
    let cluster_id = ClusterId::new(&lease.claim.subject);
    let id = cluster_id.clone();
    let cluster = region.control.read(move |tx| clusters::get(tx, &id)).await?;
    let Some(cluster) = cluster else { return lease.stop(After::End).await };

    let certificate = cluster.cluster_certificate.as_deref().unwrap_or_default();
    let anchor = cluster.trust_anchor.as_deref().unwrap_or_default();
    match region.hsms.install_certificate(&cluster_id, certificate, anchor).await {
        Ok(()) => {}
        // Deleted meanwhile: its own job removes what is left.
        Err(error) if error.code == HsmsCode::Gone => return lease.stop(After::End).await,
        Err(error) if error.code.is_retryable() => return Err(error.into()),
        Err(error) => return damaged(lease, cluster_id, error.to_string()).await,
    }

    let region = region.clone();
    lease
        .commit(move |tx, now| {
            clusters::initialized(tx, &cluster_id)?;
            if clusters::get(tx, &cluster_id)?.is_some_and(|c| c.activated_at.is_some()) {
                outbox::become_active(&region, tx, &cluster_id, now)?;
            }
            Ok(((), After::End))
        })
        .await
}

async fn damaged(lease: &Lease, cluster_id: ClusterId, damage: String) -> Result<(), Stop> {
    lease.commit(move |tx, _| Ok((clusters::set_damage(tx, &cluster_id, Some(&damage))?, After::End))).await.map(drop)
}
