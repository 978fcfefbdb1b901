//! The session key an authentication yields.

use zeroize::Zeroizing;

/// The whole GSS session key (S): NTLM's ExportedSessionKey, Kerberos' subkey.
/// SMB2 cuts it to 16 bytes, AES-256 ciphers and SMB1 use all of it.
#[derive(Clone)]
pub struct SessionKey(Zeroizing<Vec<u8>>);

impl SessionKey {
    /// Takes the key's bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}
