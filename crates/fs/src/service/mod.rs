//! The service itself.
//!
//! One file per group of calls. What opens of one file share is in `node`, an
//! open in `handle`, all opens in `table`. `attempt` takes the calls.

mod acknowledge;
mod attempt;
mod authorize;
mod close;
mod copy;
mod create;
mod durable;
mod enter;
mod grant;
mod handle;
mod host_changes;
mod info;
mod io;
mod list;
mod locks;
mod node;
mod notify;
mod open;
mod oplock;
mod pending;
mod rename;
mod secure;
mod share;
mod share_mode;
mod table;
mod times;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use countersign_wire::dtyp::Guid;
use parking_lot::Mutex;

pub use handle::Open;
pub use share::{DefaultSecurity, Share, ShareOptions};

use crate::call::{Event, EventSink, Host};
use crate::limits::FsLimits;
use authorize::FolderSecurity;
use node::{FileNode, StreamNode};
use oplock::LeaseName;

/// Where a lease is, and how many opens share it.
type LeasePlace = (Arc<FileNode>, Arc<StreamNode>, usize);

/// The file service of a process: one for all shares and connections.
pub struct FileService {
    host: Arc<dyn Host>,
    limits: FsLimits,
    nodes: node::NodeTable,
    opens: table::OpenTable,
    pending: pending::PendingTable,
    watches: notify::WatchTable,
    leases: Mutex<HashMap<LeaseName, LeasePlace>>,
    folders: Mutex<HashMap<(usize, String), FolderSecurity>>,
    create_guids: Mutex<HashMap<(Guid, Guid), u64>>,
    app_instances: Mutex<HashMap<Guid, u64>>,
    numbers: AtomicU64,
    /// Folders whose deletion is pending.
    deleting_folders: AtomicUsize,
    /// Opens of folders that have a lease.
    folder_leases: AtomicUsize,
    /// Durable opens without a connection.
    disconnected: AtomicUsize,
}

/// Numbers about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Opens.
    pub opens: usize,
    /// Files and folders that are open.
    pub files: usize,
    /// Durable opens that wait for their client.
    pub disconnected: usize,
    /// Folders watched.
    pub watches: usize,
    /// Calls that wait for an answer.
    pub pending: usize,
}

impl FileService {
    /// Makes the service with default limits.
    pub fn new(host: Arc<dyn Host>) -> Arc<Self> {
        Self::with_limits(host, FsLimits::default())
    }

    /// Makes the service.
    pub fn with_limits(host: Arc<dyn Host>, limits: FsLimits) -> Arc<Self> {
        Arc::new(Self {
            host,
            limits,
            nodes: node::NodeTable::new(),
            opens: table::OpenTable::new(),
            pending: pending::PendingTable::default(),
            watches: notify::WatchTable::default(),
            leases: Mutex::default(),
            folders: Mutex::default(),
            create_guids: Mutex::default(),
            app_instances: Mutex::default(),
            numbers: AtomicU64::new(1),
            deleting_folders: AtomicUsize::new(0),
            folder_leases: AtomicUsize::new(0),
            disconnected: AtomicUsize::new(0),
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> &FsLimits {
        &self.limits
    }

    /// A number not used before.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The open with this number.
    pub fn find_open(&self, id: u64) -> Option<Arc<Open>> {
        self.opens.get(id)
    }

    /// Numbers about the whole service.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            opens: self.opens.len(),
            files: self.nodes.len(),
            disconnected: self.disconnected.load(Ordering::Relaxed),
            watches: self.watches.len(),
            pending: self.pending.len(),
        }
    }

    /// The host, for the time and random numbers.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }
}

/// Tells shares on different backends apart.
fn share_key(share: &Share) -> usize {
    Arc::as_ptr(&share.backend).cast::<()>().addr()
}

/// The sink of an open whose connection is gone.
struct NoSink;

impl EventSink for NoSink {
    fn send(&self, _event: Event) {}
}
