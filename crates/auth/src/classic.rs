//! SMB1's logon without extended security, [MS-CIFS] 3.2.4.2.4 and 3.3.5.43.

use crate::config::AuthConfig;
use crate::failure::{AuthFailure, FailureReason};
use crate::identity::Identity;
use crate::key::SessionKey;
use crate::logon::{Decision, decide, is_anonymous, is_nothing};
use crate::ntlm::NtlmCredentials;
use crate::ntlm::av::{self, AvList};
use crate::ntlm::hash::{desl, hmac_md5, md4, ntowf_v2};
use crate::ntlm::verify::{Allowed, NtlmVersion, Responses, V1_LENGTH};
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
    /// SigningChallengeResponse: the response appended to the key of the MAC,
    /// [MS-CIFS] 3.1.5.1. Empty without a key.
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
    check(config, users, logon).map_err(|reason| AuthFailure {
        reason,
        user: logon.user.to_owned(),
        domain: logon.domain.to_owned(),
        workstation: String::new(),
        detail: String::new(),
    })
}

fn check(
    config: &AuthConfig,
    users: &dyn UserDirectory,
    logon: &ClassicLogon<'_>,
) -> Result<ClassicAccepted, FailureReason> {
    let nothing_as_empty = |r| if is_nothing(r) { &[] } else { r };
    let responses = Responses {
        user: logon.user,
        domain: logon.domain,
        server_challenge: logon.challenge,
        lm: nothing_as_empty(logon.lm_response),
        nt: nothing_as_empty(logon.nt_response),
        ess: false,
    };
    let lengths_of_responses = matches!(responses.lm.len(), 0 | V1_LENGTH)
        && (responses.nt.is_empty() || responses.nt.len() >= V1_LENGTH);
    if !is_anonymous(&responses) && !lengths_of_responses {
        return Err(FailureReason::PlainText);
    }
    let rules = &config.rules;
    if !rules.ntlm && !is_anonymous(&responses) {
        return Err(FailureReason::NtlmRefused);
    }
    let allowed = Allowed {
        v2: rules.classic_ntlmv2,
        lm_v2: rules.lm_v2,
        v1: rules.ntlmv1_smb1,
    };
    let (identity, key, version) = match decide(config, users, &responses, allowed, "")? {
        Decision::User(identity, proof) => {
            let key = SessionKey::new(proof.base_key.as_slice());
            (identity, Some(key), Some(proof.version))
        }
        Decision::Guest(identity) | Decision::Anonymous(identity) => (identity, None, None),
    };
    let challenge_response = match version {
        None => &[],
        Some(NtlmVersion::LmV2) => responses.lm,
        Some(_) => responses.nt,
    };
    Ok(ClassicAccepted {
        identity: *identity,
        session_key: key,
        challenge_response: challenge_response.to_vec(),
        version,
    })
}

/// The client's side: what a classic SESSION_SETUP_ANDX shows, and the key that
/// comes of it, [MS-CIFS] 3.1.5.2 and 3.2.5.3. LM responses are never made.
#[derive(Debug, Clone)]
pub struct ClassicResponses {
    /// OEMPassword.
    pub lm: Vec<u8>,
    /// UnicodePassword; what is appended to the key of the MAC.
    pub nt: Vec<u8>,
    /// SigningSessionKey; `None` for an anonymous logon.
    pub session_key: Option<SessionKey>,
}

impl ClassicResponses {
    /// Nothing to show.
    pub fn anonymous() -> Self {
        Self {
            lm: Vec::new(),
            nt: Vec::new(),
            session_key: None,
        }
    }

    /// NTLMv2 and LMv2, [MS-NLMP] 3.3.2; `time` is a FILETIME as it stands on
    /// the wire, `own` the client's challenge.
    pub fn ntlm_v2(who: &NtlmCredentials, challenge: [u8; 8], own: [u8; 8], time: [u8; 8]) -> Self {
        let mut names = AvList::default();
        names.push_text(av::NB_DOMAIN_NAME, &who.domain);
        let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
        blob.extend_from_slice(&time);
        blob.extend_from_slice(&own);
        blob.extend_from_slice(&[0; 4]);
        blob.extend(names.finish());
        let ntowf = ntowf_v2(who.nt_hash.as_bytes(), &who.user, &who.domain);
        let proof = hmac_md5(ntowf.as_slice(), &[&challenge, &blob]);
        let key = hmac_md5(ntowf.as_slice(), &[proof.as_slice()]);
        let lm = hmac_md5(ntowf.as_slice(), &[&challenge, &own]);
        Self {
            lm: [lm.as_slice(), &own].concat(),
            nt: [proof.as_slice(), &blob].concat(),
            session_key: Some(SessionKey::new(key.as_slice())),
        }
    }

    /// NTLM, [MS-NLMP] 3.3.1; it stands in the place of the LM response too, as
    /// Windows has it when LM is off.
    pub fn ntlm(who: &NtlmCredentials, challenge: [u8; 8]) -> Self {
        let nt = desl(who.nt_hash.as_bytes(), challenge).to_vec();
        Self {
            lm: nt.clone(),
            nt,
            session_key: Some(SessionKey::new(md4(who.nt_hash.as_bytes()).as_slice())),
        }
    }
}
