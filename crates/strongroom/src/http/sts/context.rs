//! Owns what conditions may ask of a call that assumes a role.

use std::borrow::Cow;

use strongroom_iam::{CallerKind, Context};
use strongroom_model::Tag;

use super::Asking;
use super::assume_role::Asked;
use crate::identity::Role;

/// Condition keys with their values.
#[derive(Debug, Default)]
pub(super) struct Facts(Vec<(Cow<'static, str>, Values)>);

#[derive(Debug)]
enum Values {
    One(String),
    Many(Vec<String>),
}

impl Facts {
    /// What is known of the caller, his request and the role.
    pub(super) fn of(asking: &Asking<'_>, region: &str, asked: &Asked<'_>, role: &Role) -> Self {
        let mut facts = Self::default();
        facts.add_request(asking, region);
        facts.add_caller(asking);
        facts.add_session(asked);
        facts.add_tags("aws:ResourceTag", role.tags());
        facts.one("aws:ResourceAccount", role.account.as_str());
        facts
    }

    /// As the decision reads them.
    pub(super) fn context(&self) -> Context<'_> {
        let mut context = Context::default();
        for (key, values) in &self.0 {
            match values {
                Values::One(value) => context.set(key, value.as_str()),
                Values::Many(values) => context.set_all(key, values.iter().map(|v| v.as_str().into()).collect()),
            }
        }
        context
    }

    fn add_request(&mut self, asking: &Asking<'_>, region: &str) {
        self.one("aws:CurrentTime", asking.now.to_string());
        self.one("aws:EpochTime", (asking.now.millis() / 1_000).to_string());
        self.one("aws:RequestedRegion", region);
        self.one("aws:SecureTransport", asking.is_secure.to_string());
        self.one("aws:SourceIp", asking.source_ip);
        self.one("aws:ViaAWSService", "false");
        if let Some(user_agent) = asking.user_agent {
            self.one("aws:UserAgent", user_agent);
        }
    }

    fn add_caller(&mut self, asking: &Asking<'_>) {
        let authority = &asking.principal.authority;
        let caller = &authority.caller;
        // Of a session, policies ask for the role.
        let (arn, kind) = match &caller.kind {
            CallerKind::User => (&caller.arn, "User"),
            CallerKind::RoleSession { role_arn } => (role_arn, "AssumedRole"),
            CallerKind::Root => (&caller.arn, "Account"),
        };
        self.one("aws:PrincipalArn", arn.as_str());
        self.one("aws:PrincipalType", kind);
        self.one("aws:PrincipalAccount", caller.account.as_str());
        self.one("aws:userid", authority.user_id.as_str());
        self.add_tags("aws:PrincipalTag", &authority.tags);
        if let Some(name) = &authority.user_name {
            self.one("aws:username", name.as_str());
        }
        if let Some(issued) = authority.token_issued_at {
            self.one("aws:TokenIssueTime", issued.to_string());
            self.one("aws:MultiFactorAuthPresent", "false");
        }
        let session = asking.principal.session.as_ref();
        if let Some(identity) = session.and_then(|session| session.source_identity.as_ref()) {
            self.one("aws:SourceIdentity", identity.as_str());
        }
    }

    fn add_session(&mut self, asked: &Asked<'_>) {
        self.one("sts:RoleSessionName", asked.session_name);
        if let Some(id) = asked.external_id {
            self.one("sts:ExternalId", id);
        }
        if let Some(identity) = &asked.source_identity {
            self.one("sts:SourceIdentity", identity.as_str());
        }
        if !asked.transitive.is_empty() {
            self.many("sts:TransitiveTagKeys", asked.transitive.clone());
        }
        if !asked.tags.is_empty() {
            self.add_tags("aws:RequestTag", &asked.tags);
            self.many("aws:TagKeys", asked.tags.iter().map(|tag| tag.key.clone()).collect());
        }
    }

    fn add_tags(&mut self, key: &str, tags: &[Tag]) {
        for tag in tags {
            self.one(format!("{key}/{}", tag.key), tag.value.as_str());
        }
    }

    fn one(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.push((key.into(), Values::One(value.into())));
    }

    fn many(&mut self, key: &'static str, values: Vec<String>) {
        self.0.push((key.into(), Values::Many(values)));
    }
}
