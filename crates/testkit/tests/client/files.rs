//! Every call of the interface, in every dialect and protection.

use countersign_core::client::{
    Answer, Caching, Call, ClientConfig, CloseReason, Encryption, Failure, LockRange, OpenRequest,
    Payload, TreeId,
};
use countersign_core::config::Dialect;
use countersign_policy::Settings;
use countersign_testkit::duo::{Duo, client_config};
use countersign_testkit::memory::MemoryWire;
use countersign_wire::fscc::{
    AccessMask, CompletionFilter, CreateOptions, Disposition, FileAttributes, LeaseState,
    NetworkOpenInformation, OplockLevel, file_class, fs_class,
};
use countersign_wire::{FileTime, NtStatus};

use super::{ALL, TestServer, at, dialect, open, reading, ready, required};

fn write_file(duo: &mut Duo<MemoryWire>, tree: TreeId, path: &str, data: &[u8]) {
    let call = Call::WriteFile {
        at: at(tree, path),
        disposition: Disposition::OverwriteIf,
        attributes: FileAttributes::empty(),
        data: Payload::copy_of(data),
        last_write: Some(FileTime(132_000_000_000_000_000)),
    };
    match duo.call(call).unwrap() {
        Answer::Written(written) => {
            assert_eq!(written.end_of_file, u64::try_from(data.len()).unwrap());
        }
        other => panic!("{other:?}"),
    }
}

fn read_file(duo: &mut Duo<MemoryWire>, tree: TreeId, path: &str, max: u32) -> (Vec<u8>, bool) {
    let call = Call::ReadFile {
        at: at(tree, path),
        max,
    };
    match duo.call(call).unwrap() {
        Answer::Whole { data, complete, .. } => (data.to_vec(), complete),
        other => panic!("{other:?}"),
    }
}

/// Works through files, directories, information and locks.
fn everything(config: ClientConfig) {
    let what = format!("{:?} {:?}", config.max_dialect, config.encryption);
    let server = TestServer::plain();
    let (mut duo, tree) = ready(&server, config);

    // Small files, one round trip each.
    let before = duo.traffic.0;
    write_file(&mut duo, tree, "small", b"hello");
    assert_eq!(read_file(&mut duo, tree, "small", 1000).0, b"hello");
    assert_eq!(duo.traffic.0 - before, 2, "{what}");
    assert_eq!(
        read_file(&mut duo, tree, "small", 2),
        (b"he".to_vec(), false)
    );
    write_file(&mut duo, tree, "empty", b"");
    assert_eq!(read_file(&mut duo, tree, "empty", 10), (Vec::new(), true));

    // A larger one in pieces.
    let request = OpenRequest {
        disposition: Disposition::OverwriteIf,
        ..OpenRequest::existing(
            "large",
            AccessMask::READ_DATA
                | AccessMask::WRITE_DATA
                | AccessMask::DELETE
                | AccessMask::READ_ATTRIBUTES
                | AccessMask::READ_CONTROL
                | AccessMask::WRITE_ATTRIBUTES,
        )
    };
    let file = open(&mut duo, tree, request).open;
    let data: Vec<u8> = (0..200_000u32).map(|n| (n * 7 + n / 256) as u8).collect();
    let mut done = 0;
    while done < data.len() {
        let call = Call::Write {
            open: file,
            offset: u64::try_from(done).unwrap(),
            data: Payload::copy_of(&data[done..]),
            write_through: false,
        };
        match duo.call(call).unwrap() {
            Answer::Count(n) => done += usize::try_from(n).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    duo.call(Call::Flush(file)).unwrap();
    let mut back = Vec::new();
    loop {
        let call = Call::Read {
            open: file,
            offset: u64::try_from(back.len()).unwrap(),
            length: 1 << 20,
        };
        match duo.call(call).unwrap() {
            Answer::Data(part) if part.is_empty() => break,
            Answer::Data(part) => back.extend_from_slice(&part),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(back, data, "{what}");

    // Locks: ours, and one that another open wants.
    let lock = |open, exclusive, wait| Call::Lock {
        open,
        ranges: vec![LockRange {
            offset: 10,
            length: 20,
            exclusive,
        }],
        wait,
    };
    duo.call(lock(file, Some(true), false)).unwrap();
    let other = open(&mut duo, tree, reading("large")).open;
    let refused = duo.call(lock(other, Some(false), false)).unwrap_err();
    assert_eq!(refused.status(), Some(NtStatus::LOCK_NOT_GRANTED), "{what}");
    // One that waits is given up again, and one that waits is granted.
    let waiting = duo.start(lock(other, Some(false), true));
    duo.turn();
    duo.engine.cancel(waiting);
    assert_eq!(
        duo.finish(waiting).unwrap_err(),
        Failure::Cancelled,
        "{what}"
    );
    let waiting = duo.start(lock(other, Some(false), true));
    duo.turn();
    duo.call(lock(file, None, false)).unwrap();
    assert!(matches!(duo.finish(waiting), Ok(Answer::Done)), "{what}");
    let call = Call::Close {
        open: other,
        query: true,
    };
    match duo.call(call).unwrap() {
        Answer::Closed(Some(facts)) => assert_eq!(facts.end_of_file, 200_000),
        other => panic!("{what} {other:?}"),
    }

    // Information and security.
    let call = Call::QueryInfo {
        open: file,
        class: file_class::NETWORK_OPEN,
        max: 56,
        input: Vec::new(),
    };
    let Answer::Info(info) = duo.call(call).unwrap() else {
        panic!();
    };
    let info = NetworkOpenInformation::decode(&info).unwrap();
    assert_eq!(info.end_of_file, 200_000);
    let call = Call::QuerySecurity {
        open: file,
        parts: 7,
    };
    let Answer::Info(descriptor) = duo.call(call).unwrap() else {
        panic!();
    };
    assert!(countersign_wire::dtyp::SecurityDescriptor::decode(&descriptor).is_ok());
    let call = Call::QueryFilesystem {
        open: file,
        class: fs_class::FULL_SIZE,
        max: 100,
    };
    assert!(matches!(duo.call(call), Ok(Answer::Info(data)) if data.len() == 32));
    duo.call(Call::Close {
        open: file,
        query: false,
    })
    .unwrap();

    // Paths.
    duo.call(Call::CreateDirectory {
        at: at(tree, "dir"),
    })
    .unwrap();
    let again = duo
        .call(Call::CreateDirectory {
            at: at(tree, "dir"),
        })
        .unwrap_err();
    assert_eq!(again.status(), Some(NtStatus::OBJECT_NAME_COLLISION));
    duo.call(Call::RenamePath {
        at: at(tree, "small"),
        to: r"dir\moved".into(),
        replace: false,
    })
    .unwrap();
    let call = Call::QueryPath {
        at: at(tree, r"dir\moved"),
        class: file_class::NETWORK_OPEN,
        max: 56,
    };
    let Answer::Info(info) = duo.call(call).unwrap() else {
        panic!();
    };
    let info = NetworkOpenInformation::decode(&info).unwrap();
    assert_eq!(info.end_of_file, 5);
    assert_eq!(info.last_write, FileTime(132_000_000_000_000_000), "{what}");
    let gone = duo
        .call(Call::Remove {
            at: at(tree, "small"),
            directory: false,
        })
        .unwrap_err();
    assert_eq!(gone.status(), Some(NtStatus::OBJECT_NAME_NOT_FOUND));
    let full = duo
        .call(Call::Remove {
            at: at(tree, "dir"),
            directory: true,
        })
        .unwrap_err();
    assert_eq!(full.status(), Some(NtStatus::DIRECTORY_NOT_EMPTY));

    // A listing of many names.
    for n in 0..300 {
        let name = format!(r"dir\a rather long name of a file, number {n}");
        write_file(&mut duo, tree, &name, b"x");
    }
    let call = Call::ListStart {
        at: at(tree, "dir"),
        pattern: "*".into(),
    };
    let Answer::ListStarted { opened, listing } = duo.call(call).unwrap() else {
        panic!();
    };
    let (mut names, mut end) = (listing.entries.len(), listing.end);
    while !end {
        let call = Call::List {
            open: opened.open,
            pattern: "*".into(),
            restart: false,
        };
        let Answer::Listing(more) = duo.call(call).unwrap() else {
            panic!();
        };
        names += more.entries.len();
        end = more.end;
    }
    assert_eq!(names, 303, "{what}");
    duo.call(Call::Close {
        open: opened.open,
        query: false,
    })
    .unwrap();
    let call = Call::ListStart {
        at: at(tree, "dir"),
        pattern: "nothing*".into(),
    };
    let nothing = duo.call(call).unwrap_err();
    assert_eq!(nothing.status(), Some(NtStatus::NO_SUCH_FILE));

    // Changes.
    let request = OpenRequest {
        options: CreateOptions::DIRECTORY_FILE,
        ..reading("dir")
    };
    let watched = open(&mut duo, tree, request).open;
    let watch = duo.start(Call::Notify {
        open: watched,
        filter: CompletionFilter::FILE_NAME,
        recursive: false,
    });
    duo.turn();
    duo.call(Call::Remove {
        at: at(tree, r"dir\moved"),
        directory: false,
    })
    .unwrap();
    match duo.finish(watch).unwrap() {
        Answer::Changes(list) => {
            assert_eq!(list.changes[0].name, "moved");
            assert_eq!(list.changes[0].action, 2);
        }
        other => panic!("{other:?}"),
    }
    let watch = duo.start(Call::Notify {
        open: watched,
        filter: CompletionFilter::FILE_NAME,
        recursive: false,
    });
    duo.turn();
    duo.engine.cancel(watch);
    assert_eq!(duo.finish(watch).unwrap_err(), Failure::Cancelled, "{what}");

    duo.call(Call::Echo).unwrap();
    duo.call(Call::TreeDisconnect(tree)).unwrap();
    duo.call(Call::Logoff).unwrap();
    assert_eq!(duo.closed, Some(CloseReason::LoggedOff));
}

#[test]
fn every_dialect_unsigned() {
    for d in ALL {
        everything(dialect(Settings::default(), d));
    }
}

#[test]
fn every_dialect_signed() {
    for d in ALL {
        everything(dialect(required(), d));
    }
}

#[test]
fn every_dialect_that_can_encrypted() {
    for d in [Dialect::Smb300, Dialect::Smb302, Dialect::Smb311] {
        everything(ClientConfig {
            encryption: Encryption::Required,
            ..dialect(required(), d)
        });
    }
}

#[test]
fn an_encrypted_share_is_encrypted_and_the_rest_is_not() {
    let server = TestServer::plain();
    let mut duo = Duo::new(&server.memory, client_config(Settings::default()));
    let logged_on = duo.log_on("alice", "Passw0rd!").unwrap();
    assert_eq!(logged_on.encrypted, None);
    let tree = duo.tree("secret").unwrap();
    assert!(tree.encrypted);
    write_file(&mut duo, tree.tree, "x", b"secret");
    assert_eq!(read_file(&mut duo, tree.tree, "x", 10).0, b"secret");
    // Without encryption the share is refused.
    let off = ClientConfig {
        encryption: Encryption::Off,
        ..client_config(Settings::default())
    };
    let mut duo = Duo::new(&server.memory, off);
    duo.log_on("alice", "Passw0rd!").unwrap();
    assert!(duo.tree("secret").is_err());
}

#[test]
fn what_protects_a_logon_is_told() {
    let server = TestServer::plain();
    let mut duo = Duo::new(&server.memory, client_config(required()));
    let logged_on = duo.log_on("alice", "Passw0rd!").unwrap();
    assert!(logged_on.signed && logged_on.key);
    assert_eq!(logged_on.algorithm, Some("AES-128-GMAC"));
    assert_eq!(duo.negotiated.as_ref().unwrap().dialect, Dialect::Smb311);
    let mut duo = Duo::new(&server.memory, client_config(Settings::default()));
    let logged_on = duo.log_on("alice", "Passw0rd!").unwrap();
    assert!(!logged_on.signed && logged_on.key);
}

#[test]
fn a_wrong_password_is_told_and_another_try_may_follow() {
    let server = TestServer::plain();
    let mut duo = Duo::new(&server.memory, client_config(required()));
    let refused = duo.log_on("alice", "wrong").unwrap_err();
    assert_eq!(refused.status(), Some(NtStatus::LOGON_FAILURE));
    duo.log_on("alice", "Passw0rd!").unwrap();
}

#[test]
fn anonymous_only_where_nothing_is_required() {
    let server = TestServer::plain();
    let mut duo = Duo::new(&server.memory, client_config(Settings::default()));
    let logged_on = duo.log_on("", "").unwrap();
    assert!(!logged_on.key);
    assert_eq!(logged_on.identity, countersign_policy::Identity::Anonymous);
    let mut duo = Duo::new(&server.memory, client_config(required()));
    assert!(matches!(duo.log_on("", ""), Err(Failure::Closed(_))));
}

#[test]
fn oplocks_and_leases_are_broken_and_acknowledged() {
    for caching in [
        Caching::Oplock(OplockLevel::Batch),
        Caching::Lease {
            key: [9; 16],
            state: LeaseState::READ | LeaseState::WRITE | LeaseState::HANDLE,
        },
    ] {
        let server = TestServer::plain();
        let (mut duo, tree) = ready(&server, client_config(required()));
        write_file(&mut duo, tree, "cached", b"data");
        let request = OpenRequest {
            caching,
            ..reading("cached")
        };
        let opened = open(&mut duo, tree, request);
        assert_eq!(opened.granted.caching, caching);
        let (mut other, its) = ready(&server, client_config(required()));
        let id = other.start(Call::Open {
            tree: its,
            request: Box::new(reading("cached")),
        });
        assert!(duo.receive(), "a break");
        let Some(countersign_core::client::Event::Break(broken)) = duo.events.pop_front() else {
            panic!("no break");
        };
        assert!(broken.acknowledge);
        assert_eq!(broken.open, opened.open);
        duo.call(Call::AcknowledgeBreak(broken)).unwrap();
        assert!(matches!(other.finish(id), Ok(Answer::Opened(_))));
    }
}

#[test]
fn a_durable_open_is_taken_up_again() {
    for d in [Dialect::Smb210, Dialect::Smb300, Dialect::Smb311] {
        let server = TestServer::plain();
        let (mut duo, tree) = ready(&server, dialect(required(), d));
        write_file(&mut duo, tree, "kept", b"kept");
        let request = OpenRequest {
            caching: Caching::Lease {
                key: [3; 16],
                state: LeaseState::READ | LeaseState::HANDLE,
            },
            durable: Some(countersign_core::client::Durable {
                create_guid: countersign_wire::Guid([5; 16]),
                timeout: 0,
            }),
            ..reading("kept")
        };
        let granted = open(&mut duo, tree, request.clone()).granted;
        let create_guid = granted.durable.expect("durable");
        duo.wire.hang_up();
        let (mut duo, tree) = ready(&server, dialect(required(), d));
        let again = OpenRequest {
            durable: None,
            reconnect: Some(countersign_core::client::Reconnect {
                persistent: granted.persistent,
                volatile: granted.volatile,
                create_guid,
            }),
            ..request
        };
        let opened = open(&mut duo, tree, again);
        let call = Call::Read {
            open: opened.open,
            offset: 0,
            length: 10,
        };
        assert!(matches!(duo.call(call), Ok(Answer::Data(d)) if &d[..] == b"kept"));
    }
}

#[test]
fn a_cancelled_open_leaves_nothing_open() {
    let server = TestServer::plain();
    let (mut duo, tree) = ready(&server, client_config(required()));
    write_file(&mut duo, tree, "x", b"x");
    let id = duo.engine.submit(
        Call::Open {
            tree,
            request: Box::new(reading("x")),
        },
        countersign_testkit::memory::times(&duo.host),
    );
    duo.send();
    duo.engine.cancel(id);
    assert_eq!(duo.finish(id).unwrap_err(), Failure::Cancelled);
    duo.call(Call::Echo).unwrap();
    // Nobody has it open: it can be had alone.
    let alone = OpenRequest {
        share: countersign_wire::fscc::ShareAccess::empty(),
        ..reading("x")
    };
    open(&mut duo, tree, alone);
}

#[test]
fn few_credits_slow_down_but_do_not_stop() {
    let server = TestServer::plain();
    let mut config = client_config(required());
    config.limits.credits = 2;
    let (mut duo, tree) = ready(&server, config);
    let data = vec![7u8; 60_000];
    write_file(&mut duo, tree, "x", &data);
    assert_eq!(read_file(&mut duo, tree, "x", 60_000).0, data);
    let ids: Vec<_> = (0..100).map(|_| duo.start(Call::Echo)).collect();
    for id in ids {
        duo.finish(id).unwrap();
    }
}

#[test]
fn limits_hold() {
    let server = TestServer::plain();
    let mut config = client_config(required());
    config.limits.opens = 2;
    config.limits.queued_calls = 3;
    config.limits.credits = 3;
    let (mut duo, tree) = ready(&server, config);
    write_file(&mut duo, tree, "x", b"x");
    open(&mut duo, tree, reading("x"));
    open(&mut duo, tree, reading("x"));
    let third = duo.call(Call::Open {
        tree,
        request: Box::new(reading("x")),
    });
    assert!(matches!(third, Err(Failure::Limit(_))), "{third:?}");
    let now = countersign_testkit::memory::times(&duo.host);
    let ids: Vec<_> = (0..20)
        .map(|_| duo.engine.submit(Call::Echo, now))
        .collect();
    let outcomes: Vec<_> = ids.into_iter().map(|id| duo.finish(id)).collect();
    let full = outcomes
        .iter()
        .filter(|o| matches!(o, Err(Failure::Limit(_))))
        .count();
    assert!(full > 0 && full < 20, "{full}");
    assert_eq!(duo.closed, None);
}

#[test]
fn sizes_are_limited() {
    let server = TestServer::plain();
    let mut config = client_config(required());
    config.limits.max_io = 1000;
    config.limits.max_frame = 200_000;
    let (mut duo, tree) = ready(&server, config);
    assert_eq!(duo.engine.transfer().read, 1000);
    assert_eq!(duo.engine.transfer().write, 1000);
    assert!(duo.engine.frame_limit() <= 200_000);
    write_file(&mut duo, tree, "x", &[1; 1000]);
    let too_large = duo.call(Call::WriteFile {
        at: at(tree, "x"),
        disposition: Disposition::OverwriteIf,
        attributes: FileAttributes::empty(),
        data: Payload::copy_of(&[1; 1001]),
        last_write: None,
    });
    assert!(matches!(too_large, Err(Failure::Limit(_))));
    let file = open(&mut duo, tree, reading("x")).open;
    let call = Call::Read {
        open: file,
        offset: 0,
        length: 5000,
    };
    assert!(matches!(duo.call(call), Ok(Answer::Data(d)) if d.len() == 1000));
}

#[test]
fn a_chain_longer_than_allowed_is_not_taken() {
    let server = TestServer::plain();
    let mut config = client_config(required());
    config.limits.compound = 2;
    let (mut duo, tree) = ready(&server, config);
    // CREATE, READ and CLOSE come back as one.
    let outcome = duo.call(Call::ReadFile {
        at: at(tree, "none"),
        max: 10,
    });
    assert!(outcome.is_err());
    assert!(matches!(
        duo.closed,
        Some(countersign_core::client::CloseReason::Violation(_))
    ));
}

#[test]
fn notifications_do_not_pile_up() {
    let server = TestServer::plain();
    let mut config = client_config(required());
    config.limits.notifications = 0;
    let (mut duo, tree) = ready(&server, config);
    write_file(&mut duo, tree, "cached", b"x");
    let request = OpenRequest {
        caching: Caching::Oplock(OplockLevel::Batch),
        ..reading("cached")
    };
    open(&mut duo, tree, request);
    let (mut other, its) = ready(&server, client_config(required()));
    other.start(Call::Open {
        tree: its,
        request: Box::new(reading("cached")),
    });
    assert!(duo.receive(), "a break");
    assert!(duo.events.is_empty(), "{:?}", duo.events);
}
