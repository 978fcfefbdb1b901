//! HMAC-SHA256 ([RFC 2104], [FIPS 180-4]).

use aws_lc_sys::{SHA256_CTX, SHA256_Final, SHA256_TransformBlocks, SHA256_Update};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Kernel, Message, Tag, each, scalar};

/// HMAC-SHA256 with both pads of the key already hashed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HmacSha256Key {
    inner: [u32; 8],
    outer: [u32; 8],
}

/// One message of a batch.
#[derive(Clone, Copy)]
pub struct HmacJob<'a> {
    /// The key.
    pub key: &'a HmacSha256Key,
    /// The message.
    pub message: Message<'a>,
}

impl HmacSha256Key {
    /// Prepares a key of any length.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0_u8; 64];
        if key.len() > block.len() {
            let mut state = resume(scalar::SHA256_START, 0);
            update(&mut state, key);
            let mut digest = finish(&mut state);
            for (to, from) in block.iter_mut().zip(&digest) {
                *to = *from;
            }
            digest.zeroize();
        } else {
            for (to, from) in block.iter_mut().zip(key) {
                *to = *from;
            }
        }
        let pad = |byte: u8| {
            let mut padded = block;
            padded.iter_mut().for_each(|b| *b ^= byte);
            let mut state = scalar::SHA256_START;
            // SAFETY: `state` has the 8 words and `padded` the one block of 64
            // bytes the call reads and writes.
            unsafe { SHA256_TransformBlocks(state.as_mut_ptr(), padded.as_ptr(), 1) };
            padded.zeroize();
            state
        };
        let (inner, outer) = (pad(0x36), pad(0x5c));
        block.zeroize();
        Self { inner, outer }
    }

    /// The whole code of 32 bytes, as key derivation needs it.
    #[must_use]
    pub fn code(&self, message: &Message<'_>) -> [u8; 32] {
        self.code_with(Kernel::active(), message)
    }

    /// The same, by this kernel.
    #[must_use]
    pub fn code_with(&self, kernel: Kernel, message: &Message<'_>) -> [u8; 32] {
        match kernel {
            Kernel::Scalar => {
                let mut inner = scalar::Sha256::resume(self.inner, 64);
                for piece in message.pieces() {
                    inner.update(piece);
                }
                let mut outer = scalar::Sha256::resume(self.outer, 64);
                outer.update(&inner.finish());
                outer.finish()
            }
            Kernel::AwsLc | Kernel::Lanes => {
                let mut inner = resume(self.inner, 64);
                for piece in message.pieces() {
                    update(&mut inner, piece);
                }
                let mut outer = resume(self.outer, 64);
                update(&mut outer, &finish(&mut inner));
                finish(&mut outer)
            }
        }
    }

    /// The first 16 bytes of the code.
    #[must_use]
    pub fn tag(&self, message: &Message<'_>) -> Tag {
        self.tag_with(Kernel::active(), message)
    }

    /// The same, by this kernel.
    #[must_use]
    pub fn tag_with(&self, kernel: Kernel, message: &Message<'_>) -> Tag {
        let code = self.code_with(kernel, message);
        core::array::from_fn(|i| code.get(i).copied().unwrap_or_default())
    }

    /// Tags of a batch; `tags[i]` belongs to `jobs[i]`.
    pub fn batch(jobs: &[HmacJob<'_>], tags: &mut [Tag]) {
        Self::batch_with(Kernel::active(), jobs, tags);
    }

    /// The same, by this kernel.
    pub fn batch_with(kernel: Kernel, jobs: &[HmacJob<'_>], tags: &mut [Tag]) {
        each(jobs, tags, |job| job.key.tag_with(kernel, &job.message));
    }
}

/// SHA-256 that has read `length` bytes (whole blocks, fewer than 2^29).
fn resume(h: [u32; 8], length: u32) -> SHA256_CTX {
    SHA256_CTX {
        h,
        Nl: length << 3,
        Nh: 0,
        data: [0; 64],
        num: 0,
        md_len: 32,
    }
}

fn update(state: &mut SHA256_CTX, piece: &[u8]) {
    // SAFETY: the state is initialised, pointer and length are of one slice;
    // with length 0 the pointer is not read.
    unsafe { SHA256_Update(state, piece.as_ptr().cast(), piece.len()) };
}

fn finish(state: &mut SHA256_CTX) -> [u8; 32] {
    let mut digest = [0; 32];
    // SAFETY: the state is initialised and says 32 bytes, which `digest` has.
    unsafe { SHA256_Final(digest.as_mut_ptr(), state) };
    state.h.zeroize();
    state.data.zeroize();
    digest
}
