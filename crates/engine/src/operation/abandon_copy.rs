//! K10 (ours): AbandonCopy frees the pin of a copy whose destination was revoked or is gone for good. Its outcome there is
//! unknown, and the copy says so; a receipt that comes later corrects it.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{AbandonCopyRequest, AbandonCopyResponse, Call, Reply};
use strongroom_store::control::{copies, jobs};

use crate::caller::Caller;
use crate::copy::shown;
use crate::job::JobKind;
use crate::mutation::{self, Refusal};
use crate::operation::own_copy;
use crate::payload;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: AbandonCopyRequest,
) -> Result<Reply, ApiError> {
    mutation::run(region, caller, call, move |m| {
        let copy = own_copy(m.tx, &m.caller.account, &input.copy_id)?;
        let text = format!("its outcome in {} is unknown", copy.destination_region);
        if !copies::abandon(m.tx, &copy.copy_id, &text, m.now)? {
            let message = format!("{} is {}; only a copy that is under way is abandoned.", copy.copy_id, copy.state);
            return Err(Refusal::Api(ApiError::invalid(message)));
        }
        payload::unpin(m.tx, &copy.blob_id, copy.copy_id.as_str(), m.now)?;
        jobs::remove(m.tx, JobKind::Copy, copy.copy_id.as_str())?;
        let row = own_copy(m.tx, &m.caller.account, &input.copy_id)?;
        Ok(Reply::AbandonCopy(AbandonCopyResponse { copy: shown::outgoing(m.region, row, None) }))
    })
    .await
}
