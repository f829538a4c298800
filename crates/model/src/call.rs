//! Owns the calls: the 18 operations of CloudHSM V2, beside them those of our own service `Strongroom` and the three of the
//! Resource Groups Tagging API that CloudHSM's clients use, each with its typed input and output. A [`Call`] is what a signed and decoded request asks for; a [`Reply`] is what it gets.

use std::collections::BTreeMap;

use crate::audit::AuditEvent;
use crate::backup::{Backup, DestinationBackup};
use crate::cluster::{BackupRetentionPolicy, Cluster, ClusterMode, ClusterState, NetworkType};
use crate::copy::{BackupContent, Copy, HsmEndpoint};
use crate::hsm::Hsm;
use crate::id::{BackupId, ClusterId, CopyId, EniId, HsmId, RegionName, SubnetId, VpcId};
use crate::record::{Mismatch, Record};
use crate::subnet::Subnet;
use crate::tag::{FailureInfo, ResourceTagMapping, Tag, TagFilter};
use crate::time::Timestamp;
use crate::value::Value;

/// Filters of the Describe calls: name to values.
pub type Filters = BTreeMap<String, Vec<String>>;

/// Whose operation it is: the prefix of the target and the service name in the CBOR path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// AWS's own, `BaldrApiService`.
    CloudHsm,
    /// Ours, `Strongroom`.
    Strongroom,
    /// AWS's Resource Groups Tagging API, for clusters and backups.
    Tagging,
}

impl Service {
    /// The service's shape name: the prefix of `X-Amz-Target`, the service in the CBOR path.
    pub const fn shape_name(self) -> &'static str {
        match self {
            Self::CloudHsm => "BaldrApiService",
            Self::Strongroom => "Strongroom",
            Self::Tagging => "ResourceGroupsTaggingAPI_20170126",
        }
    }

    /// The namespace of its shapes.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::CloudHsm => "com.amazonaws.cloudhsmv2",
            Self::Strongroom => "strongroom",
            Self::Tagging => "com.amazonaws.resourcegroupstaggingapi",
        }
    }

    /// The prefix of its actions in policies.
    pub const fn action_prefix(self) -> &'static str {
        match self {
            Self::CloudHsm => "cloudhsm",
            Self::Strongroom => "strongroom",
            Self::Tagging => "tag",
        }
    }

    /// The service in the scope of a signature.
    pub const fn signing_name(self) -> &'static str {
        match self {
            Self::CloudHsm | Self::Strongroom => "cloudhsm",
            Self::Tagging => "tagging",
        }
    }
}

macro_rules! calls {
    ($($service:ident $name:ident $request:ident $response:ident $file:literal),+ $(,)?) => {
        /// An operation by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Operation { $(#[doc = concat!("`", stringify!($name), "`")] $name,)+ }

        impl Operation {
            /// Every operation of all services.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// AWS's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// Whose operation it is.
            pub const fn service(self) -> Service {
                match self { $(Self::$name => Service::$service),+ }
            }

            /// The shape of the input.
            pub const fn input(self) -> &'static str {
                match self { $(Self::$name => stringify!($request)),+ }
            }

            /// The shape of the output.
            pub const fn output(self) -> &'static str {
                match self { $(Self::$name => stringify!($response)),+ }
            }

            /// The engine's file that decides it, without its ending.
            pub const fn file(self) -> &'static str {
                match self { $(Self::$name => $file),+ }
            }

            /// Whether it changes nothing.
            pub fn only_reads(self) -> bool {
                ["Describe", "List", "Get"].iter().any(|verb| self.name().starts_with(verb))
            }

            /// Finds an operation of a service by name.
            pub fn find(service: Service, name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|o| o.service() == service && o.name() == name)
            }
        }

        /// A request, decoded and of its shape.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Call { $(#[doc = concat!("`", stringify!($name), "`")] $name($request),)+ }

        impl Call {
            /// Reads the input of an operation.
            pub fn from_value(operation: Operation, value: Value) -> Result<Self, Mismatch> {
                Ok(match operation { $(Operation::$name => Self::$name($request::from_value(value)?),)+ })
            }

            /// Which operation it is.
            pub const fn operation(&self) -> Operation {
                match self { $(Self::$name(_) => Operation::$name),+ }
            }

            /// The input as a value.
            pub fn into_value(self) -> Value {
                match self { $(Self::$name(input) => input.into_value()),+ }
            }
        }

        /// The output of a call that succeeded.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Reply { $(#[doc = concat!("`", stringify!($name), "`")] $name($response),)+ }

        impl Reply {
            /// Reads the output of an operation.
            pub fn from_value(operation: Operation, value: Value) -> Result<Self, Mismatch> {
                Ok(match operation { $(Operation::$name => Self::$name($response::from_value(value)?),)+ })
            }

            /// Which operation it answers.
            pub const fn operation(&self) -> Operation {
                match self { $(Self::$name(_) => Operation::$name),+ }
            }

            /// The output as a value.
            pub fn into_value(self) -> Value {
                match self { $(Self::$name(output) => output.into_value()),+ }
            }
        }

        /// The members that each operation's records have, for the test that holds them against the table.
        pub fn record_members() -> Vec<(&'static str, &'static [&'static str])> {
            vec![$((stringify!($request), $request::MEMBERS), (stringify!($response), $response::MEMBERS)),+]
        }
    };
}

calls! {
    CloudHsm CopyBackupToRegion CopyBackupToRegionRequest CopyBackupToRegionResponse "copy_backup_to_region",
    CloudHsm CreateCluster CreateClusterRequest CreateClusterResponse "create_cluster",
    CloudHsm CreateHsm CreateHsmRequest CreateHsmResponse "create_hsm",
    CloudHsm DeleteBackup DeleteBackupRequest DeleteBackupResponse "delete_backup",
    CloudHsm DeleteCluster DeleteClusterRequest DeleteClusterResponse "delete_cluster",
    CloudHsm DeleteHsm DeleteHsmRequest DeleteHsmResponse "delete_hsm",
    CloudHsm DeleteResourcePolicy DeleteResourcePolicyRequest DeleteResourcePolicyResponse "delete_resource_policy",
    CloudHsm DescribeBackups DescribeBackupsRequest DescribeBackupsResponse "describe_backups",
    CloudHsm DescribeClusters DescribeClustersRequest DescribeClustersResponse "describe_clusters",
    CloudHsm GetResourcePolicy GetResourcePolicyRequest GetResourcePolicyResponse "get_resource_policy",
    CloudHsm InitializeCluster InitializeClusterRequest InitializeClusterResponse "initialize_cluster",
    CloudHsm ListTags ListTagsRequest ListTagsResponse "list_tags",
    CloudHsm ModifyBackupAttributes ModifyBackupAttributesRequest ModifyBackupAttributesResponse "modify_backup_attributes",
    CloudHsm ModifyCluster ModifyClusterRequest ModifyClusterResponse "modify_cluster",
    CloudHsm PutResourcePolicy PutResourcePolicyRequest PutResourcePolicyResponse "put_resource_policy",
    CloudHsm RestoreBackup RestoreBackupRequest RestoreBackupResponse "restore_backup",
    CloudHsm TagResource TagResourceRequest TagResourceResponse "tag_resource",
    CloudHsm UntagResource UntagResourceRequest UntagResourceResponse "untag_resource",
    Strongroom AbandonCopy AbandonCopyRequest AbandonCopyResponse "abandon_copy",
    Strongroom AddSubnet AddSubnetRequest AddSubnetResponse "add_subnet",
    Strongroom DescribeCopy DescribeCopyRequest DescribeCopyResponse "describe_copy",
    Strongroom DescribeHsmEndpoints DescribeHsmEndpointsRequest DescribeHsmEndpointsResponse "describe_hsm_endpoints",
    Strongroom ListAuditEvents ListAuditEventsRequest ListAuditEventsResponse "list_audit_events",
    Strongroom ListBackupContents ListBackupContentsRequest ListBackupContentsResponse "list_backup_contents",
    Strongroom ListCopies ListCopiesRequest ListCopiesResponse "list_copies",
    Strongroom ListSubnets ListSubnetsRequest ListSubnetsResponse "list_subnets",
    Tagging GetResources GetResourcesInput GetResourcesOutput "get_resources",
    Tagging TagResources TagResourcesInput TagResourcesOutput "tag_resources",
    Tagging UntagResources UntagResourcesInput UntagResourcesOutput "untag_resources",
}

crate::record! {
    /// Input of `CopyBackupToRegion`.
    pub struct CopyBackupToRegionRequest {
        "DestinationRegion" destination_region: RegionName,
        "BackupId" backup_id: BackupId,
        "TagList" tag_list: Option<Vec<Tag>>,
    }
    /// Output of `CopyBackupToRegion`.
    pub struct CopyBackupToRegionResponse { "DestinationBackup" destination_backup: Option<DestinationBackup> }

    /// Input of `CreateCluster`.
    pub struct CreateClusterRequest {
        "BackupRetentionPolicy" backup_retention_policy: Option<BackupRetentionPolicy>,
        "HsmType" hsm_type: String,
        /// An id, or an ARN where the backup is another account's.
        "SourceBackupId" source_backup_id: Option<String>,
        "SubnetIds" subnet_ids: Vec<SubnetId>,
        "NetworkType" network_type: Option<NetworkType>,
        "TagList" tag_list: Option<Vec<Tag>>,
        "Mode" mode: Option<ClusterMode>,
    }
    /// Output of `CreateCluster`.
    pub struct CreateClusterResponse { "Cluster" cluster: Option<Cluster> }

    /// Input of `CreateHsm`.
    pub struct CreateHsmRequest {
        "ClusterId" cluster_id: ClusterId,
        "AvailabilityZone" availability_zone: String,
        "IpAddress" ip_address: Option<String>,
    }
    /// Output of `CreateHsm`.
    pub struct CreateHsmResponse { "Hsm" hsm: Option<Hsm> }

    /// Input of `DeleteBackup`.
    pub struct DeleteBackupRequest { "BackupId" backup_id: BackupId }
    /// Output of `DeleteBackup`.
    pub struct DeleteBackupResponse { "Backup" backup: Option<Backup> }

    /// Input of `DeleteCluster`.
    pub struct DeleteClusterRequest { "ClusterId" cluster_id: ClusterId }
    /// Output of `DeleteCluster`.
    pub struct DeleteClusterResponse { "Cluster" cluster: Option<Cluster> }

    /// Input of `DeleteHsm`: exactly one of the three selectors.
    pub struct DeleteHsmRequest {
        "ClusterId" cluster_id: ClusterId,
        "HsmId" hsm_id: Option<HsmId>,
        "EniId" eni_id: Option<EniId>,
        "EniIp" eni_ip: Option<String>,
    }
    /// Output of `DeleteHsm`.
    pub struct DeleteHsmResponse { "HsmId" hsm_id: Option<HsmId> }

    /// Input of `DeleteResourcePolicy`.
    pub struct DeleteResourcePolicyRequest { "ResourceArn" resource_arn: Option<String> }
    /// Output of `DeleteResourcePolicy`.
    pub struct DeleteResourcePolicyResponse {
        "ResourceArn" resource_arn: Option<String>,
        "Policy" policy: Option<String>,
    }

    /// Input of `DescribeBackups`.
    pub struct DescribeBackupsRequest {
        "NextToken" next_token: Option<String>,
        "MaxResults" max_results: Option<i64>,
        "Filters" filters: Option<Filters>,
        "Shared" shared: Option<bool>,
        "SortAscending" sort_ascending: Option<bool>,
    }
    /// Output of `DescribeBackups`.
    pub struct DescribeBackupsResponse {
        "Backups" backups: Option<Vec<Backup>>,
        "NextToken" next_token: Option<String>,
    }

    /// Input of `DescribeClusters`.
    pub struct DescribeClustersRequest {
        "Filters" filters: Option<Filters>,
        "NextToken" next_token: Option<String>,
        "MaxResults" max_results: Option<i64>,
    }
    /// Output of `DescribeClusters`.
    pub struct DescribeClustersResponse {
        "Clusters" clusters: Option<Vec<Cluster>>,
        "NextToken" next_token: Option<String>,
    }

    /// Input of `GetResourcePolicy`.
    pub struct GetResourcePolicyRequest { "ResourceArn" resource_arn: Option<String> }
    /// Output of `GetResourcePolicy`.
    pub struct GetResourcePolicyResponse { "Policy" policy: Option<String> }

    /// Input of `InitializeCluster`.
    pub struct InitializeClusterRequest {
        "ClusterId" cluster_id: ClusterId,
        "SignedCert" signed_cert: String,
        "TrustAnchor" trust_anchor: String,
    }
    /// Output of `InitializeCluster`.
    pub struct InitializeClusterResponse {
        "State" state: Option<ClusterState>,
        "StateMessage" state_message: Option<String>,
    }

    /// Input of `ListTags`.
    pub struct ListTagsRequest {
        "ResourceId" resource_id: String,
        "NextToken" next_token: Option<String>,
        "MaxResults" max_results: Option<i64>,
    }
    /// Output of `ListTags`.
    pub struct ListTagsResponse {
        "TagList" tag_list: Vec<Tag>,
        "NextToken" next_token: Option<String>,
    }

    /// Input of `ModifyBackupAttributes`.
    pub struct ModifyBackupAttributesRequest {
        "BackupId" backup_id: BackupId,
        "NeverExpires" never_expires: bool,
    }
    /// Output of `ModifyBackupAttributes`.
    pub struct ModifyBackupAttributesResponse { "Backup" backup: Option<Backup> }

    /// Input of `ModifyCluster`.
    pub struct ModifyClusterRequest {
        "HsmType" hsm_type: Option<String>,
        "BackupRetentionPolicy" backup_retention_policy: Option<BackupRetentionPolicy>,
        "ClusterId" cluster_id: ClusterId,
    }
    /// Output of `ModifyCluster`.
    pub struct ModifyClusterResponse { "Cluster" cluster: Option<Cluster> }

    /// Input of `PutResourcePolicy`.
    pub struct PutResourcePolicyRequest {
        "ResourceArn" resource_arn: Option<String>,
        "Policy" policy: Option<String>,
    }
    /// Output of `PutResourcePolicy`.
    pub struct PutResourcePolicyResponse {
        "ResourceArn" resource_arn: Option<String>,
        "Policy" policy: Option<String>,
    }

    /// Input of `RestoreBackup`.
    pub struct RestoreBackupRequest { "BackupId" backup_id: BackupId }
    /// Output of `RestoreBackup`.
    pub struct RestoreBackupResponse { "Backup" backup: Option<Backup> }

    /// Input of `TagResource`.
    pub struct TagResourceRequest {
        "ResourceId" resource_id: String,
        "TagList" tag_list: Vec<Tag>,
    }
    /// Output of `TagResource`.
    pub struct TagResourceResponse {}

    /// Input of `UntagResource`.
    pub struct UntagResourceRequest {
        "ResourceId" resource_id: String,
        "TagKeyList" tag_key_list: Vec<String>,
    }
    /// Output of `UntagResource`.
    pub struct UntagResourceResponse {}

    /// Input of `AbandonCopy`: free the pin of a copy whose destination will never answer.
    pub struct AbandonCopyRequest { "CopyId" copy_id: CopyId }
    /// Output of `AbandonCopy`.
    pub struct AbandonCopyResponse { "Copy" copy: Copy }

    /// Input of `AddSubnet`: state the truth about a subnet before it is used.
    pub struct AddSubnetRequest {
        "SubnetId" subnet_id: SubnetId,
        "VpcId" vpc_id: VpcId,
        "AvailabilityZone" availability_zone: String,
    }
    /// Output of `AddSubnet`.
    pub struct AddSubnetResponse { "Subnet" subnet: Subnet }

    /// Input of `DescribeCopy`.
    pub struct DescribeCopyRequest { "CopyId" copy_id: CopyId }
    /// Output of `DescribeCopy`: the copy with its steps.
    pub struct DescribeCopyResponse { "Copy" copy: Copy }

    /// Input of `DescribeHsmEndpoints`.
    pub struct DescribeHsmEndpointsRequest { "ClusterId" cluster_id: ClusterId }
    /// Output of `DescribeHsmEndpoints`: where clients reach the HSMs, and what certificate they must show.
    pub struct DescribeHsmEndpointsResponse {
        "ClusterId" cluster_id: ClusterId,
        "State" state: ClusterState,
        "Endpoints" endpoints: Vec<HsmEndpoint>,
        "ClusterCertificate" cluster_certificate: Option<String>,
        /// `sha256:` and the hex digest of the cluster certificate's SubjectPublicKeyInfo.
        "ClusterKeyDigest" cluster_key_digest: Option<String>,
    }

    /// Input of `ListAuditEvents`.
    pub struct ListAuditEventsRequest {
        /// None of calls before this.
        "Since" since: Option<Timestamp>,
        /// None of calls at this time or after it.
        "Until" until: Option<Timestamp>,
        "EventName" event_name: Option<String>,
        /// The ARN of who called.
        "Principal" principal: Option<String>,
        /// Only calls that failed.
        "ErrorsOnly" errors_only: Option<bool>,
        "NewestFirst" newest_first: Option<bool>,
        /// Only events with a higher number.
        "AfterSeq" after_seq: Option<i64>,
        "NextToken" next_token: Option<String>,
        "MaxResults" max_results: Option<i64>,
    }
    /// Output of `ListAuditEvents`: a page may hold fewer than were asked for, or none, and yet have a token.
    pub struct ListAuditEventsResponse {
        "Events" events: Vec<AuditEvent>,
        /// The number of the newest event that there is.
        "LastSeq" last_seq: i64,
        /// The hex digits of the key (Ed25519) that signs this region's trail.
        "PublicKey" public_key: String,
        "NextToken" next_token: Option<String>,
    }

    /// Input of `ListBackupContents`.
    pub struct ListBackupContentsRequest {
        "BackupIds" backup_ids: Option<Vec<BackupId>>,
        "NextToken" next_token: Option<String>,
        "MaxResults" max_results: Option<i64>,
    }
    /// Output of `ListBackupContents`.
    pub struct ListBackupContentsResponse {
        "Backups" backups: Vec<BackupContent>,
        "NextToken" next_token: Option<String>,
    }

    /// Input of `ListCopies`.
    pub struct ListCopiesRequest {
        "States" states: Option<Vec<String>>,
        "NextToken" next_token: Option<String>,
        "MaxResults" max_results: Option<i64>,
    }
    /// Output of `ListCopies`: newest first.
    pub struct ListCopiesResponse {
        "Copies" copies: Vec<Copy>,
        "NextToken" next_token: Option<String>,
    }

    /// Input of `ListSubnets`.
    pub struct ListSubnetsRequest {}
    /// Output of `ListSubnets`.
    pub struct ListSubnetsResponse { "Subnets" subnets: Vec<Subnet> }

    /// Input of `GetResources`.
    pub struct GetResourcesInput {
        "PaginationToken" pagination_token: Option<String>,
        "TagFilters" tag_filters: Option<Vec<TagFilter>>,
        "ResourcesPerPage" resources_per_page: Option<i64>,
        "TagsPerPage" tags_per_page: Option<i64>,
        "ResourceTypeFilters" resource_type_filters: Option<Vec<String>>,
        "IncludeComplianceDetails" include_compliance_details: Option<bool>,
        "ExcludeCompliantResources" exclude_compliant_resources: Option<bool>,
        "ResourceARNList" resource_arn_list: Option<Vec<String>>,
    }
    /// Output of `GetResources`.
    pub struct GetResourcesOutput {
        /// Empty on the last page.
        "PaginationToken" pagination_token: Option<String>,
        "ResourceTagMappingList" resource_tag_mapping_list: Option<Vec<ResourceTagMapping>>,
    }

    /// Input of `TagResources`.
    pub struct TagResourcesInput {
        "ResourceARNList" resource_arn_list: Vec<String>,
        "Tags" tags: BTreeMap<String, String>,
    }
    /// Output of `TagResources`.
    pub struct TagResourcesOutput {
        "FailedResourcesMap" failed_resources_map: Option<BTreeMap<String, FailureInfo>>,
    }

    /// Input of `UntagResources`.
    pub struct UntagResourcesInput {
        "ResourceARNList" resource_arn_list: Vec<String>,
        "TagKeys" tag_keys: Vec<String>,
    }
    /// Output of `UntagResources`.
    pub struct UntagResourcesOutput {
        "FailedResourcesMap" failed_resources_map: Option<BTreeMap<String, FailureInfo>>,
    }
}
