//! Decryption of RFC 3962 (AES-CTS-HMAC-SHA1-96), RFC 8009 (AES-CTS-HMAC-SHA2)
//! and RFC 4757 (RC4-HMAC).

use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use countersign_auth::ntlm::hash::{Rc4State, equal, hmac_md5};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::Key;

const BLOCK: usize = 16;
type Plain = Zeroizing<Vec<u8>>;

/// Opens a cipher text; `None` when the key is not its key.
pub(super) fn decrypt(key: &Key, usage: u32, cipher: &[u8]) -> Option<Plain> {
    match key.etype {
        17 | 18 => aes_sha1(&key.value, usage, cipher),
        19 | 20 => aes_sha2(&key.value, usage, cipher, key.etype == 20),
        23 => rc4_hmac(&key.value, usage, cipher),
        _ => None,
    }
}

fn without(mut plain: Plain, confounder: usize) -> Plain {
    let end = confounder.min(plain.len());
    plain.drain(..end);
    plain
}

/// RFC 3961 5.3, RFC 3962.
fn aes_sha1(key: &[u8], usage: u32, cipher: &[u8]) -> Option<Plain> {
    let (body, mac) = cipher.split_at_checked(cipher.len().checked_sub(12)?)?;
    let plain = cts(&derive_sha1(key, usage, 0xAA)?, body)?;
    let ki = derive_sha1(key, usage, 0x55)?;
    let mut code = Hmac::<Sha1>::new_from_slice(&ki).ok()?;
    code.update(&plain);
    let code = code.finalize().into_bytes();
    equal(code.get(..12)?, mac).then(|| without(plain, BLOCK))
}

/// RFC 8009 5.
fn aes_sha2(key: &[u8], usage: u32, cipher: &[u8], long: bool) -> Option<Plain> {
    let mac_length = if long { 24 } else { 16 };
    let (body, mac) = cipher.split_at_checked(cipher.len().checked_sub(mac_length)?)?;
    let ke = derive_sha2(key, usage, 0xAA, if long { 32 } else { 16 }, long)?;
    let ki = derive_sha2(key, usage, 0x55, mac_length, long)?;
    let code = hmac_sha2(&ki, &[&[0; BLOCK], body], long)?;
    if !equal(code.get(..mac_length)?, mac) {
        return None;
    }
    Some(without(cts(&ke, body)?, BLOCK))
}

/// RFC 4757 5.
fn rc4_hmac(key: &[u8], usage: u32, cipher: &[u8]) -> Option<Plain> {
    let (mac, body) = cipher.split_first_chunk::<16>()?;
    let usage = if usage == 3 { 8 } else { usage };
    let k1 = hmac_md5(key, &[&usage.to_le_bytes()]);
    let k3 = hmac_md5(k1.as_slice(), &[mac]);
    let mut plain = Zeroizing::new(body.to_vec());
    Rc4State::new(&k3).apply(&mut plain);
    equal(hmac_md5(k1.as_slice(), &[&plain]).as_slice(), mac).then(|| without(plain, 8))
}

enum Aes {
    Short(Aes128),
    Long(Aes256),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(Self::Short),
            32 => Aes256::new_from_slice(key).ok().map(Self::Long),
            _ => None,
        }
    }

    fn decrypt(&self, block: &[u8; BLOCK]) -> [u8; BLOCK] {
        let mut b: Block<Aes128> = (*block).into();
        match self {
            Self::Short(aes) => aes.decrypt_block(&mut b),
            Self::Long(aes) => aes.decrypt_block(&mut b),
        }
        b.into()
    }

    fn encrypt(&self, block: &[u8; BLOCK]) -> [u8; BLOCK] {
        let mut b: Block<Aes128> = (*block).into();
        match self {
            Self::Short(aes) => aes.encrypt_block(&mut b),
            Self::Long(aes) => aes.encrypt_block(&mut b),
        }
        b.into()
    }
}

fn xor(a: &[u8; BLOCK], b: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut out = *a;
    for (to, from) in out.iter_mut().zip(b) {
        *to ^= from;
    }
    out
}

/// CBC with cipher text stealing, RFC 3962 5, initialisation vector zero.
fn cts(key: &[u8], cipher: &[u8]) -> Option<Plain> {
    let aes = Aes::new(key)?;
    let mut out = Zeroizing::new(Vec::with_capacity(cipher.len()));
    if cipher.len() == BLOCK {
        out.extend(aes.decrypt(cipher.first_chunk()?));
        return Some(out);
    }
    // The last block, whole or not, and the one before it changed places.
    let last = match cipher.len() % BLOCK {
        0 => BLOCK,
        n => n,
    };
    let (head, rest) = cipher.split_at_checked(cipher.len().checked_sub(last + BLOCK)?)?;
    let (before, tail) = rest.split_first_chunk::<BLOCK>()?;
    let mut iv = [0; BLOCK];
    for block in head.as_chunks::<BLOCK>().0 {
        out.extend(xor(&aes.decrypt(block), &iv));
        iv = *block;
    }
    let opened = aes.decrypt(before);
    let mut whole = opened;
    for (to, from) in whole.iter_mut().zip(tail) {
        *to = *from;
    }
    out.extend(xor(&aes.decrypt(&whole), &iv));
    out.extend(opened.iter().zip(tail).map(|(a, b)| a ^ b));
    Some(out)
}

/// DK of RFC 3961 5.1 for a usage and what it is for.
fn derive_sha1(key: &[u8], usage: u32, purpose: u8) -> Option<Plain> {
    let aes = Aes::new(key)?;
    let [a, b, c, d] = usage.to_be_bytes();
    let mut block = n_fold(&[a, b, c, d, purpose]);
    let mut out = Zeroizing::new(Vec::with_capacity(key.len()));
    while out.len() < key.len() {
        block = aes.encrypt(&block);
        out.extend(block);
    }
    out.truncate(key.len());
    Some(out)
}

/// n-fold of five bytes to 128 bits, RFC 3961 5.1: sixteen copies, each rotated by
/// 13 bits more, added in ones' complement.
fn n_fold(input: &[u8; 5]) -> [u8; BLOCK] {
    const BITS: usize = 40;
    let value = input.iter().fold(0u64, |v, b| (v << 8) | u64::from(*b));
    let mut stream = Vec::with_capacity(5 * BLOCK);
    for i in 0..BLOCK {
        let r = (13 * i) % BITS;
        let turned = ((value >> r) | (value << (BITS - r))) & ((1 << BITS) - 1);
        stream.extend(turned.to_be_bytes().into_iter().skip(3));
    }
    let mut sum = 0u128;
    for chunk in stream.as_chunks::<BLOCK>().0 {
        let (s, carry) = sum.overflowing_add(u128::from_be_bytes(*chunk));
        let (s, again) = s.overflowing_add(u128::from(carry));
        sum = s.wrapping_add(u128::from(again));
    }
    sum.to_be_bytes()
}

fn hmac_sha2(key: &[u8], parts: &[&[u8]], long: bool) -> Option<Plain> {
    if long {
        let mut mac = Hmac::<Sha384>::new_from_slice(key).ok()?;
        parts.iter().for_each(|p| mac.update(p));
        Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
    } else {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        parts.iter().for_each(|p| mac.update(p));
        Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
    }
}

/// KDF-HMAC-SHA2 of RFC 8009 3.
fn derive_sha2(key: &[u8], usage: u32, purpose: u8, length: usize, long: bool) -> Option<Plain> {
    let bits = u32::try_from(length * 8).ok()?;
    let parts: [&[u8]; 5] = [
        &[0, 0, 0, 1],
        &usage.to_be_bytes(),
        &[purpose],
        &[0],
        &bits.to_be_bytes(),
    ];
    let mut out = hmac_sha2(key, &parts, long)?;
    out.truncate(length);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex.replace(' ', "")).unwrap()
    }

    #[test]
    fn cipher_text_stealing_of_rfc_3962() {
        // RFC 3962 appendix B.
        let key = b"chicken teriyaki";
        let plain = b"I would like the General Gau's Chicken, please, and wonton soup.";
        for (length, cipher) in [
            (17, "c6353568f2bf8cb4d8a580362da7ff7f 97"),
            (
                32,
                "39312523a78662d5be7fcbcc98ebf5a8 97687268d6ecccc0c07b25e25ecfe584",
            ),
            (
                47,
                "97687268d6ecccc0c07b25e25ecfe584 b3fffd940c16a18c1b5549d2f838029e \
                 39312523a78662d5be7fcbcc98ebf5",
            ),
        ] {
            let cipher = bytes(cipher);
            assert_eq!(cts(key, &cipher).unwrap().as_slice(), &plain[..length]);
        }
    }

    #[test]
    fn aes_sha2_of_rfc_8009() {
        // RFC 8009 appendix A: usage 2, plain text of 6 bytes.
        let short = Key {
            etype: 19,
            value: Zeroizing::new(bytes("3705d96080c17728a0e800eab6e0d23c")),
        };
        let cipher =
            bytes("84d7f30754ed987bab0bf3506beb09cfb55402cef7e6877ce99e247e52d16ed4421dfdf8976c");
        assert_eq!(
            decrypt(&short, 2, &cipher).unwrap().as_slice(),
            bytes("000102030405")
        );
        let long = Key {
            etype: 20,
            value: Zeroizing::new(bytes(
                "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52",
            )),
        };
        let mut cipher = bytes(
            "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9f559c7f664f69eab7b60\
             92237526ea0d1f61cb20d69d10f2",
        );
        assert_eq!(
            decrypt(&long, 2, &cipher).unwrap().as_slice(),
            bytes("000102030405")
        );
        cipher[0] ^= 1;
        assert!(decrypt(&long, 2, &cipher).is_none());
    }

    #[test]
    fn what_is_too_short_is_refused() {
        for etype in [17, 18, 19, 20, 23, 99] {
            for key_length in [0, 16, 32] {
                for length in 0..64 {
                    let key = Key {
                        etype,
                        value: Zeroizing::new(vec![1; key_length]),
                    };
                    assert!(decrypt(&key, 2, &vec![7; length]).is_none());
                }
            }
        }
    }
}
