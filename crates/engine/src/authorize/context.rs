//! Owns the condition keys of a request. Source: the IAM user guide, "AWS global condition context keys".

use strongroom_iam::{CallerKind, Context};
use strongroom_model::{Tag, Timestamp};

use super::ask::{Ask, On};
use crate::caller::Caller;
use crate::region::Region;

/// All that conditions may ask. A key that does not apply is missing.
pub(super) fn of<'a>(
    region: &'a Region,
    caller: &'a Caller,
    ask: &'a Ask<'a>,
    resource_tags: &'a [Tag],
    resource_account: &'a str,
    resource: &str,
    now: Timestamp,
) -> Context<'a> {
    let mut context = Context::default();
    of_caller(&mut context, caller);
    context.set("aws:sourceip", caller.source_ip.as_str());
    context.set("aws:securetransport", if caller.is_secure { "true" } else { "false" });
    context.set("aws:currenttime", now.to_string());
    context.set("aws:epochtime", (now.millis() / 1_000).to_string());
    context.set("aws:requestedregion", region.name().as_str());
    context.set("aws:viaawsservice", "false");
    if let Some(user_agent) = &caller.user_agent {
        context.set("aws:useragent", user_agent.as_str());
    }
    for tag in ask.request_tags {
        context.set_tag("aws:requesttag/", &tag.key, tag.value.as_str());
    }
    if !ask.tag_keys.is_empty() {
        context.set_all("aws:tagkeys", ask.tag_keys.iter().map(|key| (*key).into()).collect());
    }
    if resource != "*" {
        context.set("aws:resourceaccount", resource_account);
    }
    for tag in resource_tags {
        context.set_tag("aws:resourcetag/", &tag.key, tag.value.as_str());
    }
    if matches!(ask.on, On::New) {
        // What is about to be made has the tags that it is made with.
        for tag in ask.request_tags {
            context.set_tag("aws:resourcetag/", &tag.key, tag.value.as_str());
        }
    }
    context
}

fn of_caller<'a>(context: &mut Context<'a>, caller: &'a Caller) {
    let authority = &caller.authority;
    let (arn, kind) = match &authority.caller.kind {
        CallerKind::User => (&authority.caller.arn, "User"),
        CallerKind::RoleSession { role_arn } => (role_arn, "AssumedRole"),
        CallerKind::Root => (&authority.caller.arn, "Account"),
    };
    context.set("aws:principalarn", arn.as_str());
    context.set("aws:principalaccount", authority.caller.account.as_str());
    context.set("aws:principaltype", kind);
    context.set("aws:userid", authority.user_id.as_str());
    if let Some(name) = &authority.user_name {
        context.set("aws:username", name.as_str());
    }
    for tag in &authority.tags {
        context.set_tag("aws:principaltag/", &tag.key, tag.value.as_str());
    }
    if let Some(issued_at) = authority.token_issued_at {
        context.set("aws:tokenissuetime", issued_at.to_string());
        context.set("aws:multifactorauthpresent", "false");
    }
}
