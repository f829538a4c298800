//! Owns the condition keys that every request has, of the caller and of how it came. Who decides about an operation or a role
//! adds what it knows of them. Source: the IAM user guide, "AWS global condition context keys".

use strongroom_iam::{CallerKind, Context};
use strongroom_model::Timestamp;

use crate::caller::Authority;

/// What is known of a request, whatever it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// What the caller may, and who he is.
    pub authority: &'a Authority,
    /// The region's name.
    pub region: &'a str,
    /// Where the request came from.
    pub source_ip: &'a str,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// When.
    pub now: Timestamp,
}

impl<'a> Circumstances<'a> {
    /// The keys with their values; one that does not apply is missing.
    pub fn context(&self) -> Context<'a> {
        let mut context = Context::default();
        context.set("aws:sourceip", self.source_ip);
        context.set("aws:securetransport", if self.is_secure { "true" } else { "false" });
        context.set("aws:currenttime", self.now.to_string());
        context.set("aws:epochtime", (self.now.millis() / 1_000).to_string());
        context.set("aws:requestedregion", self.region);
        context.set("aws:viaawsservice", "false");
        if let Some(user_agent) = self.user_agent {
            context.set("aws:useragent", user_agent);
        }
        self.add_caller(&mut context);
        context
    }

    fn add_caller(&self, context: &mut Context<'a>) {
        let caller = &self.authority.caller;
        // Of a session, policies ask for the role.
        let (arn, kind) = match &caller.kind {
            CallerKind::User => (&caller.arn, "User"),
            CallerKind::RoleSession { role_arn } => (role_arn, "AssumedRole"),
            CallerKind::Root => (&caller.arn, "Account"),
        };
        context.set("aws:principalarn", arn.as_str());
        context.set("aws:principalaccount", caller.account.as_str());
        context.set("aws:principaltype", kind);
        context.set("aws:userid", self.authority.user_id.as_str());
        if let Some(name) = &self.authority.user_name {
            context.set("aws:username", name.as_str());
        }
        for tag in &self.authority.tags {
            context.set_tag("aws:principaltag/", &tag.key, tag.value.as_str());
        }
        if let Some(issued_at) = self.authority.token_issued_at {
            context.set("aws:tokenissuetime", issued_at.to_string());
            context.set("aws:multifactorauthpresent", "false");
        }
    }
}
