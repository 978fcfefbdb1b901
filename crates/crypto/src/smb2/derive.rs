//! [MS-SMB2] 3.1.4.2 Generating Cryptographic Keys.

use countersign_kernels::{HmacSha256Key, Message};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{Cipher, first_16};

/// The first dialect that derives keys.
const SMB_300: u16 = 0x0300;
/// The first dialect whose context is the pre-authentication hash.
const SMB_311: u16 = 0x0311;

/// Why there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// The authentication exchange gave no session key.
    #[error("there is no session key")]
    NoSessionKey,
    /// 3.1.1 needs the pre-authentication hash.
    #[error("there is no pre-authentication hash")]
    NoPreauthHash,
}

/// A key of 16 or 32 bytes for [`TransformKey`](super::TransformKey).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CipherKey {
    bytes: [u8; 32],
    length: usize,
}

impl CipherKey {
    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl core::fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "CipherKey({} bytes)", self.length)
    }
}

/// The keys of a session, or of one channel of it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKeys {
    /// Session.SigningKey or Channel.SigningKey.
    pub signing_key: [u8; 16],
    /// What the client encrypts with and the server decrypts with.
    pub client_to_server: Option<CipherKey>,
    /// What the server encrypts with and the client decrypts with.
    pub server_to_client: Option<CipherKey>,
    /// Session.ApplicationKey, given to higher layers.
    pub application: [u8; 16],
}

impl core::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKeys")
    }
}

impl SessionKeys {
    /// Derives all keys from the whole session key of the exchange.
    ///
    /// `preauth` is needed by 3.1.1 only. Without a cipher there are no cipher
    /// keys; the dialects below 3.0 never have any.
    ///
    /// # Errors
    /// Something to derive from is missing.
    pub fn derive(
        dialect: u16,
        session_key: &[u8],
        preauth: Option<&[u8; 64]>,
        cipher: Option<Cipher>,
    ) -> Result<Self, DeriveError> {
        if session_key.is_empty() {
            return Err(DeriveError::NoSessionKey);
        }
        let short = first_16(session_key);
        if dialect < SMB_300 {
            return Ok(Self {
                signing_key: *short,
                client_to_server: None,
                server_to_client: None,
                application: *short,
            });
        }
        // Label and context, each with the zero byte that belongs to it.
        let names: [(&[u8], &[u8]); 4] = if dialect < SMB_311 {
            [
                (b"SMB2AESCMAC\0", b"SmbSign\0"),
                (b"SMB2AESCCM\0", b"ServerIn \0"),
                (b"SMB2AESCCM\0", b"ServerOut\0"),
                (b"SMB2APP\0", b"SmbRpc\0"),
            ]
        } else {
            let context = preauth.ok_or(DeriveError::NoPreauthHash)?;
            [
                (b"SMBSigningKey\0", context),
                (b"SMBC2SCipherKey\0", context),
                (b"SMBS2CCipherKey\0", context),
                (b"SMBAppKey\0", context),
            ]
        };
        let [signing, c2s, s2c, application] = names;
        let kdf = HmacSha256Key::new(&*short);
        let short_key = |(label, context)| {
            let long = derive(&kdf, label, context, 128);
            *first_16(&*long)
        };
        let cipher_key = |(label, context)| {
            let cipher = cipher?;
            Some(if cipher.key_length() == 32 {
                // The AES-256 ciphers derive from the whole session key.
                let kdf = HmacSha256Key::new(session_key);
                CipherKey {
                    bytes: *derive(&kdf, label, context, 256),
                    length: 32,
                }
            } else {
                let mut bytes = [0; 32];
                for (to, from) in bytes.iter_mut().zip(short_key((label, context))) {
                    *to = from;
                }
                CipherKey { bytes, length: 16 }
            })
        };
        Ok(Self {
            signing_key: short_key(signing),
            client_to_server: cipher_key(c2s),
            server_to_client: cipher_key(s2c),
            application: short_key(application),
        })
    }
}

/// [NIST SP 800-108] 5.1 KDF in counter mode, one round of HMAC-SHA256: a key
/// of `bits` (at most 256) is the beginning of it.
fn derive(kdf: &HmacSha256Key, label: &[u8], context: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let mut input = Vec::with_capacity(4 + label.len() + 1 + context.len() + 4);
    input.extend_from_slice(&1_u32.to_be_bytes());
    input.extend_from_slice(label);
    input.push(0);
    input.extend_from_slice(context);
    input.extend_from_slice(&bits.to_be_bytes());
    Zeroizing::new(kdf.code(&Message::whole(&input)))
}
