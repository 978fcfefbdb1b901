//! NTLM as a scan needs it: the names in a challenge, [MS-NLMP] 2.2.1.2, and logons.

use countersign_auth::initiator::{Initiator, NtlmMechanism, SpnegoInitiator};
use countersign_auth::ntlm::message::{Challenge, Negotiate};
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiator, av};
use countersign_auth::spnego::{NegTokenInit, NegotiationToken, OID_NTLMSSP, mech_types_der};
use countersign_auth::{NtHash, SessionKey};

use crate::exchange::ProbeError;
use crate::prove::Credentials;
use crate::report::Names;

/// A first token that asks for NTLM, in SPNEGO.
pub(crate) fn first_token() -> Vec<u8> {
    let negotiate = Negotiate {
        flags: NtlmInitiator::default_flags(),
        domain: String::new(),
        workstation: String::new(),
        version: None,
    }
    .encode();
    let list = mech_types_der(&[OID_NTLMSSP]);
    NegTokenInit {
        mech_types: vec![OID_NTLMSSP],
        mech_types_der: &list,
        mech_token: Some(&negotiate),
        mech_list_mic: None,
    }
    .encode()
}

/// A logon's tokens, leg by leg.
pub(crate) struct Exchange(SpnegoInitiator);

impl Exchange {
    /// With these credentials.
    pub(crate) fn new(who: &Credentials) -> Result<Self, ProbeError> {
        let credentials = NtlmCredentials {
            user: who.user.clone(),
            domain: who.domain.clone(),
            nt_hash: NtHash::from_password(&who.password),
            workstation: "COUNTERSIGN".to_owned(),
        };
        let mut random = ClientRandom {
            challenge: [0; 8],
            session_key: [0; 16].into(),
        };
        // The session key is a secret: without randomness there is no logon.
        getrandom::fill(&mut random.challenge)
            .and_then(|()| getrandom::fill(random.session_key.as_mut_slice()))
            .map_err(|_| ProbeError::NoRandomness)?;
        let mechanism = NtlmMechanism::new(credentials, None, random);
        Ok(Self(SpnegoInitiator::ntlm(mechanism)))
    }

    /// The token of the next leg, from the server's of the last.
    pub(crate) fn leg(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>, ProbeError> {
        let step = self.0.step(token).map_err(ProbeError::Logon)?;
        step.token
            .ok_or(ProbeError::Malformed("authentication token"))
    }

    /// The session key, from the server's last token.
    pub(crate) fn finish(mut self, token: &[u8]) -> Result<Option<SessionKey>, ProbeError> {
        let step = self.0.step(Some(token)).map_err(ProbeError::Logon)?;
        step.done
            .map(|done| done.session_key)
            .ok_or(ProbeError::Malformed("authentication token"))
    }
}

/// The NTLM message in an answer, with or without SPNEGO around it.
pub(crate) fn unwrap(token: &[u8]) -> Option<Vec<u8>> {
    if countersign_auth::ntlm::message::is_ntlmssp(token) {
        return Some(token.to_vec());
    }
    match NegotiationToken::decode(token).ok()? {
        NegotiationToken::Resp(response) => response.response_token.map(<[u8]>::to_vec),
        NegotiationToken::Init(_) => None,
    }
}

/// The names in a challenge.
pub(crate) fn names(challenge: &[u8]) -> Option<Names> {
    let challenge = Challenge::decode(challenge).ok()?;
    let text = |id: u16| {
        let bytes = av::find(&challenge.target_info, id).unwrap_or_default();
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| pair.iter().rev().fold(0, |n, b| (n << 8) | u16::from(*b)))
            .collect();
        String::from_utf16_lossy(&units)
    };
    Some(Names {
        computer: text(1),
        domain: text(2),
        dns_computer: text(3),
        dns_domain: text(4),
        dns_tree: text(5),
        os_version: challenge.version.map_or_else(String::new, |version| {
            let [major, minor, low, high, ..] = version.0;
            format!("{major}.{minor}.{}", u16::from_le_bytes([low, high]))
        }),
    })
}

/// Mechanisms of a server's hint, by name.
pub(crate) fn mechanisms(hint: &[u8]) -> Vec<String> {
    if countersign_auth::ntlm::message::is_ntlmssp(hint) {
        return vec!["ntlm".to_owned()];
    }
    match NegotiationToken::decode(hint) {
        Ok(NegotiationToken::Init(init)) => {
            let mut names: Vec<String> = init.mech_types.iter().map(|oid| mechanism(oid)).collect();
            names.dedup();
            names
        }
        _ => Vec::new(),
    }
}

fn mechanism(oid: &[u8]) -> String {
    match oid {
        [0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0A] => "ntlm".to_owned(),
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02]
        | [0x2A, 0x86, 0x48, 0x82, 0xF7, 0x12, 0x01, 0x02, 0x02] => "kerberos".to_owned(),
        [0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x1E] => "negoex".to_owned(),
        other => dotted(other),
    }
}

/// An object identifier in dots.
fn dotted(oid: &[u8]) -> String {
    let mut out = String::new();
    let mut value: u64 = 0;
    let mut first = true;
    for byte in oid {
        value = (value << 7) | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        if first {
            let top = (value / 40).min(2);
            out = format!("{top}.{}", value.saturating_sub(top * 40));
            first = false;
        } else {
            out.push_str(&format!(".{value}"));
        }
        value = 0;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers() {
        assert_eq!(dotted(&[0x2B, 6, 1, 5, 5, 2]), "1.3.6.1.5.5.2");
        assert_eq!(
            dotted(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12]),
            "1.2.840.113554"
        );
        assert_eq!(mechanism(OID_NTLMSSP), "ntlm");
    }

    #[test]
    fn a_hint_names_its_mechanisms() {
        let hint = countersign_auth::spnego::neg_token_init2(&[OID_NTLMSSP]);
        assert_eq!(mechanisms(&hint), ["ntlm"]);
        assert!(mechanisms(b"rubbish").is_empty());
        assert_eq!(unwrap(&first_token()), None);
    }
}
