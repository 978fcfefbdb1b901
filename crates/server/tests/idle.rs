//! What an idle session costs. A process of its own, since it measures memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Server, Transport};
use countersign_fs::{Backend, FileService};
use countersign_localfs::{LocalFs, LocalOptions};
use countersign_policy::Settings;
use countersign_server::shell::{Listen, Shell, ShellLimits, TokioHost, raise_file_limit};
use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_testkit::wire::TcpWire;
use countersign_wire::NtStatus;
use tokio::runtime::Runtime;

/// Most KiB of memory for an idle session with a tree connect; a client's share
/// of this process is counted in.
const LIMIT: usize = 64;

/// Resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn idle(count: usize) {
    raise_file_limit();
    let folder = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = LocalFs::open(folder.path(), LocalOptions::default()).unwrap();
    let config = countersign_testkit::memory::config(Settings::default(), &backend);
    let limits = ShellLimits {
        connections_per_address: count + 1,
        ..ShellLimits::default()
    };
    let listen = Listen {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
        transport: Transport::Tcp,
    };
    let runtime = Runtime::new().unwrap();
    let shell = runtime.block_on(async {
        let host = Arc::new(TokioHost::current());
        let files = FileService::new(Arc::clone(&host) as _);
        Shell::start(Server::new(config, files, host), &[listen], limits).unwrap()
    });
    let connect = || {
        let wire = TcpWire::connect(shell.addresses()[0], Duration::from_secs(20)).unwrap();
        let mut client = Client::new(wire);
        client.negotiate(Offer::dialect(0x0311)).unwrap();
        let reply = client.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        client.tree_connect(r"\\server\share").unwrap();
        client
    };
    let first = connect();
    let before = resident();
    let clients: Vec<_> = (1..count).map(|_| connect()).collect();
    let each = resident().saturating_sub(before) / count;
    assert_eq!(shell.connections(), count);
    println!("{count} idle sessions: {each} KiB each, both ends");
    assert!(each < LIMIT, "{each} KiB for an idle session");
    drop((first, clients));
    runtime.block_on(shell.stop(Duration::from_secs(20)));
    assert_eq!(shell.connections(), 0);
    assert!(shell.server().registry.list().is_empty());
}

#[test]
fn idle_sessions_are_small() {
    idle(1000);
}

/// `cargo test -p countersign-server --test idle -- --ignored --nocapture`. Both
/// ends are in this process: where it may have 20,000 file descriptors and no
/// more, there are a few connections less.
#[test]
#[ignore = "takes half a minute and all file descriptors"]
fn ten_thousand_connections() {
    let descriptors = raise_file_limit().and_then(|n| usize::try_from(n).ok());
    let most = descriptors.unwrap_or(usize::MAX).saturating_sub(100) / 2;
    assert!(most > 5000, "too few file descriptors for this test");
    idle(most.min(10_000));
}
