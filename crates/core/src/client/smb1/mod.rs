//! SMB1 (NT LM 0.12) as a client speaks it: [MS-CIFS] 3.2 and [MS-SMB] 3.2.
//!
//! A call becomes one request or several, one behind the other; what is to be
//! done with a reply is a closure kept with the request (`exchange`). Every
//! message passes the gate, which numbers, signs and verifies.

mod exchange;
mod handles;
mod info;
mod io;
mod list;
mod lock;
mod logon;
mod names;
mod negotiate;
mod nt_transact;
mod open;
mod pipe;
mod transaction;
mod tree;
mod whole;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_wire::FileTime;
use countersign_wire::smb1::{Flags, Flags2, Header};

use super::call::{Answer, Call, CallId, OpenId, TreeId};
use super::engine::{Link, Protocol, Transfer};
use super::failure::{CloseReason, Failure};
use crate::connection::Now;
use crate::gate::Sealed;
use crate::gate::smb1::client::{Admitted, Outgoing, Signing};

use exchange::{Pending, Waiting};
use handles::{Open, Tree};
use logon::Logon;
use negotiate::Server;

/// Messages held back while a logon is being judged; a server has nothing to
/// say then.
const HELD: usize = 64;

/// One SMB1 connection.
pub struct Smb1 {
    now: Now,
    signing: Signing,
    server: Server,
    uid: u16,
    pid: u16,
    next_mid: u16,
    logon: Logon,
    /// Requests that wait for room.
    waiting: VecDeque<Waiting>,
    /// Requests on their way, by MID.
    pending: HashMap<u16, Pending>,
    /// Requests to be sealed.
    outgoing: Vec<Outgoing>,
    /// Messages that came while a logon is being judged.
    held: VecDeque<Bytes>,
    /// Calls that were given up but whose requests are on their way.
    given_up: HashSet<CallId>,
    trees: HashMap<TreeId, Tree>,
    opens: HashMap<OpenId, Open>,
    next_tree: u32,
    next_open: u64,
    /// When the server was last heard.
    heard: Duration,
    /// LOGOFF was asked for: nothing else is any more.
    leaving: bool,
}

impl Default for Smb1 {
    fn default() -> Self {
        Self::new()
    }
}

impl Smb1 {
    /// A connection to be made.
    pub fn new() -> Self {
        Self {
            now: Now {
                wall: FileTime::ZERO,
                monotonic: Duration::ZERO,
            },
            signing: Signing::default(),
            server: Server::default(),
            uid: 0,
            pid: 0,
            next_mid: 1,
            logon: Logon::None,
            waiting: VecDeque::new(),
            pending: HashMap::new(),
            outgoing: Vec::new(),
            held: VecDeque::new(),
            given_up: HashSet::new(),
            trees: HashMap::new(),
            opens: HashMap::new(),
            next_tree: 1,
            next_open: 1,
            heard: Duration::ZERO,
            leaving: false,
        }
    }

    /// The header of a request.
    fn header(&self, command: u8, tid: u16, mid: u16, extra: Flags2) -> Header {
        Header {
            command,
            flags: Flags::CASE_INSENSITIVE | Flags::CANONICALIZED_PATHS,
            flags2: self.server.flags2 | self.signing.flags2() | extra,
            tid,
            pid_low: self.pid,
            uid: self.uid,
            mid,
            ..Header::default()
        }
    }

    /// Tells what came of a call; what a call that was given up has opened is
    /// closed again.
    fn finish(&mut self, link: &mut Link, id: CallId, result: Result<Answer, Failure>) {
        if !self.given_up.remove(&id) {
            link.done(id, result);
            return;
        }
        match result {
            Ok(Answer::Opened(opened)) | Ok(Answer::ListStarted { opened, .. }) => {
                self.close_quietly(link, opened.open);
            }
            Ok(Answer::Tree(tree)) => self.disconnect_quietly(link, tree.tree),
            _ => {}
        }
    }

    /// Looks at what has come. While a logon is being judged it waits, and until
    /// there is a key it is looked at one by one: a logon makes the key for
    /// what is behind it.
    fn process(&mut self, link: &mut Link) {
        while !self.held.is_empty() && link.closed().is_none() && !self.logon.is_judged() {
            let count = if self.signing.is_active() {
                self.held.len()
            } else {
                1
            };
            let batch: Vec<Bytes> = self.held.drain(..count).collect();
            let policy = std::sync::Arc::clone(&link.config.policy);
            for message in self.signing.receive(batch, &policy) {
                match message {
                    Ok(message) => self.message(link, message),
                    Err(reason) => link.close(CloseReason::Policy(reason)),
                }
                if link.closed().is_some() {
                    return;
                }
            }
        }
    }

    fn message(&mut self, link: &mut Link, message: Admitted) {
        if message.header.flags.contains(Flags::REPLY) {
            self.reply(link, message);
        } else {
            // A server sends one request: the break of an oplock.
            self.oplock_break(link, &message);
        }
    }
}

impl Protocol for Smb1 {
    fn start(&mut self, link: &mut Link, now: Now) {
        self.now = now;
        self.negotiate(link);
    }

    fn receive(&mut self, link: &mut Link, frames: Vec<BytesMut>, now: Now) {
        self.now = now;
        self.heard = now.monotonic;
        if self.logon.is_judged() && self.held.len().saturating_add(frames.len()) > HELD {
            link.close(CloseReason::Violation("messages in the middle of a logon"));
            return;
        }
        self.held.extend(frames.into_iter().map(BytesMut::freeze));
        self.process(link);
    }

    fn submit(&mut self, link: &mut Link, id: CallId, call: Call, now: Now) {
        self.now = now;
        if self.leaving {
            link.done(id, Err(Failure::Closed(CloseReason::LoggedOff)));
            return;
        }
        if let Err(failure) = self.call(link, id, call) {
            self.finish(link, id, Err(failure));
        }
        // A logon may have let through what was held back.
        self.process(link);
    }

    fn cancel(&mut self, link: &mut Link, id: CallId) {
        self.give_up(link, id);
    }

    fn seal(&mut self, link: &mut Link) -> Vec<Sealed> {
        let requests = core::mem::take(&mut self.outgoing);
        let mut sealed = Vec::with_capacity(requests.len());
        for frame in self.signing.seal(requests) {
            match frame {
                Some(frame) => sealed.push(frame),
                None => link.close(CloseReason::Violation("a request that fits no frame")),
            }
        }
        sealed
    }

    fn handle_timeout(&mut self, link: &mut Link, now: Now) {
        self.now = now;
        if self
            .next_timeout(link)
            .is_none_or(|due| due > now.monotonic)
        {
            return;
        }
        if self.oldest().is_some() {
            link.close(CloseReason::Timeout);
        } else {
            // What may take its time is waited for; whether the server is still
            // there is asked meanwhile.
            self.heard = now.monotonic;
            self.echo_quietly(link);
        }
    }

    fn next_timeout(&self, link: &Link) -> Option<Duration> {
        let timeout = link.config.limits.request_timeout;
        let quiet = (!self.pending.is_empty()).then_some(self.heard);
        self.oldest()
            .or(quiet)
            .map(|since| since.saturating_add(timeout))
    }

    fn frame_limit(&self, link: &Link) -> usize {
        // What 17 bits can tell, [MS-CIFS] 2.1: reads of SMB1 are no longer.
        link.config.limits.max_frame.min(0x0002_0000)
    }

    fn transfer(&self, _: &Link) -> Transfer {
        Transfer {
            read: self.server.max_read,
            write: self.max_write(),
            transact: self.server.max_transact,
            whole: 0,
            pipeline: self.server.requests,
        }
    }

    fn abandon(&mut self, link: &mut Link, reason: &CloseReason) {
        let failure = || Failure::Closed(reason.clone());
        self.logon = Logon::None;
        let waiting = core::mem::take(&mut self.waiting);
        let pending = core::mem::take(&mut self.pending);
        let mut then: Vec<_> = pending.into_values().map(|p| (p.place, p.then)).collect();
        // In the order in which they were sent.
        then.sort_unstable_by_key(|(order, _)| *order);
        for then in then
            .into_iter()
            .map(|(_, then)| then)
            .chain(waiting.into_iter().map(|w| w.then))
        {
            then(self, link, Err(failure()));
        }
        self.outgoing.clear();
        self.opens.clear();
        self.trees.clear();
    }
}

impl Smb1 {
    /// Begins a call. What fails at once is told by the caller.
    fn call(&mut self, link: &mut Link, id: CallId, call: Call) -> Result<(), Failure> {
        match call {
            Call::SessionSetup {
                token,
                previous_session: _,
            } => self.session_setup(link, id, &token),
            Call::LogonFinish(key) => self.logon_finish(link, id, &key),
            Call::ClassicLogon(who) => self.classic_logon(link, id, &who),
            Call::Logoff => self.logoff(link, id),
            Call::TreeConnect { share } => self.tree_connect(link, id, &share),
            Call::TreeDisconnect(tree) => self.tree_disconnect(link, id, tree),
            Call::Open { tree, request } => self.open(link, id, tree, &request),
            Call::Close { open, query: _ } => self.close(link, id, open),
            Call::Read {
                open,
                offset,
                length,
            } => self.read(link, id, open, offset, length),
            Call::Write {
                open,
                offset,
                data,
                write_through,
            } => self.write(link, id, open, offset, data, write_through),
            Call::Flush(open) => self.flush(link, id, open),
            Call::Lock { open, ranges, wait } => self.lock(link, id, open, &ranges, wait),
            Call::List {
                open,
                pattern,
                restart,
            } => self.list(link, id, open, pattern, restart),
            Call::ListStart { at, pattern } => self.list_start(link, id, at, pattern),
            Call::QueryInfo {
                open,
                class,
                max,
                input,
            } => self.query_info(link, id, open, class, max, &input),
            Call::QueryPath { at, class, max } => self.query_path(link, id, &at, class, max),
            Call::SetInfo { open, class, data } => self.set_info(link, id, open, class, data),
            Call::SetPath { at, class, data } => self.set_path(link, id, &at, class, data),
            Call::Rename { open, to, replace } => self.rename_open(link, id, open, &to, replace),
            Call::RenamePath { at, to, replace } => {
                self.rename(link, id, at.tree, at.path, to, replace)
            }
            Call::Link { at, to, replace } => self.link(link, id, at, to, replace),
            Call::SetDelete { open, delete } => self.set_delete(link, id, open, delete),
            Call::Remove { at, directory } => self.remove(link, id, &at, directory),
            Call::CreateDirectory { at } => self.create_directory(link, id, &at),
            Call::ReadFile { at, max } => self.read_file(link, id, at, max),
            Call::WriteFile {
                at,
                disposition,
                attributes,
                data,
                last_write,
            } => self.write_file(link, id, at, disposition, attributes, data, last_write),
            Call::QueryFilesystem { open, class, max } => {
                self.query_filesystem(link, id, open, class, max)
            }
            Call::QuerySecurity { open, parts } => self.query_security(link, id, open, parts),
            Call::SetSecurity {
                open,
                parts,
                descriptor,
            } => self.set_security(link, id, open, parts, descriptor),
            Call::Ioctl {
                tree: _,
                open,
                code,
                input,
                max,
            } => self.ioctl(link, id, open, code, input, max),
            Call::Notify {
                open,
                filter,
                recursive,
            } => self.notify(link, id, open, filter, recursive),
            Call::PipeTransact { open, input, max } => {
                self.pipe_transact(link, id, open, input, max)
            }
            Call::AcknowledgeBreak(break_) => self.acknowledge(link, id, &break_),
            Call::Echo => self.echo(link, id),
        }
    }
}
