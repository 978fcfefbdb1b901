//! The front end: frames to tasks, late answers to tasks, replies to the gate.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_fs::{CachingGrant, Event, Open, OpenOwner, Ticket};
use countersign_policy::{Effective, LiveChange, Side, live_change};
use countersign_wire::fscc::OplockLevel;
use countersign_wire::smb1::files::LockingAndxWords;
use countersign_wire::smb1::{Capabilities, Command, Flags, Flags2, Header, MessageWriter};
use parking_lot::Mutex;

use super::dispatch;
use super::request::{Finished, Request};
use super::state::{Shared, State};
use crate::config::OnTighten;
use crate::connection::{Now, Signal};
use crate::gate::exceptions_hold;
use crate::gate::smb1::{FRAME_HEADROOM, Outgoing};
use crate::link::{FrontEnd, Link, PolicyOutcome};

/// An SMB1 connection.
pub(crate) struct Smb1 {
    shared: Arc<Shared>,
    tasks: HashMap<u64, Task>,
    next_task: u64,
    /// The policy that sessions were set up or last compared under.
    policy: Arc<Effective>,
    /// Without a session by then, the connection is closed.
    deadline: Duration,
}

/// A message that waits for something.
struct Task {
    future: Pin<Box<dyn Future<Output = Finished> + Send>>,
    header: Header,
}

impl Smb1 {
    pub(crate) fn new(link: &Link, now: Now) -> Self {
        let config = link.config();
        Self {
            shared: Arc::new(Shared {
                server: Arc::clone(&link.server),
                sink: Arc::clone(link.sink()),
                mailbox: Arc::clone(link.mailbox()),
                connection: link.id,
                address: link.peer.address,
                state: Mutex::new(State::new(now)),
            }),
            tasks: HashMap::new(),
            next_task: 0,
            policy: Arc::clone(&config.policy),
            deadline: now.monotonic.saturating_add(config.limits.unauthenticated),
        }
    }

    /// Carries out one admitted message as far as it goes now.
    fn begin(
        &mut self,
        link: &mut Link,
        frame: Bytes,
        admitted: crate::gate::smb1::Admitted,
        out: &mut Vec<Outgoing>,
    ) {
        let header = match Header::decode(&frame) {
            Ok(header) => header,
            Err(_) => return self.drop_connection(link, "not an SMB1 message"),
        };
        self.shared.server.statistics.requests.add();
        if let Some(session) = self.shared.state.lock().sessions.get(&header.uid) {
            session.record.received(frame.len());
            session.record.saw(admitted.is_signed(), false);
        }
        if header.flags.contains(Flags::REPLY) && header.command != Command::LOCKING_ANDX {
            // A response to something never asked.
            return;
        }
        if header.command == Command::NT_CANCEL {
            return self.cancel(&header);
        }
        let config = link.config();
        self.next_task = self.next_task.wrapping_add(1);
        let id = self.next_task;
        let full = self.tasks.len() >= config.limits.pending_calls;
        let request = Request::new(
            Arc::clone(&self.shared),
            config,
            header,
            frame,
            id,
            admitted,
        );
        let future = Box::pin(dispatch::run(request, full));
        self.tasks.insert(id, Task { future, header });
        self.poll(link, id, out);
    }

    /// Lets a task go on.
    fn poll(&mut self, link: &mut Link, id: u64, out: &mut Vec<Outgoing>) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(finished) = task.future.as_mut().poll(&mut context) {
            let uid = self.tasks.remove(&id).map(|task| task.header.uid);
            let bytes = finished.messages.iter().map(Outgoing::len).sum();
            if let Some(uid) = uid
                && let Some(session) = self.shared.state.lock().sessions.get(&uid)
            {
                session.record.sent(bytes);
            }
            out.extend(finished.messages);
            if let Some(reason) = finished.close {
                self.flush(link, core::mem::take(out));
                self.drop_connection(link, reason);
            }
        }
        let end = self.shared.state.lock().end.take();
        if let Some(reason) = end {
            self.flush(link, core::mem::take(out));
            self.drop_connection(link, reason);
        }
    }

    fn drop_connection(&self, link: &mut Link, reason: &'static str) {
        self.shared.server.statistics.dropped_connections.add();
        link.close(reason);
    }

    /// [MS-CIFS] 3.3.5.52 NT_CANCEL: what waits under the same identifiers.
    fn cancel(&self, header: &Header) {
        let same = |h: &Header| {
            h.mid == header.mid
                && h.pid() == header.pid()
                && h.tid == header.tid
                && h.uid == header.uid
        };
        let victims: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, t)| same(&t.header))
            .map(|(id, _)| *id)
            .collect();
        let (tickets, pipes): (Vec<Ticket>, Vec<_>) = {
            let state = self.shared.state.lock();
            let of_victim = |(_, task): &(&Ticket, &u64)| victims.contains(task);
            let tickets = state
                .waiting
                .iter()
                .filter(of_victim)
                .map(|(t, _)| *t)
                .collect();
            (tickets, state.pipes())
        };
        for ticket in tickets {
            self.shared.server.files.cancel(&self.shared.sink, ticket);
            for pipe in &pipes {
                pipe.cancel(ticket);
            }
        }
    }

    /// Seals and sends.
    fn flush(&mut self, link: &mut Link, out: Vec<Outgoing>) {
        if out.is_empty() {
            return;
        }
        let sealed = self.shared.state.lock().signing.seal(out);
        for frame in sealed {
            match frame {
                Some(frame) => link.send(frame),
                None => link.close("reply is too long for a frame"),
            }
        }
    }

    /// Tells the client that an oplock breaks, [MS-CIFS] 3.3.4.2.
    fn oplock_break(
        &self,
        open: &Arc<Open>,
        to: OplockLevel,
        acknowledge: bool,
    ) -> Option<Outgoing> {
        let state = self.shared.state.lock();
        let (fid, tid) = state.fid_of(open)?;
        let uid = state.files.get(&fid)?.uid;
        let level_two = state
            .sessions
            .get(&uid)?
            .capabilities
            .contains(Capabilities::LEVEL_II_OPLOCKS);
        if !acknowledge && !level_two {
            // It was never told that it has one.
            return None;
        }
        let words = LockingAndxWords {
            fid,
            type_of_lock: 0x02,
            new_oplock_level: u8::from(to == OplockLevel::LevelTwo && level_two),
            timeout: 0,
            number_of_requested_unlocks: 0,
            number_of_requested_locks: 0,
        };
        let header = Header {
            command: Command::LOCKING_ANDX,
            flags2: Flags2::empty(),
            tid,
            pid_low: 0xFFFF,
            mid: 0xFFFF,
            ..Header::default()
        };
        let mut writer = MessageWriter::new(FRAME_HEADROOM);
        writer.block(Command::LOCKING_ANDX, true, &words.to_vec(), &[]);
        Some(Outgoing::unsolicited(
            &header,
            writer.finish(&header.encode()),
        ))
    }

    /// Ends a session for a reason of the server's.
    fn end_session(&mut self, uid: u16) {
        super::logoff::end(&self.shared, uid);
    }

    /// Lets every task go on whose answers have come.
    fn answered(&mut self, link: &mut Link, out: &mut Vec<Outgoing>) {
        // What a task does may answer another's call at once, through the
        // mailbox only, so one pass is enough.
        let ready: Vec<u64> = {
            let mut state = self.shared.state.lock();
            let tickets: Vec<Ticket> = state.answers.keys().copied().collect();
            tickets
                .iter()
                .filter_map(|t| state.waiting.remove(t))
                .collect()
        };
        for id in ready {
            self.poll(link, id, out);
        }
    }
}

impl FrontEnd for Smb1 {
    fn handle_frames(&mut self, link: &mut Link, frames: Vec<BytesMut>, now: Now) {
        self.shared.state.lock().now = now;
        let mut frames: VecDeque<Bytes> = frames.into_iter().map(BytesMut::freeze).collect();
        let mut out = Vec::new();
        while !frames.is_empty() && !link.is_closing() {
            let policy = Arc::clone(&link.config().policy);
            let admissions = {
                let mut state = self.shared.state.lock();
                // A logon in the batch may make the key for what is behind it.
                let count = if state.signing.is_active() {
                    frames.len()
                } else {
                    1
                };
                let batch: Vec<Bytes> = frames.drain(..count).collect();
                let admissions = state.signing.receive(&batch, &policy);
                batch.into_iter().zip(admissions)
            };
            for (frame, admission) in admissions {
                match admission {
                    Ok(admitted) => self.begin(link, frame, admitted, &mut out),
                    Err(reason) => {
                        self.shared.server.statistics.bad_signatures.add();
                        let first = self.shared.state.lock().sessions.values().next().cloned();
                        if let Some(session) = first {
                            let registry = &self.shared.server.registry;
                            registry.refused(&session.record, reason.code());
                        }
                        tracing::warn!(
                            connection = link.id,
                            peer = %link.peer.address,
                            reason = reason.code(),
                            "SMB1 message refused; closing the connection"
                        );
                        self.flush(link, core::mem::take(&mut out));
                        self.drop_connection(link, "bad signature");
                    }
                }
                if link.is_closing() {
                    return;
                }
            }
        }
        self.flush(link, out);
    }

    fn handle_signal(&mut self, link: &mut Link, signal: Signal, now: Now) {
        let mut out = Vec::new();
        self.shared.state.lock().now = now;
        match signal {
            Signal::Files(Event::Reply { ticket, result }) => {
                self.shared.state.lock().answers.insert(ticket, result);
                self.answered(link, &mut out);
                // Nobody waits for it any more.
                self.shared.state.lock().answers.remove(&ticket);
            }
            Signal::Files(Event::OplockBreak {
                open,
                to,
                acknowledge,
            }) => {
                out.extend(self.oplock_break(&open, to, acknowledge));
            }
            // SMB1 never asks for a lease.
            Signal::Files(Event::LeaseBreak { .. }) => {}
            Signal::ExpireSession { session } => {
                let mut state = self.shared.state.lock();
                if let Some(session) = state.sessions.values_mut().find(|s| s.number == session) {
                    session.expires = Some(now.monotonic);
                }
            }
            Signal::Files(Event::Closed { open }) => {
                let mut state = self.shared.state.lock();
                if let Some((fid, _)) = state.fid_of(&open) {
                    state.remove_file(fid);
                }
            }
            Signal::EndSession { session, reason } => {
                let uid = {
                    let state = self.shared.state.lock();
                    state
                        .sessions
                        .iter()
                        .find(|(_, s)| s.number == session)
                        .map(|(uid, _)| *uid)
                };
                if let Some(uid) = uid {
                    self.end_session(uid);
                    if self.shared.state.lock().sessions.is_empty() {
                        link.close(reason);
                    }
                }
            }
        }
        self.flush(link, out);
    }

    fn handle_timeout(&mut self, link: &mut Link, now: Now) {
        let due: Vec<u64> = {
            let mut state = self.shared.state.lock();
            state.now = now;
            state
                .sleeping
                .iter()
                .filter(|(_, until)| **until <= now.monotonic)
                .map(|(task, _)| *task)
                .collect()
        };
        let mut out = Vec::new();
        for id in due {
            self.poll(link, id, &mut out);
        }
        self.flush(link, out);
        if self.deadline <= now.monotonic && !self.shared.state.lock().session_was_set_up {
            self.drop_connection(link, "no session in time");
        }
    }

    fn next_timeout(&self) -> Option<Duration> {
        let state = self.shared.state.lock();
        let waiting = state.sleeping.values().min().copied();
        let deadline = (!state.session_was_set_up).then_some(self.deadline);
        waiting.into_iter().chain(deadline).min()
    }

    fn authenticated(&self) -> bool {
        self.shared.state.lock().session_was_set_up
    }

    fn apply_policy(&mut self, link: &mut Link, now: Now) -> PolicyOutcome {
        let config = link.config();
        let old = core::mem::replace(&mut self.policy, Arc::clone(&config.policy));
        let mut outcome = PolicyOutcome::default();
        let mut ended = Vec::new();
        {
            let mut state = self.shared.state.lock();
            state.now = now;
            for (uid, session) in &state.sessions {
                if !exceptions_hold(&config, &session.exceptions, now.unix()) {
                    outcome.ended += 1;
                    ended.push(*uid);
                    continue;
                }
                match live_change(&old, &config.policy, Side::Server, &session.facts) {
                    LiveChange::Keep | LiveChange::Tighten => outcome.satisfied += 1,
                    LiveChange::End { .. } if config.on_tighten == OnTighten::Keep => {
                        outcome.kept += 1;
                    }
                    LiveChange::End { .. } => {
                        outcome.ended += 1;
                        ended.push(*uid);
                    }
                }
            }
        }
        for uid in &ended {
            self.end_session(*uid);
        }
        // The client learns it at once, and what it had in flight is not answered.
        if !ended.is_empty() && self.shared.state.lock().sessions.is_empty() {
            link.close("policy requires signing");
        }
        outcome
    }

    fn disconnected(&mut self, _: &mut Link, _: Now) {
        self.tasks.clear();
        let uids: Vec<u16> = self.shared.state.lock().sessions.keys().copied().collect();
        for uid in uids {
            self.end_session(uid);
        }
        let all = OpenOwner {
            connection: self.shared.connection,
            session: 0,
            tree: 0,
        };
        self.shared.server.files.close_owned(all, false);
    }
}

/// The oplock level of an open's grant, as SMB1 responses have it.
pub(crate) fn oplock_of(grant: &CachingGrant) -> OplockLevel {
    match grant {
        CachingGrant::Oplock(level) => *level,
        CachingGrant::None | CachingGrant::Lease { .. } => OplockLevel::None,
    }
}
