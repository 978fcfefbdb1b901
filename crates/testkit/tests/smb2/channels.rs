//! [MS-SMB2] 3.3.5.5.2: binding a session to another connection.

use countersign_crypto::smb2::SigningKey;
use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

use crate::*;

fn bind_to(id: u64) -> Logon {
    Logon {
        flags: SESSION_FLAG_BINDING,
        session: id,
        ..Logon::new("alice", PASSWORD)
    }
}

/// Two connections of one dialect; the first has a session.
fn pair(server: &TestServer, dialect: u16) -> (Client<MemoryWire>, Client<MemoryWire>) {
    (connected(server, dialect), negotiated(server, dialect))
}

#[test]
fn a_channel_has_its_own_key() {
    for server in [TestServer::new(|_| {}), TestServer::required()] {
        for dialect in [dialect::SMB_3_0, dialect::SMB_3_0_2, dialect::SMB_3_1_1] {
            let (mut first, mut second) = pair(&server, dialect);
            let id = first.session().id;
            second.lend_session(&first);
            let reply = second.logon(&bind_to(id)).unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            assert_eq!(echo(&mut second).unwrap().signature, Some(true));
            assert_eq!(echo(&mut first).unwrap().signature, Some(true));
            // The trees are the session's.
            second.tree = first.tree;
            let reply = second
                .call(Command::TREE_DISCONNECT, |w| {
                    TreeDisconnectRequest.encode(w)
                })
                .unwrap();
            assert_eq!(reply.status(), NtStatus::SUCCESS);
            // The first channel's key does not sign on the second.
            second.lend_session(&first);
            let reply = echo(&mut second).unwrap();
            assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
            // The session lives as long as one channel does.
            first.wire.hang_up();
            assert_eq!(server.server.registry.list().len(), 1);
            second.wire.hang_up();
            assert_eq!(server.server.registry.list().len(), 0);
        }
    }
}

#[test]
fn refusals() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let (mut first, mut second) = pair(&server, dialect);
        let id = first.session().id;
        second.lend_session(&first);
        if dialect < dialect::SMB_3_0 {
            let reply = second.logon(&bind_to(id)).unwrap();
            assert_eq!(reply.status(), NtStatus::REQUEST_NOT_ACCEPTED);
            continue;
        }
        // Not signed.
        let mut unsigned = negotiated(&server, dialect);
        assert_eq!(
            unsigned.logon(&bind_to(id)).unwrap().status(),
            NtStatus::INVALID_PARAMETER
        );
        // No such session.
        assert_eq!(
            unsigned.logon(&bind_to(0x1234_5678)).unwrap().status(),
            NtStatus::USER_SESSION_DELETED
        );
        // Bound already, and the session's own connection.
        assert_eq!(
            second.logon(&bind_to(id)).unwrap().status(),
            NtStatus::SUCCESS
        );
        assert_eq!(
            second.logon(&bind_to(id)).unwrap().status(),
            NtStatus::REQUEST_NOT_ACCEPTED
        );
        assert_eq!(
            first.logon(&bind_to(id)).unwrap().status(),
            NtStatus::REQUEST_NOT_ACCEPTED
        );
        // Another user.
        let mut other = negotiated(&server, dialect);
        other.lend_session(&first);
        let as_bob = Logon {
            user: "bob".into(),
            password: BOB.into(),
            ..bind_to(id)
        };
        let reply = other.logon(&as_bob).unwrap();
        assert_eq!(
            (reply.status(), reply.signature),
            (NtStatus::ACCESS_DENIED, Some(true))
        );
        assert_eq!(echo(&mut first).unwrap().status(), NtStatus::SUCCESS);
        // A wrong key; what an attacker makes the server sign under a key it does
        // not know is nothing.
        let mut other = negotiated(&server, dialect);
        other.lend_session(&first);
        other.session().signing = Some(SigningKey::new(first.algorithm, &[9; 16]));
        let reply = other.logon(&bind_to(id)).unwrap();
        assert_eq!(
            (reply.status(), reply.header.is_signed()),
            (NtStatus::ACCESS_DENIED, false)
        );
        // The right one after it.
        other.lend_session(&first);
        assert_eq!(
            other.logon(&bind_to(id)).unwrap().status(),
            NtStatus::SUCCESS
        );
        // Another dialect.
        let different = if dialect == dialect::SMB_3_0 {
            0x302
        } else {
            0x300
        };
        let mut other = negotiated(&server, different);
        other.lend_session(&first);
        let expected = if dialect == dialect::SMB_3_1_1 {
            // The algorithms are compared first: this session signs with GMAC.
            NtStatus::REQUEST_OUT_OF_SEQUENCE
        } else {
            NtStatus::INVALID_PARAMETER
        };
        let reply = other.logon(&bind_to(id)).unwrap();
        assert_eq!((reply.status(), reply.signature), (expected, Some(true)));
    }
    // Another signing algorithm.
    let mut first = connected(&server, dialect::SMB_3_1_1);
    let id = first.session().id;
    let mut other = Client::new(server.connect());
    let offer = Offer {
        signing: Some(vec![1]),
        ..Offer::dialect(dialect::SMB_3_1_1)
    };
    other.negotiate(offer).unwrap();
    other.lend_session(&first);
    let reply = other.logon(&bind_to(id)).unwrap();
    assert_eq!(reply.status(), NtStatus::REQUEST_OUT_OF_SEQUENCE);
    // A session that is not bound here is unknown here.
    let mut other = negotiated(&server, dialect::SMB_3_1_1);
    other.lend_session(&first);
    assert_eq!(
        echo(&mut other).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
}

#[test]
fn logging_off_on_one_channel_ends_it_on_all() {
    let server = TestServer::new(|_| {});
    let (mut first, mut second) = pair(&server, dialect::SMB_3_1_1);
    let id = first.session().id;
    second.lend_session(&first);
    second.logon(&bind_to(id)).unwrap();
    let reply = second
        .call(Command::LOGOFF, |w| LogoffRequest.encode(w))
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(
        echo(&mut first).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
    assert_eq!(
        echo(&mut second).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
}
