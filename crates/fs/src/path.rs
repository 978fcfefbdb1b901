//! Paths inside a share: parsed once, never able to leave it.

use crate::FsError;

/// A path relative to a share's root: components without separators, `.` or
/// `..`, and perhaps a stream. The only way to make one is [`SmbPath::parse`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SmbPath {
    components: Vec<String>,
    stream: Option<StreamName>,
}

/// `:name:$DATA` behind a path. An empty name is the unnamed (default) stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamName(pub String);

/// Longest name of one component, in UTF-16 units, [MS-FSCC] 2.1.5.
pub const MAX_COMPONENT: usize = 255;
/// Longest path, in UTF-16 units.
pub const MAX_PATH: usize = 32_767;

impl SmbPath {
    /// The share's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a path in wire form: `\` between components (a leading and a
    /// trailing one and doubled ones are tolerated, `/` is a separator too).
    ///
    /// # Errors
    /// [`FsError::PathSyntaxBad`] for `..` that leaves the root,
    /// [`FsError::NameInvalid`] for characters [MS-FSCC] 2.1.5 forbids and for
    /// a malformed stream, [`FsError::NameTooLong`] behind the limits.
    pub fn parse(wire: &str) -> Result<Self, FsError> {
        if wire.encode_utf16().count() > MAX_PATH {
            return Err(FsError::NameTooLong);
        }
        let mut components: Vec<String> = Vec::new();
        let mut stream = None;
        let parts: Vec<&str> = wire.split(['\\', '/']).collect();
        let last = parts.iter().rposition(|p| !p.is_empty());
        for (i, part) in parts.iter().enumerate() {
            let mut name = *part;
            match name {
                "" | "." => continue,
                ".." => {
                    components.pop().ok_or(FsError::PathSyntaxBad)?;
                    continue;
                }
                _ => {}
            }
            if let Some((base, rest)) = name.split_once(':') {
                if Some(i) != last {
                    return Err(FsError::NameInvalid);
                }
                stream = Some(parse_stream(rest)?);
                name = base;
                if name.is_empty() {
                    continue;
                }
            }
            check_component(name)?;
            components.push(name.to_owned());
        }
        // `::$DATA` is the file itself.
        if stream.as_ref().is_some_and(|s: &StreamName| s.0.is_empty()) && components.is_empty() {
            return Err(FsError::NameInvalid);
        }
        Ok(Self { components, stream })
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// The stream asked for; an empty name is the unnamed one.
    pub fn stream(&self) -> Option<&str> {
        self.stream.as_ref().map(|s| s.0.as_str())
    }

    /// The named stream, if one other than the unnamed was asked for.
    pub fn named_stream(&self) -> Option<&str> {
        self.stream().filter(|s| !s.is_empty())
    }

    /// Whether this is the share's root (without a named stream).
    pub fn is_root(&self) -> bool {
        self.components.is_empty() && self.named_stream().is_none()
    }

    /// The last component; none for the root.
    pub fn file_name(&self) -> Option<&str> {
        self.components.last().map(String::as_str)
    }

    /// The same path without its stream.
    pub fn without_stream(&self) -> Self {
        Self {
            components: self.components.clone(),
            stream: None,
        }
    }

    /// The folder that holds this path's last component; none for the root.
    pub fn parent(&self) -> Option<Self> {
        let (_, parents) = self.components.split_last()?;
        Some(Self {
            components: parents.to_vec(),
            stream: None,
        })
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// As [`SmbPath::parse`]; `name` must be one component without a stream.
    pub fn join(&self, name: &str) -> Result<Self, FsError> {
        check_component(name)?;
        if matches!(name, "." | "..") {
            return Err(FsError::NameInvalid);
        }
        let mut components = self.components.clone();
        components.push(name.to_owned());
        Ok(Self {
            components,
            stream: None,
        })
    }

    /// This path with a named stream ("" for the unnamed one).
    #[must_use]
    pub fn with_stream(&self, name: &str) -> Self {
        Self {
            components: self.components.clone(),
            stream: Some(StreamName(name.to_owned())),
        }
    }
}

/// `a\b:s`, the form names have on the wire; empty for the root.
impl core::fmt::Display for SmbPath {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.components.join("\\"))?;
        match self.named_stream() {
            Some(s) => write!(f, ":{s}"),
            None => Ok(()),
        }
    }
}

fn check_component(name: &str) -> Result<(), FsError> {
    if name.encode_utf16().count() > MAX_COMPONENT {
        return Err(FsError::NameTooLong);
    }
    let bad = |c: char| {
        matches!(c, '"' | '*' | '<' | '>' | '?' | '|' | ':' | '\\' | '/') || u32::from(c) < 0x20
    };
    if name.is_empty() || name.contains(bad) {
        return Err(FsError::NameInvalid);
    }
    Ok(())
}

fn parse_stream(rest: &str) -> Result<StreamName, FsError> {
    let (name, kind) = rest.split_once(':').unwrap_or((rest, "$DATA"));
    if !kind.eq_ignore_ascii_case("$DATA") {
        return Err(FsError::NameInvalid);
    }
    if name.is_empty() && !rest.contains(':') {
        return Err(FsError::NameInvalid);
    }
    if name.encode_utf16().count() > MAX_COMPONENT {
        return Err(FsError::NameTooLong);
    }
    if name.contains(['\\', '/', ':', '\0']) {
        return Err(FsError::NameInvalid);
    }
    Ok(StreamName(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_root() {
        assert_eq!(SmbPath::parse("..").unwrap_err(), FsError::PathSyntaxBad);
        assert_eq!(
            SmbPath::parse(r"a\..\..\b").unwrap_err(),
            FsError::PathSyntaxBad
        );
        assert_eq!(SmbPath::parse(r"a\..\b").unwrap().to_string(), "b");
        assert!(SmbPath::parse(r"\").unwrap().is_root());
        assert!(SmbPath::parse("a\0b").is_err());
    }

    #[test]
    fn streams_are_taken_apart() {
        let p = SmbPath::parse(r"dir\file:Zone.Identifier:$DATA").unwrap();
        assert_eq!(p.named_stream(), Some("Zone.Identifier"));
        assert_eq!(p.file_name(), Some("file"));
        assert_eq!(SmbPath::parse("f::$data").unwrap().stream(), Some(""));
        assert_eq!(SmbPath::parse("f:").unwrap_err(), FsError::NameInvalid);
        assert_eq!(
            SmbPath::parse("f:x:$INDEX").unwrap_err(),
            FsError::NameInvalid
        );
        assert_eq!(SmbPath::parse(r"f:x\y").unwrap_err(), FsError::NameInvalid);
    }
}
