//! Requests that mean no good, on the real binary: none is answered with a 5xx, none costs memory that stays or the service
//! of others.

mod kit;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kit::*;
use strongroom_model::Operation;
use strongroom_model::call::*;
use strongroom_wire::front::Protocol;

/// What memory of both processes together may have grown by, in MiB.
const GROWTH_MAX: f64 = 64.0;

/// Sends bytes, and reads whatever comes until the server closes or is silent for a while.
fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // The server may have closed before it read everything.
    let _ = stream.write_all(bytes);
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = stream.read(&mut part) {
        answer.extend_from_slice(&part[..n]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of the answers, in order.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

/// A signed request with another head or body than it was signed with.
fn altered(dev: &Dev, from: &str, to: &str, body: &[u8]) -> Vec<u8> {
    let signed = dev.api(SOURCE).request(Operation::DescribeClusters, b"{}");
    let text = String::from_utf8(signed).unwrap();
    let head = text.split_once("\r\n\r\n").unwrap().0;
    assert!(head.contains(from), "{head}");
    [head.replace(from, to).as_bytes(), b"\r\n\r\n", body].concat()
}

fn memory(dev: &Dev) -> f64 {
    let pss = |pid: u32| {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    };
    [Some(dev.pid()), dev.host_pid()].into_iter().flatten().map(pss).sum()
}

#[test]
fn nothing_hostile_makes_a_5xx_or_keeps_memory() {
    let dev = Dev::start();
    let address = dev.address.as_str();
    dev.api(SOURCE).call(Call::DescribeClusters(Default::default()));
    let idle = memory(&dev);
    let length = "content-length: 2";

    // Allowed, if unusual: many at once on one connection, and a body in pieces.
    let many = dev.api(SOURCE).request(Operation::DescribeClusters, b"{}").repeat(50);
    assert_eq!(statuses(&exchange(address, &many)), [200; 50]);
    let pieces = b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    assert_eq!(statuses(&exchange(address, &altered(&dev, length, "transfer-encoding: chunked", pieces))), [200]);
    // Where both lengths are given, the pieces count (RFC 9112, section 6.3).
    let both = altered(&dev, length, "content-length: 2\r\ntransfer-encoding: chunked", pieces);
    assert_eq!(statuses(&exchange(address, &both)), [200]);

    let mut refused = vec![
        altered(&dev, length, "content-length: 2\r\ncontent-length: 3", b"{} "),
        altered(&dev, length, "content-length: -2", b"{}"),
        altered(&dev, length, "content-length: 99999999999999999999", b"{}"),
        altered(&dev, length, "transfer-encoding: chunked", b"ffffffffffffffff\r\n{}"),
        altered(&dev, length, "transfer-encoding: chunked, gzip", b"{}"),
        altered(&dev, "POST / HTTP/1.1", "POST / HTTP/9.9", b"{}"),
        altered(&dev, "POST / HTTP/1.1", "POST  HTTP/1.1", b"{}"),
        altered(&dev, "host: ", "host: a\0b", b"{}"),
        altered(&dev, "host: ", &format!("x: {}\r\nhost: ", "y".repeat(100_000)), b"{}"),
        altered(&dev, "host: ", &"x: y\r\n".repeat(500), b"{}"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        vec![0; 10_000],
    ];
    // Bodies that are more than they seem, signed well.
    for (protocol, body) in [
        (Protocol::AwsJson11, "[".repeat(100_000).into_bytes()),
        (Protocol::AwsJson11, format!("{{\"Filters\":{}", "{\"a\":".repeat(20_000)).into_bytes()),
        (Protocol::AwsJson11, vec![b' '; 3_000_000]),
        (Protocol::AwsJson11, b"{\"MaxResults\":1e999999}".to_vec()),
        (Protocol::RpcV2Cbor, vec![0x81; 100_000]),
        (Protocol::RpcV2Cbor, vec![0xc1; 100_000]),
        (Protocol::RpcV2Cbor, vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Protocol::RpcV2Cbor, vec![0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Protocol::RpcV2Cbor, vec![0x5b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff]),
    ] {
        refused.push(Api::new(address, SOURCE, protocol).request(Operation::DescribeClusters, &body));
    }
    for request in &refused {
        let answer = exchange(address, request);
        let start = String::from_utf8_lossy(&request[..request.len().min(80)]).into_owned();
        assert!(statuses(&answer).iter().all(|status| (400..500).contains(status)), "{start:?}: {answer}");
        // Nothing that is refused is done.
        assert!(!answer.contains("\"Clusters\""), "{start:?}: {answer}");
    }
    for _ in 0..20 {
        refused.iter().for_each(|request| drop(TcpStream::connect(address).unwrap().write_all(request)));
    }

    // Many that begin and say no more, while others are served as ever.
    let begun = altered(&dev, length, "content-length: 100000", b"{\"");
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&begun).unwrap();
            stream
        })
        .collect();
    let mut api = dev.api(SOURCE);
    for _ in 0..50 {
        api.call(Call::DescribeClusters(Default::default()));
    }
    drop(waiting);
    let grown = memory(&dev) - idle;
    assert!(grown <= GROWTH_MAX, "{grown} MiB more than the {idle} MiB when idle");
    assert!(!dev.output.lock().unwrap().contains("panicked"), "{}", dev.output.lock().unwrap());
}
