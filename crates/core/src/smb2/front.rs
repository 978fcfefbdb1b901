//! The front end: what waits, what is due, and the way in and out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use countersign_fs::{CallContext, Event, FsError, FsReply, Outcome, Ticket};
use countersign_policy::{Effective, LiveChange, Reason, Side, live_change};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{Command, HEADER_LEN, Header, HeaderFlags, Target};

use super::chain::Chain;
use super::dispatch::{Interim, Row};
use super::handler::{Context, Continuation, Request, Response, Step, Wait};
use super::state::State;
use super::{breaks, negotiate};
use crate::config::OnTighten;
use crate::connection::{Now, Signal};
use crate::gate::exceptions_hold;
use crate::gate::smb2::{self as gate, ChannelKey, Inbound, Kind, Outgoing, SessionSecrets};
use crate::link::{FrontEnd, Link, PolicyOutcome};
use crate::pipes::PipeOpen;

/// An SMB2 or SMB3 connection.
pub struct Smb2 {
    pub(super) state: State,
    pub(super) pending: HashMap<Ticket, Pending>,
    delayed: Vec<Delayed>,
    /// Replies to be sealed as one batch.
    pub(super) ready: Vec<Outgoing>,
    next_async: u64,
    /// Policy as of the last look, to compare a change with.
    policy: Arc<Effective>,
    deadline: Duration,
}

/// A request whose handler runs or waits.
pub(super) struct Active {
    pub(super) request: Request,
    pub(super) row: &'static Row,
    /// AsyncId, once an interim response went out.
    pub(super) async_id: Option<u64>,
    /// When one is due.
    interim_at: Option<Duration>,
    /// The answer it gets whatever the call says.
    fail_with: Option<NtStatus>,
}

impl Active {
    pub(super) fn new(request: Request, row: &'static Row) -> Self {
        Self {
            request,
            row,
            async_id: None,
            interim_at: None,
            fail_with: None,
        }
    }
}

/// A call that is not answered yet.
pub(super) struct Pending {
    active: Active,
    then: Continuation,
    chain: Chain,
    /// The pipe whose answer is awaited; `None`: the file service's.
    pipe: Option<Arc<PipeOpen>>,
}

impl Pending {
    /// Asks for the answer now: it comes as CANCELLED.
    fn give_up(&self, link: &Link) {
        give_up(link, self.pipe.as_ref(), self.active.request.ticket);
    }
}

fn give_up(link: &Link, pipe: Option<&Arc<PipeOpen>>, ticket: Ticket) {
    match pipe {
        Some(pipe) => pipe.cancel(ticket),
        None => link.server.files.cancel(link.sink(), ticket),
    }
}

/// A step to be taken later.
struct Delayed {
    at: Duration,
    active: Active,
    step: Step,
    chain: Chain,
}

/// What became of a message.
pub(super) enum Flow {
    /// Answered (or needs no answer); the chain goes on.
    Next(Chain),
    /// The chain waits, or the connection is closing.
    Stop,
}

/// The keys of a connection, for the gate.
struct KeyView<'a> {
    state: &'a State,
}

impl gate::Keys for KeyView<'_> {
    fn channel_key(&self, session: u64) -> Option<ChannelKey> {
        self.state.channels.get(&session)?.key.clone()
    }

    fn secrets(&self, session: u64) -> Option<Arc<SessionSecrets>> {
        let channel = self.state.channels.get(&session).filter(|c| !c.binding)?;
        channel.session.secrets.get().cloned()
    }
}

impl Smb2 {
    /// A connection that has seen no message.
    pub(crate) fn new(link: &Link, now: Now) -> Self {
        let config = link.config();
        Self {
            state: State::new(config.limits.credits),
            pending: HashMap::new(),
            delayed: Vec::new(),
            ready: Vec::new(),
            next_async: 0,
            policy: Arc::clone(&config.policy),
            deadline: now.monotonic.saturating_add(config.limits.unauthenticated),
        }
    }

    fn process(&mut self, link: &mut Link, inbound: Inbound, limit: usize, now: Now) {
        match inbound {
            Inbound::Clear(parts) => self.run(link, Chain::new(parts), now),
            Inbound::Encrypted(frame) => {
                let opened = gate::open(frame, &KeyView { state: &self.state }, limit);
                match opened {
                    Inbound::Clear(parts) => self.run(link, Chain::new(parts), now),
                    Inbound::Broken(reason) => {
                        link.server.statistics.bad_transforms.add();
                        self.drop_connection(link, reason);
                    }
                    Inbound::Encrypted(_) => self.drop_connection(link, "nested transform"),
                }
            }
            Inbound::Broken(reason) => self.drop_connection(link, reason),
        }
    }

    /// Carries out a chain as far as it goes without waiting.
    pub(super) fn run(&mut self, link: &mut Link, mut chain: Chain, now: Now) {
        while !link.is_closing() {
            let Some(arrived) = chain.next() else {
                if let Some(frame) = chain.take_replies() {
                    self.ready.push(frame);
                }
                return;
            };
            match self.begin(link, chain, arrived, now) {
                Flow::Next(rest) => chain = rest,
                Flow::Stop => return,
            }
        }
    }

    pub(super) fn drop_connection(&mut self, link: &mut Link, reason: &'static str) {
        tracing::info!(connection = link.id, peer = %link.peer.address, reason, "dropped");
        link.server.statistics.dropped_connections.add();
        self.flush(link);
        link.close(reason);
    }

    /// Takes steps until the request is answered or waits.
    pub(super) fn drive(
        &mut self,
        link: &mut Link,
        mut active: Active,
        mut step: Step,
        mut chain: Chain,
        now: Now,
    ) -> Flow {
        loop {
            step = match step {
                Step::Reply(response) => {
                    self.answer(link, &active, response, &mut chain);
                    return Flow::Next(chain);
                }
                Step::Fail(status) => Step::Reply(Response::error(status)),
                Step::Drop(reason) => {
                    self.drop_connection(link, reason);
                    return Flow::Stop;
                }
                Step::Wait(Wait::Until(at, step)) => {
                    self.delayed.push(Delayed {
                        at,
                        active,
                        step: *step,
                        chain,
                    });
                    return Flow::Stop;
                }
                Step::Wait(Wait::Pipe(pipe, then)) => {
                    self.park(link, &mut active, &mut chain, Some(&pipe), now);
                    let ticket = active.request.ticket;
                    let pending = Pending {
                        active,
                        then,
                        chain,
                        pipe: Some(pipe),
                    };
                    self.pending.insert(ticket, pending);
                    return Flow::Stop;
                }
                Step::Call(call, then) => {
                    let Some(context) = call_context(link, &active.request) else {
                        step = Step::Fail(NtStatus::INVALID_DEVICE_REQUEST);
                        continue;
                    };
                    match link.server.files.call(&context, call) {
                        Outcome::Ready(result) => {
                            let mut cx = Context {
                                link,
                                state: &mut self.state,
                                request: &active.request,
                                now,
                            };
                            then(&mut cx, result)
                        }
                        Outcome::Pending => {
                            self.park(link, &mut active, &mut chain, None, now);
                            let ticket = active.request.ticket;
                            let pending = Pending {
                                active,
                                then,
                                chain,
                                pipe: None,
                            };
                            self.pending.insert(ticket, pending);
                            return Flow::Stop;
                        }
                    }
                }
            };
        }
    }

    /// [MS-SMB2] 3.3.4.2: an interim response, at once or after a while.
    fn park(
        &mut self,
        link: &mut Link,
        active: &mut Active,
        chain: &mut Chain,
        pipe: Option<&Arc<PipeOpen>>,
        now: Now,
    ) {
        if self.pending.len() >= active.request.config.limits.pending_calls {
            active.fail_with = Some(NtStatus::INSUFFICIENT_RESOURCES);
        } else if active.row.interim == Interim::Now && !chain.is_last() {
            // What waits for hours may only stand last in a compound
            // ([MS-SMB2] 3.3.5.2.7, note on INTERNAL_ERROR).
            active.fail_with = Some(NtStatus::INTERNAL_ERROR);
        }
        if active.fail_with.is_some() {
            give_up(link, pipe, active.request.ticket);
            return;
        }
        match active.row.interim {
            _ if active.async_id.is_some() => {}
            Interim::Now => self.interim(active, chain),
            Interim::After(ms) => {
                active.interim_at = Some(
                    now.monotonic
                        .saturating_add(Duration::from_millis(ms.into())),
                );
            }
            Interim::Never => {}
        }
    }

    fn interim(&mut self, active: &mut Active, chain: &mut Chain) {
        active.interim_at = None;
        if let Some(frame) = chain.take_replies() {
            self.ready.push(frame);
        }
        self.next_async = self.next_async.wrapping_add(1);
        active.async_id = Some(self.next_async);
        let response = Response::error(NtStatus::PENDING);
        let header = self.header(active, &response, Kind::Interim);
        self.ready.push(Outgoing::reply(
            &active.request.admitted,
            None,
            Kind::Interim,
            header,
            response.buffer,
            response.start,
        ));
    }

    /// Header of a response, with credits, [MS-SMB2] 3.3.4.1.2 and 3.3.1.2.
    fn header(&mut self, active: &Active, response: &Response, kind: Kind) -> Header {
        let asked = &active.request.header;
        let credits = match (kind, active.async_id) {
            // The interim response gave them.
            (Kind::Final, Some(_)) => 0,
            _ => self.credits(asked, response.status),
        };
        let target = match active.async_id {
            Some(id) => Target::Async(id),
            None => {
                let process_id = match asked.target {
                    Target::Sync { process_id, .. } => process_id,
                    Target::Async(_) => 0,
                };
                let tree = active.request.tree.as_ref().map(|t| t.id);
                let tree_id = response
                    .tree_id
                    .or(tree)
                    .or(asked.tree_id())
                    .unwrap_or_default();
                Target::Sync {
                    process_id,
                    tree_id,
                }
            }
        };
        let session = active.request.session.as_ref().map(|s| s.id);
        let echoed = HeaderFlags::RELATED_OPERATIONS | HeaderFlags::PRIORITY_MASK;
        Header {
            credit_charge: asked.credit_charge,
            status: response.status,
            command: asked.command,
            credits,
            flags: HeaderFlags::SERVER_TO_REDIR | (asked.flags & echoed),
            next_command: 0,
            message_id: asked.message_id,
            target,
            session_id: response.session_id.or(session).unwrap_or(asked.session_id),
            signature: [0; 16],
        }
    }

    pub(super) fn credits(&mut self, asked: &Header, status: NtStatus) -> u16 {
        let extra = match asked.command {
            Command::NEGOTIATE => 0,
            Command::SESSION_SETUP if status != NtStatus::SUCCESS => 0,
            _ => u16::MAX,
        };
        let charge = self.charge(asked);
        self.state.window.grant(charge, asked.credits, extra)
    }

    /// Ids a request uses up.
    pub(super) fn charge(&self, header: &Header) -> u16 {
        match self.state.negotiated() {
            Some(n) if n.multi_credit() => header.credit_charge.max(1),
            _ => 1,
        }
    }

    fn answer(
        &mut self,
        link: &mut Link,
        active: &Active,
        mut response: Response,
        chain: &mut Chain,
    ) {
        link.server.statistics.requests.add();
        let header = self.header(active, &response, Kind::Final);
        if let Some(session) = &active.request.session
            && let Some(record) = session.record.get()
        {
            record.sent(HEADER_LEN + response.body().len());
        }
        let seal = response.seal.take();
        chain.note(&active.request, &response);
        if self.state.negotiated().is_some_and(|n| n.is_smb3()) {
            count_at_open(&active.request, &response);
        }
        let mut reply = Outgoing::reply(
            &active.request.admitted,
            seal.as_ref(),
            Kind::Final,
            header,
            response.buffer,
            response.start,
        );
        match header.command {
            Command::NEGOTIATE => negotiate::hash_response(&mut self.state, &mut reply),
            Command::SESSION_SETUP if header.status == NtStatus::MORE_PROCESSING_REQUIRED => {
                if let Some(setup) = self
                    .state
                    .channels
                    .get_mut(&header.session_id)
                    .and_then(|c| c.setup.as_mut())
                    && let Some(hash) = &mut setup.preauth
                {
                    hash.update(reply.signed_message());
                }
            }
            _ => {}
        }
        if active.async_id.is_some() {
            // An answer that was promised leaves alone.
            self.ready.push(reply);
        } else {
            chain.push(reply);
        }
    }

    /// Seals what is ready.
    pub(super) fn flush(&mut self, link: &mut Link) {
        if self.ready.is_empty() {
            return;
        }
        for sealed in gate::seal(core::mem::take(&mut self.ready)) {
            match sealed {
                Ok(frame) => link.send(frame),
                Err(reason) => {
                    tracing::error!(connection = link.id, reason, "reply cannot be sealed");
                    link.close(reason);
                }
            }
        }
    }

    fn completed(
        &mut self,
        link: &mut Link,
        ticket: Ticket,
        result: Result<FsReply, FsError>,
        now: Now,
    ) {
        let Some(Pending {
            active,
            then,
            chain,
            ..
        }) = self.pending.remove(&ticket)
        else {
            return;
        };
        let step = {
            let mut cx = Context {
                link,
                state: &mut self.state,
                request: &active.request,
                now,
            };
            let step = then(&mut cx, result);
            match active.fail_with {
                Some(status) => Step::Fail(status),
                None => step,
            }
        };
        if let Flow::Next(chain) = self.drive(link, active, step, chain, now) {
            self.run(link, chain, now);
        }
    }

    /// CANCEL, [MS-SMB2] 3.3.5.16: by AsyncId, or by MessageId.
    pub(super) fn cancel(&mut self, link: &mut Link, header: &Header) {
        let found = self.pending.values().find(|p| {
            let session = p.active.request.session.as_ref().map(|s| s.id);
            session == Some(header.session_id)
                && match header.target {
                    Target::Async(id) => p.active.async_id == Some(id),
                    Target::Sync { .. } => p.active.request.header.message_id == header.message_id,
                }
        });
        if let Some(pending) = found {
            pending.give_up(link);
        }
    }

    /// A session ended elsewhere or by us: it is no longer usable here.
    pub(super) fn forget_session(&mut self, link: &mut Link, id: u64, reason: &'static str) {
        if let Some(channel) = self.state.channels.remove(&id) {
            channel.session.end(&link.server, false, link.id, reason);
        }
    }
}

/// [MS-SMB2] 3.3.5.2.10 and 3.3.5.9: what a response means for ChannelSequence.
fn count_at_open(request: &Request, response: &Response) {
    let sequence = request.header.channel_sequence();
    if let Some(open) = request.open.as_ref().filter(|_| request.counted) {
        open.state.lock().request_ends(sequence);
    } else if let Some(id) = response.file_id
        && let Some(open) = request.session.as_ref().and_then(|s| s.open(id))
    {
        open.state.lock().channel_sequence = sequence;
    }
}

fn call_context(link: &Link, request: &Request) -> Option<CallContext> {
    Some(CallContext {
        share: {
            let tree = request.tree.as_ref()?;
            let protected = request.is_signed() || request.is_encrypted();
            let limited = tree.limited.as_ref().filter(|_| !protected);
            Arc::clone(limited.or(tree.share())?)
        },
        caller: request.session.as_ref()?.caller()?,
        sink: Arc::clone(link.sink()),
        ticket: request.ticket,
    })
}

impl FrontEnd for Smb2 {
    fn handle_frames(&mut self, link: &mut Link, mut frames: Vec<BytesMut>, now: Now) {
        if self.state.is_new() && frames.first().is_some_and(|f| f.starts_with(b"\xFFSMB")) {
            let first = frames.remove(0);
            self.multi_protocol(link, &first, now);
        }
        let limit = link.config().limits.chain_length;
        for inbound in gate::receive(frames, &KeyView { state: &self.state }, limit) {
            if link.is_closing() {
                break;
            }
            self.process(link, inbound, limit, now);
        }
        self.flush(link);
    }

    fn handle_signal(&mut self, link: &mut Link, signal: Signal, now: Now) {
        match signal {
            Signal::Files(Event::Reply { ticket, result }) => {
                self.completed(link, ticket, result, now);
            }
            Signal::Files(Event::OplockBreak {
                open,
                to,
                acknowledge,
            }) => {
                breaks::oplock(self, link, &open, to, acknowledge);
            }
            Signal::Files(Event::LeaseBreak {
                client,
                key,
                from,
                to,
                epoch,
                acknowledge,
            }) => {
                let lease = breaks::Lease {
                    client,
                    key,
                    from,
                    to,
                    epoch,
                    acknowledge,
                };
                breaks::lease(self, &lease);
            }
            Signal::Files(Event::Closed { open }) => {
                if let Some(session) = self.state.session_of(open.owner().session)
                    && let Some(id) = session.file_id_of(&open)
                {
                    session.remove_open(id);
                }
            }
            Signal::EndSession { session, reason } => self.forget_session(link, session, reason),
            Signal::ExpireSession { session } => {
                if let Some(session) = self.state.session_of(session) {
                    session.expire();
                }
            }
        }
        self.flush(link);
    }

    fn handle_timeout(&mut self, link: &mut Link, now: Now) {
        let mut due = Vec::new();
        let mut at = 0;
        while let Some(delayed) = self.delayed.get(at) {
            if delayed.at <= now.monotonic {
                due.push(self.delayed.swap_remove(at));
            } else {
                at += 1;
            }
        }
        for Delayed {
            active,
            step,
            chain,
            ..
        } in due
        {
            if let Flow::Next(chain) = self.drive(link, active, step, chain, now) {
                self.run(link, chain, now);
            }
        }
        let tickets: Vec<Ticket> = self
            .pending
            .iter()
            .filter(|(_, p)| p.active.interim_at.is_some_and(|at| at <= now.monotonic))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in tickets {
            if let Some(mut pending) = self.pending.remove(&ticket) {
                self.interim(&mut pending.active, &mut pending.chain);
                self.pending.insert(ticket, pending);
            }
        }
        if !self.state.authenticated && self.deadline <= now.monotonic {
            self.drop_connection(link, "no session in time");
        }
        self.flush(link);
    }

    fn authenticated(&self) -> bool {
        self.state.authenticated
    }

    fn next_timeout(&self) -> Option<Duration> {
        let deadline = (!self.state.authenticated).then_some(self.deadline);
        self.pending
            .values()
            .filter_map(|p| p.active.interim_at)
            .chain(self.delayed.iter().map(|d| d.at))
            .chain(deadline)
            .min()
    }

    fn apply_policy(&mut self, link: &mut Link, now: Now) -> PolicyOutcome {
        let config = link.config();
        let old = core::mem::replace(&mut self.policy, Arc::clone(&config.policy));
        let mut outcome = PolicyOutcome::default();
        let mut end = Vec::new();
        for (id, channel) in &self.state.channels {
            let session = &channel.session;
            let Some(facts) = session.facts().filter(|_| session.is_led_by(link.id)) else {
                continue;
            };
            if !exceptions_hold(&config, &session.exceptions(), now.unix()) {
                outcome.ended += 1;
                end.push((*id, Reason::ExceptionEnded));
                continue;
            }
            match live_change(&old, &config.policy, Side::Server, &facts) {
                LiveChange::Keep => outcome.satisfied += 1,
                LiveChange::Tighten => {
                    session.tighten();
                    outcome.satisfied += 1;
                }
                LiveChange::End { .. } if config.on_tighten == OnTighten::Keep => outcome.kept += 1,
                LiveChange::End { reason } => {
                    outcome.ended += 1;
                    end.push((*id, reason));
                }
            }
        }
        for (id, reason) in end {
            self.forget_session(link, id, reason.code());
        }
        self.flush(link);
        outcome
    }

    fn disconnected(&mut self, link: &mut Link, _now: Now) {
        if let Some(negotiated) = self.state.negotiated() {
            link.server.leave_client(negotiated.client_guid, link.id);
        }
        for (_, channel) in self.state.channels.drain() {
            if channel.binding {
                continue;
            }
            if !channel.session.remove_channel(link.id) {
                channel
                    .session
                    .end(&link.server, true, link.id, "disconnected");
            }
        }
        for pending in self.pending.values() {
            pending.give_up(link);
        }
        self.pending.clear();
    }
}
