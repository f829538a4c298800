//! Owns the engine's port [`Hsms`] over the socket of the HSM host: a pool of connections, each bound to one region by its
//! `Hello`, each with one call at a time. A connection that failed is dropped; a call that met one that had gone stale in
//! the pool is asked once more on a new one, which is harmless since calls are idempotent.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};
use strongroom_engine::ports::{
    Admitted, ChunkSink, ChunkSource, Facts, Hsms, HsmsCode, HsmsError, Identity, OutboxEvent, OutboxRow, Served,
    Snapshot,
};
use strongroom_link::frame;
use strongroom_link::host::{self, Answer, Call, Chunk, FailureCode, Hello, Request, VERSION};
use strongroom_model::cluster::ClusterMode;
use strongroom_model::{BackupId, ClusterId, CopyId, HsmId, RegionId, RegionName, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Connections to the host at once; others wait.
const CONNECTIONS: usize = 32;
/// How long the host may take for an answer or to take a frame.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to settle a payload that it has read.
const STREAM_TIMEOUT: Duration = Duration::from_secs(300);

/// What the control store knows of its region, told in each `Hello`.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The RegionId, if it knows one.
    pub region_id: Option<RegionId>,
    /// Fingerprints of the roots that it knows.
    pub roots: Vec<String>,
    /// Whether it holds no cluster and no backup.
    pub is_empty: bool,
}

/// The HSM host of one region.
pub struct HsmHost {
    socket: PathBuf,
    region: RegionName,
    known: Mutex<Known>,
    idle: Mutex<Vec<UnixStream>>,
    room: Semaphore,
    is_up: AtomicBool,
}

impl HsmHost {
    /// The host behind a socket; nothing is connected yet.
    pub fn new(socket: PathBuf, region: RegionName, known: Known) -> Self {
        Self {
            socket,
            region,
            known: Mutex::new(known),
            idle: Mutex::default(),
            room: Semaphore::new(CONNECTIONS),
            is_up: AtomicBool::new(false),
        }
    }

    /// Greets the host on a new connection: who it is for this region.
    ///
    /// # Errors
    /// [`HsmsCode::HostDown`] if it does not answer; [`HsmsCode::Invalid`] if it refuses this control store.
    pub async fn hello(&self) -> Result<Hello, HsmsError> {
        let (stream, hello) = self.dial().await?;
        lock(&self.idle).push(stream);
        Ok(hello)
    }

    /// Later greetings say that the control store has taken this over from the host.
    pub fn learn(&self, hello: &Hello) {
        let mut known = lock(&self.known);
        known.region_id = Some(RegionId::new(&hello.region_id));
        known.roots.clone_from(&hello.roots);
    }

    async fn dial(&self) -> Result<(UnixStream, Hello), HsmsError> {
        let known = lock(&self.known).clone();
        let call = Call::Hello {
            version: VERSION,
            region: self.region.to_string(),
            region_id: known.region_id.map(|id| id.to_string()),
            roots: known.roots,
            control_is_empty: known.is_empty,
        };
        let greeted = timeout(TIMEOUT, async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            send(&mut stream, &self.request(call)).await?;
            let answer = receive(&mut stream).await?;
            io::Result::Ok((stream, answer))
        });
        let (stream, answer) =
            greeted.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| self.down(&e))?;
        match answer {
            Answer::Hello(hello) => {
                self.is_up.store(true, Ordering::Release);
                Ok((stream, hello))
            }
            other => Err(unexpected(other)),
        }
    }

    /// Asks a call that is one frame, for an answer that is one frame.
    async fn ask(&self, call: Call) -> Result<Answer, HsmsError> {
        let wait = match &call {
            Call::OutboxRead { wait_ms, .. } => TIMEOUT + Duration::from_millis((*wait_ms).into()),
            _ => TIMEOUT,
        };
        let request = self.request(call);
        let mut line = self.line().await?;
        loop {
            match line.exchange(&request, wait).await {
                Ok(answer) => {
                    self.keep(line);
                    return Ok(answer);
                }
                Err(error) if line.was_idle && error.kind() != io::ErrorKind::TimedOut => {
                    line = self.redial(line).await?;
                }
                Err(error) => return Err(self.down(&error)),
            }
        }
    }

    /// Begins a call with a stream of chunks, on a connection that is known to be open.
    async fn begin(&self, call: Call) -> Result<Line<'_>, HsmsError> {
        let request = self.request(call);
        let mut line = self.line().await?;
        while let Err(error) = line.send(&request).await {
            if !line.was_idle {
                return Err(self.down(&error));
            }
            line = self.redial(line).await?;
        }
        Ok(line)
    }

    /// A call that is followed by the chunks of a payload.
    async fn stream(&self, call: Call, source: &mut dyn ChunkSource) -> Result<Facts, HsmsError> {
        let mut line = self.begin(call).await?;
        let mut n = 0;
        while let Some(bytes) = source.next().await? {
            if line.send(&Chunk { n, bytes }).await.is_err() {
                // The host may have answered and closed before it read everything.
                break;
            }
            n += 1;
        }
        let answer = line.receive(STREAM_TIMEOUT).await.map_err(|e| self.down(&e))?;
        match answer {
            Answer::Facts(facts) => {
                self.keep(line);
                Ok(facts_from(facts))
            }
            other => Err(unexpected(other)),
        }
    }

    async fn line(&self) -> Result<Line<'_>, HsmsError> {
        let place = self.room.acquire().await.expect("never closed");
        let idle = lock(&self.idle).pop();
        match idle {
            Some(stream) => Ok(Line { stream, was_idle: true, _place: place }),
            None => Ok(Line { stream: self.dial().await?.0, was_idle: false, _place: place }),
        }
    }

    async fn redial<'a>(&self, stale: Line<'a>) -> Result<Line<'a>, HsmsError> {
        // If one went stale, all did: the host was started anew.
        lock(&self.idle).clear();
        Ok(Line { stream: self.dial().await?.0, was_idle: false, ..stale })
    }

    fn keep(&self, line: Line<'_>) {
        self.is_up.store(true, Ordering::Release);
        lock(&self.idle).push(line.stream);
    }

    fn down(&self, cause: &io::Error) -> HsmsError {
        self.is_up.store(false, Ordering::Release);
        let text = match cause.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "the HSM host is not running".to_owned(),
            io::ErrorKind::TimedOut => "the HSM host does not answer".to_owned(),
            _ => format!("the connection to the HSM host was cut: {cause}"),
        };
        HsmsError::new(HsmsCode::HostDown, text)
    }

    fn request(&self, call: Call) -> Request {
        let region = lock(&self.known).region_id.clone().unwrap_or_default();
        let name = format!("strongroom request{region}{}", name(&call));
        let rid = digest(&SHA256, name.as_bytes()).as_ref()[..16].try_into().expect("16 of 32 bytes");
        Request { rid, call }
    }
}

/// Names a call by what it is about, for the logs of both sides.
fn name(call: &Call) -> String {
    match call {
        Call::CreateIdentity { cluster, .. } => format!("create-identity {cluster}"),
        Call::InstallCertificate { cluster, .. } => format!("install-certificate {cluster}"),
        Call::Serve { hsm, .. } => format!("serve {hsm}"),
        Call::Withdraw { hsm, .. } => format!("withdraw {hsm}"),
        Call::Snapshot { backup, .. } => format!("snapshot {backup}"),
        Call::Rewrap { copy, .. } => format!("re-wrap {copy}"),
        Call::Admit { copy, .. } => format!("admit {copy}"),
        Call::Install { cluster, .. } => format!("install {cluster}"),
        Call::Destroy { cluster } => format!("destroy {cluster}"),
        Call::OutboxAck { seq } => format!("outbox-ack {seq}"),
        Call::OutboxRead { cursor, .. } => format!("outbox-read {cursor}"),
        Call::Hello { .. } => "hello".into(),
        Call::CheckCertificates { .. } => "check-certificates".into(),
        Call::Check { .. } => "check".into(),
        Call::Reseal { .. } => "reseal".into(),
        Call::Facts => "facts".into(),
    }
}

/// A connection that is in use.
struct Line<'a> {
    stream: UnixStream,
    was_idle: bool,
    _place: SemaphorePermit<'a>,
}

impl Line<'_> {
    async fn exchange(&mut self, request: &Request, wait: Duration) -> io::Result<Answer> {
        self.send(request).await?;
        self.receive(wait).await
    }

    async fn send<M: Encode<()>>(&mut self, message: &M) -> io::Result<()> {
        in_time(TIMEOUT, send(&mut self.stream, message)).await
    }

    async fn receive(&mut self, wait: Duration) -> io::Result<Answer> {
        in_time(wait, receive(&mut self.stream)).await
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn send<M: Encode<()>>(stream: &mut UnixStream, message: &M) -> io::Result<()> {
    let frame = frame::encode_sealed(message).map_err(invalid)?;
    stream.write_all(&frame).await
}

async fn receive<M: for<'b> Decode<'b, ()>>(stream: &mut UnixStream) -> io::Result<M> {
    let mut header = [0; frame::HEADER_LENGTH];
    stream.read_exact(&mut header).await?;
    let mut body = vec![0; frame::length(header).map_err(invalid)?];
    stream.read_exact(&mut body).await?;
    frame::decode(&body).map_err(invalid)
}

fn invalid(error: frame::FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A failure, or an answer to another question.
fn unexpected(answer: Answer) -> HsmsError {
    match answer {
        Answer::Failed(failure) => HsmsError::new(code(failure.code), failure.text),
        _ => HsmsError::new(HsmsCode::HostDown, "the HSM host answered another question"),
    }
}

fn code(code: FailureCode) -> HsmsCode {
    match code {
        FailureCode::Busy => HsmsCode::Busy,
        FailureCode::NoSpace => HsmsCode::NoSpace,
        FailureCode::VaultFailed => HsmsCode::VaultFailed,
        FailureCode::KeyRetired => HsmsCode::KeyRetired,
        FailureCode::KeyUnknown => HsmsCode::KeyUnknown,
        FailureCode::Unpinned => HsmsCode::Unpinned,
        FailureCode::Conflict => HsmsCode::Conflict,
        FailureCode::Gone => HsmsCode::Gone,
        FailureCode::Unknown => HsmsCode::Unknown,
        FailureCode::Damaged => HsmsCode::Damaged,
        FailureCode::DoesNotOpen => HsmsCode::DoesNotOpen,
        FailureCode::Rejected => HsmsCode::Rejected,
        FailureCode::Invalid => HsmsCode::Invalid,
        // Told at the greeting of a connection: the host is another one than before, which no job takes as final.
        FailureCode::WrongRegion => HsmsCode::HostDown,
    }
}

/// Takes the one answer that fits, or says what came instead.
macro_rules! expect {
    ($answer:expr, $pattern:pat => $value:expr) => {
        match $answer {
            $pattern => Ok($value),
            other => Err(unexpected(other)),
        }
    };
}

#[async_trait]
impl Hsms for HsmHost {
    async fn create_identity(
        &self,
        cluster: &ClusterId,
        mode: ClusterMode,
        first_hsm: &HsmId,
    ) -> Result<Identity, HsmsError> {
        let (cluster, mode, first_hsm) = (cluster.to_string(), mode.to_string(), first_hsm.to_string());
        let answer = self.ask(Call::CreateIdentity { cluster, mode, first_hsm }).await?;
        expect!(answer, Answer::Identity(identity) => Identity {
            csr: identity.csr,
            hsm_certificate: identity.hsm_certificate,
            hardware_certificate: identity.hardware_certificate,
            manufacturer_certificate: identity.manufacturer_certificate,
        })
    }

    async fn check_certificates(&self, csr: &str, signed_cert: &str, trust_anchor: &str) -> Result<(), HsmsError> {
        let (csr, signed_cert, trust_anchor) = (csr.into(), signed_cert.into(), trust_anchor.into());
        expect!(self.ask(Call::CheckCertificates { csr, signed_cert, trust_anchor }).await?, Answer::Done => ())
    }

    async fn install_certificate(
        &self,
        cluster: &ClusterId,
        signed_cert: &str,
        trust_anchor: &str,
    ) -> Result<(), HsmsError> {
        let (cluster, signed_cert, trust_anchor) = (cluster.to_string(), signed_cert.into(), trust_anchor.into());
        expect!(self.ask(Call::InstallCertificate { cluster, signed_cert, trust_anchor }).await?, Answer::Done => ())
    }

    async fn serve(&self, cluster: &ClusterId, hsm: &HsmId, address: &str) -> Result<Served, HsmsError> {
        let call = Call::Serve { cluster: cluster.to_string(), hsm: hsm.to_string(), address: address.into() };
        expect!(self.ask(call).await?, Answer::Served { bound, address, port, key_digest } => Served { bound, address, port, key_digest })
    }

    async fn withdraw(&self, cluster: &ClusterId, hsm: &HsmId) -> Result<(), HsmsError> {
        let call = Call::Withdraw { cluster: cluster.to_string(), hsm: hsm.to_string() };
        expect!(self.ask(call).await?, Answer::Done => ())
    }

    async fn snapshot(
        &self,
        cluster: &ClusterId,
        backup: &BackupId,
        hsm_type: &str,
        created_at: Timestamp,
        sink: &mut dyn ChunkSink,
    ) -> Result<Snapshot, HsmsError> {
        let (cluster, backup, hsm_type) = (cluster.to_string(), backup.to_string(), hsm_type.into());
        let call = Call::Snapshot { cluster, backup, hsm_type, created_at: created_at.millis() };
        let mut line = self.begin(call).await?;
        loop {
            match line.receive(TIMEOUT).await.map_err(|e| self.down(&e))? {
                Answer::Chunk(chunk) => sink.put(chunk.n, chunk.bytes).await?,
                Answer::Snapshot { body, header, facts } => {
                    self.keep(line);
                    return Ok(Snapshot { body, header, facts: facts_from(facts) });
                }
                other => return Err(unexpected(other)),
            }
        }
    }

    async fn check(&self, header: &[u8], body: &[u8], source: &mut dyn ChunkSource) -> Result<Facts, HsmsError> {
        self.stream(Call::Check { header: header.into(), body: body.into() }, source).await
    }

    async fn rewrap(
        &self,
        copy: &CopyId,
        backup: &BackupId,
        header: &[u8],
        body: &[u8],
        destination: &RegionId,
    ) -> Result<Vec<u8>, HsmsError> {
        let (copy, backup, destination) = (copy.to_string(), backup.to_string(), destination.to_string());
        let call = Call::Rewrap { copy, backup, header: header.into(), body: body.into(), destination };
        expect!(self.ask(call).await?, Answer::Envelope(envelope) => envelope)
    }

    async fn admit(
        &self,
        peer: &RegionId,
        copy: &CopyId,
        envelope: &[u8],
        body: &[u8],
        payload: Option<&[u8]>,
    ) -> Result<Admitted, HsmsError> {
        let (peer, copy, payload) = (peer.to_string(), copy.to_string(), payload.map(<[u8]>::to_vec));
        let call = Call::Admit { peer, envelope: envelope.into(), body: body.into(), copy, payload };
        expect!(self.ask(call).await?,
            Answer::Admitted { header, facts } => Admitted { header, facts: facts_from(facts) })
    }

    async fn install(
        &self,
        cluster: &ClusterId,
        header: &[u8],
        body: &[u8],
        source: &mut dyn ChunkSource,
    ) -> Result<Facts, HsmsError> {
        let call = Call::Install { cluster: cluster.to_string(), header: header.into(), body: body.into() };
        self.stream(call, source).await
    }

    async fn destroy(&self, cluster: &ClusterId) -> Result<(), HsmsError> {
        expect!(self.ask(Call::Destroy { cluster: cluster.to_string() }).await?, Answer::Done => ())
    }

    async fn outbox_read(&self, cursor: u64, wait: Duration) -> Result<Vec<OutboxRow>, HsmsError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        expect!(self.ask(Call::OutboxRead { cursor, wait_ms }).await?,
            Answer::Outbox(rows) => rows.into_iter().map(outbox_row).collect())
    }

    async fn outbox_ack(&self, seq: u64) -> Result<(), HsmsError> {
        expect!(self.ask(Call::OutboxAck { seq }).await?, Answer::Done => ())
    }

    fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }
}

fn outbox_row(row: host::OutboxRow) -> OutboxRow {
    let event = match row.event {
        host::OutboxEvent::Activated => OutboxEvent::Activated,
        host::OutboxEvent::Changed(version) => OutboxEvent::Changed(version),
        host::OutboxEvent::Health(damage) => OutboxEvent::Health(damage),
    };
    OutboxRow { seq: row.seq, cluster: ClusterId::new(row.cluster), event }
}

fn facts_from(facts: host::Facts) -> Facts {
    Facts {
        origin: facts.origin,
        backup: facts.backup,
        cluster: facts.cluster,
        lineage: facts.lineage,
        mode: facts.mode,
        hsm_type: facts.hsm_type,
        created_at: facts.created_at,
        users: facts.users,
        keys: facts.keys,
        bytes: facts.bytes,
        chunk_size: facts.chunk_size,
        chunk_digests: facts.chunk_digests,
        digest: facts.digest,
        cluster_certificate: facts.cluster_certificate,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
