//! Owns the stored form of inputs and answers: JSON in which a timestamp is told from a number. Rows keep it, and the
//! digest of an input is taken over it, so that it is the same over both wire protocols.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use serde_json::{Map, Number, Value as Json, json};
use strongroom_model::call::{Call, Operation, Reply};
use strongroom_model::{Timestamp, Value};

/// SHA-256 of a call's decoded input.
pub fn input_digest(call: &Call) -> [u8; 32] {
    let text = to_json(call.clone().into_value()).to_string();
    digest(&SHA256, text.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The stored form of an answer.
pub fn reply_to_text(reply: &Reply) -> String {
    to_json(reply.clone().into_value()).to_string()
}

/// Reads an answer back; `None` if the row does not hold one of this operation.
pub fn reply_from_text(operation: Operation, text: &str) -> Option<Reply> {
    Reply::from_value(operation, from_json(serde_json::from_str(text).ok()?)?).ok()
}

/// A value as JSON: structures as objects, maps as `{"$map": …}`, timestamps as `{"$time": ms}`, blobs as `{"$blob": …}`.
pub fn to_json(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(b) => Json::Bool(b),
        Value::Integer(n) => Json::Number(n.into()),
        Value::Float(f) => Number::from_f64(f).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text),
        Value::Blob(bytes) => json!({ "$blob": BASE64.encode(&bytes) }),
        Value::Timestamp(t) => json!({ "$time": t.millis() }),
        Value::List(items) => Json::Array(items.into_iter().map(to_json).collect()),
        Value::Map(entries) => {
            json!({ "$map": entries.into_iter().map(|(k, v)| (k, to_json(v))).collect::<Map<_, _>>() })
        }
        Value::Structure(members) => Json::Object(members.into_iter().map(|(k, v)| (k.into(), to_json(v))).collect()),
    }
}

/// The value of the stored form; `None` for JSON that is not one.
fn from_json(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Boolean(b),
        Json::Number(n) => n.as_i64().map(Value::Integer).or_else(|| n.as_f64().map(Value::Float))?,
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::List(items.into_iter().map(from_json).collect::<Option<_>>()?),
        Json::Object(mut object) => {
            if let Some(time) = object.get("$time") {
                return Some(Value::Timestamp(Timestamp::from_millis(time.as_i64()?)));
            }
            if let Some(blob) = object.get("$blob") {
                return BASE64.decode(blob.as_str()?.as_bytes()).ok().map(Value::Blob);
            }
            if let Some(Json::Object(entries)) = object.remove("$map") {
                let entries = entries.into_iter().map(|(k, v)| Some((k, from_json(v)?)));
                return entries.collect::<Option<_>>().map(Value::Map);
            }
            let members = object.into_iter().map(|(k, v)| Some((Cow::Owned(k), from_json(v)?)));
            Value::Structure(members.collect::<Option<_>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_model::call::{CopyBackupToRegionRequest, CopyBackupToRegionResponse, DescribeBackupsRequest};
    use strongroom_model::{BackupId, RegionName, Tag, backup::DestinationBackup};

    #[test]
    fn an_answer_is_read_back_with_its_time() {
        let destination = DestinationBackup {
            create_timestamp: Some(Timestamp::from_millis(1_795_511_647_112)),
            source_region: Some(RegionName::new("us-east-1")),
            source_backup: Some(BackupId::new("backup-aaaaaaaaaaa")),
            source_cluster: None,
        };
        let reply = Reply::CopyBackupToRegion(CopyBackupToRegionResponse { destination_backup: Some(destination) });
        let text = reply_to_text(&reply);
        assert_eq!(reply_from_text(Operation::CopyBackupToRegion, &text), Some(reply));
        assert_eq!(reply_from_text(Operation::CopyBackupToRegion, "{\"x\":1}"), None);
    }

    #[test]
    fn digests_differ_with_the_input() {
        let copy = |value: &str| {
            Call::CopyBackupToRegion(CopyBackupToRegionRequest {
                destination_region: RegionName::new("eu-west-1"),
                backup_id: BackupId::new("backup-aaaaaaaaaaa"),
                tag_list: Some(vec![Tag { key: "k".into(), value: value.into() }]),
            })
        };
        assert_eq!(input_digest(&copy("a")), input_digest(&copy("a")));
        assert_ne!(input_digest(&copy("a")), input_digest(&copy("b")));
    }

    #[test]
    fn maps_are_told_from_structures() {
        let filters = [("states".to_owned(), vec!["READY".to_owned()])].into_iter().collect();
        let call = Call::DescribeBackups(DescribeBackupsRequest { filters: Some(filters), ..Default::default() });
        let value = from_json(to_json(call.clone().into_value())).unwrap();
        assert_eq!(Call::from_value(Operation::DescribeBackups, value).unwrap(), call);
    }
}
