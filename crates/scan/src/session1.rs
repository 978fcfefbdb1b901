//! A logon over SMB1 with NTLMv2 in SPNEGO, as far as a scan needs one.

use countersign_auth::NtHash;
use countersign_auth::ntlm::seal::Sender as NtlmSender;
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiator};
use countersign_auth::spnego::{NegState, NegTokenResp, OID_NTLMSSP, mech_types_der};
use countersign_crypto::smb1::MacKey;
use countersign_wire::NtStatus;
use countersign_wire::smb1::session_setup_andx::ACTION_GUEST;
use countersign_wire::smb1::{Command, Header, SIGNATURE_PLACEHOLDER};

use crate::exchange::ProbeError;
use crate::ntlm;
use crate::prove::Credentials;
use crate::session2::As;
use crate::smb1::{Link, session_setup, setup_response};
use crate::smb2::random;

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
    let credentials = NtlmCredentials {
        user: who.user.clone(),
        domain: who.domain.clone(),
        nt_hash: NtHash::from_password(&who.password),
        workstation: "COUNTERSIGN".to_owned(),
    };
    let client = NtlmInitiator::new(credentials, NtlmInitiator::default_flags(), None);
    let first = placeholder(session_setup(link, &ntlm::wrap(client.negotiate())));
    link.exchange.send(&first).await?;
    let (header, reply) = link.receive().await?;
    if header.status != NtStatus::MORE_PROCESSING_REQUIRED.0 {
        return Err(ProbeError::Status(NtStatus(header.status)));
    }
    let response = setup_response(link, &reply)?;
    let challenge = response
        .blob
        .as_deref()
        .and_then(ntlm::unwrap)
        .ok_or(ProbeError::Malformed("SPNEGO token"))?;
    let picked = ClientRandom {
        challenge: random(),
        session_key: random::<16>().into(),
    };
    let done = client
        .authenticate(&challenge, &picked)
        .map_err(|_| ProbeError::Malformed("NTLM challenge"))?;
    let mic = done.mech_list_mic(NtlmSender::Client, &mech_types_der(&[OID_NTLMSSP]));
    let second = NegTokenResp {
        state: Some(NegState::AcceptIncomplete),
        supported_mech: None,
        response_token: Some(&done.token),
        mech_list_mic: done.session_key.is_some().then_some(&mic),
    }
    .encode();
    link.uid = header.uid;
    let last = placeholder(session_setup(link, &second));
    link.exchange.send(&last).await?;
    let (header, reply) = link.receive().await?;
    if header.status != 0 {
        return Err(ProbeError::Status(NtStatus(header.status)));
    }
    let response = setup_response(link, &reply)?;
    let key = done
        .session_key
        .as_ref()
        .map(|key| MacKey::new(key.as_bytes(), &[]));
    let final_response = key
        .as_ref()
        .is_some_and(|key| key.verify(1, &reply).is_ok());
    Ok(Session {
        guest: response.action & ACTION_GUEST != 0,
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
