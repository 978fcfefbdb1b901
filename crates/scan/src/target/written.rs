//! A target as it is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use super::{TargetError, Zone, bad};
use crate::spans::{Space, Span};

/// Shortest prefix of an IPv6 network; a larger one is a slip of the pen.
pub const MIN_IPV6_PREFIX: u32 = 96;

/// A target as it is written, not yet taken apart into hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    Span(Span),
    Zoned(Ipv6Addr, Zone),
    Name(String),
}

fn parse_port(text: &str, port: &str) -> Result<Option<u16>, TargetError> {
    match port.parse() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(bad(text, "the port is no number from 1 to 65535")),
    }
}

/// A target and its port, if it names one.
pub(super) fn parse(text: &str) -> Result<(Written, Option<u16>), TargetError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, behind) = rest
            .split_once(']')
            .ok_or_else(|| bad(text, "the bracket is not closed"))?;
        let written = parse_addresses(text, inside)?
            .filter(|written| match written {
                Written::Span(span) => span.space == Space::V6,
                other => matches!(other, Written::Zoned(..)),
            })
            .ok_or_else(|| bad(text, "no IPv6 address in the brackets"))?;
        return match behind.strip_prefix(':') {
            None if behind.is_empty() => Ok((written, None)),
            None => Err(bad(text, "after the bracket only :PORT may stand")),
            Some(port) => Ok((written, parse_port(text, port)?)),
        };
    }
    // IPv6 has two colons at least.
    let (name, port) = match text.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, parse_port(text, port)?),
        _ => (text, None),
    };
    if let Some(written) = parse_addresses(text, name)? {
        return Ok((written, port));
    }
    if name
        .bytes()
        .all(|b| b.is_ascii_digit() || b"./-*".contains(&b))
    {
        return Err(bad(
            text,
            "neither an address, a range (10.0.0.1-20, 10.0.0.1-10.0.1.5) nor a network (10.0.0.0/24)",
        ));
    }
    let lawful = name.len() <= 253
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b) || b >= 0x80);
    if !lawful {
        return Err(bad(
            text,
            "neither an address, a range, a network, a host name nor a file",
        ));
    }
    Ok((Written::Name(name.to_owned()), port))
}

/// An address, range or network without port; `None` if it is none of these.
fn parse_addresses(text: &str, bare: &str) -> Result<Option<Written>, TargetError> {
    if let Ok(address) = bare.parse::<IpAddr>() {
        let span = Span::of(address);
        if let IpAddr::V6(v6) = address
            && v6.is_unicast_link_local()
        {
            return Err(bad(
                text,
                "a link-local address needs its interface, as in fe80::1%eth0",
            ));
        }
        return Ok(Some(Written::Span(span)));
    }
    if let Some((address, zone)) = bare.split_once('%')
        && let Ok(address) = address.parse::<Ipv6Addr>()
    {
        // The system's own resolver knows its interfaces; a literal asks nobody else.
        let found = (bare, 0)
            .to_socket_addrs()
            .ok()
            .and_then(|mut all| all.next());
        return match found {
            Some(SocketAddr::V6(found)) if found.scope_id() > 0 => Ok(Some(Written::Zoned(
                address,
                Zone {
                    name: zone.to_owned(),
                    index: found.scope_id(),
                },
            ))),
            _ => Err(bad(text, "this machine has no such interface")),
        };
    }
    if let Some((network, bits)) = bare.split_once('/')
        && let Ok(address) = network.parse::<IpAddr>()
    {
        return parse_network(text, address, bits).map(|span| Some(Written::Span(span)));
    }
    if let Some((first, last)) = bare.split_once('-')
        && let Ok(first) = first.trim().parse::<IpAddr>()
    {
        return parse_range(text, first, last.trim()).map(|span| Some(Written::Span(span)));
    }
    Ok(None)
}

fn parse_network(text: &str, address: IpAddr, bits: &str) -> Result<Span, TargetError> {
    let bits: u32 = bits
        .parse()
        .map_err(|_| bad(text, "the prefix length is no number"))?;
    let (width, one) = match address {
        IpAddr::V4(v4) => (32, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => (128, u128::from(v6)),
    };
    if bits > width {
        return Err(bad(
            text,
            match address {
                IpAddr::V4(_) => "a prefix length of IPv4 is at most 32",
                IpAddr::V6(_) => "a prefix length of IPv6 is at most 128",
            },
        ));
    }
    if address.is_ipv6() && bits < MIN_IPV6_PREFIX {
        return Err(bad(text, "an IPv6 network this large cannot be scanned"));
    }
    // At least /0 of IPv4 or /96 of IPv6: the shift is at most 32.
    let size = 1_u128 << width.saturating_sub(bits).min(32);
    let first = one & !size.wrapping_sub(1);
    let last = first.saturating_add(size.wrapping_sub(1));
    let space = if address.is_ipv4() {
        Space::V4
    } else {
        Space::V6
    };
    // IPv4: network and broadcast address are nobody's, but for tiny networks.
    Ok(if address.is_ipv4() && bits < 31 {
        Span::new(space, first.saturating_add(1), last.saturating_sub(1))
    } else {
        Span::new(space, first, last)
    })
}

fn parse_range(text: &str, first: IpAddr, last: &str) -> Result<Span, TargetError> {
    let end = match (last.parse::<IpAddr>(), first) {
        (Ok(last), _) => last,
        (Err(_), IpAddr::V4(first)) => {
            let octet: u8 = last
                .parse()
                .map_err(|_| bad(text, "a range ends with an address or its last number"))?;
            let [a, b, c, _] = first.octets();
            Ipv4Addr::new(a, b, c, octet).into()
        }
        (Err(_), IpAddr::V6(_)) => {
            return Err(bad(text, "a range of IPv6 ends with an address"));
        }
    };
    let (from, to) = (Span::of(first), Span::of(end));
    if from.space != to.space {
        return Err(bad(text, "a range is of one kind of address"));
    }
    if to.first < from.first {
        return Err(bad(text, "the range ends before it begins"));
    }
    Ok(Span::new(from.space, from.first, to.last))
}
