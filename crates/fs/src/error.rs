//! Why a call failed. `countersign-core` maps each to an NTSTATUS in one table.

/// Failure of a file-service call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum FsError {
    #[error("access denied")]
    AccessDenied,
    #[error("share is read-only")]
    MediaWriteProtected,
    #[error("last path component does not exist")]
    NameNotFound,
    #[error("a path component before the last does not exist")]
    PathNotFound,
    #[error("name is not allowed")]
    NameInvalid,
    #[error("path syntax is bad")]
    PathSyntaxBad,
    #[error("name already exists")]
    NameCollision,
    #[error("name is too long")]
    NameTooLong,
    #[error("is a directory")]
    IsADirectory,
    #[error("is not a directory")]
    NotADirectory,
    #[error("directory is not empty")]
    DirectoryNotEmpty,
    #[error("sharing violation")]
    SharingViolation,
    #[error("deletion is pending")]
    DeletePending,
    #[error("cannot be deleted")]
    CannotDelete,
    #[error("file was deleted")]
    FileDeleted,
    #[error("open is closed")]
    FileClosed,
    #[error("byte range is locked by another")]
    FileLockConflict,
    #[error("lock not granted")]
    LockNotGranted,
    #[error("range is not locked")]
    RangeNotLocked,
    #[error("end of file")]
    EndOfFile,
    #[error("no more entries")]
    NoMoreFiles,
    #[error("no entry matches")]
    NoSuchFile,
    #[error("parameter is out of range")]
    InvalidParameter,
    #[error("no such information class for this object")]
    InvalidInfoClass,
    #[error("buffer is too small for one entry")]
    InfoLengthMismatch,
    #[error("request is not for this kind of object")]
    InvalidDeviceRequest,
    #[error("not supported")]
    NotSupported,
    #[error("disk is full")]
    DiskFull,
    #[error("a limit of this server was reached")]
    TooManyOpens,
    #[error("out of resources")]
    InsufficientResources,
    #[error("privilege not held")]
    PrivilegeNotHeld,
    #[error("not on the same device")]
    NotSameDevice,
    #[error("oplock protocol violated")]
    InvalidOplockProtocol,
    #[error("an oplock would have to be broken")]
    CannotBreakOplock,
    #[error("no break is in progress")]
    NotBreaking,
    #[error("acknowledged more than is left")]
    RequestNotAccepted,
    #[error("device is in the wrong state")]
    InvalidDeviceState,
    #[error("range to lock is beyond the largest offset")]
    InvalidLockRange,
    #[error("call was cancelled")]
    Cancelled,
    #[error("object with that id not found")]
    NotFound,
    #[error("not a reparse point")]
    NotAReparsePoint,
    #[error("reparse data is invalid")]
    ReparseDataInvalid,
    #[error("a link is in the way")]
    StoppedOnSymlink,
    #[error("extended attribute name is invalid")]
    InvalidEaName,
    #[error("extended attributes are too large")]
    EaTooLarge,
    #[error("no extended attributes")]
    NoEas,
    #[error("owner may not be set")]
    InvalidOwner,
    #[error("security descriptor is malformed")]
    InvalidSecurityDescriptor,
    #[error("directory changed too much; enumerate again")]
    NotifyEnumDir,
    #[error("watched directory was closed")]
    NotifyCleanup,
    #[error("file is not available now")]
    FileNotAvailable,
    #[error("object is of another type")]
    ObjectTypeMismatch,
    #[error("duplicate object id")]
    DuplicateObjectId,
    #[error("operation timed out")]
    Timeout,
    #[error("input or output error")]
    Io,
}
