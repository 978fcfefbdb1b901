//! Shares and what they allow.

use std::sync::Arc;

use crate::backend::Backend;

/// A share: a name and what lies behind it.
pub struct Share {
    /// Name as configured.
    pub name: String,
    /// The bytes.
    pub backend: Arc<dyn Backend>,
    /// Options.
    pub options: ShareOptions,
}

impl core::fmt::Debug for Share {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Share")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a share allows. Start from `ShareOptions::default()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareOptions {
    /// Nothing may be changed: opens that could are refused with
    /// `AccessDenied`. Default no.
    pub read_only: bool,
    /// Names compare with case for everybody. Default no.
    pub case_sensitive: bool,
    /// Files have 8.3 names that can be asked for and used. Default yes.
    pub short_names: bool,
    /// Named streams may be used; otherwise `NameInvalid`. Default yes.
    pub streams: bool,
    /// Oplocks are granted. Default yes.
    pub oplocks: bool,
    /// Leases are granted (also needs the front end to ask for them). Default yes.
    pub leases: bool,
    /// Leases are granted on folders, [MS-SMB2] 3.3.5.9.11. Default yes.
    pub directory_leases: bool,
    /// Exclusive and batch are granted as level II
    /// (SHI1005_FLAGS_FORCE_LEVELII_OPLOCK). Default no.
    pub force_level_two: bool,
    /// Durable handles are granted. Default yes.
    pub durable: bool,
    /// The host's changes are told to watchers. Default yes.
    pub host_changes: bool,
    /// Security of files that have no descriptor of their own.
    pub default_security: DefaultSecurity,
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            case_sensitive: false,
            short_names: true,
            streams: true,
            oplocks: true,
            leases: true,
            directory_leases: true,
            force_level_two: false,
            durable: true,
            host_changes: true,
            default_security: DefaultSecurity::default(),
        }
    }
}

/// Security of a file that has no stored descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DefaultSecurity {
    /// It belongs to whoever asks, and Everyone has full control.
    #[default]
    EveryoneFullControl,
    /// This self-relative descriptor.
    Descriptor(Vec<u8>),
}
