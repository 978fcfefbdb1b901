//! The SMB2 engine against a scripted client: what [MS-SMB2] 3.3.5 demands, with
//! the exact status, or the disconnect.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod channels;
mod compounds;
mod credits;
mod encryption;
mod negotiate;
mod sessions;
mod tickets;
mod waiting;

use std::sync::Arc;

use countersign_auth::{AuthConfig, GuestRule};
use countersign_core::ServerConfig;
use countersign_core::config::ShareConfig;
use countersign_fs::{Backend, Share, ShareOptions};
use countersign_localfs::LocalFs;
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_testkit::memory::{MemoryServer, MemoryWire, config};
use countersign_testkit::smb2::{Client, Logon, Offer, Reply};
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

pub const PASSWORD: &str = "Passw0rd!";
pub const BOB: &str = "S3cret#2b";

/// A server with more shares: `alice` (hers alone), `reading` (read-only), and
/// `share` closed to guests; `open` lets them in.
pub struct TestServer {
    pub memory: MemoryServer,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for TestServer {
    type Target = MemoryServer;
    fn deref(&self) -> &MemoryServer {
        &self.memory
    }
}

impl TestServer {
    pub fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend: Arc<dyn Backend> = LocalFs::open(folder.path(), Default::default()).unwrap();
        let mut config = config(Settings::default(), &backend);
        let share = |name: &str, read_only: bool| ShareConfig {
            share: Arc::new(Share {
                name: name.into(),
                backend: Arc::clone(&backend),
                options: ShareOptions {
                    read_only,
                    ..ShareOptions::default()
                },
            }),
            guest_ok: name == "open",
            valid_users: if name == "alice" {
                vec!["Alice".into()]
            } else {
                Vec::new()
            },
            ..config.shares[0].clone()
        };
        let more = vec![
            share("alice", false),
            share("reading", true),
            share("open", false),
        ];
        config.shares.iter_mut().for_each(|s| s.guest_ok = false);
        config.shares.extend(more);
        let mut auth = AuthConfig::clone(&config.auth);
        auth.rules.anonymous = false;
        config.auth = Arc::new(auth);
        config.anonymous_ipc = false;
        change(&mut config);
        Self {
            memory: MemoryServer::new(config),
            _folder: folder,
        }
    }

    pub fn required() -> Self {
        Self::new(|c| c.policy = policy(Value::Enabled))
    }
}

pub fn policy(server_always: Value) -> Arc<Effective> {
    Arc::new(Effective::of(
        Settings::default().with(Setting::ServerAlways, server_always),
    ))
}

pub fn allow_guests(config: &mut ServerConfig) {
    let mut auth = AuthConfig::clone(&config.auth);
    auth.rules.guest = GuestRule::UnknownUser;
    config.auth = Arc::new(auth);
    config.guest = true;
}

pub fn allow_anonymous(config: &mut ServerConfig) {
    let mut auth = AuthConfig::clone(&config.auth);
    auth.rules.anonymous = true;
    config.auth = Arc::new(auth);
    config.anonymous_ipc = true;
}

pub const DIALECTS: [u16; 5] = [
    dialect::SMB_2_0_2,
    dialect::SMB_2_1,
    dialect::SMB_3_0,
    dialect::SMB_3_0_2,
    dialect::SMB_3_1_1,
];

pub fn alice() -> Logon {
    Logon::new("alice", PASSWORD)
}

pub fn negotiated(server: &TestServer, dialect: u16) -> Client<MemoryWire> {
    let mut client = Client::new(server.connect());
    let reply = client.negotiate(Offer::dialect(dialect)).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(client.dialect, dialect);
    client
}

pub fn logged_on(server: &TestServer, dialect: u16) -> Client<MemoryWire> {
    let mut client = negotiated(server, dialect);
    let reply = client.logon(&alice()).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(reply.signature, Some(true), "the end of a logon is signed");
    client
}

pub fn connected(server: &TestServer, dialect: u16) -> Client<MemoryWire> {
    let mut client = logged_on(server, dialect);
    let reply = client.tree_connect(r"\\server\share").unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    client
}

pub fn echo(client: &mut Client<MemoryWire>) -> Option<Reply> {
    client.call(Command::ECHO, |w| EchoRequest.encode(w))
}
