//! Every cause, in every family of signatures, on kept captures of real peers that
//! are really altered: with the keys of their logons a message is signed anew as a
//! faulty peer would sign it, in its place in the file.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's way to fail"
)]

use std::path::Path;
use std::sync::Arc;

use countersign_crypto::SigningAlgorithm::{self, AesCmac, AesGmac, HmacSha256};
use countersign_crypto::smb1::MacKey;
use countersign_crypto::smb2::{Sender, SessionKeys, SigningKey};

use crate::{CaptureReader, Cause, Counted, Report, Secrets, Verifier, verify};

const MD5: &str = "nt1-signed-ntlmv2-spnego.pcapng";
/// A capture of each family of SMB2.
const SMB2: [(&str, u16, SigningAlgorithm); 6] = [
    ("smb202-signed.pcapng", 0x0202, HmacSha256),
    ("smb210-signed.pcapng", 0x0210, HmacSha256),
    ("smb300-cmac.pcapng", 0x0300, AesCmac),
    ("smb311-hmac.pcapng", 0x0311, HmacSha256),
    ("smb311-cmac.pcapng", 0x0311, AesCmac),
    ("smb311-gmac.pcapng", 0x0311, AesGmac),
];

fn kept(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    std::fs::read(folder.join(name)).unwrap()
}

fn run(file: &[u8]) -> Verifier {
    let mut secrets = Secrets::new();
    secrets.add_password("alice", "Passw0rd!");
    secrets.add_password("bob", "S3cret#2b");
    let mut verifier = Verifier::new(secrets);
    verify(CaptureReader::new(file), &mut verifier, |_| {}).unwrap();
    verifier
}

/// Keys of the first session with one.
struct Keys {
    mac: Option<Arc<MacKey>>,
    algorithm: Option<SigningAlgorithm>,
    signing: [u8; 16],
    session: Vec<u8>,
}

fn keys(file: &[u8]) -> Keys {
    let verifier = run(file);
    let sessions: Vec<_> = verifier.state.sessions.recent().map(|(_, s)| s).collect();
    let session = sessions.iter().rev().find(|s| s.ready).unwrap();
    let channel = session.channels.first();
    Keys {
        mac: session.mac.clone(),
        algorithm: session.algorithm,
        signing: channel.map_or([0; 16], |c| *c.bytes),
        session: channel.map_or(Vec::new(), |c| c.session_key.to_vec()),
    }
}

/// Where the packets' bytes are in a pcapng file.
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

/// The packet, from 1, and the place in the file of the first message that is `which`
/// and whole in its packet.
fn find(file: &[u8], which: impl Fn(&[u8]) -> bool) -> (u64, core::ops::Range<usize>) {
    for (n, range) in (1..).zip(packets(file)) {
        let packet = &file[range.clone()];
        let magic = (0..packet.len().saturating_sub(64))
            .find(|at| matches!(&packet[*at..at + 4], b"\xFESMB" | b"\xFFSMB"));
        if let Some(at) = magic
            && which(&packet[at..])
        {
            return (n, range.start + at..range.end);
        }
    }
    panic!("no such message");
}

/// A CREATE, READ or WRITE request that is alone in its frame and signed.
fn request(m: &[u8]) -> bool {
    match m[0] {
        0xFF => m[4] == 0xA2 && m[9] & 0x80 == 0,
        _ => m[12] == 5 && m[16] & 1 == 0 && m[16] & 8 != 0 && m[20..24] == [0; 4],
    }
}

fn response(m: &[u8]) -> bool {
    match m[0] {
        0xFF => m[4] == 0xA2 && m[9] & 0x80 != 0,
        _ => m[12] == 5 && m[16] & 1 != 0 && m[16] & 8 != 0 && m[20..24] == [0; 4],
    }
}

fn totals(report: &Report) -> [u64; 3] {
    let c = report.counts;
    [c.verified, c.bad, c.unsigned]
}

/// Alters one message of a capture: exactly it must be found, with this cause.
fn altered(
    file: &[u8],
    which: impl Fn(&[u8]) -> bool,
    alter: impl FnOnce(&mut [u8]),
    cause: Cause,
    says: &str,
) {
    let before = run(file).finish();
    let mut copy = file.to_vec();
    let (frame, place) = find(&copy, which);
    alter(&mut copy[place]);
    let after = run(&copy).finish();
    let known = |f: &crate::Finding| before.findings.iter().any(|b| b == f);
    let new: Vec<_> = after.findings.iter().filter(|f| !known(f)).collect();
    assert_eq!(new.len(), 1, "{says}: {new:?}");
    let found = new[0];
    assert_eq!((found.frame, found.cause), (frame, cause), "{found:?}");
    assert!(found.detail.contains(says), "{says}: {}", found.detail);
    let [verified, bad, unsigned] = totals(&before);
    let want = match found.counted {
        Counted::Bad => [verified - 1, bad + 1, unsigned],
        _ => [verified - 1, bad, unsigned + 1],
    };
    assert_eq!(totals(&after), want, "{found:?}");
}

fn sign(key: &SigningKey, from_server: bool, m: &mut [u8]) {
    let sender = if from_server {
        Sender::Server
    } else {
        Sender::Client
    };
    key.sign(sender, m);
}

#[test]
fn altered_in_every_family() {
    for name in SMB2.map(|(name, ..)| name).into_iter().chain([MD5]) {
        let file = kept(name);
        altered(&file, request, |m| m[60] ^= 1, Cause::Altered, "");
        for message in [request, response] {
            let smb1 = name == MD5;
            let at = if smb1 { 40 } else { 70 };
            let says = format!("bit 4 of the byte at offset {at} was changed");
            altered(&file, message, |m| m[at] ^= 0x10, Cause::Altered, &says);
            // More than one byte: the key is right for the others.
            let change = |m: &mut [u8]| m[at..at + 4].copy_from_slice(b"evil");
            altered(&file, message, change, Cause::Altered, "for other messages");
            let at = if smb1 { 15 } else { 50 };
            altered(
                &file,
                message,
                |m| m[at] ^= 0x21,
                Cause::Altered,
                "the signature itself was changed: 2 of its",
            );
        }
    }
}

#[test]
fn unsigned_in_every_family() {
    for (name, ..) in SMB2 {
        let strip = |m: &mut [u8]| {
            m[16] &= !8;
            m[48..64].fill(0);
        };
        let file = kept(name);
        altered(
            &file,
            response,
            strip,
            Cause::Unsigned,
            "the request was signed",
        );
    }
    let strip = |m: &mut [u8]| m[14..22].fill(0);
    for message in [request, response] {
        let says = "signing is active";
        altered(&kept(MD5), message, strip, Cause::Unsigned, says);
    }
}

/// Signs a message of `file` with the key of a session in `other`, which comes before
/// it: one bad message, signed with the key of that session.
fn with_key_of(other: &[u8], file: &[u8], sign: impl FnOnce(&mut [u8])) {
    let joined = [other, file].concat();
    let before = run(&joined).finish();
    let first = packets(other).len() as u64;
    let (frame, place) = find(file, request);
    let mut copy = joined;
    sign(&mut copy[place.start + other.len()..place.end + other.len()]);
    let after = run(&copy).finish();
    let known = |f: &crate::Finding| before.findings.iter().any(|b| b == f);
    let new: Vec<_> = after.findings.iter().filter(|f| !known(f)).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert_eq!(
        (new[0].frame, new[0].cause),
        (frame + first, Cause::WrongKey),
        "{new:?}"
    );
    assert!(new[0].detail.contains("of session 0x"), "{new:?}");
}

#[test]
fn another_session_s_key_in_every_family() {
    let other = kept("smbprotocol-311.pcapng");
    let k = keys(&other);
    let key = SigningKey::new(k.algorithm.unwrap(), &k.signing);
    for (name, ..) in SMB2 {
        with_key_of(&other, &kept(name), |m| sign(&key, false, m));
    }
    let other = kept("pysmb-nt1-ntlmv2.pcapng");
    let key = keys(&other).mac.unwrap();
    let file = kept(MD5);
    let own = keys(&file).mac.unwrap();
    with_key_of(&other, &file, |m| {
        let number = (0..200).find(|n| own.verify(*n, m).is_ok()).unwrap();
        key.sign(number, m);
    });
}

#[test]
fn another_derivation_s_key() {
    for (name, dialect, algorithm) in SMB2 {
        let file = kept(name);
        let k = keys(&file);
        if dialect >= 0x0300 {
            let session = k.session.first_chunk::<16>().unwrap();
            let key = SigningKey::new(algorithm, session);
            let says = "the session key itself";
            altered(
                &file,
                request,
                |m| sign(&key, false, m),
                Cause::WrongKey,
                says,
            );
        }
        if dialect == 0x0311 {
            let old = SessionKeys::derive(0x0300, &k.session, None, None).unwrap();
            let key = SigningKey::new(algorithm, &old.signing_key);
            let says = "SMB 3.0's derivation";
            altered(
                &file,
                request,
                |m| sign(&key, false, m),
                Cause::WrongKey,
                says,
            );
        }
    }
}

#[test]
fn another_algorithm() {
    for (name, _, algorithm) in SMB2 {
        let file = kept(name);
        let k = keys(&file);
        for other in [HmacSha256, AesCmac, AesGmac] {
            if other == algorithm {
                continue;
            }
            let key = SigningKey::new(other, &k.signing);
            altered(
                &file,
                request,
                |m| sign(&key, false, m),
                Cause::Algorithm,
                "was agreed",
            );
            altered(
                &file,
                response,
                |m| sign(&key, true, m),
                Cause::Algorithm,
                "was agreed",
            );
        }
    }
}

#[test]
fn another_range_in_every_family() {
    for (name, _, algorithm) in SMB2 {
        let file = kept(name);
        let key = SigningKey::new(algorithm, &keys(&file).signing);
        for cut in [1, 7, 16] {
            let says = format!("does not cover the last {cut} bytes");
            let short = |m: &mut [u8]| {
                let end = m.len() - cut;
                sign(&key, false, &mut m[..end]);
            };
            altered(&file, request, short, Cause::WrongRange, &says);
        }
        let header = |m: &mut [u8]| sign(&key, true, &mut m[..64]);
        altered(
            &file,
            response,
            header,
            Cause::WrongRange,
            "the header only",
        );
        let early = |m: &mut [u8]| {
            m[16] &= !8;
            sign(&key, false, m);
            m[16] |= 8;
        };
        let says = "before SMB2_FLAGS_SIGNED";
        altered(&file, request, early, Cause::WrongRange, says);
    }
    let file = kept(MD5);
    let key = keys(&file).mac.unwrap();
    // The number of the request: the one that verifies.
    let number = |m: &[u8]| (0..200).find(|n| key.verify(*n, m).is_ok()).unwrap();
    let short = |m: &mut [u8]| {
        let (n, end) = (number(m), m.len() - 3);
        key.sign(n, &mut m[..end]);
    };
    altered(
        &file,
        request,
        short,
        Cause::WrongRange,
        "does not cover the last 3 bytes",
    );
    let header = |m: &mut [u8]| {
        let n = number(m);
        key.sign(n, &mut m[..32]);
    };
    altered(
        &file,
        response,
        header,
        Cause::WrongRange,
        "ends with the header",
    );
}

#[test]
fn another_number_or_message_id() {
    let file = kept(MD5);
    let key = keys(&file).mac.unwrap();
    let number = |m: &[u8]| (0..200).find(|n| key.verify(*n, m).is_ok()).unwrap();
    for (off, says) in [(-2i64, "(-2)"), (1, "(+1)"), (400, "(+400)")] {
        for message in [request, response] {
            let wrong = |m: &mut [u8]| {
                let n = i64::from(number(m)) + off;
                key.sign(u32::try_from(n).unwrap(), m);
            };
            altered(&file, message, wrong, Cause::Sequence, says);
        }
    }
    for (name, _, algorithm) in SMB2 {
        let file = kept(name);
        let key = SigningKey::new(algorithm, &keys(&file).signing);
        for (off, says) in [(3i64, "(-3)"), (-1, "(+1)"), (60, "(-60)")] {
            let wrong = |m: &mut [u8]| {
                let own: [u8; 8] = m[24..32].try_into().unwrap();
                let other = i64::from_le_bytes(own) + off;
                m[24..32].copy_from_slice(&other.to_le_bytes());
                sign(&key, false, m);
                m[24..32].copy_from_slice(&own);
            };
            altered(&file, request, wrong, Cause::MessageId, says);
        }
    }
}

#[test]
fn another_nonce() {
    let file = kept("smb311-gmac.pcapng");
    let key = SigningKey::new(AesGmac, &keys(&file).signing);
    // Signed as the other side signs.
    altered(
        &file,
        request,
        |m| sign(&key, true, m),
        Cause::Nonce,
        "the bit of the other side",
    );
    altered(
        &file,
        response,
        |m| sign(&key, false, m),
        Cause::Nonce,
        "the bit of the other side",
    );
}

#[test]
fn a_wrong_password_in_every_family() {
    for name in SMB2.map(|(name, ..)| name).into_iter().chain([MD5]) {
        let file = kept(name);
        let [verified, bad, unsigned] = totals(&run(&file).finish());
        let mut secrets = Secrets::new();
        secrets.add_password("alice", "not it");
        let mut verifier = Verifier::new(secrets);
        verify(CaptureReader::new(&file[..]), &mut verifier, |_| {}).unwrap();
        let report = verifier.finish();
        assert_eq!(totals(&report), [0, bad + verified, unsigned], "{name}");
        let wrong = report.findings.iter().filter(|f| f.counted == Counted::Bad);
        for finding in wrong {
            assert_eq!(finding.cause, Cause::WrongKey, "{name}");
            assert!(finding.detail.contains("`alice`"), "{name}");
        }
    }
}
