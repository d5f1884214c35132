//! Who listens on a port of this machine, and how much memory a process holds; both from /proc. Finds only what
//! the caller may see: a process of another user stays hidden unless the caller is root.

use std::{fs, net::IpAddr, path::PathBuf};

/// The process that listens on this port, if `host` is this machine and we may see it.
pub fn listener(host: &str, port: u16) -> Option<u32> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !local {
        return None;
    }
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let holds = fs::read_dir(entry.path().join("fd")).ok()?.flatten().any(|fd| {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target))
        });
        holds.then_some(pid)
    })
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let path: PathBuf = ["/proc", &pid.to_string(), "status"].iter().collect();
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Inodes of the sockets of this table that listen on the port.
fn listening(table: &str, port: u16) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let matches = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTENING;
            matches.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .collect()
}

/// State of a listening socket in the table.
const LISTENING: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_find_ourselves() {
        let listener_socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener_socket.local_addr().unwrap().port();
        assert_eq!(listener("127.0.0.1", port), Some(std::process::id()));
        assert_eq!(listener("192.0.2.1", port), None);
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }
}
