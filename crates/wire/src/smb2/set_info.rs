//! [MS-SMB2] 2.2.39 SET_INFO Request and 2.2.40 SET_INFO Response.

use super::layout::{body, buffer, here16, len32, size};
use super::types::FileId;
use crate::cursor::{Result, Writer};

/// [MS-SMB2] 2.2.39 SET_INFO Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetInfoRequest<'a> {
    /// InfoType, see [`info_type`](super::info_type).
    pub info_type: u8,
    /// FileInfoClass.
    pub information_class: u8,
    /// AdditionalInformation.
    pub additional_information: u32,
    /// FileId.
    pub file_id: FileId,
    /// Buffer.
    pub buffer: &'a [u8],
}

impl<'a> SetInfoRequest<'a> {
    const FIXED: usize = 32;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 33, "SET_INFO Request")?;
        let info_type = r.u8("InfoType")?;
        let information_class = r.u8("FileInfoClass")?;
        let length = size(r.u32("BufferLength")?);
        let at = usize::from(r.u16("BufferOffset")?);
        r.skip(2, "Reserved")?;
        let additional_information = r.u32("AdditionalInformation")?;
        let file_id = FileId::read(&mut r)?;
        let buffer = buffer(&r, at, length, Self::FIXED, "Buffer")?;
        Ok(Self {
            info_type,
            information_class,
            additional_information,
            file_id,
            buffer,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(33);
        w.u8(self.info_type);
        w.u8(self.information_class);
        w.u32(len32(self.buffer));
        let at = here16(w).saturating_add(24);
        w.u16(at);
        w.u16(0);
        w.u32(self.additional_information);
        self.file_id.write(w);
        w.bytes(self.buffer);
    }
}

/// [MS-SMB2] 2.2.40 SET_INFO Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetInfoResponse;

impl SetInfoResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 2, "SET_INFO Response")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(2);
    }
}
