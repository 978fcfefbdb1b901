//! The one-way functions of NTLM, [MS-NLMP] 3.3 and 6.

use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use md4::Md4;
use md5::{Digest, Md5};
use rc4::{Rc4, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

/// Sixteen secret bytes.
pub type Secret = Zeroizing<[u8; 16]>;

/// HMAC_MD5(key, parts).
pub fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> Secret {
    // HMAC pads its key with zeros to the block size and hashes longer ones.
    let mut block = [0u8; 64];
    if let Some(start) = block.get_mut(..key.len()) {
        start.copy_from_slice(key);
    } else if let Some(start) = block.first_chunk_mut::<16>() {
        start.copy_from_slice(&Md5::digest(key));
    }
    let mut mac = Hmac::<Md5>::new(&block.into());
    block.zeroize();
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// MD4(data).
pub fn md4(data: &[u8]) -> Secret {
    Zeroizing::new(Md4::digest(data).into())
}

/// MD5(parts).
pub fn md5(parts: &[&[u8]]) -> Secret {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    Zeroizing::new(hash.finalize().into())
}

/// RC4 keyed with sixteen bytes, which keeps its place between calls.
pub struct Rc4State(Rc4);

impl Rc4State {
    /// At the start of the key stream.
    pub fn new(key: &[u8; 16]) -> Self {
        // RC4 repeats its key: sixteen bytes twice are the same key.
        let mut twice = Zeroizing::new([0u8; 32]);
        for (to, from) in twice.iter_mut().zip(key.iter().chain(key)) {
            *to = *from;
        }
        Self(Rc4::new((&*twice).into()))
    }

    /// Encrypts or decrypts the next bytes.
    pub fn apply(&mut self, data: &mut [u8]) {
        self.0.apply_keystream(data);
    }
}

/// RC4(key, data) from the start of the key stream.
pub fn rc4_16(key: &[u8; 16], data: &[u8; 16]) -> Secret {
    let mut out = Zeroizing::new(*data);
    Rc4State::new(key).apply(out.as_mut_slice());
    out
}

/// DES(key, data) with a key of seven bytes.
fn des7(key: [u8; 7], data: [u8; 8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g] = key;
    let mut packed = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
    let mut spread = [0u8; 8];
    for byte in spread.iter_mut().rev() {
        *byte = u8::try_from(packed & 0x7F).unwrap_or(0) << 1;
        packed >>= 7;
    }
    let cipher = Des::new(&spread.into());
    spread.zeroize();
    let mut block = data.into();
    cipher.encrypt_block(&mut block);
    block.into()
}

/// DESL(key, data): the 24-byte response of NTLMv1, [MS-NLMP] 6.
pub fn desl(key: &[u8; 16], data: [u8; 8]) -> [u8; 24] {
    let mut padded = Zeroizing::new([0u8; 21]);
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    let mut out = [0u8; 24];
    let (keys, _) = padded.as_chunks::<7>();
    let (blocks, _) = out.as_chunks_mut::<8>();
    for (block, key) in blocks.iter_mut().zip(keys) {
        *block = des7(*key, data);
    }
    out
}

/// NTOWFv2: HMAC_MD5(NT hash, UPPER(user) || domain), [MS-NLMP] 3.3.2.
pub fn ntowf_v2(nt_hash: &[u8; 16], user: &str, domain: &str) -> Secret {
    let text: Vec<u8> = user
        .chars()
        .map(upper)
        .chain(domain.chars())
        .flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec())
        .flat_map(u16::to_le_bytes)
        .collect();
    hmac_md5(nt_hash, &[&text])
}

/// Upper case, one character for one, as Windows has it.
fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    match (all.next(), all.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Whether two byte strings are equal, in a time that does not depend on where
/// they differ.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::NtHash;

    const CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];

    #[test]
    fn examples_of_the_specification() {
        // [MS-NLMP] 4.2.2: user "User", password "Password", domain "Domain".
        let nt = NtHash::from_password("Password");
        assert_eq!(
            hex::encode(nt.as_bytes()),
            "a4f49c406510bdcab6824ee7c30fd852"
        );
        assert_eq!(
            hex::encode(desl(nt.as_bytes(), CHALLENGE)),
            "67c43011f30298a2ad35ece64f16331c44bdbed927841f94"
        );
        assert_eq!(
            hex::encode(*ntowf_v2(nt.as_bytes(), "User", "Domain")),
            "0c868a403bfd7a93a3001ef22ef02e3f"
        );
        assert_eq!(
            hex::encode(*md4(nt.as_bytes())),
            "d87262b0cde4b1cb7499becccdf10784"
        );
    }

    #[test]
    fn hmac_with_short_and_long_keys() {
        // RFC 2202 test cases 2 and 6.
        assert_eq!(
            hex::encode(*hmac_md5(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "750c783e6ab0b503eaa86e310a5db738"
        );
        assert_eq!(
            hex::encode(*hmac_md5(
                &[0xAA; 80],
                &[b"Test Using Larger Than Block-Size Key - Hash Key First"]
            )),
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"
        );
    }

    #[test]
    fn rc4_goes_on_where_it_stopped() {
        let key = *b"0123456789abcdef";
        let mut whole = [0u8; 24];
        Rc4State::new(&key).apply(&mut whole);
        let mut state = Rc4State::new(&key);
        let (mut a, mut b) = ([0u8; 10], [0u8; 14]);
        state.apply(&mut a);
        state.apply(&mut b);
        assert_eq!([&a[..], &b[..]].concat(), whole);
        // The same sixteen bytes as a stream of a 16-byte key.
        use rc4::KeyInit;
        let mut other = [0u8; 24];
        Rc4::new_from_slice(&key)
            .unwrap()
            .apply_keystream(&mut other);
        assert_eq!(whole, other);
    }

    #[test]
    fn only_one_to_one_upper_case() {
        assert_eq!(
            "aß\u{E9}ﬁ".chars().map(upper).collect::<String>(),
            "Aß\u{C9}ﬁ"
        );
    }
}
