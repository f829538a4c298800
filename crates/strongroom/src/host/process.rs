//! Owns the life of the host's process: close its memory to others, open every region's vault, bind the socket, serve. As a
//! child it ends when its parent's pipe closes: answers under way are given, then the process exits.

use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use strongroom_hsm::password::{PasswordHasher, PasswordPolicy};
use strongroom_model::RegionName;

use super::listeners::{Listeners, PORT, Shared};
use super::region::HostRegion;
use super::socket;
use crate::layout::Layout;
use crate::problem::Problem;

/// How long answers under way may take at the end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What a host is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// The socket for the API process.
    pub socket: PathBuf,
    /// Vaults and keys.
    pub layout: Layout,
    /// The regions, in the order of their ports.
    pub regions: Vec<RegionName>,
    /// Keep roots in memory only.
    pub ephemeral: bool,
    /// End when standard input does.
    pub is_child: bool,
}

/// Serves until the process ends.
///
/// # Errors
/// A [`Problem`] if it cannot start.
pub fn run(settings: &HostSettings) -> Result<(), Problem> {
    close_memory().map_err(|cause| {
        Problem::new("hardening", "the HSM host cannot close its memory to other processes").cause(cause)
    })?;
    let activity = Arc::<Activity>::default();
    let shared = Arc::new(Shared {
        passwords: Arc::new(PasswordHasher::new(PasswordPolicy::default())),
        activity: activity.clone(),
        connections: AtomicUsize::new(0),
    });
    let regions = settings.regions.iter().zip(PORT..).map(|(name, port)| {
        HostRegion::open(&settings.layout, name, settings.ephemeral, Listeners::new(shared.clone(), port))
    });
    let regions: Arc<[HostRegion]> = regions.collect::<Result<_, _>>()?;
    let listener = socket::bind(&settings.socket).map_err(|cause| {
        Problem::new("socket", format!("cannot make the socket {}", settings.socket.display())).cause(cause)
    })?;
    if !settings.is_child {
        socket::accept(&listener, &regions, &activity);
        return Ok(());
    }
    let accept = {
        let activity = activity.clone();
        move || socket::accept(&listener, &regions, &activity)
    };
    std::thread::Builder::new()
        .name("host-accept".into())
        .spawn(accept)
        .map_err(|cause| Problem::new("threads", "cannot start a thread").cause(cause))?;
    wait_for_the_end_of_stdin();
    activity.end(END_TIMEOUT);
    Ok(())
}

/// Keys live in this memory: no core dump holds it, and no other process of this user reads it.
#[cfg(target_os = "linux")]
fn close_memory() -> std::io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// Elsewhere core dumps are off by default.
#[cfg(not(target_os = "linux"))]
fn close_memory() -> std::io::Result<()> {
    Ok(())
}

fn wait_for_the_end_of_stdin() {
    let mut ignored = [0; 64];
    while std::io::stdin().read(&mut ignored).is_ok_and(|n| n > 0) {}
}

/// Answers under way, so that the process can wait for them at its end.
#[derive(Debug, Default)]
pub(super) struct Activity {
    ending: AtomicBool,
    running: Mutex<usize>,
    ended: Condvar,
}

impl Activity {
    /// Begins an answer; `None` once the process is ending.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Running> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        // Made first: an answer that is not begun is taken back by its drop.
        let running = Running(self.clone());
        (!self.ending.load(Ordering::Acquire)).then_some(running)
    }

    /// Begins no further answer, and waits for those under way.
    fn end(&self, timeout: Duration) {
        self.ending.store(true, Ordering::Release);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Past the timeout the process ends all the same.
        let _ = self.ended.wait_timeout_while(running, timeout, |running| *running > 0);
    }
}

/// An answer under way.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_all();
    }
}
