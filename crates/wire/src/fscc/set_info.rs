//! [MS-FSCC] 2.4: what is set on a file.

use super::fixed::fixed;
use crate::cursor::{DecodeError, Reader, Result, Writer, utf16_lossy};

fixed! {
    /// [MS-FSCC] 2.4.11 FileDispositionInformation.
    DispositionInformation = 1 {
        /// DeletePending.
        delete_pending: bool;
    }

    /// [MS-FSCC] 2.4.11.1 FileDispositionInformationEx.
    DispositionInformationEx = 4 {
        /// Flags, see [`disposition_flags`].
        flags: u32;
    }

    /// [MS-FSCC] 2.4.4 FileAllocationInformation.
    AllocationInformation = 8 {
        /// AllocationSize.
        allocation_size: u64;
    }

    /// [MS-FSCC] 2.4.12 FileEndOfFileInformation.
    EndOfFileInformation = 8 {
        /// EndOfFile.
        end_of_file: u64;
    }

    /// [MS-FSCC] 2.4.50 FileValidDataLengthInformation.
    ValidDataLengthInformation = 8 {
        /// ValidDataLength.
        valid_data_length: u64;
    }
}

/// Flags of [`DispositionInformationEx`].
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod disposition_flags {
    pub const DELETE: u32 = 0x01;
    pub const POSIX_SEMANTICS: u32 = 0x02;
    pub const FORCE_IMAGE_SECTION_CHECK: u32 = 0x04;
    pub const ON_CLOSE: u32 = 0x08;
    pub const IGNORE_READONLY_ATTRIBUTE: u32 = 0x10;
}

/// Flags of FileRenameInformationEx, [MS-FSCC] 2.4.43.
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod rename_flags {
    pub const REPLACE_IF_EXISTS: u32 = 0x01;
    pub const POSIX_SEMANTICS: u32 = 0x02;
    pub const IGNORE_READONLY_ATTRIBUTE: u32 = 0x40;
}

/// [MS-FSCC] 2.4.42 FileRenameInformation and 2.4.27 FileLinkInformation,
/// which have one form; the Ex classes have flags in place of ReplaceIfExists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameInformation {
    /// Flags as in [`rename_flags`]; without Ex only `REPLACE_IF_EXISTS`.
    pub flags: u32,
    /// RootDirectory.
    pub root_directory: u64,
    /// FileName.
    pub name: String,
}

impl RenameInformation {
    /// Bytes in front of the name, in the form of SMB2.
    pub const FIXED: usize = 20;

    /// Whether an existing file is replaced.
    pub fn replace(&self) -> bool {
        self.flags & rename_flags::REPLACE_IF_EXISTS != 0
    }

    /// Reads the form of SMB2 (type 2, with a 64-bit RootDirectory).
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_smb2(buffer: &[u8], ex: bool) -> Result<Self> {
        let mut r = Reader::new(buffer);
        let flags = if ex {
            let flags = r.u32("Flags")?;
            r.skip(4, "Reserved")?;
            flags
        } else {
            let replace = r.u8("ReplaceIfExists")? != 0;
            r.skip(7, "Reserved")?;
            u32::from(replace)
        };
        let root_directory = r.u64("RootDirectory")?;
        Ok(Self {
            flags,
            root_directory,
            name: decode_target(&mut r)?,
        })
    }

    /// Reads the form of SMB1 (type 1, with a 32-bit RootDirectory).
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode_smb1(buffer: &[u8]) -> Result<Self> {
        let mut r = Reader::new(buffer);
        let replace = r.u8("ReplaceIfExists")? != 0;
        r.skip(3, "Reserved")?;
        let root_directory = u64::from(r.u32("RootDirectory")?);
        let flags = u32::from(replace);
        Ok(Self {
            flags,
            root_directory,
            name: decode_target(&mut r)?,
        })
    }

    /// Appends the form of SMB1 (type 1, with a 32-bit RootDirectory).
    pub fn encode_smb1(&self, w: &mut Writer<'_>) {
        w.u8(u8::from(self.replace()));
        w.zeros(3);
        w.u32(u32::try_from(self.root_directory).unwrap_or(0));
        super::encode_name(&self.name, w);
    }

    /// Appends the form of SMB2.
    pub fn encode_smb2(&self, ex: bool, w: &mut Writer<'_>) {
        if ex {
            w.u32(self.flags);
            w.u32(0);
        } else {
            w.u8(u8::from(self.replace()));
            w.zeros(7);
        }
        w.u64(self.root_directory);
        super::encode_name(&self.name, w);
    }
}

fn decode_target(r: &mut Reader<'_>) -> Result<String> {
    let length = usize::try_from(r.u32("FileNameLength")?).unwrap_or(usize::MAX);
    if length % 2 != 0 {
        let (field, reason) = ("FileNameLength", "is odd");
        return Err(DecodeError::Invalid { field, reason });
    }
    Ok(utf16_lossy(r.take(length, "FileName")?))
}
