//! Two rules that no ordinary run shows to be kept: READY waits until the disk has said that the bytes are durable, though
//! they can be read before; and who was only slow, and lost its job meanwhile, records nothing. The disk here says so when
//! it is told to.

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strongroom_engine::ports::{Clock, Peer, PeerConnection, PeerDown, Peers};
use strongroom_engine::{Parts, Region, Settings};
use strongroom_model::backup::{Backup, BackupState};
use strongroom_model::call::*;
use strongroom_model::cluster::ClusterState;
use strongroom_model::hsm::HsmState;
use strongroom_model::{BlobId, ClusterId, RegionId, RegionName, SubnetId, Tag, Timestamp};
use strongroom_store::blob::BlobFuture;
use strongroom_store::control::SCHEMA;
use strongroom_store::{Blobs, Database, StoreError};
use support::fault::Faults;
use support::host::{FakeHsms, Vault};
use support::{NAMES, TestRng, TestSpawn, caller};
use tempfile::TempDir;
use tokio::sync::Notify;

const CHUNKS: u32 = 3;

/// Chunks that can be read at once, and are durable when their blob is let through.
#[derive(Default)]
struct SlowDisk {
    chunks: Mutex<BTreeMap<(BlobId, u32), Vec<u8>>>,
    /// Blobs in the order of their first chunk.
    blobs: Mutex<Vec<BlobId>>,
    let_through: Mutex<HashSet<BlobId>>,
    changed: Notify,
}

impl SlowDisk {
    fn let_through(&self, blob: &BlobId) {
        self.let_through.lock().unwrap().insert(blob.clone());
        self.changed.notify_waiters();
    }

    /// The `n`th blob, once all its chunks were put.
    fn whole_blob(&self, n: usize) -> Option<BlobId> {
        let blob = self.blobs.lock().unwrap().get(n).cloned()?;
        let last = (blob.clone(), CHUNKS - 1);
        self.chunks.lock().unwrap().contains_key(&last).then_some(blob)
    }
}

/// The region's view of a [`SlowDisk`].
struct Handle(Arc<SlowDisk>);

impl Blobs for Handle {
    fn put_chunk(&self, blob: &BlobId, n: u32, bytes: Vec<u8>) -> BlobFuture<()> {
        let (disk, blob) = (self.0.clone(), blob.clone());
        disk.chunks.lock().unwrap().insert((blob.clone(), n), bytes);
        if !disk.blobs.lock().unwrap().contains(&blob) {
            disk.blobs.lock().unwrap().push(blob.clone());
        }
        Box::pin(async move {
            loop {
                let changed = disk.changed.notified();
                if disk.let_through.lock().unwrap().contains(&blob) {
                    return Ok(());
                }
                changed.await;
            }
        })
    }

    fn get_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<Vec<u8>> {
        let found = self.0.chunks.lock().unwrap().get(&(blob.clone(), n)).cloned();
        Box::pin(async move { found.ok_or_else(|| StoreError::Corrupt("no such chunk".into())) })
    }

    fn delete_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<()> {
        self.0.chunks.lock().unwrap().remove(&(blob.clone(), n));
        Box::pin(async { Ok(()) })
    }

    fn list(&self) -> BlobFuture<Vec<(BlobId, u32)>> {
        let all = self.0.chunks.lock().unwrap().keys().cloned().collect();
        Box::pin(async move { Ok(all) })
    }
}

/// Short waits are shorter, long ones (the renewal of a lease) do not end.
struct ImpatientClock;

#[async_trait]
impl Clock for ImpatientClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(since.as_millis() as i64)
    }

    async fn sleep(&self, duration: Duration) {
        match duration <= Duration::from_secs(1) {
            true => tokio::time::sleep(duration.min(Duration::from_millis(20))).await,
            false => std::future::pending().await,
        }
    }
}

struct NoPeers;

#[async_trait]
impl Peers for NoPeers {
    fn list(&self) -> Vec<Peer> {
        Vec::new()
    }

    async fn connect(&self, _: &RegionId) -> Result<Arc<dyn PeerConnection>, PeerDown> {
        Err(PeerDown("there are none".into()))
    }
}

/// One region on a slow disk.
struct World {
    _folder: TempDir,
    region: Arc<Region>,
    database: Database,
    vault: Arc<Vault>,
    disk: Arc<SlowDisk>,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("control.db"), &SCHEMA, "a test").unwrap();
        let (vault, disk) = (Arc::<Vault>::default(), Arc::<SlowDisk>::default());
        *vault.chunks.lock().unwrap() = CHUNKS;
        let id = RegionId::from_bytes([1; 17]);
        let hsms =
            FakeHsms { region: NAMES[0], region_id: id.clone(), vault: vault.clone(), faults: Faults::default() };
        let parts = Parts {
            settings: Settings::new(RegionName::new(NAMES[0]), [127, 94, 17]),
            control: database.clone(),
            blobs: Arc::new(Handle(disk.clone())),
            clock: Arc::new(ImpatientClock),
            rng: Arc::<TestRng>::default(),
            spawn: Arc::new(TestSpawn),
            hsms: Arc::new(hsms),
            peers: Arc::new(NoPeers),
            signer: Arc::new(support::TestSigner),
        };
        let region = Region::start(parts, id).await.unwrap();
        Self { _folder: folder, region, database, vault, disk }
    }

    async fn call(&self, call: Call) -> Reply {
        self.region.call(&caller(None), call).await.unwrap()
    }

    async fn cluster(&self) -> strongroom_model::cluster::Cluster {
        match self.call(Call::DescribeClusters(Default::default())).await {
            Reply::DescribeClusters(output) => output.clusters.unwrap().remove(0),
            other => panic!("{other:?}"),
        }
    }

    async fn backup(&self) -> Option<Backup> {
        match self.call(Call::DescribeBackups(Default::default())).await {
            Reply::DescribeBackups(output) => output.backups.unwrap().pop(),
            other => panic!("{other:?}"),
        }
    }

    async fn backup_state(&self) -> Option<BackupState> {
        self.backup().await.and_then(|backup| backup.backup_state)
    }

    async fn wait_cluster(&self, state: ClusterState) {
        wait(&state.to_string(), async || (self.cluster().await.state == Some(state)).then_some(())).await;
    }

    /// A cluster that was just activated: its first backup is under way.
    async fn activated() -> (Self, ClusterId) {
        let world = Self::start().await;
        let input = CreateClusterRequest {
            hsm_type: "hsm2m.medium".into(),
            subnet_ids: vec![SubnetId::new("subnet-0aaaaaaaaaaaaaaa1")],
            ..Default::default()
        };
        let Reply::CreateCluster(output) = world.call(Call::CreateCluster(input)).await else { panic!() };
        let id = output.cluster.unwrap().cluster_id.unwrap();
        world.wait_cluster(ClusterState::Uninitialized).await;
        let input =
            CreateHsmRequest { cluster_id: id.clone(), availability_zone: format!("{}a", NAMES[0]), ip_address: None };
        world.call(Call::CreateHsm(input)).await;
        wait("the HSM", async || {
            let hsms = world.cluster().await.hsms?;
            hsms.iter().any(|hsm| hsm.state == Some(HsmState::Active)).then_some(())
        })
        .await;
        let input = InitializeClusterRequest {
            cluster_id: id.clone(),
            signed_cert: format!("signed csr of {id}"),
            trust_anchor: "anchor".into(),
        };
        world.call(Call::InitializeCluster(input)).await;
        world.wait_cluster(ClusterState::Initialized).await;
        world.vault.activate(&id);
        (world, id)
    }

    /// Makes so many durable changes, one after the other, that whatever could be recorded by now has been: all go through
    /// the one writer.
    async fn outlast_jobs(&self, id: &ClusterId) {
        for n in 0..20 {
            let tag_list = vec![Tag { key: "n".into(), value: n.to_string() }];
            let input = TagResourceRequest { resource_id: id.as_str().into(), tag_list };
            self.call(Call::TagResource(input)).await;
        }
    }
}

async fn wait<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(value) = found().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: does not come");
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test());
}

#[test]
fn ready_waits_for_bytes_that_are_durable() {
    run(async || {
        let (world, id) = World::activated().await;
        let blob = wait("a blob", async || world.disk.whole_blob(0)).await;
        world.outlast_jobs(&id).await;
        assert_eq!(world.backup_state().await, Some(BackupState::CreateInProgress), "the bytes are not durable yet");
        world.disk.let_through(&blob);
        wait("READY", async || world.backup_state().await.filter(|s| *s == BackupState::Ready)).await;
    });
}

#[test]
fn who_lost_its_job_records_nothing() {
    run(async || {
        let (world, id) = World::activated().await;
        let slow = wait("the first attempt's blob", async || world.disk.whole_blob(0)).await;
        // Its lease runs out, and the job is taken from it.
        let expire = |tx: &mut dyn strongroom_store::Tx| {
            tx.execute("UPDATE jobs SET lease_until = 0, due_at = 0 WHERE kind = 'snapshot'", &[]).map(drop)
        };
        world.database.write(expire).await.map(drop).unwrap();
        let second = wait("the second attempt's blob", async || world.disk.whole_blob(1)).await;
        world.disk.let_through(&slow);
        world.outlast_jobs(&id).await;
        assert_eq!(world.backup_state().await, Some(BackupState::CreateInProgress), "recorded by who lost the job");
        world.disk.let_through(&second);
        wait("READY", async || world.backup_state().await.filter(|s| *s == BackupState::Ready)).await;
    });
}
