//! The audit trail from outside: every call is in it, an export of it can be checked, and what was done to the export shows.

mod kit;

use std::fs;
use std::time::{Duration, Instant};

use kit::*;
use serde_json::Value;
use strongroom_model::call::*;
use strongroom_model::{ClusterId, Operation};
use strongroom_wire::front::Protocol;

/// Calls that are made, of each of six kinds.
const EACH: usize = 60;

/// Standard output of a command that ends with this code.
fn told(dev: &Dev, words: &[&str], code: i32) -> String {
    let output = dev.command(SOURCE, words);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{err}");
    out.into_owned()
}

/// Reads, changes, repeats, refusals of the engine and of the door, in both protocols.
fn calls(dev: &Dev) {
    for protocol in [Protocol::AwsJson11, Protocol::RpcV2Cbor] {
        let mut api = Api::new(&dev.address, SOURCE, protocol);
        let cluster = api.create_cluster(None);
        for n in 0..EACH / 2 {
            api.call(Call::DescribeClusters(Default::default()));
            let delete = DeleteClusterRequest { cluster_id: ClusterId::new("cluster-aaaaaaaaaaa") };
            api.try_call(Call::DeleteCluster(delete)).unwrap_err();
            let (status, _) = api.exchange(&api.request(Operation::CreateHsm, b"\xff")).unwrap();
            assert_eq!(status, 400);
            api.invocation_id = Some(format!("{protocol:?}-{n}"));
            let tag = strongroom_model::Tag { key: "n".into(), value: n.to_string() };
            let tags = TagResourceRequest { resource_id: cluster.as_str().into(), tag_list: vec![tag] };
            for _ in 0..2 {
                api.call(Call::TagResource(tags.clone()));
            }
            api.invocation_id = None;
            api.call(Call::ListTags(ListTagsRequest { resource_id: cluster.as_str().into(), ..Default::default() }));
        }
    }
}

/// The export, a second after the last call at the latest.
fn export(dev: &Dev, name: &str) -> Vec<String> {
    told(dev, &["audit", "export", "--to", name], 0);
    let text = fs::read_to_string(dev.folder.path().join(name)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn events(lines: &[String]) -> Vec<Value> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| serde_json::from_str(line.get("event")?.as_str()?).ok()).collect()
}

fn verify(dev: &Dev, lines: &[String], code: i32) -> String {
    fs::write(dev.folder.path().join("changed"), lines.join("\n") + "\n").unwrap();
    told(dev, &["audit", "verify", "--file", "changed"], code)
}

#[test]
fn every_call_is_in_the_trail_and_what_is_done_to_an_export_shows() {
    let mut dev = Dev::start();
    calls(&dev);
    let last = Instant::now();
    std::thread::sleep(Duration::from_millis(900));
    let lines = export(&dev, "trail");
    assert!(last.elapsed() < Duration::from_secs(5), "this says nothing of a slow machine");
    let count = |name: &str, failed: bool, repeat: bool| {
        let is_one = |event: &&Value| {
            event["eventName"] == name
                && event.get("errorCode").is_some() == failed
                && (event["additionalEventData"]["repeat"] == true) == repeat
        };
        events(&lines).iter().filter(is_one).count()
    };
    assert_eq!(count("CreateCluster", false, false), 2);
    for (name, failed, repeat) in [
        ("DescribeClusters", false, false),
        ("DeleteCluster", true, false),
        ("CreateHsm", true, false),
        ("TagResource", false, false),
        ("TagResource", false, true),
        ("ListTags", false, false),
    ] {
        assert_eq!(count(name, failed, repeat), EACH, "{name} {failed} {repeat}");
    }

    // A life that ended in order is signed to its end.
    assert_eq!(dev.interrupt(), 0);
    dev.run();
    // The second life is seen once its first events are durable.
    let ok =
        wait("two writers", || Some(told(&dev, &["audit", "verify"], 0)).filter(|ok| ok.contains(" of 2 writers, ")));
    assert!(ok.starts_with("ok, ") && ok.contains(", signed up to 20"), "{ok}");
    let lines = export(&dev, "signed");
    let ok = verify(&dev, &lines, 0);
    assert!(ok.contains(", signed up to 20"), "{ok}");

    let at = 200;
    let line: Value = serde_json::from_str(&lines[at]).unwrap();
    let (writer, n, seq) =
        (line["writer"].as_str().unwrap(), line["n"].as_i64().unwrap(), line["seq"].as_i64().unwrap());
    let mut changed = lines.clone();
    changed.remove(at);
    let found = verify(&dev, &changed, 5);
    assert!(found.starts_with(&format!("removed: writer {writer}, n {}, seq {}: ", n + 1, seq + 1)), "{found}");
    let mut changed = lines.clone();
    changed[at] = changed[at].replace("127.0.0.1", "127.0.0.2");
    assert_ne!(changed[at], lines[at]);
    let found = verify(&dev, &changed, 5);
    assert!(found.starts_with(&format!("altered: writer {writer}, n {n}, seq {seq}: ")), "{found}");
    let signature = lines.iter().position(|line| line.contains("\"signature\"")).unwrap();
    let mut changed = lines;
    changed[signature] = changed[signature].replace("\"at\":", "\"at\":1");
    assert!(verify(&dev, &changed, 5).starts_with("signature: writer "));
}

#[test]
fn the_list_shows_who_called_what() {
    let dev = Dev::start();
    let mut api = dev.api(SOURCE);
    let delete = DeleteClusterRequest { cluster_id: ClusterId::new("cluster-aaaaaaaaaaa") };
    api.try_call(Call::DeleteCluster(delete)).unwrap_err();
    let list = wait("the event", || {
        let list = told(&dev, &["audit", "list", "--event", "DeleteCluster", "--failed", "--since", "10m"], 0);
        (!list.is_empty()).then_some(list)
    });
    let cells: Vec<_> = list.trim_end().split('\t').collect();
    let expected =
        ["DeleteCluster", "arn:aws:iam::000000000000:user/test", "127.0.0.1", "CloudHsmResourceNotFoundException"];
    assert_eq!((&cells[1..5], cells[5]), (&expected[..], "cluster-aaaaaaaaaaa"), "{list}");
    assert_eq!(told(&dev, &["audit", "list", "--principal", "arn:aws:iam::000000000000:user/other"], 0), "");
    let json = told(&dev, &["--json", "audit", "list", "--event", "DeleteCluster", "--limit", "1"], 0);
    let line: Value = serde_json::from_str(&json).unwrap();
    assert!(line["event"].as_str().unwrap().contains("\"eventName\":\"DeleteCluster\""), "{line}");
}
