//! Files and folders.

use std::collections::{BTreeMap, HashMap};

use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::FileAttributes;

use super::names::{is_short, short_name_of};
use crate::backend::Result;
use crate::types::{Ea, FileKey, Metadata, Times};
use crate::wildcard::{fold_name, same_name};
use crate::{FsError, SmbPath};

/// The root's number.
pub(super) const ROOT: u64 = 1;
/// Bytes of an allocation unit.
pub(super) const UNIT: u64 = 4096;

/// All files.
pub(super) struct Tree {
    inodes: HashMap<u64, Inode>,
    next: u64,
}

/// Names in a folder, by their folded form; names that differ in case only
/// (made by exact opens) are told apart by their own.
#[derive(Debug, Default, Clone)]
pub(super) struct Entries {
    by_name: BTreeMap<(String, String), u64>,
}

impl Entries {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn find(&self, name: &str, exact: bool) -> Option<(&str, u64)> {
        if let Some((k, v)) = self
            .by_name
            .get_key_value(&(fold_name(name), name.to_owned()))
        {
            return Some((k.1.as_str(), *v));
        }
        if exact {
            return None;
        }
        let folded = fold_name(name);
        let by_long = self
            .by_name
            .range((folded.clone(), String::new())..)
            .next()
            .filter(|(k, _)| k.0 == folded);
        by_long
            .or_else(|| {
                // A short name.
                (is_short(name) && name.contains('~'))
                    .then(|| {
                        self.by_name
                            .iter()
                            .find(|(k, _)| short_name_of(&k.1) == folded)
                    })
                    .flatten()
            })
            .map(|(k, v)| (k.1.as_str(), *v))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&String, u64)> {
        self.by_name.iter().map(|(k, v)| (&k.1, *v))
    }
}

/// A named stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

/// A file or folder.
#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) entries: Option<Entries>,
    pub(super) parent: u64,
    pub(super) data: Vec<u8>,
    pub(super) allocated: u64,
    pub(super) streams: Vec<Stream>,
    pub(super) attributes: FileAttributes,
    pub(super) times: Times,
    pub(super) links: u32,
    pub(super) handles: u32,
    pub(super) eas: Vec<Ea>,
    pub(super) security: Option<Vec<u8>>,
    pub(super) reparse: Option<(u32, Vec<u8>)>,
    pub(super) properties: HashMap<String, Vec<u8>>,
}

impl Inode {
    pub(super) fn new(directory: bool, attributes: FileAttributes, now: FileTime) -> Self {
        Self {
            entries: directory.then(Entries::default),
            attributes: attributes - FileAttributes::NORMAL,
            times: Times {
                creation: now,
                last_access: now,
                last_write: now,
                change: now,
            },
            ..Self::default()
        }
    }

    pub(super) fn add_stream(&mut self, name: &str) {
        self.streams.push(Stream {
            name: name.to_owned(),
            data: Vec::new(),
        });
    }

    pub(super) fn data(&self, stream: Option<&str>) -> Option<&Vec<u8>> {
        match stream {
            None => Some(&self.data),
            Some(name) => self
                .streams
                .iter()
                .find(|s| same_name(&s.name, name))
                .map(|s| &s.data),
        }
    }

    pub(super) fn data_mut(&mut self, stream: Option<&str>) -> Option<&mut Vec<u8>> {
        match stream {
            None => Some(&mut self.data),
            Some(name) => self
                .streams
                .iter_mut()
                .find(|s| same_name(&s.name, name))
                .map(|s| &mut s.data),
        }
    }

    pub(super) fn rename_stream(&mut self, from: &str, to: &str, replace: bool) -> Result<()> {
        if !to.is_empty() && self.streams.iter().any(|s| same_name(&s.name, to)) {
            if same_name(from, to) {
                // Only its case changes.
            } else if replace {
                self.streams.retain(|s| !same_name(&s.name, to));
            } else {
                return Err(FsError::NameCollision);
            }
        }
        match (from, to) {
            ("", "") => {}
            ("", to) => {
                let data = core::mem::take(&mut self.data);
                self.streams.push(Stream {
                    name: to.to_owned(),
                    data,
                });
            }
            (from, to) => {
                let at = self
                    .streams
                    .iter()
                    .position(|s| same_name(&s.name, from))
                    .ok_or(FsError::NameNotFound)?;
                if to.is_empty() {
                    self.data = self.streams.remove(at).data;
                } else if let Some(s) = self.streams.get_mut(at) {
                    to.clone_into(&mut s.name);
                }
            }
        }
        Ok(())
    }

    pub(super) fn metadata(&self, volume: u64, ino: u64, stream: Option<&str>) -> Metadata {
        let length = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let size = if self.entries.is_some() && stream.is_none() {
            0
        } else {
            self.data(stream).map_or(0, |d| length(d.len()))
        };
        let allocation_size = if stream.is_none() {
            size.next_multiple_of(UNIT).max(self.allocated)
        } else {
            size.next_multiple_of(UNIT)
        };
        let ea_size = if self.eas.is_empty() {
            0
        } else {
            self.eas
                .iter()
                .fold(4usize, |n, e| n + 5 + e.name.len() + e.value.len())
        };
        Metadata {
            key: FileKey { volume, file: ino },
            times: self.times,
            attributes: self.attributes,
            end_of_file: size,
            allocation_size: if self.entries.is_some() && stream.is_none() {
                0
            } else {
                allocation_size
            },
            links: self.links.max(u32::from(ino == ROOT)),
            ea_size: u32::try_from(ea_size).unwrap_or(u32::MAX),
            reparse_tag: self.reparse.as_ref().map_or(0, |r| r.0),
            posix: None,
        }
    }
}

impl Tree {
    pub(super) fn new(now: FileTime) -> Self {
        let mut root = Inode::new(true, FileAttributes::DIRECTORY, now);
        root.links = 1;
        root.parent = ROOT;
        Self {
            inodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
        }
    }

    pub(super) fn get(&self, ino: u64) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(FsError::NotFound)
    }

    pub(super) fn get_mut(&mut self, ino: u64) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(FsError::NotFound)
    }

    /// The number of an existing path, whose case is right.
    pub(super) fn walk(&self, path: &SmbPath) -> Result<u64> {
        let mut at = ROOT;
        for name in path.components() {
            let entries = self
                .get(at)?
                .entries
                .as_ref()
                .ok_or(FsError::NotADirectory)?;
            at = entries.find(name, true).ok_or(FsError::NameNotFound)?.1;
        }
        Ok(at)
    }

    /// The folder that holds a path, and the last name.
    pub(super) fn parent_of(&self, path: &SmbPath) -> Result<(u64, String)> {
        let parent = path.parent().ok_or(FsError::AccessDenied)?;
        let name = path.file_name().ok_or(FsError::NameInvalid)?.to_owned();
        let ino = self.walk(&parent).map_err(|_| FsError::PathNotFound)?;
        Ok((ino, name))
    }

    pub(super) fn insert(&mut self, inode: Inode) -> u64 {
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, inode);
        ino
    }

    pub(super) fn link(&mut self, parent: u64, name: &str, ino: u64, now: FileTime) -> Result<()> {
        let folder = self.get_mut(parent)?;
        folder.times.last_write = now;
        folder.times.change = now;
        let entries = folder.entries.as_mut().ok_or(FsError::NotADirectory)?;
        entries
            .by_name
            .insert((fold_name(name), name.to_owned()), ino);
        let inode = self.get_mut(ino)?;
        inode.links += 1;
        inode.parent = parent;
        Ok(())
    }

    pub(super) fn unlink(&mut self, parent: u64, name: &str, now: FileTime) -> Result<()> {
        let folder = self.get_mut(parent)?;
        let entries = folder.entries.as_mut().ok_or(FsError::NotADirectory)?;
        let ino = entries
            .by_name
            .remove(&(fold_name(name), name.to_owned()))
            .ok_or(FsError::NameNotFound)?;
        folder.times.last_write = now;
        folder.times.change = now;
        let inode = self.get_mut(ino)?;
        inode.links = inode.links.saturating_sub(1);
        self.collect(ino);
        Ok(())
    }

    /// Forgets a file that has neither name nor handle.
    pub(super) fn collect(&mut self, ino: u64) {
        if ino != ROOT
            && self
                .inodes
                .get(&ino)
                .is_some_and(|i| i.links == 0 && i.handles == 0)
        {
            self.inodes.remove(&ino);
        }
    }

    pub(super) fn path_of(&self, file: u64) -> Result<SmbPath> {
        let mut names = Vec::new();
        let mut at = file;
        while at != ROOT {
            let inode = self.get(at)?;
            if inode.links == 0 {
                return Err(FsError::NotFound);
            }
            let parent = self.get(inode.parent)?;
            let name = parent
                .entries
                .as_ref()
                .and_then(|e| e.names().find(|(_, i)| *i == at).map(|(n, _)| n.clone()))
                .ok_or(FsError::NotFound)?;
            names.push(name);
            at = inode.parent;
        }
        names
            .iter()
            .rev()
            .try_fold(SmbPath::root(), |p, n| p.join(n))
    }
}
