//! Owns what a start and a stop tell of the data: how much there is, and which copies are under way. It asks the regions as
//! any caller would.

use std::sync::Arc;

use strongroom_engine::{Caller, Region};
use strongroom_model::cluster::ClusterState;
use strongroom_model::copy::CopyDirection;
use strongroom_model::call::{DescribeBackupsRequest, DescribeClustersRequest, ListCopiesRequest};
use strongroom_model::{AccountId, ApiError, Call, Reply};

use crate::http::DevCredentials;

/// What is there, over all regions.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Clusters that are not deleted.
    pub clusters: u64,
    /// Their HSMs.
    pub hsms: u64,
    /// Backups.
    pub backups: u64,
    /// Copies that are not settled.
    pub under_way: Vec<UnderWay>,
}

/// A copy that is not settled.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// The copy.
    pub id: String,
    /// Where it goes.
    pub destination: String,
    /// Bytes that are there.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Asks every region.
///
/// # Errors
/// What a region answered.
pub async fn take(regions: &[Arc<Region>]) -> Result<Inventory, ApiError> {
    let mut inventory = Inventory::default();
    for region in regions {
        count_clusters(region, &mut inventory).await?;
        count_backups(region, &mut inventory).await?;
    }
    inventory.under_way = under_way(regions).await?;
    Ok(inventory)
}

/// The copies that leave any region and are not settled.
///
/// # Errors
/// What a region answered.
pub async fn under_way(regions: &[Arc<Region>]) -> Result<Vec<UnderWay>, ApiError> {
    let mut copies = Vec::new();
    for region in regions {
        let states = ["waiting", "sending", "checking"].map(str::to_owned).to_vec();
        let mut request = ListCopiesRequest { states: Some(states), ..Default::default() };
        while let Reply::ListCopies(page) = region.call(&caller(), Call::ListCopies(request.clone())).await? {
            let outgoing = page.copies.into_iter().filter(|copy| copy.direction == CopyDirection::Outgoing);
            copies.extend(outgoing.map(|copy| UnderWay {
                id: copy.copy_id.to_string(),
                destination: copy.destination.region.to_string(),
                done: copy.bytes_sent.max(0).unsigned_abs(),
                total: copy.bytes_total.max(0).unsigned_abs(),
            }));
            request.next_token = page.next_token;
            if request.next_token.is_none() {
                break;
            }
        }
    }
    Ok(copies)
}

async fn count_clusters(region: &Arc<Region>, inventory: &mut Inventory) -> Result<(), ApiError> {
    let mut request = DescribeClustersRequest::default();
    while let Reply::DescribeClusters(page) = region.call(&caller(), Call::DescribeClusters(request.clone())).await? {
        for cluster in page.clusters.into_iter().flatten().filter(|c| c.state != Some(ClusterState::Deleted)) {
            inventory.clusters += 1;
            inventory.hsms += cluster.hsms.map_or(0, |hsms| hsms.len() as u64);
        }
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            break;
        }
    }
    Ok(())
}

async fn count_backups(region: &Arc<Region>, inventory: &mut Inventory) -> Result<(), ApiError> {
    let mut request = DescribeBackupsRequest::default();
    while let Reply::DescribeBackups(page) = region.call(&caller(), Call::DescribeBackups(request.clone())).await? {
        inventory.backups += page.backups.map_or(0, |backups| backups.len() as u64);
        request.next_token = page.next_token;
        if request.next_token.is_none() {
            break;
        }
    }
    Ok(())
}

/// This process, asking in the account of `dev`.
fn caller() -> Caller {
    Caller {
        account: AccountId::new(DevCredentials::ACCOUNT),
        principal: format!("arn:aws:iam::{}:user/test", DevCredentials::ACCOUNT),
        access_key: DevCredentials::ACCESS_KEY_ID.into(),
        source_ip: "127.0.0.1".into(),
        request_id: "strongroom-dev".into(),
        invocation_id: None,
        user_agent: None,
    }
}
