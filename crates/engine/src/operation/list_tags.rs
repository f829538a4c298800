//! ListTags: a page of a resource's tags, by key.

use std::sync::Arc;

use strongroom_model::call::{Call, ListTagsRequest, ListTagsResponse, Reply};
use strongroom_model::{ApiError, Tag};
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
    let (account, resource_id) = (caller.account.clone(), input.resource_id.clone());
    let tags = read(region, move |tx| {
        taggable(tx, &account, &resource_id)?;
        Ok(tags::list(tx, &resource_id)?)
    })
    .await?;
    let rest = match &after {
        Some(position) => follow(tags, position),
        None => tags,
    };
    let more = rest.len() > limit;
    let tag_list: Vec<_> = rest.into_iter().take(limit).collect();
    let next_token = more.then(|| list.token(&last_position(&tag_list, after.as_ref())));
    Ok(Reply::ListTags(ListTagsResponse { tag_list, next_token }))
}

/// The longest part of a key that goes into a token, in bytes: a token has at most 256 characters, a key may have more.
const PREFIX_MAX: usize = 160;

fn prefix(key: &str) -> &str {
    &key[..key.floor_char_boundary(PREFIX_MAX)]
}

/// The tags after a position: beyond the prefix, or with it and not counted yet.
fn follow(tags: Vec<Tag>, position: &Position) -> Vec<Tag> {
    let begun = tags.into_iter().skip_while(|t| prefix(&t.key) < position.id.as_str());
    let mut given = position.key;
    begun
        .skip_while(|t| {
            given -= 1;
            prefix(&t.key) == position.id && given >= 0
        })
        .collect()
}

/// The last tag's prefix, and how many tags with it were given so far.
fn last_position(page: &[Tag], before: Option<&Position>) -> Position {
    let id = page.last().map_or("", |t| prefix(&t.key)).to_owned();
    let here = page.iter().filter(|t| prefix(&t.key) == id).count() as i64;
    let earlier = before.filter(|p| p.id == id).map_or(0, |p| p.key);
    Position { key: here + earlier, id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_one_give_every_tag_once_however_long_the_keys() {
        let long = "é".repeat(128);
        let mut keys: Vec<String> = (0..5).map(|n| format!("{}{n}", &long[..250])).collect();
        keys.extend(["a".to_owned(), "zz".to_owned(), long]);
        keys.sort_unstable();
        let all: Vec<Tag> = keys.iter().map(|k| Tag { key: k.clone(), value: String::new() }).collect();
        let (mut seen, mut position) = (Vec::new(), None);
        loop {
            let rest = position.as_ref().map_or(all.clone(), |p| follow(all.clone(), p));
            let Some(first) = rest.into_iter().next() else { break };
            position = Some(last_position(std::slice::from_ref(&first), position.as_ref()));
            seen.push(first.key);
        }
        assert_eq!(seen, keys);
    }
}
