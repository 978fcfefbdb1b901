//! Why a signature is wrong: the mistakes that are known are tried, cheapest and
//! likeliest first, until the signature is right.

pub(crate) mod smb1;
pub(crate) mod smb2;

/// Bytes that are hashed at most to find causes; what fails then is only counted.
pub(crate) const MAX_WORK: u64 = 2 << 30;
/// Longest message of which every bit is tried.
pub(crate) const MAX_BITS: usize = 2048;
/// Longest message of which every value of every byte is tried.
pub(crate) const MAX_BYTES: usize = 300;
/// Other sessions whose keys are tried.
pub(crate) const MAX_OTHERS: usize = 64;
/// Bytes at the end that may not have been covered.
pub(crate) const MAX_TAIL: usize = 16;

/// What to say of a failure that was not looked into.
const NOT_SEARCHED: &str =
    "not looked into: the work that may go into causes is used up by the failures before";

/// How often [`restore`] tries a message of this length.
fn tries(length: usize) -> u64 {
    let each = match length {
        0..=MAX_BYTES => 8 + 255,
        _ if length <= MAX_BITS => 8,
        _ => 0,
    };
    length as u64 * each
}

/// What changing every bit, and every byte, of a message costs.
fn restoring(length: usize) -> u64 {
    tries(length).saturating_mul(length as u64)
}

/// Bits in which two signatures differ.
fn distance(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Changes one bit, then one byte, outside `but`, until `right` says that the
/// message is the one that was signed; what was changed.
fn restore(
    message: &[u8],
    but: core::ops::Range<usize>,
    mut right: impl FnMut(&[u8]) -> bool,
) -> Option<String> {
    if message.len() > MAX_BITS {
        return None;
    }
    let mut copy = message.to_vec();
    let places = || (0..message.len()).filter(|at| !but.contains(at));
    for at in places() {
        for bit in 0..8 {
            flip(&mut copy, at, 1 << bit);
            let found = right(&copy);
            flip(&mut copy, at, 1 << bit);
            if found {
                return Some(format!("bit {bit} of the byte at offset {at} was changed"));
            }
        }
    }
    if message.len() > MAX_BYTES {
        return None;
    }
    for at in places() {
        for mask in 1..=255u8 {
            flip(&mut copy, at, mask);
            let found = right(&copy);
            let was = copy.get(at).copied().unwrap_or(0);
            flip(&mut copy, at, mask);
            if found {
                return Some(format!(
                    "the byte at offset {at} was 0x{was:02x} when it was signed"
                ));
            }
        }
    }
    None
}

fn flip(message: &mut [u8], at: usize, mask: u8) {
    if let Some(byte) = message.get_mut(at) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_is_found() {
        let signed: Vec<u8> = (0..40).collect();
        let right = |m: &[u8]| m[..10] == signed[..10] && m[20..] == signed[20..];
        let mut bit = signed.clone();
        bit[30] ^= 4;
        assert_eq!(
            restore(&bit, 10..20, right).as_deref(),
            Some("bit 2 of the byte at offset 30 was changed")
        );
        let mut byte = signed.clone();
        byte[3] = 0xA7;
        assert_eq!(
            restore(&byte, 10..20, right).as_deref(),
            Some("the byte at offset 3 was 0x03 when it was signed")
        );
        byte[4] = 0xA7;
        assert_eq!(restore(&byte, 10..20, right), None);
    }
}
