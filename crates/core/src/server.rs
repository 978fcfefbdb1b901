//! What all connections of a process share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use countersign_fs::{Event, FileService, Host};
use countersign_wire::Guid;
use parking_lot::Mutex;

use crate::config::ServerConfig;
use crate::logon::LogonGuard;
use crate::observer::{Lookout, Observer};
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
    pub(crate) lookout: Arc<Lookout>,
    /// SMB2 sessions by SessionId: channel binding, previous sessions.
    pub(crate) sessions: smb2::session::GlobalSessions,
    /// Dialects of live connections by ClientGuid.
    clients: Mutex<HashMap<Guid, Vec<(u64, u16)>>>,
    connections: AtomicU64,
}

impl Server {
    /// A server with its first configuration.
    pub fn new(config: ServerConfig, files: Arc<FileService>, host: Arc<dyn Host>) -> Arc<Self> {
        let mut seed = [0; 8];
        host.random(&mut seed);
        let lookout = Arc::new(Lookout::default());
        Arc::new(Self {
            config: ArcSwap::from_pointee(config),
            files,
            registry: Registry::new(u64::from_le_bytes(seed), Arc::clone(&lookout)),
            lookout,
            logons: LogonGuard::default(),
            statistics: Statistics::default(),
            sessions: smb2::session::GlobalSessions::default(),
            clients: Mutex::default(),
            connections: AtomicU64::new(0),
            host,
        })
    }

    /// From here on the observer is told what happens; the first one stays.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.lookout.post(observer);
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Enters a connection that negotiated.
    pub(crate) fn enter_client(&self, guid: Guid, connection: u64, dialect: u16) {
        self.clients
            .lock()
            .entry(guid)
            .or_default()
            .push((connection, dialect));
    }

    /// Forgets a connection that entered.
    pub(crate) fn leave_client(&self, guid: Guid, connection: u64) {
        let mut clients = self.clients.lock();
        if let Some(connections) = clients.get_mut(&guid) {
            connections.retain(|(id, _)| *id != connection);
            if connections.is_empty() {
                clients.remove(&guid);
            }
        }
    }

    /// Whether a live connection of this client has another dialect.
    pub(crate) fn client_has_other_dialect(&self, guid: Guid, dialect: u16) -> bool {
        self.clients
            .lock()
            .get(&guid)
            .is_some_and(|c| c.iter().any(|(_, d)| *d != dialect))
    }

    /// A break for an open whose connection is gone: another channel of the
    /// session takes it.
    pub(crate) fn event_without_connection(&self, event: Event) {
        self.sessions.redirect(event);
    }
}
