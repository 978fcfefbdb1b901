//! Integers at fixed places of messages.

/// A little-endian integer of two bytes.
pub(crate) fn le16(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

/// A little-endian integer of four bytes.
pub(crate) fn le32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

/// A little-endian integer of eight bytes.
pub(crate) fn le64(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

/// A big-endian integer of two bytes.
pub(crate) fn be16(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// A big-endian integer of four bytes.
pub(crate) fn be32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// An offset and a length of two bytes each, and what they describe.
pub(crate) fn buffer(data: &[u8], offset_at: usize, length_at: usize) -> Option<&[u8]> {
    let offset = usize::from(le16(data, offset_at)?);
    let length = usize::from(le16(data, length_at)?);
    if length == 0 {
        return Some(&[]);
    }
    data.get(offset..offset.checked_add(length)?)
}

/// Where `needle` begins in `data`.
pub(crate) fn find(data: &[u8], needle: &[u8]) -> Option<usize> {
    data.windows(needle.len()).position(|w| w == needle)
}
