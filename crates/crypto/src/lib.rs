//! SMB signing, key derivation, encryption and pre-authentication integrity.
//!
//! Per dialect, over the kernels' primitives; nothing here knows sessions or
//! configuration. Keys are prepared once and used for many messages, have no
//! Debug of their contents, are wiped when dropped, and are never zeros for
//! want of a key: what could not be derived is an error.
#![forbid(unsafe_code)]

pub mod smb1;
pub mod smb2;

use zeroize::Zeroizing;

/// [MS-SMB2] 2.2.3.1.7 SigningAlgorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum SigningAlgorithm {
    /// HMAC-SHA256.
    HmacSha256 = 0,
    /// AES-128-CMAC.
    AesCmac = 1,
    /// AES-128-GMAC.
    AesGmac = 2,
}

impl SigningAlgorithm {
    /// The algorithm with this identifier.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        [Self::HmacSha256, Self::AesCmac, Self::AesGmac]
            .into_iter()
            .find(|a| a.id() == id)
    }

    /// The identifier on the wire.
    #[must_use]
    pub fn id(self) -> u16 {
        self as u16
    }

    /// [MS-SMB2] 3.1.4.1: what a dialect uses unless 3.1.1 negotiates another.
    #[must_use]
    pub fn of_dialect(dialect: u16) -> Self {
        if dialect < 0x0300 {
            Self::HmacSha256
        } else {
            Self::AesCmac
        }
    }
}

/// [MS-SMB2] 2.2.3.1.2 Ciphers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Cipher {
    /// AES-128-CCM.
    Aes128Ccm = 1,
    /// AES-128-GCM.
    Aes128Gcm = 2,
    /// AES-256-CCM.
    Aes256Ccm = 3,
    /// AES-256-GCM.
    Aes256Gcm = 4,
}

impl Cipher {
    /// The cipher with this identifier.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        [
            Self::Aes128Ccm,
            Self::Aes128Gcm,
            Self::Aes256Ccm,
            Self::Aes256Gcm,
        ]
        .into_iter()
        .find(|c| c.id() == id)
    }

    /// The identifier on the wire.
    #[must_use]
    pub fn id(self) -> u16 {
        self as u16
    }

    /// Bytes of a key.
    #[must_use]
    pub fn key_length(self) -> usize {
        match self {
            Self::Aes128Ccm | Self::Aes128Gcm => 16,
            Self::Aes256Ccm | Self::Aes256Gcm => 32,
        }
    }

    /// Bytes of the nonce; the rest of the field of 16 is zero.
    #[must_use]
    pub fn nonce_length(self) -> usize {
        match self {
            Self::Aes128Ccm | Self::Aes256Ccm => 11,
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
        }
    }
}

/// A signature is not the one of this message and key, or there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not the one of this message")]
pub struct BadSignature;

/// The whole key an authentication exchange produced, S in key derivation.
///
/// Never empty; wiped when dropped; Debug shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey(Zeroizing<Vec<u8>>);

impl SessionKey {
    /// Takes the key over; `None` if there is none.
    #[must_use]
    pub fn new(key: Vec<u8>) -> Option<Self> {
        (!key.is_empty()).then(|| Self(Zeroizing::new(key)))
    }

    /// The bytes, as long as the mechanism made them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// [MS-SMB2] 3.2.1.3 Session.SessionKey: the first 16 bytes, filled up with
    /// zeros at the end.
    #[must_use]
    pub fn first_16(&self) -> Zeroizing<[u8; 16]> {
        first_16(&self.0)
    }
}

impl core::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SessionKey({} bytes)", self.0.len())
    }
}

fn first_16(key: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut first = Zeroizing::new([0; 16]);
    for (to, from) in first.iter_mut().zip(key) {
        *to = *from;
    }
    first
}

/// Compares in a time that does not depend on the contents.
fn equal(computed: &[u8], received: &[u8]) -> Result<(), BadSignature> {
    use subtle::ConstantTimeEq;
    if bool::from(computed.ct_eq(received)) {
        Ok(())
    } else {
        Err(BadSignature)
    }
}
