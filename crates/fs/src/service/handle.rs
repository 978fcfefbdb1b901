//! An open file, folder or stream ([MS-FSA] 2.1.1.6 Open).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use countersign_wire::dtyp::{FileTime, Guid};
use countersign_wire::fscc::{AccessMask, CreateAction, CreateOptions, OplockLevel, ShareAccess};
use parking_lot::{Mutex, RwLock};

use super::list::DirScan;
use super::node::{FileNode, StreamNode};
use super::notify::Watcher;
use super::share::Share;
use super::times::OpenTimes;
use crate::SmbPath;
use crate::backend::Handle;
use crate::call::{DenyMode, EventSink, OpenOwner};
use crate::types::{CachingGrant, Caller, FileKey};

/// An open file, folder or stream with its rights and state.
///
/// Made by [`FsCall::Open`](crate::FsCall::Open), and alive until
/// [`FsCall::Close`](crate::FsCall::Close): letting go of the `Arc` does not close it.
pub struct Open {
    pub(super) id: u64,
    pub(super) share: Arc<Share>,
    pub(super) caller: Arc<Caller>,
    pub(super) handle: Arc<dyn Handle>,
    pub(super) node: Arc<FileNode>,
    pub(super) stream: Arc<StreamNode>,
    pub(super) granted: AccessMask,
    pub(super) maximal: AccessMask,
    pub(super) share_access: ShareAccess,
    pub(super) options: CreateOptions,
    pub(super) action: CreateAction,
    pub(super) deny: Option<DenyMode>,
    pub(super) pid: u32,
    pub(super) client: Guid,
    pub(super) app_instance: Option<Guid>,
    pub(super) create_guid: Option<Guid>,
    /// Key of the lease on the folder that its client holds, if it said so.
    pub(super) parent_lease: Option<[u8; 16]>,
    pub(super) opened_at: FileTime,
    pub(super) case_sensitive: bool,
    pub(super) path: RwLock<Arc<SmbPath>>,
    pub(super) binding: Mutex<Binding>,
    pub(super) position: AtomicU64,
    pub(super) closed: AtomicBool,
    /// Delete when this open is closed (FILE_DELETE_ON_CLOSE at create).
    pub(super) delete_on_close: AtomicBool,
    /// POSIX semantics were asked for the deletion.
    pub(super) posix_delete: AtomicBool,
    pub(super) times: OpenTimes,
    pub(super) scan: Mutex<Option<DirScan>>,
    pub(super) watcher: Mutex<Option<Arc<Watcher>>>,
    pub(super) caching: Mutex<CachingGrant>,
    pub(super) durable: Mutex<Option<Durable>>,
}

/// Who holds an open at present.
pub(super) struct Binding {
    pub(super) owner: OpenOwner,
    pub(super) sink: Arc<dyn EventSink>,
    /// Its connection went away and it is kept for reconnection.
    pub(super) disconnected: bool,
}

/// What makes an open durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) timeout: Duration,
    /// Goes up at each disconnect and reconnect, so that an old timer finds nothing to do.
    pub(super) generation: u64,
}

impl Open {
    /// Number of this open, unique in the process; SMB2 uses it as the persistent FileId.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The share it was opened through.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Who opened it.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// Rights granted, without generic bits and MAXIMUM_ALLOWED.
    pub fn granted_access(&self) -> AccessMask {
        self.granted
    }

    /// Whether all of `rights` were granted.
    pub fn may(&self, rights: AccessMask) -> bool {
        self.granted.contains(rights)
    }

    /// The most its caller could have been granted.
    pub fn maximal_access(&self) -> AccessMask {
        self.maximal
    }

    /// What it lets others do.
    pub fn share_access(&self) -> ShareAccess {
        self.share_access
    }

    /// CreateOptions it was opened with.
    pub fn options(&self) -> CreateOptions {
        self.options
    }

    /// FileModeInformation, [MS-FSCC] 2.4.26: the options that are a mode.
    pub fn mode(&self) -> u32 {
        (self.options
            & (CreateOptions::WRITE_THROUGH
                | CreateOptions::SEQUENTIAL_ONLY
                | CreateOptions::NO_INTERMEDIATE_BUFFERING
                | CreateOptions::SYNCHRONOUS_IO_ALERT
                | CreateOptions::SYNCHRONOUS_IO_NONALERT
                | CreateOptions::DELETE_ON_CLOSE))
            .bits()
    }

    /// What the open did.
    pub fn create_action(&self) -> CreateAction {
        self.action
    }

    /// Whether it is a folder (and not a stream of one).
    pub fn is_directory(&self) -> bool {
        self.node.directory && !self.is_stream()
    }

    /// Whether it is a named stream.
    pub fn is_stream(&self) -> bool {
        !self.stream.name.is_empty()
    }

    /// Name of the named stream, if it is one.
    pub fn stream_name(&self) -> Option<String> {
        self.path().named_stream().map(str::to_owned)
    }

    /// Path in the share as it is on disk, following renames.
    pub fn path(&self) -> Arc<SmbPath> {
        self.path.read().clone()
    }

    /// Identity of the file.
    pub fn key(&self) -> FileKey {
        self.node.key
    }

    /// CurrentByteOffset, [MS-FSCC] 2.4.35.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Sets CurrentByteOffset.
    pub fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// Connection, session and tree it belongs to.
    pub fn owner(&self) -> OpenOwner {
        self.binding.lock().owner
    }

    /// SMB1 PID that opened it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Client machine that opened it.
    pub fn client(&self) -> Guid {
        self.client
    }

    /// AppInstanceId it was opened with.
    pub fn app_instance(&self) -> Option<Guid> {
        self.app_instance
    }

    /// When it was opened.
    pub fn opened_at(&self) -> FileTime {
        self.opened_at
    }

    /// Whether names compare with case on this open.
    pub fn is_case_sensitive(&self) -> bool {
        self.case_sensitive
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the file (or the stream) goes when the last open is closed:
    /// FileStandardInformation.DeletePending.
    pub fn delete_pending(&self) -> bool {
        if self.is_stream() {
            self.stream.delete_pending.load(Ordering::Acquire)
        } else {
            self.node.delete_pending.load(Ordering::Acquire)
        }
    }

    /// Caching it holds now.
    pub fn caching(&self) -> CachingGrant {
        *self.caching.lock()
    }

    /// Oplock it holds now; `None` for leases.
    pub fn oplock_level(&self) -> OplockLevel {
        match self.caching() {
            CachingGrant::Oplock(level) => level,
            CachingGrant::None | CachingGrant::Lease { .. } => OplockLevel::None,
        }
    }

    /// Key of its lease, if it has one.
    pub fn lease_key(&self) -> Option<[u8; 16]> {
        match self.caching() {
            CachingGrant::Lease { lease, .. } => Some(lease.key),
            CachingGrant::None | CachingGrant::Oplock(_) => None,
        }
    }

    /// Whether it survives a disconnect now.
    pub fn is_durable(&self) -> bool {
        self.durable.lock().is_some()
    }

    /// CreateGuid that its CREATE had (a durable handle of version 2 was asked for).
    pub fn create_guid(&self) -> Option<Guid> {
        self.create_guid
    }

    /// Durable timeout granted.
    pub fn durable_timeout(&self) -> Option<Duration> {
        self.durable.lock().map(|d| d.timeout)
    }

    /// Whether it waits for its client to come back.
    pub fn is_disconnected(&self) -> bool {
        self.binding.lock().disconnected
    }

    /// Pattern of the scan in progress, if any (folders).
    pub fn search_pattern(&self) -> Option<String> {
        self.scan.lock().as_ref().map(|s| s.pattern().to_owned())
    }
}

impl core::fmt::Debug for Open {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Open")
            .field("id", &self.id)
            .field("path", &self.path().to_string())
            .field("granted", &self.granted)
            .finish_non_exhaustive()
    }
}
