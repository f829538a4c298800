//! Owns a region of `dev` from its files to its running engine. The order: open the control store, greet the HSM host (which
//! mints a region only if all three stores are empty), pair a new region with the others, write down what the host said,
//! start the engine, let peers in. Calls that come before that wait for it, and not for long.
//!
//! The engine never starts on a host that has not accepted this control store.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_engine::ports::{Clock, HsmsCode, Rng};
use strongroom_engine::{Caller, Pace, Parts, Region, Settings};
use strongroom_link::host::{Hello, PublicKey};
use strongroom_model::{ApiError, Call, ErrorKind, Operation, RegionId, RegionName, Reply};
use strongroom_store::control::{self, meta};
use strongroom_store::{Database, Directory, StoreError, WriteError};
use tokio::net::TcpListener;
use tokio::sync::SetOnce;

use super::folder::RegionEntry;
use crate::audit_key::AuditKey;
use crate::files;
use crate::hsms::{HsmHost, Known};
use crate::http::Api;
use crate::layout::Layout;
use crate::peer_link::{self, LinkIdentity, Links};
use crate::problem::Problem;
use crate::region_file::RegionFile;
use crate::seams::{SystemClock, SystemRng, Tasks};
use crate::trust::{Trust, TrustError};

/// How long a call waits for its region to start.
const CALL_WAIT: Duration = Duration::from_secs(10);
/// How long the HSM host may take to answer for the first time.
const HOST_WAIT: Duration = Duration::from_secs(30);
/// The pauses between two greetings of a host that is not there yet: short, since it is just starting.
const GREETING_PAUSE: Duration = Duration::from_millis(2);

/// A region as the front sees it, from the first moment on.
pub(super) struct Door {
    name: RegionName,
    region: SetOnce<Arc<Region>>,
}

impl Door {
    /// A door behind which nobody is yet.
    pub(super) fn new(name: RegionName) -> Arc<Self> {
        Arc::new(Self { name, region: SetOnce::new() })
    }

    /// Which region it is.
    pub(super) fn name(&self) -> &RegionName {
        &self.name
    }

    /// The region, once it runs.
    pub(super) fn region(&self) -> Option<&Arc<Region>> {
        self.region.get()
    }

    async fn started(&self) -> Result<&Arc<Region>, ApiError> {
        if let Some(region) = self.region.get() {
            return Ok(region);
        }
        tokio::time::timeout(CALL_WAIT, self.region.wait()).await.map_err(|_| {
            let text = format!("{} is still starting. Repeat the call.", self.name);
            ApiError::new(ErrorKind::ServiceUnavailable, text)
        })
    }
}

#[async_trait]
impl Api for Door {
    async fn call(&self, caller: &Caller, call: Call) -> Result<Reply, ApiError> {
        self.started().await?.call(caller, call).await
    }

    async fn refused(&self, caller: &Caller, operation: Operation, error: &ApiError) {
        // A region that does not start hears of no call.
        if let Ok(region) = self.started().await {
            region.record_refused(caller, operation, error).await;
        }
    }
}

/// A region whose stores are open.
pub(super) struct Opened {
    name: RegionName,
    network: [u8; 3],
    layout: Layout,
    control: Database,
    /// What the control store says of the region; `None` before its first start.
    known: Option<meta::Region>,
    host: Arc<HsmHost>,
    link: TcpListener,
    link_address: String,
    trust: Arc<Trust>,
}

/// A region that the HSM host has answered for.
pub(super) struct Greeted {
    opened: Opened,
    hello: Hello,
}

impl Opened {
    /// Opens the control store and the link key of a region.
    pub(super) fn new(layout: &Layout, entry: &RegionEntry, link: TcpListener, socket: &Path) -> Result<Self, Problem> {
        let name = RegionName::new(&entry.name);
        let unusable = |cause: &dyn Display| {
            let what = format!("cannot open {} in {}", entry.name, layout.data().display());
            Problem::new("data-folder", what).cause(cause)
        };
        files::make_private_folder(&layout.region(&name)).map_err(|e| unusable(&e))?;
        let control =
            Database::open(&layout.control(&name), &control::SCHEMA, "strongroom dev").map_err(|e| unusable(&e))?;
        let read = control.read_blocking(|tx| Ok::<_, StoreError>((meta::region(tx)?, meta::is_empty(tx)?)));
        let (known, is_empty) = read.map_err(|e| unusable(&e))?;
        let to_host = Known {
            region_id: known.as_ref().map(|region| region.region_id.clone()),
            roots: known.as_ref().map(|region| region.roots.clone()).unwrap_or_default(),
            is_empty,
        };
        let link_address = link.local_addr().map_err(|e| unusable(&e))?.to_string();
        Ok(Self {
            host: Arc::new(HsmHost::new(socket.to_owned(), name.clone(), to_host)),
            trust: Arc::new(Trust::new(layout.peers(&name))),
            layout: layout.clone(),
            network: entry.network,
            name,
            control,
            known,
            link,
            link_address,
        })
    }

    /// The control store.
    pub(super) fn control(&self) -> Database {
        self.control.clone()
    }

    /// Greets the HSM host until it answers.
    pub(super) async fn greet(self) -> Result<Greeted, Problem> {
        let greeting = async {
            loop {
                match self.host.hello().await {
                    Err(error) if error.code == HsmsCode::HostDown => tokio::time::sleep(GREETING_PAUSE).await,
                    answered => return answered,
                }
            }
        };
        let hello = match tokio::time::timeout(HOST_WAIT, greeting).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(refusal)) => return Err(refused(&self.name, &self.layout, refusal.text)),
            Err(_) => {
                return Err(Problem::new("hsm-host", format!("the HSM host of {} does not answer", self.name))
                    .cause(format!("{} s have passed; its own lines above say why", HOST_WAIT.as_secs())));
            }
        };
        self.host.learn(&hello);
        Ok(Greeted { opened: self, hello })
    }
}

impl Greeted {
    /// Whether this is the region's first start.
    fn is_new(&self) -> bool {
        self.opened.known.is_none()
    }

    /// What others must know of this region.
    fn region_file(&self, identity: &LinkIdentity) -> RegionFile {
        let keys = |keys: &[PublicKey]| keys.iter().map(|key| key.bytes.clone()).collect();
        RegionFile {
            name: self.opened.name.clone(),
            region_id: RegionId::new(&self.hello.region_id),
            address: self.opened.link_address.clone(),
            link_keys: vec![identity.public_key()],
            hpke_keys: keys(&self.hello.hpke_keys),
            identity_keys: keys(&self.hello.identity_keys),
            accept_accounts: None,
        }
    }

    fn export(&self, file: &RegionFile) -> Result<(), Problem> {
        let path = self.opened.layout.region_file(&self.opened.name);
        let (there, text) = (std::fs::read_to_string(&path), file.to_toml());
        if there.is_ok_and(|there| there == text) {
            return Ok(());
        }
        files::write_whole(&path, text.as_bytes(), 0o644)
            .map_err(|error| Problem::new("data-folder", format!("cannot write {}", path.display())).cause(error))
    }

    fn identity(&self) -> Result<LinkIdentity, Problem> {
        let path = self.opened.layout.link_key(&self.opened.name);
        LinkIdentity::load_or_make(&path)
            .map_err(|error| Problem::new("link-key", format!("cannot use {}", path.display())).cause(error))
    }

    /// Writes down who the region is, starts its engine, and lets callers and peers in.
    pub(super) async fn start(self, settings: DevSettings, door: &Door) -> Result<Arc<Region>, Problem> {
        let identity = self.identity()?;
        let links = Links::new(self.identity()?, self.opened.trust.clone());
        let Opened { name, network, layout, control, known, host, link, trust, .. } = self.opened;
        let failed = |cause: StoreError| Problem::new("control-store", format!("cannot start {name}")).cause(cause);
        let region_id = RegionId::new(&self.hello.region_id);
        let now = meta::Region { region_id: region_id.clone(), name: name.clone(), roots: self.hello.roots };
        if known.as_ref() != Some(&now) {
            let written = control.write(move |tx| meta::put_region(tx, &now)).await;
            written.map(drop).map_err(|e| failed(WriteError::flatten(e)))?;
        }
        let signer = match settings.ephemeral {
            true => AuditKey::in_memory(),
            false => AuditKey::load_or_make(&layout.audit_key(&name))?,
        };
        let blobs = Directory::open(&layout.blobs(&name)).map_err(failed)?;
        let parts = Parts {
            settings: settings.of(&name, network),
            control,
            blobs: Arc::new(blobs),
            clock: Arc::new(SystemClock) as Arc<dyn Clock>,
            rng: Arc::new(SystemRng) as Arc<dyn Rng>,
            spawn: Arc::new(Tasks::current()),
            hsms: host,
            peers: Arc::new(links),
            signer: Arc::new(signer),
        };
        let region = Region::start(parts, region_id).await.map_err(failed)?;
        tokio::spawn(let_peers_in(link, identity, trust, region.clone()));
        // Only this start sets it.
        let _ = door.region.set(region.clone());
        Ok(region)
    }
}

/// What `dev` decides for all its regions.
#[derive(Clone, Copy, Debug)]
pub(super) struct DevSettings {
    pub pace: Pace,
    pub legacy_hsm_types: bool,
    pub copy_max_rate: Option<u64>,
    /// Keys are in memory only.
    pub ephemeral: bool,
}

impl DevSettings {
    fn of(&self, name: &RegionName, network: [u8; 3]) -> Settings {
        Settings {
            pace: self.pace,
            legacy_hsm_types: self.legacy_hsm_types,
            copy_max_rate: self.copy_max_rate,
            ..Settings::new(name.clone(), network)
        }
    }
}

async fn let_peers_in(link: TcpListener, identity: LinkIdentity, trust: Arc<Trust>, region: Arc<Region>) {
    let name = region.name().clone();
    if let Err(cause) = peer_link::serve(link, &identity, trust, move |peer| region.peer_session(peer)).await {
        tracing::error!(kind = "link", region = %name, "no peer can reach this region: {cause}");
    }
}

/// Writes what others must know of each region, for `region export`, and makes each new region and every other one of this
/// `dev` trust each other, by the files that `region trust` writes too. A start that is cut before the new region is written
/// down does it again; later on people decide who is trusted.
pub(super) fn pair(regions: &[Greeted]) -> Result<(), Problem> {
    let files = regions.iter().map(|r| Ok(r.region_file(&r.identity()?))).collect::<Result<Vec<_>, Problem>>()?;
    for (one, file) in regions.iter().zip(&files) {
        one.export(file)?;
        for other in regions.iter().filter(|other| other.opened.name != file.name) {
            if one.is_new() || other.is_new() {
                trust(&other.opened.trust, file)?;
            }
        }
    }
    Ok(())
}

fn trust(trust: &Trust, file: &RegionFile) -> Result<(), Problem> {
    let added = match trust.add(file) {
        // A region of a data folder that is gone; the one of this name is ours.
        Err(TrustError::OtherRegion { path, .. }) => {
            std::fs::remove_file(&path).map_err(|cause| TrustError::Io { path, cause }).and_then(|()| trust.add(file))
        }
        added => added,
    };
    added.map(drop).map_err(|e| Problem::new("pairing", format!("cannot make {} known", file.name)).cause(e))
}

fn refused(name: &RegionName, layout: &Layout, text: String) -> Problem {
    let keys = layout.root_key(name);
    Problem::new("wrong-root", format!("the HSM host refuses the data of {name}")).cause(text).help(format!(
        "put back what belongs together: {} and {}",
        layout.region(name).display(),
        keys.display()
    ))
}
