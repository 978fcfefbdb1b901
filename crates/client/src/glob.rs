//! Names with wildcards: `*` any characters, `?` any one, compared without case as
//! a share compares; `**` as a whole part of a path stands for any folders.

/// Whether a part has a wildcard. No name on a share can hold `*` or `?`
/// ([MS-FSCC] 2.1.5.2), so there is nothing to escape.
pub fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?'])
}

/// Whether a name fits a pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = fold(pattern);
    let name: Vec<char> = fold(name);
    let (mut p, mut n) = (0, 0);
    // Where to go on when the star before takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            (Some('?'), Some(_)) => {
                p += 1;
                n += 1;
                continue;
            }
            (Some(a), Some(b)) if a == b => {
                p += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((after, at)) if at < name.len() => {
                retry = Some((after, at + 1));
                p = after;
                n = at + 1;
            }
            _ => return false,
        }
    }
}

/// Whether two names are one on a share that compares without case.
pub fn same_name(a: &str, b: &str) -> bool {
    a == b || fold(a) == fold(b)
}

/// A name as it is compared without case.
pub fn folded(name: &str) -> String {
    fold(name).into_iter().collect()
}

/// Upper case one to one, as a share's case table has it.
fn fold(text: &str) -> Vec<char> {
    text.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        })
        .collect()
}

/// What excludes or includes paths: a pattern without a slash is compared with
/// names, one with a slash with whole paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    parts: Vec<String>,
    anywhere: bool,
}

impl PathPattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> PathPattern {
        let parts: Vec<String> = text
            .split(['/', '\\'])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        PathPattern {
            anywhere: parts.len() == 1 && !text.starts_with(['/', '\\']),
            parts,
        }
    }

    /// Whether the path fits, given in parts relative to where the search starts.
    pub fn matches(&self, path: &[String]) -> bool {
        if self.anywhere {
            return match (self.parts.first(), path.last()) {
                (Some(pattern), Some(name)) => matches(pattern, name),
                _ => false,
            };
        }
        fits(&self.parts, path)
    }
}

/// Parts against parts; the number of `**` bounds the depth of the recursion.
fn fits(pattern: &[String], path: &[String]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((any, rest)) if any == "**" => {
            (0..=path.len()).any(|skip| path.get(skip..).is_some_and(|path| fits(rest, path)))
        }
        Some((part, rest)) => path
            .split_first()
            .is_some_and(|(name, path)| matches(part, name) && fits(rest, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "anything.txt", true),
            ("*.txt", "A.TXT", true),
            ("*.txt", "a.txt.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("Ä*", "ärger", true),
            ("straße", "STRASSE", false),
            ("", "", true),
            ("", "a", false),
            ("日?語", "日本語", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
        assert!(is_pattern("a*") && is_pattern("?") && !is_pattern("[a]"));
        assert!(same_name("Ärger", "äRGER") && !same_name("a", "b"));
    }

    #[test]
    fn many_stars_end_soon() {
        let name = "a".repeat(5000);
        let start = std::time::Instant::now();
        assert!(!matches(&format!("{}b", "*a".repeat(50)), &name));
        assert!(start.elapsed() < std::time::Duration::from_secs(2));
    }

    #[test]
    fn patterns_of_paths() {
        let path = |text: &str| -> Vec<String> { text.split('/').map(str::to_owned).collect() };
        for (pattern, text, fits) in [
            ("*.o", "a/b/c.o", true),
            ("a/*.o", "a/c.o", true),
            ("a/*.o", "a/b/c.o", false),
            ("a/**/*.o", "a/b/x/c.o", true),
            ("a/**/*.o", "a/c.o", true),
            ("/c.o", "c.o", true),
            ("/c.o", "a/c.o", false),
            ("**", "a/b", true),
        ] {
            assert_eq!(
                PathPattern::new(pattern).matches(&path(text)),
                fits,
                "{pattern} {text}"
            );
        }
    }
}
