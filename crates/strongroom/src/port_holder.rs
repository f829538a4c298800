//! Owns the answer to "who listens there already?", for an error that helps. Linux only; elsewhere nobody is named.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Process id and name of who listens on a TCP address, if that can be found out.
pub fn find(address: SocketAddr) -> Option<(u32, String)> {
    let inode = listening_inode(address)?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| holds(Path::new(&format!("/proc/{pid}/fd")), &wanted))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim_end().to_owned()))
}

fn holds(folder: &Path, wanted: &str) -> bool {
    let open = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| target.as_os_str() == wanted)
}

/// The socket's inode from `/proc/net/tcp`: lines of `n: ADDRESS:PORT PEER STATE …`, the tenth word being the inode.
fn listening_inode(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(v4) = address else { return None };
    let exact = format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port());
    let any = format!("00000000:{:04X}", v4.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = [&exact, &any].iter().any(|a| words.get(1) == Some(&a.as_str())) && words.get(3) == Some(&LISTEN);
        is_it.then(|| words.get(9).map(|inode| (*inode).to_owned())).flatten()
    })
}

/// The state of a listening socket.
const LISTEN: &str = "0A";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_holder_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(find(address).unwrap().0, std::process::id());
        drop(listener);
        assert_eq!(find(address), None);
    }
}
