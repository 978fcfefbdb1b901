//! Packets of a capture: pcap (microseconds, nanoseconds, the modified form) and
//! pcapng, in either byte order, from a file or from a pipe that is still written.
//!
//! The bytes are read in big pieces into one buffer, and packets are borrowed
//! from it: nothing is allocated or copied for a packet.

use std::io::{self, Read};

/// Bytes read at once.
const PIECE: usize = 1 << 20;
/// Longest record or block that is believed.
pub const MAX_RECORD: usize = 64 << 20;
/// Most interfaces of a section that are kept.
pub const MAX_INTERFACES: usize = 4096;

/// Why a capture cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Reading failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Neither pcap nor pcapng.
    #[error("{0}")]
    Format(&'static str),
    /// A record says it is longer than any can be.
    #[error("record {number}: a length of {length} bytes; the capture is damaged here")]
    Record {
        /// Number of the record, from 1.
        number: u64,
        /// The length it says.
        length: u64,
    },
}

/// One packet as it was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Number in the capture, from 1, as Wireshark counts.
    pub number: u64,
    /// LINKTYPE of its interface.
    pub link: u32,
    /// The bytes, perhaps cut by the snapshot length.
    pub data: &'a [u8],
    /// How many there were.
    pub original: usize,
}

/// What a step of reading gave.
#[derive(Debug)]
pub enum Next<'a> {
    /// A packet.
    Packet(Packet<'a>),
    /// The rest of the next record is not read yet: call [`CaptureReader::fill`].
    Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Unknown,
    Pcap { big: bool, header: usize, link: u32 },
    PcapNg { big: bool },
}

/// Reads a capture.
#[derive(Debug)]
pub struct CaptureReader<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    format: Format,
    interfaces: Vec<u32>,
    number: u64,
    records: u64,
    wanted: usize,
}

/// What the bytes at the start of the buffer are.
enum Record {
    Need(usize),
    Skip(usize),
    Packet {
        link: u32,
        from: usize,
        to: usize,
        length: usize,
        original: usize,
    },
}

impl<R: Read> CaptureReader<R> {
    /// A reader at the start of a capture.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            format: Format::Unknown,
            interfaces: Vec::new(),
            number: 0,
            records: 0,
            wanted: 24,
        }
    }

    /// A reader of the next piece of a capture whose pieces before had so many packets.
    pub fn continuing(input: R, packets: u64) -> Self {
        let mut reader = Self::new(input);
        reader.number = packets;
        reader
    }

    /// The next packet, if it is wholly in the buffer.
    ///
    /// # Errors
    /// It is no capture, or is damaged.
    pub fn next_packet(&mut self) -> Result<Next<'_>, CaptureError> {
        loop {
            let have = self.buffer.get(self.start..self.end).unwrap_or_default();
            let record = match self.format {
                Format::Unknown => match recognise(have)? {
                    None => Record::Need(24),
                    Some((format, length)) => {
                        self.format = format;
                        Record::Skip(length)
                    }
                },
                Format::Pcap { big, header, link } => pcap(have, big, header, link, self.records)?,
                Format::PcapNg { big } => pcapng(
                    have,
                    big,
                    self.records,
                    &mut self.interfaces,
                    &mut self.format,
                )?,
            };
            match record {
                Record::Need(length) => {
                    self.wanted = length;
                    return Ok(Next::Need);
                }
                Record::Skip(length) => {
                    self.records += 1;
                    self.start += length;
                }
                Record::Packet {
                    link,
                    from,
                    to,
                    length,
                    original,
                } => {
                    let (from, to) = (self.start + from, self.start + to);
                    self.start += length;
                    self.records += 1;
                    self.number += 1;
                    let data = self.buffer.get(from..to).unwrap_or_default();
                    let number = self.number;
                    return Ok(Next::Packet(Packet {
                        number,
                        link,
                        data,
                        original,
                    }));
                }
            }
        }
    }

    /// Reads more; false at the end of the capture.
    ///
    /// # Errors
    /// Reading failed, or there was no capture at all.
    pub fn fill(&mut self) -> Result<bool, CaptureError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let size = self.wanted.max(PIECE);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let read = loop {
            match self.input.read(room) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        if read == 0 && self.format == Format::Unknown {
            return Err(CaptureError::Format(if self.end == 0 {
                "the file is empty"
            } else {
                "neither pcap nor pcapng"
            }));
        }
        // Recognising it was the first record.
        if read == 0 && self.records <= 1 && matches!(self.format, Format::PcapNg { .. }) {
            return Err(CaptureError::Format("cut off in its first block"));
        }
        Ok(read > 0)
    }

    /// Whether bytes are left that are no whole record: the capture was cut off.
    pub fn is_cut(&self) -> bool {
        self.start < self.end
    }

    /// Packets read.
    pub fn packets(&self) -> u64 {
        self.number
    }
}

fn u32_at(data: &[u8], at: usize, big: bool) -> Option<u32> {
    let bytes = *data.get(at..)?.first_chunk()?;
    Some(if big {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    })
}

fn u16_at(data: &[u8], at: usize, big: bool) -> Option<u16> {
    let bytes = *data.get(at..)?.first_chunk()?;
    Some(if big {
        u16::from_be_bytes(bytes)
    } else {
        u16::from_le_bytes(bytes)
    })
}

fn recognise(have: &[u8]) -> Result<Option<(Format, usize)>, CaptureError> {
    let Some(magic) = have.first_chunk::<4>() else {
        return Ok(None);
    };
    if *magic == [0x0A, 0x0D, 0x0D, 0x0A] {
        // The block itself is read again as one of the section.
        return Ok(Some((Format::PcapNg { big: false }, 0)));
    }
    let (big, header) = match u32::from_le_bytes(*magic) {
        0xA1B2_C3D4 | 0xA1B2_3C4D => (false, 16),
        0xD4C3_B2A1 | 0x4D3C_B2A1 => (true, 16),
        0xA1B2_CD34 => (false, 24),
        0x34CD_B2A1 => (true, 24),
        m if m & 0xFFFF == 0x8B1F => {
            return Err(CaptureError::Format("compressed by gzip; unpack it first"));
        }
        _ => return Err(CaptureError::Format("neither pcap nor pcapng")),
    };
    let Some(link) = u32_at(have, 20, big) else {
        return Ok(None);
    };
    let link = link & 0x0FFF_FFFF;
    Ok(Some((Format::Pcap { big, header, link }, 24)))
}

/// A length that can be, as a usize.
fn believe(length: u32, number: u64) -> Result<usize, CaptureError> {
    usize::try_from(length)
        .ok()
        .filter(|l| *l <= MAX_RECORD)
        .ok_or(CaptureError::Record {
            number,
            length: u64::from(length),
        })
}

/// Length of a packet on the wire, as a record says it.
fn original(length: Option<u32>) -> usize {
    length.map_or(0, |l| usize::try_from(l).unwrap_or(usize::MAX))
}

fn pcap(
    have: &[u8],
    big: bool,
    header: usize,
    link: u32,
    number: u64,
) -> Result<Record, CaptureError> {
    let Some(captured) = u32_at(have, 8, big) else {
        return Ok(Record::Need(header));
    };
    let length = header + believe(captured, number)?;
    if have.len() < length {
        return Ok(Record::Need(length));
    }
    Ok(Record::Packet {
        link,
        from: header,
        to: length,
        length,
        original: original(u32_at(have, 12, big)),
    })
}

fn pcapng(
    have: &[u8],
    mut big: bool,
    number: u64,
    interfaces: &mut Vec<u32>,
    format: &mut Format,
) -> Result<Record, CaptureError> {
    let Some(head) = have.get(..12) else {
        return Ok(Record::Need(12));
    };
    let section = head.starts_with(&[0x0A, 0x0D, 0x0D, 0x0A]);
    if section {
        big = match head.get(8..12) {
            Some([0x4D, 0x3C, 0x2B, 0x1A]) => false,
            Some([0x1A, 0x2B, 0x3C, 0x4D]) => true,
            _ => {
                return Err(CaptureError::Format(
                    "a pcapng section of no known byte order",
                ));
            }
        };
        *format = Format::PcapNg { big };
        interfaces.clear();
    }
    let (Some(kind), Some(total)) = (u32_at(head, 0, big), u32_at(head, 4, big)) else {
        return Ok(Record::Need(12));
    };
    let length = believe(total, number)?;
    if length < 12 {
        return Err(CaptureError::Record {
            number,
            length: length as u64,
        });
    }
    let Some(block) = have.get(..length) else {
        return Ok(Record::Need(length));
    };
    let body = block.get(8..length - 4).unwrap_or_default();
    // Interface, captured length and length of the three kinds of packets.
    let (interface, at, captured, whole): (_, usize, _, _) = match kind {
        1 => {
            if interfaces.len() < MAX_INTERFACES {
                interfaces.push(u16_at(body, 0, big).map_or(u32::MAX, u32::from));
            }
            return Ok(Record::Skip(length));
        }
        6 => (
            u32_at(body, 0, big),
            20,
            u32_at(body, 12, big),
            u32_at(body, 16, big),
        ),
        2 => (
            u16_at(body, 0, big).map(u32::from),
            20,
            u32_at(body, 12, big),
            u32_at(body, 16, big),
        ),
        3 => {
            let room = u32::try_from(body.len().saturating_sub(4)).unwrap_or(u32::MAX);
            let whole = u32_at(body, 0, big);
            (Some(0), 4, whole.map(|l| l.min(room)), whole)
        }
        _ => return Ok(Record::Skip(length)),
    };
    let (Some(interface), Some(captured)) = (interface, captured) else {
        return Ok(Record::Skip(length));
    };
    let link = usize::try_from(interface)
        .ok()
        .and_then(|i| interfaces.get(i))
        .copied()
        .unwrap_or(u32::MAX);
    let from = 8 + at;
    let to = from
        .saturating_add(usize::try_from(captured).unwrap_or(usize::MAX))
        .min(length - 4)
        .max(from.min(length));
    Ok(Record::Packet {
        link,
        from: from.min(to),
        to,
        length,
        original: original(whole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], piece: usize) -> Result<Vec<(u64, u32, Vec<u8>)>, CaptureError> {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let n = self.1.min(out.len()).min(self.0.len());
                out[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let mut reader = CaptureReader::new(Slow(bytes, piece));
        let mut out = Vec::new();
        loop {
            match reader.next_packet()? {
                Next::Packet(p) => out.push((p.number, p.link, p.data.to_vec())),
                Next::Need => {
                    if !reader.fill()? {
                        return Ok(out);
                    }
                }
            }
        }
    }

    fn pcap_of(big: bool, magic: u32, extra: usize, packets: &[&[u8]]) -> Vec<u8> {
        let u32b = |v: u32| {
            if big {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let mut out = Vec::new();
        for v in [magic, 0x0004_0002, 0, 0, 65_535, 1] {
            out.extend(u32b(v));
        }
        for p in packets {
            let n = u32::try_from(p.len()).unwrap();
            for v in [1, 2, n, n] {
                out.extend(u32b(v));
            }
            out.extend(vec![0; extra]);
            out.extend_from_slice(p);
        }
        out
    }

    #[test]
    fn every_form_of_pcap() {
        for (big, magic, extra) in [
            (false, 0xA1B2_C3D4, 0),
            (true, 0xA1B2_C3D4, 0),
            (false, 0xA1B2_3C4D, 0),
            (true, 0xA1B2_3C4D, 0),
            (false, 0xA1B2_CD34, 8),
        ] {
            let file = pcap_of(big, magic, extra, &[b"one", b"", b"three"]);
            for piece in [1, 7, 1000] {
                let got = all(&file, piece).unwrap();
                assert_eq!(
                    got,
                    [
                        (1, 1, b"one".to_vec()),
                        (2, 1, b"".to_vec()),
                        (3, 1, b"three".to_vec())
                    ]
                );
            }
        }
    }

    #[test]
    fn sections_of_pcapng_have_their_own_order_and_interfaces() {
        let mut file = Vec::new();
        for big in [false, true] {
            let u32b = |v: u32| {
                if big {
                    v.to_be_bytes()
                } else {
                    v.to_le_bytes()
                }
            };
            let mut block = |kind: u32, body: &[u8]| {
                let n = u32::try_from(12 + body.len()).unwrap();
                file.extend(u32b(kind));
                file.extend(u32b(n));
                file.extend_from_slice(body);
                file.extend(u32b(n));
            };
            let mut section = u32b(0x1A2B_3C4D).to_vec();
            section.extend([0; 12]);
            block(0x0A0D_0D0A, &section);
            let link = if big { [0, 113] } else { [113, 0] };
            block(1, &[link[0], link[1], 0, 0, 0, 0, 0, 0]);
            let mut body = Vec::new();
            for v in [0, 0, 0, 3, 3] {
                body.extend(u32b(v));
            }
            body.extend(b"abc\0");
            block(6, &body);
            let mut simple = u32b(2).to_vec();
            simple.extend(b"xy\0\0");
            block(3, &simple);
        }
        for piece in [1, 13, 4096] {
            let got = all(&file, piece).unwrap();
            let shown: Vec<_> = got.iter().map(|(n, l, d)| (*n, *l, &d[..])).collect();
            assert_eq!(
                shown,
                [
                    (1, 113, &b"abc"[..]),
                    (2, 113, b"xy"),
                    (3, 113, b"abc"),
                    (4, 113, b"xy")
                ]
            );
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        assert!(matches!(all(b"", 9), Err(CaptureError::Format(_))));
        assert!(matches!(all(b"ab", 9), Err(CaptureError::Format(_))));
        assert!(matches!(all(&[7; 100], 9), Err(CaptureError::Format(_))));
        let start = [
            &[10, 13, 13, 10, 28, 0, 0, 0][..],
            &[0x4D, 0x3C, 0x2B, 0x1A],
        ]
        .concat();
        for cut in 4..=start.len() {
            assert!(matches!(
                all(&start[..cut], 9),
                Err(CaptureError::Format(_))
            ));
        }
        let mut long = pcap_of(false, 0xA1B2_C3D4, 0, &[b"x"]);
        long[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(all(&long, 9), Err(CaptureError::Record { .. })));
    }
}
