//! [MS-SMB2] 2.2.31 IOCTL Request and 2.2.32 IOCTL Response.

use super::layout::{body, buffer, here32, len32, size};
use super::types::FileId;
use crate::cursor::{Result, Writer};

/// Flags: SMB2_0_IOCTL_IS_FSCTL.
pub const IOCTL_IS_FSCTL: u32 = 0x0000_0001;

/// [MS-SMB2] 2.2.31 IOCTL Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoctlRequest<'a> {
    /// CtlCode, see [`fsctl`](super::fsctl).
    pub ctl_code: u32,
    /// FileId; all ones for those about the server.
    pub file_id: FileId,
    /// Input buffer.
    pub input: &'a [u8],
    /// MaxInputResponse.
    pub max_input_response: u32,
    /// OutputCount of the request (should be 0).
    pub output_count: u32,
    /// MaxOutputResponse.
    pub max_output_response: u32,
    /// Flags: [`IOCTL_IS_FSCTL`].
    pub flags: u32,
}

impl<'a> IoctlRequest<'a> {
    const FIXED: usize = 56;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 57, "IOCTL Request")?;
        r.skip(2, "Reserved")?;
        let ctl_code = r.u32("CtlCode")?;
        let file_id = FileId::read(&mut r)?;
        let at = size(r.u32("InputOffset")?);
        let length = size(r.u32("InputCount")?);
        let max_input_response = r.u32("MaxInputResponse")?;
        r.skip(4, "OutputOffset")?;
        let output_count = r.u32("OutputCount")?;
        let max_output_response = r.u32("MaxOutputResponse")?;
        let flags = r.u32("Flags")?;
        let input = buffer(&r, at, length, Self::FIXED, "Input")?;
        Ok(Self {
            ctl_code,
            file_id,
            input,
            max_input_response,
            output_count,
            max_output_response,
            flags,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(57);
        w.u16(0);
        w.u32(self.ctl_code);
        self.file_id.write(w);
        let at = here32(w).saturating_add(32);
        w.u32(at);
        w.u32(len32(self.input));
        w.u32(self.max_input_response);
        w.u32(at);
        w.u32(self.output_count);
        w.u32(self.max_output_response);
        w.u32(self.flags);
        w.u32(0);
        if self.input.is_empty() {
            w.u8(0);
        } else {
            w.bytes(self.input);
        }
    }
}

/// [MS-SMB2] 2.2.32 IOCTL Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoctlResponse<'a> {
    /// CtlCode.
    pub ctl_code: u32,
    /// FileId.
    pub file_id: FileId,
    /// Input buffer; empty but for pass-through operations.
    pub input: &'a [u8],
    /// Output buffer.
    pub output: &'a [u8],
    /// Flags.
    pub flags: u32,
}

impl<'a> IoctlResponse<'a> {
    const FIXED: usize = 48;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 49, "IOCTL Response")?;
        r.skip(2, "Reserved")?;
        let ctl_code = r.u32("CtlCode")?;
        let file_id = FileId::read(&mut r)?;
        let input_at = size(r.u32("InputOffset")?);
        let input_len = size(r.u32("InputCount")?);
        let output_at = size(r.u32("OutputOffset")?);
        let output_len = size(r.u32("OutputCount")?);
        let flags = r.u32("Flags")?;
        let input = buffer(&r, input_at, input_len, Self::FIXED, "Input")?;
        let output = buffer(&r, output_at, output_len, Self::FIXED, "Output")?;
        Ok(Self {
            ctl_code,
            file_id,
            input,
            output,
            flags,
        })
    }

    /// Appends the body behind the header. Both offsets are written even for
    /// empty buffers; the output begins at a multiple of 8 behind the input.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(49);
        w.u16(0);
        w.u32(self.ctl_code);
        self.file_id.write(w);
        let input_at = here32(w).saturating_add(24);
        let output_at = input_at
            .saturating_add(len32(self.input))
            .next_multiple_of(8);
        w.u32(input_at);
        w.u32(len32(self.input));
        w.u32(output_at);
        w.u32(len32(self.output));
        w.u32(self.flags);
        w.u32(0);
        w.bytes(self.input);
        if !self.output.is_empty() {
            w.align(8);
            w.bytes(self.output);
        }
    }
}
