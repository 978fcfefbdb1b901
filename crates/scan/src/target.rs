//! What to scan: addresses, names, ranges, networks, files, nmap's XML.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;
use thiserror::Error;

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
    /// The name it was given by.
    pub label: Option<String>,
}

/// An address or a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// IPv4 or IPv6.
    Address(IpAddr),
    /// To be resolved.
    Name(String),
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

/// Targets in the order given, each once.
#[derive(Debug)]
pub struct Targets {
    port: u16,
    limit: usize,
    seen: HashSet<Target>,
    list: Vec<Target>,
}

impl Targets {
    /// No targets yet. `port` is for those that name none, `limit` the most hosts.
    pub fn new(port: u16, limit: usize) -> Self {
        Self {
            port,
            limit,
            seen: HashSet::new(),
            list: Vec::new(),
        }
    }

    /// The list.
    pub fn into_list(self) -> Vec<Target> {
        self.list
    }

    /// Adds `10.0.0.5`, `[fe80::1]:445`, `files.example:4450`, `10.0.0.0/24`,
    /// `10.0.0.1-20`, `10.0.0.250-10.0.1.5`, or the content of a file: one target a
    /// line (`#` begins a comment), or nmap's XML.
    ///
    /// # Errors
    /// [`TargetError`]; targets before it stay.
    pub fn add(&mut self, text: &str) -> Result<(), TargetError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(bad(text, "it is empty"));
        }
        if let Some(file) = text.strip_prefix('@') {
            return self.add_file(Path::new(file));
        }
        match self.parse(text) {
            Ok(()) => Ok(()),
            // A path is what is no host, and exists.
            Err(TargetError::Bad { .. }) if Path::new(text).is_file() => {
                self.add_file(Path::new(text))
            }
            Err(error) => Err(error),
        }
    }

    /// Adds the targets in a file.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn add_file(&mut self, path: &Path) -> Result<(), TargetError> {
        let file = path.display().to_string();
        let failed = |why: String| TargetError::File {
            file: file.clone(),
            why,
        };
        let size = std::fs::metadata(path)
            .map_err(|e| failed(e.to_string()))?
            .len();
        if size > MAX_FILE {
            return Err(failed(format!("longer than {MAX_FILE} bytes")));
        }
        let bytes = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("not UTF-8".to_owned()))?;
        if text.trim_start().starts_with('<') {
            return self.add_nmap(&text).map_err(|e| match e {
                TargetError::Bad { why, .. } => failed(why.to_owned()),
                other => other,
            });
        }
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            self.parse(line).map_err(|inner| TargetError::InFile {
                file: file.clone(),
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
    /// [`TargetError`] for what is no XML of nmap.
    pub fn add_nmap(&mut self, xml: &str) -> Result<(), TargetError> {
        let mut reader = Reader::from_str(xml);
        let mut root = false;
        let mut host: Option<NmapHost> = None;
        loop {
            let event = reader
                .read_event()
                .map_err(|_| bad("XML", "it is not well-formed"))?;
            let (element, empty) = match &event {
                Event::Eof => break,
                Event::End(end) => {
                    if end.local_name().as_ref() == b"host"
                        && let Some(found) = host.take()
                    {
                        self.add_nmap_host(found)?;
                    }
                    continue;
                }
                Event::Start(element) => (element, false),
                Event::Empty(element) => (element, true),
                _ => continue,
            };
            let attribute = |name: &str| {
                element
                    .try_get_attribute(name)
                    .ok()
                    .flatten()
                    .and_then(|a| String::from_utf8(a.value.into_owned()).ok())
            };
            match (element.local_name().as_ref(), &mut host) {
                (b"nmaprun", _) => root = true,
                (b"host", _) if !empty => host = Some(NmapHost::default()),
                (b"status", Some(host)) => {
                    host.down = attribute("state").is_some_and(|state| state != "up");
                }
                (b"address", Some(host))
                    if attribute("addrtype").is_some_and(|kind| kind != "mac") =>
                {
                    host.address = attribute("addr").and_then(|a| a.parse().ok());
                }
                (b"port", Some(host)) => {
                    host.port = attribute("portid").and_then(|p| p.parse().ok())
                }
                (b"state", Some(host)) => {
                    if let Some(port) = host.port {
                        let open = attribute("state").is_some_and(|s| s.starts_with("open"));
                        host.ports.push((port, open));
                    }
                }
                _ => {}
            }
        }
        if root {
            Ok(())
        } else {
            Err(bad("XML", "it is not of nmap (no <nmaprun>)"))
        }
    }

    fn add_nmap_host(&mut self, host: NmapHost) -> Result<(), TargetError> {
        let Some(address) = host.address.filter(|_| !host.down) else {
            return Ok(());
        };
        let told: Vec<u16> = host
            .ports
            .iter()
            .filter(|(port, open)| *open && (*port == 445 || *port == self.port))
            .map(|(port, _)| *port)
            .collect();
        if host.ports.is_empty() {
            return self.push(Host::Address(address), self.port, None);
        }
        for port in told {
            self.push(Host::Address(address), port, None)?;
        }
        Ok(())
    }

    fn push(&mut self, host: Host, port: u16, label: Option<String>) -> Result<(), TargetError> {
        let target = Target { host, port, label };
        if self.seen.contains(&target) {
            return Ok(());
        }
        if self.list.len() >= self.limit {
            return Err(TargetError::TooMany(self.limit));
        }
        self.seen.insert(target.clone());
        self.list.push(target);
        Ok(())
    }

    fn parse(&mut self, text: &str) -> Result<(), TargetError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return self.push(Host::Address(address), self.port, None);
        }
        if let Some(rest) = text.strip_prefix('[') {
            return self.bracketed(text, rest);
        }
        if let Some((network, bits)) = text.split_once('/')
            && let Ok(address) = network.parse::<IpAddr>()
        {
            return self.network(text, address, bits);
        }
        if let Some((first, last)) = text.split_once('-')
            && let Ok(first) = first.trim().parse::<Ipv4Addr>()
        {
            return self.range(text, first, last.trim());
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => {
                let port = port
                    .parse()
                    .map_err(|_| bad(text, "the port is no number up to 65535"))?;
                (name, port)
            }
            None => (text, self.port),
        };
        if let Ok(address) = name.parse::<IpAddr>() {
            return self.push(Host::Address(address), port, None);
        }
        let digits_only = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let lawful = !name.is_empty()
            && name.len() <= 253
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b) || b >= 0x80);
        if digits_only || !lawful {
            return Err(bad(
                text,
                "neither an address, a range, a network, a host name nor a file",
            ));
        }
        self.push(Host::Name(name.to_owned()), port, None)
    }

    fn bracketed(&mut self, text: &str, rest: &str) -> Result<(), TargetError> {
        let (inside, behind) = rest
            .split_once(']')
            .ok_or_else(|| bad(text, "the bracket is not closed"))?;
        let address: Ipv6Addr = inside
            .parse()
            .map_err(|_| bad(text, "no IPv6 address in the brackets"))?;
        let port = match behind.strip_prefix(':') {
            None if behind.is_empty() => self.port,
            None => return Err(bad(text, "after the bracket only :PORT may stand")),
            Some(port) => port
                .parse()
                .map_err(|_| bad(text, "the port is no number up to 65535"))?,
        };
        self.push(Host::Address(address.into()), port, None)
    }

    fn network(&mut self, text: &str, address: IpAddr, bits: &str) -> Result<(), TargetError> {
        let bits: u32 = bits
            .parse()
            .map_err(|_| bad(text, "the prefix length is no number"))?;
        match address {
            IpAddr::V4(v4) => {
                if bits > 32 {
                    return Err(bad(text, "a prefix length of IPv4 is at most 32"));
                }
                let size = 1_u64 << (32 - bits);
                let base = u64::from(u32::from(v4)) & !(size - 1);
                // Network and broadcast address are nobody's, but for tiny networks.
                let (from, to) = if bits < 31 {
                    (base + 1, base + size - 2)
                } else {
                    (base, base + size - 1)
                };
                for one in from..=to {
                    let address = Ipv4Addr::from(u32::try_from(one).unwrap_or(u32::MAX));
                    self.push(Host::Address(address.into()), self.port, None)?;
                }
                Ok(())
            }
            IpAddr::V6(v6) => {
                if bits > 128 {
                    return Err(bad(text, "a prefix length of IPv6 is at most 128"));
                }
                if bits < 108 {
                    return Err(bad(text, "an IPv6 network this large cannot be scanned"));
                }
                let size = 1_u128 << (128 - bits);
                let base = u128::from(v6) & !(size - 1);
                for one in base..base.saturating_add(size) {
                    self.push(Host::Address(Ipv6Addr::from(one).into()), self.port, None)?;
                }
                Ok(())
            }
        }
    }

    fn range(&mut self, text: &str, first: Ipv4Addr, last: &str) -> Result<(), TargetError> {
        let last = match last.parse::<Ipv4Addr>() {
            Ok(address) => address,
            Err(_) => {
                let octet: u8 = last
                    .parse()
                    .map_err(|_| bad(text, "a range ends with an address or its last number"))?;
                let [a, b, c, _] = first.octets();
                Ipv4Addr::new(a, b, c, octet)
            }
        };
        if last < first {
            return Err(bad(text, "the range ends before it begins"));
        }
        for one in u32::from(first)..=u32::from(last) {
            self.push(Host::Address(Ipv4Addr::from(one).into()), self.port, None)?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct NmapHost {
    address: Option<IpAddr>,
    down: bool,
    port: Option<u16>,
    ports: Vec<(u16, bool)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        let mut targets = Targets::new(445, 1000);
        for text in texts {
            targets.add(text).unwrap();
        }
        targets
            .into_list()
            .into_iter()
            .map(|t| match t.host {
                Host::Address(a) => format!("{a} {}", t.port),
                Host::Name(n) => format!("{n} {}", t.port),
            })
            .collect()
    }

    #[test]
    fn every_form() {
        assert_eq!(list(&["10.0.0.5"]), ["10.0.0.5 445"]);
        assert_eq!(list(&["10.0.0.5:4450"]), ["10.0.0.5 4450"]);
        assert_eq!(
            list(&["::1", "[fe80::1]:139", "[::2]"]),
            ["::1 445", "fe80::1 139", "::2 445"]
        );
        assert_eq!(list(&["files.example:1445"]), ["files.example 1445"]);
        assert_eq!(
            list(&["10.0.0.1-3"]),
            ["10.0.0.1 445", "10.0.0.2 445", "10.0.0.3 445"]
        );
        assert_eq!(list(&["10.0.0.255-10.0.1.1"]).len(), 3);
        assert_eq!(list(&["10.0.0.77/30"]), ["10.0.0.77 445", "10.0.0.78 445"]);
        assert_eq!(list(&["10.0.0.4/31"]), ["10.0.0.4 445", "10.0.0.5 445"]);
        assert_eq!(list(&["10.9.8.7/32"]), ["10.9.8.7 445"]);
        assert_eq!(list(&["2001:db8::/126"]).len(), 4);
        // Each host once.
        assert_eq!(list(&["10.0.0.1-2", "10.0.0.0/30"]).len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("10.0.0.0/33", "at most 32"),
            ("10.0.0.9-3", "before it begins"),
            ("10.0.0.9-x", "ends with an address"),
            ("300.1.2.3", "neither an address"),
            ("[::1", "not closed"),
            ("[::1]x", "only :PORT"),
            ("host:99999", "65535"),
            ("2001:db8::/64", "cannot be scanned"),
            ("no such thing!", "neither an address"),
            ("", "empty"),
        ] {
            let error = Targets::new(445, 10).add(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let mut few = Targets::new(445, 3);
        assert_eq!(few.add("10.0.0.0/24"), Err(TargetError::TooMany(3)));
    }

    #[test]
    fn files_and_nmap() {
        let place = std::env::temp_dir().join(format!("countersign-scan-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let plain = place.join("hosts");
        std::fs::write(&plain, "10.0.0.1 # scanner\n\n  10.0.0.2:139\n").unwrap();
        let given = plain.display().to_string();
        assert_eq!(
            list(&[&format!("@{given}")]),
            ["10.0.0.1 445", "10.0.0.2 139"]
        );
        assert_eq!(list(&[&given]).len(), 2);
        std::fs::write(&plain, "10.0.0.1\n10.0.0.1/99\n").unwrap();
        let error = Targets::new(445, 9).add(&given).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        std::fs::remove_dir_all(&place).unwrap();

        let xml = r#"<?xml version="1.0"?><!DOCTYPE nmaprun><nmaprun scanner="nmap">
            <host><status state="up"/><address addr="10.0.0.1" addrtype="ipv4"/>
              <address addr="00:11:22:33:44:55" addrtype="mac"/>
              <ports><port protocol="tcp" portid="445"><state state="open"/></port></ports></host>
            <host><status state="up"/><address addr="10.0.0.2" addrtype="ipv4"/>
              <ports><port protocol="tcp" portid="445"><state state="closed"/></port></ports></host>
            <host><status state="down"/><address addr="10.0.0.3" addrtype="ipv4"/></host>
            <host><status state="up"/><address addr="2001:db8::4" addrtype="ipv6"/></host>
            </nmaprun>"#;
        let mut targets = Targets::new(445, 10);
        targets.add_nmap(xml).unwrap();
        let hosts: Vec<_> = targets.into_list().into_iter().map(|t| t.host).collect();
        assert_eq!(
            hosts,
            [
                Host::Address("10.0.0.1".parse().unwrap()),
                Host::Address("2001:db8::4".parse().unwrap())
            ]
        );
        assert!(Targets::new(445, 9).add_nmap("<other/>").is_err());
        assert!(Targets::new(445, 9).add_nmap("<nmaprun><host").is_err());
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let mut targets = Targets::new(445, 100);
            let _ = targets.parse(&text);
            let _ = targets.add_nmap(&text);
        }
    }
}
