//! [MS-SMB2] 3.3.4.1.1, 3.3.5.2.4, 3.3.5.5.3.

use super::*;
use countersign_testkit::wire::Wire;

#[test]
fn every_reply_to_a_signed_request_is_signed() {
    for settings in [optional(), required()] {
        let s = Subject::new(settings);
        for dialect in ALL {
            let mut c = s.alice(dialect);
            for _ in 0..3 {
                let reply = echo(&mut c).unwrap();
                assert_eq!(
                    (reply.status(), reply.signature),
                    (NtStatus::SUCCESS, Some(true))
                );
            }
            // Errors too.
            let reply = c.tree_connect(r"\\server\nothing").unwrap();
            assert_eq!(reply.status(), NtStatus::BAD_NETWORK_NAME);
            assert_eq!(reply.signature, Some(true), "{dialect:#x}");
            let reply = c
                .call(Command::LOGOFF, |w| LogoffRequest.encode(w))
                .unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
        }
    }
}

#[test]
fn an_unsigned_request_is_answered_unsigned_when_signing_is_optional() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        c.session().sign = false;
        let reply = echo(&mut c).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert!(!reply.header.is_signed());
        assert_eq!(reply.header.signature, [0; 16]);
        // And a signed one between them is verified all the same.
        c.session().sign = true;
        assert_eq!(echo(&mut c).unwrap().signature, Some(true));
    }
}

#[test]
fn an_unsigned_request_is_denied_when_signing_is_required() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        c.session().sign = false;
        let reply = echo(&mut c).unwrap();
        assert_eq!(
            (reply.status(), reply.signature),
            (NtStatus::ACCESS_DENIED, Some(true))
        );
        c.session().sign = true;
        assert_eq!(
            echo(&mut c).unwrap().status(),
            NtStatus::SUCCESS,
            "the connection stays"
        );
    }
}

#[test]
fn the_session_setup_bit_requires_signing_whatever_the_policy() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        let mode = SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED;
        c.logon(&Logon {
            security_mode: mode,
            ..Logon::new("alice", "Passw0rd!")
        })
        .unwrap();
        c.session().sign = false;
        assert_eq!(
            echo(&mut c).unwrap().status(),
            NtStatus::ACCESS_DENIED,
            "{dialect:#x}"
        );
    }
}

/// [MS-SMB2] 3.3.5.4 Connection.ShouldSign, as Microsoft's model has it; smbd
/// looks at SESSION_SETUP's bit alone.
#[test]
fn the_negotiate_bit_requires_signing_too() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.connect();
        let mode = SecurityMode::SIGNING_ENABLED | SecurityMode::SIGNING_REQUIRED;
        c.negotiate(Offer {
            security_mode: mode,
            ..Offer::dialect(dialect)
        })
        .unwrap();
        c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        c.session().sign = false;
        assert_eq!(
            echo(&mut c).unwrap().status(),
            NtStatus::ACCESS_DENIED,
            "{dialect:#x}"
        );
    }
}

#[test]
fn a_bad_signature_is_denied_and_nothing_is_done() {
    for settings in [optional(), required()] {
        let s = Subject::new(settings);
        for dialect in ALL {
            let mut c = s.alice(dialect);
            let bad = s.server.server.statistics.bad_signatures.get();
            for at in [0, 20, 63, 66] {
                let header = c.header(Command::LOGOFF);
                let mut m = Client::<MemoryWire>::message(&header, |w| LogoffRequest.encode(w));
                c.sign(&mut m);
                let at = if at == 0 { 50 } else { at };
                m[at] ^= 0x40;
                c.wire.send(&m);
                let reply = c.reply();
                if at == 20 {
                    // NextCommand is spoilt: the frame is malformed.
                    assert!(reply.is_none_or(|r| r.status() != NtStatus::SUCCESS));
                    if c.wire.closed() {
                        break;
                    }
                    continue;
                }
                let reply = reply.unwrap();
                assert_eq!(
                    reply.status(),
                    NtStatus::ACCESS_DENIED,
                    "{dialect:#x} byte {at}"
                );
                assert_eq!(reply.signature, Some(true));
            }
            assert!(s.server.server.statistics.bad_signatures.get() > bad);
            if !c.wire.closed() {
                assert_eq!(
                    echo(&mut c).unwrap().status(),
                    NtStatus::SUCCESS,
                    "still logged on"
                );
            }
        }
    }
}

#[test]
fn a_replayed_message_disconnects() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        let header = c.header(Command::ECHO);
        let mut m = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
        c.sign(&mut m);
        c.wire.send(&m);
        assert_eq!(c.reply().unwrap().status(), NtStatus::SUCCESS);
        c.wire.send(&m);
        assert!(c.reply().is_none() && c.wire.closed(), "{dialect:#x}");
    }
}

#[test]
fn a_signed_request_for_an_unknown_session() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        let header = Header {
            session_id: 0x7777,
            ..c.header(Command::ECHO)
        };
        let mut m = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
        c.sign(&mut m);
        c.wire.send(&m);
        assert_eq!(c.reply().unwrap().status(), NtStatus::USER_SESSION_DELETED);
        assert_eq!(echo(&mut c).unwrap().status(), NtStatus::SUCCESS);
    }
}

#[test]
fn each_part_of_a_compound_is_judged_alone() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        let mut frame = Vec::new();
        for i in 0..3 {
            let mut header = c.header(Command::ECHO);
            if i < 2 {
                header.next_command = 72;
            }
            let mut m = Client::<MemoryWire>::message(&header, |w| {
                EchoRequest.encode(w);
                if i < 2 {
                    w.align(8);
                }
            });
            c.sign(&mut m);
            if i == 1 {
                m[60] ^= 1;
            }
            frame.extend(m);
        }
        c.wire.send(&frame);
        let mut replies = c.replies().unwrap();
        while replies.len() < 3 {
            replies.extend(c.replies().unwrap());
        }
        let got: Vec<_> = replies.iter().map(|r| (r.status(), r.signature)).collect();
        let good = (NtStatus::SUCCESS, Some(true));
        assert_eq!(
            got,
            [good, (NtStatus::ACCESS_DENIED, Some(true)), good],
            "{dialect:#x}"
        );
    }
}

#[test]
fn guests_and_anonymous_do_not_exist_under_required_signing() {
    let s = Subject::with(required(), |c| c.guest = true);
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        let reply = c.logon(&Logon::new("", "")).unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{dialect:#x}");
    }
}

#[test]
fn an_anonymous_session_is_unsigned_when_it_may_exist() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        let reply = c.logon(&Logon::new("", "")).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert!(!reply.header.is_signed());
        let reply = c.tree_connect(r"\\server\IPC$").unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        let reply = c.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    }
}
