//! [MS-FSCC] 2.1.2 reparse points.

use crate::cursor::{DecodeError, Reader, Result, Writer, utf16_lossy};

/// Reparse tags, [MS-FSCC] 2.1.2.1.
#[allow(missing_docs, reason = "the names are the specification's")]
pub mod reparse_tag {
    pub const MOUNT_POINT: u32 = 0xA000_0003;
    pub const SYMLINK: u32 = 0xA000_000C;
    pub const DFS: u32 = 0x8000_000A;
    pub const NFS: u32 = 0x8000_0014;
    pub const LX_SYMLINK: u32 = 0xA000_001D;
    pub const AF_UNIX: u32 = 0x8000_0023;
    pub const LX_FIFO: u32 = 0x8000_0024;
    pub const LX_CHR: u32 = 0x8000_0025;
    pub const LX_BLK: u32 = 0x8000_0026;
}

/// Most bytes of reparse data.
pub const MAX_REPARSE_DATA: usize = 16 * 1024;

/// [MS-FSCC] 2.1.2.2 REPARSE_DATA_BUFFER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReparseBuffer<'a> {
    /// ReparseTag.
    pub tag: u32,
    /// ReparseGuid, for tags that are not Microsoft's.
    pub guid: Option<[u8; 16]>,
    /// DataBuffer.
    pub data: &'a [u8],
}

impl<'a> ReparseBuffer<'a> {
    /// Reads it. ReparseDataLength must cover exactly the rest.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(buffer: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(buffer);
        let tag = r.u32("ReparseTag")?;
        let length = usize::from(r.u16("ReparseDataLength")?);
        r.skip(2, "Reserved")?;
        let guid = if tag & 0x8000_0000 == 0 {
            Some(r.array("ReparseGuid")?)
        } else {
            None
        };
        if r.remaining() != length {
            let (field, reason) = ("ReparseDataLength", "is not the length of the data");
            return Err(DecodeError::Invalid { field, reason });
        }
        Ok(Self {
            tag,
            guid,
            data: r.rest(),
        })
    }

    /// Appends it.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.u32(self.tag);
        w.u16(u16::try_from(self.data.len()).unwrap_or(u16::MAX));
        w.u16(0);
        if let Some(guid) = &self.guid {
            w.bytes(guid);
        }
        w.bytes(self.data);
    }
}

/// [MS-FSCC] 2.1.2.4 Symbolic Link Reparse Data Buffer, behind its tag and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymlinkReparse {
    /// SubstituteName.
    pub substitute_name: String,
    /// PrintName.
    pub print_name: String,
    /// Flags: 1 = SYMLINK_FLAG_RELATIVE.
    pub flags: u32,
}

impl SymlinkReparse {
    /// Reads the data buffer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(data: &[u8]) -> Result<Self> {
        let mut r = Reader::new(data);
        let substitute_at = usize::from(r.u16("SubstituteNameOffset")?);
        let substitute_len = usize::from(r.u16("SubstituteNameLength")?);
        let print_at = usize::from(r.u16("PrintNameOffset")?);
        let print_len = usize::from(r.u16("PrintNameLength")?);
        let flags = r.u32("Flags")?;
        let names = Reader::new(r.rest());
        Ok(Self {
            substitute_name: utf16_lossy(names.at(
                substitute_at,
                substitute_len,
                "SubstituteName",
            )?),
            print_name: utf16_lossy(names.at(print_at, print_len, "PrintName")?),
            flags,
        })
    }

    /// Appends the data buffer.
    pub fn encode(&self, w: &mut Writer<'_>) {
        let bytes = |s: &str| u16::try_from(s.encode_utf16().count() * 2).unwrap_or(u16::MAX);
        let substitute = bytes(&self.substitute_name);
        w.u16(0);
        w.u16(substitute);
        w.u16(substitute);
        w.u16(bytes(&self.print_name));
        w.u32(self.flags);
        w.utf16(&self.substitute_name);
        w.utf16(&self.print_name);
    }
}
