//! Owns cases: one decision with everything that it rests on, as JSON, for `strongroom policy simulate --cases` and tests.

use std::collections::BTreeMap;
use std::slice;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::context::Context;
use crate::decide::{Decision, Policies, Request, StatementRef};
use crate::document::{Document, Kind};
use crate::fault::Fault;
use crate::principal::{Caller, CallerKind};

/// One case. A document that is a string is the raw text of one.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    principal: Principal,
    #[serde(default)]
    identity_policies: Vec<Box<RawValue>>,
    /// With `sts:AssumeRole` or `sts:TagSession` the role's trust policy.
    resource_policy: Option<Box<RawValue>>,
    permissions_boundary: Option<Box<RawValue>>,
    session_policy: Option<Box<RawValue>>,
    action: String,
    resource: String,
    resource_account: String,
    #[serde(default)]
    context: BTreeMap<String, OneOrMany>,
    /// What it should be, in the words of [`Outcome::word`].
    #[serde(default)]
    pub expect: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Principal {
    account: String,
    arn: String,
    r#type: String,
    role_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What came of a case.
#[derive(Debug)]
pub enum Outcome {
    /// A decision.
    Decided {
        /// What was decided.
        decision: Decision,
        /// The Sid of the statement that decided.
        sid: Option<String>,
    },
    /// A document cannot be read.
    Invalid(Fault),
}

impl Outcome {
    /// `allow`, `implicit_deny`, `explicit_deny` or `invalid_policy`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Decided { decision: Decision::Allow(_), .. } => "allow",
            Self::Decided { decision: Decision::Deny(denial), .. } if denial.statement.is_some() => "explicit_deny",
            Self::Decided { .. } => "implicit_deny",
            Self::Invalid(_) => "invalid_policy",
        }
    }

    /// The statement that decided.
    pub fn statement(&self) -> Option<StatementRef> {
        match self {
            Self::Decided { decision, .. } => deciding(decision),
            Self::Invalid(_) => None,
        }
    }

    /// Its Sid, if it has one.
    pub fn sid(&self) -> Option<&str> {
        match self {
            Self::Decided { sid, .. } => sid.as_deref(),
            Self::Invalid(_) => None,
        }
    }
}

fn deciding(decision: &Decision) -> Option<StatementRef> {
    match decision {
        Decision::Allow(by) => *by,
        Decision::Deny(denial) => denial.statement,
    }
}

impl Case {
    /// Reads a list of cases.
    ///
    /// # Errors
    /// What is wrong with the text, with line and column.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Decides it.
    pub fn run(&self) -> Outcome {
        self.decide().unwrap_or_else(Outcome::Invalid)
    }

    fn decide(&self) -> Result<Outcome, Fault> {
        let is_trust = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"].contains(&self.action.as_str());
        let identity = documents(&self.identity_policies, Kind::Identity, "identity_policies")?;
        let one = |raw: &Option<Box<RawValue>>, kind, name| {
            documents(raw.as_slice(), kind, name).map(|mut documents| documents.pop())
        };
        let boundary = one(&self.permissions_boundary, Kind::Identity, "permissions_boundary")?;
        let session = one(&self.session_policy, Kind::Identity, "session_policy")?;
        let kind = if is_trust { Kind::Trust } else { Kind::Resource };
        let resource = one(&self.resource_policy, kind, "resource_policy")?;
        let kind = match (self.principal.r#type.as_str(), &self.principal.role_arn) {
            ("role_session", Some(role_arn)) => CallerKind::RoleSession { role_arn: role_arn.clone() },
            ("root", _) => CallerKind::Root,
            _ => CallerKind::User,
        };
        let caller = Caller { account: self.principal.account.clone(), arn: self.principal.arn.clone(), kind };
        let mut context = Context::default();
        for (key, values) in &self.context {
            match values {
                OneOrMany::One(value) => context.set(key, value.as_str()),
                OneOrMany::Many(values) => context.set_all(key, values.iter().map(Into::into).collect()),
            }
        }
        let policies = Policies {
            identity: &identity,
            boundary: boundary.as_ref(),
            session: session.as_ref().map(slice::from_ref),
            resource: resource.as_ref().filter(|_| !is_trust),
            trust: resource.as_ref().filter(|_| is_trust),
        };
        let decision = policies.decide(&Request {
            caller: &caller,
            action: &self.action,
            resource: &self.resource,
            resource_account: &self.resource_account,
            context: &context,
        });
        let sid = deciding(&decision).and_then(|by| policies.document(by)?.sid(by.statement)).map(str::to_owned);
        Ok(Outcome::Decided { decision, sid })
    }
}

fn documents(raw: &[Box<RawValue>], kind: Kind, name: &str) -> Result<Vec<Document>, Fault> {
    let mut documents = Vec::new();
    for (n, raw) in raw.iter().enumerate() {
        let text = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
        let document = Document::parse(&text, kind);
        documents.push(document.map_err(|fault| {
            let place = format!("{name}[{n}] {}", fault.place);
            Fault { place: place.trim_end().to_owned(), ..fault }
        })?);
    }
    Ok(documents)
}
