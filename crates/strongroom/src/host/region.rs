//! Owns one region on this host from its files to its answers. A vault that has its region is served at once; a new one
//! waits for the first `Hello`, since only the control store's word decides whether a root may be minted. The order is
//! key file, vault, and then control, which hears of both in the answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_hsm::host::{Host, Seams};
use strongroom_hsm::root::{Root, Roots};
use strongroom_hsm::rows::Rows;
use strongroom_hsm::seam::{Clock, SystemRng};
use strongroom_hsm::start::{self, Control, Decision, Held};
use strongroom_link::host::{Call, Failure, FailureCode};
use strongroom_model::RegionName;

use super::key_file::KeyFile;
use super::listeners::Listeners;
use super::pins::FilePins;
use super::rows::VaultRows;
use crate::layout::Layout;
use crate::problem::{Exit, Problem};
use crate::seams::SystemClock;
use crate::trust::Trust;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        self.millis()
    }
}

/// One region.
pub(super) struct HostRegion {
    name: RegionName,
    key_file: KeyFile,
    rows: Arc<dyn Rows>,
    pins: Arc<FilePins>,
    listeners: Arc<Listeners>,
    host: Mutex<Option<Arc<Host>>>,
}

impl HostRegion {
    /// Opens the region's vault, and serves its HSMs if it has its region.
    ///
    /// # Errors
    /// A [`Problem`]: the vault or the key file cannot be used, or they do not fit each other.
    pub(super) fn open(
        layout: &Layout,
        name: &RegionName,
        ephemeral: bool,
        listeners: Arc<Listeners>,
    ) -> Result<Self, Problem> {
        let failed = |error: &dyn fmt::Display| {
            Problem::new("vault", format!("the vault of {name} cannot be opened")).cause(error)
        };
        crate::files::make_private_folder(&layout.region(name)).map_err(|e| failed(&e))?;
        let key_file = if ephemeral { KeyFile::Nowhere } else { KeyFile::At(layout.root_key(name)) };
        let region = Self {
            name: name.clone(),
            key_file,
            rows: Arc::new(VaultRows::open(&layout.vault(name)).map_err(|e| failed(&e))?),
            pins: Arc::new(FilePins(Arc::new(Trust::new(layout.peers(name))))),
            listeners,
            host: Mutex::default(),
        };
        let refused = |failure: Failure| region_refused(name, &failure.text);
        let roots = region.key_file.read().map_err(|cause| region_refused(name, &cause))?;
        let held = Held::read(roots.as_ref(), &*region.rows).map_err(|e| failed(&e))?;
        if held.vault.is_some() {
            let roots = roots.ok_or_else(|| {
                region_refused(name, "the vault is there but its root key is not: put the key file back")
            })?;
            let host = region.start(roots).map_err(refused)?;
            *region.host.lock().unwrap_or_else(PoisonError::into_inner) = Some(host);
        }
        Ok(region)
    }

    /// The region's name.
    pub(super) fn name(&self) -> &RegionName {
        &self.name
    }

    /// The host that a `Hello` is for; founds the region if everything is new.
    ///
    /// # Errors
    /// A failure of code `WrongRegion` that says what differs.
    pub(super) fn host(&self, hello: &Call) -> Result<Arc<Host>, Failure> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = &*host {
            return Ok(host.clone());
        }
        let Call::Hello { region_id, roots, control_is_empty, .. } = hello else {
            return Err(wrong("a connection begins with Hello"));
        };
        let control = Control { region_id: region_id.clone(), roots: roots.clone(), is_empty: *control_is_empty };
        let founded = self.found(&control)?;
        let started = self.start(founded)?;
        *host = Some(started.clone());
        Ok(started)
    }

    /// The roots to go on with, after both key file and vault have what they must.
    fn found(&self, control: &Control) -> Result<Roots, Failure> {
        let there = self.key_file.read().map_err(|cause| wrong(&cause))?;
        let held = Held::read(there.as_ref(), &*self.rows).map_err(|e| wrong(&e.to_string()))?;
        let roots = match (start::decide(&held, control), there) {
            (Decision::Refuse(reason), _) => return Err(wrong(&reason)),
            (Decision::Mint, _) => self.mint()?,
            (Decision::Adopt | Decision::Go, Some(roots)) => roots,
            (Decision::Adopt | Decision::Go, None) => return Err(wrong("the root key is not there")),
        };
        start::found(&roots, &*self.rows, &SystemRng).map_err(|e| wrong(&e.to_string()))?;
        Ok(roots)
    }

    fn mint(&self) -> Result<Roots, Failure> {
        let root = Root::generate(&SystemRng);
        self.key_file.write(&root).map_err(|cause| wrong(&cause))?;
        Roots::new(vec![root]).map_err(|cause| wrong(&cause))
    }

    fn start(&self, roots: Roots) -> Result<Arc<Host>, Failure> {
        let seams = Seams {
            rows: self.rows.clone(),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            pins: self.pins.clone(),
            listener: self.listeners.clone(),
        };
        let host = Arc::new(Host::open(roots, seams)?);
        self.listeners.serve_region(host.region().clone());
        host.bind_all()?;
        Ok(host)
    }
}

fn wrong(reason: &str) -> Failure {
    Failure { code: FailureCode::WrongRegion, text: reason.to_owned() }
}

fn region_refused(name: &RegionName, reason: &str) -> Problem {
    Problem::new("wrong-root", format!("the HSM host of {name} refuses to start"))
        .cause(reason)
        .help("put back the key file and the vault that belong together; nothing was changed")
        .exit(Exit::Refused)
}
