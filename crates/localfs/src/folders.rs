//! Finding names without regard to case: one folded index for each folder that
//! was asked, kept while the folder's own times say that nothing changed.
//!
//! Names that this backend itself adds and removes are put into the index at
//! once, so that writing many files into one large folder does not read it again
//! for each. A change by the host shows in the folder's mtime or ctime. Hosts
//! with coarse clocks could hide a change behind one of ours made within the
//! same tick; so an index is also read again when it is older than
//! [`MAX_AGE`], and once more after it settled when the folder had changed just
//! before it was read.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_fs::FileKey;
use foldhash::quality::RandomState;
use parking_lot::Mutex;
use rustix::fs::{Dir, FileType, Mode, OFlags, Statx};
use rustix::io::Errno;

use crate::names;
use crate::root::stat_fd;

/// An index older than this is read again even if the folder's times stand still.
const MAX_AGE: Duration = Duration::from_secs(30);
/// Longest tick of a file system's clock.
const TICK: Duration = Duration::from_millis(20);

/// Times and identity of a folder: any change of its names changes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stamp {
    mtime: (i64, u32),
    ctime: (i64, u32),
}

impl Stamp {
    fn of(s: &Statx) -> Self {
        Self {
            mtime: (s.stx_mtime.tv_sec, s.stx_mtime.tv_nsec),
            ctime: (s.stx_ctime.tv_sec, s.stx_ctime.tv_nsec),
        }
    }
}

/// Identity of what was stat'ed.
pub(crate) fn key_of(s: &Statx) -> FileKey {
    FileKey {
        volume: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
        file: s.stx_ino,
    }
}

/// Names with one hash: nearly always one.
#[derive(Debug)]
enum Names {
    One(Box<[u8]>),
    Many(Vec<Box<[u8]>>),
}

impl Names {
    fn iter(&self) -> core::slice::Iter<'_, Box<[u8]>> {
        match self {
            Self::One(n) => core::slice::from_ref(n).iter(),
            Self::Many(v) => v.iter(),
        }
    }
}

/// The index of one folder.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    stamp: Option<Stamp>,
    /// The stamp after our own last change.
    ours: Option<Stamp>,
    read_at: Option<Instant>,
    settled: bool,
    by_hash: HashMap<u64, Names, RandomState>,
    count: usize,
}

impl Folder {
    fn valid(&self, now: Stamp) -> bool {
        let Some(read_at) = self.read_at else {
            return false;
        };
        let age = read_at.elapsed();
        self.stamp == Some(now) && age < MAX_AGE && (self.settled || age < TICK)
    }

    fn hash(&self, folded: &str) -> u64 {
        use core::hash::BuildHasher;
        self.by_hash.hasher().hash_one(folded)
    }

    fn insert(&mut self, disk: &[u8]) {
        let hash = self.hash(&names::fold_asked(disk));
        self.count += 1;
        match self.by_hash.get_mut(&hash) {
            None => {
                self.by_hash.insert(hash, Names::One(disk.into()));
            }
            Some(Names::Many(v)) => v.push(disk.into()),
            Some(slot @ Names::One(_)) => {
                let old = core::mem::replace(slot, Names::Many(Vec::new()));
                if let (Names::One(old), Names::Many(v)) = (old, slot) {
                    v.push(old);
                    v.push(disk.into());
                }
            }
        }
    }

    fn delete(&mut self, disk: &[u8]) {
        let hash = self.hash(&names::fold_asked(disk));
        let empty = match self.by_hash.get_mut(&hash) {
            None => return,
            Some(Names::One(n)) if **n == *disk => true,
            Some(Names::One(_)) => return,
            Some(Names::Many(v)) => {
                v.retain(|n| **n != *disk);
                v.is_empty()
            }
        };
        self.count = self.count.saturating_sub(1);
        if empty {
            self.by_hash.remove(&hash);
        }
    }

    /// The name on disk that equals this folded one; of several the smallest.
    pub(crate) fn find(&self, folded: &str) -> Option<Vec<u8>> {
        let hash = self.hash(folded);
        let all = self.by_hash.get(&hash)?.iter();
        all.filter(|n| names::fold_asked(n) == folded)
            .min()
            .map(|n| n.to_vec())
    }

    /// The name on disk whose made 8.3 name this is; none when two have it.
    pub(crate) fn find_short(&self, asked: &str) -> Option<Vec<u8>> {
        let mut found = None;
        for n in self.by_hash.values().flat_map(Names::iter) {
            if names::is_short_of(asked, &names::from_disk(n)) {
                if found.is_some() {
                    return None;
                }
                found = Some(n.to_vec());
            }
        }
        found
    }

    fn read(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        let before = stat_fd(dir)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut entries = Dir::new(rustix::fs::openat(dir, c".", flags, Mode::empty())?)?;
        self.by_hash.clear();
        self.count = 0;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..")
                || names::is_reserved(name)
                || is_special(entry.file_type())
            {
                continue;
            }
            self.insert(name);
        }
        let stamp = Stamp::of(&before);
        let changed = Duration::new(
            u64::try_from(stamp.mtime.0.max(stamp.ctime.0)).unwrap_or(0),
            if stamp.mtime.0 >= stamp.ctime.0 {
                stamp.mtime.1
            } else {
                stamp.ctime.1
            },
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        self.settled = now > changed + TICK || self.ours == Some(stamp);
        self.stamp = Some(stamp);
        self.read_at = Some(Instant::now());
        Ok(())
    }
}

/// Devices, pipes and sockets are not shown and not opened.
pub(crate) fn is_special(t: FileType) -> bool {
    matches!(
        t,
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice
    )
}

#[derive(Debug)]
struct Cached {
    folder: Arc<Mutex<Folder>>,
    used: AtomicU64,
    count: AtomicU64,
}

/// The indexes of the folders asked last.
#[derive(Debug)]
pub(crate) struct Folders {
    cached: Mutex<HashMap<FileKey, Arc<Cached>, RandomState>>,
    clock: AtomicU64,
    /// Folders read, for tests of what work was done.
    pub(crate) reads: AtomicU64,
    max_folders: usize,
    max_names: u64,
}

impl Folders {
    pub(crate) fn new(max_folders: usize, max_names: usize) -> Self {
        Self {
            cached: Mutex::default(),
            clock: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            max_folders: max_folders.max(1),
            max_names: max_names.try_into().unwrap_or(u64::MAX),
        }
    }

    fn entry(&self, key: FileKey) -> Arc<Cached> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut cached = self.cached.lock();
        if !cached.contains_key(&key) {
            let total = |c: &HashMap<FileKey, Arc<Cached>, RandomState>| -> u64 {
                c.values().map(|e| e.count.load(Ordering::Relaxed)).sum()
            };
            while cached.len() >= self.max_folders
                || (!cached.is_empty() && total(&cached) > self.max_names)
            {
                let oldest = cached
                    .iter()
                    .min_by_key(|(_, e)| e.used.load(Ordering::Relaxed))
                    .map(|(k, _)| *k);
                let Some(oldest) = oldest else { break };
                cached.remove(&oldest);
            }
        }
        let entry = cached.entry(key).or_insert_with(|| {
            Arc::new(Cached {
                folder: Arc::default(),
                used: AtomicU64::new(now),
                count: AtomicU64::new(0),
            })
        });
        entry.used.store(now, Ordering::Relaxed);
        Arc::clone(entry)
    }

    /// Runs `look` with an index of the folder that is up to date.
    pub(crate) fn look<R>(
        &self,
        dir: BorrowedFd<'_>,
        look: impl FnOnce(&Folder) -> R,
    ) -> Result<R, Errno> {
        let stat = stat_fd(dir)?;
        let entry = self.entry(key_of(&stat));
        let mut folder = entry.folder.lock();
        // The stat is older than the lock: another may have added a name meanwhile.
        if !folder.valid(Stamp::of(&stat)) && !folder.valid(Stamp::of(&stat_fd(dir)?)) {
            self.reads.fetch_add(1, Ordering::Relaxed);
            folder.read(dir)?;
            entry.count.store(
                folder.count.try_into().unwrap_or(u64::MAX),
                Ordering::Relaxed,
            );
        }
        Ok(look(&folder))
    }

    /// Changes names in a folder and keeps its index right. `change` gets the
    /// index (up to date when `check` says that it will look something up).
    pub(crate) fn change<R, E: From<Errno>>(
        &self,
        dir: BorrowedFd<'_>,
        check: bool,
        change: impl FnOnce(&mut Edit<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let key = key_of(&stat_fd(dir)?);
        let entry = if check {
            self.entry(key)
        } else {
            match self.cached.lock().get(&key) {
                Some(e) => Arc::clone(e),
                None => return change(&mut Edit { folder: None }),
            }
        };
        let mut folder = entry.folder.lock();
        let mut valid = folder.valid(Stamp::of(&stat_fd(dir)?));
        if !valid && check {
            self.reads.fetch_add(1, Ordering::Relaxed);
            folder.read(dir)?;
            valid = true;
        }
        let mut edit = Edit {
            folder: Some(&mut folder),
        };
        let result = change(&mut edit);
        match stat_fd(dir) {
            Ok(after) if valid => {
                folder.stamp = Some(Stamp::of(&after));
                folder.ours = folder.stamp;
            }
            _ => folder.stamp = None,
        }
        entry.count.store(
            folder.count.try_into().unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        result
    }
}

/// A folder's index while its names are changed.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    folder: Option<&'a mut Folder>,
}

impl Edit<'_> {
    /// The name on disk equal to this folded one.
    pub(crate) fn find(&self, folded: &str) -> Option<Vec<u8>> {
        self.folder.as_ref().and_then(|f| f.find(folded))
    }

    /// A name was added.
    pub(crate) fn added(&mut self, disk: &[u8]) {
        if let Some(f) = &mut self.folder {
            f.insert(disk);
        }
    }

    /// A name was removed.
    pub(crate) fn removed(&mut self, disk: &[u8]) {
        if let Some(f) = &mut self.folder {
            f.delete(disk);
        }
    }
}
