//! Owns shapes as data: what kinds of values a service's messages consist of, and what constrains them. One codec reads a
//! [`Table`] for both protocols; our own is in [`crate::table`], and tests build others at run time. Shapes are declared
//! with names as their targets (`Shape<Name>`) and, once [`Table::build`] has found them all, refer to each other by index.
//! Nothing here reads or writes bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Index;
use std::sync::{Arc, OnceLock};

use regex::Regex;

/// The name of a shape, a member, a service or an enum's value.
pub type Name = Cow<'static, str>;

/// Where a shape is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShapeIndex(usize);

/// A named kind of value.
#[derive(Clone, Debug)]
pub struct Shape<Target = ShapeIndex> {
    /// Unique in its table: a bare name or an absolute shape id.
    pub name: Name,
    /// What it is.
    pub kind: Kind<Target>,
    /// What values it takes.
    pub constraints: Constraints,
}

/// What a shape is.
#[derive(Clone, Debug)]
pub enum Kind<Target = ShapeIndex> {
    /// No input or no output.
    Unit,
    /// True or false.
    Boolean,
    /// 8 bits, signed.
    Byte,
    /// 16 bits, signed.
    Short,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    Long,
    /// Integers that have names: their values.
    IntEnum(Vec<i64>),
    /// binary32
    Float,
    /// binary64
    Double,
    /// Bytes.
    Blob,
    /// Unicode text.
    String,
    /// Text that is one of these.
    Enum(Vec<Name>),
    /// A time, and how JSON writes it unless a member says otherwise.
    Timestamp(TimestampFormat),
    /// Any JSON.
    Document,
    /// Values in order.
    List {
        /// The elements.
        member: Member<Target>,
        /// Whether elements may be null.
        sparse: bool,
    },
    /// Text to value.
    Map {
        /// The keys.
        key: Member<Target>,
        /// The values.
        value: Member<Target>,
        /// Whether values may be null.
        sparse: bool,
    },
    /// Members by name.
    Structure(Vec<Member<Target>>),
    /// Exactly one of these members.
    Union(Vec<Member<Target>>),
}

/// A part of a structure, union, list or map.
#[derive(Clone, Debug)]
pub struct Member<Target = ShapeIndex> {
    /// Its name on the wire (`member`, `key` and `value` in lists and maps).
    pub name: Name,
    /// Its shape.
    pub target: Target,
    /// Whether a request without it is invalid.
    pub required: bool,
    /// How JSON writes it, where that differs from its shape's format.
    pub timestamp_format: Option<TimestampFormat>,
    /// In a declaration, what overrides its shape's constraints; in a table, all that hold for it.
    pub constraints: Constraints,
}

/// How JSON writes a timestamp. CBOR has one form only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampFormat {
    /// Seconds since 1970, a number.
    EpochSeconds,
    /// RFC 3339, in UTC.
    DateTime,
    /// RFC 9110's IMF-fixdate.
    HttpDate,
}

/// The least and the greatest that is valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds<T> {
    /// Inclusive.
    pub min: Option<T>,
    /// Inclusive.
    pub max: Option<T>,
}

/// What values a shape or a member takes.
#[derive(Clone, Debug, Default)]
pub struct Constraints {
    /// Characters of a string, bytes of a blob, elements of a list, entries of a map.
    pub length: Bounds<usize>,
    /// The value of a number.
    pub range: Bounds<f64>,
    /// What the whole of a string must match.
    pub pattern: Option<Arc<Pattern>>,
}

/// A regular expression as the model states it, compiled at its first use.
#[derive(Debug)]
pub struct Pattern {
    text: Name,
    regex: OnceLock<Regex>,
}

/// An operation of a service: what goes in, what comes out.
#[derive(Clone, Debug)]
pub struct OperationShape<Target = ShapeIndex> {
    /// The service's shape name.
    pub service: Name,
    /// The operation's name.
    pub name: Name,
    /// A structure or the unit.
    pub input: Target,
    /// A structure or the unit.
    pub output: Target,
    /// The errors that it declares.
    pub errors: Vec<Target>,
}

/// Shapes and operations, every reference resolved.
#[derive(Clone, Debug)]
pub struct Table {
    shapes: Vec<Shape>,
    names: HashMap<Name, ShapeIndex>,
    operations: Vec<OperationShape>,
}

/// A set of declarations that is no table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two shapes have one name.
    #[error("shape {0} is declared twice")]
    Twice(Name),
    /// A reference to a shape that is not there.
    #[error("{at} refers to shape {name}, which is not declared")]
    Unknown {
        /// The shape or operation that refers to it.
        at: Name,
        /// The name that is missing.
        name: Name,
    },
}

impl Table {
    /// Resolves every reference, and gives each member all the constraints that hold for it.
    pub fn build(shapes: Vec<Shape<Name>>, operations: Vec<OperationShape<Name>>) -> Result<Self, BuildError> {
        let mut names = HashMap::with_capacity(shapes.len());
        for (i, shape) in shapes.iter().enumerate() {
            if names.insert(shape.name.clone(), ShapeIndex(i)).is_some() {
                return Err(BuildError::Twice(shape.name.clone()));
            }
        }
        let resolver = Resolver { names: &names, shapes: &shapes };
        let resolved = shapes.iter().map(|shape| resolver.shape(shape)).collect::<Result<_, _>>()?;
        let operations = operations.into_iter().map(|o| resolver.operation(o)).collect::<Result<_, _>>()?;
        Ok(Self { shapes: resolved, names, operations })
    }

    /// Finds a shape by name.
    pub fn find(&self, name: &str) -> Option<ShapeIndex> {
        self.names.get(name).copied()
    }

    /// Finds an operation of a service.
    pub fn operation(&self, service: &str, name: &str) -> Option<&OperationShape> {
        self.operations.iter().find(|o| o.service == service && o.name == name)
    }

    /// Every operation, in the order of their declaration.
    pub fn operations(&self) -> &[OperationShape] {
        &self.operations
    }

    /// Every shape, in the order of their declaration.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }
}

impl Index<ShapeIndex> for Table {
    type Output = Shape;

    fn index(&self, index: ShapeIndex) -> &Shape {
        &self.shapes[index.0]
    }
}

impl Shape {
    /// The members of a structure or union; none for any other kind.
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Structure(members) | Kind::Union(members) => members,
            _ => &[],
        }
    }

    /// The member of a structure or union.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members().iter().find(|m| m.name == name)
    }
}

impl<Target> Member<Target> {
    /// A member that may be absent and adds no constraint to its target's.
    pub fn new(name: impl Into<Name>, target: Target) -> Self {
        Self { name: name.into(), target, required: false, timestamp_format: None, constraints: Constraints::default() }
    }
}

impl<T> Bounds<T> {
    /// Whether anything is bounded.
    pub fn is_some(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }
}

impl<T> Default for Bounds<T> {
    fn default() -> Self {
        Self { min: None, max: None }
    }
}

impl Constraints {
    fn or(&self, target: &Self) -> Self {
        Self {
            length: if self.length.is_some() { self.length } else { target.length },
            range: if self.range.is_some() { self.range } else { target.range },
            pattern: self.pattern.as_ref().or(target.pattern.as_ref()).cloned(),
        }
    }
}

impl Pattern {
    /// A pattern in the model's own words.
    pub fn new(text: impl Into<Name>) -> Self {
        Self { text: text.into(), regex: OnceLock::new() }
    }

    /// The model's words.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `text` matches.
    ///
    /// # Panics
    /// If the pattern is no regular expression. Tables are data of the program, and a test compiles each of ours.
    pub fn matches(&self, text: &str) -> bool {
        let compile = || Regex::new(&format!(r"\A(?:{})\z", ascii_classes(&self.text)));
        self.regex.get_or_init(|| compile().expect("a pattern of a table compiles")).is_match(text)
    }
}

/// Replaces `\d`, `\s` and `\w` by ASCII classes, which is what they mean to AWS's validator (Java's default). A nested
/// class stands wherever the escape may stand, inside of brackets too.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('d')) => out.push_str("[0-9]"),
            ('\\', Some('s')) => out.push_str(r"[ \t\n\x0B\f\r]"),
            ('\\', Some('w')) => out.push_str("[0-9A-Za-z_]"),
            (c, escaped) => {
                out.push(c);
                out.extend(escaped);
            }
        }
    }
    out
}

struct Resolver<'a> {
    names: &'a HashMap<Name, ShapeIndex>,
    shapes: &'a [Shape<Name>],
}

impl Resolver<'_> {
    fn index(&self, at: &Name, name: &Name) -> Result<ShapeIndex, BuildError> {
        self.names.get(name).copied().ok_or_else(|| BuildError::Unknown { at: at.clone(), name: name.clone() })
    }

    fn shape(&self, shape: &Shape<Name>) -> Result<Shape, BuildError> {
        let member = |m: &Member<Name>| self.member(&shape.name, m);
        let members = |ms: &[Member<Name>]| ms.iter().map(member).collect::<Result<Vec<_>, _>>();
        let kind = match &shape.kind {
            Kind::Unit => Kind::Unit,
            Kind::Boolean => Kind::Boolean,
            Kind::Byte => Kind::Byte,
            Kind::Short => Kind::Short,
            Kind::Integer => Kind::Integer,
            Kind::Long => Kind::Long,
            Kind::IntEnum(values) => Kind::IntEnum(values.clone()),
            Kind::Float => Kind::Float,
            Kind::Double => Kind::Double,
            Kind::Blob => Kind::Blob,
            Kind::String => Kind::String,
            Kind::Enum(values) => Kind::Enum(values.clone()),
            Kind::Timestamp(format) => Kind::Timestamp(*format),
            Kind::Document => Kind::Document,
            Kind::List { member: m, sparse } => Kind::List { member: member(m)?, sparse: *sparse },
            Kind::Map { key, value, sparse } => Kind::Map { key: member(key)?, value: member(value)?, sparse: *sparse },
            Kind::Structure(ms) => Kind::Structure(members(ms)?),
            Kind::Union(ms) => Kind::Union(members(ms)?),
        };
        Ok(Shape { name: shape.name.clone(), kind, constraints: shape.constraints.clone() })
    }

    fn member(&self, at: &Name, member: &Member<Name>) -> Result<Member, BuildError> {
        let target = self.index(at, &member.target)?;
        Ok(Member {
            name: member.name.clone(),
            target,
            required: member.required,
            timestamp_format: member.timestamp_format,
            constraints: member.constraints.or(&self.shapes[target.0].constraints),
        })
    }

    fn operation(&self, operation: OperationShape<Name>) -> Result<OperationShape, BuildError> {
        let index = |name: &Name| self.index(&operation.name, name);
        Ok(OperationShape {
            input: index(&operation.input)?,
            output: index(&operation.output)?,
            errors: operation.errors.iter().map(index).collect::<Result<_, _>>()?,
            service: operation.service,
            name: operation.name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(name: &'static str, max: usize) -> Shape<Name> {
        let length = Bounds { min: None, max: Some(max) };
        Shape { name: name.into(), kind: Kind::String, constraints: Constraints { length, ..Default::default() } }
    }

    fn structure(name: &'static str, members: Vec<Member<Name>>) -> Shape<Name> {
        Shape { name: name.into(), kind: Kind::Structure(members), constraints: Constraints::default() }
    }

    #[test]
    fn members_inherit_and_override() {
        let mut short = Member::new("Short", Name::from("Text"));
        short.constraints.length.max = Some(2);
        let members = vec![Member::new("Long", Name::from("Text")), short, Member::new("Self", Name::from("S"))];
        let table = Table::build(vec![structure("S", members), string("Text", 9)], vec![]).unwrap();
        let s = &table[table.find("S").unwrap()];
        assert_eq!(s.member("Long").unwrap().constraints.length.max, Some(9));
        assert_eq!(s.member("Short").unwrap().constraints.length.max, Some(2));
        assert_eq!(table[s.member("Self").unwrap().target].name, "S");
        assert!(s.member("Other").is_none() && table.find("Other").is_none());
    }

    #[test]
    fn refuses_what_is_no_table() {
        let lost = structure("S", vec![Member::new("M", Name::from("Lost"))]);
        assert_eq!(
            Table::build(vec![lost], vec![]).unwrap_err(),
            BuildError::Unknown { at: "S".into(), name: "Lost".into() }
        );
        let twice = Table::build(vec![string("A", 1), string("A", 2)], vec![]);
        assert_eq!(twice.unwrap_err(), BuildError::Twice("A".into()));
    }

    #[test]
    fn patterns_match_the_whole_string_in_ascii() {
        let az = Pattern::new(r"[a-z]{2}-\d[a-z]");
        assert!(az.matches("us-1a"));
        assert!(!az.matches("us-1aa") && !az.matches("us-\u{0661}a") && !az.matches("us-1a\n"));
        let pem = Pattern::new(r"[a-zA-Z0-9+-/=\s]*");
        assert!(pem.matches("-----BEGIN X-----\r\nab+/=\t\n") && !pem.matches("ä") && !pem.matches("\u{a0}"));
        assert!(Pattern::new(r"a|b").matches("b") && !Pattern::new(r"a|b").matches("ab"));
        assert!(Pattern::new(r"\\d").matches(r"\d") && !Pattern::new(r"\\d").matches("1"));
    }
}
