//! The backend.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use countersign_fs::backend::{Backend, BackendOpen, Handle, Lookup, Result, Watch, WatchSink};
use countersign_fs::{FileKey, FsError, SmbPath, VolumeFacts};
use countersign_wire::dtyp::{FileTime, Guid};
use countersign_wire::fscc::FileAttributes;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Statx};
use rustix::io::Errno;

use crate::depot::Depot;
use crate::dos::{DosInfo, settable};
use crate::errno::fs_error;
use crate::facts::{default_attributes, metadata};
use crate::folders::{Edit, Folders, is_special, key_of};
use crate::handle::LocalHandle;
use crate::names;
use crate::options::LocalOptions;
use crate::resolve::{Place, Resolved};
use crate::root::{Root, file_type, join, stat_at, stat_fd};
use crate::watch::Watches;
use crate::xattrs::{self, Xattrs};

/// State shared by the backend, its handles, cursors and watches.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: Root,
    pub(crate) options: LocalOptions,
    pub(crate) folders: Folders,
    pub(crate) watches: Arc<Watches>,
    remembered: Mutex<Remembered>,
}

impl Shared {
    pub(crate) fn depot(&self) -> Depot<'_> {
        Depot {
            root: &self.root,
            max_streams: self.options.limits.streams,
        }
    }
}

/// Paths of files that were opened, by number; the oldest are forgotten.
#[derive(Debug, Default)]
struct Remembered {
    paths: HashMap<u64, SmbPath>,
    order: VecDeque<u64>,
}

impl Remembered {
    fn put(&mut self, file: u64, path: SmbPath, limit: usize) {
        if self.paths.insert(file, path).is_none() {
            self.order.push_back(file);
            while self.order.len() > limit {
                if let Some(old) = self.order.pop_front() {
                    self.paths.remove(&old);
                }
            }
        }
    }
}

/// A folder of the host's file system as a [`Backend`].
#[derive(Debug)]
pub struct LocalFs {
    shared: Arc<Shared>,
}

/// What the closures of `Folders::change` fail with: the host's error or our own.
enum Failed {
    Host(Errno),
    Own(FsError),
}

impl From<Errno> for Failed {
    fn from(e: Errno) -> Self {
        Self::Host(e)
    }
}

impl From<Failed> for FsError {
    fn from(e: Failed) -> Self {
        match e {
            Failed::Host(e) => fs_error(e),
            Failed::Own(e) => e,
        }
    }
}

impl LocalFs {
    /// Opens a folder as the root of a share.
    ///
    /// # Errors
    /// When it is not a folder or cannot be opened.
    pub fn open(root: &Path, options: LocalOptions) -> std::io::Result<Arc<Self>> {
        let limits = options.limits;
        let shared = Shared {
            root: Root::open(root, options.kernel_resolution)?,
            folders: Folders::new(limits.indexed_folders, limits.indexed_names),
            watches: Watches::new(limits.watched_folders),
            remembered: Mutex::default(),
            options,
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
        }))
    }

    /// How often a folder was read to index its names: what case-insensitive
    /// look-ups cost. For measurements.
    pub fn folder_reads(&self) -> u64 {
        self.shared
            .folders
            .reads
            .load(core::sync::atomic::Ordering::Relaxed)
    }

    fn handle(&self, base: OwnedFd, path_only: bool, disk: Vec<u8>) -> Result<LocalHandle> {
        let stat = stat_fd(base.as_fd()).map_err(fs_error)?;
        let kind = file_type(&stat);
        if is_special(kind) || kind == FileType::Symlink {
            return Err(FsError::AccessDenied);
        }
        Ok(LocalHandle {
            shared: Arc::clone(&self.shared),
            base,
            path_only,
            stream: None,
            directory: kind == FileType::Directory,
            key: key_of(&stat),
            disk,
        })
    }

    fn open_existing(&self, path: &SmbPath, how: &BackendOpen) -> Result<LocalHandle> {
        let mut disk = Vec::new();
        for c in path.components() {
            let part = names::to_disk(c)?;
            if names::is_reserved(&part) {
                return Err(FsError::NameNotFound);
            }
            disk = join(&disk, &part);
        }
        match self.open_disk(&disk, how) {
            Err(Errno::NOENT) => {
                let resolved = self.shared.resolve(path, false)?;
                if resolved.found.is_none() {
                    return Err(FsError::NameNotFound);
                }
                let (fd, path_only) = self.open_disk(&resolved.disk, how).map_err(fs_error)?;
                self.handle(fd, path_only, resolved.disk)
            }
            Ok((fd, path_only)) => self.handle(fd, path_only, disk),
            Err(e) => Err(fs_error(e)),
        }
    }

    fn open_disk(
        &self,
        disk: &[u8],
        how: &BackendOpen,
    ) -> core::result::Result<(OwnedFd, bool), Errno> {
        let base = OFlags::NONBLOCK;
        let at = |flags| self.shared.root.at(disk, flags, Mode::empty());
        let first = if how.write {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        match at(base | first) {
            Ok(fd) => Ok((fd, false)),
            Err(Errno::ISDIR) => Ok((at(OFlags::RDONLY | OFlags::DIRECTORY)?, false)),
            Err(Errno::ACCESS) if how.write && !how.read => Ok((at(base | OFlags::WRONLY)?, false)),
            // No device behind it, and a pipe without a reader.
            Err(Errno::NXIO | Errno::NODEV) => Err(Errno::ACCESS),
            // Attributes can be asked for without a right to the data.
            Err(Errno::ACCESS) if !how.write && !how.read => Ok((at(OFlags::PATH)?, true)),
            Err(e) => Err(e),
        }
    }

    fn create(&self, path: &SmbPath, how: &BackendOpen) -> Result<LocalHandle> {
        let place = self.shared.place(path)?;
        let Place { folder, name, .. } = &place;
        let options = &self.shared.options;
        let fd = self
            .shared
            .folders
            .change(folder.as_fd(), true, |edit: &mut Edit<'_>| {
                if edit.find(&names::fold_asked(name)).is_some() {
                    return Err(Failed::Own(FsError::NameCollision));
                }
                let folder_key = key_of(&stat_fd(folder.as_fd())?);
                self.shared.watches.we_name(folder_key, name);
                let fd = if how.directory {
                    rustix::fs::mkdirat(
                        folder,
                        name.as_slice(),
                        Mode::from_raw_mode(options.folder_mode),
                    )?;
                    let flags =
                        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::openat(folder, name.as_slice(), flags, Mode::empty())
                } else {
                    let flags = OFlags::RDWR
                        | OFlags::CREATE
                        | OFlags::EXCL
                        | OFlags::NOFOLLOW
                        | OFlags::NONBLOCK
                        | OFlags::CLOEXEC;
                    let mode = Mode::from_raw_mode(options.file_mode);
                    rustix::fs::openat(folder, name.as_slice(), flags, mode)
                };
                let fd = fd?;
                edit.added(name);
                Ok(fd)
            })?;
        let handle = self.handle(fd, false, join(&place.folder_disk, name))?;
        let stat = stat_fd(handle.base.as_fd()).map_err(fs_error)?;
        let wanted = how.attributes & settable();
        if wanted != default_attributes(&stat) {
            let info = DosInfo {
                attributes: Some(wanted),
                creation: None,
            };
            self.shared.watches.we_changed(handle.key);
            match Xattrs::Fd(handle.base.as_fd()).set(xattrs::DOS.as_bytes(), &info.encode()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => handle.set_attributes(wanted)?,
                Err(e) => tracing::debug!(%e, "attributes of a new file were not stored"),
            }
        }
        Ok(handle)
    }

    fn open_stream(&self, path: &SmbPath, name: &str, how: &BackendOpen) -> Result<LocalHandle> {
        let base_path = path.without_stream();
        let plain = BackendOpen::default();
        let mut handle = match self.open_existing(&base_path, &plain) {
            Err(FsError::NameNotFound) if how.create => {
                let new = BackendOpen {
                    create: true,
                    attributes: how.attributes | FileAttributes::ARCHIVE,
                    ..plain
                };
                match self.create(&base_path, &new) {
                    // Another made it meanwhile.
                    Err(FsError::NameCollision) => self.open_existing(&base_path, &plain)?,
                    other => other?,
                }
            }
            other => other?,
        };
        let stat = stat_fd(handle.base.as_fd()).map_err(fs_error)?;
        handle.stream = Some(
            self.shared
                .depot()
                .open(&stat, name, how.create, how.write)?,
        );
        Ok(handle)
    }

    fn base_stat(&self, path: &SmbPath) -> Result<Statx> {
        let found = self.shared.resolve(&path.without_stream(), false)?.found;
        stat_fd(found.ok_or(FsError::NameNotFound)?.as_fd()).map_err(fs_error)
    }

    fn remember(&self, file: u64, resolved: SmbPath) {
        let limit = self.shared.options.limits.remembered_files;
        self.shared.remembered.lock().put(file, resolved, limit);
    }

    /// The entry that `to` would collide with: by its name without regard to case.
    fn taken(&self, to: &Place) -> Result<Option<Vec<u8>>> {
        if stat_at(to.folder.as_fd(), &to.name).is_ok() {
            return Ok(Some(to.name.clone()));
        }
        let folded = names::fold_asked(&to.name);
        self.shared
            .folders
            .look(to.folder.as_fd(), |f| f.find(&folded))
            .map_err(fs_error)
    }

    /// Makes `source` appear at `to`, in the place of `taken` if there is one.
    fn put(
        &self,
        to: &Place,
        taken: Option<&[u8]>,
        rename_onto: impl FnOnce(BorrowedFd<'_>, &[u8], RenameFlags) -> core::result::Result<(), Errno>,
    ) -> core::result::Result<(), Errno> {
        let Some(taken) = taken else {
            return rename_onto(to.folder.as_fd(), &to.name, RenameFlags::NOREPLACE);
        };
        rename_onto(to.folder.as_fd(), taken, RenameFlags::empty())?;
        if taken != to.name.as_slice() {
            rustix::fs::renameat(&to.folder, taken, &to.folder, to.name.as_slice())?;
        }
        Ok(())
    }

    /// What a replaced file leaves behind when its last link goes.
    fn forget_replaced(&self, old: Option<&Statx>) {
        if let Some(old) = old.filter(|s| s.stx_nlink <= 1) {
            self.shared.depot().forget(old);
        }
    }

    /// Checks what `to` would replace. Gives its name and stat.
    fn replaceable(
        &self,
        to: &Place,
        itself: FileKey,
        same_name: bool,
        replace: bool,
    ) -> Result<Option<(Vec<u8>, Statx)>> {
        let Some(taken) = self.taken(to)? else {
            return Ok(None);
        };
        let stat = match stat_at(to.folder.as_fd(), &taken) {
            Ok(s) => s,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(fs_error(e)),
        };
        // The same entry under another case is no collision.
        if same_name && key_of(&stat) == itself {
            return Ok(None);
        }
        if !replace {
            return Err(FsError::NameCollision);
        }
        if file_type(&stat) == FileType::Directory {
            return Err(FsError::AccessDenied);
        }
        Ok(Some((taken, stat)))
    }
}

/// `renameat2`, and without it `renameat`: the caller looked before.
fn rename_at(
    from: BorrowedFd<'_>,
    old: &[u8],
    to: BorrowedFd<'_>,
    new: &[u8],
    flags: RenameFlags,
) -> core::result::Result<(), Errno> {
    match rustix::fs::renameat_with(from, old, to, new, flags) {
        Err(Errno::INVAL | Errno::NOSYS) if !flags.is_empty() => {
            if stat_at(to, new).is_ok() {
                return Err(Errno::EXIST);
            }
            rustix::fs::renameat(from, old, to, new)
        }
        other => other,
    }
}

impl Backend for LocalFs {
    fn lookup(&self, path: &SmbPath, exact: bool) -> Result<Lookup> {
        let resolved = self.shared.resolve(path, exact)?;
        let real = resolved.path()?;
        let real = match path.stream() {
            Some(s) => real.with_stream(s),
            None => real,
        };
        let Resolved {
            found: Some(fd), ..
        } = resolved
        else {
            return Ok(Lookup::Missing { real });
        };
        let stat = stat_fd(fd.as_fd()).map_err(fs_error)?;
        if is_special(file_type(&stat)) || file_type(&stat) == FileType::Symlink {
            return Err(FsError::AccessDenied);
        }
        let extra = Xattrs::of_path_fd(fd.as_fd()).summary().unwrap_or_default();
        Ok(Lookup::Found {
            real,
            metadata: Box::new(metadata(&stat, &extra)),
        })
    }

    fn open(&self, path: &SmbPath, how: &BackendOpen) -> Result<Arc<dyn Handle>> {
        if let Some(stream) = path.named_stream() {
            return Ok(Arc::new(self.open_stream(path, stream, how)?));
        }
        let handle = if how.create {
            self.create(path, how)?
        } else {
            self.open_existing(path, how)?
        };
        self.remember(handle.key.file, path.without_stream());
        Ok(Arc::new(handle))
    }

    fn path_of(&self, file: u64) -> Result<SmbPath> {
        let known = self.shared.remembered.lock().paths.get(&file).cloned();
        let path = known.ok_or(FsError::NotFound)?;
        match self.base_stat(&path) {
            Ok(stat) if stat.stx_ino == file => Ok(path),
            _ => Err(FsError::NotFound),
        }
    }

    fn remove(&self, path: &SmbPath) -> Result<()> {
        if let Some(stream) = path.named_stream() {
            return self.shared.depot().remove(&self.base_stat(path)?, stream);
        }
        let place = self.shared.place_of_existing(path)?;
        let folder = place.folder.as_fd();
        let stat = stat_at(folder, &place.name).map_err(fs_error)?;
        let directory = file_type(&stat) == FileType::Directory;
        if is_special(file_type(&stat)) {
            return Err(FsError::AccessDenied);
        }
        let flags = if directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        let folder_key = key_of(&stat_fd(folder).map_err(fs_error)?);
        self.shared
            .folders
            .change(folder, false, |edit| -> core::result::Result<(), Failed> {
                self.shared.watches.we_name(folder_key, &place.name);
                rustix::fs::unlinkat(folder, place.name.as_slice(), flags)?;
                edit.removed(&place.name);
                Ok(())
            })?;
        if directory || stat.stx_nlink <= 1 {
            self.shared.depot().forget(&stat);
        }
        Ok(())
    }

    fn rename(&self, from: &SmbPath, to: &SmbPath, replace: bool) -> Result<()> {
        if let Some(old) = from.named_stream() {
            // Only inside the same file.
            let new = to.named_stream().ok_or(FsError::NotSupported)?;
            let base = self.base_stat(from)?;
            if key_of(&self.base_stat(to)?) != key_of(&base) {
                return Err(FsError::NotSameDevice);
            }
            return self.shared.depot().rename(&base, old, new, replace);
        }
        let source = self.shared.place_of_existing(from)?;
        let target = self.shared.place(to)?;
        let stat = stat_at(source.folder.as_fd(), &source.name).map_err(fs_error)?;
        let from_key = key_of(&stat_fd(source.folder.as_fd()).map_err(fs_error)?);
        let to_key = key_of(&stat_fd(target.folder.as_fd()).map_err(fs_error)?);
        let same_folder = from_key == to_key;
        let same_name =
            same_folder && names::fold_asked(&source.name) == names::fold_asked(&target.name);
        if same_folder && source.name == target.name {
            return Ok(());
        }
        let replaced = self.replaceable(&target, key_of(&stat), same_name, replace)?;
        // Hard links to one file: rename(2) would do nothing; the old name must go.
        let linked = replaced
            .as_ref()
            .is_some_and(|(_, s)| key_of(s) == key_of(&stat));
        self.shared.watches.we_name(from_key, &source.name);
        self.shared.watches.we_name(to_key, &target.name);
        let taken = replaced.as_ref().map(|(n, _)| n.as_slice());
        let work = || -> core::result::Result<(), Failed> {
            self.put(&target, taken, |folder, name, flags| {
                rename_at(source.folder.as_fd(), &source.name, folder, name, flags)?;
                if linked {
                    rustix::fs::unlinkat(&source.folder, source.name.as_slice(), AtFlags::empty())?;
                }
                Ok(())
            })?;
            Ok(())
        };
        let arrived = |edit: &mut Edit<'_>| {
            if let Some(taken) = taken {
                edit.removed(taken);
            }
            edit.added(&target.name);
        };
        let folders = &self.shared.folders;
        // Two folders are locked in the order of their keys.
        let (first, second) = if from_key < to_key {
            (source.folder.as_fd(), target.folder.as_fd())
        } else {
            (target.folder.as_fd(), source.folder.as_fd())
        };
        folders.change(first, false, |a| {
            if same_folder {
                work()?;
                a.removed(&source.name);
                arrived(a);
                return Ok(());
            }
            folders.change(second, false, |b| {
                work()?;
                if from_key < to_key {
                    a.removed(&source.name);
                    arrived(b);
                } else {
                    b.removed(&source.name);
                    arrived(a);
                }
                Ok::<(), Failed>(())
            })
        })?;
        if !linked {
            self.forget_replaced(replaced.as_ref().map(|(_, s)| s));
        }
        self.remember(stat.stx_ino, to.without_stream());
        Ok(())
    }

    fn link(&self, from: &SmbPath, to: &SmbPath, replace: bool) -> Result<()> {
        if from.named_stream().is_some() || to.named_stream().is_some() {
            return Err(FsError::InvalidParameter);
        }
        let source = self.shared.place_of_existing(from)?;
        let target = self.shared.place(to)?;
        let stat = stat_at(source.folder.as_fd(), &source.name).map_err(fs_error)?;
        if file_type(&stat) == FileType::Directory {
            return Err(FsError::IsADirectory);
        }
        let replaced = self.replaceable(&target, FileKey::default(), false, replace)?;
        let to_key = key_of(&stat_fd(target.folder.as_fd()).map_err(fs_error)?);
        let folder = target.folder.as_fd();
        self.shared
            .folders
            .change(folder, false, |edit| -> core::result::Result<(), Failed> {
                self.shared.watches.we_name(to_key, &target.name);
                if let Some((taken, old)) = &replaced {
                    if key_of(old) != key_of(&stat) {
                        rustix::fs::unlinkat(folder, taken.as_slice(), AtFlags::empty())?;
                        edit.removed(taken);
                    } else if *taken == target.name {
                        return Ok(());
                    }
                }
                rustix::fs::linkat(
                    &source.folder,
                    source.name.as_slice(),
                    folder,
                    target.name.as_slice(),
                    AtFlags::empty(),
                )
                .map_err(|e| match e {
                    // The file system has no hard links.
                    Errno::PERM => Failed::Own(FsError::NotSupported),
                    e => Failed::Host(e),
                })?;
                edit.added(&target.name);
                Ok(())
            })?;
        self.forget_replaced(
            replaced
                .as_ref()
                .map(|(_, s)| s)
                .filter(|s| key_of(s) != key_of(&stat)),
        );
        Ok(())
    }

    fn short_name(&self, path: &SmbPath) -> Result<String> {
        if !self.shared.options.short_names {
            return Err(FsError::NameNotFound);
        }
        let name = path.file_name().ok_or(FsError::NameNotFound)?;
        Ok(names::short_name(name).unwrap_or_else(|| name.to_ascii_uppercase()))
    }

    fn is_empty(&self, path: &SmbPath) -> Result<bool> {
        let resolved = self.shared.resolve(&path.without_stream(), false)?;
        if resolved.found.is_none() {
            return Err(FsError::NameNotFound);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self
            .shared
            .root
            .at(&resolved.disk, flags, Mode::empty())
            .map_err(fs_error)?;
        let mut dir = Dir::new(fd).map_err(fs_error)?;
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(fs_error)?;
            let name = entry.file_name().to_bytes();
            let ours = resolved.disk.is_empty() && names::is_reserved(name);
            // Names that no client sees keep a folder from being removed all the same.
            if !matches!(name, b"." | b"..") && !ours {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn volume(&self) -> Result<VolumeFacts> {
        let root = self.shared.root.fd();
        let stat = stat_fd(root).map_err(fs_error)?;
        let v = rustix::fs::fstatvfs(root).map_err(fs_error)?;
        let unit = v.f_frsize.max(512);
        let sector = 512u64;
        let facts = metadata(&stat, &xattrs::Summary::default());
        let serial = key_of(&stat).volume ^ v.f_fsid;
        let mut object_id = [0u8; 16];
        let halves = v
            .f_fsid
            .to_le_bytes()
            .into_iter()
            .chain(key_of(&stat).volume.to_le_bytes());
        for (to, from) in object_id.iter_mut().zip(halves) {
            *to = from;
        }
        Ok(VolumeFacts {
            label: self.shared.options.label.clone(),
            serial: fold_serial(serial),
            creation: if facts.times.creation == FileTime::ZERO {
                facts.times.change
            } else {
                facts.times.creation
            },
            total_bytes: v.f_blocks.saturating_mul(unit),
            available_bytes: v.f_bavail.saturating_mul(unit),
            free_bytes: v.f_bfree.saturating_mul(unit),
            sector_size: 512,
            sectors_per_unit: u32::try_from(unit / sector).unwrap_or(8).max(1),
            attributes: VOLUME_ATTRIBUTES,
            max_component: 255,
            object_id: Guid(object_id),
        })
    }

    fn watch(
        &self,
        path: &SmbPath,
        recursive: bool,
        sink: Arc<dyn WatchSink>,
    ) -> Result<Box<dyn Watch>> {
        let resolved = self.shared.resolve(&path.without_stream(), false)?;
        if resolved.found.is_none() {
            return Err(FsError::NameNotFound);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self
            .shared
            .root
            .at(&resolved.disk, flags, Mode::empty())
            .map_err(fs_error)?;
        Watches::watch(&self.shared.watches, fd, recursive, sink)
    }
}

/// [MS-FSCC] 2.5.1: case-sensitive search, case preserved, Unicode, persistent
/// ACLs, sparse files, reparse points, object ids, named streams, hard links,
/// extended attributes, open by file id.
const VOLUME_ATTRIBUTES: u32 = 0x0000_0001
    | 0x0000_0002
    | 0x0000_0004
    | 0x0000_0008
    | 0x0000_0040
    | 0x0000_0080
    | 0x0001_0000
    | 0x0004_0000
    | 0x0040_0000
    | 0x0080_0000
    | 0x0100_0000;

#[allow(
    clippy::cast_possible_truncation,
    reason = "both halves are folded into one"
)]
fn fold_serial(v: u64) -> u32 {
    (v ^ (v >> 32)) as u32
}
