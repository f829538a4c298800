//! Owns the lines of an exported trail, JSON each: events in the order of the store, then signatures, then the public key.
//! A line with a member that is not known is not read.

use serde::{Deserialize, Serialize};
use strongroom_model::audit::AuditEvent;

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Event(EventLine),
    Signature(SignatureLine),
    PublicKey(KeyLine),
}

/// An event. The writer is empty and the hash absent where it is from before there were chains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine {
    pub seq: i64,
    pub writer: String,
    pub n: i64,
    pub hash: Option<String>,
    /// As it was hashed, to the byte.
    pub event: String,
}

/// A signature of a writer's events up to `n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureLine {
    pub writer: String,
    pub n: i64,
    pub hash: String,
    /// Milliseconds since 1970.
    pub at: i64,
    pub key_id: String,
    pub signature: String,
}

/// The key that signed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyLine {
    pub public_key: String,
}

impl Line {
    pub(super) fn event(event: AuditEvent) -> Self {
        let AuditEvent { seq, writer, n, hash, event, signature: _ } = event;
        Self::Event(EventLine { seq, writer, n, hash, event })
    }

    /// The signature that an event carries.
    pub(super) fn signature(event: &AuditEvent) -> Option<Self> {
        event.signature.clone().map(|s| {
            let (writer, at) = (event.writer.clone(), s.at.millis());
            let (hash, key_id, signature) = (s.hash, s.key_id, s.signature);
            Self::Signature(SignatureLine { writer, n: event.n, hash, at, key_id, signature })
        })
    }

    pub(super) fn public_key(public_key: String) -> Self {
        Self::PublicKey(KeyLine { public_key })
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("every key is a text")
    }
}
