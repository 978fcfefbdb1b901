//! A logon behind SMB1 with NTLMv2, as far as a scan needs one.

use countersign_auth::NtHash;
use countersign_auth::ntlm::seal::Sender as NtlmSender;
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiator};
use countersign_auth::spnego::{NegState, NegTokenResp, OID_NTLMSSP, mech_types_der};
use countersign_crypto::smb2::{Sender, SessionKeys, SigningKey};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{
    Capabilities, Command, Header, SessionFlags, SessionSetupRequest, SessionSetupResponse,
    TreeConnectRequest,
};

use crate::exchange::ProbeError;
use crate::ntlm;
use crate::prove::Credentials;
use crate::report::Names;
use crate::smb2::{Link, message, random};

/// Asks for the NTLM challenge and the names in it.
pub(crate) async fn names(link: &mut Link) -> Result<Option<Names>, ProbeError> {
    let (header, response) = leg(link, 0, &ntlm::first_token(), &mut None).await?;
    if header.status != NtStatus::MORE_PROCESSING_REQUIRED {
        return Err(ProbeError::Status(header.status));
    }
    Ok(ntlm::unwrap(&response.1).and_then(|challenge| ntlm::names(&challenge)))
}

/// A session.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) flags: SessionFlags,
    pub(crate) key: Option<SigningKey>,
    /// How its final response was signed: `None` not at all.
    pub(crate) final_response: Option<bool>,
}

type Hash = Option<countersign_crypto::smb2::PreauthHash>;

async fn leg(
    link: &mut Link,
    session_id: u64,
    token: &[u8],
    hash: &mut Hash,
) -> Result<(Header, (SessionFlags, Vec<u8>, Vec<u8>)), ProbeError> {
    let header = Header {
        session_id,
        ..link.header(Command::SESSION_SETUP)
    };
    let request = SessionSetupRequest {
        flags: 0,
        security_mode: link.security_mode,
        capabilities: Capabilities::DFS,
        channel: 0,
        previous_session_id: 0,
        security_buffer: token,
    };
    let sent = message(&header, |w| request.encode(w));
    link.exchange.send(&sent).await?;
    let (header, reply) = link.receive().await?;
    if header.command != Command::SESSION_SETUP {
        return Err(ProbeError::Malformed("an answer to another command"));
    }
    if let Some(hash) = hash {
        hash.update(&sent);
        if header.status == NtStatus::MORE_PROCESSING_REQUIRED {
            hash.update(&reply);
        }
    }
    if header.status.is_error() && header.status != NtStatus::MORE_PROCESSING_REQUIRED {
        return Err(ProbeError::Status(header.status));
    }
    let response = SessionSetupResponse::decode(&reply)
        .map_err(|_| ProbeError::Malformed("SESSION_SETUP response"))?;
    let taken = (response.session_flags, response.security_buffer.to_vec());
    Ok((header, (taken.0, taken.1, reply)))
}

/// Logs on.
pub(crate) async fn logon(link: &mut Link, who: &Credentials) -> Result<Session, ProbeError> {
    let credentials = NtlmCredentials {
        user: who.user.clone(),
        domain: who.domain.clone(),
        nt_hash: NtHash::from_password(&who.password),
        workstation: "COUNTERSIGN".to_owned(),
    };
    let client = NtlmInitiator::new(credentials, NtlmInitiator::default_flags(), None);
    let mut hash = Some(link.preauth.clone());
    let (header, (_, token, _)) = leg(link, 0, &ntlm::wrap(client.negotiate()), &mut hash).await?;
    if header.status != NtStatus::MORE_PROCESSING_REQUIRED {
        return Err(ProbeError::Malformed("a logon without a challenge"));
    }
    let challenge = ntlm::unwrap(&token).ok_or(ProbeError::Malformed("SPNEGO token"))?;
    let picked = ClientRandom {
        challenge: random(),
        session_key: random::<16>().into(),
    };
    let done = client
        .authenticate(&challenge, &picked)
        .map_err(|_| ProbeError::Malformed("NTLM challenge"))?;
    let list = mech_types_der(&[OID_NTLMSSP]);
    let mic = done.mech_list_mic(NtlmSender::Client, &list);
    let second = NegTokenResp {
        state: Some(NegState::AcceptIncomplete),
        supported_mech: None,
        response_token: Some(&done.token),
        mech_list_mic: done.session_key.is_some().then_some(&mic),
    }
    .encode();
    let id = header.session_id;
    let (header, (flags, _, reply)) = leg(link, id, &second, &mut hash).await?;
    if header.status != NtStatus::SUCCESS {
        return Err(ProbeError::Status(header.status));
    }
    let real = !flags.intersects(SessionFlags::IS_GUEST | SessionFlags::IS_NULL);
    let key = match (&done.session_key, real) {
        (Some(key), true) => SessionKeys::derive(
            link.dialect,
            key.as_bytes(),
            hash.as_ref().map(|h| h.value()),
            link.cipher,
        )
        .ok()
        .map(|keys| SigningKey::new(link.algorithm, &keys.signing_key)),
        _ => None,
    };
    let final_response = match (&key, header.is_signed()) {
        (Some(key), true) => Some(key.verify(Sender::Server, &reply).is_ok()),
        (None, true) => Some(false),
        (_, false) => None,
    };
    Ok(Session {
        id,
        flags,
        key,
        final_response,
    })
}

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Signed,
    Unsigned,
    /// Signed, and then one bit of the signature turned over.
    BadlySigned,
}

/// Sends a message of a session as said.
pub(crate) async fn send(
    link: &mut Link,
    session: &Session,
    mut message: Vec<u8>,
    how: As,
) -> Result<(Header, Vec<u8>), ProbeError> {
    if how != As::Unsigned
        && let Some(key) = &session.key
    {
        if let Some(flags) = message.get_mut(16) {
            *flags |= 8;
        }
        key.sign(Sender::Client, &mut message);
        if how == As::BadlySigned
            && let Some(byte) = message.get_mut(50)
        {
            *byte ^= 1;
        }
    }
    link.exchange.send(&message).await?;
    link.receive().await
}

/// Connects to a share, signed where there is a key; its TreeId.
pub(crate) async fn tree_connect(
    link: &mut Link,
    session: &Session,
    path: &str,
) -> Result<u32, ProbeError> {
    let wide: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let header = Header {
        session_id: session.id,
        ..link.header(Command::TREE_CONNECT)
    };
    let request = TreeConnectRequest {
        flags: 0,
        path: &wide,
    };
    let sent = message(&header, |w| request.encode(w));
    let (header, _) = send(link, session, sent, As::Signed).await?;
    if header.status != NtStatus::SUCCESS {
        return Err(ProbeError::Status(header.status));
    }
    header
        .tree_id()
        .ok_or(ProbeError::Malformed("TREE_CONNECT response"))
}
