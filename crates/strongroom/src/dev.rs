//! `strongroom dev`: regions on this machine, for tests. One process answers the API of all its regions; its child, the HSM
//! host, holds their keys. The order of a start: the data folder's lock, what was decided before, the addresses, the HSM
//! host, the door (calls wait there for their region), then each region. A stop goes back: no new job, calls under way
//! end, the host ends, and with `--ephemeral` everything is removed.
//!
//! It never listens on anything but loopback.

mod banner;
mod command;
mod content;
mod folder;
mod listen;
mod region;
mod running;
mod watch;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use strongroom_engine::Pace;
use strongroom_model::RegionName;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use self::folder::RegionsAsked;
use self::folder::{Folder, shown};
use self::running::Running;
use crate::config::{self, Config};
use crate::http::{Most, TlsFiles};
use crate::human::seconds;
use crate::layout::Layout;
use crate::log::{self, Form};
use crate::problem::{Exit, Problem};
use crate::seams::seed_early;

/// Where `dev` listens if nothing else is said.
const LISTEN: &str = "127.0.0.1:4225";

/// `strongroom dev`
#[derive(Clone, Debug, Args)]
pub struct Dev {
    /// The loopback address of the API, 127.0.0.1:4225 if not given; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The data folder, ~/.local/share/strongroom/dev if not given; root keys lie beside it, in DIR.keys
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<PathBuf>,
    /// The regions of a first start (a,b), or one more (+c)
    #[arg(long, value_name = "NAMES")]
    regions: Option<RegionsAsked>,
    /// How long states take: at-once, aws (minutes), or aws:FACTOR
    #[arg(long, value_parser = config::pace)]
    pace: Option<Pace>,
    /// Offer hsm1.medium too, which AWS has retired, with its change to hsm2m.medium and back
    #[arg(long)]
    legacy_hsm_types: bool,
    /// Speak TLS under this certificate chain, PEM; replaced files are read anew
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key of --tls-certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The loopback address of /metrics, /livez and /readyz; there is none if not given
    #[arg(long, value_name = "ADDRESS:PORT")]
    monitoring: Option<SocketAddr>,
    /// The form of the log: text or json
    #[arg(long, value_name = "FORM")]
    log: Option<Form>,
    /// Keep keys in memory and data in a temporary folder, and leave nothing behind
    #[arg(long)]
    ephemeral: bool,
    /// With --ephemeral: run this command, with variables that lead it here, and end with it
    #[arg(last = true, requires = "ephemeral", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What is decided for this start: flags over variables over the file over what is usual.
#[derive(Clone, Debug)]
struct Decided {
    listen: SocketAddr,
    data: Option<PathBuf>,
    regions: RegionsAsked,
    pace: Pace,
    legacy_hsm_types: bool,
    tls: Option<TlsFiles>,
    monitoring: Option<SocketAddr>,
    limits: Most,
    log: Form,
    verbosity: i8,
    ephemeral: bool,
}

impl Dev {
    fn decide(&self, config: &Config, verbosity: i8) -> Decided {
        // With a command a free port, so that many can run at once.
        let usual = if self.command.is_empty() { LISTEN } else { "127.0.0.1:0" };
        let configured = config.get("dev.listen").filter(|_| self.command.is_empty());
        let pace = || config.source("dev.pace").and_then(|(text, _)| config::pace(text).ok());
        Decided {
            listen: self.listen.or(configured).unwrap_or_else(|| usual.parse().expect("an address and a port")),
            data: self.data.clone().or_else(|| config.get("dev.data")),
            regions: self.regions.clone().or_else(|| config.get("dev.regions")).unwrap_or(RegionsAsked::Any),
            pace: self.pace.or_else(pace).unwrap_or(Pace::AtOnce),
            legacy_hsm_types: self.legacy_hsm_types || config.get("dev.legacy-hsm-types").unwrap_or(false),
            tls: self.tls(config),
            monitoring: self.monitoring.or_else(|| config.get("dev.monitoring")),
            limits: limits(config),
            log: self.log.or_else(|| config.get("log")).unwrap_or_default(),
            verbosity,
            ephemeral: self.ephemeral,
        }
    }

    fn tls(&self, config: &Config) -> Option<TlsFiles> {
        let certificate = self.tls_certificate.clone().or_else(|| config.get("dev.tls-certificate"))?;
        let key = self.tls_key.clone().or_else(|| config.get("dev.tls-key"))?;
        Some(TlsFiles { certificate, key })
    }
}

fn limits(config: &Config) -> Most {
    let usual = Most::default();
    Most {
        connections: config.get("limits.connections-per-address").unwrap_or(usual.connections),
        calls: config.get("limits.calls-per-address").unwrap_or(usual.calls),
        calls_of_all: config.get("limits.calls").unwrap_or(usual.calls_of_all),
    }
}

/// Runs until it is told to end, or its command ends; gives the exit code. `began` is when the process did.
///
/// # Errors
/// A [`Problem`] if it cannot start.
pub fn run(dev: &Dev, config: &Config, verbosity: i8, began: Instant) -> Result<u8, Problem> {
    seed_early();
    let decided = dev.decide(config, verbosity);
    log::start(decided.log, verbosity);
    let folder = match decided.ephemeral {
        true => Folder::temporary()?,
        false => Folder::lasting(decided.data.clone(), |name| std::env::var_os(name))?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Problem::new("threads", "cannot start threads").cause(error))?;
    let outcome = runtime.block_on(live(&decided, &dev.command, &folder, began));
    // What still runs is cut, as by the end of the process that follows.
    runtime.shutdown_background();
    if let Err(error) = folder.remove_temporary() {
        tracing::warn!(kind = "dev", "the temporary folder could not be removed: {error}");
    }
    outcome
}

/// The data folder that is named, or the usual one, and its regions.
///
/// # Errors
/// A [`Problem`] where no region was ever started in it.
pub(crate) fn data_folder(named: Option<PathBuf>) -> Result<(Layout, Vec<RegionName>), Problem> {
    let folder = Folder::lasting(named, |name| std::env::var_os(name))?;
    let file = folder.read()?.ok_or_else(|| {
        Problem::new("no-data", format!("{} holds no region", shown(folder.layout.data())))
            .help("start one, or say where it is:  --data DIR")
    })?;
    let regions = file.region.iter().map(|region| RegionName::new(&region.name)).collect();
    Ok((folder.layout, regions))
}

/// Where everything of the data folder that is named, or of the usual one, is; it need not be there.
///
/// # Errors
/// A [`Problem`] where there is no place for one.
pub(crate) fn layout(named: Option<PathBuf>) -> Result<Layout, Problem> {
    Folder::lasting(named, |name| std::env::var_os(name)).map(|folder| folder.layout)
}

async fn live(decided: &Decided, command: &[OsString], folder: &Folder, began: Instant) -> Result<u8, Problem> {
    // First of all, so that a signal that comes early ends this in order too.
    let mut signals = Signals::new()?;
    let running = tokio::select! {
        running = Running::start(decided, folder) => running?,
        _ = signals.next() => return Ok(Exit::Interrupted as u8),
    };
    let banner = running.banner(folder, millis(began)).await;
    if !command.is_empty() {
        say(&mut io::stderr(), &banner);
        let trusted = decided.tls.as_ref().map(|files| files.certificate.as_path());
        let code = run_command(command, trusted, &running, &mut signals).await;
        running.stop().await;
        return code;
    }
    say(&mut io::stdout(), &banner);
    let lost = tokio::select! {
        _ = signals.next() => None,
        problem = running.keys_are_lost(), if decided.ephemeral => Some(problem),
    };
    if let Some(problem) = lost {
        running.stop().await;
        return Err(problem);
    }
    let stopping = Instant::now();
    say(&mut io::stdout(), &running.stopping().await);
    tokio::select! {
        () = running.stop() => {}
        _ = signals.next() => return Ok(Exit::Interrupted as u8),
    }
    let left = match &folder.temporary {
        None => format!("Data stays in {}.", shown(folder.layout.data())),
        Some(_) => "Keys and data are gone.".to_owned(),
    };
    say(&mut io::stdout(), &format!("Stopped in {}. {left}", seconds(millis(stopping))));
    Ok(Exit::Done as u8)
}

/// Runs the command to its end. Ctrl-C reaches it from the terminal; a request to end is passed on, and keys that are lost
/// end it too.
async fn run_command(
    command: &[OsString],
    trusted: Option<&Path>,
    running: &Running,
    signals: &mut Signals,
) -> Result<u8, Problem> {
    let mut child = command::start(command, running.url(), running.first_region(), trusted)?;
    let mut lost = None;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|error| Problem::new("command", "the command was lost").cause(error))?;
                return lost.map_or_else(|| Ok(command::exit_code(status)), Err);
            }
            signal = signals.next() => {
                if signal == SignalKind::terminate() {
                    command::ask_to_end(&child);
                }
            }
            problem = running.keys_are_lost(), if lost.is_none() => {
                lost = Some(problem);
                command::ask_to_end(&child);
            }
        }
    }
}

/// What asks this process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Problem> {
        let listen = |kind| signal(kind).map_err(|e| Problem::new("signals", "cannot listen for signals").cause(e));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}

fn millis(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Who closed the output does not want to read it; the regions run all the same.
fn say(out: &mut dyn io::Write, text: &str) {
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        dev: Dev,
    }

    fn parse(line: &str) -> Result<Dev, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.dev)
    }

    #[test]
    fn a_command_needs_ephemeral() {
        let dev = parse("dev --ephemeral -- pytest --data tests/").unwrap();
        assert_eq!(dev.command, ["pytest", "--data", "tests/"]);
        assert!(parse("dev -- pytest").is_err());
        assert!(parse("dev --ephemeral --data x").is_err());
    }

    #[test]
    fn flags_beat_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[dev]\nlisten = \"127.0.0.1:1\"\nregions = \"ap-south-1\"\npace = \"aws\"\n").unwrap();
        let config = Config::load(Some(&path), &|_| None).unwrap();
        let decided = parse("dev --listen 127.0.0.1:2").unwrap().decide(&config, 0);
        assert_eq!(decided.listen.port(), 2);
        assert_eq!(decided.regions, RegionsAsked::These(vec!["ap-south-1".into()]));
        assert_eq!(decided.pace, Pace::Aws(1.0));
        assert_eq!(parse("dev --ephemeral -- true").unwrap().decide(&config, 0).listen.port(), 0);
        assert_eq!(parse("dev").unwrap().decide(&Config::default(), 0).listen.to_string(), LISTEN);
    }
}
