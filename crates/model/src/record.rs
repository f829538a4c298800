//! Owns the bridge between typed records and [`Value`]: two traits, and two macros that write their implementations, so
//! that a record states each member once, by AWS's own name.

use std::collections::BTreeMap;

use crate::time::Timestamp;
use crate::value::Value;

/// A value that is not of the record's shape. The codec has checked the shape before, so this tells of a table that
/// disagrees with a record, which a test of this crate rules out for every record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not of its shape")]
pub struct Mismatch(pub &'static str);

/// A type that a whole [`Value`] becomes.
pub trait Record: Sized {
    /// Reads the value.
    fn from_value(value: Value) -> Result<Self, Mismatch>;
    /// Writes the value.
    fn into_value(self) -> Value;
}

/// A type that a structure's member becomes: a [`Record`] is a required member, an `Option` of one may be absent.
pub trait Field: Sized {
    /// Reads the member.
    fn from_member(value: Option<Value>, name: &'static str) -> Result<Self, Mismatch>;
    /// Writes the member; `None` leaves it out.
    fn into_member(self) -> Option<Value>;
}

impl<T: Record> Field for T {
    fn from_member(value: Option<Value>, name: &'static str) -> Result<Self, Mismatch> {
        T::from_value(value.ok_or(Mismatch(name))?)
    }
    fn into_member(self) -> Option<Value> {
        Some(self.into_value())
    }
}

impl<T: Record> Field for Option<T> {
    fn from_member(value: Option<Value>, _: &'static str) -> Result<Self, Mismatch> {
        value.map(T::from_value).transpose()
    }
    fn into_member(self) -> Option<Value> {
        self.map(T::into_value)
    }
}

impl Record for String {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(Mismatch("string")),
        }
    }
    fn into_value(self) -> Value {
        Value::String(self)
    }
}

impl Record for bool {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Boolean(b) => Ok(b),
            _ => Err(Mismatch("boolean")),
        }
    }
    fn into_value(self) -> Value {
        Value::Boolean(self)
    }
}

impl Record for i64 {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Integer(n) => Ok(n),
            _ => Err(Mismatch("integer")),
        }
    }
    fn into_value(self) -> Value {
        Value::Integer(self)
    }
}

impl Record for Timestamp {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Timestamp(t) => Ok(t),
            _ => Err(Mismatch("timestamp")),
        }
    }
    fn into_value(self) -> Value {
        Value::Timestamp(self)
    }
}

impl<T: Record> Record for Vec<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::List(items) => items.into_iter().map(T::from_value).collect(),
            _ => Err(Mismatch("list")),
        }
    }
    fn into_value(self) -> Value {
        Value::List(self.into_iter().map(T::into_value).collect())
    }
}

impl<T: Record> Record for BTreeMap<String, T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Map(entries) => entries.into_iter().map(|(k, v)| Ok((k, T::from_value(v)?))).collect(),
            _ => Err(Mismatch("map")),
        }
    }
    fn into_value(self) -> Value {
        Value::Map(self.into_iter().map(|(k, v)| (k, v.into_value())).collect())
    }
}

/// Declares a structure: `"AwsName" field: Type`. Fields are public; `Option` marks a member that may be absent.
#[macro_export]
macro_rules! record {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* $wire:literal $field:ident: $type:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $($(#[$fdoc])* #[doc = concat!("`", $wire, "`")] pub $field: $type,)*
        }

        impl $crate::record::Record for $name {
            fn from_value(value: $crate::Value) -> Result<Self, $crate::record::Mismatch> {
                let $crate::Value::Structure(members) = value else {
                    return Err($crate::record::Mismatch(stringify!($name)));
                };
                $(let mut $field = None;)*
                for (name, value) in members {
                    let _ = &value;
                    match &*name {
                        $($wire => $field = Some(value),)*
                        _ => return Err($crate::record::Mismatch(stringify!($name))),
                    }
                }
                Ok(Self { $($field: $crate::record::Field::from_member($field, $wire)?,)* })
            }

            fn into_value(self) -> $crate::Value {
                #[allow(unused_mut, reason = "a structure may have no members")]
                let mut members = Vec::new();
                $(if let Some(value) = $crate::record::Field::into_member(self.$field) {
                    members.push((::std::borrow::Cow::Borrowed($wire), value));
                })*
                $crate::Value::Structure(members)
            }
        }

        impl $name {
            /// The members by AWS's names, in order.
            pub const MEMBERS: &'static [&'static str] = &[$($wire),*];
        }
    )+};
}

/// Declares an enum of strings: `Variant "WIRE_TEXT"`. The first variant is the default.
#[macro_export]
macro_rules! string_enum {
    ($($(#[$doc:meta])* pub enum $name:ident { $(#[$d0:meta])* $first:ident $text0:literal $(, $(#[$vdoc:meta])* $variant:ident $text:literal)* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[$d0])* #[default] #[doc = concat!("`", $text0, "`")] $first,
            $($(#[$vdoc])* #[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// Every value, in the order of the model.
            pub const ALL: &'static [Self] = &[Self::$first $(, Self::$variant)*];

            /// The text on the wire and in a row.
            pub const fn as_str(self) -> &'static str {
                match self { Self::$first => $text0 $(, Self::$variant => $text)* }
            }

            /// Reads the text.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::record::Record for $name {
            fn from_value(value: $crate::Value) -> Result<Self, $crate::record::Mismatch> {
                value.as_str().and_then(Self::parse).ok_or($crate::record::Mismatch(stringify!($name)))
            }
            fn into_value(self) -> $crate::Value {
                $crate::Value::String(self.as_str().to_owned())
            }
        }
    )+};
}
