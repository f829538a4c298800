//! ListTags: a page of a resource's tags, in the order in which they were put.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, ListTagsRequest, ListTagsResponse, Reply};
use strongroom_store::control::tags;

use crate::caller::Caller;
use crate::operation::{page_size, read, taggable};
use crate::page::{Listing, Position};
use crate::region::Region;

/// The most tags on a page.
const PAGE_MAX: u32 = 100;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: ListTagsRequest,
) -> Result<Reply, ApiError> {
    let list = Listing { region: region.id(), scope: &["ListTags", caller.account.as_str(), &input.resource_id] };
    let after = list.position(input.next_token.as_deref())?;
    let limit = page_size(input.max_results, PAGE_MAX) as usize;
    let (region_in, caller, resource_id) = (region.clone(), caller.clone(), input.resource_id.clone());
    let tags = read(region, move |tx| {
        taggable(tx, &region_in, &caller, &resource_id)?;
        Ok(tags::after(tx, &resource_id, after.as_ref().map_or(0, |position| position.key))?)
    })
    .await?;
    let last = tags.get(limit - 1).filter(|_| tags.len() > limit);
    let next_token = last.map(|(position, _)| list.token(&Position { key: *position, id: String::new() }));
    let tag_list = tags.into_iter().take(limit).map(|(_, tag)| tag).collect();
    Ok(Reply::ListTags(ListTagsResponse { tag_list, next_token }))
}
