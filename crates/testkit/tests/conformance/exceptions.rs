//! Exceptions from the requirement to sign: what they weaken, and nothing else.

use super::*;
use std::sync::Mutex;

use countersign_core::observer::{Observer, Occasion};
use countersign_core::registry::Progress;
use countersign_fs::Share;
use countersign_policy::{Exception, Exceptions};
use countersign_testkit::wire::Wire;
use countersign_wire::fscc::{AccessMask, CreateOptions, FileAttributes, ShareAccess};

fn exception() -> Exception {
    Exception {
        id: "7".to_owned(),
        client: "192.0.2.0/24".parse().unwrap(),
        account: Some("alice".to_owned()),
        machine: None,
        shares: vec!["share".to_owned()],
        until: u64::MAX,
        reason: "a scanner".to_owned(),
        read_only: true,
        no_ipc: true,
        guests: false,
    }
}

/// A second share `other`, and the exception.
fn subject() -> Subject {
    Subject::with(required(), |config| {
        let mut other = config.shares[0].clone();
        other.share = Arc::new(Share {
            name: "other".to_owned(),
            backend: Arc::clone(&other.share.backend),
            options: other.share.options.clone(),
        });
        config.shares.push(other);
        config.exceptions = Arc::new(Exceptions::new([exception()]));
    })
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn observe(&self, occasion: Occasion) {
        let line = match occasion {
            Occasion::SetUp(sighting) => format!("set up {}", sighting.reason),
            Occasion::Refused(sighting) => format!("refused {}", sighting.reason),
            Occasion::Ended(went) => format!(
                "ended {} clear={} bytes={}",
                went.sighting.reason,
                went.seen.clear,
                went.received > 0 && went.sent > 0
            ),
            Occasion::ExceptionUsed {
                exception,
                share,
                granted,
                ..
            } => format!("exception {exception} {share} {granted}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

fn make(c: &mut Client<MemoryWire>, disposition: u32) -> NtStatus {
    let name: Vec<u8> = "file".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let access = if disposition == 1 { 0x1 } else { 0x3 };
    c.call(Command::CREATE, |w| {
        CreateRequest {
            oplock_level: 0,
            impersonation_level: 2,
            desired_access: AccessMask::from_bits_retain(access),
            file_attributes: FileAttributes::empty(),
            share_access: ShareAccess::from_bits_retain(7),
            disposition,
            options: CreateOptions::empty(),
            name: &name,
            contexts: Vec::new(),
        }
        .encode(w);
    })
    .unwrap()
    .status()
}

#[test]
fn an_unsigned_client_has_the_named_share_and_no_other() {
    for dialect in ALL {
        let s = subject();
        let notes = Arc::new(Notes::default());
        s.server.server.observe(Arc::clone(&notes) as _);
        let mut c = s.alice(dialect);
        // 3.1.1 demands a signed TREE_CONNECT of everybody.
        let modern = dialect == 0x311;
        c.session().sign = modern;
        assert_eq!(
            c.tree_connect(r"\\s\share").unwrap().status(),
            NtStatus::SUCCESS
        );
        let share = c.tree;
        c.session().sign = false;
        assert_eq!(
            make(&mut c, 2),
            NtStatus::ACCESS_DENIED,
            "{dialect:#x}: read only"
        );
        assert_eq!(
            make(&mut c, 1),
            NtStatus::OBJECT_NAME_NOT_FOUND,
            "{dialect:#x}"
        );
        for path in [r"\\s\other", r"\\s\IPC$"] {
            c.session().sign = modern;
            let status = c.tree_connect(path).unwrap().status();
            assert_eq!(status, NtStatus::ACCESS_DENIED, "{dialect:#x} {path}");
        }
        // A wrong signature is no absence.
        c.tree = share;
        c.session().sign = true;
        let header = c.header(Command::ECHO);
        let mut message = Client::<MemoryWire>::message(&header, |w| EchoRequest.encode(w));
        c.sign(&mut message);
        message[50] ^= 1;
        c.wire.send(&message);
        let reply = c.reply().unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{dialect:#x}");
        drop(c);
        let told = notes.0.lock().unwrap().clone();
        let wanted = [
            "set up exception",
            "exception 7 share true",
            "exception 7 other false",
            "exception 7 IPC$ false",
            "refused bad-signature",
            "ended exception clear=true bytes=true",
        ];
        assert_eq!(told, wanted, "{dialect:#x}");
    }
}

#[test]
fn shares_taken_before_the_first_request_serve_no_unsigned_one() {
    let s = subject();
    let mut c = s.alice(0x311);
    // Signed, as every TREE_CONNECT of 3.1.1: whether the client signs is not known yet.
    assert_eq!(
        c.tree_connect(r"\\s\other").unwrap().status(),
        NtStatus::SUCCESS
    );
    c.session().sign = false;
    assert_eq!(make(&mut c, 1), NtStatus::ACCESS_DENIED);
}

#[test]
fn who_signs_needs_no_exception_and_must_go_on_signing() {
    for dialect in ALL {
        let s = subject();
        let mut c = s.alice(dialect);
        for path in [r"\\s\other", r"\\s\IPC$", r"\\s\share"] {
            assert_eq!(
                c.tree_connect(path).unwrap().status(),
                NtStatus::SUCCESS,
                "{path}"
            );
        }
        assert_eq!(
            make(&mut c, 2),
            NtStatus::SUCCESS,
            "{dialect:#x}: may write"
        );
        c.session().sign = false;
        assert_eq!(make(&mut c, 1), NtStatus::ACCESS_DENIED, "{dialect:#x}");
    }
}

#[test]
fn other_accounts_and_addresses_have_none_and_taken_back_it_ends_the_session() {
    let s = subject();
    let mut c = s.dialect(0x210);
    c.logon(&Logon::new("bob", "S3cret#2b")).unwrap();
    c.session().sign = false;
    assert_eq!(
        c.tree_connect(r"\\s\share").unwrap().status(),
        NtStatus::ACCESS_DENIED
    );
    let mut c = s.alice(0x210);
    c.session().sign = false;
    assert_eq!(
        c.tree_connect(r"\\s\share").unwrap().status(),
        NtStatus::SUCCESS
    );
    s.server
        .reconfigure(|config| config.exceptions = Arc::default());
    let outcome = c
        .wire
        .connection
        .apply_policy(countersign_testkit::memory::times(&s.server.host));
    assert_eq!((outcome.satisfied, outcome.ended), (0, 1));
    assert_eq!(make(&mut c, 1), NtStatus::USER_SESSION_DELETED);
    let elsewhere = Exception {
        client: "198.51.100.0/24".parse().unwrap(),
        ..exception()
    };
    s.server
        .reconfigure(|config| config.exceptions = Arc::new(Exceptions::new([elsewhere])));
    let mut c = s.alice(0x210);
    c.session().sign = false;
    let status = c.tree_connect(r"\\s\share").unwrap().status();
    assert_eq!(status, NtStatus::ACCESS_DENIED);
}

#[test]
fn a_request_slipped_in_in_clear_opens_no_way_into_what_the_client_signs() {
    for dialect in ALL {
        let s = subject();
        let mut c = s.alice(dialect);
        assert_eq!(
            c.tree_connect(r"\\s\share").unwrap().status(),
            NtStatus::SUCCESS
        );
        // Somebody between sends the first request behind the logon, in clear.
        c.session().sign = false;
        assert_eq!(make(&mut c, 1), NtStatus::OBJECT_NAME_NOT_FOUND);
        // The client signs; it may write, since it needs no exception.
        c.session().sign = true;
        assert_eq!(make(&mut c, 2), NtStatus::SUCCESS, "{dialect:#x}");
        // From there on nothing comes in clear, not even what the exception covers.
        c.session().sign = false;
        assert_eq!(make(&mut c, 1), NtStatus::ACCESS_DENIED, "{dialect:#x}");
        let reply = echo(&mut c).unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{dialect:#x}");
    }
}

/// alice may have `share` unsigned, bob `other`.
fn one_each() -> Subject {
    let s = subject();
    s.server.reconfigure(|config| {
        let bob = Exception {
            id: "8".to_owned(),
            account: Some("bob".to_owned()),
            shares: vec!["other".to_owned()],
            read_only: false,
            ..exception()
        };
        config.exceptions = Arc::new(Exceptions::new([exception(), bob]));
    });
    s
}

#[test]
fn who_logs_on_again_as_another_does_not_keep_the_shares_of_the_first() {
    for dialect in [0x202, 0x210, 0x300] {
        let s = one_each();
        let mut c = s.alice(dialect);
        c.session().sign = false;
        assert_eq!(
            c.tree_connect(r"\\s\share").unwrap().status(),
            NtStatus::SUCCESS
        );
        assert_eq!(make(&mut c, 1), NtStatus::OBJECT_NAME_NOT_FOUND);
        let again = Logon {
            session: c.session().id,
            ..Logon::new("bob", "S3cret#2b")
        };
        assert_eq!(c.logon(&again).unwrap().status(), NtStatus::SUCCESS);
        c.session().sign = false;
        assert_eq!(make(&mut c, 1), NtStatus::ACCESS_DENIED, "{dialect:#x}");
        // Its own share it has.
        assert_eq!(
            c.tree_connect(r"\\s\other").unwrap().status(),
            NtStatus::SUCCESS
        );
        assert_eq!(make(&mut c, 2), NtStatus::SUCCESS, "{dialect:#x}");
    }
}

#[test]
fn a_durable_open_that_may_write_is_not_taken_up_in_clear_under_read_only() {
    let s = subject();
    let name: Vec<u8> = "file".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let create = |c: &mut Client<MemoryWire>, disposition, context: RequestContext<'_>| {
        c.call(Command::CREATE, |w| {
            CreateRequest {
                oplock_level: 9,
                impersonation_level: 2,
                desired_access: AccessMask::from_bits_retain(0x3),
                file_attributes: FileAttributes::empty(),
                share_access: ShareAccess::from_bits_retain(7),
                disposition,
                options: CreateOptions::empty(),
                name: &name,
                contexts: vec![context.to_context()],
            }
            .encode(w);
        })
        .unwrap()
    };
    let mut c = s.alice(0x210);
    c.tree_connect(r"\\s\share").unwrap();
    let reply = create(&mut c, 2, RequestContext::DurableRequest);
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    let id = CreateResponse::decode(&reply.message).unwrap().file_id;
    c.wire.hang_up();
    let mut c = s.alice(0x210);
    c.session().sign = false;
    c.tree_connect(r"\\s\share").unwrap();
    let reply = create(&mut c, 1, RequestContext::DurableReconnect(id));
    assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    // Signed it is taken up.
    c.session().sign = true;
    let reply = create(&mut c, 1, RequestContext::DurableReconnect(id));
    assert_eq!(reply.status(), NtStatus::SUCCESS);
}

#[test]
fn a_session_whose_first_connection_is_gone_obeys_a_change_too() {
    let s = Subject::new(optional());
    let mut first = s.alice(0x311);
    let mut second = s.dialect(0x311);
    second.lend_session(&first);
    let bind = Logon {
        flags: SESSION_FLAG_BINDING,
        session: first.session().id,
        ..Logon::new("alice", "Passw0rd!")
    };
    assert_eq!(second.logon(&bind).unwrap().status(), NtStatus::SUCCESS);
    second.session().sign = false;
    assert_eq!(echo(&mut second).unwrap().status(), NtStatus::SUCCESS);
    first.wire.hang_up();
    s.server.reconfigure(|config| {
        config.policy = Arc::new(countersign_policy::Effective::of(required()));
    });
    let now = countersign_testkit::memory::times(&s.server.host);
    let outcome = second.wire.connection.apply_policy(now);
    assert_eq!((outcome.satisfied, outcome.ended), (0, 1));
}

#[test]
fn what_a_live_session_does_is_told_once() {
    let s = Subject::new(optional());
    let notes = Arc::new(Notes::default());
    s.server.server.observe(Arc::clone(&notes) as _);
    let mut c = s.alice(0x210);
    c.session().sign = false;
    assert_eq!(echo(&mut c).unwrap().status(), NtStatus::SUCCESS);
    let tell = |takes: bool| {
        let mut told: Vec<Progress> = Vec::new();
        let all = s.server.server.registry.tell_progress(|progress| {
            told.push(progress);
            takes
        });
        assert_eq!(all, takes || told.is_empty());
        told
    };
    let first = tell(false);
    assert!(first[0].seen.clear && first[0].received > 0 && first[0].sent > 0);
    assert_eq!(tell(true), first, "what was not taken is told again");
    assert_eq!(tell(true), [], "nothing happened since");
    assert_eq!(echo(&mut c).unwrap().status(), NtStatus::SUCCESS);
    let second = tell(true);
    assert!(!second[0].seen.clear, "that is known");
    let (received, sent) = s.server.server.registry.list()[0].bytes();
    assert_eq!(received, first[0].received + second[0].received);
    assert_eq!(sent, first[0].sent + second[0].sent);
    drop(c);
    let told = notes.0.lock().unwrap().clone();
    let wanted = "ended not-required clear=false bytes=false";
    assert_eq!(told.last().map(String::as_str), Some(wanted));
}
