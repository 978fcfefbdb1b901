//! Extended attributes of the host: where DOS attributes, EAs, security
//! descriptors, reparse data and properties are kept.

use std::os::fd::{AsRawFd, BorrowedFd};

use countersign_fs::Ea;
use countersign_wire::dtyp::FileTime;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// DOS attributes and creation time, in Samba's form.
pub(crate) const DOS: &str = "user.DOSATTRIB";
/// Security descriptor, self-relative.
pub(crate) const SECURITY: &str = "user.countersign.sd";
/// Reparse tag (4 bytes, little-endian) and data.
pub(crate) const REPARSE: &str = "user.countersign.reparse";
/// A change time that a client set, and when it did so, each 8 bytes, little-endian.
pub(crate) const CHANGE: &str = "user.countersign.change";
/// Prefix of properties.
pub(crate) const PROPERTY: &str = "user.countersign.p.";

/// Attributes of the `user.` namespace that are ours or Samba's and no EA.
fn is_internal(name: &[u8]) -> bool {
    [
        b"user.countersign.".as_slice(),
        b"user.DOSATTRIB",
        b"user.SmbReserved",
        b"user.DosStream.",
    ]
    .iter()
    .any(|p| {
        name.get(..p.len())
            .is_some_and(|n| n.eq_ignore_ascii_case(p))
    })
}

/// Longest name of an EA, [MS-FSCC] 2.4.16 EaNameLength.
const MAX_EA_NAME: usize = 254;

/// How to reach the extended attributes of a file.
#[derive(Debug, Clone)]
pub(crate) enum Xattrs<'a> {
    /// A descriptor open for more than its path.
    Fd(BorrowedFd<'a>),
    /// A path below /proc/self/fd; the last component is not followed when it is a name.
    Path {
        /// The path.
        path: Vec<u8>,
        /// Last component may be followed (it is the descriptor itself).
        follow: bool,
    },
}

impl<'a> Xattrs<'a> {
    /// Of what an `O_PATH` descriptor stands for.
    pub(crate) fn of_path_fd(fd: BorrowedFd<'_>) -> Self {
        Self::Path {
            path: format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes(),
            follow: true,
        }
    }

    /// Of a name in a folder.
    pub(crate) fn of_name(dir: BorrowedFd<'_>, name: &[u8]) -> Self {
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        Self::Path {
            path,
            follow: false,
        }
    }

    fn get_into(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Self::Path { path, follow: true } => {
                rustix::fs::getxattr(path.as_slice(), name, buffer)
            }
            Self::Path { path, .. } => rustix::fs::lgetxattr(path.as_slice(), name, buffer),
        }
    }

    fn size(&self, name: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Fd(fd) => rustix::fs::fgetxattr_query(fd, name),
            Self::Path { path, follow: true } => rustix::fs::getxattr_query(path.as_slice(), name),
            Self::Path { path, .. } => rustix::fs::lgetxattr_query(path.as_slice(), name),
        }
    }

    /// Value of an attribute; `None` when there is none or the file system keeps none.
    pub(crate) fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut size = 512;
        for _ in 0..8 {
            let mut buffer = vec![0u8; size];
            match self.get_into(name, &mut buffer) {
                Ok(n) => {
                    buffer.truncate(n);
                    return Ok(Some(buffer));
                }
                Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
                Err(Errno::RANGE) => size = 65_536,
                Err(e) => return Err(e),
            }
        }
        Err(Errno::RANGE)
    }

    /// Names of all attributes, each ended by NUL.
    pub(crate) fn list(&self) -> Result<Vec<u8>, Errno> {
        let mut size = 1024;
        for _ in 0..3 {
            let mut buffer = vec![0u8; size];
            let got = match self {
                Self::Fd(fd) => rustix::fs::flistxattr(fd, &mut *buffer),
                Self::Path { path, follow: true } => {
                    rustix::fs::listxattr(path.as_slice(), &mut *buffer)
                }
                Self::Path { path, .. } => rustix::fs::llistxattr(path.as_slice(), &mut *buffer),
            };
            match got {
                Ok(n) => {
                    buffer.truncate(n);
                    return Ok(buffer);
                }
                Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Err(Errno::RANGE) => size = 65_536,
                Err(e) => return Err(e),
            }
        }
        Err(Errno::RANGE)
    }

    /// Sets an attribute.
    pub(crate) fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        match self {
            Self::Fd(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
            Self::Path { path, follow: true } => {
                rustix::fs::setxattr(path.as_slice(), name, value, flags)
            }
            Self::Path { path, .. } => rustix::fs::lsetxattr(path.as_slice(), name, value, flags),
        }
    }

    /// Removes an attribute; it is no error when there is none.
    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        let result = match self {
            Self::Fd(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Path { path, follow: true } => rustix::fs::removexattr(path.as_slice(), name),
            Self::Path { path, .. } => rustix::fs::lremovexattr(path.as_slice(), name),
        };
        match result {
            Err(Errno::NODATA) => Ok(()),
            other => other,
        }
    }

    /// What a stat tells of the attributes: one call for most files.
    pub(crate) fn summary(&self) -> Result<Summary, Errno> {
        let mut out = Summary::default();
        let list = self.list()?;
        for name in names(&list) {
            if name == DOS.as_bytes() {
                out.dos = self.get(name)?;
            } else if name == CHANGE.as_bytes() {
                out.change = self.get(name)?.as_deref().and_then(split_change);
            } else if name == REPARSE.as_bytes() {
                let data = self.get(name)?;
                out.reparse_tag = data
                    .as_deref()
                    .and_then(split_reparse)
                    .map_or(0, |(t, _)| t);
            } else if let Some(ea) = ea_name(name) {
                let size = self.size(name).unwrap_or(0);
                let size = u32::try_from(5 + ea.len() + size).unwrap_or(u32::MAX);
                out.ea_size = out.ea_size.max(4).saturating_add(size);
            }
        }
        Ok(out)
    }

    /// All EAs.
    pub(crate) fn eas(&self) -> Result<Vec<Ea>, Errno> {
        let list = self.list()?;
        let mut out = Vec::new();
        for name in names(&list) {
            if let Some(ea) = ea_name(name)
                && let Some(value) = self.get(name)?
            {
                out.push(Ea {
                    flags: 0,
                    name: ea.to_owned(),
                    value,
                });
            }
        }
        Ok(out)
    }

    /// Sets or (empty value) removes an EA; its name is found without regard to case.
    pub(crate) fn set_ea(&self, name: &str, value: &[u8]) -> Result<(), Errno> {
        let full = format!("user.{name}").into_bytes();
        let legal = |b: u8| b.is_ascii_graphic() && !b"\\/:*?\"<>|,+=[];".contains(&b);
        if name.is_empty()
            || name.len() > MAX_EA_NAME
            || !name.bytes().all(|b| b == b' ' || legal(b))
            || is_internal(&full)
        {
            return Err(Errno::INVAL);
        }
        let list = self.list()?;
        let existing = names(&list)
            .find(|n| n.eq_ignore_ascii_case(&full))
            .unwrap_or(&full);
        if value.is_empty() {
            self.remove(existing)
        } else {
            self.set(existing, value)
        }
    }
}

/// What a stat tells of the extended attributes.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Value of [`DOS`].
    pub(crate) dos: Option<Vec<u8>>,
    /// Size of the EAs, [MS-FSCC] 2.4.12 EaSize; 0 when there are none.
    pub(crate) ea_size: u32,
    /// Tag of [`REPARSE`], or 0.
    pub(crate) reparse_tag: u32,
    /// Value of [`CHANGE`].
    pub(crate) change: Option<(FileTime, FileTime)>,
}

/// The change time that was set, and when.
fn split_change(value: &[u8]) -> Option<(FileTime, FileTime)> {
    let (set, rest) = value.split_first_chunk::<8>()?;
    let at = rest.first_chunk::<8>()?;
    Some((
        FileTime(u64::from_le_bytes(*set)),
        FileTime(u64::from_le_bytes(*at)),
    ))
}

fn names(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|b| *b == 0).filter(|n| !n.is_empty())
}

/// The EA's name of an attribute that is one.
fn ea_name(name: &[u8]) -> Option<&str> {
    if is_internal(name) {
        return None;
    }
    let ea = core::str::from_utf8(name.strip_prefix(b"user.")?).ok()?;
    (ea.is_ascii() && ea.len() <= MAX_EA_NAME).then_some(ea)
}

/// Tag and data of a stored reparse point.
pub(crate) fn split_reparse(value: &[u8]) -> Option<(u32, &[u8])> {
    let (tag, data) = value.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*tag), data))
}
