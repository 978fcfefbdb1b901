//! Sessions over every dialect: set-up, signing, refusals. The statuses are
//! those of [MS-SMB2] 3.3.5.2 to 3.3.5.8.

use std::time::Duration;

use countersign_policy::Value;
use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

use crate::*;

#[test]
fn every_dialect_logs_on_signs_and_ends() {
    for server in [TestServer::new(|_| {}), TestServer::required()] {
        for dialect in DIALECTS {
            let mut client = connected(&server, dialect);
            let reply = echo(&mut client).unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            assert_eq!(server.server.registry.list().len(), 1);
            let reply = client
                .call(Command::TREE_DISCONNECT, |w| {
                    TreeDisconnectRequest.encode(w)
                })
                .unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            let reply = client
                .call(Command::LOGOFF, |w| LogoffRequest.encode(w))
                .unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            assert_eq!(server.server.registry.list().len(), 0);
            let reply = echo(&mut client).unwrap();
            assert_eq!(reply.status(), NtStatus::USER_SESSION_DELETED);
            assert_eq!(reply.signature, Some(false), "the request's, not a new one");
        }
    }
}

#[test]
fn every_signing_algorithm_of_3_1_1() {
    let server = TestServer::required();
    for id in [0, 1, 2] {
        let mut client = Client::new(server.connect());
        let offer = Offer {
            signing: Some(vec![id]),
            ..Offer::dialect(dialect::SMB_3_1_1)
        };
        client.negotiate(offer).unwrap();
        assert_eq!(client.logon(&alice()).unwrap().signature, Some(true));
        let reply = client.tree_connect(r"\\server\share").unwrap();
        assert_eq!(
            (reply.status(), reply.signature),
            (NtStatus::SUCCESS, Some(true))
        );
    }
}

#[test]
fn unsigned_where_signing_is_required() {
    // Required by the server, by the client's NEGOTIATE, by its SESSION_SETUP.
    for (own, negotiate, setup) in [
        (true, false, false),
        (false, true, false),
        (false, false, true),
    ] {
        let server = TestServer::new(|c| {
            c.policy = policy(if own { Value::Enabled } else { Value::Disabled });
        });
        for dialect in DIALECTS {
            let mut client = Client::new(server.connect());
            let mut offer = Offer::dialect(dialect);
            if negotiate {
                offer.security_mode = SecurityMode::SIGNING_REQUIRED;
            }
            let reply = client.negotiate(offer).unwrap();
            let response = NegotiateResponse::decode(&reply.message).unwrap();
            assert!(
                response
                    .security_mode
                    .contains(SecurityMode::SIGNING_ENABLED)
            );
            let announced = response
                .security_mode
                .contains(SecurityMode::SIGNING_REQUIRED);
            assert_eq!(announced, own);
            let mut logon = alice();
            if setup {
                logon.security_mode = SecurityMode::SIGNING_REQUIRED;
            }
            assert_eq!(client.logon(&logon).unwrap().status(), NtStatus::SUCCESS);
            client.tree_connect(r"\\server\share").unwrap();
            client.session().sign = false;
            let reply = echo(&mut client).unwrap();
            assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
            assert_eq!(reply.signature, Some(true), "the refusal is signed");
            client.session().sign = true;
            assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
        }
    }
}

#[test]
fn signing_stays_optional_when_nobody_requires_it() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        client.session().sign = false;
        let reply = echo(&mut client).unwrap();
        assert_eq!(
            (reply.status(), reply.header.is_signed()),
            (NtStatus::SUCCESS, false)
        );
        client.session().sign = true;
        assert_eq!(echo(&mut client).unwrap().signature, Some(true));
    }
}

#[test]
fn a_tampered_message_is_refused_and_the_connection_stays() {
    for server in [TestServer::new(|_| {}), TestServer::required()] {
        for dialect in DIALECTS {
            let mut client = connected(&server, dialect);
            for bit in [0, 7, 64 * 8 - 1, 66 * 8] {
                let header = client.header(Command::ECHO);
                let mut message = Client::<MemoryWire>::message(&header, |w| {
                    EchoRequest.encode(w);
                });
                client.sign(&mut message);
                if bit >= 64 * 8 - 1 {
                    message[bit / 8] ^= 1 << (bit % 8);
                } else {
                    message[48 + bit / 8] ^= 1 << (bit % 8);
                }
                client.wire.send(&message);
                let reply = client.reply().unwrap();
                assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
                assert_eq!(reply.signature, Some(true));
            }
            assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
        }
        assert!(server.server.statistics.bad_signatures.get() >= 20);
    }
}

#[test]
fn a_replayed_message_ends_the_connection() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let header = client.header(Command::ECHO);
        let mut message = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
        client.sign(&mut message);
        client.wire.send(&message);
        assert_eq!(client.reply().unwrap().status(), NtStatus::SUCCESS);
        client.wire.send(&message);
        assert!(client.reply().is_none());
        assert!(client.wire.closed());
        assert_eq!(server.server.registry.list().len(), 0);
    }
}

#[test]
fn an_unsigned_tree_connect_of_3_1_1_ends_the_connection() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let mut client = logged_on(&server, dialect);
        client.session().sign = false;
        let reply = client.tree_connect(r"\\server\share");
        if dialect == dialect::SMB_3_1_1 {
            assert!(reply.is_none());
            assert!(client.wire.closed());
        } else {
            assert_eq!(reply.unwrap().status(), NtStatus::SUCCESS);
        }
    }
}

#[test]
fn a_wrong_password_is_answered_late_and_locks_out_in_the_end() {
    let server = TestServer::new(|c| c.logon.lockout_failures = 3);
    for n in 0..3 {
        let mut client = negotiated(&server, dialect::SMB_3_1_1);
        let user = if n == 1 { "nobody" } else { "alice" };
        client.wire.patience = Duration::from_millis(1999);
        assert!(
            client.logon(&Logon::new(user, "wrong")).is_none(),
            "not answered at once"
        );
        client.wire.patience = Duration::from_secs(10);
        let reply = client.reply().unwrap();
        assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
        assert!(!reply.header.is_signed());
    }
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    assert_eq!(
        client.logon(&alice()).unwrap().status(),
        NtStatus::ACCOUNT_LOCKED_OUT
    );
    server.host.advance(Duration::from_secs(61));
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    assert_eq!(client.logon(&alice()).unwrap().status(), NtStatus::SUCCESS);
}

#[test]
fn guests_are_refused_unless_allowed_and_never_signed() {
    let stranger = Logon::new("stranger", "whatever");
    let server = TestServer::new(allow_guests);
    for dialect in DIALECTS {
        let mut client = negotiated(&server, dialect);
        let reply = client.logon(&stranger).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert!(!reply.header.is_signed());
        let body = SessionSetupResponse::decode(&reply.message).unwrap();
        assert_eq!(body.session_flags, SessionFlags::IS_GUEST);
        let reply = client.tree_connect(r"\\server\open").unwrap();
        assert_eq!(
            (reply.status(), reply.header.is_signed()),
            (NtStatus::SUCCESS, false)
        );
        let reply = client.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
        // A signed request of a guest: there is no key.
        let reply = client
            .call_with(
                Command::ECHO,
                |h| h.flags |= HeaderFlags::SIGNED,
                |w| EchoRequest.encode(w),
            )
            .unwrap();
        assert_eq!(
            (reply.status(), reply.header.is_signed()),
            (NtStatus::ACCESS_DENIED, false)
        );
    }
    // Under "always" there are no guests.
    let server = TestServer::new(|c| {
        allow_guests(c);
        c.policy = policy(Value::Enabled);
    });
    for dialect in DIALECTS {
        let mut client = negotiated(&server, dialect);
        let reply = client.logon(&stranger).unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
        assert_eq!(server.server.registry.list().len(), 0);
    }
}

#[test]
fn anonymous_only_ipc_and_only_when_allowed() {
    let nobody = Logon::new("", "");
    let server = TestServer::new(allow_anonymous);
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    let reply = client.logon(&nobody).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let body = SessionSetupResponse::decode(&reply.message).unwrap();
    assert_eq!(body.session_flags, SessionFlags::IS_NULL);
    assert_eq!(
        client.tree_connect(r"\\server\IPC$").unwrap().status(),
        NtStatus::SUCCESS
    );
    let reply = client.tree_connect(r"\\server\open").unwrap();
    assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);

    let server = TestServer::new(|_| {});
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    assert_eq!(
        client.logon(&nobody).unwrap().status(),
        NtStatus::ACCESS_DENIED
    );
    let server = TestServer::new(|c| {
        allow_anonymous(c);
        c.policy = policy(Value::Enabled);
    });
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    assert_eq!(
        client.logon(&nobody).unwrap().status(),
        NtStatus::ACCESS_DENIED
    );
}

#[test]
fn tree_connects() {
    let server = TestServer::new(|_| {});
    let mut client = logged_on(&server, dialect::SMB_3_1_1);
    for (path, status) in [
        (r"\\server\share", NtStatus::SUCCESS),
        (r"\\SERVER\SHARE", NtStatus::SUCCESS),
        (r"\\127.0.0.1\ipc$", NtStatus::SUCCESS),
        (r"\\server\alice", NtStatus::SUCCESS),
        (r"\\server\nothing", NtStatus::BAD_NETWORK_NAME),
        (r"\\server", NtStatus::BAD_NETWORK_NAME),
        ("", NtStatus::BAD_NETWORK_NAME),
    ] {
        let reply = client.tree_connect(path).unwrap();
        assert_eq!(reply.status(), status, "{path}");
        if status == NtStatus::SUCCESS {
            assert!(client.tree != 0 && client.tree != u32::MAX);
            let body = TreeConnectResponse::decode(&reply.message).unwrap();
            assert_eq!(body.share_type == share_type::PIPE, path.ends_with("ipc$"));
            assert!(!body.share_flags.contains(ShareFlags::ENCRYPT_DATA));
        }
    }
    let reply = client.tree_connect(r"\\server\reading").unwrap();
    let body = TreeConnectResponse::decode(&reply.message).unwrap();
    assert_eq!(body.maximal_access.bits(), 0x0012_00A9);
    client.tree = 0x7777;
    let reply = client
        .call(Command::TREE_DISCONNECT, |w| {
            TreeDisconnectRequest.encode(w)
        })
        .unwrap();
    assert_eq!(reply.status(), NtStatus::NETWORK_NAME_DELETED);

    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    client.logon(&Logon::new("bob", BOB)).unwrap();
    let reply = client.tree_connect(r"\\server\alice").unwrap();
    assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
}

#[test]
fn several_sessions_on_one_connection_have_their_own_keys() {
    let server = TestServer::required();
    let mut client = connected(&server, dialect::SMB_3_1_1);
    let first = client.sessions.pop().unwrap();
    let reply = client.logon(&Logon::new("bob", BOB)).unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    assert_ne!(client.session().id, first.id);
    assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
    // Bob's key does not sign for alice.
    let bob = client.session().id;
    client.session().id = first.id;
    let reply = echo(&mut client).unwrap();
    assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    client.session().id = bob;
    client.sessions.push(first);
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
    client.wire.hang_up();
    assert_eq!(server.server.registry.list().len(), 0);
}

#[test]
fn authenticating_again_keeps_the_keys() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let id = client.session().id;
        let again = Logon {
            session: id,
            ..alice()
        };
        let reply = client.logon(&again).unwrap();
        assert_eq!(
            (reply.status(), reply.signature),
            (NtStatus::SUCCESS, Some(true))
        );
        assert_eq!(reply.header.session_id, id);
        assert_eq!(echo(&mut client).unwrap().signature, Some(true));
        assert_eq!(client.sessions.len(), 1);
        assert_eq!(server.server.registry.list().len(), 1);
        client.wire.hang_up();
    }
}

#[test]
fn a_previous_session_of_the_same_user_ends() {
    let server = TestServer::new(|_| {});
    let mut old = connected(&server, dialect::SMB_3_1_1);
    let previous = old.session().id;
    let mut stranger = negotiated(&server, dialect::SMB_3_1_1);
    stranger
        .logon(&Logon {
            previous,
            ..Logon::new("bob", BOB)
        })
        .unwrap();
    assert_eq!(
        echo(&mut old).unwrap().status(),
        NtStatus::SUCCESS,
        "another user's stays"
    );
    let mut new = negotiated(&server, dialect::SMB_3_1_1);
    let reply = new
        .logon(&Logon {
            previous,
            ..alice()
        })
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(
        echo(&mut old).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
    assert_eq!(server.server.registry.list().len(), 2);
}

#[test]
fn a_tightened_policy_ends_what_does_not_sign() {
    let server = TestServer::new(allow_guests);
    let mut unsigned = connected(&server, dialect::SMB_3_0);
    unsigned.session().sign = false;
    assert_eq!(echo(&mut unsigned).unwrap().status(), NtStatus::SUCCESS);
    let mut signed = connected(&server, dialect::SMB_3_0);
    assert_eq!(echo(&mut signed).unwrap().status(), NtStatus::SUCCESS);
    let mut guest = negotiated(&server, dialect::SMB_3_0);
    guest.logon(&Logon::new("stranger", "x")).unwrap();
    server.reconfigure(|c| c.policy = policy(Value::Enabled));
    let counts = |client: &mut Client<MemoryWire>| {
        let outcome = client
            .wire
            .connection
            .apply_policy(countersign_testkit::memory::times(&server.host));
        (outcome.satisfied, outcome.ended)
    };
    assert_eq!(counts(&mut unsigned), (0, 1));
    assert_eq!(counts(&mut signed), (1, 0));
    assert_eq!(counts(&mut guest), (0, 1));
    assert_eq!(
        echo(&mut unsigned).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
    assert_eq!(
        echo(&mut guest).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
    assert_eq!(echo(&mut signed).unwrap().status(), NtStatus::SUCCESS);
    signed.session().sign = false;
    assert_eq!(echo(&mut signed).unwrap().status(), NtStatus::ACCESS_DENIED);
}

#[test]
fn a_connection_without_a_session_is_cut_off() {
    let server = TestServer::new(|_| {});
    let mut silent = server.connect();
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    let mut good = connected(&server, dialect::SMB_3_1_1);
    for wire in [&mut silent, &mut client.wire, &mut good.wire] {
        wire.patience = Duration::from_secs(60);
    }
    assert!(silent.receive().is_none() && silent.closed());
    assert!(client.wire.receive().is_none() && client.wire.closed());
    assert!(good.wire.receive().is_none() && !good.wire.closed());
}

#[test]
fn one_client_speaks_one_dialect() {
    let server = TestServer::new(|_| {});
    let mut old = connected(&server, dialect::SMB_3_0);
    let previous = old.session().id;
    let mut new = negotiated(&server, dialect::SMB_3_1_1);
    let reply = new
        .logon(&Logon {
            previous,
            ..alice()
        })
        .unwrap();
    assert_eq!(reply.status(), NtStatus::USER_SESSION_DELETED);
    assert_eq!(echo(&mut old).unwrap().status(), NtStatus::SUCCESS);
    old.wire.hang_up();
    let mut new = negotiated(&server, dialect::SMB_3_1_1);
    assert_eq!(new.logon(&alice()).unwrap().status(), NtStatus::SUCCESS);
}

#[test]
fn an_expired_session_authenticates_again() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let id = client.session().id;
        server.server.registry.get(id).unwrap().expire();
        client.wire.settle();
        let tree = client.tree;
        let reply = client.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::NETWORK_SESSION_EXPIRED);
        assert_eq!(reply.signature, Some(true));
        assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
        let reply = client
            .logon(&Logon {
                session: id,
                ..alice()
            })
            .unwrap();
        assert_eq!(
            (reply.status(), reply.signature),
            (NtStatus::SUCCESS, Some(true))
        );
        client.tree = tree;
        let reply = client
            .call(Command::TREE_DISCONNECT, |w| {
                TreeDisconnectRequest.encode(w)
            })
            .unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        server.server.registry.get(id).unwrap().expire();
        client.wire.settle();
        let reply = client
            .call(Command::LOGOFF, |w| LogoffRequest.encode(w))
            .unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        client.wire.hang_up();
    }
}
