//! SPNEGO and NTLM as step machines, and the users they are checked against.
#![forbid(unsafe_code)]

/// Authentication rules and the names a server gives itself.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {}

/// Where users are looked up.
pub trait UserDirectory: Send + Sync {}
