//! Patterns of directory enumeration, [MS-FSA] 2.1.4.4: `*`, `?` and the DOS
//! wildcards `<` (DOS_STAR), `>` (DOS_QM) and `"` (DOS_DOT).

/// Longest pattern accepted, in characters.
pub const MAX_PATTERN: usize = 1024;

/// A pattern, made ready for matching many names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    units: Vec<char>,
    /// Matches every name.
    all: bool,
    /// Has no wildcard: at most one name.
    literal: bool,
    case_sensitive: bool,
}

impl Pattern {
    /// Makes a pattern ready. An empty one matches everything, as `*` does.
    pub fn new(pattern: &str, case_sensitive: bool) -> Self {
        let all = matches!(pattern, "" | "*" | "*.*" | "<.<" | "<\"*" | "*\"*" | "<");
        let mut units: Vec<char> = Vec::with_capacity(pattern.len());
        for c in pattern.chars().take(MAX_PATTERN) {
            let c = if case_sensitive { c } else { fold(c) };
            // Several stars in a row are one.
            if c == '*' && units.last() == Some(&'*') {
                continue;
            }
            units.push(c);
        }
        let literal = !has_wildcards(pattern) && !pattern.is_empty();
        Self {
            units,
            all,
            literal,
            case_sensitive,
        }
    }

    /// Whether it has no wildcard, so that at most one name matches.
    pub fn is_literal(&self) -> bool {
        self.literal
    }

    /// Whether it matches every name.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        if self.all {
            return true;
        }
        let name: Vec<char> = name
            .chars()
            .map(|c| if self.case_sensitive { c } else { fold(c) })
            .collect();
        matches_units(&self.units, &name)
    }

    /// Whether the long or the short name matches.
    pub fn matches_either(&self, name: &str, short: Option<&str>) -> bool {
        self.matches(name) || short.is_some_and(|s| self.matches(s))
    }
}

/// Whether a pattern holds wildcards.
pub fn has_wildcards(pattern: &str) -> bool {
    pattern.contains(['*', '?', '<', '>', '"'])
}

/// Simple upper case of one character, as names compare without case
/// ([MS-UCODEREF] upper-casing maps one unit to one unit).
pub fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) => u,
        _ => c,
    }
}

/// A whole name folded by [`fold`].
pub fn fold_name(name: &str) -> String {
    name.chars().map(fold).collect()
}

/// Names equal without case.
pub fn same_name(a: &str, b: &str) -> bool {
    a == b || a.chars().map(fold).eq(b.chars().map(fold))
}

/// The states a pattern can be in after each character of the name are kept
/// as a set, so that the time is at most pattern times name.
fn matches_units(pattern: &[char], name: &[char]) -> bool {
    let last_dot = name.iter().rposition(|&c| c == '.');
    let mut now = vec![false; pattern.len() + 1];
    let mut next = vec![false; pattern.len() + 1];
    if let Some(first) = now.first_mut() {
        *first = true;
    }
    for (i, &c) in name.iter().enumerate() {
        close_over(pattern, &mut now, false);
        next.fill(false);
        let mut any = false;
        for (j, &p) in pattern.iter().enumerate() {
            if now.get(j) != Some(&true) {
                continue;
            }
            let (stay, step) = match p {
                '*' => (true, false),
                // DOS_STAR takes everything up to and including, but not
                // beyond, the last dot.
                '<' => (last_dot.is_none_or(|d| i < d) || Some(i) == last_dot, false),
                '?' => (false, true),
                // DOS_QM takes any character but a dot.
                '>' => (false, c != '.'),
                '"' => (false, c == '.'),
                _ => (false, p == c),
            };
            if stay && let Some(s) = next.get_mut(j) {
                *s = true;
                any = true;
            }
            if step && let Some(s) = next.get_mut(j + 1) {
                *s = true;
                any = true;
            }
            // DOS_QM passes over nothing in front of a dot.
            if p == '>' && c == '.' {
                let mut k = j;
                while pattern.get(k) == Some(&'>') {
                    k += 1;
                }
                let (stay, step) = match pattern.get(k) {
                    Some('.' | '"') => (false, true),
                    Some('*' | '<') => (true, false),
                    _ => (false, false),
                };
                if stay && let Some(s) = next.get_mut(k) {
                    *s = true;
                    any = true;
                }
                if step && let Some(s) = next.get_mut(k + 1) {
                    *s = true;
                    any = true;
                }
            }
        }
        if !any {
            return false;
        }
        core::mem::swap(&mut now, &mut next);
    }
    close_over(pattern, &mut now, true);
    now.last() == Some(&true)
}

/// Adds the states reached without taking a character: behind stars, and at
/// the end of the name behind DOS_QM and DOS_DOT.
fn close_over(pattern: &[char], states: &mut [bool], at_end: bool) {
    for (j, &p) in pattern.iter().enumerate() {
        let passes = match p {
            '*' | '<' => true,
            '>' | '"' => at_end,
            _ => false,
        };
        if passes
            && states.get(j) == Some(&true)
            && let Some(s) = states.get_mut(j + 1)
        {
            *s = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern, false).matches(name)
    }

    #[test]
    fn plain_wildcards() {
        assert!(m("*", "anything.at.all"));
        assert!(m("*.TXT", "readme.txt"));
        assert!(m("a*b*c", "aXXbYYc"));
        assert!(!m("a*b*c", "aXXbYYd"));
        assert!(m("?.x", "a.x"));
        assert!(!m("?.x", ".x"));
        assert!(m("README", "readme"));
        assert!(!Pattern::new("README", true).matches("readme"));
        assert!(!m("*.c", "file.cpp"));
        assert!(m("**x", "x"));
    }

    #[test]
    fn dos_star_stops_at_the_last_dot() {
        assert!(m("<.txt", "a.b.txt"));
        assert!(!m("<.b", "a.b.txt"));
        assert!(m("<", "noext"));
        assert!(m("<x", "a.x"));
        assert!(!m("a<xt", "a.txt"));
    }

    #[test]
    fn dos_question_and_dot() {
        assert!(m(">>>>.txt", "ab.txt"));
        assert!(m("a>>", "a"));
        assert!(m("a>>", "abc"));
        assert!(!m("a>>", "abcd"));
        assert!(m("foo\"", "foo"));
        assert!(m("foo\"", "foo."));
        assert!(m("foo\"*", "foo"));
        assert!(m("foo\"txt", "foo.txt"));
        assert!(!m("foo\"txt", "footxt"));
        assert!(m(">>>>>>>>\">>>", "readme.txt"));
        assert!(m(">>>>>>>>\">>>", "readme"));
        assert!(!m(">>>>>>>>\">>>", "readme.text"));
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!m(&pattern, &"a".repeat(255)));
    }

    #[test]
    fn case_is_folded_beyond_ascii() {
        assert!(m("ÄÖ*", "äöü"));
        assert!(same_name("Straße", "STRAßE"));
        assert_eq!(fold('ß'), 'ß');
    }
}
