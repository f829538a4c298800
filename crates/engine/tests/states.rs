//! Every operation in every state of what it touches, through the wire in both protocols, held against the tables of
//! `docs/states.md`: what the service does is written there, and this is what makes it true. `STRONGROOM_BLESS=1` writes
//! the tables anew; look at the difference before you keep it.
//!
//! States that pass are held by a pace like AWS's and a clock that only the test moves.

mod support;

use std::path::PathBuf;

use strongroom_engine::ports::{Facts, Peer};
use strongroom_engine::{Pace, Settings};
use strongroom_model::backup::{Backup, BackupState};
use strongroom_model::call::*;
use strongroom_model::cluster::{BackupRetentionPolicy, ClusterState};
use strongroom_model::hsm::HsmState;
use strongroom_model::time::{DAY, MINUTE};
use strongroom_model::{AccountId, BackupId, ClusterId, CopyId, HsmId, RegionName, SubnetId, Tag};
use strongroom_store::control::backups;
use strongroom_wire::Protocol;

use strongroom_engine::copy::message::{Announce, Answer, Listing, Message, VERSION};
use support::clusters::{activate_in, backups_by, cluster, wait_cluster};
use support::fault::Faults;
use support::wire::{PROTOCOLS, Refused, ask};
use support::{NAMES, World};

/// An operation on what has an id: what it does there.
type Column<Id> = (&'static str, fn(&Subject<Id>) -> Call);
/// A state, and how it is come to.
type Row<Id> = (&'static str, Build<Id>);

/// What a column's call is about.
struct Subject<Id> {
    id: Id,
    /// An HSM of the cluster, if it has one.
    hsm: Option<HsmId>,
}

enum Build<Id> {
    /// These steps, from a new cluster.
    Steps(&'static [Step]),
    /// A backup of this kind.
    Backup(Kind),
    /// An id that there is not.
    Absent(fn() -> Id),
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Made,
    Hsm,
    SecondHsm,
    Arrived,
    Initialized,
    Installed,
    Activated,
    ToNewType,
    ToOldType,
    Changed,
    HsmDeleted,
    Left,
    Deleted,
    Gone,
    Damaged,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Local(BackupState),
    Copy(BackupState),
}

use Step::*;

const CLUSTERS: &[Row<ClusterId>] = &[
    ("CREATE_IN_PROGRESS", Build::Steps(&[])),
    ("UNINITIALIZED", Build::Steps(&[Made])),
    ("UNINITIALIZED, its HSM on the way", Build::Steps(&[Made, Hsm])),
    ("UNINITIALIZED, one HSM", Build::Steps(&[Made, Hsm, Arrived])),
    ("INITIALIZE_IN_PROGRESS", Build::Steps(&[Made, Hsm, Arrived, Initialized])),
    ("INITIALIZED, one HSM", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed])),
    ("INITIALIZED, no HSM", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, HsmDeleted, Left])),
    ("ACTIVE, one HSM", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated])),
    (
        "ACTIVE, a second HSM on the way",
        Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, SecondHsm]),
    ),
    ("ACTIVE, its HSM leaving", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, HsmDeleted])),
    ("ACTIVE, no HSM", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, HsmDeleted, Left])),
    ("MODIFY_IN_PROGRESS", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, ToNewType])),
    (
        "ACTIVE, of the new type",
        Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, ToNewType, Changed]),
    ),
    (
        "ROLLBACK_IN_PROGRESS",
        Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, ToNewType, Changed, ToOldType]),
    ),
    ("DEGRADED", Build::Steps(&[Made, Hsm, Arrived, Initialized, Installed, Activated, Damaged])),
    ("DELETE_IN_PROGRESS", Build::Steps(&[Made, Deleted])),
    ("DELETED", Build::Steps(&[Made, Deleted, Gone])),
    ("absent", Build::Absent(|| ClusterId::new("cluster-zzzzzzzzzzz"))),
];

const BACKUPS: &[Row<BackupId>] = &[
    ("CREATE_IN_PROGRESS", Build::Backup(Kind::Local(BackupState::CreateInProgress))),
    ("READY", Build::Backup(Kind::Local(BackupState::Ready))),
    ("PENDING_DELETION", Build::Backup(Kind::Local(BackupState::PendingDeletion))),
    ("DELETED", Build::Backup(Kind::Local(BackupState::Deleted))),
    ("copy, CREATE_IN_PROGRESS", Build::Backup(Kind::Copy(BackupState::CreateInProgress))),
    ("copy, READY", Build::Backup(Kind::Copy(BackupState::Ready))),
    ("copy, PENDING_DELETION", Build::Backup(Kind::Copy(BackupState::PendingDeletion))),
    ("copy, DELETED", Build::Backup(Kind::Copy(BackupState::Deleted))),
    ("absent", Build::Absent(|| BackupId::new("backup-zzzzzzzzzzz"))),
];

const ON_CLUSTERS: &[Column<ClusterId>] = &[
    ("ListTags", |s| Call::ListTags(ListTagsRequest { resource_id: s.id.as_str().into(), ..Default::default() })),
    ("TagResource", |s| tag(s.id.as_str())),
    ("UntagResource", |s| untag(s.id.as_str())),
    ("CreateHsm", |s| create_hsm(&s.id, "b")),
    ("DeleteHsm", |s| delete_hsm(s)),
    ("InitializeCluster", |s| initialize(&s.id)),
    ("ModifyCluster, retention", |s| {
        let policy = BackupRetentionPolicy { kind: None, value: Some("30".into()) };
        Call::ModifyCluster(ModifyClusterRequest {
            cluster_id: s.id.clone(),
            backup_retention_policy: Some(policy),
            hsm_type: None,
        })
    }),
    ("ModifyCluster, to hsm2m", |s| change_type(&s.id, "hsm2m.medium")),
    ("ModifyCluster, to hsm1", |s| change_type(&s.id, "hsm1.medium")),
    ("DeleteCluster", |s| Call::DeleteCluster(DeleteClusterRequest { cluster_id: s.id.clone() })),
];

const ON_BACKUPS: &[Column<BackupId>] = &[
    ("ListTags", |s| Call::ListTags(ListTagsRequest { resource_id: s.id.as_str().into(), ..Default::default() })),
    ("TagResource", |s| tag(s.id.as_str())),
    ("UntagResource", |s| untag(s.id.as_str())),
    ("CopyBackupToRegion", |s| {
        Call::CopyBackupToRegion(CopyBackupToRegionRequest {
            destination_region: RegionName::new(NAMES[1]),
            backup_id: s.id.clone(),
            tag_list: None,
        })
    }),
    ("CreateCluster", |s| create_cluster(Some(&s.id))),
    ("DeleteBackup", |s| Call::DeleteBackup(DeleteBackupRequest { backup_id: s.id.clone() })),
    ("RestoreBackup", |s| Call::RestoreBackup(RestoreBackupRequest { backup_id: s.id.clone() })),
    ("ModifyBackupAttributes", |s| {
        let (backup_id, never_expires) = (s.id.clone(), true);
        Call::ModifyBackupAttributes(ModifyBackupAttributesRequest { backup_id, never_expires })
    }),
    ("GetResourcePolicy", |s| Call::GetResourcePolicy(GetResourcePolicyRequest { resource_arn: arn(&s.id) })),
    ("PutResourcePolicy", |s| {
        let policy = Some(POLICY.to_owned());
        Call::PutResourcePolicy(PutResourcePolicyRequest { resource_arn: arn(&s.id), policy })
    }),
    ("DeleteResourcePolicy", |s| Call::DeleteResourcePolicy(DeleteResourcePolicyRequest { resource_arn: arn(&s.id) })),
];

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"cloudhsm:DescribeBackups","Resource":"*"}]}"#;

/// The region that the rows of copies are in the destination of.
const HOME: usize = 0;
const AWAY: usize = 1;

fn tag(id: &str) -> Call {
    let tag_list = vec![Tag { key: "a".into(), value: "b".into() }];
    Call::TagResource(TagResourceRequest { resource_id: id.into(), tag_list })
}

fn untag(id: &str) -> Call {
    Call::UntagResource(UntagResourceRequest { resource_id: id.into(), tag_key_list: vec!["a".into()] })
}

fn create_hsm(id: &ClusterId, zone: &str) -> Call {
    let availability_zone = format!("{}{zone}", NAMES[HOME]);
    Call::CreateHsm(CreateHsmRequest { cluster_id: id.clone(), availability_zone, ip_address: None })
}

fn delete_hsm(subject: &Subject<ClusterId>) -> Call {
    let hsm_id = subject.hsm.clone().unwrap_or_else(|| HsmId::new("hsm-zzzzzzzzzzz"));
    Call::DeleteHsm(DeleteHsmRequest { cluster_id: subject.id.clone(), hsm_id: Some(hsm_id), ..Default::default() })
}

fn initialize(id: &ClusterId) -> Call {
    Call::InitializeCluster(InitializeClusterRequest {
        cluster_id: id.clone(),
        signed_cert: format!("signed csr of {id}"),
        trust_anchor: "anchor".into(),
    })
}

fn change_type(id: &ClusterId, hsm_type: &str) -> Call {
    Call::ModifyCluster(ModifyClusterRequest {
        cluster_id: id.clone(),
        backup_retention_policy: None,
        hsm_type: Some(hsm_type.into()),
    })
}

fn create_cluster(source: Option<&BackupId>) -> Call {
    Call::CreateCluster(CreateClusterRequest {
        hsm_type: "hsm1.medium".into(),
        subnet_ids: vec![SubnetId::new("subnet-0aaaaaaaaaaaaaaa1"), SubnetId::new("subnet-0aaaaaaaaaaaaaaa2")],
        source_backup_id: source.map(|id| id.as_str().to_owned()),
        ..Default::default()
    })
}

fn arn(id: &BackupId) -> Option<String> {
    Some(id.arn(&RegionName::new(NAMES[HOME]), &AccountId::new("000000000000")))
}

fn slow(settings: &mut Settings) {
    settings.legacy_hsm_types = true;
    settings.pace = Pace::Aws(1.0);
}

fn tables() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/states.md")
}

#[test]
fn every_operation_in_every_state_does_what_the_tables_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (clusters, mut cells) = runtime.block_on(on_clusters());
    let (backups, more) = runtime.block_on(on_backups());
    cells += more;
    let written = std::fs::read_to_string(tables()).unwrap_or_default();
    let (introduction, _) = written.split_once("\n## Clusters\n").unwrap_or((&written, ""));
    let made = format!("{}\n\n## Clusters\n\n{clusters}\n## Backups\n\n{backups}", introduction.trim_end());
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(tables(), &made).unwrap();
    }
    let written = std::fs::read_to_string(tables()).unwrap();
    for (made, written) in made.lines().zip(written.lines()) {
        assert_eq!(made, written, "what the service does, and what docs/states.md says");
    }
    assert_eq!(made, written);
    assert_eq!(cells, 2 * (CLUSTERS.len() * (ON_CLUSTERS.len() + 1) + BACKUPS.len() * (ON_BACKUPS.len() + 1)));
}

async fn on_clusters() -> (String, usize) {
    let mut table = Table::new("DescribeClusters", ON_CLUSTERS.iter().map(|(name, _)| *name));
    for (name, build) in CLUSTERS {
        let world = World::start_with(Faults::new(None), 1, slow).await;
        // For each cell one of its own: a call may change it.
        let mut subjects = subjects_in(&world, build, 2 * ON_CLUSTERS.len()).await.into_iter();
        let mut cells =
            vec![both(async |protocol| shown_cluster(&world, protocol, &subjects.as_slice()[0].id).await).await];
        for (_, call) in ON_CLUSTERS {
            let mut pair = subjects.by_ref().take(2).collect::<Vec<_>>();
            let cell = both(async |protocol| {
                let subject = pair.pop().expect("two were made");
                let outcome = ask(&world, HOME, protocol, call(&subject)).await;
                let id = &subject.id;
                told(outcome, id.as_str(), async || Some(cluster(&world, HOME, id).await?.state?.to_string())).await
            });
            cells.push(cell.await);
        }
        table.row(name, cells);
    }
    (table.text, table.cells)
}

async fn on_backups() -> (String, usize) {
    let mut table = Table::new("DescribeBackups", ON_BACKUPS.iter().map(|(name, _)| *name));
    for (name, build) in BACKUPS {
        let world = World::start_with(Faults::new(None), 1, slow).await;
        let ids = match build {
            Build::Backup(kind) => backups_in(&world, *kind, 2 * ON_BACKUPS.len()).await,
            Build::Absent(id) => (0..2 * ON_BACKUPS.len()).map(|_| id()).collect(),
            Build::Steps(_) => unreachable!("backups have no steps"),
        };
        let mut ids = ids.into_iter();
        let mut cells = vec![both(async |protocol| shown_backup(&world, protocol, &ids.as_slice()[0]).await).await];
        for (_, call) in ON_BACKUPS {
            let mut pair = ids.by_ref().take(2).collect::<Vec<_>>();
            let cell = both(async |protocol| {
                let subject = Subject { id: pair.pop().expect("two were made"), hsm: None };
                let outcome = ask(&world, HOME, protocol, call(&subject)).await;
                let id = subject.id.as_str();
                let state =
                    async || Some(backups_by(&world, HOME, "backupIds", id).await.pop()?.backup_state?.to_string());
                told(outcome, id, state).await
            });
            cells.push(cell.await);
        }
        table.row(name, cells);
    }
    (table.text, table.cells)
}

/// The same in both protocols.
async fn both(mut cell: impl AsyncFnMut(Protocol) -> String) -> String {
    let [json, cbor] = [cell(PROTOCOLS[0]).await, cell(PROTOCOLS[1]).await];
    assert_eq!(json, cbor, "JSON and CBOR");
    json
}

/// What a cell says: `yes` with the state that follows where that is another, or the error's name.
async fn told(outcome: Result<Reply, Refused>, id: &str, state: impl AsyncFnOnce() -> Option<String>) -> String {
    match outcome {
        Ok(_) => state().await.map_or_else(|| "yes".to_owned(), |state| format!("yes: {state}")),
        Err(refused) => {
            let Refused { status, name, message } = &refused;
            assert_eq!(*status, 400, "{refused:?}");
            assert!(message.contains(id) || message.contains("hsm-"), "{message:?} names what it is about");
            name.trim_start_matches("CloudHsm").trim_end_matches("Exception").to_owned()
        }
    }
}

async fn shown_cluster(world: &World, protocol: Protocol, id: &ClusterId) -> String {
    let shown = async |filters| {
        let call = Call::DescribeClusters(DescribeClustersRequest { filters, max_results: Some(25), next_token: None });
        let Ok(Reply::DescribeClusters(output)) = ask(world, HOME, protocol, call).await else { panic!() };
        output.clusters.unwrap().iter().any(|c| c.cluster_id.as_ref() == Some(id))
    };
    let by_id = [("clusterIds".to_owned(), vec![id.as_str().to_owned()])].into_iter().collect();
    shown_as(shown(None).await, shown(Some(by_id)).await)
}

async fn shown_backup(world: &World, protocol: Protocol, id: &BackupId) -> String {
    let shown = async |filters| {
        let call = Call::DescribeBackups(DescribeBackupsRequest { filters, ..Default::default() });
        let Ok(Reply::DescribeBackups(output)) = ask(world, HOME, protocol, call).await else { panic!() };
        output.backups.unwrap().iter().any(|b| b.backup_id == *id)
    };
    let by_id = [("backupIds".to_owned(), vec![id.as_str().to_owned()])].into_iter().collect();
    shown_as(shown(None).await, shown(Some(by_id)).await)
}

fn shown_as(listed: bool, by_id: bool) -> String {
    match (listed, by_id) {
        (true, true) => "listed",
        (false, true) => "by id",
        (false, false) => "no",
        (true, false) => panic!("listed, but not by its id"),
    }
    .to_owned()
}

/// A table in the form of Markdown.
struct Table {
    text: String,
    cells: usize,
}

impl Table {
    fn new<'a>(first: &'a str, columns: impl Iterator<Item = &'a str>) -> Self {
        let columns: Vec<_> = [first].into_iter().chain(columns).collect();
        let text = format!("| state | {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len() + 1));
        Self { text, cells: 0 }
    }

    fn row(&mut self, name: &str, cells: Vec<String>) {
        self.cells += 2 * cells.len();
        self.text += &format!("| {name} | {} |\n", cells.join(" | "));
    }
}

/// So many clusters in a state.
async fn subjects_in(world: &World, build: &Build<ClusterId>, count: usize) -> Vec<Subject<ClusterId>> {
    let mut ids = Vec::new();
    let steps = match build {
        Build::Steps(steps) => steps,
        Build::Absent(id) => return (0..count).map(|_| Subject { id: id(), hsm: None }).collect(),
        Build::Backup(_) => unreachable!("clusters are not backups"),
    };
    for _ in 0..count {
        let Reply::CreateCluster(output) = world.call(HOME, create_cluster(None)).await else { panic!() };
        ids.push(output.cluster.unwrap().cluster_id.unwrap());
    }
    for step in *steps {
        take(world, &ids, *step).await;
    }
    let mut subjects = Vec::new();
    for id in ids {
        let hsm = cluster(world, HOME, &id).await.and_then(|c| c.hsms?.first().map(|hsm| hsm.hsm_id.clone()));
        subjects.push(Subject { id, hsm });
    }
    subjects
}

/// Takes a step with each of the clusters, and waits until all are there.
async fn take(world: &World, ids: &[ClusterId], step: Step) {
    for id in ids {
        let call = match step {
            Hsm => create_hsm(id, "a"),
            SecondHsm => create_hsm(id, "b"),
            Initialized => initialize(id),
            ToNewType => change_type(id, "hsm2m.medium"),
            ToOldType => change_type(id, "hsm1.medium"),
            Deleted => Call::DeleteCluster(DeleteClusterRequest { cluster_id: id.clone() }),
            HsmDeleted => {
                let hsm = cluster(world, HOME, id).await.unwrap().hsms.unwrap().remove(0).hsm_id;
                delete_hsm(&Subject { id: id.clone(), hsm: Some(hsm) })
            }
            Activated => {
                world.vaults[HOME].activate(id);
                wait_cluster(world, HOME, id, ClusterState::Active).await;
                continue;
            }
            Damaged => {
                world.vaults[HOME].damage(id);
                wait_cluster(world, HOME, id, ClusterState::Degraded).await;
                continue;
            }
            Made | Arrived | Installed | Changed | Left | Gone => continue,
        };
        world.call(HOME, call).await;
    }
    let state = match step {
        Made => ClusterState::Uninitialized,
        Installed => ClusterState::Initialized,
        Changed => ClusterState::Active,
        Gone => ClusterState::Deleted,
        Arrived | Left => {
            // A leaving HSM waits for its backup; each is given the time that it takes.
            for _ in 0..2 {
                world.clock.advance(13 * MINUTE);
                for id in ids {
                    hsms_settled(world, id, step).await;
                }
            }
            return;
        }
        _ => return,
    };
    world.clock.advance(31 * MINUTE);
    for id in ids {
        wait_cluster(world, HOME, id, state).await;
    }
}

async fn hsms_settled(world: &World, id: &ClusterId, step: Step) {
    world
        .wait("HSMs settled", async || {
            // Backups and HSMs take their time one after the other.
            world.clock.advance(MINUTE / 60);
            let hsms = cluster(world, HOME, id).await?.hsms?;
            let settled = match step {
                Left => hsms.is_empty(),
                _ => hsms.iter().all(|hsm| hsm.state == Some(HsmState::Active)),
            };
            settled.then_some(())
        })
        .await;
}

/// So many backups in a state, in the region at home.
async fn backups_in(world: &World, kind: Kind, count: usize) -> Vec<BackupId> {
    match kind {
        Kind::Local(state) => local_backups(world, HOME, state, count).await,
        Kind::Copy(BackupState::Ready) => ready_copies(world, count).await,
        Kind::Copy(BackupState::PendingDeletion) => {
            let ids = ready_copies(world, count).await;
            delete_all(world, &ids).await;
            ids
        }
        Kind::Copy(state) => {
            let ids = announced(world, count).await;
            if state == BackupState::Deleted {
                delete_all(world, &ids).await;
            }
            ids
        }
    }
}

async fn delete_all(world: &World, ids: &[BackupId]) {
    for id in ids {
        world.call(HOME, Call::DeleteBackup(DeleteBackupRequest { backup_id: id.clone() })).await;
    }
}

/// Backups of one cluster, which each HSM that joins it makes.
async fn local_backups(world: &World, at: usize, state: BackupState, count: usize) -> Vec<BackupId> {
    assert_eq!(at, HOME);
    let Reply::CreateCluster(output) = world.call(HOME, create_cluster(None)).await else { panic!() };
    let id = output.cluster.unwrap().cluster_id.unwrap();
    let time_passes = async {
        loop {
            world.clock.advance(MINUTE);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = activate_in(world, &id, "a") => {}
        () = time_passes => {}
    }
    for _ in 0..count {
        world.call(HOME, create_hsm(&id, "a")).await;
    }
    let of_state = async |state| {
        let found = backups_by(world, HOME, "clusterIds", id.as_str()).await;
        let found = found.into_iter().filter(|b| b.backup_state == Some(state)).map(|b| b.backup_id);
        found.collect::<Vec<_>>()
    };
    if state == BackupState::CreateInProgress {
        return of_state(BackupState::CreateInProgress).await;
    }
    world.clock.advance(2 * MINUTE);
    let mut ids =
        world.wait("READY", async || Some(of_state(BackupState::Ready).await).filter(|ids| ids.len() > count)).await;
    ids.truncate(count);
    if state != BackupState::Ready {
        delete_all(world, &ids).await;
    }
    if state == BackupState::Deleted {
        world.clock.advance(7 * DAY + MINUTE);
        for id in &ids {
            world
                .wait("purged", async || {
                    let found: Vec<Backup> = backups_by(world, HOME, "backupIds", id.as_str()).await;
                    found.into_iter().find(|b| b.backup_state == Some(BackupState::Deleted))
                })
                .await;
        }
    }
    ids
}

/// Copies that this region announces to itself as a peer of its own would, and never finishes.
async fn announced(world: &World, count: usize) -> Vec<BackupId> {
    let source = local_backups(world, HOME, BackupState::Ready, 1).await.remove(0);
    let row = world.database(HOME).read_blocking(|tx| backups::get(tx, &source)).unwrap().unwrap();
    let facts = Facts::from_bytes(row.facts.as_deref().unwrap()).unwrap();
    let peer = world.ids[AWAY].clone();
    let session = world.region(HOME).peer_session(Peer {
        name: RegionName::new(NAMES[AWAY]),
        region_id: peer.clone(),
        accounts: None,
    });
    session.answer(Message::Status { version: VERSION, highest: None }).await;
    let mut ids = Vec::new();
    for n in 0..count {
        let copy_id = CopyId::from_bytes([n as u8; 7]);
        let announce = Announce {
            copy_id: copy_id.as_str().to_owned(),
            attempt: 1,
            account: "000000000000".into(),
            principal: "arn:aws:iam::000000000000:user/test".into(),
            listing: Listing {
                source_region: NAMES[AWAY].into(),
                source_backup: source.as_str().to_owned(),
                source_cluster: facts.cluster.clone(),
                requested_at: facts.created_at,
                facts: facts.clone(),
            },
            tags: Vec::new(),
            body: row.body.clone().unwrap(),
            envelope: format!("from {peer} to {} for {copy_id}", world.ids[HOME]).into_bytes(),
            time_left: DAY,
            payload: None,
        };
        match session.answer(Message::Announce(Box::new(announce))).await {
            Answer::Lacks { backup_id, .. } => ids.push(BackupId::new(backup_id)),
            other => panic!("{other:?}"),
        }
    }
    ids
}

/// READY copies: announced ones whose chunk comes too.
async fn ready_copies(world: &World, count: usize) -> Vec<BackupId> {
    let ids = announced(world, count).await;
    let peer = Peer { name: RegionName::new(NAMES[AWAY]), region_id: world.ids[AWAY].clone(), accounts: None };
    let session = world.region(HOME).peer_session(peer);
    session.answer(Message::Status { version: VERSION, highest: None }).await;
    let row = world.database(HOME).read_blocking(|tx| backups::get(tx, &ids[0])).unwrap().unwrap();
    let source = row.source_backup_id.unwrap();
    let bytes = world.database(HOME).read_blocking(|tx| {
        let blob_id = backups::get(tx, &source)?.unwrap().blob_id.unwrap();
        Ok::<_, strongroom_store::StoreError>(
            strongroom_store::control::blobs::get(tx, &blob_id)?.unwrap().inline.unwrap(),
        )
    });
    let bytes = bytes.unwrap();
    for n in 0..count {
        let copy_id = CopyId::from_bytes([n as u8; 7]).as_str().to_owned();
        session.answer(Message::Chunk { copy_id: copy_id.clone(), n: 0, bytes: bytes.clone() }).await;
        let ended = session.answer(Message::Finish { copy_id }).await;
        assert!(matches!(&ended, Answer::Ended(ended) if ended.kind == "ready"), "{ended:?}");
    }
    ids
}
