//! Names on disk ⇄ names on the wire, case folding, and 8.3 names.
//!
//! One policy (decision 0010): characters that Windows forbids are shown in
//! the private range as macOS and Samba do it (U+F001–U+F029), the other table
//! in use (U+F000 + character, cifs.ko `mapchars`) is understood on the way in,
//! and bytes that are not UTF-8 are shown as U+F100 + byte. All of it is
//! reversible.

use countersign_fs::FsError;

/// The folder this backend keeps for itself; at any depth, since the root of
/// one share may lie inside another.
pub(crate) const RESERVED: &str = ".countersign";

/// Whether a name (as on disk) is the reserved one, whatever its case.
pub(crate) fn is_reserved(disk: &[u8]) -> bool {
    disk.eq_ignore_ascii_case(RESERVED.as_bytes())
}

/// Illegal characters and where they are shown, beside the control characters.
const MAPPED: [(char, char); 8] = [
    ('"', '\u{F020}'),
    ('*', '\u{F021}'),
    (':', '\u{F022}'),
    ('<', '\u{F023}'),
    ('>', '\u{F024}'),
    ('?', '\u{F025}'),
    ('\\', '\u{F026}'),
    ('|', '\u{F027}'),
];
const TRAILING_SPACE: char = '\u{F028}';
const TRAILING_DOT: char = '\u{F029}';
/// Bytes 0x80–0xFF that are not UTF-8 are shown at this offset.
const RAW: u32 = 0xF100;

/// The name on disk of one component.
///
/// # Errors
/// `NameInvalid` when the result would be empty, `.`, `..`, or hold `/` or NUL.
pub(crate) fn to_disk(name: &str) -> Result<Vec<u8>, FsError> {
    let mut out = Vec::with_capacity(name.len());
    let mut utf8 = [0u8; 4];
    for c in name.chars() {
        match u32::from(c) {
            code @ 0xF001..=0xF01F => out.push(low_byte(code)),
            0xF028 => out.push(b' '),
            0xF029 => out.push(b'.'),
            code @ 0xF020..=0xF027 => {
                let plain = MAPPED
                    .iter()
                    .find(|(_, m)| u32::from(*m) == code)
                    .map(|(p, _)| *p);
                out.extend_from_slice(plain.unwrap_or(c).encode_utf8(&mut utf8).as_bytes());
            }
            code @ (0xF02A | 0xF03A | 0xF03C | 0xF03E | 0xF03F | 0xF05C | 0xF07C) => {
                out.push(low_byte(code));
            }
            code @ 0xF180..=0xF1FF => out.push(low_byte(code)),
            _ => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
        }
    }
    if out.is_empty() || out == b"." || out == b".." || out.iter().any(|b| matches!(b, 0 | b'/')) {
        return Err(FsError::NameInvalid);
    }
    Ok(out)
}

#[allow(clippy::cast_possible_truncation, reason = "the low byte is wanted")]
fn low_byte(code: u32) -> u8 {
    (code & 0xFF) as u8
}

fn raw_char(byte: u8) -> char {
    char::from_u32(RAW + u32::from(byte)).unwrap_or('\u{FFFD}')
}

/// The name on the wire of a name on disk.
pub(crate) fn from_disk(disk: &[u8]) -> String {
    // Most names need nothing.
    let plain = disk
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && disk.last() != Some(&b'.');
    if plain && let Ok(s) = core::str::from_utf8(disk) {
        return s.to_owned();
    }
    let mut out = String::with_capacity(disk.len());
    let mut utf8 = [0u8; 4];
    for chunk in disk.utf8_chunks() {
        for c in chunk.valid().chars() {
            let code = u32::from(c);
            if (1..0x20).contains(&code) {
                out.push(char::from_u32(0xF000 + code).unwrap_or(c));
            } else if (0xF180..=0xF1FF).contains(&code) {
                out.extend(c.encode_utf8(&mut utf8).bytes().map(raw_char));
            } else {
                out.push(MAPPED.iter().find(|(p, _)| *p == c).map_or(c, |(_, m)| *m));
            }
        }
        out.extend(chunk.invalid().iter().map(|b| raw_char(*b)));
    }
    match out.pop() {
        Some(' ') => out.push(TRAILING_SPACE),
        Some('.') => out.push(TRAILING_DOT),
        Some(other) => out.push(other),
        None => {}
    }
    out
}

/// Names of streams may hold what names of files may not, separators and
/// colons excepted: nothing of that is mapped.
pub(crate) fn stream_from_disk(disk: &[u8]) -> String {
    from_disk(disk)
        .chars()
        .map(|c| match u32::from(c) {
            code @ 0xF001..=0xF01F => char::from_u32(code - 0xF000).unwrap_or(c),
            0xF028 => ' ',
            0xF029 => '.',
            _ => MAPPED
                .iter()
                .find(|(plain, mapped)| *mapped == c && !matches!(plain, ':' | '\\'))
                .map_or(c, |(plain, _)| *plain),
        })
        .collect()
}

/// The form in which names are compared: one upper-case character for each, as
/// Windows folds (no astral planes, no expansion, nothing that becomes ASCII).
pub(crate) fn fold(name: &str) -> String {
    name.chars().map(fold_char).collect()
}

fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) if !u.is_ascii() && u32::from(u) <= 0xFFFF && u32::from(c) <= 0xFFFF => u,
        _ => c,
    }
}

/// What a name asked for is compared as: mapped to disk and back, then folded,
/// so that both private tables and trailing dots mean the same.
pub(crate) fn fold_asked(disk: &[u8]) -> String {
    fold(&from_disk(disk))
}

fn legal_short(c: char) -> bool {
    c.is_ascii_alphanumeric() || "$%'-_@~`!(){}^#&".contains(c)
}

/// Whether a name is an 8.3 name already.
pub(crate) fn is_short(name: &str) -> bool {
    let (base, ext) = match name.split_once('.') {
        Some((b, e)) if e.is_empty() || e.contains('.') || b.is_empty() => return false,
        Some(parts) => parts,
        None => (name, ""),
    };
    (1..=8).contains(&base.len())
        && ext.len() <= 3
        && name.chars().all(|c| c == '.' || legal_short(c))
}

/// Whether a name could be one that [`short_name`] made.
pub(crate) fn looks_made(name: &str) -> bool {
    let base = name.split_once('.').map_or(name, |(b, _)| b);
    base.len() == 8 && base.as_bytes().get(6) == Some(&b'~') && is_short(name)
}

/// The 8.3 name of a long name: its first legal character, 31 bits of a hash of
/// the folded name in base 36 with `~` before the last digit, and the first
/// three legal characters of the extension. `None` when it is an 8.3 name.
pub(crate) fn short_name(name: &str) -> Option<String> {
    if is_short(name) {
        return None;
    }
    // 36^6 values; FNV-1a is fixed, so names stay the same between starts.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut utf8 = [0u8; 4];
    for c in name.chars() {
        for b in fold_char(c).encode_utf8(&mut utf8).bytes() {
            hash = (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 32;
    let mut out = String::with_capacity(12);
    out.push(short_prefix(name));
    for i in 0..6 {
        if i == 5 {
            out.push('~');
        }
        let digit = u32::try_from(hash % 36).unwrap_or(0);
        out.push(
            char::from_digit(digit, 36)
                .unwrap_or('0')
                .to_ascii_uppercase(),
        );
        hash /= 36;
    }
    let ext: String = match name.trim_start_matches('.').rsplit_once('.') {
        Some((_, e)) => e.chars().filter(|c| legal_short(*c)).take(3).collect(),
        None => String::new(),
    };
    if !ext.is_empty() {
        out.push('.');
        out.push_str(&ext.to_ascii_uppercase());
    }
    Some(out)
}

fn short_prefix(name: &str) -> char {
    name.chars()
        .find(char::is_ascii_alphanumeric)
        .unwrap_or('_')
        .to_ascii_uppercase()
}

/// Whether `asked` is the made short name of `long`.
pub(crate) fn is_short_of(asked: &str, long: &str) -> bool {
    let first = asked.chars().next().map(|c| c.to_ascii_uppercase());
    first == Some(short_prefix(long))
        && short_name(long).is_some_and(|s| s.eq_ignore_ascii_case(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_private_tables_lead_to_the_same_file() {
        assert_eq!(to_disk("a\u{F022}b").unwrap(), b"a:b");
        assert_eq!(to_disk("a\u{F03A}b").unwrap(), b"a:b");
        assert_eq!(from_disk(b"a:b"), "a\u{F022}b");
        assert_eq!(from_disk(b"what?"), "what\u{F025}");
        assert_eq!(from_disk(b"tab\there"), "tab\u{F009}here");
        assert_eq!(from_disk(b"end."), "end\u{F029}");
        assert_eq!(from_disk(b"end "), "end\u{F028}");
        assert_eq!(to_disk("end\u{F029}").unwrap(), b"end.");
        assert_eq!(from_disk(b".hidden"), ".hidden");
    }

    #[test]
    fn mapping_cannot_build_a_way_out() {
        for bad in [
            "\u{F029}",
            "\u{F029}\u{F029}",
            ".\u{F029}",
            "",
            ".",
            "..",
            "a/b",
            "a\0",
        ] {
            assert_eq!(to_disk(bad).unwrap_err(), FsError::NameInvalid, "{bad:?}");
        }
        // U+F02F and U+F000 are not in any table: they stay what they are.
        assert_eq!(to_disk("\u{F02F}").unwrap(), "\u{F02F}".as_bytes());
        assert_eq!(to_disk("\u{F000}").unwrap(), "\u{F000}".as_bytes());
    }

    #[test]
    fn folding_is_windows_simple_folding() {
        assert_eq!(fold("straße"), "STRAßE");
        assert_eq!(fold("ÄÖÜ äöü"), "ÄÖÜ ÄÖÜ");
        assert_eq!(fold("ı"), "ı");
        assert_eq!(fold("ſ"), "ſ");
        assert_eq!(fold("Ωω"), "ΩΩ");
        assert_eq!(fold("\u{10428}"), "\u{10428}");
    }

    #[test]
    fn short_names_are_made_only_where_needed() {
        for short in ["README.TXT", "readme.txt", "A", "FILE", "X.Y", "PROGRA~1"] {
            assert_eq!(short_name(short), None, "{short}");
        }
        for long in [
            "long name.text",
            ".profile",
            "a.b.c",
            "file.html",
            "ninechars",
            "üb",
        ] {
            let made = short_name(long).unwrap();
            assert!(is_short(&made) && looks_made(&made), "{long} {made}");
            assert!(is_short_of(&made.to_lowercase(), long));
        }
        assert_eq!(short_name("Long Name.txt"), short_name("LONG NAME.TXT"));
    }

    proptest! {
        #[test]
        fn every_disk_name_comes_back(bytes in proptest::collection::vec(1u8..=255, 1..40)) {
            let mut bytes = bytes;
            bytes.retain(|b| *b != b'/');
            prop_assume!(!bytes.is_empty() && bytes != b"." && bytes != b"..");
            // Names that already hold the private range are found by index, not by mapping.
            let literal = String::from_utf8_lossy(&bytes).chars().any(|c| ('\u{F000}'..='\u{F0FF}').contains(&c));
            prop_assume!(!literal);
            let shown = from_disk(&bytes);
            let illegal = |c: char| "\"*:<>?\\|/".contains(c) || c < ' ';
            prop_assert!(!shown.contains(illegal));
            prop_assert_eq!(to_disk(&shown).unwrap(), bytes);
        }

        #[test]
        fn no_wire_name_becomes_a_separator(name in "\\PC{0,12}") {
            if let Ok(disk) = to_disk(&name) {
                prop_assert!(!disk.contains(&b'/') && !disk.contains(&0));
                prop_assert!(disk != b"." && disk != b"..");
            }
        }
    }
}
