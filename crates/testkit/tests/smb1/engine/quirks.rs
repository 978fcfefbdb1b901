//! Servers as old machines and devices are: scripted, since nothing else speaks
//! like them any more. Each answer is what such a server is known to send.

use bytes::BytesMut;
use countersign_core::client::{
    Answer, Call, CallId, CloseReason, Engine, Event, Failure, LogonKind, OpenId, OpenRequest,
    PathRequest, Payload, TreeId,
};
use countersign_core::connection::Now;
use countersign_wire::FileTime;
use countersign_wire::fscc::{AccessMask, CompletionFilter};
use countersign_wire::smb1::files::{ReadAndxResponseWords, WriteAndxResponseWords};
use countersign_wire::smb1::info::InfoStandard;
use countersign_wire::smb1::negotiate::{NO_DIALECT, NtResponse};
use countersign_wire::smb1::trans2::FindFirst2ResponseParameters;
use countersign_wire::smb1::transaction::{Answer as Told, Kind};
use countersign_wire::smb1::{Flags, Flags2, Header, MessageWriter};

use super::*;

/// ERRDOS and a code, as they stand in Status.
const fn dos(code: u32) -> u32 {
    1 | code << 16
}

const NT_SMBS: u32 = 0x10;
const LARGE_FILES: u32 = 0x08;
const UNICODE: u32 = 0x04;
const STATUS32: u32 = 0x40;
const NT_FIND: u32 = 0x200;
const LARGE_WRITEX: u32 = 0x8000;

/// What kind of server it is.
#[derive(Clone)]
struct Old {
    mode: u8,
    mpx: u16,
    capabilities: u32,
    /// What NEGOTIATE has behind the challenge.
    names: Vec<u8>,
    /// Strings of the logon's response.
    strings: Vec<u8>,
    /// Pad bytes in front of what READ gives.
    pad: usize,
    /// CountHigh of WRITE.
    high: u16,
    /// Names of a listing.
    listing: Vec<&'static str>,
}

impl Default for Old {
    /// Like NT 4 seen through a code page: no extended security, no Unicode, DOS
    /// errors, one request at a time, a small buffer.
    fn default() -> Self {
        Self {
            mode: 3,
            mpx: 1,
            capabilities: NT_SMBS | LARGE_FILES | NT_FIND,
            names: b"WORKGROUP\0".to_vec(),
            strings: b"Windows NT 4.0\0NT LAN Manager 4.0\0WORKGROUP\0".to_vec(),
            pad: 3,
            high: 0,
            listing: vec!["READ.ME", "B"],
        }
    }
}

fn reply(request: &Header, status: u32, andx: bool, words: &[u8], bytes: &[u8]) -> Vec<u8> {
    let header = Header {
        status,
        flags: request.flags | Flags::REPLY,
        uid: 100,
        tid: 7,
        ..*request
    };
    let mut w = MessageWriter::new(0);
    w.block(request.command, andx, words, bytes);
    w.finish(&header.encode())
}

impl Old {
    fn negotiate(&self) -> NtResponse {
        NtResponse {
            dialect_index: 0,
            security_mode: self.mode,
            max_mpx_count: self.mpx,
            max_number_vcs: 1,
            max_buffer_size: 4356,
            max_raw_size: 65536,
            session_key: 0,
            capabilities: self.capabilities,
            system_time: FileTime(1),
            server_time_zone: -60,
            challenge_length: 8,
        }
    }

    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut header = Header::decode(message).unwrap();
        if self.capabilities & STATUS32 == 0 {
            header.flags2.remove(Flags2::NT_STATUS);
        }
        if self.capabilities & UNICODE == 0 {
            header.flags2.remove(Flags2::UNICODE);
        }
        let failed = |code| Some(reply(&header, code, false, &[], &[]));
        let done = |andx, words: &[u8], bytes: &[u8]| Some(reply(&header, 0, andx, words, bytes));
        match header.command {
            Command::NEGOTIATE => {
                let bytes = [b"12345678".as_slice(), &self.names].concat();
                done(false, &self.negotiate().to_vec(), &bytes)
            }
            Command::SESSION_SETUP_ANDX => done(true, &[0, 0], &self.strings),
            // Two words, and the service alone.
            Command::TREE_CONNECT_ANDX => done(true, &[], b"A:\0"),
            Command::NT_CREATE_ANDX => {
                let words = NtCreateAndxResponseWords {
                    oplock_level: 0,
                    fid: 9,
                    create_disposition: 1,
                    create_time: FileTime(1),
                    last_access_time: FileTime(1),
                    last_write_time: FileTime(1),
                    last_change_time: FileTime(1),
                    ext_file_attributes: 0x20,
                    allocation_size: 4096,
                    end_of_file: 5,
                    resource_type: 0,
                    nm_pipe_status: 0,
                    directory: 0,
                };
                done(true, &words.to_vec(), &[])
            }
            Command::READ_ANDX => {
                let at = HEADER + 1 + 24 + 2 + self.pad;
                let words = ReadAndxResponseWords {
                    available: 0xFFFF,
                    data_compaction_mode: 0,
                    reserved1: 0,
                    data_length: 5,
                    data_offset: u16::try_from(at).unwrap(),
                    data_length_high: 0,
                    reserved2: [0; 8],
                };
                let bytes = [vec![0xEE; self.pad], b"hello".to_vec()].concat();
                done(true, &words.to_vec(), &bytes)
            }
            Command::WRITE_ANDX => {
                let words = WriteAndxResponseWords {
                    count: 3,
                    available: 0xFFFF,
                    count_high: self.high,
                    reserved: 0,
                };
                done(true, &words.to_vec(), &[])
            }
            Command::DELETE => failed(dos(2)),
            Command::TRANSACTION2 => {
                // The level of the request's parameters: all but the oldest are unknown.
                let at = usize::from(u16::from_le_bytes([message[53], message[54]]));
                let level = u16::from_le_bytes([message[at + 6], message[at + 7]]);
                if level != 1 {
                    return failed(dos(124));
                }
                let mut data = Vec::new();
                for name in &self.listing {
                    let info = InfoStandard {
                        creation_date: 0x2821,
                        creation_time: 0,
                        last_access_date: 0,
                        last_access_time: 0,
                        last_write_date: 0xFFFF,
                        last_write_time: 0xFFFF,
                        file_data_size: 5,
                        allocation_size: 4096,
                        attributes: 0x20,
                    };
                    data.extend(info.to_vec());
                    data.push(u8::try_from(name.len()).unwrap());
                    data.extend(name.as_bytes());
                    data.push(0);
                }
                let told = Told {
                    setup: Vec::new(),
                    parameters: FindFirst2ResponseParameters {
                        sid: 1,
                        search_count: u16::try_from(self.listing.len()).unwrap(),
                        end_of_search: 1,
                        ea_error_offset: 0,
                        last_name_offset: 0,
                    }
                    .to_vec(),
                    data,
                };
                let parts = told.encode(Kind::Transaction2, 4356);
                done(false, &parts[0].words, &parts[0].bytes)
            }
            Command::LOGOFF_ANDX => done(true, &[], &[]),
            _ => done(false, &[], &[]),
        }
    }
}

/// What answers a client's messages, if it does.
type Script = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>>>;

/// A client of such a server.
struct Visit {
    engine: Engine,
    server: Script,
    events: VecDeque<Event>,
}

use std::collections::VecDeque;

impl Visit {
    fn to(server: impl FnMut(&[u8]) -> Option<Vec<u8>> + 'static) -> Self {
        let mut visit = Self {
            engine: Engine::new(
                client_config(),
                Box::new(countersign_testkit::duo::Counting(3)),
            ),
            server: Box::new(server),
            events: VecDeque::new(),
        };
        visit.engine.start(Self::now());
        visit.settle();
        visit
    }

    fn old(old: Old) -> Self {
        Self::to(move |message| old.answer(message))
    }

    fn now() -> Now {
        Now {
            wall: FileTime(1),
            monotonic: core::time::Duration::from_secs(1),
        }
    }

    fn settle(&mut self) {
        while let Some(frame) = self.engine.poll_transmit() {
            if let Some(answer) = (self.server)(&frame.bytes()[4..]) {
                let frames = vec![BytesMut::from(answer.as_slice())];
                self.engine.receive(frames, Self::now());
            }
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push_back(event);
        }
    }

    fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        let id: CallId = self.engine.submit(call, Self::now());
        self.settle();
        let place = self
            .events
            .iter()
            .position(|e| matches!(e, Event::Done { id: other, .. } if *other == id))
            .expect("an answer");
        match self.events.remove(place) {
            Some(Event::Done { result, .. }) => result,
            _ => unreachable!(),
        }
    }

    fn log_on(&mut self) -> TreeId {
        let who = countersign_auth::ntlm::NtlmCredentials {
            user: "alice".into(),
            domain: "WORKGROUP".into(),
            nt_hash: countersign_auth::NtHash::from_password(PASSWORD),
            workstation: "TESTER".into(),
        };
        let Ok(Answer::LoggedOn(logged_on)) = self.call(Call::ClassicLogon(who)) else {
            panic!("{:?}", self.engine.closed())
        };
        assert!(!logged_on.signed);
        match self.call(Call::TreeConnect {
            share: "share".into(),
        }) {
            Ok(Answer::Tree(tree)) => tree.tree,
            other => panic!("{other:?}"),
        }
    }

    fn open(&mut self, tree: TreeId) -> OpenId {
        let request = OpenRequest::existing("READ.ME", AccessMask::READ_DATA);
        match self.call(Call::Open {
            tree,
            request: Box::new(request),
        }) {
            Ok(Answer::Opened(opened)) => opened.open,
            other => panic!("{other:?}"),
        }
    }

    fn closed(&self) -> Option<CloseReason> {
        self.engine.closed().cloned()
    }
}

fn at(tree: TreeId, path: &str) -> PathRequest {
    PathRequest {
        tree,
        path: path.into(),
        no_follow: false,
    }
}

#[test]
fn a_server_like_nt4_without_unicode_is_worked_with() {
    let mut visit = Visit::old(Old::default());
    match visit.events.pop_front() {
        Some(Event::Negotiated(negotiated)) => {
            assert_eq!(negotiated.logon, LogonKind::Classic);
            // It names its domain, and not itself.
            assert_eq!(negotiated.names, Some(("WORKGROUP".into(), String::new())));
        }
        other => panic!("{other:?}"),
    }
    let tree = visit.log_on();
    let open = visit.open(tree);
    // The data stand where DataOffset says, however odd.
    match visit.call(Call::Read {
        open,
        offset: 0,
        length: 100,
    }) {
        Ok(Answer::Data(data)) => assert_eq!(&data[..], b"hello"),
        other => panic!("{other:?}"),
    }
    // DOS errors become what they mean.
    let gone = visit.call(Call::Remove {
        at: at(tree, "NONE"),
        directory: false,
    });
    assert_eq!(gone.unwrap_err().status(), Some(NtStatus::NO_SUCH_FILE));
    // Levels that it does not know are not asked for again.
    let listed = visit.call(Call::ListStart {
        at: at(tree, ""),
        pattern: "*".into(),
    });
    match listed {
        Ok(Answer::ListStarted { listing, .. }) => {
            let names: Vec<&str> = listing.entries.iter().map(|e| e.name.as_str()).collect();
            assert_eq!(names, ["READ.ME", "B"]);
            assert!(listing.end);
            assert_eq!(listing.entries[0].end_of_file, 5);
        }
        other => panic!("{other:?}"),
    }
    assert!(visit.engine.transfer().write <= 4356);
    assert!(visit.engine.transfer().read <= 4356);
    assert!(matches!(visit.call(Call::Logoff), Ok(Answer::Done)));
}

#[test]
fn short_answers_to_negotiate_and_logon_are_enough() {
    for (names, strings) in [
        // Nothing behind the challenge; no strings at all.
        (Vec::new(), Vec::new()),
        // A name without its end; a single zero.
        (b"WORK".to_vec(), vec![0]),
        // Padding that nobody asked for.
        (vec![0; 40], vec![0; 41]),
    ] {
        let mut visit = Visit::old(Old {
            names,
            strings,
            ..Old::default()
        });
        let tree = visit.log_on();
        visit.open(tree);
    }
    // The same of a server with Unicode, where strings stand at odd places.
    let mut visit = Visit::old(Old {
        capabilities: NT_SMBS | LARGE_FILES | NT_FIND | UNICODE | STATUS32,
        names: vec![b'W', 0, 0],
        strings: vec![0, b'X'],
        ..Old::default()
    });
    visit.log_on();
}

#[test]
fn servers_that_cannot_be_had_are_refused_in_words() {
    let incompatible = |old: Old, words: &str| {
        let visit = Visit::old(old);
        match visit.closed() {
            Some(CloseReason::Incompatible(why)) => assert!(why.contains(words), "{why}"),
            other => panic!("{other:?}"),
        }
    };
    // No challenge: the password would go in clear.
    let old = Old {
        mode: 1,
        ..Old::default()
    };
    incompatible(old, "in clear");
    let old = Old {
        mode: 2,
        ..Old::default()
    };
    incompatible(old, "share-level");
    // None of the dialects.
    let visit = Visit::to(|message| {
        let header = Header::decode(message).unwrap();
        Some(reply(&header, 0, false, &NO_DIALECT.to_le_bytes(), &[]))
    });
    assert!(matches!(visit.closed(), Some(CloseReason::Incompatible(_))));
    // LAN Manager's thirteen words.
    let visit = Visit::to(|message| {
        let header = Header::decode(message).unwrap();
        Some(reply(&header, 0, false, &[0; 26], &[0; 8]))
    });
    match visit.closed() {
        Some(CloseReason::Incompatible(why)) => assert!(why.contains("LAN Manager"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_takes_one_request_at_a_time_is_not_blocked() {
    let mut visit = Visit::old(Old::default());
    let tree = visit.log_on();
    let open = visit.open(tree);
    let watch = visit.call(Call::Notify {
        open,
        filter: CompletionFilter::FILE_NAME,
        recursive: false,
    });
    assert!(matches!(watch, Err(Failure::Unsupported(_))), "{watch:?}");
    assert!(matches!(visit.call(Call::Echo), Ok(Answer::Done)));
}

#[test]
fn rubbish_in_the_high_half_of_a_count_is_passed_over() {
    // Print shares of OS/2 leave anything there.
    let mut visit = Visit::old(Old {
        high: 0xBEEF,
        capabilities: NT_SMBS | LARGE_FILES | LARGE_WRITEX,
        ..Old::default()
    });
    let tree = visit.log_on();
    let open = visit.open(tree);
    let wrote = visit.call(Call::Write {
        open,
        offset: 0,
        data: Payload::copy_of(b"abc"),
        write_through: false,
    });
    assert!(matches!(wrote, Ok(Answer::Count(3))), "{wrote:?}");
}

#[test]
fn a_server_that_claims_to_have_written_more_is_not_believed() {
    let mut visit = Visit::old(Old::default());
    let tree = visit.log_on();
    let open = visit.open(tree);
    let wrote = visit.call(Call::Write {
        open,
        offset: 0,
        data: Payload::copy_of(b"ab"),
        write_through: false,
    });
    assert!(matches!(wrote, Err(Failure::Malformed { .. })), "{wrote:?}");
    // READ gives five bytes whatever is asked for.
    let read = visit.call(Call::Read {
        open,
        offset: 0,
        length: 4,
    });
    assert!(matches!(read, Err(Failure::Malformed { .. })), "{read:?}");
}

#[test]
fn names_that_lead_elsewhere_are_not_listed() {
    for name in [r"..\..\etc", "a/b", ""] {
        let mut visit = Visit::old(Old {
            listing: vec!["GOOD", name],
            ..Old::default()
        });
        let tree = visit.log_on();
        let listed = visit.call(Call::ListStart {
            at: at(tree, ""),
            pattern: "*".into(),
        });
        assert!(
            matches!(listed, Err(Failure::Malformed { .. })),
            "{name:?}: {listed:?}"
        );
    }
}

#[test]
fn what_is_under_way_at_logoff_ends_with_its_cause() {
    // A server that never answers a READ, and says yes to LOGOFF.
    let old = Old {
        mpx: 10,
        ..Old::default()
    };
    let mut visit = Visit::to(move |message| {
        let command = message[4];
        if command == Command::NT_TRANSACT {
            return None;
        }
        old.answer(message)
    });
    let tree = visit.log_on();
    let open = visit.open(tree);
    let notify = Call::Notify {
        open,
        filter: CompletionFilter::FILE_NAME,
        recursive: false,
    };
    let watch = visit.engine.submit(notify, Visit::now());
    visit.settle();
    assert!(matches!(visit.call(Call::Logoff), Ok(Answer::Done)));
    let ended = visit.events.iter().find_map(|e| match e {
        Event::Done { id, result } if *id == watch => Some(result.clone()),
        _ => None,
    });
    assert!(
        matches!(ended, Some(Err(Failure::Closed(CloseReason::LoggedOff)))),
        "{ended:?}"
    );
    assert_eq!(visit.closed(), Some(CloseReason::LoggedOff));
}
