//! What to scan: addresses, names, ranges, networks, files, nmap's XML.

mod nmap;
mod written;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;

use thiserror::Error;

use crate::spans::{Space, Span, Spans};
use written::{Written, parse};

pub use written::MIN_IPV6_PREFIX;

/// Most hosts of one scan unless said otherwise.
pub const MAX_TARGETS: usize = 1 << 20;

/// Most bytes of a file of targets.
pub const MAX_FILE: u64 = 256 << 20;

/// One host to ask.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where.
    pub host: Host,
    /// TCP port.
    pub port: u16,
}

/// An address or a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// IPv4 or IPv6.
    Address(IpAddr),
    /// A link-local address and the interface it is behind.
    Zoned(Ipv6Addr, Zone),
    /// To be resolved.
    Name(String),
}

/// An interface, as it was named and by the system's number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Zone {
    name: String,
    index: u32,
}

impl Host {
    /// Where to connect to; `None` for a name.
    pub fn address(&self, port: u16) -> Option<SocketAddr> {
        match self {
            Host::Address(address) => Some(SocketAddr::new(*address, port)),
            Host::Zoned(address, zone) => {
                Some(SocketAddrV6::new(*address, port, 0, zone.index).into())
            }
            Host::Name(_) => None,
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Address(address) => write!(f, "{address}"),
            Host::Zoned(address, zone) => write!(f, "{address}%{}", zone.name),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// What is wrong with a target.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// Not an address, name, range, network or file.
    #[error("`{text}` is no target: {why}")]
    Bad {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// In a file.
    #[error("{file}, line {line}: {inner}")]
    InFile {
        /// File.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        inner: Box<TargetError>,
    },
    /// The file cannot be read.
    #[error("{file}: {why}")]
    File {
        /// File.
        file: String,
        /// Why.
        why: String,
    },
    /// nmap's XML.
    #[error("line {line}: {why}")]
    Xml {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// More hosts than the limit.
    #[error("more than {0} hosts; scan them in parts, or raise --max-hosts")]
    TooMany(usize),
}

fn bad(text: &str, why: &'static str) -> TargetError {
    TargetError::Bad {
        text: text.to_owned(),
        why,
    }
}

/// What a target becomes: hosts to scan, or hosts to leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Scan,
    Exclude,
}

/// Targets in the order given, each once. A network takes no more room than an
/// address.
#[derive(Debug)]
pub struct Targets {
    port: u16,
    limit: usize,
    count: usize,
    list: Vec<(Written, u16)>,
    seen: HashMap<(Space, u16), Spans>,
    seen_others: HashSet<(String, u16)>,
    excluded: HashMap<Space, Spans>,
    excluded_others: HashSet<String>,
}

impl Targets {
    /// No targets yet. `port` is for those that name none, `limit` the most hosts.
    pub fn new(port: u16, limit: usize) -> Self {
        Self {
            port,
            limit,
            count: 0,
            list: Vec::new(),
            seen: HashMap::new(),
            seen_others: HashSet::new(),
            excluded: HashMap::new(),
            excluded_others: HashSet::new(),
        }
    }

    /// How many hosts.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The hosts, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Target> + '_ {
        self.list.iter().flat_map(|(written, port)| {
            let (span, other) = match written {
                Written::Span(span) => (Some(*span), None),
                Written::Zoned(address, zone) => (None, Some(Host::Zoned(*address, zone.clone()))),
                Written::Name(name) => (None, Some(Host::Name(name.clone()))),
            };
            span.into_iter()
                .flat_map(|span| span.addresses().map(Host::Address))
                .chain(other)
                .map(|host| Target { host, port: *port })
        })
    }

    /// Whether an address is to be left alone, by whatever name it was found.
    pub fn is_excluded(&self, address: IpAddr) -> bool {
        let span = Span::of(address);
        self.excluded
            .get(&span.space)
            .is_some_and(|spans| spans.missing(span).is_empty())
    }

    /// Adds `10.0.0.5`, `[2001:db8::1]:445`, `fe80::1%eth0`, `files.example:4450`,
    /// `10.0.0.0/24`, `10.0.0.1-20`, `10.0.0.250-10.0.1.5`, or the content of a file:
    /// one target a line (`#` begins a comment), or nmap's XML. What is no address is
    /// a file if one of that name exists, else a host's name; `@FILE` is a file, `-`
    /// standard input.
    ///
    /// # Errors
    /// [`TargetError`]; targets before it stay.
    pub fn add(&mut self, text: &str) -> Result<(), TargetError> {
        self.take(text, Use::Scan)
    }

    /// Leaves hosts alone that are written in the same ways, on every port, whether
    /// they come before or after; names are compared as they are written, and the
    /// addresses that names turn out to have are left alone as well.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn exclude(&mut self, text: &str) -> Result<(), TargetError> {
        self.take(text, Use::Exclude)
    }

    fn take(&mut self, text: &str, purpose: Use) -> Result<(), TargetError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(bad(text, "it is empty"));
        }
        if text == "-" {
            return self.take_bytes("standard input", std::io::stdin().lock(), purpose);
        }
        if let Some(file) = text.strip_prefix('@') {
            return self.take_file(Path::new(file), purpose);
        }
        match parse(text) {
            Ok((written @ (Written::Span(_) | Written::Zoned(..)), port)) => {
                self.put(text, written, port, purpose)
            }
            // What is no address may be a file.
            Ok(_) | Err(TargetError::Bad { .. }) if Path::new(text).is_file() => {
                self.take_file(Path::new(text), purpose)
            }
            Ok((written, port)) => self.put(text, written, port, purpose),
            Err(error) => Err(error),
        }
    }

    fn take_file(&mut self, path: &Path, purpose: Use) -> Result<(), TargetError> {
        let name = path.display().to_string();
        match std::fs::File::open(path) {
            Ok(file) => self.take_bytes(&name, file, purpose),
            Err(error) => Err(TargetError::File {
                file: name,
                why: error.to_string(),
            }),
        }
    }

    fn take_bytes(&mut self, name: &str, from: impl Read, purpose: Use) -> Result<(), TargetError> {
        let failed = |why: String| TargetError::File {
            file: name.to_owned(),
            why,
        };
        let mut bytes = Vec::new();
        let read = from
            .take(MAX_FILE.saturating_add(1))
            .read_to_end(&mut bytes);
        read.map_err(|error| failed(error.to_string()))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
            return Err(failed(format!("longer than {MAX_FILE} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed("not UTF-8".to_owned()))?;
        let text = text.trim_start_matches('\u{FEFF}');
        if text.trim_start().starts_with('<') {
            return self.take_nmap(text, purpose).map_err(|error| match error {
                TargetError::Xml { line, why } => failed(format!("line {line}: {why}")),
                other => other,
            });
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            parse(line)
                .and_then(|(written, port)| self.put(line, written, port, purpose))
                .map_err(|inner| TargetError::InFile {
                    file: name.to_owned(),
                    line: number.saturating_add(1),
                    inner: Box::new(inner),
                })?;
        }
        Ok(())
    }

    /// Adds the hosts of nmap's XML that are up and whose SMB port is open or
    /// not told.
    ///
    /// # Errors
    /// [`TargetError`] for what is no XML of nmap, or not all of it.
    pub fn add_nmap(&mut self, xml: &str) -> Result<(), TargetError> {
        self.take_nmap(xml, Use::Scan)
    }

    fn put(
        &mut self,
        text: &str,
        written: Written,
        port: Option<u16>,
        purpose: Use,
    ) -> Result<(), TargetError> {
        if purpose == Use::Exclude {
            return self.leave(text, written, port);
        }
        let port = port.unwrap_or(self.port);
        let parts = match written {
            Written::Span(span) => {
                let seen = self.seen.entry((span.space, port)).or_default();
                let mut parts = seen.missing(span);
                if let Some(excluded) = self.excluded.get(&span.space) {
                    parts = parts
                        .into_iter()
                        .flat_map(|part| excluded.missing(part))
                        .collect();
                }
                parts.into_iter().map(Written::Span).collect()
            }
            other => {
                let name = match &other {
                    Written::Name(name) => name.to_ascii_lowercase(),
                    Written::Zoned(address, zone) => format!("{address}%{}", zone.index),
                    Written::Span(_) => String::new(),
                };
                let fresh = !self.excluded_others.contains(&name)
                    && !self.seen_others.contains(&(name.clone(), port));
                if fresh {
                    self.seen_others.insert((name, port));
                    vec![other]
                } else {
                    Vec::new()
                }
            }
        };
        for part in parts {
            let more = match &part {
                Written::Span(span) => usize::try_from(span.len()).unwrap_or(usize::MAX),
                _ => 1,
            };
            let count = self.count.saturating_add(more);
            if count > self.limit {
                return Err(TargetError::TooMany(self.limit));
            }
            self.count = count;
            if let Written::Span(span) = part {
                self.seen.entry((span.space, port)).or_default().add(span);
            }
            self.list.push((part, port));
        }
        Ok(())
    }

    fn leave(
        &mut self,
        text: &str,
        written: Written,
        port: Option<u16>,
    ) -> Result<(), TargetError> {
        if port.is_some() {
            return Err(bad(
                text,
                "a host is left out with all its ports: name none",
            ));
        }
        match written {
            Written::Span(span) => self.excluded.entry(span.space).or_default().add(span),
            Written::Zoned(address, zone) => {
                self.excluded_others
                    .insert(format!("{address}%{}", zone.index));
            }
            Written::Name(name) => {
                self.excluded_others.insert(name.to_ascii_lowercase());
            }
        }
        // What was added before.
        let list = std::mem::take(&mut self.list);
        (self.count, self.seen, self.seen_others) = (0, HashMap::new(), HashSet::new());
        for (written, port) in list {
            self.put("", written, Some(port), Use::Scan)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list_of(targets: &Targets) -> Vec<String> {
        let list: Vec<_> = targets
            .iter()
            .map(|t| format!("{} {}", t.host, t.port))
            .collect();
        assert_eq!(list.len(), targets.len());
        list
    }

    fn list(texts: &[&str]) -> Vec<String> {
        let mut targets = Targets::new(445, 1000);
        for text in texts {
            targets.add(text).unwrap();
        }
        list_of(&targets)
    }

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn every_form() {
        assert_eq!(list(&["10.0.0.5"]), ["10.0.0.5 445"]);
        assert_eq!(list(&["10.0.0.5:4450"]), ["10.0.0.5 4450"]);
        assert_eq!(
            list(&["::1", "[2001:db8::1]:139", "[::2]"]),
            ["::1 445", "2001:db8::1 139", "::2 445"]
        );
        assert_eq!(list(&["files.example:1445"]), ["files.example 1445"]);
        assert_eq!(
            list(&["10.0.0.1-3"]),
            ["10.0.0.1 445", "10.0.0.2 445", "10.0.0.3 445"]
        );
        assert_eq!(list(&["10.0.0.255-10.0.1.1"]).len(), 3);
        assert_eq!(list(&["10.0.0.1-2:139"]), ["10.0.0.1 139", "10.0.0.2 139"]);
        assert_eq!(list(&["10.0.0.77/30"]), ["10.0.0.77 445", "10.0.0.78 445"]);
        assert_eq!(list(&["10.0.0.4/31:44"]), ["10.0.0.4 44", "10.0.0.5 44"]);
        assert_eq!(list(&["10.9.8.7/32"]), ["10.9.8.7 445"]);
        assert_eq!(list(&["2001:db8::/126"]).len(), 4);
        assert_eq!(list(&["[2001:db8::/127]:139"]).len(), 2);
        assert_eq!(list(&["2001:db8::9-2001:db8::b"]).len(), 3);
        // Each host once, in the order given.
        assert_eq!(list(&["10.0.0.1-2", "10.0.0.0/30"]).len(), 2);
        assert_eq!(
            list(&["10.0.0.2", "10.0.0.1-3", "Files", "files"]),
            ["10.0.0.2 445", "10.0.0.1 445", "10.0.0.3 445", "Files 445"]
        );
        assert_eq!(list(&["::ffff:10.0.0.1", "10.0.0.1"]), ["10.0.0.1 445"]);
    }

    #[test]
    fn a_link_local_address_has_an_interface() {
        let mut targets = Targets::new(445, 9);
        for one in ["fe80::1%lo", "[fe80::2%lo]:139", "fe80::1%lo"] {
            targets.add(one).unwrap();
        }
        assert_eq!(list_of(&targets), ["fe80::1%lo 445", "fe80::2%lo 139"]);
        let first = targets.iter().next().unwrap();
        match first.host.address(445) {
            Some(SocketAddr::V6(address)) => assert!(address.scope_id() > 0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("10.0.0.0/33", "at most 32"),
            ("2001:db8::/129", "at most 128"),
            ("10.0.0.9-3", "before it begins"),
            ("10.0.0.9-x", "ends with an address"),
            ("10.0.0.9-2001:db8::1", "one kind"),
            ("2001:db8::1-7", "ends with an address"),
            ("10.0.0-3.1-254", "neither an address"),
            ("10.0.0.*", "neither an address"),
            ("300.1.2.3", "neither an address"),
            ("10.0.0.0/x", "no number"),
            ("[::1", "not closed"),
            ("[::1]x", "only :PORT"),
            ("[10.0.0.1]", "no IPv6 address"),
            ("[name]:445", "no IPv6 address"),
            ("host:99999", "65535"),
            ("host:0", "65535"),
            ("10.0.0.1:x", "65535"),
            ("fe80::1", "needs its interface"),
            ("[fe80::1]:445", "needs its interface"),
            ("fe80::1%no-such-interface", "no such interface"),
            ("2001:db8::/64", "cannot be scanned"),
            ("no such thing!", "neither an address"),
            ("@/no/such/file", "No such file"),
            ("", "empty"),
        ] {
            let error = Targets::new(445, 10).add(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(
                error.contains(text.trim_start_matches('@')),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_network_takes_the_room_of_an_address() {
        let mut few = Targets::new(445, 3);
        assert_eq!(few.add("10.0.0.0/24"), Err(TargetError::TooMany(3)));
        assert_eq!(few.add("2001:db8::/96"), Err(TargetError::TooMany(3)));
        let mut many = Targets::new(445, usize::MAX);
        many.add("0.0.0.0/0").unwrap();
        many.add("2001:db8::/96").unwrap();
        assert_eq!(many.list.len(), 2);
        assert_eq!(many.len(), (1 << 33) - 2);
        assert_eq!(
            Targets::new(445, MAX_TARGETS).add("10.0.0.0/8"),
            Err(TargetError::TooMany(MAX_TARGETS))
        );
    }

    #[test]
    fn exclusions_count_before_and_after() {
        for first in [true, false] {
            let mut targets = Targets::new(445, 100);
            let add = |targets: &mut Targets| {
                for one in ["10.0.0.0/29", "10.0.0.3:139", "files", "other"] {
                    targets.add(one).unwrap();
                }
            };
            if !first {
                add(&mut targets);
            }
            for one in ["10.0.0.2-3", "10.0.0.6", "FILES"] {
                targets.exclude(one).unwrap();
            }
            if first {
                add(&mut targets);
            }
            assert_eq!(
                list_of(&targets),
                ["10.0.0.1 445", "10.0.0.4 445", "10.0.0.5 445", "other 445"]
            );
            assert!(targets.is_excluded("10.0.0.2".parse().unwrap()));
            assert!(targets.is_excluded("::ffff:10.0.0.2".parse().unwrap()));
            assert!(!targets.is_excluded("10.0.0.4".parse().unwrap()));
        }
        let error = Targets::new(445, 1).exclude("10.0.0.1:445").unwrap_err();
        assert!(error.to_string().contains("name none"), "{error}");
    }

    #[test]
    fn files() {
        let place = place();
        // A name that could be a host's.
        let plain = place.path().join("hosts.txt");
        std::fs::write(&plain, "\u{FEFF}10.0.0.1 # scanner\r\n\n  10.0.0.2:139\n").unwrap();
        let given = plain.display().to_string();
        assert_eq!(
            list(&[&format!("@{given}")]),
            ["10.0.0.1 445", "10.0.0.2 139"]
        );
        assert_eq!(list(&[&given]).len(), 2);
        std::fs::write(&plain, "10.0.0.1\n10.0.0.1/99\n").unwrap();
        let error = Targets::new(445, 9).add(&given).unwrap_err().to_string();
        assert!(
            error.contains(&given) && error.contains("line 2"),
            "{error}"
        );
        std::fs::write(&plain, b"\xFF\xFE1\0").unwrap();
        let error = Targets::new(445, 9).add(&given).unwrap_err().to_string();
        assert!(error.contains("not UTF-8"), "{error}");
        std::fs::write(&plain, "<nmaprun>\n<host>\n<status state=\"up\"/>\n").unwrap();
        let error = Targets::new(445, 9).add(&given).unwrap_err().to_string();
        assert!(error.contains("line 4: the XML ends"), "{error}");
    }

    #[test]
    fn nmap() {
        let xml = r#"<?xml version="1.0"?><!DOCTYPE nmaprun><nmaprun scanner="nmap">
            <hosthint><status state="up"/><address addr="10.0.0.9" addrtype="ipv4"/></hosthint>
            <host><status state="up"/><address addr="10.0.0.1" addrtype="ipv4"/>
              <address addr="00:11:22:33:44:55" addrtype="mac"/>
              <ports><port protocol="tcp" portid="445"><state state="open"/></port></ports></host>
            <host><status state="up"/><address addr="10.0.0.2" addrtype="ipv4"/>
              <ports><port protocol="tcp" portid="445"><state state="closed"/></port></ports></host>
            <host><status state="up"/><address addr="10.0.0.5" addrtype="ipv4"/>
              <ports><port protocol="udp" portid="445"><state state="open|filtered"/></port></ports></host>
            <host><status state="down"/><address addr="10.0.0.3" addrtype="ipv4"/></host>
            <host><status state="up"/><address addr="2001:db8::4" addrtype="ipv6"/></host>
            </nmaprun>"#;
        let mut targets = Targets::new(445, 10);
        targets.add_nmap(xml).unwrap();
        // 10.0.0.5: only UDP was looked at, so nothing is known of its TCP ports.
        assert_eq!(
            list_of(&targets),
            ["10.0.0.1 445", "10.0.0.5 445", "2001:db8::4 445"]
        );
        let error = |xml: &str| Targets::new(445, 9).add_nmap(xml).unwrap_err().to_string();
        assert!(error("<other/>").contains("not of nmap"));
        assert!(error("<nmaprun>\n<host").contains("line 2: the XML is not"));
        assert!(error("<nmaprun>\n</host>").contains("not well-formed"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let mut targets = Targets::new(445, 100);
            if !std::path::Path::new(text.trim()).exists() && text.trim() != "-" {
                let _ = targets.add(&text);
                let _ = targets.exclude(&text);
            }
            let _ = targets.add_nmap(&text);
        }
    }
}
