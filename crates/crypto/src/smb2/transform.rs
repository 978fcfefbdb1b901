//! [MS-SMB2] 2.2.41 SMB2 TRANSFORM_HEADER, 3.1.4.3 Encrypting the Message,
//! 3.1.5.2 (3.2.5.1.1, 3.3.5.2.1) decrypting it.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign_kernels::{AeadAlgorithm, AeadKey};

use super::CipherKey;
use crate::Cipher;

/// Bytes of the header before the encrypted message.
pub const TRANSFORM_HEADER: usize = 52;
/// ProtocolId.
const PROTOCOL: [u8; 4] = [0xFD, b'S', b'M', b'B'];
/// Flags of 3.1.1 (Encrypted), and EncryptionAlgorithm of 3.0 (AES-128-CCM).
const FLAGS: u16 = 1;

/// Why a message was not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no room for the header, or more than the size field can say.
    #[error("the message has a length that cannot be encrypted")]
    Length,
    /// The cipher refused.
    #[error("the cipher failed")]
    Cipher,
    /// Every nonce of the key has been used.
    #[error("every nonce of the key has been used")]
    Exhausted,
}

/// Why a message was not decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a transform header, or OriginalMessageSize is not what follows it.
    #[error("the transform header is malformed")]
    Malformed,
    /// The signature is not the one of this message and key.
    #[error("the encrypted message does not authenticate")]
    BadTag,
}

/// The key of one cipher has another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key has a length the cipher does not take")]
pub struct WrongKeyLength;

/// A key for one direction of a session, prepared for its cipher.
pub struct TransformKey {
    cipher: Cipher,
    key: AeadKey,
}

impl TransformKey {
    /// Prepares a derived key.
    ///
    /// # Errors
    /// The key was derived for a cipher with another key length.
    pub fn new(cipher: Cipher, key: &CipherKey) -> Result<Self, WrongKeyLength> {
        Self::from_bytes(cipher, key.as_bytes())
    }

    /// Prepares a key given as bytes.
    ///
    /// # Errors
    /// The key has not [`Cipher::key_length`].
    pub fn from_bytes(cipher: Cipher, key: &[u8]) -> Result<Self, WrongKeyLength> {
        if key.len() != cipher.key_length() {
            return Err(WrongKeyLength);
        }
        let algorithm = match cipher {
            Cipher::Aes128Ccm | Cipher::Aes256Ccm => AeadAlgorithm::Ccm,
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => AeadAlgorithm::Gcm,
        };
        Ok(Self {
            cipher,
            key: AeadKey::new(algorithm, key).map_err(|_| WrongKeyLength)?,
        })
    }

    /// The cipher the key is for.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Encrypts what follows the first [`TRANSFORM_HEADER`] bytes of `buffer`
    /// in place and writes the header there. No two messages of a key may have
    /// the same `nonce`; [`NonceCounter`] counts them.
    ///
    /// # Errors
    /// Nothing is encrypted and the buffer must not be sent.
    pub fn seal_in_place(
        &self,
        buffer: &mut [u8],
        session_id: u64,
        nonce: u64,
    ) -> Result<(), SealError> {
        let (header, data) = buffer
            .split_first_chunk_mut::<TRANSFORM_HEADER>()
            .ok_or(SealError::Length)?;
        let size = u32::try_from(data.len()).map_err(|_| SealError::Length)?;
        let fields = PROTOCOL
            .into_iter()
            .chain([0; 16])
            .chain(nonce.to_le_bytes())
            .chain([0; 8])
            .chain(size.to_le_bytes())
            .chain([0; 2])
            .chain(FLAGS.to_le_bytes())
            .chain(session_id.to_le_bytes());
        for (to, from) in header.iter_mut().zip(fields) {
            *to = from;
        }
        let (signature, aad) = split(header).ok_or(SealError::Length)?;
        let nonce = aad
            .get(..self.cipher.nonce_length())
            .ok_or(SealError::Cipher)?;
        *signature = self
            .key
            .seal(nonce, aad, data)
            .map_err(|_| SealError::Cipher)?;
        Ok(())
    }

    /// Verifies and decrypts `message`, which begins with its transform header,
    /// in place, and gives the plaintext. After a failure no plaintext is left.
    ///
    /// The session of the header is the caller's matter: it chose the key by it.
    ///
    /// # Errors
    /// The header is malformed or the message does not authenticate.
    pub fn open_in_place<'a>(&self, message: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let (header, data) = message
            .split_first_chunk_mut::<TRANSFORM_HEADER>()
            .ok_or(OpenError::Malformed)?;
        if !header.starts_with(&PROTOCOL) {
            return Err(OpenError::Malformed);
        }
        let (signature, aad) = split(header).ok_or(OpenError::Malformed)?;
        let size = aad
            .get(16..20)
            .and_then(|size| size.try_into().ok())
            .map(u32::from_le_bytes);
        if size.map(usize::try_from) != Some(Ok(data.len())) {
            return Err(OpenError::Malformed);
        }
        let nonce = aad
            .get(..self.cipher.nonce_length())
            .ok_or(OpenError::Malformed)?;
        self.key
            .open(nonce, aad, data, signature)
            .map_err(|_| OpenError::BadTag)?;
        Ok(data)
    }
}

impl core::fmt::Debug for TransformKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "TransformKey({:?})", self.cipher)
    }
}

/// The header's Signature, and what is authenticated of it: from Nonce on.
fn split(header: &mut [u8; TRANSFORM_HEADER]) -> Option<(&mut [u8; 16], &[u8])> {
    let (_, rest) = header.split_at_mut(PROTOCOL.len());
    let (signature, aad) = rest.split_first_chunk_mut::<16>()?;
    Some((signature, aad))
}

/// Counts the nonces of one key. All channels of a session share it.
#[derive(Debug, Default)]
pub struct NonceCounter(AtomicU64);

impl NonceCounter {
    /// A counter for a new key.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A nonce that was never given before.
    ///
    /// # Errors
    /// [`SealError::Exhausted`]; the session must end.
    pub fn next(&self) -> Result<u64, SealError> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                last.checked_add(1)
            })
            .map_err(|_| SealError::Exhausted)
    }
}
