//! AES-128-GMAC ([NIST SP 800-38D] 3): the tag of AES-GCM over a message that
//! is all additional data, under a nonce of 12 bytes.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::{NonNull, null, null_mut};
use std::sync::{Mutex, PoisonError};

use aws_lc_sys::{
    EVP_CIPHER_CTX, EVP_CIPHER_CTX_ctrl, EVP_CIPHER_CTX_free, EVP_CIPHER_CTX_new,
    EVP_CTRL_AEAD_GET_TAG, EVP_EncryptFinal_ex, EVP_EncryptInit_ex, EVP_EncryptUpdate,
    EVP_aes_128_gcm,
};
use zeroize::Zeroizing;

use crate::{Kernel, Message, Tag, each, scalar};

/// Longest slice handed over at once; the foreign length is a C int.
const SLICE: usize = 1 << 30;

/// An AES-128-GMAC key, with its schedule and hash tables.
pub struct GmacKey {
    raw: Zeroizing<[u8; 16]>,
    context: Mutex<Context>,
}

/// One message of a batch.
#[derive(Clone, Copy)]
pub struct GmacJob<'a> {
    /// The key.
    pub key: &'a GmacKey,
    /// The nonce; two different messages never share one.
    pub nonce: [u8; 12],
    /// The message.
    pub message: Message<'a>,
}

impl GmacKey {
    /// Prepares a key.
    #[must_use]
    pub fn new(key: &[u8; 16]) -> Self {
        Self {
            raw: Zeroizing::new(*key),
            context: Mutex::new(Context::new(key)),
        }
    }

    /// GMAC(key, nonce, message).
    #[must_use]
    pub fn tag(&self, nonce: &[u8; 12], message: &Message<'_>) -> Tag {
        self.tag_with(Kernel::active(), nonce, message)
    }

    /// The same, by this kernel.
    #[must_use]
    pub fn tag_with(&self, kernel: Kernel, nonce: &[u8; 12], message: &Message<'_>) -> Tag {
        let fast = match kernel {
            Kernel::Scalar => None,
            Kernel::AwsLc | Kernel::Lanes => self
                .context
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .tag(nonce, message),
        };
        // A context that could not be set up is no reason for a wrong tag.
        fast.unwrap_or_else(|| scalar::gmac(&self.raw, nonce, message))
    }

    /// Tags of a batch; `tags[i]` belongs to `jobs[i]`.
    pub fn batch(jobs: &[GmacJob<'_>], tags: &mut [Tag]) {
        Self::batch_with(Kernel::active(), jobs, tags);
    }

    /// The same, by this kernel.
    pub fn batch_with(kernel: Kernel, jobs: &[GmacJob<'_>], tags: &mut [Tag]) {
        each(jobs, tags, |job| {
            job.key.tag_with(kernel, &job.nonce, &job.message)
        });
    }
}

struct Context {
    context: NonNull<EVP_CIPHER_CTX>,
    ready: bool,
}

// SAFETY: the context is a heap object without thread affinity that only this
// value points to.
unsafe impl Send for Context {}

impl Context {
    fn new(key: &[u8; 16]) -> Self {
        // SAFETY: no arguments; the result is null or a fresh context.
        let Some(context) = NonNull::new(unsafe { EVP_CIPHER_CTX_new() }) else {
            handle_alloc_error(Layout::new::<EVP_CIPHER_CTX>());
        };
        // SAFETY: the context is valid, the cipher is a static, `key` has the 16
        // bytes this cipher reads, and no nonce is given yet.
        let ready = unsafe {
            EVP_EncryptInit_ex(
                context.as_ptr(),
                EVP_aes_128_gcm(),
                null_mut(),
                key.as_ptr(),
                null(),
            )
        } == 1;
        Self { context, ready }
    }

    fn tag(&mut self, nonce: &[u8; 12], message: &Message<'_>) -> Option<Tag> {
        let context = self.context.as_ptr();
        let mut length = 0;
        let mut tag: Tag = [0; 16];
        if !self.ready {
            return None;
        }
        // SAFETY: the context is valid and keyed; a 12-byte nonce is this
        // cipher's default length, so that many bytes are read.
        let mut good =
            unsafe { EVP_EncryptInit_ex(context, null(), null_mut(), null(), nonce.as_ptr()) } == 1;
        for piece in message.pieces() {
            for slice in piece.chunks(SLICE) {
                let size = i32::try_from(slice.len()).ok()?;
                // SAFETY: a null output means additional data: pointer and
                // length of one slice are read, `length` is written.
                good &= unsafe {
                    EVP_EncryptUpdate(context, null_mut(), &raw mut length, slice.as_ptr(), size)
                } == 1;
            }
        }
        // SAFETY: there is no plaintext, so nothing is written to `tag` here; it
        // is as large as the block the call may write. Then it has the 16 bytes
        // asked for.
        good &= unsafe {
            EVP_EncryptFinal_ex(context, tag.as_mut_ptr(), &raw mut length) == 1
                && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag.as_mut_ptr().cast())
                    == 1
        };
        good.then_some(tag)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context came from EVP_CIPHER_CTX_new and is freed once;
        // freeing wipes the key.
        unsafe { EVP_CIPHER_CTX_free(self.context.as_ptr()) };
    }
}
