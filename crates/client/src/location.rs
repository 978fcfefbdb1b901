//! Where a file is: `smb://[[domain;]user[:password]@]host[:port][/share[/path]]`
//! or `//host[:port]/share/path` (with either slash).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use zeroize::Zeroizing;

/// Longest location that is read, in bytes.
pub const MAX_LOCATION: usize = 64 * 1024;

/// A host, a share and a path on it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Location {
    /// Name or address, IPv6 without its brackets.
    pub host: String,
    /// The port, if one is named.
    pub port: Option<u16>,
    /// The domain before the user's name.
    pub domain: Option<String>,
    /// Who logs on.
    pub user: Option<String>,
    /// A password in the location: whoever sees the process list sees it.
    pub password: Option<Zeroizing<String>>,
    /// The share; none: the host as a whole.
    pub share: Option<String>,
    /// The path on the share in its parts; empty: the share's root.
    pub path: Vec<String>,
    /// A slash stands at the end: a folder is meant.
    pub folder: bool,
}

/// Why a text is no location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Neither `smb://` nor `//`.
    #[error("`{0}` is neither smb://host/share/path nor //host/share/path")]
    NotALocation(String),
    /// No host.
    #[error("no host is named: smb://host/share/path")]
    NoHost,
    /// The port is no number from 1 to 65535.
    #[error("`{0}` is not a port")]
    Port(String),
    /// `[` without `]`, or no IPv6 address between them.
    #[error("`{0}` is not an IPv6 address in brackets")]
    Brackets(String),
    /// `%` without two hexadecimal digits, or what comes out is not UTF-8.
    #[error("`{0}`: % must be followed by two hexadecimal digits; write % itself as %25")]
    Percent(String),
    /// `%2F`, `%5C` or `%00`.
    #[error("`{0}`: a name on a share cannot hold a slash, a backslash or NUL")]
    Separator(String),
    /// `..` above the share.
    #[error("`..` leads out of the share")]
    Above,
    /// Longer than [`MAX_LOCATION`].
    #[error("longer than {MAX_LOCATION} bytes")]
    TooLong,
}

impl Location {
    /// Whether a text is meant as a location: it starts with `smb://`, `//` or `\\`.
    pub fn is_one(text: &str) -> bool {
        strip_scheme(text).is_some() || text.starts_with("//") || text.starts_with("\\\\")
    }

    /// The next part: the share, or one of the path on it, which `..` cannot leave.
    fn go(&mut self, part: &str) -> Result<(), LocationError> {
        if self.share.is_some() {
            return push(&mut self.path, part);
        }
        let mut first = Vec::new();
        push(&mut first, part)?;
        self.share = first.pop();
        Ok(())
    }

    /// The path as a share takes it: parts joined by backslashes.
    pub fn remote_path(&self) -> String {
        self.path.join("\\")
    }

    /// The last part of the path.
    pub fn name(&self) -> Option<&str> {
        self.path.last().map(String::as_str)
    }

    /// The same share with another path.
    #[must_use]
    pub fn with_path(&self, path: Vec<String>) -> Location {
        Location {
            path,
            ..self.clone()
        }
    }

    /// Whether the path has a wildcard in it: `*` or `?`, which no name can hold.
    pub fn has_wildcards(&self) -> bool {
        self.path.iter().any(|part| crate::glob::is_pattern(part))
    }
}

/// The parts of a path with either slash: `.` and empty parts left out, `..` resolved.
///
/// # Errors
/// When `..` leads above the root.
pub fn split_path(text: &str) -> Result<Vec<String>, LocationError> {
    let mut parts = Vec::new();
    for part in text.split(['/', '\\']) {
        push(&mut parts, part)?;
    }
    Ok(parts)
}

fn push(parts: &mut Vec<String>, part: &str) -> Result<(), LocationError> {
    match part {
        "" | "." => {}
        ".." => {
            parts.pop().ok_or(LocationError::Above)?;
        }
        _ if part.contains('\0') => return Err(LocationError::Separator(part.to_owned())),
        _ => parts.push(part.to_owned()),
    }
    Ok(())
}

fn strip_scheme(text: &str) -> Option<&str> {
    ["smb://", "cifs://"].iter().find_map(|scheme| {
        let (begin, rest) = text.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// `%41` to `A`.
fn percent(text: &str) -> Result<String, LocationError> {
    let wrong = || LocationError::Percent(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut from = text.bytes();
    while let Some(byte) = from.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
        let high = digit(from.next()).ok_or_else(wrong)?;
        let low = digit(from.next()).ok_or_else(wrong)?;
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LOCATION {
            return Err(LocationError::TooLong);
        }
        if let Some(rest) = strip_scheme(text) {
            return url(rest);
        }
        let rest = text
            .strip_prefix("//")
            .or_else(|| text.strip_prefix("\\\\"))
            .ok_or_else(|| LocationError::NotALocation(text.to_owned()))?;
        let mut location = Location::default();
        let (host, path) = rest.split_once(['/', '\\']).unwrap_or((rest, ""));
        set_host(&mut location, host)?;
        location.folder = path.ends_with(['/', '\\']);
        for part in path.split(['/', '\\']) {
            location.go(part)?;
        }
        Ok(location)
    }
}

fn url(rest: &str) -> Result<Location, LocationError> {
    let mut location = Location::default();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((who, host)) => {
            let (name, password) = match who.split_once(':') {
                Some((name, password)) => (name, Some(password)),
                None => (who, None),
            };
            let (domain, user) = match name.split_once(';') {
                Some((domain, user)) => (Some(domain), user),
                None => (None, name),
            };
            location.user = Some(percent(user)?).filter(|user| !user.is_empty());
            location.domain = domain.map(percent).transpose()?;
            location.password = password.map(percent).transpose()?.map(Zeroizing::new);
            host
        }
    };
    set_host(&mut location, &percent(host)?)?;
    location.folder = path.ends_with('/');
    for part in path.split('/') {
        let decoded = percent(part)?;
        if decoded.contains(['/', '\\', '\0']) {
            return Err(LocationError::Separator(part.to_owned()));
        }
        location.go(&decoded)?;
    }
    Ok(location)
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address.
fn set_host(location: &mut Location, text: &str) -> Result<(), LocationError> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| LocationError::Port(text.to_owned()))
    };
    if let Some(rest) = text.strip_prefix('[') {
        let wrong = || LocationError::Brackets(text.to_owned());
        let (address, behind) = rest.split_once(']').ok_or_else(wrong)?;
        let (bare, _zone) = address.split_once('%').unwrap_or((address, ""));
        bare.parse::<Ipv6Addr>().map_err(|_| wrong())?;
        address.clone_into(&mut location.host);
        if !behind.is_empty() {
            location.port = Some(port(behind.strip_prefix(':').ok_or_else(wrong)?)?);
        }
        return Ok(());
    }
    let (bare, _zone) = text.split_once('%').unwrap_or((text, ""));
    if bare.parse::<Ipv6Addr>().is_ok() {
        text.clone_into(&mut location.host);
        return Ok(());
    }
    let (host, behind) = match text.split_once(':') {
        Some((host, behind)) => (host, Some(behind)),
        None => (text, None),
    };
    if host.is_empty() {
        return Err(LocationError::NoHost);
    }
    host.clone_into(&mut location.host);
    location.port = behind.map(port).transpose()?;
    Ok(())
}

/// Percent-encodes what has a meaning in a location, so that it reads back.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '%' | '/' | '\\' | '@' | ':' | ';' | '#' | ' ' | '[' | ']' => {
                    write!(f, "%{:02X}", u32::from(c))?;
                }
                c if c.is_ascii_control() => write!(f, "%{:02X}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// As a URL that reads back; a password is never shown.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("smb://")?;
        if let Some(user) = &self.user {
            if let Some(domain) = &self.domain {
                write!(f, "{};", Encoded(domain))?;
            }
            write!(f, "{}@", Encoded(user))?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host.replace('%', "%25"))?;
        } else {
            write!(f, "{}", Encoded(&self.host))?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(share) = &self.share {
            write!(f, "/{}", Encoded(share))?;
        }
        for part in &self.path {
            write!(f, "/{}", Encoded(part))?;
        }
        if self.folder {
            f.write_str("/")?;
        }
        Ok(())
    }
}

/// Without the password.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_taken_apart() {
        let all = parse("smb://CORP;alice:p%40ss@files.example:4450/Team%20share/a/b%25.txt");
        assert_eq!(all.domain.as_deref(), Some("CORP"));
        assert_eq!(all.user.as_deref(), Some("alice"));
        assert_eq!(all.password.as_ref().map(|p| p.as_str()), Some("p@ss"));
        assert_eq!(all.host, "files.example");
        assert_eq!(all.port, Some(4450));
        assert_eq!(all.share.as_deref(), Some("Team share"));
        assert_eq!(all.remote_path(), "a\\b%.txt");
        assert!(!all.folder);
        assert_eq!(
            all.to_string(),
            "smb://CORP;alice@files.example:4450/Team%20share/a/b%25.txt"
        );
        assert!(!format!("{all:?}").contains("p@ss"));
        let bare = parse("SMB://host");
        assert_eq!((bare.host.as_str(), bare.share), ("host", None));
        let root = parse("smb://host/share/");
        assert_eq!(root.share.as_deref(), Some("share"));
        assert!(root.path.is_empty() && root.folder);
    }

    #[test]
    fn unc_names_are_taken_literally() {
        let unc = parse("//host:445/share/100%/x y");
        assert_eq!(unc.port, Some(445));
        assert_eq!(unc.remote_path(), "100%\\x y");
        assert_eq!(parse("\\\\host\\share\\a\\b").remote_path(), "a\\b");
        assert_eq!(parse("//host/share/a/./b/../c").remote_path(), "a\\c");
    }

    #[test]
    fn ipv6_with_and_without_brackets() {
        for (text, host, port) in [
            ("smb://[::1]:4450/s", "::1", Some(4450)),
            ("smb://[fe80::1%25eth0]/s", "fe80::1%eth0", None),
            ("//[::1]/s", "::1", None),
            ("//::1/s", "::1", None),
            ("//2001:db8::5/s", "2001:db8::5", None),
        ] {
            let location = parse(text);
            assert_eq!(
                (location.host.as_str(), location.port),
                (host, port),
                "{text}"
            );
            assert_eq!(location.share.as_deref(), Some("s"));
            assert_eq!(parse(&location.to_string()), location);
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (text, error) in [
            ("/home/a", LocationError::NotALocation("/home/a".to_owned())),
            ("smb://", LocationError::NoHost),
            ("smb:///share", LocationError::NoHost),
            ("smb://h:0/s", LocationError::Port("0".to_owned())),
            ("smb://h:99999/s", LocationError::Port("99999".to_owned())),
            ("smb://[::1/s", LocationError::Brackets("[::1".to_owned())),
            (
                "smb://[1.2.3.4]/s",
                LocationError::Brackets("[1.2.3.4]".to_owned()),
            ),
            ("smb://h/s/100%", LocationError::Percent("100%".to_owned())),
            ("smb://h/s/%ff", LocationError::Percent("%ff".to_owned())),
            (
                "smb://h/s/a%2Fb",
                LocationError::Separator("a%2Fb".to_owned()),
            ),
            (
                "smb://h/s/a%5cb",
                LocationError::Separator("a%5cb".to_owned()),
            ),
            ("smb://h/../..", LocationError::Above),
            ("smb://h/s/../t", LocationError::Above),
            ("//h/s/a/../../t/x", LocationError::Above),
            ("//h/../s", LocationError::Above),
            ("smb://h/s/%2e%2e/t", LocationError::Above),
        ] {
            assert_eq!(text.parse::<Location>().unwrap_err(), error, "{text}");
        }
        let long = format!("smb://h/{}", "a".repeat(MAX_LOCATION));
        assert_eq!(long.parse::<Location>(), Err(LocationError::TooLong));
    }

    #[test]
    fn any_name_reads_back() {
        for name in ["ä ö", "a%b", "a;b@c:d", "[x]", "#1", "日本 語", "a+b&c=d"] {
            let location = Location {
                host: "h".to_owned(),
                share: Some("s".to_owned()),
                path: vec![name.to_owned()],
                ..Location::default()
            };
            assert_eq!(parse(&location.to_string()), location, "{name}");
        }
    }

    #[test]
    fn what_looks_like_a_location() {
        assert!(Location::is_one("smb://x") && Location::is_one("//x/y"));
        assert!(Location::is_one("\\\\x\\y") && Location::is_one("CIFS://x"));
        assert!(!Location::is_one("cifs:/x"));
        assert!(!Location::is_one("/x") && !Location::is_one("x") && !Location::is_one("sm"));
    }
}
