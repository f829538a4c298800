//! Owns how `dev` gets its addresses: the endpoint, and the links of its regions. An address that is taken is told with who
//! has it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::folder::RegionEntry;
use crate::problem::{Exit, Problem};

/// The port of a region's link, on the first address of its network.
const LINK_PORT: u16 = 4226;

/// Listens for API calls.
pub(super) async fn endpoint(address: SocketAddr) -> Result<TcpListener, Problem> {
    if !address.ip().is_loopback() {
        return Err(Problem::new("not-loopback", format!("dev does not listen on {}", address.ip()))
            .cause("its credentials are fixed and its connections are not encrypted")
            .help("listen on a loopback address:  strongroom dev --listen 127.0.0.1:4225")
            .exit(Exit::Usage));
    }
    TcpListener::bind(address).await.map_err(|error| not_bound(address, &error))
}

fn not_bound(address: SocketAddr, error: &io::Error) -> Problem {
    let other = SocketAddr::new(address.ip(), address.port().checked_add(100).unwrap_or(0));
    let slug = if error.kind() == io::ErrorKind::AddrInUse { "port-in-use" } else { "cannot-listen" };
    let cause = match (error.kind(), listener(address.port())) {
        (io::ErrorKind::AddrInUse, Some(holder)) => format!("{holder} listens there"),
        (io::ErrorKind::AddrInUse, None) => "another process listens there".to_owned(),
        _ => error.to_string(),
    };
    Problem::new(slug, format!("cannot listen on {address}"))
        .cause(cause)
        .help(format!("strongroom dev --listen {other}"))
}

/// Listens for a region's peers: where it did before, else on the first address of its network, else, where such addresses
/// cannot be bound, on a free port.
pub(super) async fn link(region: &RegionEntry) -> Result<TcpListener, Problem> {
    let refused = |address: &str, error: &io::Error| {
        Problem::new("link-in-use", format!("the region link of {} cannot listen on {address}", region.name))
            .cause(error)
            .help("its peers know this address; stop who listens there")
    };
    if let Some(address) = &region.link {
        return TcpListener::bind(address).await.map_err(|error| refused(address, &error));
    }
    let [a, b, c] = region.network;
    let own = SocketAddr::from(([a, b, c, 1], LINK_PORT));
    match TcpListener::bind(own).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            TcpListener::bind(free).await.map_err(|error| refused(&free.to_string(), &error))
        }
        Err(error) => Err(refused(&own.to_string(), &error)),
    }
}

/// Whether the addresses of a network can be bound on this system.
pub(super) fn can_bind([a, b, c]: [u8; 3]) -> bool {
    std::net::TcpListener::bind((IpAddr::from([a, b, c, 2]), 0)).is_ok()
}

/// `pid 902 (python3)`: who listens on a port, as far as /proc tells.
fn listener(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listening_inode(line, port))
    })?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let holder = processes.filter(|process| process.join("fd").is_dir()).find(|process| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().filter_map(Result::ok);
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target.as_os_str() == socket.as_str())
    })?;
    let name = fs::read_to_string(holder.join("comm")).ok()?;
    Some(format!("pid {} ({})", holder.file_name()?.to_string_lossy(), name.trim_end()))
}

/// The inode of a line of /proc/net/tcp that is about a listener on this port.
fn listening_inode(line: &str, port: u16) -> Option<&str> {
    const LISTENING: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let is_it = u16::from_str_radix(local, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
    fields.get(9).copied().filter(|_| is_it)
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

    #[test]
    fn listeners_are_found_in_the_table() {
        let line = "   1: 0100007F:1081 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 48213 1 0";
        assert_eq!(listening_inode(line, 4225), Some("48213"));
        assert_eq!(listening_inode(line, 4226), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 4225), None);
        assert_eq!(listening_inode("  sl  local_address rem_address   st", 4225), None);
    }
}
