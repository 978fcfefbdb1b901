//! [MS-SMB2] 3.3.5.15.12 FSCTL_VALIDATE_NEGOTIATE_INFO.

use super::*;
use countersign_testkit::wire::Wire;
use countersign_wire::Guid;

const CODE: u32 = 0x0014_0204;

#[derive(Clone)]
struct Info {
    capabilities: u32,
    guid: Guid,
    mode: u16,
    dialects: Vec<u16>,
    max_output: u32,
}

impl Info {
    fn of(c: &Client<MemoryWire>) -> Self {
        Self {
            capabilities: c.offer.capabilities.bits(),
            guid: c.offer.guid,
            mode: c.offer.security_mode.bits(),
            dialects: c.offer.dialects.clone(),
            max_output: 24,
        }
    }

    fn send(&self, c: &mut Client<MemoryWire>) -> Option<Reply> {
        let mut input = Vec::new();
        input.extend_from_slice(&self.capabilities.to_le_bytes());
        input.extend_from_slice(&self.guid.0);
        input.extend_from_slice(&self.mode.to_le_bytes());
        input.extend_from_slice(&u16::try_from(self.dialects.len()).unwrap().to_le_bytes());
        for d in &self.dialects {
            input.extend_from_slice(&d.to_le_bytes());
        }
        let max_output = self.max_output;
        c.call(Command::IOCTL, |w| {
            w.u16(57);
            w.u16(0);
            w.u32(CODE);
            w.u64(u64::MAX);
            w.u64(u64::MAX);
            w.u32(64 + 56);
            w.u32(u32::try_from(input.len()).unwrap());
            w.u32(0);
            w.u32(0);
            w.u32(0);
            w.u32(max_output);
            w.u32(1);
            w.u32(0);
            w.bytes(&input);
        })
    }
}

fn connected(s: &Subject, dialect: u16) -> Client<MemoryWire> {
    let mut c = s.alice(dialect);
    c.tree_connect(r"\\s\IPC$").unwrap();
    c
}

#[test]
fn a_true_request_is_mirrored_and_signed() {
    let s = Subject::new(optional());
    for dialect in [0x202, 0x210, 0x300, 0x302] {
        for path in [r"\\s\IPC$", r"\\s\share"] {
            let mut c = s.alice(dialect);
            c.tree_connect(path).unwrap();
            let reply = Info::of(&c).send(&mut c).unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
            let ioctl = IoctlResponse::decode(&reply.message).unwrap();
            let negotiated = NegotiateResponse::decode(&c.negotiated).unwrap();
            let mut expected = negotiated.capabilities.bits().to_le_bytes().to_vec();
            expected.extend_from_slice(&negotiated.server_guid.0);
            expected.extend_from_slice(&negotiated.security_mode.bits().to_le_bytes());
            expected.extend_from_slice(&dialect.to_le_bytes());
            assert_eq!(ioctl.output, expected, "{dialect:#x}");
        }
    }
}

#[test]
fn anything_else_disconnects_without_an_answer() {
    let s = Subject::new(optional());
    for dialect in [0x202, 0x210, 0x300, 0x302] {
        let good = Info::of(&connected(&s, dialect));
        let wrong = [
            Info {
                capabilities: 0,
                ..good.clone()
            },
            Info {
                guid: Guid([9; 16]),
                ..good.clone()
            },
            Info {
                mode: 0,
                ..good.clone()
            },
            Info {
                dialects: vec![0x0123],
                ..good.clone()
            },
            Info {
                dialects: vec![0x0210, 0x0311],
                ..good.clone()
            },
            Info {
                max_output: 0,
                ..good.clone()
            },
        ];
        for (i, info) in wrong.iter().enumerate() {
            let mut c = connected(&s, dialect);
            assert!(info.send(&mut c).is_none(), "{dialect:#x} case {i}");
            assert!(c.wire.closed(), "{dialect:#x} case {i}");
        }
    }
}

/// [MS-SMB2] 3.3.5.15.12: on 3.1.1 the connection is closed.
#[test]
fn on_311_it_disconnects() {
    let s = Subject::new(optional());
    let mut c = connected(&s, 0x311);
    assert!(Info::of(&c).send(&mut c).is_none() && c.wire.closed());
}
