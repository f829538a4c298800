//! Owns the condition keys of a call: of its request, its tags and its resource. Source: the IAM user guide, "AWS global
//! condition context keys".

use strongroom_iam::Context;
use strongroom_model::Timestamp;

use super::Resource;
use super::ask::{Ask, On};
use crate::caller::Caller;
use crate::conditions::Circumstances;
use crate::region::Region;

/// All that conditions may ask. A key that does not apply is missing.
pub(super) fn of<'a>(
    region: &'a Region,
    caller: &'a Caller,
    ask: &'a Ask<'a>,
    resource: &'a Resource,
    now: Timestamp,
) -> Context<'a> {
    let circumstances = Circumstances {
        authority: &caller.authority,
        region: region.name().as_str(),
        source_ip: &caller.source_ip,
        user_agent: caller.user_agent.as_deref(),
        is_secure: caller.is_secure,
        now,
    };
    let mut context = circumstances.context();
    for tag in ask.request_tags {
        context.set_tag("aws:requesttag/", &tag.key, tag.value.as_str());
    }
    if !ask.tag_keys.is_empty() {
        context.set_all("aws:tagkeys", ask.tag_keys.iter().map(|key| (*key).into()).collect());
    }
    if resource.arn != "*" {
        context.set("aws:resourceaccount", resource.account.as_str());
    }
    // What is about to be made has the tags that it is made with.
    let of_new = if matches!(ask.on, On::New) { ask.request_tags } else { &[] };
    for tag in resource.tags.iter().chain(of_new) {
        context.set_tag("aws:resourcetag/", &tag.key, tag.value.as_str());
    }
    context
}
