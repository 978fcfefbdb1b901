//! Text files as they come: encoding, lines and their ends are kept.

use super::{Flaw, Flaws};

/// How the characters of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-16, little-endian, with a byte order mark: what Windows writes.
    Utf16Le,
    /// UTF-16, little-endian, without.
    Utf16LeBare,
    /// UTF-16, big-endian, with a byte order mark.
    Utf16Be,
    /// UTF-8 with a byte order mark.
    Utf8Mark,
    /// UTF-8 or ASCII.
    Utf8,
    /// A code page of one byte a character. Read as Windows-1252, whatever it is: what
    /// is written back has the same bytes.
    Ansi,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// CR LF.
    CrLf,
    /// LF.
    Lf,
    /// CR.
    Cr,
    /// The file ends here.
    None,
}

impl Ending {
    const fn text(self) -> &'static str {
        match self {
            Ending::CrLf => "\r\n",
            Ending::Lf => "\n",
            Ending::Cr => "\r",
            Ending::None => "",
        }
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without its end.
    pub text: String,
    /// Its end.
    pub ending: Ending,
}

/// A file of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// How it is written.
    pub encoding: Encoding,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Text {
    /// A new file as Windows writes it: lines with CR LF.
    pub fn new<'a>(encoding: Encoding, lines: impl IntoIterator<Item = &'a str>) -> Text {
        let lines = lines
            .into_iter()
            .map(|text| Line {
                text: text.to_owned(),
                ending: Ending::CrLf,
            })
            .collect();
        Text { encoding, lines }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When its characters cannot be read.
    pub fn decode(bytes: &[u8]) -> Result<Text, Flaws> {
        let (encoding, text) = match bytes {
            [0xFF, 0xFE, rest @ ..] => (Encoding::Utf16Le, utf16(rest, u16::from_le_bytes)?),
            [0xFE, 0xFF, rest @ ..] => (Encoding::Utf16Be, utf16(rest, u16::from_be_bytes)?),
            [0xEF, 0xBB, 0xBF, rest @ ..] => match std::str::from_utf8(rest) {
                Ok(text) => (Encoding::Utf8Mark, text.to_owned()),
                Err(error) => {
                    let before = rest.get(..error.valid_up_to()).unwrap_or_default();
                    let (line, column) = after(&String::from_utf8_lossy(before));
                    return Err(Flaw::at(line, column, "not UTF-8, though marked as such").into());
                }
            },
            [first, 0, second, 0, ..] if *first != 0 && *second != 0 => {
                (Encoding::Utf16LeBare, utf16(bytes, u16::from_le_bytes)?)
            }
            _ => match std::str::from_utf8(bytes) {
                Ok(text) => (Encoding::Utf8, text.to_owned()),
                Err(_) => (
                    Encoding::Ansi,
                    bytes.iter().map(|byte| from_ansi(*byte)).collect(),
                ),
            },
        };
        if let Some(at) = text.find('\0') {
            let (line, column) = after(text.get(..at).unwrap_or_default());
            return Err(Flaw::at(line, column, "a NUL character in a text file").into());
        }
        Ok(Text {
            encoding,
            lines: split(&text),
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&line.text);
            text.push_str(line.ending.text());
        }
        let mut out = Vec::new();
        match self.encoding {
            Encoding::Utf16Le | Encoding::Utf16LeBare => {
                if self.encoding == Encoding::Utf16Le {
                    out.extend([0xFF, 0xFE]);
                }
                out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            }
            Encoding::Utf16Be => {
                out.extend([0xFE, 0xFF]);
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
            }
            Encoding::Utf8Mark => {
                out.extend([0xEF, 0xBB, 0xBF]);
                out.extend(text.bytes());
            }
            Encoding::Utf8 => out.extend(text.bytes()),
            Encoding::Ansi => out.extend(text.chars().map(to_ansi)),
        }
        out
    }

    /// The end its lines have, for lines to be added.
    pub fn ending(&self) -> Ending {
        match self.lines.first().map(|line| line.ending) {
            None | Some(Ending::None) => Ending::CrLf,
            Some(ending) => ending,
        }
    }

    /// Puts lines in behind the first `at` lines.
    pub fn insert(&mut self, at: usize, texts: impl IntoIterator<Item = String>) {
        let ending = self.ending();
        let at = at.min(self.lines.len());
        if let Some(before) = at.checked_sub(1).and_then(|last| self.lines.get_mut(last))
            && before.ending == Ending::None
        {
            before.ending = ending;
        }
        let new = texts.into_iter().map(|text| Line { text, ending });
        let rest = self.lines.split_off(at);
        self.lines.extend(new);
        self.lines.extend(rest);
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Flaws> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::new();
    for one in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match one {
            Ok(one) => text.push(one),
            Err(_) => {
                let (line, column) = after(&text);
                return Err(Flaw::at(line, column, "half a surrogate pair").into());
            }
        }
    }
    if !odd.is_empty() {
        let (line, column) = after(&text);
        return Err(Flaw::at(line, column, "half a character: UTF-16 has an even length").into());
    }
    Ok(text)
}

fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(['\r', '\n']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(at);
        let ending = if tail.starts_with("\r\n") {
            Ending::CrLf
        } else if tail.starts_with('\n') {
            Ending::Lf
        } else if tail.starts_with('\r') {
            Ending::Cr
        } else {
            Ending::None
        };
        lines.push(Line {
            text: line.to_owned(),
            ending,
        });
        rest = tail.get(ending.text().len()..).unwrap_or_default();
    }
    lines
}

/// Line and column behind a text.
fn after(text: &str) -> (usize, usize) {
    let lines = split(text);
    match lines.last() {
        Some(last) if last.ending == Ending::None => (lines.len(), last.text.chars().count() + 1),
        _ => (lines.len() + 1, 1),
    }
}

/// Windows-1252 from 0x80 to 0x9F; bytes without a meaning stand for the control
/// characters of the same number.
const WINDOWS_1252: [char; 32] = [
    '\u{20AC}', '\u{81}', '\u{201A}', '\u{192}', '\u{201E}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2C6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8D}', '\u{17D}', '\u{8F}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201C}', '\u{201D}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2DC}', '\u{2122}', '\u{161}', '\u{203A}', '\u{153}', '\u{9D}', '\u{17E}', '\u{178}',
];

fn from_ansi(byte: u8) -> char {
    match byte {
        0x80..=0x9F => WINDOWS_1252
            .get(usize::from(byte - 0x80))
            .copied()
            .unwrap_or('?'),
        _ => char::from(byte),
    }
}

fn to_ansi(one: char) -> u8 {
    let special = WINDOWS_1252.iter().position(|known| *known == one);
    match special {
        Some(at) => u8::try_from(at + 0x80).unwrap_or(b'?'),
        None => u8::try_from(u32::from(one)).unwrap_or(b'?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_code_page_comes_back() {
        let bytes: Vec<u8> = (1..=255).collect();
        let text = Text::decode(&bytes).unwrap();
        assert_eq!(text.encoding, Encoding::Ansi);
        assert_eq!(text.encode(), bytes);
    }

    #[test]
    fn encodings_are_told_apart_and_kept() {
        let cases: [(&[u8], Encoding); 6] = [
            (b"\xFF\xFE[\0a\0]\0\r\0\n\0", Encoding::Utf16Le),
            (b"[\0a\0]\0", Encoding::Utf16LeBare),
            (b"\xFE\xFF\0[\0a\0]", Encoding::Utf16Be),
            (b"\xEF\xBB\xBF[a]\n", Encoding::Utf8Mark),
            ("[\u{fc}]\r\n;x".as_bytes(), Encoding::Utf8),
            (b"[\xFC]\r;x", Encoding::Ansi),
        ];
        for (bytes, encoding) in cases {
            let text = Text::decode(bytes).unwrap();
            assert_eq!(text.encoding, encoding);
            assert_eq!(text.encode(), bytes);
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        for (bytes, place) in [
            (&b"\xFF\xFEa\0\n\0b\0c"[..], "2:2"),
            (b"\xFF\xFEa\0\x00\xD8", "1:2"),
            (b"\xEF\xBB\xBFab\xFF", "1:3"),
            (b"ab\r\n\0", "2:1"),
        ] {
            let flaws = Text::decode(bytes).unwrap_err();
            assert!(flaws.to_string().starts_with(place), "{flaws}");
        }
    }
}
