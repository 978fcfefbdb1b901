//! Numbers of the information classes.

/// [MS-FSCC] 2.4 file information classes.
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod file_class {
    pub const DIRECTORY: u8 = 1;
    pub const FULL_DIRECTORY: u8 = 2;
    pub const BOTH_DIRECTORY: u8 = 3;
    pub const BASIC: u8 = 4;
    pub const STANDARD: u8 = 5;
    pub const INTERNAL: u8 = 6;
    pub const EA: u8 = 7;
    pub const ACCESS: u8 = 8;
    pub const NAME: u8 = 9;
    pub const RENAME: u8 = 10;
    pub const LINK: u8 = 11;
    pub const NAMES: u8 = 12;
    pub const DISPOSITION: u8 = 13;
    pub const POSITION: u8 = 14;
    pub const FULL_EA: u8 = 15;
    pub const MODE: u8 = 16;
    pub const ALIGNMENT: u8 = 17;
    pub const ALL: u8 = 18;
    pub const ALLOCATION: u8 = 19;
    pub const END_OF_FILE: u8 = 20;
    pub const ALTERNATE_NAME: u8 = 21;
    pub const STREAM: u8 = 22;
    pub const PIPE: u8 = 23;
    pub const PIPE_LOCAL: u8 = 24;
    pub const PIPE_REMOTE: u8 = 25;
    pub const COMPRESSION: u8 = 28;
    pub const OBJECT_ID: u8 = 29;
    pub const QUOTA: u8 = 32;
    pub const REPARSE_POINT: u8 = 33;
    pub const NETWORK_OPEN: u8 = 34;
    pub const ATTRIBUTE_TAG: u8 = 35;
    pub const ID_BOTH_DIRECTORY: u8 = 37;
    pub const ID_FULL_DIRECTORY: u8 = 38;
    pub const VALID_DATA_LENGTH: u8 = 39;
    pub const SHORT_NAME: u8 = 40;
    pub const SFIO_RESERVE: u8 = 44;
    pub const HARD_LINK: u8 = 46;
    pub const NORMALIZED_NAME: u8 = 48;
    pub const STANDARD_LINK: u8 = 54;
    pub const ID: u8 = 59;
    pub const ID_EXTD_DIRECTORY: u8 = 60;
    pub const ID_EXTD_BOTH_DIRECTORY: u8 = 63;
    pub const DISPOSITION_EX: u8 = 64;
    pub const RENAME_EX: u8 = 65;
    pub const LINK_EX: u8 = 72;
    /// POSIX extensions.
    pub const POSIX: u8 = 100;
}

/// [MS-FSCC] 2.5 file system information classes.
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod fs_class {
    pub const VOLUME: u8 = 1;
    pub const LABEL: u8 = 2;
    pub const SIZE: u8 = 3;
    pub const DEVICE: u8 = 4;
    pub const ATTRIBUTE: u8 = 5;
    pub const CONTROL: u8 = 6;
    pub const FULL_SIZE: u8 = 7;
    pub const OBJECT_ID: u8 = 8;
    pub const SECTOR_SIZE: u8 = 11;
    /// POSIX extensions.
    pub const POSIX: u8 = 100;
}
