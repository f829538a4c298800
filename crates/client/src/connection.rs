//! Owns one connection to one HSM: TCP, TLS 1.3 with the certificate checked, frames, one request and one answer at a
//! time. The order is fixed: connect, finish the handshake (so that trust is decided), then the first request. A
//! connection that failed once is of no further use.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, StreamOwned};
use strongroom_link::frame;
use strongroom_link::hsm::Response;
use zeroize::Zeroizing;

use crate::certificate::{self, HsmKey, Untrusted};
use crate::config::Server;
use crate::error::MissCause;

/// How long TCP may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long each read and write of the handshake, and each write after it, may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take; a large RSA key takes seconds to make.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where an HSM is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub host: String,
    pub port: u16,
    pub sni: Option<String>,
}

impl Endpoint {
    pub(crate) fn of(server: &Server) -> Self {
        Self { host: server.hostname.clone(), port: server.port, sni: server.sni.clone() }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, self.port).to_string(),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Why a connection is of no further use.
#[derive(Debug)]
pub(crate) enum Broken {
    Missed(MissCause),
    Untrusted(Untrusted),
    NoCertificate,
}

impl Broken {
    fn from_io(error: &io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::from_tls(tls);
        }
        Self::Missed(match error.kind() {
            ErrorKind::ConnectionRefused => MissCause::Refused,
            // A socket's timeout is WouldBlock on Unix.
            ErrorKind::TimedOut | ErrorKind::WouldBlock => MissCause::TimedOut,
            ErrorKind::UnexpectedEof => MissCause::Broken("it closed the connection".into()),
            _ => MissCause::Broken(error.to_string()),
        })
    }

    fn from_tls(error: &rustls::Error) -> Self {
        match (certificate::refusal(error), error) {
            (Some(reason), _) => Self::Untrusted(reason),
            // What a TLS server says that has no certificate for the name or address it was asked for.
            (None, rustls::Error::AlertReceived(AlertDescription::AccessDenied)) => Self::NoCertificate,
            (None, other) => Self::Missed(MissCause::Broken(other.to_string())),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::from_io(&error)
    }
}

impl From<frame::FrameError> for Broken {
    fn from(error: frame::FrameError) -> Self {
        Self::Missed(MissCause::Broken(error.to_string()))
    }
}

/// A connection whose peer is trusted.
pub(crate) struct Connection(StreamOwned<ClientConnection, TcpStream>);

impl Connection {
    /// Connects and decides on trust; nothing of a call has been sent when it returns.
    pub(crate) fn open(endpoint: &Endpoint, tls: &Arc<ClientConfig>) -> Result<Self, Broken> {
        let mut socket = connect(endpoint)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
        socket.set_write_timeout(Some(HANDSHAKE_TIMEOUT))?;
        let name = server_name(endpoint, socket.peer_addr()?.ip())?;
        let mut connection = ClientConnection::new(tls.clone(), name).map_err(|e| Broken::from_tls(&e))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self(StreamOwned::new(connection, socket)))
    }

    /// Sends a request, which is a whole frame, and waits for its answer.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Response, Broken> {
        self.0.write_all(request)?;
        self.0.flush()?;
        let mut header = [0; frame::HEADER_LENGTH];
        self.0.read_exact(&mut header)?;
        let mut message = Zeroizing::new(vec![0; frame::length(header)?]);
        self.0.read_exact(&mut message)?;
        Ok(frame::decode(&message)?)
    }

    /// The key that the HSM proved to hold.
    pub(crate) fn hsm_key(&self) -> Result<HsmKey, Untrusted> {
        let certificate = self.0.conn.peer_certificates().and_then(<[_]>::first);
        HsmKey::of_der(certificate.expect("the handshake ended with a certificate"))
    }
}

fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// With a name of its own an HSM is routed to by it; without, by the address alone, which TLS does not send.
fn server_name(endpoint: &Endpoint, ip: IpAddr) -> Result<ServerName<'static>, Broken> {
    match &endpoint.sni {
        None => Ok(ServerName::IpAddress(ip.into())),
        Some(sni) => ServerName::try_from(sni.clone())
            .map_err(|_| Broken::Missed(MissCause::Broken(format!("{sni} is no server name")))),
    }
}
