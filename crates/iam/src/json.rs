//! Owns the step from text to a tree: JSON and nothing after it, no key twice, only the characters that a policy may hold.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::fault::Fault;

/// A value of the document. Members keep their order; numbers are text, as conditions read them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// What it is, for a fault.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a Boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a document.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let whole = error.to_string();
        // serde_json says the place at the end; here it has a member of its own.
        let text = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(text, _)| text).to_owned();
        Fault { text, place: format!("line {} column {}", error.line(), error.column()) }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        checked(text).map(|text| Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object: Vec<(String, Node)> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            checked::<A::Error>(&name)?;
            if object.iter().any(|(there, _)| *there == name) {
                return Err(A::Error::custom(format_args!("\"{name}\" is there twice")));
            }
            object.push((name, members.next_value()?));
        }
        Ok(Node::Object(object))
    }
}

/// The text, if a policy may hold each of its characters.
fn checked<E: Error>(text: &str) -> Result<&str, E> {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}');
    match text.chars().find(|c| !is_allowed(*c)) {
        None => Ok(text),
        Some(c) => Err(E::custom(format_args!("a policy cannot hold the character U+{:04X}", u32::from(c)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_their_place() {
        let place = |text| parse(text).unwrap_err().to_string();
        assert_eq!(place("{\n \"a\": 1,\n \"a\": 2}"), "line 3 column 4: \"a\" is there twice");
        assert_eq!(place("{} x"), "line 1 column 4: trailing characters");
        assert!(place(r#"{"a":"\u65e5"}"#).ends_with("a policy cannot hold the character U+65E5"));
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn numbers_keep_their_value() {
        assert_eq!(parse("300.0").unwrap(), Node::Number("300".into()));
        assert_eq!(parse("-1.5").unwrap(), Node::Number("-1.5".into()));
    }
}
