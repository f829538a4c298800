//! Owns who asks: what the front door has proved about a caller, and what travels with the call into rows and logs.

use strongroom_model::AccountId;

/// An authenticated caller and his request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The principal's ARN.
    pub principal: String,
    /// The access key id.
    pub access_key: String,
    /// Where the request came from.
    pub source_ip: String,
    /// The id of this request, as the caller sees it in `x-amzn-RequestId`.
    pub request_id: String,
    /// `amz-sdk-invocation-id`: the same on each retry of one call of an SDK. Unsigned, and absent from other clients.
    pub invocation_id: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
}
