//! [MS-SMB2] 2.2.5 SESSION_SETUP Request and 2.2.6 SESSION_SETUP Response.

use super::layout::{body, buffer, here16, len16};
use super::types::{Capabilities, SecurityMode};
use crate::cursor::{Result, Writer};

/// Flags: SMB2_SESSION_FLAG_BINDING.
pub const SESSION_FLAG_BINDING: u8 = 0x01;

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.6 SessionFlags.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SessionFlags: u16 {
        /// SMB2_SESSION_FLAG_IS_GUEST.
        const IS_GUEST = 1;
        /// SMB2_SESSION_FLAG_IS_NULL.
        const IS_NULL = 2;
        /// SMB2_SESSION_FLAG_ENCRYPT_DATA.
        const ENCRYPT_DATA = 4;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// [MS-SMB2] 2.2.5 SESSION_SETUP Request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSetupRequest<'a> {
    /// Flags: [`SESSION_FLAG_BINDING`].
    pub flags: u8,
    /// SecurityMode.
    pub security_mode: SecurityMode,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Channel; 0.
    pub channel: u32,
    /// PreviousSessionId; 0 when none.
    pub previous_session_id: u64,
    /// SecurityBuffer.
    pub security_buffer: &'a [u8],
}

impl<'a> SessionSetupRequest<'a> {
    const FIXED: usize = 24;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 25, "SESSION_SETUP Request")?;
        let flags = r.u8("Flags")?;
        let security_mode = SecurityMode::from_bits_retain(u16::from(r.u8("SecurityMode")?));
        let capabilities = Capabilities::from_bits_retain(r.u32("Capabilities")?);
        let channel = r.u32("Channel")?;
        let offset = usize::from(r.u16("SecurityBufferOffset")?);
        let length = usize::from(r.u16("SecurityBufferLength")?);
        let previous_session_id = r.u64("PreviousSessionId")?;
        let security_buffer = buffer(&r, offset, length, Self::FIXED, "SecurityBuffer")?;
        Ok(Self {
            flags,
            security_mode,
            capabilities,
            channel,
            previous_session_id,
            security_buffer,
        })
    }

    /// Appends the body behind the header.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "SecurityMode has 8 bits here"
    )]
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(25);
        w.u8(self.flags);
        w.u8(self.security_mode.bits() as u8);
        w.u32(self.capabilities.bits());
        w.u32(self.channel);
        let at = here16(w).saturating_add(12);
        w.u16(at);
        w.u16(len16(self.security_buffer));
        w.u64(self.previous_session_id);
        w.bytes(self.security_buffer);
    }
}

/// [MS-SMB2] 2.2.6 SESSION_SETUP Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSetupResponse<'a> {
    /// SessionFlags.
    pub session_flags: SessionFlags,
    /// SecurityBuffer.
    pub security_buffer: &'a [u8],
}

impl<'a> SessionSetupResponse<'a> {
    const FIXED: usize = 8;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 9, "SESSION_SETUP Response")?;
        let session_flags = SessionFlags::from_bits_retain(r.u16("SessionFlags")?);
        let offset = usize::from(r.u16("SecurityBufferOffset")?);
        let length = usize::from(r.u16("SecurityBufferLength")?);
        let security_buffer = buffer(&r, offset, length, Self::FIXED, "SecurityBuffer")?;
        Ok(Self {
            session_flags,
            security_buffer,
        })
    }

    /// Appends the body behind the header; no padding behind its last byte.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(9);
        w.u16(self.session_flags.bits());
        let at = here16(w).saturating_add(4);
        w.u16(at);
        w.u16(len16(self.security_buffer));
        w.bytes(self.security_buffer);
    }
}
