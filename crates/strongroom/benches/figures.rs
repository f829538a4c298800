//! The figures that are promised, measured on the release binary from outside and printed with the machine's description.
//! Rates include the load generator, which signs every request freshly. Nothing here passes or fails: a target that is
//! missed is printed as missed.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

#[path = "door.rs"]
mod door;
#[path = "../tests/kit/mod.rs"]
mod kit;
#[path = "load.rs"]
mod load;
#[path = "soak.rs"]
mod soak;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kit::*;
use strongroom_client::Hsm;
use strongroom_link::hsm::{Attribute, Mechanism};
use strongroom_link::pkcs11::*;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::{BackupId, ClusterId};

fn main() {
    // `cargo test` runs benches too, with this argument; speed belongs in `make bench` alone.
    if std::env::args().any(|a| a == "--test") || !std::env::args().any(|a| a == "--bench") {
        return;
    }
    machine();
    let only = std::env::var("STRONGROOM_FIGURES").unwrap_or_default();
    let measures: [(&str, fn()); 9] = [
        ("start", start_and_memory),
        ("describe", door::describe_clusters),
        ("tags", door::tags),
        ("pages", door::pages),
        ("copies", small_copies),
        ("keys", ten_thousand_keys),
        ("sign", rsa_signatures),
        ("payload", large_payload),
        ("soak", soak::memory),
    ];
    for (name, measure) in measures {
        if only.is_empty() || only.split(',').any(|o| o == name) {
            measure();
        }
    }
}

fn machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or(": unknown")
        .trim_start_matches([' ', '\t', ':']);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("machine  {} x {model}, Linux {}", thread::available_parallelism().map_or(0, usize::from), kernel.trim());
}

/// One figure against its target.
fn figure(name: &str, value: f64, unit: &str, target: f64, at_most: bool) {
    let met = if at_most { value <= target } else { value >= target };
    let (sign, verdict) = (if at_most { "<=" } else { ">=" }, if met { "met" } else { "MISSED" });
    println!("{name:<52} {value:>12.1} {unit:<8} target {sign} {target} {unit}: {verdict}");
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Start to the first signed call that is answered; idle memory of both processes.
fn start_and_memory() {
    let begin = Instant::now();
    let mut dev = Dev::start();
    dev.api(SOURCE).call(Call::DescribeClusters(Default::default()));
    figure("first start to first answered call", millis(begin), "ms", 300.0, true);
    let cluster = dev.cluster(SOURCE);
    generate_ec(&mut cluster.login(), "ec");
    let mut best = f64::MAX;
    for _ in 0..5 {
        dev.interrupt();
        let begin = Instant::now();
        dev.run();
        dev.api(SOURCE).call(Call::DescribeClusters(Default::default()));
        best = best.min(millis(begin));
    }
    figure("start on existing data to first answered call", best, "ms", 60.0, true);
    thread::sleep(Duration::from_secs(2));
    let pss = [Some(dev.pid()), dev.host_pid()].into_iter().flatten().map(pss_kib).sum::<f64>() / 1024.0;
    figure("idle memory of both processes (PSS)", pss, "MiB", 40.0, true);
}

fn pss_kib(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs a worker on each of several threads for a while: calls per second.
fn rate<W: FnMut()>(threads: usize, time: Duration, worker: impl Fn(usize) -> W + Sync) -> f64 {
    let count = AtomicUsize::new(0);
    let begin = Instant::now();
    thread::scope(|scope| {
        for n in 0..threads {
            let (worker, count) = (&worker, &count);
            scope.spawn(move || {
                let mut work = worker(n);
                while begin.elapsed() < time {
                    work();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

/// Durable copies of a small backup, call to READY: one alone, and 64 in flight.
fn small_copies() {
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    generate_ec(&mut cluster.login(), "ec");
    let backup_id = dev.api(SOURCE).fresh_backup(&cluster.id);
    let mut times: Vec<f64> = (0..100).map(|_| one_copy(&dev, &backup_id)).collect();
    times.sort_by(f64::total_cmp);
    figure("one small copy, call to READY, p50", times[50], "ms", 25.0, true);
    println!("{:<52} {:>12.1} ms", "one small copy, call to READY, p99", times[98]);

    // READY is what the source's row says: it is written when the destination's receipt is here.
    let before = ready_count(&dev);
    let begin = Instant::now();
    let calls = Mutex::new(0_usize);
    let rate = rate(64, Duration::from_secs(10), |_| {
        let (mut api, backup_id, calls) = (dev.api(SOURCE), backup_id.clone(), &calls);
        move || {
            api.call(Api::copy_call(&backup_id, DESTINATION));
            *calls.lock().unwrap() += 1;
        }
    });
    let accepted = *calls.lock().unwrap();
    wait("all READY", || (ready_count(&dev) - before >= accepted).then_some(()));
    let until_ready = accepted as f64 / begin.elapsed().as_secs_f64();
    println!("{:<52} {rate:>12.1} /s", "small copies accepted, 64 in flight");
    figure("small copies, call to READY, 64 in flight", until_ready, "/s", 1_000.0, false);
}

/// One copy; milliseconds from the call to READY in the destination.
fn one_copy(dev: &Dev, backup_id: &BackupId) -> f64 {
    let (mut source, mut destination) = (dev.api(SOURCE), dev.api(DESTINATION));
    let before = newest_copies(&mut destination, backup_id);
    let begin = Instant::now();
    source.call(Api::copy_call(backup_id, DESTINATION));
    while newest_copies(&mut destination, backup_id) <= before {}
    millis(begin)
}

fn newest_copies(api: &mut Api, backup_id: &BackupId) -> usize {
    ready_copies(api, backup_id).len()
}

/// How many outgoing copies of the region are ready.
fn ready_count(dev: &Dev) -> usize {
    let (mut api, mut count, mut next_token) = (dev.api(SOURCE), 0, None);
    loop {
        let input = ListCopiesRequest { next_token: next_token.take(), ..Default::default() };
        let Reply::ListCopies(output) = api.call(Call::ListCopies(input)) else { panic!() };
        count += output.copies.iter().filter(|c| c.state == strongroom_model::copy::CopyState::Ready).count();
        next_token = output.next_token;
        if next_token.is_none() {
            return count;
        }
    }
}

/// A cluster of 10,000 keys: backup, copy and restore to the first signature.
fn ten_thousand_keys() {
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    let begin = Instant::now();
    thread::scope(|scope| {
        for part in 0..8 {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut session = cluster.login();
                for n in 0..1_000 {
                    generate_aes(&mut session, &format!("aes {part} {n}"));
                }
                for n in 0..237 {
                    generate_ec(&mut session, &format!("ec {part} {n}"));
                }
                for n in 0..12 {
                    generate_rsa(&mut session, &format!("rsa {part} {n}"));
                }
            });
        }
    });
    generate_ec(&mut cluster.login(), "probe");
    println!("{:<52} {:>12.1} s", "making the 10,000 keys (pairs count once)", begin.elapsed().as_secs_f64());
    let (mut source, mut destination) = (dev.api(SOURCE), dev.api(DESTINATION));
    let begin = Instant::now();
    let backup_id = source.fresh_backup(&cluster.id);
    let backed_up = millis(begin);
    source.call(Api::copy_call(&backup_id, DESTINATION));
    let copy = wait("copy READY", || ready_copies(&mut destination, &backup_id).pop());
    let copied = millis(begin) - backed_up;
    let restored = destination.create_cluster(Some(&copy.backup_id));
    destination.wait_cluster(&restored, ClusterState::Active);
    destination.create_hsm(&restored, "a");
    let restored = TestCluster::new(&dev, DESTINATION, restored, cluster.ca.clone());
    let mut session = restored.login();
    let probe = find(&mut session, "probe");
    session.sign(probe, Mechanism::plain(CKM_ECDSA_SHA256), b"first".to_vec()).unwrap();
    let all = millis(begin);
    println!(
        "{:<52} {backed_up:>12.1} ms, copy {copied:.1} ms, restore {:.1} ms",
        "  backup",
        all - backed_up - copied
    );
    figure("10,000 keys: backup, copy, restore to first signature", all / 1e3, "s", 5.0, true);
}

/// RSA-2048 signatures over TLS on two connections, against the bare library on the same two cores.
fn rsa_signatures() {
    let dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    let (_, key) = generate_rsa(&mut cluster.login(), "rsa");
    let (_, ec) = generate_ec(&mut cluster.login(), "ec");
    let bare = {
        let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        rate(2, Duration::from_secs(4), |_| {
            let pair = &pair;
            let random = aws_lc_rs::rand::SystemRandom::new();
            let mut signature = vec![0; pair.public_modulus_len()];
            move || pair.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &random, b"message", &mut signature).unwrap()
        })
    };
    let over_tls = |handle, mechanism| {
        rate(2, Duration::from_secs(4), |_| {
            let mut session = cluster.login();
            move || drop(session.sign(handle, Mechanism::plain(mechanism), b"message".to_vec()).unwrap())
        })
    };
    let rsa = over_tls(key, CKM_SHA256_RSA_PKCS);
    println!("{:<52} {bare:>12.1} /s", "RSA-2048, the bare library on two threads");
    println!("{:<52} {rsa:>12.1} /s", "RSA-2048, over TLS on two connections");
    figure("RSA-2048 over TLS against the bare library", rsa / bare * 100.0, "%", 80.0, false);
    println!("{:<52} {:>12.1} /s", "P-256, over TLS on two connections", over_tls(ec, CKM_ECDSA_SHA256));
}

/// Bytes of the large payload.
const LARGE: u64 = 1 << 30;

/// A payload of 1 GiB (synthetic rows, sealed as real ones), copied, verified and durable; and what the disk does alone.
fn large_payload() {
    let mut dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    let template = vec![
        Attribute::ulong(CKA_VALUE_LEN, 800),
        Attribute::boolean(CKA_SIGN, true),
        Attribute::boolean(CKA_VERIFY, true),
    ];
    let mechanism = Mechanism::plain(CKM_GENERIC_SECRET_KEY_GEN);
    cluster.login().generate_key(mechanism, labelled("synthetic", template)).unwrap();
    dev.interrupt();
    let begin = Instant::now();
    fill(&dev, &cluster.id, LARGE);
    println!("{:<52} {:>12.1} s", "sealing 1 GiB of synthetic rows", begin.elapsed().as_secs_f64());
    dev.run();
    let (mut source, mut destination) = (dev.api(SOURCE), dev.api(DESTINATION));
    let begin = Instant::now();
    let backup_id = patient_backup(&mut source, &cluster.id);
    println!("{:<52} {:>12.1} s", "its backup, with the cluster's loading", begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    source.call(Api::copy_call(&backup_id, DESTINATION));
    wait("copy READY", || ready_copies(&mut destination, &backup_id).pop());
    let copied = LARGE as f64 / f64::from(1 << 20) / begin.elapsed().as_secs_f64();
    let Reply::ListCopies(output) = source.call(Call::ListCopies(Default::default())) else { panic!() };
    let input = DescribeCopyRequest { copy_id: output.copies[0].copy_id.clone() };
    let Reply::DescribeCopy(output) = source.call(Call::DescribeCopy(input)) else { panic!() };
    for step in output.copy.steps.unwrap_or_default() {
        let after = step.at.since(output.copy.requested_at);
        println!("  {:<50} {after:>12} ms", step.name);
    }
    let plain = plain_write(&dev);
    println!("{:<52} {plain:>12.1} MiB/s", "plain write and fsync, the same size");
    figure("1 GiB copied, verified, durable", copied, "MiB/s", 400.0_f64.min(plain * 0.6), false);
}

/// As `fresh_backup`, for a backup that takes a while.
fn patient_backup(api: &mut Api, id: &ClusterId) -> BackupId {
    let input = CreateHsmRequest { cluster_id: id.clone(), availability_zone: format!("{SOURCE}b"), ip_address: None };
    api.call(Call::CreateHsm(input));
    let until = Instant::now() + Duration::from_secs(300);
    loop {
        let newest = api.backups(Some(("clusterIds", id.as_str()))).remove(0);
        if newest.backup_state == Some(strongroom_model::backup::BackupState::Ready) {
            return newest.backup_id;
        }
        assert!(Instant::now() < until, "the backup does not come");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Writes copies of the cluster's one key under handles of their own, sealed as the HSM seals them, until they fill `bytes`.
fn fill(dev: &Dev, id: &ClusterId, bytes: u64) {
    use strongroom_hsm::cluster_key::ClusterKeys;
    use strongroom_hsm::head::Head;
    use strongroom_hsm::object::Object;
    use strongroom_hsm::root::{Root, Roots};
    use strongroom_hsm::rows::{ClusterRow, ClusterState as VaultState, HeadRow, ObjectRow};
    use strongroom_hsm::seal::RowKind;
    use strongroom_hsm::seam::SystemRng;
    use strongroom_store::{Database, StoreError, vault};

    let root = dev.folder.path().join("data.keys").join(SOURCE).join("root");
    let roots = Roots::new(vec![Root::from_text(&std::fs::read_to_string(root).unwrap()).unwrap()]).unwrap();
    let database = Database::open(&dev.data().join(SOURCE).join("vault.db"), &vault::SCHEMA, "figures").unwrap();
    let name = id.as_str().to_owned();
    let (region_id, row, head, object) = database
        .read_blocking(|tx| {
            let row = vault::clusters::get(tx, &name)?.unwrap();
            let object = vault::objects::page(tx, &name, row.epoch, None, 1)?.remove(0);
            let head = vault::heads::get(tx, &name)?.unwrap();
            Ok::<_, StoreError>((vault::meta::get(tx)?.unwrap().0, row, head, object))
        })
        .unwrap();
    let epoch = row.epoch;
    let keys = ClusterRow {
        cluster: name.clone(),
        state: VaultState::Active,
        epoch: epoch as u64,
        input_digest: row.input_digest,
        lineage: row.lineage,
        mode: row.mode,
        sealed_keys: row.sealed_keys,
        csr: row.csr,
        hardware_certificates: vec![row.hsm_certificate, row.hardware_certificate, row.manufacturer_certificate],
        cluster_certificate: row.cluster_certificate,
        trust_anchor: row.trust_anchor,
    };
    let keys = ClusterKeys::open(&roots, &region_id, &keys).unwrap();
    let sealer = keys.cluster_key.rows(&region_id, &name);
    let mut head = Head::open(&sealer, &HeadRow { version: head.0 as u64, sealed: head.1 }).unwrap().next();
    let seen = ObjectRow { object: object.object_id as u64, version: object.version as u64, sealed: object.sealed };
    let id_of = |handle: u64| handle.to_be_bytes();
    let record = sealer.open(RowKind::Object, &id_of(seen.object), seen.version, &seen.sealed).unwrap();
    let (version, mut handle, mut left) = (head.version, 1_u64, bytes as i64);
    while left > 0 {
        let mut batch = Vec::with_capacity(20_000);
        while left > 0 && batch.len() < 20_000 {
            handle += 1;
            let record = Object::decode(&record).unwrap().with_handle(handle).encode();
            let sealed = sealer.seal(RowKind::Object, &id_of(handle), version, &record, &SystemRng);
            left -= record.len() as i64;
            let row = ObjectRow { object: handle, version, sealed };
            head.add_object(&sealer, &row);
            batch.push(vault::objects::Object {
                object_id: handle as i64,
                version: version as i64,
                sealed: row.sealed,
            });
        }
        let name = name.clone();
        let written = database
            .write_blocking(move |tx| batch.iter().try_for_each(|row| vault::objects::put(tx, &name, epoch, row)));
        let () = written.map_err(strongroom_store::WriteError::<StoreError>::flatten).unwrap().into_inner();
    }
    let sealed = head.seal(&sealer, &SystemRng);
    let set = database
        .write_blocking(move |tx| vault::heads::compare_and_set(tx, &name, sealed.version as i64, &sealed.sealed));
    assert!(set.map_err(strongroom_store::WriteError::<StoreError>::flatten).unwrap().into_inner());
}

/// MiB/s of writing the same bytes to one file and fsyncing it.
fn plain_write(dev: &Dev) -> f64 {
    use std::io::Write;
    let chunk = vec![0x5a; 1 << 20];
    let begin = Instant::now();
    let mut file = std::fs::File::create(dev.folder.path().join("plain")).unwrap();
    for _ in 0..LARGE >> 20 {
        file.write_all(&chunk).unwrap();
    }
    file.sync_all().unwrap();
    LARGE as f64 / f64::from(1 << 20) / begin.elapsed().as_secs_f64()
}
