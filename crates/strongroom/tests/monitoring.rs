//! What those who watch a process are told, on the address of their own: alive, ready or why not, and metrics that follow
//! what happens.

mod kit;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kit::*;
use strongroom_model::ClusterId;
use strongroom_model::call::*;

/// Status and body of what is answered.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// The value of a metric, by its name and labels.
fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {metrics}")).parse().unwrap()
}

fn start() -> (Dev, String) {
    let dev = Dev::start_with(&["--monitoring", "127.0.0.1:0"], &[]);
    let output = dev.output.lock().unwrap().clone();
    let line = output.lines().find(|line| line.starts_with("  monitoring ")).unwrap_or_else(|| panic!("{output}"));
    let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    (dev, address)
}

#[test]
fn metrics_follow_what_happens() {
    let (dev, address) = start();
    assert_ne!(dev.address, address, "an address of its own");
    assert_eq!(get(&address, "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(get(&address, "/readyz"), (200, "ok\n".to_owned()));
    let mut api = dev.api(SOURCE);
    for _ in 0..3 {
        api.call(Call::DescribeClusters(Default::default()));
    }
    let delete = DeleteClusterRequest { cluster_id: ClusterId::new("cluster-aaaaaaaaaaa") };
    api.try_call(Call::DeleteCluster(delete)).unwrap_err();
    let (status, metrics) = get(&address, "/metrics");
    assert_eq!(status, 200);
    let calls = |operation, error| {
        let labels = format!("operation=\"{operation}\",region=\"{SOURCE}\",error=\"{error}\"");
        value(&metrics, &format!("strongroom_calls_total{{{labels}}}"))
    };
    assert_eq!(calls("DescribeClusters", ""), 3.0);
    assert_eq!(calls("DeleteCluster", "CloudHsmResourceNotFoundException"), 1.0);
    assert_eq!(value(&metrics, "strongroom_call_seconds_count{operation=\"DescribeClusters\"}"), 3.0);
    assert_eq!(value(&metrics, "strongroom_hsm_host_up"), 1.0);
    assert_eq!(value(&metrics, "strongroom_connections"), 1.0);
    assert_eq!(value(&metrics, &format!("strongroom_copies_under_way{{region=\"{DESTINATION}\"}}")), 0.0);
    assert!(value(&metrics, "process_resident_memory_bytes") > 1e6);
    assert!(metrics.ends_with("# EOF\n"));
    assert_eq!(get(&address, "/").0, 404);
}

#[test]
fn not_ready_is_told_with_its_reason() {
    let (dev, address) = start();
    let killed = std::process::Command::new("kill").args(["-KILL", &dev.host_pid().unwrap().to_string()]).status();
    assert!(killed.unwrap().success());
    let until = Instant::now() + Duration::from_secs(30);
    let (mut seen, mut alive) = (false, 0);
    // It is started again at once, so that only one who looks often sees it.
    while Instant::now() < until && !(seen && get(&address, "/readyz").0 == 200) {
        let (status, body) = get(&address, "/readyz");
        if status == 503 {
            assert_eq!(body, "the HSM host does not run\n");
            seen = true;
        }
        alive += u32::from(get(&address, "/livez").0 == 200);
    }
    assert!(seen && alive > 0, "{seen} {alive}");
}
