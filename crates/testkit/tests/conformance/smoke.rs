//! The engine answers a scripted client in every dialect.

use super::*;

#[test]
fn every_dialect_logs_on_and_connects() {
    for settings in [optional(), required()] {
        let server = Subject::new(settings);
        for dialect in [0x202, 0x210, 0x300, 0x302, 0x311] {
            let mut c = server.connect();
            let n = c.negotiate(Offer::dialect(dialect)).unwrap();
            assert_eq!(n.status(), NtStatus::SUCCESS, "{dialect:#x}");
            assert_eq!(c.dialect, dialect);
            let s = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
            assert_eq!(
                (s.status(), s.signature),
                (NtStatus::SUCCESS, Some(true)),
                "{dialect:#x}"
            );
            let t = c.tree_connect(r"\\server\share").unwrap();
            assert_eq!(
                (t.status(), t.signature),
                (NtStatus::SUCCESS, Some(true)),
                "{dialect:#x}"
            );
        }
    }
}

#[test]
fn a_wrong_password_is_a_late_logon_failure() {
    let server = Subject::new(optional());
    let mut c = server.connect();
    c.negotiate(Offer::dialect(0x311)).unwrap();
    let before = countersign_fs::Host::monotonic(&*server.server.host);
    let s = c.logon(&Logon::new("alice", "wrong")).unwrap();
    assert_eq!(s.status(), NtStatus::LOGON_FAILURE);
    assert!(
        countersign_fs::Host::monotonic(&*server.server.host) - before
            >= std::time::Duration::from_secs(2)
    );
}
