//! Owns what the tests of a whole host share: a region with everything in memory, a customer CA, and a cluster with keys.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use strongroom_link::host::{Answer, Call, Chunk, Facts, Failure, Identity};
use strongroom_link::hsm::{Attribute, Role};
use strongroom_link::pkcs11::CKA_LABEL;
use x509_cert::der::DecodePem;
use x509_cert::request::CertReq;
use zeroize::Zeroizing;

use crate::attribute::{Origin, Template};
use crate::head::{self, Head};
use crate::host::{Bound, ChunkIo, Cut, Host, Listener, Seams};
use crate::key::Key;
use crate::lc::ec;
use crate::object::Object;
use crate::password::{PasswordHasher, PasswordPolicy};
use crate::pins::{Pin, Pins};
use crate::root::{Root, Roots};
use crate::rows::memory::MemoryRows;
use crate::rows::{ClusterRow, ClusterState, ObjectRow, Rows, RowsError, UserRow};
use crate::seal::{RowKind, RowSealer};
use crate::seam::{Clock, SystemRng};
use crate::start;
use crate::user::{ADMIN, User};

pub(crate) const CLUSTER: &str = "cluster-laci57k43pe";
pub(crate) const HSM: &str = "hsm-nx7kj5ucqzy";
pub(crate) const BACKUP: &str = "backup-on5rnxxrbwa";
pub(crate) const COPY: &str = "copy-54qgp7jyt3p";
pub(crate) const NOW_MS: i64 = 1_795_000_000_000;
pub(crate) const PUBLIC: u64 = 7;
pub(crate) const PRIVATE: u64 = 5;

#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct TestPins(pub(crate) Mutex<Vec<Pin>>);

impl Pins for TestPins {
    fn pin(&self, region_id: &str) -> Option<Pin> {
        self.0.lock().unwrap().pin(region_id)
    }
}

/// Writes down what it is told.
#[derive(Debug, Default)]
pub(crate) struct TestListener(pub(crate) Mutex<Vec<String>>);

impl Listener for TestListener {
    fn bind(&self, hsm: &str, cluster: &str, address: &str) -> Bound {
        self.0.lock().unwrap().push(format!("bind {hsm} {cluster} {address}"));
        Bound { is_eni_ip: true, address: address.to_owned(), port: 2225 }
    }

    fn release(&self, hsm: &str) {
        self.0.lock().unwrap().push(format!("release {hsm}"));
    }
}

/// A connection's chunks.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) sent: Vec<Chunk>,
    pub(crate) incoming: VecDeque<Chunk>,
    pub(crate) is_abandoned: bool,
}

impl Stream {
    pub(crate) fn of(payload: &[Vec<u8>]) -> Self {
        let chunks = payload.iter().enumerate();
        let incoming = chunks.map(|(n, bytes)| Chunk { n: n as u32, bytes: bytes.clone() }).collect();
        Self { incoming, ..Self::default() }
    }
}

impl ChunkIo for Stream {
    fn send(&mut self, chunk: Chunk) -> Result<(), Cut> {
        self.sent.push(chunk);
        Ok(())
    }

    fn receive(&mut self) -> Result<Chunk, Cut> {
        self.incoming.pop_front().ok_or(Cut)
    }

    fn abandon(&mut self) {
        self.is_abandoned = true;
    }
}

/// A region with everything in memory.
pub(crate) struct Rig {
    pub(crate) root: Root,
    pub(crate) rows: Arc<MemoryRows>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) pins: Arc<TestPins>,
    pub(crate) listener: Arc<TestListener>,
    pub(crate) host: Host,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let root = Root::generate(&SystemRng);
        let rows = Arc::new(MemoryRows::new());
        let roots = Roots::new(vec![root.clone()]).unwrap();
        start::found(&roots, &*rows, &SystemRng).unwrap();
        Self::open(vec![root], rows).unwrap()
    }

    /// A host over rows that are there, the current root first.
    pub(crate) fn open(roots: Vec<Root>, rows: Arc<MemoryRows>) -> Result<Self, Failure> {
        let clock = Arc::new(TestClock(AtomicI64::new(NOW_MS)));
        let (pins, listener) = (Arc::new(TestPins::default()), Arc::new(TestListener::default()));
        let root = roots[0].clone();
        let seams = Seams {
            rows: rows.clone(),
            clock: clock.clone(),
            rng: Arc::new(SystemRng),
            pins: pins.clone(),
            listener: listener.clone(),
        };
        let host = Host::open(Roots::new(roots).unwrap(), seams)?;
        Ok(Self { root, rows, clock, pins, listener, host })
    }

    pub(crate) fn region_id(&self) -> &str {
        &self.host.region().region_id
    }

    /// A region that has a cluster with keys.
    pub(crate) fn with_cluster() -> Self {
        let rig = Self::new();
        rig.make_cluster(CLUSTER);
        rig.activate(CLUSTER, &pair());
        rig
    }

    pub(crate) fn call(&self, call: Call) -> Answer {
        self.host.answer(call, &mut Stream::default())
    }

    pub(crate) fn refusal(&self, call: Call) -> Failure {
        refusal(self.call(call))
    }

    pub(crate) fn identity(&self, cluster: &str) -> Identity {
        match self.call(create_identity(cluster)) {
            Answer::Identity(identity) => identity,
            other => panic!("{other:?}"),
        }
    }

    /// Up to `initialized`.
    pub(crate) fn make_cluster(&self, cluster: &str) {
        let identity = self.identity(cluster);
        let (signed_cert, trust_anchor) = sign(&identity.csr);
        let install = Call::InstallCertificate { cluster: cluster.to_owned(), signed_cert, trust_anchor };
        assert!(matches!(self.call(install), Answer::Done));
    }

    pub(crate) fn row(&self, cluster: &str) -> Option<ClusterRow> {
        let mut row = None;
        self.rows
            .read(&mut |tx| {
                row = tx.cluster(cluster)?;
                Ok(())
            })
            .unwrap();
        row
    }

    pub(crate) fn sealer(&self, cluster: &str) -> RowSealer {
        let keys = self.host.region().keys(&self.row(cluster).unwrap()).unwrap();
        keys.cluster_key.rows(self.region_id(), cluster)
    }

    /// Gives the admin a password and puts these objects, as the data plane would.
    pub(crate) fn activate(&self, cluster: &str, objects: &[Object]) {
        let sealer = self.sealer(cluster);
        let row = self.row(cluster).unwrap();
        self.rows
            .write(&mut |tx| {
                let mut head = Head::open(&sealer, &tx.head(cluster)?.unwrap()).unwrap().next();
                let admin = tx.users(cluster, row.epoch)?.into_iter().find(|user| user.user == ADMIN).unwrap();
                head.remove_user(&sealer, &admin);
                let sealed =
                    sealer.seal(RowKind::User, ADMIN.as_bytes(), head.version, &admin_record().encode(), &SystemRng);
                let admin = UserRow { user: ADMIN.to_owned(), version: head.version, sealed };
                head.add_user(&sealer, &admin);
                tx.put_user(cluster, row.epoch, &admin)?;
                for object in objects {
                    let record = object.encode();
                    let sealed = sealer.seal(RowKind::Object, &object.row_id(), head.version, &record, &SystemRng);
                    let object = ObjectRow { object: object.handle(), version: head.version, sealed };
                    head.add_object(&sealer, &object);
                    tx.put_object(cluster, row.epoch, &object)?;
                }
                assert!(tx.compare_and_set_head(cluster, &head.seal(&sealer, &SystemRng))?);
                tx.put_cluster(&ClusterRow { state: ClusterState::Active, ..row.clone() })
            })
            .unwrap();
    }

    /// An object as it is in the vault.
    pub(crate) fn object(&self, cluster: &str, handle: u64) -> Object {
        let (sealer, epoch) = (self.sealer(cluster), self.row(cluster).unwrap().epoch);
        let mut found = None;
        self.rows
            .read(&mut |tx| {
                let row = tx.objects(cluster, epoch, Some(handle - 1), 1)?.remove(0);
                let record = sealer.open(RowKind::Object, &handle.to_be_bytes(), row.version, &row.sealed);
                found = Some(Object::decode(&record.unwrap()).unwrap());
                Ok(())
            })
            .unwrap();
        found.unwrap()
    }

    /// The head, held against all rows.
    pub(crate) fn verified_head(&self, cluster: &str) -> Head {
        let (sealer, epoch) = (self.sealer(cluster), self.row(cluster).unwrap().epoch);
        let mut head = None;
        self.rows
            .read(&mut |tx| {
                head = Some(head::verify(&sealer, tx, cluster, epoch)?);
                Ok(())
            })
            .unwrap();
        head.unwrap().unwrap()
    }

    pub(crate) fn change(&self, change: &mut dyn FnMut(&mut dyn crate::rows::VaultTx) -> Result<(), RowsError>) {
        self.rows.write(change).unwrap();
    }

    pub(crate) fn snapshot(&self) -> Backup {
        let mut stream = Stream::default();
        match self.host.answer(snapshot_of(CLUSTER), &mut stream) {
            Answer::Snapshot { body, header, facts } => {
                let payload = stream.sent.into_iter().map(|chunk| chunk.bytes).collect();
                Backup { body, header, facts, payload }
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn check(&self, backup: &Backup) -> Answer {
        let mut stream = Stream::of(&backup.payload);
        let answer =
            self.host.answer(Call::Check { header: backup.header.clone(), body: backup.body.clone() }, &mut stream);
        assert!(stream.incoming.is_empty() || stream.is_abandoned, "chunks are left on the connection");
        answer
    }

    pub(crate) fn install(&self, cluster: &str, backup: &Backup, stream: &mut dyn ChunkIo) -> Answer {
        let (header, body) = (backup.header.clone(), backup.body.clone());
        self.host.answer(Call::Install { cluster: cluster.to_owned(), header, body }, stream)
    }

    /// This region as another's files pin it.
    pub(crate) fn pin(&self) -> Pin {
        Pin {
            name: "peer".to_owned(),
            region_id: self.region_id().to_owned(),
            hpke_keys: self.host.keys.iter().map(|keys| keys.hpke_key.bytes.clone()).collect(),
            identity_keys: self.host.keys.iter().map(|keys| keys.identity_key.bytes.clone()).collect(),
        }
    }

    pub(crate) fn trust(&self, peer: &Self) {
        self.pins.0.lock().unwrap().push(peer.pin());
    }

    pub(crate) fn rewrap(&self, backup: &Backup, destination: &str) -> Answer {
        self.call(Call::Rewrap {
            copy: COPY.to_owned(),
            backup: BACKUP.to_owned(),
            header: backup.header.clone(),
            body: backup.body.clone(),
            destination: destination.to_owned(),
        })
    }

    pub(crate) fn envelope(&self, backup: &Backup, to: &Self) -> Vec<u8> {
        match self.rewrap(backup, to.region_id()) {
            Answer::Envelope(envelope) => envelope,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn admit(&self, from: &Self, envelope: &[u8], backup: &Backup, payload: Option<Vec<u8>>) -> Answer {
        self.call(Call::Admit {
            peer: from.region_id().to_owned(),
            envelope: envelope.to_owned(),
            body: backup.body.clone(),
            copy: COPY.to_owned(),
            payload,
        })
    }
}

/// What the control plane keeps of a backup.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    pub(crate) body: Vec<u8>,
    pub(crate) header: Vec<u8>,
    pub(crate) facts: Facts,
    pub(crate) payload: Vec<Vec<u8>>,
}

pub(crate) fn refusal(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn create_identity(cluster: &str) -> Call {
    Call::CreateIdentity { cluster: cluster.to_owned(), mode: "FIPS".to_owned(), first_hsm: HSM.to_owned() }
}

pub(crate) fn snapshot_of(cluster: &str) -> Call {
    Call::Snapshot {
        cluster: cluster.to_owned(),
        backup: BACKUP.to_owned(),
        hsm_type: "hsm2m.medium".to_owned(),
        created_at: NOW_MS,
    }
}

/// A customer CA signs a CSR: the leaf and the CA's certificate, PEM.
pub(crate) fn sign(csr: &str) -> (String, String) {
    let mut ca = rcgen::CertificateParams::default();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Example CA");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = CertReq::from_pem(csr).unwrap();
    let public_key = RsaKey(csr.info.public_key.subject_public_key.raw_bytes().to_vec());
    let leaf = rcgen::CertificateParams::default();
    let leaf = leaf.signed_by(&public_key, &rcgen::Issuer::from_params(&ca, &key)).unwrap();
    (leaf.pem(), ca.self_signed(&key).unwrap().pem())
}

/// The public key of a CSR.
struct RsaKey(Vec<u8>);

impl rcgen::PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

pub(crate) fn admin_record() -> User {
    let hasher = PasswordHasher::new(PasswordPolicy { memory_kib: 8, passes: 1, lanes: 1, at_once: 2 });
    User::new(ADMIN.to_owned(), Role::Admin, hasher.hash(b"password1", &SystemRng).unwrap(), 1)
}

/// An object that holds a key and a label.
pub(crate) fn object(handle: u64, key: Key, label: &str) -> Object {
    let attributes = [Attribute::bytes(CKA_LABEL, label)];
    Object::new(handle, ADMIN, key, Origin::Generated, &Template::read(&attributes).unwrap()).unwrap()
}

/// A P-256 pair; the private half comes first by handle.
pub(crate) fn pair() -> [Object; 2] {
    let private = ec::PrivateKey::generate(ec::Curve::P256).unwrap();
    let public = private.public().unwrap();
    [
        object(PRIVATE, Key::EcPrivate(private), "demo").with_public(PUBLIC),
        object(PUBLIC, Key::EcPublic(public), "demo-pub"),
    ]
}

/// A generic secret of 128 bytes with a long label, to fill chunks with.
pub(crate) fn secret(handle: u64) -> Object {
    let key = Key::generic_secret(Zeroizing::new(vec![handle as u8; 64])).unwrap();
    object(handle, key, &"label".repeat(25))
}
