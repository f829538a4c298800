//! Owns how the regions of one process come up. In this order: the control stores are opened; the HSM host founds or finds
//! each region, and control takes over what it says; the link listeners are bound; the regions learn to trust each other
//! by the same files that `strongroom region export | trust` writes; then each region starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom_engine::ports::{HsmsCode, HsmsError};
use strongroom_engine::{Pace, Parts, Region, Settings};
use strongroom_link::host::Hello;
use strongroom_model::{RegionId, RegionName};
use strongroom_store::control::{self, meta};
use strongroom_store::{Database, Directory, StoreError, WriteError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::plan::Planned;
use crate::files;
use crate::hsms::{HsmHost, Known};
use crate::layout::Layout;
use crate::peer_link::{self, LinkIdentity, Links};
use crate::problem::{Exit, Problem};
use crate::region_file::RegionFile;
use crate::seams::{SystemClock, SystemRng, Tasks};
use crate::supervise::Supervisor;
use crate::trust::Trust;

/// How long the HSM host may take to open its vaults.
const HOST_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const HOST_PAUSE: Duration = Duration::from_millis(5);

/// The running regions and their links.
pub struct Regions {
    /// In the order of the plan.
    pub regions: Vec<Arc<Region>>,
    links: Vec<JoinHandle<()>>,
}

/// A control store that is open.
struct Opened {
    planned: Planned,
    control: Database,
    known: Known,
}

/// A region that its host has greeted.
struct Greeted {
    planned: Planned,
    control: Database,
    host: HsmHost,
    identity: LinkIdentity,
    trust: Arc<Trust>,
    listener: TcpListener,
    file: RegionFile,
}

/// Opens the control store of every region; before the HSM host is started, which may take as long at the same time.
///
/// # Errors
/// A [`Problem`].
pub fn open_stores(layout: &Layout, planned: &[Planned], notes: &str) -> Result<Stores, Problem> {
    planned.iter().map(|region| open(layout, region, notes)).collect::<Result<_, _>>().map(Stores)
}

/// Open control stores.
pub struct Stores(Vec<Opened>);

impl Regions {
    /// Starts every region.
    ///
    /// # Errors
    /// A [`Problem`].
    pub async fn start(
        layout: &Layout,
        stores: Stores,
        socket: &std::path::Path,
        host: &Supervisor,
        pace: Pace,
    ) -> Result<Self, Problem> {
        let greeted = stores.0.into_iter().map(|opened| greet(layout, opened, socket, host));
        let greeted = futures_util::future::try_join_all(greeted).await?;
        pair(&greeted)?;
        let mut running = Self { regions: Vec::new(), links: Vec::new() };
        for region in greeted {
            running.add(layout, region, pace).await?;
        }
        Ok(running)
    }

    /// Begins no further job and answers no peer.
    pub fn stop(&self) {
        self.regions.iter().for_each(|region| region.stop());
        self.links.iter().for_each(JoinHandle::abort);
    }

    async fn add(&mut self, layout: &Layout, greeted: Greeted, pace: Pace) -> Result<(), Problem> {
        let Greeted { planned, control, host, identity, trust, listener, file } = greeted;
        let name = planned.name.clone();
        let failed = |error: StoreError| store_problem(&name, &error);
        let blobs = Directory::open(&layout.blobs(&name)).map_err(failed)?;
        let dialling = LinkIdentity::load_or_make(&layout.link_key(&name)).map_err(|e| link_problem(&name, &e))?;
        let parts = Parts {
            settings: Settings { pace, ..Settings::new(name.clone(), planned.network) },
            control,
            blobs: Arc::new(blobs),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            spawn: Arc::new(Tasks::current()),
            hsms: Arc::new(host),
            peers: Arc::new(Links::new(dialling, trust.clone())),
        };
        let region = Region::start(parts, file.region_id).await.map_err(failed)?;
        self.regions.push(region.clone());
        self.links.push(tokio::spawn(async move {
            let served = peer_link::serve(listener, &identity, trust, move |peer| region.peer_session(peer)).await;
            if let Err(cause) = served {
                tracing::error!(kind = "link", region = %name, "the region link cannot be served: {cause}");
            }
        }));
        Ok(())
    }
}

fn open(layout: &Layout, planned: &Planned, notes: &str) -> Result<Opened, Problem> {
    let name = &planned.name;
    let folder = layout.region(name);
    files::make_private_folder(&folder)
        .map_err(|cause| Problem::new("data-folder", format!("cannot make {}", folder.display())).cause(cause))?;
    let control = Database::open(&layout.control(name), &control::SCHEMA, notes).map_err(|error| {
        Problem::new("control-store", format!("the control store of {name} cannot be opened")).cause(error)
    })?;
    let known = control.read_blocking(|tx| Ok((meta::region(tx)?, meta::is_empty(tx)?)));
    let (region, is_empty) = known.map_err(|error: StoreError| store_problem(name, &error))?;
    let (region_id, roots) = region.map_or((None, Vec::new()), |region| (Some(region.region_id), region.roots));
    Ok(Opened { planned: planned.clone(), control, known: Known { region_id, roots, is_empty } })
}

async fn greet(
    layout: &Layout,
    opened: Opened,
    socket: &std::path::Path,
    supervisor: &Supervisor,
) -> Result<Greeted, Problem> {
    let Opened { planned, control, known } = opened;
    let name = planned.name.clone();
    let host = HsmHost::new(socket.to_owned(), name.clone(), known.clone());
    let hello = hello(&host, supervisor).await.map_err(|error| host_problem(&name, &error))?;
    take_over(&control, &name, &known, &hello).await.map_err(|error| store_problem(&name, &error))?;
    host.learn(&hello);
    let identity = LinkIdentity::load_or_make(&layout.link_key(&name)).map_err(|e| link_problem(&name, &e))?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| link_problem(&name, &e))?;
    let address = listener.local_addr().map_err(|e| link_problem(&name, &e))?.to_string();
    let file = RegionFile {
        name: name.clone(),
        region_id: RegionId::new(&hello.region_id),
        address,
        link_keys: vec![identity.public_key()],
        hpke_keys: hello.hpke_keys.into_iter().map(|key| key.bytes).collect(),
        identity_keys: hello.identity_keys.into_iter().map(|key| key.bytes).collect(),
    };
    let trust = Arc::new(Trust::new(layout.peers(&name)));
    Ok(Greeted { planned, control, host, identity, trust, listener, file })
}

/// Greets the host as soon as it is up. One that has died already has said why.
async fn hello(host: &HsmHost, supervisor: &Supervisor) -> Result<Hello, HsmsError> {
    let begun = Instant::now();
    loop {
        match host.hello().await {
            Err(error)
                if error.code == HsmsCode::HostDown
                    && supervisor.deaths() == 0
                    && begun.elapsed() < HOST_TIMEOUT =>
            {
                tokio::time::sleep(HOST_PAUSE).await;
            }
            greeted => return greeted,
        }
    }
}

/// Writes into the control store what the host says, where that is new.
async fn take_over(control: &Database, name: &RegionName, known: &Known, hello: &Hello) -> Result<(), StoreError> {
    let mut roots = known.roots.clone();
    roots.extend(hello.roots.iter().filter(|root| !known.roots.contains(root)).cloned());
    if known.region_id.is_some() && roots == known.roots {
        return Ok(());
    }
    let region = meta::Region { region_id: RegionId::new(&hello.region_id), name: name.clone(), roots };
    let written = control.write(move |tx| meta::put_region(tx, &region)).await;
    written.map(|committed| committed.into_inner()).map_err(WriteError::flatten)
}

/// Each region trusts every other, as two operators would have it.
fn pair(regions: &[Greeted]) -> Result<(), Problem> {
    for (region, peer) in regions.iter().flat_map(|r| regions.iter().map(move |p| (r, p))) {
        if region.planned.name != peer.planned.name {
            let added = region.trust.replace(&peer.file);
            added.map_err(|error| Problem::new("trust", "the regions cannot be paired").cause(error))?;
        }
    }
    Ok(())
}

fn store_problem(name: &RegionName, error: &StoreError) -> Problem {
    Problem::new("control-store", format!("the control store of {name} failed")).cause(error)
}

fn link_problem(name: &RegionName, error: &std::io::Error) -> Problem {
    Problem::new("region-link", format!("the region link of {name} cannot be set up")).cause(error)
}

fn host_problem(name: &RegionName, error: &HsmsError) -> Problem {
    match error.code {
        HsmsCode::HostDown => Problem::new("hsm-host", "the HSM host does not start").cause(&error.text),
        _ => Problem::new("wrong-root", format!("the HSM host of {name} refuses this control store"))
            .cause(&error.text)
            .help("put back the control store, the vault and the key file that belong together; nothing was changed")
            .exit(Exit::Refused),
    }
}
