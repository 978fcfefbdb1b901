//! What a front end has of its connection: the server, the peer, and where replies go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use countersign_fs::{Event, EventSink, Ticket};

use crate::config::ServerConfig;
use crate::connection::{Mailbox, Now, Output, PeerInfo, Signal};
use crate::gate::Sealed;
use crate::server::Server;

/// A protocol front end: SMB1 or SMB2/3. The [`Connection`](crate::Connection)
/// chooses one on the first frame and hands everything on to it.
pub trait FrontEnd: Send {
    /// Takes whole messages (without the transport header) in the order they
    /// arrived, all that are there at once. Replies go to [`Link::send`].
    fn handle_frames(&mut self, link: &mut Link, frames: Vec<BytesMut>, now: Now);

    /// Takes a file-service event or another connection's signal.
    fn handle_signal(&mut self, link: &mut Link, signal: Signal, now: Now);

    /// Does what is due at `now` (delayed replies, idle limits).
    fn handle_timeout(&mut self, link: &mut Link, now: Now);

    /// When [`FrontEnd::handle_timeout`] is wanted next, in monotonic time.
    fn next_timeout(&self) -> Option<Duration>;

    /// A session was set up on this connection: from then on its frames may be as
    /// long as the largest request.
    fn authenticated(&self) -> bool;

    /// The configuration in force changed: ends the sessions that no longer
    /// satisfy the policy (or keeps them, as the configuration says) and counts.
    fn apply_policy(&mut self, link: &mut Link, now: Now) -> PolicyOutcome;

    /// The connection is gone: gives up everything it holds. Nothing can be sent.
    fn disconnected(&mut self, link: &mut Link, now: Now);
}

/// What a change of policy did to the sessions of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyOutcome {
    /// Sessions that satisfy the new policy.
    pub satisfied: usize,
    /// Sessions that do not and were kept because the configuration says so.
    pub kept: usize,
    /// Sessions that do not and were ended.
    pub ended: usize,
}

/// The connection as a front end sees it.
pub struct Link {
    /// The server.
    pub server: Arc<Server>,
    /// Number of the connection, unique in this process.
    pub id: u64,
    /// The other end.
    pub peer: PeerInfo,
    mailbox: Arc<dyn Mailbox>,
    sink: Arc<dyn EventSink>,
    alive: Arc<AtomicBool>,
    output: VecDeque<Output>,
    closing: bool,
    tickets: u64,
}

impl Link {
    pub(crate) fn new(server: Arc<Server>, peer: PeerInfo, mailbox: Arc<dyn Mailbox>) -> Self {
        let id = server.next_connection();
        let alive = Arc::new(AtomicBool::new(true));
        let sink = Arc::new(ConnectionSink {
            mailbox: Arc::clone(&mailbox),
            alive: Arc::clone(&alive),
            server: Arc::downgrade(&server),
        });
        Self {
            server,
            id,
            peer,
            mailbox,
            sink,
            alive,
            output: VecDeque::new(),
            closing: false,
            tickets: 0,
        }
    }

    /// The configuration snapshot in force; a request takes it once and keeps it.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.server.config.load_full()
    }

    /// Where file-service events for this connection go.
    pub fn sink(&self) -> &Arc<dyn EventSink> {
        &self.sink
    }

    /// Where other connections leave signals for this one.
    pub fn mailbox(&self) -> &Arc<dyn Mailbox> {
        &self.mailbox
    }

    /// A new ticket, never used before on this connection.
    pub fn ticket(&mut self) -> Ticket {
        self.tickets = self.tickets.wrapping_add(1);
        Ticket(self.tickets)
    }

    /// Queues a sealed reply. Only the gate makes one.
    pub fn send(&mut self, frame: Sealed) {
        if !self.closing {
            self.output.push_back(Output::Send(frame));
        }
    }

    /// Closes the connection behind what was queued before; nothing can be queued after.
    pub fn close(&mut self, reason: &'static str) {
        if !self.closing {
            self.closing = true;
            self.output.push_back(Output::Close(reason));
        }
    }

    /// Whether [`Link::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Fills with random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.server.host.random(&mut out);
        out
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub(crate) fn gone(&mut self) {
        self.closing = true;
        self.alive.store(false, Ordering::Release);
    }
}

/// The file service's way to a connection.
struct ConnectionSink {
    mailbox: Arc<dyn Mailbox>,
    alive: Arc<AtomicBool>,
    server: std::sync::Weak<Server>,
}

impl EventSink for ConnectionSink {
    fn send(&self, event: Event) {
        if self.alive.load(Ordering::Acquire) {
            self.mailbox.post(Signal::Files(event));
        } else if let Some(server) = self.server.upgrade() {
            server.event_without_connection(event);
        }
    }
}
