//! What all opens of one file share ([MS-FSA] 2.1.1.3 File and 2.1.1.5 Stream).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::handle::Open;
use super::locks::LockTable;
use super::oplock::Cache;
use super::pending::Waiter;
use super::times::NodeTimes;
use crate::SmbPath;
use crate::types::FileKey;
use crate::wildcard::fold_name;

/// Shards of the table of files.
const SHARDS: usize = 64;

/// A file that is open at least once.
pub(super) struct FileNode {
    pub(super) key: FileKey,
    pub(super) directory: bool,
    /// Deletion of the whole file is pending.
    pub(super) delete_pending: AtomicBool,
    pub(super) times: NodeTimes,
    pub(super) state: Mutex<FileState>,
}

/// The part of a file that needs its lock.
#[derive(Default)]
pub(super) struct FileState {
    /// It was taken out of the table: look it up again.
    pub(super) gone: bool,
    pub(super) members: Vec<Member>,
    pub(super) streams: Vec<Arc<StreamNode>>,
    pub(super) caches: Vec<Cache>,
    pub(super) waiters: Vec<Waiter>,
    /// Goes up each time the waiters are called.
    pub(super) wakes: u64,
    /// The name to remove with the last close.
    pub(super) delete_path: Option<Arc<SmbPath>>,
}

/// One open of the file.
pub(super) struct Member {
    pub(super) open: Arc<Open>,
    /// Number of its oplock or lease among the file's caches.
    pub(super) cache: Option<u64>,
}

/// One stream of a file that is open; the unnamed one has an empty name.
pub(super) struct StreamNode {
    /// Folded name.
    pub(super) name: String,
    /// Deletion of the stream is pending (never set for the unnamed one).
    pub(super) delete_pending: AtomicBool,
    /// Byte-range locks held: reads and writes look no further when 0.
    pub(super) lock_count: AtomicU32,
    /// Oplocks and leases on it that share reads: writes look no further when 0.
    pub(super) shared_caches: AtomicU32,
    pub(super) locks: Mutex<LockTable>,
    /// Held while data are appended.
    pub(super) appending: Mutex<()>,
}

impl FileNode {
    fn new(key: FileKey, directory: bool) -> Self {
        Self {
            key,
            directory,
            delete_pending: AtomicBool::new(false),
            times: NodeTimes::default(),
            state: Mutex::new(FileState::default()),
        }
    }
}

impl FileState {
    /// The stream of this name, made when it was not open yet.
    pub(super) fn stream(&mut self, name: &str) -> Arc<StreamNode> {
        let name = fold_name(name);
        if let Some(s) = self.streams.iter().find(|s| s.name == name) {
            return s.clone();
        }
        let stream = Arc::new(StreamNode::new(name));
        self.streams.push(stream.clone());
        stream
    }

    /// Forgets streams that nothing has open.
    pub(super) fn drop_unused_streams(&mut self) {
        let members = &self.members;
        self.streams
            .retain(|s| members.iter().any(|m| Arc::ptr_eq(&m.open.stream, s)));
    }
}

impl StreamNode {
    fn new(name: String) -> Self {
        Self {
            name,
            delete_pending: AtomicBool::new(false),
            lock_count: AtomicU32::new(0),
            shared_caches: AtomicU32::new(0),
            locks: Mutex::new(LockTable::default()),
            appending: Mutex::new(()),
        }
    }
}

/// The table of files that are open.
pub(super) struct NodeTable {
    shards: Vec<Mutex<HashMap<FileKey, Arc<FileNode>, RandomState>>>,
}

impl NodeTable {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS)
                .map(|_| Mutex::new(HashMap::default()))
                .collect(),
        }
    }

    fn shard(&self, key: FileKey) -> Option<&Mutex<HashMap<FileKey, Arc<FileNode>, RandomState>>> {
        let hash = key.file.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ key.volume;
        let index = usize::try_from(hash >> 48).unwrap_or(0);
        self.shards.get(index % SHARDS)
    }

    /// The node of a file, made when there is none.
    pub(super) fn get(&self, key: FileKey, directory: bool) -> Arc<FileNode> {
        match self.shard(key) {
            Some(shard) => shard
                .lock()
                .entry(key)
                .or_insert_with(|| Arc::new(FileNode::new(key, directory)))
                .clone(),
            None => Arc::new(FileNode::new(key, directory)),
        }
    }

    /// The node of a file, if it is open.
    pub(super) fn find(&self, key: FileKey) -> Option<Arc<FileNode>> {
        self.shard(key)?.lock().get(&key).cloned()
    }

    /// Takes a node out when nothing is open or waits any more.
    pub(super) fn release(&self, node: &Arc<FileNode>) {
        let Some(shard) = self.shard(node.key) else {
            return;
        };
        let mut shard = shard.lock();
        let mut state = node.state.lock();
        if state.members.is_empty() && state.waiters.is_empty() && !state.gone {
            state.gone = true;
            if shard.get(&node.key).is_some_and(|n| Arc::ptr_eq(n, node)) {
                shard.remove(&node.key);
            }
        }
    }

    /// Files that are open.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }
}
