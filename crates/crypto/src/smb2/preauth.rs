//! [MS-SMB2] 3.2.5.2, 3.3.5.4: the pre-authentication integrity hash value.

use aws_lc_rs::digest::{Context, SHA512};

/// Connection.PreauthIntegrityHashValue, or a session's copy of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PreauthHash([u8; 64]);

impl PreauthHash {
    /// The value before any message: zeros.
    #[must_use]
    pub fn new() -> Self {
        Self([0; 64])
    }

    /// Takes in a whole message, from its header on, as it is on the wire.
    pub fn update(&mut self, message: &[u8]) {
        let mut hash = Context::new(&SHA512);
        hash.update(&self.0);
        hash.update(message);
        for (to, from) in self.0.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> &[u8; 64] {
        &self.0
    }
}

impl Default for PreauthHash {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for PreauthHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PreauthHash")
    }
}
