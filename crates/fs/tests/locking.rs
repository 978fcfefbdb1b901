//! Byte-range locks through the service, notification, security, attributes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failing call is a failing test

mod rig;

use std::sync::Arc;
use std::time::Duration;

use countersign_fs::backend::HostChange;
use countersign_fs::call::FsReply;
use countersign_fs::security::{Ace, Acl, Control, SecurityDescriptor, information, sids};
use countersign_fs::{
    Change, ChangeAction, Ea, FsCall, FsError, FsLimits, LockElement, LockKind, LockWait, Open,
    SetBasic, ShareOptions, Ticket, TimeChange,
};
use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::{AccessMask, CompletionFilter, FileAttributes};
use rig::*;

fn element(offset: u64, length: u64, kind: LockKind) -> LockElement {
    LockElement {
        offset,
        length,
        kind,
        owner: 0,
    }
}

fn lock(
    p: &Peer,
    open: &Arc<Open>,
    e: LockElement,
    wait: LockWait,
) -> Result<Result<FsReply, FsError>, Ticket> {
    p.start(FsCall::Lock {
        open: open.clone(),
        elements: vec![e],
        wait,
    })
}

#[test]
fn locks_are_enforced_and_waited_for() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let (f, g) = (a.open("f"), b.open("f"));
    a.write(&f, 0, &[1; 100]).unwrap();
    lock(&a, &f, element(10, 10, LockKind::Exclusive), LockWait::No)
        .unwrap()
        .unwrap();
    assert_eq!(b.read(&g, 5, 10).unwrap_err(), FsError::FileLockConflict);
    assert_eq!(
        b.write(&g, 19, b"x").unwrap_err(),
        FsError::FileLockConflict
    );
    b.write(&g, 20, b"x").unwrap();
    a.write(&f, 10, b"x").unwrap();
    let e = element(15, 1, LockKind::Shared);
    assert!(matches!(
        lock(&b, &g, e, LockWait::No),
        Ok(Err(FsError::LockNotGranted))
    ));
    let timed = lock(&b, &g, e, LockWait::Milliseconds(500)).unwrap_err();
    let forever = lock(&b, &g, e, LockWait::Forever).unwrap_err();
    rig.host.advance(Duration::from_millis(500));
    assert!(matches!(
        b.mailbox.reply(timed),
        Some(Err(FsError::LockNotGranted))
    ));
    assert!(b.mailbox.reply(forever).is_none());
    lock(&a, &f, element(10, 10, LockKind::Unlock), LockWait::No)
        .unwrap()
        .unwrap();
    assert!(matches!(b.mailbox.reply(forever), Some(Ok(FsReply::Done))));
    let again = lock(&a, &f, element(10, 10, LockKind::Unlock), LockWait::No);
    assert!(matches!(again, Ok(Err(FsError::RangeNotLocked))));
    // A waiting request ends with its open; locks go with theirs.
    let t = lock(
        &a,
        &f,
        element(0, 100, LockKind::Exclusive),
        LockWait::Forever,
    )
    .unwrap_err();
    let u = lock(
        &a,
        &a.open("f"),
        element(0, 100, LockKind::Exclusive),
        LockWait::Forever,
    )
    .unwrap_err();
    a.close(&f);
    assert!(matches!(
        a.mailbox.reply(t),
        Some(Err(FsError::RangeNotLocked))
    ));
    b.close(&g);
    assert!(matches!(a.mailbox.reply(u), Some(Ok(FsReply::Done))));
}

#[test]
fn a_cancelled_lock_is_not_taken() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let (f, g) = (a.open("f"), b.open("f"));
    let e = element(0, 1, LockKind::Exclusive);
    lock(&a, &f, e, LockWait::No).unwrap().unwrap();
    let t = lock(&b, &g, e, LockWait::Forever).unwrap_err();
    let sink: Arc<dyn countersign_fs::EventSink> = b.mailbox.clone();
    rig.service.cancel(&sink, t);
    assert!(matches!(b.mailbox.reply(t), Some(Err(FsError::Cancelled))));
    a.close(&f);
    lock(&b, &g, e, LockWait::No).unwrap().unwrap();
    let h = a.open("f");
    let t = lock(&a, &h, e, LockWait::Forever).unwrap_err();
    assert!(rig.service.cancel_lock(&h, &e));
    assert!(!rig.service.cancel_lock(&h, &e));
    assert!(matches!(
        a.mailbox.reply(t),
        Some(Err(FsError::LockNotGranted))
    ));
}

#[test]
fn lock_limits_and_ranges() {
    let limits = FsLimits {
        locks_per_file: 2,
        waiting_locks_per_file: 1,
        ..FsLimits::default()
    };
    let rig = rig_with(limits, ShareOptions::default());
    let (a, b) = (rig.peer(1), rig.peer(2));
    let (f, g) = (a.open("f"), b.open("f"));
    let ex = |o, l| element(o, l, LockKind::Exclusive);
    let beyond = lock(&a, &f, ex(u64::MAX, 2), LockWait::No);
    assert!(matches!(beyond, Ok(Err(FsError::InvalidLockRange))));
    lock(&a, &f, ex(0, 1), LockWait::No).unwrap().unwrap();
    lock(&b, &g, ex(0, 1), LockWait::Forever).unwrap_err();
    let more = lock(&b, &g, ex(0, 1), LockWait::Forever);
    assert!(matches!(more, Ok(Err(FsError::InsufficientResources))));
    lock(&a, &f, ex(1, 1), LockWait::No).unwrap().unwrap();
    let more = lock(&a, &f, ex(2, 1), LockWait::No);
    assert!(matches!(more, Ok(Err(FsError::InsufficientResources))));
}

fn notify(p: &Peer, open: &Arc<Open>, recursive: bool) -> Result<Result<FsReply, FsError>, Ticket> {
    p.start(FsCall::Notify {
        open: open.clone(),
        filter: CompletionFilter::from_bits_retain(0xFFF),
        recursive,
        max_bytes: 1000,
    })
}

fn changes(reply: Option<Result<FsReply, FsError>>) -> Vec<(ChangeAction, String)> {
    match reply.unwrap().unwrap() {
        FsReply::Changes(c) => c.into_iter().map(|c| (c.action, c.name)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn changes_are_told_and_kept_between_calls() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    a.close(&a.mkdir("d"));
    let d = a.open_with("d", |c| c.access = READ).unwrap().open;
    let t = notify(&a, &d, false).unwrap_err();
    let f = b.open("d\\f");
    assert_eq!(
        changes(a.mailbox.reply(t)),
        [(ChangeAction::Added, "f".into())]
    );
    b.write(&f, 0, b"x").unwrap();
    b.write(&f, 0, b"x").unwrap();
    b.rename(&f, "d\\g", false).unwrap();
    let now = notify(&a, &d, false).unwrap();
    assert_eq!(
        changes(Some(now)),
        [
            (ChangeAction::Modified, "f".into()),
            (ChangeAction::RenamedOldName, "f".into()),
            (ChangeAction::RenamedNewName, "g".into()),
            // As Windows has it: attributes and creation of the new name, too.
            (ChangeAction::Modified, "g".into()),
        ]
    );
    // Below the folder only with the tree.
    b.mkdir("d\\sub");
    let _ = notify(&a, &d, false).unwrap();
    b.open("d\\sub\\x");
    let t = notify(&a, &d, false).unwrap_err();
    b.delete(&f, true).unwrap();
    b.close(&f);
    assert_eq!(
        changes(a.mailbox.reply(t)),
        [(ChangeAction::Removed, "g".into())]
    );
    let root = a.open("");
    let t = notify(&a, &root, true).unwrap_err();
    b.open("d\\sub\\y");
    assert_eq!(
        changes(a.mailbox.reply(t)),
        [(ChangeAction::Added, "d\\sub\\y".into())]
    );
}

#[test]
fn watches_end() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let d = a.mkdir("d");
    let t = notify(&a, &d, false).unwrap_err();
    a.close(&d);
    assert!(matches!(
        a.mailbox.reply(t),
        Some(Err(FsError::NotifyCleanup))
    ));
    let d = a.mkdir("d");
    let t = notify(&a, &d, false).unwrap_err();
    let e = b.mkdir("d");
    b.delete(&e, true).unwrap();
    assert!(matches!(
        a.mailbox.reply(t),
        Some(Err(FsError::DeletePending))
    ));
    assert!(matches!(
        notify(&a, &d, false),
        Ok(Err(FsError::DeletePending))
    ));
    let f = a.open("f");
    assert!(matches!(
        notify(&a, &f, false),
        Ok(Err(FsError::InvalidParameter))
    ));
}

#[test]
fn too_many_changes_mean_look_again() {
    let limits = FsLimits {
        notify_buffer: 200,
        watches: 1,
        ..FsLimits::default()
    };
    let rig = rig_with(limits, ShareOptions::default());
    let a = rig.peer(1);
    let root = a.open("");
    let t = notify(&a, &root, false).unwrap_err();
    a.open("f0");
    changes(a.mailbox.reply(t));
    for n in 0..20 {
        a.open(&format!("file{n}"));
    }
    assert!(matches!(
        notify(&a, &root, false),
        Ok(Err(FsError::NotifyEnumDir))
    ));
    notify(&a, &root, false).unwrap_err();
    let d = a.mkdir("d");
    assert!(matches!(
        notify(&a, &d, false),
        Ok(Err(FsError::InsufficientResources))
    ));
}

#[test]
fn the_hosts_changes_are_told_once() {
    let rig = rig();
    let a = rig.peer(1);
    let root = a.open("");
    let host = |name: &str, action| {
        let change = Change {
            action,
            name: String::new(),
        };
        rig.backend.report(
            name,
            HostChange {
                change,
                directory: false,
                metadata_only: false,
            },
        );
    };
    let t = notify(&a, &root, false).unwrap_err();
    a.open("ours");
    assert_eq!(
        changes(a.mailbox.reply(t)),
        [(ChangeAction::Added, "ours".into())]
    );
    let t = notify(&a, &root, false).unwrap_err();
    host("ours", ChangeAction::Added);
    host("theirs", ChangeAction::Added);
    assert_eq!(
        changes(a.mailbox.reply(t)),
        [(ChangeAction::Added, "theirs".into())]
    );
    rig.backend.report_overflow();
    assert!(matches!(
        notify(&a, &root, false),
        Ok(Err(FsError::NotifyEnumDir))
    ));
}

fn descriptor(owner: &[u8], aces: Vec<Ace>) -> Vec<u8> {
    SecurityDescriptor {
        control: Control::DACL_PRESENT,
        owner: Some(owner.to_vec()),
        group: Some(owner.to_vec()),
        sacl: None,
        dacl: Some(Acl::new(aces)),
    }
    .encode()
}

fn set_dacl(p: &Peer, open: &Arc<Open>, aces: Vec<Ace>) -> Result<(), FsError> {
    p.call(FsCall::SetSecurity {
        open: open.clone(),
        parts: information::DACL,
        descriptor: descriptor(&p.caller.user_sid, aces),
    })
    .map(|_| ())
}

#[test]
fn rights_are_enforced() {
    let rig = rig();
    let a = rig.peer_as(1, caller(1, false));
    let b = rig.peer_as(2, caller(2, false));
    let d = a.mkdir("d");
    let f = a.open("d\\f");
    set_dacl(&a, &f, vec![Ace::allow(sids::EVERYONE, READ.bits(), 0)]).unwrap();
    let with = |p: &Peer, access| p.open_with("d\\f", |c| c.access = access).map(|o| o.rights);
    assert_eq!(
        with(&b, AccessMask::WRITE_DATA).unwrap_err(),
        FsError::AccessDenied
    );
    assert_eq!(with(&b, READ).unwrap().granted, READ);
    assert_eq!(
        with(&b, AccessMask::WRITE_DAC).unwrap_err(),
        FsError::AccessDenied
    );
    assert_eq!(
        with(&a, AccessMask::WRITE_DAC).unwrap().granted,
        AccessMask::WRITE_DAC
    );
    // The folder lets its users delete what is in it ...
    let most = with(&b, AccessMask::MAXIMUM_ALLOWED).unwrap();
    assert_eq!(most.granted, READ | AccessMask::DELETE);
    // ... until it does not.
    set_dacl(&a, &d, vec![Ace::allow(sids::EVERYONE, READ.bits(), 0)]).unwrap();
    assert_eq!(
        with(&b, AccessMask::DELETE).unwrap_err(),
        FsError::AccessDenied
    );
    assert_eq!(
        b.open_with("d\\new", |_| {}).unwrap_err(),
        FsError::AccessDenied
    );
    let sacl = AccessMask::ACCESS_SYSTEM_SECURITY;
    assert_eq!(with(&b, sacl).unwrap_err(), FsError::PrivilegeNotHeld);
}

#[test]
fn new_files_inherit() {
    let rig = rig();
    let a = rig.peer(1);
    let d = a.mkdir("d");
    set_dacl(
        &a,
        &d,
        vec![
            Ace::allow(sids::CREATOR_OWNER, 0x1F_01FF, 3 | Ace::INHERIT_ONLY),
            Ace::allow(sids::EVERYONE, 0x1F_01FF, 0),
        ],
    )
    .unwrap();
    let f = a.open("d\\f");
    let sd = match a.call(FsCall::QuerySecurity { open: f, parts: 7 }).unwrap() {
        FsReply::Security(s) => SecurityDescriptor::parse(&s).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sd.owner.as_deref(), Some(&a.caller.user_sid[..]));
    assert_eq!(
        sd.dacl.unwrap().aces,
        [Ace::allow(&a.caller.user_sid, 0x1F_01FF, 0)]
    );
}

#[test]
fn attributes_eas_and_object_ids() {
    let rig = rig();
    let a = rig.peer(1);
    let f = a.open("f");
    let set = |attributes: FileAttributes| {
        let set = SetBasic {
            attributes: Some(attributes),
            ..SetBasic::default()
        };
        a.call(FsCall::SetBasic {
            open: f.clone(),
            set,
        })
        .map(|_| ())
    };
    set(FileAttributes::HIDDEN).unwrap();
    assert_eq!(a.stat(&f).attributes, FileAttributes::HIDDEN);
    assert_eq!(
        set(FileAttributes::DIRECTORY).unwrap_err(),
        FsError::InvalidParameter
    );
    let ea = |name: &str, value: &[u8]| {
        let eas = vec![Ea {
            flags: 0,
            name: name.into(),
            value: value.into(),
        }];
        a.call(FsCall::SetEa {
            open: f.clone(),
            eas,
        })
        .map(|_| ())
    };
    ea("One", b"1").unwrap();
    assert_eq!(ea("b*d", b"1").unwrap_err(), FsError::InvalidEaName);
    assert_eq!(ea("big", &[0; 70_000]).unwrap_err(), FsError::EaTooLarge);
    match a
        .call(FsCall::QueryEa {
            open: f.clone(),
            names: Some(vec!["ONE".into(), "no".into()]),
        })
        .unwrap()
    {
        FsReply::Eas(e) => {
            assert_eq!(e[0].value, b"1");
            assert_eq!((e[1].name.as_str(), e[1].value.len()), ("no", 0));
        }
        other => panic!("{other:?}"),
    }
    let id = |create| {
        a.call(FsCall::ObjectId {
            open: f.clone(),
            create,
        })
    };
    assert_eq!(id(false).unwrap_err(), FsError::NotFound);
    let made = format!("{:?}", id(true).unwrap());
    assert_eq!(made, format!("{:?}", id(false).unwrap()));
    let set = SetBasic {
        creation: Some(TimeChange::Set(FileTime(5))),
        ..SetBasic::default()
    };
    a.call(FsCall::SetBasic {
        open: f.clone(),
        set,
    })
    .unwrap();
    assert_eq!(a.stat(&f).times.creation, FileTime(5));
    let r = a.open_with("f", |c| c.access = READ).unwrap().open;
    let set = SetBasic {
        attributes: Some(FileAttributes::SYSTEM),
        ..SetBasic::default()
    };
    assert_eq!(
        a.call(FsCall::SetBasic { open: r, set }).unwrap_err(),
        FsError::AccessDenied
    );
}
