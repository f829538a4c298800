//! Owns the socket on which the API process calls: a Unix socket in a folder of this user's alone, where the peer's user id
//! is checked besides. A connection is a thread; its first call is `Hello`, which binds it to a region.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use strongroom_hsm::host::{ChunkIo, Cut, Host};
use strongroom_link::host::{Answer, Call, Chunk, Failure, FailureCode, Request};

use super::frames;
use super::process::Activity;
use super::region::HostRegion;

/// Binds the socket. One that a former process left behind is replaced.
///
/// # Errors
/// What the system said.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts connections until the process ends.
pub(super) fn accept(listener: &UnixListener, regions: &Arc<[HostRegion]>, activity: &Arc<Activity>) {
    for stream in listener.incoming() {
        // Out of descriptors, for the moment.
        let Ok(stream) = stream else {
            std::thread::sleep(std::time::Duration::from_millis(50));
            continue;
        };
        let (regions, activity) = (regions.clone(), activity.clone());
        let serve = move || {
            if let Err(cause) = serve(stream, &regions, &activity) {
                tracing::debug!(kind = "host", "a connection of the API process ended: {cause}");
            }
        };
        if let Err(cause) = std::thread::Builder::new().name("host-connection".into()).spawn(serve) {
            tracing::error!(kind = "host", "a connection of the API process cannot be served: {cause}");
        }
    }
}

fn serve(mut stream: UnixStream, regions: &[HostRegion], activity: &Arc<Activity>) -> io::Result<()> {
    if !is_own_user(&stream)? {
        tracing::warn!(kind = "host", "another user tried to call the HSM host");
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let Some(Request { call, .. }) = frames::read_sealed(&mut stream)? else { return Ok(()) };
    let host = match greet(regions, &call) {
        Ok(host) => host,
        Err(failure) => return frames::write_sealed(&mut stream, &Answer::Failed(failure)),
    };
    let mut next = Some(Request { rid: [0; 16], call });
    while let Some(Request { rid, call }) = next {
        tracing::trace!(kind = "host", "call {}", strongroom_model::id::hex(&rid));
        let Some(running) = activity.begin() else { return Ok(()) };
        // The end of the process does not wait for those who wait for outbox rows: nothing is lost with them.
        let running = (!matches!(call, Call::OutboxRead { .. })).then_some(running);
        let mut chunks = Chunks { stream: &mut stream, cut: false };
        let answer = host.answer(call, &mut chunks);
        let cut = chunks.cut;
        frames::write_sealed(&mut stream, &answer)?;
        drop(running);
        if cut {
            return Ok(());
        }
        next = frames::read_sealed(&mut stream)?;
    }
    Ok(())
}

fn greet(regions: &[HostRegion], call: &Call) -> Result<Arc<Host>, Failure> {
    let wrong = |text: String| Failure { code: FailureCode::WrongRegion, text };
    let Call::Hello { region: name, .. } = call else {
        return Err(wrong("a connection begins with Hello".into()));
    };
    let region = regions.iter().find(|region| region.name().as_str() == name);
    region.ok_or_else(|| wrong(format!("this HSM host does not have {name}")))?.host(call)
}

#[cfg(target_os = "linux")]
fn is_own_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid == rustix::process::geteuid())
}

/// Elsewhere the folder's mode is what keeps others out.
#[cfg(not(target_os = "linux"))]
fn is_own_user(_: &UnixStream) -> io::Result<bool> {
    Ok(true)
}

struct Chunks<'a> {
    stream: &'a mut UnixStream,
    /// The connection must end after the answer.
    cut: bool,
}

impl ChunkIo for Chunks<'_> {
    fn send(&mut self, chunk: Chunk) -> Result<(), Cut> {
        frames::write_sealed(self.stream, &Answer::Chunk(chunk)).map_err(|_| self.lost())
    }

    fn receive(&mut self) -> Result<Chunk, Cut> {
        frames::read_sealed(self.stream).ok().flatten().ok_or_else(|| self.lost())
    }

    fn abandon(&mut self) {
        self.cut = true;
    }
}

impl Chunks<'_> {
    fn lost(&mut self) -> Cut {
        self.cut = true;
        Cut
    }
}
