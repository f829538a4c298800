//! Owns whom credentials speak for, as the door hands him on.

use std::sync::Arc;

use strongroom_engine::Authority;
use strongroom_model::{AccountId, Tag, Timestamp};
use strongroom_wire::sigv4::SecretKey;

/// Whom credentials speak for.
#[derive(Debug)]
pub struct Principal {
    /// The account.
    pub account: AccountId,
    /// The ARN of the user, or of the session of a role.
    pub arn: String,
    /// The unique id beside the ARN: `AIDA…` of a user, `AROA…:session-name` of a session.
    pub user_id: String,
    /// The secret of the credentials.
    pub secret: SecretKey,
    /// What he may.
    pub authority: Arc<Authority>,
    /// What is known of the session, if the credentials are temporary.
    pub session: Option<SessionFacts>,
}

/// What a session hands on to the next one, and when it ends.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// From then on its credentials are refused.
    pub expires: Timestamp,
    /// The tags that pass on to a session that it makes.
    pub transitive: Vec<Tag>,
    /// Who is behind it, by his own word at its first assumption; it cannot change.
    pub source_identity: Option<String>,
}

impl Principal {
    /// `user/test`: the ARN without partition, service and account.
    pub fn short_name(&self) -> &str {
        self.arn.rsplit(':').next().unwrap_or(&self.arn)
    }
}
