//! control.idempotency: the answers of mutations by their invocation id, for successes only.

use strongroom_model::{AccountId, Timestamp};

use crate::error::StoreError;
use crate::sql::Tx;

/// What makes two requests the same call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The account.
    pub account: AccountId,
    /// The principal's ARN.
    pub principal: String,
    /// The operation.
    pub operation: String,
    /// `amz-sdk-invocation-id`.
    pub invocation_id: String,
    /// SHA-256 of the decoded input.
    pub input_digest: [u8; 32],
}

/// The answer that this call got; one that has expired is none.
pub fn find(tx: &mut dyn Tx, key: &Key, now: Timestamp) -> Result<Option<String>, StoreError> {
    let sql = "SELECT answer FROM idempotency WHERE account = $1 AND principal = $2 AND operation = $3 \
               AND invocation_id = $4 AND input_digest = $5 AND expires_at > $6";
    tx.query_value(sql, params![key.account, key.principal, key.operation, key.invocation_id, key.input_digest, now])
}

/// Keeps the answer of a call until `expires_at`. An answer that still counts is never replaced: that is a conflict.
pub fn insert(
    tx: &mut dyn Tx,
    key: &Key,
    answer: &str,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM idempotency WHERE account = $1 AND principal = $2 AND operation = $3 \
               AND invocation_id = $4 AND input_digest = $5 AND expires_at <= $6";
    tx.execute(sql, params![key.account, key.principal, key.operation, key.invocation_id, key.input_digest, now])?;
    let sql = "INSERT INTO idempotency (account, principal, operation, invocation_id, input_digest, answer, expires_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    tx.execute(
        sql,
        params![key.account, key.principal, key.operation, key.invocation_id, key.input_digest, answer, expires_at],
    )
    .map(drop)
}

/// Removes answers that have expired, at most `limit`.
pub fn sweep(tx: &mut dyn Tx, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let sql = "DELETE FROM idempotency WHERE (account, principal, operation, invocation_id, input_digest) IN \
               (SELECT account, principal, operation, invocation_id, input_digest FROM idempotency \
               WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
    tx.execute(sql, params![now, limit])
}
