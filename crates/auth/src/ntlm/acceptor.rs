//! The server's side of NTLM, [MS-NLMP] 3.2.5.1.

use std::sync::Arc;

use countersign_wire::FileTime;
use zeroize::Zeroizing;

use super::av::{self, AvList};
use super::flags::NegotiateFlags;
use super::hash::{Secret, equal, rc4_16};
use super::message::{self, Authenticate, Challenge, Negotiate, Version};
use super::seal::message_integrity_code;
use super::verify::{Allowed, NtlmVersion, Responses, V1_LENGTH, av_pairs, promises_mic};
use crate::acceptor::AcceptContext;
use crate::config::AuthConfig;
use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::key::SessionKey;
use crate::logon::{Decision, decide};
use crate::users::UserDirectory;

/// Flags granted when they are asked for.
const GRANTED: NegotiateFlags = NegotiateFlags::REQUEST_TARGET
    .union(NegotiateFlags::SIGN)
    .union(NegotiateFlags::SEAL)
    .union(NegotiateFlags::ALWAYS_SIGN)
    .union(NegotiateFlags::EXTENDED_SESSION_SECURITY)
    .union(NegotiateFlags::KEY_128)
    .union(NegotiateFlags::KEY_56)
    .union(NegotiateFlags::KEY_EXCHANGE);

/// The server's side of one NTLM exchange.
pub struct NtlmAcceptor {
    config: Arc<AuthConfig>,
    users: Arc<dyn UserDirectory>,
    context: AcceptContext,
    sent: Option<Sent>,
}

/// The first two messages as they were exchanged: the MIC is over their bytes.
struct Sent {
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
    flags: NegotiateFlags,
}

/// A logon that NTLM accepted.
pub struct NtlmAccepted {
    /// Who.
    pub identity: Box<Identity>,
    /// ExportedSessionKey; `None` for guests, whose password nobody knows.
    /// For anonymous it is what a client without a secret computes: good to
    /// check a mechListMIC with, and for nothing else.
    pub exported: Option<Secret>,
    /// The key for SMB; only users have one.
    pub session_key: Option<SessionKey>,
    /// Flags in force.
    pub flags: NegotiateFlags,
    /// The response that proved the password.
    pub version: Option<NtlmVersion>,
    /// The three messages had a MIC, and it was right.
    pub mic: bool,
}

/// What came of a message.
pub enum NtlmStep {
    /// The CHALLENGE message to send.
    Challenge(Vec<u8>),
    /// The logon succeeded; NTLM has nothing more to send.
    Accepted(NtlmAccepted),
}

impl NtlmAcceptor {
    /// An acceptor that has seen nothing yet.
    pub fn new(
        config: Arc<AuthConfig>,
        users: Arc<dyn UserDirectory>,
        context: AcceptContext,
    ) -> Self {
        Self {
            config,
            users,
            context,
            sent: None,
        }
    }

    /// Takes a message of the client.
    ///
    /// # Errors
    /// Why the logon fails.
    pub fn step(&mut self, token: &[u8]) -> Result<NtlmStep, AuthFailure> {
        let malformed =
            |e: message::MessageError| AuthFailure::nameless(FailureReason::Malformed(e.0));
        match (
            message::message_type(token).map_err(malformed)?,
            self.sent.take(),
        ) {
            (1, None) => {
                let negotiate = Negotiate::decode(token).map_err(malformed)?;
                let (challenge, flags) = self.challenge(&negotiate);
                let sent = Sent {
                    negotiate: token.to_vec(),
                    challenge: challenge.clone(),
                    flags,
                };
                self.sent = Some(sent);
                Ok(NtlmStep::Challenge(challenge))
            }
            (3, Some(sent)) => self.authenticate(&sent, token).map(NtlmStep::Accepted),
            _ => Err(AuthFailure::nameless(FailureReason::OutOfOrder(
                "NTLM message",
            ))),
        }
    }

    fn challenge(&self, negotiate: &Negotiate) -> (Vec<u8>, NegotiateFlags) {
        use NegotiateFlags as F;
        let names = &self.config.names;
        let (kind, target) = if names.domain_member {
            (F::TARGET_TYPE_DOMAIN, &names.netbios_domain)
        } else {
            (F::TARGET_TYPE_SERVER, &names.netbios_computer)
        };
        let charset = if negotiate.flags.contains(F::UNICODE) {
            F::UNICODE
        } else {
            F::OEM
        };
        let flags =
            (negotiate.flags & GRANTED) | kind | charset | F::NTLM | F::TARGET_INFO | F::VERSION;
        let message = Challenge {
            target_name: target.clone(),
            flags,
            server_challenge: self.context.server_challenge,
            target_info: self.target_info(self.context.now),
            version: Some(Version::CURRENT),
        };
        (message.encode(), flags)
    }

    fn target_info(&self, now: FileTime) -> Vec<u8> {
        let names = &self.config.names;
        let mut list = AvList::default();
        list.push_text(av::NB_DOMAIN_NAME, &names.netbios_domain);
        list.push_text(av::NB_COMPUTER_NAME, &names.netbios_computer);
        list.push_text(av::DNS_DOMAIN_NAME, &names.dns_domain);
        list.push_text(av::DNS_COMPUTER_NAME, &names.dns_computer);
        list.push(av::TIMESTAMP, &now.0.to_le_bytes());
        list.finish()
    }

    fn authenticate(&self, sent: &Sent, token: &[u8]) -> Result<NtlmAccepted, AuthFailure> {
        let message = Authenticate::decode(token, sent.flags)
            .map_err(|e| AuthFailure::nameless(FailureReason::Malformed(e.0)))?;
        self.check(sent, token, &message)
            .map_err(|reason| AuthFailure {
                reason,
                user: message.user.clone(),
                domain: message.domain.clone(),
                workstation: message.workstation.clone(),
                detail: String::new(),
            })
    }

    fn check(
        &self,
        sent: &Sent,
        token: &[u8],
        message: &Authenticate,
    ) -> Result<NtlmAccepted, FailureReason> {
        let flags = match message.flags {
            Some(f) if !f.is_empty() => f & (sent.flags | NegotiateFlags::ANONYMOUS),
            _ if message.encrypted_session_key.is_empty() => {
                sent.flags - NegotiateFlags::KEY_EXCHANGE
            }
            _ => sent.flags,
        };
        // Whatever the password: a list that is cut off is no NTLMv2 response.
        if message.nt_response.len() > V1_LENGTH && !av::is_whole(av_pairs(&message.nt_response)) {
            return Err(FailureReason::Malformed("NtChallengeResponse"));
        }
        let rules = &self.config.rules;
        let responses = Responses {
            user: &message.user,
            domain: &message.domain,
            server_challenge: self.context.server_challenge,
            lm: &message.lm_response,
            nt: &message.nt_response,
            ess: flags.contains(NegotiateFlags::EXTENDED_SESSION_SECURITY),
        };
        let v1 = if self.context.smb1 {
            rules.ntlmv1_smb1
        } else {
            rules.ntlmv1_smb2
        };
        let allowed = Allowed {
            v2: true,
            lm_v2: rules.lm_v2,
            v1,
        };
        let decision = decide(
            &self.config,
            &*self.users,
            &responses,
            allowed,
            &message.workstation,
        )?;
        match decision {
            Decision::User(identity, proof) => {
                let exported = exported_key(&proof.key_exchange_key, flags, message)?;
                let mic = promises_mic(&message.nt_response);
                if mic {
                    check_mic(&exported, sent, token, message.mic)?;
                }
                Ok(NtlmAccepted {
                    identity,
                    session_key: Some(SessionKey::new(exported.as_slice())),
                    exported: Some(exported),
                    flags,
                    version: Some(proof.version),
                    mic,
                })
            }
            Decision::Guest(identity) => Ok(NtlmAccepted {
                identity,
                exported: None,
                session_key: None,
                flags,
                version: None,
                mic: false,
            }),
            Decision::Anonymous(identity) => Ok(NtlmAccepted {
                identity,
                exported: Some(exported_key(&Zeroizing::new([0; 16]), flags, message)?),
                session_key: None,
                flags,
                version: None,
                mic: false,
            }),
        }
    }
}

/// ExportedSessionKey, [MS-NLMP] 3.2.5.1.2.
fn exported_key(
    key_exchange_key: &Secret,
    flags: NegotiateFlags,
    message: &Authenticate,
) -> Result<Secret, FailureReason> {
    if !flags.contains(NegotiateFlags::KEY_EXCHANGE) {
        return Ok(key_exchange_key.clone());
    }
    let signs = flags.intersects(NegotiateFlags::SIGN | NegotiateFlags::SEAL);
    match message.encrypted_session_key.as_array::<16>() {
        Some(encrypted) => Ok(rc4_16(key_exchange_key, encrypted)),
        None if !signs && message.encrypted_session_key.is_empty() => Ok(key_exchange_key.clone()),
        None => Err(FailureReason::Malformed("EncryptedRandomSessionKey")),
    }
}

fn check_mic(
    exported: &Secret,
    sent: &Sent,
    token: &[u8],
    mic: Option<[u8; 16]>,
) -> Result<(), FailureReason> {
    let mic = mic.ok_or(FailureReason::BadMic)?;
    let mut without = token.to_vec();
    if !message::set_mic(&mut without, [0; 16]) {
        return Err(FailureReason::BadMic);
    }
    let expected = message_integrity_code(exported, &sent.negotiate, &sent.challenge, &without);
    if equal(&expected, &mic) {
        Ok(())
    } else {
        Err(FailureReason::BadMic)
    }
}
