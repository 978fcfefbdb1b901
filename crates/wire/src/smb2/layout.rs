//! How all bodies are laid out: StructureSize first, buffers by offset and length.

use super::header::HEADER_LEN;
use crate::cursor::{DecodeError, Reader, Result, Writer};

/// A reader behind StructureSize, which must be `size`.
pub(super) fn body<'a>(message: &'a [u8], size: u16, name: &'static str) -> Result<Reader<'a>> {
    let mut r = Reader::new(message);
    r.seek(HEADER_LEN, name)?;
    if r.u16("StructureSize")? != size {
        return Err(DecodeError::Invalid {
            field: name,
            reason: "wrong StructureSize",
        });
    }
    Ok(r)
}

/// The buffer of `length` bytes at `offset` from the header. An empty one may
/// have any offset; another must lie behind the `fixed` bytes of the body.
pub(super) fn buffer<'a>(
    r: &Reader<'a>,
    offset: usize,
    length: usize,
    fixed: usize,
    name: &'static str,
) -> Result<&'a [u8]> {
    if length == 0 {
        return Ok(&[]);
    }
    if offset < HEADER_LEN + fixed {
        return Err(DecodeError::Invalid {
            field: name,
            reason: "lies inside the fixed part",
        });
    }
    r.at(offset, length, name)
}

/// `u32` as a size on this machine; a value that does not fit is one no buffer has.
pub(super) fn size(v: u32) -> usize {
    usize::try_from(v).unwrap_or(usize::MAX)
}

/// UTF-16 comes in pairs of bytes.
pub(super) fn even<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a [u8]> {
    if bytes.len().is_multiple_of(2) {
        Ok(bytes)
    } else {
        Err(DecodeError::Invalid {
            field,
            reason: "odd length of UTF-16",
        })
    }
}

/// Length of a buffer in a 16-bit field; encoders are given what fits.
pub(super) fn len16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

/// Length of a buffer in a 32-bit field.
pub(super) fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// The writer's place as a 16-bit offset.
pub(super) fn here16(w: &Writer<'_>) -> u16 {
    u16::try_from(w.len()).unwrap_or(u16::MAX)
}

/// The writer's place as a 32-bit offset.
pub(super) fn here32(w: &Writer<'_>) -> u32 {
    u32::try_from(w.len()).unwrap_or(u32::MAX)
}
