//! Which response of a logon proves which password, and the keys it yields:
//! [MS-NLMP] 3.3.1, 3.3.2, 3.4.5.1; [MS-CIFS] 3.2.5.3 without extended security.

use countersign_auth::ntlm::NegotiateFlags;
use countersign_auth::ntlm::hash::{Secret, desl, equal};
use countersign_auth::ntlm::verify::{Allowed, Responses, V1_LENGTH, verify};
use countersign_auth::{NtHash, NtlmVersion};
use zeroize::Zeroizing;

use crate::logon::NoKey;
use crate::secrets::Secrets;

/// Action of SESSION_SETUP_ANDX responses: the key is made of the LM hash.
pub(crate) const USE_LANMAN_KEY: u16 = 2;

/// What is known of an account.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) nt: NtHash,
    /// LMOWFv1, where the password is known and has one.
    pub(crate) lm: Option<Secret>,
}

/// A proof that holds.
pub(crate) struct Proven {
    /// `NTLMv2`, ...
    pub(crate) name: &'static str,
    /// SessionBaseKey.
    pub(crate) base_key: Secret,
    /// KeyExchangeKey.
    pub(crate) key_exchange_key: Secret,
    /// SessionBaseKey of the LM hash, if there is one.
    pub(crate) lm_key: Option<Secret>,
}

fn version_name(version: NtlmVersion) -> &'static str {
    match version {
        NtlmVersion::V2 => "NTLMv2",
        NtlmVersion::LmV2 => "LMv2",
        NtlmVersion::V1Ess => "NTLMv1 with extended session security",
        NtlmVersion::V1 => "NTLMv1",
    }
}

/// LMOWFv1: none for a password beyond ASCII (its OEM code page is not known) or of
/// more than 14 characters.
pub(crate) fn lm_hash(password: &str) -> Option<Secret> {
    if password.len() > 14 || !password.is_ascii() {
        return None;
    }
    let mut upper = Zeroizing::new([0u8; 16]);
    for (to, from) in upper.iter_mut().zip(password.bytes()) {
        *to = from.to_ascii_uppercase();
    }
    // DESL's first two keys are the two halves of 7 characters.
    first(desl(&upper, *b"KGS!@#$%"))
}

fn first(bytes: [u8; 24]) -> Option<Secret> {
    bytes.first_chunk::<16>().map(|b| Zeroizing::new(*b))
}

/// Eight bytes of the LM hash and eight zeros.
fn lm_key(lm: &Secret) -> Secret {
    let mut key = Zeroizing::new([0; 16]);
    for (to, from) in key.iter_mut().zip(lm.iter().take(8)) {
        *to = *from;
    }
    key
}

/// KXKEY of a plain NTLMv1 or LM logon.
fn exchange_key(
    flags: NegotiateFlags,
    base_key: &Secret,
    account: &Account,
    response: &[u8],
) -> Secret {
    let lm = account.lm.as_ref();
    if flags.contains(NegotiateFlags::LM_KEY)
        && let (Some(lm), Some(data)) = (lm, response.first_chunk::<8>())
    {
        let mut keys = Zeroizing::new([0u8; 16]);
        let padded = lm.iter().take(8).copied().chain([0xBD; 6]);
        for (to, from) in keys.iter_mut().zip(padded) {
            *to = from;
        }
        if let Some(key) = first(desl(&keys, *data)) {
            return key;
        }
    }
    match lm {
        Some(lm) if flags.contains(NegotiateFlags::NON_NT_SESSION_KEY) => lm_key(lm),
        _ => base_key.clone(),
    }
}

/// Finds the account's hash that the responses were made with.
pub(crate) fn prove(
    secrets: &Secrets,
    responses: &Responses<'_>,
    flags: NegotiateFlags,
) -> Result<Proven, NoKey> {
    let accounts = secrets
        .accounts(responses.user)
        .ok_or_else(|| NoKey::NoAccount(responses.user.to_owned()))?;
    accounts
        .iter()
        .find_map(|account| try_account(account, responses, flags))
        .ok_or_else(|| NoKey::WrongPassword(responses.user.to_owned()))
}

fn try_account(
    account: &Account,
    responses: &Responses<'_>,
    flags: NegotiateFlags,
) -> Option<Proven> {
    let allowed = Allowed {
        v2: true,
        lm_v2: true,
        v1: true,
    };
    let lm_key = account.lm.as_ref().map(lm_key);
    if let Ok(proof) = verify(&account.nt, responses, allowed) {
        let key_exchange_key = match proof.version {
            NtlmVersion::V1 => exchange_key(flags, &proof.base_key, account, responses.lm),
            _ => proof.key_exchange_key,
        };
        return Some(Proven {
            name: version_name(proof.version),
            base_key: proof.base_key,
            key_exchange_key,
            lm_key,
        });
    }
    // The LM response alone.
    let lm = account.lm.as_ref()?;
    if responses.nt.len() >= V1_LENGTH || responses.lm.len() != V1_LENGTH {
        return None;
    }
    let expected = Zeroizing::new(desl(lm, responses.server_challenge));
    if !equal(expected.as_slice(), responses.lm) {
        return None;
    }
    let base_key = lm_key.clone()?;
    Some(Proven {
        name: "LM",
        key_exchange_key: exchange_key(flags, &base_key, account, responses.lm),
        base_key,
        lm_key,
    })
}

/// Session key and the response behind it: the parts of a MAC key.
pub(crate) type MacParts = (Secret, Vec<u8>);

/// A logon without extended security: how, and the parts of MAC keys it may have
/// made, likeliest first.
pub(crate) fn classic(
    secrets: &Secrets,
    responses: &Responses<'_>,
) -> Result<(&'static str, Vec<MacParts>), NoKey> {
    let proven = prove(secrets, responses, NegotiateFlags::empty())?;
    let alone = responses.nt.len() < V1_LENGTH;
    let response = if alone { responses.lm } else { responses.nt };
    let mut keys = vec![(proven.base_key, response.to_vec())];
    if let Some(lm_key) = proven.lm_key.filter(|_| response.len() == V1_LENGTH) {
        // The server may say that it takes the LM hash's.
        keys.push((lm_key.clone(), responses.lm.to_vec()));
        keys.push((lm_key, responses.nt.to_vec()));
    }
    Ok((proven.name, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];

    fn secrets(password: &str) -> Secrets {
        let mut secrets = Secrets::new();
        secrets.add_password("User", password);
        secrets
    }

    fn responses<'a>(lm: &'a [u8], nt: &'a [u8]) -> Responses<'a> {
        Responses {
            user: "User",
            domain: "Domain",
            server_challenge: CHALLENGE,
            lm,
            nt,
            ess: false,
        }
    }

    #[test]
    fn examples_of_the_specification() {
        // [MS-NLMP] 4.2.2.1 and 4.2.2.2.
        let hash = lm_hash("Password").unwrap();
        assert_eq!(hex::encode(*hash), "e52cac67419a9a224a3b108f3fa6cb6d");
        let lm = hex::decode("98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13").unwrap();
        let nt = hex::decode("67c43011f30298a2ad35ece64f16331c44bdbed927841f94").unwrap();
        let secrets = secrets("Password");
        let key = |flags| {
            let proven = prove(&secrets, &responses(&lm, &nt), flags).unwrap();
            assert_eq!(proven.name, "NTLMv1");
            hex::encode(*proven.key_exchange_key)
        };
        assert_eq!(
            key(NegotiateFlags::empty()),
            "d87262b0cde4b1cb7499becccdf10784"
        );
        assert_eq!(
            key(NegotiateFlags::LM_KEY),
            "b09e379f7fbecb1eaf0afdcb0383c8a0"
        );
        assert_eq!(
            key(NegotiateFlags::NON_NT_SESSION_KEY),
            "e52cac67419a9a220000000000000000"
        );
    }

    #[test]
    fn the_lm_response_alone() {
        let lm = hex::decode("98def7b87f88aa5dafe2df779688a172def11c7d5ccdef13").unwrap();
        let (name, keys) = classic(&secrets("Password"), &responses(&lm, &[])).unwrap();
        assert_eq!(name, "LM");
        assert_eq!(hex::encode(*keys[0].0), "e52cac67419a9a220000000000000000");
        assert_eq!(keys[0].1, lm);
        let wrong = classic(&secrets("Passwort"), &responses(&lm, &[]));
        assert!(matches!(wrong, Err(NoKey::WrongPassword(_))));
        // [MS-NLMP] 4.2.4.2.1: LMv2.
        let lm = hex::decode("86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa").unwrap();
        let (name, keys) = classic(&secrets("Password"), &responses(&lm, &[])).unwrap();
        assert_eq!((name, &keys[0].1), ("LMv2", &lm));
    }

    #[test]
    fn passwords_without_an_lm_hash() {
        assert!(lm_hash("fifteen letters").is_none());
        assert!(lm_hash("P\u{E4}ssword").is_none());
        assert_eq!(
            hex::encode(*lm_hash("").unwrap()),
            "aad3b435b51404eeaad3b435b51404ee"
        );
    }
}
