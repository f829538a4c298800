//! The AWS SDK for Rust: pages, tags, what refuses by its type, a copy that is looked for in the other region.

use std::time::{Duration, Instant};

use aws_sdk_cloudhsmv2::config::{Credentials, Region};
use aws_sdk_cloudhsmv2::error::DisplayErrorContext;
use aws_sdk_cloudhsmv2::types::{BackupState, ClusterMode, ClusterState, Tag};
use aws_sdk_cloudhsmv2::{Client, Config};

const SUBNET: &str = "subnet-0123456789abcdef0";
const PATIENT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let (source, destination) = (client("us-east-1"), client("eu-west-1"));
    let tag = Tag::builder().key("a").value("1").build().unwrap();
    let made =
        source.create_cluster().hsm_type("hsm2m.medium").mode(ClusterMode::Fips).subnet_ids(SUBNET).tag_list(tag);
    let id = made.send().await.unwrap().cluster.unwrap().cluster_id.unwrap();
    until("UNINITIALIZED", async || state(&source, &id).await == Some(ClusterState::Uninitialized)).await;

    let hsm = source.create_hsm().cluster_id(&id).availability_zone("us-east-1a").send().await.unwrap().hsm.unwrap();
    let asked = source.delete_cluster().cluster_id(&id).send().await.unwrap_err().into_service_error();
    assert!(asked.is_cloud_hsm_invalid_request_exception(), "{}", DisplayErrorContext(&asked));
    until("HSM deleted", async || source.delete_hsm().cluster_id(&id).hsm_id(&hsm.hsm_id).send().await.is_ok()).await;

    let mut tags = source.list_tags().resource_id(&id).into_paginator().send();
    assert_eq!(tags.next().await.unwrap().unwrap().tag_list[0].key, "a");
    assert!(tags.next().await.is_none());
    until("the HSM gone, the cluster deleted", async || source.delete_cluster().cluster_id(&id).send().await.is_ok())
        .await;
    until("gone", async || matches!(state(&source, &id).await, None | Some(ClusterState::Deleted))).await;
    let asked = source.delete_cluster().cluster_id(&id).send().await.unwrap_err().into_service_error();
    assert!(asked.is_cloud_hsm_resource_not_found_exception(), "{}", DisplayErrorContext(&asked));
    copy(&source, &destination).await;
    println!(
        "Rust SDK {}: a cluster with an HSM made and deleted, refusals, pages, a copy",
        aws_sdk_cloudhsmv2::meta::PKG_VERSION
    );
}

async fn copy(source: &Client, destination: &Client) {
    let mut ready =
        source.describe_backups().filters("states", vec!["READY".into()]).into_paginator().page_size(1).send();
    let backup = ready.next().await.unwrap().unwrap().backups.unwrap().remove(0);
    let copied =
        source.copy_backup_to_region().destination_region("eu-west-1").backup_id(&backup.backup_id).send().await;
    let told = copied.unwrap().destination_backup.unwrap();
    assert_eq!(told.source_backup.as_deref(), Some(&*backup.backup_id));
    assert_eq!(told.create_timestamp, backup.create_timestamp, "to the last digit");
    until("copy READY", async || {
        let of_source = destination.describe_backups().filters("sourceBackupIds", vec![backup.backup_id.clone()]);
        let found = of_source.send().await.unwrap().backups.unwrap();
        found.iter().any(|b| b.backup_state == Some(BackupState::Ready))
    })
    .await;
}

fn client(region: &'static str) -> Client {
    let variable = |name| std::env::var(name).expect("`strongroom dev -- COMMAND` sets it");
    let credentials =
        Credentials::new(variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), None, None, "interop");
    let config = Config::builder()
        .region(Region::new(region))
        .endpoint_url(variable("AWS_ENDPOINT_URL_CLOUDHSM_V2"))
        .credentials_provider(credentials);
    Client::from_conf(config.build())
}

async fn state(client: &Client, cluster: &str) -> Option<ClusterState> {
    let found = client.describe_clusters().filters("clusterIds", vec![cluster.into()]).send().await.unwrap();
    found.clusters.unwrap().pop().and_then(|cluster| cluster.state)
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENT;
    while !holds().await {
        assert!(Instant::now() < end, "not as told: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
