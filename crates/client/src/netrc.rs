//! A file of passwords in the form of netrc: `machine HOST login NAME password
//! PASSWORD [account DOMAIN]`, `default ...`, `#` to the end of the line.
//!
//! Names and passwords with spaces stand in double quotes, in which a backslash
//! takes the next character as it is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// Largest file that is read, in bytes.
pub const MAX_NETRC: u64 = 1 << 20;

/// What the file says of a host.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Who logs on.
    pub login: Option<String>,
    /// With which password.
    pub password: Option<Zeroizing<String>>,
    /// In which domain.
    pub domain: Option<String>,
}

/// Without the password.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("login", &self.login)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// Why a file of passwords is not used.
#[derive(Debug, thiserror::Error)]
pub enum NetrcError {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Others may read it.
    #[error("others may read it (mode {mode:03o}): take their right away with `chmod 600`")]
    Mode {
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("it belongs to user id {owner}, not to you")]
    Owner {
        /// Whose it is.
        owner: u32,
    },
    /// Larger than [`MAX_NETRC`].
    #[error("larger than {MAX_NETRC} bytes")]
    TooLarge,
    /// A word that is not understood.
    #[error("line {line}: {what}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads what a file says of a host, for a user if one is named already. The file
/// must belong to the caller or to root and be closed to everybody else.
///
/// # Errors
/// When it cannot be read, is open to others, or is not understood.
#[cfg(unix)]
pub fn look_up(
    path: &Path,
    caller: u32,
    host: &str,
    user: Option<&str>,
) -> Result<Option<Entry>, NetrcError> {
    use std::os::unix::fs::MetadataExt;
    // What is checked is what is read: the open file, not its name.
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.uid() != caller && metadata.uid() != 0 {
        return Err(NetrcError::Owner {
            owner: metadata.uid(),
        });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(NetrcError::Mode {
            mode: metadata.mode() & 0o777,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_NETRC + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_NETRC) {
        return Err(NetrcError::TooLarge);
    }
    find(&text, host, user)
}

/// Looks a host up in the text of a file: the first entry that names it, and the
/// user if one is given; `default` otherwise.
///
/// # Errors
/// When the text is not understood.
pub fn find(text: &str, host: &str, user: Option<&str>) -> Result<Option<Entry>, NetrcError> {
    let mut words = Words { text, line: 1 };
    // The entry that is read: whether it is of this host.
    let mut current: Option<(bool, Entry)> = None;
    let fits = |entry: &(bool, Entry)| {
        let (of_host, entry) = entry;
        let of_user = match (user, &entry.login) {
            (Some(user), Some(login)) => login.eq_ignore_ascii_case(user),
            _ => true,
        };
        *of_host && of_user
    };
    while let Some(word) = words.next()? {
        let line = words.line;
        let value = |words: &mut Words<'_>| {
            words.next()?.ok_or(NetrcError::Syntax {
                line,
                what: "a value is missing at the end of the file",
            })
        };
        match word.as_str() {
            "machine" | "default" => {
                if let Some(entry) = current.take_if(|entry| fits(entry)) {
                    return Ok(Some(entry.1));
                }
                let of_host =
                    word.as_str() == "default" || value(&mut words)?.eq_ignore_ascii_case(host);
                current = Some((of_host, Entry::default()));
            }
            "login" | "user" | "password" | "account" | "domain" => {
                let given = value(&mut words)?;
                let Some((_, entry)) = &mut current else {
                    return Err(NetrcError::Syntax {
                        line,
                        what: "`machine` or `default` must come first",
                    });
                };
                match word.as_str() {
                    "login" | "user" => entry.login = Some((*given).clone()),
                    "password" => entry.password = Some(given),
                    _ => entry.domain = Some((*given).clone()),
                }
            }
            "macdef" => words.skip_macro(),
            _ => {
                return Err(NetrcError::Syntax {
                    line,
                    what: "neither machine, default, login, password, account nor macdef",
                });
            }
        }
    }
    Ok(current.filter(fits).map(|(_, entry)| entry))
}

struct Words<'a> {
    text: &'a str,
    line: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Result<Option<Zeroizing<String>>, NetrcError> {
        loop {
            let trimmed = self
                .text
                .trim_start_matches(|c: char| c.is_whitespace() && c != '\n');
            self.text = trimmed;
            if let Some(rest) = trimmed.strip_prefix('\n') {
                self.line += 1;
                self.text = rest;
            } else if trimmed.starts_with('#') {
                let end = trimmed.find('\n').unwrap_or(trimmed.len());
                self.text = trimmed.get(end..).unwrap_or("");
            } else {
                break;
            }
        }
        if self.text.is_empty() {
            return Ok(None);
        }
        let mut word = Zeroizing::new(String::new());
        if let Some(rest) = self.text.strip_prefix('"') {
            let mut chars = rest.char_indices();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        self.text = rest.get(at + 1..).unwrap_or("");
                        return Ok(Some(word));
                    }
                    '\\' => word.extend(chars.next().map(|(_, c)| c)),
                    '\n' => break,
                    c => word.push(c),
                }
            }
            return Err(NetrcError::Syntax {
                line: self.line,
                what: "a quotation mark is not closed on its line",
            });
        }
        let end = self
            .text
            .find(char::is_whitespace)
            .unwrap_or(self.text.len());
        word.push_str(self.text.get(..end).unwrap_or(""));
        self.text = self.text.get(end..).unwrap_or("");
        Ok(Some(word))
    }

    /// A macro goes on to the next empty line.
    fn skip_macro(&mut self) {
        match self.text.find("\n\n") {
            Some(at) => {
                let (skipped, rest) = self.text.split_at_checked(at + 2).unwrap_or(("", ""));
                self.line += skipped.matches('\n').count();
                self.text = rest;
            }
            None => self.text = "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# passwords\n\
        machine files login alice password one account CORP\n\
        machine FILES login bob\n\tpassword \"two \\\" words\"\n\
        macdef init\nput x\n\nmachine other login carol password three\n\
        default login anna password four\n";

    fn get(host: &str, user: Option<&str>) -> (String, String) {
        let entry = find(TEXT, host, user).unwrap().unwrap();
        let password = entry.password.as_ref().map(|p| (**p).clone());
        (
            entry.login.unwrap_or_default(),
            password.unwrap_or_default(),
        )
    }

    #[test]
    fn the_first_entry_that_fits() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(get("files", None), pair("alice", "one"));
        assert_eq!(get("Files", Some("BOB")), pair("bob", "two \" words"));
        assert_eq!(get("other", None), pair("carol", "three"));
        assert_eq!(get("elsewhere", None), pair("anna", "four"));
        assert_eq!(get("files", Some("anna")), pair("anna", "four"));
        assert_eq!(find(TEXT, "files", Some("zoe")).unwrap(), None);
        let domain = find(TEXT, "files", None).unwrap().unwrap().domain;
        assert_eq!(domain.as_deref(), Some("CORP"));
        assert!(!format!("{:?}", find(TEXT, "files", None)).contains("one"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line) in [
            ("machine a\nlogn b", 2),
            ("login a", 1),
            ("machine a login", 1),
            ("\n\nmachine a password \"x\n", 3),
        ] {
            match find(text, "a", None) {
                Err(NetrcError::Syntax { line: at, .. }) => assert_eq!(at, line, "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_file_others_may_read_is_refused() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netrc");
        std::fs::write(&path, TEXT).unwrap();
        let me = std::fs::metadata(&path).unwrap().uid();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(look_up(&path, me, "files", None).is_ok(), good, "{mode:o}");
        }
        if me != 0 {
            assert!(matches!(
                look_up(&path, me + 1, "files", None),
                Err(NetrcError::Owner { .. })
            ));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "#".repeat(usize::try_from(MAX_NETRC).unwrap() + 1)).unwrap();
        assert!(matches!(
            look_up(&path, me, "files", None),
            Err(NetrcError::TooLarge)
        ));
    }
}
