//! Owns where the HSMs of one region are reached: each at its EniIp, port 2225, where that address can be bound, and else
//! all at one listener of the region that routes by SNI (`<hsm-id>.<cluster-id>`). A connection is a thread: handshake,
//! then one request and one answer at a time. An HSM that is released takes no new connection, and open ones end after
//! their answer.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustls::server::{Acceptor, ServerConnection};
use rustls::{ServerConfig, StreamOwned};
use strongroom_hsm::cluster::{Cluster, Health};
use strongroom_hsm::host::{Bound, Listener};
use strongroom_hsm::password::PasswordHasher;
use strongroom_hsm::region::Region;
use strongroom_hsm::rows::{ClusterRow, ClusterState};
use strongroom_hsm::session::Session;
use strongroom_link::hsm::Request;

use super::{frames, tls};
use crate::host::process::Activity;

/// The port of HSMs, as on AWS.
pub(super) const PORT: u16 = 2225;
/// Connections to the HSMs of this process at once.
const CONNECTIONS: usize = 1_024;
/// How long each step of a handshake, and each write, may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What all regions of this process share.
pub(super) struct Shared {
    /// The gate before password hashing.
    pub(super) passwords: Arc<PasswordHasher>,
    /// Calls under way.
    pub(super) activity: Arc<Activity>,
    /// Open connections.
    pub(super) connections: AtomicUsize,
}

/// The listeners of one region.
pub(super) struct Listeners {
    this: std::sync::Weak<Self>,
    shared: Arc<Shared>,
    /// The port that the region's one listener asks for.
    port: u16,
    region: OnceLock<Arc<Region>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hsms: HashMap<String, Arc<Hsm>>,
    clusters: HashMap<String, Arc<ServedCluster>>,
    /// Where the region's one listener is, once it is needed.
    fallback: Option<SocketAddr>,
}

/// An HSM that is served.
struct Hsm {
    id: String,
    cluster: String,
    bound: Bound,
    released: AtomicBool,
    next: AtomicU64,
    open: Mutex<HashMap<u64, TcpStream>>,
}

/// A cluster that has its certificate: what it shows, and its users and keys.
struct ServedCluster {
    config: Arc<ServerConfig>,
    cluster: Arc<Cluster>,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Listeners {
    /// The listeners of a region; `port` is that of its one listener for HSMs whose address cannot be bound.
    pub(super) fn new(shared: Arc<Shared>, port: u16) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            shared,
            port,
            region: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    /// Gives the region whose HSMs these are; before the first HSM is bound.
    pub(super) fn serve_region(&self, region: Arc<Region>) {
        // The same region at each repeat.
        let _ = self.region.set(region);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Binds the HSM's own address; `None` if that cannot be. Only this machine reaches a loopback address; no other is
    /// taken at the control plane's word.
    fn bind_eni_ip(&self, address: &str, hsm: &str) -> Option<Bound> {
        let ip = address.parse().ok().filter(Ipv4Addr::is_loopback)?;
        let listener = TcpListener::bind((ip, PORT)).ok()?;
        self.accept_on(listener, Some(hsm.to_owned())).ok()?;
        Some(Bound { is_eni_ip: true, address: address.to_owned(), port: PORT })
    }

    /// The region's one listener, bound at its first use.
    fn fallback(&self, state: &mut State) -> Bound {
        if state.fallback.is_none() {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))
                .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
                .and_then(|listener| {
                    let address = listener.local_addr()?;
                    self.accept_on(listener, None)?;
                    Ok(address)
                });
            match bound {
                Ok(address) => state.fallback = Some(address),
                Err(cause) => tracing::error!(kind = "hsm", "no address for HSMs can be bound: {cause}"),
            }
        }
        let address = state.fallback.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port));
        Bound { is_eni_ip: false, address: address.ip().to_string(), port: address.port() }
    }

    fn accept_on(&self, listener: TcpListener, hsm: Option<String>) -> io::Result<()> {
        let this = self.this.upgrade().ok_or(io::ErrorKind::BrokenPipe)?;
        let accept = move || {
            for stream in listener.incoming() {
                if hsm.as_ref().is_some_and(|hsm| !this.state().hsms.contains_key(hsm)) {
                    return;
                }
                match stream {
                    Ok(stream) => this.clone().start_connection(stream, hsm.clone()),
                    // Out of descriptors, for the moment.
                    Err(_) => std::thread::sleep(TIMEOUT / 200),
                }
            }
        };
        std::thread::Builder::new().name("hsm-accept".into()).spawn(accept).map(drop)
    }

    fn start_connection(self: Arc<Self>, stream: TcpStream, hsm: Option<String>) {
        let place = Place::take(&self.shared);
        let Some(place) = place else {
            tracing::warn!(kind = "hsm", "more than {CONNECTIONS} connections to HSMs: one was refused");
            return;
        };
        let serve = move || {
            let _place = place;
            if let Err(cause) = self.serve(stream, hsm.as_deref()) {
                tracing::debug!(kind = "hsm", "a connection to an HSM ended: {cause}");
            }
        };
        if let Err(cause) = std::thread::Builder::new().name("hsm-connection".into()).spawn(serve) {
            tracing::warn!(kind = "hsm", "a connection to an HSM cannot be served: {cause}");
        }
    }

    fn serve(&self, mut stream: TcpStream, reached: Option<&str>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        let accepted = accept(&mut stream)?;
        let hsm = self.route(accepted.client_hello().server_name(), reached);
        let served = hsm.as_ref().and_then(|hsm| self.cluster(&hsm.cluster));
        let config = served.as_ref().map_or_else(tls::of_nobody, |served| served.config.clone());
        let mut connection = accepted.into_connection(config).map_err(|(error, mut alert)| {
            // Whoever is there may have gone.
            let _ = alert.write_all(&mut stream);
            io::Error::other(error)
        })?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let (Some(hsm), Some(served)) = (hsm, served) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // From here on a client may be silent for as long as it likes.
        stream.set_read_timeout(None)?;
        let _open = Open::enter(&hsm, &stream)?;
        self.answer(&hsm, served.cluster.clone(), StreamOwned::new(connection, stream))
    }

    fn answer(
        &self,
        hsm: &Hsm,
        cluster: Arc<Cluster>,
        mut stream: StreamOwned<ServerConnection, TcpStream>,
    ) -> io::Result<()> {
        let from = stream.sock.peer_addr()?.ip();
        let mut session = Session::new(cluster, hsm.id.as_str(), from.to_string());
        // Asked after the request is here: what comes in after the end of reading can still be read.
        while let Some(request) = frames::read::<Request>(&mut stream)?
            && !hsm.released.load(Ordering::Acquire)
            && let Some(_running) = self.shared.activity.begin()
        {
            let response = session.answer(request);
            frames::write(&mut stream, &response)?;
        }
        stream.conn.send_close_notify();
        stream.conn.complete_io(&mut stream.sock).map(drop)
    }

    /// The HSM that a client wants: by name, by the address that it reached, or the only one there is.
    fn route(&self, name: Option<&str>, reached: Option<&str>) -> Option<Arc<Hsm>> {
        let state = self.state();
        let named = name.and_then(|name| {
            let (hsm, cluster) = name.split_once('.')?;
            state.hsms.get(hsm).filter(|hsm| hsm.cluster == cluster)
        });
        let reached = || reached.and_then(|hsm| state.hsms.get(hsm));
        let only = || (name.is_none() && state.hsms.len() == 1).then(|| state.hsms.values().next()).flatten();
        named.or_else(reached).or_else(only).cloned()
    }

    /// What a cluster shows and serves; `None` while it has no certificate, or if it cannot be opened.
    fn cluster(&self, cluster: &str) -> Option<Arc<ServedCluster>> {
        if let Some(served) = self.state().clusters.get(cluster) {
            return Some(served.clone());
        }
        let opened = Arc::new(self.open_cluster(cluster)?);
        let mut state = self.state();
        // Two connections may have opened it at once; all must share one.
        let is_served = state.hsms.values().any(|hsm| hsm.cluster == cluster);
        is_served.then(|| state.clusters.entry(cluster.to_owned()).or_insert(opened).clone())
    }

    fn open_cluster(&self, cluster: &str) -> Option<ServedCluster> {
        let region = self.region.get()?;
        let row = read_cluster(region, cluster)?;
        let health: Arc<dyn Health> = region.clone();
        let opened = tls::of_cluster(region, &row).and_then(|config| {
            let cluster = Cluster::open(region, cluster, &self.shared.passwords, &health).map_err(|e| e.to_string())?;
            Ok(ServedCluster { config, cluster })
        });
        opened.inspect_err(|cause| tracing::error!(kind = "hsm", id = cluster, "{cause}")).ok()
    }
}

impl Listener for Listeners {
    fn bind(&self, hsm: &str, cluster: &str, address: &str) -> Bound {
        let mut state = self.state();
        if let Some(there) = state.hsms.get(hsm) {
            return there.bound.clone();
        }
        let bound = self.bind_eni_ip(address, hsm).unwrap_or_else(|| self.fallback(&mut state));
        let entry = Hsm {
            id: hsm.to_owned(),
            cluster: cluster.to_owned(),
            bound: bound.clone(),
            released: AtomicBool::new(false),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        };
        state.hsms.insert(hsm.to_owned(), Arc::new(entry));
        bound
    }

    fn release(&self, hsm: &str) {
        let mut state = self.state();
        let Some(gone) = state.hsms.remove(hsm) else { return };
        let last = !state.hsms.values().any(|hsm| hsm.cluster == gone.cluster);
        let closed = last.then(|| state.clusters.remove(&gone.cluster)).flatten();
        drop(state);
        gone.released.store(true, Ordering::Release);
        for stream in lock(&gone.open).values() {
            // Ends the wait for a next request; an answer under way is still written.
            let _ = stream.shutdown(Shutdown::Read);
        }
        if gone.bound.is_eni_ip {
            // Wakes the thread that accepts there, so that it sees that its HSM has gone.
            let _ = TcpStream::connect((gone.bound.address.as_str(), gone.bound.port));
        }
        if let Some(served) = closed {
            served.cluster.close();
        }
    }
}

/// Reads a client's first message, from which the HSM that it wants is known.
fn accept(stream: &mut TcpStream) -> io::Result<rustls::server::Accepted> {
    let mut acceptor = Acceptor::default();
    loop {
        if acceptor.read_tls(stream)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, mut alert)) => {
                // Whoever is there may have gone.
                let _ = alert.write_all(stream);
                return Err(io::Error::other(error));
            }
        }
    }
}

fn read_cluster(region: &Region, cluster: &str) -> Option<ClusterRow> {
    let mut row = None;
    let read = region.rows.read(&mut |tx| {
        row = tx.cluster(cluster)?;
        Ok(())
    });
    if let Err(cause) = read {
        tracing::error!(kind = "hsm", id = cluster, "{cause}");
    }
    row.filter(|row| {
        matches!(row.state, ClusterState::Initialized | ClusterState::Active) && !row.cluster_certificate.is_empty()
    })
}

/// A connection's place among those of the process.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let place = Self(shared.clone());
        (shared.connections.fetch_add(1, Ordering::AcqRel) < CONNECTIONS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection's entry among those of its HSM, by which its wait can be ended.
struct Open<'a> {
    hsm: &'a Hsm,
    number: u64,
}

impl<'a> Open<'a> {
    fn enter(hsm: &'a Hsm, stream: &TcpStream) -> io::Result<Self> {
        let number = hsm.next.fetch_add(1, Ordering::Relaxed);
        lock(&hsm.open).insert(number, stream.try_clone()?);
        Ok(Self { hsm, number })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        lock(&self.hsm.open).remove(&self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
