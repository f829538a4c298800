//! What the suites share: the folder of foreign vectors, tables that are made of the vectors' shapes, and sample values of
//! our own table.
#![allow(dead_code, reason = "each suite uses a part")]
#![allow(missing_docs, clippy::print_stdout, reason = "test code; a suite that is skipped says so")]

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use strongroom_model::shape::{
    Bounds, Constraints, Kind, Member, Name, OperationShape, Pattern, Shape, ShapeIndex, Table, TimestampFormat,
};
use strongroom_model::{Timestamp, Value};

/// A file of vectors, or `None` if there is none and it may be missing, which is then told.
pub fn vectors(file: &str) -> Option<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(_) => {
            assert!(std::env::var_os("CI").is_none(), "{} is missing, and under CI it must be there", path.display());
            println!("skipped: {} is not there; the golden files of this crate still hold", path.display());
            None
        }
    }
}

/// The cases of a suite that do not apply, each with its reason (`tests/ledger.json`). A listed case must fail: one that
/// passes has no place here.
pub struct Ledger {
    entries: Vec<(String, String)>,
    met: RefCell<HashSet<String>>,
}

impl Ledger {
    pub fn of(suite: &str) -> Self {
        let all: Vec<Json> = serde_json::from_str(include_str!("../ledger.json")).unwrap();
        let of_suite = all.iter().filter(|entry| entry["suite"] == suite);
        let entries = of_suite.map(|entry| (text(&entry["case"]), text(&entry["reason"]))).collect();
        Self { entries, met: RefCell::default() }
    }

    /// Takes the outcome of a case: whether it is to be counted as run.
    pub fn judge(&self, case: &str, outcome: Result<(), String>) -> bool {
        match (self.entries.iter().find(|(listed, _)| listed == case), outcome) {
            (None, Ok(())) => true,
            (None, Err(error)) => panic!("{case}: {error}"),
            (Some((_, reason)), Ok(())) => panic!("{case} passes, but the ledger says: {reason}"),
            (Some(_), Err(_)) => {
                self.met.borrow_mut().insert(case.to_owned());
                false
            }
        }
    }

    /// How many entries were met.
    pub fn met(&self) -> usize {
        self.met.borrow().len()
    }
}

/// The shapes of the Smithy suites, with the operations of all protocols, each under its protocol's name as the service.
pub fn smithy_table(shapes: &Json) -> Table {
    let declared = shapes["shapes"].as_object().unwrap().iter().map(|(id, shape)| smithy_shape(id, shape)).collect();
    let mut operations = Vec::new();
    for (protocol, parts) in shapes["protocols"].as_object().unwrap() {
        for (name, operation) in parts["operations"].as_object().unwrap() {
            let id = |key: &str| Name::from(operation[key].as_str().unwrap().to_owned());
            operations.push(OperationShape {
                service: protocol.clone().into(),
                name: name.clone().into(),
                input: id("input"),
                output: id("output"),
                errors: operation["errors"].as_array().unwrap().iter().map(|e| text(e).into()).collect(),
            });
        }
    }
    Table::build(declared, operations).unwrap()
}

fn smithy_shape(id: &str, shape: &Json) -> Shape<Name> {
    let sparse = shape["sparse"] == true;
    let member = |name: &str| smithy_member(name, &shape["members"][name]);
    let members = || shape["members"].as_object().unwrap().iter().map(|(n, m)| smithy_member(n, m)).collect();
    let kind = match shape["kind"].as_str().unwrap() {
        "unit" => Kind::Unit,
        "boolean" => Kind::Boolean,
        "byte" => Kind::Byte,
        "short" => Kind::Short,
        "integer" => Kind::Integer,
        "long" => Kind::Long,
        "intEnum" => {
            Kind::IntEnum(shape["values"].as_object().unwrap().values().map(|v| v.as_i64().unwrap()).collect())
        }
        "float" => Kind::Float,
        "double" => Kind::Double,
        "blob" => Kind::Blob,
        "string" => match shape["enum"].as_array() {
            Some(values) => Kind::Enum(values.iter().map(|v| text(v).into()).collect()),
            None => Kind::String,
        },
        "enum" => Kind::Enum(shape["values"].as_object().unwrap().values().map(|v| text(v).into()).collect()),
        "timestamp" => Kind::Timestamp(timestamp_format(shape).unwrap_or(TimestampFormat::EpochSeconds)),
        "document" => Kind::Document,
        "list" => Kind::List { member: member("member"), sparse },
        "map" => Kind::Map { key: member("key"), value: member("value"), sparse },
        "structure" => Kind::Structure(members()),
        "union" => Kind::Union(members()),
        other => panic!("{id}: {other}"),
    };
    Shape { name: id.to_owned().into(), kind, constraints: constraints(shape) }
}

fn smithy_member(name: &str, member: &Json) -> Member<Name> {
    Member {
        required: member["required"] == true,
        timestamp_format: timestamp_format(member),
        constraints: constraints(member),
        ..Member::new(name.to_owned(), text(&member["target"]).into())
    }
}

fn timestamp_format(traits: &Json) -> Option<TimestampFormat> {
    Some(match traits["timestampFormat"].as_str()? {
        "epoch-seconds" => TimestampFormat::EpochSeconds,
        "date-time" => TimestampFormat::DateTime,
        "http-date" => TimestampFormat::HttpDate,
        other => panic!("{other}"),
    })
}

fn constraints(traits: &Json) -> Constraints {
    let bound = |of: &str, end: &str| traits[of][end].as_f64();
    let length = |end| bound("length", end).map(|n| n as usize);
    Constraints {
        length: Bounds { min: length("min"), max: length("max") },
        range: Bounds { min: bound("range", "min"), max: bound("range", "max") },
        pattern: traits["pattern"].as_str().map(|p| Arc::new(Pattern::new(p.to_owned()))),
    }
}

pub fn text(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}

/// A value that is valid everywhere in our table and has every member (or only the required ones).
pub fn sample(table: &Table, index: ShapeIndex, all: bool) -> Value {
    let shape = &table[index];
    match &shape.kind {
        Kind::Unit => Value::Structure(vec![]),
        Kind::Boolean => Value::Boolean(true),
        Kind::Byte | Kind::Short | Kind::Integer | Kind::Long | Kind::IntEnum(_) => {
            Value::Integer(shape.constraints.range.min.map_or(21, |min| (min as i64).max(21)))
        }
        Kind::Float | Kind::Double => Value::Float(0.5),
        Kind::Blob => Value::Blob(vec![1, 2, 3]),
        Kind::String => Value::String(sample_text(&shape.name).to_owned()),
        Kind::Enum(values) => Value::String(values[0].to_string()),
        Kind::Timestamp(_) => Value::Timestamp(Timestamp::from_millis(1_795_511_647_120)),
        Kind::Document => Value::Null,
        Kind::List { member, .. } => Value::List(vec![sample(table, member.target, all)]),
        Kind::Map { key, value, .. } => {
            let key = sample(table, key.target, all).as_str().unwrap().to_owned();
            Value::Map(vec![(key, sample(table, value.target, all))])
        }
        Kind::Structure(members) | Kind::Union(members) => {
            let members = members.iter().filter(|m| all || m.required);
            Value::Structure(members.map(|m| (m.name.clone(), sample(table, m.target, all))).collect())
        }
    }
}

fn sample_text(shape: &str) -> &'static str {
    match shape {
        "BackupArn" | "CloudHsmArn" => "arn:aws:cloudhsm:us-east-1:000000000000:backup/backup-5tptus75gbc",
        "BackupId" => "backup-5tptus75gbc",
        "BackupRetentionValue" => "90",
        "Cert" => "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "ResourceARN" => "arn:aws:cloudhsm:us-east-1:000000000000:cluster/cluster-mrq6aozbe5s",
        "AmazonResourceType" => "cloudhsm:cluster",
        "ClusterId" | "ResourceId" => "cluster-mrq6aozbe5s",
        "CopyId" => "copy-7xa3l3fvxrr",
        "Digest" => "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "EniId" => "eni-0123456789abcdef0",
        "ExternalAz" => "us-east-1a",
        "Field" => "states",
        "HsmId" => "hsm-laci57k43pe",
        "HsmType" => "hsm2m.medium",
        "IpAddress" => "127.94.17.16",
        "IpV6Address" => "2001:db8::1",
        "Region" => "eu-west-1",
        "RegionId" => "abcdefghijklmnopqrstuvwxyz",
        "ResourcePolicy" => r#"{"Version":"2012-10-17"}"#,
        "SecurityGroup" => "sg-0123456789abcdef0",
        "SubnetId" => "subnet-0123456789abcdef0",
        "VpcId" => "vpc-0123456789abcdef0",
        "NextToken" | "PaginationToken" | "PreCoPassword" | "StateMessage" | "String" => "some \"text\" é",
        "TagKey" | "TagValue" => "clé:1 +/=@",
        other => panic!("no sample of {other}"),
    }
}
