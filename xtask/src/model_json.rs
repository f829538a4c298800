//! Holds our table of shapes against AWS's public service model, where a copy of it lies beside this checkout: operations,
//! their shapes and errors, members and whether they are required, values, bounds, patterns.

use std::collections::BTreeSet;

use serde_json::Value;
use strongroom_model::shape::{Kind, Shape, ShapeIndex};
use strongroom_model::table::{DEVIATIONS, api, cloudhsm_shapes};
use strongroom_model::{Operation, Service};

use crate::Findings;

/// Every difference that is not a deviation on purpose.
pub fn differences(model: &Value) -> Findings {
    let mut findings = operations(model);
    let theirs: BTreeSet<&str> = object(&model["shapes"]).map(|(name, _)| name).collect();
    let ours: BTreeSet<&str> = cloudhsm_shapes().collect();
    findings.extend(theirs.difference(&ours).map(|name| format!("the model has the shape {name}, the table has not")));
    findings.extend(ours.difference(&theirs).map(|name| format!("the table has the shape {name}, the model has not")));
    for name in ours.intersection(&theirs) {
        let Some(index) = api().find(name) else { continue };
        let (theirs, ours) = (describe_theirs(name, &model["shapes"][*name]), describe_ours(&api()[index]));
        if theirs != ours {
            findings.push(format!("the shape {name} is {theirs} in the model and {ours} in the table"));
        }
    }
    findings
}

fn operations(model: &Value) -> Findings {
    let theirs: BTreeSet<&str> = object(&model["operations"]).map(|(name, _)| name).collect();
    let cloudhsm = Operation::ALL.iter().filter(|o| o.service() == Service::CloudHsm);
    let ours: BTreeSet<&str> = cloudhsm.map(|o| o.name()).collect();
    let mut findings: Findings = theirs
        .symmetric_difference(&ours)
        .map(|name| format!("{name} is in the model or in the table, not in both"))
        .collect();
    for (name, operation) in object(&model["operations"]) {
        let Some(ours) = api().operation(Service::CloudHsm.shape_name(), name) else { continue };
        for (what, index) in [("input", ours.input), ("output", ours.output)] {
            if operation[what]["shape"] != *shape_name(index) {
                findings.push(format!("{name}: its {what} is {} in the model", operation[what]["shape"]));
            }
        }
        let theirs: BTreeSet<&str> =
            operation["errors"].as_array().into_iter().flatten().filter_map(|e| e["shape"].as_str()).collect();
        let ours: BTreeSet<&str> = ours.errors.iter().map(|e| shape_name(*e)).collect();
        findings.extend(theirs.symmetric_difference(&ours).map(|e| format!("{name}: the error {e} is not in both")));
    }
    findings
}

fn describe_theirs(name: &str, shape: &Value) -> String {
    let is_required = |member: &str| shape["required"].as_array().is_some_and(|r| r.iter().any(|n| n == member));
    let target = |value: &Value| value["shape"].as_str().unwrap_or_default().to_owned();
    let kind = match (shape["type"].as_str().unwrap_or_default(), shape["enum"].as_array()) {
        ("structure", _) => {
            object(&shape["members"]).map(|(n, m)| format!("{n}:{}:{} ", target(m), is_required(n))).collect()
        }
        ("list", _) => format!("list of {}", target(&shape["member"])),
        ("map", _) => format!("map of {} to {}", target(&shape["key"]), target(&shape["value"])),
        ("string", Some(values)) => values.iter().filter_map(Value::as_str).map(|v| format!("{v} ")).collect(),
        (other, _) => other.to_owned(),
    };
    let deviates = |pattern: &str| DEVIATIONS.iter().any(|d| d.shape == name && d.pattern == pattern);
    let pattern = shape["pattern"].as_str().filter(|pattern| !deviates(pattern));
    format!("{kind} {:?} {:?} {pattern:?}", shape["min"].as_f64(), shape["max"].as_f64())
}

fn describe_ours(shape: &Shape) -> String {
    let kind = match &shape.kind {
        Kind::Structure(members) => {
            members.iter().map(|m| format!("{}:{}:{} ", m.name, shape_name(m.target), m.required)).collect()
        }
        Kind::List { member, .. } => format!("list of {}", shape_name(member.target)),
        Kind::Map { key, value, .. } => format!("map of {} to {}", shape_name(key.target), shape_name(value.target)),
        Kind::Enum(values) => values.iter().map(|v| format!("{v} ")).collect(),
        scalar => format!("{scalar:?}").split('(').next().unwrap_or_default().to_lowercase(),
    };
    let bounds = &shape.constraints;
    let either = |length: Option<usize>, range: Option<f64>| length.map(|n| n as f64).or(range);
    let (min, max) = (either(bounds.length.min, bounds.range.min), either(bounds.length.max, bounds.range.max));
    let deviates = DEVIATIONS.iter().any(|d| d.shape == &*shape.name);
    let pattern = bounds.pattern.as_ref().map(|p| p.as_str()).filter(|_| !deviates);
    format!("{kind} {min:?} {max:?} {pattern:?}")
}

fn shape_name(index: ShapeIndex) -> &'static str {
    &api()[index].name
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A model with one operation, and all that it lacks is found.
    #[test]
    fn differences_are_named() {
        let model = json!({
            "operations": {"DeleteBackup": {"input": {"shape": "Other"}, "output": {"shape": "DeleteBackupResponse"}}},
            "shapes": {"BackupId": {"type": "string", "pattern": "b"}, "New": {"type": "string"}},
        });
        let found = differences(&model);
        let has = |text: &str| found.iter().any(|f| f.contains(text));
        assert!(has("CopyBackupToRegion is in the model or in the table, not in both"), "{found:?}");
        assert!(has("DeleteBackup: its input is \"Other\" in the model"));
        assert!(has("DeleteBackup: the error CloudHsmServiceException is not in both"));
        assert!(has("the model has the shape New"));
        assert!(has("the table has the shape Tag,"));
        assert!(has("the shape BackupId is string None None Some(\"b\") in the model"));
    }
}
