//! Strings: UTF-16LE or a code page, aligned as the specification has it.

use super::code_page::CodePage;
use super::header::Flags2;
use crate::cursor::{DecodeError, Reader, Result, Writer, utf16_lossy};

/// How the strings of one message are written, [MS-CIFS] 2.2.1.1 and 2.2.3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// UTF-16LE; otherwise the code page.
    pub unicode: bool,
    /// Code page of strings that are not Unicode.
    pub code_page: CodePage,
}

impl Text {
    /// As Flags2 says.
    pub fn of(flags2: Flags2, code_page: CodePage) -> Self {
        Self {
            unicode: flags2.contains(Flags2::UNICODE),
            code_page,
        }
    }

    /// The same, for strings that are never Unicode.
    #[must_use]
    pub fn oem(self) -> Self {
        Self {
            unicode: false,
            ..self
        }
    }

    /// Reads a string up to its terminator, or to the end of what the reader
    /// has. Unicode strings begin at an even offset: a pad byte is passed over.
    pub fn read(self, r: &mut Reader<'_>) -> String {
        if !self.unicode {
            let rest = r.rest();
            let length = rest.iter().position(|b| *b == 0);
            let text = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
            let used = length.map_or(rest.len(), |l| l.saturating_add(1));
            let _ = r.skip(used, "string");
            return self.code_page.decode(text);
        }
        if r.position() % 2 == 1 && r.remaining() > 0 {
            let _ = r.skip(1, "pad");
        }
        let rest = r.rest();
        let (units, _) = rest.as_chunks::<2>();
        let length = units.iter().position(|u| *u == [0, 0]);
        let text = rest
            .get(..2 * length.unwrap_or(units.len()))
            .unwrap_or_default();
        let used = length.map_or(rest.len(), |l| 2 * l + 2);
        let _ = r.skip(used, "string");
        utf16_lossy(text)
    }

    /// Reads a string of exactly `length` bytes; what is behind a terminator is dropped.
    ///
    /// # Errors
    /// [`DecodeError::Short`] when fewer bytes are left.
    pub fn read_exact(
        self,
        r: &mut Reader<'_>,
        length: usize,
        field: &'static str,
    ) -> Result<String> {
        if self.unicode && r.position() % 2 == 1 && r.remaining() > length {
            r.skip(1, "pad")?;
        }
        Ok(self.decode(r.take(length, field)?))
    }

    /// Text of bytes, up to a terminator if there is one.
    pub fn decode(self, bytes: &[u8]) -> String {
        let mut r = Reader::new(bytes);
        self.read(&mut r)
    }

    /// Reads `0x04` and a string: the form of names in core commands, [MS-CIFS] 2.2.1.1.1.
    ///
    /// # Errors
    /// [`DecodeError`] when the format byte is missing or another one.
    pub fn read_formatted(self, r: &mut Reader<'_>, field: &'static str) -> Result<String> {
        match r.u8(field)? {
            0x04 => Ok(self.read(r)),
            _ => Err(DecodeError::Invalid {
                field,
                reason: "buffer format is not 0x04",
            }),
        }
    }

    /// Appends a string without terminator or alignment; gives the bytes added.
    pub fn write(self, w: &mut Writer<'_>, text: &str) -> usize {
        if self.unicode {
            return w.utf16(text);
        }
        let mut bytes = Vec::with_capacity(text.len());
        let n = self.code_page.encode(text, &mut bytes);
        w.bytes(&bytes);
        n
    }

    /// Appends a terminated string, aligned to 2 when Unicode; gives the bytes
    /// of the string with its terminator, without the pad.
    pub fn write_terminated(self, w: &mut Writer<'_>, text: &str) -> usize {
        if self.unicode {
            w.align(2);
        }
        let n = self.write(w, text);
        w.zeros(self.terminator());
        n.saturating_add(self.terminator())
    }

    /// Appends `0x04` and a terminated string, as core commands have names.
    pub fn write_formatted(self, w: &mut Writer<'_>, text: &str) {
        w.u8(4);
        self.write_terminated(w, text);
    }

    /// Bytes of a terminator.
    pub fn terminator(self) -> usize {
        if self.unicode { 2 } else { 1 }
    }

    /// The bytes of a string without terminator.
    pub fn encode(self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len().saturating_mul(2));
        self.write(&mut Writer::new(&mut out), text);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNICODE: Text = Text {
        unicode: true,
        code_page: CodePage::Cp850,
    };
    const OEM: Text = Text {
        unicode: false,
        code_page: CodePage::Cp850,
    };

    #[test]
    fn unicode_is_aligned_by_offset_from_the_header() {
        let bytes = [9, 0, b'a', 0, b'b', 0, 0, 0, 7];
        let mut r = Reader::new(&bytes);
        r.skip(1, "x").unwrap();
        assert_eq!(UNICODE.read(&mut r), "ab");
        assert_eq!(r.rest(), [7]);
    }

    #[test]
    fn a_missing_terminator_ends_with_the_bytes() {
        let mut r = Reader::new(b"a\0b\0c");
        assert_eq!(UNICODE.read(&mut r), "ab");
        assert_eq!(r.remaining(), 0);
        let mut r = Reader::new(b"abc");
        assert_eq!(OEM.read(&mut r), "abc");
        let mut r = Reader::new(b"");
        assert_eq!(OEM.read(&mut r), "");
    }

    #[test]
    fn formatted_names() {
        for text in [UNICODE, OEM] {
            let mut out = vec![0xEE];
            let mut w = Writer::with_base(&mut out, 0);
            text.write_formatted(&mut w, r"\dir\n\u{e4}me");
            w.u8(0x55);
            let mut r = Reader::new(&out);
            r.skip(1, "x").unwrap();
            assert_eq!(
                text.read_formatted(&mut r, "name").unwrap(),
                r"\dir\n\u{e4}me"
            );
            assert_eq!(r.rest(), [0x55]);
        }
        assert!(
            OEM.read_formatted(&mut Reader::new(b"\x05abc\0"), "name")
                .is_err()
        );
    }
}
