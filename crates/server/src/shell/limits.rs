//! Limits of the transport.

use std::time::Duration;

/// Limits of the transport; each has a default and a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellLimits {
    /// Connections in all. Default 20,000.
    pub connections: usize,
    /// Connections of one address. Default 4,096.
    pub connections_per_address: usize,
    /// Bytes of replies waiting to be sent on one connection before it is no
    /// longer read from. Default 16 MiB.
    pub queued_output: usize,
    /// Bytes read in one go before the engine gets them. Default 1 MiB.
    pub read_batch: usize,
    /// Time without a byte in the middle of a frame. Default 30 s.
    pub stalled_frame: Duration,
    /// Time without progress in sending. Default 60 s.
    pub stalled_output: Duration,
    /// Time the peer gets to take the last bytes of a connection we end. Default 500 ms.
    pub linger: Duration,
    /// Time for the NetBIOS session request on port 139. Default 15 s.
    pub session_request: Duration,
    /// Silence after which TCP begins to probe the peer. Default 60 s.
    pub keep_alive: Duration,
    /// Time connections get to answer to a change of policy. Default 900 ms.
    pub policy_answer: Duration,
}

impl Default for ShellLimits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 4_096,
            queued_output: 16 << 20,
            read_batch: 1 << 20,
            stalled_frame: Duration::from_secs(30),
            stalled_output: Duration::from_secs(60),
            linger: Duration::from_millis(500),
            session_request: Duration::from_secs(15),
            keep_alive: Duration::from_secs(60),
            policy_answer: Duration::from_millis(900),
        }
    }
}
