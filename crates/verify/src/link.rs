//! From a captured packet to what IP carries: link layers, VLAN tags, TCP's header.

use std::net::SocketAddr;

use crate::fields::{be16, be32};
use crate::ip::{self, Fragment, Payload};

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
    /// Bytes of it that the capture's snapshot length cut off.
    pub(crate) cut: usize,
}

/// What a packet has for the verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried<'a> {
    /// TCP.
    Segment(Segment<'a>),
    /// A piece of an IP datagram with TCP.
    Fragment(Fragment<'a>),
    /// Something else.
    Nothing,
    /// The link type is not known.
    UnknownLink,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86DD;
const PPPOE: u16 = 0x8864;
/// Most VLAN tags that are followed.
const MAX_TAGS: usize = 8;

/// What a packet of a link type carries; `cut` bytes at its end were not captured.
pub(crate) fn carried(link: u32, packet: &[u8], cut: usize) -> Carried<'_> {
    let Ok(network) = network(link, packet) else {
        return Carried::UnknownLink;
    };
    let payload = match network {
        Some((IPV4, bytes)) => ip::v4(bytes, cut),
        Some((IPV6, bytes)) => ip::v6(bytes, cut),
        _ => None,
    };
    match payload {
        Some(Payload::Tcp {
            from,
            to,
            segment,
            cut,
        }) => tcp(from, to, segment, cut).map_or(Carried::Nothing, Carried::Segment),
        Some(Payload::Fragment(fragment)) => Carried::Fragment(fragment),
        None => Carried::Nothing,
    }
}

/// A TCP header and what follows.
pub(crate) fn tcp(
    from: std::net::IpAddr,
    to: std::net::IpAddr,
    segment: &[u8],
    cut: usize,
) -> Option<Segment<'_>> {
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
        // Options may be what was cut off.
        data: segment.get(offset..).unwrap_or_default(),
        cut,
    })
}

/// A link type that is not read.
struct Unknown;

/// EtherType and content of a packet, behind the link's header and VLAN tags.
fn network(link: u32, packet: &[u8]) -> Result<Option<(u16, &[u8])>, Unknown> {
    Ok(match link {
        // ETHERNET
        1 => ethernet(packet, 12),
        // NULL: address family in the byte order of who captured; LOOP: big-endian
        0 | 108 => packet.get(4..).and_then(by_version),
        // RAW, in its several numbers; IPV4; IPV6
        12 | 14 | 101 | 228 | 229 => by_version(packet),
        // LINUX_SLL
        113 => ethernet(packet, 14),
        // LINUX_SLL2
        276 => be16(packet, 0)
            .zip(packet.get(20..))
            .and_then(|(kind, rest)| tagged(kind, rest)),
        _ => return Err(Unknown),
    })
}

fn by_version(ip: &[u8]) -> Option<(u16, &[u8])> {
    match ip.first()? >> 4 {
        4 => Some((IPV4, ip)),
        6 => Some((IPV6, ip)),
        _ => None,
    }
}

/// The EtherType at `at`, behind VLAN tags, and what follows it.
fn ethernet(packet: &[u8], at: usize) -> Option<(u16, &[u8])> {
    tagged(be16(packet, at)?, packet.get(at + 2..)?)
}

/// VLAN tags (IEEE 802.1Q, 802.1ad and its forerunner) and PPPoE (RFC 2516).
fn tagged(mut kind: u16, mut rest: &[u8]) -> Option<(u16, &[u8])> {
    for _ in 0..MAX_TAGS {
        match kind {
            0x8100 | 0x88A8 | 0x9100 => {
                kind = be16(rest, 2)?;
                rest = rest.get(4..)?;
            }
            PPPOE => {
                kind = match be16(rest, 6)? {
                    0x0021 => IPV4,
                    0x0057 => IPV6,
                    _ => return None,
                };
                rest = rest.get(8..)?;
            }
            _ => return Some((kind, rest)),
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
            (229, v6()),
            (12, v4()),
            (
                1,
                ether(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 46], [0, 0x21], &v4()),
            ),
            (113, [&[0; 14][..], &[8, 0], &v4()].concat()),
            (113, [&[0; 14][..], &[0x81, 0, 0, 5, 8, 0], &v4()].concat()),
            (276, [&sll2[..], &v4()].concat()),
        ];
        for (link, packet) in cases {
            let Carried::Segment(got) = carried(link, &packet, 0) else {
                panic!("link {link}");
            };
            assert_eq!(
                (got.seq, got.ack, got.data),
                (7, Some(9), &b"data"[..]),
                "{link}"
            );
            assert_eq!((got.from.port(), got.to.port()), (12_345, 445));
            for cut in 0..packet.len() {
                let _ = carried(link, &packet[..cut], packet.len() - cut);
            }
        }
        assert_eq!(carried(1, &ether(&[], [8, 6], &v4()), 0), Carried::Nothing);
        assert_eq!(carried(127, &v4(), 0), Carried::UnknownLink);
    }

    #[test]
    fn what_the_snapshot_length_cut_off_is_told() {
        for (link, packet) in [(101, v4()), (101, v6())] {
            let short = &packet[..packet.len() - 3];
            let Carried::Segment(got) = carried(link, short, 3) else {
                panic!();
            };
            assert_eq!((got.data, got.cut), (&b"d"[..], 3));
        }
        // Segmentation by the network card: no length in the header.
        let mut packet = v4();
        packet[2..4].fill(0);
        let Carried::Segment(got) = carried(101, &packet, 9) else {
            panic!();
        };
        assert_eq!((got.data, got.cut), (&b"data"[..], 9));
    }
}
