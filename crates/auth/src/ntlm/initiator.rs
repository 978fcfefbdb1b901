//! The client's side of NTLM: NEGOTIATE out, CHALLENGE in, AUTHENTICATE out,
//! [MS-NLMP] 3.1.5.1. NTLMv2 only.

use zeroize::Zeroizing;

use super::av::{self, AvList};
use super::flags::NegotiateFlags;
use super::hash::{hmac_md5, ntowf_v2, rc4_16};
use super::message::{Authenticate, Challenge, MessageError, Negotiate, Version, set_mic};
use super::seal::{Sender, Signature, first_signature, message_integrity_code};
use crate::key::SessionKey;
use crate::users::NtHash;

/// Who logs on.
#[derive(Clone)]
pub struct NtlmCredentials {
    /// Account name; empty for an anonymous logon.
    pub user: String,
    /// Domain to name; may be empty.
    pub domain: String,
    /// NT hash of the password.
    pub nt_hash: NtHash,
    /// Name of this machine.
    pub workstation: String,
}

impl core::fmt::Debug for NtlmCredentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NtlmCredentials({:?}, {:?})", self.domain, self.user)
    }
}

/// What the client picks at random, [MS-NLMP] 3.1.5.1.2.
pub struct ClientRandom {
    /// ClientChallenge.
    pub challenge: [u8; 8],
    /// ExportedSessionKey, sent encrypted with KEY_EXCH.
    pub session_key: Zeroizing<[u8; 16]>,
}

/// The client's exchange.
pub struct NtlmInitiator {
    credentials: NtlmCredentials,
    negotiate: Vec<u8>,
    flags: NegotiateFlags,
    target: Option<String>,
    time: [u8; 8],
}

/// A finished exchange.
pub struct NtlmInitiated {
    /// The AUTHENTICATE message.
    pub token: Vec<u8>,
    /// The session key; `None` for an anonymous logon.
    pub session_key: Option<SessionKey>,
    flags: NegotiateFlags,
    exported: Zeroizing<[u8; 16]>,
}

impl NtlmInitiator {
    /// The flags a current Windows client offers: integrity, confidentiality,
    /// key exchange, 128 bits, extended session security.
    pub fn default_flags() -> NegotiateFlags {
        NegotiateFlags::UNICODE
            | NegotiateFlags::REQUEST_TARGET
            | NegotiateFlags::SIGN
            | NegotiateFlags::SEAL
            | NegotiateFlags::NTLM
            | NegotiateFlags::ALWAYS_SIGN
            | NegotiateFlags::EXTENDED_SESSION_SECURITY
            | NegotiateFlags::TARGET_INFO
            | NegotiateFlags::VERSION
            | NegotiateFlags::KEY_128
            | NegotiateFlags::KEY_EXCHANGE
            | NegotiateFlags::KEY_56
    }

    /// Begins an exchange; `target` is the service's name (`cifs/host`), sent
    /// as MsvAvTargetName.
    pub fn new(
        credentials: NtlmCredentials,
        flags: NegotiateFlags,
        target: Option<String>,
    ) -> Self {
        let version = flags.contains(NegotiateFlags::VERSION).then_some(VERSION);
        let message = Negotiate {
            flags,
            version,
            ..Negotiate::default()
        };
        Self {
            credentials,
            negotiate: message.encode(),
            flags,
            target,
            time: [0; 8],
        }
    }

    /// The same at this time (a FILETIME as it stands on the wire). It is told to
    /// servers that do not tell theirs, some of which refuse a response that is too old.
    #[must_use]
    pub fn at(mut self, time: [u8; 8]) -> Self {
        self.time = time;
        self
    }

    /// The NEGOTIATE message.
    pub fn negotiate(&self) -> &[u8] {
        &self.negotiate
    }

    /// Answers the CHALLENGE.
    ///
    /// # Errors
    /// The message is malformed.
    pub fn authenticate(
        self,
        challenge_message: &[u8],
        random: &ClientRandom,
    ) -> Result<NtlmInitiated, MessageError> {
        let challenge = Challenge::decode(challenge_message)?;
        let flags = self.flags & challenge.flags;
        let who = &self.credentials;
        if who.user.is_empty() {
            // There is no key to exchange.
            let flags = flags - NegotiateFlags::KEY_EXCHANGE;
            let message = Authenticate {
                lm_response: vec![0],
                workstation: who.workstation.clone(),
                flags: Some(flags | NegotiateFlags::ANONYMOUS),
                version: flags.contains(NegotiateFlags::VERSION).then_some(VERSION),
                ..Authenticate::default()
            };
            return Ok(NtlmInitiated {
                token: message.encode(),
                session_key: None,
                flags,
                exported: Zeroizing::new([0; 16]),
            });
        }

        // The blob: the server's pairs, and ours behind them.
        let timestamp = av::find(&challenge.target_info, av::TIMESTAMP)
            .and_then(|value| value.first_chunk::<8>());
        let mut list = AvList::default();
        for (id, value) in av::pairs(&challenge.target_info) {
            // What is ours to say nobody says in our place: MsvAvFlags without the
            // bit, put into the CHALLENGE, would excuse the MIC.
            let ours = matches!(id, av::FLAGS | av::TARGET_NAME | av::CHANNEL_BINDINGS);
            let again = id == av::TIMESTAMP && timestamp.is_none();
            if !ours && !again {
                list.push(id, value);
            }
        }
        if timestamp.is_some() {
            list.push(av::FLAGS, &av::FLAG_MIC.to_le_bytes());
        }
        if let Some(target) = &self.target {
            list.push_text(av::TARGET_NAME, target);
        }
        let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
        blob.extend_from_slice(timestamp.unwrap_or(&self.time));
        blob.extend_from_slice(&random.challenge);
        blob.extend_from_slice(&[0; 4]);
        blob.extend(list.finish());
        blob.extend_from_slice(&[0; 4]);

        let ntowf = ntowf_v2(who.nt_hash.as_bytes(), &who.user, &who.domain);
        let proof = hmac_md5(ntowf.as_slice(), &[&challenge.server_challenge, &blob]);
        let base = hmac_md5(ntowf.as_slice(), &[proof.as_slice()]);
        let nt_response = [proof.as_slice(), &blob].concat();
        let lm_response = if timestamp.is_some() {
            vec![0; 24]
        } else {
            let lm = hmac_md5(
                ntowf.as_slice(),
                &[&challenge.server_challenge, &random.challenge],
            );
            [lm.as_slice(), &random.challenge].concat()
        };
        let exchange = flags.contains(NegotiateFlags::KEY_EXCHANGE)
            && flags.intersects(NegotiateFlags::SIGN | NegotiateFlags::SEAL);
        let (exported, encrypted) = if exchange {
            let wrapped = rc4_16(&base, &random.session_key);
            (random.session_key.clone(), wrapped.to_vec())
        } else {
            (base, Vec::new())
        };
        let message = Authenticate {
            lm_response,
            nt_response,
            domain: who.domain.clone(),
            user: who.user.clone(),
            workstation: who.workstation.clone(),
            encrypted_session_key: encrypted,
            flags: Some(flags),
            version: timestamp
                .is_some()
                .then_some(VERSION)
                .or_else(|| flags.contains(NegotiateFlags::VERSION).then_some(VERSION)),
            mic: timestamp.is_some().then_some([0; 16]),
        };
        let mut token = message.encode();
        if timestamp.is_some() {
            let mic = message_integrity_code(&exported, &self.negotiate, challenge_message, &token);
            set_mic(&mut token, mic);
        }
        let session_key = Some(SessionKey::new(exported.as_slice()));
        Ok(NtlmInitiated {
            token,
            session_key,
            flags,
            exported,
        })
    }
}

impl NtlmInitiated {
    /// SPNEGO's mechListMIC over the client's mechTypes, for the given sender.
    pub fn mech_list_mic(&self, sender: Sender, mech_types_der: &[u8]) -> Signature {
        first_signature(&self.exported, self.flags, sender, mech_types_der)
    }

    /// Flags in force.
    pub fn flags(&self) -> NegotiateFlags {
        self.flags
    }
}

/// Version sent: 10.0, revision 15.
const VERSION: Version = Version([10, 0, 0x61, 0x4A, 0, 0, 0, 15]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntlm::verify::promises_mic;

    /// The answer to a CHALLENGE with these pairs, `target` being the server asked for.
    fn answer(info: AvList, target: Option<String>) -> (NtlmInitiated, Authenticate) {
        let who = NtlmCredentials {
            user: "alice".into(),
            domain: "D".into(),
            nt_hash: NtHash::from_password("Passw0rd!"),
            workstation: "W".into(),
        };
        let client = NtlmInitiator::new(who, NtlmInitiator::default_flags(), target).at([5; 8]);
        let challenge = Challenge {
            target_name: "S".into(),
            flags: NtlmInitiator::default_flags(),
            server_challenge: [1; 8],
            target_info: info.finish(),
            version: Some(VERSION),
        };
        let random = ClientRandom {
            challenge: [2; 8],
            session_key: Zeroizing::new([3; 16]),
        };
        let done = client.authenticate(&challenge.encode(), &random).unwrap();
        let message = Authenticate::decode(&done.token, done.flags()).unwrap();
        (done, message)
    }

    /// The blob of the NTLMv2 response to a server that was named, and the message.
    fn blob(info: AvList) -> (Vec<u8>, Authenticate) {
        let (_, message) = answer(info, Some("cifs/server".to_owned()));
        (message.nt_response[16..].to_vec(), message)
    }

    #[test]
    fn nobody_excuses_the_mic() {
        // CVE-2019-1166: somebody puts MsvAvFlags without the bit into the CHALLENGE.
        let mut info = AvList::default();
        info.push(av::FLAGS, &[0; 4]);
        info.push(av::TIMESTAMP, &[7; 8]);
        info.push_text(av::TARGET_NAME, "cifs/elsewhere");
        let (blob, message) = blob(info);
        assert!(promises_mic(&message.nt_response));
        let pairs: Vec<_> = av::pairs(&blob[28..]).collect();
        let of = |id| pairs.iter().filter(|(i, _)| *i == id).count();
        assert_eq!((of(av::FLAGS), of(av::TARGET_NAME)), (1, 1));
        let target = av::find(&blob[28..], av::TARGET_NAME).unwrap();
        assert_eq!(target[10..12], *b"s\0");
    }

    #[test]
    fn servers_that_tell_no_time_are_told_ours() {
        let (blob_bytes, message) = blob(AvList::default());
        assert_eq!(blob_bytes[8..16], [5; 8]);
        assert_eq!(message.mic, None);
        // A time of another length is none.
        let mut info = AvList::default();
        info.push(av::TIMESTAMP, &[7; 3]);
        let (blob_bytes, _) = blob(info);
        assert_eq!(blob_bytes[8..16], [5; 8]);
        assert_eq!(av::find(&blob_bytes[28..], av::TIMESTAMP), None);
    }

    #[test]
    fn a_timestamp_brings_a_mic_and_silences_lmv2() {
        let mut info = AvList::default();
        info.push(av::TIMESTAMP, &[7; 8]);
        let (done, message) = answer(info, None);
        assert!(promises_mic(&message.nt_response));
        assert_ne!(message.mic, Some([0; 16]));
        assert_eq!(message.lm_response, [0; 24]);
        assert_eq!(done.session_key.unwrap().as_bytes(), [3; 16]);
    }
}
