//! Change notification, [MS-FSA] 2.1.5.10 and [MS-SMB2] 3.3.5.19.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use countersign_wire::dtyp::Guid;
use countersign_wire::fscc::{AccessMask, CompletionFilter};
use parking_lot::Mutex;

use super::FileService;
use super::handle::Open;
use super::host_changes::OwnChanges;
use super::node::FileNode;
use super::oplock::{Aftermath, LeaseName, NONE};
use super::pending::Pending;
use super::share::Share;
use crate::backend::{HostChange, Lookup, Watch, WatchSink};
use crate::call::{CallContext, FsReply, Outcome};
use crate::types::{Change, ChangeAction};
use crate::{FsError, SmbPath};

/// A folder watched by an open.
pub(super) struct Watcher {
    share: usize,
    filter: CompletionFilter,
    recursive: bool,
    capacity: usize,
    inner: Mutex<WatchState>,
    /// Ends with the watcher.
    host: Mutex<Option<Box<dyn Watch>>>,
}

#[derive(Default)]
struct WatchState {
    path: String,
    changes: Vec<Change>,
    bytes: usize,
    overflow: bool,
    waiting: VecDeque<(Arc<Pending>, u32)>,
    /// Every call from now on has this answer.
    ended: Option<FsError>,
}

/// Watchers by share and path.
type Watched = HashMap<(usize, String), Vec<Arc<Watcher>>>;

/// Watched folders.
#[derive(Default)]
pub(super) struct WatchTable {
    folders: Mutex<Watched>,
    count: AtomicUsize,
    pub(super) own: OwnChanges,
}

impl WatchTable {
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    Added { directory: bool },
    Removed { directory: bool },
    RenamedFrom { directory: bool },
    RenamedTo { directory: bool },
    Modified(CompletionFilter),
    Overwritten,
    StreamAdded,
    StreamRemoved,
    StreamChanged,
}

impl Happened {
    fn filter(self) -> CompletionFilter {
        use CompletionFilter as F;
        let name = |directory: bool| if directory { F::DIR_NAME } else { F::FILE_NAME };
        match self {
            Self::Added { directory }
            | Self::Removed { directory }
            | Self::RenamedFrom { directory }
            | Self::RenamedTo { directory } => name(directory),
            Self::Modified(filter) => filter,
            Self::Overwritten => F::ATTRIBUTES | F::SIZE | F::LAST_WRITE | F::CREATION,
            Self::StreamAdded | Self::StreamRemoved => F::STREAM_NAME,
            Self::StreamChanged => F::STREAM_SIZE | F::STREAM_WRITE,
        }
    }

    fn action(self) -> ChangeAction {
        match self {
            Self::Added { .. } => ChangeAction::Added,
            Self::Removed { .. } => ChangeAction::Removed,
            Self::RenamedFrom { .. } => ChangeAction::RenamedOldName,
            Self::RenamedTo { .. } => ChangeAction::RenamedNewName,
            Self::Modified(_) | Self::Overwritten => ChangeAction::Modified,
            Self::StreamAdded => ChangeAction::AddedStream,
            Self::StreamRemoved => ChangeAction::RemovedStream,
            Self::StreamChanged => ChangeAction::ModifiedStream,
        }
    }
}

/// Bytes a change takes in an answer, [MS-FSCC] 2.7.1.
fn size_of(name: &str) -> usize {
    (12 + 2 * name.encode_utf16().count()).next_multiple_of(4)
}

impl FileService {
    /// Whether anybody watches anything.
    pub(super) fn is_watched(&self) -> bool {
        self.watches.len() > 0
    }

    /// CHANGE_NOTIFY.
    pub(super) fn watch(
        self: &Arc<Self>,
        context: &CallContext,
        open: &Arc<Open>,
        filter: CompletionFilter,
        recursive: bool,
        max_bytes: u32,
    ) -> Outcome {
        if !open.is_directory() {
            return Outcome::Ready(Err(FsError::InvalidParameter));
        }
        if !open.granted.contains(AccessMask::READ_DATA) {
            return Outcome::Ready(Err(FsError::AccessDenied));
        }
        if open.node.delete_pending.load(Ordering::Acquire) {
            return Outcome::Ready(Err(FsError::DeletePending));
        }
        let watcher = match self.watcher(open, filter, recursive) {
            Ok(w) => w,
            Err(e) => return Outcome::Ready(Err(e)),
        };
        let mut state = watcher.inner.lock();
        if let Some(e) = state.ended {
            return Outcome::Ready(Err(e));
        }
        if let Some(result) = take(&mut state, max_bytes) {
            return Outcome::Ready(result);
        }
        state.waiting.retain(|(p, _)| !p.is_done());
        let pending = self.pend(context, true, None);
        state.waiting.push_back((pending, max_bytes));
        Outcome::Pending
    }

    /// The watcher of an open, made by its first call.
    fn watcher(
        self: &Arc<Self>,
        open: &Arc<Open>,
        filter: CompletionFilter,
        recursive: bool,
    ) -> Result<Arc<Watcher>, FsError> {
        let mut slot = open.watcher.lock();
        if let Some(w) = slot.as_ref() {
            return Ok(w.clone());
        }
        if self.watches.count.fetch_add(1, Ordering::Relaxed) >= self.limits.watches {
            self.watches.count.fetch_sub(1, Ordering::Relaxed);
            return Err(FsError::InsufficientResources);
        }
        let share = super::share_key(&open.share);
        let path = open.path();
        let watcher = Arc::new(Watcher {
            share,
            filter,
            recursive,
            capacity: self.limits.notify_buffer,
            inner: Mutex::new(WatchState {
                path: path.to_string(),
                ..WatchState::default()
            }),
            host: Mutex::new(None),
        });
        self.watches
            .folders
            .lock()
            .entry((share, path.to_string()))
            .or_default()
            .push(watcher.clone());
        if open.share.options.host_changes {
            let sink = Arc::new(HostSink {
                service: Arc::downgrade(self),
                watcher: Arc::downgrade(&watcher),
            });
            // Without the host's help our own changes are still told.
            *watcher.host.lock() = open.share.backend.watch(&path, recursive, sink).ok();
        }
        *slot = Some(watcher.clone());
        Ok(watcher)
    }

    /// The watch of an open ends: its calls get `how`.
    pub(super) fn end_watch(&self, open: &Open, how: FsError) {
        let Some(watcher) = open.watcher.lock().clone() else {
            return;
        };
        let waiting = {
            let mut state = watcher.inner.lock();
            if state.ended.is_none() {
                state.ended = Some(how);
            }
            core::mem::take(&mut state.waiting)
        };
        for (pending, _) in waiting {
            self.answer(&pending, Err(how));
        }
    }

    /// An open that watches is closed.
    pub(super) fn drop_watch(&self, open: &Open) {
        let Some(watcher) = open.watcher.lock().take() else {
            return;
        };
        let path = watcher.inner.lock().path.clone();
        {
            let mut folders = self.watches.folders.lock();
            let key = (watcher.share, path);
            if let Some(list) = folders.get_mut(&key) {
                list.retain(|w| !Arc::ptr_eq(w, &watcher));
                if list.is_empty() {
                    folders.remove(&key);
                }
            }
        }
        self.watches.count.fetch_sub(1, Ordering::Relaxed);
        *watcher.host.lock() = None;
        let waiting = {
            let mut state = watcher.inner.lock();
            state.ended = Some(FsError::NotifyCleanup);
            core::mem::take(&mut state.waiting)
        };
        for (pending, _) in waiting {
            self.answer(&pending, Err(FsError::NotifyCleanup));
        }
    }

    /// A folder that is watched has a new name.
    pub(super) fn watch_moved(&self, open: &Open) {
        let Some(watcher) = open.watcher.lock().clone() else {
            return;
        };
        let new = open.path().to_string();
        let old = core::mem::replace(&mut watcher.inner.lock().path, new.clone());
        let mut folders = self.watches.folders.lock();
        if let Some(list) = folders.get_mut(&(watcher.share, old.clone())) {
            list.retain(|w| !Arc::ptr_eq(w, &watcher));
            if list.is_empty() {
                folders.remove(&(watcher.share, old));
            }
        }
        folders
            .entry((watcher.share, new))
            .or_default()
            .push(watcher);
    }

    /// Something happened to `path` by our own doing.
    pub(super) fn happened(&self, share: &Arc<Share>, path: &SmbPath, what: Happened) {
        if !self.is_watched() {
            return;
        }
        let text = path.to_string();
        self.watches.own.note(
            super::share_key(share),
            &text,
            what.action(),
            self.host.monotonic(),
        );
        self.tell(
            super::share_key(share),
            &text,
            what.action(),
            what.filter(),
            true,
        );
    }

    /// Tells every watcher of the folder, and those above that watch the tree.
    fn tell(
        &self,
        share: usize,
        path: &str,
        action: ChangeAction,
        filter: CompletionFilter,
        stream_suffix: bool,
    ) {
        let mut interested: Vec<(Arc<Watcher>, String)> = Vec::new();
        {
            let folders = self.watches.folders.lock();
            let mut end = path.len();
            let mut direct = true;
            loop {
                let cut = path.get(..end).and_then(|p| p.rfind('\\'));
                let (folder, from) = match cut {
                    Some(i) => (path.get(..i).unwrap_or(""), i + 1),
                    None => ("", 0),
                };
                if let Some(list) = folders.get(&(share, folder.to_owned())) {
                    let name = path.get(from..).unwrap_or("");
                    for w in list
                        .iter()
                        .filter(|w| w.filter.intersects(filter) && (direct || w.recursive))
                    {
                        if !name.is_empty() {
                            interested.push((w.clone(), name.to_owned()));
                        }
                    }
                }
                direct = false;
                match cut {
                    Some(i) => end = i,
                    None => break,
                }
            }
        }
        let stream = stream_suffix
            && matches!(
                action,
                ChangeAction::AddedStream
                    | ChangeAction::RemovedStream
                    | ChangeAction::ModifiedStream
            );
        for (watcher, name) in interested {
            let name = if stream {
                format!("{name}:$DATA")
            } else {
                name
            };
            self.deliver(&watcher, Change { action, name });
        }
    }

    /// Gives a change to a watcher: to the call that waits, or to the buffer.
    fn deliver(&self, watcher: &Watcher, change: Change) {
        let answer = {
            let mut state = watcher.inner.lock();
            if state.ended.is_some() {
                return;
            }
            if !state.overflow {
                let repeated = change.action == ChangeAction::Modified
                    && state.changes.last() == Some(&change);
                if !repeated {
                    state.bytes += size_of(&change.name);
                    state.changes.push(change);
                }
                if state.bytes > watcher.capacity {
                    state.overflow = true;
                    state.changes = Vec::new();
                    state.bytes = 0;
                }
            }
            // The first half of a rename waits for the second.
            let half = state
                .changes
                .last()
                .is_some_and(|c| c.action == ChangeAction::RenamedOldName);
            if half && !state.overflow {
                return;
            }
            loop {
                let Some((pending, max)) = state.waiting.pop_front() else {
                    break None;
                };
                if pending.is_done() {
                    continue;
                }
                break take(&mut state, max).map(|result| (pending, result));
            }
        };
        if let Some((pending, result)) = answer {
            self.answer(&pending, result);
        }
    }

    fn overflowed(&self, watcher: &Watcher) {
        let answer = {
            let mut state = watcher.inner.lock();
            state.overflow = true;
            state.changes = Vec::new();
            state.bytes = 0;
            loop {
                let Some((pending, max)) = state.waiting.pop_front() else {
                    break None;
                };
                if !pending.is_done() {
                    break take(&mut state, max).map(|result| (pending, result));
                }
            }
        };
        if let Some((pending, result)) = answer {
            self.answer(&pending, result);
        }
    }

    /// The contents of the folder that holds `path` changed: leases on it break,
    /// but not that of the client who says that he knows ([MS-SMB2] 3.3.4.20).
    pub(super) fn break_folder(
        self: &Arc<Self>,
        share: &Arc<Share>,
        path: &SmbPath,
        client: Guid,
        parent: Option<[u8; 16]>,
    ) {
        if self.folder_leases.load(Ordering::Acquire) == 0 {
            return;
        }
        let Some(folder) = path.without_stream().parent() else {
            return;
        };
        let Ok(Lookup::Found { metadata, .. }) = share.backend.lookup(&folder, true) else {
            return;
        };
        let Some(node) = self.nodes.find(metadata.key) else {
            return;
        };
        self.break_folder_node(&node, parent.map(|key| LeaseName { client, key }));
    }

    fn break_folder_node(self: &Arc<Self>, node: &Arc<FileNode>, known: Option<LeaseName>) {
        let mut after = Aftermath::default();
        {
            let mut state = node.state.lock();
            let streams = state.streams.clone();
            for stream in streams {
                for number in state.caches_of_others(&stream, known, u64::MAX, |c| c.is_lease()) {
                    self.break_cache(node, &mut state, number, NONE, &mut after);
                }
            }
        }
        self.close_orphans(after.close);
    }
}

/// What there is to tell now; `None`: nothing.
fn take(state: &mut WatchState, max_bytes: u32) -> Option<Result<FsReply, FsError>> {
    if state.overflow {
        state.overflow = false;
        return Some(Err(FsError::NotifyEnumDir));
    }
    if state.changes.is_empty()
        || state
            .changes
            .last()
            .is_some_and(|c| c.action == ChangeAction::RenamedOldName)
    {
        return None;
    }
    let changes = core::mem::take(&mut state.changes);
    let bytes = core::mem::take(&mut state.bytes);
    if bytes > usize::try_from(max_bytes).unwrap_or(usize::MAX) {
        return Some(Err(FsError::NotifyEnumDir));
    }
    Some(Ok(FsReply::Changes(changes)))
}

/// Takes the host's changes for one watcher.
struct HostSink {
    service: Weak<FileService>,
    watcher: Weak<Watcher>,
}

impl WatchSink for HostSink {
    fn changed(&self, change: HostChange) {
        let (Some(service), Some(watcher)) = (self.service.upgrade(), self.watcher.upgrade())
        else {
            return;
        };
        let folder = watcher.inner.lock().path.clone();
        let path = if folder.is_empty() {
            change.change.name.clone()
        } else {
            format!("{folder}\\{}", change.change.name)
        };
        let action = change.change.action;
        if service
            .watches
            .own
            .is_ours(watcher.share, &path, action, service.host.monotonic())
        {
            return;
        }
        use CompletionFilter as F;
        let filter = match action {
            ChangeAction::Added
            | ChangeAction::Removed
            | ChangeAction::RenamedOldName
            | ChangeAction::RenamedNewName => {
                if change.directory {
                    F::DIR_NAME
                } else {
                    F::FILE_NAME
                }
            }
            ChangeAction::Modified if change.metadata_only => {
                F::ATTRIBUTES | F::LAST_WRITE | F::LAST_ACCESS | F::CREATION | F::EA | F::SECURITY
            }
            ChangeAction::Modified => F::SIZE | F::LAST_WRITE,
            _ => F::STREAM_NAME | F::STREAM_SIZE | F::STREAM_WRITE,
        };
        if watcher.filter.intersects(filter) {
            service.deliver(&watcher, change.change);
        }
    }

    fn overflow(&self) {
        if let (Some(service), Some(watcher)) = (self.service.upgrade(), self.watcher.upgrade()) {
            service.overflowed(&watcher);
        }
    }
}
