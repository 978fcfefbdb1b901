//! Short names made by hash.

use crate::wildcard::fold_name;

/// The 8.3 name of a long one: itself when it is one already, else up to two
/// letters, four digits of a hash, `~1` and the extension.
pub fn short_name_of(name: &str) -> String {
    if is_short(name) {
        return name.to_ascii_uppercase();
    }
    let folded = fold_name(name);
    let hash = folded.bytes().fold(0x811C_9DC5u32, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    });
    let (stem, extension) = match folded.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() => (stem, ext),
        _ => (folded.as_str(), ""),
    };
    let keep =
        |s: &str, n: usize| -> String { s.chars().filter(|c| is_short_char(*c)).take(n).collect() };
    let mut out = format!("{}{:04X}~1", keep(stem, 2), hash & 0xFFFF);
    let extension = keep(extension, 3);
    if !extension.is_empty() {
        out.push('.');
        out.push_str(&extension);
    }
    out
}

fn is_short_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'()-@^_`{}~".contains(c)
}

/// Whether a name is an 8.3 name.
pub(super) fn is_short(name: &str) -> bool {
    if matches!(name, "." | "..") {
        return true;
    }
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    (1..=8).contains(&stem.len())
        && extension.len() <= 3
        && !name.ends_with('.')
        && stem.chars().chain(extension.chars()).all(is_short_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names() {
        assert_eq!(short_name_of("readme.txt"), "README.TXT");
        let s = short_name_of("a very long name.text");
        assert!(is_short(&s), "{s}");
        assert!(s.starts_with("AV") && s.ends_with("~1.TEX"), "{s}");
        assert_eq!(s, short_name_of("A VERY LONG NAME.TEXT"));
        assert!(is_short(&short_name_of(".profile")));
        assert!(is_short(&short_name_of("ünïcödé")));
    }
}
