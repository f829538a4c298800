//! Owns the shape of an audit event: CloudTrail's, version 1.11, written straight into a text. It shows who called, what he
//! asked for and what he got; never a secret, and never more than a page of a list can hold.

use std::fmt::{self, Display};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use strongroom_iam::CallerKind;
use strongroom_model::call::{Operation, Service};
use strongroom_model::id::uuid;
use strongroom_model::{ApiError, BackupId, ClusterId, RegionName, Timestamp, Value};

use crate::caller::Caller;

/// The most bytes of an event once it is a text inside an answer, so that one alone always fits into one.
const ROOM: usize = 96 * 1024;

/// Room for most events, in bytes.
const USUAL: usize = 2 * 1_024;

/// Members that are shown by their name only.
const SECRET: &[&str] = &["PreCoPassword"];
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// A call, as far as its event shows it.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub region: &'a RegionName,
    pub caller: &'a Caller,
    pub operation: Operation,
    /// The input; of a call that could not be decoded there is none.
    pub input: Option<&'a Value>,
    pub event_id: [u8; 16],
    pub at: Timestamp,
}

/// What came of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Came<'a> {
    pub error: Option<&'a ApiError>,
    /// The answer to a change.
    pub output: Option<&'a Value>,
    /// Whether it is the stored answer to a call that was made before.
    pub repeat: bool,
}

/// The event of a call.
pub(super) fn text(asked: &Asked<'_>, came: &Came<'_>) -> String {
    let whole = Event::of(asked, came).text();
    if 2 * whole.len() <= ROOM || room(&whole) <= ROOM {
        return whole;
    }
    let mut event = Event::of(asked, came);
    (event.request_parameters, event.response_elements) = (None, None);
    event.resources.clear();
    event.additional_event_data = Some(Additional { repeat: came.repeat, omitted: Some(OMITTED) });
    event.text()
}

const OMITTED: &str = "requestParameters, responseElements and resources, for their size";

/// The bytes of an event as a text inside an answer.
pub fn room(event: &str) -> usize {
    event.len() + event.bytes().filter(|b| matches!(b, b'"' | b'\\')).count()
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    event_version: &'static str,
    user_identity: Identity<'a>,
    event_time: String,
    event_source: &'static str,
    event_name: &'static str,
    aws_region: &'a str,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: &'a str,
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    request_parameters: Option<Elements<'a>>,
    response_elements: Option<Elements<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_event_data: Option<Additional>,
    #[serde(rename = "requestID")]
    request_id: &'a str,
    #[serde(rename = "eventID")]
    event_id: String,
    read_only: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Resource<'a>>,
    event_type: &'static str,
    management_event: bool,
    recipient_account_id: &'a str,
    event_category: &'static str,
}

#[derive(serde::Serialize)]
struct Additional {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<&'static str>,
}

impl<'a> Event<'a> {
    fn of(asked: &Asked<'a>, came: &Came<'a>) -> Self {
        let service = asked.operation.service();
        Self {
            event_version: "1.11",
            user_identity: Identity::of(asked.caller),
            event_time: asked.at.seconds(),
            event_source: source(service),
            event_name: asked.operation.name(),
            aws_region: asked.region.as_str(),
            source_ip_address: &asked.caller.source_ip,
            user_agent: asked.caller.user_agent.as_deref(),
            error_code: came.error.map(|error| error.kind().name_in(service)),
            error_message: came.error.map(ApiError::message),
            request_parameters: asked.input.and_then(Elements::of),
            response_elements: came.output.and_then(Elements::of),
            additional_event_data: came.repeat.then_some(Additional { repeat: true, omitted: None }),
            request_id: &asked.caller.request_id,
            event_id: uuid(asked.event_id),
            read_only: asked.operation.only_reads(),
            resources: asked.input.map_or_else(Vec::new, |input| resources(input, asked)),
            event_type: "AwsApiCall",
            management_event: true,
            recipient_account_id: asked.caller.account.as_str(),
            event_category: "Management",
        }
    }

    fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(USUAL);
        serde_json::to_writer(&mut bytes, self).expect("a Vec takes every byte, and every key is a text");
        String::from_utf8(bytes).expect("JSON is UTF-8")
    }
}

fn source(service: Service) -> &'static str {
    match service {
        Service::CloudHsm => "cloudhsm.amazonaws.com",
        Service::Strongroom => "strongroom.amazonaws.com",
        Service::Tagging => "tagging.amazonaws.com",
    }
}

/// What is written as it is displayed.
struct Shown<T>(T);

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    r#type: &'static str,
    principal_id: &'a str,
    arn: &'a str,
    account_id: &'a str,
    access_key_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_context: Option<SessionContext<'a>>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionContext<'a> {
    session_issuer: SessionIssuer<'a>,
    attributes: Attributes,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionIssuer<'a> {
    r#type: &'static str,
    principal_id: &'a str,
    arn: &'a str,
    account_id: &'a str,
    user_name: &'a str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_date: Option<String>,
    mfa_authenticated: &'static str,
}

impl<'a> Identity<'a> {
    fn of(caller: &'a Caller) -> Self {
        let authority = &*caller.authority;
        let user_id = authority.user_id.as_str();
        let (kind, principal_id, session_context) = match &authority.caller.kind {
            CallerKind::User => ("IAMUser", user_id, None),
            CallerKind::Root => ("Root", caller.account.as_str(), None),
            CallerKind::RoleSession { role_arn } => {
                let session_issuer = SessionIssuer {
                    r#type: "Role",
                    principal_id: user_id.split(':').next().unwrap_or(user_id),
                    arn: role_arn,
                    account_id: caller.account.as_str(),
                    user_name: role_arn.rsplit('/').next().unwrap_or(role_arn),
                };
                let creation_date = authority.token_issued_at.map(Timestamp::seconds);
                let attributes = Attributes { creation_date, mfa_authenticated: "false" };
                ("AssumedRole", user_id, Some(SessionContext { session_issuer, attributes }))
            }
        };
        Self {
            r#type: kind,
            principal_id,
            arn: &caller.principal,
            account_id: caller.account.as_str(),
            access_key_id: &caller.access_key,
            user_name: authority.user_name.as_deref(),
            session_context,
        }
    }
}

/// An input or an output: its members with a small first letter, as CloudTrail has them.
struct Elements<'a>(&'a Value);

impl<'a> Elements<'a> {
    /// `None` for a structure without members.
    fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Structure(members) if members.is_empty() => None,
            value => Some(Self(value)),
        }
    }
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Boolean(b) => serializer.serialize_bool(*b),
            Value::Integer(n) => serializer.serialize_i64(*n),
            Value::Float(f) => serializer.serialize_f64(*f),
            Value::String(text) => serializer.serialize_str(text),
            Value::Blob(bytes) => serializer.collect_str(&data_encoding::BASE64.encode_display(bytes)),
            Value::Timestamp(t) => serializer.collect_str(t),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Self(item)))?;
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, &Self(value)))?;
                map.end()
            }
            Value::Structure(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_key(&Shown(SmallFirst(name)))?;
                    match SECRET.contains(&name.as_ref()) {
                        true => map.serialize_value(HIDDEN)?,
                        false => map.serialize_value(&Self(value))?,
                    }
                }
                map.end()
            }
        }
    }
}

/// A name with a small first letter.
struct SmallFirst<'a>(&'a str);

impl Display for SmallFirst<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letters = self.0.chars();
        let first = letters.next().unwrap_or_default();
        write!(f, "{}{}", first.to_ascii_lowercase(), letters.as_str())
    }
}

#[derive(serde::Serialize)]
struct Resource<'a> {
    #[serde(rename = "ARN")]
    arn: String,
    #[serde(rename = "accountId")]
    account_id: std::borrow::Cow<'a, str>,
}

/// What the input names, each once: ids are the caller's own, an ARN says whose it is.
fn resources<'a>(input: &Value, asked: &Asked<'a>) -> Vec<Resource<'a>> {
    let Value::Structure(members) = input else { return Vec::new() };
    let named = members.iter().filter(|(name, _)| {
        matches!(&**name, "ClusterId" | "BackupId" | "ResourceId" | "SourceBackupId" | "ResourceArn")
            || *name == "ResourceARNList" && !asked.operation.only_reads()
    });
    let texts = named.flat_map(|(_, value)| match value {
        Value::List(items) => items.iter().filter_map(Value::as_str).collect(),
        value => Vec::from_iter(value.as_str()),
    });
    texts.filter_map(|text| resource(text, asked)).collect()
}

fn resource<'a>(text: &str, asked: &Asked<'a>) -> Option<Resource<'a>> {
    let account = &asked.caller.account;
    if text.starts_with("arn:") {
        let owner = text.split(':').nth(4).filter(|owner| !owner.is_empty())?;
        return Some(Resource { arn: text.to_owned(), account_id: owner.to_owned().into() });
    }
    let arn = match text.split_once('-')?.0 {
        "cluster" => ClusterId::new(text).arn(asked.region, account),
        "backup" => BackupId::new(text).arn(asked.region, account),
        _ => return None,
    };
    Some(Resource { arn, account_id: account.as_str().into() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value as Json, json};
    use strongroom_model::call::{Call, CreateClusterResponse, DeleteBackupRequest, Reply, TagResourceRequest};
    use strongroom_model::cluster::Cluster;
    use strongroom_model::{AccountId, Tag};

    use super::*;
    use crate::caller::Authority;

    const ARN: &str = "arn:aws:iam::000000000000:user/test";

    fn caller(kind: CallerKind, principal: &str, user_id: &str) -> Caller {
        let account = AccountId::new("000000000000");
        let mut authority = Arc::unwrap_or_clone(Authority::everything(&account, ARN, user_id));
        if kind != CallerKind::User {
            authority.user_name = None;
        }
        authority.caller.kind = kind;
        authority.token_issued_at = Some(Timestamp::from_millis(1_795_511_600_999));
        Caller {
            account,
            principal: principal.into(),
            access_key: "AKIDEXAMPLE".into(),
            source_ip: "203.0.113.10".into(),
            request_id: "3f2b1c04-5d6e-4f70-8a91-b2c3d4e5f607".into(),
            invocation_id: None,
            user_agent: Some("aws-cli/2".into()),
            is_secure: true,
            authority: Arc::new(authority),
        }
    }

    fn event(caller: &Caller, operation: Operation, input: Option<&Value>, came: &Came<'_>) -> Json {
        let region = RegionName::new("us-east-1");
        let at = Timestamp::from_millis(1_795_511_647_439);
        let text = text(&Asked { region: &region, caller, operation, input, event_id: [0; 16], at }, came);
        assert!(room(&text) <= ROOM);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_call_that_failed_is_shown_as_cloudtrail_does() {
        let caller = caller(CallerKind::User, ARN, "AIDAEXAMPLE");
        let input = Call::DeleteBackup(DeleteBackupRequest { backup_id: BackupId::new("backup-aaaaaaaaaaa") });
        let error = ApiError::not_found("There is none.");
        let came = Came { error: Some(&error), ..Came::default() };
        let expected = json!({
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "IAMUser", "principalId": "AIDAEXAMPLE", "arn": ARN, "accountId": "000000000000",
                "accessKeyId": "AKIDEXAMPLE", "userName": "test",
            },
            "eventTime": "2026-11-24T09:14:07Z",
            "eventSource": "cloudhsm.amazonaws.com",
            "eventName": "DeleteBackup",
            "awsRegion": "us-east-1",
            "sourceIPAddress": "203.0.113.10",
            "userAgent": "aws-cli/2",
            "errorCode": "CloudHsmResourceNotFoundException",
            "errorMessage": "There is none.",
            "requestParameters": { "backupId": "backup-aaaaaaaaaaa" },
            "responseElements": null,
            "requestID": "3f2b1c04-5d6e-4f70-8a91-b2c3d4e5f607",
            "eventID": "00000000-0000-4000-8000-000000000000",
            "readOnly": false,
            "resources": [{
                "ARN": "arn:aws:cloudhsm:us-east-1:000000000000:backup/backup-aaaaaaaaaaa", "accountId": "000000000000",
            }],
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": "000000000000",
            "eventCategory": "Management",
        });
        assert_eq!(event(&caller, Operation::DeleteBackup, Some(&input.into_value()), &came), expected);
        let undecoded = event(&caller, Operation::DeleteBackup, None, &came);
        assert_eq!((&undecoded["requestParameters"], undecoded.get("resources")), (&Json::Null, None));
    }

    #[test]
    fn sessions_and_roots_are_told_apart() {
        let role_arn = "arn:aws:iam::000000000000:role/path/ops".to_owned();
        let session = "arn:aws:sts::000000000000:assumed-role/ops/alice";
        let caller_in = caller(CallerKind::RoleSession { role_arn: role_arn.clone() }, session, "AROAEXAMPLE:alice");
        let shown = event(&caller_in, Operation::ListCopies, None, &Came::default());
        let expected = json!({
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:alice", "arn": session, "accountId": "000000000000",
            "accessKeyId": "AKIDEXAMPLE",
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role", "principalId": "AROAEXAMPLE", "arn": role_arn, "accountId": "000000000000",
                    "userName": "ops",
                },
                "attributes": { "creationDate": "2026-11-24T09:13:20Z", "mfaAuthenticated": "false" },
            },
        });
        assert_eq!(shown["userIdentity"], expected);
        assert_eq!((&shown["eventSource"], &shown["readOnly"]), (&json!("strongroom.amazonaws.com"), &json!(true)));
        let root = caller(CallerKind::Root, "arn:aws:iam::000000000000:root", "");
        let shown = event(&root, Operation::GetResources, None, &Came::default());
        assert_eq!(shown["userIdentity"]["type"], "Root");
        assert_eq!(
            (&shown["userIdentity"]["principalId"], &shown["eventSource"]),
            (&json!("000000000000"), &json!("tagging.amazonaws.com"),)
        );
    }

    #[test]
    fn an_answer_is_shown_without_its_secret() {
        let cluster = Cluster {
            cluster_id: Some(ClusterId::new("cluster-aaaaaaaaaaa")),
            pre_co_password: Some("open sesame".into()),
            create_timestamp: Some(Timestamp::from_millis(1_795_511_647_439)),
            ..Cluster::default()
        };
        let output = Reply::CreateCluster(CreateClusterResponse { cluster: Some(cluster) }).into_value();
        let came = Came { output: Some(&output), repeat: true, error: None };
        let caller = caller(CallerKind::User, ARN, "AIDAEXAMPLE");
        let shown = event(&caller, Operation::CreateCluster, None, &came);
        assert_eq!(shown["additionalEventData"], json!({ "repeat": true }));
        let expected = json!({
            "clusterId": "cluster-aaaaaaaaaaa", "createTimestamp": "2026-11-24T09:14:07.439Z", "preCoPassword": HIDDEN,
        });
        assert_eq!(shown["responseElements"]["cluster"], expected);
    }

    #[test]
    fn an_event_always_fits_into_an_answer() {
        let tags = vec![Tag { key: "\"".repeat(60_000), value: String::new() }];
        let call = Call::TagResource(TagResourceRequest { resource_id: "cluster-aaaaaaaaaaa".into(), tag_list: tags });
        let caller = caller(CallerKind::User, ARN, "AIDAEXAMPLE");
        let shown = event(&caller, Operation::TagResource, Some(&call.into_value()), &Came::default());
        assert_eq!((&shown["requestParameters"], shown.get("resources")), (&Json::Null, None));
        assert_eq!(shown["additionalEventData"]["omitted"], OMITTED);
    }
}
