//! `strongroom dev`: regions on this machine, for tests. One process for all of them and one HSM host as its child. The
//! order of a start: lock the folder, take the port, start the host, the regions, then serve; a stop goes back the same way.

mod banner;
mod inventory;
mod plan;
mod regions;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use strongroom_engine::{Caller, Pace, Region};
use strongroom_model::id::hex;
use strongroom_model::{ApiError, Call, Reply};
use strongroom_store::OpenError;
use strongroom_store::lock::Lock;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;

use self::banner::{Banner, short};
use self::inventory::Inventory;
use self::plan::Plan;
use self::regions::Regions;
use crate::files;
use crate::http::{self, Api, DevCredentials, Front};
use crate::human::coarse;
use crate::layout::Layout;
use crate::log::Form;
use crate::port_holder;
use crate::problem::{Exit, Problem};
use crate::seams::{SystemClock, random};
use crate::supervise::Supervisor;

/// Where `dev` listens unless told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:4225";

/// How `dev` was called.
#[derive(Clone, Debug)]
pub struct DevSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: Option<SocketAddr>,
    /// The data folder.
    pub data: PathBuf,
    /// Keep nothing.
    pub ephemeral: bool,
    /// `--regions`.
    pub regions: Option<String>,
    /// How fast states change.
    pub pace: Pace,
    /// The form of the log, for the HSM host.
    pub log: Form,
    /// How much is logged, for the HSM host.
    pub verbosity: i8,
    /// What to run while the service is up.
    pub command: Vec<OsString>,
}

/// Runs until Ctrl-C, SIGTERM or the end of the command; the exit code.
///
/// # Errors
/// A [`Problem`] if it cannot start.
pub async fn run(settings: DevSettings) -> Result<u8, Problem> {
    let begun = Instant::now();
    let temporary = settings.ephemeral.then(Temporary::make).transpose()?;
    let layout = Layout::new(temporary.as_ref().map_or(settings.data.clone(), |folder| folder.0.join("data")));
    let mut dev = Dev::start(&settings, layout, begun).await?;
    let code = dev.run(&settings).await;
    dev.stop(settings.ephemeral).await;
    // Only now, when no process uses it any more.
    drop(temporary);
    code
}

/// A running `dev`.
struct Dev {
    layout: Layout,
    endpoint: String,
    plan: Plan,
    regions: Regions,
    front: Arc<Front>,
    stop: Arc<Notify>,
    server: tokio::task::JoinHandle<()>,
    host: Supervisor,
    quiet: bool,
    _lock: Lock,
}

impl Dev {
    async fn start(settings: &DevSettings, layout: Layout, begun: Instant) -> Result<Self, Problem> {
        files::make_private_folder(layout.data()).map_err(|cause| folder_problem(layout.data(), &cause))?;
        let lock = take_lock(&layout)?;
        let plan = Plan::load(&layout.dev_file(), settings.regions.as_deref(), random::<2>)?;
        let listener = listen(settings).await?;
        let address = listener.local_addr().map_err(|e| Problem::new("listen", "cannot listen").cause(e))?;
        let endpoint = format!("http://{address}");
        // A reader that meets an empty note only misses the address.
        let _ = lock.note(&format!("strongroom dev, {endpoint}"));
        let socket = socket_path(&layout)?;
        let host = start_host(settings, &layout, &plan, &socket)?;
        let stores = regions::open_stores(&layout, &plan.regions, "strongroom dev")?;
        let regions = Regions::start(&layout, stores, &socket, &host, settings.pace).await;
        let regions = match regions {
            Ok(regions) => regions,
            Err(problem) => {
                host.stop().await;
                return Err(problem);
            }
        };
        let front = Arc::new(front(&regions.regions));
        let stop = Arc::<Notify>::default();
        let stopped = stop.clone();
        let server = tokio::spawn(http::serve(listener, front.clone(), async move { stopped.notified().await }));
        let quiet = !settings.command.is_empty();
        let dev = Self { layout, endpoint, plan, regions, front, stop, server, host, quiet, _lock: lock };
        dev.say_ready(settings, begun).await;
        Ok(dev)
    }

    async fn say_ready(&self, settings: &DevSettings, begun: Instant) {
        let inventory = inventory::take(&self.regions.regions).await.unwrap_or_else(|error| {
            tracing::warn!(kind = "dev", "what is in the stores cannot be counted: {error}");
            Inventory::default()
        });
        let banner = Banner {
            endpoint: &self.endpoint,
            plan: &self.plan,
            data: self.layout.data(),
            inventory: &inventory,
            eni_ips: can_bind_eni_ips(&self.plan),
            took: millis_since(begun),
        };
        match (settings.ephemeral, self.quiet) {
            (true, false) => {
                self.say(&banner.ephemeral());
                self.say(&banner::exports(&self.endpoint, &self.plan.regions[0].name));
            }
            (true, true) => self.say(&banner.ephemeral()),
            (false, _) => self.say(&banner.text()),
        }
    }

    async fn run(&mut self, settings: &DevSettings) -> Result<u8, Problem> {
        let Some((program, args)) = settings.command.split_first() else {
            interrupted().await;
            return Ok(Exit::Done as u8);
        };
        let region = self.plan.regions[0].name.as_str();
        let mut command = Command::new(program);
        command.args(args).env("AWS_ENDPOINT_URL_CLOUDHSM_V2", &self.endpoint);
        command.env("AWS_REGION", region).env("AWS_DEFAULT_REGION", region);
        command.env("AWS_ACCESS_KEY_ID", DevCredentials::ACCESS_KEY_ID);
        command.env("AWS_SECRET_ACCESS_KEY", DevCredentials::SECRET_ACCESS_KEY).env_remove("AWS_SESSION_TOKEN");
        let mut child = command.spawn().map_err(|cause| {
            Problem::new("command", format!("cannot run {}", program.to_string_lossy())).cause(cause)
        })?;
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_err(|e| Problem::new("command", "the command is lost").cause(e))?;
                    return Ok(exit_code(status));
                }
                // The terminal sent it to the command, too, which ends in its own way.
                () = interrupted() => {}
            }
        }
    }

    async fn stop(self, ephemeral: bool) {
        let begun = Instant::now();
        if !self.quiet {
            let copies = inventory::under_way(&self.regions.regions).await.unwrap_or_default();
            self.say(&banner::stopping(self.front.under_way(), &copies));
        }
        let quiet = self.quiet;
        let data = (!ephemeral).then(|| self.layout.data().to_owned());
        let socket = self.layout.socket();
        let ending = async move {
            self.stop.notify_one();
            // A server that panicked has stopped, too.
            let _ = self.server.await;
            self.regions.stop();
            self.host.stop().await;
        };
        tokio::select! {
            () = ending => {}
            () = interrupted() => return,
        }
        if let Some(socket) = socket {
            // What is left of it is replaced at the next start.
            let _ = std::fs::remove_file(socket);
        }
        if !quiet {
            print(&banner::stopped(millis_since(begun), data.as_deref()));
        }
    }

    /// To standard output; beside a command, whose output that is, to standard error.
    fn say(&self, text: &str) {
        if self.quiet {
            // Nobody can be told that nothing can be told.
            let _ = io::stderr().write_all(text.as_bytes());
        } else {
            print(text);
        }
    }
}

fn print(text: &str) {
    let mut out = io::stdout().lock();
    // A reader that has gone wants no more.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn front(regions: &[Arc<Region>]) -> Front {
    let named = |region: &Arc<Region>| -> (String, Arc<dyn Api>) {
        (region.name().to_string(), Arc::new(RegionApi(region.clone())))
    };
    let regions: BTreeMap<_, _> = regions.iter().map(named).collect();
    Front::new(regions, Arc::new(DevCredentials::default()), Arc::new(SystemClock), true)
}

/// A region behind the front door.
struct RegionApi(Arc<Region>);

#[async_trait]
impl Api for RegionApi {
    async fn call(&self, caller: &Caller, call: Call) -> Result<Reply, ApiError> {
        self.0.call(caller, call).await
    }
}

fn take_lock(layout: &Layout) -> Result<Lock, Problem> {
    Lock::take(&layout.lock(), "strongroom dev").map_err(|error| match error {
        OpenError::InUse { path, holder } => {
            let since = path.metadata().and_then(|m| m.modified()).ok();
            let since = since.and_then(|t| SystemTime::now().duration_since(t).ok());
            let since = since.map(|t| format!(" for {}", coarse(t.as_millis() as i64))).unwrap_or_default();
            let data = short(layout.data());
            Problem::new("data-in-use", format!("{data} belongs to a running process"))
                .cause(format!("{holder} has held its lock{since}; two at once would lose keys"))
                .help("use that one, stop it, or start another:  strongroom dev --listen 127.0.0.1:4325 --data ./other")
        }
        error => folder_problem(layout.data(), &error),
    })
}

async fn listen(settings: &DevSettings) -> Result<TcpListener, Problem> {
    let default = if settings.command.is_empty() { DEFAULT_LISTEN } else { "127.0.0.1:0" };
    let address = settings.listen.unwrap_or_else(|| default.parse().expect("an address"));
    if !address.ip().is_loopback() {
        return Err(Problem::new("not-loopback", format!("dev does not listen on {}", address.ip()))
            .cause("its credentials are fixed and known to everyone")
            .help("strongroom dev --listen 127.0.0.1:4225")
            .exit(Exit::Usage));
    }
    TcpListener::bind(address).await.map_err(|error| {
        let problem = Problem::new("port-in-use", format!("cannot listen on {address}"));
        match (error.kind(), port_holder::find(address)) {
            (io::ErrorKind::AddrInUse, Some((pid, name))) => problem.cause(format!("pid {pid} ({name}) listens there")),
            _ => problem.cause(error),
        }
        .help(format!("strongroom dev --listen {}:{}", address.ip(), address.port().wrapping_add(100).max(1024)))
    })
}

fn start_host(settings: &DevSettings, layout: &Layout, plan: &Plan, socket: &Path) -> Result<Supervisor, Problem> {
    let failed = |cause: io::Error| Problem::new("hsm-host", "the HSM host cannot be started").cause(cause);
    let program = std::env::current_exe().map_err(failed)?;
    let names = plan.regions.iter().map(|region| region.name.as_str()).collect::<Vec<_>>().join(",");
    let mut args: Vec<OsString> = vec!["hsm".into(), "--child".into(), "--regions".into(), names.into()];
    args.extend(["--data".into(), layout.data().into(), "--socket".into(), socket.into()]);
    args.extend(["--log".into(), settings.log.to_string().into()]);
    args.extend(settings.ephemeral.then(|| "--ephemeral".into()));
    let loudness = if settings.verbosity < 0 { "-q" } else { "-v" };
    args.extend((0..settings.verbosity.unsigned_abs()).map(|_| loudness.into()));
    let command = move || {
        let mut command = Command::new(&program);
        command.args(&args);
        command
    };
    Supervisor::start(command).map_err(failed)
}

/// The socket in the data folder, or, if its path is too long for a socket, in a folder of its own.
fn socket_path(layout: &Layout) -> Result<PathBuf, Problem> {
    if let Some(path) = layout.socket() {
        return Ok(path);
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("strongroom-{}", hex(&random::<6>())));
    files::make_private_folder(&folder).map_err(|cause| folder_problem(&folder, &cause))?;
    Ok(folder.join("hsm.sock"))
}

/// Whether an address of the first region's network can be bound.
fn can_bind_eni_ips(plan: &Plan) -> bool {
    let [a, b, c] = plan.regions[0].network;
    std::net::TcpListener::bind((std::net::Ipv4Addr::new(a, b, c, 4), 0)).is_ok()
}

/// Returns at Ctrl-C or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    // As a shell says it: 128 and the signal.
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Failed as u8)
}

fn folder_problem(folder: &Path, cause: &dyn std::fmt::Display) -> Problem {
    Problem::new("data-folder", format!("{} cannot be used", short(folder))).cause(cause)
}

fn millis_since(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// A folder of this user's alone that goes with the process.
struct Temporary(PathBuf);

impl Temporary {
    fn make() -> Result<Self, Problem> {
        let folder = std::env::temp_dir().join(format!("strongroom-{}", hex(&random::<6>())));
        files::make_private_folder(&folder).map_err(|cause| folder_problem(&folder, &cause))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(cause) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(kind = "dev", "{} could not be removed: {cause}", self.0.display());
        }
    }
}
