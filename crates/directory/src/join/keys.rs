//! [RFC 3962] and [RFC 4757]: the keys of a password.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use countersign_auth::NtHash;
use countersign_gssapi::Zeroizing;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Iterations of Active Directory.
const ITERATIONS: u32 = 4096;
/// "kerberos", folded to 128 bits ([RFC 3961] A.1).
const KERBEROS: [u8; 16] = [
    0x6B, 0x65, 0x72, 0x62, 0x65, 0x72, 0x6F, 0x73, 0x7B, 0x9B, 0x5B, 0x2B, 0x93, 0x13, 0x2B, 0x93,
];

/// A key and its encryption type.
pub(super) struct Key {
    pub(super) kind: u16,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// aes256-cts-hmac-sha1-96.
pub(super) const AES_256: u16 = 18;
/// aes128-cts-hmac-sha1-96.
pub(super) const AES_128: u16 = 17;
/// rc4-hmac.
pub(super) const RC4: u16 = 23;

/// The keys of a password of these types; types of another kind are left out.
pub(super) fn of(password: &str, salt: &str, kinds: &[u16]) -> Vec<Key> {
    let key = |kind: u16| {
        let bytes = match kind {
            AES_256 => derive(password, salt, ITERATIONS, 32),
            AES_128 => derive(password, salt, ITERATIONS, 16),
            // [RFC 4757] 2: the NT hash.
            RC4 => Zeroizing::new(NtHash::from_password(password).as_bytes().to_vec()),
            _ => return None,
        };
        Some(Key { kind, bytes })
    };
    kinds.iter().copied().filter_map(key).collect()
}

/// string-to-key, [RFC 3962] 4: DK(PBKDF2, "kerberos").
fn derive(password: &str, salt: &str, iterations: u32, length: usize) -> Zeroizing<Vec<u8>> {
    let seed = pbkdf2(password.as_bytes(), salt.as_bytes(), iterations, length);
    let mut out = Zeroizing::new(Vec::with_capacity(length));
    let mut block = KERBEROS;
    while out.len() < length {
        encrypt(&seed, &mut block);
        out.extend_from_slice(&block);
    }
    out
}

fn encrypt(key: &[u8], block: &mut [u8; 16]) {
    let mut inner = (*block).into();
    if let Ok(cipher) = Aes256::new_from_slice(key) {
        cipher.encrypt_block(&mut inner);
    } else if let Ok(cipher) = Aes128::new_from_slice(key) {
        cipher.encrypt_block(&mut inner);
    }
    *block = inner.into();
}

/// [RFC 8018] 5.2 with HMAC-SHA1.
fn pbkdf2(password: &[u8], salt: &[u8], iterations: u32, length: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::new());
    let mut number = 1u32;
    while out.len() < length {
        let mut last = mac(password, &[salt, &number.to_be_bytes()]);
        let mut block = last;
        for _ in 1..iterations {
            last = mac(password, &[&last]);
            for (byte, one) in block.iter_mut().zip(last) {
                *byte ^= one;
            }
        }
        out.extend_from_slice(&block);
        number += 1;
    }
    out.truncate(length);
    out
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    // A key of HMAC has any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else {
        return [0; 20];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A password of letters and digits: 62 possibilities for each character.
pub(super) fn password(length: usize) -> Option<Zeroizing<String>> {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    // Every kind of character, for domains that insist.
    let mut password = Zeroizing::new("aA1-".to_owned());
    while password.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).ok()?;
        let usable = bytes
            .iter()
            .filter(|byte| usize::from(**byte) < LETTERS.len() * 4);
        for byte in usable.take(length - password.len()) {
            let letter = LETTERS.get(usize::from(*byte) % LETTERS.len())?;
            password.push(char::from(*letter));
        }
    }
    Some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// [RFC 3962] appendix B.
    #[test]
    fn known_keys() {
        let salt = "ATHENA.MIT.EDUraeburn";
        for (iterations, length, key) in [
            (1, 16, "42263c6e89f4fc28b8df68ee09799f15"),
            (
                1,
                32,
                "fe697b52bc0d3ce14432ba036a92e65bbb52280990a2fa27883998d72af30161",
            ),
            (1200, 16, "4c01cd46d632d01e6dbe230a01ed642a"),
            (
                1200,
                32,
                "55a6ac740ad17b4846941051e1e8b0a7548d93b0ab30a8bc3ff16280382b8c2a",
            ),
        ] {
            assert_eq!(hex(&derive("password", salt, iterations, length)), key);
        }
    }

    #[test]
    fn rc4_is_the_nt_hash() {
        let keys = of("Password", "unused", &[RC4, 1]);
        assert_eq!(keys.len(), 1);
        assert_eq!(hex(&keys[0].bytes), "a4f49c406510bdcab6824ee7c30fd852");
    }

    #[test]
    fn passwords_differ() {
        let (one, two) = (password(64).unwrap(), password(64).unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(*one, *two);
    }
}
