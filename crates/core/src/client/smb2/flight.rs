//! Requests under way: credits, MessageIds, chains, cancelling.
//! [MS-SMB2] 3.2.4.1.2 to 3.2.4.1.6, 3.2.4.24, 3.2.5.1.4.

use bytes::Bytes;
use countersign_policy::CommandClass;
use countersign_wire::NtStatus;
use countersign_wire::smb2::{CancelRequest, Command, HEADER_LEN, Header, HeaderFlags, Target};
use countersign_wire::{Guid, Writer};

use super::Smb2;
use crate::client::call::{Answer, Call, CallId, OpenId, TreeId};
use crate::client::engine::Link;
use crate::client::failure::{CloseReason, Failure};
use crate::gate::smb2::client::{AdmittedReply, REQUEST_HEADROOM, Request, Sent};

/// Bytes one credit pays for.
pub(super) const CREDIT: u32 = 65536;
/// ECHOs in a row that ask for credits.
const BEGGING: u8 = 8;

/// One request of a flight, built but for its header.
pub(super) struct Part {
    pub(super) command: Command,
    pub(super) class: CommandClass,
    /// The body begins at `body`, with room for the headers in front.
    pub(super) buffer: Vec<u8>,
    pub(super) body: usize,
    /// Bytes sent or asked for, whichever is more.
    pub(super) payload: u32,
    /// Its name is one of DFS.
    pub(super) dfs: bool,
}

impl Part {
    /// A request whose body `encode` writes; offsets in it count from the header.
    pub(super) fn new(command: Command, encode: impl FnOnce(&mut Writer<'_>)) -> Self {
        let start = REQUEST_HEADROOM;
        let mut buffer = Vec::with_capacity(start + HEADER_LEN + 256);
        buffer.resize(start + HEADER_LEN, 0);
        encode(&mut Writer::with_base(&mut buffer, start));
        Self {
            command,
            class: match command {
                Command::NEGOTIATE => CommandClass::Negotiate,
                Command::SESSION_SETUP => CommandClass::SessionSetup,
                Command::TREE_CONNECT => CommandClass::TreeConnect,
                Command::CANCEL => CommandClass::Cancel,
                _ => CommandClass::Other,
            },
            buffer,
            body: start + HEADER_LEN,
            payload: 0,
            dfs: false,
        }
    }

    /// The same with the size that its cost goes by.
    pub(super) fn costing(mut self, payload: u32) -> Self {
        let sent = self.buffer.len().saturating_sub(self.body);
        self.payload = payload.max(u32::try_from(sent).unwrap_or(u32::MAX));
        self
    }

    /// [MS-SMB2] 3.2.4.1.5 CreditCharge.
    fn charge(&self) -> u32 {
        self.payload.saturating_sub(1) / CREDIT + 1
    }

    /// Makes a READ ask for no more than so many credits pay for.
    fn ask_less(&mut self, credits: u32) {
        let most = credits.saturating_mul(CREDIT);
        if self.command == Command::READ && self.payload > most && most > 0 {
            self.patch(4, &most.to_le_bytes());
            self.payload = most;
        }
    }

    /// Cuts a WRITE to what so many credits pay for; gives the WRITE of the rest.
    fn cut(&mut self, credits: u32) -> Option<Self> {
        /// Length, Offset and the data, [MS-SMB2] 2.2.21.
        const LENGTH: usize = 4;
        const OFFSET: usize = 8;
        const FIXED: usize = 48;
        let most = credits.saturating_mul(CREDIT);
        if self.command != Command::WRITE || self.payload <= most || most == 0 {
            return None;
        }
        let data = self.body.saturating_add(FIXED);
        let keep = data.saturating_add(usize::try_from(most).unwrap_or(usize::MAX));
        if keep >= self.buffer.len() {
            return None;
        }
        let tail = self.buffer.split_off(keep);
        let offset = self
            .buffer
            .get(self.body.saturating_add(OFFSET)..)
            .and_then(|bytes| bytes.first_chunk::<8>())
            .map(|bytes| u64::from_le_bytes(*bytes))?;
        let left = u32::try_from(tail.len()).unwrap_or(u32::MAX);
        let mut rest = Self {
            buffer: [self.buffer.get(..data)?, &tail].concat(),
            payload: left,
            ..*self
        };
        rest.patch(LENGTH, &left.to_le_bytes());
        let next = offset.saturating_add(most.into());
        rest.patch(OFFSET, &next.to_le_bytes());
        self.patch(LENGTH, &most.to_le_bytes());
        self.payload = most;
        Some(rest)
    }

    fn patch(&mut self, offset: usize, value: &[u8]) {
        let at = self.body.saturating_add(offset);
        if let Some(place) = self.buffer.get_mut(at..at.saturating_add(value.len())) {
            place.copy_from_slice(value);
        }
    }
}

/// What is made of the replies of a flight.
#[derive(Debug)]
pub(super) enum Kind {
    Negotiate,
    SessionSetup,
    /// Nothing but the status counts.
    Plain,
    Logoff,
    /// The share's name.
    TreeConnect(String),
    /// The proof of the negotiation; then the answer to this call.
    Validate(Option<CallId>, Box<Answer>),
    TreeDisconnect(TreeId),
    Open(Box<OpenFacts>),
    Close(OpenId, bool),
    /// Bytes asked for.
    Read(u32),
    /// Bytes given.
    Write(u32),
    List,
    Info,
    Ioctl,
    Notify,
    /// CREATE and CLOSE around nothing: what CREATE told, as
    /// FileNetworkOpenInformation.
    Stat,
    /// CREATE, something, CLOSE: nothing is told.
    PathDone,
    /// CREATE, QUERY_INFO, CLOSE.
    PathInfo,
    /// CREATE, QUERY_DIRECTORY (twice).
    ListStart(Box<OpenFacts>),
    /// CREATE, READ, CLOSE; bytes asked for.
    Whole(u32),
    /// CREATE, WRITE, SET_INFO, CLOSE; bytes that are to be written.
    Written(u32),
    /// ECHO for credits.
    Beg,
}

/// What an open was asked with.
#[derive(Debug, Clone)]
pub(super) struct OpenFacts {
    pub(super) tree: TreeId,
    pub(super) durable: Option<Guid>,
    pub(super) lease: Option<[u8; 16]>,
}

/// A reply as far as its flight keeps it.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: NtStatus,
    /// TreeId; an asynchronous reply has none.
    pub(super) tree: Option<u32>,
    pub(super) message: Bytes,
}

/// One request, or a chain of related ones, of one call.
pub(super) struct Flight {
    pub(super) call: Option<CallId>,
    pub(super) kind: Kind,
    /// Not yet sent.
    parts: Vec<Part>,
    pub(super) tree: Option<TreeId>,
    pub(super) replies: Vec<Option<Reply>>,
    /// MessageIds in order, once sent.
    messages: Vec<u64>,
    left: usize,
    charge: u32,
    /// What of a WRITE there were no credits for, and what was written before.
    pub(super) rest: Option<Part>,
    pub(super) written: u32,
    pub(super) cancelled: bool,
    /// Something was heard of it: it may take as long as it likes.
    pub(super) heard: bool,
}

impl Flight {
    pub(super) fn new(kind: Kind, tree: Option<TreeId>, parts: Vec<Part>) -> Self {
        Self {
            call: None,
            kind,
            replies: vec![None; parts.len()],
            left: parts.len(),
            parts,
            tree,
            messages: Vec::new(),
            charge: 0,
            rest: None,
            written: 0,
            cancelled: false,
            heard: false,
        }
    }
}

/// A request that was sent.
pub(super) struct Outstanding {
    pub(super) command: Command,
    flight: u64,
    part: usize,
    pub(super) sent: Option<Sent>,
    async_id: Option<u64>,
}

impl Smb2 {
    /// Puts a flight into the queue.
    pub(super) fn launch(&mut self, link: &mut Link, call: Option<CallId>, mut flight: Flight) {
        flight.call = call;
        let key = self.next_flight;
        self.next_flight += 1;
        if let Some(call) = call {
            self.by_call.insert(call, key);
        }
        self.flights.insert(key, flight);
        self.queue.push_back(key);
        if call.is_none() {
            self.pump(link);
        }
    }

    /// Sends what there are credits for, in order.
    pub(super) fn pump(&mut self, link: &mut Link) {
        while let Some(key) = self.queue.front().copied() {
            let multi = self
                .agreed
                .as_ref()
                .is_some_and(super::Agreed::multi_credit);
            let Some(flight) = self.flights.get_mut(&key) else {
                self.queue.pop_front();
                continue;
            };
            let cost = |parts: &[Part]| -> u32 {
                parts
                    .iter()
                    .map(|p| if multi { p.charge() } else { 1 })
                    .fold(0, u32::saturating_add)
            };
            let mut charge = cost(&flight.parts);
            if charge > self.credits {
                if self.awaits_reply() {
                    // Replies bring more.
                    self.stalled = None;
                    return;
                }
                let Some(flight) = self.flights.get_mut(&key) else {
                    return;
                };
                // What can be had with less is.
                let others = u32::try_from(flight.parts.len().saturating_sub(1)).unwrap_or(0);
                let most = self.credits.saturating_sub(others);
                for part in &mut flight.parts {
                    part.ask_less(most);
                }
                if let [part] = flight.parts.as_mut_slice() {
                    flight.rest = part.cut(self.credits);
                }
                charge = cost(&flight.parts);
                if charge > self.credits {
                    if self.credits == 0 && !self.outstanding.is_empty() {
                        // What the server takes its time with may bring some yet.
                        self.stalled.get_or_insert(self.now);
                        return;
                    }
                    if self.credits == 0 {
                        link.close(CloseReason::Violation("the server grants no credits"));
                        return;
                    }
                    if self.begging >= BEGGING {
                        // It has been asked often enough; others may cost less.
                        self.begging = 0;
                        self.needed = 0;
                        self.refuse(link, key);
                        continue;
                    }
                    self.begging += 1;
                    self.needed = charge;
                    self.echo(link);
                    return;
                }
            }
            self.stalled = None;
            self.queue.pop_front();
            self.depart(link, key, charge, multi);
        }
    }

    /// Gives a call up that there will be no credits for.
    fn refuse(&mut self, link: &mut Link, key: u64) {
        self.queue.pop_front();
        if let Some(call) = self.flights.remove(&key).and_then(|flight| flight.call) {
            self.by_call.remove(&call);
            let why = "the server grants fewer credits than this takes in one go";
            link.done(call, Err(Failure::Limit(why)));
        }
    }

    /// Whether something is under way that the server has said nothing about yet.
    pub(super) fn awaits_reply(&mut self) -> bool {
        // What is over, or was heard of, waits for nothing.
        while let Some((_, first)) = self.deadlines.front()
            && self.flights.get(first).is_none_or(|f| f.heard)
        {
            self.deadlines.pop_front();
        }
        !self.deadlines.is_empty()
    }

    /// An ECHO in front of the queue: asks for credits, and whether the server is
    /// there.
    pub(super) fn echo(&mut self, link: &mut Link) {
        let part = Part::new(Command::ECHO, |w| {
            countersign_wire::smb2::EchoRequest.encode(w);
        });
        let key = self.next_flight;
        self.next_flight += 1;
        self.flights
            .insert(key, Flight::new(Kind::Beg, None, vec![part]));
        self.depart(link, key, 1, false);
    }

    fn depart(&mut self, link: &mut Link, key: u64, charge: u32, multi: bool) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.charge = charge;
        let parts = std::mem::take(&mut flight.parts);
        let tree = flight.tree.and_then(|t| self.trees.get(&t));
        let (tree_id, encrypt) = tree.map_or((0, false), |t| (t.id, t.encrypt));
        let session_id = match &self.session {
            Some(session) => session.id,
            None => self.logon.id,
        };
        let dialect = self.agreed.as_ref().map_or(0, |a| a.dialect);
        // As many as are held in the end; what this one costs comes back, too.
        let target = u32::from(link.config.limits.credits).max(self.needed);
        let have = self.credits.saturating_add(self.spent);
        let wanted = target.saturating_sub(have.saturating_sub(charge));
        let last = parts.len().saturating_sub(1);
        let mut request: Option<Request> = None;
        for (index, part) in parts.into_iter().enumerate() {
            let cost = if multi { part.charge() } else { 1 };
            let header = Header {
                credit_charge: match dialect {
                    0 | 0x0202 => 0,
                    _ => u16::try_from(cost).unwrap_or(u16::MAX),
                },
                command: part.command,
                credits: if index == last {
                    u16::try_from(wanted.max(cost)).unwrap_or(u16::MAX)
                } else {
                    u16::try_from(cost).unwrap_or(u16::MAX)
                },
                flags: if index > 0 {
                    HeaderFlags::RELATED_OPERATIONS
                } else if part.dfs {
                    HeaderFlags::DFS_OPERATIONS
                } else {
                    HeaderFlags::empty()
                },
                message_id: self.next_message,
                target: Target::Sync {
                    process_id: 0xFEFF,
                    tree_id,
                },
                session_id: if part.command == Command::NEGOTIATE {
                    0
                } else {
                    session_id
                },
                ..Header::default()
            };
            self.outstanding.insert(
                self.next_message,
                Outstanding {
                    command: part.command,
                    flight: key,
                    part: index,
                    sent: None,
                    async_id: None,
                },
            );
            flight.messages.push(self.next_message);
            self.next_message = self.next_message.saturating_add(u64::from(cost));
            let mut next = Request::new(
                self.session.as_ref(),
                encrypt,
                part.class,
                header,
                part.buffer,
                part.body,
            );
            match part.command {
                Command::NEGOTIATE if dialect == 0 => {
                    self.preauth.update(next.signed_message());
                }
                Command::SESSION_SETUP if self.session.is_none() => {
                    self.logon.hash.update(next.signed_message());
                }
                _ => {}
            }
            match &mut request {
                None => request = Some(next),
                Some(first) => first.chain(&next),
            }
        }
        self.credits = self.credits.saturating_sub(charge);
        self.spent = self.spent.saturating_add(charge);
        let timeout = link.config.limits.request_timeout;
        self.awaits_reply();
        self.deadlines
            .push_back((self.now.saturating_add(timeout), key));
        self.ready.extend(request);
    }

    /// The SMB1 NEGOTIATE as if it were one of SMB2.
    pub(super) fn expect_negotiate(&mut self, link: &Link) {
        let part = Part::new(Command::NEGOTIATE, |_| {});
        let key = self.next_flight;
        self.next_flight += 1;
        let mut flight = Flight::new(Kind::Negotiate, None, vec![part]);
        flight.parts.clear();
        flight.charge = 1;
        flight.messages.push(0);
        self.flights.insert(key, flight);
        self.outstanding.insert(
            0,
            Outstanding {
                command: Command::NEGOTIATE,
                flight: key,
                part: 0,
                sent: Some(Sent::in_clear(CommandClass::Negotiate)),
                async_id: None,
            },
        );
        self.next_message = 1;
        self.credits = 0;
        self.spent = 1;
        let timeout = link.config.limits.request_timeout;
        self.deadlines
            .push_back((self.now.saturating_add(timeout), key));
    }

    /// A reply that the gate let in.
    pub(super) fn admitted(&mut self, link: &mut Link, reply: AdmittedReply) {
        let header = reply.header;
        self.credits = self.credits.saturating_add(u32::from(header.credits));
        if header.status == NtStatus::PENDING && header.flags.contains(HeaderFlags::ASYNC_COMMAND) {
            // [MS-SMB2] 3.2.5.1.5: more will come.
            if let Some(outstanding) = self.outstanding.get_mut(&header.message_id) {
                outstanding.async_id = header.async_id();
                let key = outstanding.flight;
                let cancelled = self.flights.get_mut(&key).is_some_and(|flight| {
                    flight.heard = true;
                    flight.cancelled
                });
                if cancelled {
                    self.send_cancel(link, key);
                }
            }
            return;
        }
        let Some(outstanding) = self.outstanding.remove(&header.message_id) else {
            return;
        };
        if Self::is_session_gone(header.status) {
            link.close(CloseReason::SessionDeleted);
            return;
        }
        let Some(flight) = self.flights.get_mut(&outstanding.flight) else {
            return;
        };
        if let Some(place) = flight.replies.get_mut(outstanding.part)
            && place.is_none()
        {
            *place = Some(Reply {
                status: header.status,
                tree: header.tree_id(),
                message: reply.message,
            });
            flight.left = flight.left.saturating_sub(1);
        }
        if flight.left == 0
            && let Some(flight) = self.flights.remove(&outstanding.flight)
        {
            self.spent = self.spent.saturating_sub(flight.charge);
            if !matches!(flight.kind, Kind::Beg) {
                self.begging = 0;
            }
            if let Some(call) = flight.call {
                self.by_call.remove(&call);
            }
            self.finish(link, flight);
        }
    }

    /// Takes the final response of a logon out of what is outstanding; gives the
    /// call it belongs to.
    pub(super) fn take_logon(&mut self, message_id: u64, credits: u16) -> Option<CallId> {
        self.credits = self.credits.saturating_add(u32::from(credits));
        let outstanding = self.outstanding.remove(&message_id)?;
        let flight = self.flights.remove(&outstanding.flight)?;
        self.spent = self.spent.saturating_sub(flight.charge);
        let call = flight.call?;
        self.by_call.remove(&call);
        Some(call)
    }

    /// [MS-SMB2] 3.2.4.24: asks the server to give up what it has not answered.
    pub(super) fn send_cancel(&mut self, _: &mut Link, key: u64) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        flight.cancelled = true;
        let messages = flight.messages.clone();
        let tree_id = flight
            .tree
            .and_then(|t| self.trees.get(&t))
            .map_or((0, false), |t| (t.id, t.encrypt));
        for id in messages {
            let Some(outstanding) = self.outstanding.get(&id) else {
                continue;
            };
            let part = Part::new(Command::CANCEL, |w| CancelRequest.encode(w));
            let header = Header {
                command: Command::CANCEL,
                message_id: id,
                target: match outstanding.async_id {
                    Some(async_id) => Target::Async(async_id),
                    None => Target::Sync {
                        process_id: 0xFEFF,
                        tree_id: tree_id.0,
                    },
                },
                session_id: self.session.as_ref().map_or(0, |s| s.id),
                ..Header::default()
            };
            self.ready.push(Request::new(
                self.session.as_ref(),
                tree_id.1,
                part.class,
                header,
                part.buffer,
                part.body,
            ));
        }
    }

    /// A call of the engine's own, whose outcome nobody waits for.
    pub(super) fn own(&mut self, link: &mut Link, call: Call) {
        if let Ok(flight) = self.build(link, call) {
            self.launch(link, None, flight);
        }
    }

    /// A failure of a reply.
    pub(super) fn failure(command: &'static str, status: NtStatus) -> Failure {
        Failure::Status { status, command }
    }
}
