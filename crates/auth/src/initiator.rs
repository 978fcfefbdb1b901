//! The client's side of an authentication, as a step machine: tokens from the
//! server in, tokens for it out, a session key at the end. RFC 4178, [MS-SPNG].
//!
//! [`SpnegoInitiator`] negotiates among [`MechanismInitiator`]s, of which
//! [`NtlmMechanism`] is one. Time and randomness are arguments; a step may block
//! where the mechanism does (Kerberos may ask a KDC).

use crate::key::SessionKey;
use crate::ntlm::seal::{Sender, verify_first_signature};
use crate::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiated, NtlmInitiator};
use crate::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_NTLMSSP, mech_types_der,
};

/// Why an exchange failed on our side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitiatorError {
    /// The server's token cannot be understood.
    #[error("the server's authentication token is malformed")]
    Malformed,
    /// The server rejected the negotiation of mechanisms.
    #[error("the server rejected the authentication")]
    Rejected,
    /// The server chose a mechanism that was not offered.
    #[error("the server chose an authentication mechanism that was not offered")]
    NotOffered,
    /// The server's mechListMIC is wrong: the list of mechanisms was altered on
    /// the way, or the server does not know the password.
    #[error("the server's proof of the negotiated mechanisms is wrong")]
    BadMechListMic,
    /// The server gave no mechListMIC though it did not take the first mechanism.
    #[error("the server changed the authentication mechanism and gave no proof of it")]
    NoMechListMic,
    /// A token came when none was due, or none where one was.
    #[error("the server's authentication token came out of turn")]
    OutOfTurn,
    /// The mechanism failed, in its own words (Kerberos: what the library says).
    #[error("{0}")]
    Mechanism(String),
}

/// What a finished exchange yielded.
#[derive(Debug, Clone)]
pub struct Initiated {
    /// The whole session key; `None` for an anonymous logon.
    pub session_key: Option<SessionKey>,
    /// The server proved who it is (Kerberos with mutual authentication).
    pub mutual: bool,
    /// Name of the mechanism, for people: `NTLM`, `Kerberos`.
    pub mechanism: &'static str,
}

/// What a step came to.
#[derive(Debug, Clone, Default)]
pub struct InitiatorStep {
    /// Token for the server.
    pub token: Option<Vec<u8>>,
    /// Set with the last step.
    pub done: Option<Initiated>,
}

/// The client's side of an exchange.
///
/// The first step has no token. The server's tokens follow; when the server has
/// said that it is content, its last token (which may be empty) must bring the
/// exchange to [`InitiatorStep::done`], else the logon fails.
pub trait Initiator: Send {
    /// Takes the server's token.
    ///
    /// # Errors
    /// The exchange has failed and must not be continued.
    fn step(&mut self, token: Option<&[u8]>) -> Result<InitiatorStep, InitiatorError>;
}

/// One mechanism under SPNEGO.
pub trait MechanismInitiator: Send {
    /// Contents of the OIDs it is offered under, most wanted first; at least one.
    fn oids(&self) -> &'static [&'static [u8]];

    /// Takes the server's mechanism token (none in the first step); gives ours,
    /// and whether the mechanism needs no more from the server.
    ///
    /// # Errors
    /// The mechanism failed.
    fn step(&mut self, token: Option<&[u8]>) -> Result<(Option<Vec<u8>>, bool), InitiatorError>;

    /// What it yielded, once it needs no more.
    fn outcome(&self) -> Option<Initiated>;

    /// GSS_GetMIC, our first; `None` where there is no key.
    fn mic(&mut self, data: &[u8]) -> Option<Vec<u8>>;

    /// GSS_VerifyMIC of the server's first.
    fn verify_mic(&mut self, data: &[u8], mic: &[u8]) -> bool;
}

/// SPNEGO over one or several mechanisms, the first being the most wanted.
pub struct SpnegoInitiator {
    mechanisms: Vec<Box<dyn MechanismInitiator>>,
    /// The mechanism in use.
    chosen: usize,
    /// The one whose token went first was not taken.
    changed: bool,
    /// mechTypes as sent: what the MICs protect.
    list: Vec<u8>,
    mic_sent: bool,
    mechanism_done: bool,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Start,
    Running,
    Done,
}

impl SpnegoInitiator {
    /// Negotiates among mechanisms; `None` when there is none.
    pub fn new(mechanisms: Vec<Box<dyn MechanismInitiator>>) -> Option<Self> {
        let oids: Vec<&[u8]> = mechanisms.iter().flat_map(|m| m.oids()).copied().collect();
        if oids.is_empty() {
            return None;
        }
        Some(Self {
            list: mech_types_der(&oids),
            mechanisms,
            chosen: 0,
            changed: false,
            mic_sent: false,
            mechanism_done: false,
            state: State::Start,
        })
    }

    /// NTLM alone.
    pub fn ntlm(mechanism: NtlmMechanism) -> Self {
        Self {
            list: mech_types_der(&[OID_NTLMSSP]),
            mechanisms: vec![Box::new(mechanism)],
            chosen: 0,
            changed: false,
            mic_sent: false,
            mechanism_done: false,
            state: State::Start,
        }
    }

    fn mechanism(&mut self) -> Result<&mut Box<dyn MechanismInitiator>, InitiatorError> {
        self.mechanisms
            .get_mut(self.chosen)
            .ok_or(InitiatorError::OutOfTurn)
    }

    fn start(&mut self) -> Result<InitiatorStep, InitiatorError> {
        // A mechanism that cannot even begin is left out, the next one leads.
        let mut failure = InitiatorError::OutOfTurn;
        while !self.mechanisms.is_empty() {
            match self.mechanism()?.step(None) {
                Ok((token, done)) => {
                    self.mechanism_done = done;
                    let oids: Vec<&[u8]> = self
                        .mechanisms
                        .iter()
                        .flat_map(|m| m.oids())
                        .copied()
                        .collect();
                    self.list = mech_types_der(&oids);
                    let init = NegTokenInit {
                        mech_types: oids,
                        mech_types_der: &self.list,
                        mech_token: token.as_deref(),
                        mech_list_mic: None,
                    };
                    self.state = State::Running;
                    return Ok(InitiatorStep {
                        token: Some(init.encode()),
                        done: None,
                    });
                }
                Err(error) => {
                    failure = error;
                    self.mechanisms.remove(0);
                }
            }
        }
        Err(failure)
    }

    fn choose(&mut self, oid: &[u8]) -> Result<(), InitiatorError> {
        let place = self
            .mechanisms
            .iter()
            .position(|m| m.oids().contains(&oid))
            .ok_or(InitiatorError::NotOffered)?;
        if place != self.chosen {
            self.chosen = place;
            self.changed = true;
            self.mechanism_done = false;
        }
        Ok(())
    }

    fn running(&mut self, token: &[u8]) -> Result<InitiatorStep, InitiatorError> {
        let resp = if token.is_empty() {
            NegTokenResp {
                state: Some(NegState::AcceptCompleted),
                ..NegTokenResp::default()
            }
        } else {
            match NegotiationToken::decode(token) {
                Ok(NegotiationToken::Resp(resp)) => resp,
                Ok(NegotiationToken::Init(_)) | Err(_) => return Err(InitiatorError::Malformed),
            }
        };
        if resp.state == Some(NegState::Reject) {
            return Err(InitiatorError::Rejected);
        }
        let was = self.chosen;
        if let Some(oid) = resp.supported_mech {
            self.choose(oid)?;
        }
        let switched = was != self.chosen;
        let mut reply = None;
        // Some servers send their last token twice, as responseToken and MIC.
        let inner = resp.response_token.filter(|_| !self.mechanism_done);
        if switched || inner.is_some() {
            let (token, done) = self.mechanism()?.step(inner.filter(|_| !switched))?;
            self.mechanism_done = done;
            reply = token;
        }
        if self.mechanism_done
            && let Some(mic) = resp.mech_list_mic
        {
            let list = std::mem::take(&mut self.list);
            let right = self.mechanism()?.verify_mic(&list, mic);
            self.list = list;
            if !right {
                return Err(InitiatorError::BadMechListMic);
            }
        } else if self.mechanism_done && self.changed && reply.is_none() {
            return Err(InitiatorError::NoMechListMic);
        }
        let completed = resp.state == Some(NegState::AcceptCompleted);
        if reply.is_none() && self.mechanism_done && completed {
            self.state = State::Done;
            return Ok(InitiatorStep {
                token: None,
                done: Some(
                    self.mechanism()?
                        .outcome()
                        .ok_or(InitiatorError::OutOfTurn)?,
                ),
            });
        }
        if reply.is_none() && !self.mechanism_done {
            return Err(InitiatorError::OutOfTurn);
        }
        let mic = if self.mechanism_done && !self.mic_sent {
            self.mic_sent = true;
            let list = std::mem::take(&mut self.list);
            let mic = self.mechanism()?.mic(&list);
            self.list = list;
            mic
        } else {
            None
        };
        let next = NegTokenResp {
            state: Some(NegState::AcceptIncomplete),
            supported_mech: None,
            response_token: reply.as_deref(),
            mech_list_mic: mic.as_deref(),
        };
        Ok(InitiatorStep {
            token: Some(next.encode()),
            done: None,
        })
    }
}

impl Initiator for SpnegoInitiator {
    fn step(&mut self, token: Option<&[u8]>) -> Result<InitiatorStep, InitiatorError> {
        match (&self.state, token) {
            (State::Start, None) => self.start(),
            (State::Running, Some(token)) => self.running(token),
            _ => Err(InitiatorError::OutOfTurn),
        }
    }
}

/// NTLM as a mechanism.
pub struct NtlmMechanism {
    state: NtlmState,
    random: Option<ClientRandom>,
}

enum NtlmState {
    Start(Box<NtlmInitiator>),
    Sent(Box<NtlmInitiator>),
    Done(Box<NtlmInitiated>),
    Failed,
}

impl NtlmMechanism {
    /// NTLMv2 with these credentials; `target` is the service's name
    /// (`cifs/host`), which the response is bound to.
    pub fn new(credentials: NtlmCredentials, target: Option<String>, random: ClientRandom) -> Self {
        let flags = NtlmInitiator::default_flags();
        Self {
            state: NtlmState::Start(Box::new(NtlmInitiator::new(credentials, flags, target))),
            random: Some(random),
        }
    }

    /// The same at this time; see [`NtlmInitiator::at`].
    #[must_use]
    pub fn at(mut self, time: [u8; 8]) -> Self {
        if let NtlmState::Start(client) = self.state {
            self.state = NtlmState::Start(Box::new(client.at(time)));
        }
        self
    }
}

impl MechanismInitiator for NtlmMechanism {
    fn oids(&self) -> &'static [&'static [u8]] {
        &[OID_NTLMSSP]
    }

    fn step(&mut self, token: Option<&[u8]>) -> Result<(Option<Vec<u8>>, bool), InitiatorError> {
        match (std::mem::replace(&mut self.state, NtlmState::Failed), token) {
            (NtlmState::Start(client), None) => {
                let token = client.negotiate().to_vec();
                self.state = NtlmState::Sent(client);
                Ok((Some(token), false))
            }
            (NtlmState::Sent(client), Some(challenge)) => {
                let random = self.random.take().ok_or(InitiatorError::OutOfTurn)?;
                let done = client
                    .authenticate(challenge, &random)
                    .map_err(|_| InitiatorError::Malformed)?;
                let token = done.token.clone();
                self.state = NtlmState::Done(Box::new(done));
                Ok((Some(token), true))
            }
            _ => Err(InitiatorError::OutOfTurn),
        }
    }

    fn outcome(&self) -> Option<Initiated> {
        match &self.state {
            NtlmState::Done(done) => Some(Initiated {
                session_key: done.session_key.clone(),
                mutual: false,
                mechanism: "NTLM",
            }),
            _ => None,
        }
    }

    fn mic(&mut self, data: &[u8]) -> Option<Vec<u8>> {
        match &self.state {
            NtlmState::Done(done) if done.session_key.is_some() => {
                Some(done.mech_list_mic(Sender::Client, data).to_vec())
            }
            _ => None,
        }
    }

    fn verify_mic(&mut self, data: &[u8], mic: &[u8]) -> bool {
        match &self.state {
            NtlmState::Done(done) => done.verify_mech_list_mic(data, mic),
            _ => false,
        }
    }
}

impl NtlmInitiated {
    /// Whether this is the server's mechListMIC over the client's mechTypes.
    /// Without a key there is none that is right.
    pub fn verify_mech_list_mic(&self, mech_types_der: &[u8], mic: &[u8]) -> bool {
        self.session_key.as_ref().is_some_and(|key| {
            key.as_bytes().first_chunk::<16>().is_some_and(|key| {
                verify_first_signature(key, self.flags(), Sender::Server, mech_types_der, mic)
            })
        })
    }
}
