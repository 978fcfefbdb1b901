//! [MS-SMB2] 2.2.33 QUERY_DIRECTORY Request and 2.2.34 QUERY_DIRECTORY Response.

use super::layout::{body, buffer, even, here16, len16, len32, size};
use super::types::FileId;
use crate::cursor::{Result, Writer, utf16_lossy};

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.33 Flags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct QueryDirectoryFlags: u8 {
        /// SMB2_RESTART_SCANS.
        const RESTART_SCANS = 0x01;
        /// SMB2_RETURN_SINGLE_ENTRY.
        const RETURN_SINGLE_ENTRY = 0x02;
        /// SMB2_INDEX_SPECIFIED.
        const INDEX_SPECIFIED = 0x04;
        /// SMB2_REOPEN.
        const REOPEN = 0x10;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-SMB2] 2.2.33 QUERY_DIRECTORY Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryDirectoryRequest<'a> {
    /// FileInformationClass.
    pub information_class: u8,
    /// Flags.
    pub flags: QueryDirectoryFlags,
    /// FileIndex.
    pub file_index: u32,
    /// FileId.
    pub file_id: FileId,
    /// FileName, the pattern, UTF-16LE.
    pub pattern: &'a [u8],
    /// OutputBufferLength.
    pub output_buffer_length: u32,
}

impl<'a> QueryDirectoryRequest<'a> {
    const FIXED: usize = 32;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 33, "QUERY_DIRECTORY Request")?;
        let information_class = r.u8("FileInformationClass")?;
        let flags = QueryDirectoryFlags::from_bits_retain(r.u8("Flags")?);
        let file_index = r.u32("FileIndex")?;
        let file_id = FileId::read(&mut r)?;
        let at = usize::from(r.u16("FileNameOffset")?);
        let length = usize::from(r.u16("FileNameLength")?);
        let output_buffer_length = r.u32("OutputBufferLength")?;
        let pattern = even(buffer(&r, at, length, Self::FIXED, "FileName")?, "FileName")?;
        Ok(Self {
            information_class,
            flags,
            file_index,
            file_id,
            pattern,
            output_buffer_length,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(33);
        w.u8(self.information_class);
        w.u8(self.flags.bits());
        w.u32(self.file_index);
        self.file_id.write(w);
        let at = here16(w).saturating_add(8);
        w.u16(at);
        w.u16(len16(self.pattern));
        w.u32(self.output_buffer_length);
        if self.pattern.is_empty() {
            w.u8(0);
        } else {
            w.bytes(self.pattern);
        }
    }

    /// The pattern as text.
    pub fn pattern_text(&self) -> String {
        utf16_lossy(self.pattern)
    }
}

/// [MS-SMB2] 2.2.34 QUERY_DIRECTORY Response; QUERY_INFO and CHANGE_NOTIFY
/// answer in the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryDirectoryResponse<'a> {
    /// Buffer: entries of the class asked for.
    pub buffer: &'a [u8],
}

impl<'a> QueryDirectoryResponse<'a> {
    /// Bytes of the body in front of the buffer.
    pub const ROOM: usize = 8;

    /// The bytes of the body in front of `length` bytes of buffer.
    pub fn room(length: u32) -> [u8; 8] {
        let [a, b, c, d] = length.to_le_bytes();
        [9, 0, if length == 0 { 0 } else { 72 }, 0, a, b, c, d]
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 9, "QUERY Response")?;
        let at = usize::from(r.u16("OutputBufferOffset")?);
        let length = size(r.u32("OutputBufferLength")?);
        Ok(Self {
            buffer: buffer(&r, at, length, Self::ROOM, "Buffer")?,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.bytes(&Self::room(len32(self.buffer)));
        w.bytes(self.buffer);
    }
}
