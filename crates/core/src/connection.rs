//! One connection: frames and events in, frames out.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_wire::FileTime;

/// Time, as the shell sees it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock.
    pub wall: FileTime,
    /// Monotonic, since some start.
    pub monotonic: Duration,
}

/// How the peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Direct TCP (445 and the like).
    Tcp,
    /// NetBIOS session service (139): 17-bit lengths, session request first.
    NetBios,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Address of the peer.
    pub address: SocketAddr,
    /// Our address it connected to.
    pub local: SocketAddr,
    /// Transport.
    pub transport: Transport,
}

/// What the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes: a whole frame, transport header included. The message
    /// begins at `start`; what is before it is unused headroom.
    Send {
        /// The buffer.
        buffer: Vec<u8>,
        /// First byte to send.
        start: usize,
    },
    /// Close the connection after what was sent before. The reason is for the log.
    Close(&'static str),
}

/// One connection.
pub struct Connection {}
