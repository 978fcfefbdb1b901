//! Bounds-checked little-endian reading and writing.
//!
//! Sizes are bytes, offsets are counted from the start of the slice the
//! [`Reader`] was made from (usually the first byte of the SMB header).

/// Why bytes could not be decoded. Small and static: made at frame rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the field needs.
    #[error("{field}: {needed} bytes needed, {left} left")]
    Short {
        /// The field being read.
        field: &'static str,
        /// Bytes the field needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A value the specification does not allow.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field with the wrong value.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Result of a decoder.
pub type Result<T> = core::result::Result<T, DecodeError>;

/// Reads little-endian values from a slice; never panics.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    all: &'a [u8],
    pos: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, pos: 0 }
    }

    /// Offset of the next byte from the start of the slice.
    pub fn position(&self) -> usize {
        self.pos
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.all.len().saturating_sub(self.pos)
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.all.get(self.pos..).unwrap_or_default()
    }

    /// The whole slice the reader was made from.
    pub fn all(&self) -> &'a [u8] {
        self.all
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer are left.
    pub fn take(&mut self, n: usize, field: &'static str) -> Result<&'a [u8]> {
        let left = self.remaining();
        let short = DecodeError::Short {
            field,
            needed: n,
            left,
        };
        let end = self.pos.checked_add(n).ok_or(short)?;
        let out = self.all.get(self.pos..end).ok_or(short)?;
        self.pos = end;
        Ok(out)
    }

    /// Passes over `n` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer are left.
    pub fn skip(&mut self, n: usize, field: &'static str) -> Result<()> {
        self.take(n, field).map(|_| ())
    }

    /// Moves to `offset` from the start of the slice (forward or back).
    ///
    /// # Errors
    /// [`DecodeError::Short`] when the offset is behind the end.
    pub fn seek(&mut self, offset: usize, field: &'static str) -> Result<()> {
        if offset > self.all.len() {
            return Err(DecodeError::Short {
                field,
                needed: offset,
                left: self.all.len(),
            });
        }
        self.pos = offset;
        Ok(())
    }

    /// `len` bytes at `offset` from the start of the slice, without moving.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when the range does not lie inside the slice.
    pub fn at(&self, offset: usize, len: usize, field: &'static str) -> Result<&'a [u8]> {
        let left = self.all.len().saturating_sub(offset);
        let short = DecodeError::Short {
            field,
            needed: len,
            left,
        };
        let end = offset.checked_add(len).ok_or(short)?;
        self.all.get(offset..end).ok_or(short)
    }

    /// An array of `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, field)?);
        Ok(out)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`] at the end.
    pub fn u8(&mut self, field: &'static str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    /// A 16-bit value, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer than 2 bytes are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    /// A 32-bit value, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer than 4 bytes are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// A 64-bit value, little-endian.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer than 8 bytes are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }
}

/// Appends little-endian values to a buffer; offsets are counted from the
/// buffer position at which the writer was made.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    base: usize,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`; [`Writer::len`] counts from here.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let base = out.len();
        Self { out, base }
    }

    /// A writer that appends to `out` and counts offsets from `base` (at most
    /// the present length of `out`).
    pub fn with_base(out: &'a mut Vec<u8>, base: usize) -> Self {
        let base = base.min(out.len());
        Self { out, base }
    }

    /// Bytes written so far, counted from the base.
    pub fn len(&self) -> usize {
        self.out.len().saturating_sub(self.base)
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends bytes.
    pub fn bytes(&mut self, v: &[u8]) {
        self.out.extend_from_slice(v);
    }

    /// Appends `n` zero bytes.
    pub fn zeros(&mut self, n: usize) {
        self.out.resize(self.out.len().saturating_add(n), 0);
    }

    /// Appends zeros until the offset is a multiple of `to` (a power of two).
    pub fn align(&mut self, to: usize) {
        let over = self.len() % to.max(1);
        if over != 0 {
            self.zeros(to - over);
        }
    }

    /// Appends one byte.
    pub fn u8(&mut self, v: u8) {
        self.out.push(v);
    }

    /// Appends a 16-bit value.
    pub fn u16(&mut self, v: u16) {
        self.bytes(&v.to_le_bytes());
    }

    /// Appends a 32-bit value.
    pub fn u32(&mut self, v: u32) {
        self.bytes(&v.to_le_bytes());
    }

    /// Appends a 64-bit value.
    pub fn u64(&mut self, v: u64) {
        self.bytes(&v.to_le_bytes());
    }

    /// Appends a string as UTF-16LE without terminator; gives the bytes added.
    pub fn utf16(&mut self, s: &str) -> usize {
        let before = self.out.len();
        for unit in s.encode_utf16() {
            self.u16(unit);
        }
        self.out.len() - before
    }

    /// Writes `v` over the two bytes at `offset` from the base; nothing happens
    /// when they were not written yet.
    pub fn patch_u16(&mut self, offset: usize, v: u16) {
        self.patch(offset, &v.to_le_bytes());
    }

    /// Writes `v` over the four bytes at `offset` from the base; nothing happens
    /// when they were not written yet.
    pub fn patch_u32(&mut self, offset: usize, v: u32) {
        self.patch(offset, &v.to_le_bytes());
    }

    fn patch(&mut self, offset: usize, v: &[u8]) {
        let start = self.base.saturating_add(offset);
        if let Some(place) = self.out.get_mut(start..start.saturating_add(v.len())) {
            place.copy_from_slice(v);
        }
    }
}

/// Decodes UTF-16LE; unpaired surrogates become U+FFFD, an odd last byte is left out.
pub fn utf16_lossy(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|p| u16::from_le_bytes(*p)))
        .map(|r| r.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_refuses_what_is_not_there() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(r.u16("a").unwrap(), 0x0201);
        assert!(r.u16("b").is_err());
        assert_eq!(r.u8("c").unwrap(), 3);
        assert!(r.at(usize::MAX, 2, "d").is_err());
        assert!(r.at(1, usize::MAX, "e").is_err());
        assert!(r.seek(4, "f").is_err());
    }

    #[test]
    fn writer_aligns_and_patches_from_its_base() {
        let mut out = vec![9, 9, 9];
        let mut w = Writer::new(&mut out);
        w.u8(1);
        w.align(4);
        w.u32(7);
        w.patch_u32(4, 8);
        w.patch_u32(100, 8);
        assert_eq!(out, [9, 9, 9, 1, 0, 0, 0, 8, 0, 0, 0]);
    }
}
