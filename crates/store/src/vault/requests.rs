//! vault.requests: results of mutating calls of the data plane by the client's request id; nothing secret.

use crate::error::StoreError;
use crate::sql::Tx;

/// An earlier call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// SHA-256 of its input, keyed by whoever writes it.
    pub input_digest: Vec<u8>,
    /// Its encoded result.
    pub result: Vec<u8>,
}

/// An earlier call with this request id.
pub fn get(
    tx: &mut dyn Tx,
    cluster_id: &str,
    name: &str,
    request_id: &[u8; 16],
) -> Result<Option<Request>, StoreError> {
    let sql = "SELECT input_digest, result FROM requests WHERE cluster_id = $1 AND name = $2 AND request_id = $3";
    let row = tx.query_opt(sql, params![cluster_id, name, request_id])?;
    row.map(|row| Ok(Request { input_digest: row.get(0)?, result: row.get(1)? })).transpose()
}

/// Keeps a result until `expires_at`.
pub fn put(
    tx: &mut dyn Tx,
    cluster_id: &str,
    name: &str,
    request_id: &[u8; 16],
    input_digest: &[u8],
    result: &[u8],
    expires_at: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO requests (cluster_id, name, request_id, input_digest, result, expires_at) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, params![cluster_id, name, request_id, input_digest, result, expires_at]).map(drop)
}

/// Deletes results that expired before `now`, at most `limit`.
pub fn sweep(tx: &mut dyn Tx, now: i64, limit: u32) -> Result<(), StoreError> {
    let sql = "DELETE FROM requests WHERE (cluster_id, name, request_id) IN \
               (SELECT cluster_id, name, request_id FROM requests WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
    tx.execute(sql, params![now, limit]).map(drop)
}
