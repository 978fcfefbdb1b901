//! A backend in memory: complete, for tests and for shares that need no disk.

mod handle;
mod names;
mod tree;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use countersign_wire::dtyp::{FileTime, Guid};
use countersign_wire::fscc::FileAttributes;
use parking_lot::Mutex;

use crate::backend::{Backend, BackendOpen, Handle, HostChange, Lookup, Result, Watch, WatchSink};
use crate::types::VolumeFacts;
use crate::wildcard::same_name;
use crate::{FsError, SmbPath};
use handle::MemoryHandle;
pub use names::short_name_of;
use tree::{Inode, ROOT, Tree};

/// Bytes one file may have, so that no length asks for memory without end.
pub const MAX_FILE: u64 = 1 << 30;

/// Where the backend gets its time from.
pub type Clock = Arc<dyn Fn() -> FileTime + Send + Sync>;

/// A file system in memory.
pub struct MemoryBackend {
    shared: Arc<Shared>,
}

/// Number, path, whole tree, and who is told.
type Watching = (u64, String, bool, Arc<dyn WatchSink>);

/// What the backend and its handles share.
struct Shared {
    tree: Mutex<Tree>,
    clock: Clock,
    volume: u64,
    /// Reads answer that they would block.
    slow: AtomicBool,
    watches: Mutex<Vec<Watching>>,
    next_watch: AtomicU64,
}

impl MemoryBackend {
    /// An empty file system that takes its times from `clock`.
    pub fn new(clock: Clock) -> Arc<Self> {
        static VOLUMES: AtomicU64 = AtomicU64::new(1);
        let volume = VOLUMES.fetch_add(1, Ordering::Relaxed);
        let now = clock();
        Arc::new(Self {
            shared: Arc::new(Shared {
                tree: Mutex::new(Tree::new(now)),
                clock,
                volume,
                slow: AtomicBool::new(false),
                watches: Mutex::new(Vec::new()),
                next_watch: AtomicU64::new(1),
            }),
        })
    }

    /// Makes reads answer that they would block, so that they go to the pool.
    pub fn set_slow(&self, slow: bool) {
        self.shared.slow.store(slow, Ordering::Relaxed);
    }

    /// Acts as if the host had changed something: `path` is `\`-separated from the root.
    pub fn report(&self, path: &str, mut change: HostChange) {
        let watches: Vec<_> = self
            .shared
            .watches
            .lock()
            .iter()
            .map(|(_, p, r, s)| (p.clone(), *r, s.clone()))
            .collect();
        for (folder, recursive, sink) in watches {
            let below = if folder.is_empty() {
                Some(path)
            } else {
                path.strip_prefix(&folder)
                    .and_then(|r| r.strip_prefix('\\'))
            };
            let Some(name) = below else { continue };
            if !recursive && name.contains('\\') {
                continue;
            }
            name.clone_into(&mut change.change.name);
            sink.changed(change.clone());
        }
    }

    /// Acts as if the host had lost changes.
    pub fn report_overflow(&self) {
        let sinks: Vec<_> = self
            .shared
            .watches
            .lock()
            .iter()
            .map(|w| w.3.clone())
            .collect();
        for sink in sinks {
            sink.overflow();
        }
    }

    fn now(&self) -> FileTime {
        (self.shared.clock)()
    }
}

impl Backend for MemoryBackend {
    fn lookup(&self, path: &SmbPath, exact: bool) -> Result<Lookup> {
        let tree = self.shared.tree.lock();
        let mut real = SmbPath::root();
        let mut at = ROOT;
        let count = path.components().len();
        for (i, name) in path.components().iter().enumerate() {
            let inode = tree.get(at)?;
            let Some(entries) = &inode.entries else {
                return Err(FsError::NotADirectory);
            };
            let found = entries.find(name, exact);
            match found {
                Some((real_name, ino)) => {
                    real = real.join(real_name)?;
                    at = ino;
                }
                None if i + 1 == count => {
                    return Ok(Lookup::Missing {
                        real: real.join(name)?,
                    });
                }
                None => return Err(FsError::PathNotFound),
            }
        }
        let metadata = Box::new(tree.get(at)?.metadata(self.shared.volume, at, None));
        Ok(Lookup::Found { real, metadata })
    }

    fn open(&self, path: &SmbPath, how: &BackendOpen) -> Result<Arc<dyn Handle>> {
        let now = self.now();
        let mut tree = self.shared.tree.lock();
        let stream = path.named_stream().map(str::to_owned);
        let base = path.without_stream();
        let found = tree.walk(&base);
        let ino = match (found, &stream) {
            (Ok(ino), None) => {
                if how.create {
                    return Err(FsError::NameCollision);
                }
                ino
            }
            (Ok(ino), Some(name)) => {
                let inode = tree.get_mut(ino)?;
                let there = inode.streams.iter().any(|s| same_name(&s.name, name));
                match (there, how.create) {
                    (true, true) => return Err(FsError::NameCollision),
                    (false, false) => return Err(FsError::NameNotFound),
                    (false, true) => inode.add_stream(name),
                    (true, false) => {}
                }
                ino
            }
            (Err(FsError::NameNotFound), None) if how.create => {
                let (parent, name) = tree.parent_of(&base)?;
                let directory = how.directory;
                let mut attributes = how.attributes;
                attributes.set(FileAttributes::DIRECTORY, directory);
                let ino = tree.insert(Inode::new(directory, attributes, now));
                tree.link(parent, &name, ino, now)?;
                ino
            }
            (Err(e), _) => return Err(e),
        };
        tree.get_mut(ino)?.handles += 1;
        drop(tree);
        Ok(Arc::new(MemoryHandle::new(
            self.shared.clone(),
            ino,
            stream,
        )))
    }

    fn path_of(&self, file: u64) -> Result<SmbPath> {
        self.shared.tree.lock().path_of(file)
    }

    fn remove(&self, path: &SmbPath) -> Result<()> {
        let now = self.now();
        let mut tree = self.shared.tree.lock();
        let base = path.without_stream();
        let ino = tree.walk(&base)?;
        if let Some(name) = path.named_stream() {
            let inode = tree.get_mut(ino)?;
            let before = inode.streams.len();
            inode.streams.retain(|s| !same_name(&s.name, name));
            return if inode.streams.len() == before {
                Err(FsError::NameNotFound)
            } else {
                Ok(())
            };
        }
        if tree
            .get(ino)?
            .entries
            .as_ref()
            .is_some_and(|e| !e.is_empty())
        {
            return Err(FsError::DirectoryNotEmpty);
        }
        let (parent, name) = tree.parent_of(&base)?;
        tree.unlink(parent, &name, now)
    }

    fn rename(&self, from: &SmbPath, to: &SmbPath, replace: bool) -> Result<()> {
        let now = self.now();
        let mut tree = self.shared.tree.lock();
        let ino = tree.walk(&from.without_stream())?;
        if from.stream().is_some() || to.stream().is_some() {
            return tree.get_mut(ino)?.rename_stream(
                from.named_stream().unwrap_or(""),
                to.named_stream().unwrap_or(""),
                replace,
            );
        }
        let (new_parent, new_name) = tree.parent_of(to)?;
        let (old_parent, old_name) = tree.parent_of(from)?;
        if let Ok(there) = tree.walk(to)
            && there != ino
        {
            if !replace {
                return Err(FsError::NameCollision);
            }
            if tree.get(there)?.entries.is_some() {
                return Err(FsError::AccessDenied);
            }
            tree.unlink(new_parent, &new_name, now)?;
        }
        tree.get_mut(ino)?.links += 1;
        tree.unlink(old_parent, &old_name, now)?;
        tree.get_mut(ino)?.links -= 1;
        tree.link(new_parent, &new_name, ino, now)
    }

    fn link(&self, from: &SmbPath, to: &SmbPath, replace: bool) -> Result<()> {
        let now = self.now();
        let mut tree = self.shared.tree.lock();
        let ino = tree.walk(from)?;
        if tree.get(ino)?.entries.is_some() {
            return Err(FsError::IsADirectory);
        }
        let (parent, name) = tree.parent_of(to)?;
        if tree.walk(to).is_ok() {
            if !replace {
                return Err(FsError::NameCollision);
            }
            tree.unlink(parent, &name, now)?;
        }
        tree.link(parent, &name, ino, now)
    }

    fn short_name(&self, path: &SmbPath) -> Result<String> {
        self.shared.tree.lock().walk(&path.without_stream())?;
        Ok(short_name_of(path.file_name().unwrap_or_default()))
    }

    fn is_empty(&self, path: &SmbPath) -> Result<bool> {
        let tree = self.shared.tree.lock();
        let ino = tree.walk(&path.without_stream())?;
        tree.get(ino)?
            .entries
            .as_ref()
            .map(tree::Entries::is_empty)
            .ok_or(FsError::NotADirectory)
    }

    fn volume(&self) -> Result<VolumeFacts> {
        Ok(VolumeFacts {
            label: "MEMORY".to_owned(),
            serial: u32::try_from(self.shared.volume & 0xFFFF_FFFF).unwrap_or(0),
            creation: FileTime::ZERO,
            total_bytes: 1 << 34,
            available_bytes: 1 << 33,
            free_bytes: 1 << 33,
            sector_size: 512,
            sectors_per_unit: 8,
            // Case kept, Unicode, ACLs, sparse, reparse, streams, object ids, EAs, hard links, by id.
            attributes: 0x0000_0002
                | 0x0000_0004
                | 0x0000_0008
                | 0x0000_0040
                | 0x0000_0080
                | 0x0001_0000
                | 0x0004_0000
                | 0x0040_0000
                | 0x0080_0000
                | 0x0100_0000,
            max_component: 255,
            object_id: Guid([0x4D; 16]),
        })
    }

    fn watch(
        &self,
        path: &SmbPath,
        recursive: bool,
        sink: Arc<dyn WatchSink>,
    ) -> Result<Box<dyn Watch>> {
        let id = self.shared.next_watch.fetch_add(1, Ordering::Relaxed);
        self.shared
            .watches
            .lock()
            .push((id, path.to_string(), recursive, sink));
        Ok(Box::new(MemoryWatch {
            shared: self.shared.clone(),
            id,
        }))
    }
}

struct MemoryWatch {
    shared: Arc<Shared>,
    id: u64,
}

impl Watch for MemoryWatch {}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.shared.watches.lock().retain(|w| w.0 != self.id);
    }
}
