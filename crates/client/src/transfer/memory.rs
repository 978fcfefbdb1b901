//! A share in memory for the tests: with names compared without case, faults at
//! will, and counters of what is under way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use countersign_core::client::Payload;

use super::remote::{Entry, Kind, Remote, RemoteError, RemoteFile, Whole, WriteMode};
use crate::glob::folded;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
pub(super) enum MemoryError {
    NotFound,
    Exists,
    Folder,
    NotEmpty,
    Denied,
    Lost,
    /// Lost, and made again by the next call.
    Broken,
}

impl RemoteError for MemoryError {
    fn is_not_found(&self) -> bool {
        *self == MemoryError::NotFound
    }
    fn is_exists(&self) -> bool {
        *self == MemoryError::Exists
    }
    fn is_folder(&self) -> bool {
        *self == MemoryError::Folder
    }
    fn is_transient(&self) -> bool {
        *self == MemoryError::Broken
    }
    fn is_fatal(&self) -> bool {
        *self == MemoryError::Lost
    }
}

#[derive(Debug, Clone)]
struct Node {
    name: String,
    kind: Kind,
    data: Vec<u8>,
    modified: SystemTime,
}

#[derive(Debug, Default)]
struct Store {
    nodes: BTreeMap<String, Node>,
    denied: Vec<String>,
    /// Bytes until the connection is lost.
    bytes_left: Option<usize>,
    /// Most bytes that one write takes.
    takes: Option<usize>,
    /// Writes that break.
    breaks: usize,
    /// The write at 0 waits until so many others were made.
    first_waits: usize,
    /// Furthest beginning of a write before the one at 0 was done.
    ahead: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    store: Arc<Mutex<Store>>,
    pub(super) under_way: Arc<AtomicUsize>,
    pub(super) most_under_way: Arc<AtomicUsize>,
    pub(super) turns: Arc<AtomicUsize>,
}

#[derive(Debug, Clone)]
pub(super) struct MemoryFile {
    memory: Memory,
    key: String,
}

/// A call that is under way, until it is answered or dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) const T0: u64 = 1_700_000_000;

impl Memory {
    pub(super) fn file(&self, path: &str, data: &[u8]) {
        self.node(path, Kind::File, data);
    }

    pub(super) fn folder(&self, path: &str) {
        self.node(path, Kind::Folder, b"");
    }

    pub(super) fn node(&self, path: &str, kind: Kind, data: &[u8]) {
        let name = path.rsplit('\\').next().unwrap().to_owned();
        let node = Node {
            name,
            kind,
            data: data.to_vec(),
            modified: UNIX_EPOCH + Duration::from_secs(T0),
        };
        self.store.lock().unwrap().nodes.insert(folded(path), node);
    }

    pub(super) fn deny(&self, path: &str) {
        self.store.lock().unwrap().denied.push(folded(path));
    }

    pub(super) fn allow(&self, path: &str) {
        let path = folded(path);
        self.store.lock().unwrap().denied.retain(|one| *one != path);
    }

    pub(super) fn lose_after(&self, bytes: Option<usize>) {
        self.store.lock().unwrap().bytes_left = bytes;
    }

    pub(super) fn take(&self, bytes: Option<usize>) {
        self.store.lock().unwrap().takes = bytes;
    }

    pub(super) fn break_writes(&self, times: usize) {
        self.store.lock().unwrap().breaks = times;
    }

    /// Has the write at 0 wait for `turns` turns.
    pub(super) fn hold_first(&self, turns: usize) {
        self.store.lock().unwrap().first_waits = turns;
    }

    /// Furthest beginning of a write before the one at 0 was done.
    pub(super) fn ahead(&self) -> u64 {
        self.store.lock().unwrap().ahead
    }

    pub(super) fn get(&self, path: &str) -> Option<Vec<u8>> {
        let store = self.store.lock().unwrap();
        store.nodes.get(&folded(path)).map(|n| n.data.clone())
    }

    pub(super) fn modified(&self, path: &str) -> SystemTime {
        self.store.lock().unwrap().nodes[&folded(path)].modified
    }

    pub(super) fn age(&self, path: &str, seconds: u64) {
        let mut store = self.store.lock().unwrap();
        store.nodes.get_mut(&folded(path)).unwrap().modified =
            UNIX_EPOCH + Duration::from_secs(seconds);
    }

    async fn turn(&self, path: &str, bytes: usize) -> Result<(), MemoryError> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        self.turns.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(&self.under_way);
        tokio::task::yield_now().await;
        drop(under_way);
        let mut store = self.store.lock().unwrap();
        if let Some(left) = &mut store.bytes_left {
            if *left < bytes.max(1) {
                *left = 0;
                return Err(MemoryError::Lost);
            }
            *left -= bytes;
        }
        if store.denied.contains(&folded(path)) {
            return Err(MemoryError::Denied);
        }
        Ok(())
    }

    fn look(&self, path: &str) -> Result<Node, MemoryError> {
        if path.is_empty() {
            return Ok(Node {
                name: String::new(),
                kind: Kind::Folder,
                data: Vec::new(),
                modified: UNIX_EPOCH,
            });
        }
        let store = self.store.lock().unwrap();
        let node = store.nodes.get(&folded(path));
        node.cloned().ok_or(MemoryError::NotFound)
    }

    fn open(&self, path: &str, mode: WriteMode) -> Result<(), MemoryError> {
        if let Some((parent, _)) = path.rsplit_once('\\') {
            self.look(parent)?;
        }
        match (self.look(path), mode) {
            (Ok(node), _) if node.kind == Kind::Folder => return Err(MemoryError::Folder),
            (Ok(_), WriteMode::New) => return Err(MemoryError::Exists),
            (Ok(_), WriteMode::Keep) => {}
            _ => self.file(path, b""),
        }
        Ok(())
    }
}

fn entry(node: &Node) -> Entry {
    Entry {
        name: node.name.clone(),
        kind: node.kind,
        size: node.data.len() as u64,
        modified: Some(node.modified),
        attributes: countersign_wire::fscc::FileAttributes::empty(),
    }
}

impl Remote for Memory {
    type Error = MemoryError;
    type File = MemoryFile;

    fn read_size(&self) -> usize {
        1000
    }

    fn write_size(&self) -> usize {
        1000
    }

    async fn list(&self, path: &str) -> Result<Vec<Entry>, MemoryError> {
        self.turn(path, 0).await?;
        if self.look(path)?.kind != Kind::Folder {
            return Err(MemoryError::NotFound);
        }
        let key = folded(path);
        let store = self.store.lock().unwrap();
        let inside = |child: &str| {
            let parent = child.rsplit_once('\\').map_or("", |(parent, _)| parent);
            parent == key
        };
        let nodes = store.nodes.iter().filter(|(k, _)| inside(k));
        Ok(nodes.map(|(_, node)| entry(node)).collect())
    }

    async fn entry(&self, path: &str) -> Result<Entry, MemoryError> {
        self.turn(path, 0).await?;
        Ok(entry(&self.look(path)?))
    }

    async fn read_whole(&self, path: &str, limit: usize) -> Result<Whole, MemoryError> {
        let node = self.look(path);
        let bytes = node.as_ref().map_or(0, |node| node.data.len());
        self.turn(path, bytes.min(limit)).await?;
        let node = node?;
        Ok(match node.kind {
            Kind::Folder => Whole::Folder,
            _ if bytes > limit => Whole::Large(entry(&node)),
            _ => Whole::Data {
                data: node.data.clone().into(),
                modified: Some(node.modified),
            },
        })
    }

    async fn write_whole(
        &self,
        path: &str,
        data: Payload,
        modified: Option<SystemTime>,
        mode: WriteMode,
    ) -> Result<(), MemoryError> {
        assert!(data.len() <= self.whole_size());
        self.turn(path, data.len()).await?;
        self.open(path, mode)?;
        let mut store = self.store.lock().unwrap();
        let node = store.nodes.get_mut(&folded(path)).unwrap();
        node.data = data.data().to_vec();
        node.modified = modified.unwrap_or(node.modified);
        Ok(())
    }

    async fn open_read(&self, path: &str) -> Result<(MemoryFile, Entry), MemoryError> {
        self.turn(path, 0).await?;
        let node = self.look(path)?;
        Ok((
            MemoryFile {
                memory: self.clone(),
                key: folded(path),
            },
            entry(&node),
        ))
    }

    async fn open_write(
        &self,
        path: &str,
        mode: WriteMode,
    ) -> Result<(MemoryFile, u64), MemoryError> {
        self.turn(path, 0).await?;
        if mode == WriteMode::Replace {
            let _ = self.look(path).map(|_| self.file(path, b""));
        }
        self.open(path, mode)?;
        let length = self.look(path)?.data.len() as u64;
        Ok((
            MemoryFile {
                memory: self.clone(),
                key: folded(path),
            },
            length,
        ))
    }

    async fn create_folder(&self, path: &str) -> Result<(), MemoryError> {
        self.turn(path, 0).await?;
        if self.look(path).is_ok() {
            return Err(MemoryError::Exists);
        }
        if let Some((parent, _)) = path.rsplit_once('\\') {
            self.look(parent)?;
        }
        self.folder(path);
        Ok(())
    }

    async fn remove_file(&self, path: &str) -> Result<(), MemoryError> {
        self.turn(path, 0).await?;
        let mut store = self.store.lock().unwrap();
        let removed = store.nodes.remove(&folded(path));
        removed.map(|_| ()).ok_or(MemoryError::NotFound)
    }

    async fn remove_folder(&self, path: &str) -> Result<(), MemoryError> {
        if !self.list(path).await?.is_empty() {
            return Err(MemoryError::NotEmpty);
        }
        self.remove_file(path).await
    }
}

impl RemoteFile for MemoryFile {
    type Error = MemoryError;

    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, MemoryError> {
        assert!(length <= 1000);
        self.memory.turn(&self.key, length).await?;
        let store = self.memory.store.lock().unwrap();
        let data = &store.nodes[&self.key].data;
        let from = usize::try_from(offset).unwrap().min(data.len());
        let to = (from + length).min(data.len());
        Ok(Bytes::copy_from_slice(&data[from..to]))
    }

    async fn write_at(&self, offset: u64, bytes: Payload) -> Result<usize, MemoryError> {
        assert!(bytes.len() <= 1000);
        self.memory.turn(&self.key, bytes.len()).await?;
        if offset == 0 {
            while self.memory.store.lock().unwrap().first_waits > 0 {
                self.memory.store.lock().unwrap().first_waits -= 1;
                tokio::task::yield_now().await;
            }
        }
        let mut store = self.memory.store.lock().unwrap();
        if store.first_waits > 0 {
            store.ahead = store.ahead.max(offset);
        }
        if store.breaks > 0 {
            store.breaks -= 1;
            return Err(MemoryError::Broken);
        }
        let taken = bytes.len().min(store.takes.unwrap_or(usize::MAX));
        let data = &mut store.nodes.get_mut(&self.key).unwrap().data;
        let from = usize::try_from(offset).unwrap();
        let to = from + taken;
        if data.len() < to {
            data.resize(to, 0);
        }
        data[from..to].copy_from_slice(&bytes.data()[..taken]);
        Ok(taken)
    }

    async fn set_length(&self, length: u64) -> Result<(), MemoryError> {
        let mut store = self.memory.store.lock().unwrap();
        let data = &mut store.nodes.get_mut(&self.key).unwrap().data;
        data.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    async fn set_modified(&self, time: SystemTime) -> Result<(), MemoryError> {
        let mut store = self.memory.store.lock().unwrap();
        store.nodes.get_mut(&self.key).unwrap().modified = time;
        Ok(())
    }

    async fn close(&self) -> Result<(), MemoryError> {
        Ok(())
    }
}
