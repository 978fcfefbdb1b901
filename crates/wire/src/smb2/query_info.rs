//! [MS-SMB2] 2.2.37 QUERY_INFO Request and 2.2.38 QUERY_INFO Response.

use super::layout::{body, buffer, here16, len32, size};
use super::query_directory::QueryDirectoryResponse;
use super::types::FileId;
use crate::cursor::{Result, Writer};

/// Flags: SL_RESTART_SCAN.
pub const SL_RESTART_SCAN: u32 = 0x1;
/// Flags: SL_RETURN_SINGLE_ENTRY.
pub const SL_RETURN_SINGLE_ENTRY: u32 = 0x2;
/// Flags: SL_INDEX_SPECIFIED.
pub const SL_INDEX_SPECIFIED: u32 = 0x4;

/// [MS-SMB2] 2.2.37 QUERY_INFO Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryInfoRequest<'a> {
    /// InfoType, see [`info_type`](super::info_type).
    pub info_type: u8,
    /// FileInfoClass.
    pub information_class: u8,
    /// OutputBufferLength.
    pub output_buffer_length: u32,
    /// AdditionalInformation.
    pub additional_information: u32,
    /// Flags.
    pub flags: u32,
    /// FileId.
    pub file_id: FileId,
    /// Input buffer: names of extended attributes, or a quota query.
    pub input: &'a [u8],
}

impl<'a> QueryInfoRequest<'a> {
    const FIXED: usize = 40;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 41, "QUERY_INFO Request")?;
        let info_type = r.u8("InfoType")?;
        let information_class = r.u8("FileInfoClass")?;
        let output_buffer_length = r.u32("OutputBufferLength")?;
        let at = usize::from(r.u16("InputBufferOffset")?);
        r.skip(2, "Reserved")?;
        let length = size(r.u32("InputBufferLength")?);
        let additional_information = r.u32("AdditionalInformation")?;
        let flags = r.u32("Flags")?;
        let file_id = FileId::read(&mut r)?;
        let input = buffer(&r, at, length, Self::FIXED, "InputBuffer")?;
        Ok(Self {
            info_type,
            information_class,
            output_buffer_length,
            additional_information,
            flags,
            file_id,
            input,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(41);
        w.u8(self.info_type);
        w.u8(self.information_class);
        w.u32(self.output_buffer_length);
        let at = here16(w).saturating_add(32);
        w.u16(if self.input.is_empty() { 0 } else { at });
        w.u16(0);
        w.u32(len32(self.input));
        w.u32(self.additional_information);
        w.u32(self.flags);
        self.file_id.write(w);
        if self.input.is_empty() {
            w.u8(0);
        } else {
            w.bytes(self.input);
        }
    }
}

/// [MS-SMB2] 2.2.38 QUERY_INFO Response: the information asked for.
pub type QueryInfoResponse<'a> = QueryDirectoryResponse<'a>;
