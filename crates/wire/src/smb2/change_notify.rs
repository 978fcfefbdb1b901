//! [MS-SMB2] 2.2.35 CHANGE_NOTIFY Request and 2.2.36 CHANGE_NOTIFY Response.

use super::layout::body;
use super::query_directory::QueryDirectoryResponse;
use super::types::FileId;
use crate::cursor::{Result, Writer};
use crate::fscc::CompletionFilter;

/// Flags: SMB2_WATCH_TREE.
pub const WATCH_TREE: u16 = 0x0001;

/// [MS-SMB2] 2.2.35 CHANGE_NOTIFY Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeNotifyRequest {
    /// Flags: [`WATCH_TREE`].
    pub flags: u16,
    /// OutputBufferLength.
    pub output_buffer_length: u32,
    /// FileId.
    pub file_id: FileId,
    /// CompletionFilter.
    pub filter: CompletionFilter,
}

impl ChangeNotifyRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        let mut r = body(message, 32, "CHANGE_NOTIFY Request")?;
        let flags = r.u16("Flags")?;
        let output_buffer_length = r.u32("OutputBufferLength")?;
        let file_id = FileId::read(&mut r)?;
        let filter = CompletionFilter::from_bits_retain(r.u32("CompletionFilter")?);
        r.skip(4, "Reserved")?;
        Ok(Self {
            flags,
            output_buffer_length,
            file_id,
            filter,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(32);
        w.u16(self.flags);
        w.u32(self.output_buffer_length);
        self.file_id.write(w);
        w.u32(self.filter.bits());
        w.u32(0);
    }
}

/// [MS-SMB2] 2.2.36 CHANGE_NOTIFY Response: FILE_NOTIFY_INFORMATION entries.
pub type ChangeNotifyResponse<'a> = QueryDirectoryResponse<'a>;
