//! What is forgotten: by age, by number, by size.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::database::{COLUMNS, integer, natural};

/// Seconds of a day.
pub(crate) const DAY: u64 = 86_400;
/// How far a clock may be off what it should say, and still be believed.
const STEADY: u64 = 3600;
/// Rounds in which one pruning brings the size down; what is left goes the next time.
const ROUNDS: usize = 40;

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepLimits {
    /// Days a record is kept. Default 90.
    pub days: u32,
    /// Records kept; beyond it the longest unseen go. One is a peer's way of coming on
    /// one day. Default 200,000 (about 100 MB).
    pub records: u64,
    /// Bytes the database may use; beyond it the longest unseen records go. The file
    /// itself does not shrink: its free pages are used again. Default 256 MiB.
    pub bytes: u64,
}

impl Default for KeepLimits {
    fn default() -> Self {
        Self {
            days: 90,
            records: 200_000,
            bytes: 256 << 20,
        }
    }
}

/// Whether the clock can be believed: it went on, since it was looked at last, as the
/// monotonic clock did. A clock that leaps ahead would make everything old.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    wall: u64,
    at: Instant,
}

impl Clock {
    pub(crate) fn new(wall: u64) -> Self {
        Self {
            wall,
            at: Instant::now(),
        }
    }

    /// Looks at it again; the time, if it can be believed.
    pub(crate) fn look(&mut self, wall: u64) -> Option<u64> {
        self.look_after(wall, self.at.elapsed())
    }

    fn look_after(&mut self, wall: u64, elapsed: Duration) -> Option<u64> {
        let expected = self.wall.saturating_add(elapsed.as_secs());
        *self = Self::new(wall);
        (wall.abs_diff(expected) <= STEADY).then_some(wall)
    }
}

/// Forgets what is too old (where the time is known), too many or too much; gives how
/// many records went.
pub(crate) fn prune(
    connection: &mut Connection,
    now: Option<u64>,
    limits: &KeepLimits,
) -> rusqlite::Result<u64> {
    let mut gone = 0_u64;
    if let Some(now) = now {
        let oldest = (now / DAY).saturating_sub(u64::from(limits.days));
        for table in ["seen", "lost"] {
            let sql = format!("DELETE FROM {table} WHERE day < ?1");
            let count = connection.execute(&sql, [integer(oldest)])?;
            if table == "seen" {
                gone = gone.saturating_add(count as u64);
            }
        }
    }
    let excess = records(connection)?.saturating_sub(limits.records);
    if excess > 0 {
        gone = gone.saturating_add(forget(connection, excess)?);
    }
    for _ in 0..ROUNDS {
        let used = used(connection)?;
        let there = records(connection)?;
        if used <= limits.bytes || there == 0 {
            break;
        }
        // As large a part as is too much, and a little more, so that it is not done
        // again at once.
        let surplus = used.saturating_sub(limits.bytes).saturating_mul(there) / used.max(1);
        gone = gone.saturating_add(forget(connection, surplus.saturating_add(there / 20 + 1))?);
    }
    Ok(gone)
}

pub(crate) fn records(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .query_row("SELECT count(*) FROM seen", [], |row| row.get::<_, i64>(0))
        .map(natural)
}

/// Bytes of pages that hold something.
pub(crate) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| -> rusqlite::Result<u64> {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map(natural)
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(pages.saturating_mul(pragma("page_size")?))
}

/// Whole records, the longest unseen first.
fn forget(connection: &Connection, number: u64) -> rusqlite::Result<u64> {
    let sql = format!(
        "DELETE FROM seen WHERE (day, {COLUMNS}) IN
           (SELECT day, {COLUMNS} FROM seen ORDER BY last_seen LIMIT ?1)"
    );
    let count = connection.execute(&sql, [integer(number)])?;
    Ok(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leaps_is_not_believed() {
        let mut clock = Clock::new(1_000_000);
        let minute = Duration::from_secs(60);
        assert_eq!(clock.look_after(1_000_060, minute), Some(1_000_060));
        // A century ahead, then back: neither is believed, and then it is steady again.
        let ahead = 1_000_060 + 36_500 * DAY;
        assert_eq!(clock.look_after(ahead, minute), None);
        assert_eq!(clock.look_after(1_000_180, minute), None);
        assert_eq!(clock.look_after(1_000_240, minute), Some(1_000_240));
        // One that is wrong and stays wrong is not found out here.
        assert_eq!(clock.look_after(ahead, minute), None);
        assert_eq!(clock.look_after(ahead + 60, minute), Some(ahead + 60));
    }
}
