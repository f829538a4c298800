//! The real binary from outside: `strongroom dev` on a free port and a folder of its own, calls of its API as an SDK sends
//! them (signed, over a kept connection, in JSON or CBOR), and clusters with keys made through the client that programs use.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strongroom::ca::{Bits, CustomerCa};
use strongroom_client::config::{Cluster as ClientCluster, Options, Server};
use strongroom_client::{Client, Hsm, Session};
use strongroom_link::Secret;
use strongroom_link::hsm::{Attribute, Mechanism, Role};
use strongroom_link::pkcs11::*;
use strongroom_model::backup::{Backup, BackupState};
use strongroom_model::call::*;
use strongroom_model::cluster::{Cluster, ClusterState};
use strongroom_model::hsm::HsmState;
use strongroom_model::{BackupId, ClusterId, RegionName, SubnetId, Timestamp, Value, table};
use strongroom_wire::front::{Head, Protocol};
use strongroom_wire::sigv4::{SecretKey, Signer};
use strongroom_wire::{cbor, json};
use tempfile::TempDir;

/// The regions that `dev` has by default.
pub const SOURCE: &str = "us-east-1";
/// The other one.
pub const DESTINATION: &str = "eu-west-1";

/// A running `strongroom dev`.
pub struct Dev {
    pub folder: TempDir,
    pub address: String,
    child: Option<Child>,
    /// All that it printed.
    pub output: Arc<Mutex<String>>,
    pub extra: Vec<String>,
    env: Vec<(String, String)>,
}

impl Dev {
    pub fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// What a command says in a terminal that was told where to go, in the folder of this server.
    pub fn command(&self, region: &str, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(words)
            .current_dir(self.folder.path())
            .env("AWS_ENDPOINT_URL_CLOUDHSM_V2", format!("http://{}", self.address))
            .env("AWS_REGION", region)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env_remove("AWS_SESSION_TOKEN")
            .output()
            .unwrap()
    }

    pub fn start_with(extra: &[&str], env: &[(&str, &str)]) -> Self {
        let mut dev = Self {
            folder: tempfile::tempdir().unwrap(),
            address: String::new(),
            child: None,
            output: Arc::default(),
            extra: extra.iter().map(|s| (*s).to_owned()).collect(),
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        dev.run();
        dev
    }

    /// Starts it (again) on its folder.
    pub fn run(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .args(&self.extra)
            .envs(self.env.iter().map(|(k, v)| (k.as_str(), v.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = Arc::new(Mutex::new(None));
        for stream in
            [Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>, Box::new(child.stderr.take().unwrap())]
        {
            let (output, ready) = (self.output.clone(), ready.clone());
            thread::spawn(move || {
                let mut endpoint = None;
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    output.lock().unwrap().push_str(&format!("{line}\n"));
                    if let Some((_, rest)) = line.split_once("http://") {
                        endpoint.get_or_insert_with(|| rest.split([' ', ',']).next().unwrap_or(rest).to_owned());
                    }
                    if line.starts_with("Ready in") || line.contains("ready in") {
                        *ready.lock().unwrap() = endpoint.clone();
                    }
                }
            });
        }
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(address) = ready.lock().unwrap().clone() {
                self.address = address;
                return;
            }
            assert!(Instant::now() < until, "dev does not start: {}", self.output.lock().unwrap());
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// The HSM host's process: the only child, of whichever thread.
    pub fn host_pid(&self) -> Option<u32> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).ok()?.flatten();
        let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        children.collect::<String>().split_whitespace().next()?.parse().ok()
    }

    /// `kill -9` of the API process; its child ends by itself.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ctrl-C; its exit status.
    pub fn interrupt(&mut self) -> i32 {
        let mut child = self.child.take().expect("it runs");
        let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        child.wait().unwrap().code().unwrap_or(-1)
    }

    pub fn api(&self, region: &str) -> Api {
        Api::new(&self.address, region, Protocol::AwsJson11)
    }

    /// An ACTIVE cluster in a region, with its admin, its crypto user `app`, and one HSM.
    pub fn cluster(&self, region: &str) -> TestCluster {
        let ca = CustomerCa::create(Bits::Rsa2048, SystemTime::now()).unwrap();
        let mut api = self.api(region);
        let id = api.create_cluster(None);
        api.wait_cluster(&id, ClusterState::Uninitialized);
        api.create_hsm(&id, "a");
        let csr = api.cluster(&id).certificates.unwrap().cluster_csr.unwrap();
        let input = InitializeClusterRequest {
            cluster_id: id.clone(),
            signed_cert: ca.sign(&csr, SystemTime::now()).unwrap(),
            trust_anchor: ca.certificate_pem(),
        };
        api.call(Call::InitializeCluster(input));
        api.wait_cluster(&id, ClusterState::Initialized);
        let cluster = TestCluster::new(self, region, id, ca.certificate_pem());
        let mut session = cluster.session();
        session.activate(secret("admin-password-1")).unwrap();
        session.login("admin", Role::Admin, secret("admin-password-1")).unwrap();
        session.create_user("app", Role::CryptoUser, secret("app-password-1")).unwrap();
        api.wait_cluster(&cluster.id, ClusterState::Active);
        cluster
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// A cluster and what a client needs to use it.
pub struct TestCluster {
    pub id: ClusterId,
    pub region: String,
    pub ca: String,
    folder: TempDir,
    endpoints: Vec<strongroom_model::copy::HsmEndpoint>,
}

impl TestCluster {
    pub fn new(dev: &Dev, region: &str, id: ClusterId, ca: String) -> Self {
        let input = DescribeHsmEndpointsRequest { cluster_id: id.clone() };
        let Reply::DescribeHsmEndpoints(output) = dev.api(region).call(Call::DescribeHsmEndpoints(input)) else {
            panic!()
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("customerCA.crt"), &ca).unwrap();
        Self { id, region: region.into(), ca, folder, endpoints: output.endpoints }
    }

    pub fn session(&self) -> Session {
        let servers = self
            .endpoints
            .iter()
            .map(|e| Server { sni: Some(e.sni.clone()), ..Server::new(e.address.clone(), e.port as u16) });
        let cluster = ClientCluster {
            hsm_ca_file: "customerCA.crt".into(),
            cluster_id: Some(self.id.as_str().to_owned()),
            key_pin: None,
            options: Options::default(),
            servers: servers.collect(),
            rest: Default::default(),
        };
        Client::open(&cluster, self.folder.path()).unwrap().session()
    }

    /// A session of the crypto user.
    pub fn login(&self) -> Session {
        let mut session = self.session();
        session.login("app", Role::CryptoUser, secret("app-password-1")).unwrap();
        session
    }
}

/// Attributes of a token key with a label.
pub fn labelled(label: &str, rest: Vec<Attribute>) -> Vec<Attribute> {
    let mut template = vec![Attribute::boolean(CKA_TOKEN, true), Attribute::bytes(CKA_LABEL, label.as_bytes())];
    template.extend(rest);
    template
}

pub fn generate_ec(session: &mut Session, label: &str) -> (Ulong, Ulong) {
    let p256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let public = vec![Attribute::bytes(CKA_EC_PARAMS, p256), Attribute::boolean(CKA_VERIFY, true)];
    let private = vec![Attribute::boolean(CKA_SIGN, true), Attribute::boolean(CKA_EXTRACTABLE, false)];
    let mechanism = Mechanism::plain(CKM_EC_KEY_PAIR_GEN);
    session.generate_key_pair(mechanism, labelled(&format!("{label}-pub"), public), labelled(label, private)).unwrap()
}

pub fn generate_rsa(session: &mut Session, label: &str) -> (Ulong, Ulong) {
    let public = vec![
        Attribute::ulong(CKA_MODULUS_BITS, 2048),
        Attribute::bytes(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
        Attribute::boolean(CKA_VERIFY, true),
    ];
    let private = vec![Attribute::boolean(CKA_SIGN, true), Attribute::boolean(CKA_EXTRACTABLE, false)];
    let mechanism = Mechanism::plain(CKM_RSA_PKCS_KEY_PAIR_GEN);
    session.generate_key_pair(mechanism, labelled(&format!("{label}-pub"), public), labelled(label, private)).unwrap()
}

pub fn generate_aes(session: &mut Session, label: &str) -> Ulong {
    let rest = vec![
        Attribute::ulong(CKA_VALUE_LEN, 32),
        Attribute::boolean(CKA_ENCRYPT, true),
        Attribute::boolean(CKA_DECRYPT, true),
    ];
    session.generate_key(Mechanism::plain(CKM_AES_KEY_GEN), labelled(label, rest)).unwrap()
}

pub fn find(session: &mut Session, label: &str) -> Ulong {
    let found = session.find_objects(vec![Attribute::bytes(CKA_LABEL, label.as_bytes())], 0, 2).unwrap();
    assert_eq!(found.total, 1, "keys with the label {label}");
    found.handles[0]
}

/// SubjectPublicKeyInfo of a public key, DER.
pub fn public_key(session: &mut Session, handle: Ulong) -> Vec<u8> {
    use strongroom_link::hsm::AttributeValue;
    let attributes = session.get_attributes(handle, vec![CKA_PUBLIC_KEY_INFO]).unwrap().attributes;
    match &attributes[0].value {
        AttributeValue::Bytes(der) => der.clone(),
        other => panic!("{other:?}"),
    }
}

/// The API of a region over one kept connection.
pub struct Api {
    address: String,
    pub region: String,
    pub protocol: Protocol,
    secret: SecretKey,
    stream: Option<BufReader<TcpStream>>,
    pub invocation_id: Option<String>,
}

/// An answer that is an error.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub name: String,
    pub message: String,
}

impl Api {
    pub fn new(address: &str, region: &str, protocol: Protocol) -> Self {
        Self {
            address: address.to_owned(),
            region: region.to_owned(),
            protocol,
            secret: SecretKey::new("test"),
            stream: None,
            invocation_id: None,
        }
    }

    pub fn call(&mut self, call: Call) -> Reply {
        let operation = call.operation();
        self.try_call(call).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", operation.name()))
    }

    pub fn try_call(&mut self, call: Call) -> Result<Reply, Refusal> {
        self.send(call).expect("the connection holds")
    }

    /// A call; an I/O error means that nobody knows whether it happened.
    pub fn send(&mut self, call: Call) -> std::io::Result<Result<Reply, Refusal>> {
        let operation = call.operation();
        let shape = table::api().find(operation.input()).unwrap();
        let value = call.into_value();
        let body = match self.protocol {
            Protocol::AwsJson11 => json::encode(&value, table::api(), shape),
            Protocol::RpcV2Cbor => cbor::encode(&value, table::api(), shape),
        };
        let request = self.request(operation, &body);
        let (status, body) = self.exchange(&request).inspect_err(|_| self.stream = None)?;
        Ok(self.read(operation, status, &body))
    }

    /// The bytes of a signed request.
    pub fn request(&self, operation: Operation, body: &[u8]) -> Vec<u8> {
        let (path, target);
        let mut headers = vec![("host", self.address.as_str())];
        match self.protocol {
            Protocol::AwsJson11 => {
                path = "/".to_owned();
                target = format!("{}.{}", operation.service().shape_name(), operation.name());
                headers.push(("content-type", "application/x-amz-json-1.1"));
                headers.push(("x-amz-target", &target));
            }
            Protocol::RpcV2Cbor => {
                path = format!("/service/{}/operation/{}", operation.service().shape_name(), operation.name());
                headers.extend([
                    ("accept", "application/cbor"),
                    ("content-type", "application/cbor"),
                    ("smithy-protocol", "rpc-v2-cbor"),
                ]);
            }
        }
        let head = Head { method: "POST", path: &path, query: "", headers };
        let signer = Signer {
            access_key_id: "test",
            secret: &self.secret,
            session_token: None,
            region: &self.region,
            service: operation.service().signing_name(),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let added = signer.sign(&head, body, Timestamp::from_millis(now));
        let mut text = format!("POST {path} HTTP/1.1\r\n");
        for (name, value) in
            head.headers.iter().map(|(n, v)| (*n, *v)).chain(added.iter().map(|(n, v)| (*n, v.as_str())))
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(id) = &self.invocation_id {
            text.push_str(&format!("amz-sdk-invocation-id: {id}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        [text.as_bytes(), body].concat()
    }

    /// Sends bytes and reads one answer.
    pub fn exchange(&mut self, request: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(40)))?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().expect("just opened");
        stream.get_mut().write_all(request)?;
        let mut line = String::new();
        let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        if stream.read_line(&mut line)? == 0 {
            return Err(cut());
        }
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(cut)?;
        let (mut length, mut close) = (0, false);
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Err(cut());
            }
            let header = line.trim_end().to_ascii_lowercase();
            match header.split_once(": ") {
                None => break,
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("connection", "close")) => close = true,
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if close {
            self.stream = None;
        }
        Ok((status, body))
    }

    fn read(&self, operation: Operation, status: u16, body: &[u8]) -> Result<Reply, Refusal> {
        if status == 200 {
            let shape = table::api().find(operation.output()).unwrap();
            let value = match self.protocol {
                Protocol::AwsJson11 => json::decode(body, table::api(), shape),
                Protocol::RpcV2Cbor => cbor::decode(body, table::api(), shape),
            };
            return Ok(Reply::from_value(operation, value.unwrap()).unwrap());
        }
        let text = String::from_utf8_lossy(body).into_owned();
        let parsed: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let name = parsed["__type"].as_str().unwrap_or(&text).to_owned();
        let message = parsed["Message"].as_str().or(parsed["message"].as_str()).unwrap_or_default().to_owned();
        Err(Refusal { status, name, message })
    }

    pub fn create_cluster(&mut self, source: Option<&BackupId>) -> ClusterId {
        let input = CreateClusterRequest {
            hsm_type: "hsm2m.medium".into(),
            subnet_ids: vec![SubnetId::new("subnet-0123456789abcdef0"), SubnetId::new("subnet-0123456789abcdef1")],
            source_backup_id: source.map(|id| id.as_str().to_owned()),
            ..Default::default()
        };
        let Reply::CreateCluster(output) = self.call(Call::CreateCluster(input)) else { panic!() };
        output.cluster.unwrap().cluster_id.unwrap()
    }

    pub fn cluster(&mut self, id: &ClusterId) -> Cluster {
        let filters = [("clusterIds".to_owned(), vec![id.as_str().to_owned()])].into_iter().collect();
        let input = DescribeClustersRequest { filters: Some(filters), ..Default::default() };
        let Reply::DescribeClusters(output) = self.call(Call::DescribeClusters(input)) else { panic!() };
        output.clusters.unwrap().remove(0)
    }

    pub fn wait_cluster(&mut self, id: &ClusterId, state: ClusterState) -> Cluster {
        wait(&format!("{id} {state}"), || Some(self.cluster(id)).filter(|c| c.state == Some(state)))
    }

    /// An HSM, when it is ACTIVE.
    pub fn create_hsm(&mut self, id: &ClusterId, zone: &str) {
        let input = CreateHsmRequest {
            cluster_id: id.clone(),
            availability_zone: format!("{}{zone}", self.region),
            ip_address: None,
        };
        let Reply::CreateHsm(output) = self.call(Call::CreateHsm(input)) else { panic!() };
        let hsm_id = output.hsm.unwrap().hsm_id;
        wait("HSM ACTIVE", || {
            let hsms = self.cluster(id).hsms?;
            hsms.into_iter().find(|h| h.hsm_id == hsm_id && h.state == Some(HsmState::Active))
        });
    }

    pub fn backups(&mut self, filter: Option<(&str, &str)>) -> Vec<Backup> {
        let filters = filter.map(|(name, value)| [(name.to_owned(), vec![value.to_owned()])].into_iter().collect());
        let (mut all, mut next_token) = (Vec::new(), None);
        loop {
            let input = DescribeBackupsRequest {
                filters: filters.clone(),
                next_token: next_token.take(),
                ..Default::default()
            };
            let Reply::DescribeBackups(output) = self.call(Call::DescribeBackups(input)) else { panic!() };
            all.extend(output.backups.unwrap());
            next_token = output.next_token;
            if next_token.is_none() {
                return all;
            }
        }
    }

    /// A backup of the cluster as it is now: an HSM joins, and its backup is the newest.
    pub fn fresh_backup(&mut self, id: &ClusterId) -> BackupId {
        self.create_hsm(id, "b");
        let newest = self.backups(Some(("clusterIds", id.as_str()))).remove(0);
        assert_eq!(newest.backup_state, Some(BackupState::Ready));
        newest.backup_id
    }

    pub fn copy_call(backup_id: &BackupId, region: &str) -> Call {
        Call::CopyBackupToRegion(CopyBackupToRegionRequest {
            destination_region: RegionName::new(region),
            backup_id: backup_id.clone(),
            tag_list: None,
        })
    }
}

/// Polls for at most 60 seconds.
pub fn wait<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < until, "{what}: does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The READY copies of a backup in the other region.
pub fn ready_copies(api: &mut Api, backup_id: &BackupId) -> Vec<Backup> {
    let mut found = api.backups(Some(("sourceBackupIds", backup_id.as_str())));
    found.retain(|b| b.backup_state == Some(BackupState::Ready));
    found
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|e| {
            if e.path().is_dir() {
                files(&e.path())
            } else if e.path().is_file() {
                vec![e.path()]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// An empty structure.
pub fn nothing() -> Value {
    Value::Structure(Vec::new())
}
