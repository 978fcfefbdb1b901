//! DOS attributes and creation time in `user.DOSATTRIB`, in the form that
//! Samba reads and writes, so that folders can move between the two.
//!
//! Layout (NDR, little-endian): an empty string (one zero byte, one of padding),
//! version (2), version again (2), two of padding, then by version
//! - 3: valid flags, attributes, EA size, size (8), allocation (8), creation (8), change (8)
//! - 4: valid flags, attributes, (8) of another time, creation (8)
//! - 5: valid flags, attributes, creation (8)
//!
//! Before version 1 it was a string such as `0x22`. Version 4 is written.

use countersign_wire::dtyp::FileTime;
use countersign_wire::fscc::FileAttributes;

const VALID_ATTRIBUTES: u32 = 0x01;
const VALID_CREATION: u32 = 0x10;

/// What is stored: attributes, and the creation time when it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DosInfo {
    pub(crate) attributes: Option<FileAttributes>,
    pub(crate) creation: Option<FileTime>,
}

/// Attributes a client can set and that are kept.
pub(crate) fn settable() -> FileAttributes {
    FileAttributes::READONLY
        | FileAttributes::HIDDEN
        | FileAttributes::SYSTEM
        | FileAttributes::ARCHIVE
        | FileAttributes::TEMPORARY
        | FileAttributes::OFFLINE
        | FileAttributes::NOT_CONTENT_INDEXED
}

impl DosInfo {
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        if value.starts_with(b"0x") {
            let hex = value.split(|b| *b == 0).next()?.strip_prefix(b"0x")?;
            let bits = u32::from_str_radix(core::str::from_utf8(hex).ok()?, 16).ok()?;
            return Some(Self {
                attributes: Some(FileAttributes::from_bits_retain(bits)),
                creation: None,
            });
        }
        let version = u16::from_le_bytes(*value.get(2..)?.first_chunk()?);
        let flags = u32::from_le_bytes(*value.get(8..)?.first_chunk()?);
        let bits = u32::from_le_bytes(*value.get(12..)?.first_chunk()?);
        let creation_at = match version {
            3 => 36,
            4 => 24,
            5 => 16,
            _ => return None,
        };
        let creation = if flags & VALID_CREATION != 0 {
            let raw = u64::from_le_bytes(*value.get(creation_at..)?.first_chunk()?);
            Some(FileTime(raw)).filter(|t| t.0 != 0)
        } else {
            None
        };
        let attributes =
            (flags & VALID_ATTRIBUTES != 0).then(|| FileAttributes::from_bits_retain(bits));
        Some(Self {
            attributes,
            creation,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        if self.attributes.is_some() {
            flags |= VALID_ATTRIBUTES;
        }
        if self.creation.is_some() {
            flags |= VALID_CREATION;
        }
        let mut out = vec![0, 0, 4, 0, 4, 0, 0, 0];
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.attributes.unwrap_or_default().bits().to_le_bytes());
        out.extend_from_slice(&0u64.to_le_bytes());
        out.extend_from_slice(&self.creation.unwrap_or_default().0.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_samba_wrote_is_read() {
        // attributes 0x20, both times 2020-06-09.
        let value = hex("00000400040000005100000020000000 01ca610f0c3ed601 01ca610f0c3ed602");
        let info = DosInfo::decode(&value).unwrap();
        assert_eq!(info.attributes, Some(FileAttributes::ARCHIVE));
        assert_eq!(info.creation, Some(FileTime(0x02d6_3e0c_0f61_ca01)));
        let info = DosInfo::decode(b"0x22\0\0").unwrap();
        assert_eq!(
            info.attributes,
            Some(FileAttributes::ARCHIVE | FileAttributes::HIDDEN)
        );
        for cut in 0..value.len() {
            let _ = DosInfo::decode(value.get(..cut).unwrap());
        }
    }

    #[test]
    fn what_is_written_comes_back() {
        let times = [None, Some(FileTime(133_000_000_000_000_000))];
        for creation in times {
            for attributes in [None, Some(FileAttributes::HIDDEN)] {
                let info = DosInfo {
                    attributes,
                    creation,
                };
                assert_eq!(DosInfo::decode(&info.encode()), Some(info));
            }
        }
    }

    fn hex(s: &str) -> Vec<u8> {
        let digits: Vec<u32> = s.chars().filter_map(|c| c.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|d| u8::try_from(d[0] * 16 + d[1]).unwrap())
            .collect()
    }
}
