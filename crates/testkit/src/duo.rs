//! The client's engine and a server, joined message by message, with somebody
//! between who may alter, drop, repeat and invent.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials};
use countersign_auth::{Initiator, NtHash, NtlmMechanism, SpnegoInitiator};
use countersign_core::Transport;
use countersign_core::client::{
    Answer, Call, CallId, ClientConfig, ClientLimits, CloseReason, Encryption, Engine, Entropy,
    Event, Failure, LoggedOn, LogonKey, LogonKind, Negotiated, Smb1Config, TreeConnected,
};
use countersign_core::config::Dialect;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{Effective, Settings};
use countersign_wire::Guid;

use crate::memory::{MemoryServer, MemoryWire, TestHost, times};
use crate::wire::Wire;

/// Numbers that look random and are the same in every run.
#[derive(Debug, Clone)]
pub struct Counting(pub u64);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            // SplitMix64, a byte of it at a time.
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            *byte = (z >> 56) as u8;
        }
    }
}

/// A configuration to begin with: every dialect but SMB1, these settings.
pub fn client_config(settings: Settings) -> ClientConfig {
    ClientConfig {
        policy: Arc::new(Effective::of(settings)),
        min_dialect: Dialect::Smb202,
        max_dialect: Dialect::Smb311,
        signing_algorithms: vec![
            SigningAlgorithm::AesGmac,
            SigningAlgorithm::AesCmac,
            SigningAlgorithm::HmacSha256,
        ],
        ciphers: vec![
            Cipher::Aes128Gcm,
            Cipher::Aes128Ccm,
            Cipher::Aes256Gcm,
            Cipher::Aes256Ccm,
        ],
        encryption: Encryption::Offered,
        allow_guest: false,
        client_guid: Guid(*b"countersign-duo!"),
        server_name: "memory".into(),
        transport: Transport::Tcp,
        smb1: Smb1Config::default(),
        limits: ClientLimits::default(),
    }
}

/// Who stands between: gets each message, and gives what goes on in its place.
pub type Between = Box<dyn FnMut(Vec<u8>) -> Vec<Vec<u8>>>;

/// A client's engine and its server.
pub struct Duo<W> {
    /// The client.
    pub engine: Engine,
    /// The way to the server.
    pub wire: W,
    /// The clock of both.
    pub host: Arc<TestHost>,
    /// What is done to requests.
    pub to_server: Between,
    /// What is done to replies.
    pub to_client: Between,
    /// What came of NEGOTIATE.
    pub negotiated: Option<Negotiated>,
    /// Events nobody took, in order.
    pub events: VecDeque<Event>,
    /// Why it ended.
    pub closed: Option<CloseReason>,
    /// Messages sent and received.
    pub traffic: (usize, usize),
}

impl Duo<MemoryWire> {
    /// A client of a server in memory; negotiates.
    pub fn new(server: &MemoryServer, config: ClientConfig) -> Self {
        Self::over(server.connect(), Arc::clone(&server.host), config)
    }
}

impl<W: Wire> Duo<W> {
    /// A client over any wire; negotiates.
    pub fn over(wire: W, host: Arc<TestHost>, config: ClientConfig) -> Self {
        let mut duo = Self::quiet(wire, host, config);
        duo.begin();
        duo
    }

    /// The same, not started: for who wants to stand between from the beginning.
    pub fn quiet(wire: W, host: Arc<TestHost>, config: ClientConfig) -> Self {
        Self {
            engine: Engine::new(config, Box::new(Counting(7))),
            wire,
            host,
            to_server: Box::new(|m| vec![m]),
            to_client: Box::new(|m| vec![m]),
            negotiated: None,
            events: VecDeque::new(),
            closed: None,
            traffic: (0, 0),
        }
    }

    /// Negotiates.
    pub fn begin(&mut self) {
        self.engine.start(times(&self.host));
        for _ in 0..4 {
            if self.negotiated.is_some() || self.closed.is_some() {
                return;
            }
            self.turn();
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Negotiated(negotiated) => self.negotiated = Some(*negotiated),
                Event::Closed(reason) => self.closed = Some(reason),
                other => self.events.push_back(other),
            }
        }
    }

    /// Sends what is ready.
    pub fn send(&mut self) {
        while let Some(frame) = self.engine.poll_transmit() {
            let message = frame.bytes().get(4..).unwrap_or_default().to_vec();
            for message in (self.to_server)(message) {
                self.traffic.0 += 1;
                self.wire.send(&message);
            }
        }
        self.take_events();
    }

    /// Takes one message of the server; `false` when there is none any more.
    pub fn receive(&mut self) -> bool {
        let Some(message) = self.wire.receive() else {
            if self.wire.closed() {
                self.engine.close(CloseReason::Peer);
            } else {
                self.host.advance(std::time::Duration::from_secs(61));
                self.engine.handle_timeout(times(&self.host));
            }
            self.take_events();
            return false;
        };
        for message in (self.to_client)(message) {
            self.traffic.1 += 1;
            let frame = BytesMut::from(message.as_slice());
            self.engine.receive(vec![frame], times(&self.host));
        }
        self.take_events();
        true
    }

    /// Sends what is ready and takes one answer.
    pub fn turn(&mut self) -> bool {
        self.send();
        let more = self.receive();
        self.send();
        more
    }

    /// Starts a call.
    pub fn start(&mut self, call: Call) -> CallId {
        let id = self.engine.submit(call, times(&self.host));
        self.send();
        id
    }

    /// The outcome of a call, if it is over.
    pub fn outcome(&mut self, id: CallId) -> Option<Result<Answer, Failure>> {
        let place = self
            .events
            .iter()
            .position(|e| matches!(e, Event::Done { id: done, .. } if *done == id))?;
        match self.events.remove(place) {
            Some(Event::Done { result, .. }) => Some(result),
            _ => None,
        }
    }

    /// Makes a call and waits for its outcome.
    ///
    /// # Errors
    /// The call's.
    pub fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        let id = self.start(call);
        self.finish(id)
    }

    /// Waits for the outcome of a call.
    ///
    /// # Errors
    /// The call's.
    pub fn finish(&mut self, id: CallId) -> Result<Answer, Failure> {
        for _ in 0..10_000 {
            if let Some(outcome) = self.outcome(id) {
                return outcome;
            }
            if !self.turn() && self.closed.is_none() && self.engine.closed().is_none() {
                break;
            }
        }
        self.outcome(id)
            .unwrap_or(Err(Failure::Malformed { command: "nothing" }))
    }

    /// Logs on with NTLM.
    ///
    /// # Errors
    /// Why not.
    pub fn log_on(&mut self, user: &str, password: &str) -> Result<LoggedOn, Failure> {
        let credentials = NtlmCredentials {
            user: user.into(),
            domain: String::new(),
            nt_hash: NtHash::from_password(password),
            workstation: "DUO".into(),
        };
        if let Some(reason) = &self.closed {
            return Err(Failure::Closed(reason.clone()));
        }
        if self
            .negotiated
            .as_ref()
            .is_some_and(|n| n.logon == LogonKind::Classic)
        {
            return match self.call(Call::ClassicLogon(credentials))? {
                Answer::LoggedOn(logged_on) => Ok(logged_on),
                _ => Err(Failure::Unsupported("another answer")),
            };
        }
        let random = ClientRandom {
            challenge: *b"duetduet",
            session_key: [0xD0; 16].into(),
        };
        let mut initiator = SpnegoInitiator::ntlm(NtlmMechanism::new(credentials, None, random));
        let refused = |_| Failure::Unsupported("the initiator refused");
        let mut token = initiator
            .step(None)
            .map_err(refused)?
            .token
            .unwrap_or_default();
        loop {
            let answer = self.call(Call::SessionSetup {
                token,
                previous_session: 0,
            })?;
            let Answer::LogonToken {
                token: theirs,
                finished,
            } = answer
            else {
                return Err(Failure::Unsupported("another answer"));
            };
            let step = initiator.step(Some(&theirs)).map_err(refused)?;
            if finished {
                let done = step.done.ok_or(Failure::Unsupported("not done"))?;
                let key = LogonKey {
                    session_key: done.session_key,
                };
                return match self.call(Call::LogonFinish(key))? {
                    Answer::LoggedOn(logged_on) => Ok(logged_on),
                    _ => Err(Failure::Unsupported("another answer")),
                };
            }
            token = step.token.unwrap_or_default();
        }
    }

    /// Connects to a share.
    ///
    /// # Errors
    /// The call's.
    pub fn tree(&mut self, share: &str) -> Result<TreeConnected, Failure> {
        match self.call(Call::TreeConnect {
            share: share.into(),
        })? {
            Answer::Tree(tree) => Ok(tree),
            _ => Err(Failure::Unsupported("another answer")),
        }
    }
}
