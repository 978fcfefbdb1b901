//! Addresses that come and go: the sign that a network is back.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::UnixDatagram;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Most messages thrown away at once.
const MOST_FORGOTTEN: usize = 10_000;

/// Pause after an error.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(1);

/// Hears of changes of the machine's addresses and routes.
pub(super) struct NetworkChanges {
    /// A datagram socket of another family; tokio has none of this one, and receiving is
    /// the same.
    socket: Option<UnixDatagram>,
}

impl NetworkChanges {
    /// Where the kernel does not say, nothing is ever heard.
    pub(super) fn listen() -> NetworkChanges {
        let socket = (|| {
            let socket = rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::DGRAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                // NETLINK_ROUTE is 0.
                None,
            )?;
            rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            UnixDatagram::from_std(socket.into())
        })();
        if let Err(error) = &socket {
            tracing::debug!(%error, "changes of the network are not heard of");
        }
        NetworkChanges {
            socket: socket.ok(),
        }
    }

    /// What was heard until now does not matter any more.
    pub(super) fn forget(&mut self) {
        let mut buffer = [0; 8192];
        if let Some(socket) = &self.socket {
            // Lost changes are reported once, and read on behind.
            for _ in 0..MOST_FORGOTTEN {
                match socket.try_recv(&mut buffer) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                    _ => {}
                }
            }
        }
    }

    /// Waits for a change; what it is does not matter.
    pub(super) async fn next(&mut self) {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        let mut buffer = [0; 8192];
        if socket.recv(&mut buffer).await.is_err() {
            // There was more than the socket could hold.
            tokio::time::sleep(SETTLE).await;
        }
        while socket.try_recv(&mut buffer).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn nothing_is_heard_while_nothing_happens() {
        let mut changes = NetworkChanges::listen();
        assert!(changes.socket.is_some());
        // Whatever happens meanwhile, waiting neither fails nor spins.
        for _ in 0..3 {
            let _ = tokio::time::timeout(Duration::from_millis(20), changes.next()).await;
        }
    }
}
