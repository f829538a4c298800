//! A byte that changed, on the real binary: in a stored payload, in the row that opens it, in a sealed row of the vault, and
//! on the line between two regions. Nothing of it becomes READY, restores or signs, and the reason is told. (Every byte of
//! every form is flipped in process by the HSM's own tests; here are positions spread over the real files.)

mod kit;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kit::*;
use strongroom_client::Hsm;
use strongroom_link::hsm::{Attribute, Mechanism};
use strongroom_link::pkcs11::*;
use strongroom_model::BackupId;
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_store::{Database, StoreError, control, vault};

/// Enough keys for a payload that does not live in its row.
const KEYS: usize = 600;

fn cluster_with_keys(dev: &Dev) -> TestCluster {
    let cluster = dev.cluster(SOURCE);
    let mut session = cluster.login();
    for n in 0..KEYS {
        generate_aes(&mut session, &format!("aes {n}"));
    }
    generate_ec(&mut session, "ec");
    cluster
}

/// Makes a cluster from a damaged backup; why it failed.
fn restore_fails(api: &mut Api, backup_id: &BackupId) -> String {
    let id = api.create_cluster(Some(backup_id));
    let cluster = wait("restore ends", || {
        let cluster = api.cluster(&id);
        (cluster.state != Some(ClusterState::CreateInProgress)).then_some(cluster)
    });
    assert_eq!(cluster.state, Some(ClusterState::Deleted), "a damaged backup was restored");
    cluster.state_message.unwrap_or_default()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_payload_that_changed_at_rest_never_restores_on_either_side() {
    let dev = Dev::start();
    let cluster = cluster_with_keys(&dev);
    let (mut source, mut destination) = (dev.api(SOURCE), dev.api(DESTINATION));
    let backup_id = source.fresh_backup(&cluster.id);
    source.call(Api::copy_call(&backup_id, DESTINATION));
    let copied = wait("copy READY", || ready_copies(&mut destination, &backup_id).pop()).backup_id;
    for (api, backup_id, region) in [(&mut source, &backup_id, SOURCE), (&mut destination, &copied, DESTINATION)] {
        let chunks = files(&dev.data().join(region).join("blobs"));
        let chunk = chunks.iter().max_by_key(|f| f.metadata().unwrap().len()).expect("a payload in a file");
        let length = chunk.metadata().unwrap().len() as usize;
        for n in 0..32 {
            let at = n * (length - 1) / 31;
            flip(chunk, at);
            let message = restore_fails(api, backup_id);
            assert!(message.contains("chunk 0"), "{region} byte {at}: {message}");
            flip(chunk, at);
        }
        let id = api.create_cluster(Some(backup_id));
        api.wait_cluster(&id, ClusterState::Active);
    }
}

#[test]
fn a_damaged_source_ends_its_copy_with_the_reason_and_nothing_is_ready() {
    let dev = Dev::start();
    let cluster = cluster_with_keys(&dev);
    let (mut source, mut destination) = (dev.api(SOURCE), dev.api(DESTINATION));
    let backup_id = source.fresh_backup(&cluster.id);
    let chunks = files(&dev.data().join(SOURCE).join("blobs"));
    flip(chunks.iter().max_by_key(|f| f.metadata().unwrap().len()).unwrap(), 1_000);
    source.call(Api::copy_call(&backup_id, DESTINATION));
    let copy = wait("copy settled", || {
        let Reply::ListCopies(output) = source.call(Call::ListCopies(Default::default())) else { panic!() };
        output.copies.into_iter().find(|c| c.state.is_settled())
    });
    assert_eq!(copy.reason.unwrap().code, "does-not-open");
    assert!(ready_copies(&mut destination, &backup_id).is_empty());
}

/// Changes one byte of a column while `dev` is stopped.
fn flip_rows(dev: &Dev, file: &str, schema: &strongroom_store::migrate::Schema, table: &str, column: &str, at: usize) {
    let database = Database::open(&dev.data().join(SOURCE).join(file), schema, "a test").unwrap();
    let (select, update) = (
        format!("SELECT {column}, rowid FROM {table} WHERE {column} IS NOT NULL"),
        format!("UPDATE {table} SET {column} = $1 WHERE rowid = $2"),
    );
    let changed = database.write_blocking(move |tx| {
        for row in tx.query(&select, &[])? {
            let (mut bytes, rowid): (Vec<u8>, i64) = (row.get(0)?, row.get(1)?);
            let at = at % bytes.len();
            bytes[at] ^= 0x10;
            tx.execute(
                &update,
                &[strongroom_store::sql::Param::Blob(&bytes), strongroom_store::sql::Param::Int(rowid)],
            )?;
        }
        Ok::<_, StoreError>(())
    });
    let () = changed.unwrap().into_inner();
}

#[test]
fn a_header_or_body_that_changed_never_restores() {
    let mut dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    generate_ec(&mut cluster.login(), "ec");
    let backup_id = dev.api(SOURCE).fresh_backup(&cluster.id);
    for column in ["header", "body"] {
        for n in 0..12 {
            let flipped = |dev: &Dev| flip_rows(dev, "control.db", &control::SCHEMA, "backups", column, n * 17 + 3);
            dev.interrupt();
            flipped(&dev);
            dev.run();
            restore_fails(&mut dev.api(SOURCE), &backup_id);
            dev.interrupt();
            flipped(&dev);
            dev.run();
        }
    }
    let mut api = dev.api(SOURCE);
    let id = api.create_cluster(Some(&backup_id));
    api.wait_cluster(&id, ClusterState::Active);
}

#[test]
fn a_sealed_row_that_changed_never_signs() {
    let mut dev = Dev::start();
    let cluster = dev.cluster(SOURCE);
    generate_ec(&mut cluster.login(), "ec");
    for (table, column) in
        [("objects", "sealed"), ("users", "sealed"), ("heads", "sealed"), ("clusters", "sealed_keys")]
    {
        for n in 0..2 {
            let flipped = |dev: &Dev| flip_rows(dev, "vault.db", &vault::SCHEMA, table, column, n * 29 + 5);
            dev.interrupt();
            flipped(&dev);
            dev.run();
            let mut api = dev.api(SOURCE);
            let input = DescribeHsmEndpointsRequest { cluster_id: cluster.id.clone() };
            if api.try_call(Call::DescribeHsmEndpoints(input)).is_ok() {
                let again = TestCluster::new(&dev, SOURCE, cluster.id.clone(), cluster.ca.clone());
                assert!(signs(&again).is_err(), "{table}.{column} changed, and a key signed");
            }
            wait("DEGRADED", || (api.cluster(&cluster.id).state == Some(ClusterState::Degraded)).then_some(()));
            dev.interrupt();
            flipped(&dev);
            dev.run();
        }
    }
    let again = TestCluster::new(&dev, SOURCE, cluster.id.clone(), cluster.ca.clone());
    signs(&again).unwrap();
}

fn signs(cluster: &TestCluster) -> Result<(), strongroom_client::Error> {
    use strongroom_link::hsm::Role;
    let mut session = cluster.session();
    session.login("app", Role::CryptoUser, secret("app-password-1"))?;
    let found = session.find_objects(vec![Attribute::bytes(CKA_LABEL, b"ec".to_vec())], 0, 2)?;
    session.sign(found.handles[0], Mechanism::plain(CKM_ECDSA_SHA256), b"never".to_vec()).map(drop)
}

/// A line that changes one byte, at a position of its own on each connection, on its way to the destination.
fn bad_line(to: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let n = count.fetch_add(1, Ordering::SeqCst);
            // After five damaged connections the line is mended.
            let position = (n < 5).then_some(n * 911 + 13);
            let Ok(far) = TcpStream::connect(&to) else { continue };
            let (near_back, far_back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || pass(near, far, position));
            thread::spawn(move || pass(far_back, near_back, None));
        }
    });
    (address, connections)
}

fn pass(mut from: TcpStream, mut to: TcpStream, position: Option<usize>) {
    let (mut passed, mut buffer) = (0, [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if let Some(at) = position.filter(|at| (passed..passed + length).contains(at)) {
            buffer[at - passed] ^= 0x10;
        }
        passed += length;
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_line_that_changes_bytes_delays_a_copy_and_does_nothing_worse() {
    let dev = Dev::start();
    let cluster = cluster_with_keys(&dev);
    let (mut source, mut destination) = (dev.api(SOURCE), dev.api(DESTINATION));
    let backup_id = source.fresh_backup(&cluster.id);
    let peer = dev.folder.path().join("data.keys").join(SOURCE).join(format!("peers/{DESTINATION}.toml"));
    let text = std::fs::read_to_string(&peer).unwrap();
    let address = text.lines().find_map(|l| l.strip_prefix("address = ")).unwrap().trim_matches('"').to_owned();
    let (line, connections) = bad_line(address.clone());
    std::fs::write(&peer, text.replace(&address, &line)).unwrap();
    for _ in 0..4 {
        source.call(Api::copy_call(&backup_id, DESTINATION));
    }
    let ready = wait("copies READY", || Some(ready_copies(&mut destination, &backup_id)).filter(|c| c.len() == 4));
    assert!(connections.load(Ordering::SeqCst) > 1, "the line was used and broke");
    let Reply::ListBackupContents(output) = destination.call(Call::ListBackupContents(Default::default())) else {
        panic!()
    };
    let Reply::ListBackupContents(original) = source.call(Call::ListBackupContents(Default::default())) else {
        panic!()
    };
    let digest = original.backups.iter().find(|b| b.backup_id == backup_id).unwrap().digest.clone();
    for copy in &ready {
        let content = output.backups.iter().find(|b| b.backup_id == copy.backup_id).unwrap();
        assert!(content.digest == digest && content.opened_at.is_some());
    }
}
