//! Oracles of what is reached through IPC$ and SESSION_SETUP: pipes, RAP, logons.

use std::sync::Arc;

use countersign_auth::{AcceptContext, Acceptor, AuthConfig, NtHash, Step, UserFile};
use countersign_rpc::pdu::{Header, PacketType};
use countersign_rpc::pipe::MAX_UNREAD;
use countersign_rpc::{
    AccountFacts, CallerFacts, Pipe, PipeError, ServerFacts, ServerInfo, SessionFacts, ShareFacts,
    ShareKind, rap,
};
use countersign_wire::FileTime;
use countersign_wire::smb1::CodePage;

/// A bind to the interface of the pipe, up to the interface's UUID.
const BIND: &[u8] = &[
    5, 0, 11, 3, 16, 0, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0, 0xB8, 16, 0xB8, 16, 0, 0, 0, 0, 1, 0, 0, 0,
    0, 0, 1, 0,
];
/// The transfer syntax behind it.
const NDR: &[u8] = &[
    4, 0x5D, 0x88, 0x8A, 0xEB, 0x1C, 0xC9, 0x11, 0x9F, 0xE8, 8, 0, 0x2B, 0x10, 0x48, 0x60, 2, 0, 0,
    0,
];
/// Pipes with UUID and version of their interfaces.
const PIPES: &[(&str, [u8; 16], u8)] = &[
    (
        "srvsvc",
        [
            0xC8, 0x4F, 0x32, 0x4B, 0x70, 0x16, 0xD3, 1, 0x12, 0x78, 0x5A, 0x47, 0xBF, 0x6E, 0xE1,
            0x88,
        ],
        3,
    ),
    (
        "wkssvc",
        [
            0x98, 0xD0, 0xFF, 0x6B, 0x12, 0xA1, 0x10, 0x36, 0x98, 0x33, 0x46, 0xC3, 0xF8, 0x7E,
            0x34, 0x5A,
        ],
        1,
    ),
    (
        "lsarpc",
        [
            0x78, 0x57, 0x34, 0x12, 0x34, 0x12, 0xCD, 0xAB, 0xEF, 0, 1, 0x23, 0x45, 0x67, 0x89,
            0xAB,
        ],
        0,
    ),
];

/// A small server, asked by an administrator: everything is answered.
struct Facts;

impl ServerFacts for Facts {
    fn server(&self) -> ServerInfo {
        ServerInfo {
            name: "SRV".into(),
            workgroup: "GROUP".into(),
            dns_domain: String::new(),
            domain_member: false,
            comment: "comment".into(),
            version: (6, 1),
            machine_sid: vec![1, 1, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0],
        }
    }
    fn now(&self) -> FileTime {
        FileTime(0x01DD_0000_0000_0000)
    }
    fn caller(&self) -> CallerFacts {
        CallerFacts {
            user: "admin".into(),
            administrator: true,
            ..CallerFacts::default()
        }
    }
    fn shares(&self) -> Vec<ShareFacts> {
        vec![ShareFacts {
            name: "data".into(),
            comment: "x".into(),
            kind: ShareKind::Disk,
            hidden: false,
            current_uses: 1,
            security: Some(vec![0; 20]),
        }]
    }
    fn sessions(&self) -> Vec<SessionFacts> {
        vec![SessionFacts {
            client: "pc".into(),
            ..SessionFacts::default()
        }]
    }
    fn account_by_sid(&self, _: &[u8]) -> Option<AccountFacts> {
        None
    }
    fn account_by_name(&self, _: &str) -> Option<AccountFacts> {
        None
    }
}

/// A pipe: the first byte says which and whether it is bound before; the rest
/// is written. Every answer is one whole PDU that a server sends.
pub fn pipe(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let (name, uuid, version) = &PIPES[usize::from(choice >> 1) % PIPES.len()];
    let mut pipe = Pipe::open(name).expect("the pipe exists");
    if choice & 1 != 0 {
        let bind = [BIND, uuid, &[*version, 0, 0, 0], NDR].concat();
        let ack = pipe.transact(&bind, usize::MAX, &Facts).expect("bound");
        assert_eq!(ack.data[2], PacketType::BindAck.byte());
    }
    for chunk in rest.chunks(97) {
        let written = pipe.write(chunk, &Facts);
        assert!(pipe.available().1 <= 2 * MAX_UNREAD);
        if written.is_err() {
            break;
        }
    }
    loop {
        match pipe.read(usize::MAX) {
            Ok(read) => {
                let head = read.data.first_chunk().expect("a header");
                let header = Header::decode(head).expect("a PDU");
                assert_eq!(usize::from(header.fragment_length), read.data.len());
                assert!(matches!(
                    header.packet_type,
                    Some(
                        PacketType::Response
                            | PacketType::Fault
                            | PacketType::BindAck
                            | PacketType::BindNak
                            | PacketType::AlterContextResponse
                    )
                ));
            }
            Err(PipeError::Empty | PipeError::Disconnected) => break,
            Err(error) => panic!("{error}"),
        }
    }
}

/// RAP: the answer keeps to the room there is.
pub fn rap(bytes: &[u8]) {
    for room in [0, 40, 65_535] {
        let reply = rap::call(bytes, room, CodePage::Cp850, &Facts);
        assert!(reply.data.len() <= room);
        assert!((4..=8).contains(&reply.parameters.len()));
    }
}

/// Logons of somebody who knows no password: tokens, each behind its length in
/// one byte. Nobody gets in.
pub fn logon(bytes: &[u8]) {
    let mut users = UserFile::default();
    users
        .add("alice", NtHash::new([0x5A; 16]), &[])
        .expect("added");
    let context = AcceptContext {
        smb1: false,
        server_challenge: [7; 8],
        now: FileTime(0x01DD << 48),
    };
    let mut acceptor = Acceptor::new(Arc::new(AuthConfig::default()), Arc::new(users), context);
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first() {
        let (token, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        assert!(!matches!(acceptor.step(token), Step::Done { .. }));
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_on_a_bound_pipe_is_answered() {
        let call = [
            5, 0, 0, 3, 16, 0, 0, 0, 28, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 0, 0,
        ];
        for choice in 0..6 {
            pipe(&[&[choice][..], &call].concat());
        }
        rap(b"\0\0WrLeh\0B13BWz\0\x01\0\0\x10");
        logon(b"\x28NTLMSSP\0\x01\0\0\0\x15\x82\x08\x62\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04NTLM");
    }
}
