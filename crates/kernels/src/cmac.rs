//! AES-128-CMAC ([RFC 4493]).

use zeroize::{Zeroize, Zeroizing};

use crate::aes::Aes;
use crate::{Kernel, Message, Tag, each, scalar};

/// Messages from which on lanes are faster than one at a time.
#[cfg(target_arch = "x86_64")]
const LANES_PAY: usize = 2;

/// An AES-128-CMAC key, with its schedule and sub-keys.
pub struct CmacKey {
    raw: Zeroizing<[u8; 16]>,
    aes: Aes,
    pub(crate) whole: [u8; 16],
    pub(crate) padded: [u8; 16],
    /// Where the machine has AES-NI.
    #[cfg(target_arch = "x86_64")]
    pub(crate) schedule: Option<crate::simd::Schedule>,
}

/// One message of a batch.
#[derive(Clone, Copy)]
pub struct CmacJob<'a> {
    /// The key.
    pub key: &'a CmacKey,
    /// The message.
    pub message: Message<'a>,
}

impl CmacKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        let aes = Aes::new_128(key);
        let mut block = [0; 16];
        aes.block(&mut block);
        let whole = scalar::double(block);
        let padded = scalar::double(whole);
        block.zeroize();
        Self {
            raw: Zeroizing::new(*key),
            aes,
            whole,
            padded,
            #[cfg(target_arch = "x86_64")]
            schedule: crate::simd::available().then(|| crate::simd::Schedule::new(key)),
        }
    }

    /// CMAC(key, message).
    #[must_use]
    pub fn tag(&self, message: &Message<'_>) -> Tag {
        self.tag_with(Kernel::active(), message)
    }

    /// The same, by this kernel.
    #[must_use]
    pub fn tag_with(&self, kernel: Kernel, message: &Message<'_>) -> Tag {
        match kernel {
            Kernel::Scalar => scalar::cmac(&self.raw, message),
            Kernel::AwsLc | Kernel::Lanes => self.chained(message),
        }
    }

    /// Tags of a batch; `tags[i]` belongs to `jobs[i]`.
    pub fn batch(jobs: &[CmacJob<'_>], tags: &mut [Tag]) {
        Self::batch_with(Kernel::active(), jobs, tags);
    }

    /// The same, by this kernel.
    pub fn batch_with(kernel: Kernel, jobs: &[CmacJob<'_>], tags: &mut [Tag]) {
        #[cfg(target_arch = "x86_64")]
        if kernel == Kernel::Lanes && jobs.len() >= LANES_PAY {
            for place in crate::simd::cmac_batch(jobs, tags) {
                if let (Some(job), Some(tag)) = (jobs.get(place), tags.get_mut(place)) {
                    *tag = job.key.tag_with(kernel, &job.message);
                }
            }
            return;
        }
        each(jobs, tags, |job| job.key.tag_with(kernel, &job.message));
    }

    /// Whole blocks are chained where they lie; a block that spans two pieces,
    /// and always the last one, goes through `held`.
    fn chained(&self, message: &Message<'_>) -> Tag {
        let mut chain = [0_u8; 16];
        let mut held = [0_u8; 16];
        let mut filled = 0_usize;
        for piece in message.pieces() {
            let mut rest = piece;
            // Anything that follows a full held block proves it is not the last.
            while !rest.is_empty() && (filled > 0 || rest.len() <= 16) {
                if filled == 16 {
                    self.aes.chain(&mut chain, &held);
                    filled = 0;
                    continue;
                }
                let take = rest.len().min(16 - filled);
                let (now, later) = rest.split_at(take);
                for (to, from) in held.iter_mut().skip(filled).zip(now) {
                    *to = *from;
                }
                filled += take;
                rest = later;
            }
            if !rest.is_empty() {
                // Nothing is held and more than one block is here: keep back at
                // least one byte, as the last block is treated differently.
                let whole = (rest.len() - 1) / 16 * 16;
                let (now, later) = rest.split_at(whole);
                self.aes.chain(&mut chain, now);
                for (to, from) in held.iter_mut().zip(later) {
                    *to = *from;
                }
                filled = later.len();
            }
        }
        let key = if filled == 16 {
            &self.whole
        } else {
            &self.padded
        };
        for (i, byte) in held.iter_mut().enumerate().skip(filled) {
            *byte = if i == filled { 0x80 } else { 0 };
        }
        for ((to, held), key) in chain.iter_mut().zip(&held).zip(key) {
            *to ^= held ^ key;
        }
        self.aes.block(&mut chain);
        chain
    }
}

impl Drop for CmacKey {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.padded.zeroize();
    }
}
