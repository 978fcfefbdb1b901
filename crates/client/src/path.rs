//! Paths of a share: parts divided by `\`, none empty, none leading out.

use crate::error::{Error, ErrorKind, Result};

/// The path as the protocol has it: `/` and `\` both divide, `.` is left out,
/// `..` goes up. The root is empty.
pub(crate) fn normalise(path: &str) -> Result<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        format!("{path:?} leads out of the share"),
                    ));
                }
            }
            part if part.contains('\0') => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("{path:?} has a zero character"),
                ));
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("\\");
    if path.encode_utf16().count() > 0x7FFF {
        return Err(Error::new(ErrorKind::InvalidInput, "the path is too long"));
    }
    Ok(path)
}

/// A path below another.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.into()
    } else {
        format!("{directory}\\{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (given, want) in [
            ("", ""),
            ("/", ""),
            ("a/b\\c", r"a\b\c"),
            ("//a//./b/", r"a\b"),
            ("a/../b", "b"),
            ("a:stream", "a:stream"),
        ] {
            assert_eq!(normalise(given).unwrap_or_default(), want, "{given:?}");
        }
        assert!(normalise("a/../..").is_err());
        assert!(normalise("a\0b").is_err());
        assert!(normalise(&"x".repeat(40_000)).is_err());
    }
}
