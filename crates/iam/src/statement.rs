//! Owns a statement, compiled: whom, what, on which resources and when; and whether it concerns a request.

use crate::arn::{Resource, ResourcePattern};
use crate::condition::Condition;
use crate::context::Context;
use crate::pattern::Pattern;
use crate::principal::{Caller, Named, Principals};

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// A list, or everything but the list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope<T> {
    pub negated: bool,
    pub list: Vec<T>,
}

impl<T> Scope<T> {
    /// A list without an item has no effect, negated or not.
    fn covers(&self, matches: impl Fn(&T) -> bool) -> bool {
        !self.list.is_empty() && self.list.iter().any(matches) != self.negated
    }
}

/// An action of a policy, in lower case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ActionPattern {
    /// `*`
    All,
    /// `service:Name`
    Of(Pattern),
}

/// A compiled statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statement {
    pub sid: Option<String>,
    pub effect: Effect,
    pub principals: Option<Principals>,
    pub actions: Scope<ActionPattern>,
    /// `None` in trust policies.
    pub resources: Option<Scope<ResourcePattern>>,
    pub conditions: Vec<Condition>,
}

/// What a statement says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It does not concern it.
    Nothing,
    /// It would, if not for a condition on tags.
    NothingForTags,
    /// It concerns it, and names the caller so; a policy without principals is the caller's own.
    Effect(Named),
}

/// A request as statements see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub caller: &'a Caller,
    /// In lower case.
    pub action: &'a str,
    pub resource: Resource<'a>,
    pub context: &'a Context<'a>,
}

impl Statement {
    /// What it says of a request.
    pub(crate) fn says(&self, asked: &Asked<'_>) -> Says {
        let is_asked = |pattern: &ActionPattern| match pattern {
            ActionPattern::All => true,
            ActionPattern::Of(pattern) => pattern.matches(asked.action, asked.context),
        };
        if !self.actions.covers(is_asked) {
            return Says::Nothing;
        }
        let covers = |pattern: &ResourcePattern| pattern.covers(&asked.resource, asked.context);
        if !self.resources.as_ref().is_none_or(|resources| resources.covers(covers)) {
            return Says::Nothing;
        }
        let named = match &self.principals {
            None => Named::Directly,
            Some(principals) => match principals.names(asked.caller) {
                Some(named) => named,
                None => return Says::Nothing,
            },
        };
        let mut says = Says::Effect(named);
        for condition in self.conditions.iter().filter(|condition| !condition.holds(asked.context)) {
            if !condition.is_about_tags() {
                return Says::Nothing;
            }
            says = Says::NothingForTags;
        }
        says
    }

    /// Whether it asks for the request's context.
    pub(crate) fn reads_context(&self) -> bool {
        let has_variables =
            |resources: &Scope<ResourcePattern>| resources.list.iter().any(ResourcePattern::has_variables);
        !self.conditions.is_empty() || self.resources.as_ref().is_some_and(has_variables)
    }

    /// Whether any of its conditions asks for tags.
    pub(crate) fn is_about_tags(&self) -> bool {
        self.conditions.iter().any(Condition::is_about_tags)
    }
}
