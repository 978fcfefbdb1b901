//! Byte-range locks, [MS-FSA] 2.1.4.10, 2.1.5.8 and 2.1.5.9.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::FileService;
use super::handle::Open;
use super::node::StreamNode;
use super::pending::Pending;
use crate::FsError;
use crate::call::{CallContext, FsReply, Outcome};
use crate::types::{LockElement, LockKind, LockWait};

/// Locks of a stream, oldest first, and requests that wait for some.
#[derive(Default)]
pub(super) struct LockTable {
    held: Vec<Held>,
    waiting: Vec<WaitingLock>,
}

/// A lock.
#[derive(Debug, Clone, Copy)]
struct Held {
    open: u64,
    owner: u32,
    offset: u64,
    length: u64,
    exclusive: bool,
}

/// A request that waits.
struct WaitingLock {
    pending: Arc<Pending>,
    open: Arc<Open>,
    elements: Vec<LockElement>,
}

impl Held {
    /// Whether two ranges meet. One of no length lies between two bytes: it
    /// meets a range that has bytes on both sides of it.
    fn overlaps(&self, offset: u64, length: u64) -> bool {
        let end = |o: u64, l: u64| u128::from(o) + u128::from(l);
        let (a, b) = (u128::from(self.offset), u128::from(offset));
        match (self.length, length) {
            (0, 0) => false,
            (0, l) => b < a && a < end(offset, l),
            (l, 0) => a < b && b < end(self.offset, l),
            (l, m) => a < end(offset, m) && b < end(self.offset, l),
        }
    }
}

impl LockTable {
    /// Whether this open may not lock so.
    fn refuses(&self, open: u64, element: &LockElement) -> bool {
        let exclusive = element.kind == LockKind::Exclusive;
        self.held.iter().any(|h| {
            h.overlaps(element.offset, element.length)
                && (exclusive || (h.exclusive && !(h.open == open && h.owner == element.owner)))
        })
    }

    /// Takes all or none. Gives how many were taken.
    fn take(&mut self, open: u64, elements: &[LockElement]) -> Result<usize, FsError> {
        let before = self.held.len();
        for e in elements {
            if self.refuses(open, e) {
                self.held.truncate(before);
                return Err(FsError::LockNotGranted);
            }
            self.held.push(Held {
                open,
                owner: e.owner,
                offset: e.offset,
                length: e.length,
                exclusive: e.kind == LockKind::Exclusive,
            });
        }
        Ok(self.held.len() - before)
    }

    /// Releases one lock of exactly this range, exclusive ones first.
    fn release(&mut self, open: u64, e: &LockElement) -> bool {
        let same = |h: &Held| {
            h.open == open && h.owner == e.owner && h.offset == e.offset && h.length == e.length
        };
        let at = self
            .held
            .iter()
            .position(|h| same(h) && h.exclusive)
            .or_else(|| self.held.iter().position(same));
        match at {
            Some(i) => {
                self.held.remove(i);
                true
            }
            None => false,
        }
    }

    /// Whether locks keep this open from reading or writing a range.
    fn denies(&self, open: u64, owner: u32, offset: u64, length: u64, write: bool) -> bool {
        if length == 0 {
            return false;
        }
        self.held.iter().any(|h| {
            h.overlaps(offset, length)
                && if h.exclusive {
                    !(h.open == open && h.owner == owner)
                } else {
                    write
                }
        })
    }
}

impl StreamNode {
    fn count_locks(&self, table: &LockTable) {
        self.lock_count.store(
            u32::try_from(table.held.len()).unwrap_or(u32::MAX),
            Ordering::Release,
        );
    }

    /// Refuses reading or writing of a range that is locked.
    pub(super) fn check_locks(
        &self,
        open: u64,
        owner: u32,
        offset: u64,
        length: u64,
        write: bool,
    ) -> Result<(), FsError> {
        if self.lock_count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        if self.locks.lock().denies(open, owner, offset, length, write) {
            return Err(FsError::FileLockConflict);
        }
        Ok(())
    }
}

impl FileService {
    /// LOCK, [MS-SMB2] 3.3.5.14 and [MS-CIFS] 2.2.4.32.
    pub(super) fn lock(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        elements: Vec<LockElement>,
        wait: LockWait,
    ) -> Outcome {
        match self.lock_or_wait(context, open, elements, wait) {
            Ok(Some(())) => Outcome::Ready(Ok(FsReply::Done)),
            Ok(None) => Outcome::Pending,
            Err(e) => Outcome::Ready(Err(e)),
        }
    }

    fn lock_or_wait(
        self: &Arc<Self>,
        context: &CallContext,
        open: Arc<Open>,
        elements: Vec<LockElement>,
        wait: LockWait,
    ) -> Result<Option<()>, FsError> {
        if open.is_directory() {
            return Err(FsError::InvalidDeviceRequest);
        }
        for e in &elements {
            if e.length > 0 && e.offset.checked_add(e.length - 1).is_none() {
                return Err(FsError::InvalidLockRange);
            }
        }
        let (unlocks, locks): (Vec<_>, Vec<_>) = elements
            .into_iter()
            .partition(|e| e.kind == LockKind::Unlock);
        if !unlocks.is_empty() {
            self.unlock(&open, &unlocks)?;
        }
        if locks.is_empty() {
            return Ok(Some(()));
        }
        let timeout = match wait {
            LockWait::No | LockWait::Milliseconds(0) => None,
            LockWait::Milliseconds(n) => Some(Some(Duration::from_millis(u64::from(n)))),
            LockWait::Forever => Some(None),
        };
        let pending = {
            let mut table = open.stream.locks.lock();
            if table.held.len() + locks.len() > self.limits.locks_per_file {
                return Err(FsError::InsufficientResources);
            }
            match table.take(open.id, &locks) {
                Ok(_) => {
                    open.stream.count_locks(&table);
                    None
                }
                Err(e) => {
                    let Some(_) = timeout else { return Err(e) };
                    table.waiting.retain(|w| !w.pending.is_done());
                    if table.waiting.len() >= self.limits.waiting_locks_per_file {
                        return Err(FsError::InsufficientResources);
                    }
                    let pending = self.pend(context, true, None);
                    table.waiting.push(WaitingLock {
                        pending: pending.clone(),
                        open: open.clone(),
                        elements: locks,
                    });
                    Some(pending)
                }
            }
        };
        let Some(pending) = pending else {
            // A lock is a claim on the data: who caches reads must know.
            self.break_readers(&open);
            return Ok(Some(()));
        };
        if let Some(Some(delay)) = timeout {
            let service = Arc::downgrade(self);
            self.host.after(
                delay,
                Box::new(move || {
                    if let Some(service) = service.upgrade() {
                        service.answer(&pending, Err(FsError::LockNotGranted));
                    }
                }),
            );
        }
        Ok(None)
    }

    fn unlock(self: &Arc<Self>, open: &Arc<Open>, elements: &[LockElement]) -> Result<(), FsError> {
        let result = {
            let mut table = open.stream.locks.lock();
            let mut result = Ok(());
            for e in elements {
                if !table.release(open.id, e) {
                    result = Err(FsError::RangeNotLocked);
                    break;
                }
            }
            open.stream.count_locks(&table);
            result
        };
        self.retry_locks(&open.stream);
        result
    }

    /// Grants what has become free, in the order in which it was asked for.
    fn retry_locks(self: &Arc<Self>, stream: &Arc<StreamNode>) {
        let mut granted = Vec::new();
        {
            let mut table = stream.locks.lock();
            if table.waiting.is_empty() {
                return;
            }
            let waiting = core::mem::take(&mut table.waiting);
            for w in waiting {
                if w.pending.is_done() {
                    continue;
                }
                if table.take(w.open.id, &w.elements).is_ok() {
                    granted.push(w);
                } else {
                    table.waiting.push(w);
                }
            }
            stream.count_locks(&table);
        }
        for w in granted {
            if self.answer(&w.pending, Ok(FsReply::Done)) {
                self.break_readers(&w.open);
            } else {
                // Cancelled in the same moment: give it back.
                let back: Vec<LockElement> = w
                    .elements
                    .iter()
                    .map(|e| LockElement {
                        kind: LockKind::Unlock,
                        ..*e
                    })
                    .collect();
                self.unlock(&w.open, &back).ok();
            }
        }
    }

    /// Releases all locks of an open that closes, and ends its waiting requests.
    pub(super) fn release_locks(self: &Arc<Self>, open: &Arc<Open>) {
        let ended = {
            let mut table = open.stream.locks.lock();
            if table.held.is_empty() && table.waiting.is_empty() {
                return;
            }
            table.held.retain(|h| h.open != open.id);
            let (ended, kept): (Vec<_>, Vec<_>) = core::mem::take(&mut table.waiting)
                .into_iter()
                .partition(|w| w.open.id == open.id);
            table.waiting = kept;
            open.stream.count_locks(&table);
            ended
        };
        for w in ended {
            self.answer(&w.pending, Err(FsError::RangeNotLocked));
        }
        self.retry_locks(&open.stream);
    }

    /// Cancels a waiting lock request of an open that covers exactly this range
    /// (SMB1 LOCKING_ANDX_CANCEL_LOCK). Gives whether there was one.
    pub fn cancel_lock(self: &Arc<Self>, open: &Arc<Open>, element: &LockElement) -> bool {
        let found = {
            let table = open.stream.locks.lock();
            table
                .waiting
                .iter()
                .find(|w| {
                    w.open.id == open.id
                        && !w.pending.is_done()
                        && w.elements.iter().any(|e| {
                            e.offset == element.offset
                                && e.length == element.length
                                && e.owner == element.owner
                        })
                })
                .map(|w| w.pending.clone())
        };
        found.is_some_and(|p| self.answer(&p, Err(FsError::LockNotGranted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn e(offset: u64, length: u64, exclusive: bool, owner: u32) -> LockElement {
        let kind = if exclusive {
            LockKind::Exclusive
        } else {
            LockKind::Shared
        };
        LockElement {
            offset,
            length,
            kind,
            owner,
        }
    }

    #[test]
    fn all_or_none() {
        let mut t = LockTable::default();
        t.take(1, &[e(10, 10, true, 0)]).unwrap();
        assert!(t.take(2, &[e(0, 5, true, 0), e(15, 1, false, 0)]).is_err());
        assert_eq!(t.held.len(), 1);
        t.take(2, &[e(0, 5, true, 0), e(20, 1, false, 0)]).unwrap();
    }

    #[test]
    fn shared_goes_on_own_exclusive_but_not_on_anothers() {
        let mut t = LockTable::default();
        t.take(1, &[e(0, 10, true, 0)]).unwrap();
        assert!(t.take(1, &[e(0, 10, true, 0)]).is_err());
        assert!(t.take(1, &[e(0, 10, false, 7)]).is_err(), "another process");
        t.take(1, &[e(0, 10, false, 0)]).unwrap();
        assert!(t.take(2, &[e(5, 1, false, 0)]).is_err());
        // The exclusive one goes first.
        assert!(t.release(1, &e(0, 10, false, 0)));
        t.take(2, &[e(5, 1, false, 0)]).unwrap();
    }

    #[test]
    fn ranges_of_no_length_lie_between_bytes() {
        let mut t = LockTable::default();
        t.take(1, &[e(10, 0, true, 0)]).unwrap();
        t.take(2, &[e(10, 0, true, 0)]).unwrap();
        t.take(2, &[e(10, 5, true, 0)]).unwrap();
        t.take(2, &[e(5, 5, true, 0)]).unwrap();
        assert!(t.take(3, &[e(12, 0, true, 0)]).is_err());
        t.take(3, &[e(15, 0, true, 0)]).unwrap();
        assert!(t.take(3, &[e(15, 1, true, 0), e(14, 5, false, 0)]).is_err());
    }

    #[test]
    fn the_whole_of_64_bits() {
        let mut t = LockTable::default();
        t.take(1, &[e(u64::MAX, 1, true, 0)]).unwrap();
        assert!(t.take(2, &[e(1, u64::MAX, true, 0)]).is_err());
        t.take(2, &[e(0, u64::MAX, true, 0)]).unwrap();
    }

    #[test]
    fn own_shared_locks_keep_from_writing() {
        let mut t = LockTable::default();
        t.take(1, &[e(0, 10, false, 0)]).unwrap();
        assert!(!t.denies(2, 0, 0, 10, false));
        assert!(t.denies(1, 0, 5, 1, true));
        t.take(1, &[e(20, 10, true, 0)]).unwrap();
        assert!(!t.denies(1, 0, 20, 10, true));
        assert!(t.denies(2, 0, 29, 10, false));
        assert!(!t.denies(2, 0, 29, 0, false));
    }
}
