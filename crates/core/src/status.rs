//! The one table from file-service failures to NTSTATUS.

use countersign_fs::FsError;
use countersign_wire::NtStatus;

/// The status a failed call is answered with.
pub fn of(error: FsError) -> NtStatus {
    match error {
        FsError::AccessDenied => NtStatus::ACCESS_DENIED,
        FsError::MediaWriteProtected => NtStatus::MEDIA_WRITE_PROTECTED,
        FsError::NameNotFound => NtStatus::OBJECT_NAME_NOT_FOUND,
        FsError::PathNotFound => NtStatus::OBJECT_PATH_NOT_FOUND,
        FsError::NameInvalid => NtStatus::OBJECT_NAME_INVALID,
        FsError::PathSyntaxBad => NtStatus::OBJECT_PATH_SYNTAX_BAD,
        FsError::NameCollision => NtStatus::OBJECT_NAME_COLLISION,
        FsError::NameTooLong => NtStatus::NAME_TOO_LONG,
        FsError::IsADirectory => NtStatus::FILE_IS_A_DIRECTORY,
        FsError::NotADirectory => NtStatus::NOT_A_DIRECTORY,
        FsError::DirectoryNotEmpty => NtStatus::DIRECTORY_NOT_EMPTY,
        FsError::SharingViolation => NtStatus::SHARING_VIOLATION,
        FsError::DeletePending => NtStatus::DELETE_PENDING,
        FsError::CannotDelete => NtStatus::CANNOT_DELETE,
        FsError::FileDeleted => NtStatus::FILE_DELETED,
        FsError::FileClosed => NtStatus::FILE_CLOSED,
        FsError::FileLockConflict => NtStatus::FILE_LOCK_CONFLICT,
        FsError::LockNotGranted => NtStatus::LOCK_NOT_GRANTED,
        FsError::RangeNotLocked => NtStatus::RANGE_NOT_LOCKED,
        FsError::EndOfFile => NtStatus::END_OF_FILE,
        FsError::NoMoreFiles => NtStatus::NO_MORE_FILES,
        FsError::NoSuchFile => NtStatus::NO_SUCH_FILE,
        FsError::InvalidParameter => NtStatus::INVALID_PARAMETER,
        FsError::InvalidInfoClass => NtStatus::INVALID_INFO_CLASS,
        FsError::InfoLengthMismatch => NtStatus::INFO_LENGTH_MISMATCH,
        FsError::InvalidDeviceRequest => NtStatus::INVALID_DEVICE_REQUEST,
        FsError::NotSupported => NtStatus::NOT_SUPPORTED,
        FsError::DiskFull => NtStatus::DISK_FULL,
        FsError::TooManyOpens | FsError::InsufficientResources => {
            NtStatus::INSUFFICIENT_RESOURCES
        }
        FsError::PrivilegeNotHeld => NtStatus::PRIVILEGE_NOT_HELD,
        FsError::NotSameDevice => NtStatus::NOT_SAME_DEVICE,
        FsError::InvalidOplockProtocol => NtStatus::INVALID_OPLOCK_PROTOCOL,
        FsError::Cancelled => NtStatus::CANCELLED,
        FsError::NotFound => NtStatus::NOT_FOUND,
        FsError::NotAReparsePoint => NtStatus::NOT_A_REPARSE_POINT,
        FsError::ReparseDataInvalid => NtStatus::IO_REPARSE_DATA_INVALID,
        FsError::StoppedOnSymlink => NtStatus::STOPPED_ON_SYMLINK,
        FsError::InvalidEaName => NtStatus::INVALID_EA_NAME,
        FsError::EaTooLarge => NtStatus::EA_TOO_LARGE,
        FsError::NoEas => NtStatus::NO_EAS_ON_FILE,
        FsError::InvalidOwner => NtStatus::INVALID_OWNER,
        FsError::InvalidSecurityDescriptor => NtStatus::INVALID_SECURITY_DESCR,
        FsError::NotifyEnumDir => NtStatus::NOTIFY_ENUM_DIR,
        FsError::NotifyCleanup => NtStatus::NOTIFY_CLEANUP,
        FsError::FileNotAvailable => NtStatus::FILE_NOT_AVAILABLE,
        FsError::ObjectTypeMismatch => NtStatus::OBJECT_TYPE_MISMATCH,
        FsError::DuplicateObjectId => NtStatus::DUPLICATE_OBJECTID,
        FsError::Timeout => NtStatus::IO_TIMEOUT,
        FsError::Io => NtStatus::UNEXPECTED_IO_ERROR,
        FsError::CannotBreakOplock => NtStatus::CANNOT_BREAK_OPLOCK,
        FsError::NotBreaking => NtStatus::UNSUCCESSFUL,
        FsError::RequestNotAccepted => NtStatus::REQUEST_NOT_ACCEPTED,
        FsError::InvalidDeviceState => NtStatus::INVALID_DEVICE_STATE,
        FsError::InvalidLockRange => NtStatus::INVALID_LOCK_RANGE,
        // New variants of a non-exhaustive enum.
        _ => NtStatus::UNSUCCESSFUL,
    }
}
