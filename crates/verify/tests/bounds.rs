//! What a capture without end keeps in memory has named limits, and the report says
//! what went.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test's way to fail; made of what is known"
)]

mod generate;

use countersign_crypto::SigningAlgorithm::AesCmac;
use countersign_verify::{
    CaptureReader, MAX_CONNECTIONS, MAX_FINDINGS, MAX_KEPT, MAX_SESSIONS, Packet, Secrets,
    Verifier, verify,
};
use generate::*;

fn segment(port: u32, seq: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend(u16::try_from(40 + data.len()).unwrap().to_be_bytes());
    out.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    let [_, high, a, b] = port.to_be_bytes();
    out.extend([10, 0, 1, high, 10, 0, 0, 2]);
    out.extend([a, b, 0x01, 0xBD]);
    out.extend(seq.to_be_bytes());
    out.extend([0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    out.extend_from_slice(data);
    out
}

struct Wire {
    verifier: Verifier,
    number: u64,
}

impl Wire {
    fn new() -> Self {
        Self {
            verifier: Verifier::new(Secrets::new()),
            number: 0,
        }
    }

    fn packet(&mut self, data: &[u8]) {
        self.number += 1;
        self.verifier.packet(&Packet {
            number: self.number,
            link: 101,
            data,
            original: data.len(),
        });
    }
}

/// Segments behind a gap that never closes, on many connections.
#[test]
fn segments_out_of_order_are_bounded() {
    let mut wire = Wire::new();
    let data = vec![0x55; 60_000];
    let mut most = 0;
    for port in 0..100 {
        wire.packet(&segment(port, 0, 2, &[]));
        for n in 0..66u32 {
            wire.packet(&segment(port, 100 + n * 60_000, 0x18, &data));
        }
        most = most.max(wire.verifier.kept());
    }
    // Four MiB each would be 400.
    assert!(
        most > MAX_KEPT / 2 && most < MAX_KEPT + (80 << 20),
        "{most}"
    );
}

/// Logons that are begun and never ended.
#[test]
fn logons_under_way_are_bounded() {
    let mut wire = Wire::new();
    let mut setup = smb2(
        1,
        false,
        1,
        0,
        &[25, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0, 0xA0, 0xFF],
    );
    setup.resize(64 + 24 + 0xFFA0, 7);
    const PORTS: u32 = 3;
    for port in 0..PORTS {
        wire.packet(&segment(port, 0, 2, &[]));
        let mut seq = 1;
        for id in 0..300u64 {
            setup[24..32].copy_from_slice(&id.to_le_bytes());
            setup[40..48].copy_from_slice(&(id + 1).to_le_bytes());
            let length = u32::try_from(setup.len()).unwrap().to_be_bytes();
            let frame = [&length[..], &setup].concat();
            for piece in frame.chunks(60_000) {
                wire.packet(&segment(port, seq, 0x18, piece));
                seq += piece.len() as u32;
            }
        }
    }
    // 256 requests, and as many exchanges of which the first messages are kept.
    let kept = wire.verifier.kept() / PORTS as usize;
    assert!(kept < 256 * (82 << 10) + (1 << 20), "{kept}");
}

/// More connections than are followed: each that carried SMB is in the report.
#[test]
fn connections_are_bounded_and_counted() {
    let mut wire = Wire::new();
    let many = MAX_CONNECTIONS as u32 + 5000;
    let frame = [
        &[0, 0, 0, 72][..],
        &smb2(13, false, 0, 0, &[4, 0, 0, 0, 0, 0, 0, 0]),
    ]
    .concat();
    for port in 0..many {
        wire.packet(&segment(port, 0, 2, &[]));
        wire.packet(&segment(port, 1, 0x18, &frame));
    }
    assert!(wire.verifier.kept() < MAX_KEPT + (80 << 20));
    let report = wire.verifier.finish();
    let all = report.connections.len() as u64 + report.connections_left_off;
    assert_eq!(all, u64::from(many));
    assert_eq!(report.counts.unsigned, u64::from(many));
}

/// Sessions one after another, as a watch of weeks sees them: all are counted and all
/// verify, though only some are followed, and connections that ended are let go.
#[test]
fn a_long_watch_keeps_little() {
    let mut capture = Capture::new(1448);
    capture.bytes.truncate(24);
    let mut secrets = Secrets::new();
    secrets.add_password(USER, PASSWORD);
    let mut verifier = Verifier::new(secrets);
    let rounds = MAX_SESSIONS as u64 + 4000;
    let mut packets = 0;
    let (mut findings, mut wrong) = (0u64, 0u64);
    for n in 0..rounds {
        let port = 1024 + (n % 60_000) as u16;
        capture.open(port);
        let logon = log_on(&mut capture, 0x0300, AesCmac);
        let mut request = signed(&logon.key, false, read_request(3));
        if n % 2 == 0 {
            request[70] ^= 1;
            wrong += 1;
        }
        capture.send(false, &request);
        capture.send(true, &signed(&logon.key, true, read_response(3, 100)));
        capture.close();
        if n % 512 == 511 || n + 1 == rounds {
            let file = std::mem::take(&mut capture.bytes);
            let mut whole = file;
            if packets > 0 {
                whole = [pcap_header(), whole].concat();
            }
            let reader = CaptureReader::continuing(&whole[..], packets);
            verify(reader, &mut verifier, |_| findings += 1).unwrap();
            packets = verifier.packets();
            assert!(verifier.kept() < 32 << 20, "{}", verifier.kept());
        }
    }
    let report = verifier.finish_telling(|_| findings += 1);
    assert_eq!(
        [report.counts.verified, report.counts.bad],
        [3 * rounds - wrong, wrong]
    );
    // All were told as they came; the report keeps some.
    assert_eq!(findings, wrong);
    assert_eq!(report.findings.len(), MAX_FINDINGS);
    assert_eq!(report.findings_left_off, wrong - MAX_FINDINGS as u64);
    let sessions = report.sessions.len() as u64 + report.sessions_left_off;
    assert_eq!(sessions, rounds);
    let bad: u64 = report.sessions.iter().map(|s| s.counts.bad).sum();
    assert_eq!(bad, wrong);
    assert_eq!(report.connections.len() as u64, rounds);
}
