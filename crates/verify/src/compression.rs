//! Compressed messages: SMB2 COMPRESSION_TRANSFORM_HEADER, [MS-SMB2] 2.2.42 and
//! 3.1.5.3. What is signed is the message behind it.

mod huffman;
mod lz77;
mod lznt1;

use bytes::Bytes;

use crate::fields::{le16, le32};

/// Longest message that is made of a compressed one: as long as any frame can be.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;
/// Most payloads of a chain.
pub(crate) const MAX_PAYLOADS: usize = 4096;
/// Bytes before the first payload, and before what is compressed where nothing is
/// chained.
const CHAINED: usize = 8;
const UNCHAINED: usize = 16;

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CompressionError {
    /// An algorithm without a decoder here.
    #[error("compressed with {}, which is not decoded here", name(*.0))]
    Algorithm(u16),
    /// The header or the compressed bytes make no sense.
    #[error("the compressed message cannot be decompressed: it is damaged")]
    Damaged,
    /// The length it says is more than a message can have.
    #[error("the compressed message says that it is longer than a message can be")]
    Length,
}

fn name(algorithm: u16) -> String {
    match algorithm {
        5 => "LZ4".to_owned(),
        other => format!("algorithm {other}"),
    }
}

/// The message that a compressed one stands for.
pub(crate) fn decompress(m: &[u8]) -> Result<Bytes, CompressionError> {
    let damaged = CompressionError::Damaged;
    let size = le32(m, 4).ok_or(damaged)? as usize;
    let flags = le16(m, 10).ok_or(damaged)?;
    if size > MAX_MESSAGE {
        return Err(CompressionError::Length);
    }
    let out = if flags & 1 == 0 {
        let algorithm = le16(m, 8).ok_or(damaged)?;
        let offset = le32(m, 12).ok_or(damaged)? as usize;
        let rest = m.get(UNCHAINED..).ok_or(damaged)?;
        let (plain, compressed) = rest.split_at_checked(offset).ok_or(damaged)?;
        let mut out = plain.to_vec();
        one(algorithm, compressed, size, &mut out)?;
        out
    } else {
        let out = chain(m.get(CHAINED..).ok_or(damaged)?, size)?;
        if out.len() != size {
            return Err(damaged);
        }
        out
    };
    if out.len() > MAX_MESSAGE {
        return Err(CompressionError::Length);
    }
    Ok(Bytes::from(out))
}

/// SMB2_COMPRESSION_CHAINED_PAYLOAD_HEADER and payload, one after another.
fn chain(mut rest: &[u8], size: usize) -> Result<Vec<u8>, CompressionError> {
    let damaged = CompressionError::Damaged;
    let mut out = Vec::new();
    for _ in 0..MAX_PAYLOADS {
        if rest.is_empty() {
            return Ok(out);
        }
        let algorithm = le16(rest, 0).ok_or(damaged)?;
        let length = le32(rest, 4).ok_or(damaged)? as usize;
        let (payload, next) = rest
            .get(8..)
            .and_then(|p| p.split_at_checked(length))
            .ok_or(damaged)?;
        rest = next;
        let room = size.saturating_sub(out.len());
        match algorithm {
            0 => out.extend_from_slice(payload.get(..length.min(room + 1)).ok_or(damaged)?),
            // Pattern_V1: a byte and how often.
            4 => {
                let byte = *payload.first().ok_or(damaged)?;
                let count = le32(payload, 4).ok_or(damaged)? as usize;
                if count > room {
                    return Err(damaged);
                }
                out.resize(out.len() + count, byte);
            }
            _ => {
                let original = le32(payload, 0).ok_or(damaged)? as usize;
                if original > room {
                    return Err(damaged);
                }
                one(
                    algorithm,
                    payload.get(4..).ok_or(damaged)?,
                    original,
                    &mut out,
                )?;
            }
        }
    }
    Err(damaged)
}

/// Decompresses exactly `size` bytes behind what `out` has.
fn one(
    algorithm: u16,
    compressed: &[u8],
    size: usize,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let start = out.len();
    let end = start.saturating_add(size);
    let mut to = Output { out, start, end };
    let done = match algorithm {
        1 => lznt1::decompress(compressed, &mut to),
        2 => lz77::decompress(compressed, &mut to),
        3 => huffman::decompress(compressed, &mut to),
        other => return Err(CompressionError::Algorithm(other)),
    };
    match done {
        Some(()) if to.is_full() => Ok(()),
        _ => Err(CompressionError::Damaged),
    }
}

/// What is decompressed: never more than was announced, and matches never reach
/// back behind its start.
struct Output<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    end: usize,
}

impl Output<'_> {
    fn is_full(&self) -> bool {
        self.out.len() >= self.end
    }

    fn length(&self) -> usize {
        self.out.len() - self.start
    }

    fn literal(&mut self, byte: u8) -> Option<()> {
        (!self.is_full()).then(|| self.out.push(byte))
    }

    /// Repeats `length` bytes from `distance` before the end, or as many as fit.
    fn repeat(&mut self, distance: usize, length: usize) -> Option<()> {
        if distance == 0 || distance > self.length() {
            return None;
        }
        let length = length.min(self.end - self.out.len());
        self.out.reserve(length);
        let mut left = length;
        while left > 0 {
            // What was just written may be what comes next.
            let from = self.out.len() - distance;
            let piece = left.min(distance);
            self.out.extend_from_within(from..from + piece);
            left -= piece;
        }
        Some(())
    }
}

/// Little-endian values from the front of the compressed bytes.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    /// The length of a match that did not fit its token: [MS-XCA] 2.2.4 and 2.4.4,
    /// what is more than `base`.
    fn longer(&mut self, base: u32) -> Option<u32> {
        let first = u32::from(self.byte()?);
        if first < 255 {
            return Some(first);
        }
        let long = match self.u16()? {
            0 => self.u32()?,
            short => u32::from(short),
        };
        long.checked_sub(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u32, algorithm: u16, flags: u16, offset: u32) -> Vec<u8> {
        let mut m = b"\xFCSMB".to_vec();
        m.extend(size.to_le_bytes());
        m.extend(algorithm.to_le_bytes());
        m.extend(flags.to_le_bytes());
        m.extend(offset.to_le_bytes());
        m
    }

    fn abc300() -> Vec<u8> {
        b"abc".iter().copied().cycle().take(300).collect()
    }

    /// [MS-XCA] 3.2, the second example.
    const LZ77: &[u8] = b"\xff\xff\xff\x1fabc\x17\x00\x0f\xff\x26\x01";

    #[test]
    fn unchained_with_bytes_before() {
        let mut m = header(300, 2, 0, 5);
        m.extend(b"plain");
        m.extend(LZ77);
        let want = [b"plain".to_vec(), abc300()].concat();
        assert_eq!(decompress(&m).unwrap(), want);
        // Other lengths than announced, and damage.
        for (at, byte) in [(4, 45), (5, 2), (12, 60), (8, 3), (8, 1)] {
            let mut bad = m.clone();
            bad[at] = byte;
            assert_eq!(decompress(&bad), Err(CompressionError::Damaged), "{at}");
        }
        let mut long = m.clone();
        long[7] = 0xFF;
        assert_eq!(decompress(&long), Err(CompressionError::Length));
        let mut lz4 = m.clone();
        lz4[8] = 5;
        assert_eq!(decompress(&lz4), Err(CompressionError::Algorithm(5)));
        assert_eq!(
            CompressionError::Algorithm(5).to_string(),
            "compressed with LZ4, which is not decoded here"
        );
        for cut in 0..m.len() - 1 {
            assert!(decompress(&m[..cut]).is_err());
        }
    }

    #[test]
    fn chained_with_patterns() {
        let mut m = header(4 + 300 + 1000 + 3, 0, 1, 4);
        m.extend(b"head");
        m.extend([2, 0, 0, 0]);
        m.extend(u32::try_from(4 + LZ77.len()).unwrap().to_le_bytes());
        m.extend(300u32.to_le_bytes());
        m.extend(LZ77);
        m.extend([4, 0, 0, 0, 8, 0, 0, 0, b'x', 0, 0, 0]);
        m.extend(1000u32.to_le_bytes());
        m.extend([0, 0, 0, 0, 3, 0, 0, 0]);
        m.extend(b"end");
        let want = [
            b"head".to_vec(),
            abc300(),
            vec![b'x'; 1000],
            b"end".to_vec(),
        ]
        .concat();
        assert_eq!(decompress(&m).unwrap(), want);
        for at in 8..m.len() {
            let mut bad = m.clone();
            bad[at] ^= 0x80;
            // Whatever comes of it is no longer than announced.
            if let Ok(out) = decompress(&bad) {
                assert!(out.len() <= want.len());
            }
        }
        // A pattern that is longer than what was announced.
        let mut bomb = header(10, 4, 1, 8);
        bomb.extend([0; 4]);
        bomb.extend(u32::MAX.to_le_bytes());
        assert_eq!(decompress(&bomb), Err(CompressionError::Damaged));
    }
}
