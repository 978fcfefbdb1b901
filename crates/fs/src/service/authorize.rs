//! Which rights an open gets: the only place where rights on files are decided.

use std::sync::Arc;
use std::time::Duration;

use countersign_wire::fscc::{AccessMask, FileAttributes};

use super::FileService;
use super::share::{DefaultSecurity, Share};
use crate::backend::{BackendOpen, Handle};
use crate::call::CallContext;
use crate::security::{self, SecurityDescriptor};
use crate::types::{Caller, Metadata, Rights};
use crate::{FsError, SmbPath};

/// Every right a file has.
pub(super) const ALL: AccessMask = AccessMask::from_bits_retain(0x001F_01FF);
/// Rights that change something.
pub(super) const CHANGES: AccessMask = AccessMask::from_bits_retain(
    AccessMask::WRITE_DATA.bits()
        | AccessMask::APPEND_DATA.bits()
        | AccessMask::WRITE_EA.bits()
        | AccessMask::WRITE_ATTRIBUTES.bits()
        | AccessMask::DELETE.bits()
        | AccessMask::DELETE_CHILD.bits()
        | AccessMask::WRITE_DAC.bits()
        | AccessMask::WRITE_OWNER.bits(),
);
/// Bits that no request may have, [MS-FSA] 2.1.5.1.
const INVALID: u32 = 0x0CE0_FE00;
/// How long a folder's descriptor is believed without reading it again.
const FOLDER_SECURITY_AGE: Duration = Duration::from_secs(1);
/// Folders whose descriptors are remembered.
const FOLDER_SECURITY_ENTRIES: usize = 4096;

/// A folder's descriptor as it was read.
pub(super) type FolderSecurity = (Duration, Option<Arc<SecurityDescriptor>>);

/// Refuses rights that are malformed and resolves the generic ones.
pub(super) fn resolve(desired: AccessMask) -> Result<AccessMask, FsError> {
    if desired.is_empty() || desired.bits() & INVALID != 0 {
        return Err(FsError::AccessDenied);
    }
    Ok(security::unmap_generic(desired))
}

impl FileService {
    /// Rights of an existing file: `desired` (resolved) and `also`, which the
    /// open needs but is not granted.
    pub(super) fn authorize(
        &self,
        context: &CallContext,
        path: &SmbPath,
        handle: &dyn Handle,
        metadata: &Metadata,
        desired: AccessMask,
        also: AccessMask,
    ) -> Result<Rights, FsError> {
        let caller = &context.caller;
        let share = &context.share;
        let mut maximal = match effective_security(share, handle)? {
            None => ALL,
            Some(sd) => security::maximal(&sd, caller),
        };
        let mut wanted = desired - AccessMask::MAXIMUM_ALLOWED;
        if wanted.contains(AccessMask::ACCESS_SYSTEM_SECURITY) {
            if !caller.administrator {
                return Err(FsError::PrivilegeNotHeld);
            }
            wanted -= AccessMask::ACCESS_SYSTEM_SECURITY;
        }
        if share.options.read_only {
            maximal -= CHANGES;
        }
        let read_only_file =
            metadata.attributes.contains(FileAttributes::READONLY) && !metadata.is_directory();
        let data = AccessMask::WRITE_DATA | AccessMask::APPEND_DATA;
        if read_only_file && (wanted | also).intersects(data) {
            return Err(FsError::AccessDenied);
        }
        let missing = (wanted | also) - maximal;
        if !missing.is_empty() || !(ALL - maximal).is_empty() {
            // What the folder lets its users do with what lies in it.
            maximal |= self.parent_grants(context, path, ALL - maximal)?;
            if share.options.read_only {
                maximal -= CHANGES;
            }
            if !((wanted | also) - maximal).is_empty() {
                return Err(FsError::AccessDenied);
            }
        }
        let mut granted = wanted;
        if desired.contains(AccessMask::MAXIMUM_ALLOWED) {
            granted |= if read_only_file {
                maximal - data
            } else {
                maximal
            };
        }
        if desired.contains(AccessMask::ACCESS_SYSTEM_SECURITY) {
            granted |= AccessMask::ACCESS_SYSTEM_SECURITY;
        }
        if granted.is_empty() {
            return Err(FsError::AccessDenied);
        }
        Ok(Rights { granted, maximal })
    }

    /// DELETE by the folder's DELETE_CHILD, READ_ATTRIBUTES by its LIST_DIRECTORY.
    fn parent_grants(
        &self,
        context: &CallContext,
        path: &SmbPath,
        missing: AccessMask,
    ) -> Result<AccessMask, FsError> {
        let mut out = AccessMask::empty();
        if !missing.intersects(AccessMask::DELETE | AccessMask::READ_ATTRIBUTES) {
            return Ok(out);
        }
        let Some(parent) = path.without_stream().parent() else {
            return Ok(out);
        };
        let rights = match self.folder_security(&context.share, &parent)? {
            None => ALL,
            Some(sd) => security::maximal(&sd, &context.caller),
        };
        if rights.contains(AccessMask::DELETE_CHILD) {
            out |= AccessMask::DELETE;
        }
        if rights.contains(AccessMask::READ_DATA) {
            out |= AccessMask::READ_ATTRIBUTES;
        }
        Ok(out & missing)
    }

    /// Whether `caller` may make a file or folder in `parent`; gives the
    /// folder's descriptor, from which the new one inherits.
    pub(super) fn authorize_create(
        &self,
        share: &Arc<Share>,
        caller: &Caller,
        parent: &SmbPath,
        directory: bool,
    ) -> Result<Option<Arc<SecurityDescriptor>>, FsError> {
        if share.options.read_only {
            return Err(FsError::AccessDenied);
        }
        let sd = self.folder_security(share, parent)?;
        let needed = if directory {
            AccessMask::APPEND_DATA
        } else {
            AccessMask::WRITE_DATA
        };
        if let Some(sd) = &sd
            && !security::maximal(sd, caller).contains(needed)
        {
            return Err(FsError::AccessDenied);
        }
        Ok(sd)
    }

    /// The descriptor of a folder that has one.
    fn folder_security(
        &self,
        share: &Arc<Share>,
        path: &SmbPath,
    ) -> Result<Option<Arc<SecurityDescriptor>>, FsError> {
        let key = (super::share_key(share), path.to_string());
        let now = self.host.monotonic();
        if let Some((at, sd)) = self.folders.lock().get(&key)
            && now.saturating_sub(*at) < FOLDER_SECURITY_AGE
        {
            return Ok(sd.clone());
        }
        let handle = share.backend.open(path, &BackendOpen::default())?;
        let sd = effective_security(share, &*handle)?.map(Arc::new);
        let mut folders = self.folders.lock();
        if folders.len() >= FOLDER_SECURITY_ENTRIES {
            folders.clear();
        }
        folders.insert(key, (now, sd.clone()));
        Ok(sd)
    }

    /// Forgets what is known about folders, after a change of security or of names.
    pub(super) fn forget_folders(&self) {
        self.folders.lock().clear();
    }
}

/// The descriptor that protects a file; `None` when everybody may do everything.
pub(super) fn effective_security(
    share: &Share,
    handle: &dyn Handle,
) -> Result<Option<SecurityDescriptor>, FsError> {
    if let Some(bytes) = handle.security()? {
        return SecurityDescriptor::parse(&bytes).map(Some);
    }
    match &share.options.default_security {
        DefaultSecurity::EveryoneFullControl => Ok(None),
        DefaultSecurity::Descriptor(bytes) => SecurityDescriptor::parse(bytes).map(Some),
    }
}
