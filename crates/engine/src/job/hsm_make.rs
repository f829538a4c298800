//! H2 to H4: an HSM is made. The first of a new cluster brings key pair and CSR, unless the control store has a CSR (all
//! HSMs were deleted: it stays) or the cluster came from a backup: a vault that lost the cluster must not be answered with
//! a new, empty one. Then the HSM is served, and only then ACTIVE.

use strongroom_model::HsmId;
use strongroom_store::control::clusters::Cluster;
use strongroom_store::control::hsms::Hsm;
use strongroom_store::control::{backups, clusters, hsms};

use crate::job::{After, Lease, Stop};
use crate::ports::{HsmsCode, HsmsError, Identity};

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let Some((hsm, cluster)) = load(lease).await? else { return lease.stop(After::End).await };
    let region = &lease.region;

    let identity = if cluster.csr.is_none() && cluster.source_backup_id.is_none() {
        match region.hsms.create_identity(&cluster.cluster_id, cluster.mode, &hsm.hsm_id).await {
            Ok(identity) => Some(identity),
            Err(error) => return refused(lease, &cluster, error).await,
        }
    } else {
        None
    };
    if let Err(error) = region.hsms.serve(&cluster.cluster_id, &hsm.hsm_id, &hsm.eni_ip).await {
        return refused(lease, &cluster, error).await;
    }
    active(lease, hsm, identity).await
}

async fn load(lease: &Lease) -> Result<Option<(Hsm, Cluster)>, Stop> {
    let hsm_id = HsmId::new(&lease.claim.subject);
    let loaded = lease.region.control.read(move |tx| {
        let Some(hsm) = hsms::get(tx, &hsm_id)? else { return Ok(None) };
        Ok::<_, strongroom_store::StoreError>(clusters::get(tx, &hsm.cluster_id)?.map(|cluster| (hsm, cluster)))
    });
    Ok(loaded.await?)
}

async fn active(lease: &Lease, hsm: Hsm, identity: Option<Identity>) -> Result<(), Stop> {
    lease
        .commit(move |tx, _| {
            let join = backups::by_cause(tx, &hsm.cluster_id, &format!("join:{}", hsm.hsm_id))?;
            let message = match join.and_then(|b| b.reason) {
                Some(reason) => format!("HSM created. The backup at its joining failed: {reason}"),
                None => "HSM created.".to_owned(),
            };
            hsms::active(tx, &hsm.hsm_id, &message)?;
            if let Some(i) = &identity {
                let vouching = [&*i.hsm_certificate, &*i.hardware_certificate, &*i.manufacturer_certificate];
                clusters::set_identity(tx, &hsm.cluster_id, &i.csr, vouching)?;
            }
            Ok(((), After::End))
        })
        .await
}

/// A host that is away is waited for; any other no is damage that people must see, and may mend.
async fn refused(lease: &Lease, cluster: &Cluster, error: HsmsError) -> Result<(), Stop> {
    if error.code == HsmsCode::Gone {
        return lease.stop(After::End).await;
    }
    if !error.code.is_retryable() {
        let (cluster_id, damage) = (cluster.cluster_id.clone(), error.to_string());
        lease.commit(move |tx, _| Ok((clusters::set_damage(tx, &cluster_id, Some(&damage))?, After::Stay))).await?;
    }
    Err(error.into())
}
