//! Owns the answers of one region's host to the API process: [`Host::answer`] takes one call of `strongroom-link` and gives
//! the one answer to it. Chunks go through [`ChunkIo`], addresses through [`Listener`]; both are the binary's.
//!
//! Damage that a call finds in a cluster is also put into the outbox, so that the cluster shows it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_link::host::{
    Answer, Call, Chunk, Facts, Failure, FailureCode, Hello, HostFacts, OutboxEvent, OutboxRow, VERSION,
};

use crate::copy::{self, Announced, Rewrap};
use crate::data_key::{self, DataKey};
use crate::envelope::Envelopes;
use crate::fault::{self, failure};
use crate::pins::Pins;
use crate::region::{ACTIVATED, CHANGED, HEALTH, Region};
use crate::root::{RegionKeys, Roots};
use crate::rows::{self, ClusterState, HsmRow, Rows};
use crate::seam::{Clock, Rng};
use crate::snapshot::{self, Order};
use crate::start::{self, Control, Decision, Held};
use crate::{check, install, lifecycle, manifest};

/// How many payloads stream at once; each takes the memory of a few chunks. One that came in one piece is not counted.
const STREAMS_MAX: usize = 16;
/// The longest wait for outbox rows.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

/// The chunks of the call under way.
pub trait ChunkIo: Send {
    /// Sends the next chunk of a snapshot.
    ///
    /// # Errors
    /// [`Cut`].
    fn send(&mut self, chunk: Chunk) -> Result<(), Cut>;

    /// Reads the next chunk after a check or an installation.
    ///
    /// # Errors
    /// [`Cut`].
    fn receive(&mut self) -> Result<Chunk, Cut>;

    /// The manifest is not one, so that nobody here knows how many chunks follow: the connection must end after the answer.
    fn abandon(&mut self);
}

/// Where clients reach an HSM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Whether the EniIp itself could be bound.
    pub is_eni_ip: bool,
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// Who listens for clients. Both are called after the vault's commit, and again at each repeat.
pub trait Listener: Send + Sync + fmt::Debug {
    /// Serves an HSM at its EniIp, or elsewhere if that cannot be bound.
    fn bind(&self, hsm: &str, cluster: &str, address: &str) -> Bound;

    /// Serves an HSM no longer: no new connections, open ones end after their answer.
    fn release(&self, hsm: &str);
}

/// What a host is given.
#[derive(Debug)]
pub struct Seams {
    /// The vault.
    pub rows: Arc<dyn Rows>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub rng: Arc<dyn Rng>,
    /// The pinned regions.
    pub pins: Arc<dyn Pins>,
    /// Who listens for clients.
    pub listener: Arc<dyn Listener>,
}

/// The host of one region.
#[derive(Debug)]
pub struct Host {
    pub(crate) region: Arc<Region>,
    /// Of all roots, the current one first.
    pub(crate) keys: Vec<RegionKeys>,
    pub(crate) pins: Arc<dyn Pins>,
    pub(crate) envelopes: Envelopes,
    listener: Arc<dyn Listener>,
    streams: AtomicUsize,
    /// Damage that snapshots found, by cluster.
    found_damage: Mutex<HashMap<String, String>>,
}

impl Host {
    /// Opens the host of a vault that has its region (see [`start`]) and names its roots in it.
    ///
    /// # Errors
    /// `WrongRegion` if the vault has no region or is sealed under a root that is not loaded; the vault's failure.
    pub fn open(roots: Roots, seams: Seams) -> Result<Self, Failure> {
        let held = Held::read(Some(&roots), &*seams.rows)?;
        let no_region = || failure(FailureCode::WrongRegion, "the vault has no region yet");
        let vault = held.vault.as_ref().ok_or_else(no_region)?;
        start::check_vault(&held, vault).map_err(|reason| failure(FailureCode::WrongRegion, reason))?;
        let region_id = start::found(&roots, &*seams.rows, &*seams.rng)?;
        Ok(Self {
            keys: roots.iter().map(RegionKeys::derive).collect(),
            region: Arc::new(Region::new(region_id, roots, seams.rows, seams.clock, seams.rng)),
            pins: seams.pins,
            envelopes: Envelopes::default(),
            listener: seams.listener,
            streams: AtomicUsize::new(0),
            found_damage: Mutex::default(),
        })
    }

    /// What the HSMs of this region share with their host.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Binds every HSM that the vault says is served; for the start of the process.
    ///
    /// # Errors
    /// The vault's failure.
    pub fn bind_all(&self) -> Result<Vec<(HsmRow, Bound)>, Failure> {
        let served = self.served()?;
        Ok(served
            .into_iter()
            .map(|row| (row.clone(), self.listener.bind(&row.hsm, &row.cluster, &row.address)))
            .collect())
    }

    /// Answers a call. `io` is used by snapshots, checks and installations only.
    pub fn answer(&self, call: Call, io: &mut dyn ChunkIo) -> Answer {
        self.dispatch(call, io).unwrap_or_else(Answer::Failed)
    }

    fn dispatch(&self, call: Call, io: &mut dyn ChunkIo) -> Result<Answer, Failure> {
        let region = &*self.region;
        match call {
            Call::Hello { version, region: _, region_id, roots, control_is_empty } => {
                self.hello(version, &Control { region_id, roots, is_empty: control_is_empty }).map(Answer::Hello)
            }
            Call::CreateIdentity { cluster, mode, first_hsm } => {
                lifecycle::create_identity(region, &cluster, &mode, &first_hsm).map(Answer::Identity)
            }
            Call::CheckCertificates { csr, signed_cert, trust_anchor } => {
                lifecycle::check_certificates(region, &csr, &signed_cert, &trust_anchor).map(|()| Answer::Done)
            }
            Call::InstallCertificate { cluster, signed_cert, trust_anchor } => {
                lifecycle::install_certificate(region, &cluster, &signed_cert, &trust_anchor).map(|()| Answer::Done)
            }
            Call::Serve { cluster, hsm, address } => self.serve(&cluster, &hsm, &address),
            Call::Withdraw { cluster, hsm } => self.withdraw(&cluster, &hsm),
            Call::Snapshot { cluster, backup, hsm_type, created_at } => {
                self.snapshot(Order { cluster: &cluster, backup: &backup, hsm_type: &hsm_type, created_at }, io)
            }
            Call::Check { header, body } => self.check(&header, &body, io).map(Answer::Facts),
            Call::Rewrap { copy, backup, header, body, destination } => {
                let (header, body) = (header.as_slice(), body.as_slice());
                let order = Rewrap { copy: &copy, backup: &backup, header, body, destination: &destination };
                copy::rewrap(self, order).map(Answer::Envelope)
            }
            Call::Admit { peer, envelope, body, copy, payload } => {
                self.admit(Announced { peer: &peer, envelope: &envelope, body: &body, copy: &copy, payload })
            }
            Call::Install { cluster, header, body } => self.install(&cluster, &header, &body, io).map(Answer::Facts),
            Call::Destroy { cluster } => lifecycle::destroy(region, &cluster).map(|()| Answer::Done),
            Call::OutboxRead { cursor, wait_ms } => self.outbox(cursor, wait_ms).map(Answer::Outbox),
            Call::OutboxAck { seq } => {
                region.rows.write(&mut |tx| tx.ack_outbox(seq))?;
                Ok(Answer::Done)
            }
            Call::Reseal { header } => Ok(Answer::Header(data_key::reseal(&region.roots, &header, &*region.rng)?)),
            Call::Facts => self.facts().map(Answer::HostFacts),
        }
    }

    fn hello(&self, version: u32, control: &Control) -> Result<Hello, Failure> {
        let refuse = |reason| Err(failure(FailureCode::WrongRegion, reason));
        if version != VERSION {
            return refuse(format!("the API process speaks version {version}, this host {VERSION}: update both"));
        }
        let held = Held::read(Some(&self.region.roots), &*self.region.rows)?;
        match start::decide(&held, control) {
            Decision::Go | Decision::Adopt => {}
            Decision::Refuse(reason) => return refuse(reason),
            Decision::Mint => return refuse("the vault lost its region while the host ran".to_owned()),
        }
        Ok(Hello {
            region_id: self.region.region_id.clone(),
            roots: held.roots,
            hpke_keys: self.keys.iter().map(|keys| keys.hpke_key.clone()).collect(),
            identity_keys: self.keys.iter().map(|keys| keys.identity_key.clone()).collect(),
        })
    }

    fn serve(&self, cluster: &str, hsm: &str, address: &str) -> Result<Answer, Failure> {
        lifecycle::serve(&self.region, cluster, hsm, address)?;
        let key_digest = lifecycle::key_digest(&self.region, cluster)?;
        let bound = self.listener.bind(hsm, cluster, address);
        Ok(Answer::Served { bound: bound.is_eni_ip, address: bound.address, port: bound.port, key_digest })
    }

    fn withdraw(&self, cluster: &str, hsm: &str) -> Result<Answer, Failure> {
        lifecycle::withdraw(&self.region, cluster, hsm)?;
        self.listener.release(hsm);
        Ok(Answer::Done)
    }

    fn snapshot(&self, order: Order<'_>, io: &mut dyn ChunkIo) -> Result<Answer, Failure> {
        let _slot = self.slot()?;
        let taken = snapshot::take(&self.region, order, io);
        self.note_health(order.cluster, taken.as_ref().err())?;
        let snapshot::Snapshot { body, header, facts } = taken?;
        Ok(Answer::Snapshot { body, header, facts })
    }

    fn check(&self, header: &[u8], body: &[u8], io: &mut dyn ChunkIo) -> Result<Facts, Failure> {
        let facts = read_manifest(body, io)?;
        let (_slot, key) = match self.slot_and_key(header, &facts) {
            Ok(ready) => ready,
            Err(refusal) => return check::drain(&facts, io).and(Err(refusal)),
        };
        check::check(&facts, &key, io)?;
        Ok(facts)
    }

    fn install(&self, cluster: &str, header: &[u8], body: &[u8], io: &mut dyn ChunkIo) -> Result<Facts, Failure> {
        let facts = read_manifest(body, io)?;
        let (_slot, key) = match self.slot_and_key(header, &facts) {
            Ok(ready) => ready,
            Err(refusal) => return check::drain(&facts, io).and(Err(refusal)),
        };
        install::install(&self.region, cluster, &facts, &key, io)?;
        Ok(facts)
    }

    fn slot_and_key(&self, header: &[u8], facts: &Facts) -> Result<(Slot<'_>, DataKey), Failure> {
        let slot = self.slot()?;
        Ok((slot, DataKey::from_header(&self.region.roots, header, &facts.digest)?))
    }

    fn admit(&self, announced: Announced<'_>) -> Result<Answer, Failure> {
        let (header, facts) = copy::admit(self, announced)?;
        Ok(Answer::Admitted { header, facts })
    }

    fn slot(&self) -> Result<Slot<'_>, Failure> {
        let taken = self.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, |streams| {
            (streams < STREAMS_MAX).then_some(streams + 1)
        });
        match taken {
            Ok(_) => Ok(Slot(&self.streams)),
            Err(_) => Err(failure(FailureCode::Busy, format!("{STREAMS_MAX} payloads are under way"))),
        }
    }

    /// Tells the control plane of damage that a snapshot found; a snapshot that succeeds takes back only what one told, since
    /// the HSMs may know of damage that it cannot see.
    fn note_health(&self, cluster: &str, refusal: Option<&Failure>) -> Result<(), Failure> {
        let mut found = self.found_damage.lock().unwrap_or_else(PoisonError::into_inner);
        match refusal {
            Some(refusal) if refusal.code == FailureCode::Damaged => {
                self.region.report_health(cluster, Some(&refusal.text))?;
                found.insert(cluster.to_owned(), refusal.text.clone());
            }
            Some(_) => {}
            None => {
                let damage = found.get(cluster).cloned();
                if damage.is_some() && self.region.told_health(cluster) == Some(damage) {
                    self.region.report_health(cluster, None)?;
                }
                found.remove(cluster);
            }
        }
        Ok(())
    }

    fn outbox(&self, cursor: u64, wait_ms: u32) -> Result<Vec<OutboxRow>, Failure> {
        let seen = self.region.bell.count();
        let rows = self.outbox_rows(cursor)?;
        let timeout = Duration::from_millis(wait_ms.into()).min(WAIT_MAX);
        if rows.is_empty() && self.region.bell.wait(seen, timeout) {
            return self.outbox_rows(cursor);
        }
        Ok(rows)
    }

    fn outbox_rows(&self, cursor: u64) -> Result<Vec<OutboxRow>, Failure> {
        fault::read(&*self.region.rows, &mut |tx| {
            let highest = tx.outbox_seq()?;
            if highest < cursor {
                let text =
                    format!("the vault is older than the control store: its outbox is at {highest}, not {cursor}");
                return Err(failure(FailureCode::Conflict, text).into());
            }
            Ok(tx.outbox(cursor)?.into_iter().filter_map(outbox_row).collect())
        })
    }

    fn served(&self) -> Result<Vec<HsmRow>, Failure> {
        let mut served = fault::read(&*self.region.rows, &mut |tx| Ok(tx.hsms()?))?;
        served.retain(|row| !row.withdrawn);
        Ok(served)
    }

    fn facts(&self) -> Result<HostFacts, Failure> {
        let clusters = fault::read(&*self.region.rows, &mut |tx| {
            let mut clusters = Vec::new();
            for row in tx.clusters()? {
                let version = match row.state {
                    ClusterState::Destroyed => 0,
                    _ => tx.head(&row.cluster)?.map_or(0, |head| head.version),
                };
                clusters.push((row.cluster, row.state.as_str().to_owned(), version));
            }
            Ok(clusters)
        })?;
        Ok(HostFacts { clusters, hsms: self.served()?.into_iter().map(|row| row.hsm).collect() })
    }
}

/// A place among the payloads under way.
struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn read_manifest(body: &[u8], io: &mut dyn ChunkIo) -> Result<Facts, Failure> {
    manifest::read(body).map_err(|what| {
        io.abandon();
        failure(FailureCode::Damaged, what)
    })
}

/// The row in the words of the link; a kind of a later version is left for it.
fn outbox_row(row: rows::OutboxRow) -> Option<OutboxRow> {
    let event = match row.kind.as_str() {
        ACTIVATED => OutboxEvent::Activated,
        CHANGED => OutboxEvent::Changed(row.data.parse().ok()?),
        HEALTH => OutboxEvent::Health((!row.data.is_empty()).then_some(row.data)),
        _ => return None,
    };
    Some(OutboxRow { seq: row.seq, cluster: row.cluster, event })
}

#[cfg(test)]
mod tests;
