//! The service itself.

use std::sync::Arc;

use crate::backend::Backend;
use crate::call::{CallContext, FsCall, Host, Outcome, EventSink};
use crate::{FsError, OpenOwner, Ticket};

/// A share: a name and what lies behind it.
pub struct Share {
    /// Name as configured.
    pub name: String,
    /// The bytes.
    pub backend: Arc<dyn Backend>,
    /// Options.
    pub options: ShareOptions,
}

/// What a share allows.
#[derive(Debug, Clone, Default)]
pub struct ShareOptions {
    /// Nothing may be changed.
    pub read_only: bool,
}

/// An open file, folder or stream with its rights and state.
#[derive(Debug)]
pub struct Open {}

/// The file service of a process: one for all shares and connections.
pub struct FileService {}

impl FileService {
    /// Makes the service.
    pub fn new(_host: Arc<dyn Host>) -> Arc<Self> {
        Arc::new(Self {})
    }

    /// Carries out a call.
    pub fn call(self: &Arc<Self>, _context: &CallContext, _call: FsCall) -> Outcome {
        Outcome::Ready(Err(FsError::NotSupported))
    }

    /// Cancels a call that is pending; its answer is `Cancelled` unless it was
    /// already on its way.
    pub fn cancel(&self, _sink: &Arc<dyn EventSink>, _ticket: Ticket) {}

    /// Closes every open of an owner; `tree` or `session` 0 stands for any.
    /// `disconnected` keeps durable ones for reconnection.
    pub fn close_owned(self: &Arc<Self>, _owner: OpenOwner, _disconnected: bool) {}
}
