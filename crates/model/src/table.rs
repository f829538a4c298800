//! Owns our table of shapes: the 18 operations of CloudHSM V2, those of our own service, and three of the Resource Groups
//! Tagging API, a row per shape. Members are
//! words: `Name`, `Name!` if it is required, `Name:Shape` where the shape has another name. `xtask drift` holds the AWS
//! part against the public model; [`DEVIATIONS`] is what it then allows. Only data: what reads it is elsewhere.

use std::sync::{Arc, LazyLock};

use crate::call::{Operation, Service};
use crate::error::ErrorKind;
use crate::shape::{Bounds, Constraints, Kind, Member, Name, OperationShape, Pattern, Shape, Table, TimestampFormat};

/// The shapes and operations of all services.
pub fn api() -> &'static Table {
    static API: LazyLock<Table> = LazyLock::new(|| {
        let shapes = CLOUDHSM.iter().chain(STRONGROOM).chain(TAGGING).map(Row::shape).collect();
        let operations = Operation::ALL.iter().map(|o| operation(*o)).collect();
        Table::build(shapes, operations).expect("a test builds the table")
    });
    &API
}

/// The names of the shapes that are AWS's own.
pub fn cloudhsm_shapes() -> impl Iterator<Item = &'static str> {
    CLOUDHSM.iter().map(|row| row.name)
}

/// A constraint that differs from AWS's model on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    /// The shape.
    pub shape: &'static str,
    /// AWS's pattern.
    pub pattern: &'static str,
    /// Why ours differs.
    pub reason: &'static str,
}

/// Every constraint that differs from AWS's model.
pub const DEVIATIONS: &[Deviation] = &[Deviation {
    shape: "VpcId",
    pattern: "vpc-[0-9a-fA-F]",
    reason: "matched as a whole it allows one hex digit, which no VPC has; ours is that of subnets",
}];

/// The error of a call that policies deny: `CloudHsmTagException` where a condition on tags decided and the operation
/// declares it.
pub fn denial(operation: Operation, for_tags: bool) -> ErrorKind {
    match for_tags && errors(operation).contains(&ErrorKind::CloudHsmTag) {
        true => ErrorKind::CloudHsmTag,
        false => ErrorKind::AccessDenied,
    }
}

/// The errors that an operation declares.
pub fn errors(operation: Operation) -> Vec<ErrorKind> {
    use Operation as O;
    if operation.service() == Service::Tagging {
        return vec![
            ErrorKind::CloudHsmInternalFailure,
            ErrorKind::CloudHsmInvalidRequest,
            ErrorKind::CloudHsmService,
            ErrorKind::CloudHsmTag,
        ];
    }
    let mut errors = vec![
        ErrorKind::CloudHsmAccessDenied,
        ErrorKind::CloudHsmInternalFailure,
        ErrorKind::CloudHsmInvalidRequest,
        ErrorKind::CloudHsmService,
    ];
    if operation != O::DescribeClusters {
        errors.push(ErrorKind::CloudHsmResourceNotFound);
    }
    if operation == O::TagResource {
        errors.push(ErrorKind::CloudHsmResourceLimitExceeded);
    }
    let reads_tags = matches!(operation, O::DescribeBackups | O::DescribeClusters | O::ListTags);
    let writes_tags = matches!(operation, O::CopyBackupToRegion | O::CreateCluster | O::DeleteCluster);
    if reads_tags || writes_tags || matches!(operation, O::TagResource | O::UntagResource) {
        errors.push(ErrorKind::CloudHsmTag);
    }
    errors
}

fn operation(operation: Operation) -> OperationShape<Name> {
    OperationShape {
        service: operation.service().shape_name().into(),
        name: operation.name().into(),
        input: operation.input().into(),
        output: operation.output().into(),
        errors: errors(operation).into_iter().map(|kind| kind.name_in(operation.service()).into()).collect(),
    }
}

const CLOUDHSM: &[Row] = &[
    // Calls.
    structure("CopyBackupToRegionRequest", "DestinationRegion!:Region BackupId! TagList"),
    structure("CopyBackupToRegionResponse", "DestinationBackup"),
    structure(
        "CreateClusterRequest",
        "BackupRetentionPolicy HsmType! SourceBackupId:BackupArn SubnetIds! NetworkType TagList Mode:ClusterMode",
    ),
    structure("CreateClusterResponse", "Cluster"),
    structure("CreateHsmRequest", "ClusterId! AvailabilityZone!:ExternalAz IpAddress"),
    structure("CreateHsmResponse", "Hsm"),
    structure("DeleteBackupRequest", "BackupId!"),
    structure("DeleteBackupResponse", "Backup"),
    structure("DeleteClusterRequest", "ClusterId!"),
    structure("DeleteClusterResponse", "Cluster"),
    structure("DeleteHsmRequest", "ClusterId! HsmId EniId EniIp:IpAddress"),
    structure("DeleteHsmResponse", "HsmId"),
    structure("DeleteResourcePolicyRequest", "ResourceArn:CloudHsmArn"),
    structure("DeleteResourcePolicyResponse", "ResourceArn:CloudHsmArn Policy:ResourcePolicy"),
    structure(
        "DescribeBackupsRequest",
        "NextToken MaxResults:BackupsMaxSize Filters Shared:Boolean SortAscending:Boolean",
    ),
    structure("DescribeBackupsResponse", "Backups NextToken"),
    structure("DescribeClustersRequest", "Filters NextToken MaxResults:ClustersMaxSize"),
    structure("DescribeClustersResponse", "Clusters NextToken"),
    structure("GetResourcePolicyRequest", "ResourceArn:CloudHsmArn"),
    structure("GetResourcePolicyResponse", "Policy:ResourcePolicy"),
    structure("InitializeClusterRequest", "ClusterId! SignedCert!:Cert TrustAnchor!:Cert"),
    structure("InitializeClusterResponse", "State:ClusterState StateMessage"),
    structure("ListTagsRequest", "ResourceId! NextToken MaxResults:MaxSize"),
    structure("ListTagsResponse", "TagList! NextToken"),
    structure("ModifyBackupAttributesRequest", "BackupId! NeverExpires!:Boolean"),
    structure("ModifyBackupAttributesResponse", "Backup"),
    structure("ModifyClusterRequest", "HsmType BackupRetentionPolicy ClusterId!"),
    structure("ModifyClusterResponse", "Cluster"),
    structure("PutResourcePolicyRequest", "ResourceArn:CloudHsmArn Policy:ResourcePolicy"),
    structure("PutResourcePolicyResponse", "ResourceArn:CloudHsmArn Policy:ResourcePolicy"),
    structure("RestoreBackupRequest", "BackupId!"),
    structure("RestoreBackupResponse", "Backup"),
    structure("TagResourceRequest", "ResourceId! TagList!"),
    structure("TagResourceResponse", ""),
    structure("UntagResourceRequest", "ResourceId! TagKeyList!"),
    structure("UntagResourceResponse", ""),
    // Errors.
    structure("CloudHsmAccessDeniedException", "Message:errorMessage"),
    structure("CloudHsmInternalFailureException", "Message:errorMessage"),
    structure("CloudHsmInvalidRequestException", "Message:errorMessage"),
    structure("CloudHsmResourceLimitExceededException", "Message:errorMessage"),
    structure("CloudHsmResourceNotFoundException", "Message:errorMessage"),
    structure("CloudHsmServiceException", "Message:errorMessage"),
    structure("CloudHsmTagException", "Message:errorMessage"),
    string("errorMessage"),
    // Structures.
    structure(
        "Backup",
        "BackupId! BackupArn BackupState ClusterId CreateTimestamp:Timestamp CopyTimestamp:Timestamp \
         NeverExpires:Boolean SourceRegion:Region SourceBackup:BackupId SourceCluster:ClusterId \
         DeleteTimestamp:Timestamp TagList HsmType Mode:ClusterMode",
    ),
    structure("BackupRetentionPolicy", "Type:BackupRetentionType Value:BackupRetentionValue"),
    structure(
        "Certificates",
        "ClusterCsr:Cert HsmCertificate:Cert AwsHardwareCertificate:Cert ManufacturerHardwareCertificate:Cert \
         ClusterCertificate:Cert",
    ),
    structure(
        "Cluster",
        "BackupPolicy BackupRetentionPolicy ClusterId CreateTimestamp:Timestamp Hsms HsmType \
         HsmTypeRollbackExpiration:Timestamp PreCoPassword SecurityGroup SourceBackupId:BackupId State:ClusterState \
         StateMessage SubnetMapping:ExternalSubnetMapping VpcId NetworkType Certificates TagList Mode:ClusterMode",
    ),
    structure(
        "DestinationBackup",
        "CreateTimestamp:Timestamp SourceRegion:Region SourceBackup:BackupId SourceCluster:ClusterId",
    ),
    structure(
        "Hsm",
        "AvailabilityZone:ExternalAz ClusterId SubnetId EniId EniIp:IpAddress EniIpV6:IpV6Address HsmId! HsmType \
         State:HsmState StateMessage:String",
    ),
    structure("Tag", "Key!:TagKey Value!:TagValue"),
    // Lists and maps.
    list("Backups", "Backup"),
    list("Clusters", "Cluster"),
    map("ExternalSubnetMapping", "ExternalAz", "SubnetId"),
    map("Filters", "Field", "Strings").at_most(30),
    list("Hsms", "Hsm"),
    list("Strings", "String"),
    list("SubnetIds", "SubnetId").between(1, 10),
    list("TagKeyList", "TagKey").between(1, 50),
    list("TagList", "Tag").between(1, 50),
    // Enums.
    values("BackupPolicy", "DEFAULT"),
    values("BackupRetentionType", "DAYS"),
    values("BackupState", "CREATE_IN_PROGRESS READY DELETED PENDING_DELETION"),
    values("ClusterMode", "FIPS NON_FIPS"),
    values(
        "ClusterState",
        "CREATE_IN_PROGRESS UNINITIALIZED INITIALIZE_IN_PROGRESS INITIALIZED ACTIVE UPDATE_IN_PROGRESS \
         MODIFY_IN_PROGRESS ROLLBACK_IN_PROGRESS DELETE_IN_PROGRESS DELETED DEGRADED",
    ),
    values("HsmState", "CREATE_IN_PROGRESS ACTIVE DEGRADED DELETE_IN_PROGRESS DELETED"),
    values("NetworkType", "IPV4 DUALSTACK"),
    // Strings.
    string("BackupArn").matching(
        "^(arn:aws(-(us-gov))?:cloudhsm:([a-z]{2}(-(gov|isob|iso))?-(east|west|north|south|central){1,2}-[0-9]{1}):\
         [0-9]{12}:backup/)?backup-[2-7a-zA-Z]{11,16}",
    ),
    string("BackupId").matching("backup-[2-7a-zA-Z]{11,16}"),
    string("BackupRetentionValue").between(1, 3).matching("[0-9]+"),
    string("Cert").at_most(20_000).matching(r"[a-zA-Z0-9+-/=\s]*"),
    string("CloudHsmArn").matching(
        "arn:aws(-(us-gov))?:cloudhsm:([a-z]{2}(-(gov|isob|iso))?-(east|west|north|south|central){1,2}-[0-9]{1}):\
         [0-9]{12}:(backup/backup|cluster/cluster|hsm/hsm)-[2-7a-zA-Z]{11,16}",
    ),
    string("ClusterId").matching("cluster-[2-7a-zA-Z]{11,16}"),
    string("EniId").matching("eni-[0-9a-fA-F]{8,17}"),
    string("ExternalAz").matching(r"[a-z]{2}(-(gov))?-(east|west|north|south|central){1,2}-\d[a-z]"),
    string("Field").matching("[a-zA-Z0-9_-]+"),
    string("HsmId").matching("hsm-[2-7a-zA-Z]{11,16}"),
    string("HsmType").at_most(32).matching(r"((p|)hsm[0-9][a-z.]*\.[a-zA-Z]+)"),
    string("IpAddress").matching(r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"),
    string("IpV6Address").at_most(100),
    string("NextToken").at_most(256).matching(".*"),
    string("PreCoPassword").between(7, 32),
    string("Region").matching(r"[a-z]{2}(-(gov))?-(east|west|north|south|central){1,2}-\d"),
    string("ResourceId").matching("(?:cluster|backup)-[2-7a-zA-Z]{11,16}"),
    string("ResourcePolicy").between(1, 20_000),
    string("SecurityGroup").matching("sg-[0-9a-fA-F]{8,17}"),
    string("StateMessage").at_most(300).matching(".*"),
    string("String"),
    string("SubnetId").matching("subnet-[0-9a-fA-F]{8,17}"),
    string("TagKey").between(1, 128).matching(r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"),
    string("TagValue").between(0, 256).matching(r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"),
    string("VpcId").matching("vpc-[0-9a-fA-F]{8,17}"),
    // Other scalars.
    integer("BackupsMaxSize").between(1, 50),
    boolean("Boolean"),
    integer("ClustersMaxSize").between(1, 25),
    integer("MaxSize").between(1, 100),
    timestamp("Timestamp"),
];

const STRONGROOM: &[Row] = &[
    // Calls.
    structure("AbandonCopyRequest", "CopyId!"),
    structure("AbandonCopyResponse", "Copy!"),
    structure("AddSubnetRequest", "SubnetId! VpcId! AvailabilityZone!:ExternalAz"),
    structure("AddSubnetResponse", "Subnet!"),
    structure("DescribeCopyRequest", "CopyId!"),
    structure("DescribeCopyResponse", "Copy!"),
    structure("DescribeHsmEndpointsRequest", "ClusterId!"),
    structure(
        "DescribeHsmEndpointsResponse",
        "ClusterId! State!:ClusterState Endpoints!:HsmEndpoints ClusterCertificate:Cert ClusterKeyDigest:Digest",
    ),
    structure(
        "ListAuditEventsRequest",
        "Since:Timestamp Until:Timestamp EventName:String Principal:String ErrorsOnly:Boolean NewestFirst:Boolean \
         AfterSeq:Count NextToken MaxResults:MaxSize",
    ),
    structure("ListAuditEventsResponse", "Events!:AuditEvents LastSeq!:Count PublicKey!:String NextToken"),
    structure("ListBackupContentsRequest", "BackupIds NextToken MaxResults:MaxSize"),
    structure("ListBackupContentsResponse", "Backups!:BackupContents NextToken"),
    structure("ListCopiesRequest", "States:CopyStates NextToken MaxResults:MaxSize"),
    structure("ListCopiesResponse", "Copies! NextToken"),
    structure("ListSubnetsRequest", ""),
    structure("ListSubnetsResponse", "Subnets!"),
    // Structures.
    structure("AuditEvent", "Seq!:Count Writer!:String N!:Count Hash:String Event!:String Signature:AuditSignature"),
    structure("AuditSignature", "Hash!:String At!:Timestamp KeyId!:String Signature!:String"),
    structure(
        "BackupContent",
        "BackupId! State!:String Cause:String Origin!:String CreatedAt!:Timestamp OpenedAt:Timestamp Users:Count \
         Keys:Count Bytes:Count Chunks:Count Lineage:String Digest Reason:String",
    ),
    structure(
        "Copy",
        "CopyId! Direction!:CopyDirection State!:CopyState Overdue!:Boolean Reason:CopyReason Source!:CopyEnd \
         Destination!:CopyEnd RequestedAt!:Timestamp RequestedBy:String SourceIp:String RequestId:String \
         InvocationId:String BackupCreatedAt!:Timestamp DeadlineAt:Timestamp FinishedAt:Timestamp BytesTotal!:Count \
         BytesSent!:Count ChunksTotal!:Count ChunksDone!:Count Attempts!:Count NextAttemptAt:Timestamp Digest \
         Receipt:CopyReceipt Users:Count Keys:Count Mode:ClusterMode TagList Steps:CopySteps",
    ),
    structure("CopyEnd", "Region! RegionId! BackupId ClusterId"),
    structure("CopyReason", "Code!:String Text!:String"),
    structure("CopyReceipt", "Sequence!:Count KeyId:String At!:Timestamp"),
    structure("CopyStep", "At!:Timestamp Name!:String Text!:String"),
    structure("HsmEndpoint", "HsmId! EniIp!:IpAddress Address!:String Port!:Port Sni!:String State!:HsmState"),
    structure("Subnet", "SubnetId! VpcId! AvailabilityZone!:ExternalAz Origin!:SubnetOrigin"),
    // Lists.
    list("AuditEvents", "AuditEvent"),
    list("BackupContents", "BackupContent"),
    list("BackupIds", "BackupId").between(1, 100),
    list("Copies", "Copy"),
    list("CopyStates", "CopyState").between(1, 6),
    list("CopySteps", "CopyStep"),
    list("HsmEndpoints", "HsmEndpoint"),
    list("Subnets", "Subnet"),
    // Scalars.
    values("CopyDirection", "outgoing incoming"),
    string("CopyId").matching("copy-[2-7a-zA-Z]{11,16}"),
    values("CopyState", "waiting sending checking ready failed cancelled"),
    long("Count").at_least(0),
    string("Digest").matching("sha256:[0-9a-f]{64}"),
    integer("Port").between(1, 65_535),
    string("RegionId").matching("[a-z2-7]{26}"),
    values("SubnetOrigin", "default stated adopted"),
];

/// Constraints as AWS has them, but for keys and values of tags, which are those of CloudHSM.
const TAGGING: &[Row] = &[
    // Calls.
    structure(
        "GetResourcesInput",
        "PaginationToken TagFilters:TagFilterList ResourcesPerPage TagsPerPage \
         ResourceTypeFilters:ResourceTypeFilterList IncludeComplianceDetails:Boolean \
         ExcludeCompliantResources:Boolean ResourceARNList:ResourceARNListForGet",
    ),
    structure("GetResourcesOutput", "PaginationToken ResourceTagMappingList"),
    structure("TagResourcesInput", "ResourceARNList!:ResourceARNListForTagUntag Tags!:TagMap"),
    structure("TagResourcesOutput", "FailedResourcesMap"),
    structure("UntagResourcesInput", "ResourceARNList!:ResourceARNListForTagUntag TagKeys!:TagKeyListForUntag"),
    structure("UntagResourcesOutput", "FailedResourcesMap"),
    // Errors.
    structure("InternalServiceException", "Message:errorMessage"),
    structure("InvalidParameterException", "Message:errorMessage"),
    // Structures.
    structure("FailureInfo", "StatusCode:StatusCode ErrorCode:String ErrorMessage:String"),
    structure("ResourceTagMapping", "ResourceARN Tags:TagList"),
    structure("TagFilter", "Key:TagKey Values:TagValueList"),
    // Lists and maps.
    map("FailedResourcesMap", "ResourceARN", "FailureInfo"),
    list("ResourceARNListForGet", "ResourceARN").at_most(100),
    list("ResourceARNListForTagUntag", "ResourceARN").between(1, 20),
    list("ResourceTagMappingList", "ResourceTagMapping"),
    list("ResourceTypeFilterList", "AmazonResourceType"),
    list("TagFilterList", "TagFilter").at_most(50),
    list("TagKeyListForUntag", "TagKey").between(1, 50),
    map("TagMap", "TagKey", "TagValue").between(1, 50),
    list("TagValueList", "TagValue").at_most(20),
    // Scalars.
    string("AmazonResourceType").at_most(256),
    string("PaginationToken").at_most(2_048),
    string("ResourceARN").between(1, 1_011),
    integer("ResourcesPerPage").between(1, 100),
    integer("StatusCode"),
    integer("TagsPerPage").between(100, 500),
];

/// A shape as it is written above.
struct Row {
    name: &'static str,
    kind: RowKind,
    min: Option<u32>,
    max: Option<u32>,
    pattern: Option<&'static str>,
}

enum RowKind {
    Boolean,
    Integer,
    Long,
    String,
    Timestamp,
    Values(&'static str),
    List(&'static str),
    Map(&'static str, &'static str),
    Structure(&'static str),
}

const fn row(name: &'static str, kind: RowKind) -> Row {
    Row { name, kind, min: None, max: None, pattern: None }
}

const fn boolean(name: &'static str) -> Row {
    row(name, RowKind::Boolean)
}

const fn integer(name: &'static str) -> Row {
    row(name, RowKind::Integer)
}

const fn long(name: &'static str) -> Row {
    row(name, RowKind::Long)
}

const fn string(name: &'static str) -> Row {
    row(name, RowKind::String)
}

const fn timestamp(name: &'static str) -> Row {
    row(name, RowKind::Timestamp)
}

const fn values(name: &'static str, values: &'static str) -> Row {
    row(name, RowKind::Values(values))
}

const fn list(name: &'static str, member: &'static str) -> Row {
    row(name, RowKind::List(member))
}

const fn map(name: &'static str, key: &'static str, value: &'static str) -> Row {
    row(name, RowKind::Map(key, value))
}

const fn structure(name: &'static str, members: &'static str) -> Row {
    row(name, RowKind::Structure(members))
}

impl Row {
    const fn at_least(self, min: u32) -> Self {
        Self { min: Some(min), ..self }
    }

    const fn at_most(self, max: u32) -> Self {
        Self { max: Some(max), ..self }
    }

    const fn between(self, min: u32, max: u32) -> Self {
        self.at_least(min).at_most(max)
    }

    const fn matching(self, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    fn shape(&self) -> Shape<Name> {
        let mut constraints =
            Constraints { pattern: self.pattern.map(|p| Arc::new(Pattern::new(p))), ..Default::default() };
        match self.kind {
            RowKind::Integer | RowKind::Long => {
                constraints.range = Bounds { min: self.min.map(f64::from), max: self.max.map(f64::from) };
            }
            _ => constraints.length = Bounds { min: self.min.map(|n| n as usize), max: self.max.map(|n| n as usize) },
        }
        Shape { name: self.name.into(), kind: self.kind.kind(), constraints }
    }
}

impl RowKind {
    fn kind(&self) -> Kind<Name> {
        match *self {
            Self::Boolean => Kind::Boolean,
            Self::Integer => Kind::Integer,
            Self::Long => Kind::Long,
            Self::String => Kind::String,
            Self::Timestamp => Kind::Timestamp(TimestampFormat::EpochSeconds),
            Self::Values(values) => Kind::Enum(values.split_whitespace().map(Name::from).collect()),
            Self::List(member) => Kind::List { member: Member::new("member", member.into()), sparse: false },
            Self::Map(key, value) => {
                let (key, value) = (Member::new("key", key.into()), Member::new("value", value.into()));
                Kind::Map { key, value, sparse: false }
            }
            Self::Structure(members) => Kind::Structure(members.split_whitespace().map(member).collect()),
        }
    }
}

/// Reads `Name`, `Name!`, `Name:Shape` or `Name!:Shape`.
fn member(word: &'static str) -> Member<Name> {
    let (name, target) = word.split_once(':').unwrap_or((word, word.trim_end_matches('!')));
    let required = name.ends_with('!');
    Member { required, ..Member::new(name.trim_end_matches('!'), target.into()) }
}

#[cfg(test)]
mod tests;
