//! What clients look at in the exchange itself: rows 5, 10, 11, 13 and 47 of the
//! client checklist.

use super::*;
use countersign_auth::NtHash;
use countersign_auth::ntlm::{Challenge, NegotiateFlags, NtlmCredentials, NtlmInitiator, av};
use countersign_auth::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_NTLMSSP, mech_types_der,
};
use countersign_testkit::wire::Wire;

struct Leg {
    reply: Reply,
    token: Vec<u8>,
}

fn leg(c: &mut Client<MemoryWire>, id: u64, token: &[u8]) -> Leg {
    let header = Header {
        session_id: id,
        ..c.header(Command::SESSION_SETUP)
    };
    let request = SessionSetupRequest {
        flags: 0,
        security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities: Capabilities::empty(),
        channel: 0,
        previous_session_id: 0,
        security_buffer: token,
    };
    let m = Client::<MemoryWire>::message(&header, |w| request.encode(w));
    c.wire.send(&m);
    // Not `reply()`, which passes interim responses over.
    let reply = c.any_reply().unwrap();
    let token = SessionSetupResponse::decode(&reply.message)
        .unwrap()
        .security_buffer
        .to_vec();
    Leg { reply, token }
}

fn initiator(domain: &str, password: &str) -> NtlmInitiator {
    let who = NtlmCredentials {
        user: "alice".into(),
        domain: domain.into(),
        nt_hash: NtHash::from_password(password),
        workstation: "SCANNER".into(),
    };
    NtlmInitiator::new(who, NtlmInitiator::default_flags(), None)
}

fn random() -> countersign_auth::ntlm::ClientRandom {
    countersign_auth::ntlm::ClientRandom {
        challenge: *b"12345678",
        session_key: [0x42; 16].into(),
    }
}

/// Row 11: what Windows and cifs.ko insist on in the CHALLENGE.
#[test]
fn the_challenge_has_the_flags_and_names_clients_insist_on() {
    let s = Subject::new(optional());
    let mut c = s.dialect(0x311);
    let first = leg(&mut c, 0, initiator("X", "Passw0rd!").negotiate());
    assert_eq!(first.reply.status(), NtStatus::MORE_PROCESSING_REQUIRED);
    let challenge = Challenge::decode(&first.token).unwrap();
    for flag in [
        NegotiateFlags::KEY_128,
        NegotiateFlags::KEY_EXCHANGE,
        NegotiateFlags::VERSION,
        NegotiateFlags::TARGET_INFO,
        NegotiateFlags::TARGET_TYPE_SERVER,
        NegotiateFlags::EXTENDED_SESSION_SECURITY,
        NegotiateFlags::UNICODE,
        NegotiateFlags::SIGN,
    ] {
        assert!(challenge.flags.contains(flag), "{flag:?}");
    }
    assert!(!challenge.target_name.is_empty());
    let ids: Vec<u16> = av::pairs(&challenge.target_info)
        .map(|(id, _)| id)
        .collect();
    for id in [1, 2, 3, 4, 7] {
        assert!(ids.contains(&id), "pair {id} of {ids:?}");
    }
    assert_ne!(challenge.version.unwrap().0, [0; 8]);
}

/// Row 5: an acceptor's mechListMIC only in answer to one.
#[test]
fn a_mech_list_mic_answers_one_and_never_comes_unasked() {
    let s = Subject::new(optional());
    for with_mic in [false, true] {
        let mut c = s.dialect(0x311);
        let client = initiator("X", "Passw0rd!");
        let list = mech_types_der(&[OID_NTLMSSP]);
        let init = NegTokenInit {
            mech_types: vec![OID_NTLMSSP],
            mech_types_der: &list,
            mech_token: Some(client.negotiate()),
            mech_list_mic: None,
        };
        let first = leg(&mut c, 0, &init.encode());
        let challenge = match NegotiationToken::decode(&first.token).unwrap() {
            NegotiationToken::Resp(r) => r.response_token.unwrap().to_vec(),
            NegotiationToken::Init(_) => panic!("not a response"),
        };
        let done = client.authenticate(&challenge, &random()).unwrap();
        let mic = done.mech_list_mic(countersign_auth::ntlm::seal::Sender::Client, &list);
        let second = NegTokenResp {
            state: None,
            supported_mech: None,
            response_token: Some(&done.token),
            mech_list_mic: with_mic.then_some(&mic),
        };
        let last = leg(&mut c, first.reply.header.session_id, &second.encode());
        assert_eq!(last.reply.status(), NtStatus::SUCCESS);
        match NegotiationToken::decode(&last.token).unwrap() {
            NegotiationToken::Resp(r) => {
                assert_eq!(r.state, Some(NegState::AcceptCompleted));
                assert_eq!(r.mech_list_mic.is_some(), with_mic);
            }
            NegotiationToken::Init(_) => panic!("not a response"),
        }
    }
}

/// Row 13: devices send their own name, an address or nothing as the domain.
#[test]
fn a_local_user_is_known_under_any_domain() {
    let s = Subject::new(optional());
    for domain in ["", "WORKGROUP", "SCANNER", "192.0.2.7", "NO.SUCH.DOMAIN"] {
        let mut c = s.dialect(0x210);
        let client = initiator(domain, "Passw0rd!");
        let first = leg(&mut c, 0, client.negotiate());
        let done = client.authenticate(&first.token, &random()).unwrap();
        let last = leg(&mut c, first.reply.header.session_id, &done.token);
        assert_eq!(last.reply.status(), NtStatus::SUCCESS, "{domain:?}");
    }
}

/// Rows 10, 12 and 47: LOGON_FAILURE, no guest, and no interim response however
/// long the answer takes.
#[test]
fn a_wrong_password_is_no_guest_and_never_pending() {
    let s = Subject::with(optional(), |c| c.guest = true);
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        let client = initiator("X", "wrong");
        let first = leg(&mut c, 0, client.negotiate());
        let done = client.authenticate(&first.token, &random()).unwrap();
        let header = Header {
            session_id: first.reply.header.session_id,
            ..c.header(Command::SESSION_SETUP)
        };
        let request = SessionSetupRequest {
            flags: 0,
            security_mode: SecurityMode::SIGNING_ENABLED,
            capabilities: Capabilities::empty(),
            channel: 0,
            previous_session_id: 0,
            security_buffer: &done.token,
        };
        let m = Client::<MemoryWire>::message(&header, |w| request.encode(w));
        c.wire.send(&m);
        let reply = c.any_reply().unwrap();
        assert_eq!(reply.status(), NtStatus::LOGON_FAILURE, "{dialect:#x}");
        assert!(reply.header.async_id().is_none());
    }
}
