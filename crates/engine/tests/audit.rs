//! The audit trail of a region: each call leaves one event, soon durable, in a chain that holds and that is signed.

mod support;

use std::time::Duration;

use serde_json::{Value as Json, json};
use strongroom_engine::ports::Signer as _;
use strongroom_model::call::*;
use strongroom_model::{ApiError, ClusterId, ErrorKind, Operation, SubnetId, Tag, VpcId};
use strongroom_store::chain;
use strongroom_store::control::audit::{self, Event};

use support::fault::Faults;
use support::{NAMES, TestSigner, World, caller};

async fn world() -> World {
    World::start(Faults::default(), 1).await
}

fn rows(world: &World) -> Vec<Event> {
    world.database(0).read_blocking(|tx| audit::after(tx, 0, 100_000)).unwrap()
}

fn events(world: &World) -> Vec<Json> {
    rows(world).iter().map(|row| serde_json::from_str(&row.event).unwrap()).collect()
}

/// So many events, once they are durable.
async fn wait_for(world: &World, count: usize) -> Vec<Json> {
    world.wait("events", async || (events(world).len() >= count).then_some(())).await;
    // One too many would come with the next write.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let found = events(world);
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

fn add_subnet(vpc: &str) -> Call {
    Call::AddSubnet(AddSubnetRequest {
        subnet_id: SubnetId::new("subnet-0aaaaaaaaaaaaaaa9"),
        vpc_id: VpcId::new(vpc),
        availability_zone: "us-east-1a".into(),
    })
}

/// Panics unless the chain of each writer holds.
fn check_chains(rows: &[Event]) {
    let mut writers: Vec<_> = rows.iter().map(|row| row.writer.clone()).collect();
    writers.sort_unstable();
    writers.dedup();
    for writer in writers {
        let mut previous = chain::start(&writer);
        for (row, n) in rows.iter().filter(|row| row.writer == writer).zip(1..) {
            let hash = chain::link(&previous, n, &row.event);
            assert_eq!((row.n, row.hash), (n, Some(hash)), "{row:?}");
            previous = hash.to_vec();
        }
    }
}

#[tokio::test]
async fn each_call_leaves_one_event() {
    let world = world().await;
    let region = world.region(0);
    world.call(0, Call::DescribeClusters(Default::default())).await;
    world.call(0, add_subnet("vpc-0aaaaaaaaaaaaaaa1")).await;
    world.try_call(0, add_subnet("vpc-0aaaaaaaaaaaaaaa2")).await.unwrap_err();
    let delete = DeleteClusterRequest { cluster_id: ClusterId::new("cluster-aaaaaaaaaaa") };
    world.try_call(0, Call::DeleteCluster(delete)).await.unwrap_err();
    let again = caller(Some("again".into()));
    let repeated = async || region.call(&again, add_subnet("vpc-0aaaaaaaaaaaaaaa1")).await.unwrap();
    assert_eq!(repeated().await, repeated().await);
    let refused = ApiError::new(ErrorKind::Serialization, "It is no JSON.");
    region.record_refused(&caller(None), Operation::TagResource, &refused).await;

    let mut found = wait_for(&world, 7).await;
    found.sort_by_key(|event| (event["eventName"].to_string(), event["errorCode"].to_string()));
    let shown: Vec<_> = found
        .iter()
        .map(|e| json!([e["eventName"], e["readOnly"], e["errorCode"], e["additionalEventData"]["repeat"]]))
        .collect();
    let invalid = "CloudHsmInvalidRequestException";
    let expected = json!([
        ["AddSubnet", false, invalid, null],
        ["AddSubnet", false, null, null],
        ["AddSubnet", false, null, null],
        ["AddSubnet", false, null, true],
        ["DeleteCluster", false, "CloudHsmResourceNotFoundException", null],
        ["DescribeClusters", true, null, null],
        ["TagResource", false, "SerializationException", null],
    ]);
    assert_eq!(Json::from(shown), expected);
    assert_eq!(found[1]["requestParameters"]["vpcId"], "vpc-0aaaaaaaaaaaaaaa1");
    assert_eq!(found[1]["responseElements"]["subnet"]["origin"], "stated");
    assert_eq!(found[3]["responseElements"], found[2]["responseElements"]);
    assert_eq!((&found[5]["requestParameters"], &found[5]["responseElements"]), (&Json::Null, &Json::Null));
    let mut ids: Vec<_> = found.iter().map(|event| event["eventID"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 7);
    check_chains(&rows(&world));
}

#[tokio::test]
async fn a_read_whose_caller_goes_away_leaves_its_event() {
    let world = world().await;
    let region = world.region(0);
    let endpoints = DescribeHsmEndpointsRequest { cluster_id: ClusterId::new("cluster-aaaaaaaaaaa") };
    {
        let caller = caller(None);
        let call = std::pin::pin!(region.call(&caller, Call::DescribeHsmEndpoints(endpoints)));
        drop(futures_util::future::select(call, std::future::ready(())).await);
    }
    let found = wait_for(&world, 1).await;
    assert_eq!(found[0]["eventName"], "DescribeHsmEndpoints");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_are_all_there_and_the_chain_holds() {
    let world = world().await;
    let calls = (0..40).map(|n| {
        let region = world.region(0);
        tokio::spawn(async move {
            for k in 0..25 {
                let call = match (n + k) % 5 {
                    0 => add_subnet("vpc-0aaaaaaaaaaaaaaa1"),
                    1 => Call::ListTags(ListTagsRequest {
                        resource_id: "cluster-aaaaaaaaaaa".into(),
                        ..Default::default()
                    }),
                    _ => Call::DescribeClusters(Default::default()),
                };
                drop(region.call(&caller(None), call).await);
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    wait_for(&world, 1_000).await;
    check_chains(&rows(&world));
}

#[tokio::test]
async fn events_outlive_a_store_that_fails_for_a_while() {
    let world = world().await;
    world.faults.kill(NAMES[0]);
    for _ in 0..3 {
        let failed = world.region(0).call(&caller(None), Call::DescribeClusters(Default::default())).await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::CloudHsmInternalFailure);
        // Long enough for a write to be tried.
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    world.faults.revive(NAMES[0]);
    for event in wait_for(&world, 3).await {
        assert_eq!(event["errorCode"], "CloudHsmInternalFailureException");
    }
    check_chains(&rows(&world));
}

#[tokio::test]
async fn the_end_of_a_life_is_signed_and_the_next_has_a_chain_of_its_own() {
    let world = world().await;
    for _ in 0..2 {
        world.call(0, Call::ListSubnets(ListSubnetsRequest {})).await;
        let region = world.region(0);
        region.stop();
        // Who is under way at the end is written with it.
        region.call(&caller(None), Call::DescribeClusters(Default::default())).await.unwrap();
        region.close_trail().await.unwrap();
        drop(region);
        world.revive(0).await;
    }
    let rows = rows(&world);
    check_chains(&rows);
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(rows[0].writer == rows[1].writer && rows[1].writer != rows[2].writer);
    for row in [&rows[1], &rows[3]] {
        let signature = row.signature.as_ref().unwrap();
        let statement = chain::statement(&row.writer, row.n, &row.hash.unwrap(), signature.at);
        assert_eq!(signature.signature, TestSigner.sign(&statement));
        assert_eq!(signature.key_id, chain::key_id(&TestSigner.public_key()));
    }
}

#[tokio::test]
async fn the_list_has_pages_and_filters() {
    let world = world().await;
    for n in 0..30 {
        let tags = TagResourceRequest {
            resource_id: "cluster-aaaaaaaaaaa".into(),
            tag_list: vec![Tag { key: "k".into(), value: n.to_string() }],
        };
        world.try_call(0, Call::TagResource(tags)).await.unwrap_err();
        world.call(0, Call::DescribeClusters(Default::default())).await;
    }
    wait_for(&world, 60).await;
    let walk = async |input: ListAuditEventsRequest| {
        let (mut seqs, mut next_token) = (Vec::new(), None);
        loop {
            let input = ListAuditEventsRequest { next_token, max_results: Some(7), ..input.clone() };
            let Reply::ListAuditEvents(page) = world.call(0, Call::ListAuditEvents(input)).await else { panic!() };
            assert!(page.events.len() <= 7);
            seqs.extend(page.events.iter().map(|event| event.seq).filter(|seq| *seq <= 60));
            next_token = page.next_token;
            if next_token.is_none() {
                return seqs;
            }
        }
    };
    let newest_first = Some(true);
    assert_eq!(walk(ListAuditEventsRequest::default()).await, (1..=60).collect::<Vec<_>>());
    let all = ListAuditEventsRequest { newest_first, ..Default::default() };
    assert_eq!(walk(all).await, (1..=60).rev().collect::<Vec<_>>());
    let since_10 = ListAuditEventsRequest { after_seq: Some(50), newest_first, ..Default::default() };
    assert_eq!(walk(since_10).await, (51..=60).rev().collect::<Vec<_>>());
    let failed = ListAuditEventsRequest { errors_only: Some(true), ..Default::default() };
    assert_eq!(walk(failed.clone()).await.len(), 30);
    let none = ListAuditEventsRequest { event_name: Some("DescribeClusters".into()), ..failed };
    assert_eq!(walk(none).await.len(), 0);
    let own = ListAuditEventsRequest { principal: Some(caller(None).principal), ..Default::default() };
    assert_eq!(walk(own).await.len(), 60);
    let other =
        ListAuditEventsRequest { principal: Some("arn:aws:iam::000000000000:root".into()), ..Default::default() };
    assert_eq!(walk(other).await.len(), 0);
    let now = strongroom_engine::ports::Clock::now(&*world.clock);
    let later = ListAuditEventsRequest { since: Some(now.plus(60_000)), ..Default::default() };
    assert_eq!(walk(later).await.len(), 0);
    let earlier = ListAuditEventsRequest { until: Some(now.plus(-60_000)), ..Default::default() };
    assert_eq!(walk(earlier).await.len(), 0);
}
