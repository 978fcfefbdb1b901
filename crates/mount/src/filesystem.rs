//! The requests of the kernel. Each is worked on in a task of its own.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use countersign_client::transfer::MAX_ENTRIES;
use countersign_client::{FileTimes, Metadata, OpenOptions, Payload};
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tokio::runtime::Handle;

use countersign_client::Share;

use crate::MountOptions;
use crate::attributes::{file_time, kind};
use crate::files::Listing;
use crate::nodes::ROOT;
use crate::work::{Answer, Inner, Wanted, of_open, said};

/// Numbers are not used again.
const GENERATION: Generation = Generation(0);
/// Requests of the kernel that may wait at once.
const BACKGROUND: u16 = 64;
/// O_EXCL, O_TRUNC and O_APPEND of Linux, and the kind of a node that is a file.
const O_EXCL: i32 = 0o200;
const O_TRUNC: i32 = 0o1000;
const O_APPEND: i32 = 0o2000;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// A share as a file system.
#[derive(Debug)]
pub(crate) struct RemoteFilesystem {
    inner: Arc<Inner>,
    runtime: Handle,
}

/// A reply that can say what went wrong.
trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => {
        $(impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        })*
    };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyEmpty,
    ReplyEntry,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite
);

impl RemoteFilesystem {
    pub(crate) fn new(share: Share, root: &str, options: MountOptions, runtime: Handle) -> Self {
        RemoteFilesystem {
            inner: Arc::new(Inner::new(share, root, options)),
            runtime,
        }
    }

    /// Works on a request in a task; `reply` says what came of it.
    fn work<R, T, F>(
        &self,
        reply: R,
        work: impl FnOnce(Arc<Inner>) -> F,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        R: Refuse,
        T: Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let future = work(Arc::clone(&self.inner));
        self.runtime.spawn(async move {
            match future.await {
                Ok(done) => answer(reply, done),
                Err(errno) => reply.refuse(errno),
            }
        });
    }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Filesystem for RemoteFilesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What an older kernel does not have is done without.
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_BIG_WRITES,
            InitFlags::FUSE_MAX_PAGES,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.set_max_readahead(1 << 20);
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = self.inner.child(parent, name);
        self.work(
            reply,
            |inner| async move {
                let path = path.map_err(|errno| match errno {
                    // A name that no share can have is not there.
                    errno if errno.code() == Errno::EINVAL.code() => Errno::ENOENT,
                    other => other,
                })?;
                let metadata = inner.stat(&path).await?;
                let ino = inner.nodes.lock().tell(&path);
                Ok((inner.attributes(ino, &metadata), inner.timeout()))
            },
            |reply, (attributes, timeout)| reply.entry(&timeout, &attributes, GENERATION),
        );
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        self.inner.nodes.lock().forget(ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.work(
            reply,
            move |inner| async move {
                let metadata = inner.look(ino).await?;
                Ok((inner.attributes(ino.0, &metadata), inner.timeout()))
            },
            |reply, (attributes, timeout)| reply.attr(&timeout, &attributes),
        );
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let wanted = Wanted {
            mode,
            uid,
            gid,
            size,
            times: (atime.is_some() || mtime.is_some()).then(|| FileTimes {
                accessed: atime.map(|time| file_time(moment(time))),
                modified: mtime.map(|time| file_time(moment(time))),
                ..FileTimes::default()
            }),
        };
        self.work(
            reply,
            move |inner| async move {
                let metadata = inner
                    .set(ino, handle.map(|handle| handle.0), wanted)
                    .await?;
                Ok((inner.attributes(ino.0, &metadata), inner.timeout()))
            },
            |reply, (attributes, timeout)| reply.attr(&timeout, &attributes),
        );
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let path = self.inner.path(ino);
        self.work(
            reply,
            |inner| async move { inner.share.read_link(&path?).await.map_err(said) },
            |reply, target| reply.data(target.replace('\\', "/").as_bytes()),
        );
    }

    fn mknod(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let path = self.inner.child(parent, name);
        self.work(
            reply,
            move |inner| async move {
                inner.writable()?;
                // Devices, sockets and pipes are nothing a share can hold.
                if mode & S_IFMT != S_IFREG {
                    return Err(Errno::EPERM);
                }
                let path = path?;
                let create = OpenOptions::new().write(true).create_new(true);
                let create = create.durable(false);
                let file = create.open(&inner.share, &path).await.map_err(said)?;
                file.close().await.map_err(said)?;
                inner.told(&path).await
            },
            |reply, (attributes, timeout)| reply.entry(&timeout, &attributes, GENERATION),
        );
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let (from, to) = (self.inner.path(ino), self.inner.child(newparent, newname));
        self.work(
            reply,
            |inner| async move {
                inner.writable()?;
                let (from, to) = (from?, to?);
                let linked = inner.share.hard_link(&from, &to).await;
                linked.map_err(|error| match error.kind() {
                    // As link(2) has it for file systems without hard links.
                    countersign_client::ErrorKind::Unsupported => Errno::EPERM,
                    _ => said(error),
                })?;
                inner.told(&to).await
            },
            |reply, (attributes, timeout)| reply.entry(&timeout, &attributes, GENERATION),
        );
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let path = self.inner.child(parent, name);
        self.work(
            reply,
            |inner| async move {
                inner.writable()?;
                let path = path?;
                inner.share.create_dir(&path).await.map_err(said)?;
                inner.told(&path).await
            },
            |reply, (attributes, timeout)| reply.entry(&timeout, &attributes, GENERATION),
        );
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.inner.child(parent, name);
        self.work(
            reply,
            |inner| async move {
                inner.writable()?;
                inner.unlink(&path?).await
            },
            |reply, ()| reply.ok(),
        );
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.inner.child(parent, name);
        self.work(
            reply,
            |inner| async move {
                inner.writable()?;
                let path = path?;
                inner.share.remove_dir(&path).await.map_err(said)?;
                inner.nodes.lock().removed(&path);
                Ok(())
            },
            |reply, ()| reply.ok(),
        );
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (
            self.inner.child(parent, name),
            self.inner.child(newparent, newname),
        );
        self.work(
            reply,
            move |inner| async move {
                inner.writable()?;
                if flags.contains(RenameFlags::RENAME_EXCHANGE)
                    || flags.contains(RenameFlags::RENAME_WHITEOUT)
                {
                    return Err(Errno::EINVAL);
                }
                let (from, to) = (from?, to?);
                let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
                inner.rename(&from, &to, replace).await
            },
            |reply, ()| reply.ok(),
        );
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let path = self.inner.path(ino);
        self.work(
            reply,
            move |inner| async move {
                let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
                if write {
                    inner.writable()?;
                }
                let file = OpenOptions::new()
                    .read(flags.acc_mode() != OpenAccMode::O_WRONLY)
                    .write(write)
                    .truncate(write && flags.0 & O_TRUNC != 0)
                    .open(&inner.share, &path?)
                    .await
                    .map_err(said)?;
                inner.files.keep(ino.0, write, file).ok_or(Errno::ENFILE)
            },
            |reply, handle| reply.opened(FileHandle(handle), FopenFlags::empty()),
        );
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let path = self.inner.child(parent, name);
        self.work(
            reply,
            move |inner| async move {
                inner.writable()?;
                let path = path?;
                let file = OpenOptions::new()
                    .read(OpenFlags(flags).acc_mode() != OpenAccMode::O_WRONLY)
                    .write(true)
                    .create(true)
                    .create_new(flags & O_EXCL != 0)
                    .truncate(flags & O_TRUNC != 0)
                    .open(&inner.share, &path)
                    .await
                    .map_err(said)?;
                let metadata = file.opened_metadata();
                let ino = inner.nodes.lock().tell(&path);
                let Some(handle) = inner.files.keep(ino, true, file) else {
                    inner.nodes.lock().forget(ino, 1);
                    return Err(Errno::ENFILE);
                };
                Ok((inner.attributes(ino, &metadata), inner.timeout(), handle))
            },
            |reply, (attributes, timeout, handle)| {
                let flags = FopenFlags::empty();
                reply.created(&timeout, &attributes, GENERATION, FileHandle(handle), flags);
            },
        );
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.work(
            reply,
            move |inner| async move {
                let file = inner.file(handle.0)?;
                let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
                let count = file.read_at(&mut data, offset).await.map_err(of_open)?;
                data.truncate(count);
                Ok(data)
            },
            |reply, data: Vec<u8>| reply.data(&data),
        );
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // The kernel's idea of where a file ends may be as old as its attributes.
        let append = flags.0 & O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let most = self.inner.share.connection().info().max_write;
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let pieces: Vec<Payload> = data
            .chunks(usize::try_from(most.max(1)).unwrap_or(usize::MAX))
            .map(Payload::copy_of)
            .collect();
        self.work(
            reply,
            move |inner| async move {
                let file = inner.file(handle.0)?;
                let mut offset = if append {
                    file.metadata().await.map_err(of_open)?.len()
                } else {
                    offset
                };
                for piece in pieces {
                    let next = offset + piece.len() as u64;
                    file.write_payload_at(piece, offset)
                        .await
                        .map_err(of_open)?;
                    offset = next;
                }
                Ok(length)
            },
            |reply, count| reply.written(count),
        );
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Every write has been answered by the server already.
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        self.work(
            reply,
            move |inner| async move { inner.file(handle.0)?.sync_all().await.map_err(of_open) },
            |reply, ()| reply.ok(),
        );
    }

    fn release(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.work(
            reply,
            move |inner| async move {
                match inner.files.release(handle.0).map(Arc::try_unwrap) {
                    // Whoever comes next must find it closed.
                    Some(Ok(file)) => file.close().await.map_err(said),
                    _ => Ok(()),
                }
            },
            |reply, ()| reply.ok(),
        );
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let path = self.inner.path(ino);
        self.work(
            reply,
            |inner| async move {
                let mut listing = inner.share.read_dir(&path?).await.map_err(said)?;
                let mut entries = Vec::new();
                while let Some(entry) = listing.next_entry().await.map_err(said)? {
                    let name = entry.file_name();
                    if entries.len() == MAX_ENTRIES {
                        return Err(Errno::EOVERFLOW);
                    }
                    // A name that leads elsewhere is not shown.
                    if countersign_client::transfer::check_from_remote(name).is_ok() {
                        entries.push((name.to_owned(), *entry.metadata()));
                    }
                }
                let handle = inner.files.keep_folder(Arc::new(entries));
                handle.ok_or(Errno::ENFILE)
            },
            |reply, handle| reply.opened(FileHandle(handle), FopenFlags::empty()),
        );
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(listing) = self.inner.files.folder(handle.0) else {
            return reply.error(Errno::EBADF);
        };
        for (at, name, metadata) in rest(&listing, offset) {
            let kind = metadata.map_or(fuser::FileType::Directory, kind);
            // The number is no promise: the kernel looks a name up before it uses it.
            let number = if metadata.is_some() { u64::MAX } else { ino.0 };
            if reply.add(INodeNo(number), at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let inner = &self.inner;
        let Some(listing) = inner.files.folder(handle.0) else {
            return reply.error(Errno::EBADF);
        };
        let timeout = inner.timeout();
        for (at, name, metadata) in rest(&listing, offset) {
            let Some(metadata) = metadata else {
                // Of `.` and `..` the kernel takes no more than the name.
                let attributes = folder_stub(ino.0);
                if reply.add(ino, at, name, &Duration::ZERO, &attributes, GENERATION) {
                    break;
                }
                continue;
            };
            let Some(path) = inner.nodes.lock().child(ino.0, name) else {
                break;
            };
            let number = inner.nodes.lock().tell(&path);
            let attributes = inner.attributes(number, metadata);
            if reply.add(INodeNo(number), at, name, &timeout, &attributes, GENERATION) {
                inner.nodes.lock().forget(number, 1);
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.inner.files.release_folder(handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.work(
            reply,
            |inner| async move { inner.share.volume().await.map_err(said) },
            |reply, volume| {
                let unit = volume.unit.max(512);
                let blocks = |bytes: u64| bytes / u64::from(unit);
                let longest = if volume.max_component == 0 {
                    255
                } else {
                    volume.max_component
                };
                reply.statfs(
                    blocks(volume.total),
                    blocks(volume.free),
                    blocks(volume.available),
                    0,
                    0,
                    unit,
                    longest,
                    unit,
                );
            },
        );
    }
}

/// What a listing has behind an offset: `.` and `..` first, each with the offset of
/// what follows.
fn rest(
    listing: &Listing,
    offset: u64,
) -> impl Iterator<Item = (u64, &str, Option<&Metadata>)> + '_ {
    let dots = [(".", None), ("..", None)];
    let names = listing
        .iter()
        .map(|(name, metadata)| (name.as_str(), Some(metadata)));
    dots.into_iter()
        .chain(names)
        .zip(1_u64..)
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .map(|((name, metadata), at)| (at, name, metadata))
}

fn folder_stub(ino: u64) -> fuser::FileAttr {
    let time = SystemTime::UNIX_EPOCH;
    fuser::FileAttr {
        ino: INodeNo(if ino == 0 { ROOT } else { ino }),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: fuser::FileType::Directory,
        perm: 0o755,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
