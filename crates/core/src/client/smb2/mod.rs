//! SMB 2.0.2 to 3.1.1, the client's side, [MS-SMB2] 3.2.
//!
//! A call becomes a `Flight`: one request or a chain of related
//! ones, queued until there are credits for it, answered when all its replies
//! are there.

mod answers;
mod breaks;
mod chains;
mod create;
mod flight;
mod logon;
mod negotiate;
mod requests;
mod trees;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::Reason;
use countersign_wire::smb2::{Capabilities, FileId, SecurityMode, UNSOLICITED};
use countersign_wire::{Guid, NtStatus};

use super::call::{Answer, Caching, Call, CallId, OpenId, TreeId};
use super::config::ClientConfig;
use super::engine::{Link, Protocol, Transfer};
use super::failure::{CloseReason, Failure};
use crate::connection::Now;
use crate::gate::Sealed;
use crate::gate::smb2::Preauth;
use crate::gate::smb2::client::{
    ArrivedReply, ClientSession, InboundReplies, ReplyError, Request, admit_reply, receive_replies,
    seal_requests,
};
use flight::{Flight, Kind, Outstanding};

/// Longest message before the logon.
const FIRST_FRAMES: usize = 128 << 10;

/// What NEGOTIATE came to.
#[derive(Debug, Clone)]
struct Agreed {
    dialect: u16,
    algorithm: SigningAlgorithm,
    cipher: Option<Cipher>,
    capabilities: Capabilities,
    security_mode: SecurityMode,
    guid: Guid,
    max_transact: u32,
    max_read: u32,
    max_write: u32,
}

impl Agreed {
    fn requires_signing(&self) -> bool {
        self.security_mode.contains(SecurityMode::SIGNING_REQUIRED)
    }

    /// Requests may cost more than one credit.
    fn multi_credit(&self) -> bool {
        self.dialect > 0x0202 && self.capabilities.contains(Capabilities::LARGE_MTU)
    }
}

/// What was offered, for FSCTL_VALIDATE_NEGOTIATE_INFO.
#[derive(Debug, Clone, Default)]
struct Offered {
    dialects: Vec<u16>,
    capabilities: Capabilities,
    security_mode: SecurityMode,
    guid: Guid,
}

/// A tree connect.
struct Tree {
    id: u32,
    encrypt: bool,
    /// What stands in front of the names of a share in DFS: `server\share`.
    dfs: Option<String>,
}

/// An open.
struct Open {
    file_id: FileId,
    tree: TreeId,
    caching: Caching,
}

/// The logon that is under way.
#[derive(Default)]
struct LogonState {
    /// SessionId of the legs so far.
    id: u64,
    hash: Preauth,
    running: bool,
    /// The server's final response, not yet believed.
    last: Option<ArrivedReply>,
}

/// The client's SMB2 engine.
pub(super) struct Smb2 {
    agreed: Option<Agreed>,
    offered: Offered,
    /// The connection began with an SMB1 NEGOTIATE.
    after_smb1: bool,
    preauth: Preauth,
    logon: LogonState,
    session: Option<ClientSession>,
    /// FSCTL_VALIDATE_NEGOTIATE_INFO was answered as it has to be.
    validated: bool,
    trees: HashMap<TreeId, Tree>,
    opens: HashMap<OpenId, Open>,
    next_open: u64,
    flights: HashMap<u64, Flight>,
    /// Flights of calls.
    by_call: HashMap<CallId, u64>,
    next_flight: u64,
    /// Flights that wait for credits.
    queue: VecDeque<u64>,
    /// Requests by MessageId.
    outstanding: HashMap<u64, Outstanding>,
    /// When flights are given up, in order; those that are over are passed over.
    deadlines: VecDeque<(Duration, u64)>,
    next_message: u64,
    credits: u32,
    /// Credits spent on what is under way.
    spent: u32,
    /// ECHOs sent for want of credits.
    begging: u8,
    /// Credits that the dearest call so far needs.
    needed: u32,
    /// Since when calls wait for credits although nothing brings any.
    stalled: Option<Duration>,
    /// When the server was last heard.
    heard: Duration,
    /// LOGOFF was asked for: nothing else is any more.
    leaving: bool,
    ready: Vec<Request>,
    now: Duration,
}

impl Smb2 {
    pub(super) fn new() -> Self {
        Self {
            agreed: None,
            offered: Offered::default(),
            after_smb1: false,
            preauth: Preauth::default(),
            logon: LogonState::default(),
            session: None,
            validated: false,
            trees: HashMap::new(),
            opens: HashMap::new(),
            next_open: 1,
            flights: HashMap::new(),
            by_call: HashMap::new(),
            next_flight: 1,
            queue: VecDeque::new(),
            outstanding: HashMap::new(),
            deadlines: VecDeque::new(),
            next_message: 0,
            credits: 1,
            spent: 0,
            begging: 0,
            needed: 0,
            stalled: None,
            heard: Duration::ZERO,
            leaving: false,
            ready: Vec::new(),
            now: Duration::ZERO,
        }
    }

    /// One that takes the place of SMB1, whose NEGOTIATE the server answered with
    /// SMB2: that used up MessageId 0 and is answered by a NEGOTIATE response.
    pub(super) fn after_smb1(link: &Link, now: Now) -> Self {
        let mut this = Self::new();
        this.now = now.monotonic;
        this.after_smb1 = true;
        this.expect_negotiate(link);
        this
    }

    fn dialect(&self) -> u16 {
        self.agreed.as_ref().map_or(0, |a| a.dialect)
    }

    /// Looks at what a server sent; the verdict of the gate comes first.
    fn arrived(&mut self, link: &mut Link, reply: ArrivedReply) {
        let id = reply.header.message_id;
        if id == UNSOLICITED {
            match admit_reply(
                &link.config.policy,
                self.dialect(),
                self.session.as_ref(),
                reply,
                None,
            ) {
                Ok(reply) => self.notified(link, &reply),
                Err(reason) => link.close(CloseReason::Policy(reason)),
            }
            return;
        }
        let Some(outstanding) = self.outstanding.get(&id) else {
            link.close(CloseReason::Violation("a reply to nothing that was asked"));
            return;
        };
        if outstanding.command != reply.header.command {
            link.close(CloseReason::Violation("a reply of another command"));
            return;
        }
        // MessageIds can be guessed: what has not left was not answered.
        let Some(sent) = outstanding.sent else {
            link.close(CloseReason::Violation("a reply to what was not yet sent"));
            return;
        };
        // The final response of a logon is judged when its key is there.
        if self.is_final_logon(outstanding, &reply) {
            self.logon_answered(link, reply);
            return;
        }
        let session = self.session.as_ref();
        match admit_reply(
            &link.config.policy,
            self.dialect(),
            session,
            reply,
            Some(&sent),
        ) {
            Ok(reply) => self.admitted(link, reply),
            Err(reason) => link.close(CloseReason::Policy(reason)),
        }
    }
}

impl Protocol for Smb2 {
    fn start(&mut self, link: &mut Link, now: Now) {
        self.now = now.monotonic;
        self.negotiate(link);
    }

    fn receive(&mut self, link: &mut Link, frames: Vec<BytesMut>, now: Now) {
        self.now = now.monotonic;
        self.heard = self.now;
        let chain = link.config.limits.compound;
        for inbound in receive_replies(frames, self.session.as_ref(), chain) {
            match inbound {
                InboundReplies::Messages(parts) => {
                    for part in parts {
                        if link.closed().is_none() {
                            self.arrived(link, part);
                        }
                    }
                }
                InboundReplies::Broken(ReplyError::Violation(what)) => {
                    link.close(CloseReason::Violation(what));
                }
                InboundReplies::Broken(ReplyError::BadTransform) => {
                    link.close(CloseReason::Policy(Reason::BadSignature));
                }
            }
            if link.closed().is_some() {
                return;
            }
        }
        self.pump(link);
    }

    fn submit(&mut self, link: &mut Link, id: CallId, call: Call, now: Now) {
        self.now = now.monotonic;
        if self.queue.len() >= link.config.limits.queued_calls {
            link.done(id, Err(Failure::Limit("too many calls wait to be sent")));
            return;
        }
        self.call(link, id, call);
        self.pump(link);
    }

    fn cancel(&mut self, link: &mut Link, id: CallId) {
        let Some(key) = self.by_call.get(&id).copied() else {
            return;
        };
        if let Some(place) = self.queue.iter().position(|k| *k == key) {
            self.queue.remove(place);
            self.flights.remove(&key);
            self.by_call.remove(&id);
            link.done(id, Err(Failure::Cancelled));
            return;
        }
        self.send_cancel(link, key);
    }

    fn seal(&mut self, link: &mut Link) -> Vec<Sealed> {
        let requests = std::mem::take(&mut self.ready);
        if requests.is_empty() {
            return Vec::new();
        }
        let outstanding = &mut self.outstanding;
        let sealed = seal_requests(requests, |id, sent| {
            if let Some(request) = outstanding.get_mut(&id)
                && request.sent.is_none()
            {
                request.sent = Some(sent);
            }
        });
        let mut out = Vec::with_capacity(sealed.len());
        for frame in sealed {
            match frame {
                Ok(frame) => out.push(frame),
                Err(what) => {
                    link.close(CloseReason::Violation(what));
                    return Vec::new();
                }
            }
        }
        out
    }

    fn handle_timeout(&mut self, link: &mut Link, now: Now) {
        self.now = now.monotonic;
        if self.awaits_reply() {
            if self
                .deadlines
                .front()
                .is_some_and(|(at, _)| *at <= self.now)
            {
                link.close(CloseReason::Timeout);
            }
            return;
        }
        let timeout = link.config.limits.request_timeout;
        let over = |since: Duration| since.saturating_add(timeout) <= self.now;
        if self.stalled.is_some_and(over) {
            link.close(CloseReason::Violation("the server grants no credits"));
        } else if !self.flights.is_empty() && over(self.heard) && self.credits > 0 {
            // What the server has promised may take its time; whether the server
            // is still there is asked meanwhile.
            self.echo(link);
        }
    }

    fn next_timeout(&self, link: &Link) -> Option<Duration> {
        let timeout = link.config.limits.request_timeout;
        let waiting = self
            .deadlines
            .iter()
            .find(|(_, key)| self.flights.get(key).is_some_and(|f| !f.heard))
            .map(|(at, _)| *at);
        waiting.or_else(|| {
            let stalled = self.stalled.map(|since| since.saturating_add(timeout));
            let quiet = (!self.flights.is_empty() && self.credits > 0)
                .then(|| self.heard.saturating_add(timeout));
            stalled.into_iter().chain(quiet).min()
        })
    }

    fn frame_limit(&self, link: &Link) -> usize {
        let limit = link.config.limits.max_frame;
        if self.session.is_none() {
            return limit.min(FIRST_FRAMES);
        }
        // The largest READ that is asked for, in a chain, inside a transform.
        let transfer = self.sizes(&link.config);
        let most = transfer.read.max(transfer.transact).max(1 << 20);
        usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_add(FIRST_FRAMES)
            .min(limit)
    }

    fn transfer(&self, link: &Link) -> Transfer {
        self.sizes(&link.config)
    }

    fn abandon(&mut self, link: &mut Link, reason: &CloseReason) {
        let mut calls: Vec<CallId> = self.by_call.drain().map(|(id, _)| id).collect();
        calls.extend(
            self.flights
                .values()
                .filter_map(|flight| match flight.kind {
                    Kind::Validate(waiting, _) => waiting,
                    _ => None,
                }),
        );
        calls.sort_unstable();
        self.flights.clear();
        self.queue.clear();
        self.outstanding.clear();
        self.ready.clear();
        for id in calls {
            link.done(id, Err(Failure::Closed(reason.clone())));
        }
    }
}

impl Smb2 {
    /// Sizes of what is asked for and sent.
    fn sizes(&self, config: &ClientConfig) -> Transfer {
        let limits = &config.limits;
        let Some(agreed) = &self.agreed else {
            return Transfer {
                read: 1,
                write: 1,
                transact: 1,
                whole: 0,
                pipeline: 1,
            };
        };
        let most = if agreed.multi_credit() {
            u32::MAX
        } else {
            65536
        };
        let read = agreed.max_read.min(limits.max_io).min(most).max(1);
        let write = agreed.max_write.min(limits.max_io).min(most).max(1);
        Transfer {
            read,
            write,
            transact: agreed
                .max_transact
                .min(limits.max_transact)
                .min(most)
                .max(1),
            whole: read.min(write),
            pipeline: usize::from(limits.credits).max(1),
        }
    }

    /// A call of the shell.
    fn call(&mut self, link: &mut Link, id: CallId, call: Call) {
        match call {
            Call::SessionSetup {
                token,
                previous_session,
            } => self.session_setup(link, id, &token, previous_session),
            Call::LogonFinish(key) => self.logon_finish(link, id, &key),
            Call::ClassicLogon(_) => {
                link.done(id, Err(Failure::Unsupported("a logon of SMB1")));
            }
            call => {
                if self.leaving {
                    link.done(id, Err(Failure::Closed(CloseReason::LoggedOff)));
                    return;
                }
                if self.session.is_none() && !matches!(call, Call::Echo) {
                    link.done(id, Err(Failure::Unsupported("nobody is logged on")));
                    return;
                }
                self.leaving = matches!(call, Call::Logoff);
                match self.build(link, call) {
                    Ok(flight) => self.launch(link, Some(id), flight),
                    Err(failure) => link.done(id, Err(failure)),
                }
            }
        }
    }

    /// Ends a call.
    fn conclude(&mut self, link: &mut Link, id: Option<CallId>, result: Result<Answer, Failure>) {
        if let Some(id) = id {
            link.done(id, result);
        }
    }

    /// A status that ends the session.
    fn is_session_gone(status: NtStatus) -> bool {
        status == NtStatus::USER_SESSION_DELETED
    }
}
