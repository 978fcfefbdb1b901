//! [MS-CIFS] 3.3.5.42 and [MS-SMB] 3.3.5.2 NEGOTIATE.

use countersign_auth::negotiate_hint;
use countersign_wire::Writer;
use countersign_wire::smb1::negotiate::{
    NO_DIALECT, NT_LM_0_12, NtResponse, NtResponseBytes, decode_dialects,
};
use countersign_wire::smb1::{Block, Capabilities, Flags2, SecurityMode, Text, TimeZone};

use super::request::{Answer, Reply, Request, Stop};
use super::state::Negotiated;
use crate::gate::smb1::announce;
use crate::observer::{Occasion, Sighting, refusal};

pub(super) fn handle(cx: &mut Request, block: &Block<'_>) -> Answer {
    if cx.shared.state.lock().negotiated.is_some() {
        return Err(Stop::Close("second NEGOTIATE"));
    }
    block.expect_words(&[0])?;
    let dialects = decode_dialects(block.byte_slice())?;
    let Some(index) = dialects.iter().rposition(|d| *d == NT_LM_0_12) else {
        tracing::info!(?dialects, "no SMB1 dialect in common");
        let peer = cx.shared.address;
        cx.shared.server.lookout.tell(|| {
            Occasion::Refused(Sighting::stranger(peer, None).because(refusal::NO_DIALECT))
        });
        return Ok(Reply::words(NO_DIALECT.to_le_bytes().to_vec()));
    };
    let dialect_index = u16::try_from(index).unwrap_or(NO_DIALECT);
    let now = cx.shared.state.lock().now;
    let exception = cx
        .config
        .exceptions
        .at_negotiate(cx.shared.ip(), now.unix())
        .map(|one| &**one);
    let (enabled, required) = announce(&cx.config.policy, exception);
    let smb2 = dialects.iter().any(|d| d.starts_with("SMB 2."));
    let mut security_mode = SecurityMode::USER | SecurityMode::ENCRYPT_PASSWORDS;
    security_mode.set(SecurityMode::SIGNATURES_ENABLED, enabled);
    security_mode.set(SecurityMode::SIGNATURES_REQUIRED, required);
    let extended = cx.header.flags2.contains(Flags2::EXTENDED_SECURITY);
    let mut capabilities = capabilities();
    capabilities.set(Capabilities::EXTENDED_SECURITY, extended);
    // Tickets run out; the session of one that did authenticates again.
    let tickets = extended && cx.config.auth.kerberos.is_some();
    capabilities.set(Capabilities::DYNAMIC_REAUTH, tickets);
    let mut challenge = [0; 8];
    cx.shared.server.host.random(&mut challenge);
    // Local time is UTC: DOS dates then mean the same on both sides of a
    // client's clock change, and the zone told here makes them right.
    let zone = TimeZone::default();
    let now = cx.shared.state.lock().now.wall;
    let limits = &cx.config.limits;
    let words = NtResponse {
        dialect_index,
        security_mode: security_mode.bits(),
        max_mpx_count: limits.smb1_mpx,
        max_number_vcs: 1,
        max_buffer_size: limits.smb1_buffer,
        max_raw_size: 0x1_0000,
        session_key: 0,
        capabilities: capabilities.bits(),
        system_time: now,
        server_time_zone: zone.minutes_west,
        challenge_length: if extended { 0 } else { 8 },
    };
    let content = if extended {
        NtResponseBytes::Extended {
            guid: countersign_wire::Guid(cx.config.guid),
            blob: negotiate_hint(&cx.config.auth),
        }
    } else {
        NtResponseBytes::Classic {
            challenge: challenge.to_vec(),
            domain: cx.config.workgroup.clone(),
            server: cx.config.netbios_name.clone(),
        }
    };
    let mut bytes = Vec::new();
    // The names are Unicode whatever the request's Flags2 say: clients without it
    // expect them so from servers that announce CAP_UNICODE.
    let text = Text {
        unicode: true,
        ..cx.text()
    };
    content.encode(text, &mut Writer::new(&mut bytes));
    let mut state = cx.shared.state.lock();
    state.signing.offered(enabled);
    state.announced = enabled;
    state.offered_smb2 = smb2;
    state.negotiated = Some(Negotiated {
        extended,
        challenge,
        zone,
    });
    drop(state);
    Ok(Reply::new(words.to_vec(), bytes))
}

/// What this server can do. Raw mode is left out: it cannot be signed.
fn capabilities() -> Capabilities {
    Capabilities::UNICODE
        | Capabilities::LARGE_FILES
        | Capabilities::NT_SMBS
        | Capabilities::RPC_REMOTE_APIS
        | Capabilities::STATUS32
        | Capabilities::LEVEL_II_OPLOCKS
        | Capabilities::LOCK_AND_READ
        | Capabilities::NT_FIND
        | Capabilities::INFOLEVEL_PASSTHRU
        | Capabilities::LARGE_READX
        | Capabilities::LARGE_WRITEX
}
