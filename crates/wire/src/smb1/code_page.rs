//! OEM code pages of clients without Unicode, [MS-CIFS] 2.2.1.1.

/// A DOS code page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodePage {
    /// IBM PC, United States.
    Cp437,
    /// Western Europe.
    #[default]
    Cp850,
}

/// What 0x80 to 0xFF mean in code page 437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{A0}";
/// What 0x80 to 0xFF mean in code page 850.
const CP850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{AD}±‗¾¶§÷¸°¨·¹³²■\u{A0}";

impl CodePage {
    fn upper_half(self) -> &'static str {
        match self {
            Self::Cp437 => CP437,
            Self::Cp850 => CP850,
        }
    }

    /// The character of a byte.
    pub fn decode_byte(self, byte: u8) -> char {
        match byte.checked_sub(0x80) {
            None => char::from(byte),
            Some(index) => self
                .upper_half()
                .chars()
                .nth(usize::from(index))
                .unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    }

    /// Text of bytes.
    pub fn decode(self, bytes: &[u8]) -> String {
        match core::str::from_utf8(bytes) {
            Ok(ascii) if ascii.is_ascii() => ascii.to_owned(),
            _ => bytes.iter().map(|b| self.decode_byte(*b)).collect(),
        }
    }

    /// The byte of a character, when the page has it.
    pub fn encode_char(self, c: char) -> Option<u8> {
        if c.is_ascii() {
            return u8::try_from(c).ok();
        }
        let index = self.upper_half().chars().position(|x| x == c)?;
        u8::try_from(index).ok()?.checked_add(0x80)
    }

    /// Appends text; characters the page lacks become `_`. Gives the bytes added.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        if text.is_ascii() {
            out.extend_from_slice(text.as_bytes());
        } else {
            out.extend(text.chars().map(|c| self.encode_char(c).unwrap_or(b'_')));
        }
        out.len() - before
    }

    /// Whether every character has a byte.
    pub fn can_encode(self, text: &str) -> bool {
        text.is_ascii() || text.chars().all(|c| self.encode_char(c).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pages_are_whole_and_reversible() {
        for page in [CodePage::Cp437, CodePage::Cp850] {
            assert_eq!(page.upper_half().chars().count(), 128);
            for byte in 0..=255u8 {
                let c = page.decode_byte(byte);
                assert_eq!(page.encode_char(c), Some(byte), "{byte:#x} {c}");
            }
        }
    }

    #[test]
    fn known_letters() {
        assert_eq!(CodePage::Cp850.decode(b"\x84\xE1"), "\u{e4}\u{df}");
        assert_eq!(CodePage::Cp437.decode(b"\xE0"), "\u{3b1}");
        let mut out = Vec::new();
        assert_eq!(CodePage::Cp850.encode("a\u{20ac}b", &mut out), 3);
        assert_eq!(out, b"a_b");
        assert!(!CodePage::Cp850.can_encode("\u{20ac}"));
    }
}
