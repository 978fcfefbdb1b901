//! Access masks, attributes, dispositions and options.

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.13.1 SMB2 Access Mask, [MS-DTYP] 2.4.3.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct AccessMask: u32 {
        /// FILE_READ_DATA, FILE_LIST_DIRECTORY.
        const READ_DATA = 0x0000_0001;
        /// FILE_WRITE_DATA, FILE_ADD_FILE.
        const WRITE_DATA = 0x0000_0002;
        /// FILE_APPEND_DATA, FILE_ADD_SUBDIRECTORY.
        const APPEND_DATA = 0x0000_0004;
        /// FILE_READ_EA.
        const READ_EA = 0x0000_0008;
        /// FILE_WRITE_EA.
        const WRITE_EA = 0x0000_0010;
        /// FILE_EXECUTE, FILE_TRAVERSE.
        const EXECUTE = 0x0000_0020;
        /// FILE_DELETE_CHILD.
        const DELETE_CHILD = 0x0000_0040;
        /// FILE_READ_ATTRIBUTES.
        const READ_ATTRIBUTES = 0x0000_0080;
        /// FILE_WRITE_ATTRIBUTES.
        const WRITE_ATTRIBUTES = 0x0000_0100;
        /// DELETE.
        const DELETE = 0x0001_0000;
        /// READ_CONTROL.
        const READ_CONTROL = 0x0002_0000;
        /// WRITE_DAC.
        const WRITE_DAC = 0x0004_0000;
        /// WRITE_OWNER.
        const WRITE_OWNER = 0x0008_0000;
        /// SYNCHRONIZE.
        const SYNCHRONIZE = 0x0010_0000;
        /// ACCESS_SYSTEM_SECURITY.
        const ACCESS_SYSTEM_SECURITY = 0x0100_0000;
        /// MAXIMUM_ALLOWED.
        const MAXIMUM_ALLOWED = 0x0200_0000;
        /// GENERIC_ALL.
        const GENERIC_ALL = 0x1000_0000;
        /// GENERIC_EXECUTE.
        const GENERIC_EXECUTE = 0x2000_0000;
        /// GENERIC_WRITE.
        const GENERIC_WRITE = 0x4000_0000;
        /// GENERIC_READ.
        const GENERIC_READ = 0x8000_0000;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-SMB2] 2.2.13 ShareAccess.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct ShareAccess: u32 {
        /// FILE_SHARE_READ.
        const READ = 1;
        /// FILE_SHARE_WRITE.
        const WRITE = 2;
        /// FILE_SHARE_DELETE.
        const DELETE = 4;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-FSCC] 2.6 File Attributes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct FileAttributes: u32 {
        /// FILE_ATTRIBUTE_READONLY.
        const READONLY = 0x1;
        /// FILE_ATTRIBUTE_HIDDEN.
        const HIDDEN = 0x2;
        /// FILE_ATTRIBUTE_SYSTEM.
        const SYSTEM = 0x4;
        /// SMB1 volume label, [MS-CIFS] 2.2.1.2.4.
        const VOLUME = 0x8;
        /// FILE_ATTRIBUTE_DIRECTORY.
        const DIRECTORY = 0x10;
        /// FILE_ATTRIBUTE_ARCHIVE.
        const ARCHIVE = 0x20;
        /// FILE_ATTRIBUTE_NORMAL.
        const NORMAL = 0x80;
        /// FILE_ATTRIBUTE_TEMPORARY.
        const TEMPORARY = 0x100;
        /// FILE_ATTRIBUTE_SPARSE_FILE.
        const SPARSE_FILE = 0x200;
        /// FILE_ATTRIBUTE_REPARSE_POINT.
        const REPARSE_POINT = 0x400;
        /// FILE_ATTRIBUTE_COMPRESSED.
        const COMPRESSED = 0x800;
        /// FILE_ATTRIBUTE_OFFLINE.
        const OFFLINE = 0x1000;
        /// FILE_ATTRIBUTE_NOT_CONTENT_INDEXED.
        const NOT_CONTENT_INDEXED = 0x2000;
        /// FILE_ATTRIBUTE_ENCRYPTED.
        const ENCRYPTED = 0x4000;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-SMB2] 2.2.13 CreateOptions.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct CreateOptions: u32 {
        /// FILE_DIRECTORY_FILE.
        const DIRECTORY_FILE = 0x1;
        /// FILE_WRITE_THROUGH.
        const WRITE_THROUGH = 0x2;
        /// FILE_SEQUENTIAL_ONLY.
        const SEQUENTIAL_ONLY = 0x4;
        /// FILE_NO_INTERMEDIATE_BUFFERING.
        const NO_INTERMEDIATE_BUFFERING = 0x8;
        /// FILE_SYNCHRONOUS_IO_ALERT.
        const SYNCHRONOUS_IO_ALERT = 0x10;
        /// FILE_SYNCHRONOUS_IO_NONALERT.
        const SYNCHRONOUS_IO_NONALERT = 0x20;
        /// FILE_NON_DIRECTORY_FILE.
        const NON_DIRECTORY_FILE = 0x40;
        /// FILE_CREATE_TREE_CONNECTION.
        const CREATE_TREE_CONNECTION = 0x80;
        /// FILE_COMPLETE_IF_OPLOCKED.
        const COMPLETE_IF_OPLOCKED = 0x100;
        /// FILE_NO_EA_KNOWLEDGE.
        const NO_EA_KNOWLEDGE = 0x200;
        /// FILE_RANDOM_ACCESS.
        const RANDOM_ACCESS = 0x800;
        /// FILE_DELETE_ON_CLOSE.
        const DELETE_ON_CLOSE = 0x1000;
        /// FILE_OPEN_BY_FILE_ID.
        const OPEN_BY_FILE_ID = 0x2000;
        /// FILE_OPEN_FOR_BACKUP_INTENT.
        const OPEN_FOR_BACKUP_INTENT = 0x4000;
        /// FILE_NO_COMPRESSION.
        const NO_COMPRESSION = 0x8000;
        /// FILE_OPEN_REQUIRING_OPLOCK.
        const OPEN_REQUIRING_OPLOCK = 0x0001_0000;
        /// FILE_DISALLOW_EXCLUSIVE.
        const DISALLOW_EXCLUSIVE = 0x0002_0000;
        /// FILE_RESERVE_OPFILTER.
        const RESERVE_OPFILTER = 0x0010_0000;
        /// FILE_OPEN_REPARSE_POINT.
        const OPEN_REPARSE_POINT = 0x0020_0000;
        /// FILE_OPEN_NO_RECALL.
        const OPEN_NO_RECALL = 0x0040_0000;
        /// FILE_OPEN_FOR_FREE_SPACE_QUERY.
        const OPEN_FOR_FREE_SPACE_QUERY = 0x0080_0000;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-SMB2] 2.2.35 CompletionFilter.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct CompletionFilter: u32 {
        /// FILE_NOTIFY_CHANGE_FILE_NAME.
        const FILE_NAME = 0x1;
        /// FILE_NOTIFY_CHANGE_DIR_NAME.
        const DIR_NAME = 0x2;
        /// FILE_NOTIFY_CHANGE_ATTRIBUTES.
        const ATTRIBUTES = 0x4;
        /// FILE_NOTIFY_CHANGE_SIZE.
        const SIZE = 0x8;
        /// FILE_NOTIFY_CHANGE_LAST_WRITE.
        const LAST_WRITE = 0x10;
        /// FILE_NOTIFY_CHANGE_LAST_ACCESS.
        const LAST_ACCESS = 0x20;
        /// FILE_NOTIFY_CHANGE_CREATION.
        const CREATION = 0x40;
        /// FILE_NOTIFY_CHANGE_EA.
        const EA = 0x80;
        /// FILE_NOTIFY_CHANGE_SECURITY.
        const SECURITY = 0x100;
        /// FILE_NOTIFY_CHANGE_STREAM_NAME.
        const STREAM_NAME = 0x200;
        /// FILE_NOTIFY_CHANGE_STREAM_SIZE.
        const STREAM_SIZE = 0x400;
        /// FILE_NOTIFY_CHANGE_STREAM_WRITE.
        const STREAM_WRITE = 0x800;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// Caching a lease grants, [MS-SMB2] 2.2.13.2.8 LeaseState.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct LeaseState: u32 {
        /// SMB2_LEASE_READ_CACHING.
        const READ = 1;
        /// SMB2_LEASE_HANDLE_CACHING.
        const HANDLE = 2;
        /// SMB2_LEASE_WRITE_CACHING.
        const WRITE = 4;
    }
}

/// [MS-SMB2] 2.2.13 CreateDisposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Disposition {
    /// Replace it if it exists, else create it.
    Supersede = 0,
    /// Open it if it exists, else fail.
    Open = 1,
    /// Create it, fail if it exists.
    Create = 2,
    /// Open it if it exists, else create it.
    OpenIf = 3,
    /// Overwrite it if it exists, else fail.
    Overwrite = 4,
    /// Overwrite it if it exists, else create it.
    OverwriteIf = 5,
}

impl Disposition {
    /// From the value on the wire.
    pub fn from_u32(v: u32) -> Option<Self> {
        Some(match v {
            0 => Self::Supersede,
            1 => Self::Open,
            2 => Self::Create,
            3 => Self::OpenIf,
            4 => Self::Overwrite,
            5 => Self::OverwriteIf,
            _ => return None,
        })
    }
}

/// [MS-SMB2] 2.2.14 CreateAction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CreateAction {
    /// FILE_SUPERSEDED.
    Superseded = 0,
    /// FILE_OPENED.
    Opened = 1,
    /// FILE_CREATED.
    Created = 2,
    /// FILE_OVERWRITTEN.
    Overwritten = 3,
}

/// Oplock level, [MS-SMB2] 2.2.13 RequestedOplockLevel; leases are [`LeaseState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum OplockLevel {
    /// None.
    #[default]
    None = 0x00,
    /// Level II: shared read caching.
    LevelTwo = 0x01,
    /// Exclusive: read and write caching.
    Exclusive = 0x08,
    /// Batch: exclusive and handle caching.
    Batch = 0x09,
}
