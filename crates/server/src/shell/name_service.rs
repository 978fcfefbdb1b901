//! The NetBIOS name service (UDP 137): old clients ask a node for its names
//! before they open the session service, even when they were given an address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use countersign_core::Server;
use countersign_wire::nbns::{Query, own_names};
use tokio::net::UdpSocket;

use super::ListenError;

/// Longest query read; a real one has 50 bytes and a scope at most 255 more.
const LONGEST_QUERY: usize = 512;

/// A bound name service.
pub struct NameService {
    socket: UdpSocket,
    server: Arc<Server>,
}

impl NameService {
    /// Binds an IPv4 address (NetBIOS knows no other). Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`] names the address that could not be bound.
    pub fn bind(address: SocketAddr, server: Arc<Server>) -> Result<Self, ListenError> {
        let bind = || {
            let socket = std::net::UdpSocket::bind(address)?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket)
        };
        let socket = bind().map_err(|source| ListenError { address, source })?;
        Ok(Self { socket, server })
    }

    /// The address served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Answers queries until dropped.
    pub async fn serve(self) {
        let mut buffer = [0; LONGEST_QUERY];
        loop {
            let (length, peer) = match self.socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // An ICMP error of an earlier answer; it concerns nobody here.
                    tracing::debug!(%error, "name service");
                    continue;
                }
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            let Ok(query) = Query::decode(datagram) else {
                continue;
            };
            let names = {
                let config = self.server.config.load();
                own_names(&config.netbios_name, &config.workgroup)
            };
            let Some(own) = self.address_towards(peer) else {
                continue;
            };
            if let Some(answer) = query.answer(&names, own.octets()) {
                let _ = self.socket.send_to(&answer, peer).await;
            }
        }
    }

    /// Our address as the peer sees it.
    fn address_towards(&self, peer: SocketAddr) -> Option<Ipv4Addr> {
        let bound = self.socket.local_addr().ok()?.ip();
        let ip = if bound.is_unspecified() {
            let probe = std::net::UdpSocket::bind((bound, 0)).ok()?;
            probe.connect(peer).ok()?;
            probe.local_addr().ok()?.ip()
        } else {
            bound
        };
        match ip {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_wire::nbns::Question;
    use countersign_wire::nbss::NetBiosName;

    #[tokio::test]
    async fn a_node_status_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let backend: Arc<dyn countersign_fs::Backend> =
            countersign_localfs::LocalFs::open(folder.path(), Default::default()).unwrap();
        let config = countersign_testkit::memory::config(Default::default(), &backend);
        let server = countersign_testkit::memory::MemoryServer::new(config).server;
        let service = NameService::bind("127.0.0.1:0".parse().unwrap(), server).unwrap();
        let address = service.address().unwrap();
        let serving = tokio::spawn(service.serve());
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut star = [0; 16];
        star[0] = b'*';
        let query = Query {
            transaction: 9,
            recursion_desired: false,
            question: Question::Status(NetBiosName(star)),
        };
        client.send_to(b"nonsense", address).await.unwrap();
        client.send_to(&query.encode(), address).await.unwrap();
        let mut answer = [0; 512];
        let wait =
            tokio::time::timeout(std::time::Duration::from_secs(10), client.recv(&mut answer));
        let length = wait.await.unwrap().unwrap();
        assert_eq!(answer[..2], [0, 9]);
        assert!(length > 100);
        serving.abort();
    }
}
