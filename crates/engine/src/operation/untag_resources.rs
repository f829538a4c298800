//! UntagResources: removes tags of several clusters and backups, each for itself. A key that is not there is no error.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, Operation, Reply, UntagResourcesInput, UntagResourcesOutput};
use strongroom_store::control::tags;

use crate::authorize;
use crate::caller::Caller;
use crate::mutation;
use crate::region::Region;
use crate::tags::{Resource, denied, not_found};

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: UntagResourcesInput,
) -> Result<Reply, ApiError> {
    input.tag_keys.iter().try_for_each(|key| crate::tags::check_key(key))?;
    mutation::run(region, caller, call, move |m| {
        let mut failed = BTreeMap::new();
        for arn in &input.resource_arn_list {
            let Some(resource) = Resource::find(m.tx, m.region, &m.caller.account, arn)? else {
                failed.insert(arn.clone(), not_found(arn));
                continue;
            };
            let asked = (Operation::UntagResource, resource.id.as_str());
            match authorize::check_tagging(m.tx, m.region, m.caller, asked, &[], &input.tag_keys)? {
                Ok(()) => tags::remove(m.tx, &resource.id, &input.tag_keys)?,
                Err(error) => drop(failed.insert(arn.clone(), denied(&error))),
            }
        }
        Ok(Reply::UntagResources(UntagResourcesOutput { failed_resources_map: Some(failed) }))
    })
    .await
}
