//! Owns patterns of ARNs: six parts, each held against the same part of the value.
//!
//! A resource may be named in fewer parts if the last ends in `*`, and there a `*` at the end of a part runs on over the
//! following colons. In the condition operators for ARNs it never does.

use crate::context::Context;
use crate::fault::{Fault, Path};
use crate::pattern::{Pattern, Syntax, Token, glob};

/// The partitions that there are.
const PARTITIONS: [&str; 8] =
    ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"];

/// The resource of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource<'a> {
    /// Its ARN, `*` where the action has none.
    text: &'a str,
    /// The parts of the ARN, if it has six.
    parts: Option<[&'a str; 6]>,
}

impl<'a> Resource<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        Self { text, parts: parts.try_into().ok() }
    }
}

/// What a statement says of resources.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ResourcePattern {
    /// `*`: everything, also requests that have no resource.
    All,
    /// An ARN.
    Arn(ArnPattern),
}

/// An ARN with wildcards.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ArnPattern {
    /// All six parts. A `*` has no colon to run over that is not one of the pattern's own.
    Whole(Vec<Pattern>),
    /// The first parts, and what the rest begins with.
    Beginning(Vec<Pattern>, String),
    /// Fewer parts with other wildcards, some of which may run over colons.
    Running(Vec<Token>),
}

impl ResourcePattern {
    pub(crate) fn compile(text: &str, variables: bool, path: &Path<'_>) -> Result<Self, Fault> {
        if text == "*" {
            return Ok(Self::All);
        }
        let fault = |what: String| Fault::new(path, what);
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        if parts[0] != "arn" {
            return Err(fault(format!("Resource {text} must be in ARN format or \"*\".")));
        }
        if parts.len() < 6 && !parts.last().is_some_and(|last| last.ends_with('*')) {
            return Err(fault(format!("Resource {text} must have six parts, or end in *.")));
        }
        for (name, part) in ["partition", "service", "region", "account"].iter().zip(&parts[1..]) {
            if variables && part.contains("${") {
                return Err(fault(format!("Resource {text} has a variable in its {name}.")));
            }
        }
        if let Some(partition) = parts.get(1).filter(|part| !is_wild(part) && !PARTITIONS.contains(part)) {
            return Err(fault(format!("Partition \"{partition}\" is not valid for resource \"{text}\".")));
        }
        if parts.get(2).is_none_or(|service| service.is_empty() || is_wild(service)) {
            return Err(fault("Resource vendor must be fully qualified and cannot contain regexes.".to_owned()));
        }
        if let Some(account) = parts.get(4).filter(|part| parts.len() == 6 && !is_wild(part) && !part.is_empty())
            && !is_account(account)
        {
            return Err(fault(format!("Resource {text} has an account that is not 12 digits.")));
        }
        let compile = |(n, part): (usize, &&str)| {
            Pattern::compile(part, Syntax { wildcards: true, variables: variables && n == 5 }, path)
        };
        let mut compiled = parts.iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
        let (last, earlier) = parts.split_last().expect("there is one part at least");
        let beginning = last.strip_suffix('*').filter(|text| !is_wild(text));
        Ok(Self::Arn(match beginning {
            _ if parts.len() == 6 => ArnPattern::Whole(compiled),
            Some(beginning) if !earlier.iter().any(|part| part.ends_with('*')) => {
                compiled.pop();
                ArnPattern::Beginning(compiled, beginning.to_owned())
            }
            _ => ArnPattern::Running(running(text)),
        }))
    }

    /// Whether a part of it comes from the request.
    pub(crate) fn has_variables(&self) -> bool {
        let is_template = |part: &Pattern| matches!(part, Pattern::Template(_));
        matches!(self, Self::Arn(ArnPattern::Whole(parts)) if parts.iter().any(is_template))
    }

    /// Whether it covers the resource of a request.
    pub(crate) fn covers(&self, resource: &Resource<'_>, context: &Context<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Arn(arn) => resource.text != "*" && arn.covers(resource, context),
        }
    }
}

impl ArnPattern {
    fn covers(&self, resource: &Resource<'_>, context: &Context<'_>) -> bool {
        match self {
            // The last part tells most of them apart.
            Self::Whole(parts) => resource
                .parts
                .is_some_and(|values| parts.iter().zip(values).rev().all(|(part, value)| part.matches(value, context))),
            Self::Beginning(parts, beginning) => {
                let mut values = resource.text.splitn(parts.len() + 1, ':');
                parts.iter().all(|part| values.next().is_some_and(|value| part.matches(value, context)))
                    && values.next().is_some_and(|rest| rest.starts_with(beginning))
            }
            Self::Running(tokens) => runs_over(tokens, resource.text),
        }
    }
}

/// Whether a value is of a form in which a `*` at the end of a part may run over colons: a table of what is reachable, so
/// that the cost is the product of both lengths.
fn runs_over(tokens: &[Token], value: &str) -> bool {
    let mut reachable = vec![false; tokens.len() + 1];
    reachable[0] = true;
    close(tokens, &mut reachable);
    let mut colons = 0;
    for c in value.chars() {
        let mut next = vec![false; tokens.len() + 1];
        for at in (0..tokens.len()).filter(|at| reachable[*at]) {
            // In the sixth part of the value a colon is a character like any other.
            let in_part = c != ':' || colons >= 5;
            let ends_part = matches!(tokens.get(at + 1), None | Some(Token::Literal(':')));
            match tokens[at] {
                Token::Any if in_part || ends_part => next[at] = true,
                Token::One if in_part => next[at + 1] = true,
                Token::Literal(wanted) if wanted == c => next[at + 1] = true,
                _ => {}
            }
        }
        colons += usize::from(c == ':');
        close(tokens, &mut next);
        reachable = next;
    }
    reachable[tokens.len()]
}

/// A `*` may also stand for nothing.
fn close(tokens: &[Token], reachable: &mut [bool]) {
    for at in 0..tokens.len() {
        if reachable[at] && tokens[at] == Token::Any {
            reachable[at + 1] = true;
        }
    }
}

fn running(text: &str) -> Vec<Token> {
    let token = |c| match c {
        '*' => Token::Any,
        '?' => Token::One,
        c => Token::Literal(c),
    };
    text.chars().map(token).collect()
}

/// Whether an ARN of the request is of the form, for the condition operators: part by part, and no `*` leaves its part.
pub(crate) fn is_like(pattern: &Pattern, value: &str, context: &Context<'_>) -> bool {
    let Some(tokens) = pattern.resolve(context) else { return false };
    let parts: Vec<&[Token]> = tokens.splitn(6, |token| *token == Token::Literal(':')).collect();
    let values: Vec<&str> = value.splitn(6, ':').collect();
    values[0] == "arn"
        && parts.len() == 6
        && values.len() == 6
        && parts.iter().zip(values).all(|(part, value)| glob(part, value))
}

fn is_wild(part: &str) -> bool {
    part.contains(['*', '?'])
}

/// Twelve digits.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text is an ARN of six parts in a partition that there is.
pub(crate) fn is_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    parts.len() == 6 && parts[0] == "arn" && PARTITIONS.contains(&parts[1]) && !parts[2].is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(text: &str, value: &str) -> bool {
        ResourcePattern::compile(text, true, &Path::Root).unwrap().covers(&Resource::of(value), &Context::default())
    }

    #[test]
    fn a_star_at_the_end_of_a_part_runs_on_and_one_inside_does_not() {
        let cluster = "arn:aws:cloudhsm:us-east-1:111122223333:cluster/cluster-abc";
        for text in [
            "arn:aws:cloudhsm:*",
            "arn:aws:cloudhsm:us-east-1:*",
            "arn:aws:cloudhsm:*:cluster/*",
            "arn:aws:cloudhsm:us-*:111122223333:c*c",
        ] {
            assert!(covers(text, cluster), "{text}");
        }
        for text in ["arn:aws:cloudhsm:u*1:cluster/*", "arn:aws:cloudhsm:us-*:444455556666:*", "arn:aws:kms:*"] {
            assert!(!covers(text, cluster), "{text}");
        }
        assert!(!covers("arn:aws:cloudhsm:*", "*"), "what has no resource wants *");
    }

    #[test]
    fn what_is_no_arn_is_refused_with_its_reason() {
        for text in [
            "",
            "cluster/a",
            "arn:aws:cloudhsm:us-east-1:111122223333",
            "arn:aws:*:us-east-1:111122223333:cluster/*",
            "arn:amazon:cloudhsm:us-east-1:111122223333:cluster/*",
            "arn:aws:cloudhsm:us-east-1:12345:cluster/*",
            "arn:aws:cloudhsm:${aws:RequestedRegion}:111122223333:cluster/*",
        ] {
            assert!(ResourcePattern::compile(text, true, &Path::Root).is_err(), "{text}");
        }
    }
}
