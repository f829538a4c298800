//! Owns the constraints: holds a decoded request against the lengths, ranges, patterns, enums and required members of its
//! shape, and says what is wrong in the words of AWS's own validator. One pass for both protocols; it changes nothing and
//! finds every violation (up to a bound), not just the first.

use std::fmt::{self, Write};

use strongroom_model::Value;
use strongroom_model::shape::{Bounds, Constraints, Kind, Member, Name, Shape, ShapeIndex, Table};

/// As many violations are told; a request with more gains nothing by the rest.
const VIOLATIONS_MAX: usize = 50;

/// As many characters of a refused value are shown.
const SHOWN_MAX: usize = 256;

/// What is wrong with a request. `Display` is AWS's text: `1 validation error detected: Value 'x' at 'availabilityZone'
/// failed to satisfy constraint: …`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violations(Vec<String>);

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = if self.0.len() == 1 { "error" } else { "errors" };
        write!(f, "{} validation {errors} detected: {}", self.0.len(), self.0.join("; "))
    }
}

/// Holds a request to the constraints of its shape.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(value: &Value, table: &Table, shape: ShapeIndex) -> Result<(), Violations> {
    let mut validator = Validator { table, path: Vec::new(), violations: Vec::new() };
    validator.inside(value, &table[shape]);
    if validator.violations.is_empty() { Ok(()) } else { Err(Violations(validator.violations)) }
}

struct Validator<'v> {
    table: &'v Table,
    path: Vec<Step<'v>>,
    violations: Vec<String>,
}

/// A part of a path such as `tagList.1.member.key`.
enum Step<'v> {
    Member(&'v str),
    Element(usize),
    Entry(&'v str),
}

impl<'v> Validator<'v> {
    /// A value where a member says what holds for it.
    fn member(&mut self, value: &'v Value, member: &Member) {
        let shape = &self.table[member.target];
        for violation in broken(value, &member.constraints, shape) {
            self.report(Some(value), &violation);
        }
        self.inside(value, shape);
    }

    /// The parts of a value.
    fn inside(&mut self, value: &'v Value, shape: &'v Shape) {
        match (&shape.kind, value) {
            (Kind::Structure(members) | Kind::Union(members), Value::Structure(present)) => {
                self.structure(members, present);
            }
            (Kind::List { member, .. }, Value::List(elements)) => self.list(value, elements, member),
            (Kind::Map { key, value: entry, .. }, Value::Map(entries)) => self.map(value, entries, key, entry),
            _ => {}
        }
    }

    fn structure(&mut self, members: &'v [Member], present: &'v [(Name, Value)]) {
        for member in members {
            self.path.push(Step::Member(&member.name));
            match present.iter().find(|(name, _)| *name == member.name) {
                Some((_, value)) => self.member(value, member),
                None if member.required => self.report(None, "Member must not be null"),
                None => {}
            }
            self.path.pop();
        }
    }

    /// Scalars are reported at the list, as AWS does; everything else at its own place.
    fn list(&mut self, list: &'v Value, elements: &'v [Value], member: &'v Member) {
        if is_scalar(&self.table[member.target]) {
            self.scalars(list, elements.iter(), member, "Member");
            return;
        }
        for (i, element) in elements.iter().enumerate() {
            self.path.push(Step::Element(i + 1));
            self.member(element, member);
            self.path.pop();
        }
    }

    fn map(&mut self, map: &'v Value, entries: &'v [(String, Value)], key: &'v Member, entry: &'v Member) {
        let keys: Vec<Value> = entries.iter().map(|(key, _)| Value::String(key.clone())).collect();
        self.scalars(map, keys.iter(), key, "Map keys");
        if is_scalar(&self.table[entry.target]) {
            self.scalars(map, entries.iter().map(|(_, value)| value), entry, "Map value");
            return;
        }
        for (key, value) in entries {
            self.path.push(Step::Entry(key));
            self.member(value, entry);
            self.path.pop();
        }
    }

    fn scalars<'a>(&mut self, whole: &Value, mut values: impl Iterator<Item = &'a Value>, member: &Member, who: &str) {
        let shape = &self.table[member.target];
        if values.any(|value| !broken(value, &member.constraints, shape).is_empty()) {
            let all = every_constraint(&member.constraints, shape).join(", ");
            self.report(Some(whole), &format!("{who} must satisfy constraint: [{all}]"));
        }
    }

    fn report(&mut self, value: Option<&Value>, constraint: &str) {
        if self.violations.len() == VIOLATIONS_MAX {
            return;
        }
        let shown = value.map_or("null".to_owned(), |v| format!("'{}'", shown(v)));
        let path = path(&self.path);
        self.violations.push(format!("Value {shown} at '{path}' failed to satisfy constraint: {constraint}"));
    }
}

fn is_scalar(shape: &Shape) -> bool {
    !matches!(shape.kind, Kind::List { .. } | Kind::Map { .. } | Kind::Structure(_) | Kind::Union(_))
}

/// The constraints that a value breaks. Allocates only if there are any.
fn broken(value: &Value, constraints: &Constraints, shape: &Shape) -> Vec<String> {
    let mut broken = Vec::new();
    if constraints.length.is_some() {
        broken.extend(out_of_bounds(length(value), constraints.length, "length"));
    }
    match value {
        Value::Integer(n) => broken.extend(out_of_bounds(Some(*n as f64), constraints.range, "value")),
        Value::Float(n) => broken.extend(out_of_bounds(Some(*n), constraints.range, "value")),
        _ => {}
    }
    if let (Some(pattern), Value::String(text)) = (&constraints.pattern, value)
        && !pattern.matches(text)
    {
        broken.push(must_match(pattern.as_str()));
    }
    match (&shape.kind, value) {
        (Kind::Enum(values), Value::String(text)) if !values.iter().any(|v| v == text) => {
            broken.push(must_be_one_of(values));
        }
        (Kind::IntEnum(values), Value::Integer(n)) if !values.contains(n) => broken.push(must_be_one_of(values)),
        _ => {}
    }
    broken
}

/// Every constraint there is, broken or not, in AWS's order.
fn every_constraint(constraints: &Constraints, shape: &Shape) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(constraints.length.max.map(|max| at_most("length", max)));
    all.extend(constraints.length.min.map(|min| at_least("length", min)));
    all.extend(constraints.range.max.map(|max| at_most("value", max)));
    all.extend(constraints.range.min.map(|min| at_least("value", min)));
    all.extend(constraints.pattern.as_ref().map(|pattern| must_match(pattern.as_str())));
    match &shape.kind {
        Kind::Enum(values) => all.push(must_be_one_of(values)),
        Kind::IntEnum(values) => all.push(must_be_one_of(values)),
        _ => {}
    }
    all
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Blob(bytes) => Some(bytes.len()),
        Value::List(elements) => Some(elements.len()),
        Value::Map(entries) => Some(entries.len()),
        _ => None,
    }
}

/// A number that is not within its bounds, NaN among them, is told the bound that it breaks.
fn out_of_bounds<T: PartialOrd + fmt::Display + Copy>(n: Option<T>, bounds: Bounds<T>, of: &str) -> Option<String> {
    let n = n?;
    let (above_min, below_max) = (bounds.min.is_none_or(|min| n >= min), bounds.max.is_none_or(|max| n <= max));
    match (bounds.min, bounds.max) {
        (_, Some(max)) if !below_max => Some(at_most(of, max)),
        (Some(min), _) if !above_min => Some(at_least(of, min)),
        _ => None,
    }
}

fn at_most(of: &str, max: impl fmt::Display) -> String {
    format!("Member must have {of} less than or equal to {max}")
}

fn at_least(of: &str, min: impl fmt::Display) -> String {
    format!("Member must have {of} greater than or equal to {min}")
}

fn must_match(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn must_be_one_of(values: &[impl fmt::Display]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

fn path(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        if !path.is_empty() {
            path.push('.');
        }
        match step {
            Step::Member(name) => path.push_str(&lower_camel(name)),
            Step::Element(i) => write!(path, "{i}.member").expect("a String takes every character"),
            Step::Entry(key) => write!(path, "{key}.member").expect("a String takes every character"),
        }
    }
    path
}

fn lower_camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_lowercase(), chars.as_str()))
}

/// A value as AWS shows it, cut to a bounded length.
fn shown(value: &Value) -> String {
    let mut text = String::new();
    show(&mut text, value);
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn show(out: &mut String, value: &Value) {
    match value {
        _ if out.len() > 4 * SHOWN_MAX => {}
        Value::Null => out.push_str("null"),
        Value::Boolean(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Integer(n) => out.push_str(&n.to_string()),
        Value::Float(n) => out.push_str(&n.to_string()),
        Value::String(text) => out.push_str(text),
        Value::Blob(bytes) => out.push_str(&format!("{} bytes", bytes.len())),
        Value::Timestamp(t) => out.push_str(&t.to_string()),
        Value::List(elements) => show_all(out, "[]", elements, show),
        Value::Map(entries) => show_all(out, "{}", entries, |out, (key, value)| {
            out.push_str(key);
            out.push('=');
            show(out, value);
        }),
        Value::Structure(members) => show_all(out, "{}", members, |out, (name, value)| {
            out.push_str(&lower_camel(name));
            out.push('=');
            show(out, value);
        }),
    }
}

fn show_all<T>(out: &mut String, brackets: &str, items: &[T], mut show_one: impl FnMut(&mut String, &T)) {
    out.push_str(&brackets[..1]);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        show_one(out, item);
    }
    out.push_str(&brackets[1..]);
}

#[cfg(test)]
mod tests {
    use strongroom_model::table;

    use super::*;
    use crate::json;

    fn told(shape: &str, body: &str) -> String {
        let index = table::api().find(shape).unwrap();
        let value = json::decode(body.as_bytes(), table::api(), index).unwrap();
        check(&value, table::api(), index).map_or_else(|v| v.to_string(), |()| "valid".to_owned())
    }

    #[test]
    fn says_what_aws_says() {
        assert_eq!(
            told("CreateHsmRequest", r#"{"ClusterId":"cluster-mrq6aozbe5s","AvailabilityZone":"x"}"#),
            "1 validation error detected: Value 'x' at 'availabilityZone' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-z]{2}(-(gov))?-(east|west|north|south|central){1,2}-\\d[a-z]"
        );
        assert_eq!(
            told("CreateClusterRequest", r#"{"HsmType":"hsm2m.medium","SubnetIds":[],"Mode":"X"}"#),
            "2 validation errors detected: Value '[]' at 'subnetIds' failed to satisfy constraint: Member must have length \
             greater than or equal to 1; Value 'X' at 'mode' failed to satisfy constraint: Member must satisfy enum value \
             set: [FIPS, NON_FIPS]"
        );
        assert_eq!(
            told("DescribeBackupsRequest", r#"{"MaxResults":51}"#),
            "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have value \
             less than or equal to 50"
        );
    }

    #[test]
    fn names_the_place_of_nested_members() {
        let body = r#"{"ResourceId":"cluster-mrq6aozbe5s","TagList":[{"Key":"a","Value":""},{"Key":""}]}"#;
        assert_eq!(
            told("TagResourceRequest", body),
            "2 validation errors detected: Value '' at 'tagList.2.member.key' failed to satisfy constraint: Member must have \
             length greater than or equal to 1; Value null at 'tagList.2.member.value' failed to satisfy constraint: Member \
             must not be null"
        );
        assert_eq!(
            told("CreateClusterRequest", r#"{"HsmType":"hsm2m.medium","SubnetIds":["subnet-12345678","s"]}"#),
            "1 validation error detected: Value '[subnet-12345678, s]' at 'subnetIds' failed to satisfy constraint: Member \
             must satisfy constraint: [Member must satisfy regular expression pattern: subnet-[0-9a-fA-F]{8,17}]"
        );
        assert_eq!(
            told("DescribeClustersRequest", r#"{"Filters":{"a b":["c"]}}"#),
            "1 validation error detected: Value '{a b=[c]}' at 'filters' failed to satisfy constraint: Map keys must satisfy \
             constraint: [Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+]"
        );
    }

    #[test]
    fn takes_what_is_valid() {
        assert_eq!(told("GetResourcePolicyRequest", "{}"), "valid");
        assert_eq!(told("DescribeBackupsRequest", r#"{"Filters":{"states":["READY"]},"MaxResults":50}"#), "valid");
        let tag = r#"{"ResourceId":"backup-mrq6aozbe5s","TagList":[{"Key":"k\u00e9 1","Value":""}]}"#;
        assert_eq!(told("TagResourceRequest", tag), "valid");
        assert_eq!(
            told(
                "AddSubnetRequest",
                r#"{"SubnetId":"subnet-12345678","VpcId":"vpc-12345678","AvailabilityZone":"us-east-1a"}"#
            ),
            "valid"
        );
    }

    #[test]
    fn tells_a_bounded_amount() {
        let tags = vec![r#"{"Key":""}"#; 2_000].join(",");
        let text =
            told("TagResourceRequest", &format!(r#"{{"ResourceId":"{}","TagList":[{tags}]}}"#, "x".repeat(9_000)));
        assert!(text.starts_with("50 validation errors detected: Value 'xxx"), "{text}");
        assert!(text.len() < 20_000, "{}", text.len());
    }
}
