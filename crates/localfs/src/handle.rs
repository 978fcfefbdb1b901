//! Open files, folders and streams.

use core::any::Any;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use countersign_fs::backend::{DirCursor, Handle, Result, SetTimes};
use countersign_fs::{Ea, FileKey, FsError, Metadata, StreamFacts};
use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::FileAttributes;
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, SeekFrom, Statx, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::{Errno, ReadWriteFlags};

use crate::cursor::Cursor;
use crate::depot::Depot;
use crate::dos::{DosInfo, settable};
use crate::errno::{ea_error, fs_error};
use crate::facts::{allocation, default_attributes, metadata};
use crate::local::Shared;
use crate::root::stat_fd;
use crate::xattrs::{self, Xattrs};

/// Distance of the probes that tell whether a range is in the page cache.
const PROBE: u64 = 128 * 1024;
/// Largest descriptor kept; the wire cannot carry larger ones in practice.
const MAX_SECURITY: usize = 64 * 1024;

/// An open file, folder or stream.
pub(crate) struct LocalHandle {
    pub(crate) shared: Arc<Shared>,
    /// The file itself.
    pub(crate) base: OwnedFd,
    /// `base` is open for its path only (no right to read it).
    pub(crate) path_only: bool,
    /// The stream, when one is open.
    pub(crate) stream: Option<OwnedFd>,
    pub(crate) directory: bool,
    pub(crate) key: FileKey,
    /// Path on disk at the time of the open; for resolving links in listings.
    pub(crate) disk: Vec<u8>,
}

impl core::fmt::Debug for LocalHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LocalHandle")
            .field("key", &self.key)
            .field("directory", &self.directory)
            .field("stream", &self.stream.is_some())
            .finish_non_exhaustive()
    }
}

impl LocalHandle {
    fn xattrs(&self) -> Xattrs<'_> {
        if self.path_only {
            Xattrs::of_path_fd(self.base.as_fd())
        } else {
            Xattrs::Fd(self.base.as_fd())
        }
    }

    /// The descriptor that holds the data.
    fn data(&self) -> Result<BorrowedFd<'_>> {
        match &self.stream {
            Some(s) => Ok(s.as_fd()),
            None if self.directory => Err(FsError::IsADirectory),
            None => Ok(self.base.as_fd()),
        }
    }

    fn stat(&self) -> Result<Statx> {
        stat_fd(self.base.as_fd()).map_err(fs_error)
    }

    fn depot(&self) -> Depot<'_> {
        self.shared.depot()
    }

    fn changed(&self) {
        self.shared.watches.we_changed(self.key);
    }

    fn dos(&self) -> Result<DosInfo> {
        let value = self
            .xattrs()
            .get(xattrs::DOS.as_bytes())
            .map_err(fs_error)?;
        Ok(value
            .as_deref()
            .and_then(DosInfo::decode)
            .unwrap_or_default())
    }

    fn sparse(&self) -> Result<bool> {
        let attributes = self.dos()?.attributes.unwrap_or_default();
        Ok(attributes.contains(FileAttributes::SPARSE_FILE))
    }

    fn store_dos(&self, info: &DosInfo) -> core::result::Result<(), Errno> {
        self.changed();
        if *info == DosInfo::default() {
            return self.xattrs().remove(xattrs::DOS.as_bytes());
        }
        self.xattrs().set(xattrs::DOS.as_bytes(), &info.encode())
    }

    fn chmod(&self, mode: u32) -> core::result::Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        if let Xattrs::Path { path, .. } = self.xattrs() {
            return rustix::fs::chmod(path.as_slice(), mode);
        }
        rustix::fs::fchmod(&self.base, mode)
    }
}

/// FILETIME as the host's time; zero and unset leave the time alone.
fn timespec(t: Option<FileTime>) -> Timespec {
    match t {
        Some(t) if t.0 != 0 => {
            let (tv_sec, nanos) = t.to_unix();
            Timespec {
                tv_sec,
                tv_nsec: nanos.into(),
            }
        }
        _ => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
    }
}

fn position(value: u64) -> Result<u64> {
    if i64::try_from(value).is_ok() {
        Ok(value)
    } else {
        Err(FsError::InvalidParameter)
    }
}

impl Handle for LocalHandle {
    fn metadata(&self) -> Result<Metadata> {
        let stat = self.stat()?;
        let mut out = metadata(&stat, &self.xattrs().summary().unwrap_or_default());
        if let Some(stream) = &self.stream {
            let s = stat_fd(stream.as_fd()).map_err(fs_error)?;
            out.end_of_file = s.stx_size;
            out.allocation_size =
                allocation(&s, out.attributes.contains(FileAttributes::SPARSE_FILE));
            out.attributes -= FileAttributes::DIRECTORY;
        }
        Ok(out)
    }

    fn read(&self, buffer: &mut Vec<u8>, offset: u64, length: u32) -> Result<usize> {
        let fd = self.data()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Ok(mut offset) = position(offset) else {
            return Ok(0);
        };
        buffer.reserve_exact(length);
        let start = buffer.len();
        while buffer.len() - start < length {
            let before = buffer.len();
            // The spare room may be larger than asked for: read into it only where it fits exactly.
            let want = length - (before - start);
            let got = if buffer.capacity() - before <= want.saturating_add(want / 8) {
                rustix::io::pread(fd, rustix::buffer::spare_capacity(buffer), offset)
            } else {
                read_exact_room(fd, buffer, offset, want)
            };
            match got {
                Ok(0) => break,
                Ok(n) => offset = offset.saturating_add(n.try_into().unwrap_or(0)),
                Err(Errno::INTR) => {}
                Err(e) => return Err(fs_error(e)),
            }
        }
        buffer.truncate(start.saturating_add(length));
        Ok(buffer.len() - start)
    }

    fn read_now(&self, buffer: &mut Vec<u8>, offset: u64, length: u32) -> Result<Option<usize>> {
        let fd = self.data()?;
        if length == 0 || position(offset).is_err() {
            return Ok(Some(0));
        }
        // One byte every PROBE bytes and the last: what is read ahead is read
        // ahead in larger pieces. A read into room that is not initialised
        // cannot say "only what is there", so the whole range is read after it.
        let last = offset.saturating_add(u64::from(length) - 1);
        let mut at = offset;
        loop {
            let mut byte = [0u8; 1];
            let mut room = [IoSliceMut::new(&mut byte)];
            match rustix::io::preadv2(fd, &mut room, at, ReadWriteFlags::NOWAIT) {
                // Behind the end: what lies before it was probed.
                Ok(0) if at == offset => return Ok(Some(0)),
                Ok(0) => break,
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(e) => return Err(fs_error(e)),
            }
            if at >= last {
                break;
            }
            at = at.saturating_add(PROBE).min(last);
        }
        self.read(buffer, offset, length).map(Some)
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<()> {
        let fd = self.data()?;
        let end = offset.checked_add(data.len().try_into().unwrap_or(u64::MAX));
        position(end.ok_or(FsError::InvalidParameter)?)?;
        self.changed();
        let (mut rest, mut at) = (data, offset);
        while !rest.is_empty() {
            match rustix::io::pwrite(fd, rest, at) {
                Ok(0) => return Err(FsError::DiskFull),
                Ok(n) => {
                    rest = rest.get(n..).unwrap_or_default();
                    at = at.saturating_add(n.try_into().unwrap_or(0));
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(fs_error(e)),
            }
        }
        Ok(())
    }

    fn set_len(&self, size: u64) -> Result<()> {
        self.changed();
        rustix::fs::ftruncate(self.data()?, position(size)?).map_err(fs_error)
    }

    fn allocate(&self, size: u64) -> Result<()> {
        let fd = self.data()?;
        let size = position(size)?;
        if size == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, 0, size) {
            // No promise can be given there; writes will tell.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(e) => Err(fs_error(e)),
        }
    }

    fn flush(&self) -> Result<()> {
        let sync = |fd: BorrowedFd<'_>, directory: bool| {
            if directory {
                rustix::fs::fsync(fd)
            } else {
                rustix::fs::fdatasync(fd)
            }
        };
        let result = match &self.stream {
            Some(s) => sync(s.as_fd(), false),
            None if self.path_only => Ok(()),
            None => sync(self.base.as_fd(), self.directory),
        };
        match result {
            // File systems that cannot sync a folder have nothing to sync.
            Err(Errno::INVAL) if self.directory => Ok(()),
            other => other.map_err(fs_error),
        }
    }

    fn set_times(&self, times: &SetTimes) -> Result<()> {
        self.changed();
        if times.last_access.is_some() || times.last_write.is_some() {
            let stamps = Timestamps {
                last_access: timespec(times.last_access),
                last_modification: timespec(times.last_write),
            };
            let result = match self.xattrs() {
                Xattrs::Path { path, .. } => rustix::fs::utimensat(
                    rustix::fs::CWD,
                    path.as_slice(),
                    &stamps,
                    AtFlags::empty(),
                ),
                Xattrs::Fd(fd) => rustix::fs::futimens(fd, &stamps),
            };
            result.map_err(fs_error)?;
        }
        if let Some(creation) = times.creation.filter(|t| t.0 != 0) {
            let mut info = self.dos()?;
            info.creation = Some(creation);
            match self.store_dos(&info) {
                // Nowhere to keep it: the host's time of birth stays.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(e) => return Err(fs_error(e)),
            }
        }
        if let Some(change) = times.change.filter(|t| t.0 != 0) {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
            let now = FileTime::from_unix(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0));
            let mut value = change.0.to_le_bytes().to_vec();
            value.extend_from_slice(&now.0.to_le_bytes());
            match self.xattrs().set(xattrs::CHANGE.as_bytes(), &value) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(e) => return Err(fs_error(e)),
            }
        }
        Ok(())
    }

    fn set_attributes(&self, attributes: FileAttributes) -> Result<()> {
        let stat = self.stat()?;
        let wanted = attributes & settable();
        let mut info = self.dos()?;
        let kept = info.attributes.unwrap_or_default() & FileAttributes::SPARSE_FILE;
        let all = wanted | kept;
        info.attributes = (all != default_attributes(&stat)).then_some(all);
        let mode = u32::from(stat.stx_mode);
        let readonly = wanted.contains(FileAttributes::READONLY);
        match self.store_dos(&info) {
            Ok(()) => {
                // A file that no one may write on the host stays so unless READONLY is taken off.
                if !readonly && !self.directory && mode & 0o222 == 0 {
                    self.chmod(mode | 0o200).map_err(fs_error)?;
                }
                Ok(())
            }
            Err(Errno::OPNOTSUPP) if self.directory => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                let mode = if readonly {
                    mode & !0o222
                } else {
                    mode | 0o200
                };
                self.chmod(mode).map_err(fs_error)
            }
            Err(e) => Err(fs_error(e)),
        }
    }

    fn set_sparse(&self, sparse: bool) -> Result<()> {
        let stat = self.stat()?;
        let mut info = self.dos()?;
        let mut attributes = info.attributes.unwrap_or_else(|| default_attributes(&stat));
        attributes.set(FileAttributes::SPARSE_FILE, sparse);
        info.attributes = (attributes != default_attributes(&stat)).then_some(attributes);
        match self.store_dos(&info) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(e) => Err(fs_error(e)),
        }
    }

    fn zero(&self, offset: u64, length: u64) -> Result<()> {
        let fd = self.data()?;
        let size = stat_fd(fd).map_err(fs_error)?.stx_size;
        // Zeroing never makes a file longer.
        let beyond = offset.saturating_add(length).min(size);
        if offset >= beyond {
            return Ok(());
        }
        self.changed();
        let length = beyond - offset;
        let ways: &[FallocateFlags] = if self.sparse()? {
            &[FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE]
        } else {
            &[FallocateFlags::ZERO_RANGE]
        };
        for &how in ways {
            match rustix::fs::fallocate(fd, how | FallocateFlags::KEEP_SIZE, offset, length) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                other => return other.map_err(fs_error),
            }
        }
        let zeros = vec![0u8; 64 * 1024];
        let mut at = offset;
        while at < beyond {
            let n = usize::try_from(beyond - at)
                .unwrap_or(usize::MAX)
                .min(zeros.len());
            self.write(zeros.get(..n).unwrap_or_default(), at)?;
            at = at.saturating_add(n.try_into().unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn allocated(&self, offset: u64, length: u64) -> Result<Vec<(u64, u64)>> {
        let fd = self.data()?;
        let size = stat_fd(fd).map_err(fs_error)?.stx_size;
        let end = offset.saturating_add(length).min(size);
        if offset >= end {
            return Ok(Vec::new());
        }
        // A file that is not sparse has all its space, [MS-FSCC] 2.3.54.
        if !self.sparse()? {
            return Ok(vec![(offset, end - offset)]);
        }
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
                Ok(d) if d < end => d,
                Ok(_) | Err(Errno::NXIO) => break,
                // No holes there.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(offset, end - offset)]),
                Err(e) => return Err(fs_error(e)),
            };
            let hole = rustix::fs::seek(fd, SeekFrom::Hole(data))
                .map_err(fs_error)?
                .min(end);
            if hole <= data || out.len() >= self.shared.options.limits.ranges {
                break;
            }
            out.push((data, hole - data));
            at = hole;
        }
        Ok(out)
    }

    fn copy_from(
        &self,
        from: &dyn Handle,
        from_offset: u64,
        to_offset: u64,
        length: u64,
    ) -> Result<u64> {
        let from = from
            .as_any()
            .downcast_ref::<Self>()
            .ok_or(FsError::NotSupported)?;
        let (source, target) = (from.data()?, self.data()?);
        let (mut at, mut to) = (position(from_offset)?, position(to_offset)?);
        position(
            to_offset
                .checked_add(length)
                .ok_or(FsError::InvalidParameter)?,
        )?;
        self.changed();
        let mut done = 0;
        while done < length {
            let want = usize::try_from(length - done)
                .unwrap_or(usize::MAX)
                .min(1 << 30);
            match rustix::fs::copy_file_range(source, Some(&mut at), target, Some(&mut to), want) {
                Ok(0) => break,
                Ok(n) => done = done.saturating_add(n.try_into().unwrap_or(0)),
                Err(Errno::INTR) => {}
                Err(Errno::INVAL | Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS) if done == 0 => {
                    return Err(FsError::NotSupported);
                }
                Err(e) => return Err(fs_error(e)),
            }
        }
        Ok(done)
    }

    fn streams(&self) -> Result<Vec<StreamFacts>> {
        let stat = self.stat()?;
        let mut out = Vec::new();
        if !self.directory {
            let allocation = allocation(&stat, false);
            out.push(StreamFacts {
                name: String::new(),
                size: stat.stx_size,
                allocation,
            });
        }
        out.extend(self.depot().list(&stat)?);
        Ok(out)
    }

    fn eas(&self) -> Result<Vec<Ea>> {
        self.xattrs().eas().map_err(fs_error)
    }

    fn set_ea(&self, ea: &Ea) -> Result<()> {
        self.changed();
        self.xattrs().set_ea(&ea.name, &ea.value).map_err(ea_error)
    }

    fn security(&self) -> Result<Option<Vec<u8>>> {
        self.xattrs()
            .get(xattrs::SECURITY.as_bytes())
            .map_err(fs_error)
    }

    fn set_security(&self, descriptor: &[u8]) -> Result<()> {
        if descriptor.len() > MAX_SECURITY {
            return Err(FsError::InvalidParameter);
        }
        self.changed();
        self.xattrs()
            .set(xattrs::SECURITY.as_bytes(), descriptor)
            .map_err(fs_error)
    }

    fn reparse(&self) -> Result<Option<(u32, Vec<u8>)>> {
        let value = self
            .xattrs()
            .get(xattrs::REPARSE.as_bytes())
            .map_err(fs_error)?;
        Ok(value
            .as_deref()
            .and_then(xattrs::split_reparse)
            .map(|(t, d)| (t, d.to_vec())))
    }

    fn set_reparse(&self, data: Option<(u32, &[u8])>) -> Result<()> {
        self.changed();
        let name = xattrs::REPARSE.as_bytes();
        let result = match data {
            Some((tag, data)) => {
                let mut value = tag.to_le_bytes().to_vec();
                value.extend_from_slice(data);
                self.xattrs().set(name, &value)
            }
            None => self.xattrs().remove(name),
        };
        result.map_err(fs_error)
    }

    fn property(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let name = format!("{}{name}", xattrs::PROPERTY);
        self.xattrs().get(name.as_bytes()).map_err(fs_error)
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<()> {
        self.changed();
        let name = format!("{}{name}", xattrs::PROPERTY);
        self.xattrs().set(name.as_bytes(), value).map_err(fs_error)
    }

    fn list(&self) -> Result<Box<dyn DirCursor>> {
        if !self.directory || self.stream.is_some() {
            return Err(FsError::NotADirectory);
        }
        Ok(Box::new(Cursor::open(
            &self.shared,
            self.base.as_fd(),
            &self.disk,
        )?))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads at most `want` bytes behind what `buffer` holds when its spare room is
/// much larger, by reading into a buffer of the right size.
fn read_exact_room(
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    offset: u64,
    want: usize,
) -> core::result::Result<usize, Errno> {
    let start = buffer.len();
    buffer.resize(start.saturating_add(want), 0);
    let got = rustix::io::pread(fd, buffer.get_mut(start..).unwrap_or_default(), offset);
    buffer.truncate(start.saturating_add(*got.as_ref().unwrap_or(&0)));
    got
}
