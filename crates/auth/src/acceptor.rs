//! The acceptor: SPNEGO around a mechanism, or NTLMSSP alone.

use std::sync::Arc;

use countersign_wire::FileTime;

use crate::config::AuthConfig;
use crate::der::APPLICATION_0;
use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::key::SessionKey;
use crate::ntlm::acceptor::{NtlmAccepted, NtlmAcceptor, NtlmStep};
use crate::ntlm::message::is_ntlmssp;
use crate::ntlm::seal::{Sender, first_signature, verify_first_signature};
use crate::ntlm::verify::NtlmVersion;
use crate::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_NTLMSSP, neg_token_init2,
};
use crate::users::UserDirectory;

/// What one authentication needs from outside.
#[derive(Debug, Clone, Copy)]
pub struct AcceptContext {
    /// The exchange runs over SMB1 (its own rule for NTLMv1).
    pub smb1: bool,
    /// ServerChallenge: eight random bytes, never used twice.
    pub server_challenge: [u8; 8],
    /// Time sent to the client.
    pub now: FileTime,
}

/// How the peer was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// NTLM; `None` for guests and anonymous.
    Ntlm(Option<NtlmVersion>),
}

/// What came of a token.
#[derive(Debug)]
pub enum Step {
    /// STATUS_MORE_PROCESSING_REQUIRED with this token.
    Continue {
        /// Token for the client.
        token: Vec<u8>,
    },
    /// The logon succeeded.
    Done {
        /// Last token for the client; empty when there is none.
        token: Vec<u8>,
        /// Who has logged on.
        identity: Box<Identity>,
        /// The key; `None` for guests and anonymous.
        session_key: Option<SessionKey>,
        /// How.
        mechanism: Mechanism,
    },
    /// The logon failed; the acceptor answers nothing further.
    Failed {
        /// Token that goes with the error, if any.
        token: Option<Vec<u8>>,
        /// Why.
        failure: AuthFailure,
    },
}

/// One authentication, as the server sees it. Another try needs another acceptor
/// with another challenge.
pub struct Acceptor {
    ntlm: NtlmAcceptor,
    state: State,
}

enum State {
    /// No token yet.
    Start,
    /// NTLMSSP without SPNEGO.
    Raw,
    /// Inside SPNEGO.
    Wrapped(Negotiated),
    /// Done or failed.
    Over,
}

/// What SPNEGO must remember of the client's first token.
struct Negotiated {
    /// The client's mechTypes SEQUENCE.
    mech_types_der: Vec<u8>,
    /// The mechanism is not the one the client wanted most.
    changed: bool,
}

impl Acceptor {
    /// An acceptor that has seen nothing yet.
    pub fn new(
        config: Arc<AuthConfig>,
        users: Arc<dyn UserDirectory>,
        context: AcceptContext,
    ) -> Self {
        Self {
            ntlm: NtlmAcceptor::new(config, users, context),
            state: State::Start,
        }
    }

    /// Takes a token of the client.
    pub fn step(&mut self, token: &[u8]) -> Step {
        match self.advance(token) {
            Ok(step) => step,
            Err(failure) => {
                self.state = State::Over;
                Step::Failed {
                    token: None,
                    failure,
                }
            }
        }
    }

    fn advance(&mut self, token: &[u8]) -> Result<Step, AuthFailure> {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Start if token.is_empty() => {
                self.state = State::Start;
                Ok(Step::Continue {
                    token: neg_token_init2(&[OID_NTLMSSP]),
                })
            }
            State::Start if is_ntlmssp(token) => self.raw(token),
            State::Raw => self.raw(token),
            State::Start => match decode(token)? {
                NegotiationToken::Init(init) => self.init(&init),
                NegotiationToken::Resp(_) => {
                    Err(nameless(FailureReason::OutOfOrder("NegTokenResp")))
                }
            },
            State::Wrapped(negotiated) if is_ntlmssp(token) => {
                self.wrapped(negotiated, token, None)
            }
            State::Wrapped(negotiated) => match decode(token)? {
                NegotiationToken::Init(_) => {
                    Err(nameless(FailureReason::OutOfOrder("NegTokenInit")))
                }
                NegotiationToken::Resp(NegTokenResp {
                    state: Some(NegState::Reject),
                    ..
                }) => Err(nameless(FailureReason::NoMechanism)),
                NegotiationToken::Resp(resp) => match resp.response_token {
                    Some(inner) => self.wrapped(negotiated, inner, resp.mech_list_mic),
                    None => Err(nameless(FailureReason::Malformed("responseToken"))),
                },
            },
            State::Over => Err(nameless(FailureReason::OutOfOrder("the exchange is over"))),
        }
    }

    fn raw(&mut self, token: &[u8]) -> Result<Step, AuthFailure> {
        match self.ntlm.step(token)? {
            NtlmStep::Challenge(token) => {
                self.state = State::Raw;
                Ok(Step::Continue { token })
            }
            NtlmStep::Accepted(accepted) => Ok(done(accepted, Vec::new())),
        }
    }

    /// The client's first token: choose NTLM, and take its message if it came along.
    fn init(&mut self, init: &NegTokenInit<'_>) -> Result<Step, AuthFailure> {
        if !init.mech_types.contains(&OID_NTLMSSP) {
            return Err(nameless(FailureReason::NoMechanism));
        }
        let changed = init.mech_types.first() != Some(&OID_NTLMSSP);
        let ours = init.mech_token.filter(|t| !changed || is_ntlmssp(t));
        let challenge = match ours.filter(|t| !t.is_empty()) {
            Some(message) => match self.ntlm.step(message)? {
                NtlmStep::Challenge(challenge) => Some(challenge),
                NtlmStep::Accepted(_) => {
                    return Err(nameless(FailureReason::OutOfOrder("NTLM message")));
                }
            },
            None => None,
        };
        let state = if changed {
            NegState::RequestMic
        } else {
            NegState::AcceptIncomplete
        };
        let response = NegTokenResp {
            state: Some(state),
            supported_mech: Some(OID_NTLMSSP),
            response_token: challenge.as_deref(),
            mech_list_mic: None,
        };
        let mech_types_der = init.mech_types_der.to_vec();
        self.state = State::Wrapped(Negotiated {
            mech_types_der,
            changed,
        });
        Ok(Step::Continue {
            token: response.encode(),
        })
    }

    fn wrapped(
        &mut self,
        negotiated: Negotiated,
        message: &[u8],
        mic: Option<&[u8]>,
    ) -> Result<Step, AuthFailure> {
        match self.ntlm.step(message)? {
            NtlmStep::Challenge(challenge) => {
                let response = NegTokenResp {
                    state: Some(NegState::AcceptIncomplete),
                    response_token: Some(&challenge),
                    ..NegTokenResp::default()
                };
                self.state = State::Wrapped(negotiated);
                Ok(Step::Continue {
                    token: response.encode(),
                })
            }
            NtlmStep::Accepted(accepted) => {
                let mic = match mech_list_mic(&negotiated, &accepted, mic) {
                    Ok(mic) => mic,
                    Err(reason) => {
                        let identity = accepted.identity;
                        return Err(AuthFailure {
                            reason,
                            user: identity.asked_name,
                            domain: identity.domain,
                            workstation: identity.workstation,
                        });
                    }
                };
                let response = NegTokenResp {
                    state: Some(NegState::AcceptCompleted),
                    mech_list_mic: mic.as_ref().map(<[u8; 16]>::as_slice),
                    ..NegTokenResp::default()
                };
                Ok(done(accepted, response.encode()))
            }
        }
    }
}

/// Checks the client's mechListMIC and makes ours: only in answer to one. When
/// the mechanism is not the client's first choice, a client that protects its
/// NTLM messages must send one (older ones cannot). A guest's key is not known,
/// so its MIC can be neither checked nor answered: a client that insists on it
/// notices.
fn mech_list_mic(
    negotiated: &Negotiated,
    accepted: &NtlmAccepted,
    mic: Option<&[u8]>,
) -> Result<Option<[u8; 16]>, FailureReason> {
    let list = negotiated.mech_types_der.as_slice();
    match (mic, &accepted.exported) {
        (Some(mic), Some(key)) => {
            if !verify_first_signature(key, accepted.flags, Sender::Client, list, mic) {
                return Err(FailureReason::BadMechListMic);
            }
            Ok(Some(first_signature(
                key,
                accepted.flags,
                Sender::Server,
                list,
            )))
        }
        (None, _) if negotiated.changed && accepted.mic => Err(FailureReason::NoMechListMic),
        _ => Ok(None),
    }
}

fn done(accepted: NtlmAccepted, token: Vec<u8>) -> Step {
    Step::Done {
        token,
        identity: accepted.identity,
        session_key: accepted.session_key,
        mechanism: Mechanism::Ntlm(accepted.version),
    }
}

fn nameless(reason: FailureReason) -> AuthFailure {
    AuthFailure::nameless(reason)
}

fn decode(token: &[u8]) -> Result<NegotiationToken<'_>, AuthFailure> {
    NegotiationToken::decode(token).map_err(|_| {
        // A GSS-API frame of another mechanism is well formed and not ours.
        nameless(match token.first() {
            Some(&APPLICATION_0) => FailureReason::NoMechanism,
            _ => FailureReason::Malformed("SPNEGO"),
        })
    })
}

/// The token of the NEGOTIATE response: NegTokenInit2, [MS-SPNG] 2.2.1.
pub fn negotiate_hint(config: &AuthConfig) -> Vec<u8> {
    let _ = config; // Kerberos will come first here, where it is configured.
    neg_token_init2(&[OID_NTLMSSP])
}
