//! One authentication as its tokens show it: NTLM ([MS-NLMP]) raw or in SPNEGO,
//! Kerberos, and logons without extended security ([MS-CIFS] 3.1.5.2).

use countersign_auth::der::{self, DerReader};
use countersign_auth::ntlm::hash::rc4_16;
use countersign_auth::ntlm::seal::{
    Sender as Side, message_integrity_code, verify_first_signature,
};
use countersign_auth::ntlm::verify::{Responses, promises_mic};
use countersign_auth::ntlm::{Authenticate, Challenge, NegotiateFlags, message};
use countersign_auth::spnego::NegotiationToken;
use zeroize::Zeroizing;

use crate::fields::find;
use crate::kerberos::{self, ApExchange};
use crate::proof::prove;
use crate::secrets::Secrets;

/// Where the MIC of an AUTHENTICATE message is.
const MIC: core::ops::Range<usize> = 72..88;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// No token was understood, or the logon is not in the capture.
    NoLogon,
    /// No password or hash of this user is known.
    NoAccount(String),
    /// What is known of this user is not what the logon used.
    WrongPassword(String),
    /// Kerberos, and why.
    Kerberos(String),
    /// The signing algorithm or dialect is none that is known.
    Unknown,
}

impl core::fmt::Display for NoKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoLogon => f.write_str(
                "the logon that made the key is not in the capture (give --session-key)",
            ),
            Self::NoAccount(user) => write!(
                f,
                "no password of `{}` is known (give --user or --nt-hash)",
                printable(&short(user))
            ),
            Self::WrongPassword(user) => write!(
                f,
                "the password given for `{}` is not the one of this logon",
                printable(&short(user))
            ),
            Self::Kerberos(why) => f.write_str(why),
            Self::Unknown => f.write_str("the dialect or signing algorithm is unknown"),
        }
    }
}

/// Control characters must not reach a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// Characters of an account's name that are shown.
const MAX_NAME: usize = 256;

/// A name that is not longer than any can be.
pub(crate) fn short(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

/// Collects the tokens of one authentication.
#[derive(Default, Clone)]
pub(crate) struct Logon {
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
    /// The client's last token has been seen.
    pub(crate) complete: bool,
    /// The session key S.
    pub(crate) key: Option<Zeroizing<Vec<u8>>>,
    /// Why not.
    pub(crate) no_key: Option<NoKey>,
    pub(crate) user: String,
    /// `NTLMv2`, `Kerberos, AP-REP subkey`, ...
    pub(crate) mechanism: String,
    pub(crate) anonymous: bool,
    /// The MIC of the AUTHENTICATE message, if there had to be one.
    pub(crate) mic: Option<bool>,
    kerberos: Option<ApExchange>,
    flags: NegotiateFlags,
    mech_types: Vec<u8>,
    mech_list_mics: Vec<(Side, Vec<u8>)>,
}

impl Logon {
    /// Takes a token in.
    pub(crate) fn feed(&mut self, token: &[u8], from_server: bool, secrets: &Secrets) {
        if !from_server && self.feed_ap_req(token, secrets) {
            return;
        }
        if from_server && let Some(exchange) = &mut self.kerberos {
            exchange.answer(token);
            self.key = Some(exchange.key.clone());
            self.mechanism = exchange.source.to_owned();
            return;
        }
        self.feed_spnego(token, from_server);
        let Some(ntlm) = ntlmssp(token) else { return };
        match message::message_type(ntlm) {
            Ok(1) => {
                self.negotiate = ntlm.to_vec();
                self.challenge.clear();
            }
            Ok(2) => self.challenge = ntlm.to_vec(),
            Ok(3) => self.authenticate(ntlm, secrets),
            _ => {}
        }
    }

    /// Bytes that are kept.
    pub(crate) fn weight(&self) -> usize {
        self.negotiate.len() + self.challenge.len() + self.mech_types.len() + self.user.len()
    }

    /// Whether a token begins an authentication.
    pub(crate) fn begins(token: &[u8]) -> bool {
        ntlmssp(token).is_some_and(|t| message::message_type(t) == Ok(1))
            || kerberos::ap_req(token).is_some()
    }

    fn feed_ap_req(&mut self, token: &[u8], secrets: &Secrets) -> bool {
        if find(token, message::SIGNATURE).is_some() {
            return false;
        }
        let Some(request) = kerberos::ap_req(token) else {
            return false;
        };
        self.complete = true;
        self.mechanism = "Kerberos".to_owned();
        if secrets.keytab().is_empty() {
            let why = "Kerberos, and no key of the service is known (give --keytab)";
            self.no_key = Some(NoKey::Kerberos(why.to_owned()));
            return true;
        }
        match ApExchange::open(request, secrets.keytab()) {
            Ok(exchange) => {
                self.key = Some(exchange.key.clone());
                self.user = short(&exchange.user);
                self.mechanism = exchange.source.to_owned();
                self.kerberos = Some(exchange);
            }
            Err(error) => self.no_key = Some(NoKey::Kerberos(format!("Kerberos: {error}"))),
        }
        true
    }

    fn feed_spnego(&mut self, token: &[u8], from_server: bool) {
        let side = if from_server {
            Side::Server
        } else {
            Side::Client
        };
        let mic = match NegotiationToken::decode(token) {
            Ok(NegotiationToken::Init(init)) => {
                if !from_server {
                    self.mech_types = init.mech_types_der.to_vec();
                }
                init.mech_list_mic
            }
            Ok(NegotiationToken::Resp(resp)) => resp.mech_list_mic,
            Err(_) => None,
        };
        if let Some(mic) = mic.filter(|m| m.len() == 16 && self.mech_list_mics.len() < 4) {
            self.mech_list_mics.push((side, mic.to_vec()));
        }
    }

    /// Good and bad mechListMICs, RFC 4178 5.
    pub(crate) fn mech_list_mics(&self) -> (u64, u64) {
        let key: Option<&[u8; 16]> = self.key.as_ref().and_then(|k| k.first_chunk());
        let (Some(key), None, false) = (key, &self.kerberos, self.mech_types.is_empty()) else {
            return (0, 0);
        };
        if !self
            .flags
            .contains(NegotiateFlags::EXTENDED_SESSION_SECURITY)
        {
            return (0, 0);
        }
        let mut counts = (0, 0);
        for (side, mic) in &self.mech_list_mics {
            match verify_first_signature(key, self.flags, *side, &self.mech_types, mic) {
                true => counts.0 += 1,
                false => counts.1 += 1,
            }
        }
        counts
    }

    fn authenticate(&mut self, raw: &[u8], secrets: &Secrets) {
        self.complete = true;
        self.key = None;
        let Ok(challenge) = Challenge::decode(&self.challenge) else {
            self.no_key = Some(NoKey::NoLogon);
            return;
        };
        let Ok(message) = Authenticate::decode(raw, challenge.flags) else {
            self.no_key = Some(NoKey::NoLogon);
            return;
        };
        let flags = message.flags.unwrap_or(challenge.flags);
        self.flags = flags;
        self.user = short(&message.user);
        let exchanged = message
            .encrypted_session_key
            .first_chunk::<16>()
            .filter(|_| flags.contains(NegotiateFlags::KEY_EXCHANGE));
        if message.user.is_empty()
            && message.nt_response.is_empty()
            && matches!(message.lm_response.as_slice(), [] | [0])
        {
            // [MS-NLMP] 3.3: the key exchange key of an anonymous logon is zeros.
            self.anonymous = true;
            self.mechanism = "anonymous".to_owned();
            let key = exchanged.map_or_else(Default::default, |k| rc4_16(&[0; 16], k));
            self.key = Some(Zeroizing::new(key.to_vec()));
            return;
        }
        let responses = Responses {
            user: &message.user,
            domain: &message.domain,
            server_challenge: challenge.server_challenge,
            lm: &message.lm_response,
            nt: &message.nt_response,
            ess: flags.contains(NegotiateFlags::EXTENDED_SESSION_SECURITY),
        };
        let proof = match prove(secrets, &responses, flags) {
            Ok(proof) => proof,
            Err(why) => {
                self.mechanism = "NTLM".to_owned();
                self.no_key = Some(why);
                return;
            }
        };
        self.no_key = None;
        self.mechanism = proof.name.to_owned();
        let key = match exchanged {
            Some(key) => {
                self.mechanism.push_str(" with key exchange");
                rc4_16(&proof.key_exchange_key, key)
            }
            None => proof.key_exchange_key,
        };
        if promises_mic(&message.nt_response)
            && let Some(mic) = message.mic
        {
            let mut without = raw.to_vec();
            if let Some(field) = without.get_mut(MIC) {
                field.fill(0);
            }
            let want = message_integrity_code(&key, &self.negotiate, &self.challenge, &without);
            self.mic = Some(want == mic);
        }
        self.key = Some(Zeroizing::new(key.to_vec()));
    }
}

/// The NTLM message in a token: alone, in SPNEGO, or wherever it begins.
fn ntlmssp(token: &[u8]) -> Option<&[u8]> {
    if message::is_ntlmssp(token) {
        return Some(token);
    }
    let inner = match NegotiationToken::decode(token) {
        Ok(NegotiationToken::Init(init)) => init.mech_token,
        Ok(NegotiationToken::Resp(resp)) => resp.response_token,
        Err(_) => {
            // A token that is not quite SPNEGO: the octet string the message is in,
            // or all from its beginning.
            let at = find(token, message::SIGNATURE)?;
            return (2..=5)
                .filter_map(|back| token.get(at.checked_sub(back)?..))
                .find_map(|rest| {
                    let octets = DerReader::new(rest).expect(der::OCTET_STRING).ok()?;
                    message::is_ntlmssp(octets.contents).then_some(octets.contents)
                })
                .or_else(|| token.get(at..));
        }
    };
    inner.filter(|t| message::is_ntlmssp(t))
}
