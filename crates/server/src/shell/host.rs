//! Clock, timers, blocking pool and entropy for the engine and the file service.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_core::Now;
use countersign_fs::Host;
use countersign_fs::call::Job;
use countersign_wire::FileTime;
use tokio::runtime::Handle;

/// The process the file service lives in: tokio's blocking pool and timers.
pub struct TokioHost {
    runtime: Handle,
    start: Instant,
}

impl TokioHost {
    /// A host on the runtime this is called in.
    ///
    /// # Panics
    /// Outside a tokio runtime (a programming error).
    pub fn current() -> Self {
        Self {
            runtime: Handle::current(),
            start: Instant::now(),
        }
    }

    /// Both clocks.
    pub fn times(&self) -> Now {
        Now {
            wall: self.now(),
            monotonic: self.monotonic(),
        }
    }
}

/// The wall clock as FILETIME.
pub(crate) fn wall_clock() -> FileTime {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => FileTime::from_unix(
            i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            d.subsec_nanos(),
        ),
        Err(_) => FileTime::ZERO,
    }
}

impl Host for TokioHost {
    fn now(&self) -> FileTime {
        wall_clock()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn offload(&self, job: Job) {
        drop(self.runtime.spawn_blocking(job));
    }

    fn after(&self, delay: Duration, job: Job) {
        drop(self.runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            job();
        }));
    }

    fn random(&self, out: &mut [u8]) {
        if getrandom::fill(out).is_err() {
            // Without entropy no challenge and no nonce can be made: better no server.
            tracing::error!("the operating system gives no random bytes");
            std::process::abort();
        }
    }
}
