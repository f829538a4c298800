//! Owns the JSON of copies, `strongroom.copies/1`: fields are only ever added. Times are RFC 3339, sizes bytes, what is not
//! known is null.

use serde_json::{Map, Value, json};
use strongroom_model::Timestamp;
use strongroom_model::copy::{Copy, CopyEnd};

/// All copies in one object.
pub(super) fn list(copies: &[Copy]) -> String {
    json!({ "format": "strongroom.copies/1", "copies": copies.iter().map(one).collect::<Vec<_>>() }).to_string()
}

/// One copy.
pub(super) fn one(copy: &Copy) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let tags = copy.tag_list.iter().flatten();
    let tags: Map<String, Value> = tags.map(|tag| (tag.key.clone(), tag.value.clone().into())).collect();
    let mut value = json!({
        "copy_id": copy.copy_id.as_str(),
        "state": copy.state.as_str(),
        "overdue": copy.overdue,
        "reason": copy.reason.as_ref().map(|reason| json!({ "code": reason.code, "text": reason.text })),
        "source": end(&copy.source),
        "destination": end(&copy.destination),
        "requested_at": copy.requested_at.to_string(),
        "requested_by": copy.requested_by,
        "request_id": copy.request_id,
        "invocation_id": copy.invocation_id,
        "backup_created_at": copy.backup_created_at.to_string(),
        "deadline_at": time(copy.deadline_at),
        "finished_at": time(copy.finished_at),
        "bytes_total": copy.bytes_total,
        "bytes_sent": copy.bytes_sent,
        "chunks_total": copy.chunks_total,
        "chunks_done": copy.chunks_done,
        "attempts": copy.attempts,
        "next_attempt_at": time(copy.next_attempt_at),
        "digest": copy.digest,
        "receipt": copy.receipt.as_ref().map(|receipt| {
            json!({ "sequence": receipt.sequence, "key_id": receipt.key_id, "at": receipt.at.to_string() })
        }),
        "tags": tags,
        "direction": copy.direction.as_str(),
    });
    if let Some(steps) = &copy.steps {
        let steps = steps.iter().map(|step| json!({ "at": step.at.to_string(), "name": step.name, "text": step.text }));
        value["steps"] = steps.collect();
    }
    value
}

fn end(end: &CopyEnd) -> Value {
    json!({
        "region": end.region.as_str(),
        "region_id": end.region_id.as_str(),
        "backup_id": end.backup_id.as_ref().map(|id| id.as_str()),
        "cluster_id": end.cluster_id.as_ref().map(|id| id.as_str()),
    })
}

#[cfg(test)]
mod tests {
    use strongroom_model::copy::CopyState;

    use super::super::tests::copy;
    use super::*;

    #[test]
    fn every_field_is_there() {
        let value: Value = serde_json::from_str(&list(&[copy(CopyState::Waiting)])).unwrap();
        assert_eq!(value["format"], "strongroom.copies/1");
        let fields: Vec<&String> = value["copies"][0].as_object().unwrap().keys().collect();
        let expected = "copy_id state overdue reason source destination requested_at requested_by request_id \
                        invocation_id backup_created_at deadline_at finished_at bytes_total bytes_sent chunks_total \
                        chunks_done attempts next_attempt_at digest receipt tags direction";
        assert_eq!(fields, expected.split_whitespace().collect::<Vec<_>>());
        assert_eq!(value["copies"][0]["requested_at"], "2026-11-24T09:14:07.439Z");
        assert_eq!(value["copies"][0]["reason"], Value::Null);
    }
}
