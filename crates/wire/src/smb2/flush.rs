//! [MS-SMB2] 2.2.17 FLUSH Request and 2.2.18 FLUSH Response.

use super::layout::body;
use super::types::FileId;
use crate::cursor::{Result, Writer};

/// [MS-SMB2] 2.2.17 FLUSH Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushRequest {
    /// Reserved1; 0xFFFF from macOS means down to the medium.
    pub reserved1: u16,
    /// FileId.
    pub file_id: FileId,
}

impl FlushRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 24, "FLUSH Request")?;
        let reserved1 = r.u16("Reserved1")?;
        r.skip(4, "Reserved2")?;
        Ok(Self {
            reserved1,
            file_id: FileId::read(&mut r)?,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(24);
        w.u16(self.reserved1);
        w.u32(0);
        self.file_id.write(w);
    }
}

/// [MS-SMB2] 2.2.18 FLUSH Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushResponse;

impl FlushResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "FLUSH Response")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}
