//! UntagResource: removes tags of a cluster or a backup. A key that is not there is no error.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, Reply, UntagResourceRequest, UntagResourceResponse};
use strongroom_store::control::tags;

use crate::caller::Caller;
use crate::mutation;
use crate::operation::taggable;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: UntagResourceRequest,
) -> Result<Reply, ApiError> {
    input.tag_key_list.iter().try_for_each(|key| crate::tags::check_key(key))?;
    mutation::run(region, caller, call, move |m| {
        taggable(m.tx, m.region, m.caller, &input.resource_id)?;
        tags::remove(m.tx, &input.resource_id, &input.tag_key_list)?;
        Ok(Reply::UntagResource(UntagResourceResponse {}))
    })
    .await
}
