//! Hosts in nmap's XML.

use std::net::IpAddr;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::written::Written;
use super::{TargetError, Targets, Use};
use crate::spans::Span;

#[derive(Default)]
struct NmapHost {
    address: Option<IpAddr>,
    down: bool,
    port: Option<u16>,
    ports: Vec<(u16, bool)>,
}

impl Targets {
    pub(super) fn take_nmap(&mut self, xml: &str, purpose: Use) -> Result<(), TargetError> {
        let mut reader = Reader::from_str(xml);
        let mut root = false;
        let mut depth = 0_usize;
        let mut host: Option<NmapHost> = None;
        loop {
            let event = reader.read_event();
            let at = reader.buffer_position();
            let wrong = |why: &'static str| TargetError::Xml {
                line: line_of(xml, at),
                why,
            };
            let event = event.map_err(|_| wrong("the XML is not well-formed"))?;
            let (element, empty) = match &event {
                Event::Eof if depth > 0 => {
                    return Err(wrong("the XML ends before its end: nmap was interrupted"));
                }
                Event::Eof => break,
                Event::End(end) => {
                    depth = depth.saturating_sub(1);
                    if end.local_name().as_ref() == b"host"
                        && let Some(found) = host.take()
                    {
                        self.put_nmap_host(found, purpose)?;
                    }
                    continue;
                }
                Event::Start(element) => {
                    depth = depth.saturating_add(1);
                    (element, false)
                }
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
                (b"address", Some(host)) if host.address.is_none() => {
                    host.address = attribute("addr").and_then(|a| a.parse().ok());
                }
                (b"port", Some(host)) => {
                    let tcp = attribute("protocol").is_none_or(|protocol| protocol == "tcp");
                    host.port = attribute("portid")
                        .and_then(|p| p.parse().ok())
                        .filter(|_| tcp);
                }
                (b"state", Some(host)) => {
                    if let Some(port) = host.port.take() {
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
            Err(TargetError::Xml {
                line: 1,
                why: "not of nmap (no <nmaprun>)",
            })
        }
    }

    fn put_nmap_host(&mut self, host: NmapHost, purpose: Use) -> Result<(), TargetError> {
        let Some(address) = host.address.filter(|_| !host.down) else {
            return Ok(());
        };
        let span = Span::of(address);
        let own = self.port;
        if purpose == Use::Exclude || host.ports.is_empty() {
            return self.put("", Written::Span(span), None, purpose);
        }
        let told = host
            .ports
            .iter()
            .filter(|(port, open)| *open && (*port == 445 || *port == own));
        for (port, _) in told {
            self.put("", Written::Span(span), Some(*port), purpose)?;
        }
        Ok(())
    }
}

/// The line a byte is in, from 1.
fn line_of(text: &str, at: u64) -> usize {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let before = text.as_bytes().iter().take(at);
    before
        .filter(|byte| **byte == b'\n')
        .count()
        .saturating_add(1)
}
