//! SESSION_SETUP_ANDX in both forms, and LOGOFF_ANDX: [MS-CIFS] 3.2.4.2.4,
//! 3.2.5.3 and [MS-SMB] 3.2.4.2.4, 3.2.5.3.

use countersign_auth::ClassicResponses;
use countersign_auth::ntlm::NtlmCredentials;
use countersign_policy::Identity;
use countersign_wire::NtStatus;
use countersign_wire::smb1::block::byte_count;
use countersign_wire::smb1::session_setup_andx::{
    ACTION_GUEST, ClassicWords, ExtendedWords, Names, SessionSetupRequest, SessionSetupResponse,
};
use countersign_wire::smb1::{Capabilities, Command, HEADER};

use super::Smb1;
use super::exchange::{Order, Reply, Request};
use crate::client::call::{Answer, CallId, LogonKey};
use crate::client::config::ClassicResponse;
use crate::client::engine::{Link, LoggedOn};
use crate::client::failure::{CloseReason, Failure};
use crate::gate::smb1::client::{Admitted, Logon as GateLogon};

/// What is said of this client.
const NATIVE: &str = "Countersign";

/// Where a logon stands.
pub(super) enum Logon {
    /// None is being made.
    None,
    /// Tokens are exchanged.
    Running,
    /// The server is content; the final response is to be judged.
    Judged {
        /// It.
        response: Box<Admitted>,
        /// Action.
        action: u16,
    },
}

impl Logon {
    /// Between first request and verdict.
    pub(super) fn is_running(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// The final response is there, the key is not.
    pub(super) fn is_judged(&self) -> bool {
        matches!(self, Self::Judged { .. })
    }
}

impl Smb1 {
    /// A token for the server.
    pub(super) fn session_setup(
        &mut self,
        link: &mut Link,
        id: CallId,
        token: &[u8],
    ) -> Result<(), Failure> {
        if self.server.challenge.is_some() {
            return Err(Failure::Unsupported(
                "the server has no extended security: it takes no tokens",
            ));
        }
        if self.logon.is_judged() {
            return Err(Failure::Unsupported("a logon waits for its verdict"));
        }
        let length = u16::try_from(token.len())
            .map_err(|_| Failure::Limit("the authentication token is too long for SMB1"))?;
        if !self.logon.is_running() {
            self.uid = 0;
            self.logon = Logon::Running;
        }
        let words = ExtendedWords {
            max_buffer_size: u16::MAX,
            max_mpx_count: self.mpx(),
            vc_number: 1,
            session_key: self.server.session_key,
            security_blob_length: length,
            reserved: 0,
            capabilities: (capabilities() | Capabilities::EXTENDED_SECURITY).bits(),
        };
        let request = SessionSetupRequest::Extended {
            words,
            blob: token,
            native_os: NATIVE.into(),
            native_lan_man: NATIVE.into(),
        };
        self.send_setup(link, id, &request, 12, move |me, link, reply| {
            let answer = reply.and_then(|reply| me.token(&reply));
            if answer.is_err() {
                me.logon = Logon::None;
            }
            me.finish(link, id, answer);
        });
        Ok(())
    }

    fn token(&mut self, reply: &Reply) -> Result<Answer, Failure> {
        let finished = match reply.status {
            NtStatus::SUCCESS => true,
            NtStatus::MORE_PROCESSING_REQUIRED => false,
            _ => return Err(reply.failure()),
        };
        let response = SessionSetupResponse::decode(&reply.block()?, reply.text)
            .map_err(|_| reply.malformed())?;
        self.uid = reply.header.uid;
        if finished {
            self.take_native_lan_man(&response.native_lan_man);
            self.logon = Logon::Judged {
                response: Box::new(reply.admitted.clone()),
                action: response.action,
            };
        }
        Ok(Answer::LogonToken {
            token: response.blob.unwrap_or_default(),
            finished,
        })
    }

    /// The authentication is complete: the final response is judged.
    pub(super) fn logon_finish(
        &mut self,
        link: &mut Link,
        id: CallId,
        key: &LogonKey,
    ) -> Result<(), Failure> {
        if !self.logon.is_judged() {
            return Err(Failure::Unsupported("no logon waits for its verdict"));
        }
        let Logon::Judged { response, action } = core::mem::replace(&mut self.logon, Logon::None)
        else {
            return Ok(());
        };
        let key = key.session_key.as_ref().map(|k| (k.as_bytes(), &[][..]));
        self.judge(link, id, &response, action, key);
        Ok(())
    }

    /// The gate's verdict on a logon.
    fn judge(
        &mut self,
        link: &mut Link,
        id: CallId,
        response: &Admitted,
        action: u16,
        key: Option<(&[u8], &[u8])>,
    ) {
        let identity = if key.is_none() {
            Identity::Anonymous
        } else if action & ACTION_GUEST != 0 {
            Identity::Guest
        } else {
            Identity::User
        };
        let policy = std::sync::Arc::clone(&link.config.policy);
        let verdict = self.signing.establish(&GateLogon {
            policy: &policy,
            identity,
            key,
            response,
        });
        let reason = match verdict {
            Ok(_) if identity == Identity::Guest && !link.config.allow_guest => {
                CloseReason::Incompatible(
                    "the server let us in as a guest, which was not asked for",
                )
            }
            Ok(accepted) => {
                let logged_on = LoggedOn {
                    session: u64::from(self.uid),
                    identity,
                    signed: accepted.signed,
                    key: accepted.signed,
                    algorithm: accepted.signed.then_some("MD5"),
                    reason: accepted.reason,
                    encrypted: None,
                };
                self.finish(link, id, Ok(Answer::LoggedOn(logged_on)));
                return self.pump(link);
            }
            Err(reason) => CloseReason::Policy(reason),
        };
        self.finish(link, id, Err(Failure::Closed(reason.clone())));
        link.close(reason);
    }

    /// A logon without extended security.
    pub(super) fn classic_logon(
        &mut self,
        link: &mut Link,
        id: CallId,
        who: &NtlmCredentials,
    ) -> Result<(), Failure> {
        let Some(challenge) = self.server.challenge else {
            return Err(Failure::Unsupported(
                "the server has extended security: log on with tokens",
            ));
        };
        if self.logon.is_running() {
            return Err(Failure::Unsupported("another logon is being made"));
        }
        let mut own = [0; 8];
        link.random(&mut own);
        let responses = match link.config.smb1.classic {
            _ if who.user.is_empty() => ClassicResponses::anonymous(),
            ClassicResponse::Never => {
                return Err(Failure::Unsupported(
                    "the server has no extended security, and NTLM responses without it are not allowed here",
                ));
            }
            ClassicResponse::NtlmV2 => {
                let time = self.now.wall.0.to_le_bytes();
                ClassicResponses::ntlm_v2(who, challenge, own, time)
            }
            ClassicResponse::Ntlm => ClassicResponses::ntlm(who, challenge),
        };
        self.uid = 0;
        self.logon = Logon::Running;
        let words = ClassicWords {
            max_buffer_size: u16::MAX,
            max_mpx_count: self.mpx(),
            vc_number: 1,
            session_key: self.server.session_key,
            oem_password_len: byte_count(responses.lm.len()),
            unicode_password_len: byte_count(responses.nt.len()),
            reserved: 0,
            capabilities: capabilities().bits(),
        };
        let request = SessionSetupRequest::Classic {
            words,
            oem_password: &responses.lm,
            unicode_password: &responses.nt,
            names: Names {
                account: who.user.clone(),
                domain: who.domain.clone(),
                native_os: NATIVE.into(),
                native_lan_man: NATIVE.into(),
            },
        };
        let ClassicResponses {
            nt, session_key, ..
        } = responses.clone();
        self.send_setup(link, id, &request, 13, move |me, link, reply| {
            me.logon = Logon::None;
            let response = reply.and_then(Reply::success).and_then(|reply| {
                let response = SessionSetupResponse::decode(&reply.block()?, reply.text)
                    .map_err(|_| reply.malformed())?;
                Ok((reply, response))
            });
            match response {
                Ok((reply, response)) => {
                    me.uid = reply.header.uid;
                    me.take_native_lan_man(&response.native_lan_man);
                    let key = session_key.as_ref().map(|k| (k.as_bytes(), nt.as_slice()));
                    me.judge(link, id, &reply.admitted, response.action, key);
                }
                Err(failure) => me.finish(link, id, Err(failure)),
            }
        });
        Ok(())
    }

    fn send_setup(
        &mut self,
        link: &mut Link,
        id: CallId,
        request: &SessionSetupRequest<'_>,
        words: usize,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<Reply, Failure>) + Send + 'static,
    ) {
        let (words, bytes) = request.encode(self.server.text, HEADER + 1 + 2 * words + 2);
        let request = Request {
            // The first key is for everything behind it, so nothing else may be
            // on its way when it comes.
            alone: true,
            ..Request::new(Command::SESSION_SETUP_ANDX, 0, words, bytes)
        };
        self.send(link, id, request, then);
    }

    /// Ends the session.
    pub(super) fn logoff(&mut self, link: &mut Link, id: CallId) -> Result<(), Failure> {
        let request = Request {
            order: Order::Session,
            ..Request::new(Command::LOGOFF_ANDX, 0, Vec::new(), Vec::new())
        };
        self.leaving = true;
        self.send(link, id, request, move |me, link, reply| {
            let done = reply.and_then(Reply::success).map(|_| Answer::Done);
            me.finish(link, id, done);
            link.close(CloseReason::LoggedOff);
        });
        Ok(())
    }

    fn mpx(&self) -> u16 {
        u16::try_from(self.server.requests).unwrap_or(u16::MAX)
    }
}

/// What this client can do.
fn capabilities() -> Capabilities {
    Capabilities::UNICODE
        | Capabilities::LARGE_FILES
        | Capabilities::NT_SMBS
        | Capabilities::STATUS32
        | Capabilities::LEVEL_II_OPLOCKS
        | Capabilities::NT_FIND
        | Capabilities::LARGE_READX
        | Capabilities::LARGE_WRITEX
}
