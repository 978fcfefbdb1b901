//! Attributes and errors of a share in the words of POSIX.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_client::transfer::NameError;
use countersign_client::{Error, ErrorKind, FileTime, FileType, Metadata, NtStatus};
use fuser::{Errno, FileAttr, INodeNo};

use crate::MountOptions;

/// Bytes of a block as st_blocks counts them.
const BLOCK: u64 = 512;
/// What is read and written at once with profit.
const BEST_SIZE: u32 = 1 << 20;

fn time(time: FileTime) -> SystemTime {
    let (seconds, nanoseconds) = time.to_unix();
    u64::try_from(seconds)
        .ok()
        .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)))
        .unwrap_or(UNIX_EPOCH)
}

pub(crate) fn file_time(time: SystemTime) -> FileTime {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => FileTime::from_unix(
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            since.subsec_nanos(),
        ),
        Err(_) => FileTime::from_unix(0, 0),
    }
}

pub(crate) fn kind(metadata: &Metadata) -> fuser::FileType {
    match metadata.file_type() {
        FileType::Directory => fuser::FileType::Directory,
        FileType::Symlink => fuser::FileType::Symlink,
        FileType::Other if metadata.is_dir() => fuser::FileType::Directory,
        FileType::File | FileType::Other => fuser::FileType::RegularFile,
    }
}

pub(crate) fn attributes(ino: u64, metadata: &Metadata, options: &MountOptions) -> FileAttr {
    let kind = kind(metadata);
    let mode = match kind {
        fuser::FileType::Directory => options.folder_mode,
        fuser::FileType::Symlink => 0o777,
        // Read-only on a folder means nothing ([MS-FSCC] 2.6).
        _ if metadata.is_readonly() => options.file_mode & !0o222,
        _ => options.file_mode,
    };
    FileAttr {
        ino: INodeNo(ino),
        size: metadata.len(),
        blocks: metadata.allocation_size().div_ceil(BLOCK),
        atime: time(metadata.accessed()),
        mtime: time(metadata.modified()),
        ctime: time(metadata.changed()),
        crtime: time(metadata.created()),
        kind,
        perm: mode,
        nlink: if kind == fuser::FileType::Directory {
            2
        } else {
            1
        },
        uid: options.uid,
        gid: options.gid,
        rdev: 0,
        blksize: BEST_SIZE,
        flags: 0,
    }
}

/// The errno for a name that no share can have.
pub(crate) fn of_name(error: NameError) -> Errno {
    match error {
        NameError::TooLong => Errno::ENAMETOOLONG,
        _ => Errno::EINVAL,
    }
}

/// The errno for an error of the share.
pub(crate) fn errno(error: &Error) -> Errno {
    match error.status() {
        Some(NtStatus::NAME_TOO_LONG) => return Errno::ENAMETOOLONG,
        Some(NtStatus::NOT_SAME_DEVICE) => return Errno::EXDEV,
        Some(NtStatus::STOPPED_ON_SYMLINK) => return Errno::ELOOP,
        // The name is taken until whoever has the file open closes it.
        Some(NtStatus::DELETE_PENDING) => return Errno::EBUSY,
        _ => {}
    }
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ShareNotFound => Errno::ENOENT,
        ErrorKind::PermissionDenied | ErrorKind::LogonFailed | ErrorKind::Policy => Errno::EACCES,
        ErrorKind::AlreadyExists => Errno::EEXIST,
        ErrorKind::NotADirectory => Errno::ENOTDIR,
        ErrorKind::IsADirectory => Errno::EISDIR,
        ErrorKind::DirectoryNotEmpty => Errno::ENOTEMPTY,
        ErrorKind::SharingViolation => Errno::EBUSY,
        ErrorKind::Locked => Errno::EAGAIN,
        ErrorKind::DiskFull => Errno::ENOSPC,
        ErrorKind::InvalidInput => Errno::EINVAL,
        ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        ErrorKind::DfsReferral => Errno::EREMOTE,
        ErrorKind::Cancelled => Errno::EINTR,
        ErrorKind::TimedOut => Errno::ETIMEDOUT,
        ErrorKind::Unreachable => Errno::EHOSTUNREACH,
        _ => Errno::EIO,
    }
}
