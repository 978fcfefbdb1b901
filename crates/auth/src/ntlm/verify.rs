//! Checking of responses.

/// Which response proved the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NtlmVersion {
    /// NTLMv2.
    V2,
    /// NTLMv1 with extended session security ("NTLM2 session response").
    V1Ess,
    /// NTLMv1.
    V1,
}
