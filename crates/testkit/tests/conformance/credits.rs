//! [MS-SMB2] 3.3.1.1, 3.3.1.2, 3.3.5.2.3, 3.3.5.2.5.

use super::*;
use countersign_testkit::wire::Wire;

#[test]
fn never_less_is_granted_than_was_used() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        for asked in [0, 1, 7, 8192] {
            let reply = c
                .call_with(
                    Command::ECHO,
                    |h| h.credits = asked,
                    |w| EchoRequest.encode(w),
                )
                .unwrap();
            assert!(reply.header.credits >= 1, "{dialect:#x} asked {asked}");
        }
    }
}

#[test]
fn no_connection_holds_more_than_the_limit() {
    let s = Subject::with(optional(), |c| c.limits.credits = 100);
    let mut c = s.alice(0x311);
    let mut held = 0;
    for _ in 0..20 {
        let reply = c
            .call_with(Command::ECHO, |h| h.credits = 64, |w| EchoRequest.encode(w))
            .unwrap();
        held += i64::from(reply.header.credits) - 1;
        assert!(held <= 100, "{held}");
    }
}

#[test]
fn message_ids_outside_the_window_disconnect() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        let reply = c.call_with(
            Command::ECHO,
            |h| h.message_id += 100_000,
            |w| EchoRequest.encode(w),
        );
        assert!(reply.is_none() && c.wire.closed(), "{dialect:#x}");
    }
}

#[test]
fn message_ids_may_come_out_of_order() {
    let s = Subject::new(optional());
    let mut c = s.alice(0x311);
    let base = c.message_id;
    for offset in [3, 1, 0, 2] {
        c.message_id = base + offset;
        let reply = echo(&mut c).unwrap();
        assert_eq!(
            (reply.status(), reply.header.message_id),
            (NtStatus::SUCCESS, base + offset)
        );
    }
}

#[test]
fn cancel_is_never_answered_and_uses_no_message_id() {
    let s = Subject::new(required());
    for dialect in ALL {
        let mut c = s.alice(dialect);
        let next = c.message_id;
        for id in [next, 0, next + 5] {
            let header = Header {
                message_id: id,
                ..c.header(Command::CANCEL)
            };
            c.message_id = next;
            let mut m = Client::<MemoryWire>::message(&header, |w| CancelRequest.encode(w));
            c.sign(&mut m);
            c.wire.send(&m);
            assert!(
                c.reply().is_none() && !c.wire.closed(),
                "{dialect:#x} id {id}"
            );
        }
        assert_eq!(echo(&mut c).unwrap().status(), NtStatus::SUCCESS);
    }
}
