//! The client's SMB1 engine under a server that answers anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use countersign_auth::NtHash;
use countersign_auth::ntlm::NtlmCredentials;
use countersign_core::client::{
    Answer, Call, CallId, ClientConfig, ClientLimits, CloseReason, Encryption, Engine, Entropy,
    Event, LockRange, OpenId, OpenRequest, PathRequest, Payload, Smb1Config, TreeId,
};
use countersign_core::config::Dialect;
use countersign_core::{Now, Transport};
use countersign_policy::{Effective, Setting, Settings, Value};
use countersign_wire::fscc::{
    AccessMask, CompletionFilter, Disposition, FileAttributes, file_class, fs_class,
};
use countersign_wire::smb1::negotiate::{NtResponse, NtResponseBytes};
use countersign_wire::smb1::open::NtCreateAndxResponseWords;
use countersign_wire::smb1::{CodePage, Command, Flags, Flags2, Header, MessageWriter, Text};
use countersign_wire::{FileTime, Guid, NtStatus, Writer};

struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(7);
    }
}

const NOW: Now = Now {
    wall: FileTime(1),
    monotonic: Duration::from_secs(1),
};

/// Statuses an answer may have.
const STATUSES: [NtStatus; 8] = [
    NtStatus::SUCCESS,
    NtStatus::BUFFER_OVERFLOW,
    NtStatus::NO_MORE_FILES,
    NtStatus::MORE_PROCESSING_REQUIRED,
    NtStatus::BUFFER_TOO_SMALL,
    NtStatus::OBJECT_NAME_COLLISION,
    NtStatus::INVALID_LEVEL,
    NtStatus::NOTIFY_ENUM_DIR,
];

struct Rig {
    engine: Engine,
    /// Requests that wait for an answer.
    asked: Vec<Header>,
    /// Calls and how often they were answered.
    answered: HashMap<CallId, usize>,
    last: Option<Answer>,
}

impl Rig {
    fn submit(&mut self, call: Call) {
        let id = self.engine.submit(call, NOW);
        self.answered.entry(id).or_default();
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(frame) = self.engine.poll_transmit() {
            let message = frame.bytes().get(4..).unwrap_or_default();
            assert!(message.len() <= 0x2_0000, "a request of {}", message.len());
            self.asked.extend(Header::decode(message));
        }
        while let Some(event) = self.engine.poll_event() {
            if let Event::Done { id, result } = event {
                *self.answered.entry(id).or_default() += 1;
                self.last = result.ok();
            }
        }
    }

    fn give(&mut self, message: &[u8]) {
        self.engine.receive(vec![BytesMut::from(message)], NOW);
        self.settle();
    }

    /// An answer to the oldest request, or to another.
    fn answer(&mut self, which: usize, status: NtStatus, body: &[u8]) {
        if self.asked.is_empty() {
            return;
        }
        let asked = self.asked.remove(which % self.asked.len());
        let header = Header {
            flags: Flags::REPLY,
            flags2: Flags2::NT_STATUS | Flags2::UNICODE,
            status: status.0,
            tid: 1,
            uid: 1,
            ..asked
        };
        // The answer to a secondary is one to its primary.
        let command = match asked.command {
            Command::TRANSACTION_SECONDARY => Command::TRANSACTION,
            Command::TRANSACTION2_SECONDARY => Command::TRANSACTION2,
            Command::NT_TRANSACT_SECONDARY => Command::NT_TRANSACT,
            other => other,
        };
        let mut message = Header { command, ..header }.encode().to_vec();
        message.extend_from_slice(body);
        self.give(&message);
    }

    fn answer_well(&mut self, words: &[u8], bytes: &[u8]) {
        let command = self.asked.first().map_or(0, |h| h.command);
        let mut w = MessageWriter::new(0);
        w.block(command, Command::is_andx(command), words, bytes);
        let message = w.finish(&[0; 32]);
        let body = message.get(32..).unwrap_or_default().to_vec();
        self.answer(0, NtStatus::SUCCESS, &body);
    }
}

/// A server that negotiates, lets anybody in and opens a file, and then answers
/// with what `data` says. The first five bytes are its capabilities and what it
/// does at once; then each answer is a byte that chooses the request, one that
/// chooses the status, a length and a body behind the header.
///
/// Nothing may panic, no request may be too long, and every call is answered
/// exactly once.
pub fn smb1_reply(data: &[u8]) {
    let Some(([choice, c0, c1, c2, c3], mut rest)) = data.split_first_chunk::<5>() else {
        return;
    };
    let settings = Settings::default()
        .with(Setting::ClientAlways, Value::Disabled)
        .with(Setting::ClientIfServerAgrees, Value::Disabled);
    let config = ClientConfig {
        policy: Arc::new(Effective::of(settings)),
        min_dialect: Dialect::Smb1,
        max_dialect: Dialect::Smb1,
        signing_algorithms: Vec::new(),
        ciphers: Vec::new(),
        encryption: Encryption::Off,
        allow_guest: true,
        client_guid: Guid::default(),
        server_name: "server".into(),
        transport: Transport::Tcp,
        smb1: Smb1Config::default(),
        limits: ClientLimits::default(),
    };
    let mut rig = Rig {
        engine: Engine::new(config, Box::new(Zeros)),
        asked: Vec::new(),
        answered: HashMap::new(),
        last: None,
    };
    rig.engine.start(NOW);
    rig.settle();
    if choice & 1 == 0 {
        welcome(&mut rig, u32::from_le_bytes([*c0, *c1, *c2, *c3]));
    }
    let (tree, open) = match &rig.last {
        Some(Answer::Opened(opened)) => (TreeId(1), opened.open),
        _ => (TreeId(1), OpenId(1)),
    };
    for call in calls(tree, open) {
        rig.submit(call);
    }
    while let Some(([which, status, low, high], tail)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (body, tail) = tail.split_at(length);
        rest = tail;
        if *which == 0xFF {
            // As it stands, whatever it is.
            rig.give(body);
            continue;
        }
        let status = match STATUSES.get(usize::from(*status)) {
            Some(status) => *status,
            None => NtStatus(0xC000_0000 | u32::from(*status)),
        };
        rig.answer(usize::from(*which), status, body);
    }
    rig.engine.close(CloseReason::Peer);
    rig.settle();
    for (id, count) in rig.answered {
        assert_eq!(count, 1, "{id:?} was answered {count} times");
    }
}

fn welcome(rig: &mut Rig, capabilities: u32) {
    let words = NtResponse {
        dialect_index: 0,
        security_mode: 3,
        max_mpx_count: 50,
        max_number_vcs: 1,
        max_buffer_size: 16_644,
        max_raw_size: 0,
        session_key: 0,
        // Without extended security; with the commands of NT.
        capabilities: capabilities & 0x7FFF_FFFF | 0x10,
        system_time: FileTime(1),
        server_time_zone: 0,
        challenge_length: 8,
    };
    let text = Text {
        unicode: true,
        code_page: CodePage::default(),
    };
    let mut bytes = Vec::new();
    NtResponseBytes::Classic {
        challenge: vec![1; 8],
        domain: "D".into(),
        server: "S".into(),
    }
    .encode(text, &mut Writer::new(&mut bytes));
    rig.answer_well(&words.to_vec(), &bytes);
    rig.submit(Call::ClassicLogon(NtlmCredentials {
        user: String::new(),
        domain: String::new(),
        nt_hash: NtHash::from_password(""),
        workstation: String::new(),
    }));
    rig.answer_well(&[0, 0], b"\0");
    rig.submit(Call::TreeConnect {
        share: "share".into(),
    });
    rig.answer_well(&[0, 0], b"A:\0\0");
    rig.submit(Call::Open {
        tree: TreeId(1),
        request: Box::new(OpenRequest::existing("file", AccessMask::READ_DATA)),
    });
    let words = NtCreateAndxResponseWords {
        oplock_level: 2,
        fid: 9,
        create_disposition: 1,
        create_time: FileTime(1),
        last_access_time: FileTime(1),
        last_write_time: FileTime(1),
        last_change_time: FileTime(1),
        ext_file_attributes: 0x80,
        allocation_size: 0,
        end_of_file: 1 << 20,
        resource_type: 0,
        nm_pipe_status: 0,
        directory: 0,
    };
    rig.answer_well(&words.to_vec(), b"");
}

/// One of each.
fn calls(tree: TreeId, open: OpenId) -> Vec<Call> {
    let at = || PathRequest {
        tree,
        path: r"dir\file".into(),
        no_follow: false,
    };
    let info = |class| Call::QueryInfo {
        open,
        class,
        max: 4096,
        input: Vec::new(),
    };
    vec![
        Call::Read {
            open,
            offset: 0,
            length: 65_536,
        },
        Call::Write {
            open,
            offset: 0,
            data: Payload::copy_of(b"data"),
            write_through: false,
        },
        Call::ListStart {
            at: at(),
            pattern: "*".into(),
        },
        Call::List {
            open,
            pattern: "*".into(),
            restart: true,
        },
        info(file_class::ALL),
        info(file_class::NETWORK_OPEN),
        info(file_class::NAME),
        Call::QueryFilesystem {
            open,
            class: fs_class::VOLUME,
            max: 1024,
        },
        Call::QuerySecurity { open, parts: 7 },
        Call::SetSecurity {
            open,
            parts: 4,
            descriptor: vec![1; 40_000],
        },
        Call::Ioctl {
            tree,
            open: Some(open),
            code: 1,
            input: vec![1; 20_000],
            max: 1024,
        },
        Call::Notify {
            open,
            filter: CompletionFilter::FILE_NAME,
            recursive: true,
        },
        Call::PipeTransact {
            open,
            input: vec![1; 20_000],
            max: 1 << 20,
        },
        Call::Lock {
            open,
            ranges: vec![LockRange {
                offset: 0,
                length: 1,
                exclusive: Some(true),
            }],
            wait: true,
        },
        Call::RenamePath {
            at: at(),
            to: r"dir\other".into(),
            replace: true,
        },
        Call::RenamePath {
            at: at(),
            to: "other".into(),
            replace: true,
        },
        Call::ReadFile {
            at: at(),
            max: 1 << 20,
        },
        Call::WriteFile {
            at: at(),
            disposition: Disposition::OverwriteIf,
            attributes: FileAttributes::empty(),
            data: Payload::copy_of(&[1; 30_000]),
            last_write: Some(FileTime(5)),
        },
        Call::Open {
            tree,
            request: Box::new(OpenRequest {
                security_descriptor: Some(vec![1; 20]),
                maximal_access: true,
                ..OpenRequest::existing("other", AccessMask::READ_DATA)
            }),
        },
        Call::TreeConnect {
            share: "IPC$".into(),
        },
        Call::Flush(open),
        Call::Echo,
        Call::Close { open, query: true },
    ]
}

/// An input made of what a server of a capture answered: bodies in order.
pub fn seed(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![0, 0xFC, 0xF3, 0x80, 0];
    for frame in frames {
        let Some(body) = frame.get(32..) else {
            continue;
        };
        let Ok(length) = u16::try_from(body.len()) else {
            continue;
        };
        // The status stands behind the command; only success is kept.
        let status = u8::from(frame.get(5..9) != Some(&[0; 4])) * 9;
        out.extend([0, status]);
        out.extend(length.to_le_bytes());
        out.extend_from_slice(body);
        if out.len() > 16 << 10 {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_servers_answer_the_client() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/captures");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).expect("captures").flatten() {
            if !entry.file_name().to_string_lossy().starts_with("nt1-") {
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("capture");
            let frames: Vec<_> = crate::pcapng::frames(&bytes)
                .into_iter()
                .filter(|f| !f.from_client)
                .map(|f| f.bytes)
                .collect();
            let seed = seed(&frames);
            smb1_reply(&seed);
            // Each byte of the beginning altered, and cut off at many places.
            for place in 0..seed.len().min(400) {
                let mut altered = seed.clone();
                if let Some(byte) = altered.get_mut(place) {
                    *byte ^= 0xFF;
                }
                smb1_reply(&altered);
                smb1_reply(seed.get(..place * 7).unwrap_or(&seed));
            }
            count += 1;
            if count == 6 {
                break;
            }
        }
        assert!(count > 0, "no captures");
    }
}
