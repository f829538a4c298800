//! TagResource: adds or overwrites tags of a cluster or a backup.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, Reply, TagResourceRequest, TagResourceResponse};
use strongroom_store::control::tags;

use crate::caller::Caller;
use crate::mutation;
use crate::operation::taggable;
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: TagResourceRequest,
) -> Result<Reply, ApiError> {
    crate::tags::check(&input.tag_list)?;
    mutation::run(region, caller, call, move |m| {
        taggable(m.tx, m.region, m.caller, &input.resource_id)?;
        tags::put(m.tx, &input.resource_id, &input.tag_list)?;
        crate::tags::check_count(tags::list(m.tx, &input.resource_id)?.len(), &input.resource_id)?;
        Ok(Reply::TagResource(TagResourceResponse {}))
    })
    .await
}
