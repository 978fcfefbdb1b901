//! Calls that are answered later, each exactly once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_wire::dtyp::Guid;
use parking_lot::Mutex;

use super::FileService;
use crate::FsError;
use crate::call::{CallContext, Event, EventSink, FsCall, FsReply, OpenOwner, Ticket};

/// A call that has no answer yet.
pub(super) struct Pending {
    sink: Arc<dyn EventSink>,
    ticket: Ticket,
    done: AtomicBool,
    /// An answer of `Cancelled` is true: nothing goes on behind it.
    cancellable: bool,
    /// For opens: who asked.
    asker: Option<Asker>,
}

/// Who waits for an open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) owner: OpenOwner,
    /// Client machine and CreateGuid of a durable open, version 2.
    pub(super) create: Option<(Guid, Guid)>,
}

impl Pending {
    /// Whether its answer was given.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The right to answer it, given once.
    fn claim(&self) -> bool {
        !self.done.swap(true, Ordering::AcqRel)
    }

    fn key(&self) -> (usize, Ticket) {
        (sink_key(&self.sink), self.ticket)
    }
}

fn sink_key(sink: &Arc<dyn EventSink>) -> usize {
    Arc::as_ptr(sink).cast::<()>().addr()
}

/// Calls that wait, by sink and ticket.
#[derive(Default)]
pub(super) struct PendingTable {
    calls: Mutex<HashMap<(usize, Ticket), Arc<Pending>>>,
}

impl PendingTable {
    pub(super) fn len(&self) -> usize {
        self.calls.lock().len()
    }
}

/// A call that waits for an oplock break; it is tried again from the start.
pub(super) struct Waiter {
    pub(super) pending: Arc<Pending>,
    pub(super) context: CallContext,
    pub(super) call: FsCall,
}

impl FileService {
    /// Notes that a call is answered later.
    pub(super) fn pend(
        &self,
        context: &CallContext,
        cancellable: bool,
        asker: Option<Asker>,
    ) -> Arc<Pending> {
        let pending = Arc::new(Pending {
            sink: context.sink.clone(),
            ticket: context.ticket,
            done: AtomicBool::new(false),
            cancellable,
            asker,
        });
        self.pending
            .calls
            .lock()
            .insert(pending.key(), pending.clone());
        pending
    }

    /// Answers a call; `false` when it was answered already (cancelled).
    pub(super) fn answer(&self, pending: &Pending, result: Result<FsReply, FsError>) -> bool {
        if !pending.claim() {
            return false;
        }
        self.forget(pending);
        pending.sink.send(Event::Reply {
            ticket: pending.ticket,
            result,
        });
        true
    }

    fn forget(&self, pending: &Pending) {
        let mut calls = self.pending.calls.lock();
        if calls
            .get(&pending.key())
            .is_some_and(|p| core::ptr::eq(&**p, pending))
        {
            calls.remove(&pending.key());
        }
    }

    /// Cancels a call that is pending; its answer is `Cancelled` unless it was
    /// already on its way.
    pub fn cancel(&self, sink: &Arc<dyn EventSink>, ticket: Ticket) {
        let found = self
            .pending
            .calls
            .lock()
            .get(&(sink_key(sink), ticket))
            .cloned();
        if let Some(pending) = found
            && pending.cancellable
        {
            self.answer(&pending, Err(FsError::Cancelled));
        }
    }

    /// Whether a CREATE with this CreateGuid by this client still waits, for
    /// replays ([MS-SMB2] 3.3.5.9).
    pub fn is_create_pending(&self, client: Guid, create_guid: Guid) -> bool {
        let wanted = Some((client, create_guid));
        self.pending
            .calls
            .lock()
            .values()
            .any(|p| p.asker.is_some_and(|a| a.create == wanted))
    }

    /// Cancels the opens of an owner that still wait.
    pub(super) fn cancel_opens(&self, owner: OpenOwner) {
        let found: Vec<_> = self
            .pending
            .calls
            .lock()
            .values()
            .filter(|p| {
                p.asker
                    .is_some_and(|a| super::table::owned_by(a.owner, owner))
            })
            .cloned()
            .collect();
        for pending in found {
            self.answer(&pending, Err(FsError::Cancelled));
        }
    }
}
