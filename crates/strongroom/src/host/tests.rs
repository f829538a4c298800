//! The whole way from the engine's port over the socket to a real host, and a client's handshake with its HSM.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use strongroom_engine::ports::{ChunkSink, Hsms, HsmsCode, HsmsError};
use strongroom_model::cluster::ClusterMode;
use strongroom_model::{BackupId, ClusterId, HsmId, RegionId, RegionName, Timestamp};

use super::{HostSettings, run};
use crate::hsms::{HsmHost, Known};
use crate::layout::Layout;
use crate::seams::random;

fn region() -> RegionName {
    RegionName::new("us-east-1")
}

/// Starts a host on a thread of its own, which ends with the test's process.
fn start(folder: &Path, ephemeral: bool) -> HsmHost {
    let layout = Layout::new(folder.join("data"));
    crate::files::make_private_folder(layout.data()).unwrap();
    let socket = folder.join("hsm.sock");
    let settings = HostSettings { socket: socket.clone(), layout, regions: vec![region()], ephemeral, is_child: false };
    std::thread::spawn(move || run(&settings));
    HsmHost::new(socket, region(), Known { is_empty: true, ..Known::default() })
}

/// Greets a host that may still be starting.
async fn hello(host: &HsmHost) -> Result<strongroom_link::host::Hello, HsmsError> {
    loop {
        match host.hello().await {
            Err(error) if error.code == HsmsCode::HostDown => tokio::task::yield_now().await,
            greeted => return greeted,
        }
    }
}

struct NoChunks;

#[async_trait::async_trait]
impl ChunkSink for NoChunks {
    async fn put(&mut self, _: u32, _: Vec<u8>) -> Result<(), HsmsError> {
        Err(HsmsError::new(HsmsCode::NoSpace, "none wanted"))
    }
}

#[tokio::test]
async fn a_region_is_founded_and_its_calls_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let host = start(folder.path(), false);
    let founded = hello(&host).await.unwrap();
    assert!(host.is_up());
    host.learn(&founded);
    assert_eq!(host.hello().await.unwrap(), founded);
    #[cfg(target_os = "linux")]
    assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    let key = Layout::new(folder.path().join("data")).root_key(&region());
    assert!(!crate::files::is_readable_by_others(&key).unwrap());

    let (cluster, hsm) = (ClusterId::new("cluster-aaaaaaaaaaa"), HsmId::new("hsm-aaaaaaaaaaa"));
    let identity = host.create_identity(&cluster, ClusterMode::Fips, &hsm).await.unwrap();
    assert!(identity.csr.contains("BEGIN CERTIFICATE REQUEST"));
    assert_eq!(host.create_identity(&cluster, ClusterMode::Fips, &hsm).await.unwrap(), identity);

    let invalid = host.check_certificates(&identity.csr, "no", "no").await.unwrap_err();
    assert_eq!(invalid.code, HsmsCode::Invalid);
    let unknown = host.withdraw(&ClusterId::new("cluster-bbbbbbbbbbb"), &HsmId::new("hsm-bbbbbbbbbbb")).await;
    unknown.unwrap();
    assert!(host.outbox_read(0, Duration::ZERO).await.unwrap().is_empty());
    host.destroy(&cluster).await.unwrap();
    let backup = BackupId::new("backup-aaaaaaaaaaa");
    let now = Timestamp::from_millis(0);
    let gone = host.snapshot(&cluster, &backup, "hsm2m.medium", now, &mut NoChunks).await.unwrap_err();
    assert_eq!(gone.code, HsmsCode::Gone);
}

#[tokio::test]
async fn another_regions_control_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    hello(&start(folder.path(), true)).await.unwrap();
    let other =
        Known { region_id: Some(RegionId::new("other")), roots: vec!["0123456789abcdef".into()], is_empty: false };
    let refused = HsmHost::new(folder.path().join("hsm.sock"), region(), other).hello().await.unwrap_err();
    assert_eq!(refused.code, HsmsCode::HostDown);
    assert!(refused.text.contains("is region other"), "{refused}");
    let stranger = HsmHost::new(folder.path().join("hsm.sock"), RegionName::new("eu-west-1"), Known::default());
    assert!(stranger.hello().await.unwrap_err().text.contains("does not have eu-west-1"));
}

#[tokio::test]
async fn a_host_that_is_not_there_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let host = HsmHost::new(folder.path().join("hsm.sock"), region(), Known::default());
    let error = host.destroy(&ClusterId::new("cluster-aaaaaaaaaaa")).await.unwrap_err();
    assert_eq!(error, HsmsError::new(HsmsCode::HostDown, "the HSM host is not running"));
    assert!(!host.is_up());
}

#[tokio::test]
async fn an_hsm_without_a_certificate_ends_the_handshake_and_a_released_one_its_listener() {
    let folder = tempfile::tempdir().unwrap();
    let host = start(folder.path(), true);
    host.learn(&hello(&host).await.unwrap());
    let (cluster, hsm) = (ClusterId::new("cluster-aaaaaaaaaaa"), HsmId::new("hsm-aaaaaaaaaaa"));
    host.create_identity(&cluster, ClusterMode::Fips, &hsm).await.unwrap();
    let [a, b] = random::<2>();
    let served = host.serve(&cluster, &hsm, &format!("127.{}.{}.16", a.max(1), b)).await.unwrap();
    assert_eq!(host.serve(&cluster, &hsm, &served.address).await.unwrap(), served);

    let address = (served.address.clone(), served.port);
    let handshake = tokio::task::spawn_blocking(move || {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let name = "hsm-aaaaaaaaaaa.cluster-aaaaaaaaaaa".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
        stream.write_all(b"x").and_then(|()| stream.read_exact(&mut [0])).unwrap_err()
    });
    let refused = handshake.await.unwrap();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");

    host.withdraw(&cluster, &hsm).await.unwrap();
    if served.bound {
        let gone = || TcpStream::connect((served.address.as_str(), served.port)).err().map(|e| e.kind());
        while gone() != Some(ErrorKind::ConnectionRefused) {}
    }
}
