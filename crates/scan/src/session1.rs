//! A logon over SMB1 with NTLMv2 in SPNEGO, as far as a scan needs one.

use countersign_crypto::smb1::MacKey;
use countersign_wire::NtStatus;
use countersign_wire::smb1::session_setup_andx::ACTION_GUEST;
use countersign_wire::smb1::{Command, Header, SIGNATURE_PLACEHOLDER};

use crate::exchange::ProbeError;
use crate::ntlm;
use crate::prove::Credentials;
use crate::session2::As;
use crate::smb1::{Link, session_setup, setup_response};

/// A session.
pub(crate) struct Session {
    pub(crate) guest: bool,
    key: Option<MacKey>,
    next: u32,
    /// Whether its final response was signed with number 1.
    pub(crate) final_response: bool,
}

/// Logs on, ready to sign from the final response on.
pub(crate) async fn logon(link: &mut Link, who: &Credentials) -> Result<Session, ProbeError> {
    let mut exchange = ntlm::Exchange::new(who)?;
    let first = placeholder(session_setup(link, &exchange.leg(None)?));
    link.exchange.send(&first).await?;
    let (header, reply) = link.receive().await?;
    if header.status != NtStatus::MORE_PROCESSING_REQUIRED.0 {
        return Err(ProbeError::Status(NtStatus(header.status)));
    }
    let response = setup_response(link, &reply)?;
    let second = exchange.leg(Some(response.blob.as_deref().unwrap_or_default()))?;
    link.uid = header.uid;
    let last = placeholder(session_setup(link, &second));
    link.exchange.send(&last).await?;
    let (header, reply) = link.receive().await?;
    if header.status != 0 {
        return Err(ProbeError::Status(NtStatus(header.status)));
    }
    let response = setup_response(link, &reply)?;
    let guest = response.action & ACTION_GUEST != 0;
    // A guest's key is not the server's, and neither is its proof.
    let key = if guest {
        None
    } else {
        let session_key = exchange.finish(response.blob.as_deref().unwrap_or_default())?;
        session_key.map(|key| MacKey::new(key.as_bytes(), &[]))
    };
    let final_response = key
        .as_ref()
        .is_some_and(|key| key.verify(1, &reply).is_ok());
    Ok(Session {
        guest,
        key,
        next: 2,
        final_response,
    })
}

/// Until there is a key, a client that wants signing says so with BSRSPYL.
fn placeholder(mut message: Vec<u8>) -> Vec<u8> {
    if let Some(place) = message.get_mut(14..22) {
        place.copy_from_slice(&SIGNATURE_PLACEHOLDER);
    }
    message
}

/// Sends a message as said; every request takes two numbers.
pub(crate) async fn send(
    link: &mut Link,
    session: &mut Session,
    mut message: Vec<u8>,
    how: As,
) -> Result<(Header, Vec<u8>), ProbeError> {
    let number = session.next;
    session.next = number.wrapping_add(2);
    if how != As::Unsigned
        && let Some(key) = &session.key
    {
        key.sign(number, &mut message);
        if how == As::BadlySigned
            && let Some(byte) = message.get_mut(15)
        {
            *byte ^= 1;
        }
    }
    link.exchange.send(&message).await?;
    link.receive().await
}

/// TREE_CONNECT_ANDX to IPC$.
pub(crate) fn tree_connect(link: &mut Link, path: &str) -> Vec<u8> {
    let header = link.header(Command::TREE_CONNECT_ANDX);
    // Flags, PasswordLength.
    let words = [0_u8, 0, 1, 0];
    let mut bytes = vec![0_u8];
    // The path is Unicode, aligned behind the one-byte password: the bytes begin at
    // 32 + 1 + 8 + 2 = 43, so the path would stand at 44.
    bytes.extend(path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    bytes.extend_from_slice(b"?????\0");
    crate::smb1::message(&header, true, &words, &bytes)
}

/// ECHO.
pub(crate) fn echo(link: &mut Link) -> Vec<u8> {
    let header = link.header(Command::ECHO);
    crate::smb1::message(&header, false, &[1, 0], b"countersign")
}
