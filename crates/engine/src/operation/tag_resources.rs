//! TagResources: adds or overwrites tags of several clusters and backups, each for itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_model::call::{Call, Operation, Reply, TagResourcesInput, TagResourcesOutput};
use strongroom_model::{ApiError, Tag};
use strongroom_store::control::tags;

use crate::authorize;
use crate::caller::Caller;
use crate::mutation;
use crate::region::Region;
use crate::tags::{Resource, denied, failure, not_found};

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    call: &Call,
    input: TagResourcesInput,
) -> Result<Reply, ApiError> {
    let put: Vec<Tag> = input.tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
    crate::tags::check(&put)?;
    let resources = input.resource_arn_list;
    mutation::run(region, caller, call, move |m| {
        let mut failed = BTreeMap::new();
        for arn in &resources {
            let Some(resource) = Resource::find(m.tx, m.region, &m.caller.account, arn)? else {
                failed.insert(arn.clone(), not_found(arn));
                continue;
            };
            let asked = (Operation::TagResource, resource.id.as_str());
            if let Err(error) = authorize::check_tagging(m.tx, m.region, m.caller, asked, &put, &[])? {
                failed.insert(arn.clone(), denied(&error));
                continue;
            }
            match resource.room_for(m.tx, &put)? {
                Ok(()) => tags::put(m.tx, &resource.id, &put)?,
                Err(error) => drop(failed.insert(arn.clone(), failure(error.message().to_owned()))),
            }
        }
        Ok(Reply::TagResources(TagResourcesOutput { failed_resources_map: Some(failed) }))
    })
    .await
}
