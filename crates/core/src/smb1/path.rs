//! Paths as SMB1 clients write them.

use countersign_fs::{FsError, SmbPath};
use countersign_wire::NtStatus;
use countersign_wire::smb1::Flags2;

use super::request::{Request, Stop};
use crate::status;

/// A path without wildcards, in the share.
pub(super) fn parse(cx: &Request, wire: &str) -> Result<SmbPath, Stop> {
    let path = local(cx, wire);
    syntax(path)?;
    SmbPath::parse(path).map_err(refusal)
}

/// SMB1 tells a name that is too long as one that is not allowed.
fn refusal(error: FsError) -> Stop {
    Stop::Status(match error {
        FsError::NameTooLong => NtStatus::OBJECT_NAME_INVALID,
        other => status::of(other),
    })
}

/// What Windows refuses in a path before it looks anything up: `.` and `..`
/// that do not stand between other components, and wildcards before the last.
fn syntax(path: &str) -> Result<(), Stop> {
    let mut depth = 0_usize;
    let mut components = path.split(['\\', '/']).filter(|c| !c.is_empty()).peekable();
    while let Some(component) = components.next() {
        match component {
            "." if components.peek().is_some() => {
                return Err(Stop::Status(NtStatus::OBJECT_PATH_NOT_FOUND));
            }
            "." => return Err(Stop::Status(NtStatus::OBJECT_NAME_INVALID)),
            ".." => {
                depth = depth
                    .checked_sub(1)
                    .ok_or(Stop::Status(NtStatus::OBJECT_PATH_SYNTAX_BAD))?;
            }
            _ => depth += 1,
        }
        if components.peek().is_some() && has_wildcard(component) {
            return Err(Stop::Status(NtStatus::OBJECT_NAME_INVALID));
        }
    }
    Ok(())
}

/// The part of a DFS path behind server and share, or the path as it is.
/// Clients set the DFS flag and send local paths all the same.
fn local<'p>(cx: &Request, wire: &'p str) -> &'p str {
    if !cx.header.flags2.contains(Flags2::DFS) {
        return wire;
    }
    let mut parts = wire.trim_start_matches(['\\', '/']).splitn(3, ['\\', '/']);
    let (Some(_server), Some(share)) = (parts.next(), parts.next()) else {
        return wire;
    };
    let is_share = cx.tree().is_ok_and(|t| t.name.eq_ignore_ascii_case(share));
    if is_share {
        parts.next().unwrap_or("")
    } else {
        wire
    }
}

/// Whether a component has `*`, `?` or a wildcard of DOS.
pub(super) fn has_wildcard(component: &str) -> bool {
    component.contains(['*', '?', '<', '>', '"'])
}

/// A folder and a pattern in it, of a path whose last component may have wildcards.
pub(super) struct Pattern {
    /// The folder.
    pub(super) folder: SmbPath,
    /// The last component; `*` when the path ended in a separator or was empty.
    pub(super) pattern: String,
}

/// Takes a path with a pattern apart.
pub(super) fn parse_pattern(cx: &Request, wire: &str) -> Result<Pattern, Stop> {
    let path = local(cx, wire);
    let (folder, last) = match path.rfind(['\\', '/']) {
        Some(at) => (
            path.get(..at).unwrap_or(""),
            path.get(at + 1..).unwrap_or(""),
        ),
        None => ("", path),
    };
    syntax(folder)?;
    let folder = SmbPath::parse(folder).map_err(refusal)?;
    let pattern = match last {
        "" | "*.*" | "????????.???" => "*",
        ".." if folder.is_root() => return Err(Stop::Status(NtStatus::OBJECT_PATH_SYNTAX_BAD)),
        "." => return Err(Stop::Status(NtStatus::OBJECT_NAME_INVALID)),
        other => other,
    };
    Ok(Pattern {
        folder,
        pattern: pattern.to_owned(),
    })
}

/// The name that a target pattern makes of a source name: `*` takes over the
/// rest, `?` one character, of base and extension each.
pub(super) fn resolve_target(source: &str, pattern: &str) -> String {
    let split = |s: &str| -> (String, Option<String>) {
        match s.rsplit_once('.') {
            Some((base, extension)) => (base.to_owned(), Some(extension.to_owned())),
            None => (s.to_owned(), None),
        }
    };
    let (source_base, source_extension) = split(source);
    let (base, extension) = split(pattern);
    let mut out = resolve_part(&source_base, &base);
    if let Some(extension) = extension {
        let extension = resolve_part(source_extension.as_deref().unwrap_or(""), &extension);
        if !extension.is_empty() {
            out.push('.');
            out.push_str(&extension);
        }
    }
    out
}

fn resolve_part(source: &str, pattern: &str) -> String {
    let mut out = String::new();
    let mut source = source.chars();
    for c in pattern.chars() {
        match c {
            '*' => {
                out.extend(source);
                return out;
            }
            '?' => out.extend(source.next()),
            c => {
                source.next();
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_wildcard_renames() {
        assert_eq!(resolve_target("readme.txt", "*.bak"), "readme.bak");
        assert_eq!(resolve_target("readme.txt", "x?.*"), "xe.txt");
        assert_eq!(resolve_target("readme", "*.*"), "readme");
        assert_eq!(resolve_target("a.b", "plain"), "plain");
    }

    #[test]
    fn dots_are_refused_as_windows_does() {
        let s = |p| syntax(p).err();
        assert_eq!(s(r"\a\..\b"), None);
        assert_eq!(
            s(r"\.."),
            Some(Stop::Status(NtStatus::OBJECT_PATH_SYNTAX_BAD))
        );
        assert_eq!(
            s(r"\a\..\..\b"),
            Some(Stop::Status(NtStatus::OBJECT_PATH_SYNTAX_BAD))
        );
        assert_eq!(
            s(r"\.\b"),
            Some(Stop::Status(NtStatus::OBJECT_PATH_NOT_FOUND))
        );
        assert_eq!(
            s(r"\*\b"),
            Some(Stop::Status(NtStatus::OBJECT_NAME_INVALID))
        );
    }
}
