//! The acceptor: SPNEGO around a mechanism, or NTLMSSP or Kerberos alone.

use std::sync::Arc;
use std::time::Duration;

use countersign_wire::FileTime;

use crate::config::AuthConfig;
use crate::der::{APPLICATION_0, DerReader, OID};
use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::kerberos::{KerberosAcceptor, KerberosPeer, KerberosStep};
use crate::key::SessionKey;
use crate::ntlm::acceptor::{NtlmAccepted, NtlmAcceptor, NtlmStep};
use crate::ntlm::message::is_ntlmssp;
use crate::ntlm::seal::{Sender, first_signature, verify_first_signature};
use crate::ntlm::verify::NtlmVersion;
use crate::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_KERBEROS, OID_MS_KERBEROS,
    OID_NTLMSSP, neg_token_init2,
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
    /// Kerberos.
    Kerberos,
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
        /// Until the credentials run out; `None`: never.
        lifetime: Option<Duration>,
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
    config: Arc<AuthConfig>,
    ntlm: NtlmAcceptor,
    state: State,
}

enum State {
    /// No token yet.
    Start,
    /// NTLMSSP without SPNEGO.
    Raw,
    /// Kerberos without SPNEGO.
    RawKerberos(Box<dyn KerberosAcceptor>),
    /// NTLM inside SPNEGO.
    Wrapped(Negotiated),
    /// Kerberos inside SPNEGO.
    Kerberos(Negotiated, Box<dyn KerberosAcceptor>),
    /// Kerberos is done; the client's mechListMIC is due.
    Mic(Negotiated, Box<dyn KerberosAcceptor>, Box<KerberosPeer>),
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

/// A mechanism of the client's list that this server has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ours {
    Ntlm,
    Kerberos,
}

impl Acceptor {
    /// An acceptor that has seen nothing yet.
    pub fn new(
        config: Arc<AuthConfig>,
        users: Arc<dyn UserDirectory>,
        context: AcceptContext,
    ) -> Self {
        Self {
            ntlm: NtlmAcceptor::new(Arc::clone(&config), users, context),
            config,
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
                    token: negotiate_hint(&self.config),
                })
            }
            State::Start if is_ntlmssp(token) => self.raw(token),
            State::Raw => self.raw(token),
            State::Start if is_kerberos(token) => {
                let kerberos = self.kerberos()?;
                self.raw_kerberos(kerberos, token)
            }
            State::RawKerberos(kerberos) => self.raw_kerberos(kerberos, token),
            State::Start => match decode(token)? {
                NegotiationToken::Init(init) => self.init(&init),
                NegotiationToken::Resp(_) => {
                    Err(nameless(FailureReason::OutOfOrder("NegTokenResp")))
                }
            },
            State::Wrapped(negotiated) if is_ntlmssp(token) => {
                self.wrapped(negotiated, token, None)
            }
            State::Wrapped(negotiated) => {
                let resp = response(token)?;
                match resp.response_token {
                    Some(inner) => self.wrapped(negotiated, inner, resp.mech_list_mic),
                    None => Err(nameless(FailureReason::Malformed("responseToken"))),
                }
            }
            State::Kerberos(negotiated, kerberos) => {
                let resp = response(token)?;
                match resp.response_token {
                    Some(inner) => {
                        self.wrapped_kerberos(negotiated, kerberos, inner, resp.mech_list_mic, None)
                    }
                    None => Err(nameless(FailureReason::Malformed("responseToken"))),
                }
            }
            State::Mic(negotiated, mut kerberos, peer) => match response(token)?.mech_list_mic {
                Some(mic) => {
                    verify_mic(&mut *kerberos, &negotiated, mic, &peer)?;
                    let response = NegTokenResp {
                        state: Some(NegState::AcceptCompleted),
                        ..NegTokenResp::default()
                    };
                    kerberos_done(&peer, response.encode())
                }
                None => Err(failed_peer(FailureReason::NoMechListMic, &peer)),
            },
            State::Over => Err(nameless(FailureReason::OutOfOrder("the exchange is over"))),
        }
    }

    fn kerberos(&self) -> Result<Box<dyn KerberosAcceptor>, AuthFailure> {
        match &self.config.kerberos {
            Some(service) => Ok(service.accept()?),
            None => Err(nameless(FailureReason::NoMechanism)),
        }
    }

    fn ntlm(&mut self, token: &[u8]) -> Result<NtlmStep, AuthFailure> {
        if self.config.rules.ntlm {
            self.ntlm.step(token)
        } else {
            Err(nameless(FailureReason::NtlmRefused))
        }
    }

    fn raw(&mut self, token: &[u8]) -> Result<Step, AuthFailure> {
        match self.ntlm(token)? {
            NtlmStep::Challenge(token) => {
                self.state = State::Raw;
                Ok(Step::Continue { token })
            }
            NtlmStep::Accepted(accepted) => Ok(done(accepted, Vec::new())),
        }
    }

    fn raw_kerberos(
        &mut self,
        mut kerberos: Box<dyn KerberosAcceptor>,
        token: &[u8],
    ) -> Result<Step, AuthFailure> {
        match kerberos.step(token)? {
            KerberosStep::Continue(token) => {
                self.state = State::RawKerberos(kerberos);
                Ok(Step::Continue { token })
            }
            KerberosStep::Done { token, peer } => kerberos_done(&peer, token),
        }
    }

    /// The mechanism of the list that the client wants most and this server has.
    fn choose<'a>(&self, list: &[&'a [u8]]) -> Option<(usize, &'a [u8], Ours)> {
        list.iter().enumerate().find_map(|(place, oid)| {
            let ours = match *oid {
                OID_NTLMSSP if self.config.rules.ntlm => Ours::Ntlm,
                OID_KERBEROS | OID_MS_KERBEROS if self.config.kerberos.is_some() => Ours::Kerberos,
                _ => return None,
            };
            Some((place, *oid, ours))
        })
    }

    /// The client's first token: choose a mechanism, and take its message if it came along.
    fn init(&mut self, init: &NegTokenInit<'_>) -> Result<Step, AuthFailure> {
        let Some((place, oid, ours)) = self.choose(&init.mech_types) else {
            let only_ntlm = init.mech_types.contains(&OID_NTLMSSP);
            return Err(nameless(match only_ntlm {
                true => FailureReason::NtlmRefused,
                false => FailureReason::NoMechanism,
            }));
        };
        let changed = place != 0;
        let negotiated = Negotiated {
            mech_types_der: init.mech_types_der.to_vec(),
            changed,
        };
        let state = match changed {
            true => NegState::RequestMic,
            false => NegState::AcceptIncomplete,
        };
        let message = init.mech_token.filter(|t| !t.is_empty());
        let challenge = match ours {
            Ours::Kerberos => {
                let kerberos = self.kerberos()?;
                if let Some(message) = message.filter(|_| !changed) {
                    let mic = init.mech_list_mic;
                    return self.wrapped_kerberos(negotiated, kerberos, message, mic, Some(oid));
                }
                self.state = State::Kerberos(negotiated, kerberos);
                None
            }
            Ours::Ntlm => {
                let challenge = match message.filter(|t| !changed || is_ntlmssp(t)) {
                    Some(message) => match self.ntlm(message)? {
                        NtlmStep::Challenge(challenge) => Some(challenge),
                        NtlmStep::Accepted(_) => {
                            return Err(nameless(FailureReason::OutOfOrder("NTLM message")));
                        }
                    },
                    None => None,
                };
                self.state = State::Wrapped(negotiated);
                challenge
            }
        };
        let response = NegTokenResp {
            state: Some(state),
            supported_mech: Some(oid),
            response_token: challenge.as_deref(),
            mech_list_mic: None,
        };
        Ok(Step::Continue {
            token: response.encode(),
        })
    }

    /// A token of Kerberos inside SPNEGO; `first` is the OID to name when the answer is
    /// the first one.
    fn wrapped_kerberos(
        &mut self,
        negotiated: Negotiated,
        mut kerberos: Box<dyn KerberosAcceptor>,
        message: &[u8],
        mic: Option<&[u8]>,
        first: Option<&[u8]>,
    ) -> Result<Step, AuthFailure> {
        match kerberos.step(message)? {
            KerberosStep::Continue(token) => {
                let response = NegTokenResp {
                    state: Some(NegState::AcceptIncomplete),
                    supported_mech: first,
                    response_token: Some(&token),
                    mech_list_mic: None,
                };
                self.state = State::Kerberos(negotiated, kerberos);
                Ok(Step::Continue {
                    token: response.encode(),
                })
            }
            KerberosStep::Done { token, peer } => {
                if let Some(mic) = mic {
                    verify_mic(&mut *kerberos, &negotiated, mic, &peer)?;
                }
                // RFC 4178 5: both ends prove the list where the client's first choice was
                // not taken; else only in answer to a proof.
                let ours = match negotiated.changed || mic.is_some() {
                    true => Some(kerberos.mic(&negotiated.mech_types_der)?),
                    false => None,
                };
                let complete = !negotiated.changed || mic.is_some();
                let response = NegTokenResp {
                    state: Some(match complete {
                        true => NegState::AcceptCompleted,
                        false => NegState::AcceptIncomplete,
                    }),
                    supported_mech: first,
                    response_token: Some(&token).filter(|t| !t.is_empty()).map(Vec::as_slice),
                    mech_list_mic: ours.as_deref(),
                };
                if complete {
                    return kerberos_done(&peer, response.encode());
                }
                self.state = State::Mic(negotiated, kerberos, Box::new(peer));
                Ok(Step::Continue {
                    token: response.encode(),
                })
            }
        }
    }

    fn wrapped(
        &mut self,
        negotiated: Negotiated,
        message: &[u8],
        mic: Option<&[u8]>,
    ) -> Result<Step, AuthFailure> {
        match self.ntlm(message)? {
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
                            detail: String::new(),
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
        lifetime: None,
    }
}

fn kerberos_done(peer: &KerberosPeer, token: Vec<u8>) -> Result<Step, AuthFailure> {
    Ok(Step::Done {
        token,
        identity: Box::new(peer.identity()?),
        session_key: Some(peer.session_key.clone()),
        mechanism: Mechanism::Kerberos,
        lifetime: peer.lifetime,
    })
}

fn verify_mic(
    kerberos: &mut dyn KerberosAcceptor,
    negotiated: &Negotiated,
    mic: &[u8],
    peer: &KerberosPeer,
) -> Result<(), AuthFailure> {
    if kerberos.verify_mic(&negotiated.mech_types_der, mic) {
        Ok(())
    } else {
        Err(failed_peer(FailureReason::BadMechListMic, peer))
    }
}

fn failed_peer(reason: FailureReason, peer: &KerberosPeer) -> AuthFailure {
    AuthFailure {
        user: peer.principal.clone(),
        ..nameless(reason)
    }
}

/// A NegTokenResp of the client's that goes on.
fn response(token: &[u8]) -> Result<NegTokenResp<'_>, AuthFailure> {
    match decode(token)? {
        NegotiationToken::Init(_) => Err(nameless(FailureReason::OutOfOrder("NegTokenInit"))),
        NegotiationToken::Resp(NegTokenResp {
            state: Some(NegState::Reject),
            ..
        }) => Err(nameless(FailureReason::NoMechanism)),
        NegotiationToken::Resp(resp) => Ok(resp),
    }
}

/// Whether a token is Kerberos' own, in its GSS-API frame (RFC 4121 4.1).
fn is_kerberos(token: &[u8]) -> bool {
    let frame = DerReader::new(token).expect(APPLICATION_0);
    let oid = frame.and_then(|f| DerReader::new(f.contents).expect(OID));
    oid.is_ok_and(|oid| oid.contents == OID_KERBEROS)
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
    let mut mechanisms = Vec::new();
    if config.kerberos.is_some() {
        mechanisms.extend([OID_MS_KERBEROS, OID_KERBEROS]);
    }
    if config.rules.ntlm {
        mechanisms.push(OID_NTLMSSP);
    }
    neg_token_init2(&mechanisms)
}
