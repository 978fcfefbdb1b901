//! Times of the wire as seconds and milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use countersign_wire::FileTime;

use crate::report::Clock;

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970; `None` for zero ("not told").
fn milliseconds(time: FileTime) -> Option<i64> {
    (time.0 != 0).then(|| {
        let (seconds, nanoseconds) = time.to_unix();
        seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(nanoseconds / 1_000_000))
    })
}

/// The clock of a server from its SystemTime and ServerStartTime, seen at `ours`
/// (milliseconds since 1970).
pub(crate) fn clock(system: FileTime, start: FileTime, ours: i64) -> Option<Clock> {
    let time = milliseconds(system)?;
    Some(Clock {
        time: time.div_euclid(1000),
        skew_ms: time.saturating_sub(ours),
        started: milliseconds(start).map(|ms| ms.div_euclid(1000)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_theirs_less_ours() {
        let at = FileTime::from_unix(5, 0);
        let clock = clock(at, FileTime(0), 3_500).unwrap();
        assert_eq!((clock.time, clock.skew_ms, clock.started), (5, 1_500, None));
        assert_eq!(super::clock(FileTime(0), FileTime(0), 1), None);
    }
}
