//! Names that may come from a share to this machine, and go the other way.

use std::ffi::OsStr;

/// Longest name of a part, in UTF-16 units ([MS-FSCC] 2.1.5.2).
pub const MAX_NAME: usize = 255;

/// Why a name is not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name would lead somewhere else: a peer that sends it means harm.
    #[error("the server sent a name that would lead out of the folder; it is not followed")]
    Unsafe,
    /// Not UTF-8.
    #[error("the name is not UTF-8 and cannot be said to a server; rename the file")]
    NotUnicode,
    /// A character no name on a share may have.
    #[error("a name on a share cannot hold any of \\ / : * ? \" < > | or control characters")]
    Character,
    /// Ends in a dot or a space, which servers take off.
    #[error("a name on a share cannot end in a dot or a space")]
    End,
    /// Longer than [`MAX_NAME`].
    #[error("a name on a share has at most {MAX_NAME} UTF-16 units")]
    TooLong,
    /// Another name in the folder differs in case alone.
    #[error("another name in the folder differs in case alone: on a share both are one file")]
    Twice,
    /// Neither a file nor a folder.
    #[error("it is neither a file nor a folder, or a link that leads nowhere")]
    Special,
}

/// Whether a name that a server sent may become the name of a local file: one part
/// of a path, and neither `.` nor `..`.
///
/// # Errors
/// When it would lead out of the folder it is written to.
pub fn check_from_remote(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(NameError::Unsafe);
    }
    Ok(())
}

/// A local name as a name for a share.
///
/// # Errors
/// When no share can have it.
pub fn to_remote(name: &OsStr) -> Result<&str, NameError> {
    let name = name.to_str().ok_or(NameError::NotUnicode)?;
    let forbidden = |c: char| "\\/:*?\"<>|".contains(c) || c < ' ';
    if name.is_empty() || name.contains(forbidden) {
        return Err(NameError::Character);
    }
    if name.ends_with(['.', ' ']) {
        return Err(NameError::End);
    }
    if name.encode_utf16().count() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn a_server_cannot_lead_out_of_the_folder() {
        for name in ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "a\0"] {
            assert_eq!(check_from_remote(name), Err(NameError::Unsafe), "{name}");
        }
        for name in ["a", "...", ".hidden", "a b", "日本", "a:b"] {
            assert_eq!(check_from_remote(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_no_share_can_have() {
        let long = "a".repeat(256);
        for (name, error) in [
            ("a:b", NameError::Character),
            ("what?", NameError::Character),
            ("a\\b", NameError::Character),
            ("a\tb", NameError::Character),
            ("a.", NameError::End),
            ("a ", NameError::End),
            (long.as_str(), NameError::TooLong),
        ] {
            assert_eq!(to_remote(OsStr::new(name)), Err(error), "{name}");
        }
        assert_eq!(
            to_remote(OsStr::from_bytes(b"\xff")),
            Err(NameError::NotUnicode)
        );
        assert_eq!(to_remote(OsStr::new(".ä b")), Ok(".ä b"));
    }
}
