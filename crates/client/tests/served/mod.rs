// Our own server over a scratch folder: for tests, and for the examples of the
// documentation, which include this file.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use countersign_auth::{AuthConfig, UserFile};
use countersign_client::{Cipher, Dialect, Effective, NtHash, SigningAlgorithm};
use countersign_core::config::{Limits, LogonLimits, OnTighten, ShareConfig};
use countersign_core::{Server, ServerConfig};
use countersign_fs::{Backend, FileService, Share, ShareOptions};
use countersign_localfs::{LocalFs, LocalOptions};
use countersign_policy::Settings;
use countersign_server::shell::{Listen, Shell, ShellLimits, TokioHost};

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    #[allow(dead_code, reason = "not every test looks at it")]
    pub(crate) server: Arc<Server>,
    _shell: Shell,
    _folder: tempfile::TempDir,
}

/// Its share, with signing required.
#[allow(dead_code, reason = "the examples of the documentation use it")]
pub(crate) async fn share(of: &TestServer) -> countersign_client::Share {
    let credentials = countersign_client::Credentials::password("alice", "Passw0rd!");
    let client = countersign_client::Client::builder()
        .credentials(credentials)
        .build();
    let connection = client.connect(&of.address.to_string()).await.unwrap();
    connection.share("share").await.unwrap()
}

/// A server with a share `share` and a user `alice`.
pub(crate) fn serve() -> TestServer {
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = LocalFs::open(folder.path(), LocalOptions::default()).unwrap();
    let mut users = UserFile::default();
    users
        .add("alice", NtHash::from_password("Passw0rd!"), &[])
        .unwrap();
    let config = ServerConfig {
        smb1: false,
        min_dialect: Dialect::Smb202,
        max_dialect: Dialect::Smb311,
        policy: Arc::new(Effective::of(Settings::default())),
        exceptions: Arc::default(),
        signing_algorithms: vec![SigningAlgorithm::AesGmac],
        ciphers: vec![Cipher::Aes128Gcm],
        encrypt: false,
        auth: Arc::new(AuthConfig::default()),
        users: Arc::new(users),
        anonymous_ipc: true,
        guest: false,
        shares: vec![ShareConfig {
            share: Arc::new(Share {
                name: "share".into(),
                backend,
                options: ShareOptions::default(),
            }),
            comment: "A folder".into(),
            hidden: false,
            encrypt: false,
            valid_users: Vec::new(),
            read_only_users: Vec::new(),
            guest_ok: false,
        }],
        guid: *b"countersign-test",
        netbios_name: "TEST".into(),
        workgroup: "WORKGROUP".into(),
        comment: String::new(),
        oem_code_page: Default::default(),
        limits: Limits::default(),
        logon: LogonLimits::default(),
        on_tighten: OnTighten::End,
    };
    let host = Arc::new(TokioHost::current());
    let files = FileService::new(Arc::clone(&host) as _);
    let server = Server::new(config, files, host);
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let shell = Shell::start(
        Arc::clone(&server),
        &[Listen::new(address)],
        ShellLimits::default(),
    )
    .unwrap();
    TestServer {
        address: shell.addresses()[0],
        server,
        _shell: shell,
        _folder: folder,
    }
}
