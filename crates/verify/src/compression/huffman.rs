//! LZ77 with Huffman coding, [MS-XCA] 2.2.4.

use super::{Input, Output};

/// Bytes of the table with the lengths of the 512 codes.
const TABLE: usize = 256;
/// Longest code.
const MAX_BITS: usize = 15;
/// Bytes of output that a table is for.
const BLOCK: usize = 1 << 16;
/// Symbol that ends the data, or is a match of length 3 from one byte before.
const MATCHES: u16 = 256;
/// Words of zeros that are read behind the end, as the writer may leave them out.
const MAX_MISSING: u32 = 2;

/// Symbols by their code, filled up to 15 bits.
struct Decoder {
    symbols: Vec<(u16, u8)>,
}

impl Decoder {
    fn new(table: &[u8]) -> Option<Self> {
        let lengths: Vec<u8> = table.iter().flat_map(|b| [b & 15, b >> 4]).collect();
        let mut symbols = Vec::with_capacity(1 << MAX_BITS);
        for bits in 1..=15u8 {
            for (symbol, length) in (0u16..).zip(&lengths) {
                if *length == bits {
                    let fill = 1usize << (MAX_BITS - usize::from(bits));
                    if symbols.len() + fill > 1 << MAX_BITS {
                        return None;
                    }
                    symbols.resize(symbols.len() + fill, (symbol, bits));
                }
            }
        }
        // The codes use up all there are.
        (symbols.len() == 1 << MAX_BITS).then_some(Self { symbols })
    }
}

/// Bits from words of 16, highest first, two words ahead of the bytes between.
struct Bits<'a> {
    input: Input<'a>,
    next: u32,
    extra: i32,
    missing: u32,
}

impl<'a> Bits<'a> {
    fn new(input: Input<'a>) -> Option<Self> {
        let mut bits = Self {
            input,
            next: 0,
            extra: 16,
            missing: 0,
        };
        bits.next = u32::from(bits.word()?) << 16;
        bits.next |= u32::from(bits.word()?);
        Some(bits)
    }

    fn word(&mut self) -> Option<u16> {
        match self.input.u16() {
            Some(word) => Some(word),
            None => {
                self.missing += 1;
                (self.missing <= MAX_MISSING).then_some(0)
            }
        }
    }

    /// The next `count` bits, of at most 15.
    fn peek(&self, count: u32) -> u32 {
        self.next.checked_shr(32 - count).unwrap_or(0)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.next = self.next.checked_shl(count)?;
        self.extra -= i32::try_from(count).ok()?;
        if self.extra < 0 {
            let word = u32::from(self.word()?);
            self.next |= word.checked_shl(self.extra.unsigned_abs())?;
            self.extra += 16;
        }
        Some(())
    }
}

/// Decompresses until the output is full.
pub(super) fn decompress(compressed: &[u8], to: &mut Output<'_>) -> Option<()> {
    let mut rest = compressed;
    while !to.is_full() {
        let (table, after) = rest.split_at_checked(TABLE)?;
        let decoder = Decoder::new(table)?;
        let mut bits = Bits::new(Input(after))?;
        let end = to.length() + BLOCK;
        while to.length() < end && !to.is_full() {
            let (symbol, length) = *decoder.symbols.get(usize::try_from(bits.peek(15)).ok()?)?;
            bits.skip(u32::from(length))?;
            let Some(code) = symbol.checked_sub(MATCHES) else {
                to.literal(u8::try_from(symbol).ok()?)?;
                continue;
            };
            let mut length = u32::from(code & 15);
            if length == 15 {
                length += bits.input.longer(15)?;
            }
            let length = length.checked_add(3)?;
            let places = u32::from(code >> 4);
            let distance = (1usize << places) + usize::try_from(bits.peek(places)).ok()?;
            bits.skip(places)?;
            to.repeat(distance, usize::try_from(length).ok()?)?;
        }
        rest = bits.input.0;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Output, one};
    use super::*;

    fn table(lengths: &[(usize, u8)]) -> Vec<u8> {
        let mut table = vec![0; TABLE];
        for (symbol, length) in lengths {
            table[symbol / 2] |= length << (symbol % 2 * 4);
        }
        table
    }

    #[test]
    fn examples_of_the_specification() {
        // [MS-XCA] 3.1: 22 codes of five bits, 5 of four.
        let mut lengths: Vec<(usize, u8)> = (97..119).map(|s| (s, 5)).collect();
        lengths.extend([(119, 4), (120, 4), (121, 4), (122, 4), (256, 4)]);
        let mut compressed = table(&lengths);
        compressed.extend(hex::decode("d8523ed794115be9195ff9d67cdf8d0400000000").unwrap());
        let mut out = Vec::new();
        one(3, &compressed, 26, &mut out).unwrap();
        assert!(out.into_iter().eq(b'a'..=b'z'));
        // [MS-XCA] 3.2.
        let mut compressed = table(&[(97, 3), (98, 3), (99, 2), (256, 2), (287, 2)]);
        compressed.extend(hex::decode("a8dc0000ff2601").unwrap());
        let mut out = Vec::new();
        one(3, &compressed, 300, &mut out).unwrap();
        assert!(out.iter().eq(b"abc".iter().cycle().take(300)));
    }

    #[test]
    fn tables_that_cannot_be_are_refused() {
        for lengths in [&[][..], &[(97, 1)], &[(97, 1), (98, 1), (99, 1)]] {
            let mut compressed = table(lengths);
            compressed.extend([0; 40]);
            assert!(one(3, &compressed, 10, &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn any_bytes_end() {
        let mut state = 7u32;
        for length in 0..500 {
            let mut bytes = table(&[(97, 3), (98, 3), (99, 2), (256, 2), (287, 2)]);
            bytes.extend((0..length % 70).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            }));
            let mut out = Vec::new();
            let mut to = Output {
                out: &mut out,
                start: 0,
                end: 100_000,
            };
            let _ = decompress(&bytes, &mut to);
            assert!(out.len() <= 100_000);
        }
    }
}
