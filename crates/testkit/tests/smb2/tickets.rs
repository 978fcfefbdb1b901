//! Sessions by Kerberos, over a library that only plays it: keys, ends, groups.

use std::sync::Arc;
use std::time::Duration;

use countersign_auth::spnego::{NegTokenInit, OID_KERBEROS, OID_MS_KERBEROS, mech_types_der};
use countersign_auth::{
    AuthConfig, FailureReason, KerberosAcceptor, KerberosFailure, KerberosPeer, KerberosService,
    KerberosStep, SessionKey,
};
use countersign_core::observer::Authentication;
use countersign_testkit::memory::MemoryWire;
use countersign_testkit::smb2::{Client, Logon, Offer};
use countersign_wire::NtStatus;
use countersign_wire::smb2::*;

use crate::*;

/// A key of AES-256's length: SMB2 signs with its first half.
const KEY: [u8; 32] = *b"the first sixteen, and the rest.";
/// How long every ticket is good.
const LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Played;

impl KerberosService for Played {
    fn accept(&self) -> Result<Box<dyn KerberosAcceptor>, KerberosFailure> {
        Ok(Box::new(Played))
    }
}

impl KerberosAcceptor for Played {
    fn step(&mut self, token: &[u8]) -> Result<KerberosStep, KerberosFailure> {
        if token != b"ticket" {
            return Err(KerberosFailure {
                reason: FailureReason::ClockSkew,
                text: String::new(),
            });
        }
        let pac = include_str!("../../../auth/tests/data/pac-alice.hex");
        let pac: String = pac.split_whitespace().collect();
        Ok(KerberosStep::Done {
            token: b"proof".to_vec(),
            peer: KerberosPeer {
                principal: "alice@LAB.EXAMPLE".to_owned(),
                session_key: SessionKey::new(&KEY),
                logon_info: Some(hex::decode(pac).unwrap()),
                lifetime: Some(LIFETIME),
            },
        })
    }

    fn mic(&mut self, _: &[u8]) -> Result<Vec<u8>, KerberosFailure> {
        Ok(Vec::new())
    }

    fn verify_mic(&mut self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

fn server() -> TestServer {
    TestServer::new(|config| {
        config.policy = policy(Value::Enabled);
        config.auth = Arc::new(AuthConfig {
            kerberos: Some(Arc::new(Played)),
            ..AuthConfig::clone(&config.auth)
        });
        for share in &mut config.shares {
            share.valid_users = match share.share.name.as_str() {
                // The server's own alice is somebody else.
                "alice" => vec!["alice".to_owned()],
                "reading" => vec![r"@LAB\Domain Users".to_owned()],
                _ => vec![r"LAB\alice".to_owned()],
            };
        }
    })
}

fn ticket(token: &[u8]) -> Vec<u8> {
    let list: [&[u8]; 2] = [OID_MS_KERBEROS, OID_KERBEROS];
    NegTokenInit {
        mech_types: list.to_vec(),
        mech_types_der: &mech_types_der(&list),
        mech_token: Some(token),
        mech_list_mic: None,
    }
    .encode()
}

fn logged_on_by_ticket(server: &TestServer, dialect: u16) -> Client<MemoryWire> {
    let mut client = Client::new(server.connect());
    // Every cipher there is, the 256-bit ones first: they want the whole key.
    let offer = Offer {
        ciphers: Some(vec![4, 3, 2, 1]),
        ..Offer::dialect(dialect)
    };
    let offer = match dialect {
        dialect::SMB_3_1_1 => offer,
        other => Offer::dialect(other),
    };
    client.negotiate(offer).unwrap();
    let reply = client
        .logon_with(&alice(), &ticket(b"ticket"), &KEY)
        .unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true)),
        "one leg, signed"
    );
    client
}

#[test]
fn one_leg_signs_in_every_dialect() {
    let server = server();
    for dialect in DIALECTS {
        let mut client = logged_on_by_ticket(&server, dialect);
        let facts = server.server.registry.list()[0].facts();
        assert_eq!(
            (facts.user.as_str(), facts.domain.as_str()),
            ("alice", "LAB")
        );
        assert_eq!(facts.authentication, Authentication::Kerberos);
        assert!(facts.groups.iter().any(|g| g == r"LAB\Domain Users"));
        for (share, status) in [
            ("share", NtStatus::SUCCESS),
            ("reading", NtStatus::SUCCESS),
            ("alice", NtStatus::ACCESS_DENIED),
        ] {
            let reply = client.tree_connect(&format!(r"\\server\{share}")).unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (status, Some(true)),
                "{share}"
            );
        }
        client.wire.hang_up();
        client.wire.settle();
    }
}

#[test]
fn aes_256_takes_the_whole_key() {
    let server = server();
    let mut client = logged_on_by_ticket(&server, dialect::SMB_3_1_1);
    client.session().encrypt = true;
    let reply = echo(&mut client).unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
}

#[test]
fn a_session_ends_with_its_ticket_until_there_is_another() {
    let server = server();
    for dialect in DIALECTS {
        let mut client = logged_on_by_ticket(&server, dialect);
        let id = client.session().id;
        let connect = |client: &mut Client<MemoryWire>| {
            let reply = client.tree_connect(r"\\server\share").unwrap();
            assert_eq!(reply.signature, Some(true));
            reply.status()
        };
        for _ in 0..2 {
            server.host.advance(LIFETIME - Duration::from_secs(1));
            assert_eq!(connect(&mut client), NtStatus::SUCCESS);
            server.host.advance(Duration::from_secs(1));
            assert_eq!(connect(&mut client), NtStatus::NETWORK_SESSION_EXPIRED);
            assert_eq!(echo(&mut client).unwrap().status(), NtStatus::SUCCESS);
            let again = Logon {
                session: id,
                ..alice()
            };
            let reply = client.logon_with(&again, &ticket(b"ticket"), &KEY).unwrap();
            assert_eq!(
                (reply.status(), reply.signature),
                (NtStatus::SUCCESS, Some(true))
            );
        }
        assert_eq!(connect(&mut client), NtStatus::SUCCESS);
        client.wire.hang_up();
    }
}

#[test]
fn a_refused_ticket_is_told_by_its_status() {
    let server = server();
    let mut client = negotiated(&server, dialect::SMB_3_1_1);
    let reply = client.logon_with(&alice(), &ticket(b"late"), &KEY).unwrap();
    assert_eq!(reply.status(), NtStatus::TIME_DIFFERENCE_AT_DC);
    assert!(server.server.registry.list().is_empty());
}
