//! Owns how `dev` gets its addresses: the endpoint, and the links of its regions. An address that is taken is told with who
//! has it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::folder::{RegionEntry, next_network};
use crate::port_holder;
use crate::problem::{Exit, Problem};

/// The port of a region's link, on the first address of its network.
const LINK_PORT: u16 = 4226;

/// Listens for API calls.
pub(super) async fn endpoint(address: SocketAddr) -> Result<TcpListener, Problem> {
    loopback(address, "--listen").await
}

/// Listens for those who watch.
pub(super) async fn monitoring(address: SocketAddr) -> Result<TcpListener, Problem> {
    loopback(address, "--monitoring").await
}

async fn loopback(address: SocketAddr, flag: &str) -> Result<TcpListener, Problem> {
    if !address.ip().is_loopback() {
        return Err(Problem::new("not-loopback", format!("dev does not listen on {}", address.ip()))
            .cause("its credentials are fixed and its connections are not encrypted")
            .help(format!("listen on a loopback address:  strongroom dev {flag} 127.0.0.1:{}", address.port()))
            .exit(Exit::Usage));
    }
    TcpListener::bind(address).await.map_err(|error| not_bound(address, flag, &error))
}

fn not_bound(address: SocketAddr, flag: &str, error: &io::Error) -> Problem {
    let other = SocketAddr::new(address.ip(), address.port().checked_add(100).unwrap_or(0));
    let slug = if error.kind() == io::ErrorKind::AddrInUse { "port-in-use" } else { "cannot-listen" };
    let cause = match (error.kind(), port_holder::find(address)) {
        (io::ErrorKind::AddrInUse, Some((pid, name))) => format!("pid {pid} ({name}) listens there"),
        (io::ErrorKind::AddrInUse, None) => "another process listens there".to_owned(),
        _ => error.to_string(),
    };
    Problem::new(slug, format!("cannot listen on {address}"))
        .cause(cause)
        .help(format!("strongroom dev {flag} {other}"))
}

/// Listens for a region's peers: where it did before, else on the first address of its network, which is another one if
/// somebody has that already; where such addresses cannot be bound, on a free port.
pub(super) async fn link(region: &mut RegionEntry) -> Result<TcpListener, Problem> {
    if let Some(address) = &region.link {
        return TcpListener::bind(address).await.map_err(|error| {
            Problem::new("link-in-use", format!("the region link of {} cannot listen on {address}", region.name))
                .cause(error)
                .help("its peers know this address; stop who listens there")
        });
    }
    let mut bound = TcpListener::bind(own_link(region.network)).await;
    while bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse) {
        region.network = next_network(region.network);
        bound = TcpListener::bind(own_link(region.network)).await;
    }
    let bound = match bound {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    };
    let listener = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = listener.map_err(|error| {
        Problem::new("no-link", format!("no address for the region link of {} can be bound", region.name)).cause(error)
    })?;
    region.link = Some(address.to_string());
    Ok(listener)
}

fn own_link([a, b, c]: [u8; 3]) -> SocketAddr {
    SocketAddr::from(([a, b, c, 1], LINK_PORT))
}

/// Whether the addresses of a network can be bound on this system.
pub(super) fn can_bind([a, b, c]: [u8; 3]) -> bool {
    std::net::TcpListener::bind((IpAddr::from([a, b, c, 2]), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_told_with_its_holder() {
        let holder = endpoint("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = holder.local_addr().unwrap();
        let problem = endpoint(address).await.unwrap_err();
        assert_eq!(problem.slug(), "port-in-use");
        let pid = format!("cause: pid {} (", std::process::id());
        assert!(!cfg!(target_os = "linux") || problem.to_string().contains(&pid), "{problem}");
    }

    #[tokio::test]
    async fn dev_stays_on_loopback() {
        let problem = endpoint("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
        assert_eq!((problem.slug(), problem.exit_code()), ("not-loopback", Exit::Usage));
    }
}
