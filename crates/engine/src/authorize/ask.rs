//! Owns what a call asks for: its action on its resource and, where it puts tags on something that it makes, `TagResource`
//! too. Source: the Service Authorization Reference, page of AWS CloudHSM.

use strongroom_model::call::{Call, Operation};
use strongroom_model::{BackupId, ClusterId, Tag};

/// One permission that a call needs.
pub(super) struct Ask<'a> {
    /// The operation whose action it is.
    pub operation: Operation,
    /// `cloudhsm:CopyBackupToRegion`
    pub action: String,
    pub on: On<'a>,
    /// The tags that the request passes.
    pub request_tags: &'a [Tag],
    /// The keys of tags that it passes or removes.
    pub tag_keys: Vec<&'a str>,
    /// Whether it changes tags.
    pub is_tagging: bool,
}

/// What is asked on.
#[derive(Clone, Copy, Debug)]
pub(super) enum On<'a> {
    /// The action has no resource.
    Nothing,
    /// A cluster or backup by its id.
    Id(&'a str),
    /// A backup by its id or ARN.
    Backup(&'a str),
    /// The cluster that the call is about to make.
    New,
}

impl<'a> Ask<'a> {
    pub(super) fn new(operation: Operation, on: On<'a>) -> Self {
        let action = format!("{}:{}", operation.service().action_prefix(), operation.name());
        Self { operation, action, on, request_tags: &[], tag_keys: Vec::new(), is_tagging: false }
    }

    fn passing(mut self, tags: Option<&'a [Tag]>) -> Self {
        self.request_tags = tags.unwrap_or_default();
        self.tag_keys = self.request_tags.iter().map(|tag| tag.key.as_str()).collect();
        self
    }

    /// `TagResource` or `UntagResource` on a resource.
    pub(super) fn tagging(operation: Operation, on: On<'a>, put: &'a [Tag], removed: &'a [String]) -> Self {
        let mut ask = Self::new(operation, on).passing(Some(put));
        ask.tag_keys.extend(removed.iter().map(String::as_str));
        ask.is_tagging = true;
        ask
    }
}

/// All that a call asks for, its own action first.
pub(super) fn of<'a>(call: &'a Call) -> Vec<Ask<'a>> {
    let operation = call.operation();
    let on = |on| vec![Ask::new(operation, on)];
    let cluster = |id: &'a ClusterId| on(On::Id(id.as_str()));
    let backup = |id: &'a BackupId| on(On::Backup(id.as_str()));
    let by_arn = |arn: &'a Option<String>| on(arn.as_deref().map_or(On::Nothing, On::Backup));
    match call {
        Call::CopyBackupToRegion(input) => {
            let on = On::Backup(input.backup_id.as_str());
            with_tags(operation, on, on, input.tag_list.as_deref())
        }
        Call::CreateCluster(input) => {
            let on = input.source_backup_id.as_deref().map_or(On::Nothing, On::Backup);
            with_tags(operation, on, On::New, input.tag_list.as_deref())
        }
        Call::CreateHsm(input) => cluster(&input.cluster_id),
        Call::DeleteCluster(input) => cluster(&input.cluster_id),
        Call::InitializeCluster(input) => cluster(&input.cluster_id),
        Call::ModifyCluster(input) => cluster(&input.cluster_id),
        Call::DeleteBackup(input) => backup(&input.backup_id),
        Call::RestoreBackup(input) => backup(&input.backup_id),
        Call::ModifyBackupAttributes(input) => backup(&input.backup_id),
        Call::PutResourcePolicy(input) => by_arn(&input.resource_arn),
        Call::GetResourcePolicy(input) => by_arn(&input.resource_arn),
        Call::DeleteResourcePolicy(input) => by_arn(&input.resource_arn),
        Call::ListTags(input) => on(On::Id(&input.resource_id)),
        Call::TagResource(input) => {
            vec![Ask::tagging(operation, On::Id(&input.resource_id), &input.tag_list, &[])]
        }
        Call::UntagResource(input) => {
            vec![Ask::tagging(operation, On::Id(&input.resource_id), &[], &input.tag_key_list)]
        }
        // DeleteHsm and what lists have no resource; what the tagging API changes is asked for resource by resource.
        _ => on(On::Nothing),
    }
}

fn with_tags<'a>(operation: Operation, on: On<'a>, tagged: On<'a>, tags: Option<&'a [Tag]>) -> Vec<Ask<'a>> {
    let own = Ask::new(operation, on).passing(tags);
    let put = tags.filter(|tags| !tags.is_empty()).map(|tags| Ask::tagging(Operation::TagResource, tagged, tags, &[]));
    [own].into_iter().chain(put).collect()
}
