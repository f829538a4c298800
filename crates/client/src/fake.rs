//! A customer CA and HSMs in this process, for tests: real sockets and TLS, scripted answers. The certificates are
//! X.509 v1, as AWS's documented OpenSSL commands make them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, PublicKeyData as _, SigningKey as _};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Map;
use strongroom_link::Secret;
use strongroom_link::frame;
use strongroom_link::hsm::{Answer, Call, Info, Request, Response, Role};
use x509_cert::der::asn1::{BitString, UtcTime};
use x509_cert::der::{DateTime, Decode as _, DecodePem as _, Encode as _, Header, Length, Tag};
use x509_cert::{Certificate, spki};

use crate::config::{Cluster, KeyPin, Options, Server};

/// A customer CA in a folder of its own.
pub(crate) struct CustomerCa {
    key: KeyPair,
    certificate: Certificate,
    pub folder: tempfile::TempDir,
}

impl CustomerCa {
    pub(crate) fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Example CA");
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("customerCA.crt"), &pem).unwrap();
        Self { certificate: Certificate::from_pem(&pem).unwrap(), key, folder }
    }

    /// An X.509 v1 certificate (DER) of a key, valid in these years.
    pub(crate) fn sign(&self, key: &KeyPair, from: u16, to: u16) -> Vec<u8> {
        let algorithm = self.certificate.signature_algorithm().to_der().unwrap();
        let name = self.certificate.tbs_certificate().subject().to_der().unwrap();
        let year = |y| UtcTime::from_date_time(DateTime::new(y, 1, 1, 0, 0, 0).unwrap()).unwrap().to_der().unwrap();
        let spki = spki::SubjectPublicKeyInfoOwned::from_der(&key.subject_public_key_info()).unwrap();
        let tbs = sequence(&[
            &[2, 1, 7],
            &algorithm,
            &name,
            &sequence(&[&year(from), &year(to)]),
            &sequence(&[]),
            &spki.to_der().unwrap(),
        ]);
        let signature = BitString::from_bytes(&self.key.sign(&tbs).unwrap()).unwrap();
        sequence(&[&tbs, &algorithm, &signature.to_der().unwrap()])
    }

    /// A configuration of this CA and these HSMs.
    pub(crate) fn cluster(&self, hsms: &[&FakeHsm], key_pin: Option<KeyPin>) -> Cluster {
        Cluster {
            hsm_ca_file: PathBuf::from("customerCA.crt"),
            cluster_id: Some("cluster-a".into()),
            key_pin,
            options: Options::default(),
            servers: hsms.iter().map(|h| Server::new("127.0.0.1", h.address.port())).collect(),
            rest: Map::new(),
        }
    }
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let header = Header::new(Tag::Sequence, Length::try_from(body.len()).unwrap());
    [header.to_der().unwrap(), body].concat()
}

/// What a fake HSM does with a request.
pub(crate) enum Reply {
    Send(Response),
    /// Close the connection instead of answering.
    Cut,
    /// Announce a frame, send half of it, and close.
    Truncate,
}

type Script = dyn Fn(&Request) -> Reply + Send + Sync;

/// A listener that serves one certificate and one script, on a thread for each connection.
pub(crate) struct FakeHsm {
    pub address: SocketAddr,
    pub received: Arc<Mutex<Vec<Request>>>,
}

impl FakeHsm {
    pub(crate) fn start(ca: &CustomerCa, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = Some(ca.sign(&key, 2020, 2049));
        Self::start_with(&key, certificate, script)
    }

    pub(crate) fn start_with(
        key: &KeyPair,
        certificate: Option<Vec<u8>>,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tls = server_config(key, certificate);
        let received = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let log = received.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (tls, log, script) = (tls.clone(), log.clone(), script.clone());
                std::thread::spawn(move || serve(socket, tls, &log, &*script));
            }
        });
        Self { address, received }
    }

    /// The request ids of the mutating calls that arrived.
    pub(crate) fn request_ids(&self) -> Vec<[u8; 16]> {
        self.received.lock().unwrap().iter().filter_map(|r| r.request_id).collect()
    }
}

/// Answers as an HSM of one user would.
pub(crate) fn answer(request: &Request) -> Reply {
    Reply::Send(Response::Ok(match &request.call {
        Call::Info => Answer::Info(Info {
            version: 1,
            cluster: "cluster-a".into(),
            hsm: "hsm-a".into(),
            mode: "FIPS".into(),
            activated: true,
            hsms: vec!["hsm-a".into()],
        }),
        Call::Login { .. } | Call::Present(_) => {
            Answer::LoggedIn { user: "app".into(), role: Role::CryptoUser, ticket: Secret::new(b"ticket".to_vec()) }
        }
        Call::GenerateKey { .. } => Answer::Object(42),
        Call::Sign { .. } => Answer::Bytes(vec![1, 2, 3]),
        _ => Answer::Done,
    }))
}

fn serve(socket: TcpStream, tls: Arc<ServerConfig>, log: &Mutex<Vec<Request>>, script: &Script) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), socket);
    loop {
        let mut header = [0; frame::HEADER_LENGTH];
        stream.read_exact(&mut header).ok()?;
        let mut message = vec![0; frame::length(header).ok()?];
        stream.read_exact(&mut message).ok()?;
        let request: Request = frame::decode(&message).ok()?;
        let reply = script(&request);
        log.lock().unwrap().push(request);
        match reply {
            Reply::Cut => return None,
            Reply::Truncate => {
                stream.write_all(&[0, 0, 0, 9, 1, 2]).ok()?;
                return stream.flush().ok();
            }
            Reply::Send(response) => stream.write_all(&frame::encode(&response).ok()?).ok()?,
        }
        stream.flush().ok()?;
    }
}

#[derive(Debug)]
struct Resolver(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

fn server_config(key: &KeyPair, certificate: Option<Vec<u8>>) -> Arc<ServerConfig> {
    let signing_key =
        provider::sign::any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap()).unwrap();
    let certified = certificate.map(|der| Arc::new(CertifiedKey::new(vec![der.into()], signing_key)));
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(certified)));
    Arc::new(config)
}
