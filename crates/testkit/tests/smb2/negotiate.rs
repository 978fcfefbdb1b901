//! [MS-SMB2] 3.3.5.3 and 3.3.5.4.

use countersign_core::config::Dialect;
use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Logon, Offer, contexts};
use countersign_testkit::wire::Wire;
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

use crate::*;

fn client(server: &TestServer) -> Client<MemoryWire> {
    Client::new(server.connect())
}

fn smb1_negotiate(dialects: &[&str]) -> Vec<u8> {
    let mut message = b"\xFFSMB\x72".to_vec();
    message.resize(32, 0);
    message.push(0);
    let data: Vec<u8> = dialects
        .iter()
        .flat_map(|d| [&[2], d.as_bytes(), &[0]].concat())
        .collect();
    message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_le_bytes());
    message.extend_from_slice(&data);
    message
}

/// A NEGOTIATE for 3.1.1 with these contexts.
fn with_contexts(
    client: &mut Client<MemoryWire>,
    contexts: Vec<NegotiateContext<'_>>,
) -> Option<NtStatus> {
    let offer = Offer::dialect(dialect::SMB_3_1_1);
    let header = client.header(Command::NEGOTIATE);
    let request = NegotiateRequest {
        security_mode: offer.security_mode,
        capabilities: offer.capabilities,
        client_guid: offer.guid,
        dialects: offer.dialects.clone(),
        contexts,
    };
    let message = Client::<MemoryWire>::message(&header, |w| request.encode(w));
    client.negotiate_raw(message, offer).map(|r| r.status())
}

fn sha512() -> NegotiateContext<'static> {
    NegotiateContext::PreauthIntegrity {
        algorithms: vec![HASH_SHA512],
        salt: b"salt",
    }
}

#[test]
fn the_greatest_common_dialect() {
    let server = TestServer::new(|c| c.max_dialect = Dialect::Smb302);
    let all = DIALECTS.to_vec();
    let reply = client(&server)
        .negotiate(Offer {
            dialects: all,
            ..Offer::dialect(dialect::SMB_3_1_1)
        })
        .unwrap();
    let response = NegotiateResponse::decode(&reply.message).unwrap();
    assert_eq!(response.dialect, dialect::SMB_3_0_2);
    assert!(response.contexts.is_empty());
    let offer = Offer {
        dialects: vec![dialect::SMB_3_1_1, 0x0999],
        ..Offer::dialect(0)
    };
    assert_eq!(
        client(&server).negotiate(offer).unwrap().status(),
        NtStatus::NOT_SUPPORTED
    );
    let server = TestServer::new(|c| c.min_dialect = Dialect::Smb300);
    let offer = Offer {
        dialects: vec![0x202, 0x210],
        ..Offer::dialect(0)
    };
    assert_eq!(
        client(&server).negotiate(offer).unwrap().status(),
        NtStatus::NOT_SUPPORTED
    );
}

#[test]
fn capabilities_and_sizes_by_dialect() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let reply = client(&server).negotiate(Offer::dialect(dialect)).unwrap();
        assert!(reply.header.credits >= 1);
        let r = NegotiateResponse::decode(&reply.message).unwrap();
        let has = |c| r.capabilities.contains(c);
        assert_eq!(has(Capabilities::LEASING), dialect >= 0x210);
        assert_eq!(has(Capabilities::LARGE_MTU), dialect >= 0x210);
        assert_eq!(has(Capabilities::MULTI_CHANNEL), dialect >= 0x300);
        assert_eq!(has(Capabilities::DIRECTORY_LEASING), dialect >= 0x300);
        assert_eq!(
            has(Capabilities::ENCRYPTION),
            dialect == 0x300 || dialect == 0x302
        );
        assert!(!has(Capabilities::DFS));
        let size = if dialect == 0x202 { 65_536 } else { 8 << 20 };
        assert_eq!(
            (r.max_transact, r.max_read, r.max_write),
            (size, size, size)
        );
        assert!(!r.security_buffer.is_empty());
        assert_eq!(r.start_time.0, 0);
        // What the client has not is not announced.
        let offer = Offer {
            capabilities: Capabilities::empty(),
            ..Offer::dialect(dialect)
        };
        let reply = client(&server).negotiate(offer).unwrap();
        let r = NegotiateResponse::decode(&reply.message).unwrap();
        assert!(!r.capabilities.intersects(
            Capabilities::MULTI_CHANNEL
                | Capabilities::ENCRYPTION
                | Capabilities::DIRECTORY_LEASING
        ));
    }
}

#[test]
fn contexts_of_the_answer_in_order_without_padding() {
    let server = TestServer::new(|_| {});
    let kinds = |offer: Offer| {
        let reply = client(&server).negotiate(offer).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        let r = NegotiateResponse::decode(&reply.message).unwrap();
        // Nothing behind the last context: encoding anew gives the same bytes.
        let again = Client::<MemoryWire>::message(&reply.header, |w| r.encode(w));
        assert_eq!(again, reply.message);
        r.contexts
            .iter()
            .map(NegotiateContext::kind)
            .collect::<Vec<_>>()
    };
    let full = Offer::dialect(dialect::SMB_3_1_1);
    assert_eq!(kinds(full.clone()), [1, 2, 8]);
    assert_eq!(
        kinds(Offer {
            signing: None,
            ..full.clone()
        }),
        [1, 2]
    );
    assert_eq!(
        kinds(Offer {
            ciphers: None,
            ..full.clone()
        }),
        [1, 8]
    );
    assert_eq!(
        kinds(Offer {
            ciphers: None,
            signing: None,
            ..full.clone()
        }),
        [1]
    );
}

#[test]
fn ciphers_and_algorithms() {
    let server = TestServer::new(|_| {});
    for cipher in [1, 2, 3, 4] {
        let offer = Offer {
            ciphers: Some(vec![cipher]),
            ..Offer::dialect(dialect::SMB_3_1_1)
        };
        let mut c = client(&server);
        c.negotiate(offer).unwrap();
        assert_eq!(c.cipher.map(|c| c as u16), Some(cipher));
    }
    // An unknown cipher: agreed on none, and the answer says so.
    let offer = Offer {
        ciphers: Some(vec![0x77]),
        ..Offer::dialect(dialect::SMB_3_1_1)
    };
    let reply = client(&server).negotiate(offer).unwrap();
    let r = NegotiateResponse::decode(&reply.message).unwrap();
    assert!(r.contexts.contains(&NegotiateContext::Encryption(vec![0])));
    // Without a signing context, or with unknown algorithms, it is AES-CMAC.
    for signing in [None, Some(vec![0x77])] {
        let offer = Offer {
            signing,
            ..Offer::dialect(dialect::SMB_3_1_1)
        };
        let mut c = client(&server);
        c.negotiate(offer).unwrap();
        assert_eq!(c.algorithm as u16, 1);
        let reply = c.logon(&Logon::new("alice", PASSWORD)).unwrap();
        assert_eq!(reply.signature, Some(true));
    }
}

#[test]
fn contexts_that_are_refused() {
    let server = TestServer::new(|_| {});
    let invalid = Some(NtStatus::INVALID_PARAMETER);
    let overlap = Some(NtStatus::SMB_NO_PREAUTH_INTEGRITY_HASH_OVERLAP);
    let preauth = |algorithms| NegotiateContext::PreauthIntegrity {
        algorithms,
        salt: &[],
    };
    let cases = [
        (vec![], invalid),
        (vec![NegotiateContext::Encryption(vec![2])], invalid),
        (
            vec![NegotiateContext::Compression {
                flags: 0,
                algorithms: vec![1],
            }],
            invalid,
        ),
        (vec![preauth(vec![])], invalid),
        (vec![preauth(vec![0x55])], overlap),
        (vec![sha512(), sha512()], invalid),
        (
            vec![sha512(), NegotiateContext::Encryption(vec![])],
            invalid,
        ),
        (
            vec![
                sha512(),
                NegotiateContext::Encryption(vec![1]),
                NegotiateContext::Encryption(vec![2]),
            ],
            invalid,
        ),
        (vec![sha512(), NegotiateContext::Signing(vec![])], invalid),
        (
            vec![
                sha512(),
                NegotiateContext::Compression {
                    flags: 0,
                    algorithms: vec![],
                },
            ],
            invalid,
        ),
        (
            vec![sha512(), NegotiateContext::RdmaTransform(vec![])],
            invalid,
        ),
        (
            vec![
                sha512(),
                NegotiateContext::Compression {
                    flags: 1,
                    algorithms: vec![1, 2],
                },
            ],
            Some(NtStatus::SUCCESS),
        ),
        (
            vec![sha512(), NegotiateContext::NetName("server".into())],
            Some(NtStatus::SUCCESS),
        ),
        (
            vec![
                sha512(),
                NegotiateContext::Unknown {
                    kind: 0x999,
                    data: b"x",
                },
            ],
            Some(NtStatus::SUCCESS),
        ),
        (
            vec![NegotiateContext::Encryption(vec![2]), sha512()],
            Some(NtStatus::SUCCESS),
        ),
    ];
    for (contexts, status) in cases {
        let text = format!("{contexts:?}");
        assert_eq!(
            with_contexts(&mut client(&server), contexts),
            status,
            "{text}"
        );
    }
}

#[test]
fn malformed_negotiates() {
    let server = TestServer::new(|_| {});
    // DialectCount 0.
    let offer = Offer {
        dialects: vec![],
        ..Offer::dialect(0)
    };
    assert_eq!(
        client(&server).negotiate(offer).unwrap().status(),
        NtStatus::INVALID_PARAMETER
    );
    // SIGNED set.
    let mut c = client(&server);
    let reply = c
        .call_with(
            Command::NEGOTIATE,
            |h| h.flags |= HeaderFlags::SIGNED,
            |w| {
                let offer = Offer::dialect(dialect::SMB_2_1);
                NegotiateRequest {
                    security_mode: offer.security_mode,
                    capabilities: offer.capabilities,
                    client_guid: offer.guid,
                    dialects: offer.dialects.clone(),
                    contexts: contexts(&offer),
                }
                .encode(w);
            },
        )
        .unwrap();
    assert_eq!(reply.status(), NtStatus::INVALID_PARAMETER);
    // A context list that leads out of the message, and every truncation of it.
    let mut c = client(&server);
    let header = c.header(Command::NEGOTIATE);
    let offer = Offer::dialect(dialect::SMB_3_1_1);
    let whole = Client::<MemoryWire>::message(&header, |w| {
        NegotiateRequest {
            security_mode: offer.security_mode,
            capabilities: offer.capabilities,
            client_guid: offer.guid,
            dialects: offer.dialects.clone(),
            contexts: contexts(&offer),
        }
        .encode(w);
    });
    for length in 64..whole.len() {
        let mut c = client(&server);
        c.wire.send(&whole[..length]);
        let reply = c.reply().unwrap();
        assert_eq!(reply.status(), NtStatus::INVALID_PARAMETER, "{length}");
    }
}

#[test]
fn a_second_negotiate_ends_the_connection() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let mut c = negotiated(&server, dialect);
        assert!(c.negotiate(Offer::dialect(dialect)).is_none());
        assert!(c.wire.closed());
        let mut c = negotiated(&server, dialect);
        c.wire.send(&smb1_negotiate(&["SMB 2.???"]));
        assert!(c.wire.closed());
    }
}

#[test]
fn nothing_before_negotiate() {
    let server = TestServer::new(|_| {});
    for command in [
        Command::SESSION_SETUP,
        Command::ECHO,
        Command::TREE_CONNECT,
        Command(0x55),
    ] {
        let mut c = client(&server);
        assert!(c.call(command, |w| EchoRequest.encode(w)).is_none());
        assert!(c.wire.closed());
    }
    let mut wire = server.connect();
    wire.send(b"GET / HTTP/1.1\r\n\r\n");
    assert!(wire.closed());
}

#[test]
fn multi_protocol() {
    let server = TestServer::new(|_| {});
    for dialect in DIALECTS {
        let mut c = client(&server);
        c.wire
            .send(&smb1_negotiate(&["NT LM 0.12", "SMB 2.002", "SMB 2.???"]));
        let reply = c.reply().unwrap();
        assert_eq!(
            (reply.status(), reply.header.credits),
            (NtStatus::SUCCESS, 1)
        );
        let r = NegotiateResponse::decode(&reply.message).unwrap();
        assert_eq!(r.dialect, dialect::WILDCARD);
        assert!(r.contexts.is_empty());
        c.message_id = 1;
        assert_eq!(
            c.negotiate(Offer::dialect(dialect)).unwrap().status(),
            NtStatus::SUCCESS
        );
        assert_eq!(
            c.logon(&Logon::new("alice", PASSWORD)).unwrap().signature,
            Some(true)
        );
        assert_eq!(
            c.tree_connect(r"\\server\share").unwrap().signature,
            Some(true)
        );
    }
    // Only 2.0.2: agreed at once.
    let mut c = client(&server);
    c.wire.send(&smb1_negotiate(&["SMB 2.002"]));
    let reply = c.reply().unwrap();
    assert_eq!(
        NegotiateResponse::decode(&reply.message).unwrap().dialect,
        0x202
    );
    c.message_id = 1;
    c.dialect = 0x202;
    assert_eq!(
        c.logon(&Logon::new("alice", PASSWORD)).unwrap().signature,
        Some(true)
    );
    // A minimum of 3.1.1 still answers 0x02FF; a maximum of 2.0.2 does not.
    let high = TestServer::new(|c| c.min_dialect = Dialect::Smb311);
    let mut c = client(&high);
    c.wire.send(&smb1_negotiate(&["SMB 2.???"]));
    let reply = c.reply().unwrap();
    assert_eq!(
        NegotiateResponse::decode(&reply.message).unwrap().dialect,
        dialect::WILDCARD
    );
    let mut c = client(&high);
    c.wire.send(&smb1_negotiate(&["SMB 2.002"]));
    assert!(c.wire.closed());
    let low = TestServer::new(|c| c.max_dialect = Dialect::Smb202);
    let mut c = client(&low);
    c.wire.send(&smb1_negotiate(&["SMB 2.002", "SMB 2.???"]));
    let reply = c.reply().unwrap();
    assert_eq!(
        NegotiateResponse::decode(&reply.message).unwrap().dialect,
        0x202
    );
    // Neither string, and SMB1 is off.
    let mut c = client(&server);
    c.wire.send(&smb1_negotiate(&["NT LM 0.12"]));
    assert!(c.reply().is_none() && c.wire.closed());
    // SMB1 twice; or something else behind 0x02FF.
    let mut c = client(&server);
    c.wire.send(&smb1_negotiate(&["SMB 2.???"]));
    c.reply().unwrap();
    c.wire.send(&smb1_negotiate(&["SMB 2.???"]));
    assert!(c.wire.closed());
}

#[test]
fn a_downgraded_or_altered_negotiation_cannot_log_on_in_3_1_1() {
    let server = TestServer::new(|_| {});
    // Any byte of the response that is altered on the way spoils the keys.
    let mut c = client(&server);
    let reply = c.negotiate(Offer::dialect(dialect::SMB_3_1_1)).unwrap();
    for at in [66, 90, reply.message.len() - 1] {
        let mut c = client(&server);
        let offer = Offer::dialect(dialect::SMB_3_1_1);
        let header = Header {
            credits: 10,
            ..c.header(Command::NEGOTIATE)
        };
        let mut sent = Client::<MemoryWire>::message(&header, |w| {
            NegotiateRequest {
                security_mode: offer.security_mode,
                capabilities: offer.capabilities,
                client_guid: offer.guid,
                dialects: offer.dialects.clone(),
                contexts: contexts(&offer),
            }
            .encode(w);
        });
        // The client hashes what it sent; the server got something else.
        c.negotiate_raw(sent.clone(), offer.clone()).unwrap();
        let at = at.min(sent.len() - 1);
        sent[at] ^= 1;
        c.rehash(&sent);
        let reply = c.logon(&Logon::new("alice", PASSWORD)).unwrap();
        assert_eq!(reply.signature, Some(false));
        let reply = c.tree_connect(r"\\server\share").unwrap();
        assert_eq!(reply.status(), NtStatus::ACCESS_DENIED);
    }
}

#[test]
fn a_client_downgraded_to_2_0_2_by_smb1_finds_out() {
    // Somebody took "SMB 2.???" out of the client's SMB1 NEGOTIATE.
    let server = TestServer::new(|_| {});
    let mut c = client(&server);
    c.wire.send(&smb1_negotiate(&["SMB 2.002"]));
    c.reply().unwrap();
    c.message_id = 1;
    c.dialect = 0x202;
    c.logon(&Logon::new("alice", PASSWORD)).unwrap();
    c.tree_connect(r"\\server\IPC$").unwrap();
    let offer = Offer::dialect(dialect::SMB_3_0);
    let reply = c.call(Command::IOCTL, |w| {
        w.u16(57);
        w.u16(0);
        w.u32(0x0014_0204);
        w.u64(u64::MAX);
        w.u64(u64::MAX);
        w.u32(120);
        w.u32(28);
        w.u32(0);
        w.u32(0);
        w.u32(0);
        w.u32(24);
        w.u32(1);
        w.u32(0);
        w.u32(offer.capabilities.bits());
        w.bytes(&offer.guid.0);
        w.u16(offer.security_mode.bits());
        w.u16(2);
        w.u16(0x0202);
        w.u16(0x0300);
    });
    assert!(reply.is_none() && c.wire.closed());
}
