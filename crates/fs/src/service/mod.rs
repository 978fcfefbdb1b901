//! The service itself.
//!
//! One file per group of calls; what opens of one file share is in [`node`],
//! an open in [`handle`].

mod handle;
mod lease;
mod list;
mod locks;
mod node;
mod notify;
mod oplock;
mod share;
mod times;

use std::sync::Arc;

pub use handle::Open;
pub use share::{DefaultSecurity, Share, ShareOptions};

use crate::call::{CallContext, EventSink, FsCall, Host, Outcome};
use crate::limits::FsLimits;
use crate::{FsError, OpenOwner, Ticket};
use countersign_wire::dtyp::Guid;

/// The file service of a process: one for all shares and connections.
pub struct FileService {
    host: Arc<dyn Host>,
    limits: FsLimits,
    nodes: node::NodeTable,
}

/// Numbers about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Opens.
    pub opens: usize,
    /// Files, folders open.
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
        Arc::new(Self { host, limits, nodes: node::NodeTable::new() })
    }

    /// The limits in force.
    pub fn limits(&self) -> &FsLimits {
        &self.limits
    }

    /// Carries out a call.
    pub fn call(self: &Arc<Self>, _context: &CallContext, _call: FsCall) -> Outcome {
        Outcome::Ready(Err(FsError::NotSupported))
    }

    /// Cancels a call that is pending; its answer is `Cancelled` unless it was
    /// already on its way.
    pub fn cancel(self: &Arc<Self>, _sink: &Arc<dyn EventSink>, _ticket: Ticket) {}

    /// Closes every open of an owner; `tree` or `session` 0 stands for any.
    /// `disconnected` keeps durable ones for reconnection.
    pub fn close_owned(self: &Arc<Self>, _owner: OpenOwner, _disconnected: bool) {}

    /// Closes the opens of one owner that this SMB1 PID opened (PROCESS_EXIT).
    pub fn close_process(self: &Arc<Self>, _owner: OpenOwner, _pid: u32) {}

    /// Closes one open on behalf of an administrator; its connection gets
    /// [`Event::Closed`](crate::Event::Closed). Gives whether it was there.
    pub fn close_forced(self: &Arc<Self>, _id: u64) -> bool {
        false
    }

    /// The open with this number.
    pub fn find_open(&self, _id: u64) -> Option<Arc<Open>> {
        None
    }

    /// The durable open made with this CreateGuid by this client, for replayed
    /// CREATEs ([MS-SMB2] 3.3.5.9.10).
    pub fn find_by_create_guid(&self, _client: Guid, _create_guid: Guid) -> Option<Arc<Open>> {
        None
    }

    /// How many opens an owner has; `tree` or `session` 0 stands for any.
    pub fn count_opens(&self, _owner: OpenOwner) -> usize {
        0
    }

    /// The opens of an owner; `tree` or `session` 0 stands for any.
    pub fn opens_of(&self, _owner: OpenOwner) -> Vec<Arc<Open>> {
        Vec::new()
    }

    /// Numbers about the whole service.
    pub fn statistics(&self) -> Statistics {
        Statistics { files: self.nodes.len(), ..Statistics::default() }
    }

    /// The host, for the time and random numbers.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }
}
