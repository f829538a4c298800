//! Owns [`Place`], where a codec is in a table while it walks a message: the shape at hand and how a timestamp there is
//! written. Only looks things up.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use strongroom_model::shape::{Bounds, Constraints, Kind, Member, Shape, ShapeIndex, Table, TimestampFormat};

/// What a member that no shape declares is taken for: an error's `__type`, say.
static UNDECLARED: Shape = Shape {
    name: Cow::Borrowed("undeclared"),
    kind: Kind::Document,
    constraints: Constraints {
        length: Bounds { min: None, max: None },
        range: Bounds { min: None, max: None },
        pattern: None,
    },
};

/// A shape in its table, as it is met there.
#[derive(Clone, Copy)]
pub(crate) struct Place<'t> {
    table: &'t Table,
    shape: &'t Shape,
    timestamp_format: Option<TimestampFormat>,
}

impl<'t> Place<'t> {
    /// The root of a message.
    pub(crate) fn root(table: &'t Table, shape: ShapeIndex) -> Self {
        Self { table, shape: &table[shape], timestamp_format: None }
    }

    /// What the values here are.
    pub(crate) fn kind(&self) -> &'t Kind {
        &self.shape.kind
    }

    /// The members of a structure or union.
    pub(crate) fn members(&self) -> &'t [Member] {
        self.shape.members()
    }

    /// The place of a member.
    pub(crate) fn at(&self, member: &Member) -> Self {
        Self { table: self.table, shape: &self.table[member.target], timestamp_format: member.timestamp_format }
    }

    /// The place of a member by name.
    pub(crate) fn named(&self, name: &str) -> Self {
        self.shape.member(name).map_or(self.undeclared(), |m| self.at(m))
    }

    /// The place of a list's elements.
    pub(crate) fn element(&self) -> Self {
        match self.kind() {
            Kind::List { member, .. } => self.at(member),
            _ => self.undeclared(),
        }
    }

    /// The place of a map's values.
    pub(crate) fn entry(&self) -> Self {
        match self.kind() {
            Kind::Map { value, .. } => self.at(value),
            _ => self.undeclared(),
        }
    }

    /// How JSON writes a timestamp here.
    pub(crate) fn timestamp_format(&self) -> TimestampFormat {
        match self.kind() {
            Kind::Timestamp(format) => self.timestamp_format.unwrap_or(*format),
            _ => TimestampFormat::EpochSeconds,
        }
    }

    /// The integers that fit here; `None` if this is no integer.
    pub(crate) fn integers(&self) -> Option<RangeInclusive<i64>> {
        match self.kind() {
            Kind::Byte => Some(i8::MIN.into()..=i8::MAX.into()),
            Kind::Short => Some(i16::MIN.into()..=i16::MAX.into()),
            Kind::Integer | Kind::IntEnum(_) => Some(i32::MIN.into()..=i32::MAX.into()),
            Kind::Long => Some(i64::MIN..=i64::MAX),
            _ => None,
        }
    }

    /// What was expected here, for an error.
    pub(crate) fn expected(&self) -> &'static str {
        match self.kind() {
            Kind::Boolean => "a boolean",
            Kind::Byte => "an integer of 8 bits",
            Kind::Short => "an integer of 16 bits",
            Kind::Integer | Kind::IntEnum(_) => "an integer of 32 bits",
            Kind::Long => "an integer of 64 bits",
            Kind::Float | Kind::Double => "a number",
            Kind::Blob => "bytes",
            Kind::String | Kind::Enum(_) => "a string",
            Kind::Timestamp(_) => "a timestamp",
            Kind::Document => "a document",
            Kind::List { .. } => "a list",
            Kind::Map { .. } => "a map",
            Kind::Structure(_) | Kind::Unit => "a structure",
            Kind::Union(_) => "a structure with exactly one member",
        }
    }

    fn undeclared(&self) -> Self {
        Self { table: self.table, shape: &UNDECLARED, timestamp_format: None }
    }
}

/// Whether two of the keys are the same.
pub(crate) fn has_twins<T>(entries: &[(String, T)]) -> bool {
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
