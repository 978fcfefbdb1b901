//! [MS-SMB2] 2.2.28 ECHO Request and 2.2.29 ECHO Response.

use super::layout::body;
use crate::cursor::{Result, Writer};

/// [MS-SMB2] 2.2.28 ECHO Request: nothing but its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EchoRequest;

impl EchoRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "ECHO Request")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}

/// [MS-SMB2] 2.2.29 ECHO Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EchoResponse;

impl EchoResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "ECHO Response")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}
