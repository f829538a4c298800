//! Owns how a TCP connection of the link is kept honest: a peer whose machine or line has died is noticed within about ten
//! seconds, on a silent connection (keep-alive) as on a busy one (unacknowledged bytes).

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Silence after which the peer is probed.
const PROBE_AFTER: Duration = Duration::from_secs(4);
/// The time between probes.
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// Unanswered probes after which the line is dead.
const PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Sets the options of a new connection.
///
/// # Errors
/// What the system said.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED_MAX.as_millis() as u32)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_dead_line_is_noticed_within_ten_seconds() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let probed = sockopt::tcp_keepintvl(&stream).unwrap() * sockopt::tcp_keepcnt(&stream).unwrap();
        assert!(sockopt::tcp_keepidle(&stream).unwrap() + probed <= Duration::from_secs(10));
        #[cfg(target_os = "linux")]
        assert!(sockopt::tcp_user_timeout(&stream).unwrap() <= 10_000);
    }
}
