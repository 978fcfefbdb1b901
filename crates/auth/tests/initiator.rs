//! The client's side against the acceptor: proofs given, checked and missing.

#![allow(clippy::unwrap_used, clippy::panic)] // a test's way to fail

use std::sync::Arc;

use countersign_auth::ntlm::{ClientRandom, NtlmCredentials};
use countersign_auth::spnego::{NegState, NegTokenResp, NegotiationToken, OID_KERBEROS};
use countersign_auth::{
    AcceptContext, Acceptor, AuthConfig, Initiated, Initiator, InitiatorError, MechanismInitiator,
    NtHash, NtlmMechanism, SpnegoInitiator, Step, UserFile,
};
use countersign_wire::FileTime;

fn ntlm(user: &str, password: &str) -> NtlmMechanism {
    NtlmMechanism::new(
        NtlmCredentials {
            user: user.into(),
            domain: "D".into(),
            nt_hash: NtHash::from_password(password),
            workstation: "W".into(),
        },
        Some("cifs/server".into()),
        ClientRandom {
            challenge: *b"abcdefgh",
            session_key: [0x77; 16].into(),
        },
    )
}

fn acceptor() -> Acceptor {
    let mut users = UserFile::default();
    users
        .add("alice", NtHash::from_password("Passw0rd!"), &[])
        .unwrap();
    let mut config = AuthConfig::default();
    config.rules.anonymous = true;
    Acceptor::new(
        Arc::new(config),
        Arc::new(users),
        AcceptContext {
            smb1: false,
            server_challenge: *b"12345678",
            now: FileTime(132_000_000_000_000_000),
        },
    )
}

/// Runs an exchange; `alter` changes each token of the server on its way.
fn run(
    client: &mut dyn Initiator,
    alter: impl Fn(usize, Vec<u8>) -> Vec<u8>,
) -> Result<Option<Initiated>, InitiatorError> {
    let mut server = acceptor();
    let mut token = client.step(None)?.token.unwrap();
    for round in 0.. {
        let (answer, over) = match server.step(&token) {
            Step::Continue { token } => (token, false),
            Step::Done { token, .. } => (token, true),
            Step::Failed { .. } => return Ok(None),
        };
        let step = client.step(Some(&alter(round, answer)))?;
        if over {
            return Ok(step.done);
        }
        token = step.token.unwrap();
    }
    unreachable!()
}

#[test]
fn ntlm_ends_with_the_key_and_both_proofs() {
    let mut client = SpnegoInitiator::ntlm(ntlm("alice", "Passw0rd!"));
    let done = run(&mut client, |_, token| token).unwrap().unwrap();
    assert_eq!(done.session_key.unwrap().as_bytes(), [0x77; 16]);
    assert!(!done.mutual);
    assert_eq!(done.mechanism, "NTLM");
}

#[test]
fn a_wrong_password_fails_at_the_server() {
    let mut client = SpnegoInitiator::ntlm(ntlm("alice", "wrong"));
    assert!(run(&mut client, |_, token| token).unwrap().is_none());
}

#[test]
fn anonymous_has_no_key() {
    let mut client = SpnegoInitiator::ntlm(ntlm("", ""));
    let done = run(&mut client, |_, token| token).unwrap().unwrap();
    assert!(done.session_key.is_none());
}

#[test]
fn a_wrong_mech_list_mic_is_refused() {
    let mut client = SpnegoInitiator::ntlm(ntlm("alice", "Passw0rd!"));
    let flip = |round, mut token: Vec<u8>| {
        if round == 1 {
            let Ok(NegotiationToken::Resp(resp)) = NegotiationToken::decode(&token) else {
                panic!("not a response");
            };
            let mut mic = resp.mech_list_mic.unwrap().to_vec();
            mic[5] ^= 1;
            token = NegTokenResp {
                mech_list_mic: Some(&mic),
                ..resp
            }
            .encode();
        }
        token
    };
    assert_eq!(
        run(&mut client, flip).unwrap_err(),
        InitiatorError::BadMechListMic
    );
}

/// A mechanism the acceptor does not have.
struct Foreign;

impl MechanismInitiator for Foreign {
    fn oids(&self) -> &'static [&'static [u8]] {
        &[OID_KERBEROS]
    }
    fn step(&mut self, _: Option<&[u8]>) -> Result<(Option<Vec<u8>>, bool), InitiatorError> {
        Ok((Some(b"ticket".to_vec()), false))
    }
    fn outcome(&self) -> Option<Initiated> {
        None
    }
    fn mic(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn verify_mic(&mut self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// A mechanism that cannot begin.
struct Broken;

impl MechanismInitiator for Broken {
    fn oids(&self) -> &'static [&'static [u8]] {
        &[OID_KERBEROS]
    }
    fn step(&mut self, _: Option<&[u8]>) -> Result<(Option<Vec<u8>>, bool), InitiatorError> {
        Err(InitiatorError::Mechanism("no ticket".into()))
    }
    fn outcome(&self) -> Option<Initiated> {
        None
    }
    fn mic(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn verify_mic(&mut self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

#[test]
fn the_server_may_choose_the_second_mechanism_and_must_prove_the_list() {
    let both = || {
        SpnegoInitiator::new(vec![
            Box::new(Foreign),
            Box::new(ntlm("alice", "Passw0rd!")),
        ])
        .unwrap()
    };
    let done = run(&mut both(), |_, token| token).unwrap().unwrap();
    assert_eq!(done.mechanism, "NTLM");

    // Somebody takes the proof away.
    let strip = |_, token: Vec<u8>| match NegotiationToken::decode(&token) {
        Ok(NegotiationToken::Resp(resp)) => NegTokenResp {
            mech_list_mic: None,
            ..resp
        }
        .encode(),
        _ => token,
    };
    assert_eq!(
        run(&mut both(), strip).unwrap_err(),
        InitiatorError::NoMechListMic
    );
}

#[test]
fn a_mechanism_that_cannot_begin_is_left_out() {
    let mut client =
        SpnegoInitiator::new(vec![Box::new(Broken), Box::new(ntlm("alice", "Passw0rd!"))]).unwrap();
    let done = run(&mut client, |_, token| token).unwrap().unwrap();
    assert_eq!(done.mechanism, "NTLM");
    let mut alone = SpnegoInitiator::new(vec![Box::new(Broken)]).unwrap();
    assert!(matches!(
        alone.step(None).unwrap_err(),
        InitiatorError::Mechanism(_)
    ));
}

#[test]
fn what_comes_out_of_turn_or_is_rejected_ends_the_exchange() {
    let mut client = SpnegoInitiator::ntlm(ntlm("alice", "Passw0rd!"));
    assert_eq!(
        client.step(Some(b"x")).unwrap_err(),
        InitiatorError::OutOfTurn
    );
    client.step(None).unwrap();
    // An end without a challenge.
    assert_eq!(
        client.step(Some(b"")).unwrap_err(),
        InitiatorError::OutOfTurn
    );
    let mut client = SpnegoInitiator::ntlm(ntlm("alice", "Passw0rd!"));
    client.step(None).unwrap();
    let reject = NegTokenResp {
        state: Some(NegState::Reject),
        ..NegTokenResp::default()
    };
    assert_eq!(
        client.step(Some(&reject.encode())).unwrap_err(),
        InitiatorError::Rejected
    );
    let mut client = SpnegoInitiator::ntlm(ntlm("alice", "Passw0rd!"));
    client.step(None).unwrap();
    let foreign = NegTokenResp {
        supported_mech: Some(OID_KERBEROS),
        ..NegTokenResp::default()
    };
    assert_eq!(
        client.step(Some(&foreign.encode())).unwrap_err(),
        InitiatorError::NotOffered
    );
}
