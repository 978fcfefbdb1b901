//! The AES block cipher with a prepared key, and CBC-MAC over whole blocks.

use core::mem::MaybeUninit;

use aws_lc_sys::{AES_KEY, AES_cbc_encrypt, AES_ctr128_encrypt, AES_encrypt, AES_set_encrypt_key};
use zeroize::Zeroize;

/// Bytes of the scratch the chained blocks are written to.
const SCRATCH: usize = 1024;

/// A prepared AES-128 or AES-256 key.
pub(crate) struct Aes {
    schedule: AES_KEY,
}

impl Aes {
    pub(crate) fn new_128(key: &[u8; 16]) -> Self {
        Self::new(key)
    }

    pub(crate) fn new_256(key: &[u8; 32]) -> Self {
        Self::new(key)
    }

    fn new<const N: usize>(key: &[u8; N]) -> Self {
        let bits = const {
            assert!(N == 16 || N == 32);
            if N == 16 { 128 } else { 256 }
        };
        let mut schedule = AES_KEY {
            rd_key: [0; 60],
            rounds: 0,
        };
        // SAFETY: `key` has `bits` / 8 bytes and the schedule is valid for
        // writes; with 128 or 256 bits the call cannot fail.
        unsafe { AES_set_encrypt_key(key.as_ptr(), bits, &raw mut schedule) };
        Self { schedule }
    }

    /// Encrypts one block.
    pub(crate) fn block(&self, block: &mut [u8; 16]) {
        // SAFETY: the schedule is prepared; input and output are the same 16
        // bytes, which the call allows.
        unsafe { AES_encrypt(block.as_ptr(), block.as_mut_ptr(), &raw const self.schedule) };
    }

    /// CBC-MAC: chains the whole blocks of `data` into `chain`. What is left
    /// after the last whole block is not read.
    pub(crate) fn chain(&self, chain: &mut [u8; 16], data: &[u8]) {
        let mut scratch = [MaybeUninit::<u8>::uninit(); SCRATCH];
        let (blocks, _) = data.as_chunks::<16>();
        for part in blocks.chunks(SCRATCH / 16) {
            let bytes = part.as_flattened();
            // SAFETY: `bytes` is a whole number of blocks, not longer than the
            // scratch it is written to; the scratch is not read; `chain` has the
            // 16 bytes that are read and replaced; the schedule is prepared.
            unsafe {
                AES_cbc_encrypt(
                    bytes.as_ptr(),
                    scratch.as_mut_ptr().cast(),
                    bytes.len(),
                    &raw const self.schedule,
                    chain.as_mut_ptr(),
                    1,
                );
            }
        }
        let used = data.len().min(SCRATCH);
        for byte in scratch.iter_mut().take(used) {
            byte.write(0);
        }
        core::hint::black_box(&mut scratch);
    }

    /// Counter mode in place, from the counter block `counter` on.
    pub(crate) fn counter_mode(&self, mut counter: [u8; 16], data: &mut [u8]) {
        let mut keystream = [0_u8; 16];
        let mut used = 0;
        // SAFETY: input and output are the same slice, which the call allows;
        // counter and keystream have 16 bytes each; the schedule is prepared.
        unsafe {
            AES_ctr128_encrypt(
                data.as_ptr(),
                data.as_mut_ptr(),
                data.len(),
                &raw const self.schedule,
                counter.as_mut_ptr(),
                keystream.as_mut_ptr(),
                &raw mut used,
            );
        }
        keystream.zeroize();
    }
}

impl Drop for Aes {
    fn drop(&mut self) {
        self.schedule.rd_key.zeroize();
    }
}
