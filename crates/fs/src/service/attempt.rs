//! Calls: what is done at once, and what is tried again after an oplock break.

use std::sync::Arc;

use super::FileService;
use super::node::FileNode;
use super::pending::{Asker, Pending, Waiter};
use crate::FsError;
use crate::call::{CallContext, FsCall, FsReply, Outcome};

/// What came of one attempt.
pub(super) enum Attempt {
    /// It is done.
    Done(Result<FsReply, FsError>),
    /// A break must be acknowledged first; the number of wakes seen.
    Wait(Arc<FileNode>, u64),
}

impl From<Result<FsReply, FsError>> for Attempt {
    fn from(result: Result<FsReply, FsError>) -> Self {
        Self::Done(result)
    }
}

impl FileService {
    /// Carries out a call.
    pub fn call(self: &Arc<Self>, context: &CallContext, call: FsCall) -> Outcome {
        if let Some(open) = opened(&call)
            && open.is_closed()
        {
            return Outcome::Ready(Err(FsError::FileClosed));
        }
        match call {
            FsCall::Read {
                open,
                offset,
                length,
                minimum,
                headroom,
                lock_owner,
                execute,
            } => self.read(
                context, open, offset, length, minimum, headroom, lock_owner, execute,
            ),
            FsCall::Write {
                open,
                offset,
                data,
                write_through,
                lock_owner,
            } => self.write(context, open, offset, data, write_through, lock_owner),
            FsCall::Flush { open } => self.flush(context, open),
            FsCall::Lock {
                open,
                elements,
                wait,
            } => self.lock(context, open, elements, wait),
            FsCall::List {
                open,
                pattern,
                restart,
                single,
                resume_after,
                attributes,
                sink,
            } => self.list(
                context,
                open,
                pattern,
                restart,
                single,
                resume_after,
                attributes,
                sink,
            ),
            FsCall::Notify {
                open,
                filter,
                recursive,
                max_bytes,
            } => self.watch(context, &open, filter, recursive, max_bytes),
            FsCall::CopyRange {
                from,
                from_offset,
                to,
                to_offset,
                length,
            } => self.copy_range(context, from, from_offset, to, to_offset, length),
            FsCall::ZeroRange {
                open,
                offset,
                beyond,
            } => self.zero_range(context, open, offset, beyond),
            FsCall::SetAllocation { open, size } => self.set_allocation(context, open, size),
            FsCall::Open(_) | FsCall::Rename { .. } | FsCall::SetDisposition { .. } => {
                self.run_waiting(context, call, None)
            }
            other => Outcome::Ready(self.at_once(context, other)),
        }
    }

    /// Calls that never wait.
    fn at_once(self: &Arc<Self>, context: &CallContext, call: FsCall) -> Result<FsReply, FsError> {
        match call {
            FsCall::Reconnect(call) => self.reconnect(context, &call),
            FsCall::Close { open, last_write } => self
                .close_now(&open, last_write)
                .map(|m| FsReply::Closed(Box::new(m))),
            FsCall::Stat { open } => open.stat().map(|m| FsReply::Metadata(Box::new(m))),
            FsCall::Streams { open } => open.handle.streams().map(FsReply::Streams),
            FsCall::ShortName { open } => self.short_name(&open).map(FsReply::Name),
            FsCall::NormalizedName { open } => Ok(FsReply::Name(open.path().to_string())),
            FsCall::QueryEa { open, names } => self.query_ea(&open, names).map(FsReply::Eas),
            FsCall::SetEa { open, eas } => self.set_ea(&open, &eas),
            FsCall::SetBasic { open, set } => self.set_basic(&open, &set),
            FsCall::SetEndOfFile { open, size } => self.set_end_of_file(&open, size),
            FsCall::Link { open, to, replace } => self.link(context, &open, &to, replace),
            FsCall::SetPosition { open, position } => {
                open.set_position(position);
                Ok(FsReply::Done)
            }
            FsCall::QuerySecurity { open, parts } => {
                self.query_security(&open, parts).map(FsReply::Security)
            }
            FsCall::SetSecurity {
                open,
                parts,
                descriptor,
            } => self.set_security(&open, parts, &descriptor),
            FsCall::Volume => context
                .share
                .backend
                .volume()
                .map(|v| FsReply::Volume(Box::new(v))),
            FsCall::AcknowledgeOplock { open, level } => {
                self.acknowledge_oplock(&open, level).map(FsReply::Caching)
            }
            FsCall::AcknowledgeLease { client, key, state } => self
                .acknowledge_lease(client, key, state)
                .map(FsReply::Caching),
            FsCall::SetSparse { open, sparse } => self.set_sparse(&open, sparse),
            FsCall::AllocatedRanges {
                open,
                offset,
                length,
            } => self
                .allocated_ranges(&open, offset, length)
                .map(FsReply::Ranges),
            FsCall::GetReparse { open } => self.get_reparse(&open).map(FsReply::Bytes),
            FsCall::SetReparse { open, tag, data } => self.set_reparse(&open, tag, &data),
            FsCall::ObjectId { open, create } => self.object_id(&open, create).map(FsReply::Bytes),
            // Taken before.
            _ => Err(FsError::NotSupported),
        }
    }

    fn attempt(self: &Arc<Self>, context: &CallContext, call: &FsCall) -> Attempt {
        match call {
            FsCall::Open(open) => self.attempt_open(context, open),
            FsCall::Rename { open, to, replace } => {
                self.attempt_rename(context, open, to, *replace)
            }
            FsCall::SetDisposition {
                open,
                delete,
                posix,
                ignore_readonly,
            } => self.attempt_disposition(open, *delete, *posix, *ignore_readonly),
            _ => Attempt::Done(Err(FsError::NotSupported)),
        }
    }

    /// Tries until it is done or must wait; an answer goes to `pending` if the
    /// call waited before.
    pub(super) fn run_waiting(
        self: &Arc<Self>,
        context: &CallContext,
        call: FsCall,
        mut pending: Option<Arc<Pending>>,
    ) -> Outcome {
        loop {
            let mut result = match self.attempt(context, &call) {
                Attempt::Done(result) => result,
                Attempt::Wait(node, wakes) => {
                    let mut state = node.state.lock();
                    if state.gone || state.wakes != wakes {
                        continue;
                    }
                    state.waiters.retain(|w| !w.pending.is_done());
                    if state.waiters.len() < self.limits.waiting_opens_per_file {
                        let asker = match &call {
                            FsCall::Open(c) => Some(Asker {
                                owner: c.owner,
                                create: c
                                    .durable
                                    .and_then(|d| d.create_guid)
                                    .map(|guid| (c.client, guid)),
                            }),
                            _ => None,
                        };
                        let pending = pending
                            .take()
                            .unwrap_or_else(|| self.pend(context, true, asker));
                        state.waiters.push(Waiter {
                            pending,
                            context: context.clone(),
                            call,
                        });
                        return Outcome::Pending;
                    }
                    Err(FsError::InsufficientResources)
                }
            };
            let Some(pending) = pending else {
                return Outcome::Ready(result);
            };
            let made = match &mut result {
                Ok(FsReply::Opened(opened)) => Some(opened.open.clone()),
                _ => None,
            };
            if !self.answer(&pending, result)
                && let Some(open) = made
            {
                // Nobody waits for it any more.
                self.close_now(&open, None).ok();
            }
            return Outcome::Pending;
        }
    }
}

/// The open a call is about.
fn opened(call: &FsCall) -> Option<&Arc<super::Open>> {
    match call {
        FsCall::Open(_)
        | FsCall::Reconnect(_)
        | FsCall::Volume
        | FsCall::AcknowledgeLease { .. } => None,
        FsCall::Close { open, .. }
        | FsCall::Read { open, .. }
        | FsCall::Write { open, .. }
        | FsCall::Flush { open }
        | FsCall::Lock { open, .. }
        | FsCall::Stat { open }
        | FsCall::Streams { open }
        | FsCall::ShortName { open }
        | FsCall::NormalizedName { open }
        | FsCall::QueryEa { open, .. }
        | FsCall::SetEa { open, .. }
        | FsCall::SetBasic { open, .. }
        | FsCall::SetDisposition { open, .. }
        | FsCall::SetEndOfFile { open, .. }
        | FsCall::SetAllocation { open, .. }
        | FsCall::Rename { open, .. }
        | FsCall::Link { open, .. }
        | FsCall::SetPosition { open, .. }
        | FsCall::QuerySecurity { open, .. }
        | FsCall::SetSecurity { open, .. }
        | FsCall::List { open, .. }
        | FsCall::Notify { open, .. }
        | FsCall::AcknowledgeOplock { open, .. }
        | FsCall::SetSparse { open, .. }
        | FsCall::ZeroRange { open, .. }
        | FsCall::AllocatedRanges { open, .. }
        | FsCall::GetReparse { open }
        | FsCall::SetReparse { open, .. }
        | FsCall::ObjectId { open, .. } => Some(open),
        FsCall::CopyRange { to, .. } => Some(to),
    }
}
