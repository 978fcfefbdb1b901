//! [MS-SMB2] 2.2.30 CANCEL Request.

use super::layout::body;
use crate::cursor::{Result, Writer};

/// [MS-SMB2] 2.2.30 CANCEL Request: nothing but its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CancelRequest;

impl CancelRequest {
    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode(message: &[u8]) -> Result<Self> {
        body(message, 4, "CANCEL Request")?.skip(2, "Reserved")?;
        Ok(Self)
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(4);
        w.u16(0);
    }
}
