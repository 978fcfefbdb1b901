//! Implicit updates of times, [MS-FSA] 2.1.1.6 (UserSetModificationTime and its
//! siblings) and 2.1.4.17.
//!
//! The backend's file system moves times by itself when data change. Where a
//! client has set or frozen a time through an open, what it set is what is
//! reported, and it is put back when the open is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use countersign_wire::dtyp::FileTime;
use parking_lot::Mutex;

use super::handle::Open;
use crate::FsError;
use crate::backend::SetTimes;
use crate::types::{Metadata, SetBasic, TimeChange, Times};

/// Last write time.
pub(super) const WRITE: u8 = 1;
/// Change time.
pub(super) const CHANGE: u8 = 2;
/// Last access time.
pub(super) const ACCESS: u8 = 4;

/// What an open says about implicit updates.
#[derive(Debug, Default)]
pub(super) struct OpenTimes {
    /// Times that this open does not move any more.
    pub(super) held: AtomicU8,
    /// Data were written through this open since it was opened.
    pub(super) wrote: AtomicBool,
}

/// Times of a file that its opens share.
#[derive(Debug, Default)]
pub(super) struct NodeTimes {
    /// Some time is overridden: look into `over`.
    pub(super) any: AtomicBool,
    over: Mutex<Overrides>,
}

/// Times that are reported in place of the backend's.
#[derive(Debug, Default, Clone, Copy)]
struct Overrides {
    write: Option<FileTime>,
    change: Option<FileTime>,
    access: Option<FileTime>,
}

impl NodeTimes {
    /// Puts overridden times into a stat.
    pub(super) fn apply(&self, times: &mut Times) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let over = *self.over.lock();
        if let Some(t) = over.write {
            times.last_write = t;
        }
        if let Some(t) = over.change {
            times.change = t;
        }
        if let Some(t) = over.access {
            times.last_access = t;
        }
    }

    fn update(&self, f: impl FnOnce(&mut Overrides)) {
        let mut over = self.over.lock();
        f(&mut over);
        self.any.store(
            over.write.is_some() || over.change.is_some() || over.access.is_some(),
            Ordering::Release,
        );
    }
}

impl Open {
    /// Stat, with the times this file's opens hold.
    pub(super) fn stat(&self) -> Result<Metadata, FsError> {
        let mut metadata = self.handle.metadata()?;
        self.node.times.apply(&mut metadata.times);
        Ok(metadata)
    }

    /// Data were written through this open.
    pub(super) fn note_write(&self) {
        self.times.wrote.store(true, Ordering::Relaxed);
        if self.node.times.any.load(Ordering::Acquire) {
            let held = self.times.held.load(Ordering::Acquire);
            // Somebody else than the one who holds the time has written: it moves again.
            self.node.times.update(|over| {
                if held & WRITE == 0 {
                    over.write = None;
                }
                if held & CHANGE == 0 {
                    over.change = None;
                }
                if held & ACCESS == 0 {
                    over.access = None;
                }
            });
        }
    }

    /// Sets times and notes which are held from now on.
    pub(super) fn set_basic_times(&self, set: &SetBasic) -> Result<(), FsError> {
        let value = |c: Option<TimeChange>| match c {
            Some(TimeChange::Set(t)) => Some(t),
            _ => None,
        };
        let times = SetTimes {
            creation: value(set.creation),
            last_access: value(set.last_access),
            last_write: value(set.last_write),
            change: value(set.change),
        };
        let freezes = [set.last_write, set.change, set.last_access]
            .iter()
            .any(|c| matches!(c, Some(TimeChange::Freeze)));
        let now = if freezes {
            Some(self.stat()?.times)
        } else {
            None
        };
        if times != SetTimes::default() {
            self.handle.set_times(&times)?;
        }
        for (bit, change) in [
            (WRITE, set.last_write),
            (CHANGE, set.change),
            (ACCESS, set.last_access),
        ] {
            let Some(change) = change else { continue };
            let held = match change {
                TimeChange::Set(t) => Some(t),
                TimeChange::Freeze => now.map(|n| match bit {
                    WRITE => n.last_write,
                    CHANGE => n.change,
                    _ => n.last_access,
                }),
                TimeChange::Thaw => None,
            };
            if held.is_some() {
                self.times.held.fetch_or(bit, Ordering::AcqRel);
            } else {
                self.put_back(bit)?;
                self.times.held.fetch_and(!bit, Ordering::AcqRel);
            }
            self.node.times.update(|over| match bit {
                WRITE => over.write = held,
                CHANGE => over.change = held,
                _ => over.access = held,
            });
        }
        Ok(())
    }

    /// Gives the backend's file the time that was held.
    fn put_back(&self, bits: u8) -> Result<(), FsError> {
        if !self.node.times.any.load(Ordering::Acquire) {
            return Ok(());
        }
        let over = *self.node.times.over.lock();
        let pick = |bit: u8, t: Option<FileTime>| if bits & bit != 0 { t } else { None };
        let times = SetTimes {
            creation: None,
            last_access: pick(ACCESS, over.access),
            last_write: pick(WRITE, over.write),
            change: pick(CHANGE, over.change),
        };
        if times == SetTimes::default() {
            Ok(())
        } else {
            self.handle.set_times(&times)
        }
    }

    /// At close: what this open held is made true.
    pub(super) fn release_times(self: &Arc<Self>) {
        let held = self.times.held.swap(0, Ordering::AcqRel);
        if held == 0 {
            return;
        }
        // A failure leaves the backend's own time, which is as good as none set.
        self.put_back(held).ok();
        self.node.times.update(|over| {
            if held & WRITE != 0 {
                over.write = None;
            }
            if held & CHANGE != 0 {
                over.change = None;
            }
            if held & ACCESS != 0 {
                over.access = None;
            }
        });
    }
}
