//! resolv.conf(5), as far as it names servers.

use std::net::{IpAddr, SocketAddr};

/// Most name servers used, as the C library has it.
const MOST: usize = 3;

/// The name servers of the file's text.
pub(super) fn servers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let line = line.split(['#', ';']).next()?;
            let mut words = line.split_whitespace();
            if words.next()? != "nameserver" {
                return None;
            }
            // A scope (`fe80::1%eth0`) needs the interface's number; such servers are left out.
            let address: IpAddr = words.next()?.parse().ok()?;
            Some(SocketAddr::new(address, 53))
        })
        .take(MOST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers() {
        let text = "# x\nsearch lab.example\nnameserver 10.53.0.1 # y\n\nnameserver ::1\noptions edns0\nnameserver fe80::1%eth0\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n";
        let shown: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.53.0.1:53", "[::1]:53", "1.1.1.1:53"]);
        assert!(servers("").is_empty());
    }
}
