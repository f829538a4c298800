//! DescribeClusters: a page of clusters, newest first, by filters. DELETED ones are shown for an hour when they are asked
//! for by id or by state.

use std::sync::Arc;

use strongroom_model::call::{Call, DescribeClustersRequest, DescribeClustersResponse, Reply};
use strongroom_model::cluster::ClusterState;
use strongroom_model::{ApiError, ClusterId, VpcId};
use strongroom_store::control::clusters::{self, Query};

use crate::caller::Caller;
use crate::filter::Chosen;
use crate::operation::{page_size, read};
use crate::page::{Listing, Position};
use crate::region::Region;
use crate::view;

/// The most clusters on a page.
const PAGE_MAX: u32 = 25;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: DescribeClustersRequest,
) -> Result<Reply, ApiError> {
    let filters = Chosen::of(input.filters, &["clusterIds", "vpcIds", "states"])?;
    let scope = filters.scope();
    let list = Listing { region: region.id(), scope: &["DescribeClusters", caller.account.as_str(), &scope] };
    let limit = page_size(input.max_results, PAGE_MAX);
    let query = Query {
        account: caller.account.clone(),
        cluster_ids: filters.parsed("clusterIds", |id| Some(ClusterId::new(id))),
        vpc_ids: filters.parsed("vpcIds", |id| Some(VpcId::new(id))),
        // DEGRADED is shown, not stored: it is looked for among the ACTIVE ones.
        states: filters.parsed("states", |s| {
            ClusterState::parse(s).map(|s| if s == ClusterState::Degraded { ClusterState::Active } else { s })
        }),
        after: list
            .position(input.next_token.as_deref())?
            .map(|p| (strongroom_model::Timestamp::from_millis(p.key), p.id)),
        limit,
    };
    let states = filters.parsed("states", ClusterState::parse);
    let region_in = region.clone();
    let (clusters, last) = read(region, move |tx| {
        let page = clusters::page(tx, &query)?;
        let mut shown = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            let cluster = view::cluster(&region_in, tx, row)?;
            if states.as_ref().is_none_or(|states| cluster.state.is_some_and(|s| states.contains(&s))) {
                shown.push(cluster);
            }
        }
        Ok((shown, page.more))
    })
    .await?;
    let next_token = last.map(|(t, id)| list.token(&Position { key: t.millis(), id }));
    Ok(Reply::DescribeClusters(DescribeClustersResponse { clusters: Some(clusters), next_token }))
}
