//! NDR, the transfer syntax of DCE/RPC (C706 chapter 14): 32-bit form, bounded.

/// The arguments cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed NDR")]
pub struct NdrError;

type Result<T> = core::result::Result<T, NdrError>;

/// Most characters in a string argument.
pub const MAX_STRING: usize = 4096;

/// Reads arguments, in the byte order of their PDU.
#[derive(Debug, Clone)]
pub struct NdrReader<'a> {
    data: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> NdrReader<'a> {
    /// At the start of a stub.
    pub fn new(data: &'a [u8], big_endian: bool) -> Self {
        Self {
            data,
            at: 0,
            big_endian,
        }
    }

    /// Passes over padding to a multiple of `to`.
    pub fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to.max(1));
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or(NdrError)?;
        let out = self.data.get(self.at..end).ok_or(NdrError)?;
        self.at = end;
        Ok(out)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N);
        let mut out: [u8; N] = self.bytes(N)?.try_into().map_err(|_| NdrError)?;
        if self.big_endian {
            out.reverse();
        }
        Ok(out)
    }

    /// unsigned short.
    ///
    /// # Errors
    /// At the end.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// unsigned long.
    ///
    /// # Errors
    /// At the end.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A count that is used to read on.
    ///
    /// # Errors
    /// At the end.
    pub fn count(&mut self) -> Result<usize> {
        usize::try_from(self.u32()?).map_err(|_| NdrError)
    }

    /// A unique pointer: whether something is behind it.
    ///
    /// # Errors
    /// At the end.
    pub fn pointer(&mut self) -> Result<bool> {
        Ok(self.u32()? != 0)
    }

    /// A UUID, in the bytes of the little-endian form.
    ///
    /// # Errors
    /// At the end.
    pub fn uuid(&mut self) -> Result<[u8; 16]> {
        let a = self.u32()?.to_le_bytes();
        let b = self.u16()?.to_le_bytes();
        let c = self.u16()?.to_le_bytes();
        let d = self.bytes(8)?;
        let mut out = [0; 16];
        let all = a.iter().chain(&b).chain(&c).chain(d);
        for (to, from) in out.iter_mut().zip(all) {
            *to = *from;
        }
        Ok(out)
    }

    /// The elements of a varying array of 16-bit units, as text up to a zero.
    fn units(&mut self, count: usize) -> Result<String> {
        if count > MAX_STRING {
            return Err(NdrError);
        }
        let mut units = Vec::with_capacity(count);
        for _ in 0..count {
            units.push(self.u16()?);
        }
        let end = units.iter().position(|u| *u == 0).unwrap_or(units.len());
        Ok(String::from_utf16_lossy(
            units.get(..end).unwrap_or_default(),
        ))
    }

    /// `[string] wchar_t*` behind a reference pointer: conformant and varying.
    ///
    /// # Errors
    /// When the counts do not fit, or the end comes.
    pub fn string(&mut self) -> Result<String> {
        let max = self.count()?;
        let offset = self.count()?;
        let actual = self.count()?;
        if offset != 0 || actual > max {
            return Err(NdrError);
        }
        self.units(actual)
    }

    /// `[unique, string] wchar_t*`.
    ///
    /// # Errors
    /// As [`NdrReader::string`].
    pub fn unique_string(&mut self) -> Result<Option<String>> {
        if self.pointer()? {
            self.string().map(Some)
        } else {
            Ok(None)
        }
    }

    /// `[unique] unsigned long*`.
    ///
    /// # Errors
    /// At the end.
    pub fn unique_u32(&mut self) -> Result<Option<u32>> {
        if self.pointer()? {
            self.u32().map(Some)
        } else {
            Ok(None)
        }
    }

    /// RPC_SID, [MS-DTYP] 2.4.2.3, as the bytes of a SID.
    ///
    /// # Errors
    /// When the counts do not fit, or the end comes.
    pub fn sid(&mut self) -> Result<Vec<u8>> {
        let max = self.count()?;
        let head = self.bytes(8)?;
        let count = usize::from(head.get(1).copied().unwrap_or(0));
        if count != max || count > 15 {
            return Err(NdrError);
        }
        let mut out = head.to_vec();
        for _ in 0..count {
            out.extend_from_slice(&self.u32()?.to_le_bytes());
        }
        Ok(out)
    }
}

/// What a pointer written before points to.
#[derive(Debug)]
enum Deferred {
    /// `[string] wchar_t*`.
    Text(String),
    /// RPC_UNICODE_STRING's buffer: no terminator.
    Units(Vec<u16>),
    /// A conformant array of bytes.
    Bytes(Vec<u8>),
    /// RPC_SID.
    Sid(Vec<u8>),
}

/// Writes a response's stub, little-endian. Pointers written in structures are
/// followed by what they point to at the next [`NdrWriter::referents`].
#[derive(Debug, Default)]
pub struct NdrWriter {
    out: Vec<u8>,
    deferred: Vec<Deferred>,
    pointers: u32,
}

impl NdrWriter {
    /// An empty stub.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stub.
    pub fn finish(mut self) -> Vec<u8> {
        self.referents();
        self.out
    }

    /// Pads to a multiple of `to`.
    pub fn align(&mut self, to: usize) {
        self.out
            .resize(self.out.len().next_multiple_of(to.max(1)), 0);
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// unsigned short.
    pub fn u16(&mut self, v: u16) {
        self.align(2);
        self.bytes(&v.to_le_bytes());
    }

    /// unsigned long.
    pub fn u32(&mut self, v: u32) {
        self.align(4);
        self.bytes(&v.to_le_bytes());
    }

    /// A count of elements; what does not fit is said to be the most.
    pub fn count(&mut self, n: usize) {
        self.u32(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// A unique pointer; its referent comes next, or later.
    pub fn pointer(&mut self, present: bool) {
        if present {
            self.pointers = self.pointers.wrapping_add(4);
            self.u32(0x0002_0000 | self.pointers);
        } else {
            self.u32(0);
        }
    }

    /// A pointer in a structure to `[string] wchar_t*`.
    pub fn text(&mut self, text: &str) {
        self.pointer(true);
        self.deferred.push(Deferred::Text(text.to_owned()));
    }

    /// A null pointer.
    pub fn null(&mut self) {
        self.pointer(false);
    }

    /// A pointer in a structure to a conformant array of bytes; null for `None`.
    pub fn byte_array(&mut self, bytes: Option<&[u8]>) {
        self.pointer(bytes.is_some());
        if let Some(bytes) = bytes {
            self.deferred.push(Deferred::Bytes(bytes.to_vec()));
        }
    }

    /// RPC_UNICODE_STRING, [MS-DTYP] 2.3.10.
    pub fn unicode_string(&mut self, text: &str) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let bytes = u16::try_from(units.len() * 2).unwrap_or(0);
        self.align(4);
        self.u16(bytes);
        self.u16(bytes);
        self.pointer(bytes != 0);
        if bytes != 0 {
            self.deferred.push(Deferred::Units(units));
        }
    }

    /// A pointer in a structure to a RPC_SID, given as the bytes of a SID.
    pub fn sid(&mut self, sid: Option<&[u8]>) {
        self.pointer(sid.is_some());
        if let Some(sid) = sid {
            self.deferred.push(Deferred::Sid(sid.to_vec()));
        }
    }

    /// Writes what the pointers written since the last time point to.
    pub fn referents(&mut self) {
        for deferred in core::mem::take(&mut self.deferred) {
            match deferred {
                Deferred::Text(text) => self.string(&text),
                Deferred::Units(units) => {
                    self.count(units.len());
                    self.u32(0);
                    self.count(units.len());
                    for unit in units {
                        self.u16(unit);
                    }
                }
                Deferred::Bytes(bytes) => {
                    self.count(bytes.len());
                    self.bytes(&bytes);
                    self.align(4);
                }
                Deferred::Sid(sid) => {
                    self.count(usize::from(sid.get(1).copied().unwrap_or(0)));
                    self.bytes(&sid);
                }
            }
        }
    }

    /// `[string] wchar_t*`, conformant and varying, with its terminator.
    pub fn string(&mut self, text: &str) {
        let units: Vec<u16> = text.encode_utf16().chain([0]).collect();
        self.count(units.len());
        self.u32(0);
        self.count(units.len());
        for unit in units {
            self.u16(unit);
        }
        self.align(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_as_written() {
        let mut w = NdrWriter::new();
        w.u16(7);
        w.pointer(true);
        w.string("Größe");
        w.u32(9);
        let stub = w.finish();
        let mut r = NdrReader::new(&stub, false);
        assert_eq!(r.u16(), Ok(7));
        assert_eq!(r.unique_string(), Ok(Some("Größe".to_owned())));
        assert_eq!(r.u32(), Ok(9));
        assert_eq!(r.u32(), Err(NdrError));
    }

    #[test]
    fn referents_follow_in_order() {
        let mut w = NdrWriter::new();
        w.text("a");
        w.null();
        w.unicode_string("bc");
        w.byte_array(Some(&[1, 2, 3]));
        let stub = w.finish();
        let expected = "04000200000000000400040008000200\
            0c00020002000000000000000200000061000000\
            02000000000000000200000062006300030000000102030\
            0";
        assert_eq!(hex::encode(stub), expected);
    }

    #[test]
    fn big_endian_arguments() {
        let mut r = NdrReader::new(&[0, 7, 0, 0, 1, 2, 3, 4], true);
        assert_eq!(r.u16(), Ok(7));
        assert_eq!(r.u32(), Ok(0x0102_0304));
    }

    #[test]
    fn counts_that_lie_are_refused() {
        let huge = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(NdrReader::new(&huge, false).string(), Err(NdrError));
        let more_than_room = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0x61, 0, 0x62, 0];
        assert_eq!(
            NdrReader::new(&more_than_room, false).string(),
            Err(NdrError)
        );
        let sid = [2, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(NdrReader::new(&sid, false).sid(), Err(NdrError));
    }
}
