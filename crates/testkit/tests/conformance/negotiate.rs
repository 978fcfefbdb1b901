//! [MS-SMB2] 3.3.5.3 and 3.3.5.4.

use super::*;
use countersign_testkit::wire::Wire;
use countersign_wire::Writer;

fn response(reply: &Reply) -> NegotiateResponse<'_> {
    NegotiateResponse::decode(&reply.message).unwrap()
}

fn smb1(dialects: &[&str]) -> Vec<u8> {
    let mut m = b"\xFFSMB\x72\0\0\0\0\x18\x53\xC8".to_vec();
    m.resize(32, 0);
    m.push(0);
    let text: Vec<u8> = dialects
        .iter()
        .flat_map(|d| [&[2u8], d.as_bytes(), &[0]].concat())
        .collect();
    m.extend_from_slice(&u16::try_from(text.len()).unwrap().to_le_bytes());
    m.extend_from_slice(&text);
    m
}

#[test]
fn greatest_common_dialect_is_chosen() {
    let s = Subject::new(optional());
    for (offered, expected) in [
        (vec![0x202], 0x202),
        (vec![0x202, 0x210], 0x210),
        (vec![0x302, 0x202, 0x300], 0x302),
        (vec![0x202, 0x210, 0x300, 0x302, 0x311], 0x311),
        (vec![0x202, 0x999], 0x202),
    ] {
        let mut c = s.connect();
        let offer = Offer {
            dialects: offered,
            ..Offer::dialect(0x311)
        };
        let reply = c.negotiate(offer).unwrap();
        assert_eq!((reply.status(), c.dialect), (NtStatus::SUCCESS, expected));
        assert!(
            reply.header.credits >= 1,
            "a credit comes with every NEGOTIATE response"
        );
    }
}

#[test]
fn no_dialect_and_no_common_dialect() {
    let s = Subject::new(optional());
    let mut c = s.connect();
    let offer = Offer {
        dialects: vec![],
        ..Offer::dialect(0x311)
    };
    assert_eq!(
        c.negotiate(offer).unwrap().status(),
        NtStatus::INVALID_PARAMETER
    );
    let mut c = s.connect();
    let offer = Offer {
        dialects: vec![0x222],
        ..Offer::dialect(0x311)
    };
    assert_eq!(
        c.negotiate(offer).unwrap().status(),
        NtStatus::NOT_SUPPORTED
    );
}

#[test]
fn signing_bits_of_the_answer_follow_the_policy() {
    for (settings, expected) in [(optional(), 1), (required(), 3)] {
        let s = Subject::new(settings);
        for dialect in ALL {
            let mut c = s.connect();
            let reply = c.negotiate(Offer::dialect(dialect)).unwrap();
            assert_eq!(
                response(&reply).security_mode.bits(),
                expected,
                "{dialect:#x}"
            );
        }
    }
}

#[test]
fn capabilities_by_dialect() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.connect();
        let reply = c.negotiate(Offer::dialect(dialect)).unwrap();
        let caps = response(&reply).capabilities;
        assert_eq!(
            caps.contains(Capabilities::LARGE_MTU),
            dialect >= 0x210,
            "{dialect:#x}"
        );
        assert_eq!(
            caps.contains(Capabilities::LEASING),
            dialect >= 0x210,
            "{dialect:#x}"
        );
        // 3.1.1 says it with a context; Windows 10 takes the bit as an anomaly.
        let encryption = dialect == 0x300 || dialect == 0x302;
        assert_eq!(
            caps.contains(Capabilities::ENCRYPTION),
            encryption,
            "{dialect:#x}"
        );
        assert!(dialect >= 0x300 || !caps.contains(Capabilities::MULTI_CHANNEL));
    }
    // ENCRYPTION only in answer to a client that has it.
    let mut c = s.connect();
    let offer = Offer {
        capabilities: Capabilities::LARGE_MTU,
        ..Offer::dialect(0x300)
    };
    let reply = c.negotiate(offer).unwrap();
    assert!(
        !response(&reply)
            .capabilities
            .contains(Capabilities::ENCRYPTION)
    );
}

#[test]
fn contexts_of_the_answer() {
    let s = Subject::new(optional());
    let mut c = s.connect();
    let reply = c.negotiate(Offer::dialect(0x311)).unwrap();
    let answer = response(&reply);
    // Order PREAUTH, ENCRYPTION, SIGNING; one value in each.
    let kinds: Vec<u16> = answer.contexts.iter().map(NegotiateContext::kind).collect();
    assert_eq!(kinds, [1, 2, 8]);
    match &answer.contexts[..] {
        [
            NegotiateContext::PreauthIntegrity { algorithms, salt },
            NegotiateContext::Encryption(ciphers),
            NegotiateContext::Signing(signing),
        ] => {
            assert_eq!(algorithms, &[HASH_SHA512]);
            assert!(!salt.is_empty());
            assert_eq!((ciphers.len(), signing.len()), (1, 1));
        }
        other => panic!("{other:?}"),
    }
    // No byte behind the last context: its data end with the message.
    assert_eq!(
        reply.message.len() % 8,
        4,
        "the one signing algorithm ends the message"
    );
}

#[test]
fn what_was_not_offered_is_not_answered() {
    let s = Subject::new(optional());
    let mut c = s.connect();
    let offer = Offer {
        signing: None,
        ciphers: None,
        ..Offer::dialect(0x311)
    };
    let reply = c.negotiate(offer).unwrap();
    let kinds: Vec<u16> = response(&reply)
        .contexts
        .iter()
        .map(NegotiateContext::kind)
        .collect();
    assert_eq!(kinds, [1]);
    // Without the context 3.1.1 signs with CMAC, [MS-SMB2] 3.3.5.4.
    assert_eq!(c.algorithm, countersign_crypto::SigningAlgorithm::AesCmac);
    let s = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
    assert_eq!(s.signature, Some(true));
}

#[test]
fn preauth_context_is_needed_and_its_hash_known() {
    let s = Subject::new(optional());
    let none = Offer {
        hashes: None,
        ..Offer::dialect(0x311)
    };
    let nothing = Offer {
        signing: None,
        ciphers: None,
        ..none.clone()
    };
    for offer in [none, nothing] {
        let mut c = s.connect();
        assert_eq!(
            c.negotiate(offer).unwrap().status(),
            NtStatus::INVALID_PARAMETER
        );
    }
    let unknown = Offer {
        hashes: Some(vec![0x77]),
        ..Offer::dialect(0x311)
    };
    assert_eq!(
        s.connect().negotiate(unknown).unwrap().status(),
        NtStatus::SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP
    );
}

#[test]
fn unknown_ciphers_are_answered_with_none() {
    let s = Subject::new(optional());
    let mut c = s.connect();
    let offer = Offer {
        ciphers: Some(vec![0x99]),
        ..Offer::dialect(0x311)
    };
    let reply = c.negotiate(offer).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
    assert!(
        response(&reply)
            .contexts
            .contains(&NegotiateContext::Encryption(vec![0]))
    );
}

#[test]
fn each_cipher_and_signing_algorithm_alone_is_taken() {
    let s = Subject::new(optional());
    for cipher in 1..=4 {
        let mut c = s.connect();
        c.negotiate(Offer {
            ciphers: Some(vec![cipher]),
            ..Offer::dialect(0x311)
        })
        .unwrap();
        assert_eq!(c.cipher.unwrap().id(), cipher);
    }
    for algorithm in 0..=2 {
        let mut c = s.connect();
        c.negotiate(Offer {
            signing: Some(vec![algorithm]),
            ..Offer::dialect(0x311)
        })
        .unwrap();
        assert_eq!(c.algorithm.id(), algorithm);
        let reply = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        assert_eq!(reply.signature, Some(true), "algorithm {algorithm}");
    }
}

#[test]
fn netname_and_unknown_contexts_are_passed_over() {
    let s = Subject::new(optional());
    let mut c = s.connect();
    let offer = Offer::dialect(0x311);
    let mut all = contexts(&offer);
    all.push(NegotiateContext::NetName("server".into()));
    all.push(NegotiateContext::Unknown {
        kind: 0x7777,
        data: b"abc",
    });
    let header = c.header(Command::NEGOTIATE);
    let request = NegotiateRequest {
        security_mode: offer.security_mode,
        capabilities: offer.capabilities,
        client_guid: offer.guid,
        dialects: offer.dialects.clone(),
        contexts: all,
    };
    let message = Client::<MemoryWire>::message(&header, |w: &mut Writer<'_>| request.encode(w));
    assert_eq!(
        c.negotiate_raw(message, offer).unwrap().status(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        c.logon(&Logon::new("alice", "Passw0rd!"))
            .unwrap()
            .signature,
        Some(true)
    );
}

#[test]
fn signed_negotiate_is_refused() {
    let s = Subject::new(optional());
    let mut c = s.connect();
    let header = Header {
        flags: HeaderFlags::SIGNED,
        ..c.header(Command::NEGOTIATE)
    };
    let offer = Offer::dialect(0x210);
    let request = NegotiateRequest {
        security_mode: offer.security_mode,
        capabilities: offer.capabilities,
        client_guid: offer.guid,
        dialects: offer.dialects.clone(),
        contexts: vec![],
    };
    let message = Client::<MemoryWire>::message(&header, |w: &mut Writer<'_>| request.encode(w));
    let reply = c.negotiate_raw(message, offer).unwrap();
    assert_eq!(reply.status(), NtStatus::INVALID_PARAMETER);
}

#[test]
fn a_second_negotiate_disconnects() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.dialect(dialect);
        assert!(c.negotiate(Offer::dialect(dialect)).is_none());
        assert!(c.wire.closed());
        let mut c = s.dialect(dialect);
        c.wire.send(&smb1(&["NT LM 0.12", "SMB 2.???"]));
        assert!(c.wire.closed());
    }
}

#[test]
fn multi_protocol_negotiate() {
    let s = Subject::new(optional());
    // All real Windows clients: 0x02FF, then an SMB2 NEGOTIATE on the same connection.
    for offer in [
        &["NT LM 0.12", "SMB 2.002", "SMB 2.???"][..],
        &["SMB 2.???"],
    ] {
        let mut c = s.connect();
        c.wire.send(&smb1(offer));
        let reply = c.any_reply().unwrap();
        let answer = response(&reply);
        assert_eq!(
            (reply.status(), answer.dialect),
            (NtStatus::SUCCESS, 0x02FF)
        );
        assert!(answer.contexts.is_empty());
        assert_eq!(reply.header.message_id, 0);
        c.message_id = 1;
        assert_eq!(
            c.negotiate(Offer::dialect(0x311)).unwrap().status(),
            NtStatus::SUCCESS
        );
        let reply = c.logon(&Logon::new("alice", "Passw0rd!")).unwrap();
        assert_eq!(reply.signature, Some(true), "the SMB1 leg is not hashed");
    }
    let mut c = s.connect();
    c.wire.send(&smb1(&["SMB 2.002"]));
    assert_eq!(response(&c.any_reply().unwrap()).dialect, 0x0202);
    // SMB1 is off: nothing is left to speak.
    let mut c = s.connect();
    c.wire.send(&smb1(&["NT LM 0.12"]));
    assert!(c.any_reply().is_none() && c.wire.closed());
}

#[test]
fn the_wildcard_is_answered_under_any_minimum() {
    use countersign_core::config::Dialect;
    let s = Subject::with(optional(), |c| c.min_dialect = Dialect::Smb311);
    let mut c = s.connect();
    c.wire
        .send(&smb1(&["NT LM 0.12", "SMB 2.002", "SMB 2.???"]));
    assert_eq!(response(&c.any_reply().unwrap()).dialect, 0x02FF);
    let s = Subject::with(optional(), |c| c.max_dialect = Dialect::Smb202);
    let mut c = s.connect();
    c.wire
        .send(&smb1(&["NT LM 0.12", "SMB 2.002", "SMB 2.???"]));
    assert_eq!(response(&c.any_reply().unwrap()).dialect, 0x0202);
}

#[test]
fn dialect_limits_hold() {
    use countersign_core::config::Dialect;
    let s = Subject::with(optional(), |c| {
        c.min_dialect = Dialect::Smb300;
        c.max_dialect = Dialect::Smb302;
    });
    for (dialect, status) in [
        (0x202, NtStatus::NOT_SUPPORTED),
        (0x210, NtStatus::NOT_SUPPORTED),
        (0x300, NtStatus::SUCCESS),
        (0x302, NtStatus::SUCCESS),
        (0x311, NtStatus::NOT_SUPPORTED),
    ] {
        assert_eq!(
            s.connect()
                .negotiate(Offer::dialect(dialect))
                .unwrap()
                .status(),
            status
        );
    }
}

#[test]
fn the_hint_offers_ntlm() {
    let s = Subject::new(optional());
    for dialect in ALL {
        let mut c = s.connect();
        let reply = c.negotiate(Offer::dialect(dialect)).unwrap();
        let hint = response(&reply).security_buffer;
        let ntlm = countersign_auth::spnego::OID_NTLMSSP;
        assert!(hint.windows(ntlm.len()).any(|w| w == ntlm));
    }
}
