//! Distinguished names as text: [RFC 4514], with the quotes of RFC 2253.

use std::fmt;
use std::str::FromStr;

/// Longest name read, in bytes.
const LONGEST: usize = 4096;
/// Most relative names in one.
const DEEPEST: usize = 128;

/// Why a text is no distinguished name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DnError {
    /// It has no parts.
    #[error("a distinguished name is empty")]
    Empty,
    /// Beyond the limits of this reader.
    #[error("a distinguished name is longer than {LONGEST} bytes or has more than {DEEPEST} parts")]
    TooLong,
    /// A part without `=`, or with an impossible attribute type.
    #[error("part {0} of a distinguished name has no attribute type")]
    Type(usize),
    /// An escape that is none, or bytes that are no UTF-8.
    #[error("part {0} of a distinguished name has a bad escape")]
    Escape(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Where it begins in the text.
    start: usize,
    /// The first attribute's type in small letters.
    kind: String,
    /// The first attribute's value without escapes.
    value: String,
    /// What equal parts have in common.
    canonical: String,
}

/// A distinguished name: the text as it was given, and its parts. Two are equal when
/// they name the same object: attribute types and values compare without case.
#[derive(Debug, Clone)]
pub struct DistinguishedName {
    text: String,
    parts: Vec<Part>,
}

impl DistinguishedName {
    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Attribute type (small letters) and value of the first part.
    pub fn first(&self) -> (&str, &str) {
        self.part(0).unwrap_or_default()
    }

    fn part(&self, at: usize) -> Option<(&str, &str)> {
        self.parts
            .get(at)
            .map(|part| (part.kind.as_str(), part.value.as_str()))
    }

    /// The name without its first `count` parts.
    pub fn ancestor(&self, count: usize) -> Option<DistinguishedName> {
        let start = self.parts.get(count)?.start;
        self.text.get(start..)?.parse().ok()
    }

    /// The containers above it, nearest first, each with the type of its first part.
    pub fn ancestors(&self) -> impl Iterator<Item = DistinguishedName> + '_ {
        (1..self.parts.len()).filter_map(|count| self.ancestor(count))
    }

    /// The domain it lies in ([MS-GPOL] 3.2.5.1.2): from the first part that is a `DC`.
    pub fn domain(&self) -> Option<DistinguishedName> {
        let count = self.parts.iter().position(|part| part.kind == "dc")?;
        self.ancestor(count)
    }

    /// The DNS name of the domain it lies in.
    pub fn dns_domain(&self) -> Option<String> {
        let labels: Vec<&str> = self
            .parts
            .iter()
            .skip_while(|part| part.kind != "dc")
            .take_while(|part| part.kind == "dc")
            .map(|part| part.value.as_str())
            .collect();
        (!labels.is_empty()).then(|| labels.join(".").to_lowercase())
    }

    /// The same for every text that names the same object: for comparing and as a key.
    pub fn canonical(&self) -> String {
        let parts: Vec<&str> = self
            .parts
            .iter()
            .map(|part| part.canonical.as_str())
            .collect();
        parts.join("\u{1}")
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.parts.len() == other.parts.len()
            && self
                .parts
                .iter()
                .zip(&other.parts)
                .all(|(one, two)| one.canonical == two.canonical)
    }
}

impl Eq for DistinguishedName {}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for DistinguishedName {
    type Err = DnError;

    fn from_str(text: &str) -> Result<Self, DnError> {
        if text.len() > LONGEST {
            return Err(DnError::TooLong);
        }
        let text = text.trim_start();
        if text.trim().is_empty() {
            return Err(DnError::Empty);
        }
        let mut parts = Vec::new();
        for (number, (start, raw)) in split(text, ',').into_iter().enumerate() {
            if number >= DEEPEST {
                return Err(DnError::TooLong);
            }
            let mut first = None;
            let mut canonical = Vec::new();
            for (_, attribute) in split(raw, '+') {
                let (kind, value) = attribute.split_once('=').ok_or(DnError::Type(number))?;
                let kind = kind.trim();
                let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
                if kind.is_empty() || !kind.bytes().all(good) {
                    return Err(DnError::Type(number));
                }
                let kind = kind.to_ascii_lowercase();
                let value = unescape(value).ok_or(DnError::Escape(number))?;
                canonical.push(format!("{kind}={}", value.to_lowercase()));
                if first.is_none() {
                    first = Some((kind, value));
                }
            }
            let (kind, value) = first.ok_or(DnError::Type(number))?;
            canonical.sort();
            parts.push(Part {
                start,
                kind,
                value,
                canonical: canonical.join("\u{2}"),
            });
        }
        Ok(DistinguishedName {
            text: text.to_owned(),
            parts,
        })
    }
}

/// Splits where `separator` stands neither escaped nor quoted; white space before a
/// piece does not belong to it.
fn split(text: &str, separator: char) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let (mut escaped, mut quoted) = (false, false);
    let mut push = |start: usize, end: usize| {
        let piece = text.get(start..end).unwrap_or_default();
        let trimmed = piece.trim_start();
        pieces.push((start + (piece.len() - trimmed.len()), trimmed));
    };
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == '"' {
            quoted = !quoted;
        } else if letter == separator && !quoted {
            push(start, at);
            start = at + letter.len_utf8();
        }
    }
    push(start, text.len());
    pieces
}

/// [RFC 4514] 2.4: `\` and a special character, `\` and two hexadecimal digits, quotes;
/// spaces round the value do not count unless they are escaped.
fn unescape(raw: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut keep = 0;
    let mut bytes = raw.trim_start().bytes().peekable();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                let first = bytes.next()?;
                match (hex_digit(first), bytes.peek().copied().and_then(hex_digit)) {
                    (Some(high), Some(low)) => {
                        bytes.next();
                        out.push(high << 4 | low);
                    }
                    (Some(_), None) => return None,
                    (None, _) => out.push(first),
                }
                keep = out.len();
            }
            b'"' => {
                quoted = !quoted;
                keep = out.len();
            }
            b' ' if !quoted => out.push(byte),
            _ => {
                out.push(byte);
                keep = out.len();
            }
        }
    }
    out.truncate(keep);
    if quoted {
        return None;
    }
    String::from_utf8(out).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
