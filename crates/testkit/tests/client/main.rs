//! The client's engine against the server's: what works in every dialect and
//! protection, and that nothing an attacker does to messages is believed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail loudly"
)]

mod attacks;
mod files;
mod fuzzing;
mod hostile;

use std::sync::Arc;

use countersign_core::ServerConfig;
use countersign_core::client::{
    Answer, Call, ClientConfig, OpenRequest, Opened, PathRequest, TreeId,
};
use countersign_core::config::Dialect;
use countersign_fs::Backend;
use countersign_localfs::LocalFs;
use countersign_policy::{Setting, Settings, Value};
use countersign_testkit::duo::{Duo, client_config};
use countersign_testkit::memory::{MemoryServer, MemoryWire, config};
use countersign_wire::fscc::AccessMask;

pub const ALL: [Dialect; 5] = [
    Dialect::Smb202,
    Dialect::Smb210,
    Dialect::Smb300,
    Dialect::Smb302,
    Dialect::Smb311,
];

/// A server over a folder that goes with it.
pub struct TestServer {
    pub memory: MemoryServer,
    _folder: tempfile::TempDir,
}

impl TestServer {
    pub fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend: Arc<dyn Backend> = LocalFs::open(folder.path(), Default::default()).unwrap();
        let mut config = config(Settings::default(), &backend);
        change(&mut config);
        Self {
            memory: MemoryServer::new(config),
            _folder: folder,
        }
    }

    pub fn plain() -> Self {
        Self::new(|_| {})
    }
}

pub fn required() -> Settings {
    Settings::default().with(Setting::ClientAlways, Value::Enabled)
}

pub fn dialect(settings: Settings, dialect: Dialect) -> ClientConfig {
    ClientConfig {
        min_dialect: dialect,
        max_dialect: dialect,
        ..client_config(settings)
    }
}

/// A client that is logged on to the share.
pub fn ready(server: &TestServer, config: ClientConfig) -> (Duo<MemoryWire>, TreeId) {
    let mut duo = Duo::new(&server.memory, config);
    duo.log_on("alice", "Passw0rd!").unwrap();
    let tree = duo.tree("share").unwrap();
    (duo, tree.tree)
}

pub fn at(tree: TreeId, path: &str) -> PathRequest {
    PathRequest {
        tree,
        path: path.into(),
        no_follow: false,
    }
}

pub fn open(duo: &mut Duo<MemoryWire>, tree: TreeId, request: OpenRequest) -> Opened {
    let call = Call::Open {
        tree,
        request: Box::new(request),
    };
    match duo.call(call).unwrap() {
        Answer::Opened(opened) => *opened,
        other => panic!("{other:?}"),
    }
}

pub fn reading(path: &str) -> OpenRequest {
    OpenRequest::existing(path, AccessMask::READ_DATA | AccessMask::READ_ATTRIBUTES)
}
