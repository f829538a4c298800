//! Who may do what, through the engine: another account and a shared backup (every operation, held against the table of
//! `docs/sharing.md`; `STRONGROOM_BLESS=1` writes it anew), tag conditions, and AWS's sentences.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use strongroom_engine::{Authority, Caller};
use strongroom_iam::{CallerKind, Document, Kind};
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::{AccountId, ApiError, BackupId, ClusterId, ErrorKind, RegionName, SubnetId, Tag};

use support::clusters::{activate, backups_by, create_cluster, wait_cluster};
use support::fault::Faults;
use support::{NAMES, World, caller};

const OWNER: &str = "000000000000";
const OTHER: &str = "444455556666";

/// A user with these policies.
fn user(account: &str, name: &str, policies: &[&str]) -> Caller {
    let arn = format!("arn:aws:iam::{account}:user/{name}");
    let parse = |text: &&str| Arc::new(Document::parse(text, Kind::Identity).unwrap());
    let authority = Authority {
        caller: strongroom_iam::Caller { account: account.into(), arn: arn.clone(), kind: CallerKind::User },
        user_id: "AIDAEXAMPLEEXAMPLE234".into(),
        user_name: Some(name.into()),
        tags: vec![tag("team", "blue")],
        identity: policies.iter().map(parse).collect(),
        boundary: None,
        session: None,
        token_issued_at: None,
    };
    Caller { account: AccountId::new(account), principal: arn, authority: Arc::new(authority), ..caller(None) }
}

/// One statement that allows.
fn allow(actions: &str, resources: &str, condition: &str) -> String {
    let statement =
        format!(r#"{{"Effect":"Allow","Action":{actions},"Resource":{resources},"Condition":{condition}}}"#);
    format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.into(), value: value.into() }
}

async fn ask(world: &World, caller: &Caller, call: Call) -> Result<Reply, ApiError> {
    world.region(0).call(caller, call).await
}

/// A cluster of the owner's that is ACTIVE, and its READY backup.
async fn backup(world: &World) -> (ClusterId, BackupId) {
    let cluster = create_cluster(world, 0, None).await;
    activate(world, &cluster).await;
    let ready = world.wait("a READY backup", async || backups_by(world, 0, "states", "READY").await.pop()).await;
    (cluster, ready.backup_id)
}

async fn share(world: &World, backup: &BackupId, actions: &str) {
    let arn = arn(backup);
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{OTHER}"}},"Action":{actions},"Resource":"{arn}"}}]}}"#
    );
    let input = PutResourcePolicyRequest { resource_arn: Some(arn), policy: Some(policy) };
    world.call(0, Call::PutResourcePolicy(input)).await;
}

fn arn(backup: &BackupId) -> String {
    backup.arn(&RegionName::new(NAMES[0]), &AccountId::new(OWNER))
}

/// What the other account tries with the owner's cluster and backup.
fn operations(cluster: &ClusterId, backup: &BackupId) -> Vec<(&'static str, Call)> {
    let (cluster_id, backup_id, resource_arn) = (cluster.clone(), backup.clone(), Some(arn(backup)));
    let by_arn = |source: String| create(Some(source));
    let tags = vec![tag("a", "b")];
    let copy = |tag_list| {
        let (destination_region, backup_id) = (RegionName::new(NAMES[1]), backup.clone());
        Call::CopyBackupToRegion(CopyBackupToRegionRequest { destination_region, backup_id, tag_list })
    };
    let policy =
        Some(r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"cloudhsm:*","Resource":"*"}}"#.into());
    let backup_text = backup.as_str().to_owned();
    let zone = format!("{}a", NAMES[0]);
    vec![
        ("DescribeBackups, Shared", describe(true)),
        ("DescribeBackups", describe(false)),
        ("CreateCluster, by ARN", by_arn(arn(backup))),
        ("CreateCluster, by id", by_arn(backup_text.clone())),
        ("CopyBackupToRegion", copy(None)),
        ("CopyBackupToRegion, with tags", copy(Some(tags.clone()))),
        ("DeleteBackup", Call::DeleteBackup(DeleteBackupRequest { backup_id: backup_id.clone() })),
        ("RestoreBackup", Call::RestoreBackup(RestoreBackupRequest { backup_id: backup_id.clone() })),
        ("ModifyBackupAttributes", {
            Call::ModifyBackupAttributes(ModifyBackupAttributesRequest { backup_id, never_expires: true })
        }),
        ("ListTags", Call::ListTags(ListTagsRequest { resource_id: backup_text.clone(), ..Default::default() })),
        ("TagResource", Call::TagResource(TagResourceRequest { resource_id: backup_text.clone(), tag_list: tags })),
        ("UntagResource", {
            Call::UntagResource(UntagResourceRequest { resource_id: backup_text, tag_key_list: vec!["a".into()] })
        }),
        ("GetResourcePolicy", {
            Call::GetResourcePolicy(GetResourcePolicyRequest { resource_arn: resource_arn.clone() })
        }),
        ("PutResourcePolicy", {
            Call::PutResourcePolicy(PutResourcePolicyRequest { resource_arn: resource_arn.clone(), policy })
        }),
        ("DeleteResourcePolicy", Call::DeleteResourcePolicy(DeleteResourcePolicyRequest { resource_arn })),
        ("DescribeClusters", Call::DescribeClusters(Default::default())),
        ("CreateHsm", {
            let (cluster_id, availability_zone) = (cluster_id.clone(), zone);
            Call::CreateHsm(CreateHsmRequest { cluster_id, availability_zone, ip_address: None })
        }),
        ("DeleteHsm", {
            let (cluster_id, eni_ip) = (cluster_id.clone(), Some("127.94.17.2".into()));
            Call::DeleteHsm(DeleteHsmRequest { cluster_id, eni_ip, ..Default::default() })
        }),
        ("InitializeCluster", {
            let (cluster_id, signed_cert) = (cluster_id.clone(), "certificate".into());
            Call::InitializeCluster(InitializeClusterRequest { cluster_id, signed_cert, trust_anchor: "anchor".into() })
        }),
        ("ModifyCluster", {
            let hsm_type = Some("hsm2m.medium".into());
            Call::ModifyCluster(ModifyClusterRequest { cluster_id: cluster_id.clone(), hsm_type, ..Default::default() })
        }),
        ("DeleteCluster", Call::DeleteCluster(DeleteClusterRequest { cluster_id })),
    ]
}

fn create(source_backup_id: Option<String>) -> Call {
    Call::CreateCluster(CreateClusterRequest {
        hsm_type: "hsm2m.medium".into(),
        subnet_ids: vec![SubnetId::new("subnet-0aaaaaaaaaaaaaaa1")],
        source_backup_id,
        ..Default::default()
    })
}

fn describe(shared: bool) -> Call {
    Call::DescribeBackups(DescribeBackupsRequest { shared: Some(shared), ..Default::default() })
}

/// What a call came to: what it lists, `yes`, or the error's name.
fn told(outcome: Result<Reply, ApiError>) -> String {
    match outcome {
        Ok(Reply::DescribeBackups(output)) => format!("lists {}", output.backups.unwrap().len()),
        Ok(Reply::DescribeClusters(output)) => format!("lists {}", output.clusters.unwrap().len()),
        Ok(_) => "yes".to_owned(),
        Err(error) => error.kind().name().trim_end_matches("Exception").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_can_do_with_a_shared_backup_what_the_table_says() {
    let other = user(OTHER, "bob", &[&allow(r#""cloudhsm:*""#, r#""*""#, "{}")]);
    let mut columns = Vec::new();
    for shared in [None, Some(r#"["cloudhsm:CreateCluster","cloudhsm:DescribeBackups"]"#), Some(r#""cloudhsm:*""#)] {
        let world = World::start(Faults::new(None), 1).await;
        let (cluster, backup) = backup(&world).await;
        if let Some(actions) = shared {
            share(&world, &backup, actions).await;
        }
        let mut column = Vec::new();
        for (name, call) in operations(&cluster, &backup) {
            column.push((name, told(ask(&world, &other, call).await)));
        }
        columns.push(column);
    }
    let mut table =
        "| operation of the other account | not shared | shared | shared, with `cloudhsm:*` |\n|---|---|---|---|\n"
            .to_owned();
    for (n, (name, first)) in columns[0].iter().enumerate() {
        table += &format!("| {name} | {first} | {} | {} |\n", columns[1][n].1, columns[2][n].1);
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/sharing.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let introduction = written.split_once("\n| ").map_or(written.as_str(), |(introduction, _)| introduction).trim_end();
    let made = format!("{introduction}\n\n{table}");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(made, std::fs::read_to_string(&path).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_of_a_shared_backup_stays_when_it_is_no_longer_shared() {
    let world = World::start(Faults::new(None), 1).await;
    let (_, backup) = backup(&world).await;
    share(&world, &backup, r#"["cloudhsm:CreateCluster","cloudhsm:DescribeBackups"]"#).await;
    let other = user(OTHER, "bob", &[&allow(r#""cloudhsm:*""#, r#""*""#, "{}")]);
    let Ok(Reply::CreateCluster(made)) = ask(&world, &other, create(Some(arn(&backup)))).await else { panic!() };
    let made = made.cluster.unwrap().cluster_id.unwrap();
    let unshare = DeleteResourcePolicyRequest { resource_arn: Some(arn(&backup)) };
    world.call(0, Call::DeleteResourcePolicy(unshare)).await;
    let refused = ask(&world, &other, create(Some(arn(&backup)))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AccessDenied);
    assert!(refused.message().ends_with("because no resource-based policy allows the cloudhsm:CreateCluster action"));
    world
        .wait("the other account's cluster", async || {
            let described = ask(&world, &other, Call::DescribeClusters(Default::default())).await;
            let Ok(Reply::DescribeClusters(found)) = described else { return None };
            let found = found.clusters?.into_iter().find(|c| c.cluster_id.as_ref() == Some(&made))?;
            (found.state == Some(ClusterState::Active) && found.source_backup_id == Some(backup.clone())).then_some(())
        })
        .await;
    // Its owner's own clusters are not shown to the other, nor the other's to him.
    let Reply::DescribeClusters(own) = world.call(0, Call::DescribeClusters(Default::default())).await else {
        panic!()
    };
    assert!(own.clusters.unwrap().iter().all(|c| c.cluster_id.as_ref() != Some(&made)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_on_tags_decide_and_say_so() {
    let world = World::start(Faults::new(None), 1).await;
    let (cluster, backup) = backup(&world).await;
    let copy = |tags: Option<Vec<Tag>>| {
        let destination_region = RegionName::new(NAMES[1]);
        Call::CopyBackupToRegion(CopyBackupToRegionRequest {
            destination_region,
            backup_id: backup.clone(),
            tag_list: tags,
        })
    };
    let own = format!(r#"{{"StringEquals":{{"aws:RequestTag/team":"{}"}}}}"#, "${aws:PrincipalTag/team}");
    let may_copy = allow(r#""cloudhsm:CopyBackupToRegion""#, r#""arn:aws:cloudhsm:*:*:backup/*""#, "{}");
    let may_tag = allow(r#""cloudhsm:TagResource""#, r#""*""#, &own);
    let alice = user(OWNER, "alice", &[&may_copy, &may_tag]);
    assert!(ask(&world, &alice, copy(None)).await.is_ok());
    assert!(ask(&world, &alice, copy(Some(vec![tag("team", "blue")]))).await.is_ok());
    // A copy with tags also asks for TagResource, and the tags decide.
    let denied = ask(&world, &alice, copy(Some(vec![tag("team", "red")]))).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::CloudHsmTag, "{denied}");
    let sentence = format!(
        "User: arn:aws:iam::{OWNER}:user/alice is not authorized to perform: cloudhsm:TagResource on resource: {} because \
         no identity-based policy allows the cloudhsm:TagResource action",
        arn(&backup)
    );
    assert_eq!(denied.message(), sentence);
    let untouched = user(OWNER, "carol", &[&may_copy]);
    let denied = ask(&world, &untouched, copy(Some(vec![tag("team", "blue")]))).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::AccessDenied, "no statement about tags decided");

    // A resource's own tags.
    let of_team = r#"{"StringEquals":{"aws:ResourceTag/team":"blue"}}"#;
    let dave = user(OWNER, "dave", &[&allow(r#""cloudhsm:DeleteCluster""#, r#""*""#, of_team)]);
    let delete = || Call::DeleteCluster(DeleteClusterRequest { cluster_id: cluster.clone() });
    assert_eq!(ask(&world, &dave, delete()).await.unwrap_err().kind(), ErrorKind::AccessDenied);
    let input = TagResourceRequest { resource_id: cluster.as_str().into(), tag_list: vec![tag("team", "blue")] };
    world.call(0, Call::TagResource(input)).await;
    let asked = ask(&world, &dave, delete()).await.unwrap_err();
    assert_eq!(asked.kind(), ErrorKind::CloudHsmInvalidRequest, "allowed, and refused for its HSM: {asked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_nothing_learns_nothing() {
    let world = World::start(Faults::new(None), 1).await;
    let (cluster, backup) = backup(&world).await;
    let nobody = user(OWNER, "eve", &[]);
    for (name, call) in operations(&cluster, &backup) {
        let there = ask(&world, &nobody, call).await.unwrap_err();
        assert_eq!(there.kind(), ErrorKind::AccessDenied, "{name}: {there}");
        assert!(there.message().contains("because no "), "{name}: {there}");
    }
    let denied = ask(&world, &nobody, Call::DescribeClusters(Default::default())).await.unwrap_err();
    let sentence = format!(
        "User: arn:aws:iam::{OWNER}:user/eve is not authorized to perform: cloudhsm:DescribeClusters because no \
         identity-based policy allows the cloudhsm:DescribeClusters action"
    );
    assert_eq!(denied.message(), sentence);
    wait_cluster(&world, 0, &cluster, ClusterState::Active).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tagging_api_asks_for_each_resource() {
    let world = World::start(Faults::new(None), 1).await;
    let (cluster, backup) = backup(&world).await;
    let cluster_arn = cluster.arn(&RegionName::new(NAMES[0]), &AccountId::new(OWNER));
    let policy = allow(r#"["tag:TagResources","cloudhsm:TagResource"]"#, r#"["*"]"#, "{}");
    let deny = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"arn:aws:cloudhsm:*:*:backup/*"}}"#;
    let frank = user(OWNER, "frank", &[&policy, deny]);
    let input = TagResourcesInput {
        resource_arn_list: vec![cluster_arn.clone(), arn(&backup)],
        tags: [("a".to_owned(), "b".to_owned())].into_iter().collect(),
    };
    let Ok(Reply::TagResources(output)) = ask(&world, &frank, Call::TagResources(input)).await else { panic!() };
    let failed = output.failed_resources_map.unwrap();
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&arn(&backup)]);
    let failure = &failed[&arn(&backup)];
    assert_eq!(failure.error_code.as_deref(), Some("AccessDeniedException"));
    assert!(failure.error_message.as_deref().unwrap().ends_with("with an explicit deny in an identity-based policy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_takes_copies_of_the_accounts_that_it_accepts() {
    let world = World::start(Faults::new(None), 1).await;
    let (_, backup) = backup(&world).await;
    *world.accepted.lock().unwrap() = Some(vec![AccountId::new(OTHER)]);
    let input = CopyBackupToRegionRequest {
        destination_region: RegionName::new(NAMES[1]),
        backup_id: backup.clone(),
        tag_list: None,
    };
    world.call(0, Call::CopyBackupToRegion(input)).await;
    let copy = world
        .wait("an end of the copy", async || {
            let listed = world.try_call(0, Call::ListCopies(Default::default())).await.ok()?;
            let Reply::ListCopies(listed) = listed else { unreachable!() };
            listed.copies.into_iter().find(|copy| copy.finished_at.is_some())
        })
        .await;
    let reason = copy.reason.unwrap();
    assert_eq!(reason.code, "rejected");
    assert!(reason.text.ends_with(&format!("takes no copies of account {OWNER} from {}", NAMES[0])), "{reason:?}");
    assert!(backups_by(&world, 1, "states", "READY").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_reads_its_own_events_only() {
    let world = World::start(Faults::new(None), 1).await;
    let other = user(OTHER, "bob", &[&allow(r#""*""#, r#""*""#, "{}")]);
    world.call(0, Call::DescribeClusters(Default::default())).await;
    ask(&world, &other, Call::DescribeClusters(Default::default())).await.unwrap();
    let list = |caller: Caller| {
        let region = world.region(0);
        async move {
            let listed = region.call(&caller, Call::ListAuditEvents(Default::default())).await.unwrap();
            let Reply::ListAuditEvents(listed) = listed else { unreachable!() };
            listed.events.into_iter().map(|event| event.event).collect::<Vec<_>>()
        }
    };
    // The events of reads come within a second.
    let all =
        world.wait("both events", async || Some(list(caller(None)).await).filter(|events| events.len() >= 2)).await;
    assert!(all.iter().any(|event| event.contains(OTHER)) && all.iter().any(|event| event.contains(OWNER)));
    let own = list(other).await;
    assert!(!own.is_empty() && own.iter().all(|event| event.contains(OTHER) && !event.contains(OWNER)), "{own:?}");
}
