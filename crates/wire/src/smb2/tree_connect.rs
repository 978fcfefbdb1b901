//! [MS-SMB2] 2.2.9 TREE_CONNECT Request and 2.2.10 TREE_CONNECT Response.

use super::layout::{body, buffer, even, here16, len16};
use crate::cursor::{Result, Writer, utf16_lossy};
use crate::fscc::AccessMask;

/// Flags: SMB2_TREE_CONNECT_FLAG_EXTENSION_PRESENT (3.1.1).
pub const TREE_CONNECT_FLAG_EXTENSION_PRESENT: u16 = 0x0004;

/// ShareType.
pub mod share_type {
    /// SMB2_SHARE_TYPE_DISK.
    pub const DISK: u8 = 1;
    /// SMB2_SHARE_TYPE_PIPE.
    pub const PIPE: u8 = 2;
    /// SMB2_SHARE_TYPE_PRINT.
    pub const PRINT: u8 = 3;
}

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.10 ShareFlags. Caching (bits 4 and 5) is a number:
    /// 0x00 manual, 0x10 auto, 0x20 VDO, 0x30 none.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ShareFlags: u32 {
        /// SMB2_SHAREFLAG_DFS.
        const DFS = 0x1;
        /// SMB2_SHAREFLAG_DFS_ROOT.
        const DFS_ROOT = 0x2;
        /// SMB2_SHAREFLAG_NO_CACHING (both caching bits).
        const NO_CACHING = 0x30;
        /// SMB2_SHAREFLAG_RESTRICT_EXCLUSIVE_OPENS.
        const RESTRICT_EXCLUSIVE_OPENS = 0x100;
        /// SMB2_SHAREFLAG_FORCE_SHARED_DELETE.
        const FORCE_SHARED_DELETE = 0x200;
        /// SMB2_SHAREFLAG_ALLOW_NAMESPACE_CACHING.
        const ALLOW_NAMESPACE_CACHING = 0x400;
        /// SMB2_SHAREFLAG_ACCESS_BASED_DIRECTORY_ENUM.
        const ACCESS_BASED_DIRECTORY_ENUM = 0x800;
        /// SMB2_SHAREFLAG_FORCE_LEVELII_OPLOCK.
        const FORCE_LEVELII_OPLOCK = 0x1000;
        /// SMB2_SHAREFLAG_ENABLE_HASH_V1.
        const ENABLE_HASH_V1 = 0x2000;
        /// SMB2_SHAREFLAG_ENABLE_HASH_V2.
        const ENABLE_HASH_V2 = 0x4000;
        /// SMB2_SHAREFLAG_ENCRYPT_DATA.
        const ENCRYPT_DATA = 0x8000;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-SMB2] 2.2.10 Capabilities of a share.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ShareCapabilities: u32 {
        /// SMB2_SHARE_CAP_DFS.
        const DFS = 0x08;
        /// SMB2_SHARE_CAP_CONTINUOUS_AVAILABILITY.
        const CONTINUOUS_AVAILABILITY = 0x10;
        /// SMB2_SHARE_CAP_SCALEOUT.
        const SCALEOUT = 0x20;
        /// SMB2_SHARE_CAP_CLUSTER.
        const CLUSTER = 0x40;
        /// SMB2_SHARE_CAP_ASYMMETRIC.
        const ASYMMETRIC = 0x80;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-SMB2] 2.2.9 TREE_CONNECT Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeConnectRequest<'a> {
    /// Flags (3.1.1).
    pub flags: u16,
    /// PathName in UTF-16LE: `\\server\share`.
    pub path: &'a [u8],
}

impl<'a> TreeConnectRequest<'a> {
    const FIXED: usize = 8;

    /// Decodes a message. The extension's contexts ([MS-SMB2] 2.2.9.1) are
    /// passed over.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 9, "TREE_CONNECT Request")?;
        let flags = r.u16("Flags")?;
        let offset = usize::from(r.u16("PathOffset")?);
        let length = usize::from(r.u16("PathLength")?);
        let path = even(
            buffer(&r, offset, length, Self::FIXED, "PathName")?,
            "PathName",
        )?;
        Ok(Self { flags, path })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(9);
        w.u16(self.flags & !TREE_CONNECT_FLAG_EXTENSION_PRESENT);
        let at = here16(w).saturating_add(4);
        w.u16(at);
        w.u16(len16(self.path));
        w.bytes(self.path);
    }

    /// The path as text.
    pub fn path_text(&self) -> String {
        utf16_lossy(self.path)
    }
}

/// [MS-SMB2] 2.2.10 TREE_CONNECT Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeConnectResponse {
    /// ShareType, see [`share_type`].
    pub share_type: u8,
    /// ShareFlags.
    pub share_flags: ShareFlags,
    /// Capabilities.
    pub capabilities: ShareCapabilities,
    /// MaximalAccess.
    pub maximal_access: AccessMask,
}

impl TreeConnectResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 16, "TREE_CONNECT Response")?;
        let share_type = r.u8("ShareType")?;
        r.skip(1, "Reserved")?;
        Ok(Self {
            share_type,
            share_flags: ShareFlags::from_bits_retain(r.u32("ShareFlags")?),
            capabilities: ShareCapabilities::from_bits_retain(r.u32("Capabilities")?),
            maximal_access: AccessMask::from_bits_retain(r.u32("MaximalAccess")?),
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(16);
        w.u8(self.share_type);
        w.u8(0);
        w.u32(self.share_flags.bits());
        w.u32(self.capabilities.bits());
        w.u32(self.maximal_access.bits());
    }
}
