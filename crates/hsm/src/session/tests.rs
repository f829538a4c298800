//! Owns what the tests of sessions share: a served cluster with cheap passwords, and short words for calls and templates.

use std::sync::{Arc, Mutex};

use strongroom_link::Secret;
use strongroom_link::hsm::{Answer, Attribute, AttributeValue, Call, Failure, Mechanism, Request, Response, Role};
use strongroom_link::pkcs11::*;

use super::Session;
use crate::cluster::{Cluster, Health};
use crate::lc::ec;
use crate::password::{PasswordHasher, PasswordPolicy};
use crate::region::Region;
use crate::seam::{SystemRng, random};
use crate::testing::{CLUSTER, HSM, Rig};

mod keys;
mod openssl;
mod users;
mod vault;

const PASSWORD: &[u8] = b"password1";

#[derive(Debug, Default)]
struct TestHealth(Mutex<Vec<Option<String>>>);

impl Health for TestHealth {
    fn report(&self, _: &str, damage: Option<&str>) {
        self.0.lock().unwrap().push(damage.map(str::to_owned));
    }
}

/// A cluster that is served.
struct Served {
    rig: Rig,
    health: Arc<TestHealth>,
    cluster: Arc<Cluster>,
}

impl Served {
    /// Not activated.
    fn new() -> Self {
        let rig = Rig::new();
        rig.make_cluster(CLUSTER);
        let health = Arc::new(TestHealth::default());
        let cluster = open_in(rig.host.region(), &health);
        Self { rig, health, cluster }
    }

    /// Activated, with the crypto-users alice and bob.
    fn with_users() -> Self {
        let served = Self::new();
        served.session().ask(Call::Activate(secret(PASSWORD)));
        let mut admin = served.log_in("admin", Role::Admin);
        for user in ["alice", "bob"] {
            admin.ask(create_user(user, Role::CryptoUser));
        }
        served
    }

    fn session(&self) -> Session {
        Session::new(Arc::clone(&self.cluster), HSM, "127.0.0.1")
    }

    fn log_in(&self, user: &str, role: Role) -> Session {
        let mut session = self.session();
        session.ask(login(user, role, PASSWORD));
        session
    }

    fn alice(&self) -> Session {
        self.log_in("alice", Role::CryptoUser)
    }

    /// The same cluster, as another host would serve it.
    fn elsewhere(&self) -> Self {
        let rig = Rig::open(vec![self.rig.root.clone()], Arc::clone(&self.rig.rows)).unwrap();
        let health = Arc::new(TestHealth::default());
        let cluster = open_in(rig.host.region(), &health);
        Self { rig, health, cluster }
    }
}

fn open_in(region: &Arc<Region>, health: &Arc<TestHealth>) -> Arc<Cluster> {
    let policy = PasswordPolicy { memory_kib: 8, passes: 1, lanes: 1, at_once: 2 };
    let health: Arc<dyn Health> = Arc::clone(health) as _;
    Cluster::open(region, CLUSTER, &Arc::new(PasswordHasher::new(policy)), &health).unwrap()
}

trait Ask {
    fn send(&mut self, request_id: [u8; 16], call: Call) -> Result<Answer, Failure>;

    fn try_ask(&mut self, call: Call) -> Result<Answer, Failure> {
        self.send(random(&SystemRng), call)
    }

    fn ask(&mut self, call: Call) -> Answer {
        self.try_ask(call).unwrap()
    }

    fn ckr(&mut self, call: Call) -> Ulong {
        self.try_ask(call).unwrap_err().ckr
    }

    fn handle(&mut self, call: Call) -> Ulong {
        match self.ask(call) {
            Answer::Object(handle) => handle,
            other => panic!("{other:?}"),
        }
    }

    fn pair(&mut self, call: Call) -> (Ulong, Ulong) {
        match self.ask(call) {
            Answer::Pair { public, private } => (public, private),
            other => panic!("{other:?}"),
        }
    }

    fn bytes(&mut self, call: Call) -> Vec<u8> {
        match self.ask(call) {
            Answer::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn found(&mut self, template: Vec<Attribute>) -> Vec<Ulong> {
        match self.ask(Call::FindObjects { template, skip: 0, limit: 100 }) {
            Answer::Found { handles, total } => {
                assert_eq!(handles.len(), total as usize);
                handles
            }
            other => panic!("{other:?}"),
        }
    }

    fn attribute(&mut self, handle: Ulong, kind: Ulong) -> Option<AttributeValue> {
        match self.ask(Call::GetAttributes { handle, kinds: vec![kind] }) {
            Answer::Attributes { mut attributes, .. } => attributes.pop().map(|attribute| attribute.value),
            other => panic!("{other:?}"),
        }
    }

    fn attribute_bytes(&mut self, handle: Ulong, kind: Ulong) -> Vec<u8> {
        match self.attribute(handle, kind) {
            Some(AttributeValue::Bytes(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }
}

impl Ask for Session {
    fn send(&mut self, request_id: [u8; 16], call: Call) -> Result<Answer, Failure> {
        let request_id = call.is_mutating().then_some(request_id);
        match self.answer(Request { request_id, call }) {
            Response::Ok(answer) => Ok(answer),
            Response::Failed(failure) => Err(failure),
        }
    }
}

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(bytes.to_vec())
}

fn login(user: &str, role: Role, password: &[u8]) -> Call {
    Call::Login { user: user.to_owned(), role, password: secret(password) }
}

fn create_user(user: &str, role: Role) -> Call {
    Call::CreateUser { user: user.to_owned(), role, password: secret(PASSWORD) }
}

fn change_password(user: &str, role: Role, password: &[u8]) -> Call {
    Call::ChangePassword { user: user.to_owned(), role, password: secret(password) }
}

fn token() -> Attribute {
    Attribute::boolean(CKA_TOKEN, true)
}

/// A template with a label, in the cluster.
fn labelled(label: &str, more: &[Attribute]) -> Vec<Attribute> {
    [&[token(), Attribute::bytes(CKA_LABEL, label)], more].concat()
}

fn generate_aes(template: Vec<Attribute>) -> Call {
    let template = [&[Attribute::ulong(CKA_VALUE_LEN, 32)], &template[..]].concat();
    Call::GenerateKey { mechanism: Mechanism::plain(CKM_AES_KEY_GEN), template }
}

/// A pair that signs and verifies.
fn generate_ec(curve: ec::Curve, label: &str) -> Call {
    Call::GenerateKeyPair {
        mechanism: Mechanism::plain(CKM_EC_KEY_PAIR_GEN),
        public: labelled(label, &[Attribute::bytes(CKA_EC_PARAMS, curve.oid()), Attribute::boolean(CKA_VERIFY, true)]),
        private: labelled(label, &[Attribute::boolean(CKA_SIGN, true)]),
    }
}

/// A pair that signs and verifies.
fn generate_rsa(bits: Ulong, label: &str) -> Call {
    Call::GenerateKeyPair {
        mechanism: Mechanism::plain(CKM_RSA_PKCS_KEY_PAIR_GEN),
        public: labelled(label, &[Attribute::ulong(CKA_MODULUS_BITS, bits), Attribute::boolean(CKA_VERIFY, true)]),
        private: labelled(label, &[Attribute::boolean(CKA_SIGN, true)]),
    }
}

fn sign(handle: Ulong, mechanism: Ulong, data: &[u8]) -> Call {
    Call::Sign { handle, mechanism: Mechanism::plain(mechanism), data: data.to_vec() }
}

fn verify(handle: Ulong, mechanism: Ulong, data: &[u8], signature: &[u8]) -> Call {
    let mechanism = Mechanism::plain(mechanism);
    Call::Verify { handle, mechanism, data: data.to_vec(), signature: signature.to_vec() }
}
