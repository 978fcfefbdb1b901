//! LZNT1, [MS-XCA] 2.5.

use super::{Input, Output};

/// Bytes that a chunk is decompressed to at most.
const CHUNK: usize = 4096;

/// Decompresses until the output is full or the input at its end.
pub(super) fn decompress(compressed: &[u8], to: &mut Output<'_>) -> Option<()> {
    let mut input = Input(compressed);
    while !to.is_full() {
        let header = input.u16()?;
        if header == 0 {
            return Some(());
        }
        let length = usize::from(header & 0x0FFF) + 1;
        let (chunk, rest) = input.0.split_at_checked(length)?;
        input.0 = rest;
        if header & 0x8000 == 0 {
            for byte in chunk.iter().take(CHUNK) {
                if to.is_full() {
                    break;
                }
                to.literal(*byte)?;
            }
        } else {
            whole_chunk(chunk, to)?;
        }
    }
    Some(())
}

fn whole_chunk(chunk: &[u8], to: &mut Output<'_>) -> Option<()> {
    let start = to.length();
    let mut input = Input(chunk);
    while !input.0.is_empty() {
        let flags = input.byte()?;
        for bit in 0..8 {
            if input.0.is_empty() || to.is_full() {
                return Some(());
            }
            let done = to.length() - start;
            if flags >> bit & 1 == 0 {
                if done >= CHUNK {
                    return None;
                }
                to.literal(input.byte()?)?;
                continue;
            }
            // The further into the chunk, the more bits are for the distance.
            let mut places = 4u32;
            while done > 1 << places {
                places += 1;
            }
            let token = u32::from(input.u16()?);
            let bits = 16u32.checked_sub(places)?;
            let distance = usize::try_from(token >> bits).ok()? + 1;
            let length = usize::try_from(token & ((1 << bits) - 1)).ok()? + 3;
            if distance > done || done + length > CHUNK {
                return None;
            }
            to.repeat(distance, length)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::{Output, one};
    use super::*;

    #[test]
    fn example_of_the_specification() {
        // [MS-XCA] 3.3.
        let compressed = hex::decode(
            "38b08846232000204720410010a24701a045204400084501507900c045200524\
             138805b4024a44ef0358028c09160148450 0be009e00040118900000"
                .replace(' ', ""),
        )
        .unwrap();
        let want = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# \
                     D E F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        let mut out = Vec::new();
        one(1, &compressed, want.len(), &mut out).unwrap();
        assert_eq!(out, want);
        // A chunk that is not compressed, behind.
        let mut more = compressed[..59].to_vec();
        more.extend(b"\x02\x30xyz");
        let mut out = Vec::new();
        one(1, &more, want.len() + 3, &mut out).unwrap();
        assert_eq!(out, [&want[..], b"xyz"].concat());
    }

    #[test]
    fn any_bytes_end() {
        let mut state = 7u32;
        for length in 0..2000 {
            let mut bytes = vec![0xFF, 0xB0];
            bytes.extend((0..length % 256).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_le_bytes()[3]
            }));
            if let Ok(head) = u16::try_from(length % 256) {
                let head = 0xB000 | head.saturating_sub(1);
                bytes[..2].copy_from_slice(&head.to_le_bytes());
            }
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
