//! SMB1 signing and set-up: [MS-CIFS] 3.1.5.1, 3.3.4.1, 3.3.5.2.3, [MS-SMB] 3.2.4.2.4,
//! and rows 38 and 39 of the client checklist.

use super::*;
use countersign_auth::AuthConfig;
use countersign_testkit::smb1::{Client as Smb1Client, Form};
use countersign_testkit::wire::Wire;
use countersign_wire::smb1::{Command as Com, Flags2};

const FORMS: [Form; 4] = [
    Form::Spnego,
    Form::RawNtlmssp,
    Form::ClassicV2,
    Form::ClassicV1,
];

fn subject(settings: Settings) -> Subject {
    Subject::with(settings, |c| {
        c.smb1 = true;
        let mut auth = AuthConfig::clone(&c.auth);
        auth.rules.ntlmv1_smb1 = true;
        c.auth = Arc::new(auth);
    })
}

fn settings(always: Value, agrees: Value) -> Settings {
    Settings::default()
        .with(Setting::ServerAlways, always)
        .with(Setting::ServerIfClientAgrees, agrees)
}

fn smb1(s: &Subject) -> Smb1Client<MemoryWire> {
    Smb1Client::new(s.server.connect())
}

fn extended(form: Form) -> bool {
    matches!(form, Form::Spnego | Form::RawNtlmssp)
}

/// Logged on as alice, signing, connected to the share.
fn alice(s: &Subject, form: Form) -> Smb1Client<MemoryWire> {
    let mut c = smb1(s);
    c.flags2 |= Flags2::SECURITY_SIGNATURE;
    c.wants_signing = true;
    c.negotiate(&["NT LM 0.12"], extended(form)).unwrap();
    let reply = c.logon(form, "alice", "Passw0rd!", true).unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true)),
        "{form:?}"
    );
    let reply = c.tree_connect(r"\\server\share").unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true)),
        "{form:?}"
    );
    c
}

#[test]
fn negotiate_announces_the_policy() {
    use Value::{Disabled, Enabled, NotDefined};
    for always in [Enabled, Disabled, NotDefined] {
        for agrees in [Enabled, Disabled, NotDefined] {
            let s = subject(settings(always, agrees));
            let expected = match (always, agrees) {
                (Enabled, _) => 0x0F,
                (_, Enabled) => 0x07,
                _ => 0x03,
            };
            for extended in [false, true] {
                let mut c = smb1(&s);
                c.negotiate(&["PC NETWORK PROGRAM 1.0", "NT LM 0.12"], extended)
                    .unwrap();
                assert_eq!(c.security_mode, expected, "{always:?} {agrees:?}");
                assert_eq!(c.capabilities & 0x8000_0000 != 0, extended);
                // Raw modes have no header to sign.
                assert!(expected == 0x03 || c.capabilities & 1 == 0);
            }
        }
    }
}

/// The nine combinations of the two server settings with what a client says in
/// Flags2, over each form of logon.
#[test]
fn the_matrix_of_settings_and_clients() {
    use Value::{Disabled, Enabled, NotDefined};
    for always in [Enabled, Disabled, NotDefined] {
        for agrees in [Enabled, Disabled, NotDefined] {
            let s = subject(settings(always, agrees));
            for form in FORMS {
                for bits in [
                    Flags2::empty(),
                    Flags2::SECURITY_SIGNATURE,
                    Flags2::SECURITY_SIGNATURE | Flags2::SECURITY_SIGNATURE_REQUIRED,
                ] {
                    let mut c = smb1(&s);
                    c.flags2 |= bits;
                    c.negotiate(&["NT LM 0.12"], extended(form)).unwrap();
                    let wants = !bits.is_empty();
                    let insists = bits.contains(Flags2::SECURITY_SIGNATURE_REQUIRED);
                    // None: refused. Some: signed or not.
                    let expected = match (always, agrees) {
                        // smbclient leaves both bits clear and signs all the same.
                        (Enabled, _) => Some(true),
                        (_, Enabled) => Some(wants),
                        _ if insists => None,
                        _ => Some(false),
                    };
                    let signs = expected == Some(true);
                    let reply = c.logon(form, "alice", "Passw0rd!", signs).unwrap();
                    let what = format!("{always:?} {agrees:?} {form:?} {bits:?}");
                    match expected {
                        None => assert_eq!(reply.status(), NtStatus::ACCESS_DENIED, "{what}"),
                        Some(true) => assert_eq!(reply.signature, Some(true), "{what}"),
                        Some(false) => {
                            assert_eq!(reply.status(), NtStatus::SUCCESS, "{what}");
                            let reply = c.tree_connect(r"\\server\share").unwrap();
                            assert_eq!(reply.status(), NtStatus::SUCCESS, "{what}");
                            assert_eq!(reply.header.signature, [0; 8], "{what}");
                        }
                    }
                    if signs {
                        let reply = c.tree_connect(r"\\server\share").unwrap();
                        assert_eq!(reply.signature, Some(true), "{what}");
                    }
                }
            }
        }
    }
}

/// Declined is smbd's "disabled": not announced, and signed when the client insists.
#[test]
fn declined_signs_for_a_client_that_insists() {
    let s = Subject::with(Settings::default(), |c| {
        c.smb1 = true;
        c.policy = Arc::new(
            countersign_policy::Effective::of(settings(Value::Disabled, Value::Disabled))
                .with_declined(true),
        );
    });
    for (bits, signed) in [
        (Flags2::empty(), false),
        (Flags2::SECURITY_SIGNATURE, false),
        (
            Flags2::SECURITY_SIGNATURE | Flags2::SECURITY_SIGNATURE_REQUIRED,
            true,
        ),
    ] {
        let mut c = smb1(&s);
        c.flags2 |= bits;
        c.negotiate(&["NT LM 0.12"], true).unwrap();
        assert_eq!(c.security_mode, 0x03);
        let reply = c.logon(Form::Spnego, "alice", "Passw0rd!", signed).unwrap();
        assert_eq!(reply.status(), NtStatus::SUCCESS);
        assert_eq!(reply.signature, signed.then_some(true), "{bits:?}");
    }
}

#[test]
fn every_form_of_logon_has_its_key() {
    for s in [
        subject(required()),
        subject(settings(Value::Disabled, Value::Enabled)),
    ] {
        for form in FORMS {
            let mut c = alice(&s, form);
            for _ in 0..3 {
                let reply = c.echo(1, b"data").unwrap();
                assert_eq!(
                    (reply.status(), reply.signature),
                    (NtStatus::SUCCESS, Some(true))
                );
                assert_eq!(reply.bytes(), b"data");
            }
        }
    }
}

#[test]
fn the_placeholder_stands_until_there_is_a_key() {
    let s = subject(required());
    let mut c = smb1(&s);
    c.negotiate(&["NT LM 0.12"], true).unwrap();
    c.wants_signing = true;
    let reply = c.logon(Form::Spnego, "alice", "wrong", true).unwrap();
    assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
    assert_eq!(&reply.header.signature, b"BSRSPYL ");
    // A failed logon uses no number.
    let reply = c.logon(Form::Spnego, "alice", "Passw0rd!", true).unwrap();
    assert_eq!(reply.signature, Some(true));
}

#[test]
fn numbers_of_requests_without_and_with_many_replies() {
    let s = subject(required());
    let mut c = alice(&s, Form::Spnego);
    // Three replies, one number.
    let first = c.echo(3, b"x").unwrap();
    assert_eq!(first.signature, Some(true));
    for _ in 0..2 {
        assert_eq!(c.reply().unwrap().signature, Some(true));
    }
    // No reply: two numbers all the same.
    assert!(c.echo(0, b"x").is_none());
    assert_eq!(c.echo(1, b"x").unwrap().signature, Some(true));
    // NT_CANCEL: one number, no reply.
    let header = c.header(Com::NT_CANCEL);
    let cancel = Smb1Client::<MemoryWire>::message(&header, false, &[], &[]);
    c.send(cancel);
    let reply = c.echo(1, b"after cancel").unwrap();
    assert_eq!(
        (reply.bytes(), reply.signature),
        (&b"after cancel"[..], Some(true))
    );
}

#[test]
fn requests_in_flight_have_their_own_numbers() {
    let s = subject(required());
    let mut c = alice(&s, Form::ClassicV2);
    for i in 0..5u8 {
        let header = c.header(Com::ECHO);
        let m = Smb1Client::<MemoryWire>::message(&header, false, &[1, 0], &[i]);
        c.send(m);
    }
    for _ in 0..5 {
        assert_eq!(c.reply().unwrap().signature, Some(true));
    }
}

#[test]
fn errors_are_signed() {
    let s = subject(required());
    for form in FORMS {
        let mut c = alice(&s, form);
        let reply = c.tree_connect(r"\\server\nothing").unwrap();
        assert_eq!(reply.status(), NtStatus::BAD_NETWORK_NAME);
        assert_eq!(reply.signature, Some(true));
        // Word and byte count are zero.
        assert_eq!(reply.message.len(), 35);
        let reply = c.call(0x7F, false, &[], &[]).unwrap();
        assert!(reply.status().is_error() || reply.status() == NtStatus::SMB_BAD_COMMAND);
        assert_eq!(reply.signature, Some(true));
    }
}

/// Nothing is ever acted upon again, and there is no way back to unsigned.
#[test]
fn a_wrong_signature_ends_the_connection() {
    for s in [
        subject(required()),
        subject(settings(Value::Disabled, Value::Enabled)),
    ] {
        for attack in 0..5 {
            let mut c = alice(&s, Form::Spnego);
            let header = c.header(Com::ECHO);
            let mut m = Smb1Client::<MemoryWire>::message(&header, false, &[1, 0], b"evil");
            let key = c.key.as_ref().unwrap();
            match attack {
                // A flipped byte, the next number, the last number, no signature,
                // the placeholder.
                0 => {
                    key.sign(c.next, &mut m);
                    let last = m.len() - 1;
                    m[last] ^= 1;
                }
                1 => key.sign(c.next + 2, &mut m),
                2 => key.sign(c.next - 2, &mut m),
                3 => {}
                _ => m[14..22].copy_from_slice(b"BSRSPYL "),
            }
            c.wire.send(&m);
            assert!(c.reply().is_none() && c.wire.closed(), "attack {attack}");
        }
    }
}

#[test]
fn the_signature_counts_and_not_the_flag() {
    let s = subject(required());
    let mut c = alice(&s, Form::Spnego);
    c.flags2 -= Flags2::SECURITY_SIGNATURE;
    let reply = c.echo(1, b"flag clear").unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
}

/// An unsigned message behind the logon that makes the key, in one segment.
#[test]
fn nothing_slips_in_behind_the_logon() {
    let s = subject(required());
    let mut c = alice(&s, Form::Spnego);
    let header = c.header(Com::ECHO);
    let good = {
        let mut m = Smb1Client::<MemoryWire>::message(&header, false, &[1, 0], b"good");
        c.key.as_ref().unwrap().sign(c.next, &mut m);
        m
    };
    let header = c.header(Com::ECHO);
    let evil = Smb1Client::<MemoryWire>::message(&header, false, &[1, 0], b"evil");
    c.wire.send_all(&[&good, &evil]);
    let first = c.reply().unwrap();
    assert_eq!(first.bytes(), b"good");
    assert!(c.reply().is_none() && c.wire.closed());
}

#[test]
fn a_second_session_signs_with_the_first_key() {
    let s = subject(required());
    let mut c = alice(&s, Form::Spnego);
    let reply = c.logon(Form::Spnego, "bob", "S3cret#2b", true).unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    let bob = c.uid;
    let reply = c.echo(1, b"bob").unwrap();
    assert_eq!(reply.signature, Some(true));
    // bob logs off; the key was alice's and stays.
    c.uid = bob;
    let words = [];
    let reply = c.call(Com::LOGOFF_ANDX, true, &words, &[]).unwrap();
    assert_eq!(reply.signature, Some(true));
    assert_eq!(c.echo(1, b"still").unwrap().signature, Some(true));
}

/// smbd serves these unsigned under "mandatory"; this server does not.
#[test]
fn logons_without_a_key_are_refused_under_required() {
    let s = Subject::with(required(), |c| {
        c.smb1 = true;
        c.guest = true;
        let mut auth = AuthConfig::clone(&c.auth);
        auth.rules.guest = countersign_auth::GuestRule::UnknownUser;
        c.auth = Arc::new(auth);
    });
    for form in [Form::Spnego, Form::RawNtlmssp, Form::ClassicV2] {
        for user in ["", "nobody"] {
            let mut c = smb1(&s);
            c.negotiate(&["NT LM 0.12"], extended(form)).unwrap();
            let reply = c.logon(form, user, "", false).unwrap();
            assert!(
                reply.status().is_error(),
                "{form:?} {user:?} {:?}",
                reply.status()
            );
            let reply = c.tree_connect(r"\\server\share");
            assert!(
                reply.is_none_or(|r| r.status() != NtStatus::SUCCESS),
                "{form:?} {user:?}"
            );
        }
    }
}

#[test]
fn ntlmv1_only_where_it_is_allowed() {
    let s = Subject::with(optional(), |c| c.smb1 = true);
    let mut c = smb1(&s);
    c.negotiate(&["NT LM 0.12"], false).unwrap();
    let reply = c
        .logon(Form::ClassicV1, "alice", "Passw0rd!", false)
        .unwrap();
    assert_eq!(reply.status(), NtStatus::LOGON_FAILURE);
    let mut c = smb1(&s);
    c.negotiate(&["NT LM 0.12"], false).unwrap();
    let reply = c
        .logon(Form::ClassicV2, "alice", "Passw0rd!", false)
        .unwrap();
    assert_eq!(reply.status(), NtStatus::SUCCESS);
}

#[test]
fn echo_is_answered_before_any_session() {
    let s = subject(required());
    let mut c = smb1(&s);
    c.negotiate(&["NT LM 0.12"], true).unwrap();
    let reply = c.echo(1, b"hello").unwrap();
    assert_eq!(
        (reply.status(), reply.bytes()),
        (NtStatus::SUCCESS, &b"hello"[..])
    );
}

#[test]
fn dialects_nobody_speaks_are_answered_with_none() {
    let s = subject(required());
    let mut c = smb1(&s);
    let reply = c.negotiate(&["XENIX CORE", "NO SUCH"], true);
    if let Some(reply) = reply {
        assert_eq!(reply.words().get(..2), Some(&[0xFF, 0xFF][..]));
    }
    let mut c = smb1(&s);
    c.negotiate(&["NT LM 0.12"], true).unwrap();
    let again = c.negotiate(&["NT LM 0.12"], true);
    assert!(
        again.is_none_or(|r| r.status().is_error()),
        "a second NEGOTIATE"
    );
}

/// Session set-up, tree connect: one header, one number, one signature.
#[test]
fn a_chain_has_one_signature() {
    use countersign_wire::smb1::MessageWriter;
    let s = subject(required());
    let mut c = alice(&s, Form::Spnego);
    let header = c.header(Com::TREE_CONNECT_ANDX);
    let mut w = MessageWriter::new(0);
    let mut bytes = vec![0];
    bytes.extend(
        r"\\s\share"
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes),
    );
    bytes.extend_from_slice(b"?????\0");
    w.block(Com::TREE_CONNECT_ANDX, true, &[8, 0, 1, 0], &bytes);
    // NT_CREATE_ANDX of the root: 24 words, two of them the AndX.
    let mut words = vec![0];
    words.extend_from_slice(&2u16.to_le_bytes());
    words.extend_from_slice(&[0; 8]);
    words.extend_from_slice(&0x0012_0089u32.to_le_bytes());
    words.extend_from_slice(&[0; 8]);
    words.extend_from_slice(&0u32.to_le_bytes());
    words.extend_from_slice(&7u32.to_le_bytes());
    words.extend_from_slice(&1u32.to_le_bytes());
    words.extend_from_slice(&0u32.to_le_bytes());
    words.extend_from_slice(&2u32.to_le_bytes());
    words.push(0);
    assert_eq!(words.len(), 44);
    w.block(Com::NT_CREATE_ANDX, true, &words, &[0, b'\\', 0, 0, 0]);
    let message = w.finish(&header.encode());
    c.send(message);
    let reply = c.reply().unwrap();
    assert_eq!(
        (reply.status(), reply.signature),
        (NtStatus::SUCCESS, Some(true))
    );
    assert_eq!(
        reply.words().first(),
        Some(&Com::NT_CREATE_ANDX),
        "the chain is answered"
    );
    assert_eq!(c.echo(1, b"next").unwrap().signature, Some(true));
}
