//! Exchanges with a client made of the same codecs: changed mechanisms, spellings
//! of names, missing pieces, tokens out of order.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test's way to fail

use std::sync::Arc;

use countersign_auth::ntlm::hash::{hmac_md5, ntowf_v2, rc4_16};
use countersign_auth::ntlm::seal::{
    Sender, first_signature, message_integrity_code, verify_first_signature,
};
use countersign_auth::ntlm::{Authenticate, Challenge, Negotiate, NegotiateFlags, av, message};
use countersign_auth::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_KERBEROS, OID_MS_KERBEROS,
    OID_NTLMSSP, mech_types_der,
};
use countersign_auth::{
    AcceptContext, Acceptor, AuthConfig, FailureReason, Identity, NtHash, Step, UserFile,
    negotiate_hint,
};
use countersign_wire::FileTime;

const PASSWORD: &str = "correct horse";
const EXPORTED: [u8; 16] = [0x5A; 16];

/// A client; each field is a way to behave.
struct Client {
    user: &'static str,
    domain: &'static str,
    password: &'static str,
    flags: NegotiateFlags,
    /// Sends a MIC and says so.
    mic: bool,
    negotiate: Vec<u8>,
}

impl Client {
    fn new(user: &'static str) -> Self {
        use NegotiateFlags as F;
        let flags = F::UNICODE
            | F::REQUEST_TARGET
            | F::SIGN
            | F::NTLM
            | F::ALWAYS_SIGN
            | F::EXTENDED_SESSION_SECURITY
            | F::KEY_128
            | F::KEY_EXCHANGE;
        Self {
            user,
            domain: "",
            password: PASSWORD,
            flags,
            mic: true,
            negotiate: Vec::new(),
        }
    }

    fn negotiate(&mut self) -> Vec<u8> {
        self.negotiate = Negotiate {
            flags: self.flags,
            ..Negotiate::default()
        }
        .encode();
        self.negotiate.clone()
    }

    fn authenticate(&self, challenge_bytes: &[u8]) -> Vec<u8> {
        let challenge = Challenge::decode(challenge_bytes).unwrap();
        let mut list = av::AvList::default();
        for (id, value) in av::pairs(&challenge.target_info) {
            list.push(id, value);
        }
        if self.mic {
            list.push(av::FLAGS, &av::FLAG_MIC.to_le_bytes());
        }
        let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
        // A clock that is far off must not matter.
        blob.extend_from_slice(&1u64.to_le_bytes());
        blob.extend_from_slice(b"clientch\0\0\0\0");
        blob.extend(list.finish());
        blob.extend_from_slice(&[0; 4]);
        let key = ntowf_v2(
            NtHash::from_password(self.password).as_bytes(),
            self.user,
            self.domain,
        );
        let proof = hmac_md5(key.as_slice(), &[&challenge.server_challenge, &blob]);
        let base = hmac_md5(key.as_slice(), &[proof.as_slice()]);
        let message = Authenticate {
            lm_response: vec![0; 24],
            nt_response: [proof.as_slice(), &blob].concat(),
            domain: self.domain.to_owned(),
            user: self.user.to_owned(),
            workstation: "BENCH".to_owned(),
            encrypted_session_key: rc4_16(&base, &EXPORTED).to_vec(),
            flags: Some(self.flags & challenge.flags),
            version: None,
            mic: self.mic.then_some([0; 16]),
        };
        let mut bytes = message.encode();
        if self.mic {
            let mic = message_integrity_code(&EXPORTED, &self.negotiate, challenge_bytes, &bytes);
            assert!(message::set_mic(&mut bytes, mic));
        }
        bytes
    }
}

fn acceptor() -> Acceptor {
    let mut file = UserFile::default();
    file.add(
        "Carol",
        NtHash::from_password(PASSWORD),
        &["Administrators"],
    )
    .unwrap();
    file.add("dave", NtHash::from_password(PASSWORD), &[])
        .unwrap();
    file.set_disabled("dave", true).unwrap();
    let context = AcceptContext {
        smb1: false,
        server_challenge: *b"abcdefgh",
        now: FileTime(0x1D0),
    };
    Acceptor::new(Arc::new(AuthConfig::default()), Arc::new(file), context)
}

fn continued(step: Step) -> Vec<u8> {
    match step {
        Step::Continue { token } => token,
        step => panic!("{step:?}"),
    }
}

fn reason(step: Step) -> FailureReason {
    match step {
        Step::Failed { failure, .. } => failure.reason,
        step => panic!("{step:?}"),
    }
}

fn resp(token: &[u8]) -> NegTokenResp<'_> {
    match NegotiationToken::decode(token).unwrap() {
        NegotiationToken::Resp(resp) => resp,
        token => panic!("{token:?}"),
    }
}

fn raw_logon(mut client: Client) -> Result<Box<Identity>, FailureReason> {
    let mut acceptor = acceptor();
    let challenge = continued(acceptor.step(&client.negotiate()));
    match acceptor.step(&client.authenticate(&challenge)) {
        Step::Done {
            identity,
            session_key,
            token,
            ..
        } => {
            assert_eq!(session_key.unwrap().as_bytes(), EXPORTED);
            assert!(token.is_empty());
            Ok(identity)
        }
        step => Err(reason(step)),
    }
}

#[test]
fn spellings_of_user_and_domain() {
    for (user, domain) in [
        ("carol", ""),
        ("CAROL", "ANYTHING"),
        ("carol", "."),
        ("WORKGROUP\\carol", ""),
        ("\\carol", "x"),
        ("carol@example.test", ""),
        ("carol@example.test", "EXAMPLE"),
    ] {
        let identity = raw_logon(Client {
            domain,
            ..Client::new(user)
        })
        .unwrap();
        assert_eq!(identity.name, "Carol", "{user}");
        assert_eq!(identity.workstation, "BENCH");
        assert!(identity.administrator);
        let sids: Vec<String> = identity
            .group_sids
            .iter()
            .map(ToString::to_string)
            .collect();
        for sid in [
            "S-1-1-0",
            "S-1-5-2",
            "S-1-5-11",
            "S-1-5-32-545",
            "S-1-5-32-544",
        ] {
            assert!(sids.iter().any(|s| s == sid), "{sid}");
        }
        assert_eq!(identity.user_sid.to_string(), "S-1-5-21-1-1-1-1001");
    }
}

#[test]
fn wrong_passwords_names_and_disabled_accounts() {
    let wrong = Client {
        password: "Correct horse",
        ..Client::new("carol")
    };
    assert_eq!(raw_logon(wrong), Err(FailureReason::BadPassword));
    assert_eq!(
        raw_logon(Client::new("nosuch")),
        Err(FailureReason::UnknownUser)
    );
    assert_eq!(raw_logon(Client::new("dave")), Err(FailureReason::Disabled));
    // Who does not know the password is not told that the account is disabled.
    let wrong = Client {
        password: "x",
        ..Client::new("dave")
    };
    assert_eq!(raw_logon(wrong), Err(FailureReason::BadPassword));
}

/// Makes a mechListMIC for the list of mechanisms.
type MakeMic<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// Runs a wrapped logon of a client that would rather have Kerberos.
fn changed_mechanism(mut client: Client, mic: Option<&MakeMic<'_>>) -> Step {
    let list: [&[u8]; 3] = [OID_MS_KERBEROS, OID_KERBEROS, OID_NTLMSSP];
    let der = mech_types_der(&list);
    let mut acceptor = acceptor();
    let init = NegTokenInit {
        mech_types: list.to_vec(),
        mech_types_der: &der,
        mech_token: Some(b"\x60\x03an AP-REQ"),
        mech_list_mic: None,
    };
    let token = continued(acceptor.step(&init.encode()));
    let first = resp(&token);
    assert_eq!(first.state, Some(NegState::RequestMic));
    assert_eq!(first.supported_mech, Some(OID_NTLMSSP));
    assert_eq!(first.response_token, None);
    let negotiate = client.negotiate();
    let go_on = NegTokenResp {
        response_token: Some(&negotiate),
        ..NegTokenResp::default()
    };
    let token = continued(acceptor.step(&go_on.encode()));
    let second = resp(&token);
    assert_eq!(second.state, Some(NegState::AcceptIncomplete));
    let authenticate = client.authenticate(second.response_token.unwrap());
    let mic = mic.map(|mic| mic(&der));
    let last = NegTokenResp {
        response_token: Some(&authenticate),
        mech_list_mic: mic.as_deref(),
        ..NegTokenResp::default()
    };
    acceptor.step(&last.encode())
}

#[test]
fn a_client_that_wants_kerberos_goes_on_with_ntlm() {
    let client = Client::new("carol");
    let flags = client.flags;
    let sign = |der: &[u8]| first_signature(&EXPORTED, flags, Sender::Client, der).to_vec();
    match changed_mechanism(client, Some(&sign)) {
        Step::Done {
            token, session_key, ..
        } => {
            let last = resp(&token);
            assert_eq!(last.state, Some(NegState::AcceptCompleted));
            let der = mech_types_der(&[OID_MS_KERBEROS, OID_KERBEROS, OID_NTLMSSP]);
            let mic = last.mech_list_mic.unwrap();
            assert!(verify_first_signature(
                &EXPORTED,
                flags,
                Sender::Server,
                &der,
                mic
            ));
            assert_eq!(session_key.unwrap().as_bytes(), EXPORTED);
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_changed_list_of_mechanisms_is_noticed() {
    let flags = Client::new("carol").flags;
    let other = |_: &[u8]| {
        first_signature(
            &EXPORTED,
            flags,
            Sender::Client,
            &mech_types_der(&[OID_NTLMSSP]),
        )
        .to_vec()
    };
    let step = changed_mechanism(Client::new("carol"), Some(&other));
    assert_eq!(reason(step), FailureReason::BadMechListMic);
    let step = changed_mechanism(Client::new("carol"), None);
    assert_eq!(reason(step), FailureReason::NoMechListMic);
    // Clients from before the MIC cannot be asked for it.
    let old = Client {
        mic: false,
        ..Client::new("carol")
    };
    match changed_mechanism(old, None) {
        Step::Done { token, .. } => assert_eq!(resp(&token).mech_list_mic, None),
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_missing_or_wrong_mic_is_noticed() {
    for (flag, position) in [(true, None), (true, Some(72usize)), (true, Some(87))] {
        let mut client = Client {
            mic: flag,
            ..Client::new("carol")
        };
        let mut acceptor = acceptor();
        let challenge = continued(acceptor.step(&client.negotiate()));
        let mut message = client.authenticate(&challenge);
        match position {
            Some(at) => message[at] ^= 1,
            // The field gone: the payload begins where it stood.
            None => {
                let mut decoded = Authenticate::decode(&message, NegotiateFlags::UNICODE).unwrap();
                decoded.mic = None;
                message = decoded.encode();
            }
        }
        assert_eq!(
            reason(acceptor.step(&message)),
            FailureReason::BadMic,
            "{position:?}"
        );
    }
}

#[test]
fn a_response_whose_pairs_are_cut_off_is_malformed() {
    let mut client = Client {
        mic: false,
        ..Client::new("nosuch")
    };
    let mut acceptor = acceptor();
    let challenge = continued(acceptor.step(&client.negotiate()));
    let message = client.authenticate(&challenge);
    let mut decoded = Authenticate::decode(&message, NegotiateFlags::UNICODE).unwrap();
    decoded.nt_response.truncate(95);
    let reason = reason(acceptor.step(&decoded.encode()));
    assert_eq!(reason, FailureReason::Malformed("NtChallengeResponse"));
}

#[test]
fn the_first_token_may_come_without_a_message_or_not_at_all() {
    let mut client = Client::new("carol");
    let mut acceptor = acceptor();
    let hint = continued(acceptor.step(&[]));
    assert_eq!(hint, negotiate_hint(&AuthConfig::default()));
    let init = NegTokenInit {
        mech_types: vec![OID_NTLMSSP],
        ..NegTokenInit::default()
    };
    let token = continued(acceptor.step(&init.encode()));
    let first = resp(&token);
    assert_eq!(first.state, Some(NegState::AcceptIncomplete));
    assert_eq!(first.response_token, None);
    let negotiate = client.negotiate();
    let go_on = NegTokenResp {
        response_token: Some(&negotiate),
        ..NegTokenResp::default()
    };
    let token = continued(acceptor.step(&go_on.encode()));
    let message = client.authenticate(resp(&token).response_token.unwrap());
    // A message without SPNEGO in the middle of SPNEGO: the answer stays wrapped.
    match acceptor.step(&message) {
        Step::Done { token, .. } => {
            assert_eq!(resp(&token).state, Some(NegState::AcceptCompleted));
            assert_eq!(resp(&token).mech_list_mic, None);
        }
        step => panic!("{step:?}"),
    }
    // It is over.
    let again = reason(acceptor.step(&message));
    assert!(matches!(again, FailureReason::OutOfOrder(_)));
}

#[test]
fn tokens_out_of_order() {
    let mut client = Client::new("carol");
    let negotiate = client.negotiate();
    let challenge = continued(acceptor().step(&negotiate));
    let authenticate = client.authenticate(&challenge);
    let wrapped = |token| NegTokenResp {
        response_token: Some(token),
        ..NegTokenResp::default()
    };
    let init = |token| NegTokenInit {
        mech_types: vec![OID_NTLMSSP],
        mech_token: Some(token),
        ..NegTokenInit::default()
    };
    let order = "out of order";
    let malformed = "malformed";
    for (tokens, expected) in [
        (vec![authenticate.clone()], order),
        (vec![negotiate.clone(), negotiate.clone()], order),
        (vec![challenge.clone()], order),
        (vec![wrapped(&negotiate).encode()], order),
        (vec![init(&authenticate).encode()], order),
        (
            vec![init(&negotiate).encode(), init(&negotiate).encode()],
            order,
        ),
        (
            vec![init(&negotiate).encode(), NegTokenResp::default().encode()],
            malformed,
        ),
        (vec![init(b"NTLMSSP\0").encode()], malformed),
        (vec![b"junk".to_vec()], malformed),
        (vec![vec![0x60, 3, 6, 1, 42]], "no mechanism in common"),
    ] {
        let mut acceptor = acceptor();
        let mut last = None;
        for token in &tokens {
            last = Some(acceptor.step(token));
        }
        let reason = reason(last.unwrap());
        assert!(
            reason.to_string().contains(expected),
            "{reason} where {expected} is due"
        );
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_token_makes_the_acceptor_panic_or_let_anybody_in(
            tokens in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..4),
            flips in prop::collection::vec((0usize..3, any::<prop::sample::Index>(), 1u8..), 1..4),
        ) {
            let mut acceptor = acceptor();
            for token in &tokens {
                let done = matches!(acceptor.step(token), Step::Done { .. });
                prop_assert!(!done);
            }
            // A real exchange with some bytes changed: it ends one way or the other.
            let mut client = Client::new("carol");
            let mut acceptor = super::acceptor();
            for leg in 0..3 {
                let mut token = match leg {
                    0 => client.negotiate(),
                    1 => vec![0; 60],
                    _ => Vec::new(),
                };
                for (at, index, bits) in &flips {
                    if *at == leg && !token.is_empty() {
                        let index = index.index(token.len());
                        token[index] ^= bits;
                    }
                }
                if let Step::Continue { token } = acceptor.step(&token)
                    && Challenge::decode(&token).is_ok()
                {
                    let mut message = client.authenticate(&token);
                    for (_, index, bits) in &flips {
                        let index = index.index(message.len());
                        message[index] ^= bits;
                    }
                    let changed = message != client.authenticate(&token);
                    let done = matches!(acceptor.step(&message), Step::Done { .. });
                    prop_assert!(!(done && changed));
                }
            }
        }
    }
}
