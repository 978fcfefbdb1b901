//! Oplocks, leases and durable opens.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failing call is a failing test

mod rig;

use std::sync::Arc;
use std::time::Duration;

use countersign_fs::call::{DurableRequest, FsReply, Opened, ReconnectCall};
use countersign_fs::{
    CachingGrant, CachingRequest, Event, FsCall, FsError, FsLimits, LockElement, LockKind,
    LockWait, Open, OpenOwner, ShareOptions,
};
use countersign_wire::dtyp::Guid;
use countersign_wire::fscc::{
    AccessMask, CreateOptions, Disposition, LeaseState, OplockLevel, ShareAccess,
};
use rig::*;

const R: LeaseState = LeaseState::READ;
const RH: LeaseState = LeaseState::READ.union(LeaseState::HANDLE);
const RWL: LeaseState = LeaseState::READ.union(LeaseState::WRITE);
const RWH: LeaseState = LeaseState::all();

fn opened(peer: &Peer, ticket: countersign_fs::Ticket) -> Option<Opened> {
    match peer.mailbox.reply(ticket)? {
        Ok(FsReply::Opened(o)) => Some(*o),
        other => panic!("{other:?}"),
    }
}

fn lease_break(peer: &Peer) -> Option<(LeaseState, LeaseState, bool)> {
    let mut notices = peer.mailbox.notices();
    assert!(notices.len() <= 1, "{notices:?}");
    match notices.pop()? {
        Event::LeaseBreak {
            from,
            to,
            acknowledge,
            ..
        } => Some((from, to, acknowledge)),
        other => panic!("{other:?}"),
    }
}

fn oplock_break(peer: &Peer) -> Option<(OplockLevel, bool)> {
    match peer.mailbox.notices().pop()? {
        Event::OplockBreak {
            to, acknowledge, ..
        } => Some((to, acknowledge)),
        other => panic!("{other:?}"),
    }
}

fn granted(o: &Opened) -> LeaseState {
    match o.caching {
        CachingGrant::Lease { lease, .. } => lease.state,
        other => panic!("{other:?}"),
    }
}

fn acknowledge(peer: &Peer, key: u8, state: LeaseState) -> Result<(), FsError> {
    peer.call(FsCall::AcknowledgeLease {
        client: peer.client,
        key: [key; 16],
        state,
    })
    .map(|_| ())
}

#[test]
fn a_batch_oplock_breaks_for_the_next_open() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| c.caching = batch()).unwrap();
    assert_eq!(f.caching, CachingGrant::Oplock(OplockLevel::Batch));
    // One that looks only at attributes breaks nothing.
    let s = b
        .open_with("f", |c| c.access = AccessMask::READ_ATTRIBUTES)
        .unwrap()
        .open;
    b.close(&s);
    assert!(a.mailbox.take().is_empty());
    let t = b.start_open("f", |c| c.caching = batch()).unwrap_err();
    assert_eq!(oplock_break(&a), Some((OplockLevel::LevelTwo, true)));
    assert!(opened(&b, t).is_none());
    a.call(FsCall::AcknowledgeOplock {
        open: f.open.clone(),
        level: OplockLevel::LevelTwo,
    })
    .unwrap();
    let g = opened(&b, t).unwrap();
    assert_eq!(g.caching, CachingGrant::Oplock(OplockLevel::LevelTwo));
    assert_eq!(f.open.oplock_level(), OplockLevel::LevelTwo);
    // Level II goes with a write, without acknowledgment, the writer's own as well.
    b.write(&g.open, 0, b"x").unwrap();
    assert_eq!(oplock_break(&a), Some((OplockLevel::None, false)));
    assert_eq!(oplock_break(&b), Some((OplockLevel::None, false)));
    b.write(&g.open, 0, b"x").unwrap();
    assert!(a.mailbox.take().is_empty());
    let late = a.call(FsCall::AcknowledgeOplock {
        open: f.open,
        level: OplockLevel::None,
    });
    assert_eq!(late.unwrap_err(), FsError::InvalidOplockProtocol);
}

#[test]
fn a_close_answers_a_break() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| {
        c.caching = batch();
        c.share_access = ShareAccess::empty();
    });
    let f = f.unwrap().open;
    let t = b.start_open("f", |c| c.caching = batch()).unwrap_err();
    assert!(oplock_break(&a).is_some());
    a.close(&f);
    assert_eq!(
        opened(&b, t).unwrap().caching,
        CachingGrant::Oplock(OplockLevel::Batch)
    );
    // Not closed, it is a sharing violation after all.
    let c = rig.peer(3);
    let f = c.open_with("g", |c| {
        c.caching = batch();
        c.share_access = ShareAccess::empty();
    });
    let f = f.unwrap().open;
    let t = b.start_open("g", |_| {}).unwrap_err();
    c.call(FsCall::AcknowledgeOplock {
        open: f,
        level: OplockLevel::LevelTwo,
    })
    .unwrap();
    assert!(matches!(
        b.mailbox.reply(t),
        Some(Err(FsError::SharingViolation))
    ));
}

#[test]
fn nobody_waits_longer_than_the_timeout() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| c.caching = lease(1, RWH)).unwrap();
    let t = b
        .start_open("f", |c| c.caching = lease(2, RWH))
        .unwrap_err();
    rig.host
        .advance(FsLimits::default().oplock_break - Duration::from_millis(1));
    assert!(opened(&b, t).is_none());
    rig.host.advance(Duration::from_millis(1));
    assert_eq!(granted(&opened(&b, t).unwrap()), RH);
    assert_eq!(
        f.open.caching(),
        CachingGrant::Lease {
            lease: countersign_fs::LeaseRequest {
                key: [1; 16],
                state: LeaseState::empty(),
                parent: None,
                epoch: 0x4713,
                version: 2,
            },
            breaking: false,
        }
    );
}

#[test]
fn leases_grant_break_and_upgrade() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| c.caching = lease(1, RWH)).unwrap();
    assert_eq!(granted(&f), RWH);
    // The same key does not break itself.
    let again = a.open_with("f", |c| c.caching = lease(1, RH)).unwrap();
    assert_eq!(granted(&again), RWH);
    assert!(a.mailbox.take().is_empty());
    let t = b
        .start_open("f", |c| c.caching = lease(2, RWH))
        .unwrap_err();
    assert_eq!(lease_break(&a), Some((RWH, RH, true)));
    assert_eq!(
        acknowledge(&a, 1, RWH).unwrap_err(),
        FsError::RequestNotAccepted
    );
    assert_eq!(acknowledge(&a, 9, R).unwrap_err(), FsError::NameNotFound);
    acknowledge(&a, 1, RH).unwrap();
    assert_eq!(acknowledge(&a, 1, RH).unwrap_err(), FsError::NotBreaking);
    let g = opened(&b, t).unwrap();
    assert_eq!(granted(&g), RH);
    // A write takes the others' read caching, not the writer's.
    b.write(&g.open, 0, b"x").unwrap();
    assert_eq!(lease_break(&a), Some((RH, LeaseState::empty(), true)));
    assert!(b.mailbox.take().is_empty());
    acknowledge(&a, 1, LeaseState::empty()).unwrap();
    a.close(&f.open);
    a.close(&again.open);
    // Alone again, it may have more; never less.
    let up = b.open_with("f", |c| c.caching = lease(2, RWH)).unwrap();
    assert_eq!(granted(&up), RWH);
    let down = b.open_with("f", |c| c.caching = lease(2, R)).unwrap();
    assert_eq!(granted(&down), RWH);
}

#[test]
fn what_is_asked_and_what_is_granted() {
    let rig = rig();
    let a = rig.peer(1);
    for (i, (asked, got)) in [
        (LeaseState::empty(), LeaseState::empty()),
        (R, R),
        (RH, RH),
        (RWL, RWL),
        (RWH, RWH),
        (LeaseState::HANDLE, LeaseState::empty()),
        (LeaseState::WRITE | LeaseState::HANDLE, LeaseState::empty()),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("f{i}");
        let o = a.open_with(&name, |c| c.caching = lease(1, asked)).unwrap();
        assert_eq!(granted(&o), got, "{asked:?}");
        a.close(&o.open);
    }
    // A key is good for one file.
    a.open_with("f0", |c| c.caching = lease(1, RWH)).unwrap();
    let other = a
        .open_with("f1", |c| c.caching = lease(1, RWH))
        .unwrap_err();
    assert_eq!(other, FsError::InvalidParameter);
    // Another machine may use the same key.
    let b = rig.peer(2);
    b.open_with("f1", |c| c.caching = lease(1, RWH)).unwrap();
    // Folders: no write caching, no version 1.
    let d = a.open_with("d", |c| {
        c.options |= CreateOptions::DIRECTORY_FILE;
        c.caching = lease(5, RWH);
    });
    assert_eq!(granted(&d.unwrap()), RH);
}

#[test]
fn oplocks_beside_leases() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    for (key, name, held, level) in [
        (1, "r", R, CachingGrant::Oplock(OplockLevel::LevelTwo)),
        (2, "rh", RH, CachingGrant::None),
    ] {
        a.open_with(name, |c| c.caching = lease(key, held)).unwrap();
        let o = b.open_with(name, |c| c.caching = batch()).unwrap();
        assert_eq!(o.caching, level, "{name}");
    }
    a.open_with("two", |c| {
        c.caching = CachingRequest::Oplock(OplockLevel::LevelTwo)
    })
    .unwrap();
    let o = b.open_with("two", |c| c.caching = lease(8, RWH)).unwrap();
    assert_eq!(granted(&o), R);
}

#[test]
fn overwriting_takes_everything() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    a.open_with("f", |c| c.caching = lease(1, R)).unwrap();
    b.open_with("f", |c| c.disposition = Disposition::Overwrite)
        .unwrap();
    assert_eq!(lease_break(&a), Some((R, LeaseState::empty(), false)));
}

#[test]
fn locks_and_lengths_take_read_caching() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    for how in 0..3 {
        let name = format!("f{how}");
        a.open_with(&name, |c| c.caching = lease(how + 1, R))
            .unwrap();
        let g = b.open(&name);
        let open = g.clone();
        match how {
            0 => b.call(FsCall::SetEndOfFile { open, size: 5 }),
            1 => b.call(FsCall::SetAllocation { open, size: 5 }),
            _ => b.call(FsCall::Lock {
                open,
                elements: vec![LockElement {
                    offset: 0,
                    length: 1,
                    kind: LockKind::Exclusive,
                    owner: 0,
                }],
                wait: LockWait::No,
            }),
        }
        .unwrap();
        assert_eq!(
            lease_break(&a),
            Some((R, LeaseState::empty(), false)),
            "{how}"
        );
    }
}

#[test]
fn renaming_and_deleting_wait_for_handle_caching() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| c.caching = lease(1, RH)).unwrap().open;
    let g = b.open("f");
    let t = b
        .start(FsCall::Rename {
            open: g.clone(),
            to: path("h"),
            replace: false,
        })
        .unwrap_err();
    assert_eq!(lease_break(&a), Some((RH, R, true)));
    acknowledge(&a, 1, R).unwrap();
    assert!(matches!(b.mailbox.reply(t), Some(Ok(FsReply::Done))));
    assert_eq!(f.path().to_string(), "h");
    assert_eq!(g.path().to_string(), "h");
}

#[test]
fn folder_leases_break_when_the_folder_changes() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let dir = |key| {
        a.open_with("d", |c| {
            c.options |= CreateOptions::DIRECTORY_FILE;
            c.caching = lease(key, RH);
        })
        .unwrap()
    };
    let d = dir(1);
    // The holder of the lease who says so is left alone.
    let own = a.open_with("d\\own", |c| {
        c.caching = match lease(2, RWH) {
            CachingRequest::Lease(l) => CachingRequest::Lease(countersign_fs::LeaseRequest {
                parent: Some([1; 16]),
                ..l
            }),
            other => other,
        };
    });
    own.unwrap();
    assert!(a.mailbox.take().is_empty());
    b.open("d\\new");
    assert_eq!(lease_break(&a), Some((RH, LeaseState::empty(), true)));
    acknowledge(&a, 1, LeaseState::empty()).unwrap();
    a.close(&d.open);
}

fn durable(version: u8) -> Option<DurableRequest> {
    Some(DurableRequest {
        create_guid: (version == 2).then_some(Guid([7; 16])),
        timeout: Duration::ZERO,
        persistent: false,
    })
}

fn come_back(
    peer: &Peer,
    open: &Arc<Open>,
    f: impl FnOnce(&mut ReconnectCall),
) -> Result<Opened, FsError> {
    let mut call = ReconnectCall {
        id: open.id(),
        create_guid: None,
        client: peer.client,
        owner: OpenOwner {
            connection: 77,
            session: 5,
            tree: 5,
        },
        lease_key: None,
        path: None,
    };
    f(&mut call);
    match peer.call(FsCall::Reconnect(Box::new(call)))? {
        FsReply::Opened(o) => Ok(*o),
        other => panic!("{other:?}"),
    }
}

fn gone(peer: &Peer) {
    let owner = OpenOwner {
        session: 0,
        tree: 0,
        ..peer.owner
    };
    peer.rig.service.close_owned(owner, true);
}

#[test]
fn durable_opens_come_back() {
    let rig = rig();
    let a = rig.peer(1);
    let f = a.open_with("f", |c| {
        c.caching = batch();
        c.durable = durable(1);
    });
    let f = f.unwrap();
    assert_eq!(f.durable, Some(FsLimits::default().durable_default));
    a.write(&f.open, 0, b"kept").unwrap();
    assert_eq!(
        come_back(&a, &f.open, |_| {}).unwrap_err(),
        FsError::NameNotFound,
        "it is not gone"
    );
    gone(&a);
    assert!(f.open.is_disconnected() && !f.open.is_closed());
    assert_eq!(rig.service.statistics().disconnected, 1);
    let other = rig.peer_as(3, caller(9, false));
    assert_eq!(
        come_back(&other, &f.open, |_| {}).unwrap_err(),
        FsError::AccessDenied
    );
    let wrong = come_back(&a, &f.open, |c| c.create_guid = Some(Guid([7; 16])));
    assert_eq!(wrong.unwrap_err(), FsError::NameNotFound);
    let back = come_back(&a, &f.open, |_| {}).unwrap();
    assert!(back.reconnected);
    assert_eq!(back.caching, CachingGrant::Oplock(OplockLevel::Batch));
    assert_eq!(a.read(&back.open, 0, 9).unwrap(), b"kept");
    // The timer of the first disconnect has no say any more.
    rig.host.advance(Duration::from_secs(600));
    assert!(!back.open.is_closed());
}

#[test]
fn durable_opens_with_leases_come_back_again_and_again() {
    let rig = rig();
    let a = rig.peer(1);
    let f = a
        .open_with("f", |c| {
            c.caching = lease(1, RWH);
            c.durable = durable(1);
        })
        .unwrap();
    gone(&a);
    for round in 0..3u64 {
        let b = rig.peer(1);
        let other = come_back(&b, &f.open, |c| c.lease_key = Some([9; 16]));
        assert_eq!(other.unwrap_err(), FsError::NameNotFound);
        let name = come_back(&b, &f.open, |c| {
            c.lease_key = Some([1; 16]);
            c.path = Some(path("elsewhere"));
        });
        assert_eq!(name.unwrap_err(), FsError::InvalidParameter);
        let owner = OpenOwner {
            connection: 10 + round,
            session: 2,
            tree: 3,
        };
        let back = come_back(&b, &f.open, |c| {
            c.lease_key = Some([1; 16]);
            c.owner = owner;
        });
        assert_eq!(granted(&back.unwrap()), RWH);
        rig.service
            .close_owned(OpenOwner { tree: 0, ..owner }, true);
    }
}

#[test]
fn durable_opens_end() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let open = |p: &str, caching| {
        a.open_with(p, |c| {
            c.caching = caching;
            c.durable = durable(2);
        })
        .unwrap()
    };
    assert_eq!(open("none", CachingRequest::None).durable, None);
    assert_eq!(open("rw", lease(1, RWL)).durable, None);
    let plain = open("plain", CachingRequest::None).open;
    let f = open("f", lease(2, RWH)).open;
    assert!(
        rig.service
            .find_by_create_guid(a.client, Guid([7; 16]))
            .is_some()
    );
    gone(&a);
    assert!(plain.is_closed());
    // By time ...
    rig.host.advance(FsLimits::default().durable_default);
    assert!(f.is_closed());
    assert!(
        rig.service
            .find_by_create_guid(a.client, Guid([7; 16]))
            .is_none()
    );
    assert_eq!(rig.service.statistics().disconnected, 0);
    // ... and by another's open.
    let f = open("f", batch()).open;
    gone(&a);
    let g = b.open_with("f", |c| c.caching = batch()).unwrap();
    assert!(f.is_closed());
    assert_eq!(g.caching, CachingGrant::Oplock(OplockLevel::Batch));
    let late = come_back(&a, &f, |c| c.create_guid = Some(Guid([7; 16])));
    assert_eq!(late.unwrap_err(), FsError::NameNotFound);
}

#[test]
fn one_application_from_another_machine_takes_over() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let open = |p: &Peer| {
        p.open_with("f", |c| {
            c.share_access = ShareAccess::empty();
            c.app_instance = Some(Guid([9; 16]));
        })
    };
    let f = open(&a).unwrap().open;
    assert_eq!(
        open(&a).unwrap_err(),
        FsError::SharingViolation,
        "the same machine"
    );
    open(&b).unwrap();
    assert!(f.is_closed());
    assert!(matches!(a.mailbox.take()[..], [Event::Closed { .. }]));
}

#[test]
fn an_open_that_waits_is_cancelled_or_forgotten_with_its_connection() {
    let rig = rig();
    let (a, b) = (rig.peer(1), rig.peer(2));
    let f = a.open_with("f", |c| c.caching = batch()).unwrap().open;
    let t = b.start_open("f", |_| {}).unwrap_err();
    let sink: Arc<dyn countersign_fs::EventSink> = b.mailbox.clone();
    rig.service.cancel(&sink, t);
    assert!(matches!(b.mailbox.reply(t), Some(Err(FsError::Cancelled))));
    let t = b.start_open("f", |_| {}).unwrap_err();
    gone(&b);
    assert!(matches!(b.mailbox.reply(t), Some(Err(FsError::Cancelled))));
    a.close(&f);
    assert_eq!(rig.service.statistics(), Default::default());
}

#[test]
fn shares_that_grant_less() {
    let options = ShareOptions {
        leases: false,
        ..ShareOptions::default()
    };
    let rig = rig_with(FsLimits::default(), options);
    let o = rig
        .peer(1)
        .open_with("f", |c| c.caching = lease(1, RWH))
        .unwrap();
    assert_eq!(o.caching, CachingGrant::None);
    let options = ShareOptions {
        force_level_two: true,
        ..ShareOptions::default()
    };
    let rig = rig_with(FsLimits::default(), options);
    let o = rig.peer(1).open_with("f", |c| c.caching = batch()).unwrap();
    assert_eq!(o.caching, CachingGrant::Oplock(OplockLevel::LevelTwo));
}

#[test]
fn waiting_opens_and_disconnected_handles_have_limits() {
    let limits = FsLimits {
        waiting_opens_per_file: 1,
        durable_disconnected: 1,
        ..FsLimits::default()
    };
    let rig = rig_with(limits, ShareOptions::default());
    let (a, b) = (rig.peer(1), rig.peer(2));
    let keep = |name: &str| {
        a.open_with(name, |c| {
            c.caching = batch();
            c.durable = durable(1);
        })
        .unwrap()
        .open
    };
    let (f, g) = (keep("f"), keep("g"));
    b.start_open("f", |_| {}).unwrap_err();
    let second = b.start_open("f", |_| {});
    assert!(matches!(second, Ok(Err(FsError::InsufficientResources))));
    a.call(FsCall::AcknowledgeOplock {
        open: f.clone(),
        level: OplockLevel::LevelTwo,
    })
    .unwrap();
    let h = keep("h");
    gone(&a);
    assert!(f.is_closed(), "level II does not keep it");
    assert_eq!([g.is_closed(), h.is_closed()], [false, true], "one is kept");
    assert_eq!(rig.service.statistics().disconnected, 1);
}
