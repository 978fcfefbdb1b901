//! [MS-SMB2] 2.2.2 ERROR Response.

use super::layout::{body, len16, len32, size};
use crate::cursor::{Result, Writer};

/// ErrorId of an error context: SMB2_ERROR_ID_DEFAULT.
pub const ERROR_ID_DEFAULT: u32 = 0;
/// ErrorId of an error context: SMB2_ERROR_ID_SHARE_REDIRECT.
pub const ERROR_ID_SHARE_REDIRECT: u32 = 0x7264_5253;

/// [MS-SMB2] 2.2.2 ERROR Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorResponse<'a> {
    /// ErrorContextCount: 0 before 3.1.1.
    pub context_count: u8,
    /// ErrorData; usually empty.
    pub data: &'a [u8],
}

impl<'a> ErrorResponse<'a> {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 9, "ERROR Response")?;
        let context_count = r.u8("ErrorContextCount")?;
        r.skip(1, "Reserved")?;
        let length = size(r.u32("ByteCount")?);
        Ok(Self {
            context_count,
            data: r.take(length, "ErrorData")?,
        })
    }

    /// Appends the body behind the header. Without data one zero byte stands
    /// in its place, as StructureSize 9 says.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(9);
        w.u8(self.context_count);
        w.u8(0);
        w.u32(len32(self.data));
        if self.data.is_empty() {
            w.u8(0);
        } else {
            w.bytes(self.data);
        }
    }

    /// Appends the body with `data` as 3.1.1 has it: in one error context,
    /// [MS-SMB2] 2.2.2.1.
    pub fn encode_context(id: u32, data: &[u8], w: &mut Writer<'_>) {
        w.u16(9);
        w.u8(1);
        w.u8(0);
        w.u32(len32(data).saturating_add(8));
        w.u32(len32(data));
        w.u32(id);
        w.bytes(data);
    }
}

/// [MS-SMB2] 2.2.2.2.1 Symbolic Link Error Response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymlinkError<'a> {
    /// UnparsedPathLength: bytes of UTF-16 of the path behind the link.
    pub unparsed_path_length: u16,
    /// Flags: 1 = SYMLINK_FLAG_RELATIVE.
    pub flags: u32,
    /// SubstituteName, UTF-16LE.
    pub substitute_name: &'a [u8],
    /// PrintName, UTF-16LE.
    pub print_name: &'a [u8],
}

impl SymlinkError<'_> {
    /// Appends the error data.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let names = len16(self.substitute_name).saturating_add(len16(self.print_name));
        w.u32(u32::from(names).saturating_add(24));
        w.u32(0x4C4D_5953);
        w.u32(0xA000_000C);
        w.u16(names.saturating_add(12));
        w.u16(self.unparsed_path_length);
        w.u16(0);
        w.u16(len16(self.substitute_name));
        w.u16(len16(self.substitute_name));
        w.u16(len16(self.print_name));
        w.u32(self.flags);
        w.bytes(self.substitute_name);
        w.bytes(self.print_name);
    }
}
