//! [MS-SMB2] 3.3.4.2, 3.3.5.16: requests that wait, their interim responses, CANCEL.

use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Reply};
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::fscc::{
    AccessMask, CompletionFilter, CreateOptions, Disposition, FileAttributes, ShareAccess,
};
use countersign_wire::smb2::*;

use crate::compounds::{frame, related};
use crate::*;

fn create_body(name: &str, options: CreateOptions) -> Vec<u8> {
    let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let request = CreateRequest {
        oplock_level: 0,
        impersonation_level: 2,
        desired_access: AccessMask::from_bits_retain(0x0012_019F),
        file_attributes: FileAttributes::empty(),
        share_access: ShareAccess::from_bits_truncate(7),
        disposition: Disposition::OpenIf as u32,
        options,
        name: &wide,
        contexts: Vec::new(),
    };
    let header = Header::default();
    Client::<MemoryWire>::message(&header, |w| request.encode(w)).split_off(HEADER_LEN)
}

fn open(client: &mut Client<MemoryWire>, name: &str, options: CreateOptions) -> FileId {
    let body = create_body(name, options);
    let reply = client.call(Command::CREATE, |w| w.bytes(&body)).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    CreateResponse::decode(&reply.message).unwrap().file_id
}

fn lock_body(file_id: FileId, flags: LockFlags) -> LockRequest {
    LockRequest {
        lock_sequence: 0,
        file_id,
        locks: vec![Lock {
            offset: 0,
            length: 10,
            flags,
        }],
    }
}

fn lock(client: &mut Client<MemoryWire>, id: FileId, flags: LockFlags) -> Reply {
    client
        .call(Command::LOCK, |w| lock_body(id, flags).encode(w))
        .unwrap()
}

/// A connection with one file open twice, the first having it locked, and a
/// second lock that waits; gives the MessageId and the interim response of that.
fn waiting(server: &TestServer, dialect: u16) -> (Client<MemoryWire>, FileId, u64, Reply) {
    let mut client = connected(server, dialect);
    let first = open(&mut client, "file", CreateOptions::NON_DIRECTORY_FILE);
    let second = open(&mut client, "file", CreateOptions::NON_DIRECTORY_FILE);
    assert_eq!(
        lock(&mut client, first, LockFlags::EXCLUSIVE_LOCK).status(),
        NtStatus::SUCCESS
    );
    let header = Header {
        credits: 3,
        ..client.header(Command::LOCK)
    };
    let request = lock_body(second, LockFlags::EXCLUSIVE_LOCK);
    client.send(Client::<MemoryWire>::message(&header, |w| {
        request.encode(w)
    }));
    let interim = client.any_reply().unwrap();
    (client, first, header.message_id, interim)
}

fn send_cancel(client: &mut Client<MemoryWire>, target: Target, message_id: u64) {
    let header = Header {
        message_id,
        target,
        credit_charge: 1,
        credits: 0,
        session_id: client.session().id,
        command: Command::CANCEL,
        ..Header::default()
    };
    client.send(Client::<MemoryWire>::message(&header, |w| {
        CancelRequest.encode(w)
    }));
}

#[test]
fn an_interim_response_is_unsigned_and_the_final_one_signed() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let (mut client, first, id, interim) = waiting(&server, dialect);
        assert_eq!(interim.status(), NtStatus::PENDING);
        assert!(!interim.header.is_signed());
        assert_eq!(interim.header.signature, [0; 16]);
        assert_eq!((interim.header.message_id, interim.header.credits), (id, 3));
        let async_id = interim.header.async_id().unwrap();
        assert_ne!(async_id, 0);
        assert_eq!(
            lock(&mut client, first, LockFlags::UNLOCK).status(),
            NtStatus::SUCCESS
        );
        let last = client.any_reply().unwrap();
        assert_eq!(
            (last.status(), last.signature),
            (NtStatus::SUCCESS, Some(true))
        );
        assert_eq!(last.header.async_id(), Some(async_id));
        assert_eq!((last.header.message_id, last.header.credits), (id, 0));
        client.wire.hang_up();
    }
}

#[test]
fn cancel_by_async_id_or_message_id() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        for by_async_id in [true, false] {
            let (mut client, _, id, interim) = waiting(&server, dialect);
            // CANCEL uses up no MessageId.
            let (target, message_id) = if by_async_id {
                (Target::Async(interim.header.async_id().unwrap()), id)
            } else {
                (
                    Target::Sync {
                        process_id: 0,
                        tree_id: 0,
                    },
                    id,
                )
            };
            send_cancel(&mut client, target, message_id);
            let last = client.any_reply().unwrap();
            assert_eq!(
                (last.status(), last.signature),
                (NtStatus::CANCELLED, Some(true))
            );
            assert_eq!(last.header.message_id, id);
            assert!(
                client.any_reply().is_none(),
                "CANCEL itself is not answered"
            );
            assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
            client.wire.hang_up();
        }
    }
}

#[test]
fn cancels_that_do_nothing() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let (mut client, _, id, _) = waiting(&server, dialect);
        let none = Target::Sync {
            process_id: 0,
            tree_id: 0,
        };
        // Unsigned, wrongly signed, unknown, another session's.
        client.session().sign = false;
        send_cancel(&mut client, none, id);
        client.session().sign = true;
        send_cancel(&mut client, none, id + 40);
        send_cancel(&mut client, Target::Async(0x7777), id);
        let mut wrong = Client::<MemoryWire>::message(
            &Header {
                message_id: id,
                session_id: client.session().id,
                command: Command::CANCEL,
                ..Header::default()
            },
            |w| CancelRequest.encode(w),
        );
        client.sign(&mut wrong);
        wrong[50] ^= 1;
        client.wire.send(&wrong);
        client
            .logon(&countersign_testkit::smb2::Logon::new("bob", BOB))
            .unwrap();
        send_cancel(&mut client, none, id);
        client.sessions.pop();
        assert!(client.any_reply().is_none());
        assert!(!client.wire.closed());
        send_cancel(&mut client, none, id);
        assert_eq!(client.any_reply().unwrap().status(), NtStatus::CANCELLED);
        client.wire.hang_up();
    }
}

#[test]
fn what_waits_is_answered_when_its_tree_or_session_goes() {
    let server = TestServer::required();
    for (command, body) in [
        (Command::TREE_DISCONNECT, [4, 0, 0, 0]),
        (Command::LOGOFF, [4, 0, 0, 0]),
    ] {
        let (mut client, _, id, _) = waiting(&server, dialect::SMB_3_1_1);
        let header = client.header(command);
        client.send(Client::<MemoryWire>::message(&header, |w| w.bytes(&body)));
        let mut seen = Vec::new();
        while let Some(reply) = client.any_reply() {
            assert_eq!(reply.signature, Some(true));
            seen.push((reply.header.message_id, reply.status()));
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen.contains(&(header.message_id, NtStatus::SUCCESS)));
        // Closed after the first open, it may get the lock before it goes.
        assert!(seen.iter().any(|(m, _)| *m == id), "{seen:?}");
    }
}

#[test]
fn a_limit_of_waiting_requests() {
    let server = TestServer::new(|c| c.limits.pending_calls = 2);
    let mut client = connected(&server, dialect::SMB_3_1_1);
    client
        .call_with(Command::ECHO, |h| h.credits = 64, |w| EchoRequest.encode(w))
        .unwrap();
    let folder = open(&mut client, "folder", CreateOptions::DIRECTORY_FILE);
    let mut last = None;
    for _ in 0..3 {
        let header = client.header(Command::CHANGE_NOTIFY);
        client.send(Client::<MemoryWire>::message(&header, |w| {
            notify(folder).encode(w)
        }));
        last = client.any_reply();
    }
    assert_eq!(last.unwrap().status(), NtStatus::INSUFFICIENT_RESOURCES);
}

fn notify(file_id: FileId) -> ChangeNotifyRequest {
    ChangeNotifyRequest {
        flags: 0,
        output_buffer_length: 1000,
        file_id,
        filter: CompletionFilter::from_bits_retain(1),
    }
}

fn notify_part(client: &mut Client<MemoryWire>, file_id: FileId) -> (Header, Vec<u8>) {
    let header = client.header(Command::CHANGE_NOTIFY);
    let body = Client::<MemoryWire>::message(&header, |w| notify(file_id).encode(w));
    (header, body[HEADER_LEN..].to_vec())
}

#[test]
fn waiting_as_the_last_of_a_compound() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let body = create_body("folder", CreateOptions::DIRECTORY_FILE);
        let create = (client.header(Command::CREATE), body);
        let parts = vec![create, related(notify_part(&mut client, FileId::NONE))];
        let sent = frame(&client, parts, true);
        client.wire.send(&sent);
        // What is done comes first, then the interim response.
        let done = client.replies().unwrap();
        assert_eq!(done.len(), 1);
        assert_eq!(
            (done[0].status(), done[0].signature),
            (NtStatus::SUCCESS, Some(true))
        );
        let interim = client.any_reply().unwrap();
        assert_eq!(interim.status(), NtStatus::PENDING);
        let id = CreateResponse::decode(&done[0].message).unwrap().file_id;
        let reply = client
            .call(Command::CLOSE, |w| {
                CloseRequest {
                    flags: 0,
                    file_id: id,
                }
                .encode(w)
            })
            .unwrap();
        let other = client.any_reply().unwrap();
        let mut statuses = [reply.status(), other.status()];
        statuses.sort();
        assert_eq!(statuses, [NtStatus::SUCCESS, NtStatus::NOTIFY_CLEANUP]);
        client.wire.hang_up();
    }
}

#[test]
fn waiting_in_the_middle_of_a_compound_is_refused() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let folder = open(&mut client, "folder", CreateOptions::DIRECTORY_FILE);
        let echo_part = |c: &mut Client<MemoryWire>| (c.header(Command::ECHO), vec![4, 0, 0, 0]);
        let parts = vec![notify_part(&mut client, folder), echo_part(&mut client)];
        let sent = frame(&client, parts, true);
        client.wire.send(&sent);
        let replies = client.replies().unwrap();
        let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
        assert_eq!(statuses, [NtStatus::INTERNAL_ERROR, NtStatus::SUCCESS]);
        assert!(replies.iter().all(|r| r.signature == Some(true)));
        client.wire.hang_up();
    }
}

#[test]
fn related_parts_use_the_file_of_the_first_and_fail_with_it() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let close = |c: &mut Client<MemoryWire>| {
            let header = c.header(Command::CLOSE);
            let body = Client::<MemoryWire>::message(&header, |w| {
                CloseRequest {
                    flags: 0,
                    file_id: FileId::NONE,
                }
                .encode(w);
            });
            (header, body[HEADER_LEN..].to_vec())
        };
        for (name, status) in [
            ("new", NtStatus::SUCCESS),
            ("missing\\x", NtStatus::OBJECT_PATH_NOT_FOUND),
        ] {
            let body = create_body(name, CreateOptions::NON_DIRECTORY_FILE);
            let create = (client.header(Command::CREATE), body);
            let parts = vec![create, related(close(&mut client))];
            let sent = frame(&client, parts, true);
            client.wire.send(&sent);
            let replies = client.replies().unwrap();
            let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
            assert_eq!(statuses, [status, status]);
            assert!(replies.iter().all(|r| r.signature == Some(true)));
        }
        client.wire.hang_up();
    }
}

#[test]
fn stale_channel_sequences_change_nothing() {
    let server = TestServer::new(|_| {});
    let mut client = connected(&server, dialect::SMB_3_1_1);
    let id = open(&mut client, "file", CreateOptions::NON_DIRECTORY_FILE);
    let write = |client: &mut Client<MemoryWire>, sequence: u32| {
        let reply = client
            .call_with(
                Command::WRITE,
                |h| h.status = NtStatus(sequence),
                |w| {
                    w.u16(49);
                    w.u16(112);
                    w.u32(4);
                    w.u64(0);
                    w.u64(id.persistent);
                    w.u64(id.volatile);
                    w.zeros(16);
                    w.bytes(b"data");
                },
            )
            .unwrap();
        reply.status()
    };
    assert_eq!(write(&mut client, 0), NtStatus::SUCCESS);
    assert_eq!(write(&mut client, 0x7FFF), NtStatus::SUCCESS);
    assert_eq!(write(&mut client, 0x7FFE), NtStatus::FILE_NOT_AVAILABLE);
    assert_eq!(write(&mut client, 0), NtStatus::FILE_NOT_AVAILABLE);
    assert_eq!(write(&mut client, 0xFFFF), NtStatus::FILE_NOT_AVAILABLE);
    assert_eq!(write(&mut client, 0x8000), NtStatus::SUCCESS);
}
