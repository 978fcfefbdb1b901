//! Throughput of every primitive, one message at a time and in batches, by every
//! kernel of this machine.
//!
//! `cargo bench -p countersign-kernels [-- SUBSTRING]`; prints a table of
//! nanoseconds per message and MB/s. Best of several rounds, so that a busy
//! machine changes the figures little.
#![allow(
    clippy::print_stdout,
    reason = "a table for the reader is what it is for"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use countersign_kernels::{
    AeadAlgorithm, AeadKey, CmacJob, CmacKey, GmacJob, GmacKey, HmacJob, HmacSha256Key, Kernel,
    Md5Job, Md5Key, Message, Tag,
};

/// Messages in a batch.
const BATCH: usize = 16;
/// Bytes of a message: a small request, a page, a large read, the largest.
const SIZES: [usize; 5] = [128, 1 << 10, 4 << 10, 64 << 10, 1 << 20];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(20);

/// Nanoseconds of one call, the best of several rounds.
fn measure(mut call: impl FnMut()) -> f64 {
    call();
    let started = Instant::now();
    call();
    let once = started.elapsed().max(Duration::from_nanos(20));
    let times = (ROUND.as_nanos() / once.as_nanos()).clamp(1, 1 << 20);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..times {
            call();
        }
        #[allow(clippy::cast_precision_loss, reason = "a few milliseconds")]
        let each = started.elapsed().as_nanos() as f64 / times as f64;
        best = best.min(each);
    }
    best
}

struct Table {
    filter: Option<String>,
}

impl Table {
    fn row(&self, name: &str, size: usize, messages: usize, call: impl FnMut()) {
        if self
            .filter
            .as_ref()
            .is_some_and(|f| !name.contains(f.as_str()))
        {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let (each, bytes) = (measure(call) / messages as f64, size as f64);
        println!(
            "{name:<28} {size:>8} {each:>12.0} ns {:>9.0} MB/s",
            bytes * 1e3 / each
        );
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let table = Table { filter };
    let md5 = Md5Key::new(&[1; 16]);
    let hmac = HmacSha256Key::new(&[1; 16]);
    let cmac = CmacKey::new(&[1; 16]);
    let gmac = GmacKey::new(&[1; 16]);
    println!(
        "{:<28} {:>8} {:>15} {:>14}",
        "primitive", "bytes", "per message", ""
    );
    for size in SIZES {
        let texts = vec![vec![0x5A; size]; BATCH];
        let messages: Vec<_> = texts
            .iter()
            .map(|text| {
                let (head, rest) = text.split_at(48);
                let (_, tail) = rest.split_at(16);
                Message {
                    head,
                    field: &[0; 16],
                    tail,
                }
            })
            .collect();
        let Some(first) = messages.first() else {
            return;
        };
        let mut tags: Vec<Tag> = vec![[0; 16]; BATCH];
        for kernel in Kernel::available().iter().copied() {
            if kernel == Kernel::Scalar && size > 4 << 10 {
                continue;
            }
            let name = |primitive: &str, form: &str| format!("{primitive} {kernel:?} {form}");
            table.row(&name("md5", "single"), size, 1, || {
                black_box(md5.tag_with(kernel, black_box(first)));
            });
            table.row(&name("hmac", "single"), size, 1, || {
                black_box(hmac.tag_with(kernel, black_box(first)));
            });
            table.row(&name("cmac", "single"), size, 1, || {
                black_box(cmac.tag_with(kernel, black_box(first)));
            });
            table.row(&name("gmac", "single"), size, 1, || {
                black_box(gmac.tag_with(kernel, &[3; 12], black_box(first)));
            });
            let jobs: Vec<_> = messages
                .iter()
                .map(|m| Md5Job {
                    key: &md5,
                    message: *m,
                })
                .collect();
            table.row(&name("md5", "batch"), size, BATCH, || {
                Md5Key::batch_with(kernel, black_box(&jobs), &mut tags);
            });
            let jobs: Vec<_> = messages
                .iter()
                .map(|m| HmacJob {
                    key: &hmac,
                    message: *m,
                })
                .collect();
            table.row(&name("hmac", "batch"), size, BATCH, || {
                HmacSha256Key::batch_with(kernel, black_box(&jobs), &mut tags);
            });
            let jobs: Vec<_> = messages
                .iter()
                .map(|m| CmacJob {
                    key: &cmac,
                    message: *m,
                })
                .collect();
            table.row(&name("cmac", "batch"), size, BATCH, || {
                CmacKey::batch_with(kernel, black_box(&jobs), &mut tags);
            });
            let jobs: Vec<_> = messages
                .iter()
                .map(|m| GmacJob {
                    key: &gmac,
                    nonce: [3; 12],
                    message: *m,
                })
                .collect();
            table.row(&name("gmac", "batch"), size, BATCH, || {
                GmacKey::batch_with(kernel, black_box(&jobs), &mut tags);
            });
        }
        for (name, algorithm, nonce, length) in [
            ("ccm-128", AeadAlgorithm::Ccm, &[1; 12][..11], 16),
            ("gcm-128", AeadAlgorithm::Gcm, &[1; 12][..], 16),
            ("ccm-256", AeadAlgorithm::Ccm, &[1; 12][..11], 32),
            ("gcm-256", AeadAlgorithm::Gcm, &[1; 12][..], 32),
        ] {
            let Ok(key) = AeadKey::new(algorithm, &vec![1; length]) else {
                continue;
            };
            let mut data = vec![0x5A; size];
            table.row(&format!("{name} seal"), size, 1, || {
                black_box(key.seal(nonce, &[0; 32], black_box(&mut data)).is_ok());
            });
        }
    }
}
