//! [MS-SMB2] 3.3.1.1, 3.3.1.2, 3.3.5.2.3 and 3.3.5.2.5.

use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Offer};
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

use crate::*;

#[test]
fn every_response_grants_what_was_used_and_what_was_asked() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let mut client = Client::new(server.connect());
        let reply = client.negotiate(Offer::dialect(dialect)).unwrap();
        assert_eq!(reply.header.credits, 1, "nothing extra for NEGOTIATE");
        let mut client = connected(&server, dialect);
        for (asked, granted) in [(0, 1), (1, 1), (33, 33), (500, 500)] {
            let reply = client
                .call_with(
                    Command::ECHO,
                    |h| h.credits = asked,
                    |w| EchoRequest.encode(w),
                )
                .unwrap();
            assert_eq!(reply.header.credits, granted);
        }
        // Errors too.
        let reply = client
            .call_with(
                Command::TREE_DISCONNECT,
                |h| {
                    h.credits = 0;
                    h.target = Target::Sync {
                        process_id: 0,
                        tree_id: 99,
                    };
                },
                |w| TreeDisconnectRequest.encode(w),
            )
            .unwrap();
        assert_eq!(
            (reply.status(), reply.header.credits),
            (NtStatus::NETWORK_NAME_DELETED, 1)
        );
    }
}

#[test]
fn never_more_than_the_limit() {
    let server = TestServer::new(|c| c.limits.credits = 100);
    let mut client = connected(&server, dialect::SMB_3_1_1);
    let mut held = 0;
    for _ in 0..10 {
        let reply = client
            .call_with(
                Command::ECHO,
                |h| h.credits = u16::MAX,
                |w| EchoRequest.encode(w),
            )
            .unwrap();
        held += i32::from(reply.header.credits) - 1;
        assert!(held <= 100);
    }
    // A MessageId far ahead was never granted.
    client.message_id += 200;
    assert!(echo(&mut client).is_none());
    assert!(client.wire.closed());
}

#[test]
fn ids_may_come_out_of_order_but_each_once() {
    let server = TestServer::new(|_| {});
    let mut client = connected(&server, dialect::SMB_3_1_1);
    let base = client.message_id;
    for id in [base + 3, base + 1, base, base + 2] {
        client.message_id = id;
        assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
    }
    client.message_id = base + 2;
    assert!(echo(&mut client).is_none());
    assert!(client.wire.closed());
}

#[test]
fn a_charge_uses_up_so_many_ids() {
    let server = TestServer::new(|_| {});
    let mut client = connected(&server, dialect::SMB_3_1_1);
    let reply = client
        .call_with(
            Command::ECHO,
            |h| h.credit_charge = 4,
            |w| EchoRequest.encode(w),
        )
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert_eq!(reply.header.credit_charge, 4);
    // The next id lies inside the range just used.
    assert!(echo(&mut client).is_none());
    assert!(client.wire.closed());
    // 2.0.2 has no charges: the field is not looked at.
    let mut client = connected(&server, dialect::SMB_2_0_2);
    client
        .call_with(
            Command::ECHO,
            |h| h.credit_charge = 4,
            |w| EchoRequest.encode(w),
        )
        .unwrap();
    assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
}

#[test]
fn a_charge_smaller_than_the_payload_is_refused() {
    let server = TestServer::new(|_| {});
    let mut client = connected(&server, dialect::SMB_3_0);
    let read = |length: u32, charge: u16, client: &mut Client<MemoryWire>| {
        let reply = client
            .call_with(
                Command::READ,
                |h| h.credit_charge = charge,
                |w| {
                    w.u16(49);
                    w.u16(0x50);
                    w.u32(length);
                    w.zeros(40);
                    w.u8(0);
                },
            )
            .unwrap();
        client.message_id += u64::from(charge.max(1)) - 1;
        reply.status()
    };
    let lawful = NtStatus::FILE_CLOSED;
    assert_eq!(read(65_536, 1, &mut client), lawful);
    assert_eq!(read(65_537, 1, &mut client), NtStatus::INVALID_PARAMETER);
    assert_eq!(read(65_536, 0, &mut client), lawful);
    assert_eq!(read(65_537, 0, &mut client), NtStatus::INVALID_PARAMETER);
    assert_eq!(read(65_537, 2, &mut client), lawful);
    assert_eq!(read(8 << 20, 128, &mut client), lawful);
    assert_eq!(read(8 << 20, 127, &mut client), NtStatus::INVALID_PARAMETER);
    assert_eq!(read(u32::MAX, 1, &mut client), NtStatus::INVALID_PARAMETER);
}
