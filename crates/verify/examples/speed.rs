//! How fast captures are verified on one core: `speed [MiB] [FILE]`.
//!
//! Generates a capture for each algorithm and message size in memory, verifies it
//! three times and prints the best rate by the clock and by processor time (the one
//! that counts on a busy machine). With FILE a generated capture is written
//! and verified from there instead.
#![allow(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a measurement"
)]

#[path = "../tests/generate/mod.rs"]
mod generate;

use std::io::Read;
use std::time::Instant;

use countersign_crypto::SigningAlgorithm;
use countersign_verify::{CaptureReader, Secrets, Verifier, verify};
use generate::*;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().map_or(256, |n| n.parse().unwrap()) << 20;
    let file = arguments.next();
    println!(
        "{:<14} {:>9} {:>8} {:>9} {:>8}",
        "algorithm", "message", "segment", "messages", "GB/s"
    );
    for segment in [1448, 60_000] {
        for (name, length) in [
            ("AES-128-GMAC", 1 << 20),
            ("AES-128-GMAC", 1 << 16),
            ("AES-128-GMAC", 4096),
            ("AES-128-CMAC", 1 << 16),
            ("HMAC-SHA256", 1 << 16),
            ("MD5", 60_000),
            ("MD5", 16_000),
            ("MD5", 4096),
        ] {
            let (capture, messages) = generated(name, length, segment, size);
            if let Some(file) = &file {
                std::fs::write(file, &capture).unwrap();
            }
            let (mut best, mut best_cpu) = (0.0, 0.0);
            for _ in 0..3 {
                let (start, cpu) = (Instant::now(), processor());
                match &file {
                    Some(file) => run(std::fs::File::open(file).unwrap(), messages),
                    None => run(&capture[..], messages),
                }
                let bytes = capture.len() as f64 / 1e9;
                best = f64::max(best, bytes / start.elapsed().as_secs_f64());
                best_cpu = f64::max(best_cpu, bytes / (processor() - cpu));
            }
            println!(
                "{name:<14} {length:>9} {segment:>8} {messages:>9} {best:>8.2} {best_cpu:>8.2}"
            );
        }
    }
}

/// Seconds of processor time of this process.
fn processor() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn run(input: impl Read, messages: u64) {
    let mut secrets = Secrets::new();
    secrets.add_password(USER, PASSWORD);
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(input), &mut verifier, |f| {
        println!("{f:?}")
    })
    .unwrap();
    let counts = verifier.finish().counts;
    assert_eq!((counts.verified, counts.bad), (messages, 0));
}

fn generated(name: &str, length: usize, segment: usize, size: usize) -> (Vec<u8>, u64) {
    let mut capture = Capture::new(segment);
    capture.bytes.reserve(size + (4 << 20));
    let mut messages = 1;
    if name == "MD5" {
        let key = log_on_smb1(&mut capture);
        let mut response = read_response_smb1(length);
        while capture.bytes.len() < size {
            let number = (messages + 1) as u32;
            read_smb1(
                &mut capture,
                &key,
                number,
                (messages % 60_000) as u16,
                &mut response,
            );
            messages += 2;
        }
    } else {
        let (dialect, algorithm) = match name {
            "HMAC-SHA256" => (0x0210, SigningAlgorithm::HmacSha256),
            "AES-128-CMAC" => (0x0302, SigningAlgorithm::AesCmac),
            _ => (0x0311, SigningAlgorithm::AesGmac),
        };
        let logon = log_on(&mut capture, dialect, algorithm);
        let mut id = logon.next_id;
        while capture.bytes.len() < size {
            capture.send(false, &signed(&logon.key, false, read_request(id)));
            capture.send(true, &signed(&logon.key, true, read_response(id, length)));
            id += 1;
            messages += 2;
        }
    }
    (capture.bytes, messages)
}
