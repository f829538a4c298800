//! GetResources: clusters and backups that have tags, by their ARNs, with filters and pages.

use std::sync::Arc;

use strongroom_model::call::{Call, GetResourcesInput, GetResourcesOutput, Reply};
use strongroom_model::tag::{ResourceTagMapping, TagFilter};
use strongroom_model::{ApiError, Tag};
use strongroom_store::Tx;
use strongroom_store::control::tags;

use crate::caller::Caller;
use crate::mutation::Refusal;
use crate::operation::{page_size, read};
use crate::page::{Listing, Position};
use crate::region::Region;
use crate::tags::Resource;

/// The most resources on a page.
const PAGE_MAX: u32 = 100;
/// The most resources that one page reads: one whose filters match few of them ends short, with a token.
const READ_MAX: u32 = 1_000;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: GetResourcesInput,
) -> Result<Reply, ApiError> {
    let has_filters = input.tag_filters.is_some() || input.resource_type_filters.is_some();
    if input.resource_arn_list.is_some() && has_filters {
        return Err(ApiError::invalid("ResourceARNList excludes TagFilters and ResourceTypeFilters. Give either."));
    }
    let scope = format!("{:?}{:?}{:?}", input.tag_filters, input.resource_type_filters, input.resource_arn_list);
    let list = Listing { region: region.id(), scope: &["GetResources", caller.account.as_str(), &scope] };
    let after = list.position(input.pagination_token.as_deref().filter(|token| !token.is_empty()))?;
    let (region_in, account) = (region.clone(), caller.account.clone());
    let page = read(region, move |tx| {
        let mut page = Page::new(&input);
        let mut next = after.as_ref().map_or(String::new(), |position| position.id.clone());
        let ids = tags::resources(tx, &next, READ_MAX)?;
        let read_all = (ids.len() as u32) < READ_MAX;
        for id in ids {
            if page.is_full() {
                return Ok((page.mappings, Some(next)));
            }
            if let Some(resource) = Resource::of_id(tx, &region_in, &account, &id)? {
                page.take(tx, &resource)?;
            }
            next = id;
        }
        Ok((page.mappings, Some(next).filter(|_| !read_all)))
    });
    let (mappings, more) = page.await?;
    // AWS gives an empty token with the last page.
    let token = more.map_or_else(String::new, |id| list.token(&Position { key: 0, id }));
    let output = GetResourcesOutput { pagination_token: Some(token), resource_tag_mapping_list: Some(mappings) };
    Ok(Reply::GetResources(output))
}

/// A page that is being filled.
struct Page<'a> {
    input: &'a GetResourcesInput,
    mappings: Vec<ResourceTagMapping>,
    tags: usize,
}

impl<'a> Page<'a> {
    fn new(input: &'a GetResourcesInput) -> Self {
        Self { input, mappings: Vec::new(), tags: 0 }
    }

    fn is_full(&self) -> bool {
        let tags_max = self.input.tags_per_page.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        self.mappings.len() >= page_size(self.input.resources_per_page, PAGE_MAX) as usize || self.tags >= tags_max
    }

    fn take(&mut self, tx: &mut dyn Tx, resource: &Resource) -> Result<(), Refusal> {
        let types = self.input.resource_type_filters.as_deref();
        if !types.is_none_or(|types| types.iter().any(|t| t == "cloudhsm" || *t == resource.kind()))
            || !self.input.resource_arn_list.as_ref().is_none_or(|arns| arns.contains(&resource.arn))
        {
            return Ok(());
        }
        let tags = tags::list(tx, &resource.id)?;
        if self.input.tag_filters.iter().flatten().all(|filter| matches(filter, &tags)) {
            self.tags += tags.len();
            self.mappings.push(ResourceTagMapping { resource_arn: Some(resource.arn.clone()), tags: Some(tags) });
        }
        Ok(())
    }
}

/// Whether a tag has the key, and one of the values if there are any.
fn matches(filter: &TagFilter, tags: &[Tag]) -> bool {
    let values = filter.values.as_deref().unwrap_or_default();
    tags.iter().any(|tag| {
        filter.key.as_deref().is_none_or(|key| key == tag.key) && (values.is_empty() || values.contains(&tag.value))
    })
}
