//! What a test does to bring a cluster where it wants it: each waits until the state has come.

use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::cluster::{Cluster, ClusterState};
use strongroom_model::hsm::HsmState;
use strongroom_model::{BackupId, ClusterId, SubnetId};

use super::{NAMES, World};

pub async fn cluster(world: &World, at: usize, id: &ClusterId) -> Option<Cluster> {
    let filters = [("clusterIds".to_owned(), vec![id.as_str().to_owned()])].into_iter().collect();
    let input = DescribeClustersRequest { filters: Some(filters), ..Default::default() };
    match world.call(at, Call::DescribeClusters(input)).await {
        Reply::DescribeClusters(output) => output.clusters.unwrap().into_iter().next(),
        other => panic!("{other:?}"),
    }
}

pub async fn wait_cluster(world: &World, at: usize, id: &ClusterId, state: ClusterState) -> Cluster {
    world.wait(&format!("{id} {state}"), async || cluster(world, at, id).await.filter(|c| c.state == Some(state))).await
}

pub async fn backups_by(world: &World, at: usize, filter: &str, value: &str) -> Vec<strongroom_model::backup::Backup> {
    let filters = [(filter.to_owned(), vec![value.to_owned()])].into_iter().collect();
    let input = DescribeBackupsRequest { filters: Some(filters), ..Default::default() };
    match world.call(at, Call::DescribeBackups(input)).await {
        Reply::DescribeBackups(output) => output.backups.unwrap(),
        other => panic!("{other:?}"),
    }
}

pub async fn create_hsm(world: &World, at: usize, id: &ClusterId, zone: &str) {
    let input = CreateHsmRequest {
        cluster_id: id.clone(),
        availability_zone: format!("{}{zone}", NAMES[at]),
        ip_address: None,
    };
    let Reply::CreateHsm(output) = world.call(at, Call::CreateHsm(input)).await else { panic!() };
    let hsm_id = output.hsm.unwrap().hsm_id;
    world
        .wait("HSM ACTIVE", async || {
            let hsms = cluster(world, at, id).await?.hsms?;
            hsms.into_iter().find(|h| h.hsm_id == hsm_id && h.state == Some(HsmState::Active))
        })
        .await;
}

pub async fn create_cluster(world: &World, at: usize, source: Option<&BackupId>) -> ClusterId {
    create_cluster_of(world, at, "hsm2m.medium", source).await
}

pub async fn create_cluster_of(world: &World, at: usize, hsm_type: &str, source: Option<&BackupId>) -> ClusterId {
    let input = CreateClusterRequest {
        hsm_type: hsm_type.into(),
        subnet_ids: vec![SubnetId::new("subnet-0aaaaaaaaaaaaaaa1"), SubnetId::new("subnet-0aaaaaaaaaaaaaaa2")],
        source_backup_id: source.map(|id| id.as_str().to_owned()),
        tag_list: Some(vec![strongroom_model::Tag { key: "k".into(), value: "v".into() }]),
        ..Default::default()
    };
    let Reply::CreateCluster(output) = world.call(at, Call::CreateCluster(input)).await else { panic!() };
    output.cluster.unwrap().cluster_id.unwrap()
}

/// A first HSM, a certificate, a password, and the backup that follows.
pub async fn activate(world: &World, id: &ClusterId) {
    activate_in(world, id, "a").await;
}

/// As [`activate`], with the HSM in this zone.
pub async fn activate_in(world: &World, id: &ClusterId, zone: &str) {
    wait_cluster(world, 0, id, ClusterState::Uninitialized).await;
    create_hsm(world, 0, id, zone).await;
    let input = InitializeClusterRequest {
        cluster_id: id.clone(),
        signed_cert: format!("signed csr of {id}"),
        trust_anchor: "anchor".into(),
    };
    world.call(0, Call::InitializeCluster(input)).await;
    wait_cluster(world, 0, id, ClusterState::Initialized).await;
    world.vaults[0].activate(id);
    wait_cluster(world, 0, id, ClusterState::Active).await;
    world
        .wait("activation backup", async || {
            let found = backups_by(world, 0, "clusterIds", id.as_str()).await;
            found.into_iter().find(|b| b.backup_state == Some(BackupState::Ready))
        })
        .await;
}
