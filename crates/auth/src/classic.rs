//! SMB1's logon without extended security, [MS-CIFS] 3.2.4.2.4 and 3.3.5.43.

use crate::config::AuthConfig;
use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::key::SessionKey;
use crate::ntlm::verify::NtlmVersion;
use crate::users::UserDirectory;

/// What a classic SESSION_SETUP_ANDX carries.
#[derive(Debug, Clone, Copy)]
pub struct ClassicLogon<'a> {
    /// AccountName.
    pub user: &'a str,
    /// PrimaryDomain.
    pub domain: &'a str,
    /// OEMPassword: the LM or LMv2 response.
    pub lm_response: &'a [u8],
    /// UnicodePassword: the NTLMv1 or NTLMv2 response.
    pub nt_response: &'a [u8],
    /// The challenge of the NEGOTIATE response.
    pub challenge: [u8; 8],
}

/// A classic logon that succeeded.
#[derive(Debug, Clone)]
pub struct ClassicAccepted {
    /// Who.
    pub identity: Identity,
    /// SigningSessionKey; `None` for guests and anonymous.
    pub session_key: Option<SessionKey>,
    /// SigningChallengeResponse: the response appended to the key of the MAC.
    pub challenge_response: Vec<u8>,
    /// Which response proved the password; `None` for guests and anonymous.
    pub version: Option<NtlmVersion>,
}

/// Checks a classic logon.
///
/// # Errors
/// Why it is refused.
pub fn classic_logon(
    config: &AuthConfig,
    users: &dyn UserDirectory,
    logon: &ClassicLogon<'_>,
) -> Result<ClassicAccepted, AuthFailure> {
    let _ = (config, users, logon);
    Err(AuthFailure::nameless(FailureReason::UnknownUser))
}
