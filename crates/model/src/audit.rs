//! Owns the audit trail as our own service shows it: an event of each call, chained to the one before it, and signatures.

use crate::time::Timestamp;

crate::record! {
    /// An event of the trail.
    pub struct AuditEvent {
        /// The event's number in the region's store, from 1, without a gap.
        "Seq" seq: i64,
        /// Who wrote it: one life of the region's process. Empty where it is from before there were chains.
        "Writer" writer: String,
        /// Its number among those of its writer, from 1.
        "N" n: i64,
        /// The hex digits of its hash.
        "Hash" hash: Option<String>,
        /// The event in CloudTrail's form, JSON.
        "Event" event: String,
        /// The signature of the writer's events up to this one, where one was made.
        "Signature" signature: Option<AuditSignature>,
    }

    /// A signature (Ed25519).
    pub struct AuditSignature {
        /// The hex digits of the hash that it is made over.
        "Hash" hash: String,
        /// When it was made.
        "At" at: Timestamp,
        /// The name of the key: the first 16 hex digits of the SHA-256 of its public key.
        "KeyId" key_id: String,
        /// The hex digits of the signature.
        "Signature" signature: String,
    }
}
