//! ListAuditEvents (ours): the audit trail of the region: all of it for the account that operates the region, since a chain
//! holds as a whole only; for any other its own events.

use std::sync::Arc;

use serde::Deserialize;
use strongroom_model::audit::{AuditEvent, AuditSignature};
use strongroom_model::call::{Call, ListAuditEventsRequest, ListAuditEventsResponse, Reply};
use strongroom_model::id::hex;
use strongroom_model::{AccountId, ApiError};
use strongroom_store::control::audit::{self, Event};
use strongroom_store::{StoreError, Tx};

use crate::audit::room;
use crate::caller::Caller;
use crate::operation::{page_size, read};
use crate::page::{Listing, Position};
use crate::region::Region;

/// The most events on a page.
const PAGE_MAX: u32 = 100;
/// The most rows that one page reads, so that its cost does not grow with the trail.
const READ_MAX: usize = 1_000;
/// So many bytes of events, and the page is full: an answer stays within what clients read.
const ROOM: usize = 64 * 1024;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: ListAuditEventsRequest,
) -> Result<Reply, ApiError> {
    let ListAuditEventsRequest { since, until, event_name, principal, errors_only, newest_first, after_seq, .. } =
        &input;
    let scope =
        format!("{since:?} {until:?} {event_name:?} {principal:?} {errors_only:?} {newest_first:?} {after_seq:?}");
    let list = Listing { region: region.id(), scope: &["ListAuditEvents", caller.account.as_str(), &scope] };
    let whose = (caller.account != region.settings.operator).then(|| caller.account.clone());
    let after = list.position(input.next_token.as_deref())?.map(|position| position.key);
    let limit = page_size(input.max_results, PAGE_MAX) as usize;
    let (last_seq, (events, more)) =
        read(region, move |tx| Ok((audit::last(tx)?, page(tx, &input, whose.as_ref(), after, limit)?))).await?;
    let next_token = more.map(|seq| list.token(&Position { key: seq, id: String::new() }));
    let public_key = hex(&region.signer.public_key());
    Ok(Reply::ListAuditEvents(ListAuditEventsResponse { events, last_seq, public_key, next_token }))
}

/// The events of a page, and the number after which the list goes on, if it does.
fn page(
    tx: &mut dyn Tx,
    input: &ListAuditEventsRequest,
    whose: Option<&AccountId>,
    mut after: Option<i64>,
    limit: usize,
) -> Result<(Vec<AuditEvent>, Option<i64>), StoreError> {
    let (mut events, mut taken, mut read) = (Vec::new(), 0, 0);
    let first = input.after_seq.unwrap_or(0);
    while read < READ_MAX {
        let rows = match input.newest_first {
            Some(true) => audit::before(tx, after.unwrap_or(i64::MAX), PAGE_MAX)?,
            _ => audit::after(tx, after.unwrap_or(first), PAGE_MAX)?,
        };
        let is_last = rows.len() < PAGE_MAX as usize;
        read += rows.len();
        for row in rows {
            if row.seq <= first {
                return Ok((events, None));
            }
            let is_wanted = wanted(input, whose, &row);
            taken += if is_wanted { room(&row.event) } else { 0 };
            if is_wanted && (events.len() == limit || taken > ROOM && !events.is_empty()) {
                return Ok((events, after));
            }
            after = Some(row.seq);
            events.extend(is_wanted.then(|| shown(row)));
        }
        if is_last {
            return Ok((events, None));
        }
    }
    Ok((events, after))
}

/// What a filter asks of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts<'a> {
    event_name: Option<&'a str>,
    recipient_account_id: Option<&'a str>,
    #[serde(borrow)]
    user_identity: Option<Who<'a>>,
    #[serde(default)]
    error_code: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Who<'a> {
    arn: Option<std::borrow::Cow<'a, str>>,
}

fn wanted(input: &ListAuditEventsRequest, whose: Option<&AccountId>, row: &Event) -> bool {
    if input.since.is_some_and(|since| row.at < since) || input.until.is_some_and(|until| row.at >= until) {
        return false;
    }
    let errors_only = input.errors_only == Some(true);
    if whose.is_none() && input.event_name.is_none() && input.principal.is_none() && !errors_only {
        return true;
    }
    // What cannot be read is shown to the operator rather than hidden.
    let Ok(facts) = serde_json::from_str::<Facts<'_>>(&row.event) else { return whose.is_none() };
    let arn = facts.user_identity.and_then(|who| who.arn);
    whose.is_none_or(|account| facts.recipient_account_id == Some(account.as_str()))
        && input.event_name.as_deref().is_none_or(|name| facts.event_name == Some(name))
        && input.principal.as_deref().is_none_or(|principal| arn.as_deref() == Some(principal))
        && (!errors_only || facts.error_code.is_some())
}

fn shown(row: Event) -> AuditEvent {
    let signature = row.signature.map(|s| AuditSignature {
        hash: hex(&s.hash),
        at: s.at,
        key_id: s.key_id,
        signature: hex(&s.signature),
    });
    let hash = row.hash.map(|hash| hex(&hash));
    AuditEvent { seq: row.seq, writer: row.writer, n: row.n, hash, event: row.event, signature }
}
