//! [MS-SMB2] 3.2.4.2.3 SESSION_SETUP and 3.2.5.3 its response.

use countersign_policy::Identity;
use countersign_wire::NtStatus;
use countersign_wire::smb2::{
    Capabilities, Command, LogoffRequest, SecurityMode, SessionFlags, SessionSetupRequest,
    SessionSetupResponse,
};

use super::flight::{Flight, Kind, Outstanding, Part, Reply};
use super::{LogonState, Smb2};
use crate::client::call::{Answer, CallId, LogonKey};
use crate::client::config::Encryption;
use crate::client::engine::{Link, LoggedOn};
use crate::client::failure::{CloseReason, Failure};
use crate::gate::smb2::client::{ArrivedReply, ClientLogon, announce_client, finish_logon};

impl Smb2 {
    pub(super) fn session_setup(
        &mut self,
        link: &mut Link,
        id: CallId,
        token: &[u8],
        previous: u64,
    ) {
        let Some(agreed) = &self.agreed else {
            link.done(id, Err(Failure::Unsupported("nothing is negotiated yet")));
            return;
        };
        if !self.logon.running {
            self.logon = LogonState {
                id: 0,
                hash: self.preauth.clone(),
                running: true,
                last: None,
            };
        }
        let mut security_mode = SecurityMode::SIGNING_ENABLED;
        if announce_client(&link.config.policy, agreed.dialect) {
            security_mode = SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED;
        }
        let part = Part::new(Command::SESSION_SETUP, |w| {
            SessionSetupRequest {
                flags: 0,
                security_mode,
                capabilities: Capabilities::empty(),
                channel: 0,
                previous_session_id: previous,
                security_buffer: token,
            }
            .encode(w);
        });
        self.launch(
            link,
            Some(id),
            Flight::new(Kind::SessionSetup, None, vec![part]),
        );
    }

    /// A success of SESSION_SETUP: its signature is made with a key that is not
    /// there yet.
    pub(super) fn is_final_logon(&self, outstanding: &Outstanding, reply: &ArrivedReply) -> bool {
        outstanding.command == Command::SESSION_SETUP && reply.header.status == NtStatus::SUCCESS
    }

    /// Keeps the final response until [`Smb2::logon_finish`].
    pub(super) fn logon_answered(&mut self, link: &mut Link, reply: ArrivedReply) {
        let header = reply.header;
        let id = self.take_logon(header.message_id, header.credits);
        let same = match &self.session {
            Some(session) => header.session_id == session.id,
            None => self.logon.id == 0 || header.session_id == self.logon.id,
        };
        let Ok(response) = SessionSetupResponse::decode(&reply.message) else {
            link.close(CloseReason::Violation("a malformed SESSION_SETUP response"));
            return;
        };
        if header.session_id == 0 || !same {
            link.close(CloseReason::Violation("a logon with another SessionId"));
            return;
        }
        let answer = Answer::LogonToken {
            token: response.security_buffer.to_vec(),
            finished: true,
        };
        self.logon.last = Some(reply);
        self.conclude(link, id, Ok(answer));
    }

    /// A SESSION_SETUP response that is not the end: more is wanted, or a failure.
    pub(super) fn logon_continues(&mut self, link: &mut Link, id: Option<CallId>, reply: &Reply) {
        if reply.status != NtStatus::MORE_PROCESSING_REQUIRED {
            self.logon = LogonState::default();
            let failure = Self::failure("SESSION_SETUP", reply.status);
            self.conclude(link, id, Err(failure));
            return;
        }
        let header = countersign_wire::smb2::Header::decode(&reply.message);
        let response = SessionSetupResponse::decode(&reply.message);
        let (Ok(header), Ok(response)) = (header, response) else {
            link.close(CloseReason::Violation("a malformed SESSION_SETUP response"));
            return;
        };
        if header.session_id == 0 || (self.logon.id != 0 && header.session_id != self.logon.id) {
            link.close(CloseReason::Violation("a logon with another SessionId"));
            return;
        }
        if self.session.is_none() {
            self.logon.id = header.session_id;
            self.logon.hash.update(&reply.message);
        }
        let answer = Answer::LogonToken {
            token: response.security_buffer.to_vec(),
            finished: false,
        };
        self.conclude(link, id, Ok(answer));
    }

    /// Judges the final response with the key of the authentication.
    pub(super) fn logon_finish(&mut self, link: &mut Link, id: CallId, key: &LogonKey) {
        let logon = std::mem::take(&mut self.logon);
        let (Some(last), Some(agreed)) = (logon.last, &self.agreed) else {
            link.done(id, Err(Failure::Unsupported("no logon is complete")));
            return;
        };
        let flags = SessionSetupResponse::decode(&last.message)
            .map_or(SessionFlags::empty(), |r| r.session_flags);
        let identity = if key.session_key.is_none() {
            Identity::Anonymous
        } else if flags.contains(SessionFlags::IS_GUEST) {
            Identity::Guest
        } else if flags.contains(SessionFlags::IS_NULL) {
            Identity::Anonymous
        } else {
            Identity::User
        };
        if identity != Identity::User && key.session_key.is_some() && !link.config.allow_guest {
            link.close(CloseReason::Incompatible(
                "the server made a guest of us, which is not allowed here",
            ));
            link.done(
                id,
                Err(Failure::Closed(CloseReason::Incompatible(
                    "the server made a guest of us, which is not allowed here",
                ))),
            );
            return;
        }
        let required = link.config.encryption == Encryption::Required;
        let judged = finish_logon(
            &ClientLogon {
                policy: &link.config.policy,
                dialect: agreed.dialect,
                algorithm: agreed.algorithm,
                cipher: agreed.cipher,
                preauth: &logon.hash,
                identity,
                session_key: key.session_key.as_ref(),
                peer_requires: agreed.requires_signing(),
                encrypt: required || flags.contains(SessionFlags::ENCRYPT_DATA),
            },
            &last,
            self.session.take(),
        );
        let reason = match judged {
            Ok(session) if required && !session.encrypt => CloseReason::Incompatible(
                "encryption is required, and this logon yields no key for it",
            ),
            Ok(session) if flags.contains(SessionFlags::ENCRYPT_DATA) && !session.encrypt => {
                CloseReason::Incompatible("the server requires encryption, which is off here")
            }
            Ok(session) => {
                let cipher = session.cipher().filter(|_| session.encrypt);
                let answer = LoggedOn {
                    session: session.id,
                    identity: session.facts.identity,
                    signed: session.facts.required,
                    key: session.facts.key,
                    algorithm: session.algorithm().map(name_of),
                    reason: session.reason,
                    encrypted: cipher,
                };
                self.session = Some(session);
                link.done(id, Ok(Answer::LoggedOn(answer)));
                return;
            }
            Err(reason) => CloseReason::Policy(reason),
        };
        link.done(id, Err(Failure::Closed(reason.clone())));
        link.close(reason);
    }

    /// LOGOFF.
    pub(super) fn logoff() -> Flight {
        let part = Part::new(Command::LOGOFF, |w| LogoffRequest.encode(w));
        Flight::new(Kind::Logoff, None, vec![part])
    }
}

fn name_of(algorithm: countersign_crypto::SigningAlgorithm) -> &'static str {
    use countersign_crypto::SigningAlgorithm as A;
    match algorithm {
        A::HmacSha256 => "HMAC-SHA256",
        A::AesCmac => "AES-128-CMAC",
        A::AesGmac => "AES-128-GMAC",
    }
}
