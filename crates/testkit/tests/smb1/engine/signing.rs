//! What the client's settings lead to, and that nothing altered, unsigned,
//! replayed, dropped or injected is ever taken.

use super::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use countersign_core::client::{Answer, Call, CloseReason, Failure, LogonKind, OpenRequest};
use countersign_policy::{Identity, Reason};
use countersign_wire::fscc::AccessMask;
use countersign_wire::smb1::SIGNATURE_PLACEHOLDER;

#[derive(Debug, PartialEq, Eq)]
enum Came {
    Signed,
    Unsigned,
    Refused,
}

fn came(server: &TestServer, always: Value, agrees: Value, extended: bool) -> Came {
    let mut config = client_config();
    config.policy = client_policy(always, agrees);
    config.smb1.extended_security = extended;
    let mut rig = Rig::new(server, config);
    let came = match rig.logon("alice", PASSWORD) {
        Ok(logged_on) if logged_on.signed => Came::Signed,
        Ok(_) => Came::Unsigned,
        Err(_) => return Came::Refused,
    };
    rig.tree("share");
    let last = rig.received.last().unwrap();
    assert_eq!(came == Came::Signed, last[14..22] != [0; 8]);
    came
}

#[test]
fn the_table_of_client_and_server() {
    use Value::{Disabled, Enabled};
    // Servers: off, if agrees, always. Clients: off, if agrees, always.
    let settings = [
        (Disabled, Disabled),
        (Disabled, Enabled),
        (Enabled, Enabled),
    ];
    let expected = [
        [Came::Unsigned, Came::Unsigned, Came::Refused],
        [Came::Unsigned, Came::Signed, Came::Signed],
        [Came::Refused, Came::Signed, Came::Signed],
    ];
    for (client, row) in settings.into_iter().zip(expected) {
        for (server, cell) in settings.into_iter().zip(row) {
            for extended in [true, false] {
                let memory = TestServer::new(|c| c.policy = policy(server.0, server.1));
                assert_eq!(
                    came(&memory, client.0, client.1, extended),
                    cell,
                    "client {client:?}, server {server:?}, extended {extended}"
                );
            }
        }
    }
}

#[test]
fn the_placeholder_stands_in_every_leg() {
    let server = TestServer::new(|_| {});
    let mut rig = Rig::new(&server, client_config());
    rig.logon("alice", PASSWORD).unwrap();
    let setups: Vec<_> = rig
        .sent
        .iter()
        .filter(|m| m[4] == Command::SESSION_SETUP_ANDX)
        .collect();
    assert_eq!(setups.len(), 2);
    assert!(setups.iter().all(|m| m[14..22] == SIGNATURE_PLACEHOLDER));
}

#[test]
fn classic_logons_show_only_what_is_allowed() {
    use countersign_core::client::ClassicResponse;
    for (classic, length) in [
        (ClassicResponse::Never, None),
        (ClassicResponse::NtlmV2, Some(60)),
        (ClassicResponse::Ntlm, Some(24)),
    ] {
        let server = TestServer::new(|_| {});
        let mut config = client_config();
        config.smb1.extended_security = false;
        config.smb1.classic = classic;
        let mut rig = Rig::new(&server, config);
        let negotiated = rig.negotiated().unwrap();
        assert_eq!(negotiated.logon, LogonKind::Classic);
        assert_eq!(negotiated.names.clone().unwrap().1, "MEMORY");
        let result = rig.logon_as(&negotiated, "alice", PASSWORD);
        let setup = rig
            .sent
            .iter()
            .find(|m| m[4] == Command::SESSION_SETUP_ANDX);
        match length {
            None => {
                assert!(matches!(result, Err(Failure::Unsupported(_))));
                assert!(setup.is_none());
            }
            Some(least) => {
                assert!(result.unwrap().signed);
                let m = setup.unwrap();
                assert!(usize::from(u16::from_le_bytes([m[49], m[50]])) >= least);
            }
        }
    }
}

#[test]
fn wrong_passwords_and_another_try() {
    let server = TestServer::new(|_| {});
    let mut rig = Rig::new(&server, client_config());
    let negotiated = rig.negotiated().unwrap();
    let wrong = rig.logon_as(&negotiated, "alice", "wrong");
    assert_eq!(status(wrong), NtStatus::LOGON_FAILURE);
    let right = rig.logon_as(&negotiated, "alice", PASSWORD).unwrap();
    assert!(right.signed);
    // A second logon, signed with the first key.
    let bob = rig.logon_as(&negotiated, "bob", BOB).unwrap();
    assert!(bob.signed);
    assert_ne!(bob.session, right.session);
    rig.tree("share");
}

#[test]
fn anonymous_is_refused_where_signing_is_required() {
    for (always, allowed) in [(Value::Disabled, true), (Value::Enabled, false)] {
        for extended in [true, false] {
            let server = TestServer::new(|_| {});
            let mut config = client_config();
            config.policy = client_policy(always, Value::Enabled);
            config.smb1.extended_security = extended;
            let mut rig = Rig::new(&server, config);
            match rig.logon("", "") {
                Ok(logged_on) => {
                    assert!(allowed);
                    assert_eq!(logged_on.identity, Identity::Anonymous);
                    assert!(!logged_on.signed);
                    rig.tree("IPC$");
                }
                Err(failure) => {
                    assert!(!allowed, "{failure:?}");
                    let reason = CloseReason::Policy(Reason::GuestUnderRequired);
                    assert_eq!(rig.closed(), Some(reason));
                }
            }
        }
    }
}

/// A rig with somebody between who acts from a switch on.
fn with_attack(
    attack: impl Fn(Way, Vec<u8>) -> Vec<Vec<u8>> + 'static,
) -> (TestServer, Rig, Rc<Cell<bool>>) {
    let server = TestServer::new(|_| {});
    let mut config = client_config();
    config.policy = client_policy(Value::Enabled, Value::Enabled);
    let mut rig = Rig::new(&server, config);
    let armed = Rc::new(Cell::new(false));
    let switch = Rc::clone(&armed);
    rig.between = Box::new(move |way, message| {
        if switch.get() {
            attack(way, message)
        } else {
            vec![message]
        }
    });
    (server, rig, armed)
}

fn bad_signature() -> Option<CloseReason> {
    Some(CloseReason::Policy(Reason::BadSignature))
}

#[test]
fn every_byte_of_a_reply_counts() {
    // Every byte of the reply to ECHO, header, words and data.
    for byte in 0..48 {
        let (_server, mut rig, armed) = with_attack(move |way, mut message| {
            if way == Way::ToClient && message[4] == Command::ECHO {
                message[byte] ^= 0x40;
            }
            vec![message]
        });
        rig.logon("alice", PASSWORD).unwrap();
        armed.set(true);
        let result = rig.call(Call::Echo);
        assert!(matches!(result, Err(Failure::Closed(_))), "byte {byte}");
        assert_eq!(rig.closed(), bad_signature(), "byte {byte}");
    }
}

#[test]
fn stripped_signatures_end_the_connection() {
    for flags in [false, true] {
        let (_server, mut rig, armed) = with_attack(move |way, mut message| {
            if way == Way::ToClient {
                message[14..22].fill(0);
                if flags {
                    message[10] &= !0x14;
                }
            }
            vec![message]
        });
        rig.logon("alice", PASSWORD).unwrap();
        armed.set(true);
        assert!(rig.call(Call::Echo).is_err());
        assert_eq!(rig.closed(), bad_signature());
    }
}

#[test]
fn replays_end_the_connection() {
    // At once, and later in place of another reply.
    let (_server, mut rig, armed) = with_attack(|way, message| match way {
        Way::ToClient => vec![message.clone(), message],
        Way::ToServer => vec![message],
    });
    rig.logon("alice", PASSWORD).unwrap();
    armed.set(true);
    // The first copy is the true reply; the second is the end.
    let _ = rig.call(Call::Echo);
    assert!(rig.closed().is_some());

    let kept = Rc::new(RefCell::new(Vec::new()));
    let keep = Rc::clone(&kept);
    let (_server, mut rig, armed) = with_attack(move |way, message| {
        if way == Way::ToServer {
            return vec![message];
        }
        let mut kept = keep.borrow_mut();
        if kept.is_empty() {
            kept.clone_from(&message);
            return vec![message];
        }
        let mut old = kept.clone();
        // With the MID that is awaited.
        old[30..32].copy_from_slice(&message[30..32]);
        vec![old]
    });
    rig.logon("alice", PASSWORD).unwrap();
    armed.set(true);
    assert!(rig.call(Call::Echo).is_ok());
    assert!(rig.call(Call::Echo).is_err());
    assert_eq!(rig.closed(), bad_signature());
}

#[test]
fn a_request_that_is_dropped_ends_the_connection() {
    let dropped = Rc::new(Cell::new(false));
    let once = Rc::clone(&dropped);
    let (_server, mut rig, armed) = with_attack(move |way, message| {
        if way == Way::ToServer && !once.replace(true) {
            return Vec::new();
        }
        vec![message]
    });
    rig.logon("alice", PASSWORD).unwrap();
    armed.set(true);
    let first = rig.submit(Call::Echo);
    rig.settle();
    // The next request has a number the server does not expect.
    let second = rig.submit(Call::Echo);
    assert!(rig.done(second).is_err());
    assert!(rig.done(first).is_err());
    assert!(rig.closed().is_some());
}

#[test]
fn a_reply_that_is_dropped_is_missed_in_time() {
    let (_server, mut rig, armed) = with_attack(|way, message| match way {
        Way::ToClient => Vec::new(),
        Way::ToServer => vec![message],
    });
    rig.logon("alice", PASSWORD).unwrap();
    armed.set(true);
    let id = rig.submit(Call::Echo);
    rig.settle();
    let due = rig.engine.poll_timeout().expect("a deadline");
    let now = countersign_fs::Host::monotonic(&*rig.host);
    assert_eq!(due - now, std::time::Duration::from_secs(60));
    rig.host.advance(due - now);
    let times = countersign_testkit::memory::times(&rig.host);
    rig.engine.handle_timeout(times);
    assert!(matches!(
        rig.done(id),
        Err(Failure::Closed(CloseReason::Timeout))
    ));
}

#[test]
fn replies_that_are_swapped_end_the_connection() {
    let held = Rc::new(RefCell::new(Vec::<Vec<u8>>::new()));
    let hold = Rc::clone(&held);
    let (_server, mut rig, armed) = with_attack(move |way, message| {
        if way == Way::ToServer {
            return vec![message];
        }
        let mut held = hold.borrow_mut();
        held.push(message);
        if held.len() < 2 {
            return Vec::new();
        }
        // Each gets the other's MID.
        let (a, b) = (held[0][30..32].to_vec(), held[1][30..32].to_vec());
        held[0][30..32].copy_from_slice(&b);
        held[1][30..32].copy_from_slice(&a);
        held.drain(..).collect()
    });
    rig.logon("alice", PASSWORD).unwrap();
    armed.set(true);
    let ids = [rig.submit(Call::Echo), rig.submit(Call::Echo)];
    for id in ids {
        assert!(rig.done(id).is_err());
    }
    assert_eq!(rig.closed(), bad_signature());
}

#[test]
fn replies_in_another_order_are_lawful() {
    let held = Rc::new(RefCell::new(Vec::<Vec<u8>>::new()));
    let hold = Rc::clone(&held);
    let (_server, mut rig, armed) = with_attack(move |way, message| {
        if way == Way::ToServer {
            return vec![message];
        }
        let mut held = hold.borrow_mut();
        held.push(message);
        if held.len() < 5 {
            return Vec::new();
        }
        held.drain(..).rev().collect()
    });
    rig.logon("alice", PASSWORD).unwrap();
    armed.set(true);
    let ids: Vec<_> = (0..5).map(|_| rig.submit(Call::Echo)).collect();
    for id in ids {
        assert!(matches!(rig.done(id), Ok(Answer::Done)));
    }
    assert_eq!(rig.closed(), None);
}

#[test]
fn what_is_injected_is_never_taken() {
    let (_server, mut rig, _) = with_attack(|_, message| vec![message]);
    rig.logon("alice", PASSWORD).unwrap();
    let tree = rig.tree("share");
    rig.open(tree, OpenRequest::existing("", AccessMask::READ_DATA))
        .unwrap();
    // A forged break of an oplock that nobody holds does nothing.
    let mut forged = vec![0xFF, b'S', b'M', b'B', Command::LOCKING_ANDX];
    forged.resize(32, 0);
    forged[30..32].fill(0xFF);
    forged.push(8);
    forged.extend([0xFF, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    rig.give(vec![forged.clone()]);
    assert_eq!(rig.closed(), None);
    assert!(rig.events.is_empty());
    // Anything else without a signature is the end.
    forged[9] = 0x80;
    rig.give(vec![forged]);
    assert_eq!(rig.closed(), bad_signature());
}

#[test]
fn flags_that_are_cleared_on_the_way_gain_nothing() {
    // The man in the middle who makes both sides believe that the other cannot
    // sign: he succeeds only where neither requires it.
    let strip = |way, mut message: Vec<u8>| {
        match (way, message[4]) {
            (Way::ToClient, Command::NEGOTIATE) => message[35] &= !0x0C,
            (Way::ToServer, _) => message[10] &= !0x14,
            _ => {}
        }
        vec![message]
    };
    for (always, server_always, signed) in [
        (Value::Disabled, Value::Disabled, Some(false)),
        (Value::Enabled, Value::Disabled, None),
        (Value::Disabled, Value::Enabled, None),
        (Value::Enabled, Value::Enabled, Some(true)),
    ] {
        let server = TestServer::new(|c| c.policy = policy(server_always, Value::Enabled));
        let mut config = client_config();
        config.policy = client_policy(always, Value::Enabled);
        let mut rig = Rig::new(&server, config);
        rig.between = Box::new(strip);
        let result = rig.logon("alice", PASSWORD).and_then(|l| {
            rig.call(Call::TreeConnect {
                share: "share".into(),
            })
            .map(|_| l.signed)
        });
        // Requests of a signed connection whose flags are altered fail at the server.
        match signed {
            Some(false) => assert_eq!(result.ok(), Some(false)),
            _ => assert!(result.is_err(), "{always:?} {server_always:?}"),
        }
    }
}

#[test]
fn cleared_request_flags_alone_are_noticed() {
    // Samba's client falls back to unsigned here; nobody may.
    let server = TestServer::new(|_| {});
    let mut rig = Rig::new(&server, client_config());
    rig.between = Box::new(|way, mut message: Vec<u8>| {
        if way == Way::ToServer {
            message[10] &= !0x14;
        }
        vec![message]
    });
    assert!(rig.logon("alice", PASSWORD).is_err());
    assert_eq!(
        rig.closed(),
        Some(CloseReason::Policy(Reason::FinalResponseUnsigned))
    );
}

#[test]
fn a_guest_by_somebody_else_s_word_is_refused() {
    for always in [Value::Disabled, Value::Enabled] {
        let server = TestServer::new(|_| {});
        let mut config = client_config();
        config.policy = client_policy(always, Value::Enabled);
        let mut rig = Rig::new(&server, config);
        rig.between = Box::new(|way, mut message: Vec<u8>| {
            if way == Way::ToClient
                && message[4] == Command::SESSION_SETUP_ANDX
                && message[5..9] == [0; 4]
            {
                message[37] |= 1;
                message[14..22].fill(0);
            }
            vec![message]
        });
        assert!(rig.logon("alice", PASSWORD).is_err());
        assert!(rig.closed().is_some());
    }
}

#[test]
fn servers_that_cannot_be_worked_with() {
    // No dialect, share-level security, passwords in clear.
    for (place, and, or) in [(33, 0x00, 0xFF), (35, !0x01, 0), (35, !0x02, 0)] {
        let server = TestServer::new(|_| {});
        let mut rig = Rig::new(&server, client_config());
        rig.between = Box::new(move |way, mut message: Vec<u8>| {
            if way == Way::ToClient {
                message[place] = message[place] & and | or;
                if place == 33 {
                    message[34] = 0xFF;
                }
            }
            vec![message]
        });
        assert!(matches!(
            rig.negotiated(),
            Err(CloseReason::Incompatible(_))
        ));
    }
}

#[test]
fn the_highest_dialect_of_both_is_taken() {
    use countersign_core::config::Dialect::{Smb1, Smb202, Smb210, Smb300, Smb311};
    for (server_highest, client_highest, expected) in [
        (Smb311, Smb311, Smb311),
        (Smb300, Smb311, Smb300),
        (Smb202, Smb311, Smb202),
        (Smb311, Smb202, Smb202),
        (Smb311, Smb210, Smb210),
        (Smb1, Smb311, Smb1),
        (Smb311, Smb1, Smb1),
    ] {
        let server = TestServer::new(|c| c.max_dialect = server_highest);
        let mut config = client_config();
        config.max_dialect = client_highest;
        config.policy = client_policy(Value::Enabled, Value::Enabled);
        let mut rig = Rig::new(&server, config);
        let negotiated = rig.negotiated().unwrap();
        assert_eq!(negotiated.dialect, expected);
        let logged_on = rig.logon_as(&negotiated, "alice", PASSWORD).unwrap();
        assert!(logged_on.signed);
        let tree = rig.tree("share");
        rig.open(tree, OpenRequest::existing("", AccessMask::READ_DATA))
            .unwrap();
        // What was begun with is SMB1 in any case.
        assert_eq!(rig.sent[0][..4], *b"\xFFSMB");
    }
}
