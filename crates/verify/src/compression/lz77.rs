//! Plain LZ77, [MS-XCA] 2.4.4.

use super::{Input, Output};

/// Decompresses until the output is full or the input at its end.
pub(super) fn decompress(compressed: &[u8], to: &mut Output<'_>) -> Option<()> {
    let mut input = Input(compressed);
    let (mut flags, mut left) = (0u32, 0u32);
    // Two matches share a byte with four bits of length each.
    let mut shared: Option<u8> = None;
    while !to.is_full() {
        if left == 0 {
            flags = input.u32()?;
            left = 32;
        }
        left -= 1;
        if flags >> left & 1 == 0 {
            to.literal(input.byte()?)?;
            continue;
        }
        let token = input.u16()?;
        let distance = usize::from(token >> 3) + 1;
        let mut length = u32::from(token & 7);
        if length == 7 {
            let four = match shared.take() {
                Some(byte) => byte >> 4,
                None => {
                    let byte = input.byte()?;
                    shared = Some(byte);
                    byte & 15
                }
            };
            length = u32::from(four) + 7;
            if four == 15 {
                length = length.checked_add(input.longer(15 + 7)?)?;
            }
        }
        let length = length.checked_add(3)?;
        to.repeat(distance, usize::try_from(length).ok()?)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Output, one};
    use super::*;

    #[test]
    fn examples_of_the_specification() {
        // [MS-XCA] 3.1 and 3.2.
        let alphabet: Vec<u8> = (b'a'..=b'z').collect();
        let compressed = [&[0x3F, 0, 0, 0][..], &alphabet].concat();
        let mut out = Vec::new();
        one(2, &compressed, 26, &mut out).unwrap();
        assert_eq!(out, alphabet);
        let mut out = Vec::new();
        one(
            2,
            b"\xff\xff\xff\x1fabc\x17\x00\x0f\xff\x26\x01",
            300,
            &mut out,
        )
        .unwrap();
        assert!(out.iter().eq(b"abc".iter().cycle().take(300)));
    }

    #[test]
    fn any_bytes_end() {
        let mut state = 7u32;
        for length in 0..2000 {
            let bytes: Vec<u8> = (0..length % 90)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_le_bytes()[3]
                })
                .collect();
            let mut out = Vec::new();
            let mut to = Output {
                out: &mut out,
                start: 0,
                end: 5000,
            };
            let _ = decompress(&bytes, &mut to);
            assert!(out.len() <= 5000);
        }
    }
}
