//! One client connection: calls and frames in, frames and events out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{Identity, Reason};
use countersign_wire::{FileTime, Guid};

use super::call::{Answer, Break, Call, CallId};
use super::config::{ClientConfig, Entropy};
use super::failure::{CloseReason, Failure};
use crate::config::Dialect;
use crate::connection::Now;
use crate::gate::Sealed;

/// What the server says about signing in its NEGOTIATE response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerSigning {
    /// It can sign.
    pub enabled: bool,
    /// It insists.
    pub required: bool,
}

/// How a logon is made on this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogonKind {
    /// With tokens: [`Call::SessionSetup`].
    Tokens,
    /// SMB1 without extended security: [`Call::ClassicLogon`].
    Classic,
}

/// What NEGOTIATE came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The dialect.
    pub dialect: Dialect,
    /// How to log on.
    pub logon: LogonKind,
    /// The server's SPNEGO token, which nobody has proved.
    pub token: Vec<u8>,
    /// What the server says about signing.
    pub signing: PeerSigning,
    /// Algorithm that will sign (SMB2 and later).
    pub algorithm: Option<SigningAlgorithm>,
    /// Cipher agreed on (SMB 3.x).
    pub cipher: Option<Cipher>,
    /// ServerGuid.
    pub server_guid: Guid,
    /// Capabilities, as they stand in the response of the dialect.
    pub capabilities: u32,
    /// SystemTime.
    pub system_time: FileTime,
    /// ServerStartTime, where the dialect tells.
    pub start_time: Option<FileTime>,
    /// NetBIOS names told in SMB1: domain and server.
    pub names: Option<(String, String)>,
}

/// What a logon came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedOn {
    /// SessionId (SMB1: the UID).
    pub session: u64,
    /// Whom the logon came out as.
    pub identity: Identity,
    /// Every message is signed (unless it is encrypted).
    pub signed: bool,
    /// A key exists, so that what is signed can be verified.
    pub key: bool,
    /// Name of the algorithm messages are signed with.
    pub algorithm: Option<&'static str>,
    /// Why it is signed or not.
    pub reason: Reason,
    /// Everything behind the logon is encrypted with it.
    pub encrypted: Option<Cipher>,
}

/// Sizes that transfers go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Largest read that is answered in one message, bytes.
    pub read: u32,
    /// Largest write, bytes.
    pub write: u32,
    /// Largest answer of other calls, bytes.
    pub transact: u32,
    /// Largest whole file of [`Call::ReadFile`] and [`Call::WriteFile`], bytes; 0:
    /// the protocol has no round trip for that, though the calls work.
    pub whole: u32,
    /// Calls that are worth having in flight.
    pub pipeline: usize,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The dialect is agreed on: log on.
    Negotiated(Box<Negotiated>),
    /// A call is over.
    Done {
        /// Which.
        id: CallId,
        /// What came of it.
        result: Result<Answer, Failure>,
    },
    /// The server breaks an oplock or lease: write back, then
    /// [`Call::AcknowledgeBreak`] where it says so.
    Break(Break),
    /// The connection is over; every call has been answered before. Close it.
    Closed(CloseReason),
}

/// What the protocols share of a connection: configuration, randomness, what is
/// to be told.
pub struct Link {
    /// Configuration.
    pub config: ClientConfig,
    entropy: Box<dyn Entropy>,
    events: VecDeque<Event>,
    closed: Option<CloseReason>,
    breaks: usize,
}

impl Link {
    /// Fills with random bytes.
    pub fn random(&mut self, out: &mut [u8]) {
        self.entropy.fill(out);
    }

    /// A random GUID.
    pub fn guid(&mut self) -> Guid {
        let mut bytes = [0; 16];
        self.random(&mut bytes);
        Guid(bytes)
    }

    /// Tells that a call is over.
    pub fn done(&mut self, id: CallId, result: Result<Answer, Failure>) {
        self.events.push_back(Event::Done { id, result });
    }

    /// Tells something else. Of breaks only so many are kept as
    /// [`ClientLimits::notifications`](super::ClientLimits::notifications) says.
    pub fn tell(&mut self, event: Event) {
        if matches!(event, Event::Break(_)) {
            if self.breaks >= self.config.limits.notifications {
                return;
            }
            self.breaks += 1;
        }
        self.events.push_back(event);
    }

    /// Ends the connection; the first reason counts. The engine asks the
    /// protocol for [`Protocol::abandon`] then.
    pub fn close(&mut self, reason: CloseReason) {
        if self.closed.is_none() {
            tracing::debug!(%reason, "client connection ends");
            self.closed = Some(reason);
        }
    }

    /// Why the connection ended, if it did.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }
}

/// One of the two protocols, behind an [`Engine`].
///
/// A protocol queues requests unsigned; [`Protocol::seal`] signs (as one batch)
/// or encrypts what is queued. It answers every call it was given exactly once
/// through [`Link::done`], at the latest in [`Protocol::abandon`].
pub trait Protocol: Send {
    /// Queues NEGOTIATE.
    fn start(&mut self, link: &mut Link, now: Now);

    /// Takes whole messages without their transport header, in order.
    fn receive(&mut self, link: &mut Link, frames: Vec<BytesMut>, now: Now);

    /// Takes a call: sends it now, or when there is room.
    fn submit(&mut self, link: &mut Link, id: CallId, call: Call, now: Now);

    /// Gives a call up. It is answered as cancelled, or as what it came to; what
    /// it may have opened is closed again.
    fn cancel(&mut self, link: &mut Link, id: CallId);

    /// Frames that are ready to be sent, protected, in order. Called until it
    /// gives none.
    fn seal(&mut self, link: &mut Link) -> Vec<Sealed>;

    /// Does what is due.
    fn handle_timeout(&mut self, link: &mut Link, now: Now);

    /// When [`Protocol::handle_timeout`] is wanted, in monotonic time.
    fn next_timeout(&self, link: &Link) -> Option<Duration>;

    /// Longest message that may be read now.
    fn frame_limit(&self, link: &Link) -> usize;

    /// Sizes that transfers go by; known once negotiated.
    fn transfer(&self, link: &Link) -> Transfer;

    /// The connection is over: answers everything outstanding.
    fn abandon(&mut self, link: &mut Link, reason: &CloseReason);
}

/// One connection, owned by one task.
pub struct Engine {
    link: Link,
    protocol: Box<dyn Protocol>,
    /// An SMB1 NEGOTIATE is under way that offers SMB2 as well.
    either: bool,
    ready: VecDeque<Sealed>,
    next: u64,
    ended: bool,
}

impl Engine {
    /// A connection that speaks what the configuration allows.
    pub fn new(config: ClientConfig, entropy: Box<dyn Entropy>) -> Self {
        let (lowest, highest) = (config.min_dialect, config.max_dialect);
        let protocol: Box<dyn Protocol> = if lowest == Dialect::Smb1 {
            Box::new(super::smb1::Smb1::new())
        } else {
            Box::new(super::smb2::Smb2::new())
        };
        let mut engine = Self::with_protocol(config, entropy, protocol);
        engine.either = lowest == Dialect::Smb1 && highest > Dialect::Smb1;
        engine
    }

    /// A connection that speaks this protocol.
    pub fn with_protocol(
        config: ClientConfig,
        entropy: Box<dyn Entropy>,
        protocol: Box<dyn Protocol>,
    ) -> Self {
        Self {
            link: Link {
                config,
                entropy,
                events: VecDeque::new(),
                closed: None,
                breaks: 0,
            },
            protocol,
            either: false,
            ready: VecDeque::new(),
            next: 1,
            ended: false,
        }
    }

    /// Queues NEGOTIATE.
    pub fn start(&mut self, now: Now) {
        self.protocol.start(&mut self.link, now);
        self.settle();
    }

    /// Takes whole messages without their 4-byte transport header, in order, all
    /// that have arrived: they are verified as one batch.
    pub fn receive(&mut self, frames: Vec<BytesMut>, now: Now) {
        if self.link.closed.is_none() {
            if std::mem::take(&mut self.either)
                && frames.first().is_some_and(|f| f.starts_with(b"\xFESMB"))
            {
                // [MS-SMB2] 3.2.5.2: the server answered the offer of SMB2.
                self.protocol = Box::new(super::smb2::Smb2::after_smb1(&self.link, now));
            }
            self.protocol.receive(&mut self.link, frames, now);
            self.settle();
        }
    }

    /// Takes a call. Its answer is an [`Event::Done`] with the same id.
    pub fn submit(&mut self, call: Call, now: Now) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        match self.link.closed.clone() {
            Some(reason) => self.link.done(id, Err(Failure::Closed(reason))),
            None => {
                self.protocol.submit(&mut self.link, id, call, now);
                self.settle();
            }
        }
        id
    }

    /// Gives a call up.
    pub fn cancel(&mut self, id: CallId) {
        if self.link.closed.is_none() {
            self.protocol.cancel(&mut self.link, id);
            self.settle();
        }
    }

    /// The next frame to send, transport header included.
    pub fn poll_transmit(&mut self) -> Option<Sealed> {
        if self.ready.is_empty() && self.link.closed.is_none() {
            self.ready.extend(self.protocol.seal(&mut self.link));
            self.settle();
        }
        self.ready.pop_front()
    }

    /// The next event. [`Event::Closed`] is the last.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.link.events.pop_front();
        if matches!(event, Some(Event::Break(_))) {
            self.link.breaks = self.link.breaks.saturating_sub(1);
        }
        event
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.link.closed.is_none() {
            self.protocol.handle_timeout(&mut self.link, now);
            self.settle();
        }
    }

    /// When [`Engine::handle_timeout`] is wanted, in monotonic time.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.link.closed {
            Some(_) => None,
            None => self.protocol.next_timeout(&self.link),
        }
    }

    /// Longest message (without transport header) that may be read: a longer one
    /// gets no memory.
    pub fn frame_limit(&self) -> usize {
        self.protocol.frame_limit(&self.link)
    }

    /// Sizes that transfers go by.
    pub fn transfer(&self) -> Transfer {
        self.protocol.transfer(&self.link)
    }

    /// The socket is gone, or is to go.
    pub fn close(&mut self, reason: CloseReason) {
        self.link.close(reason);
        self.settle();
    }

    /// Why the connection ended, if it did.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.link.closed()
    }

    fn settle(&mut self) {
        if self.ended {
            return;
        }
        if let Some(reason) = self.link.closed.clone() {
            self.ended = true;
            self.protocol.abandon(&mut self.link, &reason);
            self.link.events.push_back(Event::Closed(reason));
        }
    }
}
