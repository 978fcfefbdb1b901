//! Sessions, tree connects and opens, [MS-SMB2] 3.3.1.8 to 3.3.1.10.
//!
//! A session may have channels on several connections (3.x), so what belongs
//! to it is shared and locked; the locks are held for look-ups only.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_auth::Identity;
use countersign_fs::{Caller, Event, Open, OpenOwner, Share};
use countersign_policy::{Exception, Reason, SessionFacts, SignedSoFar};
use countersign_wire::Guid;
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb2::FileId;
use parking_lot::Mutex;

use crate::config::ShareConfig;
use crate::connection::{Mailbox, Signal};
use crate::gate::smb2::SessionSecrets;
use crate::pipes::PipeOpen;
use crate::registry::SessionRecord;
use crate::server::Server;

/// Session.State, [MS-SMB2] 3.3.1.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The first logon is not finished.
    InProgress,
    /// Usable.
    Valid,
    /// The credentials have run out; re-authentication makes it valid again.
    Expired,
    /// Logged off or ended.
    Ended,
}

/// A session, shared by its channels.
pub struct Session {
    /// SessionId.
    pub id: u64,
    /// The connection that made it: [`OpenOwner::connection`] of all its opens.
    pub home: u64,
    /// Dialect of its connections.
    pub dialect: u16,
    /// ClientGuid of its connections.
    pub client: Guid,
    /// Its entry for administrators, once it is set up.
    pub record: OnceLock<Arc<SessionRecord>>,
    pub(crate) secrets: OnceLock<Arc<SessionSecrets>>,
    login: Mutex<Login>,
    trees: Mutex<HashMap<u32, Arc<TreeConnect>>>,
    opens: Mutex<HashMap<u64, Arc<FileOpen>>>,
    next_tree: AtomicU32,
    next_open: AtomicU64,
    channels: Mutex<Vec<(u64, Arc<dyn Mailbox>)>>,
}

struct Login {
    state: SessionState,
    identity: Option<Arc<Identity>>,
    caller: Option<Arc<Caller>>,
    facts: Option<SessionFacts>,
    exceptions: Vec<Arc<Exception>>,
    /// When the credentials run out, on the monotonic clock.
    expires: Option<Duration>,
}

impl Session {
    pub(crate) fn new(id: u64, home: u64, dialect: u16, client: Guid) -> Arc<Self> {
        Arc::new(Self {
            id,
            home,
            dialect,
            client,
            record: OnceLock::new(),
            secrets: OnceLock::new(),
            login: Mutex::new(Login {
                state: SessionState::InProgress,
                identity: None,
                caller: None,
                facts: None,
                exceptions: Vec::new(),
                expires: None,
            }),
            trees: Mutex::new(HashMap::new()),
            opens: Mutex::new(HashMap::new()),
            next_tree: AtomicU32::new(1),
            next_open: AtomicU64::new(1),
            channels: Mutex::new(Vec::new()),
        })
    }

    /// Session.State.
    pub fn state(&self) -> SessionState {
        self.login.lock().state
    }

    /// The credentials have run out: only what ends things works until the
    /// client has authenticated again.
    pub(crate) fn expire(&self) {
        let mut login = self.login.lock();
        if login.state == SessionState::Valid {
            login.state = SessionState::Expired;
        }
    }

    /// [MS-SMB2] 3.3.2.3: looks at the clock; a ticket's end is the session's,
    /// until the client has authenticated again.
    pub(crate) fn look_at_clock(&self, monotonic: Duration) {
        let mut login = self.login.lock();
        if login.state == SessionState::Valid && login.expires.is_some_and(|at| at <= monotonic) {
            login.state = SessionState::Expired;
        }
    }

    /// Who is logged on; `None` before the first logon is finished.
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.login.lock().identity.clone()
    }

    /// The identity as the file service wants it.
    pub fn caller(&self) -> Option<Arc<Caller>> {
        self.login.lock().caller.clone()
    }

    /// What was agreed about protection.
    pub fn facts(&self) -> Option<SessionFacts> {
        self.login.lock().facts
    }

    pub(crate) fn set_login(
        &self,
        identity: Arc<Identity>,
        facts: SessionFacts,
        expires: Option<Duration>,
    ) {
        let caller = Arc::new(Caller {
            user_sid: identity.user_sid.as_bytes().to_vec(),
            group_sids: identity
                .group_sids
                .iter()
                .map(|s| s.as_bytes().to_vec())
                .collect(),
            administrator: identity.administrator,
            name: identity.name.clone(),
        });
        let mut login = self.login.lock();
        login.identity = Some(identity);
        login.caller = Some(caller);
        login.facts = Some(facts);
        login.expires = expires;
        if login.state != SessionState::Ended {
            login.state = SessionState::Valid;
        }
    }

    /// The exceptions that let it stay unsigned.
    pub(crate) fn exceptions(&self) -> Vec<Arc<Exception>> {
        self.login.lock().exceptions.clone()
    }

    /// Pins them; none for a session that needs none.
    pub(crate) fn set_exceptions(&self, exceptions: Vec<Arc<Exception>>) {
        self.login.lock().exceptions = exceptions;
    }

    /// Whether this exception lets it stay unsigned.
    pub(crate) fn lives_by(&self, exception: &Exception) -> bool {
        let login = self.login.lock();
        login.exceptions.iter().any(|one| **one == *exception)
    }

    /// A session under exceptions of which an ordinary request came protected needs none:
    /// from here on everything must. Whoever can slip in a request in clear before that
    /// has no part in what the client opens behind its signature.
    pub(crate) fn signs_after_all(&self) {
        {
            let mut login = self.login.lock();
            if login.exceptions.is_empty() {
                return;
            }
            login.exceptions.clear();
            if let Some(facts) = &mut login.facts {
                facts.required = true;
            }
        }
        if let Some(record) = self.record.get() {
            record.update(|facts| {
                facts.signing_required = true;
                facts.reason = Reason::PolicyRequires.code().to_owned();
                facts.abilities.exceptions.clear();
            });
        }
    }

    /// Signing is insisted on from here on.
    pub(crate) fn tighten(&self) {
        if let Some(facts) = &mut self.login.lock().facts {
            facts.required = true;
        }
    }

    /// Notes whether an ordinary request was protected.
    pub(crate) fn saw(&self, signed: bool, encrypted: bool) {
        if let Some(record) = self.record.get() {
            record.saw(signed, encrypted);
        }
        let protected = signed || encrypted;
        if let Some(facts) = &mut self.login.lock().facts {
            facts.signed_so_far = match (facts.signed_so_far, protected) {
                (SignedSoFar::NotAlways, _) | (_, false) => SignedSoFar::NotAlways,
                (_, true) => SignedSoFar::Always,
            };
        }
    }

    /// The owner that all opens of the session have (of one tree, or with 0 of any).
    pub fn owner(&self, tree: u32) -> OpenOwner {
        OpenOwner {
            connection: self.home,
            session: self.id,
            tree: u64::from(tree),
        }
    }

    // --- tree connects

    pub(crate) fn add_tree(
        &self,
        limit: usize,
        make: impl FnOnce(u32) -> TreeConnect,
    ) -> Option<Arc<TreeConnect>> {
        let mut trees = self.trees.lock();
        if trees.len() >= limit {
            return None;
        }
        let id = loop {
            let id = self.next_tree.fetch_add(1, Ordering::Relaxed);
            if id != 0 && id != u32::MAX && !trees.contains_key(&id) {
                break id;
            }
        };
        let tree = Arc::new(make(id));
        trees.insert(id, Arc::clone(&tree));
        Some(tree)
    }

    /// The tree connect with this TreeId.
    pub fn tree(&self, id: u32) -> Option<Arc<TreeConnect>> {
        self.trees.lock().get(&id).cloned()
    }

    pub(crate) fn remove_tree(&self, id: u32) -> Option<Arc<TreeConnect>> {
        let tree = self.trees.lock().remove(&id);
        if tree.is_some() {
            self.opens.lock().retain(|_, open| {
                let keep = open.tree != id;
                if !keep {
                    open.gone();
                }
                keep
            });
            self.count_opens();
        }
        tree
    }

    /// Whether this connection speaks for it: its first channel that is alive.
    pub(crate) fn is_led_by(&self, connection: u64) -> bool {
        self.channels
            .lock()
            .first()
            .is_some_and(|(first, _)| *first == connection)
    }

    /// Number of tree connects.
    pub fn tree_count(&self) -> usize {
        self.trees.lock().len()
    }

    /// Names of the connected shares.
    pub fn tree_names(&self) -> Vec<String> {
        self.trees.lock().values().map(|t| t.name.clone()).collect()
    }

    // --- opens

    /// Enters an open; `None` when `limit` is reached. `persistent` is the
    /// file service's number of the open (or one of its own for a pipe).
    pub fn add_open(
        &self,
        tree: u32,
        persistent: u64,
        kind: OpenKind,
        limit: usize,
    ) -> Option<Arc<FileOpen>> {
        let mut opens = self.opens.lock();
        if opens.len() >= limit {
            return None;
        }
        let volatile = self.next_open.fetch_add(1, Ordering::Relaxed);
        let id = FileId {
            persistent,
            volatile,
        };
        let open = Arc::new(FileOpen {
            id,
            tree,
            kind,
            state: Mutex::new(OpenState::default()),
        });
        opens.insert(volatile, Arc::clone(&open));
        if let Some(record) = self.record.get() {
            record.opens.store(opens.len(), Ordering::Relaxed);
        }
        Some(open)
    }

    /// The open with this FileId; both halves must be right.
    pub fn open(&self, id: FileId) -> Option<Arc<FileOpen>> {
        self.opens
            .lock()
            .get(&id.volatile)
            .filter(|o| o.id == id)
            .cloned()
    }

    /// Takes an open out of the table.
    pub fn remove_open(&self, id: FileId) -> Option<Arc<FileOpen>> {
        let mut opens = self.opens.lock();
        if opens.get(&id.volatile).is_none_or(|o| o.id != id) {
            return None;
        }
        let open = opens.remove(&id.volatile);
        if let Some(open) = &open {
            open.gone();
        }
        if let Some(record) = self.record.get() {
            record.opens.store(opens.len(), Ordering::Relaxed);
        }
        open
    }

    /// The FileId under which the file service's open is known here.
    pub fn file_id_of(&self, open: &Arc<Open>) -> Option<FileId> {
        self.opens
            .lock()
            .values()
            .find(|o| matches!(&o.kind, OpenKind::File(f) if Arc::ptr_eq(f, open)))
            .map(|o| o.id)
    }

    /// Number of opens.
    pub fn open_count(&self) -> usize {
        self.opens.lock().len()
    }

    fn count_opens(&self) {
        if let Some(record) = self.record.get() {
            record
                .opens
                .store(self.opens.lock().len(), Ordering::Relaxed);
        }
    }

    // --- channels

    pub(crate) fn add_channel(&self, connection: u64, mailbox: Arc<dyn Mailbox>) {
        self.channels.lock().push((connection, mailbox));
    }

    /// Removes a channel; gives whether others are left.
    pub(crate) fn remove_channel(&self, connection: u64) -> bool {
        let mut channels = self.channels.lock();
        channels.retain(|(c, _)| *c != connection);
        !channels.is_empty()
    }

    pub(crate) fn channel_count(&self) -> usize {
        self.channels.lock().len()
    }

    /// A channel that is alive.
    pub(crate) fn any_channel(&self) -> Option<Arc<dyn Mailbox>> {
        self.channels.lock().first().map(|(_, m)| Arc::clone(m))
    }

    /// Ends the session, [MS-SMB2] 3.3.7.1 and 3.3.5.6: its trees and opens go
    /// (durable ones stay for reconnection when `disconnected`), other
    /// connections that have a channel of it are told.
    pub(crate) fn end(
        &self,
        server: &Server,
        disconnected: bool,
        except: u64,
        reason: &'static str,
    ) {
        {
            let mut login = self.login.lock();
            if login.state == SessionState::Ended {
                return;
            }
            login.state = SessionState::Ended;
        }
        server.sessions.remove(self.id);
        server.registry.remove(self.id);
        self.trees.lock().clear();
        for (_, open) in self.opens.lock().drain() {
            open.gone();
        }
        server.files.close_owned(self.owner(0), disconnected);
        for (connection, mailbox) in self.channels.lock().drain(..) {
            if connection != except {
                mailbox.post(Signal::EndSession {
                    session: self.id,
                    reason,
                });
            }
        }
    }
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Session({:#x})", self.id)
    }
}

/// What a tree connect leads to.
#[derive(Clone)]
pub enum ShareTarget {
    /// A folder.
    Disk {
        /// As configured when it was connected.
        config: Box<ShareConfig>,
        /// The file service's share, with the options that hold for this user.
        share: Arc<Share>,
    },
    /// IPC$.
    Pipe,
}

/// A tree connect, [MS-SMB2] 3.3.1.9.
pub struct TreeConnect {
    /// TreeId.
    pub id: u32,
    /// The share's name as configured.
    pub name: String,
    /// Where it leads.
    pub target: ShareTarget,
    /// MaximalAccess.
    pub maximal_access: AccessMask,
    /// Requests must be encrypted.
    pub encrypt: bool,
    /// Requests must be signed or encrypted: the session is there by an exception that does
    /// not name this share.
    pub protect: bool,
    /// The exception by which requests may come in clear.
    pub exception: Option<Arc<Exception>>,
    /// One did.
    pub exception_used: AtomicBool,
    /// The share as requests in clear have it under the exception, where that differs.
    pub limited: Option<Arc<Share>>,
    /// It was disconnected; late answers of its requests still go out.
    pub gone: AtomicBool,
}

impl TreeConnect {
    /// The file service's share; `None` for IPC$.
    pub fn share(&self) -> Option<&Arc<Share>> {
        match &self.target {
            ShareTarget::Disk { share, .. } => Some(share),
            ShareTarget::Pipe => None,
        }
    }

    /// Whether it is IPC$.
    pub fn is_pipe(&self) -> bool {
        matches!(self.target, ShareTarget::Pipe)
    }
}

/// What an open is of.
pub enum OpenKind {
    /// A file, folder or stream.
    File(Arc<Open>),
    /// A named pipe of IPC$.
    Pipe(Arc<PipeOpen>),
}

/// An open of a session, [MS-SMB2] 3.3.1.10.
pub struct FileOpen {
    /// FileId.
    pub id: FileId,
    /// TreeId it was opened through.
    pub tree: u32,
    /// What it is of.
    pub kind: OpenKind,
    /// What requests on it leave behind.
    pub state: Mutex<OpenState>,
}

impl FileOpen {
    /// The file service's open; `None` for pipes.
    pub fn file(&self) -> Option<Arc<Open>> {
        match &self.kind {
            OpenKind::File(open) => Some(Arc::clone(open)),
            OpenKind::Pipe(_) => None,
        }
    }

    /// It is no longer in its session: what waits on its pipe ends.
    fn gone(&self) {
        if let OpenKind::Pipe(pipe) = &self.kind {
            pipe.close();
        }
    }

    /// The pipe; `None` for files.
    pub fn pipe(&self) -> Option<Arc<PipeOpen>> {
        match &self.kind {
            OpenKind::Pipe(pipe) => Some(Arc::clone(pipe)),
            OpenKind::File(_) => None,
        }
    }
}

impl OpenState {
    /// [MS-SMB2] 3.3.5.2.10: a request comes. Gives whether it may change
    /// anything: not when it is from before a channel failed, nor when it is
    /// replayed while one from before is still carried out.
    pub(crate) fn request_begins(&mut self, sequence: u16, replay: bool) -> bool {
        let ahead = sequence.wrapping_sub(self.channel_sequence);
        if ahead > 0x7FFF {
            self.outstanding_before = self.outstanding_before.saturating_add(1);
            return false;
        }
        if ahead != 0 {
            self.outstanding_before = self.outstanding_before.saturating_add(self.outstanding);
            self.outstanding = 0;
            self.channel_sequence = sequence;
        }
        self.outstanding = self.outstanding.saturating_add(1);
        !(replay && self.outstanding_before > 0)
    }

    /// It was answered.
    pub(crate) fn request_ends(&mut self, sequence: u16) {
        if sequence == self.channel_sequence {
            self.outstanding = self.outstanding.saturating_sub(1);
        } else {
            self.outstanding_before = self.outstanding_before.saturating_sub(1);
        }
    }
}

/// What requests on an open leave behind.
#[derive(Debug, Default)]
pub struct OpenState {
    /// ChannelSequence last seen, [MS-SMB2] 3.3.5.2.10.
    pub channel_sequence: u16,
    /// OutstandingRequestCount: requests of this sequence that are carried out.
    pub(crate) outstanding: u32,
    /// OutstandingPreRequestCount: those of sequences before.
    pub(crate) outstanding_before: u32,
    /// LockSequence values by bucket, [MS-SMB2] 3.3.5.14.
    pub lock_sequence: HashMap<u32, u8>,
    /// Kept over a disconnect (durable, resilient or persistent).
    pub durable: bool,
    /// Resilient, [MS-SMB2] 3.3.5.15.9.
    pub resilient: bool,
    /// A request used it: a CREATE sent again is no replay any more.
    pub used: bool,
}

/// All SMB2 sessions of a server by SessionId, finished or not: GlobalSessionTable.
#[derive(Default)]
pub(crate) struct GlobalSessions {
    sessions: Mutex<HashMap<u64, Arc<Session>>>,
}

impl GlobalSessions {
    pub(crate) fn insert(&self, session: &Arc<Session>) {
        self.sessions.lock().insert(session.id, Arc::clone(session));
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Session>> {
        self.sessions.lock().get(&id).cloned()
    }

    pub(crate) fn remove(&self, id: u64) {
        self.sessions.lock().remove(&id);
    }

    /// A break whose connection is gone goes to another channel of its session.
    pub(crate) fn redirect(&self, event: Event) {
        let session = match &event {
            Event::OplockBreak { open, .. } => self.get(open.owner().session),
            Event::LeaseBreak { client, .. } => self
                .sessions
                .lock()
                .values()
                .find(|s| s.client == *client)
                .cloned(),
            Event::Reply { .. } | Event::Closed { .. } => None,
        };
        if let Some(mailbox) = session.and_then(|s| s.any_channel()) {
            mailbox.post(Signal::Files(event));
        }
    }
}
