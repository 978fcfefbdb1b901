//! What NEGOTIATE announces and what a logon leads to.

use std::sync::Arc;

use countersign_auth::SessionKey;
use countersign_crypto::smb2::{NonceCounter, SessionKeys, SigningKey, TransformKey};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{
    Effective, Exception, Facts, Identity, MessageState, Moment, PeerFlags, Protection, Reason,
    SessionFacts, SessionMoment, Side, SignedSoFar, Verdict, verdict,
};
use countersign_wire::NtStatus;

use super::{ChannelKey, FinalSeal, Preauth, SessionSecrets, Transform, family, refusal};

/// What NEGOTIATE announces: whether signing is required.
pub(crate) fn announce(policy: &Effective, revision: u16) -> bool {
    let decision = verdict(&Facts {
        side: Side::Server,
        family: family(revision),
        policy,
        exception: None,
        moment: Moment::Negotiate(PeerFlags::default()),
    });
    // SMB2 has no refusal here; if there were one, insisting is the safe side.
    !matches!(
        decision,
        Verdict::Accept(Protection {
            announce_required: false,
            ..
        })
    )
}

/// A logon that succeeded, for the policy to judge.
pub(crate) struct Logon<'a> {
    /// Policy in force.
    pub(crate) policy: &'a Effective,
    /// SessionId.
    pub(crate) session: u64,
    /// Connection.Dialect.
    pub(crate) dialect: u16,
    /// Connection.SigningAlgorithmId.
    pub(crate) algorithm: SigningAlgorithm,
    /// Connection.CipherId.
    pub(crate) cipher: Option<Cipher>,
    /// Hash of the exchange (3.1.1).
    pub(crate) preauth: Option<&'a Preauth>,
    /// Who has logged on.
    pub(crate) identity: Identity,
    /// The key of the authentication.
    pub(crate) session_key: Option<&'a SessionKey>,
    /// The client insists on signing.
    pub(crate) peer_requires: bool,
    /// Session.EncryptData: every request must be encrypted.
    pub(crate) encrypt: bool,
    /// An exception that is for this peer.
    pub(crate) exception: Option<&'a Exception>,
}

/// A logon that policy let in.
pub(crate) struct Established {
    /// To pin in the session.
    pub(crate) facts: SessionFacts,
    /// Keys of the session; `None` for guests and anonymous.
    pub(crate) secrets: Option<Arc<SessionSecrets>>,
    /// Key of this channel.
    pub(crate) key: Option<ChannelKey>,
    /// Signs the final response.
    pub(crate) seal: FinalSeal,
    /// Why it is signed or not.
    pub(crate) reason: Reason,
}

/// A logon that policy refused.
pub(crate) struct LogonRefused {
    /// What the client is told.
    pub(crate) status: NtStatus,
    /// Why.
    pub(crate) reason: Reason,
}

/// Policy's verdict on a new session, and its keys.
pub(crate) fn establish(logon: &Logon<'_>) -> Result<Established, LogonRefused> {
    let keys = logon
        .session_key
        .filter(|_| logon.identity == Identity::User)
        .and_then(|key| {
            SessionKeys::derive(
                logon.dialect,
                key.as_bytes(),
                logon.preauth.map(Preauth::value),
                logon.cipher,
            )
            .ok()
        });
    let protection = judge(logon, keys.is_some(), None)?;
    let secrets = keys.map(|keys| Arc::new(secrets(logon, &keys)));
    let key = secrets.as_ref().map(|s| s.signing.clone());
    Ok(Established {
        facts: SessionFacts {
            family: family(logon.dialect),
            identity: logon.identity,
            key: key.is_some(),
            required: protection.required,
            encryption_required: logon.encrypt && key.is_some(),
            signed_so_far: SignedSoFar::Nothing,
        },
        seal: FinalSeal(key.clone().filter(|_| protection.sign)),
        secrets,
        key,
        reason: protection.reason,
    })
}

/// Policy's verdict on a re-authentication: keys and what was agreed stay.
pub(crate) fn reestablish(
    logon: &Logon<'_>,
    facts: SessionFacts,
    key: Option<&ChannelKey>,
) -> Result<(SessionFacts, FinalSeal), LogonRefused> {
    let protection = judge(logon, facts.key, Some(facts.required))?;
    let facts = SessionFacts {
        required: protection.required && facts.key,
        ..facts
    };
    Ok((facts, FinalSeal(key.filter(|_| protection.sign).cloned())))
}

/// The key of a new channel of a session, from its own authentication.
pub(crate) fn bind(logon: &Logon<'_>) -> Result<(ChannelKey, FinalSeal), LogonRefused> {
    judge(logon, logon.session_key.is_some(), None)?;
    let keys = logon
        .session_key
        .and_then(|key| {
            let preauth = logon.preauth.map(Preauth::value);
            SessionKeys::derive(logon.dialect, key.as_bytes(), preauth, None).ok()
        })
        .ok_or(LogonRefused {
            status: NtStatus::ACCESS_DENIED,
            reason: Reason::NoKeyUnderRequired,
        })?;
    let key = ChannelKey(Arc::new(SigningKey::new(
        logon.algorithm,
        &keys.signing_key,
    )));
    Ok((key.clone(), FinalSeal(Some(key))))
}

fn judge(
    logon: &Logon<'_>,
    key: bool,
    established: Option<bool>,
) -> Result<Protection, LogonRefused> {
    let decision = verdict(&Facts {
        side: Side::Server,
        family: family(logon.dialect),
        policy: logon.policy,
        exception: logon.exception,
        moment: Moment::Session(SessionMoment {
            identity: logon.identity,
            key,
            peer: PeerFlags {
                enabled: true,
                required: logon.peer_requires,
            },
            established,
            response: MessageState::Unsigned,
        }),
    });
    match decision {
        Verdict::Accept(protection) => Ok(protection),
        Verdict::Refuse { status, reason, .. } => Err(LogonRefused {
            status: refusal(status),
            reason,
        }),
        Verdict::Ignore { reason } | Verdict::Disconnect { reason } => Err(LogonRefused {
            status: NtStatus::ACCESS_DENIED,
            reason,
        }),
    }
}

fn secrets(logon: &Logon<'_>, keys: &SessionKeys) -> SessionSecrets {
    let transform = logon.cipher.and_then(|cipher| {
        Some(Transform {
            open: TransformKey::new(cipher, keys.client_to_server.as_ref()?).ok()?,
            seal: TransformKey::new(cipher, keys.server_to_client.as_ref()?).ok()?,
            nonces: NonceCounter::new(),
        })
    });
    SessionSecrets {
        session: logon.session,
        signing: ChannelKey(Arc::new(SigningKey::new(
            logon.algorithm,
            &keys.signing_key,
        ))),
        application: zeroize::Zeroizing::new(keys.application),
        transform,
    }
}
