//! MessageIds and credits: Connection.CommandSequenceWindow, [MS-SMB2] 3.3.1.1
//! and 3.3.5.2.3.

use std::collections::VecDeque;

/// The MessageIds a client may still use: a window of granted ids, each once.
#[derive(Debug)]
pub struct Window {
    /// Lowest id that was not used yet.
    low: u64,
    /// Ids granted from `low` on; ids at `low + range` and above are not.
    range: u64,
    /// Which of the first ids of the range were used; never ends with `false`
    /// nor begins with `true`.
    used: VecDeque<bool>,
    /// Largest range.
    limit: u16,
}

/// A MessageId was used before, or was never granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfWindow;

impl Window {
    /// The window of a new connection: MessageId 0 only.
    pub fn new(limit: u16) -> Self {
        Self {
            low: 0,
            range: 1,
            used: VecDeque::new(),
            limit,
        }
    }

    /// Uses `charge` ids from `id` on.
    ///
    /// # Errors
    /// When one of them was used or not granted; nothing is used then.
    pub fn consume(&mut self, id: u64, charge: u16) -> Result<(), OutOfWindow> {
        let charge = u64::from(charge.max(1));
        let first = id.checked_sub(self.low).ok_or(OutOfWindow)?;
        let end = first.checked_add(charge).ok_or(OutOfWindow)?;
        if end > self.range {
            return Err(OutOfWindow);
        }
        // The range is at most twice a u16, so both fit.
        let first = usize::try_from(first).map_err(|_| OutOfWindow)?;
        let end = usize::try_from(end).map_err(|_| OutOfWindow)?;
        if self
            .used
            .range(first.min(self.used.len())..end.min(self.used.len()))
            .any(|u| *u)
        {
            return Err(OutOfWindow);
        }
        if self.used.len() < end {
            self.used.resize(end, false);
        }
        self.used.range_mut(first..end).for_each(|u| *u = true);
        while self.used.front() == Some(&true) {
            self.used.pop_front();
            self.low = self.low.saturating_add(1);
            self.range = self.range.saturating_sub(1);
        }
        Ok(())
    }

    /// Grants for a response: what the request used up (`charge`), and of what
    /// it asked for beyond one at most `extra`. Never lets the range pass the
    /// limit; gives what was granted.
    pub fn grant(&mut self, charge: u16, requested: u16, extra: u16) -> u16 {
        let wanted = charge
            .max(1)
            .saturating_add(requested.saturating_sub(1).min(extra));
        let possible = u64::from(self.limit).saturating_sub(self.range);
        let granted = wanted.min(u16::try_from(possible).unwrap_or(u16::MAX));
        self.range = self.range.saturating_add(u64::from(granted));
        granted
    }

    /// Ids that may still be used.
    pub fn available(&self) -> u64 {
        let used = self.used.iter().filter(|u| **u).count();
        self.range
            .saturating_sub(u64::try_from(used).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_once_and_only_what_was_granted() {
        let mut w = Window::new(8192);
        assert_eq!(w.consume(1, 1), Err(OutOfWindow));
        assert_eq!(w.consume(0, 1), Ok(()));
        assert_eq!(w.consume(0, 1), Err(OutOfWindow));
        assert_eq!(w.grant(1, 10, u16::MAX), 10);
        assert_eq!(w.consume(3, 2), Ok(()));
        assert_eq!(w.consume(4, 1), Err(OutOfWindow));
        assert_eq!(w.consume(2, 2), Err(OutOfWindow));
        assert_eq!(w.consume(1, 2), Ok(()));
        assert_eq!(w.low, 5);
        assert_eq!(w.consume(10, 1), Ok(()));
        assert_eq!(w.consume(11, 1), Err(OutOfWindow));
        assert_eq!(w.consume(u64::MAX, 2), Err(OutOfWindow));
        assert_eq!(w.available(), 5);
    }

    #[test]
    fn the_range_never_passes_the_limit() {
        let mut w = Window::new(64);
        w.consume(0, 1).unwrap();
        assert_eq!(w.grant(1, 1000, u16::MAX), 64);
        assert_eq!(w.grant(1, 1000, u16::MAX), 0);
        // One id skipped holds the low end; the used ones behind it count.
        w.consume(2, 63).unwrap();
        assert_eq!(w.grant(63, 1, u16::MAX), 0);
        w.consume(1, 1).unwrap();
        assert_eq!(w.grant(63, 1, u16::MAX), 63);
    }

    #[test]
    fn a_request_for_nothing_gets_back_what_it_used() {
        let mut w = Window::new(8192);
        w.consume(0, 1).unwrap();
        assert_eq!(w.grant(1, 0, 0), 1);
        w.consume(1, 1).unwrap();
        assert_eq!(w.grant(1, 31, 0), 1);
    }
}
