//! SMB signing, key derivation, encryption and pre-authentication integrity.
#![forbid(unsafe_code)]

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
