//! The same calls, drawn from a seed, valid and not, sent in JSON to one region and in CBOR to its twin: each answer is the
//! other's. The twins begin with the same rows and draw the same ids; no job runs, since their pace is that of years.
//! `STRONGROOM_DIFFERENTIAL` says how many calls are made, `STRONGROOM_SEED` from where.

#![allow(clippy::print_stdout, reason = "it says how many calls there were, and of which outcomes")]

mod support;

use std::collections::HashMap;

use strongroom_engine::ports::Facts;
use strongroom_engine::{Pace, Settings};
use strongroom_model::backup::BackupState;
use strongroom_model::cluster::ClusterState;
use strongroom_model::hsm::HsmState;
use strongroom_model::shape::{Kind, ShapeIndex};
use strongroom_model::{
    AccountId, BackupId, BlobId, ClusterId, EniId, HsmId, Operation, RegionName, SubnetId, Timestamp, Value, VpcId,
    table,
};
use strongroom_store::control::backups::{self, Backup, Origin};
use strongroom_store::control::blobs;
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::control::hsms::{self, Hsm};
use strongroom_store::{StoreError, Tx};
use strongroom_wire::Protocol;

use support::draw::{Draw, id};
use support::fault::Faults;
use support::host::VaultCluster;
use support::wire::{Refused, send};
use support::{NAMES, TestRng, World};

/// How many things of each kind the twins begin with.
const THINGS: usize = 40;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_call_in_json_and_in_cbor_has_one_answer() {
    let (count, seed) = (from_environment("STRONGROOM_DIFFERENTIAL", 3_000), from_environment("STRONGROOM_SEED", 1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut json, mut cbor) = (Twin::start(Protocol::AwsJson11).await, Twin::start(Protocol::RpcV2Cbor).await);
        let mut draw = Draw(seed);
        let mut outcomes = HashMap::<String, usize>::new();
        // What the audit trail holds at a moment is a matter of time, and its ids are drawn: two worlds differ in it.
        let operations: Vec<_> = Operation::ALL.iter().filter(|o| **o != Operation::ListAuditEvents).copied().collect();
        for n in 0..count {
            let operation = draw.one(&operations);
            let request = request(&mut draw, operation);
            // Lists go by time: what is made by two calls is of two times in both worlds.
            json.world.clock.advance(2);
            cbor.world.clock.advance(2);
            let [ours, theirs] = [json.ask(operation, &request).await, cbor.ask(operation, &request).await];
            assert_eq!(ours, theirs, "call {n} of seed {seed}: {operation:?} {request:?}");
            *outcomes.entry(ours.err().map_or_else(|| "success".to_owned(), |(_, name, _)| name)).or_default() += 1;
        }
        println!("{count} calls of seed {seed}, no difference: {outcomes:?}");
        // A share of each, or the draws are of no use.
        for name in [
            "success",
            "CloudHsmInvalidRequestException",
            "CloudHsmResourceNotFoundException",
            "SerializationException",
        ] {
            assert!(outcomes.get(name).is_some_and(|times| *times as u64 * 50 > count), "{name}: {outcomes:?}");
        }
        assert!(!outcomes.contains_key("CloudHsmInternalFailureException"), "{outcomes:?}");
    });
}

/// A region that is asked in one protocol.
struct Twin {
    world: World,
    protocol: Protocol,
    /// The last token that an operation gave.
    tokens: HashMap<Operation, String>,
}

/// A success with its times and tokens covered, or a refusal; that of a body which cannot be read without its sentence,
/// since that names the place in the bytes.
type Outcome = Result<Value, (u16, String, String)>;

impl Twin {
    async fn start(protocol: Protocol) -> Self {
        let years = |settings: &mut Settings| settings.pace = Pace::Aws(1e6);
        let world = World::start_on(TestRng::seeded(9), Faults::new(None), 1, years).await;
        world.write(0, |tx| seed_rows(tx));
        for n in 0..THINGS {
            world.vaults[0].clusters.lock().unwrap().insert(ClusterId::new(id("cluster-", n)), VaultCluster::Made);
        }
        Self { world, protocol, tokens: HashMap::new() }
    }

    async fn ask(&mut self, operation: Operation, request: &Value) -> Outcome {
        let request = with_token(request.clone(), self.tokens.get(&operation));
        let body = match self.protocol {
            Protocol::AwsJson11 => serde_json::to_vec(&json_of(&request)).unwrap(),
            Protocol::RpcV2Cbor => {
                let mut bytes = Vec::new();
                cbor_of(&request, &mut minicbor::Encoder::new(&mut bytes));
                bytes
            }
        };
        match send(&self.world, 0, self.protocol, operation, &body).await {
            Ok(reply) => {
                let value = reply.into_value();
                if let Some(token) = value_at(&value, &["NextToken", "PaginationToken"]) {
                    self.tokens.insert(operation, token);
                }
                Ok(covered(value))
            }
            Err(Refused { status, name, message }) => {
                let told = name != "SerializationException";
                let message = message.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
                Err((status, name, message.filter(|_| told).collect()))
            }
        }
    }
}

/// Clusters and backups in every state, some with HSMs.
fn seed_rows(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let mut draw = Draw(3);
    let at = |n: usize| Timestamp::from_millis(1_795_000_000_000 + 1_000 * n as i64);
    for n in 0..THINGS {
        let state = draw.one(ClusterState::ALL);
        let cluster_id = ClusterId::new(id("cluster-", n));
        let subnets = [(format!("{}a", NAMES[0]), SubnetId::new(format!("subnet-0000000{}", n % 10)))];
        clusters::insert(
            tx,
            &Cluster {
                cluster_id: cluster_id.clone(),
                account: AccountId::new("000000000000"),
                state: if state == ClusterState::Degraded { ClusterState::Active } else { state },
                hsm_type: "hsm2m.medium".into(),
                vpc_id: VpcId::new("vpc-00000001"),
                subnets: std::collections::BTreeMap::from(subnets.clone()).into(),
                retention_days: 90,
                create_ts: at(n),
                csr: (state == ClusterState::Uninitialized).then(|| format!("csr of {cluster_id}")),
                deleted_at: (state == ClusterState::Deleted).then(|| at(n)),
                ..Cluster::default()
            },
        )?;
        let is_live = !matches!(state, ClusterState::CreateInProgress | ClusterState::Deleted);
        if is_live && draw.chance(60) {
            let row = Hsm {
                hsm_id: HsmId::new(id("hsm-", n)),
                cluster_id,
                state: draw.one(&[HsmState::Active, HsmState::Active, HsmState::CreateInProgress]),
                state_message: None,
                az: subnets[0].0.clone(),
                subnet_id: subnets[0].1.clone(),
                eni_id: EniId::new(format!("eni-{n:08x}")),
                eni_ip: format!("127.94.17.{}", 20 + n),
            };
            hsms::insert(tx, &row)?;
        }
    }
    for n in 0..THINGS {
        seed_backup(tx, n, at(n), draw.one(BackupState::ALL), draw.chance(30))?;
    }
    Ok(())
}

fn seed_backup(tx: &mut dyn Tx, n: usize, at: Timestamp, state: BackupState, copied: bool) -> Result<(), StoreError> {
    let facts = Facts {
        origin: "region".into(),
        backup: id("backup-", n),
        cluster: id("cluster-", n % 7),
        lineage: "lineage".into(),
        mode: "FIPS".into(),
        hsm_type: "hsm2m.medium".into(),
        created_at: at.millis(),
        users: 1,
        keys: 1,
        bytes: 9,
        chunk_size: 1_048_576,
        chunk_digests: vec![n as u8; 32],
        digest: [n as u8; 32],
        cluster_certificate: "certificate".into(),
    };
    let blob_id = BlobId::from_bytes([n as u8; 17]);
    blobs::insert_writing(tx, &blob_id, "a test", 0)?;
    let chunk = blobs::ChunkRow { n: 0, digest: vec![n as u8; 32], length: 9 };
    blobs::durable(tx, &blob_id, Some(b"123456789"), &[chunk])?;
    let bytes = facts.to_bytes();
    backups::insert(
        tx,
        &Backup {
            backup_id: BackupId::new(id("backup-", n)),
            account: AccountId::new("000000000000"),
            origin: if copied { Origin::Copy } else { Origin::Local },
            state,
            cluster_id: (!copied).then(|| ClusterId::new(id("cluster-", n % 7))),
            cause: (!copied).then(|| format!("daily:{n}")),
            source_region: copied.then(|| RegionName::new("eu-west-1")),
            source_region_id: copied.then(|| strongroom_model::RegionId::from_bytes([2; 17])),
            source_backup_id: copied.then(|| BackupId::new(id("backup-", n % 5))),
            source_cluster_id: copied.then(|| ClusterId::new(id("cluster-", n % 7))),
            copy_id: copied.then(|| strongroom_model::CopyId::from_bytes([n as u8; 7])),
            hsm_type: "hsm2m.medium".into(),
            create_ts: at,
            delete_at: (state == BackupState::PendingDeletion).then(|| Timestamp::from_millis(4_000_000_000_000)),
            never_expires: n.is_multiple_of(3),
            blob_id: Some(blob_id),
            digest: Some(vec![n as u8; 32]),
            body: Some(bytes.clone()),
            header: Some(vec![1]),
            listing: Some(bytes.clone()),
            facts: Some(bytes),
            opened_at: Some(at),
            ..Backup::default()
        },
    )
}

/// An input of an operation: of its shape, and then, often, not any more.
fn request(draw: &mut Draw, operation: Operation) -> Value {
    let api = table::api();
    let mut value = input(draw, api.find(operation.input()).unwrap());
    if draw.chance(25)
        && let Value::Structure(members) = &mut value
    {
        match draw.below(4) {
            0 if !members.is_empty() => {
                let at = draw.below(members.len());
                members.remove(at);
            }
            1 => members.push(("Unknown".into(), anything(draw, 0))),
            _ if !members.is_empty() => {
                let at = draw.below(members.len());
                members[at].1 = anything(draw, 0);
            }
            _ => {}
        }
    }
    value
}

/// Anything at all.
fn anything(draw: &mut Draw, depth: usize) -> Value {
    match draw.below(if depth > 2 { 5 } else { 8 }) {
        0 => Value::Boolean(draw.chance(50)),
        1 => Value::Integer(draw.one(&[-1, 0, 1, 26, 51, 101, 1_000_000, i64::MAX, i64::MIN])),
        2 => Value::String(draw.one(&["", "x", "cluster-aaaaaaaaaaa", "é\n\"", "true", "1"]).to_owned()),
        3 => Value::Null,
        4 => Value::Float(draw.one(&[0.5, -1.5, 1e30])),
        5 => Value::List((0..draw.below(3)).map(|_| anything(draw, depth + 1)).collect()),
        6 => Value::Map((0..draw.below(3)).map(|n| (format!("k{n}"), anything(draw, depth + 1))).collect()),
        _ => Value::Structure(vec![
            ("Key".into(), anything(draw, depth + 1)),
            ("Value".into(), anything(draw, depth + 1)),
        ]),
    }
}

/// A value of a shape; now and then one that breaks a constraint.
fn input(draw: &mut Draw, index: ShapeIndex) -> Value {
    let api = table::api();
    let shape = &api[index];
    match &shape.kind {
        Kind::Structure(members) => {
            let present: Vec<_> = members.iter().filter(|m| draw.chance(if m.required { 97 } else { 45 })).collect();
            Value::Structure(present.into_iter().map(|m| (m.name.clone(), input(draw, m.target))).collect())
        }
        Kind::List { member, .. } => {
            let count = draw.one(&[0, 1, 1, 1, 2, 3]);
            Value::List((0..count).map(|_| input(draw, member.target)).collect())
        }
        Kind::Map { key, value, .. } => {
            let count = draw.one(&[0, 1, 1, 2]);
            let mut entries = std::collections::BTreeMap::new();
            for _ in 0..count {
                let Value::String(key) = input(draw, key.target) else { continue };
                entries.insert(key, input(draw, value.target));
            }
            Value::Map(entries.into_iter().collect())
        }
        Kind::Enum(values) => Value::String(if draw.chance(95) { draw.one(values).to_string() } else { "X".into() }),
        Kind::Boolean => Value::Boolean(draw.chance(50)),
        Kind::Integer | Kind::Long => Value::Integer(draw.one(&[1, 2, 5, 25, 50, 100, 0, 101])),
        _ => Value::String(text(draw, &shape.name)),
    }
}

/// A text that means something, or only looks as if it did.
fn text(draw: &mut Draw, shape: &str) -> String {
    let n = draw.below(THINGS + 2);
    let (account, region) = ("000000000000", NAMES[0]);
    match shape {
        _ if draw.chance(3) => draw.one(&["", "x", "é", &"a".repeat(300)]).to_owned(),
        "ClusterId" => id("cluster-", n),
        "BackupId" => id("backup-", n),
        "BackupArn" if draw.chance(50) => id("backup-", n),
        "HsmId" => id("hsm-", n),
        "ResourceId" => id(draw.one(&["cluster-", "backup-"]), n),
        "BackupArn" => format!("arn:aws:cloudhsm:{region}:{account}:backup/{}", id("backup-", n)),
        "CloudHsmArn" | "ResourceARN" => {
            let kind = draw.one(&["backup", "backup", "cluster"]);
            format!("arn:aws:cloudhsm:{region}:{account}:{kind}/{}", id(&format!("{kind}-"), n))
        }
        "CopyId" => id("copy-", n),
        "EniId" => format!("eni-{n:08x}"),
        "ExternalAz" => format!("{region}{}", draw.one(&["a", "b", "z"])),
        "Field" => draw
            .one(&["clusterIds", "backupIds", "states", "vpcIds", "neverExpires", "sourceBackupIds", "other"])
            .to_owned(),
        "HsmType" => draw.one(&["hsm2m.medium", "hsm2m.medium", "hsm1.medium", "hsm9.large"]).to_owned(),
        "IpAddress" => format!("127.94.17.{}", 20 + n),
        "NextToken" | "PaginationToken" => draw.one(&[TOKEN, TOKEN, TOKEN, "none of ours"]).to_owned(),
        "Region" => draw.one(&["eu-west-1", "eu-west-1", "us-east-1", "mars-north-1"]).to_owned(),
        "ResourcePolicy" => draw.one(&["{}", "{", POLICY]).to_owned(),
        "BackupRetentionValue" => draw.one(&["7", "90", "379", "380", "6"]).to_owned(),
        "Cert" => draw.one(&["anchor", "signed csr of nobody"]).to_owned(),
        "SubnetId" => format!("subnet-0000000{}", n % 10),
        "VpcId" => "vpc-00000001".to_owned(),
        "TagKey" => draw.one(&["a", "b", "owner", "aws:x", "ключ"]).to_owned(),
        "TagValue" => draw.one(&["", "1", "значение"]).to_owned(),
        "AmazonResourceType" => draw.one(&["cloudhsm", "cloudhsm:cluster", "cloudhsm:backup", "ec2"]).to_owned(),
        // The values of filters.
        _ => draw.one(&[id("cluster-", n), id("backup-", n), "READY".into(), "ACTIVE".into(), "True".into()]),
    }
}

/// Stands for the last token that the operation gave, which is another in each region.
const TOKEN: &str = "the last token";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"cloudhsm:DescribeBackups","Resource":"*"}]}"#;

fn with_token(mut value: Value, token: Option<&String>) -> Value {
    if let Value::Structure(members) = &mut value {
        for (_, member) in members.iter_mut() {
            if matches!(member, Value::String(text) if text == TOKEN) {
                *member = Value::String(token.cloned().unwrap_or_else(|| TOKEN.to_owned()));
            }
        }
    }
    value
}

fn value_at(value: &Value, names: &[&str]) -> Option<String> {
    let Value::Structure(members) = value else { return None };
    let found = members.iter().find(|(name, _)| names.contains(&&**name));
    found.and_then(|(_, value)| value.as_str().map(str::to_owned))
}

/// Times and tokens are only there or not.
fn covered(value: Value) -> Value {
    match value {
        Value::Timestamp(_) => Value::Timestamp(Timestamp::from_millis(0)),
        Value::Structure(members) => Value::Structure(
            members
                .into_iter()
                .map(|(name, value)| match (&*name, value) {
                    ("NextToken" | "PaginationToken", Value::String(text)) => {
                        let told = if text.is_empty() { "" } else { TOKEN };
                        (name, Value::String(told.to_owned()))
                    }
                    (_, value) => (name, covered(value)),
                })
                .collect(),
        ),
        Value::List(elements) => Value::List(elements.into_iter().map(covered).collect()),
        Value::Map(entries) => Value::Map(entries.into_iter().map(|(key, value)| (key, covered(value))).collect()),
        other => other,
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::List(elements) => elements.iter().map(json_of).collect(),
        Value::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), json_of(value))).collect(),
        Value::Structure(members) => members.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect(),
        other => panic!("{other:?} is in no request"),
    }
}

fn cbor_of(value: &Value, encoder: &mut minicbor::Encoder<&mut Vec<u8>>) {
    match value {
        Value::Null => drop(encoder.null().unwrap()),
        Value::Boolean(value) => drop(encoder.bool(*value).unwrap()),
        Value::Integer(value) => drop(encoder.i64(*value).unwrap()),
        Value::Float(value) => drop(encoder.f64(*value).unwrap()),
        Value::String(text) => drop(encoder.str(text).unwrap()),
        Value::List(elements) => {
            encoder.array(elements.len() as u64).unwrap();
            elements.iter().for_each(|element| cbor_of(element, encoder));
        }
        Value::Map(entries) => {
            encoder.map(entries.len() as u64).unwrap();
            for (key, value) in entries {
                encoder.str(key).unwrap();
                cbor_of(value, encoder);
            }
        }
        Value::Structure(members) => {
            encoder.map(members.len() as u64).unwrap();
            for (name, value) in members {
                encoder.str(name).unwrap();
                cbor_of(value, encoder);
            }
        }
        other => panic!("{other:?} is in no request"),
    }
}
