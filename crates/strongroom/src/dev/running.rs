//! Owns a `dev` that runs: its door, its HSM host, its regions. It is started in an order that lets calls wait at the door
//! while the rest comes up, and stopped in the reverse one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::try_join_all;
use strongroom_engine::Region;
use strongroom_model::RegionName;
use strongroom_store::Database;
use strongroom_store::lock::Lock;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::banner::{self, Banner};
use super::content::{Content, copies_under_way};
use super::folder::{DevFile, Folder};
use super::region::{self, DevSettings, Door, Greeted, Opened};
use super::watch::Watch;
use super::{Decided, listen};
use crate::http::{self, Api, Front, TlsFiles};
use crate::identity::{self, Identities};
use crate::monitoring;
use crate::problem::{Exit, Problem};
use crate::seams::{SystemClock, random};
use crate::supervise::{ChildState, Program, Supervisor};

/// A `dev` whose regions run.
pub(super) struct Running {
    url: String,
    file: DevFile,
    is_new: bool,
    front: Arc<Front>,
    serving: JoinHandle<()>,
    /// Reads the account files when they change.
    reading: JoinHandle<()>,
    /// Whom those who watch ask, and where, if anywhere.
    watch: Arc<Watch>,
    monitoring: Option<(SocketAddr, JoinHandle<()>)>,
    stop: oneshot::Sender<()>,
    host: Supervisor,
    regions: Vec<Arc<Region>>,
    stores: Vec<Database>,
    /// Held to the end.
    _lock: Lock,
}

impl Running {
    /// Starts everything, and returns when every region answers.
    pub(super) async fn start(decided: &Decided, folder: &Folder) -> Result<Self, Problem> {
        let lock = folder.lock()?;
        let there = folder.read()?;
        let is_new = there.is_none();
        let mut file = DevFile::decide(there.clone(), &decided.regions, random)?;
        let listener = listen::endpoint(decided.listen).await?;
        let tls = decided.tls.clone().map(TlsFiles::acceptor).transpose().map_err(|cause| {
            Problem::new("tls", "the certificate of the endpoint cannot be used").cause(cause).exit(Exit::Usage)
        })?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap_or(decided.listen));
        // Who meets the lock reads where to go; without it they read our process id.
        let _ = lock.note(&format!("strongroom dev, {url}"));
        let links = bind_links(&mut file).await?;
        if there.as_ref() != Some(&file) {
            folder.write(&file)?;
        }

        let doors: Vec<Arc<Door>> = file.region.iter().map(|entry| Door::new(RegionName::new(&entry.name))).collect();
        let identities = identities(folder)?;
        let front = Arc::new(front(&file, &doors, identities.clone()).with_limits(decided.limits));
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(http::serve(listener, tls, front.clone(), async {
            // A sender that is dropped stops it too.
            let _ = stopped.await;
        }));
        let socket = socket(folder);
        let host = start_host(decided, folder, &file, &socket)?;
        let watch = Watch::new(doors.clone(), front.clone(), host.state());
        let monitoring = match decided.monitoring {
            Some(address) => Some(watch_at(address, watch.clone()).await?),
            None => None,
        };
        let opened = open(folder, &file, links, &socket)?;
        let stores = opened.iter().map(Opened::control).collect();
        let settings = DevSettings {
            pace: decided.pace,
            legacy_hsm_types: decided.legacy_hsm_types,
            copy_max_rate: copy_max_rate(),
            ephemeral: decided.ephemeral,
        };
        let regions = start_regions(opened, &doors, &host, settings).await?;
        let reading = identity::watch(identities);
        Ok(Self {
            url,
            file,
            is_new,
            front,
            serving,
            reading,
            watch,
            monitoring,
            stop,
            host,
            regions,
            stores,
            _lock: lock,
        })
    }

    /// Where the API is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The region for those who name none.
    pub(super) fn first_region(&self) -> &str {
        &self.file.region[0].name
    }

    /// What to say at the start; `took` is how long it took, in milliseconds.
    pub(super) async fn banner(&self, folder: &Folder, took: i64) -> String {
        let copies = copies_under_way(&self.regions).await;
        let banner = Banner {
            url: &self.url,
            monitoring: self.monitoring.as_ref().map(|(address, _)| *address),
            file: &self.file,
            layout: &folder.layout,
            content: (!self.is_new).then(|| Content::count(&self.stores)),
            binds_eni_ips: listen::can_bind(self.file.region[0].network),
            copies: &copies,
            took,
        };
        if folder.temporary.is_some() { banner.ephemeral() } else { banner.lasting() }
    }

    /// What to say at the stop.
    pub(super) async fn stopping(&self) -> String {
        banner::stopping(self.front.under_way(), &copies_under_way(&self.regions).await)
    }

    /// Resolves when the HSM host has ended: with `--ephemeral` the keys have ended with it, and nothing can go on.
    pub(super) async fn keys_are_lost(&self) -> Problem {
        let mut state = self.host.state();
        let ended = state.wait_for(|state| !matches!(state, ChildState::Running(_))).await;
        let cause = match ended.as_deref() {
            Ok(ChildState::Ended(status)) => status.to_string(),
            _ => "it is no longer watched".to_owned(),
        };
        Problem::new("keys-lost", "the HSM host ended, and with it the keys of this ephemeral start")
            .cause(cause)
            .help("start again; with --data DIR keys outlive a host that ends")
    }

    /// Ends in order: no further job, calls under way, what the audit trails lack, the HSM host.
    pub(super) async fn stop(self) {
        self.watch.stop();
        self.reading.abort();
        self.regions.iter().for_each(|region| region.stop());
        // Its receiver lives as long as the server.
        let _ = self.stop.send(());
        if let Err(panic) = self.serving.await {
            tracing::error!(kind = "dev", "the server ended early: {panic}");
        }
        for region in &self.regions {
            if let Err(error) = region.close_trail().await {
                tracing::error!(kind = "audit", region = %region.name(), "events of the last second are lost: {error}");
            }
        }
        self.host.stop().await;
        if let Some((_, serving)) = self.monitoring {
            serving.abort();
        }
    }
}

/// Lets others watch at an address; gives the one that it has.
async fn watch_at(address: SocketAddr, watch: Arc<Watch>) -> Result<(SocketAddr, JoinHandle<()>), Problem> {
    let listener = listen::monitoring(address).await?;
    let address = listener.local_addr().unwrap_or(address);
    Ok((address, tokio::spawn(monitoring::serve(listener, watch))))
}

async fn bind_links(file: &mut DevFile) -> Result<Vec<TcpListener>, Problem> {
    let mut links = Vec::new();
    for entry in &mut file.region {
        links.push(listen::link(entry).await?);
    }
    Ok(links)
}

/// Who may call, by the account files of this folder.
fn identities(folder: &Folder) -> Result<Arc<Identities>, Problem> {
    Identities::read(&folder.layout).map(Arc::new).map_err(|fault| {
        Problem::new("identity", "the account files cannot be used")
            .cause(fault)
            .help("mend the file, or take it out of the folder")
    })
}

fn front(file: &DevFile, doors: &[Arc<Door>], identities: Arc<Identities>) -> Front {
    let names = file.region.iter().map(|entry| entry.name.clone());
    let regions: BTreeMap<String, Arc<dyn Api>> =
        names.zip(doors).map(|(name, door)| (name, door.clone() as Arc<dyn Api>)).collect();
    Front::new(regions, identities, Arc::new(SystemClock), true)
}

/// In the data folder, or, where that path is too long for a socket, in a temporary one.
fn socket(folder: &Folder) -> PathBuf {
    let elsewhere = || std::env::temp_dir().join(format!("strongroom-{}.sock", std::process::id()));
    folder.layout.socket().unwrap_or_else(elsewhere)
}

fn start_host(decided: &Decided, folder: &Folder, file: &DevFile, socket: &Path) -> Result<Supervisor, Problem> {
    let failed = |error: std::io::Error| Problem::new("hsm-host", "cannot start the HSM host").cause(error);
    let executable = std::env::current_exe().map_err(failed)?;
    let mut arguments: Vec<OsString> = vec!["hsm".into(), "--child".into()];
    arguments.extend(["--data".into(), folder.layout.data().into()]);
    arguments.extend(["--socket".into(), socket.into()]);
    arguments.extend(file.region.iter().flat_map(|entry| ["--region".into(), OsString::from(&entry.name)]));
    arguments.extend(["--log".into(), decided.log.to_string().into()]);
    arguments.extend(decided.ephemeral.then(|| "--ephemeral".into()));
    arguments.extend((0..decided.verbosity).map(|_| "-v".into()));
    arguments.extend((decided.verbosity < 0).then(|| "-q".into()));
    Supervisor::start(Program { executable, arguments, variables: Vec::new() }).map_err(failed)
}

fn open(folder: &Folder, file: &DevFile, links: Vec<TcpListener>, socket: &Path) -> Result<Vec<Opened>, Problem> {
    let regions = file.region.iter().zip(links);
    regions.map(|(entry, link)| Opened::new(&folder.layout, entry, link, socket)).collect()
}

async fn start_regions(
    opened: Vec<Opened>,
    doors: &[Arc<Door>],
    host: &Supervisor,
    settings: DevSettings,
) -> Result<Vec<Arc<Region>>, Problem> {
    let greeting = try_join_all(opened.into_iter().map(Opened::greet));
    let greeted: Vec<Greeted> = tokio::select! {
        greeted = greeting => greeted?,
        problem = host_gives_up(host) => return Err(problem),
    };
    region::pair(&greeted)?;
    try_join_all(greeted.into_iter().zip(doors).map(|(greeted, door)| greeted.start(settings, door))).await
}

/// Resolves when the HSM host ends with an exit code: it has said why, and would say it again.
async fn host_gives_up(host: &Supervisor) -> Problem {
    let mut state = host.state();
    loop {
        if let ChildState::Ended(status) = *state.borrow_and_update()
            && let Some(code) = status.code()
        {
            return Problem::new("hsm-host", "the HSM host does not start")
                .cause(format!("it ended with exit code {code}; its own words are above"));
        }
        if state.changed().await.is_err() {
            return Problem::new("hsm-host", "the HSM host is no longer watched");
        }
    }
}

/// A lever for tests that want to see a copy under way.
fn copy_max_rate() -> Option<u64> {
    let rate = cfg!(feature = "test-levers").then(|| std::env::var("STRONGROOM_TEST_COPY_MAX_RATE").ok());
    rate.flatten()?.parse().ok()
}
