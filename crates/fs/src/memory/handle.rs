//! An open file in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use countersign_wire::fscc::FileAttributes;
use parking_lot::Mutex;

use super::names::short_name_of;
use super::tree::{Inode, UNIT};
use super::{MAX_FILE, Shared};
use crate::FsError;
use crate::backend::{DirCursor, Handle, Result, SetTimes};
use crate::types::{DirEntry, Ea, Metadata, StreamFacts};

/// A handle: a file's number, and a stream's name.
pub(super) struct MemoryHandle {
    shared: Arc<Shared>,
    ino: u64,
    /// Follows renames of the stream.
    stream: Mutex<Option<String>>,
}

impl core::fmt::Debug for MemoryHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryHandle")
            .field("ino", &self.ino)
            .finish_non_exhaustive()
    }
}

impl MemoryHandle {
    pub(super) fn new(shared: Arc<Shared>, ino: u64, stream: Option<String>) -> Self {
        Self {
            shared,
            ino,
            stream: Mutex::new(stream),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&Inode, Option<&str>) -> Result<T>) -> Result<T> {
        let stream = self.stream.lock().clone();
        f(self.shared.tree.lock().get(self.ino)?, stream.as_deref())
    }

    /// Changes the file; its change time moves.
    fn change<T>(&self, f: impl FnOnce(&mut Inode, Option<&str>) -> Result<T>) -> Result<T> {
        let now = (self.shared.clock)();
        let stream = self.stream.lock().clone();
        let mut tree = self.shared.tree.lock();
        let inode = tree.get_mut(self.ino)?;
        let out = f(inode, stream.as_deref())?;
        inode.times.change = now;
        Ok(out)
    }

    /// Changes data; the write time moves as well.
    fn change_data<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> Result<T>) -> Result<T> {
        let now = (self.shared.clock)();
        self.change(|inode, stream| {
            let out = f(inode.data_mut(stream).ok_or(FsError::FileDeleted)?)?;
            inode.times.last_write = now;
            Ok(out)
        })
    }
}

impl Drop for MemoryHandle {
    fn drop(&mut self) {
        let mut tree = self.shared.tree.lock();
        if let Ok(inode) = tree.get_mut(self.ino) {
            inode.handles = inode.handles.saturating_sub(1);
        }
        tree.collect(self.ino);
    }
}

fn index(n: u64) -> Result<usize> {
    if n > MAX_FILE {
        return Err(FsError::DiskFull);
    }
    usize::try_from(n).map_err(|_| FsError::DiskFull)
}

impl Handle for MemoryHandle {
    fn metadata(&self) -> Result<Metadata> {
        self.with(|inode, stream| Ok(inode.metadata(self.shared.volume, self.ino, stream)))
    }

    fn read(&self, buffer: &mut Vec<u8>, offset: u64, length: u32) -> Result<usize> {
        self.with(|inode, stream| {
            if inode.entries.is_some() && stream.is_none() {
                return Err(FsError::IsADirectory);
            }
            let data = inode.data(stream).ok_or(FsError::FileDeleted)?;
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(data.len());
            let to = from
                .saturating_add(usize::try_from(length).unwrap_or(0))
                .min(data.len());
            let piece = data.get(from..to).unwrap_or_default();
            buffer.extend_from_slice(piece);
            Ok(piece.len())
        })
    }

    fn read_now(&self, buffer: &mut Vec<u8>, offset: u64, length: u32) -> Result<Option<usize>> {
        if self.shared.slow.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.read(buffer, offset, length).map(Some)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let from = index(offset)?;
        let to = from.checked_add(bytes.len()).ok_or(FsError::DiskFull)?;
        index(u64::try_from(to).unwrap_or(u64::MAX))?;
        self.change_data(|data| {
            if data.len() < to {
                data.resize(to, 0);
            }
            if let Some(place) = data.get_mut(from..to) {
                place.copy_from_slice(bytes);
            }
            Ok(())
        })
    }

    fn set_len(&self, size: u64) -> Result<()> {
        let size = index(size)?;
        self.change_data(|data| {
            data.resize(size, 0);
            Ok(())
        })?;
        self.change(|inode, stream| {
            if stream.is_none() {
                inode.allocated = 0;
            }
            Ok(())
        })
    }

    fn allocate(&self, size: u64) -> Result<()> {
        index(size)?;
        self.change(|inode, stream| {
            if stream.is_none() {
                inode.allocated = size.next_multiple_of(UNIT);
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn set_times(&self, times: &SetTimes) -> Result<()> {
        self.change(|_, _| Ok(()))?;
        let mut tree = self.shared.tree.lock();
        let t = &mut tree.get_mut(self.ino)?.times;
        t.creation = times.creation.unwrap_or(t.creation);
        t.last_access = times.last_access.unwrap_or(t.last_access);
        t.last_write = times.last_write.unwrap_or(t.last_write);
        t.change = times.change.unwrap_or(t.change);
        Ok(())
    }

    fn set_attributes(&self, attributes: FileAttributes) -> Result<()> {
        let kept =
            FileAttributes::DIRECTORY | FileAttributes::SPARSE_FILE | FileAttributes::REPARSE_POINT;
        self.change(|inode, _| {
            inode.attributes =
                (attributes - kept - FileAttributes::NORMAL) | (inode.attributes & kept);
            Ok(())
        })
    }

    fn set_sparse(&self, sparse: bool) -> Result<()> {
        self.change(|inode, _| {
            inode.attributes.set(FileAttributes::SPARSE_FILE, sparse);
            Ok(())
        })
    }

    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        self.change_data(|data| {
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(data.len());
            let to = usize::try_from(offset.saturating_add(length))
                .unwrap_or(usize::MAX)
                .min(data.len());
            if let Some(range) = data.get_mut(from..to) {
                range.fill(0);
            }
            Ok(())
        })
    }

    fn allocated(&self, offset: u64, length: u64) -> Result<Vec<(u64, u64)>> {
        self.with(|inode, stream| {
            let data = inode.data(stream).ok_or(FsError::FileDeleted)?;
            let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let end = offset.saturating_add(length).min(size);
            let sparse = inode.attributes.contains(FileAttributes::SPARSE_FILE);
            let mut out: Vec<(u64, u64)> = Vec::new();
            if offset >= end {
                return Ok(out);
            }
            if !sparse {
                return Ok(vec![(offset, end - offset)]);
            }
            // A unit that holds nothing but zeros is a hole.
            let unit = usize::try_from(UNIT).unwrap_or(4096);
            for (i, chunk) in data.chunks(unit).enumerate() {
                let at = u64::try_from(i).unwrap_or(u64::MAX).saturating_mul(UNIT);
                let (a, b) = (at.max(offset), (at + UNIT).min(end));
                if a >= b || chunk.iter().all(|&x| x == 0) {
                    continue;
                }
                match out.last_mut() {
                    Some((o, l)) if *o + *l == a => *l += b - a,
                    _ => out.push((a, b - a)),
                }
            }
            Ok(out)
        })
    }

    fn copy_from(
        &self,
        from: &dyn Handle,
        from_offset: u64,
        to_offset: u64,
        length: u64,
    ) -> Result<u64> {
        if !from.as_any().is::<MemoryHandle>() {
            return Err(FsError::NotSupported);
        }
        let length = u32::try_from(length).map_err(|_| FsError::NotSupported)?;
        let mut buffer = Vec::new();
        let n = from.read(&mut buffer, from_offset, length)?;
        self.write(&buffer, to_offset)?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    fn streams(&self) -> Result<Vec<StreamFacts>> {
        self.with(|inode, _| {
            let fact = |name: &str, n: usize| {
                let size = u64::try_from(n).unwrap_or(u64::MAX);
                StreamFacts {
                    name: name.to_owned(),
                    size,
                    allocation: size.next_multiple_of(UNIT),
                }
            };
            let mut out = Vec::new();
            if inode.entries.is_none() {
                out.push(fact("", inode.data.len()));
            }
            out.extend(inode.streams.iter().map(|s| fact(&s.name, s.data.len())));
            Ok(out)
        })
    }

    fn eas(&self) -> Result<Vec<Ea>> {
        self.with(|inode, _| Ok(inode.eas.clone()))
    }

    fn set_ea(&self, ea: &Ea) -> Result<()> {
        self.change(|inode, _| {
            let there = inode
                .eas
                .iter()
                .position(|e| e.name.eq_ignore_ascii_case(&ea.name));
            match (there, ea.value.is_empty()) {
                (Some(i), true) => {
                    inode.eas.remove(i);
                }
                (Some(i), false) => {
                    if let Some(e) = inode.eas.get_mut(i) {
                        *e = ea.clone();
                    }
                }
                (None, false) => inode.eas.push(ea.clone()),
                (None, true) => {}
            }
            Ok(())
        })
    }

    fn security(&self) -> Result<Option<Vec<u8>>> {
        self.with(|inode, _| Ok(inode.security.clone()))
    }

    fn set_security(&self, descriptor: &[u8]) -> Result<()> {
        self.change(|inode, _| {
            inode.security = Some(descriptor.to_vec());
            Ok(())
        })
    }

    fn reparse(&self) -> Result<Option<(u32, Vec<u8>)>> {
        self.with(|inode, _| Ok(inode.reparse.clone()))
    }

    fn set_reparse(&self, data: Option<(u32, &[u8])>) -> Result<()> {
        self.change(|inode, _| {
            inode
                .attributes
                .set(FileAttributes::REPARSE_POINT, data.is_some());
            inode.reparse = data.map(|(tag, bytes)| (tag, bytes.to_vec()));
            Ok(())
        })
    }

    fn property(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.with(|inode, _| Ok(inode.properties.get(name).cloned()))
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<()> {
        self.change(|inode, _| {
            inode.properties.insert(name.to_owned(), value.to_vec());
            Ok(())
        })
    }

    fn list(&self) -> Result<Box<dyn DirCursor>> {
        let tree = self.shared.tree.lock();
        let inode = tree.get(self.ino)?;
        let entries = inode.entries.as_ref().ok_or(FsError::NotADirectory)?;
        let mut names: VecDeque<(String, u64)> =
            VecDeque::from([(".".to_owned(), self.ino), ("..".to_owned(), inode.parent)]);
        names.extend(entries.names().map(|(n, i)| (n.clone(), i)));
        Ok(Box::new(MemoryCursor {
            shared: self.shared.clone(),
            names,
        }))
    }

    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

struct MemoryCursor {
    shared: Arc<Shared>,
    names: VecDeque<(String, u64)>,
}

impl core::fmt::Debug for MemoryCursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryCursor")
            .field("left", &self.names.len())
            .finish_non_exhaustive()
    }
}

impl DirCursor for MemoryCursor {
    fn next(
        &mut self,
        wanted: &mut dyn FnMut(&str, Option<&str>) -> bool,
    ) -> Result<Option<DirEntry>> {
        while let Some((name, ino)) = self.names.pop_front() {
            let short = short_name_of(&name);
            let short = (!short.eq_ignore_ascii_case(&name)).then_some(short);
            if !wanted(&name, short.as_deref()) {
                continue;
            }
            let tree = self.shared.tree.lock();
            if let Ok(inode) = tree.get(ino)
                && (inode.links > 0 || ino == super::tree::ROOT)
            {
                let metadata = inode.metadata(self.shared.volume, ino, None);
                return Ok(Some(DirEntry {
                    name,
                    short_name: short,
                    metadata,
                }));
            }
        }
        Ok(None)
    }
}
