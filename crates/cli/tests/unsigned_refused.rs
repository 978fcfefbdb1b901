//! After `policy set` the next connection that does not sign is refused within one
//! second, in each dialect of SMB 2 and 3; also when the store is written by other
//! means than the command.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own helpers may fail loudly"
)]

mod harness;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_testkit::wire::TcpWire;
use countersign_wire::NtStatus;
use harness::{PATIENCE, Server, good, run, text};

const DIALECTS: [u16; 5] = [0x0202, 0x0210, 0x0300, 0x0302, 0x0311];
const SECOND: Duration = Duration::from_secs(1);

/// What the TREE_CONNECT of a new connection gets, signed or not.
fn tree_connect(address: SocketAddr, dialect: u16, sign: bool) -> NtStatus {
    let mut client = Client::new(TcpWire::connect(address, PATIENCE).unwrap());
    client.negotiate(Offer::dialect(dialect)).unwrap();
    let logon = client.logon(&Logon::new("bob", "secret")).unwrap();
    assert_eq!(logon.status(), NtStatus::SUCCESS);
    client.session().sign = sign;
    client.tree_connect(r"\\server\files").unwrap().status()
}

#[test]
fn the_next_unsigned_connection_is_refused_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let state = text(&folder.path().join("state"));
    let share = format!("files={}", text(folder.path()));
    let server = Server::start(&[
        "serve",
        "--state",
        &state,
        "--listen",
        "127.0.0.1:0",
        "--share",
        &share,
        "--user",
        "bob:secret",
        "--policy",
        "server-always=disabled",
    ]);
    let address: SocketAddr = server.address().parse().unwrap();
    let set = |value: &str| {
        let assignment = format!("server-always={value}");
        good(run(&["policy", "set", &assignment, "--state", &state]));
    };
    for dialect in DIALECTS {
        // 3.1.1 demands a signed TREE_CONNECT in any case.
        let served = tree_connect(address, dialect, dialect == 0x0311);
        assert_eq!(
            served,
            NtStatus::SUCCESS,
            "{dialect:#06x}: nobody requires signing"
        );

        let start = Instant::now();
        set("enabled");
        let refused = tree_connect(address, dialect, false);
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
        assert_eq!(refused, NtStatus::ACCESS_DENIED, "{dialect:#06x}");
        set("disabled");
    }

    let store = folder.path().join("state/policy.json");
    let changed = fs::read_to_string(&store)
        .unwrap()
        .replace("\"disabled\"", "\"enabled\"");
    let new = folder.path().join("state/new");
    fs::write(&new, changed).unwrap();
    let start = Instant::now();
    fs::rename(new, store).unwrap();
    while tree_connect(address, 0x0210, false) == NtStatus::SUCCESS {
        assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
    }
}
