//! Requests on their way and their replies: MIDs, room, order, cancelling.

use std::time::Duration;

use bytes::Bytes;
use countersign_wire::NtStatus;
use countersign_wire::smb1::block::byte_count;
use countersign_wire::smb1::transaction::Answer as TransactionAnswer;
use countersign_wire::smb1::{
    Block, Command, DosError, Flags2, HEADER, Header, MessageWriter, Text,
};

use super::Smb1;
use super::transaction::Transfer;
use crate::client::call::{CallId, Payload};
use crate::client::engine::Link;
use crate::client::failure::{CloseReason, Failure};
use crate::gate::smb1::client::{Admitted, Exchange, Outgoing, Takes};

/// Bytes in front of a message for the transport header.
const FRAME_HEADROOM: usize = 4;

/// What is done with the reply to a request.
pub(super) type Then = Box<dyn FnOnce(&mut Smb1, &mut Link, Result<Reply, Failure>) + Send>;

/// The bytes of a request.
pub(super) enum Body {
    /// As they are.
    Bytes(Vec<u8>),
    /// One pad byte and the payload.
    Payload(Payload),
    /// Those of a transaction, in as many messages as it takes.
    Transaction(Box<Transfer>),
}

/// What a request must wait for. Servers are not at their best when a file is
/// closed while it is read (smbd 4.17 dies of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// For nothing.
    Free,
    /// For nothing; it reads or writes this FID.
    Io(u16),
    /// For what reads and writes this FID.
    Close(u16),
    /// For what reads and writes on its tree.
    Tree,
    /// For everything that reads and writes.
    Session,
}

impl Order {
    /// Whether a request of this order, on this tree, must wait for another.
    fn waits(self, tid: u16, other: Self, other_tid: u16) -> bool {
        let Self::Io(busy) = other else { return false };
        match self {
            Self::Free | Self::Io(_) => false,
            Self::Close(fid) => fid == busy,
            Self::Tree => tid == other_tid,
            Self::Session => true,
        }
    }
}

/// A request to be made.
pub(super) struct Request {
    /// Command code.
    pub(super) command: u8,
    /// Its name in the specification, for messages.
    pub(super) name: &'static str,
    /// The tree, or zero.
    pub(super) tid: u16,
    /// Words, without those of AndX.
    pub(super) words: Vec<u8>,
    /// Bytes.
    pub(super) body: Body,
    /// Flags2 besides those of the connection.
    pub(super) flags2: Flags2,
    /// The answer may take as long as it likes.
    pub(super) patient: bool,
    /// Nothing else may be on its way.
    pub(super) alone: bool,
    /// What must be over before.
    pub(super) order: Order,
}

impl Request {
    /// A request with these words and bytes.
    pub(super) fn new(command: u8, tid: u16, words: Vec<u8>, bytes: Vec<u8>) -> Self {
        Self {
            command,
            name: Command::name(command).unwrap_or("SMB1"),
            tid,
            words,
            body: Body::Bytes(bytes),
            flags2: Flags2::empty(),
            patient: false,
            alone: false,
            order: Order::Free,
        }
    }
}

/// A request that waits for room.
pub(super) struct Waiting {
    call: Option<CallId>,
    request: Request,
    pub(super) then: Then,
}

/// A request on its way.
pub(super) struct Pending {
    call: Option<CallId>,
    command: u8,
    name: &'static str,
    header: Header,
    patient: bool,
    cancelled: bool,
    sent: Duration,
    transaction: Option<Box<Transfer>>,
    order: Order,
    /// Place among all that were sent.
    pub(super) place: u64,
    pub(super) then: Then,
}

/// A reply that is complete.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its header.
    pub(super) header: Header,
    /// The message (of a transaction in several, the last one).
    pub(super) message: Bytes,
    /// What the gate let in, for the one that it must look at again.
    pub(super) admitted: Admitted,
    /// Status as an NTSTATUS.
    pub(super) status: NtStatus,
    /// What a transaction answered.
    pub(super) transaction: TransactionAnswer,
    name: &'static str,
    /// How its strings are written.
    pub(super) text: Text,
}

impl Reply {
    /// Fails unless the status is success.
    pub(super) fn success(self) -> Result<Self, Failure> {
        self.allow(&[])
    }

    /// Fails unless the status is success or one of these.
    pub(super) fn allow(self, statuses: &[NtStatus]) -> Result<Self, Failure> {
        if self.status == NtStatus::SUCCESS || statuses.contains(&self.status) {
            Ok(self)
        } else {
            Err(self.failure())
        }
    }

    /// The status as a failure.
    pub(super) fn failure(&self) -> Failure {
        Failure::Status {
            status: self.status,
            command: self.name,
        }
    }

    /// It cannot be understood.
    pub(super) fn malformed(&self) -> Failure {
        Failure::Malformed { command: self.name }
    }

    /// The first block.
    pub(super) fn block(&self) -> Result<Block<'_>, Failure> {
        Block::decode(&self.message, self.header.command, HEADER).map_err(|_| self.malformed())
    }
}

impl Smb1 {
    /// Sends a request of a call, now or when there is room.
    pub(super) fn send(
        &mut self,
        link: &mut Link,
        call: impl Into<Option<CallId>>,
        request: Request,
        then: impl FnOnce(&mut Smb1, &mut Link, Result<Reply, Failure>) + Send + 'static,
    ) {
        let call = call.into();
        let then: Then = Box::new(then);
        if let Some(reason) = link.closed().cloned() {
            return then(self, link, Err(Failure::Closed(reason)));
        }
        if call.is_some_and(|id| self.given_up.contains(&id)) {
            return then(self, link, Err(Failure::Cancelled));
        }
        if self.waiting.len() >= link.config.limits.queued_calls {
            return then(self, link, Err(Failure::Limit("too many calls wait")));
        }
        let waiting = Waiting {
            call,
            request,
            then,
        };
        // What waits behind a logon must not be in front of its next leg.
        if waiting.request.alone {
            self.waiting.push_front(waiting);
        } else {
            self.waiting.push_back(waiting);
        }
        self.pump(link);
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn pump(&mut self, link: &mut Link) {
        let mut place = 0;
        while link.closed().is_none() && self.pending.len() < self.server.requests {
            let Some(next) = self.waiting.get(place) else {
                return;
            };
            let active = self.signing.is_active();
            if next.request.alone && !self.pending.is_empty() && !active {
                return;
            }
            if self.logon.is_running() && !active && !next.request.alone {
                return;
            }
            if self.must_wait(&next.request, place) {
                place += 1;
                continue;
            }
            if let Some(next) = self.waiting.remove(place) {
                self.dispatch(link, next);
            }
        }
    }

    /// Whether something that is to be over before is on its way, or waits in
    /// front of this place. What may wait for ever at the server gets half of the
    /// room, so that the rest goes on.
    fn must_wait(&self, request: &Request, place: usize) -> bool {
        let patient = self.pending.values().filter(|p| p.patient).count();
        if request.patient && patient >= (self.server.requests / 2).max(1) {
            return true;
        }
        let waits = |order, tid| request.order.waits(request.tid, order, tid);
        match request.order {
            Order::Free | Order::Io(_) => false,
            _ => {
                self.pending.values().any(|p| waits(p.order, p.header.tid))
                    || self
                        .waiting
                        .iter()
                        .take(place)
                        .any(|w| waits(w.request.order, w.request.tid))
            }
        }
    }

    fn dispatch(&mut self, link: &mut Link, waiting: Waiting) {
        let Waiting {
            call,
            request,
            then,
        } = waiting;
        let Some(mid) = self.new_mid() else {
            return then(self, link, Err(Failure::Limit("too many requests")));
        };
        let header = self.header(request.command, request.tid, mid, request.flags2);
        let andx = Command::is_andx(request.command);
        let mut transaction = None;
        match request.body {
            Body::Bytes(bytes) => {
                let mut w = MessageWriter::new(FRAME_HEADROOM);
                w.block(request.command, andx, &request.words, &bytes);
                let buffer = w.finish(&[0; HEADER]);
                self.outgoing
                    .push(Outgoing::new(&header, buffer, FRAME_HEADROOM, Takes::Two));
            }
            Body::Payload(payload) => {
                let (buffer, start) = in_front(request.command, &request.words, payload);
                self.outgoing
                    .push(Outgoing::new(&header, buffer, start, Takes::Two));
            }
            Body::Transaction(mut transfer) => {
                let (words, bytes) = transfer.primary(self.server.text, self.max_message());
                self.push(&header, false, &words, &bytes);
                transaction = Some(transfer);
            }
        }
        self.server.order += 1;
        self.pending.insert(
            mid,
            Pending {
                call,
                command: request.command,
                name: request.name,
                header,
                patient: request.patient,
                cancelled: false,
                sent: self.now.monotonic,
                transaction,
                order: request.order,
                place: self.server.order,
                then,
            },
        );
    }

    fn push(&mut self, header: &Header, andx: bool, words: &[u8], bytes: &[u8]) {
        let mut w = MessageWriter::new(FRAME_HEADROOM);
        w.block(header.command, andx, words, bytes);
        let buffer = w.finish(&[0; HEADER]);
        self.outgoing
            .push(Outgoing::new(header, buffer, FRAME_HEADROOM, Takes::Two));
    }

    /// Sends a request that has no reply.
    pub(super) fn send_unanswered(&mut self, request: &Request, bytes: &[u8]) {
        let mid = self.new_mid().unwrap_or(1);
        let header = self.header(request.command, request.tid, mid, request.flags2);
        let mut w = MessageWriter::new(FRAME_HEADROOM);
        let andx = Command::is_andx(request.command);
        w.block(request.command, andx, &request.words, bytes);
        let buffer = w.finish(&[0; HEADER]);
        self.outgoing.push(Outgoing::new(
            &header,
            buffer,
            FRAME_HEADROOM,
            Takes::TwoUnanswered,
        ));
    }

    /// A MID that no request on its way has; 0xFFFF is the server's.
    fn new_mid(&mut self) -> Option<u16> {
        for _ in 0..u16::MAX {
            let mid = self.next_mid;
            self.next_mid = match mid {
                0xFFFE => 1,
                m => m.saturating_add(1),
            };
            if !self.pending.contains_key(&mid) {
                return Some(mid);
            }
        }
        None
    }

    /// Longest request.
    pub(super) fn max_message(&self) -> usize {
        usize::try_from(self.server.max_buffer)
            .unwrap_or(usize::MAX)
            .clamp(1024, 0xFFFF)
    }

    /// A reply has come.
    pub(super) fn reply(&mut self, link: &mut Link, message: Admitted) {
        let header = message.header;
        let pid = header.pid();
        let known = self
            .pending
            .get(&header.mid)
            .is_some_and(|p| p.header.pid() == pid);
        let Some(mut pending) = known.then(|| self.pending.remove(&header.mid)).flatten() else {
            // Unsigned it is discarded, [MS-CIFS] 3.2.5.1; signed it cannot be.
            if self.signing.is_active() {
                link.close(CloseReason::Violation("a reply to no request"));
            }
            return;
        };
        if pending.command != header.command {
            link.close(CloseReason::Violation("a reply to another command"));
            return (pending.then)(
                self,
                link,
                Err(Failure::Malformed {
                    command: pending.name,
                }),
            );
        }
        let status = status(&header);
        let mut answer = TransactionAnswer::default();
        if let Some(transfer) = &mut pending.transaction {
            match transfer.reply(&message, status) {
                Ok(Some(whole)) => answer = whole,
                Ok(None) => {
                    // Go on, or more to come.
                    let secondaries = transfer.secondaries(self.max_message());
                    let mut header = pending.header;
                    header.command = pending.command.saturating_add(1);
                    for (words, bytes) in secondaries {
                        self.push(&header, false, &words, &bytes);
                    }
                    pending.sent = self.now.monotonic;
                    self.pending.insert(header.mid, pending);
                    return;
                }
                Err(_) => {
                    self.signing.forget(Exchange::of(&header));
                    let failure = Failure::Malformed {
                        command: pending.name,
                    };
                    (pending.then)(self, link, Err(failure));
                    return self.pump(link);
                }
            }
        }
        self.signing.forget(Exchange::of(&header));
        let result = if pending.cancelled && status != NtStatus::SUCCESS {
            Err(Failure::Cancelled)
        } else {
            Ok(Reply {
                header,
                message: message.message.clone(),
                admitted: message,
                status,
                transaction: answer,
                name: pending.name,
                text: Text::of(header.flags2, self.server.text.code_page),
            })
        };
        (pending.then)(self, link, result);
        self.pump(link);
    }

    /// Gives a call up.
    pub(super) fn give_up(&mut self, link: &mut Link, id: CallId) {
        if let Some(place) = self.waiting.iter().position(|w| w.call == Some(id)) {
            if let Some(waiting) = self.waiting.remove(place) {
                (waiting.then)(self, link, Err(Failure::Cancelled));
            }
            return;
        }
        let mut cancels = Vec::new();
        let mut left = false;
        for pending in self.pending.values_mut().filter(|p| p.call == Some(id)) {
            if pending.patient {
                if !pending.cancelled {
                    cancels.push(pending.header);
                }
                pending.cancelled = true;
            } else {
                left = true;
            }
        }
        for mut header in cancels {
            header.command = Command::NT_CANCEL;
            let mut w = MessageWriter::new(FRAME_HEADROOM);
            w.block(Command::NT_CANCEL, false, &[], &[]);
            let buffer = w.finish(&[0; HEADER]);
            self.outgoing
                .push(Outgoing::new(&header, buffer, FRAME_HEADROOM, Takes::One));
        }
        // What cannot be called back runs to its end, unheard.
        if left && self.given_up.insert(id) {
            link.done(id, Err(Failure::Cancelled));
        }
    }

    /// When the oldest request was sent that must be answered in time.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.pending
            .values()
            .filter(|p| !p.patient)
            .map(|p| p.sent)
            .min()
    }
}

/// The message of a request in front of its payload: buffer and start.
fn in_front(command: u8, words: &[u8], payload: Payload) -> (Vec<u8>, usize) {
    let length = payload.len();
    let mut w = MessageWriter::new(0);
    w.block(command, Command::is_andx(command), words, &[0]);
    let mut front = w.finish(&[0; HEADER]);
    let count = byte_count(length.saturating_add(1)).to_le_bytes();
    let at = front.len().saturating_sub(3);
    if let Some(place) = front.get_mut(at..at.saturating_add(2)) {
        place.copy_from_slice(&count);
    }
    let mut buffer = payload.into_buffer();
    let start = Payload::HEADROOM.saturating_sub(front.len());
    if let Some(place) = buffer.get_mut(start..Payload::HEADROOM) {
        place.copy_from_slice(&front);
    }
    (buffer, start)
}

/// The status of a reply as an NTSTATUS.
fn status(header: &Header) -> NtStatus {
    if header.flags2.contains(Flags2::NT_STATUS) {
        return NtStatus(header.status);
    }
    match DosError::from_wire(header.status) {
        DosError { class: 0, .. } => NtStatus::SUCCESS,
        error => error.to_status(),
    }
}
