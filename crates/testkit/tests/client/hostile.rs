//! Servers that are odd or hostile, and answers at the wrong time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use countersign_core::client::{
    Answer, Caching, Call, ClientConfig, CloseReason, Encryption, Event, Failure, OpenRequest,
    Payload,
};
use countersign_core::config::Dialect;
use countersign_fs::Host;
use countersign_policy::Settings;
use countersign_testkit::duo::{Duo, client_config};
use countersign_testkit::memory::{MemoryWire, times};
use countersign_wire::fscc::{
    AccessMask, CompletionFilter, CreateOptions, Disposition, FileAttributes, LeaseState,
};

use super::{ALL, TestServer, at, dialect, open, reading, ready, required};

const STATUS: std::ops::Range<usize> = 8..12;
const CREDITS: std::ops::Range<usize> = 14..16;
const FLAGS: usize = 16;
const NEXT: std::ops::Range<usize> = 20..24;
const MESSAGE: std::ops::Range<usize> = 24..32;
const SIGNATURE: std::ops::Range<usize> = 48..64;

const TREE_CONNECT: u8 = 3;
const READ: u8 = 8;
const IOCTL: u8 = 11;
const ECHO: u8 = 13;

fn number(m: &[u8], at: std::ops::Range<usize>) -> u64 {
    let mut bytes = [0; 8];
    bytes[..at.len()].copy_from_slice(&m[at]);
    u64::from_le_bytes(bytes)
}

fn file(duo: &mut Duo<MemoryWire>, tree: countersign_core::client::TreeId, data: &[u8]) {
    duo.call(Call::WriteFile {
        at: at(tree, "file"),
        disposition: Disposition::OverwriteIf,
        attributes: FileAttributes::empty(),
        data: Payload::copy_of(data),
        last_write: None,
    })
    .unwrap();
}

/// A watch that the server has said it will take its time with.
fn watching(
    duo: &mut Duo<MemoryWire>,
    tree: countersign_core::client::TreeId,
) -> countersign_core::client::CallId {
    let request = OpenRequest {
        options: CreateOptions::DIRECTORY_FILE,
        ..reading("")
    };
    let watched = open(duo, tree, request).open;
    let watch = duo.start(Call::Notify {
        open: watched,
        filter: CompletionFilter::FILE_NAME,
        recursive: false,
    });
    duo.turn();
    watch
}

/// Somebody takes the dialects above 2.1 away, and answers the question after
/// them himself: behind the signed response of TREE_CONNECT, in the same segment,
/// before the question has left.
#[test]
fn an_answer_that_comes_before_its_question_is_an_attack() {
    let server = TestServer::plain();
    for settings in [Settings::default(), required()] {
        let told: Rc<RefCell<Vec<u8>>> = Rc::default();
        let lower = |mut m: Vec<u8>| {
            if m.starts_with(b"\xFESMB") && m[12] == 0 {
                for n in 0..usize::from(m[66]) {
                    let at = 100 + 2 * n;
                    if u16::from_le_bytes([m[at], m[at + 1]]) > 0x0210 {
                        m[at..at + 2].copy_from_slice(&0x0200u16.to_le_bytes());
                    }
                }
            }
            vec![m]
        };
        let forge = move |m: Vec<u8>| {
            if !m.starts_with(b"\xFESMB") {
                return vec![m];
            }
            if m[12] == 0 {
                *told.borrow_mut() = m.clone();
            }
            if m[12] != TREE_CONNECT || number(&m, STATUS) != 0 {
                return vec![m];
            }
            // What the client wants to hear: what NEGOTIATE said.
            let negotiate = told.borrow();
            let mut forged = m[..64].to_vec();
            forged[12] = IOCTL;
            forged[FLAGS] &= !8;
            forged[SIGNATURE].fill(0);
            let id = number(&m, MESSAGE) + 1;
            forged[MESSAGE].copy_from_slice(&id.to_le_bytes());
            forged.extend([49, 0, 0, 0]);
            forged.extend(0x0014_0204u32.to_le_bytes());
            forged.extend([0xFF; 16]);
            forged.extend(112u32.to_le_bytes());
            forged.extend(0u32.to_le_bytes());
            forged.extend(112u32.to_le_bytes());
            forged.extend(24u32.to_le_bytes());
            forged.extend([0; 8]);
            forged.extend(&negotiate[88..92]);
            forged.extend(&negotiate[72..88]);
            forged.extend(&negotiate[66..68]);
            forged.extend(&negotiate[68..70]);
            vec![m, forged]
        };
        let mut duo = Duo::quiet(
            server.memory.connect(),
            std::sync::Arc::clone(&server.memory.host),
            client_config(settings),
        );
        duo.to_server = Box::new(lower);
        duo.to_client = Box::new(forge);
        duo.begin();
        duo.log_on("alice", "Passw0rd!").unwrap();
        let tree = duo.tree("share");
        assert!(tree.is_err(), "the downgrade was not noticed");
        assert_eq!(
            duo.closed,
            Some(CloseReason::Violation("a reply to what was not yet sent"))
        );
    }
}

#[test]
fn what_is_under_way_at_logoff_ends_with_its_cause() {
    let server = TestServer::plain();
    let mut configs: Vec<ClientConfig> = Vec::new();
    for d in ALL {
        configs.push(dialect(Settings::default(), d));
        configs.push(dialect(required(), d));
    }
    configs.push(ClientConfig {
        encryption: Encryption::Required,
        ..client_config(required())
    });
    for config in configs {
        let what = format!("{:?} {:?}", config.max_dialect, config.encryption);
        let (mut duo, tree) = ready(&server, config);
        let watch = watching(&mut duo, tree);
        let logoff = duo.start(Call::Logoff);
        // What comes too late is told so.
        let late = duo.start(Call::Echo);
        assert_eq!(
            duo.finish(late).unwrap_err(),
            Failure::Closed(CloseReason::LoggedOff),
            "{what}"
        );
        assert!(matches!(duo.finish(logoff), Ok(Answer::Done)), "{what}");
        // The server ends the watch before or after it answers LOGOFF.
        match duo.finish(watch) {
            Ok(Answer::Changes(list)) => assert!(list.closed, "{what}"),
            Err(failure) => {
                assert_eq!(failure, Failure::Closed(CloseReason::LoggedOff), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(duo.closed, Some(CloseReason::LoggedOff), "{what}");
    }
}

#[test]
fn replies_behind_logoff_are_not_looked_at() {
    // The end of a watch comes behind the answer to LOGOFF, signed with a key that
    // is gone by then.
    for d in ALL {
        let server = TestServer::plain();
        let (mut duo, tree) = ready(&server, dialect(required(), d));
        let watch = watching(&mut duo, tree);
        let held: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
        duo.to_client = Box::new(move |m| {
            if m[12] == 2 {
                let mut out = vec![m];
                out.append(&mut held.borrow_mut());
                return out;
            }
            held.borrow_mut().push(m);
            Vec::new()
        });
        duo.call(Call::Logoff).unwrap();
        assert_eq!(
            duo.finish(watch).unwrap_err(),
            Failure::Closed(CloseReason::LoggedOff),
            "{d:?}"
        );
        assert_eq!(duo.closed, Some(CloseReason::LoggedOff), "{d:?}");
    }
}

#[test]
fn more_than_was_asked_for_is_not_taken() {
    let server = TestServer::plain();
    let (mut duo, tree) = ready(&server, dialect(Settings::default(), Dialect::Smb210));
    file(&mut duo, tree, b"contents of a file");
    let opened = open(&mut duo, tree, reading("file")).open;
    // Somebody asks for more on the way, and the server gives it.
    duo.to_server = Box::new(|mut m| {
        if m[12] == READ {
            m[68..72].copy_from_slice(&10u32.to_le_bytes());
        }
        vec![m]
    });
    let read = duo.call(Call::Read {
        open: opened,
        offset: 0,
        length: 4,
    });
    assert_eq!(read.unwrap_err(), Failure::Malformed { command: "READ" });
    let whole = duo.call(Call::ReadFile {
        at: at(tree, "file"),
        max: 4,
    });
    // In a chain CREATE comes first: that one is left as it is.
    assert!(whole.is_ok());
    assert_eq!(duo.closed, None);
}

#[test]
fn a_server_that_takes_its_time_is_asked_whether_it_is_there() {
    for d in ALL {
        let server = TestServer::plain();
        let (mut duo, tree) = ready(&server, dialect(required(), d));
        let watch = watching(&mut duo, tree);
        let asked = Rc::new(Cell::new(0));
        let seen = Rc::clone(&asked);
        duo.to_server = Box::new(move |m| {
            if m[12] == ECHO {
                seen.set(seen.get() + 1);
            }
            vec![m]
        });
        for round in 1..4 {
            let due = duo.engine.poll_timeout().unwrap();
            duo.host.advance(due - duo.host.monotonic());
            duo.engine.handle_timeout(times(&duo.host));
            duo.send();
            assert_eq!(asked.get(), round, "{d:?}");
            duo.receive();
            assert_eq!(duo.closed, None, "{d:?}");
        }
        assert!(duo.outcome(watch).is_none());
        // It is gone.
        duo.to_client = Box::new(|_| Vec::new());
        for _ in 0..2 {
            let due = duo.engine.poll_timeout().unwrap();
            duo.host.advance(due - duo.host.monotonic());
            duo.engine.handle_timeout(times(&duo.host));
            duo.send();
        }
        assert_eq!(duo.closed, Some(CloseReason::Timeout), "{d:?}");
    }
}

#[test]
fn a_server_that_grants_nothing_ends_the_connection_and_not_the_program() {
    // From the start: nothing can be asked behind NEGOTIATE.
    let server = TestServer::plain();
    for d in ALL {
        let mut duo = Duo::quiet(
            server.memory.connect(),
            std::sync::Arc::clone(&server.memory.host),
            dialect(Settings::default(), d),
        );
        duo.to_client = Box::new(|mut m| {
            m[CREDITS].fill(0);
            vec![m]
        });
        duo.begin();
        let logon = duo.log_on("alice", "Passw0rd!");
        assert!(logon.is_err(), "{d:?}");
        assert_eq!(
            duo.closed,
            Some(CloseReason::Violation("the server grants no credits")),
            "{d:?}"
        );
    }
    // Later, while all that is under way is a watch: it may bring some, but is not
    // waited for without end.
    let mut config = dialect(Settings::default(), Dialect::Smb210);
    config.limits.credits = 2;
    let (mut duo, tree) = ready(&server, config);
    let watch = watching(&mut duo, tree);
    duo.to_client = Box::new(|mut m| {
        m[CREDITS].fill(0);
        vec![m]
    });
    // A minute passes whenever nothing comes.
    for _ in 0..100 {
        let echo = duo.start(Call::Echo);
        duo.turn();
        if duo.closed.is_some() {
            break;
        }
        assert!(duo.outcome(echo).is_some_and(|o| o.is_ok()));
    }
    assert_eq!(
        duo.closed,
        Some(CloseReason::Violation("the server grants no credits"))
    );
    assert!(duo.outcome(watch).is_some_and(|o| o.is_err()));
}

/// A server that never lets a client have more than one credit.
fn stingy(duo: &mut Duo<MemoryWire>) {
    duo.to_client = Box::new(|mut m| {
        let last = number(&m, NEXT) == 0;
        m[CREDITS].copy_from_slice(&u16::from(last).to_le_bytes());
        vec![m]
    });
}

#[test]
fn with_one_credit_everything_still_arrives() {
    let server = TestServer::plain();
    let mut config = dialect(Settings::default(), Dialect::Smb210);
    config.limits.credits = 1;
    let (mut duo, tree) = ready(&server, config);
    stingy(&mut duo);
    let request = OpenRequest {
        disposition: Disposition::OverwriteIf,
        ..OpenRequest::existing("big", AccessMask::READ_DATA | AccessMask::WRITE_DATA)
    };
    let opened = open(&mut duo, tree, request).open;
    let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let wrote = duo.call(Call::Write {
        open: opened,
        offset: 7,
        data: Payload::copy_of(&data),
        write_through: false,
    });
    assert!(matches!(wrote, Ok(Answer::Count(300_000))), "{wrote:?}");
    let mut back = Vec::new();
    while back.len() < data.len() {
        let offset = 7 + u64::try_from(back.len()).unwrap();
        match duo.call(Call::Read {
            open: opened,
            offset,
            length: 300_000,
        }) {
            Ok(Answer::Data(part)) if !part.is_empty() => back.extend_from_slice(&part),
            other => panic!("{other:?}"),
        }
    }
    assert!(back == data);
    // What takes three requests at once cannot be had; the rest can.
    let whole = duo.call(Call::ReadFile {
        at: at(tree, "big"),
        max: 10,
    });
    assert!(matches!(whole, Err(Failure::Limit(_))), "{whole:?}");
    assert!(matches!(duo.call(Call::Echo), Ok(Answer::Done)));
    assert_eq!(duo.closed, None);
}

#[test]
fn a_break_takes_something_away_once() {
    let server = TestServer::plain();
    let (mut duo, tree) = ready(&server, dialect(required(), Dialect::Smb300));
    file(&mut duo, tree, b"x");
    let key = [7; 16];
    let request = OpenRequest {
        caching: Caching::Lease {
            key,
            state: LeaseState::READ | LeaseState::HANDLE,
        },
        ..OpenRequest::existing("file", AccessMask::READ_DATA)
    };
    let opened = open(&mut duo, tree, request);
    assert!(matches!(opened.granted.caching, Caching::Lease { .. }));
    // Nobody signs breaks: anybody can say so, as often as he likes.
    let forged = |new: u32| {
        let mut m = vec![0; 64];
        m[..4].copy_from_slice(b"\xFESMB");
        m[4] = 64;
        m[12] = 18;
        m[FLAGS] = 1;
        m[MESSAGE].fill(0xFF);
        m.extend([44, 0, 0, 0]);
        m.extend(1u32.to_le_bytes());
        m.extend(key);
        m.extend(3u32.to_le_bytes());
        m.extend(new.to_le_bytes());
        m.extend([0; 12]);
        bytes::BytesMut::from(m.as_slice())
    };
    for new in [1, 1, 7, 1, 3] {
        let frames = vec![forged(new)];
        duo.engine.receive(frames, times(&duo.host));
    }
    let mut breaks = 0;
    while let Some(event) = duo.engine.poll_event() {
        breaks += usize::from(matches!(event, Event::Break(_)));
    }
    assert_eq!(breaks, 1);
    assert_eq!(duo.engine.closed(), None);
}

#[test]
fn breaks_nobody_takes_are_not_kept_without_end() {
    let server = TestServer::plain();
    let mut config = dialect(required(), Dialect::Smb300);
    config.limits.notifications = 2;
    let (mut duo, tree) = ready(&server, config);
    for n in 0..4u8 {
        let request = OpenRequest {
            disposition: Disposition::OpenIf,
            caching: Caching::Lease {
                key: [n; 16],
                state: LeaseState::READ | LeaseState::HANDLE,
            },
            ..OpenRequest::existing(format!("file{n}"), AccessMask::READ_DATA)
        };
        open(&mut duo, tree, request);
    }
    for n in 0..4u8 {
        let mut m = vec![0; 64];
        m[..4].copy_from_slice(b"\xFESMB");
        m[4] = 64;
        m[12] = 18;
        m[FLAGS] = 1;
        m[MESSAGE].fill(0xFF);
        m.extend([44, 0, 0, 0, 1, 0, 0, 0]);
        m.extend([n; 16]);
        m.extend([3, 0, 0, 0, 0, 0, 0, 0]);
        m.extend([0; 12]);
        let frames = vec![bytes::BytesMut::from(m.as_slice())];
        duo.engine.receive(frames, times(&duo.host));
    }
    let mut breaks = 0;
    while let Some(event) = duo.engine.poll_event() {
        breaks += usize::from(matches!(event, Event::Break(_)));
    }
    assert_eq!(breaks, 2);
}

#[test]
fn a_tree_without_a_number_is_none() {
    // An asynchronous reply has no TreeId; one to TREE_CONNECT makes no tree.
    let server = TestServer::plain();
    let mut duo = Duo::new(
        &server.memory,
        dialect(Settings::default(), Dialect::Smb202),
    );
    // Without a user nothing is signed, and so nothing found out.
    duo.log_on("", "").unwrap();
    duo.to_client = Box::new(|mut m| {
        if m[12] == TREE_CONNECT {
            m[FLAGS] |= 2;
        }
        vec![m]
    });
    assert_eq!(
        duo.tree("IPC$").unwrap_err(),
        Failure::Malformed {
            command: "TREE_CONNECT"
        }
    );
}

/// Each message of a chain in a frame of its own, as some filers send them, and
/// some bytes behind each that belong to nothing.
fn apart(m: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = m;
    loop {
        let next = usize::try_from(number(rest, NEXT)).unwrap();
        let end = if next == 0 { rest.len() } else { next };
        let mut part = rest[..end].to_vec();
        part[NEXT].fill(0);
        part.extend([0xEE; 8]);
        out.push(part);
        if next == 0 {
            return out;
        }
        rest = &rest[next..];
    }
}

#[test]
fn chains_answered_one_by_one_and_padded_are_understood() {
    for d in [Dialect::Smb202, Dialect::Smb210] {
        let server = TestServer::plain();
        let mut duo = Duo::new(&server.memory, dialect(Settings::default(), d));
        duo.log_on("alice", "Passw0rd!").unwrap();
        let tree = duo.tree("share").unwrap().tree;
        duo.to_client = Box::new(|m| apart(&m));
        file(&mut duo, tree, b"contents");
        let read = duo.call(Call::ReadFile {
            at: at(tree, "file"),
            max: 100,
        });
        match read.unwrap() {
            Answer::Whole { data, complete, .. } => {
                assert_eq!((&data[..], complete), (&b"contents"[..], true));
            }
            other => panic!("{other:?}"),
        }
        let listed = duo.call(Call::ListStart {
            at: at(tree, ""),
            pattern: "*".into(),
        });
        assert!(matches!(listed, Ok(Answer::ListStarted { .. })), "{d:?}");
    }
}

#[test]
fn a_logon_that_is_answered_pending_first_goes_on() {
    let server = TestServer::plain();
    let mut duo = Duo::new(&server.memory, dialect(required(), Dialect::Smb302));
    duo.to_client = Box::new(|m| {
        if m[12] != 1 {
            return vec![m];
        }
        // STATUS_PENDING, asynchronous, with nothing but the error's body.
        let mut pending = m[..64].to_vec();
        pending[STATUS].copy_from_slice(&0x0000_0103u32.to_le_bytes());
        pending[CREDITS].fill(0);
        pending[FLAGS] = 3;
        pending[32..40].copy_from_slice(&77u64.to_le_bytes());
        pending[SIGNATURE].fill(0);
        pending.extend([9, 0, 0, 0, 0, 0, 0, 0, 0]);
        vec![pending, m]
    });
    let logged_on = duo.log_on("alice", "Passw0rd!").unwrap();
    assert!(logged_on.signed);
    assert!(duo.tree("share").is_ok());
}

#[test]
fn a_failure_names_the_command_that_failed() {
    let server = TestServer::plain();
    let (mut duo, tree) = ready(&server, dialect(Settings::default(), Dialect::Smb210));
    file(&mut duo, tree, b"x");
    let opened = open(&mut duo, tree, reading("file")).open;
    let flush = duo.call(Call::Flush(opened)).unwrap_err();
    assert!(flush.to_string().starts_with("FLUSH: "), "{flush}");
}
