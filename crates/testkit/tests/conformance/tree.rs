//! [MS-SMB2] 3.3.5.7 TREE_CONNECT, 3.3.5.8 TREE_DISCONNECT.

use super::*;
use countersign_testkit::wire::Wire;

#[test]
fn shares_are_found_without_regard_to_case_and_by_any_server_name() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        for path in [
            r"\\server\share",
            r"\\10.0.0.1\SHARE",
            r"\\x.y.z\Share",
            r"\\server\ipc$",
        ] {
            let reply = c.tree_connect(path).unwrap();
            assert_eq!(reply.status(), NtStatus::SUCCESS, "{path}");
            let id = reply.header.tree_id().unwrap();
            assert!(id != 0 && id != u32::MAX, "TreeId {id}");
        }
        let reply = c.tree_connect(r"\\server\no-such-share").unwrap();
        assert_eq!(reply.status(), NtStatus::BAD_NETWORK_NAME);
    }
}

#[test]
fn share_types() {
    let s = Subject::new(optional());
    let mut c = s.alice(0x311);
    for (path, kind) in [
        (r"\\s\share", share_type::DISK),
        (r"\\s\IPC$", share_type::PIPE),
    ] {
        let reply = c.tree_connect(path).unwrap();
        assert_eq!(
            TreeConnectResponse::decode(&reply.message)
                .unwrap()
                .share_type,
            kind
        );
    }
}

/// [MS-SMB2] 3.3.5.7: the server disconnects; smbd answers ACCESS_DENIED.
#[test]
fn on_311_an_unsigned_tree_connect_disconnects() {
    let s = Subject::new(optional());
    let mut c = s.alice(0x311);
    c.session().sign = false;
    let reply = c.tree_connect(r"\\server\share");
    assert!(reply.is_none_or(|r| r.status() != NtStatus::SUCCESS));
    assert!(c.wire.closed());
    for dialect in [0x202, 0x210, 0x300, 0x302] {
        let mut c = s.alice(dialect);
        c.session().sign = false;
        let reply = c.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS, "{dialect:#x}");
    }
}

#[test]
fn closed_and_unknown_trees_are_deleted_names() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        c.tree_connect(r"\\server\share").unwrap();
        let disconnect = |c: &mut Client<MemoryWire>| {
            c.call(Command::TREE_DISCONNECT, |w| {
                TreeDisconnectRequest.encode(w)
            })
            .unwrap()
            .status()
        };
        assert_eq!(disconnect(&mut c), NtStatus::SUCCESS);
        assert_eq!(disconnect(&mut c), NtStatus::NETWORK_NAME_DELETED);
        c.tree = 0x7777;
        assert_eq!(
            disconnect(&mut c),
            NtStatus::NETWORK_NAME_DELETED,
            "{dialect:#x}"
        );
    }
}

#[test]
fn only_valid_users_connect() {
    let s = Subject::with(optional(), |c| c.shares[0].valid_users = vec!["BOB".into()]);
    let mut c = s.alice(0x311);
    assert_eq!(
        c.tree_connect(r"\\s\share").unwrap().status(),
        NtStatus::ACCESS_DENIED
    );
    let mut c = s.dialect(0x311);
    c.logon(&Logon::new("bob", "S3cret#2b")).unwrap();
    assert_eq!(
        c.tree_connect(r"\\s\share").unwrap().status(),
        NtStatus::SUCCESS
    );
}

#[test]
fn trees_have_a_limit() {
    let s = Subject::with(optional(), |c| c.limits.trees_per_session = 3);
    let mut c = s.alice(0x311);
    for _ in 0..3 {
        assert_eq!(
            c.tree_connect(r"\\s\share").unwrap().status(),
            NtStatus::SUCCESS
        );
    }
    let reply = c.tree_connect(r"\\s\share").unwrap();
    assert_eq!(reply.status(), NtStatus::INSUFFICIENT_RESOURCES);
}
