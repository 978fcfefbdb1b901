//! [MS-SMB2] 3.3.5.5 SESSION_SETUP, 3.3.5.6 LOGOFF.

use super::*;
use countersign_testkit::wire::Wire;

#[test]
fn session_id_comes_with_the_first_leg_and_the_final_reply_is_signed() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        let reply = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        assert_eq!(reply.signature, Some(true), "{dialect:#x}");
        assert_ne!(reply.header.session_id, 0);
        let mut c = s.dialect(dialect);
        let raw = Logon {
            raw: true,
            ..Logon::new("alice", "Passw0rd!")
        };
        assert_eq!(
            c.logon(&raw).unwrap().signature,
            Some(true),
            "raw NTLMSSP, {dialect:#x}"
        );
    }
}

#[test]
fn no_byte_follows_the_security_buffer() {
    let s = Subject::new(optional());
    let mut c = s.dialect(0x311);
    let reply = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
    let body = SessionSetupResponse::decode(&reply.message).unwrap();
    assert_eq!(
        reply.message.len(),
        HEADER_LEN + 8 + body.security_buffer.len()
    );
}

#[test]
fn reauthentication_keeps_the_keys() {
    for settings in [optional(), required()] {
        let s = Subject::new(settings);
        for dialect in ALL {
            let mut c = s.alice(dialect);
            let id = c.session().id;
            let again = Logon {
                session: id,
                ..Logon::new("alice", "Passw0rd!")
            };
            let reply = c.logon(&again).unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            assert_eq!(echo(&mut c).unwrap().signature, Some(true), "{dialect:#x}");
        }
    }
}

#[test]
fn a_reconnect_ends_the_previous_session() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut old = s.alice(dialect);
        let id = old.session().id;
        let mut new = s.dialect(dialect);
        let logon = Logon {
            previous: id,
            ..Logon::new("alice", "Passw0rd!")
        };
        assert_eq!(new.logon(&logon).unwrap().status(), NtStatus::SUCCESS);
        assert_eq!(echo(&mut new).unwrap().status(), NtStatus::SUCCESS);
        let reply = echo(&mut old);
        assert!(reply.is_none_or(|r| r.status() == NtStatus::USER_SESSION_DELETED));
        // Another user's session is not ended.
        let mut other = s.dialect(dialect);
        let id = new.session().id;
        let logon = Logon {
            previous: id,
            ..Logon::new("bob", "S3cret#2b")
        };
        assert_eq!(other.logon(&logon).unwrap().status(), NtStatus::SUCCESS);
        assert_eq!(
            echo(&mut new).unwrap().status(),
            NtStatus::SUCCESS,
            "{dialect:#x}"
        );
    }
}

#[test]
fn several_sessions_have_their_own_keys() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        let reply = c.logon(&Logon::new("bob", "S3cret#2b")).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert_eq!(echo(&mut c).unwrap().signature, Some(true));
        c.sessions.swap(0, 1);
        assert_eq!(echo(&mut c).unwrap().signature, Some(true), "{dialect:#x}");
        // bob's key does not sign alice's messages.
        let header = c.header(Command::ECHO);
        let mut m = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
        m[16] |= 8;
        let other = c.sessions[0].signing.as_ref().unwrap();
        other.sign(countersign_crypto::smb2::Sender::Client, &mut m);
        c.wire.send(&m);
        assert_eq!(c.reply().unwrap().status(), NtStatus::ACCESS_DENIED);
    }
}

#[test]
fn unknown_sessions_are_deleted_sessions() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        let leg = Logon {
            session: 0x1234_5678,
            ..Logon::new("alice", "Passw0rd!")
        };
        assert_eq!(
            c.logon(&leg).unwrap().status(),
            NtStatus::USER_SESSION_DELETED
        );
        let mut c = s.alice(dialect);
        let reply = c
            .call_with(
                Command::LOGOFF,
                |h| h.session_id = 0x4321,
                |w| LogoffRequest.encode(w),
            )
            .unwrap();
        assert_eq!(reply.status(), NtStatus::USER_SESSION_DELETED);
        let reply = c
            .call(Command::LOGOFF, |w| LogoffRequest.encode(w))
            .unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        let reply = c
            .call(Command::LOGOFF, |w| LogoffRequest.encode(w))
            .unwrap();
        assert_eq!(
            reply.status(),
            NtStatus::USER_SESSION_DELETED,
            "{dialect:#x}"
        );
    }
}

#[test]
fn another_channel_binds_and_has_its_own_key() {
    let s = Subject::new(required());
    for dialect in [0x300, 0x302, 0x311] {
        let mut first = s.alice(dialect);
        let id = first.session().id;
        let keys = first.session().keys.clone().unwrap();
        let mut second = s.dialect(dialect);
        second.sessions.push(bound(&second, id, &keys));
        let bind = Logon {
            session: id,
            flags: 1,
            ..Logon::new("alice", "Passw0rd!")
        };
        let reply = second.logon(&bind).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS, "{dialect:#x}");
        // The first channel's key does not sign on the second.
        assert_ne!(reply.signature, None);
        assert_eq!(echo(&mut second).unwrap().status(), NtStatus::ACCESS_DENIED);
        assert_eq!(echo(&mut first).unwrap().status(), NtStatus::SUCCESS);
    }
}

/// A session as it is known on a connection that wants to bind to it.
fn bound(c: &Client<MemoryWire>, id: u64, keys: &countersign_crypto::smb2::SessionKeys) -> Session {
    Session::known(id, keys.clone(), c.algorithm, None)
}

#[test]
fn bindings_that_are_refused() {
    let s = Subject::new(required());
    let mut first = s.alice(0x302);
    let id = first.session().id;
    let keys = first.session().keys.clone().unwrap();
    // Another dialect.
    let mut c = s.dialect(0x300);
    c.sessions.push(bound(&c, id, &keys));
    let bind = Logon {
        session: id,
        flags: 1,
        ..Logon::new("alice", "Passw0rd!")
    };
    assert_eq!(
        c.logon(&bind).unwrap().status(),
        NtStatus::INVALID_PARAMETER
    );
    // Not signed.
    let mut c = s.dialect(0x302);
    assert_eq!(
        c.logon(&bind).unwrap().status(),
        NtStatus::INVALID_PARAMETER
    );
    // On the connection that has it already.
    assert_eq!(
        first.logon(&bind).unwrap().status(),
        NtStatus::REQUEST_NOT_ACCEPTED
    );
    // A session nobody has.
    let mut c = s.dialect(0x302);
    c.sessions.push(bound(&c, 0x9999, &keys));
    let bind = Logon {
        session: 0x9999,
        ..bind
    };
    assert_eq!(
        c.logon(&bind).unwrap().status(),
        NtStatus::USER_SESSION_DELETED
    );
    // Another user: refused, and the session goes on.
    let mut c = s.dialect(0x302);
    c.sessions.push(bound(&c, id, &keys));
    let bind = Logon {
        session: id,
        flags: 1,
        ..Logon::new("bob", "S3cret#2b")
    };
    let reply = c.logon(&bind).unwrap();
    assert!(matches!(
        reply.status(),
        NtStatus::ACCESS_DENIED | NtStatus::NOT_SUPPORTED
    ));
    assert_eq!(echo(&mut first).unwrap().status(), NtStatus::SUCCESS);
}

#[test]
fn unauthenticated_connections_end() {
    let s = Subject::new(optional());
    let mut c = s.dialect(0x311);
    c.wire.patience = std::time::Duration::from_secs(120);
    assert!(c.any_reply().is_none());
    assert!(c.wire.closed());
}

#[test]
fn addresses_that_fail_too_often_are_locked_out() {
    let s = Subject::with(optional(), |c| {
        c.logon.lockout_failures = 3;
        c.logon.delay = std::time::Duration::ZERO;
    });
    for _ in 0..3 {
        let reply = s
            .dialect(0x311)
            .logon(&Logon::new("alice", "wrong"))
            .unwrap();
        assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
    }
    let reply = s
        .dialect(0x311)
        .logon(&Logon::new("alice", "Passw0rd!"))
        .unwrap();
    assert_ne!(reply.status(), NtStatus::SUCCESS);
    s.server.host.advance(std::time::Duration::from_secs(61));
    let reply = s
        .dialect(0x311)
        .logon(&Logon::new("alice", "Passw0rd!"))
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
}
