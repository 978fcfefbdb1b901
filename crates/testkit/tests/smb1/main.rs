//! The SMB1 engine against a scripted client: what [MS-CIFS] and [MS-SMB]
//! demand, with the exact status, or the disconnect.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod captures;
mod client;
mod engine;
mod exceptions;
mod files;
mod limits;
mod sessions;
mod signing;

use std::sync::Arc;

use crate::client::{Client, Reply};
use countersign_auth::AuthConfig;
use countersign_core::ServerConfig;
use countersign_fs::Backend;
use countersign_localfs::LocalFs;
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_testkit::memory::{MemoryServer, MemoryWire, config};
use countersign_wire::NtStatus;
use countersign_wire::smb1::open::{NtCreateAndxResponseWords, NtCreateAndxWords, encode_name};
use countersign_wire::smb1::{Command, HEADER};

pub const PASSWORD: &str = "Passw0rd!";
pub const BOB: &str = "S3cret#2b";

/// A server in memory over a scratch folder, SMB1 on, NTLMv1 allowed.
pub struct TestServer {
    pub memory: MemoryServer,
    pub folder: tempfile::TempDir,
}

impl std::ops::Deref for TestServer {
    type Target = MemoryServer;
    fn deref(&self) -> &MemoryServer {
        &self.memory
    }
}

/// The two server settings.
pub fn policy(always: Value, agrees: Value) -> Arc<Effective> {
    let settings = Settings::default()
        .with(Setting::ServerAlways, always)
        .with(Setting::ServerIfClientAgrees, agrees);
    Arc::new(Effective::of(settings))
}

impl TestServer {
    pub fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend: Arc<dyn Backend> = LocalFs::open(folder.path(), Default::default()).unwrap();
        let mut config = config(Settings::default(), &backend);
        config.smb1 = true;
        config.policy = policy(Value::Disabled, Value::Enabled);
        let mut auth = AuthConfig::clone(&config.auth);
        auth.rules.ntlmv1_smb1 = true;
        auth.rules.anonymous = true;
        config.auth = Arc::new(auth);
        change(&mut config);
        Self {
            memory: MemoryServer::new(config),
            folder,
        }
    }

    /// A client that has negotiated.
    pub fn negotiated(&self) -> Client<MemoryWire> {
        let mut client = Client::new(self.connect());
        assert_eq!(client.negotiate().unwrap().status(), NtStatus::SUCCESS);
        client
    }

    /// A client of alice's on `share`, signed as the policy has it.
    pub fn alice(&self) -> Client<MemoryWire> {
        let mut client = self.negotiated();
        assert_eq!(
            client.logon("alice", PASSWORD).unwrap().status(),
            NtStatus::SUCCESS
        );
        let reply = client.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        client
    }
}

/// NT_CREATE_ANDX words: open or create for everything, shared with everybody.
pub fn create_words() -> NtCreateAndxWords {
    NtCreateAndxWords {
        reserved: 0,
        name_length: 0,
        flags: 0,
        root_directory_fid: 0,
        desired_access: 0x0012_019F | 0x0001_0000,
        allocation_size: 0,
        ext_file_attributes: 0,
        share_access: 7,
        create_disposition: 3,
        create_options: 0,
        impersonation_level: 2,
        security_flags: 0,
    }
}

/// Opens a file.
pub fn nt_create(
    client: &mut Client<MemoryWire>,
    name: &str,
    words: NtCreateAndxWords,
) -> Result<NtCreateAndxResponseWords, NtStatus> {
    let bytes = encode_name(client.text(), HEADER + 1 + 48 + 2, name);
    let reply = client
        .command(Command::NT_CREATE_ANDX, words.to_vec(), bytes)
        .unwrap();
    if reply.status() != NtStatus::SUCCESS {
        return Err(reply.status());
    }
    let block = reply.block();
    Ok(NtCreateAndxResponseWords::decode(&mut block.words_after_andx()).unwrap())
}

/// ECHO, which needs nothing.
pub fn echo(client: &mut Client<MemoryWire>) -> Option<Reply> {
    client.command(Command::ECHO, vec![1, 0], b"hello".to_vec())
}
