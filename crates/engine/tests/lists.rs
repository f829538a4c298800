//! Lists through the wire, held against a plain list in memory: filters and their combinations, both orders, every size of
//! page, pages while rows come and go, and the limits of tags. Which queries are made is drawn from a fixed seed.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use strongroom_model::backup::BackupState;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::time::MINUTE;
use strongroom_model::{AccountId, BackupId, ClusterId, RegionName, SubnetId, Tag, Timestamp, VpcId};
use strongroom_store::control::backups::{self, Backup, Origin};
use strongroom_store::control::clusters::{self, Cluster};
use strongroom_store::sql::Param;

use support::World;
use support::draw::{Draw, id};
use support::fault::Faults;
use support::wire::{PROTOCOLS, Refused, ask};

/// The account of every caller in these tests.
const OWN: &str = "000000000000";

fn run(test: impl AsyncFnOnce(World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(World::start(Faults::new(None), 1).await).await });
}

/// A backup of nothing that is really there, at a time that others share.
fn backup(n: usize, draw: &mut Draw) -> Backup {
    let states = BackupState::ALL;
    let copied = draw.chance(40);
    Backup {
        backup_id: BackupId::new(id("backup-", n)),
        account: AccountId::new(if draw.chance(10) { "111111111111" } else { OWN }),
        origin: if copied { Origin::Copy } else { Origin::Local },
        state: draw.one(states),
        cluster_id: (!copied).then(|| ClusterId::new(id("cluster-", draw.below(4)))),
        source_region: copied.then(|| RegionName::new("eu-west-1")),
        source_backup_id: copied.then(|| BackupId::new(id("backup-", 1_000 + draw.below(5)))),
        source_cluster_id: copied.then(|| ClusterId::new(id("cluster-", draw.below(4)))),
        hsm_type: "hsm2m.medium".into(),
        create_ts: Timestamp::from_millis(1_795_000_000_000 + (draw.below(60) as i64) * MINUTE),
        never_expires: draw.chance(30),
        ..Backup::default()
    }
}

fn insert_backups(world: &World, rows: Vec<Backup>) {
    world.write(0, move |tx| rows.iter().try_for_each(|row| backups::insert(tx, row)));
}

/// Filters that are drawn: each with one to three values, among them some that nothing has.
fn backup_filters(draw: &mut Draw) -> Filters {
    let mut filters = Filters::new();
    let mut add = |draw: &mut Draw, name: &str, value: &mut dyn FnMut(&mut Draw) -> String| {
        if draw.chance(35) {
            let count = 1 + draw.below(3);
            filters.insert(name.to_owned(), (0..count).map(|_| value(draw)).collect());
        }
    };
    add(draw, "backupIds", &mut |draw| id("backup-", draw.below(330)));
    add(draw, "sourceBackupIds", &mut |draw| id("backup-", 1_000 + draw.below(7)));
    add(draw, "clusterIds", &mut |draw| id("cluster-", draw.below(6)));
    add(draw, "states", &mut |draw| draw.one(&["READY", "DELETED", "PENDING_DELETION", "NONE"]).to_owned());
    add(draw, "neverExpires", &mut |draw| draw.one(&["True", "False", "true", "FALSE"]).to_owned());
    filters
}

/// What the page of the service's reference says, row by row.
fn backup_matches(row: &Backup, filters: &Filters) -> bool {
    let among = |name: &str, value: Option<&str>| {
        filters.get(name).is_none_or(|values| value.is_some_and(|value| values.iter().any(|v| v == value)))
    };
    let asked = ["backupIds", "sourceBackupIds", "states"].iter().any(|name| filters.contains_key(*name));
    row.account.as_str() == OWN
        && (asked || row.state != BackupState::Deleted)
        && among("backupIds", Some(row.backup_id.as_str()))
        && among("sourceBackupIds", row.source_backup_id.as_ref().map(|id| id.as_str()))
        && among("clusterIds", row.cluster_id.as_ref().map(|id| id.as_str()))
        && among("states", Some(row.state.as_str()))
        && filters
            .get("neverExpires")
            .is_none_or(|values| values.iter().any(|value| value.eq_ignore_ascii_case(&row.never_expires.to_string())))
}

#[test]
fn backups_by_any_filters_in_any_pages_are_those_of_a_plain_list() {
    run(async |world| {
        let mut draw = Draw(7);
        let mut rows: Vec<_> = (0..300).map(|n| backup(n, &mut draw)).collect();
        insert_backups(&world, rows.clone());
        rows.sort_by(|a, b| (a.create_ts, &a.backup_id).cmp(&(b.create_ts, &b.backup_id)));
        let mut found = 0;
        for n in 0..600 {
            let filters = backup_filters(&mut draw);
            let (ascending, size) = (draw.chance(50), 1 + draw.below(50) as i64);
            let mut expected: Vec<_> = rows.iter().filter(|row| backup_matches(row, &filters)).collect();
            if !ascending {
                expected.reverse();
            }
            let expected: Vec<_> = expected.into_iter().map(|row| row.backup_id.clone()).collect();
            let input = DescribeBackupsRequest {
                filters: (!filters.is_empty()).then(|| filters.clone()),
                max_results: Some(size),
                sort_ascending: Some(ascending),
                ..Default::default()
            };
            let listed = all_backups(&world, n, input, async |_| {}).await;
            assert_eq!(listed, expected, "{filters:?}, ascending: {ascending}, pages of {size}");
            found += listed.len();
        }
        assert!(found > 5_000, "the filters leave something: {found}");
    });
}

/// Follows the pages to the end; `between` is done after each. Protocols take turns.
async fn all_backups(
    world: &World,
    n: usize,
    mut input: DescribeBackupsRequest,
    mut between: impl AsyncFnMut(usize),
) -> Vec<BackupId> {
    let mut listed = Vec::new();
    for page in 0.. {
        let protocol = PROTOCOLS[(n + page) % 2];
        let Ok(Reply::DescribeBackups(output)) = ask(world, 0, protocol, Call::DescribeBackups(input.clone())).await
        else {
            panic!("{input:?} is refused")
        };
        let backups = output.backups.unwrap();
        assert!(backups.len() as i64 <= input.max_results.unwrap_or(50));
        listed.extend(backups.into_iter().map(|b| b.backup_id));
        between(page).await;
        match output.next_token {
            Some(token) => input.next_token = Some(token),
            None => return listed,
        }
    }
    unreachable!()
}

#[test]
fn pages_give_what_stays_once_while_rows_come_and_go() {
    run(async |world| {
        let mut draw = Draw(11);
        for ascending in [false, true] {
            let first = if ascending { 3_000 } else { 2_000 };
            let rows: Vec<_> = (first..first + 200)
                .map(|n| Backup { account: AccountId::new(OWN), state: BackupState::Ready, ..backup(n, &mut draw) })
                .collect();
            let cluster = ClusterId::new(id("cluster-", first));
            let rows: Vec<_> =
                rows.into_iter().map(|row| Backup { cluster_id: Some(cluster.clone()), ..row }).collect();
            insert_backups(&world, rows.clone());
            let mut gone = BTreeSet::new();
            let input = DescribeBackupsRequest {
                filters: Some([("clusterIds".to_owned(), vec![cluster.as_str().to_owned()])].into_iter().collect()),
                max_results: Some(7),
                sort_ascending: Some(ascending),
                ..Default::default()
            };
            let listed = all_backups(&world, 0, input, async |page| {
                // One comes and one goes, anywhere.
                let newcomer = Backup {
                    account: AccountId::new(OWN),
                    state: BackupState::Ready,
                    cluster_id: Some(cluster.clone()),
                    ..backup(first + 500 + page, &mut draw)
                };
                insert_backups(&world, vec![newcomer]);
                let goes = draw.one(&rows).backup_id;
                let name = goes.as_str().to_owned();
                world.write(0, move |tx| {
                    tx.execute("DELETE FROM backups WHERE backup_id = $1", &[Param::Text(&name)]).map(drop)
                });
                gone.insert(goes);
            })
            .await;
            let mut times = BTreeMap::<_, usize>::new();
            listed.iter().for_each(|id| *times.entry(id.clone()).or_default() += 1);
            assert!(times.values().all(|times| *times == 1), "nothing is given twice");
            for row in rows.iter().filter(|row| !gone.contains(&row.backup_id)) {
                assert!(times.contains_key(&row.backup_id), "{} stayed and was not given", row.backup_id);
            }
        }
    });
}

fn cluster(n: usize, draw: &mut Draw) -> Cluster {
    let states: Vec<_> = ClusterState::ALL.iter().filter(|state| **state != ClusterState::Degraded).copied().collect();
    let state = draw.one(&states);
    Cluster {
        cluster_id: ClusterId::new(id("cluster-", n)),
        account: AccountId::new(if draw.chance(10) { "111111111111" } else { OWN }),
        state,
        hsm_type: "hsm2m.medium".into(),
        vpc_id: VpcId::new(format!("vpc-0000000{}", draw.below(4))),
        retention_days: 90,
        create_ts: Timestamp::from_millis(1_795_000_000_000 + (draw.below(40) as i64) * MINUTE),
        damage: draw.chance(20).then(|| "a seal does not hold".to_owned()),
        deleted_at: (state == ClusterState::Deleted).then_some(Timestamp::from_millis(1_795_000_000_000)),
        ..Cluster::default()
    }
}

/// The state that is shown: a damaged ACTIVE cluster is DEGRADED.
fn shown_state(row: &Cluster) -> ClusterState {
    match row.state {
        ClusterState::Active if row.damage.is_some() => ClusterState::Degraded,
        state => state,
    }
}

#[test]
fn clusters_by_any_filters_in_any_pages_are_those_of_a_plain_list() {
    run(async |world| {
        let mut draw = Draw(5);
        let mut rows: Vec<_> = (0..120).map(|n| cluster(n, &mut draw)).collect();
        let inserted = rows.clone();
        world.write(0, move |tx| inserted.iter().try_for_each(|row| clusters::insert(tx, row)));
        rows.sort_by(|a, b| (b.create_ts, &b.cluster_id).cmp(&(a.create_ts, &a.cluster_id)));
        for n in 0..300 {
            let mut filters = Filters::new();
            for (name, chance) in [("clusterIds", 30), ("vpcIds", 40), ("states", 50)] {
                if draw.chance(chance) {
                    let value = |draw: &mut Draw| match name {
                        "clusterIds" => id("cluster-", draw.below(130)),
                        "vpcIds" => format!("vpc-0000000{}", draw.below(6)),
                        _ => draw.one(&["ACTIVE", "DEGRADED", "DELETED", "UNINITIALIZED", "NONE"]).to_owned(),
                    };
                    let values = (0..1 + draw.below(3)).map(|_| value(&mut draw)).collect();
                    filters.insert(name.to_owned(), values);
                }
            }
            let among = |name: &str, value: &str| filters.get(name).is_none_or(|v| v.iter().any(|v| v == value));
            let asked = filters.contains_key("clusterIds") || filters.contains_key("states");
            let expected = rows.iter().filter(|row| {
                row.account.as_str() == OWN
                    && (asked || row.state != ClusterState::Deleted)
                    && among("clusterIds", row.cluster_id.as_str())
                    && among("vpcIds", row.vpc_id.as_str())
                    && among("states", shown_state(row).as_str())
            });
            let expected: Vec<_> = expected.map(|row| (row.cluster_id.clone(), shown_state(row))).collect();
            let size = 1 + draw.below(25) as i64;
            assert_eq!(all_clusters(&world, n, &filters, size).await, expected, "{filters:?}, pages of {size}");
        }
    });
}

async fn all_clusters(world: &World, n: usize, filters: &Filters, size: i64) -> Vec<(ClusterId, ClusterState)> {
    let mut listed = Vec::new();
    let mut input = DescribeClustersRequest {
        filters: (!filters.is_empty()).then(|| filters.clone()),
        max_results: Some(size),
        next_token: None,
    };
    for page in 0.. {
        let protocol = PROTOCOLS[(n + page) % 2];
        let Ok(Reply::DescribeClusters(output)) = ask(world, 0, protocol, Call::DescribeClusters(input.clone())).await
        else {
            panic!("{input:?} is refused")
        };
        let clusters = output.clusters.unwrap().into_iter();
        listed.extend(clusters.map(|c| (c.cluster_id.unwrap(), c.state.unwrap())));
        match output.next_token {
            Some(token) => input.next_token = Some(token),
            None => break,
        }
    }
    listed
}

#[test]
fn a_resource_has_fifty_tags_and_they_come_in_pages_in_their_order() {
    run(async |world| {
        for protocol in PROTOCOLS {
            let input = CreateClusterRequest {
                hsm_type: "hsm2m.medium".into(),
                subnet_ids: vec![SubnetId::new("subnet-0aaaaaaaaaaaaaaa1")],
                ..Default::default()
            };
            let Ok(Reply::CreateCluster(output)) = ask(&world, 0, protocol, Call::CreateCluster(input)).await else {
                panic!()
            };
            let resource_id = output.cluster.unwrap().cluster_id.unwrap().as_str().to_owned();
            let tags = |keys: std::ops::Range<usize>| -> Vec<Tag> {
                let key = |n: usize| format!("{}{n}", "é".repeat(126));
                keys.map(|n| Tag { key: key(n), value: "v".repeat(256) }).collect()
            };
            let put = async |tag_list| {
                let input = TagResourceRequest { resource_id: resource_id.clone(), tag_list };
                ask(&world, 0, protocol, Call::TagResource(input)).await
            };
            assert!(put(tags(10..40)).await.is_ok());
            assert!(put(tags(40..60)).await.is_ok(), "fifty");
            assert!(put(tags(10..60)).await.is_ok(), "the same fifty");
            let refused = put(tags(60..61)).await.unwrap_err();
            assert_eq!(refused.name, "CloudHsmResourceLimitExceededException");
            let name = |refused: Result<Reply, Refused>| refused.unwrap_err().name;
            let one = |key: &str, value: &str| vec![Tag { key: key.into(), value: value.into() }];
            let invalid = "CloudHsmInvalidRequestException";
            assert_eq!(name(put(Vec::new()).await), invalid, "none");
            assert_eq!(name(put(tags(10..61)).await), invalid, "more than fifty in a call");
            assert_eq!(name(put(one(&"k".repeat(129), "")).await), invalid);
            assert_eq!(name(put(one("k", &"v".repeat(257))).await), invalid);
            assert_eq!(name(put(one("", "v")).await), invalid);
            assert_eq!(name(put(one("k?", "v")).await), invalid);
            assert_eq!(name(put(one("aws:k", "v")).await), "CloudHsmTagException");
            assert_eq!(name(put([one("k", "1"), one("k", "2")].concat()).await), "CloudHsmTagException");
            for size in [1, 7, 50, 100] {
                let mut input =
                    ListTagsRequest { resource_id: resource_id.clone(), max_results: Some(size), next_token: None };
                let mut listed = Vec::new();
                loop {
                    let Ok(Reply::ListTags(output)) = ask(&world, 0, protocol, Call::ListTags(input.clone())).await
                    else {
                        panic!()
                    };
                    listed.extend(output.tag_list);
                    match output.next_token {
                        Some(token) => input.next_token = Some(token),
                        None => break,
                    }
                }
                assert_eq!(listed, tags(10..60), "pages of {size}");
            }
        }
    });
}
