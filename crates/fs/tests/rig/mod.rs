//! A service over memory with a few words to drive it.
// Each test file uses its own part; a failing call is a failing test.
#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_fs::memory::MemoryBackend;
use countersign_fs::testing::{Mailbox, TestHost};
use countersign_fs::{
    CachingRequest, CallContext, Caller, DirEntry, FileService, FsCall, FsError, FsLimits, FsReply,
    Host, Open, OpenOwner, Outcome, Share, ShareOptions, SmbPath, Ticket,
    call::{DirSink, OpenCall, Opened},
};
use countersign_wire::dtyp::Guid;
use countersign_wire::fscc::{
    AccessMask, CreateOptions, Disposition, FileAttributes, LeaseState, OplockLevel, ShareAccess,
};

pub struct Rig {
    pub host: Arc<TestHost>,
    pub backend: Arc<MemoryBackend>,
    pub service: Arc<FileService>,
    pub share: Arc<Share>,
}

/// A connection: its mailbox and its owner.
pub struct Peer {
    pub rig: Arc<Rig>,
    pub mailbox: Arc<Mailbox>,
    pub caller: Arc<Caller>,
    pub owner: OpenOwner,
    pub client: Guid,
    tickets: AtomicU64,
}

pub fn rig() -> Arc<Rig> {
    rig_with(FsLimits::default(), ShareOptions::default())
}

pub fn rig_with(limits: FsLimits, options: ShareOptions) -> Arc<Rig> {
    let host = TestHost::new();
    let clock = host.clone();
    let backend = MemoryBackend::new(Arc::new(move || clock.now()));
    let service = FileService::with_limits(host.clone(), limits);
    let share = Arc::new(Share {
        name: "test".into(),
        backend: backend.clone(),
        options,
    });
    Arc::new(Rig {
        host,
        backend,
        service,
        share,
    })
}

pub fn caller(n: u8, administrator: bool) -> Arc<Caller> {
    Arc::new(Caller {
        user_sid: vec![
            1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, n, 4, 0, 0,
        ],
        group_sids: vec![countersign_fs::security::sids::EVERYONE.to_vec()],
        administrator,
        name: format!("user{n}"),
    })
}

impl Rig {
    pub fn peer(self: &Arc<Self>, n: u8) -> Peer {
        Peer {
            rig: self.clone(),
            mailbox: Mailbox::new(),
            caller: caller(1, false),
            owner: OpenOwner {
                connection: u64::from(n),
                session: 1,
                tree: 1,
            },
            client: Guid([n; 16]),
            tickets: AtomicU64::new(1),
        }
    }

    pub fn peer_as(self: &Arc<Self>, n: u8, caller: Arc<Caller>) -> Peer {
        Peer {
            caller,
            ..self.peer(n)
        }
    }
}

pub fn path(p: &str) -> SmbPath {
    SmbPath::parse(p).unwrap()
}

pub const RW: AccessMask = AccessMask::from_bits_retain(0x0013_01FF & !0x40);
pub const READ: AccessMask = AccessMask::from_bits_retain(0x0012_0089);
pub const ALL: AccessMask = AccessMask::from_bits_retain(0x001F_01FF);

pub fn open_call(p: &str) -> OpenCall {
    OpenCall {
        path: path(p),
        trailing_separator: false,
        relative_to: None,
        by_id: None,
        access: ALL,
        share_access: ShareAccess::READ | ShareAccess::WRITE | ShareAccess::DELETE,
        disposition: Disposition::OpenIf,
        options: CreateOptions::empty(),
        attributes: FileAttributes::empty(),
        allocation_size: 0,
        eas: vec![],
        security: None,
        caching: CachingRequest::None,
        client: Guid::default(),
        owner: OpenOwner::default(),
        pid: 0,
        deny: None,
        durable: None,
        snapshot: None,
        case_sensitive: false,
        app_instance: None,
    }
}

impl Peer {
    pub fn context(&self) -> CallContext {
        CallContext {
            share: self.rig.share.clone(),
            caller: self.caller.clone(),
            sink: self.mailbox.clone(),
            ticket: Ticket(self.tickets.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// A call that may stay pending: its ticket.
    pub fn start(&self, call: FsCall) -> Result<Result<FsReply, FsError>, Ticket> {
        let context = self.context();
        match self.rig.service.call(&context, call) {
            Outcome::Ready(r) => Ok(r),
            Outcome::Pending => Err(context.ticket),
        }
    }

    /// A call, with what the pool does for it.
    pub fn call(&self, call: FsCall) -> Result<FsReply, FsError> {
        match self.start(call) {
            Ok(r) => r,
            Err(ticket) => {
                self.rig.host.run_jobs();
                self.mailbox.reply(ticket).expect("no answer")
            }
        }
    }

    pub fn mine(&self, call: OpenCall) -> FsCall {
        FsCall::Open(Box::new(OpenCall {
            client: self.client,
            owner: self.owner,
            ..call
        }))
    }

    pub fn open_with(&self, p: &str, f: impl FnOnce(&mut OpenCall)) -> Result<Opened, FsError> {
        let mut call = open_call(p);
        f(&mut call);
        match self.call(self.mine(call))? {
            FsReply::Opened(o) => Ok(*o),
            other => panic!("{other:?}"),
        }
    }

    pub fn start_open(
        &self,
        p: &str,
        f: impl FnOnce(&mut OpenCall),
    ) -> Result<Result<FsReply, FsError>, Ticket> {
        let mut call = open_call(p);
        f(&mut call);
        self.start(self.mine(call))
    }

    pub fn open(&self, p: &str) -> Arc<Open> {
        self.open_with(p, |_| {}).unwrap().open
    }

    pub fn mkdir(&self, p: &str) -> Arc<Open> {
        self.open_with(p, |c| c.options |= CreateOptions::DIRECTORY_FILE)
            .unwrap()
            .open
    }

    pub fn close(&self, open: &Arc<Open>) {
        self.call(FsCall::Close {
            open: open.clone(),
            last_write: None,
        })
        .unwrap();
    }

    pub fn write(&self, open: &Arc<Open>, offset: u64, data: &[u8]) -> Result<u64, FsError> {
        match self.call(FsCall::Write {
            open: open.clone(),
            offset,
            data: bytes::Bytes::copy_from_slice(data),
            write_through: false,
            lock_owner: 0,
        })? {
            FsReply::Written(n) => Ok(n),
            other => panic!("{other:?}"),
        }
    }

    pub fn read_call(open: &Arc<Open>, offset: u64, length: u32) -> FsCall {
        FsCall::Read {
            open: open.clone(),
            offset,
            length,
            minimum: 0,
            headroom: 16,
            lock_owner: 0,
            execute: false,
        }
    }

    pub fn read(&self, open: &Arc<Open>, offset: u64, length: u32) -> Result<Vec<u8>, FsError> {
        match self.call(Self::read_call(open, offset, length))? {
            FsReply::Data { buffer, headroom } => Ok(buffer[headroom..].to_vec()),
            other => panic!("{other:?}"),
        }
    }

    pub fn stat(&self, open: &Arc<Open>) -> countersign_fs::Metadata {
        match self.call(FsCall::Stat { open: open.clone() }).unwrap() {
            FsReply::Metadata(m) => *m,
            other => panic!("{other:?}"),
        }
    }

    pub fn delete(&self, open: &Arc<Open>, delete: bool) -> Result<(), FsError> {
        self.call(FsCall::SetDisposition {
            open: open.clone(),
            delete,
            posix: false,
            ignore_readonly: false,
        })
        .map(|_| ())
    }

    pub fn rename(&self, open: &Arc<Open>, to: &str, replace: bool) -> Result<(), FsError> {
        self.call(FsCall::Rename {
            open: open.clone(),
            to: path(to),
            replace,
        })
        .map(|_| ())
    }

    pub fn list(
        &self,
        open: &Arc<Open>,
        pattern: &str,
        f: impl FnOnce(&mut FsCall),
    ) -> Result<Vec<String>, FsError> {
        let mut call = FsCall::List {
            open: open.clone(),
            pattern: pattern.into(),
            restart: false,
            single: false,
            resume_after: None,
            attributes: None,
            sink: Box::new(Names {
                names: vec![],
                room: usize::MAX,
            }),
        };
        f(&mut call);
        match self.call(call)? {
            FsReply::Listing { sink, .. } => Ok(sink.into_any().downcast::<Names>().unwrap().names),
            other => panic!("{other:?}"),
        }
    }
}

/// Keeps names, as many as there is room for.
#[derive(Debug)]
pub struct Names {
    pub names: Vec<String>,
    pub room: usize,
}

impl DirSink for Names {
    fn push(&mut self, entry: &DirEntry) -> bool {
        if self.names.len() >= self.room {
            return false;
        }
        self.names.push(entry.name.clone());
        true
    }
    fn into_any(self: Box<Self>) -> Box<dyn core::any::Any + Send> {
        self
    }
}

pub fn lease(key: u8, state: LeaseState) -> CachingRequest {
    CachingRequest::Lease(countersign_fs::LeaseRequest {
        key: [key; 16],
        state,
        parent: None,
        epoch: 0x4711,
        version: 2,
    })
}

pub fn batch() -> CachingRequest {
    CachingRequest::Oplock(OplockLevel::Batch)
}
