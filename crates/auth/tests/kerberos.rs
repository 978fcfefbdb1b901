//! The acceptor with Kerberos, over a library that only plays it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::sync::Arc;
use std::time::Duration;

use countersign_auth::der::{APPLICATION_0, OID, element};
use countersign_auth::pac::LogonInfo;
use countersign_auth::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_KERBEROS, OID_MS_KERBEROS,
    OID_NTLMSSP, mech_types_der,
};
use countersign_auth::{
    AcceptContext, Acceptor, AuthConfig, AuthFailure, ClassicLogon, FailureReason, Identity,
    KerberosAcceptor, KerberosFailure, KerberosPeer, KerberosService, KerberosStep, Mechanism,
    NtlmRules, SessionKey, Step, UserFile, classic_logon, negotiate_hint,
};

fn pac() -> Vec<u8> {
    let text: String = include_str!("data/pac-alice.hex")
        .split_whitespace()
        .collect();
    hex::decode(text).unwrap()
}

/// Lets in whoever says `ticket`; `more` asks for one more leg.
#[derive(Debug)]
struct Played {
    pac: Option<Vec<u8>>,
}

impl KerberosService for Played {
    fn accept(&self) -> Result<Box<dyn KerberosAcceptor>, KerberosFailure> {
        Ok(Box::new(Exchange {
            pac: self.pac.clone(),
        }))
    }
}

struct Exchange {
    pac: Option<Vec<u8>>,
}

fn mic_of(who: &str, message: &[u8]) -> Vec<u8> {
    [who.as_bytes(), message].concat()
}

impl KerberosAcceptor for Exchange {
    fn step(&mut self, token: &[u8]) -> Result<KerberosStep, KerberosFailure> {
        if token == b"more" {
            return Ok(KerberosStep::Continue(b"go on".to_vec()));
        }
        if token != b"ticket" && !token.ends_with(b"raw ticket") {
            return Err(KerberosFailure {
                reason: FailureReason::WrongKey,
                text: "no key for kvno 7".to_owned(),
            });
        }
        Ok(KerberosStep::Done {
            token: b"proof".to_vec(),
            peer: KerberosPeer {
                principal: "alice@LAB.EXAMPLE".to_owned(),
                session_key: SessionKey::new(&[7; 32]),
                logon_info: self.pac.clone(),
                lifetime: Some(Duration::from_secs(60)),
            },
        })
    }

    fn mic(&mut self, message: &[u8]) -> Result<Vec<u8>, KerberosFailure> {
        Ok(mic_of("server", message))
    }

    fn verify_mic(&mut self, message: &[u8], mic: &[u8]) -> bool {
        mic == mic_of("client", message)
    }
}

fn config(pac: Option<Vec<u8>>, ntlm: bool) -> AuthConfig {
    AuthConfig {
        kerberos: Some(Arc::new(Played { pac })),
        rules: NtlmRules {
            ntlm,
            ..NtlmRules::default()
        },
        ..AuthConfig::default()
    }
}

fn acceptor_of(config: AuthConfig) -> Acceptor {
    let users = UserFile::parse("").unwrap_or_default();
    Acceptor::new(
        Arc::new(config),
        Arc::new(users),
        AcceptContext {
            smb1: false,
            server_challenge: [1; 8],
            now: countersign_wire::FileTime(0),
        },
    )
}

fn acceptor() -> Acceptor {
    acceptor_of(config(Some(pac()), true))
}

fn init(list: &[&'static [u8]], token: Option<&[u8]>, mic: Option<&[u8]>) -> Vec<u8> {
    NegTokenInit {
        mech_types: list.to_vec(),
        mech_types_der: &mech_types_der(list),
        mech_token: token,
        mech_list_mic: mic,
    }
    .encode()
}

fn resp(token: Option<&[u8]>, mic: Option<&[u8]>) -> Vec<u8> {
    NegTokenResp {
        response_token: token,
        mech_list_mic: mic,
        ..NegTokenResp::default()
    }
    .encode()
}

fn read(token: &[u8]) -> NegTokenResp<'_> {
    match NegotiationToken::decode(token).unwrap() {
        NegotiationToken::Resp(resp) => resp,
        NegotiationToken::Init(_) => panic!("an initial token"),
    }
}

struct Finished {
    token: Vec<u8>,
    identity: Identity,
}

fn finished(step: Step) -> Finished {
    match step {
        Step::Done {
            token,
            identity,
            session_key,
            mechanism,
            lifetime,
        } => {
            assert_eq!(session_key.unwrap().as_bytes(), [7; 32]);
            assert_eq!(mechanism, Mechanism::Kerberos);
            assert_eq!(lifetime, Some(Duration::from_secs(60)));
            Finished {
                token,
                identity: *identity,
            }
        }
        other => panic!("{other:?}"),
    }
}

fn goes_on(step: Step) -> Vec<u8> {
    match step {
        Step::Continue { token } => token,
        other => panic!("{other:?}"),
    }
}

fn failure(step: Step) -> AuthFailure {
    match step {
        Step::Failed { failure, .. } => failure,
        other => panic!("{other:?}"),
    }
}

const WINDOWS: &[&[u8]] = &[OID_MS_KERBEROS, OID_KERBEROS, OID_NTLMSSP];
const UNKNOWN: &[u8] = &[0x2A, 3, 4];

#[test]
fn one_leg_is_enough_for_an_optimistic_token() {
    let done = finished(acceptor().step(&init(WINDOWS, Some(b"ticket"), None)));
    let answer = read(&done.token);
    assert_eq!(answer.state, Some(NegState::AcceptCompleted));
    assert_eq!(answer.supported_mech, Some(OID_MS_KERBEROS));
    assert_eq!(answer.response_token, Some(&b"proof"[..]));
    assert_eq!(answer.mech_list_mic, None);
    assert_eq!(done.identity.name, "alice");
    assert_eq!(done.identity.domain, "LAB");
    assert_eq!(done.identity.realm.as_deref(), Some("LAB.EXAMPLE"));
    assert!(!done.identity.administrator);
}

#[test]
fn without_an_optimistic_token_one_is_asked_for() {
    let mut acceptor = acceptor();
    let token = goes_on(acceptor.step(&init(WINDOWS, None, None)));
    assert_eq!(read(&token).state, Some(NegState::AcceptIncomplete));
    assert_eq!(read(&token).supported_mech, Some(OID_MS_KERBEROS));
    let token = goes_on(acceptor.step(&resp(Some(b"more"), None)));
    assert_eq!(read(&token).response_token, Some(&b"go on"[..]));
    finished(acceptor.step(&resp(Some(b"ticket"), None)));
    let late = failure(acceptor.step(&resp(Some(b"ticket"), None)));
    assert!(matches!(late.reason, FailureReason::OutOfOrder(_)));
}

#[test]
fn a_proof_of_the_list_is_checked_and_answered() {
    let list = mech_types_der(WINDOWS);
    let mic = mic_of("client", &list);
    let done = finished(acceptor().step(&init(WINDOWS, Some(b"ticket"), Some(&mic))));
    assert_eq!(
        read(&done.token).mech_list_mic,
        Some(&mic_of("server", &list)[..])
    );
    let wrong = acceptor().step(&init(WINDOWS, Some(b"ticket"), Some(b"x")));
    assert_eq!(failure(wrong).reason, FailureReason::BadMechListMic);
}

#[test]
fn a_second_choice_must_be_proved_by_both() {
    let list: &[&[u8]] = &[UNKNOWN, OID_KERBEROS];
    let der = mech_types_der(list);
    let begin = || {
        let mut acceptor = acceptor();
        // The token is the first mechanism's and must not be taken for Kerberos'.
        let token = goes_on(acceptor.step(&init(list, Some(b"ticket"), None)));
        assert_eq!(read(&token).state, Some(NegState::RequestMic));
        assert_eq!(read(&token).supported_mech, Some(OID_KERBEROS));
        let token = goes_on(acceptor.step(&resp(Some(b"ticket"), None)));
        assert_eq!(read(&token).state, Some(NegState::AcceptIncomplete));
        assert_eq!(
            read(&token).mech_list_mic,
            Some(&mic_of("server", &der)[..])
        );
        acceptor
    };
    let done = finished(begin().step(&resp(None, Some(&mic_of("client", &der)))));
    assert_eq!(read(&done.token).state, Some(NegState::AcceptCompleted));
    let wrong = begin().step(&resp(None, Some(b"x")));
    assert_eq!(failure(wrong).reason, FailureReason::BadMechListMic);
    let none = begin().step(&resp(None, None));
    assert_eq!(failure(none).reason, FailureReason::NoMechListMic);
    // With the proof at once, it is one leg less.
    let mut acceptor = acceptor();
    goes_on(acceptor.step(&init(list, None, None)));
    finished(acceptor.step(&resp(Some(b"ticket"), Some(&mic_of("client", &der)))));
}

#[test]
fn the_clients_order_decides() {
    let token = goes_on(acceptor().step(&init(&[OID_NTLMSSP, OID_KERBEROS], None, None)));
    assert_eq!(read(&token).supported_mech, Some(OID_NTLMSSP));
    let token = goes_on(acceptor().step(&init(&[OID_KERBEROS, OID_NTLMSSP], None, None)));
    assert_eq!(read(&token).supported_mech, Some(OID_KERBEROS));
    // Without a keytab NTLM is the server's choice.
    let mut plain = acceptor_of(AuthConfig::default());
    let token = goes_on(plain.step(&init(WINDOWS, Some(b"ticket"), None)));
    assert_eq!(read(&token).supported_mech, Some(OID_NTLMSSP));
    assert_eq!(read(&token).state, Some(NegState::RequestMic));
    let mut plain = acceptor_of(AuthConfig::default());
    let none = plain.step(&init(&[OID_KERBEROS], Some(b"ticket"), None));
    assert_eq!(failure(none).reason, FailureReason::NoMechanism);
}

#[test]
fn kerberos_without_a_frame_of_spnego() {
    let mut inner = element(OID, OID_KERBEROS);
    inner.extend_from_slice(b"raw ticket");
    let token = element(APPLICATION_0, &inner);
    let done = finished(acceptor().step(&token));
    assert_eq!(done.token, b"proof");
    let mut plain = acceptor_of(AuthConfig::default());
    assert_eq!(
        failure(plain.step(&token)).reason,
        FailureReason::NoMechanism
    );
}

#[test]
fn what_the_library_refuses_is_refused() {
    let failure = failure(acceptor().step(&init(WINDOWS, Some(b"forged"), None)));
    assert_eq!(failure.reason, FailureReason::WrongKey);
    assert!(
        failure.to_string().contains("no key for kvno 7"),
        "{failure}"
    );
    assert!(!failure.is_bad_password());
}

#[test]
fn nobody_is_let_in_without_a_pac() {
    for (pac, reason) in [
        (None, FailureReason::NoPac),
        (Some(vec![1; 40]), FailureReason::Malformed("PAC")),
    ] {
        let mut acceptor = acceptor_of(config(pac, true));
        let failure = failure(acceptor.step(&init(WINDOWS, Some(b"ticket"), None)));
        assert_eq!(failure.reason, reason);
        assert_eq!(failure.user, "alice@LAB.EXAMPLE");
    }
}

#[test]
fn ntlm_can_be_off() {
    let off = config(Some(pac()), false);
    let hint = negotiate_hint(&off);
    let NegotiationToken::Init(offered) = NegotiationToken::decode(&hint).unwrap() else {
        panic!("no initial token");
    };
    assert_eq!(offered.mech_types, [OID_MS_KERBEROS, OID_KERBEROS]);
    let hint = negotiate_hint(&config(None, true));
    let NegotiationToken::Init(offered) = NegotiationToken::decode(&hint).unwrap() else {
        panic!("no initial token");
    };
    assert_eq!(offered.mech_types, WINDOWS);

    let refused = |token: &[u8]| {
        let step = acceptor_of(config(Some(pac()), false)).step(token);
        assert_eq!(failure(step).reason, FailureReason::NtlmRefused);
    };
    refused(&init(&[OID_NTLMSSP], None, None));
    refused(b"NTLMSSP\0\x01\0\0\0\x97\x82\x08\xe2");
    let users = UserFile::parse("").unwrap_or_default();
    let logon = ClassicLogon {
        user: "carol",
        domain: "",
        lm_response: &[0; 24],
        nt_response: &[0; 24],
        challenge: [0; 8],
    };
    let classic = classic_logon(&off, &users, &logon).unwrap_err();
    assert_eq!(classic.reason, FailureReason::NtlmRefused);
}

#[test]
fn lists_name_accounts_of_here_and_of_the_domain() {
    let info = LogonInfo::decode(&pac()).unwrap();
    let alice = Identity::domain_user(&info, "LAB.EXAMPLE");
    let sid = alice.user_sid.to_string();
    let engineers = format!("@{}", info.domain_sid.with_rid(1105));
    for entry in [
        r"LAB\alice",
        r"lab\Alice",
        "alice@lab.example",
        sid.as_str(),
        engineers.as_str(),
        r"@LAB\Domain Users",
    ] {
        assert!(alice.is_listed_as(entry), "{entry}");
    }
    // A name alone is somebody of this server.
    for entry in [
        "alice",
        r"OTHER\alice",
        "alice@OTHER.EXAMPLE",
        "@Domain Users",
        "@engineers",
        "@alice",
        "bob@lab.example",
    ] {
        assert!(!alice.is_listed_as(entry), "{entry}");
    }
    let admins = LogonInfo {
        group_sids: vec![info.domain_sid.with_rid(512)],
        ..info
    };
    assert!(Identity::domain_user(&admins, "LAB.EXAMPLE").administrator);
}
