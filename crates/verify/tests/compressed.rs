//! Compressed messages: the signature is over what they stand for. What is compressed
//! here is read by tshark, too, where it is installed.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test's way to fail; made of what is known"
)]

mod generate;

use countersign_crypto::SigningAlgorithm::AesGmac;
use countersign_verify::{CaptureReader, Cause, Counted, Report, Secrets, Verifier, verify};
use generate::*;

fn report(bytes: &[u8]) -> Report {
    let mut secrets = Secrets::new();
    secrets.add_password(USER, PASSWORD);
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(bytes), &mut verifier, |_| {}).unwrap();
    verifier.finish()
}

/// Plain LZ77, runs of one byte as matches.
fn lz77(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let mut flags = 0u32;
        let mut group = Vec::new();
        let mut tokens = 0;
        while tokens < 32 && at < data.len() {
            let run = match at {
                0 => 0,
                _ => data[at..]
                    .iter()
                    .take_while(|b| **b == data[at - 1])
                    .count(),
            };
            if run >= 3 {
                // Lengths of up to 9 fit the token.
                let length = run.min(9);
                group.extend(((length - 3) as u16).to_le_bytes());
                flags |= 1 << (31 - tokens);
                at += length;
            } else {
                group.push(data[at]);
                at += 1;
            }
            tokens += 1;
        }
        if tokens < 32 {
            // Behind the end all bits are set.
            flags |= (1u32 << (32 - tokens)) - 1;
        }
        out.extend(flags.to_le_bytes());
        out.extend(group);
    }
    out
}

/// LZNT1 in chunks that are not compressed.
fn lznt1(data: &[u8]) -> Vec<u8> {
    data.chunks(4096)
        .flat_map(|c| {
            let head = 0x3000 | (c.len() - 1) as u16;
            [&head.to_le_bytes()[..], c].concat()
        })
        .collect()
}

/// LZ77+Huffman with 512 codes of nine bits: literals, and the end.
fn huffman(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let blocks = data.chunks(1 << 16).count();
    for (n, block) in data.chunks(1 << 16).enumerate() {
        out.extend([0x99; 256]);
        let mut bits: Vec<bool> = Vec::new();
        let mut put = |symbol: u16| bits.extend((0..9).rev().map(|b| symbol >> b & 1 != 0));
        block.iter().for_each(|b| put(u16::from(*b)));
        if n + 1 == blocks {
            put(256);
        }
        // The reader is a word ahead.
        bits.resize(bits.len().next_multiple_of(16) + 16, false);
        for word in bits.chunks(16) {
            let word = word.iter().fold(0u16, |w, b| w << 1 | u16::from(*b));
            out.extend(word.to_le_bytes());
        }
    }
    out
}

fn header(size: usize, algorithm: u16, flags: u16, last: usize) -> Vec<u8> {
    let mut m = b"\xFCSMB".to_vec();
    m.extend((size as u32).to_le_bytes());
    m.extend(algorithm.to_le_bytes());
    m.extend(flags.to_le_bytes());
    m.extend((last as u32).to_le_bytes());
    m
}

/// Not chained: the header as it is, the rest compressed.
fn unchained(m: &[u8], algorithm: u16, with: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (head, rest) = m.split_at(80);
    [
        header(rest.len(), algorithm, 0, 80),
        head.to_vec(),
        with(rest),
    ]
    .concat()
}

/// A chain: the header as it is, a compressed middle, a pattern at the end.
fn chained(m: &[u8], tail: usize, algorithm: u16, with: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (head, rest) = m.split_at(80);
    let (middle, end) = rest.split_at(rest.len() - tail);
    let compressed = with(middle);
    let mut out = header(m.len(), 0, 1, 80);
    out.extend(head);
    out.extend(algorithm.to_le_bytes());
    out.extend([0, 0]);
    out.extend((compressed.len() as u32 + 4).to_le_bytes());
    out.extend((middle.len() as u32).to_le_bytes());
    out.extend(compressed);
    if let Some(byte) = end.first() {
        out.extend([4, 0, 0, 0, 8, 0, 0, 0, *byte, 0, 0, 0]);
        out.extend((end.len() as u32).to_le_bytes());
    }
    out
}

/// A READ response that ends with a run.
fn response(logon: &Logon, id: u64) -> Vec<u8> {
    let mut m = read_response(id, 9000);
    let end = m.len();
    m[end - 2000..].fill(b'x');
    signed(&logon.key, true, m)
}

type Codec = (u16, fn(&[u8]) -> Vec<u8>);
const CODECS: [Codec; 3] = [(1, lznt1), (2, lz77), (3, huffman)];

/// Six compressed responses and what they answer; 1 + 12 are signed.
fn compressed() -> (Capture, Logon) {
    let mut capture = Capture::new(1448);
    let logon = log_on(&mut capture, 0x0311, AesGmac);
    let mut id = 3;
    for (algorithm, with) in CODECS {
        for chain in [false, true] {
            capture.send(false, &signed(&logon.key, false, read_request(id)));
            let m = response(&logon, id);
            let small = match chain {
                true => chained(&m, 2000, algorithm, with),
                false => unchained(&m, algorithm, with),
            };
            capture.send(true, &small);
            id += 1;
        }
    }
    (capture, logon)
}

#[test]
fn every_algorithm_alone_and_chained() {
    let (capture, _) = compressed();
    let r = report(&capture.bytes);
    let c = r.counts;
    assert_eq!(
        [c.verified, c.bad, c.unsigned],
        [13, 0, 5],
        "{:?}",
        r.findings
    );
    assert_eq!(r.connections[0].compressed, 6);
    assert_eq!(r.connections[0].passed_over, 0);
}

#[test]
fn as_tshark_reads_it() {
    let (capture, _) = compressed();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("compressed.pcap");
    std::fs::write(&file, &capture.bytes).unwrap();
    let mut tshark = std::process::Command::new("tshark");
    tshark
        .arg("-r")
        .arg(&file)
        .args(["-Y", "smb2.cmd == 8 && smb2.flags.response == 1"]);
    tshark.args(["-T", "fields", "-e", "smb2.msg_id", "-e", "smb2.signature"]);
    let Ok(out) = tshark.output() else {
        println!("skipped: tshark is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let rows: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();
    assert_eq!(
        rows.len(),
        6,
        "{text} {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn altered_behind_the_compression() {
    let mut capture = Capture::new(1448);
    let logon = log_on(&mut capture, 0x0311, AesGmac);
    for (id, (algorithm, with)) in (3..).zip(CODECS) {
        capture.send(false, &signed(&logon.key, false, read_request(id)));
        let mut m = response(&logon, id);
        m[5000] ^= 1;
        capture.send(true, &chained(&m, 2000, algorithm, with));
    }
    let r = report(&capture.bytes);
    assert_eq!([r.counts.verified, r.counts.bad], [4, 3]);
    for f in &r.findings {
        assert_eq!((f.cause, f.counted), (Cause::Altered, Counted::Bad));
        assert!(f.message.contains("READ response"), "{f:?}");
    }
}

#[test]
fn what_cannot_be_decompressed() {
    // An algorithm without a decoder: nobody is accused, and nothing is silent.
    let mut capture = Capture::new(1448);
    let logon = log_on(&mut capture, 0x0311, AesGmac);
    capture.send(false, &signed(&logon.key, false, read_request(3)));
    let m = response(&logon, 3);
    capture.send(true, &unchained(&m, 5, |d| d.to_vec()));
    let r = report(&capture.bytes);
    assert_eq!([r.counts.verified, r.counts.bad], [2, 0]);
    assert_eq!(r.findings.len(), 1);
    let f = &r.findings[0];
    assert_eq!((f.cause, f.counted), (Cause::Compression, Counted::Not));
    assert!(f.detail.contains("LZ4"), "{f:?}");
    assert_eq!(r.connections[0].passed_over, 1);
    // Damage.
    let mut capture = Capture::new(1448);
    let logon = log_on(&mut capture, 0x0311, AesGmac);
    let mut small = unchained(&response(&logon, 3), 2, lz77);
    let end = small.len();
    small.truncate(end - 100);
    capture.send(true, &small);
    let r = report(&capture.bytes);
    assert_eq!([r.counts.verified, r.counts.bad], [1, 1]);
    let f = &r.findings[0];
    assert_eq!((f.cause, f.counted), (Cause::Compression, Counted::Bad));
}
