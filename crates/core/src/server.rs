//! What all connections of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use countersign_fs::{Event, FileService, Host};

use crate::config::ServerConfig;
use crate::logon::LogonGuard;
use crate::registry::Registry;
use crate::smb2;
use crate::statistics::Statistics;

/// The server: configuration, file service, and the registry of sessions.
pub struct Server {
    /// The snapshot in force. After replacing it, call
    /// [`Connection::apply_policy`](crate::Connection::apply_policy) on every connection.
    pub config: ArcSwap<ServerConfig>,
    /// Files.
    pub files: Arc<FileService>,
    /// Clock, timers and entropy.
    pub host: Arc<dyn Host>,
    /// Live sessions of all connections, SMB1 and SMB2.
    pub registry: Registry,
    /// Failed logons by address.
    pub logons: LogonGuard,
    /// Counters.
    pub statistics: Statistics,
    /// SMB2 sessions by SessionId: channel binding, previous sessions.
    pub(crate) sessions: smb2::session::GlobalSessions,
    connections: AtomicU64,
}

impl Server {
    /// A server with its first configuration.
    pub fn new(config: ServerConfig, files: Arc<FileService>, host: Arc<dyn Host>) -> Arc<Self> {
        let mut seed = [0; 8];
        host.random(&mut seed);
        Arc::new(Self {
            config: ArcSwap::from_pointee(config),
            files,
            registry: Registry::new(u64::from_le_bytes(seed)),
            logons: LogonGuard::default(),
            statistics: Statistics::default(),
            sessions: smb2::session::GlobalSessions::default(),
            connections: AtomicU64::new(0),
            host,
        })
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A break for an open whose connection is gone: another channel of the
    /// session takes it.
    pub(crate) fn event_without_connection(&self, event: Event) {
        self.sessions.redirect(event);
    }
}
