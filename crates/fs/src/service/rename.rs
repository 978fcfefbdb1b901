//! Renames, moves and hard links, [MS-FSA] 2.1.5.15.11 and 2.1.5.15.6.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::fscc::{
    AccessMask, CompletionFilter, FileAttributes, LeaseState, ShareAccess,
};

use super::FileService;
use super::attempt::Attempt;
use super::handle::Open;
use super::node::FileNode;
use super::notify::Happened;
use super::oplock::Aftermath;
use super::share_mode::is_stat_open;
use crate::backend::{BackendOpen, Lookup};
use crate::call::{CallContext, FsReply};
use crate::types::Metadata;
use crate::wildcard::same_name;
use crate::{FsError, SmbPath};

impl FileService {
    /// FileRenameInformation.
    pub(super) fn attempt_rename(
        self: &Arc<Self>,
        context: &CallContext,
        open: &Arc<Open>,
        to: &SmbPath,
        replace: bool,
    ) -> Attempt {
        if open.is_closed() {
            return Attempt::Done(Err(FsError::FileClosed));
        }
        if !open.granted.contains(AccessMask::DELETE) {
            return Attempt::Done(Err(FsError::AccessDenied));
        }
        if open.is_stream() || to.named_stream().is_some() {
            return Attempt::Done(
                self.rename_stream(open, to, replace)
                    .map(|()| FsReply::Done),
            );
        }
        match self.rename_file(context, open, to, replace) {
            Ok(None) => Attempt::Done(Ok(FsReply::Done)),
            Ok(Some((node, wakes))) => Attempt::Wait(node, wakes),
            Err(e) => Attempt::Done(Err(e)),
        }
    }

    fn rename_file(
        self: &Arc<Self>,
        context: &CallContext,
        open: &Arc<Open>,
        to: &SmbPath,
        replace: bool,
    ) -> Result<Option<(Arc<FileNode>, u64)>, FsError> {
        let from = open.path();
        let to = to.without_stream();
        if from.is_root() || to.components().is_empty() {
            return Err(FsError::AccessDenied);
        }
        let directory = open.is_directory();
        if directory && is_below(&to, &from) && to != *from {
            return Err(FsError::InvalidParameter);
        }
        let share = &open.share;
        let exact = open.case_sensitive || share.options.case_sensitive;
        let target = match share.backend.lookup(&to, exact)? {
            Lookup::Found { real, metadata } if metadata.key == open.node.key => {
                if real.to_string() == from.to_string() {
                    // Itself: at most its case changes.
                    let name = to.file_name().unwrap_or_default();
                    let folder = real.parent().unwrap_or_default();
                    folder.join(name)?
                } else if !replace {
                    return Err(FsError::NameCollision);
                } else {
                    // Another link of the same file.
                    real
                }
            }
            Lookup::Found { real, metadata } => {
                self.may_replace(context, &real, &metadata, directory, replace)?;
                real.parent()
                    .unwrap_or_default()
                    .join(to.file_name().unwrap_or_default())?;
                real
            }
            Lookup::Missing { real } => real,
        };
        if directory && let Some(wait) = self.clear_below(open, &from)? {
            return Ok(Some(wait));
        }
        if let Some(wakes) = self.break_handles(open) {
            return Ok(Some((open.node.clone(), wakes)));
        }
        let same_folder = from.parent() == target.parent();
        self.target_folder_lets(open, &target, directory, same_folder)?;
        if *from == target {
            return Ok(None);
        }
        share.backend.rename(&from, &target, replace)?;
        if directory {
            self.forget_folders();
        }
        self.moved(open, &from, &target, directory);
        Ok(None)
    }

    /// Whether a file that is in the way may be replaced.
    fn may_replace(
        &self,
        context: &CallContext,
        real: &SmbPath,
        metadata: &Metadata,
        source_is_folder: bool,
        replace: bool,
    ) -> Result<(), FsError> {
        if !replace {
            return Err(FsError::NameCollision);
        }
        if metadata.is_directory() || source_is_folder {
            return Err(FsError::AccessDenied);
        }
        if metadata.attributes.contains(FileAttributes::READONLY) {
            return Err(FsError::AccessDenied);
        }
        if let Some(node) = self.nodes.find(metadata.key)
            && !node.state.lock().members.is_empty()
        {
            return Err(FsError::AccessDenied);
        }
        let handle = context.share.backend.open(real, &BackendOpen::default())?;
        self.authorize(
            context,
            real,
            &*handle,
            metadata,
            AccessMask::DELETE,
            AccessMask::empty(),
        )
        .map(|_| ())
    }

    /// A folder moves only when nothing below it is open; handles that are only
    /// cached are asked back first, [MS-FSA] 2.1.4.2.
    fn clear_below(
        self: &Arc<Self>,
        open: &Arc<Open>,
        from: &SmbPath,
    ) -> Result<Option<(Arc<FileNode>, u64)>, FsError> {
        let share = super::share_key(&open.share);
        let below = self
            .opens
            .find_all(|o| super::share_key(&o.share) == share && is_below(&o.path(), from));
        for other in below {
            if other.id == open.id || Arc::ptr_eq(&other.node, &open.node) {
                continue;
            }
            let mut after = Aftermath::default();
            let wakes = {
                let mut state = other.node.state.lock();
                let number = state
                    .members
                    .iter()
                    .find(|m| m.open.id == other.id)
                    .and_then(|m| m.cache);
                let cached = number.and_then(|n| state.caches.iter().find(|c| c.number == n));
                if let Some(c) = cached
                    && c.state.contains(LeaseState::HANDLE)
                {
                    let (number, to) = (c.number, c.state - LeaseState::HANDLE);
                    self.break_cache(&other.node, &mut state, number, to, &mut after);
                }
                state.wakes
            };
            let orphans = !after.close.is_empty();
            self.close_orphans(after.close);
            if after.wait && !orphans {
                return Ok(Some((other.node.clone(), wakes)));
            }
            if !other.is_closed() {
                return Err(FsError::AccessDenied);
            }
        }
        Ok(None)
    }

    /// The folder that takes the new name must let names be added: an open of it
    /// that shares no writing, or that may delete it, stands against it.
    fn target_folder_lets(
        &self,
        open: &Open,
        target: &SmbPath,
        directory: bool,
        same_folder: bool,
    ) -> Result<(), FsError> {
        let parent = target.parent().unwrap_or_default();
        if !same_folder {
            self.authorize_create(&open.share, &open.caller, &parent, directory)?;
        }
        let Lookup::Found { metadata, .. } = open.share.backend.lookup(&parent, true)? else {
            return Err(FsError::PathNotFound);
        };
        let Some(node) = self.nodes.find(metadata.key) else {
            return Ok(());
        };
        if node.delete_pending.load(Ordering::Acquire) {
            return Err(FsError::DeletePending);
        }
        if directory {
            return Ok(());
        }
        let state = node.state.lock();
        let against = state.members.iter().any(|m| {
            m.open.is_directory()
                && !is_stat_open(m.open.granted, true)
                && (m.open.granted.contains(AccessMask::DELETE)
                    || (m.open.granted.intersects(
                        AccessMask::READ_DATA
                            | AccessMask::WRITE_DATA
                            | AccessMask::APPEND_DATA
                            | AccessMask::EXECUTE,
                    ) && !m.open.share_access.contains(ShareAccess::WRITE)))
        });
        if against {
            Err(FsError::SharingViolation)
        } else {
            Ok(())
        }
    }

    /// Names changed: opens follow, watchers are told.
    fn moved(self: &Arc<Self>, open: &Arc<Open>, from: &SmbPath, to: &SmbPath, directory: bool) {
        let share = super::share_key(&open.share);
        let movers: Vec<Arc<Open>> = if directory {
            self.opens
                .find_all(|o| super::share_key(&o.share) == share && is_below(&o.path(), from))
        } else {
            open.node
                .state
                .lock()
                .members
                .iter()
                .map(|m| m.open.clone())
                .collect()
        };
        for o in movers {
            let old = o.path();
            if let Some(new) = rebase(&old, from, to) {
                *o.path.write() = Arc::new(new);
                self.watch_moved(&o);
            }
        }
        {
            let mut state = open.node.state.lock();
            if let Some(path) = &state.delete_path
                && let Some(new) = rebase(path, from, to)
            {
                state.delete_path = Some(Arc::new(new));
            }
        }
        if from.parent() == to.parent() {
            self.happened(&open.share, from, Happened::RenamedFrom { directory });
            self.happened(&open.share, to, Happened::RenamedTo { directory });
        } else {
            self.happened(&open.share, from, Happened::Removed { directory });
            self.happened(&open.share, to, Happened::Added { directory });
        }
        if !directory {
            // Windows tells of the new name that it changed, too.
            let changed = CompletionFilter::ATTRIBUTES | CompletionFilter::CREATION;
            self.happened(&open.share, to, Happened::Modified(changed));
        }
        self.break_folder(&open.share, from, open.client, open.parent_lease);
        if from.parent() != to.parent() {
            self.break_folder(&open.share, to, open.client, None);
        }
    }

    /// A stream gets another name, [MS-FSA] 2.1.5.15.12.
    fn rename_stream(
        self: &Arc<Self>,
        open: &Arc<Open>,
        to: &SmbPath,
        replace: bool,
    ) -> Result<(), FsError> {
        let from = open.path();
        if !open.is_stream() && open.is_directory() {
            return Err(FsError::InvalidParameter);
        }
        let Some(name) = to.stream() else {
            return Err(FsError::InvalidParameter);
        };
        if !to.components().is_empty() {
            let base = to.without_stream();
            let same = base.components().len() == from.components().len()
                && base
                    .components()
                    .iter()
                    .zip(from.components())
                    .all(|(a, b)| same_name(a, b));
            if !same {
                return Err(FsError::InvalidParameter);
            }
        }
        let base = from.without_stream();
        let target = base.with_stream(name);
        if target.named_stream().map(str::to_owned) == from.named_stream().map(str::to_owned) {
            return Ok(());
        }
        let streams = open.handle.streams()?;
        let there = streams.iter().find(|s| same_name(&s.name, name));
        let case_only = from.named_stream().is_some_and(|n| same_name(n, name));
        if let Some(s) = there
            && !case_only
        {
            if !replace {
                return Err(FsError::NameCollision);
            }
            if s.size > 0 {
                return Err(FsError::InvalidParameter);
            }
            let folded = crate::wildcard::fold_name(name);
            if open
                .node
                .state
                .lock()
                .members
                .iter()
                .any(|m| m.open.id != open.id && m.open.stream.name == folded)
            {
                return Err(FsError::InvalidParameter);
            }
        }
        open.share.backend.rename(&from, &target, replace)?;
        let new = Arc::new(target.clone());
        let members: Vec<Arc<Open>> = open
            .node
            .state
            .lock()
            .members
            .iter()
            .filter(|m| Arc::ptr_eq(&m.open.stream, &open.stream))
            .map(|m| m.open.clone())
            .collect();
        for o in members {
            *o.path.write() = new.clone();
        }
        self.happened(&open.share, &from, Happened::StreamRemoved);
        self.happened(&open.share, &target, Happened::StreamAdded);
        Ok(())
    }

    /// FileLinkInformation.
    pub(super) fn link(
        self: &Arc<Self>,
        context: &CallContext,
        open: &Arc<Open>,
        to: &SmbPath,
        replace: bool,
    ) -> Result<FsReply, FsError> {
        if open.is_directory() {
            return Err(FsError::IsADirectory);
        }
        if open.is_stream() || to.named_stream().is_some() {
            return Err(FsError::InvalidParameter);
        }
        let share = &open.share;
        let exact = open.case_sensitive || share.options.case_sensitive;
        let target = match share.backend.lookup(&to.without_stream(), exact)? {
            Lookup::Found { real, metadata } => {
                self.may_replace(context, &real, &metadata, false, replace)?;
                real
            }
            Lookup::Missing { real } => real,
        };
        let parent = target.parent().ok_or(FsError::NameCollision)?;
        self.authorize_create(share, &open.caller, &parent, false)?;
        share.backend.link(&open.path(), &target, replace)?;
        self.happened(share, &target, Happened::Added { directory: false });
        self.break_folder(share, &target, open.client, open.parent_lease);
        Ok(FsReply::Done)
    }
}

/// Whether `path` is `folder` or lies below it.
fn is_below(path: &SmbPath, folder: &SmbPath) -> bool {
    path.components().starts_with(folder.components())
}

/// `path` with its beginning `from` replaced by `to`.
fn rebase(path: &SmbPath, from: &SmbPath, to: &SmbPath) -> Option<SmbPath> {
    let rest = path.components().strip_prefix(from.components())?;
    let mut out = to.without_stream();
    for c in rest {
        out = out.join(c).ok()?;
    }
    Some(match path.stream() {
        Some(s) => out.with_stream(s),
        None => out,
    })
}
