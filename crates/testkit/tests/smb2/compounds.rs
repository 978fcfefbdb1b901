//! [MS-SMB2] 3.3.5.2.7: several messages in one frame.

use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Reply};
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

use crate::*;

/// One frame of messages; each is padded to 8 bytes and signed over its padding.
pub(crate) fn frame(
    client: &Client<MemoryWire>,
    parts: Vec<(Header, Vec<u8>)>,
    sign: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let count = parts.len();
    for (n, (header, body)) in parts.into_iter().enumerate() {
        let mut message = header.to_bytes().to_vec();
        message.extend_from_slice(&body);
        if n + 1 < count {
            message.resize(message.len().next_multiple_of(8), 0);
            let next = u32::try_from(message.len()).unwrap();
            message[20..24].copy_from_slice(&next.to_le_bytes());
        }
        if sign {
            client.sign(&mut message);
        }
        out.extend_from_slice(&message);
    }
    out
}

fn echo_part(client: &mut Client<MemoryWire>) -> (Header, Vec<u8>) {
    (client.header(Command::ECHO), vec![4, 0, 0, 0])
}

pub(crate) fn related(mut part: (Header, Vec<u8>)) -> (Header, Vec<u8>) {
    part.0.flags |= HeaderFlags::RELATED_OPERATIONS;
    part.0.session_id = u64::MAX;
    part.0.target = Target::Sync {
        process_id: 0,
        tree_id: u32::MAX,
    };
    part
}

fn run(client: &mut Client<MemoryWire>, frame: &[u8]) -> Vec<Reply> {
    client.wire.send(frame);
    client.replies().unwrap()
}

fn disconnect_part(client: &mut Client<MemoryWire>, tree: u32) -> (Header, Vec<u8>) {
    client.tree = tree;
    (client.header(Command::TREE_DISCONNECT), vec![4, 0, 0, 0])
}

#[test]
fn unrelated_parts_stand_for_themselves() {
    for server in [TestServer::new(|_| {}), TestServer::required()] {
        for dialect in DIALECTS {
            let mut client = connected(&server, dialect);
            let tree = client.tree;
            let parts = vec![
                echo_part(&mut client),
                disconnect_part(&mut client, 77),
                disconnect_part(&mut client, tree),
                echo_part(&mut client),
            ];
            let frame = frame(&client, parts, true);
            let replies = run(&mut client, &frame);
            let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
            let lost = NtStatus::NETWORK_NAME_DELETED;
            let ok = NtStatus::SUCCESS;
            assert_eq!(statuses, [ok, lost, ok, ok]);
            assert!(replies.iter().all(|r| r.signature == Some(true)));
            assert!(replies.iter().all(|r| !r.header.is_related()));
            assert!(
                replies
                    .iter()
                    .rev()
                    .skip(1)
                    .all(|r| r.message.len() % 8 == 0)
            );
        }
    }
}

#[test]
fn related_parts_take_over_session_and_tree() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        let tree = client.tree;
        let parts = vec![
            echo_part(&mut client),
            related(echo_part(&mut client)),
            related(disconnect_part(&mut client, tree)),
        ];
        let frame = frame(&client, parts, true);
        let replies = run(&mut client, &frame);
        assert_eq!(replies.len(), 3);
        for reply in &replies {
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            assert_eq!(reply.header.session_id, client.session().id);
        }
        assert!(!replies[0].header.is_related() && replies[1].header.is_related());
    }
}

#[test]
fn one_bad_part_fails_alone() {
    for server in [TestServer::new(|_| {}), TestServer::required()] {
        for dialect in DIALECTS {
            let mut client = connected(&server, dialect);
            let parts = vec![
                echo_part(&mut client),
                echo_part(&mut client),
                echo_part(&mut client),
            ];
            let mut frame = frame(&client, parts, true);
            // A byte of padding of the middle part: 64 + 4 bytes, padded to 72.
            frame[72 + 70] ^= 1;
            let replies = run(&mut client, &frame);
            let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
            assert_eq!(
                statuses,
                [
                    NtStatus::SUCCESS,
                    NtStatus::ACCESS_DENIED,
                    NtStatus::SUCCESS
                ]
            );
            assert!(replies.iter().all(|r| r.signature == Some(true)));
        }
    }
}

#[test]
fn related_to_nothing() {
    let server = TestServer::new(|_| {});
    let mut client = connected(&server, dialect::SMB_3_0);
    client.session().sign = false;
    let mut first = echo_part(&mut client);
    first.0.flags |= HeaderFlags::RELATED_OPERATIONS;
    let parts = vec![first, related(echo_part(&mut client))];
    let frame = frame(&client, parts, false);
    let replies = run(&mut client, &frame);
    let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
    assert_eq!(
        statuses,
        [NtStatus::INVALID_PARAMETER, NtStatus::INVALID_PARAMETER]
    );
}

#[test]
fn broken_chains_end_the_connection() {
    let server = TestServer::new(|_| {});
    for next in [1_u32, 4, 63, 68, 80, 136, 4096, u32::MAX, u32::MAX - 7] {
        let mut client = connected(&server, dialect::SMB_3_0);
        client.session().sign = false;
        let parts = vec![echo_part(&mut client), echo_part(&mut client)];
        let mut frame = frame(&client, parts, false);
        frame[20..24].copy_from_slice(&next.to_le_bytes());
        client.wire.send(&frame);
        assert!(client.wire.closed(), "{next}");
    }
    // Longer than a chain may be.
    let server = TestServer::new(|c| c.limits.chain_length = 4);
    let mut client = connected(&server, dialect::SMB_3_0);
    let parts = (0..5).map(|_| echo_part(&mut client)).collect();
    let frame = frame(&client, parts, true);
    client.wire.send(&frame);
    assert!(client.wire.closed());
}

#[test]
fn a_compound_in_a_transform_is_answered_in_one() {
    let server = TestServer::new(|_| {});
    for dialect in [dialect::SMB_3_0, dialect::SMB_3_0_2, dialect::SMB_3_1_1] {
        let mut client = connected(&server, dialect);
        let parts = vec![echo_part(&mut client), related(echo_part(&mut client))];
        let plain = frame(&client, parts, false);
        let sealed = client.seal(&plain);
        let replies = run(&mut client, &sealed);
        assert_eq!(replies.len(), 2);
        assert!(
            replies
                .iter()
                .all(|r| r.encrypted && r.status() == NtStatus::SUCCESS)
        );
        assert!(replies.iter().all(|r| !r.header.is_signed()));
    }
}

#[test]
fn many_frames_at_once_are_answered_in_order() {
    let server = TestServer::required();
    for dialect in DIALECTS {
        let mut client = connected(&server, dialect);
        // Enough credits for ten.
        client
            .call_with(Command::ECHO, |h| h.credits = 64, |w| EchoRequest.encode(w))
            .unwrap();
        let mut frames = Vec::new();
        let mut ids = Vec::new();
        for n in 0..10 {
            let part = echo_part(&mut client);
            ids.push(part.0.message_id);
            let mut one = frame(&client, vec![part], true);
            if n == 4 {
                one[50] ^= 1;
            }
            frames.push(one);
        }
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        client.wire.send_all(&slices);
        for (n, id) in ids.into_iter().enumerate() {
            let reply = client.reply().unwrap();
            assert_eq!((reply.header.message_id, reply.signature), (id, Some(true)));
            let expected = if n == 4 {
                NtStatus::ACCESS_DENIED
            } else {
                NtStatus::SUCCESS
            };
            assert_eq!(reply.status(), expected);
        }
    }
}
