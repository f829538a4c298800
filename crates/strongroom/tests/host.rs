//! The HSM host as a process of its own: what its clients and the API process see of it over its real sockets, while it
//! lives, when it is killed, and when it is stopped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use strongroom::ca::{Bits, CERTIFICATE_FILE, CustomerCa};
use strongroom::files::make_private_folder;
use strongroom::hsms::{HsmHost, Known};
use strongroom::layout::Layout;
use strongroom::seams::random;
use strongroom::supervise::{ChildState, Program, Supervisor};
use strongroom_client::config::{Cluster, Options, Server};
use strongroom_client::hsm::Hsm;
use strongroom_client::session::{Client, Session};
use strongroom_engine::ports::{ChunkSink, ChunkSource, Hsms, HsmsCode, HsmsError, Served, Snapshot};
use strongroom_link::Secret;
use strongroom_link::hsm::{Attribute, Mechanism, Role};
use strongroom_link::pkcs11::*;
use strongroom_model::cluster::ClusterMode;
use strongroom_model::{BackupId, ClusterId, HsmId, RegionName, Timestamp};
use tokio::task::block_in_place;
use tokio::time::timeout;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &[u8] = b"a long password";

/// A host that is supervised, and its caller.
struct Host {
    folder: tempfile::TempDir,
    supervisor: Supervisor,
    hsms: HsmHost,
}

fn arguments(folder: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (data, socket) = (path("data"), path("hsm.sock"));
    ["hsm", "--child", "--data", &data, "--socket", &socket, "--region", "us-east-1"].map(str::to_owned).into()
}

fn executable() -> PathBuf {
    env!("CARGO_BIN_EXE_strongroom").into()
}

impl Host {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_private_folder(&folder.path().join("data")).unwrap();
        let arguments = arguments(folder.path()).into_iter().map(Into::into).collect();
        let supervisor = Supervisor::start(Program { executable: executable(), arguments, variables: vec![] }).unwrap();
        let known = Known { is_empty: true, ..Known::default() };
        let hsms = HsmHost::new(folder.path().join("hsm.sock"), RegionName::new("us-east-1"), known);
        let host = Self { folder, supervisor, hsms };
        host.greet().await;
        host
    }

    /// Greets the host as soon as it is up.
    async fn greet(&self) {
        let hello = timeout(PATIENCE, async {
            loop {
                match self.hsms.hello().await {
                    Err(error) if error.code == HsmsCode::HostDown => tokio::task::yield_now().await,
                    greeted => return greeted.unwrap(),
                }
            }
        });
        self.hsms.learn(&hello.await.expect("the host is up in time"));
    }

    fn process(&self) -> Pid {
        let ChildState::Running(id) = *self.supervisor.state().borrow() else { panic!("the host does not run") };
        Pid::from_raw(id.try_into().unwrap()).unwrap()
    }

    /// A cluster with its certificate, signed by a customer CA that is written to the folder, and its HSM.
    async fn make_cluster(&self, cluster: &ClusterId, hsm: &HsmId) -> Served {
        let now = SystemTime::now();
        let ca = CustomerCa::create(Bits::Rsa2048, now).unwrap();
        ca.write(self.folder.path()).unwrap();
        let csr = self.hsms.create_identity(cluster, ClusterMode::Fips, hsm).await.unwrap().csr;
        let (signed, anchor) = (ca.sign(&csr, now).unwrap(), ca.certificate_pem());
        self.hsms.check_certificates(&csr, &signed, &anchor).await.unwrap();
        self.hsms.install_certificate(cluster, &signed, &anchor).await.unwrap();
        self.hsms.serve(cluster, hsm, &loopback_address()).await.unwrap()
    }

    fn session(&self, cluster: &ClusterId, hsm: &HsmId, served: &Served) -> Session {
        let sni = Some(format!("{hsm}.{cluster}"));
        let server = Server { sni, ..Server::new(served.address.as_str(), served.port) };
        let cluster = Cluster {
            hsm_ca_file: CERTIFICATE_FILE.into(),
            cluster_id: Some(cluster.to_string()),
            key_pin: None,
            options: Options::default(),
            servers: vec![server],
            rest: serde_json::Map::new(),
        };
        Client::open(&cluster, self.folder.path()).unwrap().session()
    }
}

/// An address of this machine that no other test has.
fn loopback_address() -> String {
    let [a, b, c] = random::<3>();
    format!("127.{}.{b}.{}", a.max(1), c.clamp(1, 254))
}

fn ids(n: u8) -> (ClusterId, HsmId) {
    let letter = char::from(b'a' + n).to_string().repeat(11);
    (ClusterId::new(format!("cluster-{letter}")), HsmId::new(format!("hsm-{letter}")))
}

fn password() -> Secret {
    Secret::new(PASSWORD.to_vec())
}

/// Activates the cluster, makes a crypto user and logs him in.
fn log_in_first(session: &mut Session) {
    session.activate(password()).unwrap();
    session.login("admin", Role::Admin, password()).unwrap();
    session.create_user("app", Role::CryptoUser, password()).unwrap();
    session.logout().unwrap();
    session.login("app", Role::CryptoUser, password()).unwrap();
}

/// A secret key of 800 bytes; `n` is in its label.
fn make_secret(session: &mut Session, n: usize) -> Ulong {
    let template = vec![
        Attribute::bytes(CKA_LABEL, format!("secret-{n}").into_bytes()),
        Attribute::ulong(CKA_VALUE_LEN, 800),
        Attribute::boolean(CKA_TOKEN, true),
    ];
    session.generate_key(Mechanism::plain(CKM_GENERIC_SECRET_KEY_GEN), template).unwrap()
}

/// A P-256 pair that signs: public and private handle.
fn make_pair(session: &mut Session) -> (Ulong, Ulong) {
    let token = || Attribute::boolean(CKA_TOKEN, true);
    let p256 = Attribute::bytes(CKA_EC_PARAMS, [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let public = vec![token(), p256, Attribute::boolean(CKA_VERIFY, true)];
    let private = vec![token(), Attribute::boolean(CKA_SIGN, true)];
    session.generate_key_pair(Mechanism::plain(CKM_EC_KEY_PAIR_GEN), public, private).unwrap()
}

fn sign(session: &mut Session, private: Ulong) -> Vec<u8> {
    session.sign(private, Mechanism::plain(CKM_ECDSA_SHA256), b"hello".to_vec()).unwrap()
}

fn verify(session: &mut Session, public: Ulong, signature: Vec<u8>) {
    session.verify(public, Mechanism::plain(CKM_ECDSA_SHA256), b"hello".to_vec(), signature).unwrap();
}

/// A payload in memory; a chunk may be altered on its way out.
#[derive(Default)]
struct Payload {
    chunks: Vec<Vec<u8>>,
    altered: Option<usize>,
    /// Chunks given in the call under way.
    given: usize,
}

#[async_trait::async_trait]
impl ChunkSink for Payload {
    async fn put(&mut self, n: u32, bytes: Vec<u8>) -> Result<(), HsmsError> {
        assert_eq!(n as usize, self.chunks.len(), "chunks come in order");
        self.chunks.push(bytes);
        Ok(())
    }
}

#[async_trait::async_trait]
impl ChunkSource for Payload {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, HsmsError> {
        let Some(mut bytes) = self.chunks.get(self.given).cloned() else {
            self.given = 0;
            return Ok(None);
        };
        if self.altered == Some(self.given) {
            bytes[0] ^= 1;
        }
        self.given += 1;
        Ok(Some(bytes))
    }
}

async fn snapshot(host: &Host, cluster: &ClusterId) -> (Snapshot, Payload) {
    let mut payload = Payload::default();
    let backup = BackupId::new("backup-aaaaaaaaaaa");
    let now = Timestamp::from_millis(1);
    let taken = host.hsms.snapshot(cluster, &backup, "hsm2m.medium", now, &mut payload).await.unwrap();
    assert_eq!(payload.chunks.len(), taken.facts.chunks() as usize);
    (taken, payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_signs_in_a_cluster_that_was_made_from_its_backup() {
    let host = Host::start().await;
    let (cluster, hsm) = ids(0);
    let served = host.make_cluster(&cluster, &hsm).await;
    let mut original = host.session(&cluster, &hsm, &served);
    let (public, private) = block_in_place(|| {
        log_in_first(&mut original);
        make_pair(&mut original)
    });

    let (taken, mut payload) = snapshot(&host, &cluster).await;
    let checked = host.hsms.check(&taken.header, &taken.body, &mut payload).await.unwrap();
    assert_eq!((&checked, checked.keys), (&taken.facts, 2));

    let (clone, clone_hsm) = ids(1);
    host.hsms.install(&clone, &taken.header, &taken.body, &mut payload).await.unwrap();
    // Not a loopback address, so that the region's one listener serves the HSM, by its name.
    let served = host.hsms.serve(&clone, &clone_hsm, "192.0.2.1").await.unwrap();
    assert!(!served.bound);
    let mut restored = host.session(&clone, &clone_hsm, &served);
    block_in_place(|| {
        restored.login("app", Role::CryptoUser, password()).unwrap();
        let signature = sign(&mut restored, private);
        verify(&mut original, public, signature);
    });
    host.supervisor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_several_chunks_streams_and_an_altered_one_is_damaged() {
    let host = Host::start().await;
    let (cluster, hsm) = ids(0);
    let served = host.make_cluster(&cluster, &hsm).await;
    block_in_place(|| {
        log_in_first(&mut host.session(&cluster, &hsm, &served));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let mut session = host.session(&cluster, &hsm, &served);
                scope.spawn(move || {
                    session.login("app", Role::CryptoUser, password()).unwrap();
                    for n in 0..160 {
                        make_secret(&mut session, 160 * thread + n);
                    }
                });
            }
        });
    });
    let (taken, mut payload) = snapshot(&host, &cluster).await;
    let chunks = payload.chunks.len();
    assert!(chunks > 1, "{} bytes", taken.facts.bytes);
    for altered in 0..chunks {
        payload.altered = Some(altered);
        let error = host.hsms.check(&taken.header, &taken.body, &mut payload).await.unwrap_err();
        assert_eq!(error.code, HsmsCode::Damaged, "{error}");
        assert!(error.text.contains(&format!("chunk {altered} ")), "{error}");
    }
    payload.altered = None;
    assert_eq!(host.hsms.check(&taken.header, &taken.body, &mut payload).await.unwrap(), taken.facts);
    host.supervisor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_is_down_and_then_all_goes_on() {
    let host = Host::start().await;
    let (cluster, hsm) = ids(0);
    let served = host.make_cluster(&cluster, &hsm).await;
    let mut session = host.session(&cluster, &hsm, &served);
    let (public, private) = block_in_place(|| {
        log_in_first(&mut session);
        make_pair(&mut session)
    });
    let rows = host.hsms.outbox_read(0, Duration::ZERO).await.unwrap();
    let last = rows.last().expect("an activation at least").seq;

    let mut state = host.supervisor.state();
    let killed = host.process();
    let waiting = host.hsms.outbox_read(last, Duration::from_secs(10));
    let killing = async {
        tokio::task::yield_now().await;
        kill_process(killed, Signal::KILL).unwrap();
    };
    let (heard, ()) = tokio::join!(waiting, killing);
    assert_eq!(heard.unwrap_err().code, HsmsCode::HostDown);
    assert!(!host.hsms.is_up());

    timeout(PATIENCE, state.wait_for(|s| matches!(s, ChildState::Running(id) if *id as i32 != killed.as_raw_pid())))
        .await
        .expect("another process in time")
        .unwrap();
    host.greet().await;
    assert!(host.hsms.is_up());
    assert_eq!(host.hsms.outbox_read(0, Duration::ZERO).await.unwrap(), rows);
    // The same session goes on by its ticket, at the same address.
    block_in_place(|| {
        let signature = sign(&mut session, private);
        verify(&mut session, public, signature);
    });
    host.supervisor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_hsm_ends_its_sessions_and_is_not_reached_by_its_name() {
    let host = Host::start().await;
    let (cluster, hsm) = ids(0);
    host.make_cluster(&cluster, &hsm).await;
    let (other, stays) = (HsmId::new("hsm-bbbbbbbbbbb"), HsmId::new("hsm-ccccccccccc"));
    let served = host.hsms.serve(&cluster, &other, "192.0.2.1").await.unwrap();
    assert_eq!(host.hsms.serve(&cluster, &stays, "192.0.2.2").await.unwrap(), served, "one listener for both");
    let (mut leaving, mut staying) = (host.session(&cluster, &other, &served), host.session(&cluster, &stays, &served));
    block_in_place(|| {
        assert_eq!(leaving.info().unwrap().hsm, other.as_str());
        assert_eq!(staying.info().unwrap().hsm, stays.as_str());
    });
    host.hsms.withdraw(&cluster, &other).await.unwrap();
    host.hsms.withdraw(&cluster, &hsm).await.unwrap();
    // The only HSM that is left does not answer to the name of another.
    block_in_place(|| {
        assert!(leaving.info().is_err());
        assert_eq!(staying.info().unwrap().hsm, stays.as_str());
    });
    host.supervisor.stop().await;
}

#[test]
fn a_child_ends_with_its_parents_pipe() {
    let folder = tempfile::tempdir().unwrap();
    make_private_folder(&folder.path().join("data")).unwrap();
    let mut child = Command::new(executable())
        .args(arguments(folder.path()))
        .arg("--ephemeral")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!Layout::new(folder.path().join("data")).root_key(&RegionName::new("us-east-1")).exists());
}
