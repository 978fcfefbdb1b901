//! [MS-SMB2] 2.2.11 TREE_DISCONNECT Request and 2.2.12 TREE_DISCONNECT Response.

use super::layout::body;
use crate::cursor::{Result, Writer};

/// [MS-SMB2] 2.2.11 TREE_DISCONNECT Request: nothing but its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeDisconnectRequest;

impl TreeDisconnectRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "TREE_DISCONNECT Request")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}

/// [MS-SMB2] 2.2.12 TREE_DISCONNECT Response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeDisconnectResponse;

impl TreeDisconnectResponse {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "TREE_DISCONNECT Response")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}
