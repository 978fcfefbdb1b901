//! Identifiers and constants that several commands share.

use crate::cursor::{Reader, Result, Writer};

/// [MS-SMB2] 2.2.14.1 SMB2_FILEID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId {
    /// Stays the same over a durable reconnect.
    pub persistent: u64,
    /// Names the Open on this session.
    pub volatile: u64,
}

impl FileId {
    /// All ones: no file (FSCTLs about the server; in a related compound, the
    /// file of the message before).
    pub const NONE: FileId = FileId {
        persistent: u64::MAX,
        volatile: u64::MAX,
    };

    /// Whether all bits are ones.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            persistent: r.u64("FileId.Persistent")?,
            volatile: r.u64("FileId.Volatile")?,
        })
    }

    pub(crate) fn write(self, w: &mut Writer<'_>) {
        w.u64(self.persistent);
        w.u64(self.volatile);
    }
}

/// Dialect revisions, [MS-SMB2] 2.2.3.
pub mod dialect {
    /// SMB 2.0.2.
    pub const SMB_2_0_2: u16 = 0x0202;
    /// SMB 2.1.
    pub const SMB_2_1: u16 = 0x0210;
    /// SMB 3.0.
    pub const SMB_3_0: u16 = 0x0300;
    /// SMB 3.0.2.
    pub const SMB_3_0_2: u16 = 0x0302;
    /// SMB 3.1.1.
    pub const SMB_3_1_1: u16 = 0x0311;
    /// Answer to a multi-protocol negotiate: a second NEGOTIATE decides.
    pub const WILDCARD: u16 = 0x02FF;
}

bitflags::bitflags! {
    /// [MS-SMB2] 2.2.3 SecurityMode (16 bits in NEGOTIATE, 8 in SESSION_SETUP).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct SecurityMode: u16 {
        /// SMB2_NEGOTIATE_SIGNING_ENABLED.
        const SIGNING_ENABLED = 1;
        /// SMB2_NEGOTIATE_SIGNING_REQUIRED.
        const SIGNING_REQUIRED = 2;
        /// Bits without a name are kept.
        const _ = !0;
    }

    /// [MS-SMB2] 2.2.3 Capabilities.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u32 {
        /// SMB2_GLOBAL_CAP_DFS.
        const DFS = 0x01;
        /// SMB2_GLOBAL_CAP_LEASING.
        const LEASING = 0x02;
        /// SMB2_GLOBAL_CAP_LARGE_MTU.
        const LARGE_MTU = 0x04;
        /// SMB2_GLOBAL_CAP_MULTI_CHANNEL.
        const MULTI_CHANNEL = 0x08;
        /// SMB2_GLOBAL_CAP_PERSISTENT_HANDLES.
        const PERSISTENT_HANDLES = 0x10;
        /// SMB2_GLOBAL_CAP_DIRECTORY_LEASING.
        const DIRECTORY_LEASING = 0x20;
        /// SMB2_GLOBAL_CAP_ENCRYPTION (3.0 and 3.0.2 only).
        const ENCRYPTION = 0x40;
        /// SMB2_GLOBAL_CAP_NOTIFICATIONS.
        const NOTIFICATIONS = 0x80;
        /// Bits without a name are kept.
        const _ = !0;
    }
}

/// What QUERY_INFO and SET_INFO are about, [MS-SMB2] 2.2.37 InfoType.
pub mod info_type {
    /// SMB2_0_INFO_FILE.
    pub const FILE: u8 = 1;
    /// SMB2_0_INFO_FILESYSTEM.
    pub const FILESYSTEM: u8 = 2;
    /// SMB2_0_INFO_SECURITY.
    pub const SECURITY: u8 = 3;
    /// SMB2_0_INFO_QUOTA.
    pub const QUOTA: u8 = 4;
}
