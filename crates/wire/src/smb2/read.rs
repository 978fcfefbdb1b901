//! [MS-SMB2] 2.2.19 READ Request and 2.2.20 READ Response.

use super::layout::{body, buffer, here16, len16, len32, size};
use super::types::FileId;
use crate::cursor::{Result, Writer};

/// Flags of a request: SMB2_READFLAG_READ_UNBUFFERED (3.0.2).
pub const READFLAG_READ_UNBUFFERED: u8 = 0x01;
/// Flags of a request: SMB2_READFLAG_REQUEST_COMPRESSED (3.1.1).
pub const READFLAG_REQUEST_COMPRESSED: u8 = 0x02;

/// Channel of READ and WRITE.
pub mod channel {
    /// SMB2_CHANNEL_NONE.
    pub const NONE: u32 = 0;
    /// SMB2_CHANNEL_RDMA_V1.
    pub const RDMA_V1: u32 = 1;
    /// SMB2_CHANNEL_RDMA_V1_INVALIDATE.
    pub const RDMA_V1_INVALIDATE: u32 = 2;
    /// SMB2_CHANNEL_RDMA_TRANSFORM.
    pub const RDMA_TRANSFORM: u32 = 3;
}

/// [MS-SMB2] 2.2.19 READ Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// Padding: where the client would like the data; a hint.
    pub padding: u8,
    /// Flags.
    pub flags: u8,
    /// Length.
    pub length: u32,
    /// Offset.
    pub offset: u64,
    /// FileId.
    pub file_id: FileId,
    /// MinimumCount.
    pub minimum_count: u32,
    /// Channel, see [`channel`].
    pub channel: u32,
    /// RemainingBytes.
    pub remaining_bytes: u32,
    /// ReadChannelInfo.
    pub channel_info: &'a [u8],
}

impl<'a> ReadRequest<'a> {
    const FIXED: usize = 48;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 49, "READ Request")?;
        let padding = r.u8("Padding")?;
        let flags = r.u8("Flags")?;
        let length = r.u32("Length")?;
        let offset = r.u64("Offset")?;
        let file_id = FileId::read(&mut r)?;
        let minimum_count = r.u32("MinimumCount")?;
        let channel = r.u32("Channel")?;
        let remaining_bytes = r.u32("RemainingBytes")?;
        let info_at = usize::from(r.u16("ReadChannelInfoOffset")?);
        let info_len = usize::from(r.u16("ReadChannelInfoLength")?);
        let channel_info = buffer(&r, info_at, info_len, Self::FIXED, "ReadChannelInfo")?;
        Ok(Self {
            padding,
            flags,
            length,
            offset,
            file_id,
            minimum_count,
            channel,
            remaining_bytes,
            channel_info,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(49);
        w.u8(self.padding);
        w.u8(self.flags);
        w.u32(self.length);
        w.u64(self.offset);
        self.file_id.write(w);
        w.u32(self.minimum_count);
        w.u32(self.channel);
        w.u32(self.remaining_bytes);
        if self.channel_info.is_empty() {
            w.u32(0);
            w.u8(0);
        } else {
            let at = here16(w).saturating_add(4);
            w.u16(at);
            w.u16(len16(self.channel_info));
            w.bytes(self.channel_info);
        }
    }
}

/// [MS-SMB2] 2.2.20 READ Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadResponse<'a> {
    /// DataRemaining.
    pub remaining: u32,
    /// Flags (3.1.1, RDMA).
    pub flags: u32,
    /// Data.
    pub data: &'a [u8],
}

impl<'a> ReadResponse<'a> {
    /// Bytes of the body in front of the data. A server reads the file behind
    /// `header room + ROOM` bytes and then fills the room in with
    /// [`ReadResponse::room`], so that the data stays where it is.
    pub const ROOM: usize = 16;

    /// The bytes of the body in front of `length` bytes of data.
    pub fn room(length: u32, remaining: u32) -> [u8; 16] {
        let [l0, l1, l2, l3] = length.to_le_bytes();
        let [r0, r1, r2, r3] = remaining.to_le_bytes();
        [17, 0, 80, 0, l0, l1, l2, l3, r0, r1, r2, r3, 0, 0, 0, 0]
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 17, "READ Response")?;
        let at = usize::from(r.u8("DataOffset")?);
        r.skip(1, "Reserved")?;
        let length = size(r.u32("DataLength")?);
        let remaining = r.u32("DataRemaining")?;
        let flags = r.u32("Flags")?;
        Ok(Self {
            remaining,
            flags,
            data: buffer(&r, at, length, Self::ROOM, "Data")?,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(17);
        w.u8(80);
        w.u8(0);
        w.u32(len32(self.data));
        w.u32(self.remaining);
        w.u32(self.flags);
        w.bytes(self.data);
    }
}
