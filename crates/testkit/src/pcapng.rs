//! Reads packet captures: pcapng blocks, TCP streams, SMB frames.
//!
//! For tests and fuzzing seeds: captures are trusted to be small; whatever is
//! not understood is passed over.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};

/// One SMB frame of a capture, without its 4-byte transport header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Number of the TCP connection in the capture, from 0.
    pub connection: usize,
    /// Sent by the side that opened the connection.
    pub from_client: bool,
    /// The message.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Flow {
    next: Option<u32>,
    held: BTreeMap<u32, Vec<u8>>,
    buffer: Vec<u8>,
}

impl Flow {
    fn feed(&mut self, seq: u32, syn: bool, data: &[u8]) {
        if syn {
            self.next = Some(seq.wrapping_add(1));
            return;
        }
        let mut next = *self.next.get_or_insert(seq);
        if !data.is_empty() {
            let longest = self.held.entry(seq).or_default();
            if data.len() > longest.len() {
                *longest = data.to_vec();
            }
        }
        // Deliver what begins at or before the next byte, until nothing does.
        while let Some(at) = self
            .held
            .keys()
            .copied()
            .find(|s| next.wrapping_sub(*s) < 0x8000_0000)
        {
            let Some(data) = self.held.remove(&at) else {
                break;
            };
            let skip = next.wrapping_sub(at) as usize;
            if let Some(fresh) = data.get(skip..) {
                self.buffer.extend_from_slice(fresh);
                next = at.wrapping_add(u32::try_from(data.len()).unwrap_or(0));
            }
        }
        self.next = Some(next);
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some([_, a, b, c]) = self.buffer.first_chunk::<4>().copied() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if self.buffer.len() < length + 4 {
                break;
            }
            let rest = self.buffer.split_off(length + 4);
            let frame = core::mem::replace(&mut self.buffer, rest);
            out.push(frame.get(4..).unwrap_or_default().to_vec());
        }
        out
    }
}

/// All SMB frames of a capture in the order their last byte was seen.
pub fn frames(capture: &[u8]) -> Vec<Frame> {
    let mut flows: HashMap<(SocketAddr, SocketAddr), Flow> = HashMap::new();
    // A connection: its client, its server, its number.
    let mut connections: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    let mut out = Vec::new();
    for (link, packet) in packets(capture) {
        let Some(segment) = tcp(link, packet) else {
            continue;
        };
        let key = (segment.from, segment.to);
        if segment.syn && !segment.ack {
            flows.insert(key, Flow::default());
            flows.insert((segment.to, segment.from), Flow::default());
            connections.push(key);
        }
        let flow = flows.entry(key).or_default();
        flow.feed(segment.seq, segment.syn, segment.data);
        for bytes in flow.frames() {
            let found = connections
                .iter()
                .rposition(|c| *c == key || *c == (segment.to, segment.from));
            let connection = found.unwrap_or_else(|| {
                connections.push(key);
                connections.len() - 1
            });
            let from_client = connections.get(connection).is_some_and(|c| *c == key);
            out.push(Frame {
                connection,
                from_client,
                bytes,
            });
        }
    }
    out
}

fn u16_at(data: &[u8], at: usize, big: bool) -> Option<u16> {
    let b = *data.get(at..)?.first_chunk::<2>()?;
    Some(if big {
        u16::from_be_bytes(b)
    } else {
        u16::from_le_bytes(b)
    })
}

fn u32_at(data: &[u8], at: usize, big: bool) -> Option<u32> {
    let b = *data.get(at..)?.first_chunk::<4>()?;
    Some(if big {
        u32::from_be_bytes(b)
    } else {
        u32::from_le_bytes(b)
    })
}

fn packets(data: &[u8]) -> Vec<(u16, &[u8])> {
    let mut big = false;
    let mut links = Vec::new();
    let mut at = 0;
    let mut out = Vec::new();
    while let Some(kind) = u32_at(data, at, big) {
        if kind == 0x0A0D_0D0A {
            big = data.get(at + 8..at + 12) != Some(&[0x4D, 0x3C, 0x2B, 0x1A]);
            links.clear();
        }
        let Some(length) = u32_at(data, at + 4, big).map(|l| l as usize) else {
            break;
        };
        let Some(body) = data.get(at + 8..(at + length).saturating_sub(4)) else {
            break;
        };
        if kind == 1 {
            links.push(u16_at(body, 0, big).unwrap_or(0));
        } else if kind == 6 {
            let interface = u32_at(body, 0, big).unwrap_or(0) as usize;
            let captured = u32_at(body, 12, big).unwrap_or(0) as usize;
            if let (Some(link), Some(packet)) = (links.get(interface), body.get(20..20 + captured))
            {
                out.push((*link, packet));
            }
        }
        at += length.max(12);
    }
    out
}

struct Segment<'a> {
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    syn: bool,
    ack: bool,
    data: &'a [u8],
}

fn tcp(link: u16, packet: &[u8]) -> Option<Segment<'_>> {
    let ip = match link {
        1 => packet.get(14..)?,
        113 => packet.get(16..)?,
        101 => packet,
        _ => return None,
    };
    let (from, to, segment): (IpAddr, IpAddr, &[u8]) = match ip.first()? >> 4 {
        4 => {
            let head = usize::from(ip.first()? & 15) * 4;
            let total = usize::from(u16_at(ip, 2, true)?);
            let end = if total == 0 { ip.len() } else { total };
            let from: [u8; 4] = *ip.get(12..)?.first_chunk()?;
            let to: [u8; 4] = *ip.get(16..)?.first_chunk()?;
            (*ip.get(9)? == 6).then_some(())?;
            (from.into(), to.into(), ip.get(head..end)?)
        }
        6 => {
            let length = usize::from(u16_at(ip, 4, true)?);
            let end = if length == 0 { ip.len() } else { 40 + length };
            let from: [u8; 16] = *ip.get(8..)?.first_chunk()?;
            let to: [u8; 16] = *ip.get(24..)?.first_chunk()?;
            (*ip.get(6)? == 6).then_some(())?;
            (from.into(), to.into(), ip.get(40..end)?)
        }
        _ => return None,
    };
    let flags = *segment.get(13)?;
    let offset = usize::from(segment.get(12)? >> 4) * 4;
    Some(Segment {
        from: SocketAddr::new(from, u16_at(segment, 0, true)?),
        to: SocketAddr::new(to, u16_at(segment, 2, true)?),
        seq: u32_at(segment, 4, true)?,
        syn: flags & 2 != 0,
        ack: flags & 16 != 0,
        data: segment.get(offset..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_out_of_order_and_twice_are_put_together() {
        let mut f = Flow::default();
        f.feed(99, true, &[]);
        f.feed(104, false, &[5, 6]);
        f.feed(100, false, &[0, 0, 0, 2]);
        f.feed(100, false, &[0, 0]);
        f.feed(106, false, &[0, 0]);
        assert_eq!(f.frames(), [vec![5, 6]]);
        f.feed(108, false, &[0, 0]);
        assert_eq!(f.frames(), [Vec::<u8>::new()]);
    }
}
