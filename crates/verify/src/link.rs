//! TCP segments of captured packets, through the link and network layers.

use std::net::{IpAddr, SocketAddr};

use crate::fields::{be16, be32};

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// To whom.
    pub(crate) to: SocketAddr,
    /// Sequence number.
    pub(crate) seq: u32,
    /// Acknowledgment number, if the segment has one.
    pub(crate) ack: Option<u32>,
    /// SYN.
    pub(crate) syn: bool,
    /// RST.
    pub(crate) rst: bool,
    /// FIN.
    pub(crate) fin: bool,
    /// What it carries, as far as captured.
    pub(crate) data: &'a [u8],
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
/// Most VLAN tags, and most IPv6 extension headers, that are followed.
const MAX_LAYERS: usize = 8;

/// The TCP segment in a packet of a link type, if there is one. Fragments of IP
/// are passed over.
#[must_use]
pub(crate) fn tcp(link: u32, packet: &[u8]) -> Option<Segment<'_>> {
    let (kind, ip) = match link {
        // ETHERNET
        1 => ethernet(packet, 12)?,
        // NULL: address family in the byte order of who captured; LOOP: big-endian
        0 | 108 => (by_version(packet.get(4..)?)?, packet.get(4..)?),
        // RAW, in its several numbers; IPV4; IPV6
        12 | 14 | 101 | 228 | 229 => (by_version(packet)?, packet),
        // LINUX_SLL
        113 => ethernet(packet, 14)?,
        // LINUX_SLL2
        276 => {
            let kind = be16(packet, 0)?;
            tagged(kind, packet.get(20..)?)?
        }
        _ => return None,
    };
    let (from, to, segment): (IpAddr, IpAddr, &[u8]) = match kind {
        IPV4 => ipv4(ip)?,
        IPV6 => ipv6(ip)?,
        _ => return None,
    };
    let flags = *segment.get(13)?;
    let offset = usize::from(segment.get(12)? >> 4) * 4;
    if offset < 20 {
        return None;
    }
    Some(Segment {
        from: SocketAddr::new(from, be16(segment, 0)?),
        to: SocketAddr::new(to, be16(segment, 2)?),
        seq: be32(segment, 4)?,
        ack: if flags & 0x10 != 0 {
            be32(segment, 8)
        } else {
            None
        },
        fin: flags & 1 != 0,
        syn: flags & 2 != 0,
        rst: flags & 4 != 0,
        data: segment.get(offset..)?,
    })
}

fn by_version(ip: &[u8]) -> Option<u16> {
    match ip.first()? >> 4 {
        4 => Some(IPV4),
        6 => Some(IPV6),
        _ => None,
    }
}

/// The EtherType at `at`, behind VLAN tags, and what follows it.
fn ethernet(packet: &[u8], at: usize) -> Option<(u16, &[u8])> {
    tagged(be16(packet, at)?, packet.get(at + 2..)?)
}

fn tagged(mut kind: u16, mut rest: &[u8]) -> Option<(u16, &[u8])> {
    for _ in 0..MAX_LAYERS {
        if !matches!(kind, 0x8100 | 0x88A8 | 0x9100) {
            return Some((kind, rest));
        }
        kind = be16(rest, 2)?;
        rest = rest.get(4..)?;
    }
    None
}

fn ipv4(ip: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let head = usize::from(ip.first()? & 15) * 4;
    let total = usize::from(be16(ip, 2)?);
    // More fragments, or not the first.
    if *ip.get(9)? != 6 || be16(ip, 6)? & 0x3FFF != 0 {
        return None;
    }
    // Segmentation by the network card leaves no length.
    let end = if total == 0 {
        ip.len()
    } else {
        total.min(ip.len())
    };
    let from: [u8; 4] = *ip.get(12..)?.first_chunk()?;
    let to: [u8; 4] = *ip.get(16..)?.first_chunk()?;
    Some((from.into(), to.into(), ip.get(head..end)?))
}

fn ipv6(ip: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let length = usize::from(be16(ip, 4)?);
    let end = if length == 0 {
        ip.len()
    } else {
        (40 + length).min(ip.len())
    };
    let from: [u8; 16] = *ip.get(8..)?.first_chunk()?;
    let to: [u8; 16] = *ip.get(24..)?.first_chunk()?;
    let mut next = *ip.get(6)?;
    let mut at = 40;
    for _ in 0..MAX_LAYERS {
        match next {
            6 => return Some((from.into(), to.into(), ip.get(at..end)?)),
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => {
                next = *ip.get(at)?;
                at += 8 + usize::from(*ip.get(at + 1)?) * 8;
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> Vec<u8> {
        let mut s = vec![
            0x30, 0x39, 0x01, 0xBD, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
        ];
        s.extend(b"data");
        s
    }

    fn v4() -> Vec<u8> {
        let mut p = vec![
            0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2,
        ];
        p.extend(segment());
        p
    }

    fn v6() -> Vec<u8> {
        let mut p = vec![0x60, 0, 0, 0, 0, 32, 60, 64];
        p.extend([0; 15]);
        p.push(1);
        p.extend([0; 15]);
        p.push(2);
        p.extend([6, 0, 1, 4, 0, 0, 0, 0]);
        p.extend(segment());
        p
    }

    #[test]
    fn every_link_type_gives_the_segment() {
        let ether = |tags: &[u8], kind: [u8; 2], ip: &[u8]| {
            [&[0; 12][..], tags, &kind, ip, b"\0\0padding"].concat()
        };
        let mut sll2 = vec![0x08, 0];
        sll2.extend([0; 18]);
        let cases: Vec<(u32, Vec<u8>)> = vec![
            (1, ether(&[], [8, 0], &v4())),
            (1, ether(&[0x81, 0, 0, 5], [8, 0], &v4())),
            (
                1,
                ether(&[0x88, 0xA8, 0, 5, 0x81, 0, 0, 6], [0x86, 0xDD], &v6()),
            ),
            (0, [&[2, 0, 0, 0][..], &v4()].concat()),
            (0, [&[30, 0, 0, 0][..], &v6()].concat()),
            (108, [&[0, 0, 0, 2][..], &v4()].concat()),
            (101, v6()),
            (228, v4()),
            (113, [&[0; 14][..], &[8, 0], &v4()].concat()),
            (276, [&sll2[..], &v4()].concat()),
        ];
        for (link, packet) in cases {
            let got = tcp(link, &packet).unwrap_or_else(|| panic!("link {link}"));
            assert_eq!(
                (got.seq, got.ack, got.data),
                (7, Some(9), &b"data"[..]),
                "{link}"
            );
            assert_eq!((got.from.port(), got.to.port()), (12_345, 445));
            for cut in 0..packet.len() {
                let _ = tcp(link, &packet[..cut]);
            }
        }
        assert_eq!(tcp(1, &ether(&[], [8, 6], &v4())), None);
        let mut fragment = v4();
        fragment[6] = 0x20;
        assert_eq!(tcp(101, &fragment), None);
    }
}
