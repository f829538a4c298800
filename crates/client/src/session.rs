//! Owns a session with the HSMs of one cluster and what becomes of a call when an HSM is lost.
//!
//! A call goes to the connected HSM. If the connection breaks, the session connects to the next one, presents the
//! ticket of its login, and repeats the call: a mutating one several times under the same request id, so that its
//! effect happens once; any other one time. Session objects belong to the HSM that was lost and are gone. A password is in the login call
//! alone and is never kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;
use strongroom_link::Secret;
use strongroom_link::frame;
use strongroom_link::hsm::{Answer, Call, Failure, Info, Request, Response};

use crate::certificate::{HsmKey, TrustAnchor, tls_config};
use crate::config::{Cluster, ConfigError};
use crate::connection::{Broken, Connection, Endpoint};
use crate::error::{Error, Miss, MissCause};
use crate::hsm::Hsm;

/// The pauses before the repeats of a call that was sent and not answered.
const REPEATS: [Duration; 1] = [Duration::ZERO];
/// The same for a mutating call: its outcome is unknown until an HSM answers, so it is worth waiting for a restart.
const MUTATION_REPEATS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];

/// What is needed to reach the HSMs of one cluster. Holds no connection.
#[derive(Clone)]
pub struct Client {
    cluster: Option<String>,
    ca_file: PathBuf,
    endpoints: Vec<Endpoint>,
    tls: Arc<ClientConfig>,
    /// Whether the cluster showed its certificate before.
    is_known: bool,
}

/// What a first contact tells about an HSM that was found trustworthy.
#[derive(Clone, Debug)]
pub struct Contact {
    /// `host:port`.
    pub address: String,
    /// The key that it proved to hold.
    pub key: HsmKey,
    /// Which HSM it is.
    pub info: Info,
}

impl Client {
    /// Reads what a configured cluster refers to; `folder` is that of its configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn open(cluster: &Cluster, folder: &Path) -> Result<Self, ConfigError> {
        let ca_file = folder.join(&cluster.hsm_ca_file);
        let anchor = TrustAnchor::read(&ca_file)?;
        Ok(Self {
            cluster: cluster.cluster_id.clone(),
            ca_file,
            endpoints: cluster.enabled_servers()?.into_iter().map(Endpoint::of).collect(),
            tls: tls_config(anchor, cluster.key_pin),
            is_known: cluster.key_pin.is_some(),
        })
    }

    /// A session, which connects at its first call.
    pub fn session(&self) -> Session {
        Session { client: self.clone(), connection: None, next: 0, ticket: None }
    }

    /// Connects to the first HSM that answers, and asks which it is.
    ///
    /// # Errors
    /// As [`Hsm::call`].
    pub fn contact(&self) -> Result<Contact, Error> {
        let mut session = self.session();
        let info = session.info()?;
        let Connected { index, connection } = session.connected()?;
        let key = connection.hsm_key().map_err(|_| Error::Unexpected("the handshake"))?;
        Ok(Contact { address: self.endpoints[*index].address(), key, info })
    }
}

/// A session. Dropping it closes its connection.
pub struct Session {
    client: Client,
    connection: Option<Connected>,
    /// The endpoint to try first at the next connection.
    next: usize,
    /// Proof of the login, for another HSM.
    ticket: Option<Secret>,
}

struct Connected {
    index: usize,
    connection: Connection,
}

impl Hsm for Session {
    fn call(&mut self, call: Call) -> Result<Answer, Error> {
        let is_logout = matches!(call, Call::Logout);
        let repeats: &[Duration] = if call.is_mutating() { &MUTATION_REPEATS } else { &REPEATS };
        let request_id = call.is_mutating().then(new_request_id);
        let frame = frame::encode(&Request { request_id, call }).map_err(|error| Error::TooLong(error.to_string()))?;
        let answer = self.deliver(&frame, repeats);
        if is_logout {
            self.ticket = None;
        }
        if let Ok(Answer::LoggedIn { ticket, .. }) = &answer {
            self.ticket = Some(ticket.clone());
        }
        answer
    }
}

impl Session {
    fn deliver(&mut self, frame: &[u8], repeats: &[Duration]) -> Result<Answer, Error> {
        let mut sent = false;
        for pause in repeats {
            match self.attempt(frame, &mut sent) {
                Err(Error::Unreachable { .. }) if sent => thread::sleep(*pause),
                done => return done,
            }
        }
        self.attempt(frame, &mut sent)
    }

    fn attempt(&mut self, frame: &[u8], sent: &mut bool) -> Result<Answer, Error> {
        let connected = self.connected()?;
        *sent = true;
        match connected.connection.exchange(frame) {
            Ok(Response::Ok(answer)) => Ok(answer),
            Ok(Response::Failed(Failure { ckr, message })) => Err(Error::Refused { ckr, message }),
            Err(broken) => {
                let misses = vec![self.disconnect(broken)];
                Err(Error::Unreachable { cluster: self.client.cluster.clone(), misses })
            }
        }
    }

    /// The connection, made and bound to the logged-in user if there is none.
    fn connected(&mut self) -> Result<&mut Connected, Error> {
        if self.connection.is_none() {
            self.connection = Some(self.connect()?);
        }
        Ok(self.connection.as_mut().expect("it was just made"))
    }

    /// Tries every endpoint once, starting behind the one that was lost.
    fn connect(&mut self) -> Result<Connected, Error> {
        let mut misses = Vec::new();
        let mut distrust = None;
        for step in 0..self.client.endpoints.len() {
            let index = (self.next + step) % self.client.endpoints.len();
            match self.connect_to(index) {
                Ok(Ok(connected)) => {
                    self.next = index;
                    return Ok(connected);
                }
                Ok(Err(refused)) => return Err(refused),
                Err(broken) => match self.describe(index, broken) {
                    Ok(miss) => misses.push(miss),
                    Err(error) => distrust = distrust.or(Some(error)),
                },
            }
        }
        Err(distrust.unwrap_or(Error::Unreachable { cluster: self.client.cluster.clone(), misses }))
    }

    /// The outer error is the connection's, for which another endpoint may help; the inner one is the HSM's refusal
    /// of the ticket, for which none does.
    fn connect_to(&mut self, index: usize) -> Result<Result<Connected, Error>, Broken> {
        let Client { endpoints, tls, .. } = &self.client;
        let mut connection = Connection::open(&endpoints[index], tls)?;
        let Some(ticket) = self.ticket.clone() else {
            return Ok(Ok(Connected { index, connection }));
        };
        let frame = frame::encode(&Request { request_id: None, call: Call::Present(ticket) })?;
        match connection.exchange(&frame)? {
            Response::Ok(_) => Ok(Ok(Connected { index, connection })),
            Response::Failed(Failure { ckr, message }) => {
                self.ticket = None;
                Ok(Err(Error::Refused { ckr, message }))
            }
        }
    }

    /// Forgets a broken connection.
    fn disconnect(&mut self, broken: Broken) -> Miss {
        let index = self.connection.take().map_or(self.next, |connected| connected.index);
        self.next = (index + 1) % self.client.endpoints.len();
        let cause = match broken {
            Broken::Missed(cause) => cause,
            Broken::Untrusted(reason) => MissCause::Broken(reason.to_string()),
            Broken::NoCertificate => MissCause::Gone,
        };
        Miss { address: self.client.endpoints[index].address(), cause }
    }

    /// What a failed attempt to connect means: a miss, or a reason to warn.
    fn describe(&self, index: usize, broken: Broken) -> Result<Miss, Error> {
        let address = self.client.endpoints[index].address();
        match broken {
            Broken::Missed(cause) => Ok(Miss { address, cause }),
            Broken::Untrusted(reason) => {
                Err(Error::NotTrusted { address, ca_file: self.client.ca_file.clone(), reason })
            }
            Broken::NoCertificate if self.client.is_known => Ok(Miss { address, cause: MissCause::Gone }),
            Broken::NoCertificate => Err(Error::NoCertificate { address, cluster: self.client.cluster.clone() }),
        }
    }
}

fn new_request_id() -> [u8; 16] {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).expect("the operating system gives randomness");
    id
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
    use strongroom_link::hsm::{Mechanism, Role};
    use strongroom_link::pkcs11::{CKM_AES_KEY_GEN, CKM_ECDSA, CKR_PIN_INCORRECT};

    use super::*;
    use crate::certificate::Untrusted;
    use crate::config::KeyPin;
    use crate::fake::{CustomerCa, FakeHsm, Reply, answer};

    fn ca() -> CustomerCa {
        CustomerCa::new(&PKCS_ECDSA_P256_SHA256)
    }

    fn session(ca: &CustomerCa, hsms: &[&FakeHsm]) -> Session {
        Client::open(&ca.cluster(hsms, None), ca.folder.path()).unwrap().session()
    }

    fn login(session: &mut Session) -> Result<String, Error> {
        session.login("app", Role::CryptoUser, Secret::new(b"password".to_vec()))
    }

    /// Does `broken` with the first call that `is` picks, and answers all others.
    fn once(is: fn(&Call) -> bool, broken: fn() -> Reply) -> impl Fn(&Request) -> Reply + Send + Sync {
        let seen = AtomicUsize::new(0);
        move |request| {
            if is(&request.call) && seen.fetch_add(1, Ordering::Relaxed) == 0 { broken() } else { answer(request) }
        }
    }

    #[test]
    fn calls_are_answered() {
        let ca = ca();
        let hsm = FakeHsm::start(&ca, answer);
        let mut session = session(&ca, &[&hsm]);
        assert_eq!(login(&mut session).unwrap(), "app");
        assert_eq!(session.generate_key(Mechanism::plain(CKM_AES_KEY_GEN), vec![]).unwrap(), 42);
        assert_eq!(session.sign(42, Mechanism::plain(CKM_ECDSA), vec![0]).unwrap(), [1, 2, 3]);
        assert_eq!(hsm.request_ids().len(), 1);
    }

    #[test]
    fn a_wrong_ca_is_refused_before_a_password_is_sent() {
        let (mine, theirs) = (ca(), ca());
        let hsm = FakeHsm::start(&theirs, answer);
        let error = login(&mut session(&mine, &[&hsm])).unwrap_err();
        assert!(matches!(&error, Error::NotTrusted { reason: Untrusted::NotSigned, .. }), "{error}");
        let expected = format!("{} shows a certificate that ", hsm.address);
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(hsm.received.lock().unwrap().is_empty());
    }

    #[test]
    fn the_pinned_key_is_asked_for() {
        let ca = ca();
        let hsm = FakeHsm::start(&ca, answer);
        let open = |pin| Client::open(&ca.cluster(&[&hsm], pin), ca.folder.path()).unwrap();
        let contact = open(None).contact().unwrap();
        assert_eq!(contact.address, hsm.address.to_string());
        assert_eq!(open(Some(contact.key.pin())).contact().unwrap().info.hsm, "hsm-a");
        let error = open(Some(KeyPin([1; 32]))).contact().unwrap_err();
        assert!(matches!(error, Error::NotTrusted { reason: Untrusted::OtherKey, .. }), "{error}");
    }

    #[test]
    fn a_mutating_call_is_repeated_elsewhere_under_its_id() {
        let ca = ca();
        let cut = || Reply::Cut;
        let first = FakeHsm::start(&ca, once(|c| matches!(c, Call::GenerateKey { .. }), cut));
        let second = FakeHsm::start(&ca, once(|c| matches!(c, Call::GenerateKey { .. }), cut));
        let mut session = session(&ca, &[&first, &second]);
        login(&mut session).unwrap();
        assert_eq!(session.generate_key(Mechanism::plain(CKM_AES_KEY_GEN), vec![]).unwrap(), 42);
        let (there, elsewhere) = (first.request_ids(), second.request_ids());
        assert_eq!((there.len(), elsewhere.len()), (2, 1));
        assert!(there.iter().chain(&elsewhere).all(|id| *id == there[0]));
        let calls = second.received.lock().unwrap();
        assert!(matches!(&calls[0].call, Call::Present(ticket) if ticket.expose() == b"ticket"));
    }

    #[test]
    fn each_mutating_call_has_an_id_of_its_own() {
        let ca = ca();
        let hsm = FakeHsm::start(&ca, answer);
        let mut session = session(&ca, &[&hsm]);
        for _ in 0..2 {
            session.generate_key(Mechanism::plain(CKM_AES_KEY_GEN), vec![]).unwrap();
        }
        let ids = hsm.request_ids();
        assert!(ids.len() == 2 && ids[0] != ids[1]);
    }

    #[test]
    fn a_signature_is_asked_for_once_more_and_no_more() {
        let ca = ca();
        let cut =
            |request: &Request| if matches!(request.call, Call::Sign { .. }) { Reply::Cut } else { answer(request) };
        let (first, second) = (FakeHsm::start(&ca, cut), FakeHsm::start(&ca, cut));
        let mut session = session(&ca, &[&first, &second]);
        let error = session.sign(1, Mechanism::plain(CKM_ECDSA), vec![0]).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        let signs = |hsm: &FakeHsm| hsm.received.lock().unwrap().len();
        assert_eq!((signs(&first), signs(&second)), (1, 1));
    }

    #[test]
    fn a_truncated_answer_is_no_answer() {
        let ca = ca();
        let hsm = FakeHsm::start(&ca, once(|c| matches!(c, Call::Sign { .. }), || Reply::Truncate));
        let mut session = session(&ca, &[&hsm]);
        assert_eq!(session.sign(1, Mechanism::plain(CKM_ECDSA), vec![0]).unwrap(), [1, 2, 3]);
        assert_eq!(hsm.received.lock().unwrap().len(), 2);
    }

    #[test]
    fn no_listener_is_said_with_its_address() {
        let ca = ca();
        let hsm = FakeHsm::start(&ca, answer);
        let mut cluster = ca.cluster(&[&hsm], None);
        // A port that was free a moment ago and that nobody listens on.
        cluster.servers[0].port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = Client::open(&cluster, ca.folder.path()).unwrap().session().info().unwrap_err();
        let expected = format!("no HSM of cluster-a answers (127.0.0.1:{} refuses", cluster.servers[0].port);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    #[test]
    fn a_cluster_without_a_certificate_is_named_uninitialized() {
        let ca = ca();
        let hsm = FakeHsm::start_with(&KeyPair::generate().unwrap(), None, answer);
        let error = session(&ca, &[&hsm]).info().unwrap_err();
        assert!(error.to_string().starts_with("cluster-a is UNINITIALIZED"), "{error}");
        // It had one when the configuration was written.
        let known = Client::open(&ca.cluster(&[&hsm], Some(KeyPin([1; 32]))), ca.folder.path()).unwrap();
        let error = known.session().info().unwrap_err();
        assert!(error.to_string().contains("serves this HSM no more"), "{error}");
    }

    #[test]
    fn a_refused_ticket_ends_the_login() {
        let ca = ca();
        let refuse = |_: &Request| {
            Reply::Send(Response::Failed(Failure { ckr: CKR_PIN_INCORRECT, message: "The password changed.".into() }))
        };
        let first = FakeHsm::start(&ca, once(|c| matches!(c, Call::Sign { .. }), || Reply::Cut));
        let second = FakeHsm::start(&ca, refuse);
        let mut session = session(&ca, &[&first, &second]);
        login(&mut session).unwrap();
        let error = session.sign(1, Mechanism::plain(CKM_ECDSA), vec![0]).unwrap_err();
        assert!(matches!(error, Error::Refused { ckr: CKR_PIN_INCORRECT, .. }), "{error}");
        assert!(session.ticket.is_none());
    }
}
