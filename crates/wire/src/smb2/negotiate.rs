//! [MS-SMB2] 2.2.3 NEGOTIATE Request and 2.2.4 NEGOTIATE Response.

use super::layout::{body, buffer, here16, here32, len16};
use super::negotiate_context::{NegotiateContext, decode_contexts, encode_contexts};
use super::types::{Capabilities, SecurityMode, dialect};
use crate::cursor::{DecodeError, Result, Writer};
use crate::dtyp::{FileTime, Guid};

/// [MS-SMB2] 2.2.3 NEGOTIATE Request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateRequest<'a> {
    /// SecurityMode.
    pub security_mode: SecurityMode,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// ClientGuid.
    pub client_guid: Guid,
    /// Dialects, in the client's order.
    pub dialects: Vec<u16>,
    /// NegotiateContextList; empty unless 3.1.1 is offered.
    pub contexts: Vec<NegotiateContext<'a>>,
}

impl<'a> NegotiateRequest<'a> {
    const FIXED: usize = 36;

    /// Decodes a message. Contexts are read only when 3.1.1 is among the
    /// dialects: otherwise their fields are ClientStartTime.
    ///
    /// # Errors
    /// [`DecodeError`]; no dialect at all is one.
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 36, "NEGOTIATE Request")?;
        let count = r.u16("DialectCount")?;
        let security_mode = SecurityMode::from_bits_retain(r.u16("SecurityMode")?);
        r.skip(2, "Reserved")?;
        let capabilities = Capabilities::from_bits_retain(r.u32("Capabilities")?);
        let client_guid = Guid(r.array("ClientGuid")?);
        let contexts_at = r.u32("NegotiateContextOffset")?;
        let contexts_count = r.u16("NegotiateContextCount")?;
        r.skip(2, "Reserved2")?;
        if count == 0 {
            return Err(DecodeError::Invalid {
                field: "DialectCount",
                reason: "is zero",
            });
        }
        let mut dialects = Vec::with_capacity(usize::from(count).min(64));
        for _ in 0..count {
            dialects.push(r.u16("Dialects")?);
        }
        let contexts = if dialects.contains(&dialect::SMB_3_1_1) {
            let fixed = Self::FIXED + usize::from(count) * 2;
            decode_contexts(&r, contexts_at, contexts_count, fixed)?
        } else {
            Vec::new()
        };
        Ok(Self {
            security_mode,
            capabilities,
            client_guid,
            dialects,
            contexts,
        })
    }

    /// Appends the body behind the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(36);
        w.u16(u16::try_from(self.dialects.len()).unwrap_or(u16::MAX));
        w.u16(self.security_mode.bits());
        w.u16(0);
        w.u32(self.capabilities.bits());
        w.bytes(&self.client_guid.0);
        let offset_at = w.len();
        w.u32(0);
        w.u16(u16::try_from(self.contexts.len()).unwrap_or(u16::MAX));
        w.u16(0);
        for d in &self.dialects {
            w.u16(*d);
        }
        if !self.contexts.is_empty() {
            w.align(8);
            let here = here32(w);
            w.patch_u32(offset_at, here);
            encode_contexts(&self.contexts, w);
        }
    }
}

/// [MS-SMB2] 2.2.4 NEGOTIATE Response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateResponse<'a> {
    /// SecurityMode.
    pub security_mode: SecurityMode,
    /// DialectRevision.
    pub dialect: u16,
    /// ServerGuid.
    pub server_guid: Guid,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// MaxTransactSize.
    pub max_transact: u32,
    /// MaxReadSize.
    pub max_read: u32,
    /// MaxWriteSize.
    pub max_write: u32,
    /// SystemTime.
    pub system_time: FileTime,
    /// ServerStartTime (zero since Windows 8).
    pub start_time: FileTime,
    /// SecurityBuffer: a SPNEGO NegTokenInit2, or empty.
    pub security_buffer: &'a [u8],
    /// NegotiateContextList; 3.1.1 only.
    pub contexts: Vec<NegotiateContext<'a>>,
}

impl<'a> NegotiateResponse<'a> {
    const FIXED: usize = 64;

    /// Decodes a message.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &'a [u8]) -> Result<Self> {
        let mut r = body(message, 65, "NEGOTIATE Response")?;
        let security_mode = SecurityMode::from_bits_retain(r.u16("SecurityMode")?);
        let revision = r.u16("DialectRevision")?;
        let count = r.u16("NegotiateContextCount")?;
        let server_guid = Guid(r.array("ServerGuid")?);
        let capabilities = Capabilities::from_bits_retain(r.u32("Capabilities")?);
        let max_transact = r.u32("MaxTransactSize")?;
        let max_read = r.u32("MaxReadSize")?;
        let max_write = r.u32("MaxWriteSize")?;
        let system_time = FileTime(r.u64("SystemTime")?);
        let start_time = FileTime(r.u64("ServerStartTime")?);
        let offset = usize::from(r.u16("SecurityBufferOffset")?);
        let length = usize::from(r.u16("SecurityBufferLength")?);
        let contexts_at = r.u32("NegotiateContextOffset")?;
        let security_buffer = buffer(&r, offset, length, Self::FIXED, "SecurityBuffer")?;
        let contexts = if revision == dialect::SMB_3_1_1 {
            decode_contexts(&r, contexts_at, count, Self::FIXED)?
        } else {
            Vec::new()
        };
        Ok(Self {
            security_mode,
            dialect: revision,
            server_guid,
            capabilities,
            max_transact,
            max_read,
            max_write,
            system_time,
            start_time,
            security_buffer,
            contexts,
        })
    }

    /// Appends the body behind the header; no padding behind its last byte,
    /// since exactly these bytes go into the pre-authentication hash.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u16(65);
        w.u16(self.security_mode.bits());
        w.u16(self.dialect);
        w.u16(u16::try_from(self.contexts.len()).unwrap_or(u16::MAX));
        w.bytes(&self.server_guid.0);
        w.u32(self.capabilities.bits());
        w.u32(self.max_transact);
        w.u32(self.max_read);
        w.u32(self.max_write);
        w.u64(self.system_time.0);
        w.u64(self.start_time.0);
        let at = here16(w).saturating_add(8);
        w.u16(at);
        w.u16(len16(self.security_buffer));
        let offset_at = w.len();
        w.u32(0);
        w.bytes(self.security_buffer);
        if !self.contexts.is_empty() {
            w.align(8);
            let here = here32(w);
            w.patch_u32(offset_at, here);
            encode_contexts(&self.contexts, w);
        }
    }
}
