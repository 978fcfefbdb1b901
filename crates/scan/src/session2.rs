//! A logon behind SMB1 with NTLMv2, as far as a scan needs one.

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
use crate::smb2::{Link, message};

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
    let mut exchange = ntlm::Exchange::new(who)?;
    let mut hash = Some(link.preauth.clone());
    let first = exchange.leg(None)?;
    let (header, (_, token, _)) = leg(link, 0, &first, &mut hash).await?;
    if header.status != NtStatus::MORE_PROCESSING_REQUIRED {
        return Err(ProbeError::Malformed("a logon without a challenge"));
    }
    let id = header.session_id;
    let second = exchange.leg(Some(&token))?;
    let (header, (flags, token, reply)) = leg(link, id, &second, &mut hash).await?;
    if header.status != NtStatus::SUCCESS {
        return Err(ProbeError::Status(header.status));
    }
    // A guest's key is not the server's, and neither is its proof.
    let session_key = if flags.intersects(SessionFlags::IS_GUEST | SessionFlags::IS_NULL) {
        None
    } else {
        exchange.finish(&token)?
    };
    let key = session_key.and_then(|key| {
        let preauth = hash.as_ref().map(|h| h.value());
        let keys = SessionKeys::derive(link.dialect, key.as_bytes(), preauth, link.cipher).ok()?;
        Some(SigningKey::new(link.algorithm, &keys.signing_key))
    });
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

/// Connects to a share; its TreeId.
pub(crate) async fn tree_connect(
    link: &mut Link,
    session: &Session,
    path: &str,
    how: As,
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
    let (header, _) = send(link, session, sent, how).await?;
    if header.status != NtStatus::SUCCESS {
        return Err(ProbeError::Status(header.status));
    }
    header
        .tree_id()
        .ok_or(ProbeError::Malformed("TREE_CONNECT response"))
}
