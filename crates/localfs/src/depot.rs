//! Alternate data streams: files in a hidden folder at the share's root.
//!
//! The streams of a file lie in `.countersign/streams/<fan>/<inode>-<birth>/`.
//! The inode follows the file through renames and is shared by hard links; the
//! time of birth tells it from a later file with the same inode. Streams have
//! no limit of size, and go when the last link of the file is removed through
//! this backend. See decision 0010.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use countersign_fs::backend::Result;
use countersign_fs::{FsError, StreamFacts};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::errno::fs_error;
use crate::facts::allocation;
use crate::names;
use crate::root::{Root, stat_at};

/// The depot of a share.
pub(crate) struct Depot<'a> {
    pub(crate) root: &'a Root,
    pub(crate) max_streams: usize,
}

/// Fan and name of the folder for a file's streams; none where the host does not
/// know when a file was born.
fn place(base: &Statx) -> Option<(String, String)> {
    let known = StatxFlags::from_bits_retain(base.stx_mask).contains(StatxFlags::BTIME);
    let birth = base.stx_btime;
    (known && birth.tv_sec != 0).then(|| {
        let fan = format!("{:02x}", base.stx_ino & 0xFF);
        (
            fan,
            format!(
                "{:x}-{:x}.{:08x}",
                base.stx_ino, birth.tv_sec, birth.tv_nsec
            ),
        )
    })
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Depot<'_> {
    fn folder(&self, base: &Statx) -> Result<Option<OwnedFd>> {
        let Some((fan, own)) = place(base) else {
            return Ok(None);
        };
        let path = format!("{}/streams/{fan}/{own}", names::RESERVED);
        match self.root.at(path.as_bytes(), FOLDER, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(fs_error(e)),
        }
    }

    fn make_folder(&self, base: &Statx) -> Result<OwnedFd> {
        let (fan, own) = place(base).ok_or(FsError::NotSupported)?;
        let mut here: Option<OwnedFd> = None;
        for part in [names::RESERVED, "streams", &fan, &own] {
            let parent = here.as_ref().map_or(self.root.fd(), OwnedFd::as_fd);
            match rustix::fs::mkdirat(parent, part, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(fs_error(e)),
            }
            let next = rustix::fs::openat(parent, part, FOLDER | OFlags::NOFOLLOW, Mode::empty());
            here = Some(next.map_err(fs_error)?);
        }
        here.ok_or(FsError::Io)
    }

    /// Opens a stream, or makes it.
    pub(crate) fn open(
        &self,
        base: &Statx,
        name: &str,
        create: bool,
        write: bool,
    ) -> Result<OwnedFd> {
        let wanted = names::to_disk(name)?;
        let access = if write || create {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        if !create {
            let folder = self.folder(base)?.ok_or(FsError::NameNotFound)?;
            let real = find(folder.as_fd(), &wanted)?.ok_or(FsError::NameNotFound)?;
            return rustix::fs::openat(&folder, real.as_slice(), flags, Mode::empty())
                .map_err(fs_error);
        }
        let folder = self.make_folder(base)?;
        if find(folder.as_fd(), &wanted)?.is_some() {
            return Err(FsError::NameCollision);
        }
        if entries(folder.as_fd())?.len() >= self.max_streams {
            return Err(FsError::InsufficientResources);
        }
        let flags = flags | OFlags::CREATE | OFlags::EXCL;
        rustix::fs::openat(&folder, wanted.as_slice(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(fs_error)
    }

    /// The named streams of a file.
    pub(crate) fn list(&self, base: &Statx) -> Result<Vec<StreamFacts>> {
        let Some(folder) = self.folder(base)? else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        for name in entries(folder.as_fd())? {
            match stat_at(folder.as_fd(), &name) {
                Ok(s) => out.push(StreamFacts {
                    name: names::stream_from_disk(&name),
                    size: s.stx_size,
                    allocation: allocation(&s, false),
                }),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(fs_error(e)),
            }
        }
        Ok(out)
    }

    /// Removes a stream.
    pub(crate) fn remove(&self, base: &Statx, name: &str) -> Result<()> {
        let wanted = names::to_disk(name)?;
        let folder = self.folder(base)?.ok_or(FsError::NameNotFound)?;
        let real = find(folder.as_fd(), &wanted)?.ok_or(FsError::NameNotFound)?;
        rustix::fs::unlinkat(&folder, real.as_slice(), AtFlags::empty()).map_err(fs_error)?;
        drop(folder);
        self.drop_folder(base);
        Ok(())
    }

    /// Renames a stream.
    pub(crate) fn rename(&self, base: &Statx, from: &str, to: &str, replace: bool) -> Result<()> {
        let (from, to) = (names::to_disk(from)?, names::to_disk(to)?);
        let folder = self.folder(base)?.ok_or(FsError::NameNotFound)?;
        let from = find(folder.as_fd(), &from)?.ok_or(FsError::NameNotFound)?;
        let taken = find(folder.as_fd(), &to)?.filter(|t| *t != from);
        match taken {
            Some(_) if !replace => return Err(FsError::NameCollision),
            Some(old) => {
                rustix::fs::renameat(&folder, from.as_slice(), &folder, old.as_slice())
                    .map_err(fs_error)?;
                if old != to {
                    rustix::fs::renameat(&folder, old.as_slice(), &folder, to.as_slice())
                        .map_err(fs_error)?;
                }
            }
            None => {
                rustix::fs::renameat_with(
                    &folder,
                    from.as_slice(),
                    &folder,
                    to.as_slice(),
                    RenameFlags::empty(),
                )
                .map_err(fs_error)?;
            }
        }
        Ok(())
    }

    /// The file is gone: so are its streams.
    pub(crate) fn forget(&self, base: &Statx) {
        let Ok(Some(folder)) = self.folder(base) else {
            return;
        };
        for name in entries(folder.as_fd()).unwrap_or_default() {
            let _ = rustix::fs::unlinkat(&folder, name.as_slice(), AtFlags::empty());
        }
        drop(folder);
        self.drop_folder(base);
    }

    /// Removes a file's folder when it is empty.
    fn drop_folder(&self, base: &Statx) {
        let Some((fan, own)) = place(base) else {
            return;
        };
        let fan = format!("{}/streams/{fan}", names::RESERVED);
        if let Ok(fan) = self.root.at(fan.as_bytes(), FOLDER, Mode::empty()) {
            let _ = rustix::fs::unlinkat(&fan, own.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

fn entries(folder: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let mut dir = Dir::read_from(folder).map_err(fs_error)?;
    let mut out = Vec::new();
    while let Some(entry) = dir.read() {
        let entry = entry.map_err(fs_error)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            out.push(name.to_vec());
        }
    }
    out.sort();
    Ok(out)
}

/// The stream's name on disk, exact first, then without regard to case.
fn find(folder: BorrowedFd<'_>, wanted: &[u8]) -> Result<Option<Vec<u8>>> {
    match stat_at(folder, wanted) {
        Ok(_) => return Ok(Some(wanted.to_vec())),
        Err(Errno::NOENT) => {}
        Err(e) => return Err(fs_error(e)),
    }
    let folded = names::fold_asked(wanted);
    Ok(entries(folder)?
        .into_iter()
        .find(|n| names::fold_asked(n) == folded))
}
