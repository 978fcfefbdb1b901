//! Signing: when it starts, how messages are numbered, what ends a connection.

use crate::client::Client;
use countersign_core::config::OnTighten;
use countersign_policy::Value;
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb1::files::{LockType, LockingAndx};
use countersign_wire::smb1::transaction::{Fragment, Kind, Primary};
use countersign_wire::smb1::{Command, Flags2, HEADER, SIGNATURE, SIGNATURE_PLACEHOLDER};

use crate::*;

const ABLE: Flags2 = Flags2::SECURITY_SIGNATURE;
const INSISTS: Flags2 = Flags2::SECURITY_SIGNATURE_REQUIRED;

#[derive(Debug, PartialEq, Eq)]
enum Cell {
    Signed,
    Unsigned,
    Refused,
}

/// What a logon with these flags comes to.
fn cell(server: &TestServer, flags: Flags2, classic: bool) -> Cell {
    let mut client = Client::new(server.connect());
    client.flags2.remove(ABLE | INSISTS);
    client.flags2.insert(flags);
    client.flags2.set(Flags2::EXTENDED_SECURITY, !classic);
    client.negotiate().unwrap();
    let reply = if classic {
        client.classic_logon("alice", PASSWORD).unwrap()
    } else {
        client.logon("alice", PASSWORD).unwrap()
    };
    match (reply.status(), reply.signature) {
        (NtStatus::SUCCESS, Some(true)) => {
            let reply = client.tree_connect("share").unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            Cell::Signed
        }
        (NtStatus::SUCCESS, _) => {
            let reply = client.tree_connect("share").unwrap();
            assert_eq!(reply.status(), NtStatus::SUCCESS);
            assert_eq!(reply.header.signature, [0; 8]);
            Cell::Unsigned
        }
        (NtStatus::ACCESS_DENIED, _) => Cell::Refused,
        (other, _) => panic!("{other}"),
    }
}

#[test]
fn the_nine_combinations_of_the_server_s_settings() {
    let values = [Value::Enabled, Value::Disabled, Value::NotDefined];
    for always in values {
        for agrees in values {
            let server = TestServer::new(|c| c.policy = policy(always, agrees));
            for classic in [false, true] {
                let got = [Flags2::empty(), ABLE, ABLE | INSISTS]
                    .map(|flags| cell(&server, flags, classic));
                let expected = match (always, agrees) {
                    (Value::Enabled, _) => [Cell::Signed, Cell::Signed, Cell::Signed],
                    (_, Value::Enabled) => [Cell::Unsigned, Cell::Signed, Cell::Signed],
                    _ => [Cell::Unsigned, Cell::Unsigned, Cell::Refused],
                };
                assert_eq!(got, expected, "{always:?} {agrees:?} classic: {classic}");
            }
        }
    }
}

#[test]
fn what_negotiate_announces() {
    for (always, agrees, mode, raw) in [
        (Value::Disabled, Value::Disabled, 0x03, false),
        (Value::Disabled, Value::Enabled, 0x07, false),
        (Value::Enabled, Value::Disabled, 0x0F, false),
    ] {
        let server = TestServer::new(|c| c.policy = policy(always, agrees));
        let client = server.negotiated();
        let words = client.negotiated.unwrap().0;
        assert_eq!(words.security_mode, mode);
        assert_eq!(words.capabilities & 1 != 0, raw, "raw mode");
    }
}

#[test]
fn required_signing_refuses_who_has_no_key() {
    let server = TestServer::new(|c| c.policy = policy(Value::Enabled, Value::NotDefined));
    for classic in [false, true] {
        let mut client = Client::new(server.connect());
        client.flags2.set(Flags2::EXTENDED_SECURITY, !classic);
        client.negotiate().unwrap();
        let reply = if classic {
            client.classic_logon("", "").unwrap()
        } else {
            client.logon("", "").unwrap()
        };
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
        assert!(server.server.registry.list().is_empty());
        client.uid = reply.header.uid;
        assert_ne!(
            client.tree_connect("IPC$").unwrap().status(),
            NtStatus::SUCCESS
        );
    }
}

#[test]
fn anonymous_and_failed_logons_use_no_number() {
    let server = TestServer::new(|_| {});
    let mut client = server.negotiated();
    let reply = client.logon("alice", "wrong").unwrap();
    assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
    assert_eq!(reply.header.signature, SIGNATURE_PLACEHOLDER);
    client.uid = 0;
    let reply = client.logon("", "").unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert!(client.key.is_none());
    client.uid = 0;
    // The first real logon activates with number 1, whatever came before.
    let reply = client.logon("alice", PASSWORD).unwrap();
    assert_eq!(reply.signature, Some(true));
    assert_eq!(client.next, 2);
}

#[test]
fn later_logons_travel_under_the_first_key() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let first = client.uid;
    let next = client.next;
    client.uid = 0;
    let reply = client.logon("bob", BOB).unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    assert_eq!(client.next, next + 4, "two legs of two numbers each");
    assert_ne!(client.uid, first);
    // A failed one as well.
    let bob = client.uid;
    client.uid = 0;
    let reply = client.logon("bob", "wrong").unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::LOGON_FAILURE, Some(true))
    );
    // Logging off the user whose key it is does not end signing.
    client.uid = first;
    let reply = client
        .command(Command::LOGOFF_ANDX, Vec::new(), Vec::new())
        .unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    client.uid = bob;
    let reply = client.tree_connect("share").unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
}

#[test]
fn flags_do_not_decide_whether_a_message_is_verified() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    client.flags2.remove(ABLE | INSISTS);
    let reply = echo(&mut client).unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    // Rightly flagged and not signed at all.
    client.flags2.insert(ABLE | INSISTS);
    client.sign = false;
    assert!(echo(&mut client).is_none());
    assert!(client.wire.closed());
    assert_eq!(server.server.statistics.bad_signatures.get(), 1);
}

#[test]
fn altered_replayed_and_reordered_messages_end_the_connection() {
    let server = TestServer::new(|_| {});
    // One bit of the message, of the signature, of the header before it.
    for bit in [HEADER + 5, SIGNATURE.start, 30] {
        let mut client = server.alice();
        let mut message = client.message(&[(Command::ECHO, vec![1, 0], b"hello".to_vec())]);
        client.protect(&mut message);
        message[bit] ^= 1;
        client.wire.send(&message);
        assert!(client.reply().is_none());
        assert!(client.wire.closed(), "{bit}");
    }
    let mut client = server.alice();
    let mut message = client.message(&[(Command::ECHO, vec![1, 0], b"hello".to_vec())]);
    client.protect(&mut message);
    client.wire.send(&message);
    assert!(client.reply().is_some());
    client.wire.send(&message);
    assert!(client.wire.closed(), "a replay");
    // Two messages change places: neither is acted upon, and what follows is not read.
    let mut client = server.alice();
    let messages: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let mut message = client.message(&[(Command::ECHO, vec![1, 0], b"x".to_vec())]);
            client.protect(&mut message);
            message
        })
        .collect();
    client.wire.send_all(&[&messages[1], &messages[0]]);
    assert!(client.reply().is_none());
    assert!(client.wire.closed());
}

#[test]
fn what_stands_before_a_bad_message_in_a_batch_is_answered() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let mut batch: Vec<Vec<u8>> = Vec::new();
    for _ in 0..3 {
        let mut message = client.message(&[(Command::ECHO, vec![1, 0], b"x".to_vec())]);
        client.protect(&mut message);
        client.mid += 1;
        batch.push(message);
    }
    batch[1][HEADER + 2] ^= 1;
    let refs: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    client.wire.send_all(&refs);
    assert_eq!(client.reply().unwrap().signature, Some(true));
    assert!(client.reply().is_none());
    assert!(client.wire.closed());
}

#[test]
fn errors_use_two_numbers_like_everything() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    client.tid = 999;
    let reply = client
        .command(Command::CLOSE, vec![0; 6], Vec::new())
        .unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SMB_BAD_TID, Some(true))
    );
    client.tid = 0xFFFF;
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
}

#[test]
fn all_responses_of_an_echo_have_one_number_and_none_uses_two() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    client.send(&[(Command::ECHO, vec![3, 0], b"abc".to_vec())]);
    for n in 1..=3_u16 {
        let reply = client.reply().unwrap();
        assert_eq!(reply.signature, Some(true));
        assert_eq!(reply.block().words, n.to_le_bytes());
        assert_eq!(reply.block().byte_slice(), b"abc");
    }
    client.send(&[(Command::ECHO, vec![0, 0], b"abc".to_vec())]);
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
}

#[test]
fn a_chain_is_one_message() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    std::fs::write(server.folder.path().join("f"), b"contents").unwrap();
    let name = encode_name(client.text(), HEADER + 1 + 48 + 2, "f");
    let read = countersign_wire::smb1::files::ReadAndx {
        fid: 0,
        offset: 0,
        max_count: 100,
        min_count: 0,
        short_form: false,
    };
    let parts = [
        (Command::NT_CREATE_ANDX, create_words().to_vec(), name),
        (Command::READ_ANDX, read.encode(), Vec::new()),
    ];
    let reply = client.call(&parts).unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    let blocks = reply.blocks();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[1].byte_slice().ends_with(b"contents"));
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
}

/// A TRANS2 QUERY_PATH_INFORMATION in pieces: parameters in the primary,
/// the rest one by one.
fn in_pieces(
    client: &mut Client<MemoryWire>,
    kind: Kind,
    function: u16,
    parameters: &[u8],
) -> Reply {
    let (first, rest) = parameters.split_at(4);
    let total = u32::try_from(parameters.len()).unwrap();
    let fragment = |bytes, at| Fragment {
        total_parameters: total,
        total_data: 0,
        parameters: bytes,
        parameter_displacement: at,
        data: &[],
        data_displacement: 0,
    };
    let setup = function.to_le_bytes();
    let primary = Primary {
        kind,
        function,
        flags: 0,
        timeout: 0,
        max_parameters: 100,
        max_data: 1000,
        max_setup: 0,
        setup: if kind == Kind::NtTransact {
            &[]
        } else {
            &setup
        },
        name: String::new(),
        fragment: fragment(first, 0),
    };
    let (words, bytes) = primary.encode(client.text(), HEADER);
    let mid = client.send(&[(kind.command(), words, bytes)]);
    let interim = client.reply().unwrap();
    assert_eq!(
        (interim.status(), interim.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    assert_eq!(interim.block().word_count(), 0);
    let (second, third) = rest.split_at(3);
    for (part, at) in [(second, 4), (third, 7)] {
        // A secondary has its primary's MID, and moves the number of the answer.
        client.mid = mid;
        let (words, bytes) = fragment(part, at).encode_secondary(kind, HEADER);
        client.send(&[(kind.command() + 1, words, bytes)]);
    }
    let reply = client.reply().unwrap();
    assert_eq!(reply.header.command, kind.command());
    assert_eq!(reply.signature, Some(true));
    reply
}

#[test]
fn secondaries_move_the_number_of_the_answer() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    std::fs::write(server.folder.path().join("file"), b"12345").unwrap();
    let mut parameters = vec![0x02, 0x01, 0, 0, 0, 0];
    parameters.extend(client.text().encode("file"));
    let reply = in_pieces(&mut client, Kind::Transaction2, 5, &parameters);
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    // NT_TRANSACT of an unknown function: the error has the last one's number too.
    let reply = in_pieces(&mut client, Kind::NtTransact, 99, &parameters);
    assert_eq!(reply.status(), NtStatus::INVALID_PARAMETER);
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
}

#[test]
fn cancel_uses_one_number_and_its_victim_answers_with_its_own() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let mut words = create_words();
    words.create_options = 1;
    words.desired_access = 0x0010_0081;
    let folder = nt_create(&mut client, "", words).unwrap();
    let setup = countersign_wire::smb1::trans2::NotifyChangeSetup {
        completion_filter: 1,
        fid: folder.fid,
        watch_tree: 0,
        reserved: 0,
    }
    .to_vec();
    let primary = Primary {
        kind: Kind::NtTransact,
        function: 4,
        flags: 0,
        timeout: 0,
        max_parameters: 1000,
        max_data: 0,
        max_setup: 0,
        setup: &setup,
        name: String::new(),
        fragment: Fragment {
            total_parameters: 0,
            total_data: 0,
            parameters: &[],
            parameter_displacement: 0,
            data: &[],
            data_displacement: 0,
        },
    };
    let (w, b) = primary.encode(client.text(), HEADER);
    let mid = client.send(&[(Command::NT_TRANSACT, w, b)]);
    // Something between them.
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
    let next = client.next;
    client.mid = mid;
    client.send(&[(Command::NT_CANCEL, Vec::new(), Vec::new())]);
    assert_eq!(client.next, next + 1);
    let reply = client.reply().unwrap();
    assert_eq!(reply.header.mid, mid);
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::CANCELLED, Some(true))
    );
    // Cancelling nothing: no answer, one number.
    client.mid = 900;
    client.send(&[(Command::NT_CANCEL, Vec::new(), Vec::new())]);
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
}

#[test]
fn oplock_breaks_are_not_signed_and_their_acknowledgments_have_no_answer() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let mut words = create_words();
    words.flags = 0x06;
    let file = nt_create(&mut client, "f", words).unwrap();
    assert_eq!(file.oplock_level, 2);
    let mut other = server.alice();
    let name = encode_name(other.text(), HEADER + 1 + 48 + 2, "f");
    other.send(&[(Command::NT_CREATE_ANDX, create_words().to_vec(), name)]);
    client.wire.settle();
    let break_message = client.wire.receive().unwrap();
    assert_eq!(break_message.len(), 51);
    assert_eq!(break_message[SIGNATURE], [0; 8]);
    assert_eq!(break_message[9] & 0x80, 0, "a request");
    assert_eq!(break_message[30..32], [0xFF, 0xFF], "MID");
    let lock = LockingAndx {
        fid: file.fid,
        kind: LockType::OPLOCK_RELEASE,
        oplock_level: 1,
        timeout: 0,
        unlocks: Vec::new(),
        locks: Vec::new(),
    };
    let (w, b) = lock.encode();
    client.send(&[(Command::LOCKING_ANDX, w, b)]);
    // The acknowledgment used two numbers and has no answer.
    assert_eq!(echo(&mut client).unwrap().signature, Some(true));
    assert_eq!(other.reply().unwrap().status(), NtStatus::SUCCESS);
}

#[test]
fn raw_mode_ends_a_signed_connection() {
    let server = TestServer::new(|_| {});
    for command in [Command::READ_RAW, Command::WRITE_RAW] {
        let mut client = server.alice();
        assert!(client.command(command, vec![0; 16], Vec::new()).is_none());
        assert!(client.wire.closed());
    }
}

#[test]
fn pipelined_requests_answer_with_their_own_numbers() {
    let server = TestServer::new(|_| {});
    let mut client = server.alice();
    let mut batch = Vec::new();
    for _ in 0..20 {
        let mut m = client.message(&[(Command::ECHO, vec![1, 0], b"x".to_vec())]);
        client.protect(&mut m);
        client.mid += 1;
        batch.push(m);
    }
    let refs: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
    client.wire.send_all(&refs);
    for _ in 0..20 {
        assert_eq!(client.reply().unwrap().signature, Some(true));
    }
}

#[test]
fn a_tightened_policy_ends_unsigned_sessions_and_no_signed_one() {
    for on_tighten in [OnTighten::End, OnTighten::Keep] {
        let server = TestServer::new(|c| c.on_tighten = on_tighten);
        let mut signed = server.alice();
        let mut unsigned = Client::new(server.connect());
        unsigned.flags2.remove(ABLE);
        unsigned.negotiate().unwrap();
        unsigned.logon("bob", BOB).unwrap();
        assert!(unsigned.key.is_none());
        server.reconfigure(|c| c.policy = policy(Value::Enabled, Value::Enabled));
        let now = countersign_testkit::memory::times(&server.host);
        let kept = signed.wire.connection.apply_policy(now);
        assert_eq!((kept.satisfied, kept.ended), (1, 0));
        let ended = unsigned.wire.connection.apply_policy(now);
        let end = on_tighten == OnTighten::End;
        assert_eq!(
            (ended.ended, ended.kept),
            (usize::from(end), usize::from(!end))
        );
        assert_eq!(unsigned.wire.closed(), end);
        assert_eq!(echo(&mut signed).unwrap().signature, Some(true));
    }
}
