//! [MS-SMB2] 2.2.15 CLOSE Request and 2.2.16 CLOSE Response.

use super::layout::body;
use super::types::FileId;
use crate::cursor::{Result, Writer};
use crate::dtyp::FileTime;
use crate::fscc::FileAttributes;

/// Flags: SMB2_CLOSE_FLAG_POSTQUERY_ATTRIB.
pub const CLOSE_FLAG_POSTQUERY_ATTRIB: u16 = 0x0001;

/// [MS-SMB2] 2.2.15 CLOSE Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseRequest {
    /// Flags: [`CLOSE_FLAG_POSTQUERY_ATTRIB`].
    pub flags: u16,
    /// FileId.
    pub file_id: FileId,
}

impl CloseRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 24, "CLOSE Request")?;
        let flags = r.u16("Flags")?;
        r.skip(4, "Reserved")?;
        Ok(Self {
            flags,
            file_id: FileId::read(&mut r)?,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(24);
        w.u16(self.flags);
        w.u32(0);
        self.file_id.write(w);
    }
}

/// [MS-SMB2] 2.2.16 CLOSE Response; all zero without the flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloseResponse {
    /// Flags: [`CLOSE_FLAG_POSTQUERY_ATTRIB`] when the rest is filled in.
    pub flags: u16,
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
}

impl CloseResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 60, "CLOSE Response")?;
        let flags = r.u16("Flags")?;
        r.skip(4, "Reserved")?;
        Ok(Self {
            flags,
            creation_time: FileTime(r.u64("CreationTime")?),
            last_access_time: FileTime(r.u64("LastAccessTime")?),
            last_write_time: FileTime(r.u64("LastWriteTime")?),
            change_time: FileTime(r.u64("ChangeTime")?),
            allocation_size: r.u64("AllocationSize")?,
            end_of_file: r.u64("EndofFile")?,
            file_attributes: FileAttributes::from_bits_retain(r.u32("FileAttributes")?),
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(60);
        w.u16(self.flags);
        w.u32(0);
        w.u64(self.creation_time.0);
        w.u64(self.last_access_time.0);
        w.u64(self.last_write_time.0);
        w.u64(self.change_time.0);
        w.u64(self.allocation_size);
        w.u64(self.end_of_file);
        w.u32(self.file_attributes.bits());
    }
}
