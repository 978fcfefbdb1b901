//! Pipes as clients use them: binds, fragments, faults, byte orders, and what
//! the interfaces answer.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test's way to fail

use countersign_rpc::ndr::{NdrReader, NdrWriter};
use countersign_rpc::{
    AccountFacts, AccountKind, CallerFacts, OpenFileFacts, Pipe, PipeError, ServerFacts,
    ServerInfo, SessionFacts, ShareFacts, ShareKind, rap,
};
use countersign_wire::FileTime;
use countersign_wire::smb1::CodePage;

const SRVSVC: (&str, u32) = ("c84f324b7016d30112785a47bf6ee188", 3);
const WKSSVC: (&str, u32) = ("98d0ff6b12a11036983346c3f87e345a", 1);
const LSARPC: (&str, u32) = ("785734123412cdabef000123456789ab", 0);
const NDR32: (&str, u32) = ("045d888aeb1cc9119fe808002b104860", 2);
const NDR64: (&str, u32) = ("33057171babe37498319b5dbef9ccc36", 1);
/// Both features offered.
const FEATURES: (&str, u32) = ("2c1cb76c129840450300000000000000", 1);
const MACHINE: [u8; 24] = [
    1, 4, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0,
];

struct Facts {
    administrator: bool,
    anonymous: bool,
    shares: usize,
}

const USER: Facts = Facts {
    administrator: false,
    anonymous: false,
    shares: 2,
};
const ADMIN: Facts = Facts {
    administrator: true,
    anonymous: false,
    shares: 2,
};

fn alice() -> AccountFacts {
    let mut sid = MACHINE.to_vec();
    sid[1] = 5;
    sid.extend_from_slice(&1001u32.to_le_bytes());
    AccountFacts {
        name: "alice".into(),
        domain: "SRV".into(),
        kind: AccountKind::User,
        sid,
    }
}

impl ServerFacts for Facts {
    fn server(&self) -> ServerInfo {
        ServerInfo {
            name: "SRV".into(),
            workgroup: "GROUP".into(),
            dns_domain: String::new(),
            domain_member: false,
            comment: "A server".into(),
            version: (6, 1),
            machine_sid: MACHINE.to_vec(),
        }
    }
    fn now(&self) -> FileTime {
        FileTime::from_unix(1_795_363_200 + 3661, 250_000_000)
    }
    fn caller(&self) -> CallerFacts {
        CallerFacts {
            user: "alice".into(),
            domain: "SRV".into(),
            administrator: self.administrator,
            anonymous: self.anonymous,
            client: "PC".into(),
        }
    }
    fn shares(&self) -> Vec<ShareFacts> {
        let share = |n: usize| ShareFacts {
            name: if n == 1 {
                "data".into()
            } else {
                format!("share{n}")
            },
            comment: "Größe".into(),
            kind: ShareKind::Disk,
            hidden: n == 2,
            current_uses: 3,
            security: Some(vec![1, 2, 3, 4, 5]),
        };
        let ipc = ShareFacts {
            name: "IPC$".into(),
            comment: String::new(),
            kind: ShareKind::Ipc,
            hidden: false,
            current_uses: 0,
            security: None,
        };
        (1..=self.shares).map(share).chain([ipc]).collect()
    }
    fn sessions(&self) -> Vec<SessionFacts> {
        ["alice", "bob"]
            .map(|user| SessionFacts {
                client: "10.0.0.1".into(),
                user: user.into(),
                opens: 2,
                seconds: 60,
                idle_seconds: 5,
                guest: false,
            })
            .to_vec()
    }
    fn open_files(&self) -> Vec<OpenFileFacts> {
        vec![OpenFileFacts {
            id: 7,
            permissions: 3,
            locks: 1,
            path: "C:\\data\\x".into(),
            user: "bob".into(),
        }]
    }
    fn account_by_sid(&self, sid: &[u8]) -> Option<AccountFacts> {
        Some(alice()).filter(|a| a.sid == sid)
    }
    fn account_by_name(&self, name: &str) -> Option<AccountFacts> {
        Some(alice()).filter(|a| name.eq_ignore_ascii_case(&a.name))
    }
}

fn pdu(kind: u8, flags: u8, call: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
    out.extend_from_slice(&u16::try_from(16 + body.len()).unwrap().to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&call.to_le_bytes());
    out.extend_from_slice(body);
    out
}

type Offer<'a> = (u16, (&'a str, u32), &'a [(&'a str, u32)]);

fn bind_body(max_receive: u16, offers: &[Offer<'_>]) -> Vec<u8> {
    let mut body = 4280u16.to_le_bytes().to_vec();
    body.extend_from_slice(&max_receive.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&[u8::try_from(offers.len()).unwrap(), 0, 0, 0]);
    for (context, (id, version), transfer) in offers {
        body.extend_from_slice(&context.to_le_bytes());
        body.extend_from_slice(&[u8::try_from(transfer.len()).unwrap(), 0]);
        for (id, version) in [(id, version)]
            .into_iter()
            .chain(transfer.iter().map(|(i, v)| (i, v)))
        {
            body.extend(hex::decode(id).unwrap());
            body.extend_from_slice(&version.to_le_bytes());
        }
    }
    body
}

fn bound(name: &str, interface: (&str, u32), facts: &Facts) -> Pipe {
    let mut pipe = Pipe::open(name).unwrap();
    let bind = pdu(11, 3, 1, &bind_body(4280, &[(0, interface, &[NDR32])]));
    let ack = pipe.transact(&bind, 1024, facts).unwrap().data;
    assert_eq!(ack[2], 12);
    assert_eq!(
        ack[ack.len() - 24..ack.len() - 20],
        [0, 0, 0, 0],
        "accepted"
    );
    pipe
}

fn request(opnum: u16, stub: &[u8]) -> Vec<u8> {
    let mut body = [0u8; 4].to_vec();
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&opnum.to_le_bytes());
    body.extend_from_slice(stub);
    pdu(0, 3, 9, &body)
}

/// Runs a call; puts the answer's fragments together.
fn call(pipe: &mut Pipe, opnum: u16, stub: NdrWriter, facts: &Facts) -> Vec<u8> {
    pipe.write(&request(opnum, &stub.finish()), facts).unwrap();
    let mut out = Vec::new();
    loop {
        let read = pipe.read(65_536).unwrap();
        assert!(!read.more);
        let data = read.data;
        assert_eq!(data[2], 2, "a response: {}", hex::encode(&data));
        assert_eq!(data[12..16], [9, 0, 0, 0], "the call's id");
        assert_eq!(
            usize::from(u16::from_le_bytes([data[8], data[9]])),
            data.len()
        );
        out.extend_from_slice(&data[24..]);
        if data[3] & 2 != 0 {
            return out;
        }
    }
}

fn fault(pipe: &mut Pipe, bytes: &[u8]) -> u32 {
    let data = pipe.transact(bytes, 1024, &USER).unwrap().data;
    assert_eq!((data[2], data.len()), (3, 32));
    u32::from_le_bytes(data[24..28].try_into().unwrap())
}

fn server_name() -> NdrWriter {
    let mut w = NdrWriter::new();
    w.pointer(true);
    w.string("\\\\SRV");
    w
}

#[test]
fn a_bind_answers_every_context_in_order() {
    let mut pipe = Pipe::open("srvsvc").unwrap();
    let offers = [
        (0, SRVSVC, &[NDR32][..]),
        (1, SRVSVC, &[NDR64]),
        (2, SRVSVC, &[FEATURES]),
        (0x1234, WKSSVC, &[NDR32]),
        (4, SRVSVC, &[NDR64, NDR32]),
    ];
    let ack = pipe
        .transact(&pdu(11, 3, 5, &bind_body(2000, &offers)), 1024, &USER)
        .unwrap()
        .data;
    assert_eq!(ack[2..4], [12, 3]);
    // Fragments: what the client takes, and ours; secondary address with its length.
    assert_eq!(ack[16..20], [0xD0, 7, 0xB8, 0x10]);
    assert_eq!(ack[24..26], [13, 0]);
    assert_eq!(&ack[26..39], b"\\PIPE\\srvsvc\0");
    assert_eq!(ack[40], 5);
    let results: Vec<(u16, u16)> = ack[44..]
        .chunks(24)
        .map(|r| {
            (
                u16::from_le_bytes([r[0], r[1]]),
                u16::from_le_bytes([r[2], r[3]]),
            )
        })
        .collect();
    assert_eq!(results, [(0, 0), (2, 2), (3, 2), (2, 1), (0, 0)]);
    assert_eq!(hex::encode(&ack[48..64]), NDR32.0);
    // One bind is enough.
    let nak = pipe
        .transact(&pdu(11, 3, 6, &bind_body(4280, &offers)), 1024, &USER)
        .unwrap()
        .data;
    assert_eq!(nak[2], 13);
}

#[test]
fn two_feature_contexts_are_refused() {
    let mut pipe = Pipe::open("srvsvc").unwrap();
    let offers = [(0, SRVSVC, &[FEATURES][..]), (1, SRVSVC, &[FEATURES])];
    let nak = pipe
        .transact(&pdu(11, 3, 5, &bind_body(4280, &offers)), 1024, &USER)
        .unwrap()
        .data;
    assert_eq!(nak[2], 13);
}

#[test]
fn a_bind_with_authentication_is_refused_cleanly() {
    let mut pipe = Pipe::open("srvsvc").unwrap();
    let mut bind = pdu(11, 3, 5, &bind_body(4280, &[(0, SRVSVC, &[NDR32])]));
    bind[10] = 8;
    bind.extend_from_slice(&[10, 2, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let length = u16::try_from(bind.len()).unwrap();
    bind[8..10].copy_from_slice(&length.to_le_bytes());
    let nak = pipe.transact(&bind, 1024, &USER).unwrap().data;
    assert_eq!(
        (nak[2], nak[16]),
        (13, 8),
        "authentication type not recognized"
    );
}

#[test]
fn an_altered_context_is_used() {
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    let alter = pdu(14, 3, 2, &bind_body(4280, &[(7, SRVSVC, &[NDR32])]));
    let answer = pipe.transact(&alter, 1024, &USER).unwrap().data;
    assert_eq!(answer[2], 15);
    assert_eq!(answer[24..26], [0, 0], "no secondary address");
    let mut request = request(28, &[]);
    request[20] = 7;
    let answer = pipe.transact(&request, 1024, &USER).unwrap().data;
    assert_eq!((answer[2], answer[20]), (2, 7));
    request[20] = 8;
    assert_eq!(fault(&mut pipe, &request), 0x1C01_0003);
}

#[test]
fn every_mistake_gets_its_fault() {
    let mut pipe = Pipe::open("srvsvc").unwrap();
    assert_eq!(
        fault(&mut pipe, &request(15, &[])),
        0x1C01_000B,
        "before any bind"
    );
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    assert_eq!(
        fault(&mut pipe, &request(250, &[])),
        0x1C01_0002,
        "no such operation"
    );
    assert_eq!(fault(&mut pipe, &request(15, &[])), 0x6F7, "no arguments");
    let mut signed = request(28, &[0; 16]);
    signed[10] = 8;
    assert_eq!(
        fault(&mut pipe, &signed),
        5,
        "an authentication trailer without context"
    );
    let mut middle = request(28, &[]);
    middle[3] = 0;
    assert_eq!(
        fault(&mut pipe, &middle),
        0x1C01_000B,
        "a fragment of nothing"
    );
    assert_eq!(
        fault(&mut pipe, &pdu(77, 3, 1, &[])),
        0x1C01_000B,
        "an unknown type"
    );
    // Cancels and third legs get no answer, and the pipe lives on.
    pipe.write(
        &[pdu(18, 3, 1, &[]), pdu(16, 3, 1, &[0; 8])].concat(),
        &USER,
    )
    .unwrap();
    assert_eq!(pipe.read(100), Err(PipeError::Empty));
    assert_eq!(call(&mut pipe, 28, server_name(), &USER).len(), 56);
}

#[test]
fn requests_come_in_fragments_and_several_at_once() {
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    let mut w = server_name();
    w.u32(101);
    let stub = w.finish();
    let (a, b) = stub.split_at(8);
    let mut first = request(21, a);
    first[3] = 1;
    let mut last = request(21, b);
    last[3] = 2;
    let both = [first, last, request(28, &[])].concat();
    for byte in &both {
        pipe.write(&[*byte], &USER).unwrap();
    }
    let answer = pipe.read(4280).unwrap().data;
    assert_eq!(answer[24..28], [101, 0, 0, 0]);
    assert_eq!(pipe.read(4280).unwrap().data[2], 2);
    assert_eq!(pipe.read(4280), Err(PipeError::Empty));
}

#[test]
fn a_request_is_bounded() {
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    let fragment = |flags| {
        let mut f = request(15, &vec![0; 60_000]);
        f[3] = flags;
        f
    };
    pipe.write(&fragment(1), &USER).unwrap();
    for _ in 0..16 {
        pipe.write(&fragment(0), &USER).unwrap();
    }
    assert_eq!(fault(&mut pipe, &fragment(0)), 0x1C00_001B);
    assert_eq!(call(&mut pipe, 28, server_name(), &USER).len(), 56);
}

#[test]
fn answers_not_read_are_bounded() {
    let facts = Facts {
        shares: 2000,
        ..USER
    };
    let mut pipe = bound("srvsvc", SRVSVC, &facts);
    let mut w = server_name();
    for v in [1, 1, 0x0002_0000, 0, 0, u32::MAX, 0] {
        w.u32(v);
    }
    let ask = request(15, &w.finish());
    let refused = (0..200).find_map(|_| pipe.write(&ask, &facts).err());
    assert_eq!(refused, Some(PipeError::Full));
}

#[test]
fn bytes_that_are_no_rpc_end_the_pipe() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[5, 0, 0, 3, 0x10, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut pipe = Pipe::open("wkssvc").unwrap();
        assert_eq!(pipe.write(bytes, &USER), Err(PipeError::Disconnected));
        assert_eq!(pipe.write(&[], &USER), Err(PipeError::Disconnected));
        assert_eq!(pipe.read(10), Err(PipeError::Disconnected));
    }
}

#[test]
fn a_big_endian_client_is_understood() {
    let mut pipe = Pipe::open("srvsvc").unwrap();
    let mut bind = vec![5, 0, 11, 3, 0, 0, 0, 0, 0, 72, 0, 0, 0, 0, 0, 1];
    bind.extend(
        hex::decode("10b810b80000000001000000000001004b324fc8167001d312785a47bf6ee18800000003")
            .unwrap(),
    );
    bind.extend(hex::decode("8a885d041ceb11c99fe808002b10486000000002").unwrap());
    let ack = pipe.transact(&bind, 1024, &USER).unwrap().data;
    assert_eq!(
        (ack[2], ack[4]),
        (12, 0x10),
        "answered in little-endian, and so labelled"
    );
    assert_eq!(ack[ack.len() - 24..ack.len() - 20], [0, 0, 0, 0]);
    let mut ask = vec![5, 0, 0, 3, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 2];
    ask.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 0, 0, 0, 0, 100]);
    let answer = pipe.transact(&ask, 1024, &USER).unwrap().data;
    assert_eq!((answer[2], answer[12]), (2, 2));
    assert_eq!(answer[24..28], [100, 0, 0, 0]);
}

/// NetrShareEnum's arguments.
fn share_enum(level: u32, resume: Option<u32>) -> NdrWriter {
    let mut w = server_name();
    for v in [level, level, 0x0002_0000, 0, 0, u32::MAX] {
        w.u32(v);
    }
    w.pointer(resume.is_some());
    if let Some(resume) = resume {
        w.u32(resume);
    }
    w
}

#[test]
fn shares_are_listed() {
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    let stub = call(&mut pipe, 15, share_enum(1, Some(0)), &USER);
    let mut r = NdrReader::new(&stub, false);
    assert_eq!(
        (r.u32(), r.u32(), r.pointer(), r.u32()),
        (Ok(1), Ok(1), Ok(true), Ok(2))
    );
    assert_eq!((r.pointer(), r.u32()), (Ok(true), Ok(2)));
    let types: Vec<u32> = (0..2)
        .map(|_| {
            assert!(r.pointer().unwrap());
            let kind = r.u32().unwrap();
            assert!(r.pointer().unwrap());
            kind
        })
        .collect();
    assert_eq!(types, [0, 0x8000_0003]);
    let mut texts = Vec::new();
    for _ in 0..4 {
        r.align(4);
        texts.push(r.string().unwrap());
    }
    assert_eq!(texts, ["data", "Größe", "IPC$", ""]);
    r.align(4);
    assert_eq!(
        (r.u32(), r.pointer(), r.u32(), r.u32()),
        (Ok(2), Ok(true), Ok(0), Ok(0))
    );
    assert!(r.u32().is_err(), "nothing is left");
    for level in [0, 2, 501, 502, 503] {
        let stub = call(&mut pipe, 36, share_enum(level, None), &USER);
        assert_eq!(stub[stub.len() - 4..], [0; 4], "{level}");
    }
    let stub = call(&mut pipe, 15, share_enum(9, None), &USER);
    assert_eq!(stub[stub.len() - 4..], [124, 0, 0, 0]);
}

#[test]
fn a_long_list_comes_in_fragments_the_client_can_take() {
    let facts = Facts {
        shares: 500,
        ..USER
    };
    let mut pipe = Pipe::open("srvsvc").unwrap();
    let bind = pdu(11, 3, 1, &bind_body(1500, &[(0, SRVSVC, &[NDR32])]));
    pipe.transact(&bind, 1024, &facts).unwrap();
    pipe.write(&request(15, &share_enum(1, None).finish()), &facts)
        .unwrap();
    let mut fragments = Vec::new();
    while let Ok(read) = pipe.read(65_536) {
        fragments.push(read.data);
    }
    assert!(fragments.len() > 10);
    assert!(fragments.iter().all(|f| f.len() <= 1500));
    assert_eq!(fragments[0][3], 1);
    assert_eq!(fragments[1][3], 0);
    assert_eq!(fragments.last().unwrap()[3], 2);
    let total: usize = fragments.iter().map(|f| f.len() - 24).sum();
    let hint = u32::from_le_bytes(fragments[0][16..20].try_into().unwrap());
    assert_eq!(usize::try_from(hint).unwrap(), total);
}

#[test]
fn one_share_is_told_by_level() {
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    let ask = |name: &str, level: u32| {
        let mut w = server_name();
        w.string(name);
        w.u32(level);
        w
    };
    let end = |stub: &[u8]| u32::from_le_bytes(stub[stub.len() - 4..].try_into().unwrap());
    for level in [0, 1, 2, 501, 502, 1005] {
        let stub = call(&mut pipe, 16, ask("DATA", level), &USER);
        let mut r = NdrReader::new(&stub, false);
        assert_eq!((r.u32(), r.pointer()), (Ok(level), Ok(true)));
        assert_eq!(end(&stub), 0, "{level}");
    }
    // Level 502 has the descriptor at its end.
    let stub = call(&mut pipe, 16, ask("data", 502), &USER);
    assert_eq!(
        stub[stub.len() - 16..],
        [5, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 0, 0]
    );
    let stub = call(&mut pipe, 16, ask("nosuch", 1), &USER);
    assert_eq!((stub.len(), end(&stub)), (12, 2310));
    assert_eq!(end(&call(&mut pipe, 16, ask("data", 77), &USER)), 124);
}

#[test]
fn sessions_and_files_are_for_administrators() {
    let sessions = |facts: &Facts, level: u32| {
        let mut pipe = bound("srvsvc", SRVSVC, facts);
        let mut w = server_name();
        for v in [0, 0, level, level, 0x0002_0000, 0, 0, u32::MAX, 0] {
            w.u32(v);
        }
        let stub = call(&mut pipe, 12, w, facts);
        let entries = u32::from_le_bytes(stub[12..16].try_into().unwrap());
        (
            u32::from_le_bytes(stub[stub.len() - 4..].try_into().unwrap()),
            entries,
        )
    };
    for level in [0, 1, 2, 10, 502] {
        assert_eq!(sessions(&ADMIN, level), (0, 2), "{level}");
    }
    assert_eq!(sessions(&USER, 10), (0, 1), "one's own");
    assert_eq!(sessions(&USER, 502).0, 5);
    assert_eq!(
        sessions(
            &Facts {
                anonymous: true,
                ..USER
            },
            10
        )
        .0,
        5
    );
    assert_eq!(sessions(&ADMIN, 3).0, 124);
    let files = |facts: &Facts| {
        let mut pipe = bound("srvsvc", SRVSVC, facts);
        let mut w = server_name();
        for v in [0, 0, 3, 3, 0x0002_0000, 0, 0, u32::MAX, 0] {
            w.u32(v);
        }
        call(&mut pipe, 9, w, facts)
    };
    assert!(hex::encode(files(&ADMIN)).contains(&hex::encode("C\0:\0\\\0d\0a\0")));
    assert!(!hex::encode(files(&USER)).contains(&hex::encode("C\0:\0\\\0d\0a\0")));
}

#[test]
fn the_server_and_its_time() {
    let mut pipe = bound("srvsvc", SRVSVC, &USER);
    let mut w = server_name();
    w.u32(101);
    let stub = call(&mut pipe, 21, w, &USER);
    let mut r = NdrReader::new(&stub, false);
    assert_eq!(
        (r.u32(), r.pointer(), r.u32()),
        (Ok(101), Ok(true), Ok(500))
    );
    assert_eq!((r.pointer(), r.u32(), r.u32()), (Ok(true), Ok(6), Ok(1)));
    assert_eq!((r.u32(), r.pointer()), (Ok(0x9003), Ok(true)));
    assert_eq!(r.string(), Ok("SRV".to_owned()));
    r.align(4);
    assert_eq!(r.string(), Ok("A server".to_owned()));
    let stub = call(&mut pipe, 28, server_name(), &USER);
    let mut r = NdrReader::new(&stub, false);
    let words: Vec<u32> = (0..14).map(|_| r.u32().unwrap()).collect();
    // 2026-11-22 09:21:01.25 UTC, a Sunday.
    assert_eq!(words[3..], [17, 1, 1, 25, 0, 310, 22, 11, 2026, 0, 0]);
}

#[test]
fn the_workstation_is_told_by_level_and_caller() {
    let ask = |facts: &Facts, level: u32| {
        let mut pipe = bound("wkssvc", WKSSVC, facts);
        let mut w = server_name();
        w.u32(level);
        let stub = call(&mut pipe, 0, w, facts);
        u32::from_le_bytes(stub[stub.len() - 4..].try_into().unwrap())
    };
    assert_eq!(ask(&ADMIN, 502), 124);
    assert_eq!([100, 101, 102, 7].map(|l| ask(&ADMIN, l)), [0, 0, 0, 124]);
    assert_eq!([100, 101, 102].map(|l| ask(&USER, l)), [0, 0, 5]);
    assert_eq!(
        [100, 101].map(|l| ask(
            &Facts {
                anonymous: true,
                ..USER
            },
            l
        )),
        [0, 5]
    );
    let mut pipe = bound("wkssvc", WKSSVC, &USER);
    let mut w = server_name();
    w.u32(0);
    let stub = call(&mut pipe, 20, w, &USER);
    let mut r = NdrReader::new(&stub, false);
    assert_eq!(r.unique_string(), Ok(Some("GROUP".to_owned())));
    assert_eq!((r.u16(), r.u32()), (Ok(2), Ok(0)));
}

/// Opens a policy handle.
fn policy(pipe: &mut Pipe, facts: &Facts) -> ([u8; 20], u32) {
    let mut w = server_name();
    w.bytes(&[24, 0, 0, 0]);
    w.bytes(&[0; 20]);
    w.u32(0x0200_0000);
    let stub = call(pipe, 44, w, facts);
    (
        stub[..20].try_into().unwrap(),
        u32::from_le_bytes(stub[20..24].try_into().unwrap()),
    )
}

#[test]
fn names_of_sids() {
    let mut pipe = bound("lsarpc", LSARPC, &USER);
    let (handle, status) = policy(&mut pipe, &USER);
    assert_eq!(status, 0);
    let everyone = vec![1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let unknown = vec![1, 2, 0, 0, 0, 0, 0, 22, 1, 0, 0, 0, 2, 0, 0, 0];
    let sids = [alice().sid, everyone, unknown];
    for opnum in [15, 57, 76] {
        let mut w = NdrWriter::new();
        if opnum != 76 {
            w.bytes(&handle);
        }
        w.count(3);
        w.pointer(true);
        w.count(3);
        for sid in &sids {
            w.sid(Some(sid));
        }
        w.referents();
        for v in [0, 0, 1, 0, 0, 2] {
            w.u32(v);
        }
        let stub = call(&mut pipe, opnum, w, &USER);
        let text = hex::encode(&stub);
        for name in ["alice", "Everyone", "S-1-22-1-2", "SRV"] {
            let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert!(text.contains(&hex::encode(wide)), "{opnum} {name}");
        }
        assert_eq!(
            stub[stub.len() - 8..],
            [2, 0, 0, 0, 7, 1, 0, 0],
            "two of three"
        );
    }
}

#[test]
fn sids_of_names() {
    let mut pipe = bound("lsarpc", LSARPC, &USER);
    let (handle, _) = policy(&mut pipe, &USER);
    for opnum in [14, 58, 68, 77] {
        let mut w = NdrWriter::new();
        if opnum != 77 {
            w.bytes(&handle);
        }
        w.count(2);
        w.count(2);
        w.unicode_string("Alice");
        w.unicode_string("BUILTIN\\administrators");
        w.referents();
        for v in [0, 0, 1, 0, 0, 2] {
            w.u32(v);
        }
        let stub = call(&mut pipe, opnum, w, &USER);
        assert_eq!(stub[stub.len() - 8..], [2, 0, 0, 0, 0, 0, 0, 0], "{opnum}");
        let rid = if matches!(opnum, 14 | 58) {
            "e9030000"
        } else {
            "03000000e9030000"
        };
        assert!(hex::encode(&stub).contains(rid), "{opnum}");
    }
}

#[test]
fn policy_handles_and_information() {
    let mut pipe = bound("lsarpc", LSARPC, &USER);
    let anonymous = Facts {
        anonymous: true,
        ..USER
    };
    assert_eq!(policy(&mut pipe, &anonymous).1, 0xC000_0022);
    let (handle, _) = policy(&mut pipe, &USER);
    let query = |handle: &[u8], class: u16| {
        let mut w = NdrWriter::new();
        w.bytes(handle);
        w.u16(class);
        w
    };
    for (class, status) in [
        (2, 0),
        (3, 0),
        (5, 0),
        (6, 0),
        (12, 0),
        (99, 0xC000_000Du32),
    ] {
        let stub = call(&mut pipe, 46, query(&handle, class), &USER);
        assert_eq!(stub[stub.len() - 4..], status.to_le_bytes(), "{class}");
    }
    let stub = call(&mut pipe, 7, query(&handle, 5), &USER);
    assert!(
        hex::encode(stub).contains(&hex::encode(&MACHINE[8..])),
        "the machine's SID"
    );
    let mut close = NdrWriter::new();
    close.bytes(&handle);
    assert_eq!(call(&mut pipe, 0, close, &USER), [0; 24]);
    let closed = request(46, &query(&handle, 5).finish());
    assert_eq!(fault(&mut pipe, &closed), 0x1C00_001A);
    assert_eq!(
        fault(&mut pipe, &request(46, &query(&[7; 20], 5).finish())),
        0x1C00_001A
    );
    let mut w = server_name();
    for v in [0, 0x0002_0000, 0] {
        w.u32(v);
    }
    let stub = call(&mut pipe, 45, w, &USER);
    assert!(hex::encode(&stub).contains(&hex::encode("a\0l\0i\0c\0e\0")));
    assert_eq!(stub[stub.len() - 4..], [0; 4]);
}

#[test]
fn rap_lists_what_its_clients_can_see() {
    let ask = |opcode: u16, parameters: &str, data: &str, rest: &[u8]| {
        let mut request = opcode.to_le_bytes().to_vec();
        for text in [parameters, data] {
            request.extend_from_slice(text.as_bytes());
            request.push(0);
        }
        request.extend_from_slice(rest);
        rap::call(&request, 65_535, CodePage::Cp850, &USER)
    };
    let words = |bytes: &[u8]| -> Vec<u16> {
        bytes
            .chunks(2)
            .map(|w| u16::from_le_bytes([w[0], w[1]]))
            .collect()
    };
    let reply = ask(0, "WrLeh", "B13BWz", &[1, 0, 0, 0x10]);
    assert_eq!(words(&reply.parameters), [0, 0, 2, 2]);
    assert_eq!(&reply.data[..16], b"data\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(
        reply.data[16..20],
        [40, 0, 0, 0],
        "the comment lies behind both entries"
    );
    assert_eq!(&reply.data[40..46], b"Gr\x94\xE1e\0");
    assert_eq!(&reply.data[20..25], b"IPC$\0");
    assert_eq!(reply.data[34], 3);
    // Room for one entry only.
    let reply = ask(0, "WrLeh", "B13BWz", &[1, 0, 30, 0]);
    assert_eq!(words(&reply.parameters), [234, 0, 1, 2]);
    assert_eq!(reply.data.len(), 26);
    let reply = ask(13, "WrLh", "B16BBDz", &[1, 0, 0, 0x10]);
    assert_eq!(words(&reply.parameters), [0, 0, 35]);
    assert_eq!(&reply.data[26..], b"A server\0");
    assert_eq!(
        words(&ask(13, "WrLh", "B16BBDz", &[1, 0, 27, 0]).parameters),
        [234, 0, 35]
    );
    assert_eq!(
        words(&ask(13, "WrLh", "B16BBDz", &[1, 0, 9, 0]).parameters),
        [2123, 0, 35]
    );
    let reply = ask(63, "WrLh", "zzzBBzz", &[10, 0, 0, 0x10]);
    assert_eq!(words(&reply.parameters)[0], 0);
    assert!(reply.data.ends_with(b"SRV\0alice\0GROUP\0GROUP\0\0"));
    let reply = ask(1, "zWrLh", "B13BWz", b"DATA\0\x01\0\0\x10");
    assert_eq!(words(&reply.parameters)[0], 0);
    assert_eq!(
        words(&ask(1, "zWrLh", "B13BWz", b"X\0\x01\0\0\x10").parameters)[0],
        2310
    );
    assert_eq!(
        words(&ask(6, "WrLeh", "zzWWWDDDz", &[2, 0, 0, 0x10]).parameters)[0],
        5
    );
    let reply = ask(91, "rL", "DDBBBBWWBBWB", &[0, 0x20]);
    assert_eq!(words(&reply.parameters), [0, 0]);
    // 2026-11-22 17:01:01.25, a Sunday.
    assert_eq!(
        reply.data[8..],
        [17, 1, 1, 25, 0, 0, 0x36, 1, 22, 11, 0xEA, 7, 0]
    );
    let reply = ask(104, "WrLehDz", "B16", b"\0\0\0\x10\xFF\xFF\xFF\xFFgroup\0");
    assert_eq!(words(&reply.parameters), [0, 0, 1, 1]);
    assert_eq!(
        words(&ask(104, "WrLehDz", "B16", b"\0\0\0\x10\xFF\xFF\xFF\xFFx\0").parameters),
        [0; 4]
    );
    assert_eq!(words(&ask(200, "WrLeh", "B13", &[]).parameters)[0], 50);
    assert_eq!(
        words(&ask(0, "WrLeh", "Q13", &[1, 0, 0, 0x10]).parameters)[0],
        124
    );
    assert_eq!(
        words(&ask(0, "zz", "B13", &[1, 0, 0, 0x10]).parameters)[0],
        87
    );
    assert_eq!(
        words(&rap::call(&[], 0, CodePage::Cp850, &USER).parameters)[0],
        87
    );
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_pipe_panic(
            name in prop::sample::select(vec!["srvsvc", "wkssvc", "lsarpc"]),
            kind in 0u8..20,
            flags: u8,
            order in prop::sample::select(vec![0u8, 0x10]),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut pipe = Pipe::open(name).unwrap();
            let mut bytes = pdu(kind, flags, 1, &body);
            bytes[4] = order;
            if order == 0 {
                bytes[8..10].reverse();
            }
            let _ = pipe.write(&bytes, &USER);
            let _ = pipe.read(100);
        }

        #[test]
        fn no_arguments_make_an_operation_panic(
            which in 0usize..3,
            opnum in 0u16..140,
            stub in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2), any::<u8>()], 0..160),
        ) {
            let (name, interface) =
                [("srvsvc", SRVSVC), ("wkssvc", WKSSVC), ("lsarpc", LSARPC)][which];
            let mut pipe = bound(name, interface, &ADMIN);
            pipe.write(&request(opnum, &stub), &ADMIN).unwrap();
            prop_assert!(pipe.read(65_536).is_ok());
        }

        #[test]
        fn no_request_makes_rap_panic(
            opcode in prop::sample::select(vec![0u16, 1, 13, 63, 104, 215]),
            parameters in prop::sample::select(vec!["WrLeh", "zWrLh", "WrLh", "WrLehDz", "WrLehDzz"]),
            data in "[BWDz0-9]{0,12}",
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut request = opcode.to_le_bytes().to_vec();
            for text in [parameters, &data] {
                request.extend_from_slice(text.as_bytes());
                request.push(0);
            }
            request.extend(rest);
            let reply = rap::call(&request, 1000, CodePage::Cp850, &USER);
            prop_assert!(reply.data.len() <= 1000);
        }
    }
}
