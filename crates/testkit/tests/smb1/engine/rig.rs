//! The client's engine joined to the server's in memory, with somebody between
//! them who may alter what passes.

use std::collections::VecDeque;

use bytes::BytesMut;
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials};
use countersign_auth::{Initiator, NtHash, NtlmMechanism, SpnegoInitiator};
use countersign_core::Transport;
use countersign_core::client::{
    Answer, Call, CallId, ClassicResponse, ClientConfig, ClientLimits, CloseReason, Encryption,
    Engine, Entropy, Event, Failure, LoggedOn, LogonKey, LogonKind, Negotiated, OpenId,
    OpenRequest, Opened, Smb1Config, TreeId,
};
use countersign_core::config::Dialect;
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_testkit::memory::{MemoryWire, times};
use countersign_testkit::wire::Wire;
use countersign_wire::{Guid, NtStatus};

use crate::*;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// Somebody between: gives what is passed on instead of a message.
pub type Between = Box<dyn FnMut(Way, Vec<u8>) -> Vec<Vec<u8>>>;

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(0x35);
            *byte = self.0;
        }
    }
}

/// The client's settings.
pub fn client_policy(always: Value, agrees: Value) -> Arc<Effective> {
    let settings = Settings::default()
        .with(Setting::ClientAlways, always)
        .with(Setting::ClientIfServerAgrees, agrees);
    Arc::new(Effective::of(settings))
}

/// A client's configuration: SMB1, able to sign.
pub fn client_config() -> ClientConfig {
    ClientConfig {
        policy: client_policy(Value::Disabled, Value::Enabled),
        min_dialect: Dialect::Smb1,
        max_dialect: Dialect::Smb1,
        signing_algorithms: Vec::new(),
        ciphers: Vec::new(),
        encryption: Encryption::Off,
        allow_guest: false,
        client_guid: Guid::default(),
        server_name: "server".into(),
        transport: Transport::Tcp,
        smb1: Smb1Config {
            classic: ClassicResponse::NtlmV2,
            ..Smb1Config::default()
        },
        limits: ClientLimits::default(),
    }
}

/// Both engines.
pub struct Rig {
    pub engine: Engine,
    pub wire: MemoryWire,
    pub host: Arc<countersign_testkit::memory::TestHost>,
    pub between: Between,
    pub events: VecDeque<Event>,
    /// Everything the client sent, as it sent it.
    pub sent: Vec<Vec<u8>>,
    /// Everything the server sent, as it sent it.
    pub received: Vec<Vec<u8>>,
}

impl Rig {
    pub fn new(server: &TestServer, config: ClientConfig) -> Self {
        let mut engine = Engine::new(config, Box::new(Counter(7)));
        engine.start(times(&server.host));
        Self {
            engine,
            wire: server.connect(),
            host: Arc::clone(&server.host),
            between: Box::new(|_, message| vec![message]),
            events: VecDeque::new(),
            sent: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Passes on what there is; gives whether anything passed.
    pub fn settle(&mut self) -> bool {
        let mut any = false;
        loop {
            let mut out = Vec::new();
            while let Some(frame) = self.engine.poll_transmit() {
                let message = frame.bytes()[4..].to_vec();
                self.sent.push(message.clone());
                out.extend((self.between)(Way::ToServer, message));
            }
            let mut moved = !out.is_empty();
            if moved {
                let messages: Vec<&[u8]> = out.iter().map(Vec::as_slice).collect();
                self.wire.send_all(&messages);
            }
            let mut back = Vec::new();
            while let Some(message) = self.wire.take() {
                self.received.push(message.clone());
                moved = true;
                back.extend((self.between)(Way::ToClient, message));
            }
            self.give(back);
            if self.wire.closed.is_some() && self.engine.closed().is_none() {
                self.engine.close(CloseReason::Peer);
            }
            while let Some(event) = self.engine.poll_event() {
                moved = true;
                self.events.push_back(event);
            }
            if !moved {
                return any;
            }
            any = true;
        }
    }

    /// Gives the client messages.
    pub fn give(&mut self, messages: Vec<Vec<u8>>) {
        let frames: Vec<BytesMut> = messages.iter().map(|m| BytesMut::from(&m[..])).collect();
        if !frames.is_empty() {
            self.engine.receive(frames, times(&self.host));
        }
    }

    /// The next event that `wanted` takes; time passes while there is none.
    pub fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        for _ in 0..1000 {
            self.settle();
            let found = self.events.iter().position(|e| wanted(e).is_some());
            if let Some(place) = found {
                return self.events.remove(place).and_then(|e| wanted(&e));
            }
            // Lets the server's clock run to the next thing it has to say.
            match self.wire.receive() {
                Some(message) => {
                    self.received.push(message.clone());
                    let passed = (self.between)(Way::ToClient, message);
                    self.give(passed);
                }
                None => {
                    self.settle();
                    return self
                        .events
                        .iter()
                        .position(|e| wanted(e).is_some())
                        .and_then(|place| self.events.remove(place))
                        .and_then(|e| wanted(&e));
                }
            }
        }
        None
    }

    pub fn submit(&mut self, call: Call) -> CallId {
        self.engine.submit(call, times(&self.host))
    }

    pub fn done(&mut self, id: CallId) -> Result<Answer, Failure> {
        self.until(|e| match e {
            Event::Done { id: other, result } if *other == id => Some(result.clone()),
            _ => None,
        })
        .expect("an answer")
    }

    pub fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        let id = self.submit(call);
        self.done(id)
    }

    pub fn negotiated(&mut self) -> Result<Negotiated, CloseReason> {
        self.until(|e| match e {
            Event::Negotiated(n) => Some(Ok(Negotiated::clone(n))),
            Event::Closed(reason) => Some(Err(reason.clone())),
            _ => None,
        })
        .expect("an answer to NEGOTIATE")
    }

    pub fn logon(&mut self, user: &str, password: &str) -> Result<LoggedOn, Failure> {
        let negotiated = self.negotiated().map_err(Failure::Closed)?;
        self.logon_as(&negotiated, user, password)
    }

    pub fn logon_as(
        &mut self,
        negotiated: &Negotiated,
        user: &str,
        password: &str,
    ) -> Result<LoggedOn, Failure> {
        let who = NtlmCredentials {
            user: user.into(),
            domain: "TEST".into(),
            nt_hash: NtHash::from_password(password),
            workstation: "TESTER".into(),
        };
        let answer = match negotiated.logon {
            LogonKind::Classic => self.call(Call::ClassicLogon(who)),
            LogonKind::Tokens => self.tokens(who),
        };
        match answer? {
            Answer::LoggedOn(logged_on) => Ok(logged_on),
            other => panic!("{other:?}"),
        }
    }

    fn tokens(&mut self, who: NtlmCredentials) -> Result<Answer, Failure> {
        let random = ClientRandom {
            challenge: *b"testtest",
            session_key: [0x5A; 16].into(),
        };
        let mechanism = NtlmMechanism::new(who, Some("cifs/server".into()), random);
        let mut initiator = SpnegoInitiator::ntlm(mechanism);
        let mut step = initiator.step(None).unwrap();
        loop {
            let answer = self.call(Call::SessionSetup {
                token: step.token.take().unwrap_or_default(),
                previous_session: 0,
            })?;
            let Answer::LogonToken { token, finished } = answer else {
                panic!("{answer:?}")
            };
            step = initiator.step(Some(&token)).unwrap();
            if finished {
                let done = step.done.expect("the exchange is complete");
                return self.call(Call::LogonFinish(LogonKey {
                    session_key: done.session_key,
                }));
            }
        }
    }

    pub fn tree(&mut self, share: &str) -> TreeId {
        match self.call(Call::TreeConnect {
            share: share.into(),
        }) {
            Ok(Answer::Tree(tree)) => tree.tree,
            other => panic!("{other:?}"),
        }
    }

    pub fn open(&mut self, tree: TreeId, request: OpenRequest) -> Result<Opened, Failure> {
        match self.call(Call::Open {
            tree,
            request: Box::new(request),
        })? {
            Answer::Opened(opened) => Ok(*opened),
            other => panic!("{other:?}"),
        }
    }

    pub fn read_all(&mut self, open: OpenId) -> Vec<u8> {
        let mut out = Vec::new();
        let length = self.engine.transfer().read;
        loop {
            match self.call(Call::Read {
                open,
                offset: u64::try_from(out.len()).unwrap(),
                length,
            }) {
                Ok(Answer::Data(data)) if data.is_empty() => return out,
                Ok(Answer::Data(data)) => out.extend_from_slice(&data),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Why the connection is over.
    pub fn closed(&mut self) -> Option<CloseReason> {
        self.settle();
        self.engine.closed().cloned()
    }
}

/// The status of a failure.
pub fn status<T: std::fmt::Debug>(result: Result<T, Failure>) -> NtStatus {
    result.expect_err("a failure").status().expect("a status")
}
