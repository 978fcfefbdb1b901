//! [MS-SMB2] 2.2.21 WRITE Request and 2.2.22 WRITE Response.

use super::layout::{body, buffer, here16, len16, len32, size};
use super::types::FileId;
use crate::cursor::{Result, Writer};

/// Flags: SMB2_WRITEFLAG_WRITE_THROUGH (2.1).
pub const WRITEFLAG_WRITE_THROUGH: u32 = 0x1;
/// Flags: SMB2_WRITEFLAG_WRITE_UNBUFFERED (3.0.2).
pub const WRITEFLAG_WRITE_UNBUFFERED: u32 = 0x2;

/// [MS-SMB2] 2.2.21 WRITE Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteRequest<'a> {
    /// Offset.
    pub offset: u64,
    /// FileId.
    pub file_id: FileId,
    /// Channel, see [`channel`](super::channel).
    pub channel: u32,
    /// RemainingBytes.
    pub remaining_bytes: u32,
    /// WriteChannelInfo.
    pub channel_info: &'a [u8],
    /// Flags.
    pub flags: u32,
    /// Data.
    pub data: &'a [u8],
}

impl<'a> WriteRequest<'a> {
    const FIXED: usize = 48;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 49, "WRITE Request")?;
        let at = usize::from(r.u16("DataOffset")?);
        let length = size(r.u32("Length")?);
        let offset = r.u64("Offset")?;
        let file_id = FileId::read(&mut r)?;
        let channel = r.u32("Channel")?;
        let remaining_bytes = r.u32("RemainingBytes")?;
        let info_at = usize::from(r.u16("WriteChannelInfoOffset")?);
        let info_len = usize::from(r.u16("WriteChannelInfoLength")?);
        let flags = r.u32("Flags")?;
        let channel_info = buffer(&r, info_at, info_len, Self::FIXED, "WriteChannelInfo")?;
        let data = buffer(&r, at, length, Self::FIXED, "Data")?;
        Ok(Self {
            offset,
            file_id,
            channel,
            remaining_bytes,
            channel_info,
            flags,
            data,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(49);
        let start = here16(w).saturating_sub(2);
        let info_at = start.saturating_add(48);
        w.u16(info_at.saturating_add(len16(self.channel_info)));
        w.u32(len32(self.data));
        w.u64(self.offset);
        self.file_id.write(w);
        w.u32(self.channel);
        w.u32(self.remaining_bytes);
        w.u16(if self.channel_info.is_empty() {
            0
        } else {
            info_at
        });
        w.u16(len16(self.channel_info));
        w.u32(self.flags);
        w.bytes(self.channel_info);
        w.bytes(self.data);
    }
}

/// [MS-SMB2] 2.2.22 WRITE Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteResponse {
    /// Count.
    pub count: u32,
}

impl WriteResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 17, "WRITE Response")?;
        r.skip(2, "Reserved")?;
        let count = r.u32("Count")?;
        r.skip(8, "Remaining")?;
        Ok(Self { count })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(17);
        w.u16(0);
        w.u32(self.count);
        w.u32(0);
        w.u32(0);
    }
}
