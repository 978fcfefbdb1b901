//! Checking of responses, and the keys they yield: [MS-NLMP] 3.3 and 3.4.5.1.

use zeroize::Zeroizing;

use super::av;
use super::hash::{Secret, desl, equal, hmac_md5, md4, md5, ntowf_v2};
use crate::failure::FailureReason;
use crate::users::NtHash;

/// Bytes of an NTLMv1 or LM response.
pub const V1_LENGTH: usize = 24;
/// Bytes of an NTLMv2 response before its AV pairs.
const V2_FIXED: usize = 44;

/// Which response proved the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NtlmVersion {
    /// NTLMv2.
    V2,
    /// LMv2 alone: NTLMv2's proof without the client's blob.
    LmV2,
    /// NTLMv1 with extended session security ("NTLM2 session response").
    V1Ess,
    /// NTLMv1.
    V1,
}

/// Which responses are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// NTLMv2.
    pub v2: bool,
    /// LMv2 without an NTLMv2 response.
    pub lm_v2: bool,
    /// NTLMv1, with and without extended session security.
    pub v1: bool,
}

/// What a client sent to prove its password.
#[derive(Debug, Clone, Copy)]
pub struct Responses<'a> {
    /// Account name as sent.
    pub user: &'a str,
    /// Domain as sent.
    pub domain: &'a str,
    /// The challenge the responses answer.
    pub server_challenge: [u8; 8],
    /// LmChallengeResponse.
    pub lm: &'a [u8],
    /// NtChallengeResponse.
    pub nt: &'a [u8],
    /// Extended session security was agreed.
    pub ess: bool,
}

/// A proof that holds.
#[derive(Clone)]
pub struct Proof {
    /// Which response it was.
    pub version: NtlmVersion,
    /// SessionBaseKey.
    pub base_key: Secret,
    /// KeyExchangeKey.
    pub key_exchange_key: Secret,
}

/// The AV pairs in an NTLMv2 response.
pub fn av_pairs(nt: &[u8]) -> &[u8] {
    nt.get(V2_FIXED..).unwrap_or_default()
}

/// Whether the client says, inside the part its password protects, that its
/// AUTHENTICATE message has a MIC.
pub fn promises_mic(nt: &[u8]) -> bool {
    nt.len() > V1_LENGTH && av::flags(av_pairs(nt)) & av::FLAG_MIC != 0
}

/// The account name without domain, of `user`, `DOM\user`, `\user` and
/// `user@dom`; and the domain it names.
pub fn split_name(user: &str) -> (&str, &str) {
    if let Some((domain, name)) = user.rsplit_once('\\') {
        return (name, domain);
    }
    match user.rsplit_once('@') {
        Some((name, domain)) if !name.is_empty() => (name, domain),
        _ => (user, ""),
    }
}

/// The pairs of user and domain an NTLMv2 hash may have been made of: as sent,
/// with the domain in upper case, with none ([MS-NLMP] 3.2.5.1.2), and with the
/// parts of a name that has its domain in it.
fn spellings(user: &str, domain: &str) -> Vec<(String, String)> {
    let (short, own) = split_name(user);
    let mut out: Vec<(String, String)> = Vec::with_capacity(8);
    for name in [user, short] {
        for domain in [domain, "", own] {
            for domain in [domain.to_owned(), domain.to_uppercase()] {
                let pair = (name.to_owned(), domain);
                if !out.contains(&pair) {
                    out.push(pair);
                }
            }
        }
    }
    out
}

/// Checks the responses against an account's hash.
///
/// # Errors
/// A form of response that is not allowed, or a wrong password.
pub fn verify(
    nt_hash: &NtHash,
    responses: &Responses<'_>,
    allowed: Allowed,
) -> Result<Proof, FailureReason> {
    let challenge = responses.server_challenge;
    match responses.nt.len() {
        n if n < V1_LENGTH && responses.lm.len() == V1_LENGTH => {
            // NTLMv1 in the LM field alone, as Windows NT takes it; nmap sends it,
            // with a cut one beside.
            let v1 = Zeroizing::new(desl(nt_hash.as_bytes(), challenge));
            if allowed.v1 && equal(v1.as_slice(), responses.lm) {
                let base_key = md4(nt_hash.as_bytes());
                let key_exchange_key = base_key.clone();
                return Ok(Proof {
                    version: NtlmVersion::V1,
                    base_key,
                    key_exchange_key,
                });
            }
            if !allowed.lm_v2 {
                return Err(FailureReason::LmRefused);
            }
            verify_v2(nt_hash, responses, responses.lm, NtlmVersion::LmV2)
        }
        V1_LENGTH => {
            if !allowed.v1 {
                return Err(FailureReason::Ntlmv1Refused);
            }
            let base_key = md4(nt_hash.as_bytes());
            // [MS-NLMP] 3.3.1: with extended session security the LM response is the
            // client's challenge and sixteen zeros. Some clients agree to it and
            // then send plain NTLMv1 in both fields.
            let client = responses
                .lm
                .split_first_chunk::<8>()
                .and_then(|(client, rest)| {
                    (responses.lm.len() == V1_LENGTH && rest.iter().all(|b| *b == 0))
                        .then_some(client)
                });
            let (version, input, key_exchange_key) = match client {
                Some(client) if responses.ess => {
                    let mixed = md5(&[&challenge, client]);
                    let input = mixed.first_chunk::<8>().copied().unwrap_or_default();
                    let kxk = hmac_md5(base_key.as_slice(), &[&challenge, client]);
                    (NtlmVersion::V1Ess, input, kxk)
                }
                _ => (NtlmVersion::V1, challenge, base_key.clone()),
            };
            let expected = Zeroizing::new(desl(nt_hash.as_bytes(), input));
            if !equal(expected.as_slice(), responses.nt) {
                return Err(FailureReason::BadPassword);
            }
            Ok(Proof {
                version,
                base_key,
                key_exchange_key,
            })
        }
        n if n > V1_LENGTH => {
            if !allowed.v2 {
                return Err(FailureReason::ClassicNtlmv2Refused);
            }
            verify_v2(nt_hash, responses, responses.nt, NtlmVersion::V2)
        }
        _ => Err(FailureReason::BadPassword),
    }
}

fn verify_v2(
    nt_hash: &NtHash,
    responses: &Responses<'_>,
    response: &[u8],
    version: NtlmVersion,
) -> Result<Proof, FailureReason> {
    let (proof, blob) = response
        .split_first_chunk::<16>()
        .ok_or(FailureReason::BadPassword)?;
    for (user, domain) in spellings(responses.user, responses.domain) {
        let key = ntowf_v2(nt_hash.as_bytes(), &user, &domain);
        let expected = hmac_md5(key.as_slice(), &[&responses.server_challenge, blob]);
        if equal(expected.as_slice(), proof) {
            let base_key = hmac_md5(key.as_slice(), &[proof]);
            return Ok(Proof {
                version,
                key_exchange_key: base_key.clone(),
                base_key,
            });
        }
    }
    Err(FailureReason::BadPassword)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];
    const ALL: Allowed = Allowed {
        v2: true,
        lm_v2: true,
        v1: true,
    };

    fn responses<'a>(lm: &'a [u8], nt: &'a [u8], ess: bool) -> Responses<'a> {
        let (user, domain) = ("User", "Domain");
        Responses {
            user,
            domain,
            server_challenge: CHALLENGE,
            lm,
            nt,
            ess,
        }
    }

    #[test]
    fn examples_of_the_specification() {
        let hash = NtHash::from_password("Password");
        // [MS-NLMP] 4.2.2: NTLMv1.
        let nt = hex::decode("67c43011f30298a2ad35ece64f16331c44bdbed927841f94").unwrap();
        let proof = verify(&hash, &responses(&[0; 24], &nt, false), ALL).unwrap();
        assert_eq!(proof.version, NtlmVersion::V1);
        assert_eq!(
            hex::encode(*proof.base_key),
            "d87262b0cde4b1cb7499becccdf10784"
        );
        assert_eq!(proof.base_key, proof.key_exchange_key);
        for cut in [&nt[..8], &[]] {
            let proof = verify(&hash, &responses(&nt, cut, true), ALL).unwrap();
            assert_eq!(proof.version, NtlmVersion::V1);
            let v2_only = Allowed { v1: false, ..ALL };
            assert!(verify(&hash, &responses(&nt, cut, true), v2_only).is_err());
        }
        // The same in both fields, whatever was negotiated.
        let proof = verify(&hash, &responses(&nt, &nt, true), ALL).unwrap();
        assert_eq!(proof.version, NtlmVersion::V1);
        // [MS-NLMP] 4.2.3: NTLMv1 with extended session security.
        let lm = [&[0xAA; 8][..], &[0; 16]].concat();
        let nt = hex::decode("7537f803ae367128ca458204bde7caf81e97ed2683267232").unwrap();
        let proof = verify(&hash, &responses(&lm, &nt, true), ALL).unwrap();
        assert_eq!(proof.version, NtlmVersion::V1Ess);
        assert_eq!(
            hex::encode(*proof.key_exchange_key),
            "eb93429a8bd952f8b89c55b87f475edc"
        );
        // [MS-NLMP] 4.2.4: NTLMv2 and LMv2.
        let lm = hex::decode("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa").unwrap();
        let proof = verify(&hash, &responses(&lm, &[], false), ALL).unwrap();
        assert_eq!(proof.version, NtlmVersion::LmV2);
        let mut nt = hex::decode("68cd0ab851e51c96aabc927bebef6a1c").unwrap();
        nt.extend(hex::decode("01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000").unwrap());
        nt.extend(hex::decode("02000c0044006f006d00610069006e00").unwrap());
        nt.extend(hex::decode("01000c005300650072007600650072000000000000000000").unwrap());
        let proof = verify(&hash, &responses(&lm, &nt, false), ALL).unwrap();
        assert_eq!(proof.version, NtlmVersion::V2);
        assert_eq!(
            hex::encode(*proof.base_key),
            "8de40ccadbc14a82f15cb0ad0de95ca3"
        );
        nt[20] ^= 1;
        assert_eq!(
            verify(&hash, &responses(&lm, &nt, false), ALL).err(),
            Some(FailureReason::BadPassword)
        );
    }

    #[test]
    fn forms_that_are_off_are_refused_before_the_password_is_looked_at() {
        let hash = NtHash::from_password("Password");
        let none = Allowed {
            v2: false,
            lm_v2: false,
            v1: false,
        };
        for (lm, nt, reason) in [
            (&[0u8; 24][..], &[0u8; 24][..], FailureReason::Ntlmv1Refused),
            (&[0; 24], &[0; 44], FailureReason::ClassicNtlmv2Refused),
            (&[0; 24], &[], FailureReason::LmRefused),
            (&[], &[], FailureReason::BadPassword),
            (&[], &[0; 23], FailureReason::BadPassword),
        ] {
            assert_eq!(
                verify(&hash, &responses(lm, nt, false), none).err(),
                Some(reason)
            );
        }
        // An LM response is no LMv2 response.
        assert_eq!(
            verify(&hash, &responses(&[0; 24], &[], false), ALL).err(),
            Some(FailureReason::BadPassword)
        );
    }

    #[test]
    fn forms_of_names() {
        assert_eq!(split_name("user"), ("user", ""));
        assert_eq!(split_name("DOM\\user"), ("user", "DOM"));
        assert_eq!(split_name("\\user"), ("user", ""));
        assert_eq!(split_name("user@dom.example"), ("user", "dom.example"));
        assert_eq!(split_name("@x"), ("@x", ""));
        assert!(spellings("DOM\\user", "w").len() <= 12);
    }

    #[test]
    fn every_spelling_of_name_and_domain_is_found() {
        let hash = NtHash::from_password("x");
        for (sent_user, sent_domain, hashed_user, hashed_domain) in [
            ("user", "dom", "user", "dom"),
            ("user", "dom", "USER", "DOM"),
            ("user", "dom", "user", ""),
            ("DOM\\user", "", "user", "DOM"),
            ("DOM\\user", "", "DOM\\user", ""),
            ("user@dom", "", "user@dom", ""),
            ("user@dom", "", "user", "dom"),
            ("\\user", "ws", "user", "ws"),
        ] {
            let key = ntowf_v2(hash.as_bytes(), hashed_user, hashed_domain);
            let blob = [7u8; 30];
            let proof = hmac_md5(key.as_slice(), &[&CHALLENGE, &blob]);
            let nt = [proof.as_slice(), &blob].concat();
            let sent = Responses {
                user: sent_user,
                domain: sent_domain,
                server_challenge: CHALLENGE,
                lm: &[],
                nt: &nt,
                ess: true,
            };
            assert!(
                verify(&hash, &sent, ALL).is_ok(),
                "{sent_user} {sent_domain}"
            );
        }
    }
}
