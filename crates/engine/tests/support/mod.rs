//! Two regions in one process: the real engine over real SQLite and real files, a stand-in for the HSM host, and a line
//! between them that is a function call. Regions can be cut off at any seam and started again on what they left.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod clusters;
pub mod draw;
pub mod fault;
pub mod host;
pub mod wire;

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use futures_util::future::BoxFuture;
use strongroom_engine::copy::message::{Answer, Message};
use strongroom_engine::ports::{Clock, Peer, PeerConnection, PeerDown, Peers, Rng, Signer, Spawn};
use strongroom_engine::{Authority, Caller, Parts, PeerSession, Region, Settings};
use strongroom_model::call::{Call, Reply};
use strongroom_model::{AccountId, ApiError, BlobId, ErrorKind, RegionId, RegionName, Timestamp};
use strongroom_store::blob::BlobFuture;
use strongroom_store::control::SCHEMA;
use strongroom_store::hook::CommitHook;
use strongroom_store::{Blobs, Database, Directory, StoreError, Tx, WriteError};
use tempfile::TempDir;

use draw::Draw;
use fault::{Faults, Then};
use host::{FakeHsms, Vault};

/// The names of the two regions.
pub const NAMES: [&str; 2] = ["us-east-1", "eu-west-1"];

/// A clock that tests can move.
#[derive(Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_millis(since.as_millis() as i64 + self.0.load(Ordering::SeqCst))
    }
    async fn sleep(&self, duration: Duration) {
        // Tests are in a hurry: whatever waits for a second waits for 20 ms.
        tokio::time::sleep(duration.min(Duration::from_millis(20))).await;
    }
}

/// The system's random bytes, or, from a seed, the same ones at every run.
#[derive(Default)]
pub struct TestRng(Option<Mutex<Draw>>);

impl TestRng {
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Mutex::new(Draw(seed))))
    }
}

impl Rng for TestRng {
    fn fill(&self, bytes: &mut [u8]) {
        let Some(draw) = &self.0 else { return SystemRandom::new().fill(bytes).unwrap() };
        let mut draw = draw.lock().unwrap();
        for byte in bytes {
            *byte = (draw.next() >> 56) as u8;
        }
    }
}

pub struct TestSpawn;

impl Spawn for TestSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

/// A key that is the same in every life.
pub struct TestSigner;

impl TestSigner {
    fn key() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }
}

impl Signer for TestSigner {
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        Self::key().sign(message).as_ref().to_vec()
    }
    fn public_key(&self) -> Vec<u8> {
        Self::key().public_key().as_ref().to_vec()
    }
}

struct Hook {
    region: &'static str,
    faults: Faults,
    cut: Mutex<bool>,
}

fn gone() -> StoreError {
    StoreError::Other("the process is gone".into())
}

impl CommitHook for Hook {
    fn before_commit(&self, _: u64) -> Result<(), StoreError> {
        match self.faults.cross(self.region, "commit") {
            Then::Go | Then::Repeat => Ok(()),
            Then::Fail => Err(gone()),
            Then::Cut => {
                *self.cut.lock().unwrap() = true;
                Ok(())
            }
        }
    }
    fn after_commit(&self, _: u64) -> Result<(), StoreError> {
        if std::mem::take(&mut *self.cut.lock().unwrap()) {
            self.faults.kill(self.region);
            return Err(gone());
        }
        Ok(())
    }
    fn before_read(&self) -> Result<(), StoreError> {
        if self.faults.is_dead(self.region) { Err(gone()) } else { Ok(()) }
    }
}

struct FaultyBlobs {
    region: &'static str,
    inner: Arc<Directory>,
    faults: Faults,
}

impl FaultyBlobs {
    fn faulty<T: Send + 'static>(
        &self,
        what: &'static str,
        effect: impl Fn() -> BlobFuture<T> + Send + 'static,
    ) -> BlobFuture<T> {
        let (region, faults) = (self.region, self.faults.clone());
        Box::pin(async move {
            match faults.cross(region, what) {
                Then::Go => effect().await,
                Then::Fail => Err(gone()),
                Then::Cut => {
                    let _ = effect().await;
                    faults.kill(region);
                    Err(gone())
                }
                Then::Repeat => {
                    let _ = effect().await;
                    effect().await
                }
            }
        })
    }
}

impl Blobs for FaultyBlobs {
    fn put_chunk(&self, blob: &BlobId, n: u32, bytes: Vec<u8>) -> BlobFuture<()> {
        let (inner, blob) = (self.inner.clone(), blob.clone());
        self.faulty("put-chunk", move || inner.put_chunk(&blob, n, bytes.clone()))
    }
    fn get_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<Vec<u8>> {
        let (inner, blob) = (self.inner.clone(), blob.clone());
        self.faulty("get-chunk", move || inner.get_chunk(&blob, n))
    }
    fn delete_chunk(&self, blob: &BlobId, n: u32) -> BlobFuture<()> {
        let (inner, blob) = (self.inner.clone(), blob.clone());
        self.faulty("delete-chunk", move || inner.delete_chunk(&blob, n))
    }
    fn list(&self) -> BlobFuture<Vec<(BlobId, u32)>> {
        self.inner.list()
    }
}

/// The regions that run, and the sessions that they answer; these end with their region.
type Slots = Arc<[RwLock<Option<(Arc<Region>, Vec<Arc<PeerSession>>)>>; 2]>;

/// The line to the other region: a call of its session.
struct Line {
    from: usize,
    slots: Slots,
    ids: [RegionId; 2],
    faults: Faults,
    numbers: AtomicU64,
    pub cut: Arc<std::sync::atomic::AtomicBool>,
    pub accepted: Arc<Mutex<Option<Vec<AccountId>>>>,
}

struct LineConnection {
    number: u64,
    region: &'static str,
    other: &'static str,
    session: Weak<PeerSession>,
    faults: Faults,
    cut: Arc<std::sync::atomic::AtomicBool>,
}

#[async_trait]
impl Peers for Line {
    fn list(&self) -> Vec<Peer> {
        let other = 1 - self.from;
        vec![Peer { name: RegionName::new(NAMES[other]), region_id: self.ids[other].clone(), accounts: None }]
    }
    async fn connect(&self, _: &RegionId) -> Result<Arc<dyn PeerConnection>, PeerDown> {
        let other = 1 - self.from;
        let down = || PeerDown(format!("{} refuses connections", NAMES[other]));
        if self.cut.load(Ordering::SeqCst) {
            return Err(down());
        }
        let mut slot = self.slots[other].write().unwrap();
        let (region, sessions) = slot.as_mut().ok_or_else(down)?;
        let accounts = self.accepted.lock().unwrap().clone();
        let peer = Peer { name: RegionName::new(NAMES[self.from]), region_id: self.ids[self.from].clone(), accounts };
        let session = region.peer_session(peer);
        sessions.push(session.clone());
        Ok(Arc::new(LineConnection {
            number: self.numbers.fetch_add(1, Ordering::SeqCst),
            region: NAMES[self.from],
            other: NAMES[other],
            session: Arc::downgrade(&session),
            faults: self.faults.clone(),
            cut: self.cut.clone(),
        }))
    }
}

#[async_trait]
impl PeerConnection for LineConnection {
    fn number(&self) -> u64 {
        self.number
    }
    async fn ask(&self, message: Message) -> Result<Answer, PeerDown> {
        let down = || PeerDown("the line was cut".into());
        let what = format!("ask {}", format!("{message:?}").split([' ', '(', '{']).next().unwrap_or_default());
        if self.cut.load(Ordering::SeqCst) || self.faults.is_dead(self.other) {
            return Err(down());
        }
        let then = self.faults.cross(self.region, &what);
        if matches!(then, Then::Fail) {
            return Err(down());
        }
        let session = self.session.upgrade().ok_or_else(down)?;
        let mut answer = session.answer(message.clone()).await;
        match then {
            Then::Cut => {
                self.faults.kill(self.region);
                return Err(down());
            }
            Then::Repeat => answer = session.answer(message).await,
            Then::Go | Then::Fail => {}
        }
        if self.faults.is_dead(self.other) { Err(down()) } else { Ok(answer) }
    }
}

/// Two regions on a folder.
pub struct World {
    pub folder: TempDir,
    pub clock: Arc<TestClock>,
    pub faults: Faults,
    pub vaults: [Arc<Vault>; 2],
    pub ids: [RegionId; 2],
    pub line_cut: Arc<std::sync::atomic::AtomicBool>,
    /// The accounts whose copies either region takes.
    pub accepted: Arc<Mutex<Option<Vec<AccountId>>>>,
    pub settings: fn(&mut Settings),
    rng: Arc<TestRng>,
    slots: Slots,
    databases: Mutex<[Option<Database>; 2]>,
    invocations: AtomicU64,
}

impl World {
    pub async fn start(faults: Faults, chunks: u32) -> Self {
        Self::start_with(faults, chunks, |_| {}).await
    }

    /// With settings of its own for both regions.
    pub async fn start_with(faults: Faults, chunks: u32, settings: fn(&mut Settings)) -> Self {
        Self::start_on(TestRng::default(), faults, chunks, settings).await
    }

    /// With random bytes that may come from a seed.
    pub async fn start_on(rng: TestRng, faults: Faults, chunks: u32, settings: fn(&mut Settings)) -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
            faults,
            vaults: Default::default(),
            ids: [RegionId::from_bytes([1; 17]), RegionId::from_bytes([2; 17])],
            line_cut: Arc::default(),
            accepted: Arc::default(),
            settings,
            rng: Arc::new(rng),
            slots: Arc::default(),
            databases: Mutex::default(),
            invocations: AtomicU64::new(1),
        };
        for vault in &world.vaults {
            *vault.chunks.lock().unwrap() = chunks;
        }
        for at in 0..2 {
            world.revive(at).await;
        }
        world
    }

    pub fn region(&self, at: usize) -> Arc<Region> {
        self.slots[at].read().unwrap().as_ref().expect("the region runs").0.clone()
    }

    pub fn database(&self, at: usize) -> Database {
        self.databases.lock().unwrap()[at].clone().expect("the region runs")
    }

    /// Writes rows past the API.
    pub fn write(&self, at: usize, closure: impl FnMut(&mut dyn Tx) -> Result<(), StoreError> + Send + 'static) {
        self.database(at).write_blocking(closure).map_err(WriteError::flatten).unwrap().into_inner();
    }

    pub fn path(&self, at: usize) -> std::path::PathBuf {
        self.folder.path().join(NAMES[at])
    }

    /// Starts a region on what it left, as often as it is cut off while it starts.
    pub async fn revive(&self, at: usize) {
        for _ in 0..4 {
            if let Some((old, _)) = self.slots[at].write().unwrap().take() {
                old.stop();
            }
            // The lock is free when the last task of the former life has gone.
            self.databases.lock().unwrap()[at] = None;
            self.faults.revive(NAMES[at]);
            let database = self.open(at).await;
            self.databases.lock().unwrap()[at] = Some(database.clone());
            match Region::start(self.parts(at, database), self.ids[at].clone()).await {
                Ok(region) => {
                    *self.slots[at].write().unwrap() = Some((region, Vec::new()));
                    return;
                }
                // The fault hit the start itself.
                Err(StoreError::Other(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{} does not start", NAMES[at]);
    }

    async fn open(&self, at: usize) -> Database {
        let path = self.path(at);
        std::fs::create_dir_all(&path).unwrap();
        for _ in 0..600 {
            let hook = Hook { region: NAMES[at], faults: self.faults.clone(), cut: Mutex::default() };
            match Database::open_with(&path.join("control.db"), &SCHEMA, "a test", Arc::new(hook)) {
                Ok(database) => return database,
                Err(strongroom_store::OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the lock of {} is not freed", NAMES[at]);
    }

    fn parts(&self, at: usize, control: Database) -> Parts {
        let mut settings = Settings::new(RegionName::new(NAMES[at]), [127, 94, 17 + at as u8]);
        (self.settings)(&mut settings);
        let region = NAMES[at];
        Parts {
            settings,
            control,
            blobs: Arc::new(FaultyBlobs {
                region,
                inner: Arc::new(Directory::open(&self.path(at).join("blobs")).unwrap()),
                faults: self.faults.clone(),
            }),
            clock: self.clock.clone(),
            rng: self.rng.clone(),
            spawn: Arc::new(TestSpawn),
            hsms: Arc::new(FakeHsms {
                region,
                region_id: self.ids[at].clone(),
                vault: self.vaults[at].clone(),
                faults: self.faults.clone(),
            }),
            peers: Arc::new(Line {
                from: at,
                slots: self.slots.clone(),
                ids: self.ids.clone(),
                faults: self.faults.clone(),
                numbers: AtomicU64::new(1),
                cut: self.line_cut.clone(),
                accepted: self.accepted.clone(),
            }),
            signer: Arc::new(TestSigner),
        }
    }

    /// A copy of a region's disk as it is now; the region is stopped for it and started again.
    pub async fn keep_disk(&self, at: usize) -> TempDir {
        let kept = tempfile::tempdir().unwrap();
        self.halt(at).await;
        copy_folder(&self.path(at), kept.path());
        self.revive(at).await;
        kept
    }

    /// Starts a region on a disk that was kept.
    pub async fn return_to_disk(&self, at: usize, kept: &TempDir) {
        self.halt(at).await;
        std::fs::remove_dir_all(self.path(at)).unwrap();
        copy_folder(kept.path(), &self.path(at));
        self.revive(at).await;
    }

    /// Ends a region's process and waits until its store is closed.
    async fn halt(&self, at: usize) {
        self.faults.kill(NAMES[at]);
        if let Some((old, _)) = self.slots[at].write().unwrap().take() {
            old.stop();
        }
        self.databases.lock().unwrap()[at] = None;
        drop(self.open(at).await);
    }

    /// Starts whatever was cut off.
    pub async fn mend(&self) {
        for (at, name) in NAMES.iter().enumerate() {
            if self.faults.is_dead(name) {
                self.revive(at).await;
            }
        }
    }

    /// An invocation id that was not used yet.
    pub fn invocation(&self) -> String {
        format!("call-{}", self.invocations.fetch_add(1, Ordering::SeqCst))
    }

    /// A call under an invocation id of its own.
    pub async fn try_call(&self, at: usize, call: Call) -> Result<Reply, ApiError> {
        let invocation = self.invocation();
        self.region(at).call(&caller(Some(invocation)), call).await
    }

    /// A call as an SDK makes it: the same invocation id again while the answer is retriable.
    pub async fn call(&self, at: usize, call: Call) -> Reply {
        let invocation = self.invocation();
        for _ in 0..20 {
            self.mend().await;
            match self.region(at).call(&caller(Some(invocation.clone())), call.clone()).await {
                Ok(reply) => return reply,
                Err(error) if error.kind() == ErrorKind::CloudHsmInternalFailure => {}
                Err(error) => panic!("{}: {error}", call.operation().name()),
            }
        }
        panic!("{} has no answer", call.operation().name());
    }

    /// Polls until `found` says something.
    pub async fn wait<T>(&self, what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
        for _ in 0..2_000 {
            self.mend().await;
            if let Some(value) = found().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let jobs: Vec<_> =
            (0..2).map(|at| self.database(at).read_blocking(strongroom_store::control::jobs::all)).collect();
        let crossings = self.faults.crossings();
        let last = &crossings[crossings.len().saturating_sub(60)..];
        panic!("{what}: does not come; {jobs:?} last crossings: {}", last.join("; "));
    }
}

pub fn caller(invocation_id: Option<String>) -> Caller {
    let (account, principal) = (AccountId::new("000000000000"), "arn:aws:iam::000000000000:user/test");
    Caller {
        authority: Authority::everything(&account, principal, "AIDASTRONGROOMDEVTEST"),
        account,
        principal: principal.into(),
        access_key: "test".into(),
        source_ip: "127.0.0.1".into(),
        request_id: "request".into(),
        invocation_id,
        user_agent: None,
        is_secure: false,
    }
}

/// The size of a folder's files, for tests that watch bytes go.
pub fn files(path: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.flatten().map(|e| if e.path().is_dir() { files(&e.path()) } else { 1 }).sum()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Loops of a world that nobody looks at any more would go on beside the next one.
        for slot in self.slots.iter() {
            if let Some((region, _)) = slot.write().unwrap().take() {
                region.stop();
            }
        }
    }
}
