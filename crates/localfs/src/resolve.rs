//! From a client's path to a path on disk.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use countersign_fs::backend::Result;
use countersign_fs::{FsError, SmbPath};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::errno::fs_error;
use crate::local::Shared;
use crate::names;
use crate::root::{file_type, join, stat_at};

/// Where a path leads.
pub(crate) struct Resolved {
    /// Names on disk, `/` between them; empty for the root.
    pub(crate) disk: Vec<u8>,
    /// Names as shown to clients.
    pub(crate) shown: Vec<String>,
    /// What is there, opened for its path; `None` when the last component is missing.
    pub(crate) found: Option<OwnedFd>,
}

/// A folder and a name in it.
pub(crate) struct Place {
    /// The folder, opened for its path.
    pub(crate) folder: OwnedFd,
    /// Its path on disk.
    pub(crate) folder_disk: Vec<u8>,
    /// The name.
    pub(crate) name: Vec<u8>,
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

impl Shared {
    fn path_fd(&self, disk: &[u8]) -> core::result::Result<OwnedFd, Errno> {
        self.root.at(disk, OFlags::PATH, Mode::empty())
    }

    /// Resolves a path; case counts only with `exact`.
    pub(crate) fn resolve(&self, path: &SmbPath, exact: bool) -> Result<Resolved> {
        let mut parts = Vec::with_capacity(path.components().len());
        for c in path.components() {
            parts.push(names::to_disk(c)?);
        }
        if let Some(at) = parts.iter().position(|p| names::is_reserved(p)) {
            if at + 1 < parts.len() {
                return Err(FsError::PathNotFound);
            }
            let (name, parents) = parts.split_last().ok_or(FsError::NameInvalid)?;
            let mut resolved = self.folder(parents, exact)?;
            resolved.push(name);
            resolved.found = None;
            return Ok(resolved);
        }
        // Most paths come with their case.
        let disk = parts.join(&b'/');
        match self.path_fd(&disk) {
            Ok(fd) => {
                let shown = parts.iter().map(|p| names::from_disk(p)).collect();
                return Ok(Resolved {
                    disk,
                    shown,
                    found: Some(fd),
                });
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(fs_error(e)),
        }
        let (name, parents) = parts.split_last().ok_or(FsError::NameInvalid)?;
        let folder = self.folder(parents, exact)?;
        let fd = folder.found.as_ref().ok_or(FsError::PathNotFound)?.as_fd();
        self.step(&folder, fd, name, exact)
    }

    /// Resolves what must be a folder.
    fn folder(&self, parts: &[Vec<u8>], exact: bool) -> Result<Resolved> {
        let disk = parts.join(&b'/');
        match self.root.at(&disk, FOLDER, Mode::empty()) {
            Ok(fd) => {
                let shown = parts.iter().map(|p| names::from_disk(p)).collect();
                return Ok(Resolved {
                    disk,
                    shown,
                    found: Some(fd),
                });
            }
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(fs_error(e)),
        }
        let root = self.root.at(b"", FOLDER, Mode::empty()).map_err(fs_error)?;
        let mut here = Resolved {
            disk: Vec::new(),
            shown: Vec::new(),
            found: Some(root),
        };
        for part in parts {
            let Some(fd) = here.found.take() else {
                return Err(FsError::PathNotFound);
            };
            here = self.step(&here, fd.as_fd(), part, exact)?;
            let Some(found) = &here.found else {
                return Err(FsError::PathNotFound);
            };
            let stat = crate::root::stat_fd(found.as_fd()).map_err(fs_error)?;
            match file_type(&stat) {
                FileType::Directory => {}
                FileType::Symlink => return Err(FsError::AccessDenied),
                _ => return Err(FsError::NotADirectory),
            }
        }
        Ok(here)
    }

    /// One component in a folder: exactly, by folded name, by short name.
    fn step(
        &self,
        folder: &Resolved,
        fd: BorrowedFd<'_>,
        name: &[u8],
        exact: bool,
    ) -> Result<Resolved> {
        let mut out = Resolved {
            disk: folder.disk.clone(),
            shown: folder.shown.clone(),
            found: None,
        };
        let try_name = |name: &[u8]| match self.path_fd(&join(&folder.disk, name)) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => match stat_at(fd, name) {
                // It is there, but leads nowhere.
                Ok(s) if file_type(&s) == FileType::Symlink => Err(FsError::AccessDenied),
                _ => Ok(None),
            },
            Err(e) => Err(fs_error(e)),
        };
        if let Some(found) = try_name(name)? {
            out.push(name);
            out.found = Some(found);
            return Ok(out);
        }
        if exact {
            out.push(name);
            return Ok(out);
        }
        let shown = names::from_disk(name);
        let folded = names::fold(&shown);
        let short = self.options.short_names && names::looks_made(&shown);
        let real = self
            .folders
            .look(fd, |f| {
                f.find(&folded)
                    .or_else(|| if short { f.find_short(&shown) } else { None })
            })
            .map_err(|e| {
                if e == Errno::NOTDIR {
                    FsError::NotADirectory
                } else {
                    fs_error(e)
                }
            })?;
        if let Some(real) = real
            && let Some(found) = try_name(&real)?
        {
            out.push(&real);
            out.found = Some(found);
            return Ok(out);
        }
        out.push(name);
        Ok(out)
    }

    /// The folder of a path's last component, and that component on disk: what
    /// exists when it does, else as asked.
    pub(crate) fn place(&self, path: &SmbPath) -> Result<Place> {
        let mut parts = Vec::with_capacity(path.components().len());
        for c in path.components() {
            parts.push(names::to_disk(c)?);
        }
        if parts.iter().any(|p| names::is_reserved(p)) {
            return Err(FsError::AccessDenied);
        }
        let (name, parents) = parts.split_last().ok_or(FsError::AccessDenied)?;
        let folder = self.folder(parents, false)?;
        let fd = folder.found.ok_or(FsError::PathNotFound)?;
        Ok(Place {
            folder: fd,
            folder_disk: folder.disk,
            name: name.clone(),
        })
    }

    /// As [`Shared::place`], of something that exists: its name is the one on disk.
    pub(crate) fn place_of_existing(&self, path: &SmbPath) -> Result<Place> {
        let mut place = self.place(path)?;
        match stat_at(place.folder.as_fd(), &place.name) {
            Ok(_) => Ok(place),
            Err(Errno::NOENT) => {
                let folded = names::fold_asked(&place.name);
                let real = self
                    .folders
                    .look(place.folder.as_fd(), |f| f.find(&folded))
                    .map_err(fs_error)?;
                place.name = real.ok_or(FsError::NameNotFound)?;
                Ok(place)
            }
            Err(e) => Err(fs_error(e)),
        }
    }
}

impl Resolved {
    fn push(&mut self, name: &[u8]) {
        self.disk = join(&self.disk, name);
        self.shown.push(names::from_disk(name));
    }

    /// The path in the form clients use.
    ///
    /// # Errors
    /// `NameTooLong` for a name that grew behind the limit when shown.
    pub(crate) fn path(&self) -> Result<SmbPath> {
        self.shown
            .iter()
            .try_fold(SmbPath::root(), |p, c| p.join(c))
    }
}
