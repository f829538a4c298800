//! The way of a key from one region to another, through nothing but the public parts of this crate and the words of
//! `strongroom-link`, as the binary puts them together: first start, cluster, users and keys, snapshot, re-wrap, admission,
//! test-open, restore, and a signature there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use strongroom_hsm::cluster::{Cluster, Health};
use strongroom_hsm::host::{Bound, ChunkIo, Cut, Host, Listener, Seams};
use strongroom_hsm::password::{PasswordHasher, PasswordPolicy};
use strongroom_hsm::pins::{Pin, Pins};
use strongroom_hsm::root::{Root, Roots};
use strongroom_hsm::rows::Rows;
use strongroom_hsm::rows::memory::MemoryRows;
use strongroom_hsm::seam::{Clock, SystemRng, random};
use strongroom_hsm::session::Session;
use strongroom_hsm::start::{self, Control, Decision, Held};
use strongroom_link::Secret;
use strongroom_link::host::{Answer, Call, Chunk, Hello, Identity, VERSION};
use strongroom_link::hsm::{self, Attribute, AttributeValue, Mechanism, Request, Response, Role};
use strongroom_link::pkcs11::*;
use x509_cert::der::DecodePem;
use x509_cert::request::CertReq;

const NOW_MS: i64 = 1_795_000_000_000;
const PASSWORD: &[u8] = b"password1";

#[derive(Debug)]
struct TestClock;

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        NOW_MS
    }
}

#[derive(Debug, Default)]
struct TestPins(Mutex<Vec<Pin>>);

impl Pins for TestPins {
    fn pin(&self, region_id: &str) -> Option<Pin> {
        self.0.lock().unwrap().pin(region_id)
    }
}

#[derive(Debug)]
struct NoListener;

impl Listener for NoListener {
    fn bind(&self, _: &str, _: &str, address: &str) -> Bound {
        Bound { is_eni_ip: false, address: address.to_owned(), port: 0 }
    }

    fn release(&self, _: &str) {}
}

#[derive(Default)]
struct Chunks(VecDeque<Chunk>);

impl ChunkIo for Chunks {
    fn send(&mut self, chunk: Chunk) -> Result<(), Cut> {
        self.0.push_back(chunk);
        Ok(())
    }

    fn receive(&mut self) -> Result<Chunk, Cut> {
        self.0.pop_front().ok_or(Cut)
    }

    fn abandon(&mut self) {}
}

struct Region {
    host: Host,
    pins: Arc<TestPins>,
    hello: Hello,
}

impl Region {
    /// The first start of a region, as the binary does it when the API process says hello.
    fn first_start() -> Self {
        let rows = Arc::new(MemoryRows::new());
        let control = Control { region_id: None, roots: vec![], is_empty: true };
        assert_eq!(start::decide(&Held::read(None, &*rows).unwrap(), &control), Decision::Mint);
        let key_file = Root::generate(&SystemRng).to_text();
        let roots = Roots::new(vec![Root::from_text(&key_file).unwrap()]).unwrap();
        start::found(&roots, &*rows, &SystemRng).unwrap();
        let pins = Arc::new(TestPins::default());
        let rows: Arc<dyn Rows> = rows;
        let seams = Seams {
            rows,
            clock: Arc::new(TestClock),
            rng: Arc::new(SystemRng),
            pins: pins.clone(),
            listener: Arc::new(NoListener),
        };
        let host = Host::open(roots, seams).unwrap();
        let hello = Call::Hello {
            version: VERSION,
            region: "us-east-1".to_owned(),
            region_id: None,
            roots: vec![],
            control_is_empty: true,
        };
        match host.answer(hello, &mut Chunks::default()) {
            Answer::Hello(hello) => Self { host, pins, hello },
            other => panic!("{other:?}"),
        }
    }

    fn call(&self, call: Call) -> Answer {
        self.host.answer(call, &mut Chunks::default())
    }

    fn trust(&self, peer: &Self) {
        let raw = |keys: &[strongroom_link::host::PublicKey]| keys.iter().map(|key| key.bytes.clone()).collect();
        self.pins.0.lock().unwrap().push(Pin {
            name: "peer".to_owned(),
            region_id: peer.hello.region_id.clone(),
            hpke_keys: raw(&peer.hello.hpke_keys),
            identity_keys: raw(&peer.hello.identity_keys),
        });
    }

    fn connect(&self, cluster: &str) -> Session {
        let policy = PasswordPolicy { memory_kib: 8, passes: 1, lanes: 1, at_once: 2 };
        let health: Arc<dyn Health> = self.host.region().clone();
        let passwords = Arc::new(PasswordHasher::new(policy));
        let cluster = Cluster::open(self.host.region(), cluster, &passwords, &health).unwrap();
        Session::new(cluster, "hsm-nx7kj5ucqzy", "127.0.0.1")
    }
}

fn ask(session: &mut Session, call: hsm::Call) -> hsm::Answer {
    match session.answer(Request { request_id: Some(random(&SystemRng)), call }) {
        Response::Ok(answer) => answer,
        Response::Failed(failure) => panic!("{failure:?}"),
    }
}

fn password() -> Secret {
    Secret::new(PASSWORD.to_vec())
}

fn log_in(session: &mut Session, user: &str, role: Role) {
    ask(session, hsm::Call::Login { user: user.to_owned(), role, password: password() });
}

/// A cluster with a crypto-user and a P-256 pair: its private handle and its public point.
fn make_cluster(region: &Region, cluster: &str) -> (u64, Vec<u8>) {
    let create = Call::CreateIdentity {
        cluster: cluster.to_owned(),
        mode: "FIPS".to_owned(),
        first_hsm: "hsm-nx7kj5ucqzy".to_owned(),
    };
    let Answer::Identity(Identity { csr, .. }) = region.call(create) else { panic!() };
    let (signed_cert, trust_anchor) = sign(&csr);
    let install = Call::InstallCertificate { cluster: cluster.to_owned(), signed_cert, trust_anchor };
    assert!(matches!(region.call(install), Answer::Done));
    let mut session = region.connect(cluster);
    ask(&mut session, hsm::Call::Activate(password()));
    log_in(&mut session, "admin", Role::Admin);
    let app = hsm::Call::CreateUser { user: "app".to_owned(), role: Role::CryptoUser, password: password() };
    ask(&mut session, app);
    ask(&mut session, hsm::Call::Logout);
    log_in(&mut session, "app", Role::CryptoUser);
    let curve = vec![0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let make_pair = hsm::Call::GenerateKeyPair {
        mechanism: Mechanism::plain(CKM_EC_KEY_PAIR_GEN),
        public: vec![
            Attribute::bytes(CKA_EC_PARAMS, curve),
            Attribute::boolean(CKA_TOKEN, true),
            Attribute::boolean(CKA_VERIFY, true),
        ],
        private: vec![Attribute::boolean(CKA_TOKEN, true), Attribute::boolean(CKA_SIGN, true)],
    };
    let hsm::Answer::Pair { public, private } = ask(&mut session, make_pair) else { panic!() };
    let point = hsm::Call::GetAttributes { handle: public, kinds: vec![CKA_EC_POINT] };
    let hsm::Answer::Attributes { attributes, .. } = ask(&mut session, point) else { panic!() };
    let AttributeValue::Bytes(point) = &attributes[0].value else { panic!() };
    (private, point[2..].to_vec())
}

/// A customer CA signs a CSR: the leaf and the CA's certificate, PEM.
fn sign(csr: &str) -> (String, String) {
    struct RsaKey(Vec<u8>);
    impl rcgen::PublicKeyData for RsaKey {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }
        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            &rcgen::PKCS_RSA_SHA256
        }
    }
    let csr = CertReq::from_pem(csr).unwrap();
    let public_key = RsaKey(csr.info.public_key.subject_public_key.raw_bytes().to_vec());
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::default();
    let leaf = leaf.signed_by(&public_key, &rcgen::Issuer::from_params(&ca, &key)).unwrap();
    (leaf.pem(), ca.self_signed(&key).unwrap().pem())
}

#[test]
fn a_key_signs_in_the_region_that_its_backup_was_copied_to() {
    let (source, destination) = (Region::first_start(), Region::first_start());
    source.trust(&destination);
    destination.trust(&source);
    let (private, point) = make_cluster(&source, "cluster-laci57k43pe");

    let mut chunks = Chunks::default();
    let snapshot = Call::Snapshot {
        cluster: "cluster-laci57k43pe".to_owned(),
        backup: "backup-on5rnxxrbwa".to_owned(),
        hsm_type: "hsm2m.medium".to_owned(),
        created_at: NOW_MS,
    };
    let Answer::Snapshot { body, header, facts } = source.host.answer(snapshot, &mut chunks) else { panic!() };
    assert_eq!((facts.users, facts.keys), (3, 2));

    let rewrap = Call::Rewrap {
        copy: "copy-54qgp7jyt3p".to_owned(),
        backup: "backup-on5rnxxrbwa".to_owned(),
        header,
        body: body.clone(),
        destination: destination.hello.region_id.clone(),
    };
    let Answer::Envelope(envelope) = source.call(rewrap) else { panic!() };
    let admit = Call::Admit {
        peer: source.hello.region_id.clone(),
        envelope,
        body: body.clone(),
        copy: "copy-54qgp7jyt3p".to_owned(),
        payload: Some(chunks.0[0].bytes.clone()),
    };
    let Answer::Admitted { header, facts: admitted } = destination.call(admit) else { panic!() };
    assert_eq!(admitted, facts);

    let install = Call::Install { cluster: "cluster-restored111".to_owned(), header, body };
    let Answer::Facts(installed) = destination.host.answer(install, &mut chunks) else { panic!() };
    assert_eq!(installed, facts);
    let mut session = destination.connect("cluster-restored111");
    log_in(&mut session, "app", Role::CryptoUser);
    let data = b"message".to_vec();
    let sign = hsm::Call::Sign { handle: private, mechanism: Mechanism::plain(CKM_ECDSA_SHA256), data };
    let hsm::Answer::Bytes(signature) = ask(&mut session, sign) else { panic!() };
    let public_key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    public_key.verify(b"message", &signature).unwrap();
    assert!(public_key.verify(b"another", &signature).is_err());
}
