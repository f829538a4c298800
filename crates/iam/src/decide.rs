//! Owns the decision: which of the documents that apply must allow, whose explicit deny ends it, and which statement decided.
//!
//! The order: an explicit deny of any layer; the caller's own side (identity policies, boundary, session policies); what the
//! resource's side grants. In one account either side may grant, and how a resource policy names the caller says which of
//! his own limits still count; between accounts both sides must. A role's trust policy must always allow.

use std::borrow::Borrow;
use std::{fmt, slice};

use crate::arn::Resource;
use crate::context::Context;
use crate::document::Document;
use crate::principal::{Caller, CallerKind, Named};
use crate::statement::{Asked, Effect, Says};

/// Which kind of policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The policies of a user and his groups, or of a role.
    Identity,
    /// The policy of the resource.
    Resource,
    /// The permissions boundary.
    Boundary,
    /// The session policies.
    Session,
    /// Who may assume the role.
    Trust,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
            Self::Trust => "role trust policy",
        })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// `cloudhsm:CopyBackupToRegion`.
    pub action: &'a str,
    /// The ARN of the resource, `*` where the action has none.
    pub resource: &'a str,
    /// Whose the resource is.
    pub resource_account: &'a str,
    /// What conditions may ask.
    pub context: &'a Context<'a>,
}

/// The documents that apply to a request; `D` is how whoever has them keeps them.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'a, D = Document> {
    /// The caller's own; of a session, its role's.
    pub identity: &'a [D],
    /// The most that the caller's own policies can grant, if there is such a boundary.
    pub boundary: Option<&'a Document>,
    /// The most that the session was given, if it was given less than its role has.
    pub session: Option<&'a [D]>,
    /// The resource's.
    pub resource: Option<&'a Document>,
    /// The trust policy of the role that is to be assumed.
    pub trust: Option<&'a Document>,
}

/// A statement that decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementRef {
    /// The kind of its policy.
    pub layer: Layer,
    /// Which of the policies of this kind, from 0.
    pub policy: usize,
    /// Which of its statements, from 0.
    pub statement: usize,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be done; by which statement, where it is not the root of the account that asks.
    Allow(Option<StatementRef>),
    /// It may not.
    Deny(Denial),
}

/// Why something may not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The kind of policy that denies, or that should have allowed.
    pub layer: Layer,
    /// The statement that denies; `None` where none allows.
    pub statement: Option<StatementRef>,
    /// Whether a condition on tags decided.
    pub for_tags: bool,
}

impl Denial {
    /// AWS's sentence, after `User: … is not authorized to perform: … on resource: …`.
    pub fn reason(&self, action: &str) -> String {
        match (self.statement, self.layer) {
            (None, layer) => format!("because no {layer} allows the {action} action"),
            (Some(_), Layer::Identity) => "with an explicit deny in an identity-based policy".to_owned(),
            (Some(_), Layer::Resource) => "with an explicit deny in a resource-based policy".to_owned(),
            (Some(_), Layer::Boundary) => "with an explicit deny in a permissions boundary".to_owned(),
            (Some(_), Layer::Session) => "with an explicit deny in a sessions policy".to_owned(),
            (Some(_), Layer::Trust) => "with an explicit deny in the role trust policy".to_owned(),
        }
    }
}

/// What the policies of one kind say.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    layer: Layer,
    denied: Option<(StatementRef, bool)>,
    /// The grant that is worth most.
    allowed: Option<(StatementRef, Named)>,
    /// Some statement would have allowed it, if not for a condition on tags.
    failed_for_tags: bool,
}

impl<D> Default for Policies<'_, D> {
    fn default() -> Self {
        Self { identity: &[], boundary: None, session: None, resource: None, trust: None }
    }
}

impl<D: Borrow<Document>> Policies<'_, D> {
    /// Whether any of them asks for the request's context; where none does, an empty one decides the same.
    pub fn read_context(&self) -> bool {
        let one = [self.boundary, self.resource, self.trust];
        let all = self.identity.iter().chain(self.session.unwrap_or_default()).map(Borrow::borrow);
        all.chain(one.into_iter().flatten()).any(Document::reads_context)
    }

    /// The document that a statement is of.
    pub fn document(&self, of: StatementRef) -> Option<&Document> {
        match of.layer {
            Layer::Identity => self.identity.get(of.policy).map(Borrow::borrow),
            Layer::Resource => self.resource,
            Layer::Boundary => self.boundary,
            Layer::Session => self.session?.get(of.policy).map(Borrow::borrow),
            Layer::Trust => self.trust,
        }
    }

    /// Decides a request.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let action = request.action.to_ascii_lowercase();
        let resource = Resource::of(request.resource);
        let asked = Asked { caller: request.caller, action: &action, resource, context: request.context };
        let identity = Verdict::of(Layer::Identity, self.identity, &asked);
        let boundary = self.boundary.map(|document| Verdict::of(Layer::Boundary, slice::from_ref(document), &asked));
        let session = self.session.map(|documents| Verdict::of(Layer::Session, documents, &asked));
        let resource = self.resource.map(|document| Verdict::of(Layer::Resource, slice::from_ref(document), &asked));
        let trust = self.trust.map(|document| Verdict::of(Layer::Trust, slice::from_ref(document), &asked));

        let all = [Some(&identity), resource.as_ref(), trust.as_ref(), boundary.as_ref(), session.as_ref()];
        if let Some(denial) = all.into_iter().flatten().find_map(Verdict::denial) {
            return Decision::Deny(denial);
        }
        let own = Own { identity, boundary, session, is_root: request.caller.kind == CallerKind::Root };
        let is_foreign = request.caller.account != request.resource_account;
        match (trust, resource) {
            (Some(trust), _) => must_allow(&trust, &own, is_foreign),
            (None, Some(resource)) if is_foreign => must_allow(&resource, &own, true),
            (None, None) if is_foreign => Decision::Deny(Denial::silent(Layer::Resource, false)),
            (None, Some(resource)) => may_allow(&resource, &own),
            (None, None) => own.decide(),
        }
    }
}

/// The other side has the last word: it must allow, and a grant to an account, or from another one, takes the caller's own
/// side too.
fn must_allow(other: &Verdict, own: &Own, is_foreign: bool) -> Decision {
    match other.allowed {
        None => Decision::Deny(other.silence()),
        Some((by, Named::Directly)) if !is_foreign => Decision::Allow(Some(by)),
        Some((by, Named::Role)) if !is_foreign => own.within_limits(by),
        Some(_) => own.decide(),
    }
}

/// In the caller's own account, what the resource's policy grants stands beside what his own grant.
fn may_allow(resource: &Verdict, own: &Own) -> Decision {
    match resource.allowed {
        Some((by, Named::Directly)) => Decision::Allow(Some(by)),
        Some((by, Named::Role)) => own.within_limits(by),
        Some((_, Named::Account)) | None => own.decide(),
    }
}

/// The caller's own side.
struct Own {
    identity: Verdict,
    boundary: Option<Verdict>,
    session: Option<Verdict>,
    is_root: bool,
}

impl Own {
    /// His policies grant it, and nothing limits him.
    fn decide(&self) -> Decision {
        if self.is_root {
            return Decision::Allow(None);
        }
        match self.identity.allowed {
            Some((by, _)) => self.within_limits(by),
            None => Decision::Deny(self.identity.silence()),
        }
    }

    /// What one statement grants, unless a boundary or a session policy is silent.
    fn within_limits(&self, by: StatementRef) -> Decision {
        let limits = [self.boundary.as_ref(), self.session.as_ref()];
        match limits.into_iter().flatten().find(|limit| limit.allowed.is_none()) {
            None => Decision::Allow(Some(by)),
            Some(limit) => Decision::Deny(limit.silence()),
        }
    }
}

impl Denial {
    fn silent(layer: Layer, for_tags: bool) -> Self {
        Self { layer, statement: None, for_tags }
    }
}

impl Verdict {
    fn of<D: Borrow<Document>>(layer: Layer, documents: &[D], asked: &Asked<'_>) -> Self {
        let mut verdict = Self { layer, denied: None, allowed: None, failed_for_tags: false };
        for (policy, document) in documents.iter().map(Borrow::borrow).enumerate() {
            for (n, statement) in document.statements.iter().enumerate() {
                let at = StatementRef { layer, policy, statement: n };
                match (statement.effect, statement.says(asked)) {
                    (_, Says::Nothing) | (Effect::Deny, Says::NothingForTags) => {}
                    (Effect::Allow, Says::NothingForTags) => verdict.failed_for_tags = true,
                    (Effect::Deny, Says::Effect(_)) => {
                        verdict.denied.get_or_insert((at, statement.is_about_tags()));
                    }
                    (Effect::Allow, Says::Effect(named)) => {
                        if verdict.allowed.is_none_or(|(_, there)| there < named) {
                            verdict.allowed = Some((at, named));
                        }
                    }
                }
            }
        }
        verdict
    }

    fn denial(&self) -> Option<Denial> {
        self.denied.map(|(at, for_tags)| Denial { layer: self.layer, statement: Some(at), for_tags })
    }

    fn silence(&self) -> Denial {
        Denial::silent(self.layer, self.failed_for_tags)
    }
}
