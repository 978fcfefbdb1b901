//! IPv4 (RFC 791) and IPv6 (RFC 8200) as far as TCP in them, and the reassembly of
//! fragmented datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::fields::{be16, be32};

/// Datagrams that wait for more of their fragments at most; the oldest goes first.
pub(crate) const MAX_DATAGRAMS: usize = 256;
/// Bytes that a datagram's fragments may have together, repeated ones counted.
pub(crate) const MAX_DATAGRAM: usize = 128 << 10;
/// Most extension headers of IPv6 that are followed.
const MAX_EXTENSIONS: usize = 8;
const TCP: u8 = 6;

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// A whole segment, but for `cut` bytes that were not captured.
    Tcp {
        from: IpAddr,
        to: IpAddr,
        segment: &'a [u8],
        cut: usize,
    },
    /// A piece of a segment.
    Fragment(Fragment<'a>),
}

/// What the fragments of one datagram have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Datagram {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    id: u32,
}

/// A fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) of: Datagram,
    offset: usize,
    more: bool,
    data: &'a [u8],
}

pub(crate) fn v4(ip: &[u8], cut: usize) -> Option<Payload<'_>> {
    let head = usize::from(ip.first()? & 15) * 4;
    let total = usize::from(be16(ip, 2)?);
    if *ip.get(9)? != TCP || head < 20 {
        return None;
    }
    // Segmentation by the network card leaves no length.
    let (end, cut) = match total {
        0 => (ip.len(), cut),
        _ => (total.min(ip.len()), total.saturating_sub(ip.len())),
    };
    let from: [u8; 4] = *ip.get(12..)?.first_chunk()?;
    let to: [u8; 4] = *ip.get(16..)?.first_chunk()?;
    let (from, to) = (from.into(), to.into());
    let data = ip.get(head..end)?;
    let place = be16(ip, 6)?;
    if place & 0x3FFF == 0 {
        return Some(Payload::Tcp {
            from,
            to,
            segment: data,
            cut,
        });
    }
    Some(Payload::Fragment(Fragment {
        of: Datagram {
            from,
            to,
            id: u32::from(be16(ip, 4)?),
        },
        offset: usize::from(place & 0x1FFF) * 8,
        more: place & 0x2000 != 0,
        data,
    }))
}

pub(crate) fn v6(ip: &[u8], cut: usize) -> Option<Payload<'_>> {
    let length = usize::from(be16(ip, 4)?);
    let (end, cut) = match length {
        0 => (ip.len(), cut),
        _ => (
            (40 + length).min(ip.len()),
            (40 + length).saturating_sub(ip.len()),
        ),
    };
    let from: [u8; 16] = *ip.get(8..)?.first_chunk()?;
    let to: [u8; 16] = *ip.get(24..)?.first_chunk()?;
    let (from, to) = (from.into(), to.into());
    let mut next = *ip.get(6)?;
    let mut at = 40;
    for _ in 0..MAX_EXTENSIONS {
        match next {
            TCP => {
                let segment = ip.get(at..end)?;
                return Some(Payload::Tcp {
                    from,
                    to,
                    segment,
                    cut,
                });
            }
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => {
                next = *ip.get(at)?;
                at += 8 + usize::from(*ip.get(at + 1)?) * 8;
            }
            // Fragment.
            44 => {
                next = *ip.get(at)?;
                let place = be16(ip, at + 2)?;
                if place & 0xFFF9 == 0 {
                    // The only one.
                    at += 8;
                    continue;
                }
                if next != TCP {
                    return None;
                }
                return Some(Payload::Fragment(Fragment {
                    of: Datagram {
                        from,
                        to,
                        id: be32(ip, at + 4)?,
                    },
                    offset: usize::from(place & 0xFFF8),
                    more: place & 1 != 0,
                    data: ip.get(at + 8..end)?,
                }));
            }
            _ => return None,
        }
    }
    None
}

/// What is there of a datagram.
struct Pieces {
    of: Datagram,
    by_offset: BTreeMap<usize, Vec<u8>>,
    bytes: usize,
    /// Its length, once the last fragment was seen.
    length: Option<usize>,
}

impl Pieces {
    /// The whole, if it is. Where fragments overlap the first bytes count.
    fn whole(&self) -> Option<Vec<u8>> {
        let length = self.length?;
        let mut out = Vec::with_capacity(length.min(MAX_DATAGRAM));
        for (offset, piece) in &self.by_offset {
            let behind = out.len().checked_sub(*offset)?;
            out.extend_from_slice(piece.get(behind..).unwrap_or_default());
        }
        out.truncate(length);
        (out.len() == length).then_some(out)
    }
}

/// Puts datagrams together.
#[derive(Default)]
pub(crate) struct Reassembly {
    waiting: VecDeque<Pieces>,
    /// Datagrams given up.
    pub(crate) lost: u64,
}

impl Reassembly {
    /// Takes a fragment; the datagram's payload, if this was what lacked.
    pub(crate) fn take(&mut self, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let known = self.waiting.iter().position(|p| p.of == fragment.of);
        let index = match known {
            Some(index) => index,
            None => {
                if self.waiting.len() >= MAX_DATAGRAMS {
                    self.waiting.pop_front();
                    self.lost += 1;
                }
                self.waiting.push_back(Pieces {
                    of: fragment.of,
                    by_offset: BTreeMap::new(),
                    bytes: 0,
                    length: None,
                });
                self.waiting.len() - 1
            }
        };
        let pieces = self.waiting.get_mut(index)?;
        pieces.bytes += fragment.data.len();
        if pieces.bytes > MAX_DATAGRAM {
            self.waiting.remove(index);
            self.lost += 1;
            return None;
        }
        if !fragment.more {
            pieces.length = Some(fragment.offset + fragment.data.len());
        }
        let have = pieces.by_offset.entry(fragment.offset).or_default();
        if have.len() < fragment.data.len() {
            *have = fragment.data.to_vec();
        }
        let whole = pieces.whole()?;
        self.waiting.remove(index);
        Some(whole)
    }

    /// Datagrams that were never whole.
    pub(crate) fn incomplete(&self) -> u64 {
        self.lost + self.waiting.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragment(id: u32, offset: usize, more: bool, data: &[u8]) -> Fragment<'_> {
        Fragment {
            of: Datagram {
                from: [10, 0, 0, 1].into(),
                to: [10, 0, 0, 2].into(),
                id,
            },
            offset,
            more,
            data,
        }
    }

    #[test]
    fn fragments_in_any_order_give_the_datagram() {
        let all: Vec<u8> = (0..50).collect();
        let pieces = [(0, 16, true), (16, 40, true), (40, 50, false)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            let mut reassembly = Reassembly::default();
            for (n, which) in order.into_iter().enumerate() {
                let (from, to, more) = pieces[which];
                let got = reassembly.take(&fragment(7, from, more, &all[from..to]));
                assert_eq!(got.is_some(), n == 2);
                if let Some(got) = got {
                    assert_eq!(got, all);
                }
            }
            assert_eq!(reassembly.incomplete(), 0);
        }
        // Repeated and overlapping ones, and another datagram between.
        let mut reassembly = Reassembly::default();
        for (from, to, more) in [(0, 24, true), (0, 16, true), (16, 32, true)] {
            assert_eq!(
                reassembly.take(&fragment(7, from, more, &all[from..to])),
                None
            );
            assert_eq!(reassembly.take(&fragment(8, 8, true, b"else")), None);
        }
        let got = reassembly.take(&fragment(7, 32, false, &all[32..]));
        assert_eq!(got.as_deref(), Some(&all[..]));
        assert_eq!(reassembly.incomplete(), 1);
    }

    #[test]
    fn fragments_that_wait_are_bounded() {
        let mut reassembly = Reassembly::default();
        for id in 0..1000 {
            assert_eq!(reassembly.take(&fragment(id, 8, true, &[0; 64])), None);
            assert!(reassembly.waiting.len() <= MAX_DATAGRAMS);
        }
        assert_eq!(reassembly.incomplete(), 1000);
        let piece = vec![0; 60_000];
        for n in 0..100 {
            assert_eq!(reassembly.take(&fragment(7777, n * 8, true, &piece)), None);
            let held: usize = reassembly.waiting.iter().map(|p| p.bytes).sum();
            assert!(held <= MAX_DATAGRAMS * 64 + MAX_DATAGRAM);
        }
    }

    #[test]
    fn headers_of_both_versions() {
        let mut packet = vec![0x45, 0, 0, 36, 0xAB, 0xCD, 0x20, 2, 64, 6, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([9; 16]);
        let Some(Payload::Fragment(got)) = v4(&packet, 0) else {
            panic!();
        };
        assert_eq!((got.of.id, got.offset, got.more), (0xABCD, 16, true));
        assert_eq!(got.data, [9; 16]);
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 44, 64];
        packet.extend([0; 32]);
        packet.extend([6, 0, 0, 0x19, 1, 2, 3, 4]);
        packet.extend([9; 16]);
        let Some(Payload::Fragment(got)) = v6(&packet, 0) else {
            panic!();
        };
        assert_eq!((got.of.id, got.offset, got.more), (0x0102_0304, 24, true));
        assert_eq!(got.data, [9; 16]);
        // An "atomic" fragment is the whole datagram.
        packet[43] = 0;
        packet[42] = 0;
        assert!(matches!(
            v6(&packet, 0),
            Some(Payload::Tcp { segment, .. }) if segment == [9; 16]
        ));
        for cut in 0..packet.len() {
            let _ = v6(&packet[..cut], 0);
        }
    }
}
