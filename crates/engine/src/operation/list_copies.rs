//! ListCopies (ours): what leaves and enters this region, newest first.

use std::sync::Arc;

use strongroom_model::call::{Call, ListCopiesRequest, ListCopiesResponse, Reply};
use strongroom_model::copy::Copy as Shown;
use strongroom_model::{ApiError, Timestamp};
use strongroom_store::control::{backups, copies};

use crate::caller::Caller;
use crate::copy::shown;
use crate::operation::{page_size, read};
use crate::page::{Listing, Position};
use crate::region::Region;

/// The most copies on a page.
const PAGE_MAX: u32 = 100;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: ListCopiesRequest,
) -> Result<Reply, ApiError> {
    let scope = format!("{:?}", input.states);
    let list = Listing { region: region.id(), scope: &["ListCopies", caller.account.as_str(), &scope] };
    let after = list.position(input.next_token.as_deref())?.map(|p| (Timestamp::from_millis(p.key), p.id));
    let limit = page_size(input.max_results, PAGE_MAX);
    let (region_in, account) = (region.clone(), caller.account.clone());
    let mut all: Vec<Shown> = read(region, move |tx| {
        let after = after.as_ref().map(|(t, id)| (*t, id.as_str()));
        // One more than is shown tells whether more follow.
        let outgoing = copies::page(tx, &account, after, limit + 1)?;
        let incoming = backups::incoming_page(tx, &account, after, limit + 1)?;
        let outgoing = outgoing.into_iter().map(|row| shown::outgoing(&region_in, row, None));
        let incoming = incoming.into_iter().map(|row| shown::incoming(&region_in, tx, row));
        let mut all = outgoing.collect::<Vec<_>>();
        all.extend(incoming.collect::<Result<Vec<_>, _>>()?);
        Ok(all)
    })
    .await?;
    let key = |c: &Shown| (c.requested_at, c.copy_id.as_str().to_owned());
    all.sort_by_key(|c| std::cmp::Reverse(key(c)));
    let more = all.len() > limit as usize;
    all.truncate(limit as usize);
    let next_token = all.last().filter(|_| more).map(|c| {
        let (t, id) = key(c);
        list.token(&Position { key: t.millis(), id })
    });
    if let Some(states) = &input.states {
        all.retain(|c| states.iter().any(|s| s == c.state.as_str() || (s == "overdue" && c.overdue)));
    }
    Ok(Reply::ListCopies(ListCopiesResponse { copies: all, next_token }))
}
