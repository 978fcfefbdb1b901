//! The one table from the host's error numbers to [`FsError`].

use countersign_fs::FsError;
use rustix::io::Errno;

/// What an error of a call on names and bytes means to the service.
pub(crate) fn fs_error(e: Errno) -> FsError {
    match e {
        Errno::ACCESS | Errno::PERM | Errno::LOOP => FsError::AccessDenied,
        Errno::NOENT => FsError::NameNotFound,
        Errno::NOTDIR => FsError::NotADirectory,
        Errno::ISDIR => FsError::IsADirectory,
        Errno::EXIST => FsError::NameCollision,
        Errno::NOTEMPTY => FsError::DirectoryNotEmpty,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => FsError::DiskFull,
        Errno::ROFS => FsError::MediaWriteProtected,
        Errno::NAMETOOLONG => FsError::NameTooLong,
        Errno::XDEV => FsError::NotSameDevice,
        Errno::MLINK | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS => {
            FsError::InsufficientResources
        }
        Errno::INVAL | Errno::RANGE => FsError::InvalidParameter,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOTTY => FsError::NotSupported,
        Errno::BUSY | Errno::TXTBSY => FsError::SharingViolation,
        Errno::STALE => FsError::FileDeleted,
        // A handle that was not opened for this.
        Errno::BADF => FsError::AccessDenied,
        other => {
            tracing::debug!(errno = other.raw_os_error(), "unexpected error of the host");
            FsError::Io
        }
    }
}

/// For `map_err` behind calls on extended attributes, where "no space" is about
/// the attribute area of one file and not the disk.
pub(crate) fn ea_error(e: Errno) -> FsError {
    match e {
        Errno::NOSPC | Errno::TOOBIG | Errno::RANGE => FsError::EaTooLarge,
        Errno::NAMETOOLONG | Errno::INVAL => FsError::InvalidEaName,
        other => fs_error(other),
    }
}
