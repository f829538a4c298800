//! Fuzz targets of what a peer says, and of what the codec lets through to the engine's own grammars: policies, tags, filters
//! and tokens, asked through the API of a region with nothing in it.

mod support;

use strongroom_engine::copy::message::{Answer, Message, VERSION};
use strongroom_engine::ports::Facts;
use strongroom_fuzz::{Target, word};
use strongroom_model::call::*;
use strongroom_model::{BackupId, ErrorKind, Tag};

use support::World;
use support::fault::Faults;

fn target(name: &str, seeds: Vec<Vec<u8>>) -> Target<'_> {
    Target::new(name, env!("CARGO_MANIFEST_DIR"), seeds)
}

#[test]
fn what_peers_say() {
    let encoded = |message: &Message| minicbor::to_vec(message).unwrap();
    let seeds = vec![
        encoded(&Message::Status { version: VERSION, highest: None }),
        encoded(&Message::Chunk { copy_id: "copy-aaaaaaaaaaa".into(), n: 1, bytes: vec![1; 20] }),
        encoded(&Message::Receipts { after: 7 }),
    ];
    target("peer-message", seeds).fuzz(|input| match minicbor::decode::<Message>(input) {
        Ok(message) => {
            let again = minicbor::to_vec(&message).unwrap();
            assert_eq!(minicbor::decode::<Message>(&again).unwrap(), message);
            word(&format!("{:?}", &again[..2]))
        }
        Err(error) => word(&error.to_string()),
    });
    let seeds = vec![minicbor::to_vec(Answer::Lacks { backup_id: "backup".into(), ranges: vec![(0, 3)] }).unwrap()];
    target("peer-answer", seeds).fuzz(|input| match minicbor::decode::<Answer>(input) {
        Ok(answer) => word(&format!("{:?}", minicbor::to_vec(&answer).unwrap().get(..2))),
        Err(error) => word(&error.to_string()),
    });
    target("facts", vec![]).fuzz(|input| Facts::from_bytes(input).map_or_else(|e| word(&e.to_string()), |_| 1));
}

/// A call that must be answered, and by nothing of ours that failed.
fn ask(world: &World, runtime: &tokio::runtime::Runtime, call: Call) -> u64 {
    match runtime.block_on(world.try_call(0, call)) {
        Ok(reply) => word(reply.operation().name()),
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::CloudHsmInternalFailure, "{error}");
            word(error.message())
        }
    }
}

#[test]
fn policies_tags_filters_and_tokens() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::start(Faults::new(None), 1));
    let text = |input: &[u8]| String::from_utf8_lossy(input).into_owned();
    let policy = br#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"a"}]}"#;
    target("policy", vec![policy.to_vec()]).fuzz(|input| {
        let arn =
            Some(format!("arn:aws:cloudhsm:us-east-1:000000000000:backup/{}", BackupId::new("backup-aaaaaaaaaaa")));
        let input = PutResourcePolicyRequest { resource_arn: arn, policy: Some(text(input)) };
        ask(&world, &runtime, Call::PutResourcePolicy(input))
    });
    target("tags", vec![b"key=value\naws:x=y".to_vec()]).fuzz(|input| {
        let tag = |line: &str| {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            Tag { key: key.to_owned(), value: value.to_owned() }
        };
        let tag_list = text(input).lines().take(60).map(tag).collect();
        let input = TagResourceRequest { resource_id: "cluster-aaaaaaaaaaa".into(), tag_list };
        ask(&world, &runtime, Call::TagResource(input))
    });
    target("filters", vec![b"states=READY,DELETED\nneverExpires=True\ntoken".to_vec()]).fuzz(|input| {
        let (mut filters, mut next_token) = (Filters::new(), None);
        for line in text(input).lines().take(30) {
            match line.split_once('=') {
                Some((name, values)) => {
                    drop(filters.insert(name.to_owned(), values.split(',').map(str::to_owned).collect()));
                }
                None => next_token = Some(line.to_owned()),
            }
        }
        let input = DescribeBackupsRequest { filters: Some(filters), next_token, ..Default::default() };
        ask(&world, &runtime, Call::DescribeBackups(input))
    });
}
