//! A host with virtual time and a mailbox, for tests of this crate and of those above it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_wire::dtyp::FileTime;
use parking_lot::Mutex;

use crate::call::{Event, EventSink, FsReply, Host, Job, Ticket};
use crate::error::FsError;

/// 1 January 2026, where the virtual wall clock begins.
const START: u64 = 134_117_568_000_000_000;

/// A host whose time moves only when it is told to, and whose pool works only
/// when it is told to.
#[derive(Default)]
pub struct TestHost {
    inner: Mutex<Inner>,
    seed: AtomicU64,
}

#[derive(Default)]
struct Inner {
    now: Duration,
    timers: BTreeMap<(Duration, u64), Job>,
    jobs: Vec<Job>,
    next: u64,
    /// Offloaded work runs at once, where it is asked for.
    inline: bool,
}

impl TestHost {
    /// A host that keeps offloaded work until [`TestHost::run_jobs`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A host that does offloaded work at once.
    pub fn inline() -> Arc<Self> {
        let host = Self::default();
        host.inner.lock().inline = true;
        Arc::new(host)
    }

    /// Does what was offloaded. Gives how many jobs.
    pub fn run_jobs(&self) -> usize {
        let mut done = 0;
        loop {
            let jobs = core::mem::take(&mut self.inner.lock().jobs);
            if jobs.is_empty() {
                return done;
            }
            for job in jobs {
                job();
                done += 1;
            }
        }
    }

    /// Moves time on; timers that fall due run in their order.
    pub fn advance(&self, by: Duration) {
        let end = self.inner.lock().now + by;
        loop {
            let job = {
                let mut inner = self.inner.lock();
                let due = inner
                    .timers
                    .keys()
                    .next()
                    .copied()
                    .filter(|(at, _)| *at <= end);
                match due {
                    Some(key) => {
                        inner.now = inner.now.max(key.0);
                        inner.timers.remove(&key)
                    }
                    None => {
                        inner.now = end;
                        return;
                    }
                }
            };
            if let Some(job) = job {
                job();
            }
        }
    }

    /// When the next timer is due.
    pub fn next_timer(&self) -> Option<Duration> {
        self.inner.lock().timers.keys().next().map(|(at, _)| *at)
    }

    /// Timers that wait.
    pub fn timers(&self) -> usize {
        self.inner.lock().timers.len()
    }
}

impl Host for TestHost {
    fn now(&self) -> FileTime {
        let elapsed = self.inner.lock().now.as_nanos() / 100;
        FileTime(START + u64::try_from(elapsed).unwrap_or(0))
    }

    fn monotonic(&self) -> Duration {
        self.inner.lock().now
    }

    fn offload(&self, job: Job) {
        {
            let mut inner = self.inner.lock();
            if !inner.inline {
                inner.jobs.push(job);
                return;
            }
        }
        job();
    }

    fn after(&self, delay: Duration, job: Job) {
        let mut inner = self.inner.lock();
        let key = (inner.now + delay, inner.next);
        inner.next += 1;
        inner.timers.insert(key, job);
    }

    fn random(&self, out: &mut [u8]) {
        for b in out {
            let n = self.seed.fetch_add(1, Ordering::Relaxed);
            *b = u8::try_from((n.wrapping_mul(0x9E37_79B9) >> 8) & 0xFF).unwrap_or(0);
        }
    }
}

/// A sink that keeps what it gets.
#[derive(Default)]
pub struct Mailbox {
    events: Mutex<Vec<Event>>,
}

impl Mailbox {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Everything that came since the last call.
    pub fn take(&self) -> Vec<Event> {
        core::mem::take(&mut self.events.lock())
    }

    /// The late answer to a call, if it came; other events stay.
    pub fn reply(&self, wanted: Ticket) -> Option<Result<FsReply, FsError>> {
        let mut events = self.events.lock();
        let at = events
            .iter()
            .position(|e| matches!(e, Event::Reply { ticket, .. } if *ticket == wanted))?;
        match events.remove(at) {
            Event::Reply { result, .. } => Some(result),
            _ => None,
        }
    }

    /// Events that are not answers.
    pub fn notices(&self) -> Vec<Event> {
        let mut events = self.events.lock();
        let (notices, answers) = core::mem::take(&mut *events)
            .into_iter()
            .partition(|e| !matches!(e, Event::Reply { .. }));
        *events = answers;
        notices
    }
}

impl EventSink for Mailbox {
    fn send(&self, event: Event) {
        self.events.lock().push(event);
    }
}
