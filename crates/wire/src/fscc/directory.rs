//! [MS-FSCC] 2.4: the classes of a directory listing.

use super::class::file_class;
use super::flags::FileAttributes;
use crate::cursor::{Reader, Result, Writer, utf16_lossy};
use crate::dtyp::FileTime;

/// Which form the entries of a listing have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DirectoryClass {
    /// [MS-FSCC] 2.4.10 FileDirectoryInformation.
    Directory,
    /// [MS-FSCC] 2.4.14 FileFullDirectoryInformation.
    FullDirectory,
    /// [MS-FSCC] 2.4.8 FileBothDirectoryInformation.
    BothDirectory,
    /// [MS-FSCC] 2.4.33 FileNamesInformation.
    Names,
    /// [MS-FSCC] 2.4.22 FileIdBothDirectoryInformation.
    IdBothDirectory,
    /// [MS-FSCC] 2.4.23 FileIdFullDirectoryInformation.
    IdFullDirectory,
    /// [MS-FSCC] 2.4.21 FileIdExtdDirectoryInformation.
    IdExtdDirectory,
    /// [MS-FSCC] FileIdExtdBothDirectoryInformation.
    IdExtdBothDirectory,
}

impl DirectoryClass {
    /// From its number.
    pub fn from_u8(class: u8) -> Option<Self> {
        Some(match class {
            file_class::DIRECTORY => Self::Directory,
            file_class::FULL_DIRECTORY => Self::FullDirectory,
            file_class::BOTH_DIRECTORY => Self::BothDirectory,
            file_class::NAMES => Self::Names,
            file_class::ID_BOTH_DIRECTORY => Self::IdBothDirectory,
            file_class::ID_FULL_DIRECTORY => Self::IdFullDirectory,
            file_class::ID_EXTD_DIRECTORY => Self::IdExtdDirectory,
            file_class::ID_EXTD_BOTH_DIRECTORY => Self::IdExtdBothDirectory,
            _ => return None,
        })
    }

    /// Bytes of an entry in front of its name.
    pub fn fixed_len(self) -> usize {
        match self {
            Self::Names => 12,
            Self::Directory => 64,
            Self::FullDirectory => 68,
            Self::IdFullDirectory => 80,
            Self::BothDirectory => 94,
            Self::IdBothDirectory => 104,
            Self::IdExtdDirectory => 88,
            Self::IdExtdBothDirectory => 114,
        }
    }

    fn has_short_name(self) -> bool {
        matches!(
            self,
            Self::BothDirectory | Self::IdBothDirectory | Self::IdExtdBothDirectory
        )
    }
}

/// One entry; each class tells a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectoryEntry {
    /// FileIndex.
    pub file_index: u32,
    /// CreationTime.
    pub creation: FileTime,
    /// LastAccessTime.
    pub last_access: FileTime,
    /// LastWriteTime.
    pub last_write: FileTime,
    /// ChangeTime.
    pub change: FileTime,
    /// EndOfFile.
    pub end_of_file: u64,
    /// AllocationSize.
    pub allocation_size: u64,
    /// FileAttributes.
    pub attributes: FileAttributes,
    /// EaSize; for a reparse point the tag, in classes without a field for it.
    pub ea_size: u32,
    /// ReparsePointTag, in the classes with a field for it.
    pub reparse_tag: u32,
    /// ShortName; at most 12 UTF-16 units.
    pub short_name: String,
    /// FileId.
    pub file_id: u64,
    /// FileName.
    pub name: String,
}

impl DirectoryEntry {
    /// Bytes of the entry in a class, without padding behind it.
    pub fn encoded_len(&self, class: DirectoryClass) -> usize {
        class
            .fixed_len()
            .saturating_add(self.name.encode_utf16().count().saturating_mul(2))
    }

    /// Appends the entry with NextEntryOffset 0; the caller aligns to 8 and
    /// patches it.
    pub fn encode(&self, class: DirectoryClass, w: &mut Writer<'_>) {
        let name_len = u32::try_from(self.name.encode_utf16().count().saturating_mul(2));
        let name_len = name_len.unwrap_or(u32::MAX);
        w.u32(0);
        w.u32(self.file_index);
        if class == DirectoryClass::Names {
            w.u32(name_len);
            w.utf16(&self.name);
            return;
        }
        w.u64(self.creation.0);
        w.u64(self.last_access.0);
        w.u64(self.last_write.0);
        w.u64(self.change.0);
        w.u64(self.end_of_file);
        w.u64(self.allocation_size);
        w.u32(self.attributes.bits());
        w.u32(name_len);
        if class != DirectoryClass::Directory {
            w.u32(self.ea_size);
        }
        match class {
            DirectoryClass::IdFullDirectory => {
                w.u32(0);
                w.u64(self.file_id);
            }
            DirectoryClass::IdExtdDirectory | DirectoryClass::IdExtdBothDirectory => {
                w.u32(self.reparse_tag);
                w.u64(self.file_id);
                w.u64(0);
            }
            _ => {}
        }
        if class.has_short_name() {
            let mut short = Vec::with_capacity(24);
            Writer::new(&mut short).utf16(&self.short_name);
            short.truncate(24);
            w.u8(u8::try_from(short.len()).unwrap_or(24));
            w.u8(0);
            w.bytes(&short);
            w.zeros(24 - short.len());
        }
        if class == DirectoryClass::IdBothDirectory {
            w.u16(0);
            w.u64(self.file_id);
        }
        w.utf16(&self.name);
    }

    fn decode(
        class: DirectoryClass,
        bytes: &[u8],
        text: &dyn Fn(&[u8]) -> String,
    ) -> Result<(Self, usize)> {
        let mut r = Reader::new(bytes);
        let size = |v: u32| usize::try_from(v).unwrap_or(usize::MAX);
        r.skip(4, "NextEntryOffset")?;
        let mut out = Self {
            file_index: r.u32("FileIndex")?,
            ..Self::default()
        };
        if class == DirectoryClass::Names {
            let len = size(r.u32("FileNameLength")?);
            out.name = text(r.take(len, "FileName")?);
            return Ok((out, r.position()));
        }
        out.creation = FileTime(r.u64("CreationTime")?);
        out.last_access = FileTime(r.u64("LastAccessTime")?);
        out.last_write = FileTime(r.u64("LastWriteTime")?);
        out.change = FileTime(r.u64("ChangeTime")?);
        out.end_of_file = r.u64("EndOfFile")?;
        out.allocation_size = r.u64("AllocationSize")?;
        out.attributes = FileAttributes::from_bits_retain(r.u32("FileAttributes")?);
        let len = size(r.u32("FileNameLength")?);
        if class != DirectoryClass::Directory {
            out.ea_size = r.u32("EaSize")?;
        }
        match class {
            DirectoryClass::IdFullDirectory => {
                r.skip(4, "Reserved")?;
                out.file_id = r.u64("FileId")?;
            }
            DirectoryClass::IdExtdDirectory | DirectoryClass::IdExtdBothDirectory => {
                out.reparse_tag = r.u32("ReparsePointTag")?;
                out.file_id = r.u64("FileId")?;
                r.skip(8, "FileId")?;
            }
            _ => {}
        }
        if class.has_short_name() {
            let short = usize::from(r.u8("ShortNameLength")?);
            r.skip(1, "Reserved")?;
            let room = r.take(24, "ShortName")?;
            out.short_name = utf16_lossy(Reader::new(room).take(short, "ShortName")?);
        }
        if class == DirectoryClass::IdBothDirectory {
            r.skip(2, "Reserved2")?;
            out.file_id = r.u64("FileId")?;
        }
        out.name = text(r.take(len, "FileName")?);
        Ok((out, r.position()))
    }

    /// Reads a whole buffer of entries.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode_list(class: DirectoryClass, buffer: &[u8]) -> Result<Vec<Self>> {
        Self::decode_list_with(class, buffer, &utf16_lossy)
    }

    /// Reads a whole buffer of entries whose names `text` reads: those of an
    /// SMB1 server need not be UTF-16.
    ///
    /// # Errors
    /// [`DecodeError`](crate::DecodeError).
    pub fn decode_list_with(
        class: DirectoryClass,
        buffer: &[u8],
        text: &dyn Fn(&[u8]) -> String,
    ) -> Result<Vec<Self>> {
        let mut out = Vec::new();
        let mut rest = buffer;
        while !rest.is_empty() {
            let (entry, used) = Self::decode(class, rest, text)?;
            out.push(entry);
            let next = Reader::new(rest).u32("NextEntryOffset")?;
            let next = usize::try_from(next).unwrap_or(usize::MAX);
            match super::following(rest, next, used)? {
                Some(behind) => rest = behind,
                None => break,
            }
        }
        Ok(out)
    }
}
