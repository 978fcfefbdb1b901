//! Real clients' logons, replayed from packet captures: the acceptor must give
//! the same tokens as the real server did, byte for byte, and the same keys.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a test's way to fail

use std::sync::Arc;

use countersign_auth::ntlm::message::Challenge;
use countersign_auth::ntlm::{av, message};
use countersign_auth::{
    AcceptContext, Acceptor, AuthConfig, ClassicLogon, FailureReason, GuestRule, IdentityKind,
    Mechanism, NtHash, NtlmVersion, Step, UserFile, classic_logon,
};
use countersign_wire::FileTime;
use countersign_wire::cursor::utf16_lossy;

fn users() -> Arc<UserFile> {
    let mut file = UserFile::default();
    file.add("Alice", NtHash::from_password("Passw0rd!"), &["staff"])
        .unwrap();
    file.add("bob", NtHash::from_password("S3cret#2b"), &[])
        .unwrap();
    Arc::new(file)
}

struct Case {
    name: String,
    smb1: bool,
    kind: String,
    key: String,
    /// The client's token, the server's status, the server's token.
    legs: Vec<(Vec<u8>, u32, Vec<u8>)>,
}

fn cases() -> Vec<Case> {
    let mut out: Vec<Case> = Vec::new();
    let mut client = Vec::new();
    for line in include_str!("../testdata/logons.txt").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["case", name, family, kind, key] => out.push(Case {
                name: (*name).to_owned(),
                smb1: *family == "smb1",
                kind: (*kind).to_owned(),
                key: (*key).to_owned(),
                legs: Vec::new(),
            }),
            ["C", token] => client = hex::decode(token).unwrap(),
            ["S", status, token] => {
                let status = u32::from_str_radix(status, 16).unwrap();
                let leg = (client.clone(), status, hex::decode(token).unwrap());
                out.last_mut().unwrap().legs.push(leg);
            }
            _ => {}
        }
    }
    assert!(out.len() > 30);
    out
}

/// Configuration and context under which the real server's CHALLENGE comes out.
fn as_captured(case: &Case) -> (AuthConfig, AcceptContext) {
    let mut config = AuthConfig::default();
    config.rules.ntlmv1_smb1 = true;
    config.rules.ntlmv1_smb2 = true;
    config.rules.anonymous = true;
    let mut context = AcceptContext {
        smb1: case.smb1,
        server_challenge: [0; 8],
        now: FileTime::ZERO,
    };
    let token = &case.legs[0].2;
    let at = token.windows(8).position(|w| w == message::SIGNATURE);
    if let Some(at) = at {
        let challenge = Challenge::decode(&token[at..]).unwrap();
        let text = |id| utf16_lossy(av::find(&challenge.target_info, id).unwrap());
        config.names.netbios_computer = text(av::NB_COMPUTER_NAME);
        config.names.netbios_domain = text(av::NB_DOMAIN_NAME);
        config.names.dns_computer = text(av::DNS_COMPUTER_NAME);
        config.names.dns_domain = text(av::DNS_DOMAIN_NAME);
        context.server_challenge = challenge.server_challenge;
        let time = av::find(&challenge.target_info, av::TIMESTAMP).unwrap();
        context.now = FileTime(u64::from_le_bytes(time.try_into().unwrap()));
    }
    (config, context)
}

fn version(kind: &str) -> Option<NtlmVersion> {
    match kind.trim_end_matches("+KEYEX") {
        "NTLMv2" => Some(NtlmVersion::V2),
        "NTLMv1-ESS" => Some(NtlmVersion::V1Ess),
        "NTLMv1" => Some(NtlmVersion::V1),
        _ => None,
    }
}

#[test]
fn captured_logons_come_out_the_same() {
    let mut replayed = 0;
    for case in cases() {
        if case.name.starts_with("kerberos") || case.name.starts_with("mitm") {
            continue;
        }
        let (mut config, context) = as_captured(&case);
        let guest = case.kind == "unknown" && case.legs.last().unwrap().1 == 0;
        if guest {
            config.rules.guest = GuestRule::UnknownUser;
        }
        let computer = config.names.netbios_computer.clone();
        let mut acceptor = Acceptor::new(Arc::new(config), users(), context);
        for (client, status, server) in &case.legs {
            let name = &case.name;
            match (acceptor.step(client), status) {
                (Step::Continue { token }, 0xC000_0016) => {
                    assert_eq!(hex::encode(token), hex::encode(server), "{name}");
                }
                (
                    Step::Done {
                        token,
                        identity,
                        session_key,
                        mechanism,
                        ..
                    },
                    0,
                ) => {
                    assert_eq!(hex::encode(token), hex::encode(server), "{name}");
                    let key = session_key.map_or("-".into(), |k| hex::encode(k.as_bytes()));
                    assert_eq!(key, case.key, "{name}");
                    assert_eq!(mechanism, Mechanism::Ntlm(version(&case.kind)), "{name}");
                    let (kind, account) = match case.kind.as_str() {
                        "anonymous" => (IdentityKind::Anonymous, ""),
                        "unknown" => (IdentityKind::Guest, "Guest"),
                        _ if name == "nt1-multisession-2" => (IdentityKind::User, "bob"),
                        _ => (IdentityKind::User, "Alice"),
                    };
                    assert_eq!(
                        (identity.kind, identity.name.as_str()),
                        (kind, account),
                        "{name}"
                    );
                    if kind == IdentityKind::User {
                        assert_eq!(identity.domain, computer);
                    }
                    replayed += 1;
                }
                (
                    Step::Failed {
                        token: None,
                        failure,
                    },
                    0xC000_006D,
                ) => {
                    assert_eq!(failure.reason, FailureReason::BadPassword, "{name}");
                    assert_eq!(failure.status().0, *status, "{name}");
                    replayed += 1;
                }
                (step, status) => panic!("{name}: {step:?} where the server said {status:08x}"),
            }
        }
    }
    assert!(replayed >= 30, "{replayed}");
}

#[test]
fn every_altered_byte_of_a_protected_logon_is_noticed() {
    // The MIC covers all three messages, the mechListMIC the list of mechanisms.
    let cases = cases();
    let case = cases
        .iter()
        .find(|c| c.name.starts_with("smb311-gmac"))
        .unwrap();
    let (config, context) = as_captured(case);
    let config = Arc::new(config);
    for (leg, start) in [(0, 0), (1, 0)] {
        for at in start..case.legs[leg].0.len() {
            let mut acceptor = Acceptor::new(Arc::clone(&config), users(), context);
            let mut refused = false;
            for (n, (client, _, _)) in case.legs.iter().enumerate() {
                let mut token = client.clone();
                if n == leg {
                    token[at] ^= 0x40;
                }
                match acceptor.step(&token) {
                    Step::Failed { .. } => refused = true,
                    Step::Continue { .. } => {}
                    Step::Done { .. } => {
                        // Only DER that says nothing may change: it is outside the messages.
                        let signature = message::SIGNATURE;
                        let ntlm = client.windows(8).position(|w| w == signature).unwrap();
                        assert!(at < ntlm, "leg {leg} byte {at}");
                    }
                }
                if refused {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_challenge_altered_on_the_way_is_noticed() {
    let cases = cases();
    let case = cases
        .iter()
        .find(|c| c.name.starts_with("mitm-ntlm-strip-sign"))
        .unwrap();
    let (config, context) = as_captured(case);
    let mut acceptor = Acceptor::new(Arc::new(config), users(), context);
    assert!(matches!(
        acceptor.step(&case.legs[0].0),
        Step::Continue { .. }
    ));
    match acceptor.step(&case.legs[1].0) {
        Step::Failed { failure, .. } => {
            assert_eq!(failure.reason, FailureReason::BadMic);
            assert_eq!(failure.status().0, case.legs[1].1);
        }
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_client_that_has_only_kerberos_is_refused() {
    let mut seen = 0;
    for case in cases().iter().filter(|c| c.name.starts_with("kerberos")) {
        let (config, context) = as_captured(case);
        let mut acceptor = Acceptor::new(Arc::new(config), users(), context);
        match acceptor.step(&case.legs[0].0) {
            Step::Failed { failure, .. } => {
                assert_eq!(failure.reason, FailureReason::NoMechanism);
            }
            step => panic!("{}: {step:?}", case.name),
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn version_one_needs_its_own_permission_for_each_family() {
    for case in cases().iter().filter(|c| c.kind.starts_with("NTLMv1")) {
        for (smb1, smb2) in [(false, false), (true, false), (false, true)] {
            let (mut config, context) = as_captured(case);
            config.rules.ntlmv1_smb1 = smb1;
            config.rules.ntlmv1_smb2 = smb2;
            let mut acceptor = Acceptor::new(Arc::new(config), users(), context);
            let _ = acceptor.step(&case.legs[0].0);
            let allowed = if case.smb1 { smb1 } else { smb2 };
            match acceptor.step(&case.legs[1].0) {
                Step::Done { .. } => assert!(allowed, "{}", case.name),
                Step::Failed { failure, .. } => {
                    assert!(!allowed, "{}", case.name);
                    assert_eq!(failure.reason, FailureReason::Ntlmv1Refused);
                    assert_eq!(
                        (failure.user.as_str(), failure.workstation.as_str()),
                        ("alice", "VM")
                    );
                }
                step @ Step::Continue { .. } => panic!("{step:?}"),
            }
        }
    }
}

#[test]
fn defaults_refuse_anonymous_and_guests() {
    for case in cases() {
        let expected = match case.kind.as_str() {
            "anonymous" => FailureReason::AnonymousRefused,
            "unknown" if !case.name.contains("failed") => FailureReason::UnknownUser,
            _ => continue,
        };
        let (captured, context) = as_captured(&case);
        let config = AuthConfig {
            names: captured.names,
            ..AuthConfig::default()
        };
        let mut acceptor = Acceptor::new(Arc::new(config), users(), context);
        let mut last = None;
        for (client, _, _) in &case.legs {
            last = Some(acceptor.step(client));
        }
        match last {
            Some(Step::Failed { failure, .. }) => assert_eq!(failure.reason, expected),
            step => panic!("{}: {step:?}", case.name),
        }
    }
}

#[test]
fn classic_logons_give_the_key_of_the_mac() {
    let mut seen = 0;
    for line in include_str!("../testdata/classic.txt")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, challenge, lm, nt, user, domain, key] = words.as_slice() else {
            panic!("{line}");
        };
        let bytes = |s: &str| {
            if s == "-" {
                Vec::new()
            } else {
                hex::decode(s).unwrap()
            }
        };
        let (lm, nt) = (bytes(lm), bytes(nt));
        let logon = ClassicLogon {
            user,
            domain,
            lm_response: &lm,
            nt_response: &nt,
            challenge: bytes(challenge).try_into().unwrap(),
        };
        let mut config = AuthConfig::default();
        config.rules.classic_ntlmv2 = false;
        let refused = classic_logon(&config, &*users(), &logon)
            .unwrap_err()
            .reason;
        config.rules.classic_ntlmv2 = true;
        config.rules.ntlmv1_smb1 = true;
        if *key == "-" {
            let reason = classic_logon(&config, &*users(), &logon)
                .unwrap_err()
                .reason;
            assert_eq!(reason, FailureReason::UnknownUser, "{name}");
            config.rules.guest = GuestRule::UnknownUser;
            let guest = classic_logon(&config, &*users(), &logon).unwrap();
            assert_eq!(guest.identity.kind, IdentityKind::Guest);
            assert!(guest.session_key.is_none() && guest.challenge_response.is_empty());
        } else {
            let (version, off) = if nt.len() > 24 {
                (NtlmVersion::V2, FailureReason::ClassicNtlmv2Refused)
            } else {
                (NtlmVersion::V1, FailureReason::Ntlmv1Refused)
            };
            assert_eq!(refused, off, "{name}");
            let done = classic_logon(&config, &*users(), &logon).unwrap();
            assert_eq!(done.version, Some(version), "{name}");
            let mac_key = [
                done.session_key.unwrap().as_bytes(),
                &done.challenge_response,
            ]
            .concat();
            assert_eq!(hex::encode(mac_key), *key, "{name}");
            let wrong = ClassicLogon {
                challenge: [0; 8],
                ..logon
            };
            let reason = classic_logon(&config, &*users(), &wrong)
                .unwrap_err()
                .reason;
            assert_eq!(reason, FailureReason::BadPassword);
        }
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn classic_logons_without_proof() {
    let mut config = AuthConfig::default();
    config.rules.ntlmv1_smb1 = true;
    let check = |config: &AuthConfig, user: &str, lm: &[u8], nt: &[u8]| {
        let logon = ClassicLogon {
            user,
            domain: "",
            lm_response: lm,
            nt_response: nt,
            challenge: *b"12345678",
        };
        classic_logon(config, &*users(), &logon)
            .map(|a| a.identity.kind)
            .map_err(|f| f.reason)
    };
    assert_eq!(
        check(&config, "", &[], &[]),
        Err(FailureReason::AnonymousRefused)
    );
    assert_eq!(
        check(&config, "alice", &[0], &[]),
        Err(FailureReason::BadPassword)
    );
    assert_eq!(
        check(&config, "alice", b"Passw0rd!\0", &[]),
        Err(FailureReason::PlainText)
    );
    assert_eq!(
        check(&config, "alice", &[], b"Passw0rd!"),
        Err(FailureReason::PlainText)
    );
    assert_eq!(
        check(&config, "alice", &[1; 24], &[]),
        Err(FailureReason::LmRefused)
    );
    config.rules.anonymous = true;
    assert_eq!(check(&config, "", &[0], &[]), Ok(IdentityKind::Anonymous));
    assert_eq!(
        check(&config, "", &[1; 24], &[1; 24]),
        Err(FailureReason::UnknownUser)
    );
    config.rules.guest = GuestRule::UnknownUser;
    assert_eq!(
        check(&config, "nosuch", &[1; 24], &[1; 24]),
        Ok(IdentityKind::Guest)
    );
    assert_eq!(
        check(&config, "alice", &[1; 24], &[1; 24]),
        Err(FailureReason::BadPassword)
    );
    config.rules.guest = GuestRule::BadPassword;
    assert_eq!(
        check(&config, "alice", &[1; 24], &[1; 24]),
        Ok(IdentityKind::Guest)
    );
}
