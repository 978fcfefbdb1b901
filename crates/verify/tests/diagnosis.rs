//! Every cause a signature can be wrong by, made on purpose, is told; and altered
//! copies of kept captures are.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's way to fail"
)]

mod generate;

use std::path::Path;

use countersign_crypto::SigningAlgorithm::{self, AesCmac, AesGmac, HmacSha256};
use countersign_crypto::smb2::{SessionKeys, SigningKey};
use countersign_verify::{CaptureReader, Cause, Report, Secrets, Verifier, verify};
use generate::*;

fn report_with(bytes: &[u8], secrets: Secrets) -> Report {
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(bytes), &mut verifier, |_| {}).unwrap();
    verifier.finish()
}

fn report(bytes: &[u8]) -> Report {
    let mut secrets = Secrets::new();
    secrets.add_password(USER, PASSWORD);
    secrets.add_password("alice", "Passw0rd!");
    report_with(bytes, secrets)
}

fn counts(r: &Report) -> [u64; 3] {
    [r.counts.verified, r.counts.bad, r.counts.unsigned]
}

/// A capture with one right READ, then `faulty` as its request, then its response.
fn with_fault(
    dialect: u16,
    algorithm: SigningAlgorithm,
    faulty: impl Fn(&Logon, Vec<u8>) -> Vec<u8>,
) -> Report {
    let mut capture = Capture::new(1448);
    let logon = log_on(&mut capture, dialect, algorithm);
    let request = |capture: &mut Capture, id, fault: bool| {
        let m = read_request(id);
        let m = if fault {
            faulty(&logon, m)
        } else {
            signed(&logon.key, false, m)
        };
        capture.send(false, &m);
        capture.send(true, &signed(&logon.key, true, read_response(id, 3000)));
    };
    request(&mut capture, 3, false);
    request(&mut capture, 4, true);
    request(&mut capture, 5, false);
    report(&capture.bytes)
}

fn cause(report: &Report) -> (Cause, &str) {
    assert_eq!(report.findings.len(), 1, "{report:?}");
    (report.findings[0].cause, &report.findings[0].detail)
}

#[test]
fn right_sessions_verify_in_every_dialect_and_algorithm() {
    for (dialect, algorithm) in [
        (0x0202, HmacSha256),
        (0x0210, HmacSha256),
        (0x0300, AesCmac),
        (0x0302, AesCmac),
        (0x0311, HmacSha256),
        (0x0311, AesCmac),
        (0x0311, AesGmac),
    ] {
        let r = with_fault(dialect, algorithm, |logon, m| signed(&logon.key, false, m));
        assert_eq!(counts(&r), [7, 0, 5], "{dialect:x} {algorithm:?} {r:?}");
        assert!(r.findings.is_empty());
    }
}

#[test]
fn another_algorithm_or_derivation() {
    let r = with_fault(0x0311, AesGmac, |logon, m| {
        signed(&SigningKey::new(AesCmac, &logon.signing_key), false, m)
    });
    assert_eq!(
        cause(&r),
        (
            Cause::Algorithm,
            "signed with AES-128-CMAC where AES-128-GMAC was agreed"
        )
    );
    assert_eq!(counts(&r), [6, 1, 5]);
    let r = with_fault(0x0300, AesCmac, |logon, m| {
        signed(&SigningKey::new(HmacSha256, &logon.session_key), false, m)
    });
    assert_eq!(cause(&r).0, Cause::WrongKey);
    assert!(cause(&r).1.contains("the session key itself"), "{r:?}");
    let r = with_fault(0x0311, AesCmac, |logon, m| {
        let keys = SessionKeys::derive(0x0300, &logon.session_key, None, None).unwrap();
        signed(&SigningKey::new(AesCmac, &keys.signing_key), false, m)
    });
    assert!(cause(&r).1.contains("SMB 3.0's derivation"), "{r:?}");
}

#[test]
fn another_range() {
    // Eight bytes behind the message that the signature leaves out.
    let r = with_fault(0x0302, AesCmac, |logon, m| {
        let mut m = signed(&logon.key, false, m);
        m.extend([0; 7]);
        m
    });
    assert_eq!(
        cause(&r),
        (
            Cause::WrongRange,
            "the signature does not cover the last 7 bytes of the message"
        )
    );
    let r = with_fault(0x0311, AesCmac, |logon, m| {
        let mut m = m;
        logon.key.sign(sender(false), &mut m);
        m[16] |= 8;
        m
    });
    assert!(cause(&r).1.contains("before SMB2_FLAGS_SIGNED"), "{r:?}");
    // A compound signed as one.
    let r = with_fault(0x0210, HmacSha256, |logon, mut m| {
        m.resize(128, 0);
        m[20] = 128;
        m[16] |= 8;
        let second = signed(
            &logon.key,
            false,
            smb2(13, false, 99, SESSION, &[4, 0, 0, 0]),
        );
        m.extend(second);
        logon.key.sign(sender(false), &mut m);
        m
    });
    assert!(cause(&r).1.contains("following parts"), "{r:?}");
}

#[test]
fn another_nonce() {
    for (from, role, what) in [
        (4u64, 1u32, "the bit of the other side"),
        (4, 2, "CANCEL"),
        (0, 0, "MessageId 0"),
        (9, 0, "MessageId 9, the header 4"),
    ] {
        let r = with_fault(0x0311, AesGmac, |logon, mut m| {
            // The tag of this message under another nonce, by AES-GCM itself.
            m[16] |= 8;
            let key = aws_lc_rs::aead::LessSafeKey::new(
                aws_lc_rs::aead::UnboundKey::new(&aws_lc_rs::aead::AES_128_GCM, &logon.signing_key)
                    .unwrap(),
            );
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&from.to_le_bytes());
            nonce[8..].copy_from_slice(&role.to_le_bytes());
            let tag = key
                .seal_in_place_separate_tag(
                    aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce),
                    aws_lc_rs::aead::Aad::from(&m),
                    &mut [],
                )
                .unwrap();
            m[48..64].copy_from_slice(tag.as_ref());
            m
        });
        assert_eq!(cause(&r).0, Cause::Nonce, "{r:?}");
        assert!(cause(&r).1.contains(what), "{r:?}");
    }
}

#[test]
fn another_message_id() {
    for algorithm in [HmacSha256, AesCmac, AesGmac] {
        let r = with_fault(0x0311, algorithm, |logon, m| {
            let mut m = signed(&logon.key, false, m);
            m[24] = 9;
            m
        });
        assert_eq!(
            cause(&r),
            (Cause::MessageId, "signed as MessageId 4, sent as 9 (+5)"),
            "{algorithm:?}"
        );
    }
}

#[test]
fn altered_and_stripped() {
    let r = with_fault(0x0311, AesGmac, |logon, m| {
        let mut m = signed(&logon.key, false, m);
        m[80] = 0xC3;
        m
    });
    assert_eq!(
        cause(&r),
        (
            Cause::Altered,
            "the byte at offset 80 was 0x31 when it was signed"
        )
    );
    let r = with_fault(0x0300, AesCmac, |logon, m| {
        let mut m = signed(&logon.key, false, m);
        m[50] ^= 0x11;
        m
    });
    assert!(cause(&r).1.contains("2 of its 128 bits"), "{r:?}");
    let r = with_fault(0x0300, AesCmac, |_, m| m);
    assert_eq!(
        cause(&r),
        (Cause::Unsigned, "signing is required on this session")
    );
    // Its response is signed, and right: 1 logon and 5 of 6.
    assert_eq!(counts(&r), [6, 0, 6]);
    let r = with_fault(0x0300, AesCmac, |_, mut m| {
        m[16] |= 8;
        m
    });
    assert_eq!(
        cause(&r),
        (
            Cause::Unsigned,
            "SMB2_FLAGS_SIGNED is set, the signature is zeros"
        )
    );
    assert_eq!(counts(&r), [6, 1, 5]);
}

#[test]
fn passwords_and_keys_that_are_wrong_or_missing() {
    let mut capture = Capture::new(1448);
    let logon = log_on(&mut capture, 0x0300, AesCmac);
    capture.send(false, &signed(&logon.key, false, read_request(3)));
    let mut wrong = Secrets::new();
    wrong.add_password(USER, "not it");
    let r = report_with(&capture.bytes, wrong);
    assert_eq!(counts(&r), [0, 2, 5]);
    assert!(r.findings.iter().all(|f| f.cause == Cause::WrongKey));
    let r = report_with(&capture.bytes, Secrets::new());
    assert_eq!(counts(&r), [0, 2, 5]);
    assert!(r.findings.iter().all(|f| f.cause == Cause::NoKey));
    assert!(r.sessions[0].no_key.as_ref().unwrap().contains(USER));
    // The key of the session instead.
    let mut given = Secrets::new();
    given.add_session_key(SESSION, logon.session_key.to_vec());
    assert_eq!(counts(&report_with(&capture.bytes, given)), [2, 0, 5]);
    let mut hash = Secrets::new();
    hash.add_nt_hash(
        "DOM\\CAROL",
        countersign_auth::NtHash::from_password(PASSWORD),
    );
    assert_eq!(counts(&report_with(&capture.bytes, hash)), [2, 0, 5]);
}

#[test]
fn a_capture_that_starts_late_takes_session_keys() {
    for (dialect, algorithm) in [(0x0210, HmacSha256), (0x0300, AesCmac), (0x0311, AesGmac)] {
        let mut capture = Capture::new(1000);
        capture.bytes.truncate(24);
        capture.losing = true;
        let logon = log_on(&mut capture, dialect, algorithm);
        capture.send(true, &signed(&logon.key, true, read_response(3, 5000)));
        // The middle of a response is the first that is seen.
        capture.losing = false;
        let mut response = signed(&logon.key, true, read_response(4, 5000));
        response.extend([0; 3]);
        for id in 5..9 {
            capture.send(false, &signed(&logon.key, false, read_request(id)));
            capture.send(true, &signed(&logon.key, true, read_response(id, 5000)));
        }
        let r = report(&capture.bytes);
        assert_eq!(counts(&r), [0, 8, 0]);
        assert!(r.findings.iter().all(|f| f.cause == Cause::NoKey));
        let mut given = Secrets::new();
        let key = if dialect == 0x0311 {
            logon.signing_key
        } else {
            logon.session_key
        };
        given.add_session_key(SESSION, key.to_vec());
        let r = report_with(&capture.bytes, given);
        assert_eq!(counts(&r), [8, 0, 0], "{dialect:x}");
        assert!(!r.connections[0].from_start);
    }
}

#[test]
fn smb1_numbers_ranges_and_losses() {
    let session =
        |faults: &dyn Fn(usize, u32, &mut Capture, &countersign_crypto::smb1::MacKey) -> bool| {
            let mut capture = Capture::new(1448);
            let key = log_on_smb1(&mut capture);
            for n in 0..10u16 {
                let number = 2 + u32::from(n) * 2;
                let mut response = read_response_smb1(4000);
                if !faults(usize::from(n), number, &mut capture, &key) {
                    capture.losing = false;
                    read_smb1(&mut capture, &key, number, 10 + n, &mut response);
                }
            }
            report(&capture.bytes)
        };
    let r = session(&|_, _, _, _| false);
    assert_eq!(counts(&r), [21, 0, 3], "{r:?}");
    // A request that was signed with an old number.
    let r = session(&|n, number, capture, key| {
        if n != 4 {
            return false;
        }
        let mut m = smb1(0x2E, false, 14, &[12; 27]);
        key.sign(number - 6, &mut m);
        capture.send(false, &m);
        let mut m = read_response_smb1(10);
        m[30] = 14;
        key.sign(number + 1, &mut m);
        capture.send(true, &m);
        true
    });
    assert_eq!(counts(&r), [20, 1, 3]);
    assert_eq!(cause(&r).0, Cause::Sequence);
    assert!(
        cause(&r).1.contains("number 4 where 10 is due (-6)"),
        "{r:?}"
    );
    // The signature ends before the AndX part.
    let r = session(&|n, number, capture, key| {
        if n != 4 {
            return false;
        }
        let mut m = smb1(0x2E, false, 14, &[1, 0xFF, 0, 2, 0, 7, 7]);
        key.sign(number, &mut m);
        m.extend([9; 30]);
        capture.send(false, &m);
        let mut m = read_response_smb1(10);
        m[30] = 14;
        key.sign(number + 1, &mut m);
        capture.send(true, &m);
        true
    });
    assert_eq!(
        cause(&r),
        (Cause::WrongRange, "the signature ends with the first block")
    );
    // Three exchanges that the capture lost: what follows verifies.
    let r = session(&|n, number, capture, key| {
        if !(3..6).contains(&n) {
            return false;
        }
        capture.losing = true;
        let mut response = read_response_smb1(4000);
        read_smb1(capture, key, number, 10, &mut response);
        true
    });
    assert_eq!(counts(&r), [15, 0, 3], "{r:?}");
    let [client, server] = r.connections[0].lost;
    assert!(client > 150 && server > 12_000, "{client} {server}");
}

/// Keys of logons without extended security that sent an LM or LMv2 response alone, or
/// whose server took the LM hash's key: facts of [MS-CIFS] 3.2.5.3 and [MS-NLMP] 3.3.
#[test]
fn smb1_keys_of_lm_and_lmv2_responses() {
    use countersign_auth::NtHash;
    use countersign_auth::ntlm::hash::{desl, hmac_md5, ntowf_v2};
    use countersign_crypto::smb1::MacKey;
    let mut upper = [0; 16];
    upper[..PASSWORD.len()].copy_from_slice(PASSWORD.to_ascii_uppercase().as_bytes());
    let lm_hash: [u8; 16] = desl(&upper, *b"KGS!@#$%")[..16].try_into().unwrap();
    let lm = desl(&lm_hash, CHALLENGE);
    let lm_key = [&lm_hash[..8], &[0; 8]].concat();
    let hash = NtHash::from_password(PASSWORD);
    let nt = desl(hash.as_bytes(), CHALLENGE);
    let v2 = ntowf_v2(hash.as_bytes(), USER, "");
    let client = [0xAA; 8];
    let proof = hmac_md5(v2.as_slice(), &[&CHALLENGE, &client]);
    let lm_v2 = [&proof[..], &client].concat();
    let v2_key = hmac_md5(v2.as_slice(), &[proof.as_slice()]);
    for (name, lm_response, nt_response, key, action) in [
        ("LM", &lm[..], &[][..], MacKey::new(&lm_key, &lm), 0),
        (
            "LMv2",
            &lm_v2,
            &[],
            MacKey::new(v2_key.as_slice(), &lm_v2),
            0,
        ),
        ("NTLMv1", &lm, &nt, MacKey::new(&lm_key, &nt), 2),
        ("NTLMv1", &lm, &nt, MacKey::new(&lm_key, &lm), 2),
    ] {
        let mut capture = Capture::new(1448);
        log_on_smb1_with(&mut capture, lm_response, nt_response, &key, action);
        let mut response = read_response_smb1(500);
        read_smb1(&mut capture, &key, 2, 9, &mut response);
        let r = report(&capture.bytes);
        assert_eq!(counts(&r), [3, 0, 3], "{name}: {:?}", r.findings);
        let mechanism = &r.sessions[0].mechanism;
        assert_eq!(mechanism, &format!("{name} without extended security"));
        let mut wrong = Secrets::new();
        wrong.add_password(USER, "other");
        let r = report_with(&capture.bytes, wrong);
        assert_eq!(counts(&r)[..2], [0, 3], "{name}");
        assert!(r.findings.iter().all(|f| f.cause == Cause::WrongKey));
    }
}

/// A message in its transform header, sealed.
fn encrypted(key: &countersign_crypto::smb2::TransformKey, nonce: u64, m: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 52];
    out.extend(m);
    key.seal_in_place(&mut out, SESSION, nonce).unwrap();
    out
}

/// Encrypted messages of a session whose logon is not in the capture, with its key.
#[test]
fn a_session_key_opens_encryption_of_a_late_start() {
    use countersign_crypto::Cipher;
    use countersign_crypto::smb2::TransformKey;
    let key = [7u8; 16];
    let keys = SessionKeys::derive(0x0300, &key, None, Some(Cipher::Aes128Ccm)).unwrap();
    let cipher = |k: &Option<_>| TransformKey::new(Cipher::Aes128Ccm, k.as_ref().unwrap()).unwrap();
    let (c2s, s2c) = (
        cipher(&keys.client_to_server),
        cipher(&keys.server_to_client),
    );
    let mut capture = Capture::new(1448);
    capture.bytes.truncate(24);
    for id in 5..8 {
        for (from_server, key, m) in [
            (false, &c2s, read_request(id)),
            (true, &s2c, read_response(id, 3000)),
        ] {
            capture.send(from_server, &encrypted(key, id, &m));
        }
    }
    let mut given = Secrets::new();
    given.add_session_key(SESSION, key.to_vec());
    let r = report_with(&capture.bytes, given);
    assert_eq!((counts(&r), r.counts.decrypted), ([0, 0, 6], 6));
    let r = report(&capture.bytes);
    assert_eq!(counts(&r), [0, 6, 0]);
    assert!(r.findings.iter().all(|f| f.cause == Cause::NoKey));
}

#[test]
fn another_session_s_key() {
    let mut capture = Capture::new(1448);
    let first = log_on(&mut capture, 0x0311, AesGmac);
    capture.open(40_001);
    let second = log_on(&mut capture, 0x0311, AesCmac);
    capture.send(false, &signed(&first.key, false, read_request(3)));
    capture.send(false, &signed(&second.key, false, read_request(4)));
    let r = report(&capture.bytes);
    assert_eq!(counts(&r), [3, 1, 10]);
    assert_eq!(
        cause(&r),
        (
            Cause::WrongKey,
            "signed with the key of session 0x444400000001"
        )
    );
}

// ---- altered copies of kept captures

/// Positions of the packets' bytes in a pcapng file.
fn packets(file: &[u8]) -> Vec<core::ops::Range<usize>> {
    let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let mut out = Vec::new();
    let mut at = 0;
    while at + 12 <= file.len() {
        if u32_at(at) == 6 {
            out.push(at + 28..at + 28 + u32_at(at + 20));
        }
        at += u32_at(at + 4);
    }
    out
}

fn kept(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    std::fs::read(folder.join(name)).unwrap()
}

/// Where the message begins in the packet that a predicate on it picks.
fn message(file: &[u8], pick: impl Fn(&[u8]) -> bool) -> (usize, usize) {
    for (n, range) in packets(file).into_iter().enumerate() {
        let packet = &file[range.clone()];
        let magic = (0..packet.len().saturating_sub(4))
            .find(|at| matches!(&packet[*at..at + 4], b"\xFESMB" | b"\xFFSMB"));
        if let Some(at) = magic
            && pick(&packet[at..])
        {
            return (n + 1, range.start + at);
        }
    }
    panic!("no such message");
}

#[test]
fn a_flipped_byte_is_found_in_every_algorithm() {
    for (name, alters) in [
        ("smb202-signed.pcapng", 70),
        ("smb210-signed.pcapng", 70),
        ("smb300-cmac.pcapng", 70),
        ("smb311-hmac.pcapng", 70),
        ("smb311-cmac.pcapng", 70),
        ("smb311-gmac.pcapng", 70),
        ("nt1-signed-ntlmv2-spnego.pcapng", 40),
    ] {
        let mut file = kept(name);
        let before = report(&file);
        // A CREATE request.
        let (frame, at) = message(&file, |m| {
            m[0] == 0xFE && m[12] == 5 && m[16] & 1 == 0
                || m[0] == 0xFF && m[4] == 0xA2 && m[9] & 0x80 == 0
        });
        file[at + alters] ^= 0x10;
        let r = report(&file);
        let [verified, bad, unsigned] = counts(&before);
        assert_eq!(counts(&r), [verified - 1, bad + 1, unsigned], "{name}");
        let finding = r
            .findings
            .iter()
            .find(|f| f.cause == Cause::Altered)
            .unwrap();
        assert_eq!(finding.frame, frame as u64, "{name}");
        let want = format!("bit 4 of the byte at offset {alters} was changed");
        assert_eq!(finding.detail, want, "{name}");
    }
}

#[test]
fn a_dropped_packet_costs_its_messages_only() {
    for name in [
        "smb210-signed.pcapng",
        "smb300-cmac.pcapng",
        "smb311-gmac.pcapng",
        "nt1-signed-ntlmv2-spnego.pcapng",
    ] {
        let file = kept(name);
        let before = counts(&report(&file));
        let (create, _) = message(&file, |m| {
            m[0] == 0xFE && m[12] == 5 && m[16] & 1 == 0
                || m[0] == 0xFF && m[4] == 0xA2 && m[9] & 0x80 == 0
        });
        let range = packets(&file)[create - 1].clone();
        let mut cut = file.clone();
        // The whole block: 28 bytes before the packet, padding and length behind.
        let length =
            u32::from_le_bytes(file[range.start - 24..range.start - 20].try_into().unwrap());
        cut.drain(range.start - 28..range.start - 28 + length as usize);
        let r = report(&cut);
        assert_eq!(
            counts(&r),
            [before[0] - 1, before[1], before[2]],
            "{name}: {:?}",
            r.findings
        );
        assert!(r.connections[0].lost[0] > 0, "{name}");
    }
}

#[test]
fn a_stripped_signature_is_told() {
    for name in ["smb210-signed.pcapng", "smb311-gmac.pcapng"] {
        let mut file = kept(name);
        let before = counts(&report(&file));
        let (frame, at) = message(&file, |m| m[0] == 0xFE && m[12] == 5 && m[16] & 1 == 1);
        file[at + 16] &= !8;
        file[at + 48..at + 64].fill(0);
        let r = report(&file);
        assert_eq!(
            counts(&r),
            [before[0] - 1, before[1], before[2] + 1],
            "{name}"
        );
        let found = r.findings.iter().find(|f| f.frame == frame as u64).unwrap();
        assert_eq!(found.cause, Cause::Unsigned);
        assert!(found.detail.contains("request was signed"), "{name}");
    }
    let mut file = kept("nt1-signed-ntlmv2-spnego.pcapng");
    let before = counts(&report(&file));
    let (frame, at) = message(&file, |m| m[0] == 0xFF && m[4] == 0xA2);
    file[at + 14..at + 22].fill(0);
    let r = report(&file);
    assert_eq!(counts(&r), [before[0] - 1, before[1], before[2] + 1]);
    let found = r.findings.iter().find(|f| f.frame == frame as u64).unwrap();
    assert_eq!(found.cause, Cause::Unsigned);
}

#[test]
fn damage_anywhere_never_panics() {
    let file = kept("smb311-multichannel-bind.pcapng");
    for at in (0..file.len()).step_by(29) {
        let mut damaged = file.clone();
        damaged[at] ^= 0xFF;
        let mut verifier = Verifier::new(Secrets::new());
        let _ = verify(CaptureReader::new(&damaged[..]), &mut verifier, |_| {});
        let _ = verifier.finish();
    }
}
