//! Recorded answers of real AWS: the same state is built through the API, the same calls are made, and each answer has the
//! same members, types, values and order. What may differ stands in `recordings.json` with its reason; an entry that no
//! recording needs fails the run. Where the recordings are not beside the checkout, nothing is compared, and that is told.

#![allow(clippy::print_stdout, reason = "a suite that is skipped says so")]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value as Json, json};
use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::time::{DAY, HOUR, SECOND};
use strongroom_model::{AccountId, BackupId, ClusterId, RegionName, SubnetId, Tag, Value};

use support::World;
use support::clusters::*;
use support::fault::Faults;

/// The recordings, and what was needed of the ledger.
struct Recordings {
    ledger: Vec<Json>,
    used: RefCell<HashSet<usize>>,
    compared: RefCell<usize>,
}

/// One recording against one answer.
struct Comparison<'a> {
    recordings: &'a Recordings,
    recording: &'a str,
    /// Ids of the recording and what stands for them here, and back.
    known: &'a mut HashMap<String, String>,
}

impl Recordings {
    fn open() -> Option<Self> {
        if !folder().is_dir() {
            assert!(std::env::var_os("CI").is_none(), "the recordings are missing, and under CI they must be there");
            println!("skipped: {} is not there", folder().display());
            return None;
        }
        let ledger = serde_json::from_str(include_str!("recordings.json")).unwrap();
        Some(Self { ledger, used: RefCell::default(), compared: RefCell::default() })
    }

    /// Holds an answer against a recording; `known` goes on from call to call of one state.
    fn compare(&self, recording: &str, reply: Reply, known: &mut HashMap<String, String>) {
        let text = std::fs::read_to_string(folder().join(format!("{recording}.json"))).unwrap();
        let mut recorded: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(recorded["status_code"], 200);
        let mut data = recorded["data"].take();
        data.as_object_mut().unwrap().remove("ResponseMetadata");
        let mut comparison = Comparison { recordings: self, recording, known };
        comparison.same("", &json_of(reply.into_value()), &data);
        *self.compared.borrow_mut() += 1;
    }

    /// Whether the ledger allows it, which is noted.
    fn allows(&self, recording: &str, place: &str, kind: &str) -> bool {
        let fits = |pattern: &str| match pattern.split_once('*') {
            None => pattern == recording,
            Some((before, after)) => {
                let middle = after.trim_end_matches('*');
                recording.starts_with(before) && recording.contains(middle)
            }
        };
        let found = self.ledger.iter().position(|entry| {
            fits(entry["recording"].as_str().unwrap()) && entry["place"] == place && entry["kind"] == kind
        });
        self.used.borrow_mut().extend(found);
        found.is_some()
    }

    fn all_used(&self) {
        let unused: Vec<_> = (0..self.ledger.len()).filter(|at| !self.used.borrow().contains(at)).collect();
        assert!(
            unused.is_empty(),
            "no recording needs {:?}",
            unused.iter().map(|at| &self.ledger[*at]).collect::<Vec<_>>()
        );
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/recordings")
}

impl Comparison<'_> {
    fn same(&mut self, place: &str, ours: &Json, theirs: &Json) {
        let at = || format!("{} {place}", self.recording);
        match (ours, theirs) {
            (Json::Object(ours), Json::Object(theirs)) if theirs.contains_key("__class__") => {
                assert_eq!(ours.get("__class__"), Some(&json!("datetime")), "{}", at());
                let whole = theirs["microsecond"].as_u64().unwrap() % 1_000 == 0;
                assert!(whole, "{}: recorded times are whole milliseconds, as ours are", at());
            }
            (Json::Object(ours), Json::Object(theirs)) => self.same_members(place, ours, theirs),
            (Json::Array(ours), Json::Array(theirs)) => {
                for n in ours.len()..theirs.len() {
                    assert!(self.allows(&format!("{place}[{n}]"), "theirs only"), "{}: {n} is missing", at());
                }
                assert!(ours.len() <= theirs.len(), "{}: {ours:?} are more than {theirs:?}", at());
                let element = format!("{place}[]");
                ours.iter().zip(theirs).for_each(|(ours, theirs)| self.same(&element, ours, theirs));
            }
            (Json::String(ours), Json::String(theirs)) => self.same_text(place, ours, theirs),
            _ => assert_eq!(ours, theirs, "{}", at()),
        }
    }

    fn same_members(&mut self, place: &str, ours: &Map<String, Json>, theirs: &Map<String, Json>) {
        // The keys of a map may be zones.
        for (name, value) in ours {
            let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            match theirs.get(name) {
                Some(recorded) => self.same(&inner, value, recorded),
                None => assert!(self.allows(&inner, "ours only"), "{}: AWS has no {inner}", self.recording),
            }
        }
        let missing: Vec<_> = theirs.keys().filter(|name| !ours.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{} {place}: {missing:?} are missing", self.recording);
    }

    fn same_text(&mut self, place: &str, ours: &str, theirs: &str) {
        let name = place.rsplit('.').next().unwrap().trim_end_matches("[]");
        match form(name, theirs) {
            Form::Id(prefix) => {
                assert!(ours.starts_with(prefix), "{} {place}: {ours} is no {prefix}", self.recording);
                self.stands_for(place, ours, theirs);
            }
            Form::Arn => {
                let parts = |arn: &str| arn.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
                let (ours, theirs) = (parts(ours), parts(theirs));
                assert_eq!(ours[..4], theirs[..4], "{} {place}", self.recording);
                let id = |parts: &[String]| parts[5].split_once('/').map(|(kind, id)| (kind.to_owned(), id.to_owned()));
                let ((our_kind, our_id), (their_kind, their_id)) = (id(&ours).unwrap(), id(&theirs).unwrap());
                assert_eq!(our_kind, their_kind, "{} {place}", self.recording);
                self.stands_for(place, &our_id, &their_id);
            }
            Form::Free => {}
            Form::Value if ours == theirs => {}
            Form::Value => {
                assert!(self.allows(place, "differs"), "{} {place}: {ours:?} is not {theirs:?}", self.recording);
            }
        }
    }

    /// What is equal there is equal here.
    fn stands_for(&mut self, place: &str, ours: &str, theirs: &str) {
        let known = self.known.entry(format!("theirs {theirs}")).or_insert_with(|| ours.to_owned());
        assert_eq!(known, ours, "{} {place}: stands for {theirs}", self.recording);
        let known = self.known.entry(format!("ours {ours}")).or_insert_with(|| theirs.to_owned());
        assert_eq!(known, theirs, "{} {place}: stands for {ours}", self.recording);
    }

    fn allows(&self, place: &str, kind: &str) -> bool {
        self.recordings.allows(self.recording, place, kind)
    }
}

enum Form {
    /// An id with this prefix.
    Id(&'static str),
    Arn,
    /// Anything: addresses, texts that the recorder edited.
    Free,
    /// The value itself.
    Value,
}

fn form(name: &str, theirs: &str) -> Form {
    const PREFIXES: [&str; 7] = ["cluster-", "backup-", "hsm-", "eni-", "subnet-", "vpc-", "sg-"];
    match name {
        "BackupArn" | "ResourceARN" => Form::Arn,
        "EniIp" | "ClusterCertificate" => Form::Free,
        _ => PREFIXES.into_iter().find(|prefix| theirs.starts_with(prefix)).map_or(Form::Value, Form::Id),
    }
}

fn json_of(value: Value) -> Json {
    match value {
        Value::Structure(members) => {
            Json::Object(members.into_iter().map(|(name, value)| (name.into_owned(), json_of(value))).collect())
        }
        Value::Map(entries) => Json::Object(entries.into_iter().map(|(key, value)| (key, json_of(value))).collect()),
        Value::List(elements) => elements.into_iter().map(json_of).collect(),
        Value::Timestamp(_) => json!({ "__class__": "datetime" }),
        Value::String(text) => text.into(),
        Value::Boolean(value) => value.into(),
        Value::Integer(value) => value.into(),
        other => panic!("{other:?} is in no answer"),
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.into(), value: value.into() }
}

async fn world() -> World {
    World::start(Faults::new(None), 1).await
}

async fn create(world: &World, subnets: &[&str], tags: &[Tag]) -> ClusterId {
    let input = CreateClusterRequest {
        hsm_type: "hsm2m.medium".into(),
        subnet_ids: subnets.iter().map(|id| SubnetId::new(*id)).collect(),
        tag_list: (!tags.is_empty()).then(|| tags.to_vec()),
        ..Default::default()
    };
    let Reply::CreateCluster(output) = world.call(0, Call::CreateCluster(input)).await else { panic!() };
    let id = output.cluster.unwrap().cluster_id.unwrap();
    wait_cluster(world, 0, &id, ClusterState::Uninitialized).await;
    // No two at the same time, so that their order is told by it.
    world.clock.advance(SECOND);
    id
}

fn clusters_of(ids: &[&ClusterId]) -> Call {
    let ids: Vec<_> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let filters = (!ids.is_empty()).then(|| [("clusterIds".to_owned(), ids)].into_iter().collect());
    Call::DescribeClusters(DescribeClustersRequest { filters, ..Default::default() })
}

fn list_tags(id: &str) -> Call {
    Call::ListTags(ListTagsRequest { resource_id: id.to_owned(), ..Default::default() })
}

fn tag_resources(arn: String, key: &str, value: &str) -> Call {
    let tags = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    Call::TagResources(TagResourcesInput { resource_arn_list: vec![arn], tags })
}

fn arn_of_cluster(id: &ClusterId) -> String {
    id.arn(&RegionName::new("us-east-1"), &AccountId::new("000000000000"))
}

fn arn_of_backup(id: &BackupId) -> String {
    id.arn(&RegionName::new("us-east-1"), &AccountId::new("000000000000"))
}

#[test]
fn every_recording_is_matched() {
    let Some(recordings) = Recordings::open() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        an_active_cluster(&recordings).await;
        a_tag_through_the_other_service(&recordings).await;
        a_cluster_is_deleted(&recordings).await;
        a_new_cluster_with_a_tag(&recordings).await;
        backups_are_tagged_and_untagged(&recordings).await;
        backups_are_marked_and_shared(&recordings).await;
    });
    recordings.all_used();
    let files = std::fs::read_dir(folder()).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let files =
        files.flat_map(|entry| std::fs::read_dir(entry.path()).unwrap().flatten()).map(|entry| entry.file_name());
    // EC2 is not ours.
    let total = files.filter(|name| !name.to_string_lossy().starts_with("ec2.")).count();
    assert_eq!(*recordings.compared.borrow(), total);
}

async fn an_active_cluster(recordings: &Recordings) {
    let (world, mut known) = (world().await, HashMap::new());
    let subnets = [
        "subnet-0955c143",
        "subnet-8e6baad2",
        "subnet-7a50991d",
        "subnet-e3985acd",
        "subnet-1a1a1a1a",
        "subnet-2b2b2b2b",
    ];
    let id = create(&world, &subnets, &[tag("foo", "bar")]).await;
    activate_in(&world, &id, "d").await;
    for (recording, call) in [
        ("test_cloudhsm/cloudhsmv2.DescribeClusters_1", clusters_of(&[])),
        (
            "test_cloudhsm/tagging.GetResources_1",
            Call::GetResources(GetResourcesInput {
                resource_type_filters: Some(vec!["cloudhsm:cluster".to_owned()]),
                ..Default::default()
            }),
        ),
        ("test_cloudhsm/cloudhsmv2.ListTags_1", list_tags(id.as_str())),
    ] {
        recordings.compare(recording, world.call(0, call).await, &mut known);
    }
}

async fn a_tag_through_the_other_service(recordings: &Recordings) {
    let (world, mut known) = (world().await, HashMap::new());
    let tagged = create(&world, &["subnet-00000001", "subnet-00000002"], &[tag("c7n", "tag")]).await;
    let first = create(&world, &["subnet-083ab4dd", "subnet-0544e307"], &[]).await;
    let _ = tagged;
    for (recording, call) in [
        ("test_cloudhsm_tag/cloudhsmv2.DescribeClusters_1", clusters_of(&[])),
        ("test_cloudhsm_tag/tagging.TagResources_1", tag_resources(arn_of_cluster(&first), "c7n", "test")),
        ("test_cloudhsm_tag/cloudhsmv2.ListTags_1", list_tags(first.as_str())),
    ] {
        recordings.compare(recording, world.call(0, call).await, &mut known);
    }
}

async fn a_cluster_is_deleted(recordings: &Recordings) {
    let (world, mut known) = (world().await, HashMap::new());
    let goes = create(&world, &["subnet-914763e7"], &[]).await;
    create(&world, &["subnet-083ab4dd", "subnet-0544e307"], &[tag("c7n", "test")]).await;
    let folder = "test_cloudhsm_subnet_delete/cloudhsmv2";
    recordings.compare(&format!("{folder}.DescribeClusters_1"), world.call(0, clusters_of(&[])).await, &mut known);
    let delete = Call::DeleteCluster(DeleteClusterRequest { cluster_id: goes.clone() });
    recordings.compare(&format!("{folder}.DeleteCluster_1"), world.call(0, delete).await, &mut known);
    wait_cluster(&world, 0, &goes, ClusterState::Deleted).await;
    recordings.compare(&format!("{folder}.DescribeClusters_2"), world.call(0, clusters_of(&[&goes])).await, &mut known);
}

async fn a_new_cluster_with_a_tag(recordings: &Recordings) {
    let world = world().await;
    let id = create(&world, &["subnet-07c118e4"], &[tag("Owner", "test")]).await;
    let reply = world.call(0, clusters_of(&[&id])).await;
    recordings.compare("test_cloudhsm_cluster_tag_event/cloudhsmv2.DescribeClusters_1", reply, &mut HashMap::new());
}

/// A cluster with three backups, a day apart: the newest READY and with the cluster's later tag, the others deleted.
async fn three_backups(world: &World) -> (ClusterId, BackupId) {
    let id = create(world, &["subnet-00000001"], &[]).await;
    activate_in(world, &id, "a").await;
    next_day(world, &id).await;
    let input = TagResourceRequest { resource_id: id.as_str().into(), tag_list: vec![tag("owner", "policy")] };
    world.call(0, Call::TagResource(input)).await;
    next_day(world, &id).await;
    let mut backups = backups_by(world, 0, "clusterIds", id.as_str()).await;
    for backup in backups.split_off(1) {
        world.call(0, Call::DeleteBackup(DeleteBackupRequest { backup_id: backup.backup_id })).await;
    }
    (id, backups.remove(0).backup_id)
}

/// Lets a day pass, with its backup.
async fn next_day(world: &World, id: &ClusterId) {
    let before = backups_by(world, 0, "clusterIds", id.as_str()).await.len();
    world.clock.advance(DAY + HOUR);
    world
        .wait("daily backup", async || {
            let backups = backups_by(world, 0, "clusterIds", id.as_str()).await;
            let made = backups.iter().all(|b| b.backup_state != Some(BackupState::CreateInProgress));
            (made && backups.len() > before).then_some(())
        })
        .await;
}

async fn backups_are_tagged_and_untagged(recordings: &Recordings) {
    let (world, mut known) = (world().await, HashMap::new());
    let (_, backup_id) = three_backups(&world).await;
    let arn = arn_of_backup(&backup_id);
    let untag = UntagResourcesInput { resource_arn_list: vec![arn.clone()], tag_keys: vec!["owner".to_owned()] };
    for (recording, call) in [
        ("cloudhsmv2.DescribeBackups_1", Call::DescribeBackups(Default::default())),
        ("tagging.TagResources_1", tag_resources(arn, "env", "dev")),
        ("tagging.UntagResources_1", Call::UntagResources(untag)),
        ("cloudhsmv2.ListTags_1", list_tags(backup_id.as_str())),
    ] {
        let recording = format!("test_cloudhsm_backup_tag_untag/{recording}");
        recordings.compare(&recording, world.call(0, call).await, &mut known);
    }
}

/// The text of the policy as it was recorded.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::644160558196:root"},"Action":"cloudhsm:DescribeBackups","Resource":"arn:aws:cloudhsm:us-east-1:644160558196:backup/backup-6qjbcmkhcxm"}]}"#;

async fn backups_are_marked_and_shared(recordings: &Recordings) {
    let (world, mut known) = (world().await, HashMap::new());
    let (id, older) = three_backups(&world).await;
    let arn = arn_of_backup(&older);
    let mark = "Resource does not meet policy: notify@2024/09/12";
    let describe = || Call::DescribeBackups(Default::default());
    for (recording, call) in [
        ("cloudhsmv2.DescribeBackups_1", describe()),
        ("tagging.TagResources_1", tag_resources(arn.clone(), "custodian_cleanup", mark)),
        ("cloudhsmv2.DescribeBackups_2", describe()),
    ] {
        let recording = format!("test_cloudhsm_backup_mark_for_op/{recording}");
        recordings.compare(&recording, world.call(0, call).await, &mut known);
    }
    next_day(&world, &id).await;
    let newer = backups_by(&world, 0, "clusterIds", id.as_str()).await.remove(0).backup_id;
    let put = PutResourcePolicyRequest { resource_arn: Some(arn.clone()), policy: Some(POLICY.to_owned()) };
    world.call(0, Call::PutResourcePolicy(put)).await;
    let ready = [("states".to_owned(), vec!["READY".to_owned()])].into_iter().collect();
    let ready = DescribeBackupsRequest { filters: Some(ready), ..Default::default() };
    for (folder, call) in [
        ("test_cloudhsm_has_allow_statement", describe()),
        ("test_cloudhsm_backup_statement", Call::DescribeBackups(ready)),
    ] {
        let mut known = known.clone();
        let get = |arn| Call::GetResourcePolicy(GetResourcePolicyRequest { resource_arn: Some(arn) });
        for (recording, call) in [
            ("DescribeBackups_1", call),
            ("GetResourcePolicy_1", get(arn_of_backup(&newer))),
            ("GetResourcePolicy_2", get(arn.clone())),
        ] {
            let reply = world.call(0, call).await;
            recordings.compare(&format!("{folder}/cloudhsmv2.{recording}"), reply, &mut known);
        }
    }
}
