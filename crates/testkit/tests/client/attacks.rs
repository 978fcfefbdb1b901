//! Somebody between client and server.

use std::cell::Cell;
use std::rc::Rc;

use countersign_core::client::{Call, ClientConfig, CloseReason, Encryption, Failure, Payload};
use countersign_core::config::Dialect;
use countersign_policy::{Reason, Settings};
use countersign_testkit::duo::{Duo, client_config};
use countersign_testkit::memory::MemoryWire;
use countersign_wire::fscc::{Disposition, FileAttributes};

use super::{ALL, TestServer, at, dialect, ready, required};

/// A client that is logged on, with a file there; what `attack` does to the
/// reply of the read that follows.
fn attacked(
    config: ClientConfig,
    attack: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + 'static,
) -> (Result<(), Failure>, Option<CloseReason>) {
    let server = TestServer::plain();
    let (mut duo, tree) = ready(&server, config);
    duo.call(Call::WriteFile {
        at: at(tree, "file"),
        disposition: Disposition::OverwriteIf,
        attributes: FileAttributes::empty(),
        data: Payload::copy_of(b"contents"),
        last_write: None,
    })
    .unwrap();
    duo.to_client = Box::new(attack);
    let call = Call::ReadFile {
        at: at(tree, "file"),
        max: 100,
    };
    let outcome = duo.call(call).map(|_| ());
    if duo.closed.is_none() {
        // What was repeated or invented shows with the next call at the latest.
        let _ = duo.call(Call::Echo);
    }
    (outcome, duo.closed)
}

fn refused(reason: &Option<CloseReason>) -> bool {
    matches!(
        reason,
        Some(CloseReason::Policy(
            Reason::BadSignature | Reason::ResponseUnsigned | Reason::UnencryptedOnRequired
        ))
    )
}

#[test]
fn an_altered_reply_is_found_in_every_dialect() {
    for d in ALL {
        for byte in [4, 8, 16, 24, 40, 48, 63, 64, 70, 150] {
            let (outcome, closed) = attacked(dialect(required(), d), move |mut m| {
                m[byte] ^= 0x10;
                vec![m]
            });
            assert!(outcome.is_err(), "{d:?} byte {byte}");
            assert!(closed.is_some(), "{d:?} byte {byte}");
        }
    }
}

#[test]
fn a_reply_without_its_signature_is_an_attack() {
    for d in ALL {
        let (outcome, closed) = attacked(dialect(required(), d), |mut m| {
            let mut at = 0;
            loop {
                m[at + 16] &= !8;
                m[at + 48..at + 64].fill(0);
                let next = u32::from_le_bytes(m[at + 20..at + 24].try_into().unwrap());
                if next == 0 {
                    return vec![m];
                }
                at += usize::try_from(next).unwrap();
            }
        });
        assert!(outcome.is_err() && refused(&closed), "{d:?} {closed:?}");
    }
}

#[test]
fn an_encrypted_reply_must_stay_so() {
    for d in [Dialect::Smb300, Dialect::Smb302, Dialect::Smb311] {
        let config = || ClientConfig {
            encryption: Encryption::Required,
            ..dialect(required(), d)
        };
        for byte in [4, 20, 36, 52, 60, 100] {
            let (outcome, closed) = attacked(config(), move |mut m| {
                m[byte] ^= 1;
                vec![m]
            });
            assert!(outcome.is_err() && closed.is_some(), "{d:?} byte {byte}");
        }
        // An invention in clear: a failure of CREATE with a zero signature.
        let (outcome, closed) = attacked(config(), |m| {
            let session = &m[44..52];
            let mut forged = vec![0u8; 73];
            forged[..4].copy_from_slice(b"\xFESMB");
            forged[4] = 64;
            forged[8..12].copy_from_slice(&0xC000_0022u32.to_le_bytes());
            forged[12] = 5;
            forged[14] = 1;
            forged[16] = 1;
            forged[24..32].copy_from_slice(&7u64.to_le_bytes());
            forged[40..48].copy_from_slice(session);
            forged[64] = 9;
            vec![forged, m]
        });
        assert!(outcome.is_err() && closed.is_some(), "{d:?} {closed:?}");
    }
}

#[test]
fn a_reply_told_twice_is_found() {
    for d in ALL {
        for config in [dialect(required(), d), dialect(Settings::default(), d)] {
            let once = Cell::new(true);
            let (_, closed) = attacked(config, move |m| {
                if once.replace(false) {
                    vec![m.clone(), m]
                } else {
                    vec![m]
                }
            });
            assert!(
                matches!(closed, Some(CloseReason::Violation(_))),
                "{d:?} {closed:?}"
            );
        }
    }
}

#[test]
fn a_reply_that_never_comes_ends_the_connection() {
    for d in ALL {
        let (outcome, closed) = attacked(dialect(required(), d), |_| Vec::new());
        assert!(outcome.is_err());
        assert_eq!(closed, Some(CloseReason::Timeout), "{d:?}");
    }
}

#[test]
fn a_truncated_reply_is_found() {
    for d in ALL {
        for left in [0, 3, 63, 64, 70, 100, 200] {
            let (outcome, closed) = attacked(dialect(required(), d), move |mut m| {
                m.truncate(left);
                vec![m]
            });
            assert!(outcome.is_err() && closed.is_some(), "{d:?} {left}");
        }
    }
}

/// A client with somebody between from the first message on.
fn from_the_start(
    server: &TestServer,
    config: ClientConfig,
    to_server: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + 'static,
    to_client: impl FnMut(Vec<u8>) -> Vec<Vec<u8>> + 'static,
) -> Duo<MemoryWire> {
    let mut duo = Duo::quiet(
        server.memory.connect(),
        std::sync::Arc::clone(&server.memory.host),
        config,
    );
    duo.to_server = Box::new(to_server);
    duo.to_client = Box::new(to_client);
    duo.begin();
    duo
}

/// Everything up to the first share, with what ended it.
fn reach(mut duo: Duo<MemoryWire>) -> Result<(), (Failure, Option<CloseReason>)> {
    let outcome = duo
        .log_on("alice", "Passw0rd!")
        .and_then(|_| duo.tree("share"))
        .map(|_| ());
    outcome.map_err(|failure| (failure, duo.closed))
}

fn nothing(m: Vec<u8>) -> Vec<Vec<u8>> {
    vec![m]
}

fn is_negotiate(m: &[u8]) -> bool {
    m.starts_with(b"\xFESMB") && m[12] == 0
}

fn is_setup(m: &[u8]) -> bool {
    m.starts_with(b"\xFESMB") && m[12] == 1
}

#[test]
fn a_server_that_is_made_to_look_careless_is_found_out() {
    // The "required" bit of the NEGOTIATE response is taken away; the client does
    // not require of itself.
    let server = TestServer::new(|config| {
        config.policy =
            std::sync::Arc::new(countersign_policy::Effective::of(Settings::default().with(
                countersign_policy::Setting::ServerAlways,
                countersign_policy::Value::Enabled,
            )));
    });
    for d in ALL {
        let strip = |mut m: Vec<u8>| {
            if is_negotiate(&m) {
                m[66] &= !2;
            }
            vec![m]
        };
        let duo = from_the_start(&server, dialect(Settings::default(), d), nothing, strip);
        let (_, closed) = reach(duo).unwrap_err();
        assert!(closed.is_some(), "{d:?}");
    }
}

#[test]
fn a_downgraded_dialect_is_found_out() {
    // The highest dialects are made unknown on the way: the server chooses 2.1.
    let server = TestServer::plain();
    for settings in [Settings::default(), required()] {
        let lower = |mut m: Vec<u8>| {
            if is_negotiate(&m) {
                let count = usize::from(m[66]);
                for n in 0..count {
                    let at = 100 + 2 * n;
                    let dialect = u16::from_le_bytes([m[at], m[at + 1]]);
                    if dialect > 0x0210 {
                        m[at..at + 2].copy_from_slice(&0x0200u16.to_le_bytes());
                    }
                }
            }
            vec![m]
        };
        let duo = from_the_start(&server, client_config(settings), lower, nothing);
        let (_, closed) = reach(duo).unwrap_err();
        assert!(closed.is_some());
    }
}

#[test]
fn altered_negotiations_and_logons_of_311_are_found_out() {
    let server = TestServer::plain();
    // A capability, the salt, the server's GUID, the time: nothing may differ.
    for (request, byte) in [(true, 70), (true, 150), (false, 72), (false, 105)] {
        let alter = move |mut m: Vec<u8>| {
            if is_negotiate(&m) && m.len() > byte {
                m[byte] ^= 1;
            }
            vec![m]
        };
        let config = client_config(Settings::default());
        let duo = if request {
            from_the_start(&server, config, alter, nothing)
        } else {
            from_the_start(&server, config, nothing, alter)
        };
        let (_, closed) = reach(duo).unwrap_err();
        assert!(closed.is_some(), "request {request} byte {byte}");
    }
}

#[test]
fn the_end_of_a_logon_is_proved() {
    let server = TestServer::plain();
    for d in ALL {
        // Wrong everywhere; missing where it is required, and always in 3.1.1.
        for (settings, strip, fails) in [
            (Settings::default(), false, true),
            (required(), false, true),
            (required(), true, true),
            (Settings::default(), true, d == Dialect::Smb311),
        ] {
            let alter = move |mut m: Vec<u8>| {
                let success = m[8..12] == [0; 4];
                if is_setup(&m) && success {
                    if strip {
                        m[16] &= !8;
                        m[48..64].fill(0);
                    } else {
                        m[50] ^= 1;
                    }
                }
                vec![m]
            };
            let duo = from_the_start(&server, dialect(settings, d), nothing, alter);
            let reached = reach(duo);
            assert_eq!(reached.is_err(), fails, "{d:?} {settings:?} strip {strip}");
            if let Err((_, closed)) = reached {
                assert!(
                    matches!(
                        closed,
                        Some(CloseReason::Policy(
                            Reason::BadSignature | Reason::FinalResponseUnsigned
                        ))
                    ),
                    "{closed:?}"
                );
            }
        }
    }
}

#[test]
fn a_guest_is_not_made_of_us() {
    let server = TestServer::plain();
    for d in ALL {
        let guest = |mut m: Vec<u8>| {
            if is_setup(&m) && m[8..12] == [0; 4] {
                m[66] |= 1;
                m[16] &= !8;
                m[48..64].fill(0);
            }
            vec![m]
        };
        for settings in [Settings::default(), required()] {
            let duo = from_the_start(&server, dialect(settings, d), nothing, guest);
            let (_, closed) = reach(duo).unwrap_err();
            assert!(closed.is_some(), "{d:?}");
        }
        // Allowed, but not where signing is required.
        let config = ClientConfig {
            allow_guest: true,
            ..dialect(required(), d)
        };
        let duo = from_the_start(&server, config, nothing, guest);
        let (_, closed) = reach(duo).unwrap_err();
        assert_eq!(
            closed,
            Some(CloseReason::Policy(Reason::GuestUnderRequired)),
            "{d:?}"
        );
    }
}

#[test]
fn algorithms_that_were_not_offered_are_refused() {
    use countersign_crypto::SigningAlgorithm;
    let server = TestServer::plain();
    let seen = Rc::new(Cell::new(false));
    let mut config = client_config(required());
    config.signing_algorithms = vec![SigningAlgorithm::AesGmac];
    let there = Rc::clone(&seen);
    let swap = move |mut m: Vec<u8>| {
        if is_negotiate(&m) {
            // The signing context: type 8, length 4, one algorithm, GMAC.
            let needle = [8, 0, 4, 0, 0, 0, 0, 0, 1, 0, 2, 0];
            if let Some(at) = m.windows(12).position(|w| w == needle) {
                m[at + 10] = 0;
                there.set(true);
            }
        }
        vec![m]
    };
    let duo = from_the_start(&server, config, nothing, swap);
    assert!(seen.get());
    assert_eq!(
        duo.closed,
        Some(CloseReason::Violation(
            "a signing algorithm that was not offered"
        ))
    );
}

#[test]
fn a_server_that_cannot_encrypt_is_refused_where_it_must() {
    let server = TestServer::new(|config| config.ciphers.clear());
    let config = ClientConfig {
        encryption: Encryption::Required,
        ..client_config(required())
    };
    let duo = Duo::new(&server.memory, config);
    assert!(matches!(duo.closed, Some(CloseReason::Incompatible(_))));
}

#[test]
fn forged_failures_do_no_more_than_fail() {
    // USER_SESSION_DELETED in clear is let through by design: the session is over.
    for d in ALL {
        let (outcome, closed) = attacked(dialect(required(), d), |mut m| {
            m[8..12].copy_from_slice(&0xC000_0203u32.to_le_bytes());
            m[16] &= !8;
            m[20..24].fill(0);
            m[48..64].fill(0);
            m.truncate(73);
            m[64..].copy_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 0]);
            vec![m]
        });
        assert!(outcome.is_err());
        assert_eq!(closed, Some(CloseReason::SessionDeleted), "{d:?}");
    }
}
