//! Holds the table against the records of this crate and, where it is there, against AWS's public model.

#![allow(clippy::print_stdout, reason = "a suite that is skipped says so")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;

use super::*;
use crate::{audit, backup, call, cluster, copy, hsm, subnet, tag};

fn names(shape: &str) -> Vec<&'static str> {
    let index = api().find(shape).unwrap_or_else(|| panic!("the table has no {shape}"));
    api()[index].members().iter().map(|m| &*m.name).collect()
}

#[test]
fn records_have_the_members_of_the_table_in_its_order() {
    let nested = [
        ("AuditEvent", audit::AuditEvent::MEMBERS),
        ("AuditSignature", audit::AuditSignature::MEMBERS),
        ("Backup", backup::Backup::MEMBERS),
        ("BackupContent", copy::BackupContent::MEMBERS),
        ("BackupRetentionPolicy", cluster::BackupRetentionPolicy::MEMBERS),
        ("Certificates", cluster::Certificates::MEMBERS),
        ("Cluster", cluster::Cluster::MEMBERS),
        ("Copy", copy::Copy::MEMBERS),
        ("CopyEnd", copy::CopyEnd::MEMBERS),
        ("CopyReason", copy::CopyReason::MEMBERS),
        ("CopyReceipt", copy::CopyReceipt::MEMBERS),
        ("CopyStep", copy::CopyStep::MEMBERS),
        ("DestinationBackup", backup::DestinationBackup::MEMBERS),
        ("Hsm", hsm::Hsm::MEMBERS),
        ("HsmEndpoint", copy::HsmEndpoint::MEMBERS),
        ("Subnet", subnet::Subnet::MEMBERS),
        ("Tag", tag::Tag::MEMBERS),
    ];
    for (shape, members) in call::record_members().into_iter().chain(nested) {
        assert_eq!(names(shape), members, "{shape}");
    }
}

#[test]
fn enums_have_the_values_of_the_table() {
    macro_rules! check {
        ($($path:ident :: $name:ident),+) => {$({
            let Kind::Enum(values) = &api()[api().find(stringify!($name)).unwrap()].kind else {
                panic!("{} is no enum", stringify!($name));
            };
            assert_eq!(*values, $path::$name::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>(), stringify!($name));
        })+};
    }
    check!(backup::BackupState, cluster::BackupPolicy, cluster::BackupRetentionType, cluster::ClusterMode);
    check!(cluster::ClusterState, cluster::NetworkType, copy::CopyDirection, copy::CopyState, hsm::HsmState);
}

#[test]
fn every_pattern_compiles() {
    for pattern in api().shapes().iter().filter_map(|s| s.constraints.pattern.as_ref()) {
        pattern.matches("");
    }
}

#[test]
fn every_shape_is_used() {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<_> =
        api().operations().iter().flat_map(|o| [o.input, o.output].into_iter().chain(o.errors.clone())).collect();
    while let Some(index) = open.pop() {
        let shape = &api()[index];
        if used.insert(&shape.name) {
            open.extend(shape.members().iter().map(|m| m.target));
            match &shape.kind {
                Kind::List { member, .. } => open.push(member.target),
                Kind::Map { key, value, .. } => open.extend([key.target, value.target]),
                _ => {}
            }
        }
    }
    assert_eq!(used, api().shapes().iter().map(|s| &*s.name).collect());
}

#[test]
fn deviations_are_deviations() {
    for d in DEVIATIONS {
        let pattern = api()[api().find(d.shape).unwrap()].constraints.pattern.clone().unwrap();
        assert_ne!(pattern.as_str(), d.pattern, "{}", d.shape);
    }
}

#[test]
fn agrees_with_the_public_model() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/facts/model.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("CI").is_none(), "{} is missing, and under CI it must be there", path.display());
        println!("skipped: {} is not there, so the table is not compared", path.display());
        return;
    };
    let model: Json = serde_json::from_str(&text).unwrap();
    let theirs = model["shapes"].as_object().unwrap();
    let ours: BTreeSet<&str> = cloudhsm_shapes().collect();
    assert_eq!(theirs.keys().map(String::as_str).collect::<BTreeSet<_>>(), ours);
    for (name, shape) in theirs {
        assert_eq!(describe_theirs(name, shape), describe_ours(&api()[api().find(name).unwrap()]), "{name}");
    }
    for (name, operation) in model["operations"].as_object().unwrap() {
        let ours = api().operation("BaldrApiService", name).unwrap();
        assert_eq!(operation["input"]["shape"], *api()[ours.input].name, "{name}");
        assert_eq!(operation["output"]["shape"], *api()[ours.output].name, "{name}");
        let theirs = operation["errors"].as_array().unwrap().iter().map(|e| e["shape"].as_str().unwrap());
        let ours = ours.errors.iter().map(|e| &*api()[*e].name);
        assert_eq!(theirs.collect::<BTreeSet<_>>(), ours.collect(), "{name}");
    }
}

fn describe_theirs(name: &str, shape: &Json) -> String {
    let number = |key: &str| shape.get(key).map(|n| n.as_f64().unwrap());
    let pattern = shape.get("pattern").map(|p| p.as_str().unwrap());
    let deviation = DEVIATIONS.iter().find(|d| d.shape == name);
    assert!(deviation.is_none_or(|d| Some(d.pattern) == pattern), "{name}: the model has changed");
    let required = |member: &str| shape["required"].as_array().is_some_and(|r| r.iter().any(|n| n == member));
    let kind = match (shape["type"].as_str().unwrap(), shape.get("enum")) {
        ("structure", _) => {
            let members = shape["members"].as_object().unwrap();
            members.iter().map(|(n, m)| format!(" {n} {} {}", m["shape"].as_str().unwrap(), required(n))).collect()
        }
        ("list", _) => format!("list of {}", shape["member"]["shape"].as_str().unwrap()),
        ("map", _) => {
            format!("map {} {}", shape["key"]["shape"].as_str().unwrap(), shape["value"]["shape"].as_str().unwrap())
        }
        ("string", Some(values)) => {
            values.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned() + " ").collect()
        }
        (other, _) => other.to_owned(),
    };
    let pattern = if deviation.is_some() { None } else { pattern };
    format!("{kind}; {:?} {:?} {pattern:?}", number("min"), number("max"))
}

fn describe_ours(shape: &Shape) -> String {
    let name = |index| &*api()[index].name;
    let kind = match &shape.kind {
        Kind::Structure(ms) => ms.iter().map(|m| format!(" {} {} {}", m.name, name(m.target), m.required)).collect(),
        Kind::List { member, .. } => format!("list of {}", name(member.target)),
        Kind::Map { key, value, .. } => format!("map {} {}", name(key.target), name(value.target)),
        Kind::Enum(values) => values.iter().map(|v| format!("{v} ")).collect(),
        other => format!("{other:?}").split('(').next().unwrap().to_lowercase(),
    };
    let c = &shape.constraints;
    let either = |length: Option<usize>, range: Option<f64>| length.map(|n| n as f64).or(range);
    let deviates = DEVIATIONS.iter().any(|d| d.shape == shape.name);
    let pattern = c.pattern.as_ref().filter(|_| !deviates).map(|p| p.as_str());
    format!("{kind}; {:?} {:?} {pattern:?}", either(c.length.min, c.range.min), either(c.length.max, c.range.max))
}
