//! Opening and creating, [MS-FSA] 2.1.5.1.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes,
};

use super::FileService;
use super::attempt::Attempt;
use super::authorize::resolve;
use super::create::SETTABLE;
use super::node::FileNode;
use crate::backend::{BackendOpen, Handle, Lookup};
use crate::call::{CallContext, FsReply, OpenCall, Opened};
use crate::types::{Metadata, Rights};
use crate::wildcard::same_name;
use crate::{FsError, SmbPath};

/// How often an open begins again when the file changes under it.
const TRIES: u32 = 8;

/// A file that was found or made, before its share modes are looked at.
pub(super) struct Found {
    pub(super) path: SmbPath,
    pub(super) handle: Arc<dyn Handle>,
    pub(super) metadata: Metadata,
    pub(super) rights: Rights,
    pub(super) action: CreateAction,
}

/// Why an attempt stops.
pub(super) enum Stop {
    Failed(FsError),
    Wait(Arc<FileNode>, u64),
    Again,
}

impl From<FsError> for Stop {
    fn from(e: FsError) -> Self {
        Self::Failed(e)
    }
}

pub(super) fn overwrites(d: Disposition) -> bool {
    matches!(
        d,
        Disposition::Supersede | Disposition::Overwrite | Disposition::OverwriteIf
    )
}

pub(super) fn creates(d: Disposition) -> bool {
    !matches!(d, Disposition::Open | Disposition::Overwrite)
}

impl FileService {
    /// One attempt at an open; it is made again from the start after an oplock break.
    pub(super) fn attempt_open(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
    ) -> Attempt {
        for _ in 0..TRIES {
            match self.try_open(context, call) {
                Ok(opened) => return Attempt::Done(Ok(FsReply::Opened(Box::new(opened)))),
                Err(Stop::Failed(e)) => return Attempt::Done(Err(e)),
                Err(Stop::Wait(node, wakes)) => return Attempt::Wait(node, wakes),
                Err(Stop::Again) => {}
            }
        }
        Attempt::Done(Err(FsError::SharingViolation))
    }

    fn try_open(self: &Arc<Self>, context: &CallContext, call: &OpenCall) -> Result<Opened, Stop> {
        check_options(call)?;
        let desired = resolve(call.access)?;
        if call.snapshot.is_some() {
            return Err(FsError::NameNotFound.into());
        }
        self.app_instance_takes_over(call);
        let share = &context.share;
        let path = target(context, call)?;
        let exact = call.case_sensitive || share.options.case_sensitive;
        if path.named_stream().is_some() && !share.options.streams {
            return Err(FsError::NameInvalid.into());
        }
        let found = match share.backend.lookup(&path.without_stream(), exact)? {
            Lookup::Found { real, metadata } => {
                self.open_existing(context, call, desired, &path, real, *metadata)?
            }
            Lookup::Missing { real } => self.create_file(context, call, desired, &path, real)?,
        };
        self.enter(context, call, found)
    }

    /// The file is there (its stream perhaps not).
    fn open_existing(
        &self,
        context: &CallContext,
        call: &OpenCall,
        desired: AccessMask,
        path: &SmbPath,
        real: SmbPath,
        metadata: Metadata,
    ) -> Result<Found, Stop> {
        let stream = path.named_stream();
        let directory = metadata.is_directory();
        let options = call.options;
        if let Some(node) = self.nodes.find(metadata.key)
            && node.delete_pending.load(Ordering::Acquire)
        {
            return Err(FsError::DeletePending.into());
        }
        if stream.is_none() {
            if call.disposition == Disposition::Create {
                return Err(FsError::NameCollision.into());
            }
            check_kind(call, path, directory)?;
            if directory && overwrites(call.disposition) {
                return Err(if options.contains(CreateOptions::NON_DIRECTORY_FILE) {
                    FsError::IsADirectory
                } else {
                    FsError::NameCollision
                }
                .into());
            }
        } else if options.contains(CreateOptions::DIRECTORY_FILE) {
            return Err(FsError::NotADirectory.into());
        }
        if options.contains(CreateOptions::DELETE_ON_CLOSE) {
            if metadata.attributes.contains(FileAttributes::READONLY) {
                return Err(FsError::CannotDelete.into());
            }
            if real.is_root() && stream.is_none() {
                return Err(FsError::CannotDelete.into());
            }
        }
        let mut overwrite = overwrites(call.disposition);
        let full = match stream {
            Some(name) => real.with_stream(name),
            None => real.clone(),
        };
        let directory_handle = directory && stream.is_none();
        let how = BackendOpen {
            read: !directory_handle && wants_read(desired),
            write: !directory_handle && (wants_write(desired) || overwrite),
            open_reparse: options.contains(CreateOptions::OPEN_REPARSE_POINT),
            ..BackendOpen::default()
        };
        let (path, handle) = match self.open_handle(context, call, &full, &how, desired) {
            Ok(found) => found,
            Err(FsError::NameNotFound) if stream.is_some() => {
                return self.create_stream(context, call, desired, &full, &metadata);
            }
            Err(FsError::NameNotFound) => return Err(Stop::Again),
            Err(e) => return Err(e.into()),
        };
        if stream.is_some() && call.disposition == Disposition::Create {
            return Err(FsError::NameCollision.into());
        }
        let metadata = if stream.is_some() {
            handle.metadata()?
        } else {
            metadata
        };
        let mut also = AccessMask::empty();
        if overwrite {
            also = if call.disposition == Disposition::Supersede {
                AccessMask::DELETE | AccessMask::WRITE_DATA
            } else {
                AccessMask::WRITE_DATA | AccessMask::WRITE_EA | AccessMask::WRITE_ATTRIBUTES
            };
            let kept = FileAttributes::HIDDEN | FileAttributes::SYSTEM;
            if stream.is_none() && !call.attributes.contains(metadata.attributes & kept) {
                return Err(FsError::AccessDenied.into());
            }
            if metadata.attributes.contains(FileAttributes::READONLY) {
                return Err(FsError::AccessDenied.into());
            }
            if context.share.options.read_only {
                return Err(FsError::AccessDenied.into());
            }
        }
        let rights = self.authorize(context, &path, &*handle, &metadata, desired, also)?;
        if options.contains(CreateOptions::DELETE_ON_CLOSE)
            && !rights.granted.contains(AccessMask::DELETE)
        {
            return Err(FsError::AccessDenied.into());
        }
        if directory {
            overwrite = false;
        }
        let action = match (overwrite, call.disposition) {
            (false, _) => CreateAction::Opened,
            (true, Disposition::Supersede) => CreateAction::Superseded,
            (true, _) => CreateAction::Overwritten,
        };
        Ok(Found {
            path,
            handle,
            metadata,
            rights,
            action,
        })
    }

    /// Opens in the backend; a stream is looked for without regard to case, and
    /// the open has the name it was made with.
    fn open_handle(
        &self,
        context: &CallContext,
        call: &OpenCall,
        path: &SmbPath,
        how: &BackendOpen,
        desired: AccessMask,
    ) -> Result<(SmbPath, Arc<dyn Handle>), FsError> {
        let backend = &context.share.backend;
        let mut real = path.clone();
        if let Some(name) = path.named_stream()
            && !call.case_sensitive
        {
            let base = path.without_stream();
            let streams = backend.open(&base, &BackendOpen::default())?.streams()?;
            let exact = streams.iter().any(|s| s.name == name);
            if !exact && let Some(s) = streams.iter().find(|s| same_name(&s.name, name)) {
                real = base.with_stream(&s.name);
            }
        }
        let path = &real;
        let error = match backend.open(path, how) {
            Ok(handle) => return Ok((real, handle)),
            Err(e) => e,
        };
        if error == FsError::AccessDenied
            && desired.contains(AccessMask::MAXIMUM_ALLOWED)
            && !wants_write(desired - AccessMask::MAXIMUM_ALLOWED)
            && !overwrites(call.disposition)
        {
            // The most that is allowed is less than writing.
            let how = BackendOpen {
                write: false,
                ..how.clone()
            };
            return Ok((path.clone(), backend.open(path, &how)?));
        }
        Err(error)
    }
}

/// Refusals that need no look at the file, [MS-FSA] 2.1.5.1 phase 1.
fn check_options(call: &OpenCall) -> Result<(), FsError> {
    let o = call.options;
    let both = CreateOptions::DIRECTORY_FILE | CreateOptions::NON_DIRECTORY_FILE;
    if o.contains(both) {
        return Err(FsError::InvalidParameter);
    }
    if o.contains(CreateOptions::DIRECTORY_FILE) && overwrites(call.disposition) {
        return Err(FsError::InvalidParameter);
    }
    if o.contains(CreateOptions::DELETE_ON_CLOSE)
        && !call
            .access
            .intersects(AccessMask::DELETE | AccessMask::GENERIC_ALL | AccessMask::MAXIMUM_ALLOWED)
    {
        return Err(FsError::InvalidParameter);
    }
    if call.attributes.bits() & !(SETTABLE | 0x50) != 0 {
        return Err(FsError::InvalidParameter);
    }
    Ok(())
}

/// The path asked for, seen from the share's root.
fn target(context: &CallContext, call: &OpenCall) -> Result<SmbPath, FsError> {
    if let Some(file) = call.by_id {
        let path = context.share.backend.path_of(file)?;
        return Ok(match call.path.named_stream() {
            Some(s) => path.with_stream(s),
            None => path,
        });
    }
    let Some(folder) = &call.relative_to else {
        return Ok(call.path.clone());
    };
    if !folder.is_directory() && !call.path.components().is_empty() {
        return Err(FsError::NotADirectory);
    }
    let mut path = folder.path().without_stream();
    for c in call.path.components() {
        path = path.join(c)?;
    }
    Ok(match call.path.stream() {
        Some(s) => path.with_stream(s),
        None => path,
    })
}

/// Folder asked for and file found, or the other way round.
fn check_kind(call: &OpenCall, path: &SmbPath, directory: bool) -> Result<(), FsError> {
    if directory {
        // `folder::$DATA` is no folder.
        if path.stream().is_some() && call.options.contains(CreateOptions::DIRECTORY_FILE) {
            return Err(FsError::NotADirectory);
        }
        if call.options.contains(CreateOptions::NON_DIRECTORY_FILE) || path.stream().is_some() {
            return Err(FsError::IsADirectory);
        }
    } else {
        if call.options.contains(CreateOptions::DIRECTORY_FILE) {
            return Err(FsError::NotADirectory);
        }
        if call.trailing_separator {
            return Err(FsError::NameInvalid);
        }
    }
    Ok(())
}

fn wants_read(desired: AccessMask) -> bool {
    desired.intersects(AccessMask::READ_DATA | AccessMask::EXECUTE | AccessMask::MAXIMUM_ALLOWED)
}

fn wants_write(desired: AccessMask) -> bool {
    desired
        .intersects(AccessMask::WRITE_DATA | AccessMask::APPEND_DATA | AccessMask::MAXIMUM_ALLOWED)
}
