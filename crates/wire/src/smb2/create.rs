//! [MS-SMB2] 2.2.13 CREATE Request and 2.2.14 CREATE Response.

use super::create_context::{ContextList, CreateContext};
use super::layout::{body, buffer, even, here32, len16, size};
use super::types::FileId;
use crate::cursor::{Result, Writer, utf16_lossy};
use crate::dtyp::FileTime;
use crate::fscc::{AccessMask, CreateOptions, FileAttributes, ShareAccess};

/// RequestedOplockLevel and OplockLevel: SMB2_OPLOCK_LEVEL_LEASE; the others
/// are [`OplockLevel`](crate::fscc::OplockLevel)'s.
pub const OPLOCK_LEVEL_LEASE: u8 = 0xFF;
/// Flags of a response: SMB2_CREATE_FLAG_REPARSEPOINT (3.x).
pub const CREATE_FLAG_REPARSEPOINT: u8 = 0x01;

/// [MS-SMB2] 2.2.13 CREATE Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest<'a> {
    /// RequestedOplockLevel.
    pub oplock_level: u8,
    /// ImpersonationLevel: 0 to 3.
    pub impersonation_level: u32,
    /// DesiredAccess.
    pub desired_access: AccessMask,
    /// FileAttributes.
    pub file_attributes: FileAttributes,
    /// ShareAccess.
    pub share_access: ShareAccess,
    /// CreateDisposition, see [`Disposition`](crate::fscc::Disposition).
    pub disposition: u32,
    /// CreateOptions.
    pub options: CreateOptions,
    /// Name in UTF-16LE, relative to the share's root; empty for the root.
    pub name: &'a [u8],
    /// CreateContexts, in the order sent, each name and data as on the wire.
    pub contexts: Vec<CreateContext<'a>>,
}

impl<'a> CreateRequest<'a> {
    const FIXED: usize = 56;

    /// Decodes a message. The list of contexts is walked and checked; what
    /// stands in each is decoded by
    /// [`RequestContext::decode`](super::RequestContext::decode).
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 57, "CREATE Request")?;
        r.skip(1, "SecurityFlags")?;
        let oplock_level = r.u8("RequestedOplockLevel")?;
        let impersonation_level = r.u32("ImpersonationLevel")?;
        r.skip(16, "SmbCreateFlags")?;
        let desired_access = AccessMask::from_bits_retain(r.u32("DesiredAccess")?);
        let file_attributes = FileAttributes::from_bits_retain(r.u32("FileAttributes")?);
        let share_access = ShareAccess::from_bits_retain(r.u32("ShareAccess")?);
        let disposition = r.u32("CreateDisposition")?;
        let options = CreateOptions::from_bits_retain(r.u32("CreateOptions")?);
        let name_at = usize::from(r.u16("NameOffset")?);
        let name_len = usize::from(r.u16("NameLength")?);
        let contexts_at = size(r.u32("CreateContextsOffset")?);
        let contexts_len = size(r.u32("CreateContextsLength")?);
        let name = even(buffer(&r, name_at, name_len, Self::FIXED, "Name")?, "Name")?;
        let list = buffer(&r, contexts_at, contexts_len, Self::FIXED, "CreateContexts")?;
        let contexts = ContextList::new(list).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            oplock_level,
            impersonation_level,
            desired_access,
            file_attributes,
            share_access,
            disposition,
            options,
            name,
            contexts,
        })
    }

    /// Appends the body behind the header. NameOffset is written for an empty
    /// name too; servers insist on it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(57);
        w.u8(0);
        w.u8(self.oplock_level);
        w.u32(self.impersonation_level);
        w.zeros(16);
        w.u32(self.desired_access.bits());
        w.u32(self.file_attributes.bits());
        w.u32(self.share_access.bits());
        w.u32(self.disposition);
        w.u32(self.options.bits());
        let offsets_at = w.len();
        w.u16(u16::try_from(offsets_at + 12).unwrap_or(u16::MAX));
        w.u16(len16(self.name));
        w.u64(0);
        w.bytes(self.name);
        if self.contexts.is_empty() {
            if self.name.is_empty() {
                w.u8(0);
            }
        } else {
            if self.name.is_empty() {
                w.zeros(8);
            }
            w.align(8);
            let start = here32(w);
            CreateContext::encode_list(&self.contexts, w);
            let end = here32(w);
            w.patch_u32(offsets_at + 4, start);
            w.patch_u32(offsets_at + 8, end - start);
        }
    }

    /// The name as text.
    pub fn name_text(&self) -> String {
        utf16_lossy(self.name)
    }
}

/// [MS-SMB2] 2.2.14 CREATE Response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CreateResponse<'a> {
    /// OplockLevel.
    pub oplock_level: u8,
    /// Flags: [`CREATE_FLAG_REPARSEPOINT`].
    pub flags: u8,
    /// CreateAction, see [`CreateAction`](crate::fscc::CreateAction).
    pub action: u32,
    /// CreationTime.
    pub creation_time: FileTime,
    /// LastAccessTime.
    pub last_access_time: FileTime,
    /// LastWriteTime.
    pub last_write_time: FileTime,
    /// ChangeTime.
    pub change_time: FileTime,
    /// AllocationSize.
    pub allocation_size: u64,
    /// EndofFile.
    pub end_of_file: u64,
    /// FileAttributes.
    pub file_attributes: FileAttributes,
    /// FileId.
    pub file_id: FileId,
    /// CreateContexts.
    pub contexts: Vec<CreateContext<'a>>,
}

impl<'a> CreateResponse<'a> {
    const FIXED: usize = 88;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 89, "CREATE Response")?;
        let mut out = Self {
            oplock_level: r.u8("OplockLevel")?,
            flags: r.u8("Flags")?,
            action: r.u32("CreateAction")?,
            creation_time: FileTime(r.u64("CreationTime")?),
            last_access_time: FileTime(r.u64("LastAccessTime")?),
            last_write_time: FileTime(r.u64("LastWriteTime")?),
            change_time: FileTime(r.u64("ChangeTime")?),
            allocation_size: r.u64("AllocationSize")?,
            end_of_file: r.u64("EndofFile")?,
            file_attributes: FileAttributes::from_bits_retain(r.u32("FileAttributes")?),
            ..Self::default()
        };
        r.skip(4, "Reserved2")?;
        out.file_id = FileId::read(&mut r)?;
        let at = size(r.u32("CreateContextsOffset")?);
        let len = size(r.u32("CreateContextsLength")?);
        let list = buffer(&r, at, len, Self::FIXED, "CreateContexts")?;
        out.contexts = ContextList::new(list).collect::<Result<Vec<_>>>()?;
        Ok(out)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(89);
        w.u8(self.oplock_level);
        w.u8(self.flags);
        w.u32(self.action);
        w.u64(self.creation_time.0);
        w.u64(self.last_access_time.0);
        w.u64(self.last_write_time.0);
        w.u64(self.change_time.0);
        w.u64(self.allocation_size);
        w.u64(self.end_of_file);
        w.u32(self.file_attributes.bits());
        w.u32(0);
        self.file_id.write(w);
        let offsets_at = w.len();
        w.u64(0);
        if !self.contexts.is_empty() {
            let start = here32(w);
            CreateContext::encode_list(&self.contexts, w);
            let end = here32(w);
            w.patch_u32(offsets_at, start);
            w.patch_u32(offsets_at + 4, end - start);
        }
    }
}
