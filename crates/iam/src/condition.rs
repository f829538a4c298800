//! Owns conditions: an operator, a key and values, compiled; and what they say of a request.
//!
//! A key that the request lacks fulfils the negated operators, those with `IfExists`, and `ForAllValues`; nothing else. A
//! value of the policy that means nothing to its operator matches nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use data_encoding::BASE64;

use crate::arn;
use crate::context::Context;
use crate::fault::{Fault, Path, Warning};
use crate::json::Node;
use crate::pattern::{Pattern, Syntax, is_key};
use crate::value::{Network, boolean, number, time};

/// One key under one operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    set: Option<Set>,
    if_exists: bool,
    /// None of the values may match.
    negated: bool,
    /// In lower case.
    key: String,
    test: Test,
}

/// How several values of a key in the request count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    All,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What values are held against, by the family of the operator.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Text(Vec<Pattern>),
    TextIgnoringCase(Vec<Pattern>),
    Arn(Vec<Pattern>),
    Number(Compare, Vec<i128>),
    Time(Compare, Vec<i128>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Address(Vec<Network>),
    Null(Vec<bool>),
}

/// An operator by its name without `ForAllValues:`, `ForAnyValue:` and `IfExists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Text { wildcards: bool },
    TextIgnoringCase,
    Arn,
    Number(Compare),
    Time(Compare),
    Bool,
    Binary,
    Address,
    Null,
}

const OPERATORS: [(&str, bool, Family); 27] = {
    use Compare::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    [
        ("StringEquals", false, Family::Text { wildcards: false }),
        ("StringNotEquals", true, Family::Text { wildcards: false }),
        ("StringEqualsIgnoreCase", false, Family::TextIgnoringCase),
        ("StringNotEqualsIgnoreCase", true, Family::TextIgnoringCase),
        ("StringLike", false, Family::Text { wildcards: true }),
        ("StringNotLike", true, Family::Text { wildcards: true }),
        ("NumericEquals", false, Family::Number(Equal)),
        ("NumericNotEquals", true, Family::Number(Equal)),
        ("NumericLessThan", false, Family::Number(Less)),
        ("NumericLessThanEquals", false, Family::Number(LessOrEqual)),
        ("NumericGreaterThan", false, Family::Number(Greater)),
        ("NumericGreaterThanEquals", false, Family::Number(GreaterOrEqual)),
        ("DateEquals", false, Family::Time(Equal)),
        ("DateNotEquals", true, Family::Time(Equal)),
        ("DateLessThan", false, Family::Time(Less)),
        ("DateLessThanEquals", false, Family::Time(LessOrEqual)),
        ("DateGreaterThan", false, Family::Time(Greater)),
        ("DateGreaterThanEquals", false, Family::Time(GreaterOrEqual)),
        ("Bool", false, Family::Bool),
        ("BinaryEquals", false, Family::Binary),
        ("IpAddress", false, Family::Address),
        ("NotIpAddress", true, Family::Address),
        ("ArnEquals", false, Family::Arn),
        ("ArnLike", false, Family::Arn),
        ("ArnNotEquals", true, Family::Arn),
        ("ArnNotLike", true, Family::Arn),
        ("Null", false, Family::Null),
    ]
};

/// Keys that have several values.
const MULTIVALUED: [&str; 3] = ["aws:tagkeys", "sts:transitivetagkeys", "aws:principalorgpaths"];

impl Condition {
    /// Compiles one key of one operator.
    pub(crate) fn compile(
        operator: &str,
        key: &str,
        values: &Node,
        variables: bool,
        path: &Path<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, Fault> {
        let mut warn = |text: String| warnings.push(Warning { text, place: path.to_string() });
        let (set, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Set::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Set::Any), rest),
            _ => (None, operator),
        };
        let (name, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |name| (name, true));
        let found = OPERATORS.iter().find(|(operator, ..)| *operator == name);
        let Some((_, negated, family)) = found.filter(|found| !(if_exists && found.2 == Family::Null)) else {
            return Err(Fault::new(path, format!("there is no condition operator {operator}")));
        };
        if !is_key(key) {
            return Err(Fault::new(path, format!("the condition key \"{key}\" is not of the form prefix:name")));
        }
        let lower = key.to_lowercase();
        if ["aws:resourcetag", "aws:requesttag", "aws:principaltag"].contains(&lower.trim_end_matches('/')) {
            return Err(Fault::new(path, format!("the condition key {key} lacks the key of a tag: {key}/name")));
        }
        if set == Some(Set::All) && !MULTIVALUED.contains(&lower.as_str()) {
            warn(format!("{key} has one value; ForAllValues is also true where it has none"));
        }
        if set.is_none() && MULTIVALUED.contains(&lower.as_str()) {
            warn(format!("{key} has several values; say ForAllValues or ForAnyValue"));
        }
        let texts = texts(values, path)?;
        let test = Test::compile(*family, &texts, variables, path, &mut warn)?;
        Ok(Self { set, if_exists, negated: *negated, key: lower, test })
    }

    /// Whether it asks for tags of the request or the resource.
    pub(crate) fn is_about_tags(&self) -> bool {
        ["aws:requesttag/", "aws:resourcetag/", "aws:tagkeys"].iter().any(|prefix| self.key.starts_with(prefix))
    }

    /// Whether a request fulfils it.
    pub(crate) fn holds(&self, context: &Context<'_>) -> bool {
        let values = context.values(&self.key);
        if let Test::Null(wanted) = &self.test {
            return match self.set {
                None => wanted.contains(&values.is_empty()),
                Some(Set::All) => true,
                Some(Set::Any) => false,
            };
        }
        if values.is_empty() {
            return match self.set {
                Some(Set::All) => true,
                Some(Set::Any) => self.if_exists,
                None => self.if_exists || self.negated,
            };
        }
        if self.test.is_empty() {
            // A list without a value is fulfilled by a missing key at most.
            return false;
        }
        let holds = |value: &Cow<'_, str>| self.test.matches(value, context) != self.negated;
        match self.set {
            Some(Set::All) => values.iter().all(holds),
            Some(Set::Any) | None => values.iter().any(holds),
        }
    }
}

impl Test {
    fn compile(
        family: Family,
        texts: &[String],
        variables: bool,
        path: &Path<'_>,
        warn: &mut dyn FnMut(String),
    ) -> Result<Self, Fault> {
        let patterns = |wildcards: bool, lower: bool| -> Result<Vec<Pattern>, Fault> {
            let compile = |text: &String| {
                let text = if lower { text.to_lowercase() } else { text.clone() };
                Pattern::compile(&text, Syntax { wildcards, variables }, path)
            };
            texts.iter().map(compile).collect()
        };
        if !matches!(family, Family::Text { .. } | Family::TextIgnoringCase | Family::Arn)
            && let Some(text) = texts.iter().find(|text| variables && text.contains("${"))
        {
            return Err(Fault::new(path, format!("this operator takes no variables: {text}")));
        }
        if matches!(family, Family::Text { wildcards: false } | Family::TextIgnoringCase)
            && texts.iter().any(|text| text.replace("${*}", "").replace("${?}", "").contains(['*', '?']))
        {
            warn("* and ? stand for themselves with this operator; StringLike takes wildcards".to_owned());
        }
        Ok(match family {
            Family::Text { wildcards } => Self::Text(patterns(wildcards, false)?),
            Family::TextIgnoringCase => Self::TextIgnoringCase(patterns(false, true)?),
            Family::Arn => Self::Arn(patterns(true, false)?),
            Family::Number(compare) => Self::Number(compare, read(texts, number, "a number", warn)),
            Family::Time(compare) => Self::Time(compare, read(texts, time, "a date", warn)),
            Family::Bool => Self::Bool(read(texts, boolean, "true or false", warn)),
            Family::Binary => {
                let decode = |text: &str| BASE64.decode(text.as_bytes()).ok();
                Self::Binary(read(texts, decode, "Base64", warn))
            }
            Family::Address => Self::Address(read(texts, Network::parse, "an IP address or network", warn)),
            Family::Null => Self::Null(read(texts, boolean, "true or false", warn)),
        })
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(list) | Self::TextIgnoringCase(list) | Self::Arn(list) => list.is_empty(),
            Self::Number(_, list) | Self::Time(_, list) => list.is_empty(),
            Self::Bool(list) | Self::Null(list) => list.is_empty(),
            Self::Binary(list) => list.is_empty(),
            Self::Address(list) => list.is_empty(),
        }
    }

    /// Whether a value of the request matches any of the policy's.
    fn matches(&self, value: &str, context: &Context<'_>) -> bool {
        let compares = |compare: &Compare, wanted: &[i128], value: Option<i128>| {
            value.is_some_and(|value| wanted.iter().any(|wanted| compare.holds(value, *wanted)))
        };
        match self {
            Self::Text(patterns) => patterns.iter().any(|pattern| pattern.matches(value, context)),
            Self::TextIgnoringCase(patterns) => {
                let lower = value.to_lowercase();
                patterns.iter().any(|pattern| match pattern {
                    Pattern::Template(_) => pattern.resolve(context).is_some_and(|tokens| {
                        let literal = tokens.iter().filter_map(|token| token.literal()).collect::<String>();
                        literal.to_lowercase() == lower
                    }),
                    fixed => fixed.matches(&lower, context),
                })
            }
            Self::Arn(patterns) => patterns.iter().any(|pattern| arn::is_like(pattern, value, context)),
            Self::Number(compare, wanted) => compares(compare, wanted, number(value)),
            Self::Time(compare, wanted) => compares(compare, wanted, time(value)),
            Self::Bool(wanted) | Self::Null(wanted) => boolean(value).is_some_and(|value| wanted.contains(&value)),
            Self::Binary(wanted) => BASE64.decode(value.as_bytes()).is_ok_and(|bytes| wanted.contains(&bytes)),
            Self::Address(networks) => {
                let address = value.parse::<IpAddr>();
                address.is_ok_and(|address| networks.iter().any(|network| network.contains(address)))
            }
        }
    }
}

impl Compare {
    fn holds(self, value: i128, wanted: i128) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

/// The values that mean something to an operator; of the others it warns.
fn read<T>(texts: &[String], parse: impl Fn(&str) -> Option<T>, what: &str, warn: &mut dyn FnMut(String)) -> Vec<T> {
    let mut values = Vec::new();
    for text in texts {
        match parse(text) {
            Some(value) => values.push(value),
            None => warn(format!("\"{text}\" is not {what} and can never match")),
        }
    }
    values
}

/// The values of a condition as text: strings, numbers and Booleans, one or a list.
fn texts(node: &Node, path: &Path<'_>) -> Result<Vec<String>, Fault> {
    let one = |node: &Node| match node {
        Node::Text(text) | Node::Number(text) => Ok(text.clone()),
        Node::Bool(value) => Ok(value.to_string()),
        other => Err(Fault::new(
            path,
            format!("a condition's value is a string, a number or a Boolean, not {}", other.kind()),
        )),
    };
    match node {
        Node::List(list) => list.iter().map(one).collect(),
        node => Ok(vec![one(node)?]),
    }
}
