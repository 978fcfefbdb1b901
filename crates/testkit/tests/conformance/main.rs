//! What Microsoft's protocol test suite asserts of every server, and what the
//! specification says where they differ: one test for an assertion, over the
//! real engine in memory.
//!
//! Where a test deviates from the suite because the specification says
//! otherwise, it says so.

use std::sync::Arc;

use countersign_core::ServerConfig;
use countersign_fs::Backend;
use countersign_localfs::LocalFs;
use countersign_policy::{Setting, Settings, Value};
use countersign_testkit::memory::{MemoryServer, MemoryWire, config};
use countersign_testkit::smb2::*;
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

mod credits;
mod encryption;
mod exceptions;
mod files;
mod logon;
mod negotiate;
mod session;
mod signing;
mod smb1;
mod smoke;
mod trans2;
mod tree;
mod validate;

/// A server with a folder of its own.
struct Subject {
    server: MemoryServer,
    _dir: tempfile::TempDir,
}

impl Subject {
    fn new(settings: Settings) -> Self {
        Self::with(settings, |_| {})
    }

    fn with(settings: Settings, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let backend: Arc<dyn Backend> = LocalFs::open(dir.path(), Default::default()).unwrap();
        let mut config = config(settings, &backend);
        change(&mut config);
        Self {
            server: MemoryServer::new(config),
            _dir: dir,
        }
    }

    fn connect(&self) -> Client<MemoryWire> {
        Client::new(self.server.connect())
    }

    /// Negotiated with a dialect.
    fn dialect(&self, dialect: u16) -> Client<MemoryWire> {
        let mut c = self.connect();
        let reply = c.negotiate(Offer::dialect(dialect)).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        c
    }

    /// Logged on as alice.
    fn alice(&self, dialect: u16) -> Client<MemoryWire> {
        let mut c = self.dialect(dialect);
        let reply = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        c
    }
}

const ALL: [u16; 5] = [0x202, 0x210, 0x300, 0x302, 0x311];

fn optional() -> Settings {
    Settings::default()
}

fn required() -> Settings {
    Settings::default().with(Setting::ServerAlways, Value::Enabled)
}

fn echo(c: &mut Client<MemoryWire>) -> Option<Reply> {
    c.call(Command::ECHO, |w| EchoRequest.encode(w))
}
