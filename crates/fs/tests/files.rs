//! Opening, reading, writing, deleting, renaming, listing.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failing call is a failing test

mod rig;

use std::time::Duration;

use countersign_fs::call::{DenyMode, FsReply};
use countersign_fs::{Event, FsCall, FsError, FsLimits, SetBasic, ShareOptions, TimeChange};
use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::{
    AccessMask, CreateAction, CreateOptions, Disposition, FileAttributes, ShareAccess,
};
use rig::*;

#[test]
fn create_write_read_close() {
    let rig = rig();
    let a = rig.peer(1);
    let o = a
        .open_with("Dir", |c| c.options |= CreateOptions::DIRECTORY_FILE)
        .unwrap();
    assert_eq!(o.action, CreateAction::Created);
    a.close(&o.open);
    let f = a.open("dir\\File.txt");
    assert_eq!(f.path().to_string(), "Dir\\File.txt");
    assert_eq!(a.write(&f, 3, b"abc").unwrap(), 3);
    assert_eq!(a.read(&f, 0, 100).unwrap(), b"\0\0\0abc");
    assert_eq!(a.read(&f, 6, 1).unwrap_err(), FsError::EndOfFile);
    a.close(&f);
    assert_eq!(a.read(&f, 0, 1).unwrap_err(), FsError::FileClosed);
    let o = a.open_with("DIR\\FILE.TXT", |_| {}).unwrap();
    assert_eq!(o.action, CreateAction::Opened);
    assert_eq!(o.open.path().to_string(), "Dir\\File.txt");
    assert_eq!(o.metadata.end_of_file, 6);
    a.close(&o.open);
    assert_eq!(
        rig.service.statistics(),
        Default::default(),
        "nothing is left behind"
    );
}

#[test]
fn dispositions() {
    let rig = rig();
    let a = rig.peer(1);
    let go = |d: Disposition| {
        a.open_with("f", |c| c.disposition = d).map(|o| {
            a.close(&o.open);
            o.action
        })
    };
    use Disposition as D;
    assert_eq!(go(D::Open), Err(FsError::NameNotFound));
    assert_eq!(go(D::Overwrite), Err(FsError::NameNotFound));
    assert_eq!(go(D::Create), Ok(CreateAction::Created));
    assert_eq!(go(D::Create), Err(FsError::NameCollision));
    assert_eq!(go(D::OpenIf), Ok(CreateAction::Opened));
    assert_eq!(go(D::Overwrite), Ok(CreateAction::Overwritten));
    assert_eq!(go(D::OverwriteIf), Ok(CreateAction::Overwritten));
    assert_eq!(go(D::Supersede), Ok(CreateAction::Superseded));
    assert_eq!(
        a.open_with("x\\y", |_| {}).unwrap_err(),
        FsError::PathNotFound
    );
}

#[test]
fn folder_or_file() {
    let rig = rig();
    let a = rig.peer(1);
    a.mkdir("d");
    a.open("f");
    let with = |p: &str, o: CreateOptions| a.open_with(p, |c| c.options |= o).unwrap_err();
    assert_eq!(
        with("d", CreateOptions::NON_DIRECTORY_FILE),
        FsError::IsADirectory
    );
    assert_eq!(
        with("f", CreateOptions::DIRECTORY_FILE),
        FsError::NotADirectory
    );
    assert_eq!(
        with("d::$DATA", CreateOptions::empty()),
        FsError::IsADirectory
    );
    assert_eq!(
        with(
            "d",
            CreateOptions::DIRECTORY_FILE | CreateOptions::NON_DIRECTORY_FILE
        ),
        FsError::InvalidParameter
    );
    assert_eq!(
        a.open_with("f", |c| c.trailing_separator = true)
            .unwrap_err(),
        FsError::NameInvalid
    );
    assert_eq!(
        a.open_with("f", |c| c.access = AccessMask::empty())
            .unwrap_err(),
        FsError::AccessDenied
    );
}

#[test]
fn overwriting_keeps_hidden_files_of_those_who_do_not_say_so() {
    let rig = rig();
    let a = rig.peer(1);
    let o = a
        .open_with("h", |c| c.attributes = FileAttributes::HIDDEN)
        .unwrap();
    a.write(&o.open, 0, b"data").unwrap();
    let s = a.open("h:stream");
    a.close(&s);
    a.close(&o.open);
    let over = |attributes| {
        a.open_with("h", |c| {
            c.disposition = Disposition::Overwrite;
            c.attributes = attributes;
        })
    };
    assert_eq!(
        over(FileAttributes::ARCHIVE).unwrap_err(),
        FsError::AccessDenied
    );
    let o = over(FileAttributes::HIDDEN).unwrap();
    assert_eq!(o.metadata.end_of_file, 0);
    assert_eq!(
        o.metadata.attributes,
        FileAttributes::HIDDEN | FileAttributes::ARCHIVE
    );
    match a.call(FsCall::Streams { open: o.open }).unwrap() {
        FsReply::Streams(s) => assert_eq!(s.len(), 1, "named streams go"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn share_modes() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| {
        c.access = AccessMask::READ_DATA;
        c.share_access = ShareAccess::READ;
    });
    let f = f.unwrap().open;
    let with = |access, share| {
        b.open_with("f", |c| {
            c.access = access;
            c.share_access = share;
        })
        .map(|o| b.close(&o.open))
    };
    let all = ShareAccess::READ | ShareAccess::WRITE | ShareAccess::DELETE;
    assert_eq!(with(AccessMask::READ_DATA, all), Ok(()));
    assert_eq!(
        with(AccessMask::WRITE_DATA, all),
        Err(FsError::SharingViolation)
    );
    assert_eq!(
        with(AccessMask::DELETE, all),
        Err(FsError::SharingViolation)
    );
    assert_eq!(
        with(AccessMask::READ_DATA, ShareAccess::empty()),
        Err(FsError::SharingViolation)
    );
    assert_eq!(
        with(AccessMask::READ_ATTRIBUTES, ShareAccess::empty()),
        Ok(()),
        "a stat open"
    );
    a.close(&f);
    assert_eq!(with(AccessMask::WRITE_DATA, ShareAccess::empty()), Ok(()));
}

#[test]
fn one_dos_program_does_not_shut_itself_out() {
    let rig = rig();
    let a = rig.peer(1);
    let dos = |pid: u32| {
        a.open_with("f", |c| {
            c.share_access = ShareAccess::empty();
            c.deny = Some(DenyMode::Dos);
            c.pid = pid;
        })
    };
    dos(1).unwrap();
    dos(1).unwrap();
    assert_eq!(dos(2).unwrap_err(), FsError::SharingViolation);
}

#[test]
fn delete_on_close_and_pending() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open("f");
    let g = b.open("f");
    a.delete(&f, true).unwrap();
    assert!(g.delete_pending());
    assert_eq!(
        b.open_with("f", |_| {}).unwrap_err(),
        FsError::DeletePending
    );
    a.delete(&f, false).unwrap();
    b.close(&b.open("f"));
    a.delete(&f, true).unwrap();
    a.close(&f);
    assert_eq!(
        b.open_with("f", |_| {}).unwrap_err(),
        FsError::DeletePending
    );
    b.close(&g);
    let o = b.open_with("f", |c| c.disposition = Disposition::Open);
    assert_eq!(o.unwrap_err(), FsError::NameNotFound);

    let o = a
        .open_with("g", |c| c.options |= CreateOptions::DELETE_ON_CLOSE)
        .unwrap();
    let p = b.open("g");
    a.close(&o.open);
    assert!(p.delete_pending());
    b.close(&p);
    let o = b.open_with("g", |c| c.disposition = Disposition::Open);
    assert_eq!(o.unwrap_err(), FsError::NameNotFound);
}

#[test]
fn what_cannot_be_deleted() {
    let rig = rig();
    let a = rig.peer(1);
    let d = a.mkdir("d");
    let f = a
        .open_with("d\\ro", |c| c.attributes = FileAttributes::READONLY)
        .unwrap()
        .open;
    assert_eq!(a.delete(&d, true).unwrap_err(), FsError::DirectoryNotEmpty);
    assert_eq!(a.delete(&f, true).unwrap_err(), FsError::CannotDelete);
    let doc = a.open_with("d\\ro", |c| {
        c.access = AccessMask::DELETE;
        c.options |= CreateOptions::DELETE_ON_CLOSE;
    });
    assert_eq!(doc.unwrap_err(), FsError::CannotDelete);
    a.call(FsCall::SetDisposition {
        open: f.clone(),
        delete: true,
        posix: false,
        ignore_readonly: true,
    })
    .unwrap();
    a.close(&f);
    a.delete(&d, true).unwrap();
    let new = a.open_with("d\\x", |_| {});
    assert_eq!(new.unwrap_err(), FsError::DeletePending);
    a.close(&d);
    let root = a.open("");
    assert_eq!(a.delete(&root, true).unwrap_err(), FsError::CannotDelete);
}

#[test]
fn posix_deletion_takes_the_name_at_once() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let (f, g) = (a.open("f"), b.open("f"));
    b.write(&g, 0, b"still").unwrap();
    a.call(FsCall::SetDisposition {
        open: f.clone(),
        delete: true,
        posix: true,
        ignore_readonly: false,
    })
    .unwrap();
    a.close(&f);
    let o = a
        .open_with("f", |c| c.disposition = Disposition::Create)
        .unwrap();
    assert_eq!(b.read(&g, 0, 9).unwrap(), b"still");
    assert_ne!(o.open.key(), g.key());
}

#[test]
fn renames() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let d = a.mkdir("d");
    a.close(&d);
    let f = a.open("f");
    let g = a.open("g");
    assert_eq!(
        a.rename(&f, "g", false).unwrap_err(),
        FsError::NameCollision
    );
    assert_eq!(
        a.rename(&f, "G", true).unwrap_err(),
        FsError::AccessDenied,
        "it is open"
    );
    a.close(&g);
    a.rename(&f, "g", true).unwrap();
    assert_eq!(f.path().to_string(), "g");
    a.rename(&f, "G", false).unwrap();
    assert_eq!(f.path().to_string(), "G");
    a.rename(&f, "d\\h", false).unwrap();
    assert_eq!(f.path().to_string(), "d\\h");
    // A folder with something open in it does not move.
    let d = b.mkdir("d");
    assert_eq!(b.rename(&d, "e", false).unwrap_err(), FsError::AccessDenied);
    a.close(&f);
    b.rename(&d, "e", false).unwrap();
    assert_eq!(a.open("e\\h").path().to_string(), "e\\h");
    assert_eq!(
        b.rename(&d, "e\\x", false).unwrap_err(),
        FsError::InvalidParameter
    );
    let r = a.open_with("e\\h", |c| c.access = READ).unwrap().open;
    assert_eq!(a.rename(&r, "q", false).unwrap_err(), FsError::AccessDenied);
}

#[test]
fn hard_links_and_opens_by_number() {
    let rig = rig();
    let a = rig.peer(1);
    let f = a.open("f");
    a.write(&f, 0, b"x").unwrap();
    a.call(FsCall::Link {
        open: f.clone(),
        to: path("l"),
        replace: false,
    })
    .unwrap();
    assert_eq!(a.stat(&f).links, 2);
    let l = a.open("l");
    assert_eq!(l.key(), f.key());
    a.delete(&l, true).unwrap();
    a.close(&l);
    a.close(&f);
    let f = a
        .open_with("f", |c| c.disposition = Disposition::Open)
        .unwrap()
        .open;
    let by = a.open_with("", |c| c.by_id = Some(f.key().file)).unwrap();
    assert_eq!(by.open.path().to_string(), "f");
    let none = a.open_with("", |c| c.by_id = Some(999)).unwrap_err();
    assert_eq!(none, FsError::NotFound);
}

#[test]
fn streams() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let s = a
        .open_with("f:One", |c| c.share_access = ShareAccess::READ)
        .unwrap();
    assert_eq!(s.action, CreateAction::Created);
    a.write(&s.open, 0, b"stream").unwrap();
    let again = b.open_with("F:oNE", |c| c.access = AccessMask::WRITE_DATA);
    assert_eq!(
        again.unwrap_err(),
        FsError::SharingViolation,
        "the first lets none write"
    );
    // Who may delete the file needs the stream's consent.
    let base = b.open_with("f", |c| c.access = AccessMask::DELETE);
    assert_eq!(base.unwrap_err(), FsError::SharingViolation);
    let base = b
        .open_with("f", |c| c.access = RW - AccessMask::DELETE)
        .unwrap()
        .open;
    assert_eq!(a.stat(&base).end_of_file, 0);
    assert_eq!(a.stat(&s.open).end_of_file, 6);
    a.rename(&s.open, "f:two", false).unwrap();
    assert_eq!(s.open.stream_name().as_deref(), Some("two"));
    a.close(&s.open);
    b.close(&base);
    let s = a
        .open_with("f:TWO", |c| c.disposition = Disposition::Open)
        .unwrap()
        .open;
    assert_eq!(s.path().to_string(), "f:two");
    a.delete(&s, true).unwrap();
    a.close(&s);
    let gone = a.open_with("f:two", |c| c.disposition = Disposition::Open);
    assert_eq!(gone.unwrap_err(), FsError::NameNotFound);
    a.open_with("f", |c| c.disposition = Disposition::Open)
        .unwrap();
}

#[test]
fn listings() {
    let rig = rig();
    let a = rig.peer(1);
    for n in ["b.txt", "a.txt", "c.dat"] {
        let o = a.open(n);
        a.close(&o);
    }
    let root = a.open("");
    assert_eq!(
        a.list(&root, "*", |_| {}).unwrap(),
        [".", "..", "a.txt", "b.txt", "c.dat"]
    );
    assert_eq!(
        a.list(&root, "*", |_| {}).unwrap_err(),
        FsError::NoMoreFiles
    );
    let again = |p: &str| {
        a.list(&root, p, |c| {
            if let FsCall::List { restart, .. } = c {
                *restart = true;
            }
        })
    };
    assert_eq!(again("*.TXT").unwrap(), ["a.txt", "b.txt"]);
    assert_eq!(again("C.DAT").unwrap(), ["c.dat"]);
    assert_eq!(again("*.none").unwrap_err(), FsError::NoSuchFile);
    assert_eq!(again("nothing").unwrap_err(), FsError::NoSuchFile);
    // What did not fit comes first next time.
    let two = |restart_it: bool| {
        a.list(&root, "*", |c| {
            if let FsCall::List { restart, sink, .. } = c {
                *restart = restart_it;
                *sink = Box::new(Names {
                    names: vec![],
                    room: 2,
                });
            }
        })
    };
    assert_eq!(two(true).unwrap(), [".", ".."]);
    assert_eq!(two(false).unwrap(), ["a.txt", "b.txt"]);
    assert_eq!(two(false).unwrap(), ["c.dat"]);
    let after = |name: &str| {
        a.list(&root, "*", |c| {
            if let FsCall::List {
                resume_after,
                single,
                ..
            } = c
            {
                *resume_after = Some(name.into());
                *single = true;
            }
        })
    };
    assert_eq!(after("a.txt").unwrap(), ["b.txt"]);
    assert_eq!(after("b.txt").unwrap(), ["c.dat"]);
    assert_eq!(after("..").unwrap(), ["a.txt"]);
    let files_only = a.list(&root, "*", |c| {
        if let FsCall::List {
            restart,
            attributes,
            ..
        } = c
        {
            *restart = true;
            *attributes = Some(FileAttributes::HIDDEN);
        }
    });
    assert_eq!(files_only.unwrap(), ["a.txt", "b.txt", "c.dat"]);
}

#[test]
fn long_listings_go_to_the_pool() {
    let limits = FsLimits {
        list_inline: 4,
        ..FsLimits::default()
    };
    let rig = rig_with(limits, ShareOptions::default());
    let a = rig.peer(1);
    for n in 0..10 {
        a.close(&a.open(&format!("f{n}")));
    }
    let root = a.open("");
    let call = FsCall::List {
        open: root,
        pattern: "*".into(),
        restart: false,
        single: false,
        resume_after: None,
        attributes: None,
        sink: Box::new(Names {
            names: vec![],
            room: 100,
        }),
    };
    let ticket = a.start(call).unwrap_err();
    assert!(a.mailbox.reply(ticket).is_none());
    rig.host.run_jobs();
    match a.mailbox.reply(ticket).unwrap().unwrap() {
        FsReply::Listing { count, end, .. } => assert_eq!((count, end), (12, true)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_that_would_block_are_answered_once() {
    let rig = rig();
    let a = rig.peer(1);
    let f = a.open("f");
    a.write(&f, 0, b"abcdef").unwrap();
    rig.backend.set_slow(true);
    let t = a.start(Peer::read_call(&f, 0, 6)).unwrap_err();
    let u = a.start(Peer::read_call(&f, 0, 6)).unwrap_err();
    let sink: std::sync::Arc<dyn countersign_fs::EventSink> = a.mailbox.clone();
    rig.service.cancel(&sink, u);
    rig.host.run_jobs();
    rig.service.cancel(&sink, t);
    let events = a.mailbox.take();
    assert_eq!(events.len(), 2);
    assert!(events.iter().any(|e| matches!(e,
        Event::Reply { ticket, result: Err(FsError::Cancelled) } if *ticket == u)));
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Event::Reply { ticket, result: Ok(_) } if *ticket == t))
    );
    assert_eq!(rig.service.statistics().pending, 0);
}

#[test]
fn times_set_by_a_client_stay() {
    let rig = rig();
    let a = rig.peer(1);
    let f = a.open("f");
    let set = |t: TimeChange| {
        let set = SetBasic {
            last_write: Some(t),
            ..SetBasic::default()
        };
        a.call(FsCall::SetBasic {
            open: f.clone(),
            set,
        })
        .unwrap();
    };
    let time = FileTime(130_000_000_000_000_000);
    set(TimeChange::Set(time));
    rig.host.advance(Duration::from_secs(5));
    a.write(&f, 0, b"x").unwrap();
    assert_eq!(a.stat(&f).times.last_write, time);
    set(TimeChange::Thaw);
    rig.host.advance(Duration::from_secs(5));
    a.write(&f, 0, b"x").unwrap();
    let moved = a.stat(&f).times.last_write;
    assert_ne!(moved, time);
    set(TimeChange::Freeze);
    rig.host.advance(Duration::from_secs(5));
    a.write(&f, 0, b"y").unwrap();
    assert_eq!(a.stat(&f).times.last_write, moved);
    a.close(&f);
    let f = a.open("f");
    assert_eq!(a.stat(&f).times.last_write, moved, "it is on disk");
}

#[test]
fn limits_of_opens_and_read_only_shares() {
    let limits = FsLimits {
        opens: 2,
        ..FsLimits::default()
    };
    let rig = rig_with(limits, ShareOptions::default());
    let a = rig.peer(1);
    let f = a.open("f");
    a.open("g");
    assert_eq!(a.open_with("h", |_| {}).unwrap_err(), FsError::TooManyOpens);
    a.close(&f);
    a.open("h");

    let options = ShareOptions {
        read_only: true,
        ..ShareOptions::default()
    };
    let rig = rig_with(FsLimits::default(), options);
    let a = rig.peer(1);
    assert_eq!(
        a.open_with("new", |_| {}).unwrap_err(),
        FsError::AccessDenied
    );
    assert_eq!(
        a.open_with("", |c| c.access = ALL).unwrap_err(),
        FsError::AccessDenied
    );
    let o = a
        .open_with("", |c| c.access = AccessMask::MAXIMUM_ALLOWED)
        .unwrap();
    assert!(
        !o.rights
            .granted
            .intersects(AccessMask::WRITE_DATA | AccessMask::DELETE)
    );
}

#[test]
fn owners_are_closed_together() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let (f, g) = (a.open("f"), b.open("g"));
    assert_eq!(rig.service.count_opens(a.owner), 1);
    let any = countersign_fs::OpenOwner {
        session: 0,
        tree: 0,
        ..a.owner
    };
    rig.service.close_owned(any, false);
    assert!(f.is_closed());
    assert!(!g.is_closed());
    assert_eq!(rig.service.count_opens(any), 0);
    assert!(rig.service.close_forced(g.id()));
    assert!(matches!(b.mailbox.take()[..], [Event::Closed { .. }]));
}

#[test]
fn copies_on_the_server() {
    let rig = rig();
    let a = rig.peer(1);
    let (f, g) = (a.open("f"), a.open("g"));
    a.write(&f, 0, b"0123456789").unwrap();
    let copy = |from: &std::sync::Arc<_>, at, to: &std::sync::Arc<_>, to_at, length| {
        a.call(FsCall::CopyRange {
            from: std::sync::Arc::clone(from),
            from_offset: at,
            to: std::sync::Arc::clone(to),
            to_offset: to_at,
            length,
        })
        .map(|_| ())
    };
    copy(&f, 2, &g, 1, 3).unwrap();
    assert_eq!(a.read(&g, 0, 10).unwrap(), b"\x00234");
    copy(&f, 0, &f, 2, 8).unwrap();
    assert_eq!(a.read(&f, 0, 20).unwrap(), b"0101234567");
    assert_eq!(copy(&f, 5, &g, 0, 6).unwrap_err(), FsError::EndOfFile);
}

#[test]
fn deletion_of_a_file_is_not_deletion_of_its_streams() {
    let rig = rig();
    let a = rig.peer(1);
    let (f, s) = (a.open("f"), a.open("f:s"));
    a.delete(&f, true).unwrap();
    assert_eq!([f.delete_pending(), s.delete_pending()], [true, false]);
    // But the name is as good as gone, and the file goes with the last of them.
    assert_eq!(
        a.open_with("f:s", |_| {}).unwrap_err(),
        FsError::DeletePending
    );
    a.close(&f);
    a.close(&s);
    let o = a.open_with("f", |c| c.disposition = Disposition::Open);
    assert_eq!(o.unwrap_err(), FsError::NameNotFound);
}

#[test]
fn long_descriptors_are_refused() {
    let limits = FsLimits {
        security_bytes: 20,
        ..FsLimits::default()
    };
    let rig = rig_with(limits, ShareOptions::default());
    let a = rig.peer(1);
    let long = a.open_with("f", |c| c.security = Some(vec![1; 21]));
    assert_eq!(long.unwrap_err(), FsError::InvalidSecurityDescriptor);
    let none = a.open_with("f", |c| c.disposition = Disposition::Open);
    assert_eq!(none.unwrap_err(), FsError::NameNotFound, "nothing was made");
}
