//! Values that travel in calls and replies.

use countersign_wire::dtyp::{FileTime, Guid};
use countersign_wire::fscc::{AccessMask, FileAttributes, LeaseState, OplockLevel};

/// The identity of a file or folder, stable while it exists: file system and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileKey {
    /// Which file system (st_dev).
    pub volume: u64,
    /// Which file on it (st_ino). Also FileId / IndexNumber on the wire.
    pub file: u64,
}

/// The four times of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// CreationTime.
    pub creation: FileTime,
    /// LastAccessTime.
    pub last_access: FileTime,
    /// LastWriteTime.
    pub last_write: FileTime,
    /// ChangeTime.
    pub change: FileTime,
}

/// What one stat of a file, folder or stream tells; every information class is made of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Identity of the file (of the base file, for a stream).
    pub key: FileKey,
    /// The four times.
    pub times: Times,
    /// Attributes; NORMAL is left out, DIRECTORY is set for folders.
    pub attributes: FileAttributes,
    /// Length in bytes (of the stream, for a stream); 0 for folders.
    pub end_of_file: u64,
    /// Bytes allocated.
    pub allocation_size: u64,
    /// Hard links.
    pub links: u32,
    /// Size of the extended attributes in FILE_FULL_EA form; 0 when none.
    pub ea_size: u32,
    /// Reparse tag, 0 when not a reparse point.
    pub reparse_tag: u32,
    /// POSIX mode, owner and group of the host, where it has them.
    pub posix: Option<PosixFacts>,
}

impl Metadata {
    /// Whether this is a folder.
    pub fn is_directory(&self) -> bool {
        self.attributes.contains(FileAttributes::DIRECTORY)
    }
}

/// POSIX facts of the host's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PosixFacts {
    /// st_mode.
    pub mode: u32,
    /// st_uid.
    pub uid: u32,
    /// st_gid.
    pub gid: u32,
}

/// What changes in a SetBasic; `None` leaves a value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetBasic {
    /// CreationTime.
    pub creation: Option<TimeChange>,
    /// LastAccessTime.
    pub last_access: Option<TimeChange>,
    /// LastWriteTime.
    pub last_write: Option<TimeChange>,
    /// ChangeTime.
    pub change: Option<TimeChange>,
    /// Attributes (DIRECTORY and NORMAL bits as on the wire).
    pub attributes: Option<FileAttributes>,
}

/// [MS-FSCC] 2.4.7: a time of -1 stops, -2 resumes implicit updates through this open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// Set it; further implicit updates through this open are off.
    Set(FileTime),
    /// -1: stop implicit updates through this open.
    Freeze,
    /// -2: resume implicit updates through this open.
    Thaw,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Long name, as a client may use it.
    pub name: String,
    /// 8.3 name, when the name is not one already and short names are on.
    pub short_name: Option<String>,
    /// Stat of the entry.
    pub metadata: Metadata,
}

/// One stream of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFacts {
    /// Name without colons; empty for the unnamed stream.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Bytes allocated.
    pub allocation: u64,
}

/// One extended attribute, [MS-FSCC] 2.4.16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ea {
    /// Flags (FILE_NEED_EA 0x80).
    pub flags: u8,
    /// Name, ASCII, compared without case.
    pub name: String,
    /// Value; empty removes the attribute.
    pub value: Vec<u8>,
}

/// Facts about the volume a share lies on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeFacts {
    /// Volume label (usually the share's name).
    pub label: String,
    /// Serial number.
    pub serial: u32,
    /// Creation time of the volume.
    pub creation: FileTime,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes free for this caller.
    pub available_bytes: u64,
    /// Bytes free in all.
    pub free_bytes: u64,
    /// Bytes per sector (at most 4096).
    pub sector_size: u32,
    /// Sectors per allocation unit.
    pub sectors_per_unit: u32,
    /// [MS-FSCC] 2.5.1 FileSystemAttributes that this backend honours.
    pub attributes: u32,
    /// Longest component in UTF-16 units.
    pub max_component: u32,
    /// Object id of the volume.
    pub object_id: Guid,
}

/// Who calls: made once at logon, checked against security descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's SID, in its bytes ([MS-DTYP] 2.4.2.2).
    pub user_sid: Vec<u8>,
    /// SIDs of groups, in their bytes; Everyone and the like included.
    pub group_sids: Vec<Vec<u8>>,
    /// Holds SeBackup/SeRestore/SeTakeOwnership (an administrator).
    pub administrator: bool,
    /// Account name for logs and owner look-ups.
    pub name: String,
}

/// A lease request or grant, [MS-SMB2] 2.2.13.2.8 and .10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Key chosen by the client.
    pub key: [u8; 16],
    /// State asked for.
    pub state: LeaseState,
    /// Key of the parent folder's lease, for v2.
    pub parent: Option<[u8; 16]>,
    /// Epoch sent, for v2.
    pub epoch: u16,
    /// Version: 1 or 2.
    pub version: u8,
}

/// Caching asked for at open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CachingRequest {
    /// None.
    #[default]
    None,
    /// An oplock of this level.
    Oplock(OplockLevel),
    /// A lease.
    Lease(LeaseRequest),
}

/// Caching granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CachingGrant {
    /// None.
    #[default]
    None,
    /// An oplock of this level.
    Oplock(OplockLevel),
    /// The lease as it now stands; `breaking` sets SMB2_LEASE_FLAG_BREAK_IN_PROGRESS.
    Lease {
        /// Key, state granted, parent, epoch and version to answer.
        lease: LeaseRequest,
        /// A break of this lease is in progress.
        breaking: bool,
    },
}

/// One element of a lock call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockElement {
    /// First byte.
    pub offset: u64,
    /// Number of bytes; 0 is a lock at a point, as Windows has it.
    pub length: u64,
    /// What to do.
    pub kind: LockKind,
    /// Lock owner inside the open: SMB1's PID (0 for SMB2).
    pub owner: u32,
}

/// What a lock element does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Shared (read) lock.
    Shared,
    /// Exclusive (write) lock.
    Exclusive,
    /// Release a range locked before.
    Unlock,
}

/// How a lock call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// Fail at once with `LockNotGranted` / `FileLockConflict`.
    No,
    /// Wait at most so many milliseconds (SMB1's timeout).
    Milliseconds(u32),
    /// Wait until granted, cancelled or closed.
    Forever,
}

/// One change reported by change notification, [MS-FSCC] 2.7.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub action: ChangeAction,
    /// Path relative to the watched folder, `\` between components.
    pub name: String,
}

/// [MS-FSCC] 2.7.1 Action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum ChangeAction {
    Added = 1,
    Removed = 2,
    Modified = 3,
    RenamedOldName = 4,
    RenamedNewName = 5,
    AddedStream = 6,
    RemovedStream = 7,
    ModifiedStream = 8,
}

/// What to read of a security descriptor, [MS-DTYP] 2.4.7 SECURITY_INFORMATION bits.
pub type SecurityInformation = u32;

/// Rights of an open after the check: granted and the most it could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Granted to this open.
    pub granted: AccessMask,
    /// Largest mask this caller could have.
    pub maximal: AccessMask,
}
