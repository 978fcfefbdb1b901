//! Security descriptors of files, [MS-FSA] 2.1.5.14 and 2.1.5.17.

use std::sync::Arc;

use countersign_wire::fscc::{AccessMask, CompletionFilter};

use super::FileService;
use super::authorize::effective_security;
use super::handle::Open;
use super::notify::Happened;
use crate::FsError;
use crate::call::FsReply;
use crate::security::{self, Ace, Acl, Control, SecurityDescriptor, information as info, sids};
use crate::types::Caller;

/// What a file has that has no descriptor: it belongs to whoever asks, and
/// everybody may do everything.
fn default_descriptor(caller: &Caller) -> SecurityDescriptor {
    let group = caller
        .group_sids
        .iter()
        .find(|g| g.get(1).is_some_and(|&n| n >= 4))
        .unwrap_or(&caller.user_sid);
    SecurityDescriptor {
        control: Control::SELF_RELATIVE | Control::DACL_PRESENT,
        owner: Some(caller.user_sid.clone()),
        group: Some(group.clone()),
        sacl: None,
        dacl: Some(Acl::new(vec![Ace::allow(sids::EVERYONE, 0x001F_01FF, 0)])),
    }
}

impl FileService {
    pub(super) fn query_security(&self, open: &Open, parts: u32) -> Result<Vec<u8>, FsError> {
        let mut needed = AccessMask::empty();
        if parts & (info::OWNER | info::GROUP | info::DACL | info::LABEL) != 0 {
            needed |= AccessMask::READ_CONTROL;
        }
        if parts & info::SACL != 0 {
            needed |= AccessMask::ACCESS_SYSTEM_SECURITY;
        }
        if !open.granted.contains(needed) {
            return Err(FsError::AccessDenied);
        }
        let sd = effective_security(&open.share, &*open.handle)?
            .unwrap_or_else(|| default_descriptor(&open.caller));
        Ok(security::select(&sd, parts).encode())
    }

    pub(super) fn set_security(
        self: &Arc<Self>,
        open: &Arc<Open>,
        parts: u32,
        descriptor: &[u8],
    ) -> Result<FsReply, FsError> {
        let mut needed = AccessMask::empty();
        if parts & (info::OWNER | info::GROUP | info::LABEL) != 0 {
            needed |= AccessMask::WRITE_OWNER;
        }
        if parts & info::DACL != 0 {
            needed |= AccessMask::WRITE_DAC;
        }
        if parts & info::SACL != 0 {
            needed |= AccessMask::ACCESS_SYSTEM_SECURITY;
        }
        if !open.granted.contains(needed) {
            return Err(FsError::AccessDenied);
        }
        if descriptor.len() > self.limits.security_bytes {
            return Err(FsError::InvalidSecurityDescriptor);
        }
        let new = SecurityDescriptor::parse(descriptor)?;
        if parts & info::OWNER != 0 {
            let owner = new
                .owner
                .as_ref()
                .ok_or(FsError::InvalidSecurityDescriptor)?;
            may_own(&open.caller, owner)?;
        }
        let mut sd = effective_security(&open.share, &*open.handle)?
            .unwrap_or_else(|| default_descriptor(&open.caller));
        security::assign(&mut sd, &new, parts);
        open.handle.set_security(&sd.encode())?;
        if open.node.directory {
            self.forget_folders();
        }
        self.happened(
            &open.share,
            &open.path(),
            Happened::Modified(CompletionFilter::SECURITY),
        );
        Ok(FsReply::Done)
    }
}

/// Only oneself or a group of one's own may be made owner; an administrator
/// may name anybody.
fn may_own(caller: &Caller, owner: &[u8]) -> Result<(), FsError> {
    if caller.administrator
        || caller.user_sid == owner
        || caller.group_sids.iter().any(|g| g == owner)
    {
        Ok(())
    } else {
        Err(FsError::InvalidOwner)
    }
}
