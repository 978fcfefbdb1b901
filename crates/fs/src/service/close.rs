//! Closing, [MS-FSA] 2.1.5.4, and deletion, [MS-FSA] 2.1.5.15.3.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::{AccessMask, FileAttributes};

use super::FileService;
use super::attempt::Attempt;
use super::handle::Open;
use super::node::{FileNode, StreamNode};
use super::notify::Happened;
use super::oplock::{Holder, release_cache};
use super::table::owned_by;
use crate::backend::SetTimes;
use crate::call::{Event, FsReply, OpenOwner};
use crate::types::{CachingGrant, Metadata};
use crate::{FsError, SmbPath};

/// What a close leaves to be done once the file's lock is let go.
#[derive(Default)]
struct Remains {
    remove_file: Option<Arc<SmbPath>>,
    remove_stream: Option<Arc<SmbPath>>,
    /// Deletion became pending with this close.
    newly_pending: bool,
}

impl FileService {
    /// Closes an open. Gives its last stat.
    pub(super) fn close_now(
        self: &Arc<Self>,
        open: &Arc<Open>,
        last_write: Option<FileTime>,
    ) -> Result<Metadata, FsError> {
        if open.closed.swap(true, Ordering::AcqRel) {
            return Err(FsError::FileClosed);
        }
        self.release_locks(open);
        if let Some(t) = last_write {
            let times = SetTimes {
                last_write: Some(t),
                ..SetTimes::default()
            };
            // SMB1 CLOSE has no way to say that the time was not taken.
            open.handle.set_times(&times).ok();
        }
        open.release_times();
        let metadata = open.stat().unwrap_or_default();
        let remains = self.leave(open);
        if remains.newly_pending && remains.remove_file.is_none() {
            self.pending_now(&open.node);
        }
        self.drop_watch(open);
        if let Some(path) = remains.remove_stream {
            self.remove_stream(open, &path);
        }
        if let Some(path) = remains.remove_file {
            self.remove_file(open, &path);
        }
        if open.times.wrote.load(Ordering::Relaxed) {
            self.break_folder(&open.share, &open.path(), open.client, open.parent_lease);
        }
        self.opens.remove(open);
        self.forget_durable(open);
        self.wake(&open.node);
        Ok(metadata)
    }

    /// Takes an open out of its file.
    fn leave(self: &Arc<Self>, open: &Arc<Open>) -> Remains {
        let node = &open.node;
        let mut remains = Remains::default();
        let wants = open.delete_on_close.load(Ordering::Acquire);
        // A folder that is not empty stays, and nobody is told.
        let deletable = wants
            && (!open.is_directory() || open.share.backend.is_empty(&open.path()).unwrap_or(false));
        let mut state = node.state.lock();
        if deletable {
            if open.is_stream() {
                open.stream.delete_pending.store(true, Ordering::Release);
            } else if !node.delete_pending.load(Ordering::Acquire) {
                state.delete_path = Some(open.path());
                self.set_delete_pending(node, true);
                remains.newly_pending = true;
            }
        }
        let cache = state
            .members
            .iter()
            .position(|m| m.open.id == open.id)
            .and_then(|at| state.members.remove(at).cache);
        if let Some(number) = cache {
            let holder = state
                .caches
                .iter()
                .find(|c| c.number == number)
                .map(|c| c.holder);
            release_cache(&mut state, number);
            if let Some(Holder::Lease(name, _)) = holder {
                self.unclaim_lease(name);
                if node.directory {
                    self.folder_leases.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
        *open.caching.lock() = CachingGrant::None;
        let stream_unused = !state
            .members
            .iter()
            .any(|m| Arc::ptr_eq(&m.open.stream, &open.stream));
        let file_pending = node.delete_pending.load(Ordering::Acquire);
        let posix = open.posix_delete.load(Ordering::Acquire);
        if file_pending && (state.members.is_empty() || posix) {
            remains.remove_file = state.delete_path.take();
        } else if stream_unused && open.stream.delete_pending.load(Ordering::Acquire) {
            remains.remove_stream = Some(open.path());
        }
        if remains.remove_stream.is_none() {
            state.drop_unused_streams();
        }
        remains
    }

    /// Marks a whole file for deletion or not.
    fn set_delete_pending(&self, node: &FileNode, pending: bool) {
        let was = node.delete_pending.swap(pending, Ordering::AcqRel);
        if node.directory && was != pending {
            if pending {
                self.deleting_folders.fetch_add(1, Ordering::AcqRel);
            } else {
                self.deleting_folders.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// Those that watch a folder that is to be deleted are told.
    fn pending_now(&self, node: &FileNode) {
        if !node.directory {
            return;
        }
        let opens: Vec<Arc<Open>> = node
            .state
            .lock()
            .members
            .iter()
            .map(|m| m.open.clone())
            .collect();
        for open in opens {
            self.end_watch(&open, FsError::DeletePending);
        }
    }

    fn remove_file(self: &Arc<Self>, open: &Open, path: &SmbPath) {
        let directory = open.node.directory;
        self.end_watch(open, FsError::DeletePending);
        match open.share.backend.remove(path) {
            Ok(()) => {
                if directory {
                    self.forget_folders();
                }
                self.happened(&open.share, path, Happened::Removed { directory });
                self.break_folder(&open.share, path, open.client, open.parent_lease);
                if directory {
                    // The node may stay for a while: what it counted is over.
                    self.deleting_folders.fetch_sub(1, Ordering::AcqRel);
                }
            }
            // It could not be removed, so it is there again.
            Err(_) => self.set_delete_pending(&open.node, false),
        }
    }

    fn remove_stream(&self, open: &Open, path: &SmbPath) {
        if open.share.backend.remove(path).is_ok() {
            self.happened(&open.share, path, Happened::StreamRemoved);
        }
        open.stream.delete_pending.store(false, Ordering::Release);
        open.node.state.lock().drop_unused_streams();
    }

    /// FileDispositionInformation, [MS-FSA] 2.1.5.15.3.
    pub(super) fn attempt_disposition(
        self: &Arc<Self>,
        open: &Arc<Open>,
        delete: bool,
        posix: bool,
        ignore_readonly: bool,
    ) -> Attempt {
        if open.is_closed() {
            return Attempt::Done(Err(FsError::FileClosed));
        }
        if !open.granted.contains(AccessMask::DELETE) {
            return Attempt::Done(Err(FsError::AccessDenied));
        }
        if !delete {
            self.keep(open);
            return Attempt::Done(Ok(FsReply::Done));
        }
        if let Err(e) = may_delete(open, ignore_readonly) {
            return Attempt::Done(Err(e));
        }
        if let Some(wakes) = self.break_handles(open) {
            return Attempt::Wait(open.node.clone(), wakes);
        }
        {
            let mut state = open.node.state.lock();
            open.posix_delete.store(posix, Ordering::Release);
            if open.is_stream() {
                open.stream.delete_pending.store(true, Ordering::Release);
            } else {
                state.delete_path = Some(open.path());
                self.set_delete_pending(&open.node, true);
            }
        }
        self.pending_now(&open.node);
        Attempt::Done(Ok(FsReply::Done))
    }

    /// Takes a deletion back.
    fn keep(&self, open: &Open) {
        let mut state = open.node.state.lock();
        open.posix_delete.store(false, Ordering::Release);
        if open.is_stream() {
            clear(&open.stream);
        } else {
            state.delete_path = None;
            self.set_delete_pending(&open.node, false);
        }
    }

    /// Closes every open of an owner; `tree` or `session` 0 stands for any.
    /// `disconnected` keeps durable ones for reconnection.
    pub fn close_owned(self: &Arc<Self>, owner: OpenOwner, disconnected: bool) {
        self.cancel_opens(owner);
        for open in self.opens.owned(owner) {
            if disconnected && self.disconnect(&open) {
                continue;
            }
            self.close_now(&open, None).ok();
        }
    }

    /// Closes the opens of one owner that this SMB1 PID opened (PROCESS_EXIT).
    pub fn close_process(self: &Arc<Self>, owner: OpenOwner, pid: u32) {
        for open in self.opens.owned(owner) {
            if open.pid == pid {
                self.close_now(&open, None).ok();
            }
        }
    }

    /// Closes one open on behalf of an administrator; its connection gets
    /// [`Event::Closed`]. Gives whether it was there.
    pub fn close_forced(self: &Arc<Self>, id: u64) -> bool {
        let Some(open) = self.opens.get(id) else {
            return false;
        };
        self.force_close(&open)
    }

    pub(super) fn force_close(self: &Arc<Self>, open: &Arc<Open>) -> bool {
        let (sink, gone) = {
            let binding = open.binding.lock();
            (binding.sink.clone(), binding.disconnected)
        };
        let closed = self.close_now(open, None).is_ok();
        if closed && !gone {
            sink.send(Event::Closed { open: open.clone() });
        }
        closed
    }

    /// How many opens an owner has; `tree` or `session` 0 stands for any.
    pub fn count_opens(&self, owner: OpenOwner) -> usize {
        self.opens_of(owner).len()
    }

    /// The opens of an owner; `tree` or `session` 0 stands for any.
    pub fn opens_of(&self, owner: OpenOwner) -> Vec<Arc<Open>> {
        self.opens
            .owned(owner)
            .into_iter()
            .filter(|o| owned_by(o.owner(), owner))
            .collect()
    }
}

fn clear(stream: &StreamNode) {
    stream.delete_pending.store(false, Ordering::Release);
}

/// Whether what is open can be deleted at all.
fn may_delete(open: &Open, ignore_readonly: bool) -> Result<(), FsError> {
    let path = open.path();
    if path.is_root() {
        return Err(FsError::CannotDelete);
    }
    if open.is_stream() {
        return Ok(());
    }
    let metadata = open.handle.metadata()?;
    if metadata.attributes.contains(FileAttributes::READONLY) && !ignore_readonly {
        return Err(FsError::CannotDelete);
    }
    if open.is_directory() && !open.share.backend.is_empty(&path)? {
        return Err(FsError::DirectoryNotEmpty);
    }
    Ok(())
}
