//! The engine under bytes of any kind: after a real logon, so that what lies
//! behind it is reached, and before it.

use std::sync::Arc;

use countersign_core::config::Dialect;
use countersign_fs::memory::MemoryBackend;
use countersign_fs::{Backend, Host};
use countersign_policy::{Setting, Settings, Value};

use crate::memory::{MemoryServer, TestHost, config};
use crate::smb2::{Client, Logon, Offer};
use crate::wire::Wire;

/// Most replies read after one message; a server that sends more is talkative.
const MOST_REPLIES: usize = 4096;

/// Feeds frames cut out of `data` to a connection. The first byte chooses the
/// dialect, whether signing is required and whether a logon comes first; then
/// each frame is a flag byte, a length byte pair and its bytes. With bit 0 of the
/// flags a frame gets the header a client would give it (ids and, with bit 1, a
/// signature), so that most of it is decoded.
///
/// Nothing may panic, and a connection that is gone leaves no session and no
/// open behind.
pub fn engine(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else {
        return;
    };
    let host = TestHost::new();
    let clock = Arc::clone(&host);
    let backend: Arc<dyn Backend> = MemoryBackend::new(Arc::new(move || clock.now()));
    let always = if choice & 8 == 0 {
        Value::Disabled
    } else {
        Value::Enabled
    };
    let settings = Settings::default()
        .with(Setting::ServerAlways, always)
        .with(Setting::ServerIfClientAgrees, Value::Enabled);
    let mut config = config(settings, &backend);
    config.smb1 = true;
    config.min_dialect = Dialect::Smb202;
    let server = MemoryServer::with_host(config, host);
    let mut client = Client::new(server.connect());
    let dialects = [0x202, 0x210, 0x300, 0x302, 0x311];
    if choice & 16 != 0 {
        let dialect = dialects
            .get(usize::from(choice & 7))
            .copied()
            .unwrap_or(0x311);
        client.negotiate(Offer::dialect(dialect));
        client.logon(&Logon::new("alice", "Passw0rd!"));
        client.tree_connect(r"\\server\share");
    }
    while let Some(([flags, low, high], tail)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (frame, tail) = tail.split_at(length);
        rest = tail;
        let mut frame = frame.to_vec();
        if flags & 1 != 0 {
            dress(&mut client, &mut frame, *flags);
        }
        client.wire.send(&frame);
        for _ in 0..MOST_REPLIES {
            if client.wire.take().is_none() {
                break;
            }
        }
        if flags & 128 != 0 {
            server.host.advance(core::time::Duration::from_secs(3));
            client.wire.settle();
        }
    }
    client.wire.hang_up();
    // Durable opens may outlive their connection, not their time.
    server.host.advance(core::time::Duration::from_secs(3600));
    client.wire.settle();
    assert!(
        server.server.registry.list().is_empty(),
        "a session is left behind"
    );
    let opens = server.server.files.statistics().opens;
    assert_eq!(opens, 0, "opens are left behind");
}

/// Gives a frame the header fields a client would.
fn dress<W: Wire>(client: &mut Client<W>, frame: &mut Vec<u8>, flags: u8) {
    if frame.len() < 66 {
        frame.resize(66, 0);
    }
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, b"\xFESMB\x40\0");
    put(24, &client.message_id.to_le_bytes());
    put(36, &client.tree.to_le_bytes());
    let session = client.sessions.last().map_or(0, |s| s.id);
    put(40, &session.to_le_bytes());
    let command = frame.get(12).copied().unwrap_or(0) % 0x13;
    if let Some(place) = frame.get_mut(12..14) {
        place.copy_from_slice(&[command, 0]);
    }
    // Neither a response nor, mostly, a chain.
    if let Some(place) = frame.get_mut(16..20) {
        place.copy_from_slice(&[flags & 4, 0, 0, 0]);
    }
    if flags & 8 == 0
        && let Some(place) = frame.get_mut(20..24)
    {
        place.fill(0);
    }
    client.message_id += 1;
    if flags & 2 != 0 && !client.sessions.is_empty() {
        client.sign(frame);
    }
}
