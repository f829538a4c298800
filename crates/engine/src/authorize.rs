//! Owns whether a caller may make a call: what the call asks for ([`ask`]), what is known of the resource, what conditions
//! may ask ([`context`]), and AWS's words where it is denied. All that a call asks for must be allowed.
//!
//! It is asked before an invocation id is looked up and before any check of states, in the same transaction as both. A
//! resource that is not there is judged as one of the caller's own account without tags, so that a denial says nothing of
//! what there is.

mod ask;
mod context;

use std::sync::Arc;

use strongroom_iam::{Context, Decision, Denial, Document, Kind, Policies, Request};
use strongroom_model::call::{Call, Operation};
use strongroom_model::{ApiError, BackupId, ClusterId, Tag, Timestamp, table};
use strongroom_store::control::{backups, clusters, policies, tags};
use strongroom_store::{StoreError, Tx};

use self::ask::{Ask, On};
use crate::arn;
use crate::caller::{Authority, Caller};
use crate::mutation::Refusal;
use crate::region::Region;

/// What is known of the resource of an [`Ask`].
struct Resource {
    /// Its ARN, `*` where the action has none.
    arn: String,
    /// Whose it is.
    account: String,
    tags: Vec<Tag>,
    policy: Option<Document>,
}

/// Checks that the caller may make a call, apart from the transaction that answers it: for reads.
///
/// # Errors
/// `AccessDeniedException` or `CloudHsmTagException` with AWS's sentence.
pub(crate) async fn check(region: &Arc<Region>, caller: &Caller, call: &Call) -> Result<(), ApiError> {
    let asks = ask::of(call);
    if asks.iter().all(|ask| matches!(ask.on, On::Nothing)) {
        let now = region.now();
        return asks.iter().try_for_each(|ask| decide(region, caller, ask, &nothing(&caller.authority), now));
    }
    let (region_in, caller, call) = (region.clone(), caller.clone(), call.clone());
    let checked = region.control.read(move |tx| {
        let now = region_in.now();
        check_in(tx, &region_in, &caller, &call, now)
    });
    checked.await.map_err(ApiError::from)
}

/// Checks that the caller may make a call, in the transaction that makes it.
///
/// # Errors
/// As [`check`]; or what the store said.
pub(crate) fn check_in(
    tx: &mut dyn Tx,
    region: &Region,
    caller: &Caller,
    call: &Call,
    now: Timestamp,
) -> Result<(), Refusal> {
    for ask in ask::of(call) {
        let resource = find(tx, region, caller, ask.on)?;
        decide(region, caller, &ask, &resource, now)?;
    }
    Ok(())
}

/// Checks that the caller may change the tags of one resource among several.
///
/// # Errors
/// What the store said; in it, as [`check`].
pub(crate) fn check_tagging(
    tx: &mut dyn Tx,
    region: &Region,
    caller: &Caller,
    (operation, resource_id): (Operation, &str),
    put: &[Tag],
    removed: &[String],
) -> Result<Result<(), ApiError>, StoreError> {
    let ask = Ask::tagging(operation, On::Id(resource_id), put, removed);
    let resource = find(tx, region, caller, ask.on)?;
    Ok(decide(region, caller, &ask, &resource, region.now()))
}

/// Whether another account's backup is shared with the caller for one of these actions.
///
/// # Errors
/// What the store said.
pub(crate) fn is_shared(
    tx: &mut dyn Tx,
    region: &Region,
    caller: &Caller,
    backup: &backups::Backup,
    operations: &[Operation],
) -> Result<bool, StoreError> {
    let arn = backup.backup_id.arn(region.name(), &backup.account);
    let on = On::Backup(&arn);
    let resource = find(tx, region, caller, on)?;
    let may = |operation| decide(region, caller, &Ask::new(operation, on), &resource, region.now()).is_ok();
    Ok(resource.policy.is_some() && operations.iter().any(|operation| may(*operation)))
}

/// What an action without a resource is asked on.
fn nothing(authority: &Authority) -> Resource {
    Resource { arn: "*".to_owned(), account: authority.caller.account.clone(), tags: Vec::new(), policy: None }
}

fn find(tx: &mut dyn Tx, region: &Region, caller: &Caller, on: On<'_>) -> Result<Resource, StoreError> {
    match on {
        On::Nothing => Ok(nothing(&caller.authority)),
        On::New => Ok(Resource { arn: region.new_cluster_arn(&caller.account), ..nothing(&caller.authority) }),
        On::Id(id) if id.starts_with("cluster-") => cluster(tx, region, caller, &ClusterId::new(id)),
        On::Id(text) | On::Backup(text) => backup(tx, region, caller, text),
    }
}

fn cluster(tx: &mut dyn Tx, region: &Region, caller: &Caller, id: &ClusterId) -> Result<Resource, StoreError> {
    let own = Resource { arn: id.arn(region.name(), &caller.account), ..nothing(&caller.authority) };
    match clusters::get(tx, id)?.filter(|cluster| cluster.account == caller.account) {
        Some(_) => Ok(Resource { tags: tags::list(tx, id.as_str())?, ..own }),
        None => Ok(own),
    }
}

/// A backup by its id, which is one of the caller's own account, or by its ARN, which says whose it is.
fn backup(tx: &mut dyn Tx, region: &Region, caller: &Caller, text: &str) -> Result<Resource, StoreError> {
    let Ok(reference) = arn::backup(text) else {
        return Ok(Resource { arn: text.to_owned(), ..nothing(&caller.authority) });
    };
    let id: &BackupId = &reference.backup_id;
    let (in_region, account) = reference.owner.unwrap_or_else(|| (region.name().clone(), caller.account.clone()));
    let named = Resource {
        arn: id.arn(&in_region, &account),
        account: account.as_str().to_owned(),
        tags: Vec::new(),
        policy: None,
    };
    let is_here = in_region == *region.name();
    if !is_here || backups::get(tx, id)?.is_none_or(|backup| backup.account != account) {
        return Ok(named);
    }
    let policy = policies::get(tx, id.as_str())?.map(|text| Document::parse(&text, Kind::Resource)).transpose();
    let policy = policy.map_err(|fault| StoreError::Corrupt(format!("the policy of {id} cannot be read: {fault}")))?;
    Ok(Resource { tags: tags::list(tx, id.as_str())?, policy, ..named })
}

fn decide(
    region: &Region,
    caller: &Caller,
    ask: &Ask<'_>,
    resource: &Resource,
    now: Timestamp,
) -> Result<(), ApiError> {
    let authority = &caller.authority;
    let policies = Policies { resource: resource.policy.as_ref(), ..authority.policies() };
    // Most documents have no condition, and what nobody asks is not put together.
    let context = match policies.read_context() {
        true => context::of(region, caller, ask, resource, now),
        false => Context::default(),
    };
    let request = Request {
        caller: &authority.caller,
        action: &ask.action,
        resource: &resource.arn,
        resource_account: &resource.account,
        context: &context,
    };
    match policies.decide(&request) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(denial) => Err(denied(caller, ask, &resource.arn, &denial)),
    }
}

fn denied(caller: &Caller, ask: &Ask<'_>, resource: &str, denial: &Denial) -> ApiError {
    let kind = table::denial(ask.operation, ask.is_tagging && denial.for_tags);
    let on = if resource == "*" { String::new() } else { format!(" on resource: {resource}") };
    let (principal, action, reason) = (&caller.principal, &ask.action, denial.reason(&ask.action));
    ApiError::new(kind, format!("User: {principal} is not authorized to perform: {action}{on} {reason}"))
}
