//! Serves one folder on a free port of the loopback interface, without any
//! configuration file: what a program that embeds the server does.
//!
//! `cargo run -p countersign-server --example serve_folder -- FOLDER USER PASSWORD [PORT]`
#![allow(clippy::print_stdout, reason = "an example that talks to its user")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign_auth::{AuthConfig, NtHash, UserFile};
use countersign_core::config::{Limits, LogonLimits, OnTighten, ShareConfig};
use countersign_core::{Server, ServerConfig, config::Dialect};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_fs::{Backend, FileService, Share, ShareOptions};
use countersign_localfs::{LocalFs, LocalOptions};
use countersign_policy::{Effective, Settings};
use countersign_server::shell::{Listen, Shell, ShellLimits, TokioHost, raise_file_limit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("debug").init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, user, password, rest @ ..] = arguments.as_slice() else {
        return Err("usage: serve_folder FOLDER USER PASSWORD [PORT]".into());
    };
    let port = rest.first().map_or(Ok(0), |port| port.parse())?;
    raise_file_limit();
    let backend: Arc<dyn Backend> = LocalFs::open(Path::new(folder), LocalOptions::default())?;
    let mut users = UserFile::default();
    users.add(user, NtHash::from_password(password), &[])?;
    let config = ServerConfig {
        smb1: true,
        min_dialect: Dialect::Smb202,
        max_dialect: Dialect::Smb311,
        policy: Arc::new(Effective::of(Settings::default())),
        exceptions: Arc::default(),
        signing_algorithms: vec![
            SigningAlgorithm::AesGmac,
            SigningAlgorithm::AesCmac,
            SigningAlgorithm::HmacSha256,
        ],
        ciphers: vec![
            Cipher::Aes128Gcm,
            Cipher::Aes128Ccm,
            Cipher::Aes256Gcm,
            Cipher::Aes256Ccm,
        ],
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
        guid: *b"countersign-demo",
        netbios_name: "COUNTERSIGN".into(),
        workgroup: "WORKGROUP".into(),
        comment: "Countersign".into(),
        oem_code_page: Default::default(),
        limits: Limits::default(),
        logon: LogonLimits::default(),
        on_tighten: OnTighten::End,
    };
    let host = Arc::new(TokioHost::current());
    let files = FileService::new(Arc::clone(&host) as _);
    let server = Server::new(config, files, host);
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let shell = Shell::start(server, &[Listen::new(address)], ShellLimits::default())?;
    for address in shell.addresses() {
        println!("serving //{address}/share");
    }
    tokio::signal::ctrl_c().await?;
    shell.stop(Duration::from_secs(5)).await;
    Ok(())
}
