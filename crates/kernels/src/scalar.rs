//! The primitives in plain Rust: what every faster kernel is compared with.
//!
//! Written to be read beside the specifications, not to be fast. The AES here
//! looks up a table, so its time depends on the key; it is for tests.
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "arithmetic on arrays of fixed size"
)]

use crate::{Message, Tag};

/// [RFC 1321] MD5.
#[derive(Clone)]
pub struct Md5 {
    h: [u32; 4],
    block: [u8; 64],
    length: u64,
}

const MD5_SHIFT: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// floor(abs(sin(i + 1)) * 2^32).
pub(crate) const MD5_SINES: [u32; 64] = [
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
];

impl Default for Md5 {
    fn default() -> Self {
        Self::resume(
            [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476],
            0,
            &[0; 64],
        )
    }
}

impl Md5 {
    /// MD5 that has read `length` bytes; `block` begins with those of them that
    /// do not fill a block.
    #[must_use]
    pub fn resume(h: [u32; 4], length: u64, block: &[u8; 64]) -> Self {
        Self {
            h,
            block: *block,
            length,
        }
    }

    /// Reads more.
    pub fn update(&mut self, data: &[u8]) {
        for byte in data {
            self.block[(self.length % 64) as usize] = *byte;
            self.length += 1;
            if self.length.is_multiple_of(64) {
                self.compress();
            }
        }
    }

    /// The digest.
    #[must_use]
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        self.update(&[0x80]);
        while self.length % 64 != 56 {
            self.update(&[0]);
        }
        self.update(&bits.to_le_bytes());
        let mut digest = [0; 16];
        for (to, from) in digest.chunks_exact_mut(4).zip(self.h) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        digest
    }

    fn compress(&mut self) {
        let x: [u32; 16] = core::array::from_fn(|i| {
            u32::from_le_bytes(core::array::from_fn(|j| self.block[i * 4 + j]))
        });
        let [mut a, mut b, mut c, mut d] = self.h;
        for i in 0..64 {
            let (f, g) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), 5 * i + 1),
                2 => (b ^ c ^ d, 3 * i + 5),
                _ => (c ^ (b | !d), 7 * i),
            };
            let sum = a
                .wrapping_add(f)
                .wrapping_add(MD5_SINES[i])
                .wrapping_add(x[g % 16]);
            (a, d, c, b) = (
                d,
                c,
                b,
                b.wrapping_add(sum.rotate_left(MD5_SHIFT[i / 16][i % 4])),
            );
        }
        for (h, v) in self.h.iter_mut().zip([a, b, c, d]) {
            *h = h.wrapping_add(v);
        }
    }
}

/// [FIPS 180-4] 5.3.3.
pub(crate) const SHA256_START: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

const SHA256_ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// [FIPS 180-4] SHA-256.
#[derive(Clone)]
pub struct Sha256 {
    h: [u32; 8],
    block: [u8; 64],
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::resume(SHA256_START, 0)
    }
}

impl Sha256 {
    /// SHA-256 that has read `length` bytes, a whole number of blocks.
    #[must_use]
    pub fn resume(h: [u32; 8], length: u64) -> Self {
        Self {
            h,
            block: [0; 64],
            length,
        }
    }

    /// Reads more.
    pub fn update(&mut self, data: &[u8]) {
        for byte in data {
            self.block[(self.length % 64) as usize] = *byte;
            self.length += 1;
            if self.length.is_multiple_of(64) {
                self.compress();
            }
        }
    }

    /// The digest.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.length.wrapping_mul(8);
        self.update(&[0x80]);
        while self.length % 64 != 56 {
            self.update(&[0]);
        }
        self.update(&bits.to_be_bytes());
        let mut digest = [0; 32];
        for (to, from) in digest.chunks_exact_mut(4).zip(self.h) {
            to.copy_from_slice(&from.to_be_bytes());
        }
        digest
    }

    fn compress(&mut self) {
        let mut w = [0_u32; 64];
        for i in 0..64 {
            w[i] = if i < 16 {
                u32::from_be_bytes(core::array::from_fn(|j| self.block[i * 4 + j]))
            } else {
                let (a, b) = (w[i - 15], w[i - 2]);
                w[i - 16]
                    .wrapping_add(a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3))
                    .wrapping_add(w[i - 7])
                    .wrapping_add(b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10))
            };
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.h;
        for i in 0..64 {
            let first = h
                .wrapping_add(e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25))
                .wrapping_add((e & f) ^ (!e & g))
                .wrapping_add(SHA256_ROUNDS[i])
                .wrapping_add(w[i]);
            let second = (a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22))
                .wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e) = (g, f, e, d.wrapping_add(first));
            (d, c, b, a) = (c, b, a, first.wrapping_add(second));
        }
        for (to, v) in self.h.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *to = to.wrapping_add(v);
        }
    }
}

/// [FIPS 197] 4.2.1: multiplication by x.
const fn xtime(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 == 0 { 0 } else { 0x1b })
}

const fn sbox() -> [u8; 256] {
    // Walks the field by its generator 3 and that one's inverse 0xF6.
    let mut table = [0_u8; 256];
    let (mut p, mut q) = (1_u8, 1_u8);
    loop {
        p ^= xtime(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if q & 0x80 != 0 {
            q ^= 0x09;
        }
        table[p as usize] =
            0x63 ^ q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        if p == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

const SBOX: [u8; 256] = sbox();

/// [FIPS 197] AES-128, encryption only.
pub struct Aes128 {
    round_keys: [[u8; 16]; 11],
}

impl Aes128 {
    /// Expands the key.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        let mut round_keys = [[0; 16]; 11];
        round_keys[0] = *key;
        let mut constant = 1;
        for round in 1..11 {
            let before = round_keys[round - 1];
            let mut word: [u8; 4] =
                core::array::from_fn(|i| SBOX[before[12 + (i + 1) % 4] as usize]);
            word[0] ^= constant;
            constant = xtime(constant);
            for i in 0..16 {
                let left = if i < 4 {
                    word[i]
                } else {
                    round_keys[round][i - 4]
                };
                round_keys[round][i] = before[i] ^ left;
            }
        }
        Self { round_keys }
    }

    /// Encrypts one block.
    #[must_use]
    pub fn block(&self, block: [u8; 16]) -> [u8; 16] {
        let mut s: [u8; 16] = core::array::from_fn(|i| block[i] ^ self.round_keys[0][i]);
        for round in 1..11 {
            // SubBytes and ShiftRows.
            let t: [u8; 16] = core::array::from_fn(|i| SBOX[s[(i + 4 * (i % 4)) % 16] as usize]);
            s = core::array::from_fn(|i| {
                let column = i / 4 * 4;
                let at = |row: usize| t[column + (i + row) % 4];
                let mixed = if round == 10 {
                    at(0)
                } else {
                    xtime(at(0)) ^ xtime(at(1)) ^ at(1) ^ at(2) ^ at(3)
                };
                mixed ^ self.round_keys[round][i]
            });
        }
        s
    }
}

/// Doubling in GF(2^128) as [RFC 4493] 2.3 does it for the sub-keys.
pub(crate) fn double(block: [u8; 16]) -> [u8; 16] {
    let value = u128::from_be_bytes(block);
    ((value << 1) ^ (0x87 * (value >> 127))).to_be_bytes()
}

fn bytes<'a>(message: &Message<'a>) -> impl Iterator<Item = u8> + 'a {
    message.pieces().into_iter().flatten().copied()
}

/// [RFC 4493] AES-128-CMAC.
#[must_use]
pub fn cmac(key: &[u8; 16], message: &Message<'_>) -> Tag {
    let aes = Aes128::new(key);
    let whole = double(aes.block([0; 16]));
    let mut data: Vec<u8> = bytes(message).collect();
    let last_key = if data.is_empty() || !data.len().is_multiple_of(16) {
        data.push(0x80);
        data.resize(data.len().next_multiple_of(16), 0);
        double(whole)
    } else {
        whole
    };
    let last = data.len() / 16 - 1;
    data.chunks_exact(16)
        .enumerate()
        .fold([0; 16], |chain: [u8; 16], (n, block)| {
            aes.block(core::array::from_fn(|i| {
                chain[i] ^ block[i] ^ if n == last { last_key[i] } else { 0 }
            }))
        })
}

/// [NIST SP 800-38D] 6.3: multiplication of blocks.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for i in 0..128 {
        if x >> (127 - i) & 1 == 1 {
            z ^= v;
        }
        v = (v >> 1) ^ ((0xe1 << 120) * (v & 1));
    }
    z
}

/// [NIST SP 800-38D] AES-128-GMAC with a nonce of 12 bytes.
#[must_use]
pub fn gmac(key: &[u8; 16], nonce: &[u8; 12], message: &Message<'_>) -> Tag {
    let aes = Aes128::new(key);
    let h = u128::from_be_bytes(aes.block([0; 16]));
    let mut data: Vec<u8> = bytes(message).collect();
    let bits = data.len() as u128 * 8;
    data.resize(data.len().next_multiple_of(16), 0);
    let hash = data.chunks_exact(16).fold(0, |y: u128, block| {
        multiply(
            y ^ u128::from_be_bytes(core::array::from_fn(|i| block[i])),
            h,
        )
    });
    let hash = multiply(hash ^ (bits << 64), h);
    let counter = core::array::from_fn(|i| match i {
        0..12 => nonce[i],
        15 => 1,
        _ => 0,
    });
    (u128::from_be_bytes(aes.block(counter)) ^ hash).to_be_bytes()
}
