//! Owns [`Value`], what a message is between its bytes and its typed form. A codec makes it from bytes by a table of
//! shapes and the records of this crate read it, or the other way round. A `Value` is already of its shape: kinds are
//! right, required members are there, unknown ones are gone.

use std::borrow::Cow;

use crate::time::Timestamp;

/// A decoded message or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Only inside sparse lists and maps; an absent member is simply not in its structure.
    Null,
    /// `boolean`
    Boolean(bool),
    /// `byte`, `short`, `integer`, `long`, `intEnum`
    Integer(i64),
    /// `float`, `double`
    Float(f64),
    /// `string`, `enum`
    String(String),
    /// `blob`
    Blob(Vec<u8>),
    /// `timestamp`
    Timestamp(Timestamp),
    /// `list`
    List(Vec<Value>),
    /// `map`, in the order of the message
    Map(Vec<(String, Value)>),
    /// `structure`, `union`: only the members that are present, in the order of their table
    Structure(Vec<(Cow<'static, str>, Value)>),
}

impl Value {
    /// The member of a structure; `None` if it is absent or this is no structure.
    pub fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Structure(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}
