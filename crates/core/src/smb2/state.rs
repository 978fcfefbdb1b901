//! What an SMB2 connection has agreed and holds, [MS-SMB2] 3.3.1.7.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_auth::Acceptor;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_wire::Guid;
use countersign_wire::smb2::{Capabilities, SecurityMode, dialect};

use super::credits::Window;
use super::session::Session;
use crate::gate::smb2::{ChannelKey, Preauth};

/// Connection state.
pub struct State {
    /// How far the negotiation is.
    pub phase: Phase,
    /// Channels: the sessions that may be used on this connection.
    pub channels: HashMap<u64, Channel>,
    /// MessageIds.
    pub window: Window,
    /// A session was set up once (an unauthenticated connection is cut off after a while).
    pub authenticated: bool,
}

/// How far the negotiation is.
pub enum Phase {
    /// Nothing yet.
    Start,
    /// 0x02FF was answered to SMB1: one SMB2 NEGOTIATE must follow.
    Wildcard,
    /// Done.
    Done(Box<Negotiated>),
}

/// What NEGOTIATE agreed.
pub struct Negotiated {
    /// Connection.Dialect.
    pub dialect: u16,
    /// ClientGuid.
    pub client_guid: Guid,
    /// Capabilities the client sent.
    pub client_capabilities: Capabilities,
    /// SecurityMode the client sent.
    pub client_security_mode: SecurityMode,
    /// Dialects the client sent.
    pub client_dialects: Vec<u16>,
    /// Capabilities we answered.
    pub capabilities: Capabilities,
    /// SecurityMode we answered.
    pub security_mode: SecurityMode,
    /// ServerGuid we answered.
    pub server_guid: Guid,
    /// MaxTransactSize, MaxReadSize and MaxWriteSize.
    pub max_transact: u32,
    /// Cipher of transforms; `None`: no encryption on this connection.
    pub cipher: Option<Cipher>,
    /// Signing algorithm.
    pub signing: SigningAlgorithm,
    /// Pre-authentication hash after NEGOTIATE (3.1.1).
    pub preauth: Option<Preauth>,
    /// It began with an SMB1 NEGOTIATE.
    pub multi_protocol: bool,
}

impl Negotiated {
    /// Whether the dialect is of the 3.x family.
    pub fn is_smb3(&self) -> bool {
        self.dialect >= dialect::SMB_3_0
    }

    /// Whether CreditCharge counts (Connection.SupportsMultiCredit).
    pub fn multi_credit(&self) -> bool {
        self.capabilities.contains(Capabilities::LARGE_MTU)
    }
}

/// A session on this connection.
pub struct Channel {
    /// The session.
    pub session: Arc<Session>,
    /// Key that signs on this channel; `None` before the logon, and for guests.
    pub key: Option<ChannelKey>,
    /// A logon or re-authentication that is not finished.
    pub setup: Option<Box<Setup>>,
    /// The session was bound here and the binding is not finished.
    pub binding: bool,
}

/// A logon under way.
pub struct Setup {
    /// The authentication.
    pub acceptor: Acceptor,
    /// Hash of this exchange (3.1.1).
    pub preauth: Option<Preauth>,
    /// What its requests said.
    pub security_mode: SecurityMode,
    /// PreviousSessionId of its first request.
    pub previous: u64,
}

impl State {
    pub(crate) fn new(credits: u16) -> Self {
        Self {
            phase: Phase::Start,
            channels: HashMap::new(),
            window: Window::new(credits),
            authenticated: false,
        }
    }

    /// Whether no message was seen yet.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.phase, Phase::Start)
    }

    /// The session with this id, when it may be used on this connection.
    pub fn session_of(&self, id: u64) -> Option<Arc<Session>> {
        self.channels
            .get(&id)
            .filter(|c| !c.binding)
            .map(|c| Arc::clone(&c.session))
    }

    /// What was negotiated.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::Done(n) => Some(n),
            Phase::Start | Phase::Wildcard => None,
        }
    }

    /// Connection.Dialect; 0 before NEGOTIATE.
    pub fn dialect(&self) -> u16 {
        self.negotiated().map_or(0, |n| n.dialect)
    }
}
