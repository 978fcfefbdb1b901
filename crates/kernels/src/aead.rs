//! AES-GCM ([NIST SP 800-38D], nonce of 12 bytes) and AES-CCM
//! ([NIST SP 800-38C], nonce of 11 bytes), tags of 16 bytes, in place.

use std::ptr::{NonNull, null};

use aws_lc_sys::{
    ERR_clear_error, EVP_AEAD_CTX, EVP_AEAD_CTX_free, EVP_AEAD_CTX_new, EVP_AEAD_CTX_open_gather,
    EVP_AEAD_CTX_seal_scatter, EVP_aead_aes_128_gcm, EVP_aead_aes_256_gcm,
};
use zeroize::Zeroize;

use crate::Tag;
use crate::aes::Aes;

/// Longest additional data AES-CCM takes here.
const CCM_MAX_AAD: usize = 0xFEFF;

/// Which authenticated encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AeadAlgorithm {
    /// AES-CCM, nonce of 11 bytes.
    Ccm,
    /// AES-GCM, nonce of 12 bytes.
    Gcm,
}

/// Why nothing was sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AeadError {
    /// The tag is not the one of this data. The buffer has been wiped.
    BadTag,
    /// The nonce has another length than the algorithm asks for.
    NonceLength,
    /// The key has neither 16 nor 32 bytes.
    KeyLength,
    /// More data than the algorithm takes.
    TooLong,
    /// The library could not do it.
    Failed,
}

/// A prepared key.
pub struct AeadKey {
    inner: Inner,
}

enum Inner {
    Gcm(Gcm),
    Ccm(Box<Aes>),
}

impl AeadKey {
    /// Prepares a key of 16 or 32 bytes.
    ///
    /// # Errors
    /// [`AeadError::KeyLength`].
    pub fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, AeadError> {
        let inner = match algorithm {
            AeadAlgorithm::Gcm => Inner::Gcm(Gcm::new(key)?),
            AeadAlgorithm::Ccm => Inner::Ccm(Box::new(match key.len() {
                16 => Aes::new_128(key.try_into().map_err(|_| AeadError::KeyLength)?),
                32 => Aes::new_256(key.try_into().map_err(|_| AeadError::KeyLength)?),
                _ => return Err(AeadError::KeyLength),
            })),
        };
        Ok(Self { inner })
    }

    /// Encrypts in place and gives the tag.
    ///
    /// # Errors
    /// Wrong nonce length, or more data than the algorithm takes.
    pub fn seal(&self, nonce: &[u8], aad: &[u8], data: &mut [u8]) -> Result<Tag, AeadError> {
        match &self.inner {
            Inner::Gcm(gcm) => gcm.seal(nonce, aad, data),
            Inner::Ccm(aes) => {
                let nonce = nonce.try_into().map_err(|_| AeadError::NonceLength)?;
                let mut tag = ccm_tag(aes, nonce, aad, data)?;
                aes.counter_mode(ccm_block(3, nonce, 1), data);
                aes.counter_mode(ccm_block(3, nonce, 0), &mut tag);
                Ok(tag)
            }
        }
    }

    /// Verifies and decrypts in place. After a failure the buffer holds no
    /// plaintext.
    ///
    /// # Errors
    /// [`AeadError::BadTag`], or a wrong nonce length.
    pub fn open(
        &self,
        nonce: &[u8],
        aad: &[u8],
        data: &mut [u8],
        tag: &Tag,
    ) -> Result<(), AeadError> {
        let opened = match &self.inner {
            Inner::Gcm(gcm) => gcm.open(nonce, aad, data, tag),
            Inner::Ccm(aes) => {
                let nonce = nonce.try_into().map_err(|_| AeadError::NonceLength)?;
                aes.counter_mode(ccm_block(3, nonce, 1), data);
                ccm_tag(aes, nonce, aad, data).and_then(|mut computed| {
                    aes.counter_mode(ccm_block(3, nonce, 0), &mut computed);
                    let difference = computed
                        .iter()
                        .zip(tag)
                        .fold(0, |sum, (a, b)| sum | (a ^ b));
                    if core::hint::black_box(difference) == 0 {
                        Ok(())
                    } else {
                        Err(AeadError::BadTag)
                    }
                })
            }
        };
        if opened.is_err() {
            data.zeroize();
        }
        opened
    }
}

/// [NIST SP 800-38C] A.2 and A.3: a block of flags, nonce and a 4-byte number.
fn ccm_block(flags: u8, nonce: &[u8; 11], number: u32) -> [u8; 16] {
    let mut block = [0; 16];
    let bytes = [flags]
        .into_iter()
        .chain(*nonce)
        .chain(number.to_be_bytes());
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = from;
    }
    block
}

/// The CBC-MAC of AES-CCM before it is encrypted.
fn ccm_tag(aes: &Aes, nonce: &[u8; 11], aad: &[u8], data: &[u8]) -> Result<Tag, AeadError> {
    let length = u32::try_from(data.len()).map_err(|_| AeadError::TooLong)?;
    let aad_length = u16::try_from(aad.len()).map_err(|_| AeadError::TooLong)?;
    if aad.len() > CCM_MAX_AAD {
        return Err(AeadError::TooLong);
    }
    // Flags: additional data present, (16 - 2) / 2 << 3, lengths of 4 bytes.
    let flags = u8::from(!aad.is_empty()) << 6 | 7 << 3 | 3;
    let mut chain = ccm_block(flags, nonce, length);
    aes.block(&mut chain);
    if !aad.is_empty() {
        let mut first = [0_u8; 16];
        let (now, later) = aad.split_at(aad.len().min(14));
        for (to, from) in first
            .iter_mut()
            .zip(aad_length.to_be_bytes().iter().chain(now))
        {
            *to = *from;
        }
        aes.chain(&mut chain, &first);
        chain_padded(aes, &mut chain, later);
    }
    chain_padded(aes, &mut chain, data);
    Ok(chain)
}

fn chain_padded(aes: &Aes, chain: &mut [u8; 16], data: &[u8]) {
    aes.chain(chain, data);
    let (_, rest) = data.as_chunks::<16>();
    if !rest.is_empty() {
        let mut last = [0_u8; 16];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        aes.chain(chain, &last);
        last.zeroize();
    }
}

struct Gcm {
    context: NonNull<EVP_AEAD_CTX>,
}

// SAFETY: the context is a heap object without thread affinity.
unsafe impl Send for Gcm {}
// SAFETY: sealing and opening read the context through a const pointer; AWS-LC
// allows that from several threads at once.
unsafe impl Sync for Gcm {}

impl Gcm {
    fn new(key: &[u8]) -> Result<Self, AeadError> {
        let aead = match key.len() {
            // SAFETY: no arguments; the result points to a static.
            16 => unsafe { EVP_aead_aes_128_gcm() },
            // SAFETY: as above.
            32 => unsafe { EVP_aead_aes_256_gcm() },
            _ => return Err(AeadError::KeyLength),
        };
        // SAFETY: the algorithm is a static and pointer and length are of one
        // slice; the result is null or a fresh context.
        let context = unsafe { EVP_AEAD_CTX_new(aead, key.as_ptr(), key.len(), 16) };
        NonNull::new(context)
            .map(|context| Self { context })
            .ok_or(AeadError::Failed)
    }

    fn seal(&self, nonce: &[u8], aad: &[u8], data: &mut [u8]) -> Result<Tag, AeadError> {
        if nonce.len() != 12 {
            return Err(AeadError::NonceLength);
        }
        let mut tag = [0; 16];
        let mut length = 0;
        // SAFETY: the context is prepared; every pointer goes with the length
        // of its own slice; input and output are the same bytes, which the call
        // allows; `tag` has the 16 bytes it may write.
        let good = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                self.context.as_ptr(),
                data.as_mut_ptr(),
                tag.as_mut_ptr(),
                &raw mut length,
                tag.len(),
                nonce.as_ptr(),
                nonce.len(),
                data.as_ptr(),
                data.len(),
                null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        if good == 1 && length == tag.len() {
            Ok(tag)
        } else {
            Err(AeadError::Failed)
        }
    }

    fn open(&self, nonce: &[u8], aad: &[u8], data: &mut [u8], tag: &Tag) -> Result<(), AeadError> {
        if nonce.len() != 12 {
            return Err(AeadError::NonceLength);
        }
        // SAFETY: as in `seal`; the tag is only read.
        let good = unsafe {
            EVP_AEAD_CTX_open_gather(
                self.context.as_ptr(),
                data.as_mut_ptr(),
                nonce.as_ptr(),
                nonce.len(),
                data.as_ptr(),
                data.len(),
                tag.as_ptr(),
                tag.len(),
                aad.as_ptr(),
                aad.len(),
            )
        };
        if good == 1 {
            return Ok(());
        }
        // SAFETY: it empties this thread's queue of errors, which nobody reads.
        unsafe { ERR_clear_error() };
        Err(AeadError::BadTag)
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        // SAFETY: the context came from EVP_AEAD_CTX_new and is freed once;
        // freeing wipes the key.
        unsafe { EVP_AEAD_CTX_free(self.context.as_ptr()) };
    }
}
