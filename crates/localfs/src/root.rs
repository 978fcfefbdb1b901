//! Opening beneath the root of a share and nowhere else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

/// How often a resolution is tried again when the host renames under it.
const RETRIES: u32 = 64;

/// The root folder of a share, as a descriptor.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    /// Let the kernel keep resolution beneath the root; else component by
    /// component without following any link.
    kernel: bool,
}

impl Root {
    pub(crate) fn open(path: &Path, allow_openat2: bool) -> Result<Self, Errno> {
        let fd = rustix::fs::openat(
            CWD,
            path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut root = Self {
            fd,
            kernel: allow_openat2,
        };
        if root.kernel {
            match root.at(b"", OFlags::PATH, Mode::empty()) {
                Ok(_) => {}
                Err(Errno::NOSYS | Errno::PERM) => {
                    root.kernel = false;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(root)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens a path relative to the root, given as bytes with `/` between
    /// components. Links are followed as long as they stay beneath the root;
    /// one that leads out is `ACCESS`.
    pub(crate) fn at(&self, disk: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        // openat2 takes O_PATH with few others.
        let terminal = if flags.contains(OFlags::PATH) {
            OFlags::empty()
        } else {
            OFlags::NOCTTY
        };
        let flags = flags | OFlags::CLOEXEC | terminal;
        let disk = if disk.is_empty() {
            b".".as_slice()
        } else {
            disk
        };
        if !self.kernel {
            return self.step_by_step(disk, flags, mode);
        }
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..RETRIES {
            match rustix::fs::openat2(&self.fd, disk, flags, mode, how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::XDEV | Errno::LOOP) => return Err(Errno::ACCESS),
                other => return other,
            }
        }
        Err(Errno::BUSY)
    }

    fn step_by_step(&self, disk: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let mut parts = disk
            .split(|b| *b == b'/')
            .filter(|p| !p.is_empty())
            .peekable();
        let mut held: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            if part == b".." {
                return Err(Errno::ACCESS);
            }
            let here = held.as_ref().map_or(self.fd.as_fd(), OwnedFd::as_fd);
            if parts.peek().is_none() {
                let last = rustix::fs::openat(here, part, flags | OFlags::NOFOLLOW, mode);
                return last.map_err(|e| if e == Errno::LOOP { Errno::ACCESS } else { e });
            }
            let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            held = Some(rustix::fs::openat(here, part, step, Mode::empty())?);
        }
        Err(Errno::INVAL)
    }
}

/// Stat of what a descriptor is open on.
pub(crate) fn stat_fd(fd: BorrowedFd<'_>) -> Result<Statx, Errno> {
    rustix::fs::statx(
        fd,
        c"",
        AtFlags::EMPTY_PATH,
        StatxFlags::BASIC_STATS | StatxFlags::BTIME,
    )
}

/// Stat of a name in a folder, not following a link.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Statx, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(
        dir,
        name,
        AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
        wanted,
    )
}

/// Type of what was stat'ed.
pub(crate) fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(u32::from(stat.stx_mode))
}

/// `a/b` from `a` and `b`.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(dir.len() + name.len() + 1);
    out.extend_from_slice(dir);
    if !dir.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(name);
    out
}
