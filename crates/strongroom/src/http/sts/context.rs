//! Owns what conditions may ask of a call that assumes a role.

use strongroom_engine::Circumstances;
use strongroom_iam::Context;

use super::Asking;
use super::assume_role::Asked;
use crate::identity::Role;

/// What is known of the caller, his request, the session that he asks for, and the role.
pub(super) fn of<'a>(asking: &'a Asking<'_>, region: &'a str, asked: &'a Asked<'_>, role: &'a Role) -> Context<'a> {
    let principal = asking.principal;
    let circumstances = Circumstances {
        authority: &principal.authority,
        region,
        source_ip: asking.source_ip,
        user_agent: asking.user_agent,
        is_secure: asking.is_secure,
        now: asking.now,
    };
    let mut context = circumstances.context();
    if let Some(identity) = principal.session.as_ref().and_then(|session| session.source_identity.as_ref()) {
        context.set("aws:sourceidentity", identity.as_str());
    }
    context.set("sts:rolesessionname", asked.session_name);
    if let Some(id) = asked.external_id {
        context.set("sts:externalid", id);
    }
    if let Some(identity) = &asked.source_identity {
        context.set("sts:sourceidentity", identity.as_str());
    }
    if !asked.transitive.is_empty() {
        context.set_all("sts:transitivetagkeys", asked.transitive.iter().map(Into::into).collect());
    }
    if !asked.tags.is_empty() {
        context.set_all("aws:tagkeys", asked.tags.iter().map(|tag| (&tag.key).into()).collect());
    }
    for tag in &asked.tags {
        context.set_tag("aws:requesttag/", &tag.key, tag.value.as_str());
    }
    for tag in role.tags() {
        context.set_tag("aws:resourcetag/", &tag.key, tag.value.as_str());
    }
    context.set("aws:resourceaccount", role.account.as_str());
    context
}
