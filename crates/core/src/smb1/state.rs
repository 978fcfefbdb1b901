//! What an SMB1 connection has agreed and holds, [MS-CIFS] 3.3.1.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_auth::{Acceptor, Identity};
use countersign_fs::{Caller, EventSink, FsError, FsReply, Open, OpenOwner, Share, Ticket};
use countersign_policy::{Exception, SessionFacts};
use countersign_wire::smb1::transaction::{Assembly, Primary};
use countersign_wire::smb1::{Capabilities, Header, TimeZone};
use parking_lot::Mutex;

use super::pipe::PipeHandle;
use crate::connection::{Mailbox, Now};
use crate::gate::smb1::Signing;
use crate::registry::SessionRecord;
use crate::server::Server;

/// What the tasks of a connection share. One thread of control uses it at a
/// time; the lock is there because tasks move with their connection.
pub(crate) struct Shared {
    pub(crate) server: Arc<Server>,
    pub(crate) sink: Arc<dyn EventSink>,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    /// Number of the connection.
    pub(crate) connection: u64,
    /// Address of the peer.
    pub(crate) address: std::net::SocketAddr,
    pub(crate) state: Mutex<State>,
}

impl Shared {
    pub(crate) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// Connection state.
pub(crate) struct State {
    pub(crate) now: Now,
    pub(crate) signing: Signing,
    pub(crate) negotiated: Option<Negotiated>,
    /// NEGOTIATE announced that this server can sign.
    pub(crate) announced: bool,
    /// The client offered SMB2 too.
    pub(crate) offered_smb2: bool,
    pub(crate) sessions: HashMap<u16, Session>,
    /// Logons under way, by the UID given to them.
    pub(crate) setups: HashMap<u16, Setup>,
    pub(crate) trees: HashMap<u16, Tree>,
    pub(crate) files: HashMap<u16, File>,
    pub(crate) searches: HashMap<u16, Search>,
    /// Core searches (SEARCH, FIND), by the number in their resume keys.
    pub(crate) core_searches: HashMap<u16, Search>,
    pub(crate) transactions: HashMap<TransactionKey, Incomplete>,
    uids: Ids,
    tids: Ids,
    fids: Ids,
    sids: Ids,
    core_sids: Ids,
    tickets: u64,
    /// Late answers that their tasks have not taken yet.
    pub(crate) answers: HashMap<Ticket, Result<FsReply, FsError>>,
    /// Which task waits for which ticket.
    pub(crate) waiting: HashMap<Ticket, u64>,
    /// Which task sleeps until when.
    pub(crate) sleeping: HashMap<u64, Duration>,
    /// Locks that wait, for CANCEL_LOCK.
    pub(crate) pending_locks: Vec<PendingLock>,
    /// A session was set up once.
    pub(crate) session_was_set_up: bool,
    /// A search was used so many times; the longest unused goes first.
    pub(crate) uses: u64,
    /// The connection must end, and why.
    pub(crate) end: Option<&'static str>,
}

/// Gives 16-bit identifiers, never 0 nor 0xFFFF, not reusing one soon.
#[derive(Debug, Default)]
pub(crate) struct Ids(u16);

impl Ids {
    fn next(&mut self, taken: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..=u16::MAX {
            self.0 = match self.0.wrapping_add(1) {
                0 | u16::MAX => 1,
                n => n,
            };
            if !taken(self.0) {
                return Some(self.0);
            }
        }
        None
    }
}

impl State {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            now,
            signing: Signing::default(),
            negotiated: None,
            announced: false,
            offered_smb2: false,
            sessions: HashMap::new(),
            setups: HashMap::new(),
            trees: HashMap::new(),
            files: HashMap::new(),
            searches: HashMap::new(),
            core_searches: HashMap::new(),
            transactions: HashMap::new(),
            uids: Ids(99),
            tids: Ids::default(),
            fids: Ids::default(),
            sids: Ids::default(),
            core_sids: Ids::default(),
            tickets: 0,
            answers: HashMap::new(),
            waiting: HashMap::new(),
            sleeping: HashMap::new(),
            pending_locks: Vec::new(),
            session_was_set_up: false,
            uses: 0,
            end: None,
        }
    }

    /// A ticket never used before on this connection.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets = self.tickets.wrapping_add(1);
        Ticket(self.tickets)
    }

    pub(crate) fn new_uid(&mut self) -> Option<u16> {
        let (sessions, setups) = (&self.sessions, &self.setups);
        self.uids
            .next(|id| sessions.contains_key(&id) || setups.contains_key(&id))
    }

    pub(crate) fn new_tid(&mut self) -> Option<u16> {
        let trees = &self.trees;
        self.tids.next(|id| trees.contains_key(&id))
    }

    pub(crate) fn new_fid(&mut self) -> Option<u16> {
        let files = &self.files;
        self.fids.next(|id| files.contains_key(&id))
    }

    pub(crate) fn new_sid(&mut self) -> Option<u16> {
        let searches = &self.searches;
        self.sids.next(|id| searches.contains_key(&id))
    }

    pub(crate) fn new_core_sid(&mut self) -> Option<u16> {
        let searches = &self.core_searches;
        self.core_sids.next(|id| searches.contains_key(&id))
    }

    /// Takes the file of a FID out; a pipe is closed by it.
    pub(crate) fn remove_file(&mut self, fid: u16) -> Option<File> {
        let file = self.files.remove(&fid);
        if let Some(FileKind::Pipe(pipe)) = file.as_ref().map(|f| &f.kind) {
            pipe.close();
        }
        self.count_opens();
        file
    }

    /// Forgets the files, searches and transactions for which `gone` says yes.
    pub(crate) fn forget(&mut self, gone: impl Fn(u16, u16) -> bool) {
        self.forget_files(|f| gone(f.uid, f.tid));
        self.searches.retain(|_, s| !gone(s.uid, s.tid));
        self.core_searches.retain(|_, s| !gone(s.uid, s.tid));
        self.transactions.retain(|k, _| !gone(k.uid, k.tid));
        self.count_opens();
    }

    /// Forgets files, closing pipes. The file service closes its opens by owner.
    pub(crate) fn forget_files(&mut self, gone: impl Fn(&File) -> bool) {
        self.files.retain(|_, file| {
            let goes = gone(file);
            if let (true, FileKind::Pipe(pipe)) = (goes, &file.kind) {
                pipe.close();
            }
            !goes
        });
    }

    /// The pipes that are open.
    pub(crate) fn pipes(&self) -> Vec<Arc<PipeHandle>> {
        let pipe = |f: &File| match &f.kind {
            FileKind::Pipe(pipe) => Some(Arc::clone(pipe)),
            FileKind::File(_) => None,
        };
        self.files.values().filter_map(pipe).collect()
    }

    /// Tells the registry how many opens each session has.
    pub(crate) fn count_opens(&self) {
        for (uid, session) in &self.sessions {
            let n = self.files.values().filter(|f| f.uid == *uid).count();
            session
                .record
                .opens
                .store(n, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// The FID of an open of the file service.
    pub(crate) fn fid_of(&self, open: &Arc<Open>) -> Option<(u16, u16)> {
        self.files.iter().find_map(|(fid, file)| match &file.kind {
            FileKind::File(o) if Arc::ptr_eq(o, open) => Some((*fid, file.tid)),
            _ => None,
        })
    }

    /// Bytes held by transactions that are not complete.
    pub(crate) fn transaction_bytes(&self) -> usize {
        self.transactions
            .values()
            .fold(0, |n, t| n.saturating_add(t.assembly.size()))
    }
}

/// What NEGOTIATE agreed; the dialect is NT LM 0.12.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Negotiated {
    /// With extended security.
    pub(crate) extended: bool,
    /// The challenge of logons without.
    pub(crate) challenge: [u8; 8],
    /// Offset of local time that was told to the client.
    pub(crate) zone: TimeZone,
}

/// A session: a UID, [MS-CIFS] 3.3.1.5.
#[derive(Clone)]
pub(crate) struct Session {
    /// Its number in the registry.
    pub(crate) number: u64,
    pub(crate) record: Arc<SessionRecord>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) facts: SessionFacts,
    /// The exceptions that let it stay unsigned.
    pub(crate) exceptions: Vec<Arc<Exception>>,
    /// When the credentials run out, on the monotonic clock.
    pub(crate) expires: Option<Duration>,
    /// Capabilities the client sent.
    pub(crate) capabilities: Capabilities,
    /// Largest message the client takes.
    pub(crate) max_buffer: u16,
}

/// A logon with extended security that is not finished.
pub(crate) struct Setup {
    /// `None` while a step is under way.
    pub(crate) acceptor: Option<Box<Acceptor>>,
}

/// A tree connect, [MS-CIFS] 3.3.1.6.
#[derive(Clone)]
pub(crate) struct Tree {
    /// Who connected.
    pub(crate) uid: u16,
    /// Name of the share.
    pub(crate) name: String,
    /// The file service's share; `None` for IPC$.
    pub(crate) share: Option<Arc<Share>>,
    /// MaximalShareAccessRights.
    pub(crate) access: u32,
    /// The exception by which requests may come in clear.
    pub(crate) exception: Option<Arc<Exception>>,
}

/// What a FID stands for, [MS-CIFS] 3.3.1.7.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) uid: u16,
    pub(crate) tid: u16,
    pub(crate) pid: u32,
    pub(crate) kind: FileKind,
    /// Position of SEEK.
    pub(crate) position: u64,
    /// FilePositionInformation as it was set.
    pub(crate) position_information: u64,
    /// First byte of the lock that failed last.
    pub(crate) failed_lock: Option<u64>,
}

/// A file or a pipe.
#[derive(Clone)]
pub(crate) enum FileKind {
    /// An open of the file service.
    File(Arc<Open>),
    /// A named pipe.
    Pipe(Arc<PipeHandle>),
}

/// A search in progress.
#[derive(Clone)]
pub(crate) struct Search {
    pub(crate) uid: u16,
    pub(crate) tid: u16,
    pub(crate) pid: u32,
    /// The folder.
    pub(crate) open: Arc<Open>,
    /// The pattern it goes on with.
    pub(crate) pattern: String,
    /// Attributes asked for.
    pub(crate) attributes: u16,
    /// When it was used last.
    pub(crate) used: u64,
    /// Names given so far by number, for resume keys (core searches).
    pub(crate) given: Vec<String>,
    /// The last name given (FIND_NEXT2 with CONTINUE_FROM_LAST).
    pub(crate) last: Option<String>,
}

/// A LOCKING_ANDX that waits.
pub(crate) struct PendingLock {
    pub(crate) task: u64,
    pub(crate) fid: u16,
    pub(crate) kind: countersign_wire::smb1::files::LockType,
    pub(crate) ranges: Vec<countersign_wire::smb1::files::LockingRange>,
}

/// What names a transaction that is being put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TransactionKey {
    pub(crate) uid: u16,
    pub(crate) tid: u16,
    pub(crate) pid: u32,
    pub(crate) mid: u16,
    pub(crate) command: u8,
}

impl TransactionKey {
    pub(crate) fn of(header: &Header, command: u8) -> Self {
        Self {
            uid: header.uid,
            tid: header.tid,
            pid: header.pid(),
            mid: header.mid,
            command,
        }
    }
}

/// A transaction that waits for secondaries.
pub(crate) struct Incomplete {
    pub(crate) head: Head,
    pub(crate) assembly: Assembly,
}

/// What a primary says beside its parameters and data.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) kind: countersign_wire::smb1::transaction::Kind,
    pub(crate) function: u16,
    pub(crate) flags: u16,
    pub(crate) max_parameters: u32,
    pub(crate) max_data: u32,
    pub(crate) setup: Vec<u8>,
    pub(crate) name: String,
    /// Flags2 of the primary: secondaries may differ.
    pub(crate) header: Header,
}

impl Head {
    pub(crate) fn of(primary: &Primary<'_>, header: Header) -> Self {
        Self {
            kind: primary.kind,
            function: primary.function,
            flags: primary.flags,
            max_parameters: primary.max_parameters,
            max_data: primary.max_data,
            setup: primary.setup.to_vec(),
            name: primary.name.clone(),
            header,
        }
    }
}

impl State {
    /// The owner of opens made through a tree by a session.
    pub(crate) fn owner(&self, connection: u64, uid: u16, tid: u16) -> OpenOwner {
        OpenOwner {
            connection,
            session: self.sessions.get(&uid).map_or(0, |s| s.number),
            tree: u64::from(tid),
        }
    }
}
