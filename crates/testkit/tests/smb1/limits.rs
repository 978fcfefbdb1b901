//! Limits and bad input: each has its answer.

use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb1::transaction::{Fragment, Kind, Primary};
use countersign_wire::smb1::{Command, Flags2, HEADER};

use crate::*;

/// Unsigned, so that malformed messages get past the gate.
fn unsigned(server: &TestServer) -> Client<MemoryWire> {
    let mut client = Client::new(server.connect());
    client.flags2.remove(Flags2::SECURITY_SIGNATURE);
    client.negotiate().unwrap();
    client.logon("alice", PASSWORD).unwrap();
    client.tree_connect("share").unwrap();
    assert!(client.key.is_none());
    client
}

#[test]
fn chains_end_at_their_limit() {
    let server = TestServer::new(|c| c.limits.chain_length = 4);
    let mut client = unsigned(&server);
    let read = |fid| {
        let read = countersign_wire::smb1::files::ReadAndx {
            fid,
            offset: 0,
            max_count: 1,
            min_count: 0,
            short_form: true,
        };
        (Command::READ_ANDX, read.encode(), Vec::new())
    };
    let file = nt_create(&mut client, "f", create_words()).unwrap();
    let chain = |n| (0..n).map(|_| read(file.fid)).collect::<Vec<_>>();
    let reply = client.call(&chain(4)).unwrap();
    assert_eq!(
        (reply.status(), reply.blocks().len()),
        (NtStatus::SUCCESS, 4)
    );
    let reply = client.call(&chain(5)).unwrap();
    assert_eq!(reply.status(), NtStatus::INVALID_SMB);
}

#[test]
fn opens_trees_sessions_and_calls_have_their_limits() {
    let server = TestServer::new(|c| {
        c.limits.opens_per_session = 3;
        c.limits.trees_per_session = 2;
        c.limits.sessions_per_connection = 2;
        c.limits.pending_calls = 2;
    });
    let mut client = unsigned(&server);
    for n in 0..3 {
        nt_create(&mut client, &format!("f{n}"), create_words()).unwrap();
    }
    let status = nt_create(&mut client, "f3", create_words()).unwrap_err();
    assert_eq!(status, NtStatus(0xC000_011F), "TOO_MANY_OPENED_FILES");
    assert_eq!(server.server.files.statistics().opens, 3);
    let tid = client.tid;
    assert_eq!(
        client.tree_connect("share").unwrap().status(),
        NtStatus::SUCCESS
    );
    let reply = client.tree_connect("share").unwrap();
    assert_eq!(reply.status(), NtStatus::INSUFFICIENT_RESOURCES);
    client.tid = tid;
    let uid = client.uid;
    client.uid = 0;
    assert_eq!(
        client.logon("bob", BOB).unwrap().status(),
        NtStatus::SUCCESS
    );
    client.uid = 0;
    let reply = client.logon("bob", BOB).unwrap();
    assert_eq!(reply.status(), NtStatus::TOO_MANY_SESSIONS);
    client.uid = uid;
    // Two locks wait; a third request is not taken.
    let file = 1;
    let lock = |pid| {
        countersign_wire::smb1::files::LockingAndx {
            fid: file,
            kind: countersign_wire::smb1::files::LockType::empty(),
            oplock_level: 0,
            timeout: u32::MAX,
            unlocks: Vec::new(),
            locks: vec![countersign_wire::smb1::files::LockingRange {
                pid,
                offset: 0,
                length: 1,
            }],
        }
        .encode()
    };
    let (w, b) = lock(1);
    assert_eq!(
        client
            .command(Command::LOCKING_ANDX, w, b)
            .unwrap()
            .status(),
        NtStatus::SUCCESS
    );
    for pid in [2, 3] {
        let (w, b) = lock(pid);
        client.send(&[(Command::LOCKING_ANDX, w, b)]);
    }
    let reply = echo(&mut client).unwrap();
    assert_eq!(reply.status(), NtStatus::INSUFFICIENT_RESOURCES);
}

#[test]
fn transactions_hold_only_so_many_bytes() {
    let server = TestServer::new(|c| c.limits.smb1_transaction_bytes = 100_000);
    let mut client = unsigned(&server);
    let mut begin = |total_data| {
        let primary = Primary {
            kind: Kind::NtTransact,
            function: 6,
            flags: 0,
            timeout: 0,
            max_parameters: 0,
            max_data: 0,
            max_setup: 0,
            setup: &[],
            name: String::new(),
            fragment: Fragment {
                total_parameters: 0,
                total_data,
                parameters: &[],
                parameter_displacement: 0,
                data: b"x",
                data_displacement: 0,
            },
        };
        let (w, b) = primary.encode(client.text(), HEADER);
        client.command(Command::NT_TRANSACT, w, b).unwrap().status()
    };
    assert_eq!(begin(100_001), NtStatus::INVALID_PARAMETER);
    assert_eq!(begin(u32::MAX), NtStatus::INVALID_PARAMETER);
    assert_eq!(begin(60_000), NtStatus::SUCCESS);
    assert_eq!(begin(60_000), NtStatus::INSUFFICIENT_RESOURCES);
}

#[test]
fn truncated_and_altered_messages_never_end_the_process() {
    let server = TestServer::new(|_| {});
    let mut client = unsigned(&server);
    let file = nt_create(&mut client, "f", create_words()).unwrap();
    let fid = file.fid.to_le_bytes();
    // Every command with words of every count, all of them pointing nowhere.
    for command in 0..=u8::MAX {
        if matches!(
            command,
            Command::NEGOTIATE | Command::LOGOFF_ANDX | Command::TREE_DISCONNECT
        ) {
            continue;
        }
        for count in 0..40_usize {
            let mut words: Vec<u8> = fid.iter().copied().cycle().take(count * 2).collect();
            if Command::is_andx(command) {
                words = words.get(4..).unwrap_or_default().to_vec();
            }
            let bytes = vec![4, b'x', 0, 4, b'y', 0, 5, 0, 0];
            let mut message = client.message(&[(command, words, bytes)]);
            client.wire.send(&message);
            message.truncate(message.len() - 3);
            client.wire.send(&message);
            while client.wire.connection.poll_output().is_some() {}
        }
        if client.wire.closed() {
            client = unsigned(&server);
            nt_create(&mut client, "f", create_words()).unwrap();
        }
    }
    // The server still serves.
    let mut fresh = server.alice();
    assert_eq!(echo(&mut fresh).unwrap().signature, Some(true));
}

#[test]
fn a_command_before_negotiate_ends_the_connection() {
    let server = TestServer::new(|_| {});
    let mut client = Client::new(server.connect());
    assert!(echo(&mut client).is_none());
    assert!(client.wire.closed());
}

#[test]
fn a_connection_without_a_session_is_cut_off() {
    let server = TestServer::new(|_| {});
    let mut client = server.negotiated();
    client.wire.patience = std::time::Duration::from_secs(600);
    assert!(client.wire.receive().is_none());
    assert!(client.wire.closed());
    assert_eq!(client.wire.closed, Some("no session in time"));
}
