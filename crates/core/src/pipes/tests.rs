use super::*;
use countersign_rpc::{AccountFacts, CallerFacts, ServerInfo, SessionFacts, ShareFacts};
use countersign_wire::FileTime;

/// A server without shares.
struct Empty;

impl ServerFacts for Empty {
    fn server(&self) -> ServerInfo {
        ServerInfo {
            name: "S".into(),
            workgroup: "W".into(),
            dns_domain: String::new(),
            domain_member: false,
            comment: String::new(),
            version: (6, 1),
            machine_sid: vec![1, 1, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0],
        }
    }
    fn now(&self) -> FileTime {
        FileTime::ZERO
    }
    fn caller(&self) -> CallerFacts {
        CallerFacts::default()
    }
    fn shares(&self) -> Vec<ShareFacts> {
        Vec::new()
    }
    fn sessions(&self) -> Vec<SessionFacts> {
        Vec::new()
    }
    fn account_by_sid(&self, _: &[u8]) -> Option<AccountFacts> {
        None
    }
    fn account_by_name(&self, _: &str) -> Option<AccountFacts> {
        None
    }
}

/// Remembers the tickets of events.
#[derive(Default)]
struct Sink(Mutex<Vec<u64>>);

impl EventSink for Sink {
    fn send(&self, event: Event) {
        match event {
            Event::Reply { ticket, .. } => self.0.lock().push(ticket.0),
            event => panic!("{event:?}"),
        }
    }
}

/// A request before any bind: answered by a fault of 32 bytes.
const REQUEST: &[u8] = &[
    5, 0, 0, 3, 0x10, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

fn pipe() -> (PipeOpen, Arc<Sink>) {
    (PipeOpen::open("\\SrvSvc", None).unwrap(), Arc::default())
}

fn waiter(sink: &Arc<Sink>, ticket: u64) -> Option<Waiter> {
    let sink: Arc<dyn EventSink> = Arc::<Sink>::clone(sink);
    Some((sink, Ticket(ticket)))
}

#[test]
fn unknown_pipes_do_not_exist() {
    for name in ["", "samr", "srvsvc2", "spoolss"] {
        assert!(PipeOpen::open(name, None).is_none(), "{name}");
    }
    for name in ["srvsvc", "WKSSVC", "\\pipe\\lsarpc"] {
        assert!(PipeOpen::open(name, None).is_some(), "{name}");
    }
}

#[test]
fn a_read_waits_for_the_answer() {
    let (pipe, sink) = pipe();
    assert_eq!(pipe.read(100, None), Err(NtStatus::PIPE_EMPTY));
    assert_eq!(pipe.read(20, waiter(&sink, 1)), Ok(None));
    assert_eq!(pipe.read(100, waiter(&sink, 2)), Ok(None));
    pipe.write(&REQUEST[..10], &Empty).unwrap();
    assert!(sink.0.lock().is_empty());
    pipe.write(&REQUEST[10..], &Empty).unwrap();
    // The first reader gets the beginning of the message, the second the rest.
    assert_eq!(*sink.0.lock(), [1, 2]);
    let first = pipe.take(Ticket(1)).unwrap();
    assert_eq!((first.data.len(), first.more), (20, true));
    let second = pipe.take(Ticket(2)).unwrap();
    assert_eq!((second.data.len(), second.more), (12, false));
    assert_eq!(first.data[2], 3, "a fault");
}

#[test]
fn waiting_reads_are_cancelled_and_end_with_the_pipe() {
    let (pipe, sink) = pipe();
    for ticket in 1..=3 {
        assert_eq!(pipe.read(100, waiter(&sink, ticket)), Ok(None));
    }
    pipe.cancel(Ticket(2));
    pipe.cancel(Ticket(9));
    assert_eq!(*sink.0.lock(), [2]);
    assert_eq!(pipe.take(Ticket(2)), Err(NtStatus::CANCELLED));
    pipe.close();
    assert_eq!(*sink.0.lock(), [2, 1, 3]);
    assert_eq!(pipe.take(Ticket(1)), Err(NtStatus::PIPE_BROKEN));
    assert_eq!(pipe.read(1, None), Err(NtStatus::PIPE_DISCONNECTED));
    assert_eq!(
        pipe.write(REQUEST, &Empty),
        Err(NtStatus::PIPE_DISCONNECTED)
    );
}

#[test]
fn waiting_reads_are_bounded() {
    let (pipe, sink) = pipe();
    for ticket in 0..64 {
        assert_eq!(pipe.read(100, waiter(&sink, ticket)), Ok(None));
    }
    assert_eq!(
        pipe.read(100, waiter(&sink, 64)),
        Err(NtStatus::INSUFFICIENT_RESOURCES)
    );
}

#[test]
fn transact_answers_at_once_or_waits() {
    let (pipe, sink) = pipe();
    let read = pipe.transact(REQUEST, 1024, &Empty, None).unwrap().unwrap();
    assert_eq!((read.data.len(), read.more), (32, false));
    let partial = pipe.transact(REQUEST, 16, &Empty, None).unwrap().unwrap();
    assert!(partial.more);
    assert_eq!(
        pipe.transact(REQUEST, 16, &Empty, None),
        Err(NtStatus::PIPE_BUSY)
    );
    assert_eq!(
        pipe.peek(4),
        (
            PipeRead {
                data: partial_rest(&read)[..4].to_vec(),
                more: true
            },
            16,
            16
        )
    );
    assert_eq!(
        pipe.read(16, None).unwrap().unwrap().data,
        partial_rest(&read)
    );
    assert_eq!(
        pipe.transact(&REQUEST[..20], 64, &Empty, waiter(&sink, 7)),
        Ok(None)
    );
    pipe.write(&REQUEST[20..], &Empty).unwrap();
    assert_eq!(*sink.0.lock(), [7]);
    assert_eq!(pipe.take(Ticket(7)).unwrap().data.len(), 32);
}

fn partial_rest(read: &PipeRead) -> Vec<u8> {
    read.data[16..].to_vec()
}

#[test]
fn what_is_no_rpc_breaks_the_pipe() {
    let (pipe, sink) = pipe();
    assert_eq!(pipe.read(100, waiter(&sink, 1)), Ok(None));
    assert_eq!(
        pipe.write(&[4; 16], &Empty),
        Err(NtStatus::PIPE_DISCONNECTED)
    );
    assert_eq!(pipe.take(Ticket(1)), Err(NtStatus::PIPE_DISCONNECTED));
    assert_eq!(
        pipe.write(REQUEST, &Empty),
        Err(NtStatus::PIPE_DISCONNECTED)
    );
}
