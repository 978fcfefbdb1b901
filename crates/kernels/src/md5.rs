//! MD5 of a key followed by a message (the prefix MAC of SMB1, not HMAC).

use core::mem::MaybeUninit;

use aws_lc_sys::{MD5_CTX, MD5_Final, MD5_Init, MD5_Update};
use zeroize::Zeroize;

use crate::{Kernel, Message, Tag, each, scalar};

/// Messages from which on lanes are faster than one at a time.
#[cfg(target_arch = "x86_64")]
const LANES_PAY: usize = 3;

/// MD5 that has already read the key.
#[derive(Clone)]
pub struct Md5Key {
    pub(crate) state: MD5_CTX,
}

/// One message of a batch.
#[derive(Clone, Copy)]
pub struct Md5Job<'a> {
    /// The key.
    pub key: &'a Md5Key,
    /// The message.
    pub message: Message<'a>,
}

impl Md5Key {
    /// Reads the key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut state = MaybeUninit::<MD5_CTX>::uninit();
        // SAFETY: MD5_Init writes the whole state through a valid pointer and
        // cannot fail, so the state is initialised after it.
        let mut state = unsafe {
            MD5_Init(state.as_mut_ptr());
            state.assume_init()
        };
        update(&mut state, key);
        Self { state }
    }

    /// MD5(key || message).
    #[must_use]
    pub fn tag(&self, message: &Message<'_>) -> Tag {
        self.tag_with(Kernel::active(), message)
    }

    /// The same, by this kernel.
    #[must_use]
    pub fn tag_with(&self, kernel: Kernel, message: &Message<'_>) -> Tag {
        match kernel {
            Kernel::Scalar => {
                let mut md5 = scalar::Md5::resume(
                    self.state.h,
                    (u64::from(self.state.Nh) << 32 | u64::from(self.state.Nl)) / 8,
                    &self.state.data,
                );
                for piece in message.pieces() {
                    md5.update(piece);
                }
                md5.finish()
            }
            Kernel::AwsLc | Kernel::Lanes => {
                let mut state = self.state;
                for piece in message.pieces() {
                    update(&mut state, piece);
                }
                let mut tag = [0; 16];
                // SAFETY: the state is initialised and `tag` has the 16 bytes
                // MD5_Final writes.
                unsafe { MD5_Final(tag.as_mut_ptr(), &raw mut state) };
                wipe(&mut state);
                tag
            }
        }
    }

    /// Tags of a batch; `tags[i]` belongs to `jobs[i]`.
    pub fn batch(jobs: &[Md5Job<'_>], tags: &mut [Tag]) {
        Self::batch_with(Kernel::active(), jobs, tags);
    }

    /// The same, by this kernel.
    pub fn batch_with(kernel: Kernel, jobs: &[Md5Job<'_>], tags: &mut [Tag]) {
        #[cfg(target_arch = "x86_64")]
        if kernel == Kernel::Lanes && jobs.len() >= LANES_PAY && crate::simd::available() {
            for place in crate::simd::md5_batch(jobs, tags) {
                if let (Some(job), Some(tag)) = (jobs.get(place), tags.get_mut(place)) {
                    *tag = job.key.tag_with(kernel, &job.message);
                }
            }
            return;
        }
        each(jobs, tags, |job| job.key.tag_with(kernel, &job.message));
    }
}

fn update(state: &mut MD5_CTX, piece: &[u8]) {
    // SAFETY: the state is initialised, pointer and length are of one slice;
    // with length 0 the pointer is not read.
    unsafe { MD5_Update(state, piece.as_ptr().cast(), piece.len()) };
}

fn wipe(state: &mut MD5_CTX) {
    state.h.zeroize();
    state.data.zeroize();
}

impl Drop for Md5Key {
    fn drop(&mut self) {
        wipe(&mut self.state);
    }
}
