//! New files, folders and streams, [MS-FSA] 2.1.5.1.1.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes,
};

use super::FileService;
use super::notify::Happened;
use super::open::{Found, Stop, creates};
use crate::backend::{BackendOpen, Handle, Lookup};
use crate::call::{CallContext, OpenCall};
use crate::types::CachingRequest;
use crate::types::{Metadata, Rights};
use crate::{FsError, SmbPath};

/// Attributes that a client may give a file.
pub(super) const SETTABLE: u32 = 0x7FB7;

impl FileService {
    /// The file is there, its stream is not.
    pub(super) fn create_stream(
        &self,
        context: &CallContext,
        call: &OpenCall,
        desired: AccessMask,
        full: &SmbPath,
        base: &Metadata,
    ) -> Result<Found, Stop> {
        if !creates(call.disposition) {
            return Err(FsError::NameNotFound.into());
        }
        if context.share.options.read_only {
            return Err(FsError::AccessDenied.into());
        }
        let backend = &context.share.backend;
        let base_handle = backend.open(&full.without_stream(), &BackendOpen::default())?;
        let rights = self.authorize(
            context,
            full,
            &*base_handle,
            base,
            desired,
            AccessMask::WRITE_DATA,
        )?;
        let handle = match backend.open(full, &new_file(call, false)) {
            Ok(h) => h,
            Err(FsError::NameCollision) => return Err(Stop::Again),
            Err(e) => return Err(e.into()),
        };
        let metadata = handle.metadata()?;
        self.happened(&context.share, full, Happened::StreamAdded);
        Ok(Found {
            path: full.clone(),
            handle,
            metadata,
            rights,
            action: CreateAction::Created,
        })
    }

    /// Nothing of this name is there.
    pub(super) fn create_file(
        self: &Arc<Self>,
        context: &CallContext,
        call: &OpenCall,
        desired: AccessMask,
        path: &SmbPath,
        real: SmbPath,
    ) -> Result<Found, Stop> {
        if !creates(call.disposition) {
            return Err(FsError::NameNotFound.into());
        }
        if let CachingRequest::Lease(lease) = call.caching
            && self.is_lease_claimed(call.client, lease.key)
        {
            // [MS-SMB2] 3.3.5.9.8: the key belongs to another file.
            return Err(FsError::InvalidParameter.into());
        }
        let share = &context.share;
        let stream = path.named_stream();
        let directory = call.options.contains(CreateOptions::DIRECTORY_FILE) && stream.is_none();
        if call.options.contains(CreateOptions::DIRECTORY_FILE)
            && (stream.is_some() || path.stream().is_some())
        {
            return Err(FsError::NotADirectory.into());
        }
        if call.trailing_separator && !directory {
            return Err(FsError::NameInvalid.into());
        }
        if directory && call.attributes.contains(FileAttributes::TEMPORARY) {
            return Err(FsError::InvalidParameter.into());
        }
        if call.options.contains(CreateOptions::DELETE_ON_CLOSE)
            && call.attributes.contains(FileAttributes::READONLY)
        {
            return Err(FsError::CannotDelete.into());
        }
        if desired.contains(AccessMask::ACCESS_SYSTEM_SECURITY) && !context.caller.administrator {
            return Err(FsError::PrivilegeNotHeld.into());
        }
        let parent = real.parent().ok_or(FsError::NameInvalid)?;
        self.refuse_in_deleted_folder(context, &parent)?;
        let folder_sd = self.authorize_create(share, &context.caller, &parent, directory)?;
        let sent = match &call.security {
            Some(bytes) if bytes.len() > self.limits.security_bytes => {
                return Err(FsError::InvalidSecurityDescriptor.into());
            }
            Some(bytes) => Some(crate::security::SecurityDescriptor::parse(bytes)?),
            None => None,
        };
        let base = match share.backend.open(&real, &new_file(call, directory)) {
            Ok(h) => h,
            Err(FsError::NameCollision) if call.disposition == Disposition::Create => {
                return Err(FsError::NameCollision.into());
            }
            Err(FsError::NameCollision) => return Err(Stop::Again),
            Err(e) => return Err(e.into()),
        };
        let filled = self.fill_new(context, call, &*base, folder_sd.as_deref(), sent, directory);
        let (handle, path) = match (filled, stream) {
            (Err(e), _) => {
                share.backend.remove(&real).ok();
                return Err(e.into());
            }
            (Ok(()), None) => (base, real.clone()),
            (Ok(()), Some(name)) => {
                let full = real.with_stream(name);
                match share.backend.open(&full, &new_file(call, false)) {
                    Ok(h) => (h, full),
                    Err(e) => {
                        share.backend.remove(&real).ok();
                        return Err(e.into());
                    }
                }
            }
        };
        let metadata = handle.metadata()?;
        let granted = if desired.contains(AccessMask::MAXIMUM_ALLOWED) {
            super::authorize::ALL | (desired - AccessMask::MAXIMUM_ALLOWED)
        } else {
            desired
        };
        let maximal = match super::authorize::effective_security(share, &*handle)? {
            None => super::authorize::ALL,
            Some(sd) => crate::security::maximal(&sd, &context.caller),
        };
        self.happened(share, &real, Happened::Added { directory });
        if stream.is_some() {
            self.happened(share, &path, Happened::StreamAdded);
        }
        self.break_folder(
            share,
            &real,
            call.client,
            super::enter::parent_key(call.caching),
        );
        Ok(Found {
            path,
            handle,
            metadata,
            rights: Rights { granted, maximal },
            action: CreateAction::Created,
        })
    }

    /// Gives a new file what its creator and its folder say.
    fn fill_new(
        &self,
        context: &CallContext,
        call: &OpenCall,
        handle: &dyn Handle,
        folder: Option<&crate::security::SecurityDescriptor>,
        sent: Option<crate::security::SecurityDescriptor>,
        directory: bool,
    ) -> Result<(), FsError> {
        if folder.is_some() || sent.is_some() {
            let sd = crate::security::inherit(folder, sent.as_ref(), directory, &context.caller);
            handle.set_security(&sd.encode())?;
        }
        for ea in &call.eas {
            handle.set_ea(ea)?;
        }
        if call.allocation_size > 0 && !directory && call.path.named_stream().is_none() {
            handle.allocate(call.allocation_size)?;
        }
        Ok(())
    }

    /// Nothing is made in a folder that is about to go.
    fn refuse_in_deleted_folder(
        &self,
        context: &CallContext,
        folder: &SmbPath,
    ) -> Result<(), FsError> {
        if self.deleting_folders.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        if let Lookup::Found { metadata, .. } = context.share.backend.lookup(folder, true)?
            && let Some(node) = self.nodes.find(metadata.key)
            && node.delete_pending.load(Ordering::Acquire)
        {
            return Err(FsError::DeletePending);
        }
        Ok(())
    }
}

/// How a new file is opened in the backend: its creator may do everything.
fn new_file(call: &OpenCall, directory: bool) -> BackendOpen {
    let mut attributes = (call.attributes & FileAttributes::from_bits_retain(SETTABLE))
        - (FileAttributes::NORMAL | FileAttributes::DIRECTORY);
    if directory {
        attributes |= FileAttributes::DIRECTORY;
        attributes -= FileAttributes::ARCHIVE;
    } else {
        attributes |= FileAttributes::ARCHIVE;
    }
    BackendOpen {
        read: !directory,
        write: !directory,
        create: true,
        directory,
        attributes,
        open_reparse: false,
    }
}
