//! The client's engine under bytes of any kind from a server: before the logon
//! and behind it, SMB1 and SMB2, with every kind of call waiting for its answer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use countersign_core::client::{
    Answer, Call, ClientConfig, Encryption, Event, OpenId, OpenRequest, PathRequest, Payload,
    TreeId,
};
use countersign_core::config::Dialect;
use countersign_fs::Backend;
use countersign_fs::Host;
use countersign_fs::memory::MemoryBackend;
use countersign_policy::{Setting, Settings, Value};
use countersign_wire::fscc::{AccessMask, CompletionFilter, Disposition, FileAttributes};

use crate::duo::{Duo, client_config};
use crate::memory::{MemoryServer, MemoryWire, TestHost, config, times};

/// Messages a client may answer one message of a server with, at most.
const MOST_REQUESTS: usize = 4096;

/// A request that waits for its answer: its header, as far as a reply repeats it.
struct Asked {
    command: u16,
    message: u64,
}

/// Feeds messages cut out of `data` to a client's engine. The first byte chooses
/// the dialect, whether signing is required and whether a logon comes first. Then
/// each message is a flag byte, two bytes of length and its bytes. With bit 0 of
/// the flags it gets the header a server would give the oldest request that waits
/// (with bit 1, the newest), so that its body is decoded.
///
/// Nothing may panic, every call is answered once, and none twice.
pub fn client(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else {
        return;
    };
    let dialects = [
        Dialect::Smb202,
        Dialect::Smb210,
        Dialect::Smb300,
        Dialect::Smb302,
        Dialect::Smb311,
        Dialect::Smb1,
    ];
    let dialect = dialects
        .get(usize::from(choice & 7))
        .copied()
        .unwrap_or(Dialect::Smb311);
    let host = TestHost::new();
    let clock = Arc::clone(&host);
    let backend: Arc<dyn Backend> = MemoryBackend::new(Arc::new(move || clock.now()));
    let mut server = config(Settings::default(), &backend);
    server.smb1 = true;
    server.min_dialect = Dialect::Smb1;
    let server = MemoryServer::with_host(server, Arc::clone(&host));
    let always = if choice & 8 == 0 {
        Value::Disabled
    } else {
        Value::Enabled
    };
    let settings = Settings::default()
        .with(Setting::ClientAlways, always)
        .with(Setting::ClientIfServerAgrees, always);
    let client = ClientConfig {
        min_dialect: if choice & 32 == 0 {
            dialect
        } else {
            Dialect::Smb1
        },
        max_dialect: dialect,
        encryption: if choice & 64 == 0 {
            Encryption::Offered
        } else {
            Encryption::Required
        },
        ..client_config(settings)
    };
    let mut duo = Duo::quiet(server.connect(), Arc::clone(&host), client);
    let mut calls = 0usize;
    let mut asked = VecDeque::new();
    if choice & 16 == 0 {
        duo.engine.start(times(&host));
    } else {
        duo.begin();
        if duo.log_on("alice", "Passw0rd!").is_ok()
            && let Ok(tree) = duo.tree("share")
        {
            for call in every_call(&mut duo, tree.tree) {
                duo.engine.submit(call, times(&host));
                calls += 1;
            }
        }
    }
    sent(&mut duo, &mut asked);
    duo.events.clear();
    let mut answered = 0usize;
    while let Some(([flags, low, high], tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (frame, tail) = tail.split_at(length);
        rest = tail;
        let mut frame = frame.to_vec();
        if flags & 1 != 0 {
            let which = if flags & 2 == 0 {
                asked.pop_front()
            } else {
                asked.pop_back()
            };
            if let Some(which) = which {
                dress(&mut frame, &which, *flags);
            }
        }
        let frame = BytesMut::from(frame.as_slice());
        duo.engine.receive(vec![frame], times(&host));
        if flags & 128 != 0 {
            host.advance(core::time::Duration::from_secs(20));
            duo.engine.handle_timeout(times(&host));
        }
        sent(&mut duo, &mut asked);
        answered += done(&mut duo);
    }
    duo.engine
        .close(countersign_core::client::CloseReason::Peer);
    answered += done(&mut duo);
    assert_eq!(answered, calls, "each call is answered once");
}

/// Takes what the client sends, and notes what it asks.
fn sent(duo: &mut Duo<MemoryWire>, asked: &mut VecDeque<Asked>) {
    for _ in 0..MOST_REQUESTS {
        let Some(frame) = duo.engine.poll_transmit() else {
            return;
        };
        let message = frame.bytes().get(4..).unwrap_or_default();
        if let (Some(command), Some(id)) = (
            message.get(12..14).and_then(|b| b.first_chunk::<2>()),
            message.get(24..32).and_then(|b| b.first_chunk::<8>()),
        ) && message.starts_with(b"\xFESMB")
        {
            asked.push_back(Asked {
                command: u16::from_le_bytes(*command),
                message: u64::from_le_bytes(*id),
            });
        }
    }
    panic!("a client that does not stop to ask");
}

/// Counts the answers.
fn done(duo: &mut Duo<MemoryWire>) -> usize {
    let mut count = 0;
    while let Some(event) = duo.engine.poll_event() {
        count += usize::from(matches!(event, Event::Done { .. }));
    }
    count
}

/// The header of a reply to a request.
fn dress(frame: &mut Vec<u8>, asked: &Asked, flags: u8) {
    if frame.len() < 66 {
        frame.resize(66, 0);
    }
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, b"\xFESMB\x40\0");
    put(12, &asked.command.to_le_bytes());
    put(16, &[1, 0, 0, 0]);
    put(24, &asked.message.to_le_bytes());
    if flags & 4 == 0 {
        put(8, &[0; 4]);
        put(20, &[0; 4]);
    }
}

/// One call of every kind.
fn every_call(duo: &mut Duo<MemoryWire>, tree: TreeId) -> Vec<Call> {
    let at = |path: &str| PathRequest {
        tree,
        path: path.into(),
        no_follow: false,
    };
    let request = OpenRequest {
        disposition: Disposition::OpenIf,
        ..OpenRequest::existing(
            "file",
            AccessMask::READ_DATA | AccessMask::WRITE_DATA | AccessMask::DELETE,
        )
    };
    let call = Call::Open {
        tree,
        request: Box::new(request.clone()),
    };
    let open = match duo.call(call) {
        Ok(Answer::Opened(opened)) => opened.open,
        _ => OpenId(0),
    };
    vec![
        Call::Open {
            tree,
            request: Box::new(request),
        },
        Call::Read {
            open,
            offset: 0,
            length: 70_000,
        },
        Call::Write {
            open,
            offset: 0,
            data: Payload::copy_of(&[1; 1000]),
            write_through: false,
        },
        Call::QueryInfo {
            open,
            class: countersign_wire::fscc::file_class::ALL,
            max: 1000,
            input: Vec::new(),
        },
        Call::QuerySecurity { open, parts: 7 },
        Call::QueryFilesystem {
            open,
            class: countersign_wire::fscc::fs_class::FULL_SIZE,
            max: 100,
        },
        Call::List {
            open,
            pattern: "*".into(),
            restart: true,
        },
        Call::ListStart {
            at: at(""),
            pattern: "*".into(),
        },
        Call::Notify {
            open,
            filter: CompletionFilter::FILE_NAME,
            recursive: true,
        },
        Call::Ioctl {
            tree,
            open: Some(open),
            code: countersign_wire::smb2::fsctl::SRV_REQUEST_RESUME_KEY,
            input: Vec::new(),
            max: 100,
        },
        Call::PipeTransact {
            open,
            input: vec![0; 16],
            max: 100,
        },
        Call::QueryPath {
            at: at("file"),
            class: countersign_wire::fscc::file_class::NETWORK_OPEN,
            max: 56,
        },
        Call::ReadFile {
            at: at("file"),
            max: 1000,
        },
        Call::WriteFile {
            at: at("other"),
            disposition: Disposition::OverwriteIf,
            attributes: FileAttributes::empty(),
            data: Payload::copy_of(b"x"),
            last_write: None,
        },
        Call::TreeConnect {
            share: "share".into(),
        },
        Call::Close { open, query: true },
        Call::Echo,
    ]
}
