//! Every call, unsigned and signed, with and without extended security.

use super::*;
use countersign_core::client::{
    Answer, Caching, Call, ChangeList, CloseReason, Event, Failure, Listing, LockRange,
    OpenRequest, PathRequest, Payload, ShareKind, TreeId,
};
use countersign_wire::fscc::{
    AccessMask, AllInformation, BasicInformation, CompletionFilter, CreateAction, CreateOptions,
    Disposition, FileAttributes, FsAttributeInformation, OplockLevel, StandardInformation,
    file_class, fs_class,
};
use countersign_wire::{FileTime, Writer};

/// Runs a test in every form of logon and protection.
fn everywhere(test: impl Fn(&mut Rig, TreeId)) {
    for always in [Value::Disabled, Value::Enabled] {
        for extended in [true, false] {
            let server = TestServer::new(|_| {});
            let mut config = client_config();
            config.policy = client_policy(always, Value::Disabled);
            config.smb1.extended_security = extended;
            let mut rig = Rig::new(&server, config);
            let logged_on = rig.logon("alice", PASSWORD).unwrap();
            assert_eq!(logged_on.signed, always == Value::Enabled);
            let tree = rig.tree("share");
            test(&mut rig, tree);
            assert!(matches!(rig.closed(), None | Some(CloseReason::LoggedOff)));
            for message in rig.sent.iter().chain(&rig.received) {
                let command = message[4];
                // A break is never signed.
                let unasked = message[30..32] == [0xFF; 2];
                let first = [Command::NEGOTIATE, Command::SESSION_SETUP_ANDX].contains(&command);
                if !first && !unasked {
                    assert_eq!(message[14..22] != [0; 8], logged_on.signed);
                }
            }
        }
    }
}

fn at(tree: TreeId, path: &str) -> PathRequest {
    PathRequest {
        tree,
        path: path.into(),
        no_follow: false,
    }
}

fn all_access(path: &str) -> OpenRequest {
    OpenRequest {
        disposition: Disposition::OpenIf,
        ..OpenRequest::existing(
            path,
            AccessMask::READ_DATA
                | AccessMask::WRITE_DATA
                | AccessMask::READ_ATTRIBUTES
                | AccessMask::WRITE_ATTRIBUTES
                | AccessMask::READ_EA
                | AccessMask::WRITE_EA
                | AccessMask::READ_CONTROL
                | AccessMask::WRITE_DAC
                | AccessMask::DELETE
                | AccessMask::SYNCHRONIZE,
        )
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(length).collect()
}

fn write_all(rig: &mut Rig, open: countersign_core::client::OpenId, data: &[u8]) {
    let mut done = 0;
    while done < data.len() {
        let answer = rig.call(Call::Write {
            open,
            offset: u64::try_from(done).unwrap(),
            data: Payload::copy_of(&data[done..]),
            write_through: false,
        });
        match answer {
            Ok(Answer::Count(n)) => done += usize::try_from(n).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn files_are_written_and_read() {
    everywhere(|rig, tree| {
        let opened = rig.open(tree, all_access("dätei.bin")).unwrap();
        assert_eq!(opened.action, CreateAction::Created);
        assert!(!opened.directory);
        let data = pattern(300_001);
        write_all(rig, opened.open, &data);
        assert!(matches!(
            rig.call(Call::Flush(opened.open)),
            Ok(Answer::Done)
        ));
        assert_eq!(rig.read_all(opened.open), data);
        let past = rig.call(Call::Read {
            open: opened.open,
            offset: 1 << 33,
            length: 10,
        });
        assert!(matches!(past, Ok(Answer::Data(d)) if d.is_empty()));
        let close = Call::Close {
            open: opened.open,
            query: true,
        };
        assert!(matches!(rig.call(close), Ok(Answer::Closed(_))));
        let again = rig.call(Call::Flush(opened.open));
        assert!(matches!(again, Err(Failure::UnknownHandle)));
    });
}

#[test]
fn many_reads_and_writes_are_on_their_way_at_once() {
    everywhere(|rig, tree| {
        let opened = rig.open(tree, all_access("many")).unwrap();
        let piece = usize::try_from(rig.engine.transfer().write).unwrap();
        let data = pattern(piece * 70 + 13);
        let writes: Vec<_> = data
            .chunks(piece)
            .enumerate()
            .map(|(i, part)| {
                rig.submit(Call::Write {
                    open: opened.open,
                    offset: u64::try_from(i * piece).unwrap(),
                    data: Payload::copy_of(part),
                    write_through: false,
                })
            })
            .collect();
        for id in writes {
            assert!(matches!(rig.done(id), Ok(Answer::Count(_))));
        }
        let piece = usize::try_from(rig.engine.transfer().read).unwrap();
        let reads: Vec<_> = (0..data.len().div_ceil(piece))
            .map(|i| {
                rig.submit(Call::Read {
                    open: opened.open,
                    offset: u64::try_from(i * piece).unwrap(),
                    length: u32::try_from(piece).unwrap(),
                })
            })
            .collect();
        for (id, expected) in reads.into_iter().zip(data.chunks(piece)) {
            match rig.done(id) {
                Ok(Answer::Data(got)) => assert!(got == expected),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn failures_name_status_and_command() {
    everywhere(|rig, tree| {
        let missing = rig.open(tree, OpenRequest::existing("nope", AccessMask::READ_DATA));
        assert_eq!(
            missing,
            Err(Failure::Status {
                status: NtStatus::OBJECT_NAME_NOT_FOUND,
                command: "NT_CREATE_ANDX"
            })
        );
        let share = rig.call(Call::TreeConnect {
            share: "none".into(),
        });
        assert_eq!(status(share), NtStatus::BAD_NETWORK_NAME);
        let other = rig.call(Call::Open {
            tree: TreeId(99),
            request: Box::new(all_access("x")),
        });
        assert_eq!(other.unwrap_err(), Failure::UnknownHandle);
    });
}

fn names(listing: &Listing) -> Vec<&str> {
    let mut names: Vec<_> = listing.entries.iter().map(|e| e.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn folders_are_made_listed_and_removed() {
    everywhere(|rig, tree| {
        let make = Call::CreateDirectory {
            at: at(tree, "dir"),
        };
        assert!(matches!(rig.call(make), Ok(Answer::Done)));
        for i in 0..600 {
            let write = Call::WriteFile {
                at: at(
                    tree,
                    &format!(r"dir\a rather long name of a file {i:04}.txt"),
                ),
                disposition: Disposition::OverwriteIf,
                attributes: FileAttributes::empty(),
                data: Payload::copy_of(b"x"),
                last_write: None,
            };
            assert!(matches!(rig.call(write), Ok(Answer::Written(w)) if w.end_of_file == 1));
        }
        // By path, in one round trip, then on.
        let start = Call::ListStart {
            at: at(tree, "dir"),
            pattern: "*".into(),
        };
        let Ok(Answer::ListStarted { opened, listing }) = rig.call(start) else {
            panic!("no listing")
        };
        assert!(opened.directory && !listing.end && listing.entries.len() > 100);
        let mut all = listing.entries;
        loop {
            let next = Call::List {
                open: opened.open,
                pattern: "*".into(),
                restart: false,
            };
            let Ok(Answer::Listing(listing)) = rig.call(next) else {
                panic!("no listing")
            };
            all.extend(listing.entries);
            if listing.end {
                break;
            }
        }
        assert_eq!(all.len(), 602);
        let mut sorted: Vec<_> = all.iter().map(|e| &e.name).collect();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 602);
        assert!(
            all.iter()
                .all(|e| e.name.starts_with('.') || e.end_of_file == 1)
        );
        let close = Call::Close {
            open: opened.open,
            query: false,
        };
        assert!(matches!(rig.call(close), Ok(Answer::Closed(None))));

        // Through an open, with a pattern, again from the start.
        let folder = rig
            .open(tree, OpenRequest::existing("dir", AccessMask::READ_DATA))
            .unwrap();
        assert!(folder.directory);
        for restart in [false, true] {
            let list = Call::List {
                open: folder.open,
                pattern: "*001?.txt".into(),
                restart,
            };
            let Ok(Answer::Listing(listing)) = rig.call(list) else {
                panic!("no listing")
            };
            assert_eq!(names(&listing).len(), 10);
            assert!(listing.end);
        }
        let over = Call::List {
            open: folder.open,
            pattern: "*001?.txt".into(),
            restart: false,
        };
        assert!(matches!(rig.call(over), Ok(Answer::Listing(l)) if l.end && l.entries.is_empty()));
        let none = Call::List {
            open: folder.open,
            pattern: "*.none".into(),
            restart: true,
        };
        assert!(matches!(rig.call(none), Ok(Answer::Listing(l)) if l.end && l.entries.is_empty()));

        let close = Call::Close {
            open: folder.open,
            query: false,
        };
        rig.call(close).unwrap();
        let full = Call::Remove {
            at: at(tree, "dir"),
            directory: true,
        };
        assert_eq!(status(rig.call(full)), NtStatus::DIRECTORY_NOT_EMPTY);
        let missing = Call::ListStart {
            at: at(tree, r"none\at all"),
            pattern: "*".into(),
        };
        assert_eq!(status(rig.call(missing)), NtStatus::OBJECT_PATH_NOT_FOUND);
    });
}

#[test]
fn whole_files_come_and_go() {
    everywhere(|rig, tree| {
        for length in [0, 1, 100_000, 400_000] {
            let data = pattern(length);
            let time = FileTime::from_unix(1_700_000_000, 0);
            let write = Call::WriteFile {
                at: at(tree, "whole"),
                disposition: Disposition::OverwriteIf,
                attributes: FileAttributes::empty(),
                data: Payload::copy_of(&data),
                last_write: Some(time),
            };
            match rig.call(write) {
                Ok(Answer::Written(w)) => assert_eq!(w.last_write, time),
                other => panic!("{other:?}"),
            }
            let read = Call::ReadFile {
                at: at(tree, "whole"),
                max: 1 << 20,
            };
            match rig.call(read) {
                Ok(Answer::Whole {
                    data: got,
                    complete,
                    opened,
                }) => {
                    assert!(complete && got == data);
                    assert_eq!(opened.facts.last_write, time);
                }
                other => panic!("{other:?}"),
            }
        }
        let part = Call::ReadFile {
            at: at(tree, "whole"),
            max: 10,
        };
        assert!(
            matches!(rig.call(part), Ok(Answer::Whole { data, complete: false, .. }) if data.len() == 10)
        );
        // Nothing stays open.
        let remove = Call::Remove {
            at: at(tree, "whole"),
            directory: false,
        };
        assert!(matches!(rig.call(remove), Ok(Answer::Done)));
    });
}

#[test]
fn names_are_changed() {
    everywhere(|rig, tree| {
        let make = |rig: &mut Rig, name: &str| {
            let opened = rig.open(tree, all_access(name)).unwrap();
            let close = Call::Close {
                open: opened.open,
                query: false,
            };
            rig.call(close).unwrap();
        };
        let rename = |from: &str, to: &str, replace| Call::RenamePath {
            at: at(tree, from),
            to: to.into(),
            replace,
        };
        make(rig, "a");
        make(rig, "b");
        rig.call(Call::CreateDirectory { at: at(tree, "d") })
            .unwrap();
        let taken = rig.call(rename("a", "b", false));
        assert_eq!(status(taken), NtStatus::OBJECT_NAME_COLLISION);
        assert!(matches!(rig.call(rename("a", "b", true)), Ok(Answer::Done)));
        make(rig, r"d\b");
        // Into another folder, over what is there.
        assert!(matches!(
            rig.call(rename("b", r"d\b", true)),
            Ok(Answer::Done)
        ));
        // A pattern is never meant.
        for (from, to) in [("*", "x"), (r"d\b", "y?")] {
            let refused = rig.call(rename(from, to, false));
            assert_eq!(status(refused), NtStatus::OBJECT_NAME_INVALID);
        }
        let refused = rig.call(Call::Remove {
            at: at(tree, r"d\*"),
            directory: false,
        });
        assert_eq!(status(refused), NtStatus::OBJECT_NAME_INVALID);
        // What is open.
        let opened = rig.open(tree, all_access(r"d\b")).unwrap();
        let to = Call::Rename {
            open: opened.open,
            to: r"d\moved".into(),
            replace: false,
        };
        rig.call(to).unwrap();
        let link = Call::Link {
            at: at(tree, r"d\moved"),
            to: "second".into(),
            replace: false,
        };
        assert!(matches!(rig.call(link), Ok(Answer::Done)));
        let delete = Call::SetDelete {
            open: opened.open,
            delete: true,
        };
        assert!(matches!(rig.call(delete), Ok(Answer::Done)));
        let close = Call::Close {
            open: opened.open,
            query: false,
        };
        rig.call(close).unwrap();
        let start = Call::ListStart {
            at: at(tree, ""),
            pattern: "*".into(),
        };
        let Ok(Answer::ListStarted { listing, .. }) = rig.call(start) else {
            panic!("no listing")
        };
        assert_eq!(names(&listing), [".", "..", "d", "second"]);
        let folder = Call::Remove {
            at: at(tree, "d"),
            directory: true,
        };
        assert!(matches!(rig.call(folder), Ok(Answer::Done)));
    });
}

fn info(rig: &mut Rig, call: Call) -> bytes::Bytes {
    match rig.call(call) {
        Ok(Answer::Info(data)) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn information_is_told_and_set() {
    everywhere(|rig, tree| {
        let opened = rig.open(tree, all_access("info")).unwrap();
        write_all(rig, opened.open, b"12345");
        for by_path in [false, true] {
            let ask = |class, max| match by_path {
                true => Call::QueryPath {
                    at: at(tree, "info"),
                    class,
                    max,
                },
                false => Call::QueryInfo {
                    open: opened.open,
                    class,
                    max,
                    input: Vec::new(),
                },
            };
            let all = info(rig, ask(file_class::ALL, 1024));
            let all = AllInformation::decode(&all).unwrap();
            assert_eq!(all.standard.end_of_file, 5);
            assert_eq!(all.name, r"\info");
            assert_ne!(all.internal.index_number, 0);
            let standard = info(rig, ask(file_class::STANDARD, 64));
            let standard = StandardInformation::decode(&standard).unwrap();
            assert_eq!(standard, all.standard);
            assert_eq!(info(rig, ask(file_class::NETWORK_OPEN, 64)).len(), 56);
            let streams = info(rig, ask(file_class::STREAM, 1024));
            assert!(!streams.is_empty());
            let time = FileTime::from_unix(1_600_000_000, 0);
            let basic = BasicInformation {
                creation: FileTime::ZERO,
                last_access: FileTime::ZERO,
                last_write: time,
                change: FileTime::ZERO,
                attributes: FileAttributes::empty(),
            };
            let mut data = Vec::new();
            basic.encode(&mut Writer::new(&mut data));
            let set = match by_path {
                true => Call::SetPath {
                    at: at(tree, "info"),
                    class: file_class::BASIC,
                    data,
                },
                false => Call::SetInfo {
                    open: opened.open,
                    class: file_class::BASIC,
                    data,
                },
            };
            assert!(matches!(rig.call(set), Ok(Answer::Done)));
            let basic = info(rig, ask(file_class::BASIC, 64));
            assert_eq!(BasicInformation::decode(&basic).unwrap().last_write, time);
        }
        let shorter = Call::SetInfo {
            open: opened.open,
            class: file_class::END_OF_FILE,
            data: 2u64.to_le_bytes().to_vec(),
        };
        assert!(matches!(rig.call(shorter), Ok(Answer::Done)));
        assert_eq!(rig.read_all(opened.open), b"12");
        for class in [
            fs_class::VOLUME,
            fs_class::SIZE,
            fs_class::FULL_SIZE,
            fs_class::DEVICE,
        ] {
            let volume = Call::QueryFilesystem {
                open: opened.open,
                class,
                max: 1024,
            };
            assert!(!info(rig, volume).is_empty());
        }
        let attributes = Call::QueryFilesystem {
            open: opened.open,
            class: fs_class::ATTRIBUTE,
            max: 1024,
        };
        let attributes = info(rig, attributes);
        assert!(FsAttributeInformation::decode(&attributes).is_ok());
        let unknown = Call::QueryInfo {
            open: opened.open,
            class: 200,
            max: 64,
            input: Vec::new(),
        };
        assert_eq!(status(rig.call(unknown)), NtStatus::INVALID_LEVEL);
    });
}

#[test]
fn security_descriptors_and_control_codes() {
    const DACL: u32 = 4;
    everywhere(|rig, tree| {
        let opened = rig.open(tree, all_access("secure")).unwrap();
        let query = || Call::QuerySecurity {
            open: opened.open,
            parts: DACL,
        };
        let descriptor = info(rig, query());
        assert!(descriptor.len() >= 20);
        let set = Call::SetSecurity {
            open: opened.open,
            parts: DACL,
            descriptor: descriptor.to_vec(),
        };
        assert!(matches!(rig.call(set), Ok(Answer::Done)));
        assert_eq!(info(rig, query()), descriptor);
        let id = Call::Ioctl {
            tree,
            open: Some(opened.open),
            code: 0x0009_00C0,
            input: Vec::new(),
            max: 64,
        };
        assert_eq!(info(rig, id).len(), 64);
        let made = OpenRequest {
            security_descriptor: Some(descriptor.to_vec()),
            ..all_access("made with one")
        };
        let made = rig.open(tree, made).unwrap();
        assert_eq!(made.action, CreateAction::Created);
        let with_access = OpenRequest {
            maximal_access: true,
            ..all_access("secure")
        };
        let opened = rig.open(tree, with_access).unwrap();
        let maximal = opened.granted.maximal_access.unwrap();
        assert!(maximal.contains(AccessMask::READ_DATA));
    });
}

#[test]
fn locks_wait_and_are_given_up() {
    everywhere(|rig, tree| {
        let one = rig.open(tree, all_access("locked")).unwrap().open;
        let two = rig.open(tree, all_access("locked")).unwrap().open;
        let lock = |open, exclusive, wait| Call::Lock {
            open,
            ranges: vec![LockRange {
                offset: 1 << 33,
                length: 10,
                exclusive,
            }],
            wait,
        };
        assert!(matches!(
            rig.call(lock(one, Some(true), false)),
            Ok(Answer::Done)
        ));
        let refused = rig.call(lock(two, Some(false), false));
        // So far behind the start it is this one.
        assert_eq!(status(refused), NtStatus::FILE_LOCK_CONFLICT);
        // Cancelled.
        let waits = rig.submit(lock(two, Some(true), true));
        rig.settle();
        rig.engine.cancel(waits);
        assert_eq!(rig.done(waits).unwrap_err(), Failure::Cancelled);
        // Granted.
        let waits = rig.submit(lock(two, Some(true), true));
        rig.settle();
        assert!(matches!(rig.call(lock(one, None, false)), Ok(Answer::Done)));
        assert!(matches!(rig.done(waits), Ok(Answer::Done)));
        assert!(matches!(rig.call(Call::Echo), Ok(Answer::Done)));
    });
}

#[test]
fn changes_are_told() {
    everywhere(|rig, tree| {
        let folder = rig
            .open(tree, OpenRequest::existing("", AccessMask::READ_DATA))
            .unwrap()
            .open;
        let watch = || Call::Notify {
            open: folder,
            filter: CompletionFilter::FILE_NAME,
            recursive: true,
        };
        let id = rig.submit(watch());
        rig.settle();
        rig.open(tree, all_access("new")).unwrap();
        match rig.done(id) {
            Ok(Answer::Changes(ChangeList { changes, .. })) => {
                assert!(changes.iter().any(|c| c.name == "new"));
            }
            other => panic!("{other:?}"),
        }
        let id = rig.submit(watch());
        rig.settle();
        rig.engine.cancel(id);
        assert_eq!(rig.done(id).unwrap_err(), Failure::Cancelled);
        assert!(matches!(rig.call(Call::Echo), Ok(Answer::Done)));
    });
}

#[test]
fn what_waits_for_ever_leaves_room() {
    everywhere(|rig, tree| {
        let folder = rig
            .open(tree, OpenRequest::existing("", AccessMask::READ_DATA))
            .unwrap()
            .open;
        // More than MaxMpxCount.
        let watches: Vec<_> = (0..70)
            .map(|_| {
                rig.submit(Call::Notify {
                    open: folder,
                    filter: CompletionFilter::FILE_NAME,
                    recursive: false,
                })
            })
            .collect();
        assert!(matches!(rig.call(Call::Echo), Ok(Answer::Done)));
        for id in watches {
            rig.engine.cancel(id);
            assert_eq!(rig.done(id).unwrap_err(), Failure::Cancelled);
        }
        assert!(matches!(rig.call(Call::Echo), Ok(Answer::Done)));
    });
}

#[test]
fn oplocks_break() {
    everywhere(|rig, tree| {
        let with = OpenRequest {
            caching: Caching::Oplock(OplockLevel::Batch),
            ..all_access("cached")
        };
        let first = rig.open(tree, with).unwrap();
        assert_eq!(first.granted.caching, Caching::Oplock(OplockLevel::Batch));
        let second = rig.submit(Call::Open {
            tree,
            request: Box::new(all_access("cached")),
        });
        let broken = rig
            .until(|e| match e {
                Event::Break(b) => Some(*b),
                _ => None,
            })
            .expect("a break");
        assert_eq!(broken.open, first.open);
        assert!(broken.acknowledge);
        assert!(matches!(
            rig.call(Call::AcknowledgeBreak(broken)),
            Ok(Answer::Done)
        ));
        assert!(matches!(rig.done(second), Ok(Answer::Opened(_))));
        assert!(matches!(rig.call(Call::Echo), Ok(Answer::Done)));
    });
}

#[test]
fn a_call_that_was_given_up_leaves_nothing_open() {
    everywhere(|rig, tree| {
        let id = rig.submit(Call::Open {
            tree,
            request: Box::new(all_access("left")),
        });
        // It is on its way.
        let frame = rig.engine.poll_transmit().expect("a request");
        let message = frame.bytes()[4..].to_vec();
        rig.engine.cancel(id);
        assert_eq!(rig.done(id).unwrap_err(), Failure::Cancelled);
        rig.wire.send_all(&[&message]);
        rig.settle();
        // DELETE fails while it is open without sharing for deletion; it is not.
        let closes = rig.sent.iter().filter(|m| m[4] == Command::CLOSE).count();
        assert_eq!(closes, 1);
    });
}

#[test]
fn a_file_is_closed_when_nothing_reads_it_any_more() {
    everywhere(|rig, tree| {
        let opened = rig.open(tree, all_access("read")).unwrap();
        write_all(rig, opened.open, &pattern(100_000));
        let reads: Vec<_> = (0..80)
            .map(|_| {
                rig.submit(Call::Read {
                    open: opened.open,
                    offset: 0,
                    length: 1000,
                })
            })
            .collect();
        // More than may be on their way at once; some are given up.
        for id in reads.iter().step_by(3) {
            rig.engine.cancel(*id);
        }
        let close = rig.submit(Call::Close {
            open: opened.open,
            query: false,
        });
        let echo = rig.submit(Call::Echo);
        assert!(matches!(rig.done(close), Ok(Answer::Closed(_))));
        assert!(matches!(rig.done(echo), Ok(Answer::Done)));
        let place = |command| rig.sent.iter().rposition(|m| m[4] == command);
        assert!(place(Command::READ_ANDX) < place(Command::CLOSE));
        assert!(place(Command::ECHO) < place(Command::CLOSE));
        for (i, id) in reads.into_iter().enumerate() {
            let result = rig.done(id);
            assert_eq!(result.is_ok(), i % 3 != 0, "{i}: {result:?}");
        }
    });
}

#[test]
fn named_pipes_transact() {
    everywhere(|rig, _| {
        let Ok(Answer::Tree(ipc)) = rig.call(Call::TreeConnect {
            share: "IPC$".into(),
        }) else {
            panic!("no IPC$")
        };
        assert_eq!(ipc.kind, ShareKind::Pipe);
        // A bind to srvsvc 3.0 with NDR.
        let mut bind = vec![5, 0, 11, 3, 0x10, 0, 0, 0, 72, 0, 0, 0, 1, 0, 0, 0];
        bind.extend([0xB8, 0x10, 0xB8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0]);
        bind.extend([
            0xC8, 0x4F, 0x32, 0x4B, 0x70, 0x16, 0xD3, 0x01, 0x12, 0x78, 0x5A, 0x47, 0xBF, 0x6E,
            0xE1, 0x88, 3, 0, 0, 0,
        ]);
        bind.extend([
            0x04, 0x5D, 0x88, 0x8A, 0xEB, 0x1C, 0xC9, 0x11, 0x9F, 0xE8, 0x08, 0x00, 0x2B, 0x10,
            0x48, 0x60, 2, 0, 0, 0,
        ]);
        // Whole, and with so little room that the rest must be read.
        for max in [4096, 20] {
            let pipe = rig
                .open(
                    ipc.tree,
                    OpenRequest {
                        disposition: Disposition::Open,
                        options: CreateOptions::empty(),
                        ..OpenRequest::existing(
                            "srvsvc",
                            AccessMask::READ_DATA | AccessMask::WRITE_DATA,
                        )
                    },
                )
                .unwrap();
            let answer = info(
                rig,
                Call::PipeTransact {
                    open: pipe.open,
                    input: bind.clone(),
                    max,
                },
            );
            assert_eq!(answer[2], 12, "bind_ack");
            if max == 20 {
                assert_eq!(answer.len(), 20);
                let Ok(Answer::Data(rest)) = rig.call(Call::Read {
                    open: pipe.open,
                    offset: 0,
                    length: 4096,
                }) else {
                    panic!("no rest")
                };
                assert!(!rest.is_empty());
            }
        }
    });
}

#[test]
fn long_requests_go_in_secondaries() {
    everywhere(|rig, tree| {
        // Extended attributes that fill several messages.
        let opened = rig.open(tree, all_access("attributes")).unwrap();
        let mut list = Vec::new();
        let value = pattern(30_000);
        let ea = countersign_wire::fscc::FullEa {
            flags: 0,
            name: b"LONG",
            value: &value,
        };
        countersign_wire::fscc::FullEa::encode_list(&[ea], &mut Writer::new(&mut list));
        let set = Call::SetInfo {
            open: opened.open,
            class: file_class::FULL_EA,
            data: list.clone(),
        };
        // All of it has come, and is more than the file system takes.
        assert_eq!(status(rig.call(set)), NtStatus::EA_TOO_LARGE);
        let secondaries = rig
            .sent
            .iter()
            .filter(|m| m[4] == Command::TRANSACTION2_SECONDARY)
            .count();
        assert_eq!(secondaries, 1);
        assert!(matches!(rig.call(Call::Echo), Ok(Answer::Done)));
        // A shorter one is taken.
        let mut list = Vec::new();
        let ea = countersign_wire::fscc::FullEa {
            flags: 0,
            name: b"SHORT",
            value: &value[..1000],
        };
        countersign_wire::fscc::FullEa::encode_list(&[ea], &mut Writer::new(&mut list));
        let set = Call::SetInfo {
            open: opened.open,
            class: file_class::FULL_EA,
            data: list,
        };
        assert!(matches!(rig.call(set), Ok(Answer::Done)));
        let got = info(
            rig,
            Call::QueryInfo {
                open: opened.open,
                class: file_class::FULL_EA,
                max: 0xFFFF,
                input: Vec::new(),
            },
        );
        assert!(got.windows(1000).any(|w| w == &value[..1000]));
    });
}

#[test]
fn sessions_and_trees_end() {
    everywhere(|rig, tree| {
        let opened = rig.open(tree, all_access("x")).unwrap();
        assert!(matches!(
            rig.call(Call::TreeDisconnect(tree)),
            Ok(Answer::Done)
        ));
        let gone = rig.call(Call::Flush(opened.open));
        assert_eq!(gone.unwrap_err(), Failure::UnknownHandle);
        assert!(matches!(rig.call(Call::Logoff), Ok(Answer::Done)));
        let share = rig.call(Call::TreeConnect {
            share: "share".into(),
        });
        assert_eq!(share.unwrap_err(), Failure::Closed(CloseReason::LoggedOff));
    });
}
