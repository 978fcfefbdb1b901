//! The engine answers a scripted client in every dialect.
use std::sync::Arc;

use countersign_fs::Backend;
use countersign_localfs::LocalFs;
use countersign_policy::{Setting, Settings, Value};
use countersign_testkit::memory::{MemoryServer, config};
use countersign_testkit::smb2::*;
use countersign_wire::NtStatus;

fn server(settings: Settings) -> (MemoryServer, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> = LocalFs::open(dir.path(), Default::default()).unwrap();
    (MemoryServer::new(config(settings, &backend)), dir)
}

#[test]
fn every_dialect_logs_on_and_connects() {
    let required = Settings::default().with(Setting::ServerAlways, Value::Enabled);
    for settings in [Settings::default(), required] {
        let (server, _dir) = server(settings);
        for dialect in [0x202, 0x210, 0x300, 0x302, 0x311] {
            let mut c = Client::new(server.connect());
            let n = c.negotiate(Offer::dialect(dialect)).unwrap();
            assert_eq!(n.status(), NtStatus::SUCCESS, "{dialect:#x}");
            assert_eq!(c.dialect, dialect);
            let s = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
            assert_eq!((s.status(), s.signature), (NtStatus::SUCCESS, Some(true)), "{dialect:#x}");
            let t = c.tree_connect(r"\\server\share").unwrap();
            assert_eq!((t.status(), t.signature), (NtStatus::SUCCESS, Some(true)), "{dialect:#x}");
        }
    }
}

#[test]
fn a_wrong_password_is_a_late_logon_failure() {
    let (server, _dir) = server(Settings::default());
    let mut c = Client::new(server.connect());
    c.negotiate(Offer::dialect(0x311)).unwrap();
    let before = server.host.now_both().monotonic;
    let s = c.logon(&Logon::new("alice", "wrong")).unwrap();
    assert_eq!(s.status(), NtStatus::LOGON_FAILURE);
    assert!(server.host.now_both().monotonic - before >= std::time::Duration::from_secs(2));
}
