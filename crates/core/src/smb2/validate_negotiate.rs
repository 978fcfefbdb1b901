//! [MS-SMB2] 3.3.5.15.12 FSCTL_VALIDATE_NEGOTIATE_INFO.

use countersign_wire::Guid;
use countersign_wire::cursor::{Reader, Result};
use countersign_wire::smb2::dialect;

use super::handler::Context;

/// What came of it.
pub enum Validated {
    /// The output of the IOCTL.
    Output(Vec<u8>),
    /// The negotiation was tampered with, or the request makes no sense: the
    /// connection is closed without an answer.
    Drop(&'static str),
}

/// Compares what the client says it sent in NEGOTIATE with what arrived, and
/// answers what was answered then.
pub fn validate(cx: &Context<'_>, input: &[u8], max_output: u32) -> Validated {
    let Some(negotiated) = cx.state.negotiated() else {
        return Validated::Drop("nothing was negotiated");
    };
    if negotiated.dialect == dialect::SMB_3_1_1 {
        return Validated::Drop("FSCTL_VALIDATE_NEGOTIATE_INFO in 3.1.1");
    }
    let Ok(sent) = Sent::decode(input) else {
        return Validated::Drop("malformed FSCTL_VALIDATE_NEGOTIATE_INFO");
    };
    if max_output < 24 {
        return Validated::Drop("no room for the answer of FSCTL_VALIDATE_NEGOTIATE_INFO");
    }
    let same = sent.guid == negotiated.client_guid
        && sent.capabilities == negotiated.client_capabilities.bits()
        && sent.security_mode == negotiated.client_security_mode.bits()
        && sent.dialects == negotiated.client_dialects;
    // An SMB1 NEGOTIATE that was answered with 2.0.2 carried none of these. Where
    // 2.0.2 is the best that both have (smbclient limited to it, or this server)
    // nothing was lost by it; else somebody took the better ones away.
    let config = cx.link.server.config.load();
    let allowed = config.min_dialect as u16..=config.max_dialect as u16;
    let best = sent.dialects.iter().filter(|d| allowed.contains(d)).max();
    let only_2_0_2 = negotiated.multi_protocol
        && negotiated.dialect == dialect::SMB_2_0_2
        && best == Some(&dialect::SMB_2_0_2);
    if !same && !only_2_0_2 {
        return Validated::Drop("negotiation was tampered with");
    }
    let mut out = Vec::with_capacity(24);
    out.extend_from_slice(&negotiated.capabilities.bits().to_le_bytes());
    out.extend_from_slice(&negotiated.server_guid.0);
    out.extend_from_slice(&negotiated.security_mode.bits().to_le_bytes());
    out.extend_from_slice(&negotiated.dialect.to_le_bytes());
    Validated::Output(out)
}

/// [MS-SMB2] 2.2.31.4 VALIDATE_NEGOTIATE_INFO Request.
struct Sent {
    capabilities: u32,
    guid: Guid,
    security_mode: u16,
    dialects: Vec<u16>,
}

impl Sent {
    fn decode(input: &[u8]) -> Result<Self> {
        let mut r = Reader::new(input);
        let capabilities = r.u32("Capabilities")?;
        let guid = Guid(r.array("Guid")?);
        let security_mode = r.u16("SecurityMode")?;
        let count = r.u16("DialectCount")?;
        let mut dialects = Vec::new();
        for _ in 0..count {
            dialects.push(r.u16("Dialects")?);
        }
        Ok(Self {
            capabilities,
            guid,
            security_mode,
            dialects,
        })
    }
}
