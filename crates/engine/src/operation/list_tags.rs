//! ListTags: a page of a resource's tags, by key.

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
    let after = list.position(input.next_token.as_deref())?.map(|p| p.id);
    let limit = page_size(input.max_results, PAGE_MAX) as usize;
    let (account, resource_id) = (caller.account.clone(), input.resource_id.clone());
    let tags = read(region, move |tx| {
        taggable(tx, &account, &resource_id)?;
        Ok(tags::list(tx, &resource_id)?)
    })
    .await?;
    let rest: Vec<_> = tags.into_iter().filter(|t| after.as_ref().is_none_or(|after| t.key > *after)).collect();
    let more = rest.len() > limit;
    let tag_list: Vec<_> = rest.into_iter().take(limit).collect();
    let last = tag_list.last().filter(|_| more);
    // Keys are short enough for a token: 128 characters of at most 4 bytes do not fit, so that a digest stands for them.
    let next_token = last.map(|t| list.token(&Position { key: 0, id: t.key.clone() }));
    Ok(Reply::ListTags(ListTagsResponse { tag_list, next_token }))
}
