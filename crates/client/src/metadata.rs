//! What is told about files and shares.

use std::time::SystemTime;

use countersign_core::client::Written;
use countersign_wire::FileTime;
use countersign_wire::fscc::{DirectoryEntry, FileAttributes, NetworkOpenInformation, reparse_tag};

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link or junction.
    Symlink,
    /// Another reparse point.
    Other,
}

/// Times, sizes and attributes of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    facts: Written,
    reparse_tag: u32,
    file_id: u64,
}

impl Metadata {
    pub(crate) fn new(facts: Written) -> Self {
        Self {
            facts,
            reparse_tag: 0,
            file_id: 0,
        }
    }

    pub(crate) fn of_open(info: &NetworkOpenInformation) -> Self {
        Self::new(Written {
            creation: info.creation,
            last_access: info.last_access,
            last_write: info.last_write,
            change: info.change,
            allocation_size: info.allocation_size,
            end_of_file: info.end_of_file,
            attributes: info.attributes,
        })
    }

    /// The same of a reparse point of that kind.
    pub(crate) fn with_tag(self, reparse_tag: u32) -> Self {
        Self {
            reparse_tag,
            ..self
        }
    }

    pub(crate) fn of_entry(entry: &DirectoryEntry) -> Self {
        let is_reparse = entry.attributes.contains(FileAttributes::REPARSE_POINT);
        let tag = if entry.reparse_tag != 0 {
            entry.reparse_tag
        } else {
            entry.ea_size
        };
        Self {
            facts: Written {
                creation: entry.creation,
                last_access: entry.last_access,
                last_write: entry.last_write,
                change: entry.change,
                allocation_size: entry.allocation_size,
                end_of_file: entry.end_of_file,
                attributes: entry.attributes,
            },
            reparse_tag: if is_reparse { tag } else { 0 },
            file_id: entry.file_id,
        }
    }

    /// What it is.
    pub fn file_type(&self) -> FileType {
        if self.attributes().contains(FileAttributes::REPARSE_POINT) {
            match self.reparse_tag {
                0 if self.is_dir() => FileType::Directory,
                reparse_tag::SYMLINK | reparse_tag::MOUNT_POINT | reparse_tag::LX_SYMLINK => {
                    FileType::Symlink
                }
                _ => FileType::Other,
            }
        } else if self.is_dir() {
            FileType::Directory
        } else {
            FileType::File
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.attributes().contains(FileAttributes::DIRECTORY)
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        !self.is_dir()
    }

    /// Bytes in it.
    #[allow(clippy::len_without_is_empty, reason = "as std::fs::Metadata")]
    pub fn len(&self) -> u64 {
        self.facts.end_of_file
    }

    /// Bytes set aside for it.
    pub fn allocation_size(&self) -> u64 {
        self.facts.allocation_size
    }

    /// Attributes.
    pub fn attributes(&self) -> FileAttributes {
        self.facts.attributes
    }

    /// LastWriteTime.
    pub fn modified(&self) -> FileTime {
        self.facts.last_write
    }

    /// LastAccessTime.
    pub fn accessed(&self) -> FileTime {
        self.facts.last_access
    }

    /// CreationTime.
    pub fn created(&self) -> FileTime {
        self.facts.creation
    }

    /// ChangeTime.
    pub fn changed(&self) -> FileTime {
        self.facts.change
    }

    /// Tag of a reparse point; 0 where there is none or it was not told.
    pub fn reparse_tag(&self) -> u32 {
        self.reparse_tag
    }

    /// The file's number on its volume; 0 where it was not told.
    pub fn file_id(&self) -> u64 {
        self.file_id
    }

    /// Whether it is read-only.
    pub fn is_readonly(&self) -> bool {
        self.attributes().contains(FileAttributes::READONLY)
    }
}

/// Times to be set; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileTimes {
    /// CreationTime.
    pub created: Option<FileTime>,
    /// LastAccessTime.
    pub accessed: Option<FileTime>,
    /// LastWriteTime.
    pub modified: Option<FileTime>,
    /// ChangeTime.
    pub changed: Option<FileTime>,
}

impl FileTimes {
    /// The time of the last write alone.
    pub fn modified(time: FileTime) -> Self {
        Self {
            modified: Some(time),
            ..Self::default()
        }
    }
}

/// A `SystemTime` in the protocol's form.
pub(crate) fn file_time(time: SystemTime) -> FileTime {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => FileTime::from_unix(
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            since.subsec_nanos(),
        ),
        Err(_) => FileTime::from_unix(0, 0),
    }
}

/// One stream of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name without `:` and `:$DATA`; empty: the file's own data.
    pub name: String,
    /// Bytes in it.
    pub size: u64,
    /// Bytes set aside for it.
    pub allocation_size: u64,
}

/// A share's volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeInfo {
    /// Label.
    pub label: String,
    /// Serial number.
    pub serial: u32,
    /// Name of the file system.
    pub file_system: String,
    /// FileSystemAttributes, [MS-FSCC] 2.5.1.
    pub attributes: u32,
    /// Longest name, characters.
    pub max_component: u32,
    /// Bytes in all.
    pub total: u64,
    /// Bytes the user may still use.
    pub available: u64,
    /// Bytes free.
    pub free: u64,
    /// Bytes of an allocation unit.
    pub unit: u32,
}
