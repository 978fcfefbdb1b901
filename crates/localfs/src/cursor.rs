//! Listing a folder.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use countersign_fs::backend::{DirCursor, Result};
use countersign_fs::{DirEntry, Metadata};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::errno::fs_error;
use crate::facts::metadata;
use crate::folders::is_special;
use crate::local::Shared;
use crate::names;
use crate::root::{file_type, join, stat_at, stat_fd};
use crate::xattrs::{Summary, Xattrs};

/// A position in a listing, kept by the kernel.
pub(crate) struct Cursor {
    shared: Arc<Shared>,
    dir: Dir,
    disk: Vec<u8>,
    dots: u8,
}

impl core::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cursor")
            .field("dots", &self.dots)
            .finish_non_exhaustive()
    }
}

impl Cursor {
    pub(crate) fn open(shared: &Arc<Shared>, dir: BorrowedFd<'_>, disk: &[u8]) -> Result<Self> {
        // An open of its own: the position must not be shared with other listings.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(dir, c".", flags, Mode::empty()).map_err(fs_error)?;
        let dir = Dir::new(own).map_err(fs_error)?;
        Ok(Self {
            shared: Arc::clone(shared),
            dir,
            disk: disk.to_vec(),
            dots: 0,
        })
    }

    fn dot(&self, name: &'static str) -> Result<Metadata> {
        let fd = self.dir.fd().map_err(fs_error)?;
        // Above the root nothing is shown.
        if name == ".." && !self.disk.is_empty() {
            let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
            let stat = rustix::fs::statx(fd, c"..", AtFlags::empty(), wanted).map_err(fs_error)?;
            return Ok(metadata(&stat, &Summary::default()));
        }
        let stat = stat_fd(fd).map_err(fs_error)?;
        Ok(metadata(
            &stat,
            &Xattrs::Fd(fd).summary().unwrap_or_default(),
        ))
    }

    /// Stat of an entry; `None` when it is gone or not for showing.
    fn entry(&self, name: &[u8]) -> Result<Option<Metadata>> {
        let fd = self.dir.fd().map_err(fs_error)?;
        let stat = match stat_at(fd, name) {
            Ok(s) => s,
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(None),
            Err(e) => return Err(fs_error(e)),
        };
        let kind = file_type(&stat);
        if is_special(kind) {
            return Ok(None);
        }
        if kind == FileType::Symlink {
            // A link shows what it leads to, when that lies in the share.
            let path = join(&self.disk, name);
            let Ok(target) = self.shared.root.at(&path, OFlags::PATH, Mode::empty()) else {
                return Ok(None);
            };
            let Ok(stat) = stat_fd(target.as_fd()) else {
                return Ok(None);
            };
            if is_special(file_type(&stat)) || file_type(&stat) == FileType::Symlink {
                return Ok(None);
            }
            let extra = Xattrs::of_path_fd(target.as_fd())
                .summary()
                .unwrap_or_default();
            return Ok(Some(metadata(&stat, &extra)));
        }
        let extra = Xattrs::of_name(fd, name).summary().unwrap_or_default();
        Ok(Some(metadata(&stat, &extra)))
    }
}

impl DirCursor for Cursor {
    fn next(
        &mut self,
        wanted: &mut dyn FnMut(&str, Option<&str>) -> bool,
    ) -> Result<Option<DirEntry>> {
        while self.dots < 2 {
            let name = if self.dots == 0 { "." } else { ".." };
            self.dots += 1;
            if wanted(name, None) {
                let metadata = self.dot(name)?;
                return Ok(Some(DirEntry {
                    name: name.to_owned(),
                    short_name: None,
                    metadata,
                }));
            }
        }
        while let Some(found) = self.dir.read() {
            let found = found.map_err(fs_error)?;
            let disk = found.file_name().to_bytes();
            if matches!(disk, b"." | b"..")
                || is_special(found.file_type())
                || names::is_reserved(disk)
            {
                continue;
            }
            let name = names::from_disk(disk);
            let short_name = if self.shared.options.short_names {
                names::short_name(&name)
            } else {
                None
            };
            if !wanted(&name, short_name.as_deref()) {
                continue;
            }
            if let Some(metadata) = self.entry(disk)? {
                return Ok(Some(DirEntry {
                    name,
                    short_name,
                    metadata,
                }));
            }
        }
        Ok(None)
    }
}
