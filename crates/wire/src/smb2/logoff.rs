//! [MS-SMB2] 2.2.7 LOGOFF Request and 2.2.8 LOGOFF Response.

use super::layout::body;
use crate::cursor::{Result, Writer};

/// [MS-SMB2] 2.2.7 LOGOFF Request: nothing but its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogoffRequest;

impl LogoffRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "LOGOFF Request")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}

/// [MS-SMB2] 2.2.8 LOGOFF Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogoffResponse;

impl LogoffResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "LOGOFF Response")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}
