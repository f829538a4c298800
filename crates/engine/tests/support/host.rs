//! A stand-in for the HSM host: its rows are in memory and outlive a region's process; its payloads are made of the
//! cluster's id, so that a test can tell whose bytes came through; its seals are digests, so that damage shows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use strongroom_engine::ports::{
    Admitted, ChunkSink, ChunkSource, Facts, Hsms, HsmsCode, HsmsError, Identity, OutboxEvent, OutboxRow, Served,
    Snapshot,
};
use strongroom_model::cluster::ClusterMode;
use strongroom_model::{BackupId, ClusterId, CopyId, HsmId, RegionId, Timestamp};

use super::fault::{Faults, Then};

/// The vault of a region.
#[derive(Default)]
pub struct Vault {
    pub clusters: Mutex<HashMap<ClusterId, VaultCluster>>,
    pub hsms: Mutex<HashMap<HsmId, bool>>,
    outbox: Mutex<Vec<OutboxRow>>,
    seq: AtomicU64,
    snapshots: AtomicU64,
    pub chunks: Mutex<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultCluster {
    Made,
    Initialized,
    Installed(String),
    Destroyed,
}

impl Vault {
    /// The admin sets a password.
    pub fn activate(&self, cluster: &ClusterId) {
        self.tell(cluster, OutboxEvent::Activated);
    }

    /// A seal is found that does not hold.
    pub fn damage(&self, cluster: &ClusterId) {
        self.tell(cluster, OutboxEvent::Health(Some("a seal does not hold".into())));
    }

    fn tell(&self, cluster: &ClusterId, event: OutboxEvent) {
        let seq = self.seq.fetch_add(1, Ordering::SeqCst) + 1;
        let mut outbox = self.outbox.lock().unwrap();
        outbox.retain(|row| row.cluster != *cluster);
        outbox.push(OutboxRow { seq, cluster: cluster.clone(), event });
    }
}

/// The port over a vault, with faults.
pub struct FakeHsms {
    pub region: &'static str,
    pub region_id: RegionId,
    pub vault: Arc<Vault>,
    pub faults: Faults,
}

fn down() -> HsmsError {
    HsmsError::new(HsmsCode::HostDown, "the host is away")
}

fn no(code: HsmsCode, text: &str) -> HsmsError {
    HsmsError::new(code, text)
}

impl FakeHsms {
    /// Runs a call that has an effect, under the plan.
    fn faulty<T>(&self, what: &str, mut effect: impl FnMut() -> Result<T, HsmsError>) -> Result<T, HsmsError> {
        match self.faults.cross(self.region, what) {
            Then::Go => effect(),
            Then::Fail => Err(down()),
            Then::Cut => {
                let _ = effect();
                self.faults.kill(self.region);
                Err(down())
            }
            Then::Repeat => {
                let _ = effect();
                effect()
            }
        }
    }

    fn facts(
        &self,
        cluster: &ClusterId,
        backup: &BackupId,
        hsm_type: &str,
        at: Timestamp,
        chunks: &[Vec<u8>],
    ) -> Facts {
        let chunk_digests = chunks.iter().flat_map(|c| digest(&SHA256, c).as_ref().to_vec()).collect();
        let mut facts = Facts {
            origin: self.region_id.as_str().into(),
            backup: backup.as_str().into(),
            cluster: cluster.as_str().into(),
            lineage: "lineage".into(),
            mode: "FIPS".into(),
            hsm_type: hsm_type.into(),
            created_at: at.millis(),
            users: 1,
            keys: 1,
            bytes: chunks.iter().map(|c| c.len() as u64).sum(),
            chunk_size: chunks[0].len() as u32,
            chunk_digests,
            digest: [0; 32],
            cluster_certificate: format!("certificate of {cluster}"),
        };
        facts.digest = digest(&SHA256, &facts.to_bytes()).as_ref().try_into().unwrap();
        facts
    }
}

/// A header is `sealed under REGION`; an envelope is `from REGION to REGION for COPY`.
fn header(region: &RegionId) -> Vec<u8> {
    format!("sealed under {region}").into_bytes()
}

async fn check_chunks(facts: &Facts, source: &mut dyn ChunkSource) -> Result<(), HsmsError> {
    let mut n = 0;
    while let Some(bytes) = source.next().await? {
        if facts.chunk_digest(n) != Some(digest(&SHA256, &bytes).as_ref()) {
            return Err(no(HsmsCode::Damaged, &format!("chunk {n} differs from its digest")));
        }
        n += 1;
    }
    if n == facts.chunks() { Ok(()) } else { Err(no(HsmsCode::DoesNotOpen, "another count of chunks")) }
}

fn read_body(body: &[u8]) -> Result<Facts, HsmsError> {
    Facts::from_bytes(body).map_err(|e| no(HsmsCode::DoesNotOpen, &e.to_string()))
}

#[async_trait]
impl Hsms for FakeHsms {
    async fn create_identity(&self, cluster: &ClusterId, _: ClusterMode, _: &HsmId) -> Result<Identity, HsmsError> {
        self.faulty("create-identity", || {
            let mut clusters = self.vault.clusters.lock().unwrap();
            if clusters.get(cluster) == Some(&VaultCluster::Destroyed) {
                return Err(no(HsmsCode::Gone, "destroyed"));
            }
            clusters.entry(cluster.clone()).or_insert(VaultCluster::Made);
            Ok(Identity {
                csr: format!("csr of {cluster}"),
                hsm_certificate: "hsm".into(),
                hardware_certificate: "hardware".into(),
                manufacturer_certificate: "manufacturer".into(),
            })
        })
    }

    async fn check_certificates(&self, csr: &str, signed_cert: &str, _: &str) -> Result<(), HsmsError> {
        self.faulty("check-certificates", || match signed_cert == format!("signed {csr}") {
            true => Ok(()),
            false => Err(no(HsmsCode::Invalid, "SignedCert holds another key than the CSR.")),
        })
    }

    async fn install_certificate(&self, cluster: &ClusterId, _: &str, _: &str) -> Result<(), HsmsError> {
        self.faulty("install-certificate", || match self.vault.clusters.lock().unwrap().get_mut(cluster) {
            Some(VaultCluster::Destroyed) => Err(no(HsmsCode::Gone, "destroyed")),
            Some(state) => {
                *state = VaultCluster::Initialized;
                Ok(())
            }
            None => Err(no(HsmsCode::Unknown, "the vault lacks the cluster")),
        })
    }

    async fn serve(&self, cluster: &ClusterId, hsm: &HsmId, address: &str) -> Result<Served, HsmsError> {
        self.faulty("serve", || {
            if !self.vault.clusters.lock().unwrap().contains_key(cluster) {
                return Err(no(HsmsCode::Unknown, "the vault lacks the cluster"));
            }
            let mut hsms = self.vault.hsms.lock().unwrap();
            match *hsms.entry(hsm.clone()).or_insert(true) {
                true => Ok(Served { bound: true, address: address.into(), port: 2225, key_digest: [0; 32] }),
                false => Err(no(HsmsCode::Gone, "withdrawn")),
            }
        })
    }

    async fn withdraw(&self, _: &ClusterId, hsm: &HsmId) -> Result<(), HsmsError> {
        self.faulty("withdraw", || {
            self.vault.hsms.lock().unwrap().insert(hsm.clone(), false);
            Ok(())
        })
    }

    async fn snapshot(
        &self,
        cluster: &ClusterId,
        backup: &BackupId,
        hsm_type: &str,
        created_at: Timestamp,
        sink: &mut dyn ChunkSink,
    ) -> Result<Snapshot, HsmsError> {
        let chunks = self.faulty("snapshot", || {
            let number = self.vault.snapshots.fetch_add(1, Ordering::SeqCst);
            let count = *self.vault.chunks.lock().unwrap();
            let chunk = |n: u32| format!("{cluster} {number} {n} ").into_bytes();
            let length = if count == 1 { 1_000 } else { 80_000 };
            Ok((0..count).map(|n| chunk(n).into_iter().cycle().take(length).collect()).collect::<Vec<Vec<u8>>>())
        })?;
        let facts = self.facts(cluster, backup, hsm_type, created_at, &chunks);
        for (n, bytes) in chunks.into_iter().enumerate() {
            sink.put(n as u32, bytes).await?;
        }
        Ok(Snapshot { body: facts.to_bytes(), header: header(&self.region_id), facts })
    }

    async fn check(&self, sealed: &[u8], body: &[u8], source: &mut dyn ChunkSource) -> Result<Facts, HsmsError> {
        self.faulty("check", || Ok(()))?;
        if sealed != header(&self.region_id) {
            return Err(no(HsmsCode::DoesNotOpen, "sealed under another root"));
        }
        let facts = read_body(body)?;
        check_chunks(&facts, source).await?;
        Ok(facts)
    }

    async fn rewrap(
        &self,
        copy: &CopyId,
        _: &BackupId,
        sealed: &[u8],
        _: &[u8],
        destination: &RegionId,
    ) -> Result<Vec<u8>, HsmsError> {
        self.faulty("re-wrap", || match sealed == header(&self.region_id) {
            true => Ok(format!("from {} to {destination} for {copy}", self.region_id).into_bytes()),
            false => Err(no(HsmsCode::Damaged, "sealed under another root")),
        })
    }

    async fn admit(
        &self,
        peer: &RegionId,
        copy: &CopyId,
        envelope: &[u8],
        body: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<Admitted, HsmsError> {
        self.faulty("admit", || {
            if envelope != format!("from {peer} to {} for {copy}", self.region_id).as_bytes() {
                return Err(no(HsmsCode::Rejected, "its peer did not sign it"));
            }
            let facts = read_body(body)?;
            if let Some(bytes) = payload
                && facts.chunk_digest(0) != Some(digest(&SHA256, bytes).as_ref())
            {
                return Err(no(HsmsCode::Damaged, "chunk 0 differs from its digest"));
            }
            Ok(Admitted { header: header(&self.region_id), facts })
        })
    }

    async fn install(
        &self,
        cluster: &ClusterId,
        sealed: &[u8],
        body: &[u8],
        source: &mut dyn ChunkSource,
    ) -> Result<Facts, HsmsError> {
        if sealed != header(&self.region_id) {
            return Err(no(HsmsCode::DoesNotOpen, "sealed under another root"));
        }
        let facts = read_body(body)?;
        check_chunks(&facts, source).await?;
        self.faulty("install", || {
            let mut clusters = self.vault.clusters.lock().unwrap();
            if clusters.get(cluster) == Some(&VaultCluster::Destroyed) {
                return Err(no(HsmsCode::Gone, "destroyed"));
            }
            clusters.insert(cluster.clone(), VaultCluster::Installed(facts.cluster.clone()));
            Ok(facts.clone())
        })
    }

    async fn destroy(&self, cluster: &ClusterId) -> Result<(), HsmsError> {
        self.faulty("destroy", || {
            self.vault.clusters.lock().unwrap().insert(cluster.clone(), VaultCluster::Destroyed);
            Ok(())
        })
    }

    async fn outbox_read(&self, cursor: u64, _: Duration) -> Result<Vec<OutboxRow>, HsmsError> {
        // Polled, so that it is no crossing until there is something to read.
        for _ in 0..20 {
            if self.faults.is_dead(self.region) {
                return Err(down());
            }
            let rows: Vec<_> = self.vault.outbox.lock().unwrap().iter().filter(|r| r.seq > cursor).cloned().collect();
            if !rows.is_empty() {
                return self.faulty("outbox-read", || Ok(rows.clone()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Vec::new())
    }

    async fn outbox_ack(&self, seq: u64) -> Result<(), HsmsError> {
        self.faulty("outbox-ack", || {
            self.vault.outbox.lock().unwrap().retain(|row| row.seq > seq);
            Ok(())
        })
    }

    fn is_up(&self) -> bool {
        true
    }
}
