//! Lines as words: blanks divide, quotes hold together.

/// Takes a line apart. A backslash is a character of paths, not an escape, except
/// before a quotation mark or a blank.
pub(super) fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') if chars.peek().is_some_and(|next| "\"' ".contains(*next)) => {
                word.get_or_insert_default().extend(chars.next());
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is not closed");
    }
    words.extend(word);
    Ok(words)
}

/// Takes commands apart that are divided by `;`, which between quotation marks is a
/// character like any other.
pub(super) fn commands(text: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let mut quote = None;
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ';') => {
                commands.push(text.get(start..at).unwrap_or(""));
                start = at + 1;
            }
            _ => {}
        }
    }
    commands.push(text.get(start..).unwrap_or(""));
    commands
}

/// Where the word under the cursor begins, and the word itself.
pub(super) fn last_word(text: &str) -> (usize, String) {
    let mut start = text.len();
    let mut quote = None;
    let mut in_word = false;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() {
            if c.is_whitespace() && before != '\\' {
                in_word = false;
            } else {
                if !in_word {
                    start = at;
                    in_word = true;
                }
                if c == '"' || c == '\'' {
                    quote = Some(c);
                }
            }
        }
        before = c;
    }
    if !in_word && quote.is_none() {
        return (text.len(), String::new());
    }
    let raw = text.get(start..).unwrap_or("");
    let plain = raw.replace("\\ ", " ").replace(['"', '\''], "");
    (start, plain)
}

/// A word so that it reads back. Names on a share cannot hold `"`, local ones can.
pub(super) fn quoted(word: &str) -> String {
    if word.contains('"') {
        return format!("'{word}'");
    }
    if word.contains(|c: char| c.is_whitespace() || c == '\'') {
        format!("\"{word}\"")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_quotes_and_backslashes() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ls   a ", &["ls", "a"]),
            ("get \"a b\" 'c d'", &["get", "a b", "c d"]),
            ("cd a\\b", &["cd", "a\\b"]),
            ("cd a\\ b", &["cd", "a b"]),
            ("put \"\" x\"y z\"", &["put", "", "xy z"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        assert!(words("get \"a").is_err());
    }

    #[test]
    fn the_word_under_the_cursor() {
        for (text, start, word) in [
            ("get fi", 4, "fi"),
            ("get ", 4, ""),
            ("get \"a b", 4, "a b"),
            ("get a\\ b", 4, "a b"),
            ("l", 0, "l"),
        ] {
            assert_eq!(last_word(text), (start, word.to_owned()), "{text}");
        }
        assert_eq!(quoted("a b"), "\"a b\"");
        assert_eq!(quoted("ab"), "ab");
        assert_eq!(quoted("a\"b"), "'a\"b'");
    }

    #[test]
    fn commands_end_at_semicolons_outside_quotes() {
        assert_eq!(
            commands("a; b 'c;d' \"e;f\";"),
            ["a", " b 'c;d' \"e;f\"", ""]
        );
        assert_eq!(commands(""), [""]);
    }
}
