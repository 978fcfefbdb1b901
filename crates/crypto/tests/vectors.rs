//! Every vector taken from captures of real peers.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use countersign_crypto::smb1::{self, MacKey};
use countersign_crypto::smb2::{Sender, SessionKeys, SignJob, SigningKey, TransformKey, VerifyJob};
use countersign_crypto::{Cipher, SigningAlgorithm, smb2};
use countersign_kernels::{AeadAlgorithm, AeadKey};
use serde_json::Value;

const VECTORS: &str = include_str!("../../../testdata/signing/vectors.json");

fn vectors(kind: &str) -> Vec<(String, Value)> {
    let all: BTreeMap<String, Vec<Value>> = serde_json::from_str(VECTORS).expect("vectors parse");
    all.into_iter()
        .flat_map(|(name, list)| list.into_iter().map(move |v| (name.clone(), v)))
        .filter(|(_, vector)| vector["proto"] == kind)
        .collect()
}

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(vector[field].as_str().expect(field)).expect(field)
}

fn sender(vector: &Value) -> Sender {
    if vector["dir"] == "S>C" {
        Sender::Server
    } else {
        Sender::Client
    }
}

fn algorithm(vector: &Value) -> SigningAlgorithm {
    match vector["alg"].as_str() {
        Some("HMAC-SHA256") => SigningAlgorithm::HmacSha256,
        Some("AES-128-CMAC") => SigningAlgorithm::AesCmac,
        Some("AES-128-GMAC") => SigningAlgorithm::AesGmac,
        other => panic!("algorithm {other:?}"),
    }
}

#[test]
fn smb1_signatures() {
    let vectors = vectors("SMB1");
    let mut messages: Vec<Vec<u8>> = vectors.iter().map(|(_, v)| bytes(v, "msg")).collect();
    let keys: Vec<MacKey> = vectors
        .iter()
        .map(|(_, v)| MacKey::new(&bytes(v, "key"), &[]))
        .collect();
    let numbers: Vec<u32> = vectors
        .iter()
        .map(|(_, v)| u32::try_from(v["seq"].as_u64().expect("seq")).expect("seq"))
        .collect();
    for (((name, vector), message), (key, seq)) in
        vectors.iter().zip(&messages).zip(keys.iter().zip(&numbers))
    {
        assert_eq!(&message[14..22], bytes(vector, "sig"), "{name}");
        assert!(
            key.verify(*seq, message).is_ok(),
            "{name} {}",
            vector["frame"]
        );
        assert!(
            key.verify(seq + 1, message).is_err(),
            "{name} {}",
            vector["frame"]
        );
    }
    for message in &mut messages {
        message[14..22].fill(0xAA);
    }
    let mut jobs: Vec<_> = messages
        .iter_mut()
        .zip(keys.iter().zip(&numbers))
        .map(|(message, (key, sequence))| smb1::SignJob {
            key,
            sequence: *sequence,
            message,
        })
        .collect();
    smb1::sign_batch(&mut jobs);
    for ((name, vector), message) in vectors.iter().zip(&messages) {
        assert_eq!(message, &bytes(vector, "msg"), "{name} {}", vector["frame"]);
    }
    assert_eq!(vectors.len(), 72);
}

#[test]
fn smb1_key_is_session_key_and_response() {
    let (_, vector) = vectors("SMB1")
        .into_iter()
        .find(|(name, _)| name == "nt1-signed-noext-ntlmv1")
        .expect("a logon without extended security");
    let key = bytes(&vector, "key");
    let (session_key, response) = key.split_at(16);
    assert_eq!(response.len(), 24);
    let message = bytes(&vector, "msg");
    assert!(
        MacKey::new(session_key, response)
            .verify(1, &message)
            .is_ok()
    );
    assert!(MacKey::new(session_key, &[]).verify(1, &message).is_err());
}

#[test]
fn smb2_signatures() {
    let vectors = vectors("SMB2");
    let keys: Vec<SigningKey> = vectors
        .iter()
        .map(|(_, v)| SigningKey::new(algorithm(v), &bytes(v, "key").try_into().expect("16")))
        .collect();
    let mut messages: Vec<Vec<u8>> = vectors.iter().map(|(_, v)| bytes(v, "msg")).collect();
    for (((name, vector), message), key) in vectors.iter().zip(&messages).zip(&keys) {
        assert_eq!(&message[48..64], bytes(vector, "sig"), "{name}");
        assert!(
            key.verify(sender(vector), message).is_ok(),
            "{name} {}",
            vector["frame"]
        );
    }
    let jobs: Vec<_> = vectors
        .iter()
        .zip(&messages)
        .zip(&keys)
        .map(|(((_, v), message), key)| VerifyJob {
            key,
            sender: sender(v),
            message,
        })
        .collect();
    assert!(smb2::verify_batch(&jobs).iter().all(Result::is_ok));
    drop(jobs);
    for message in &mut messages {
        message[48..64].fill(0xAA);
    }
    let jobs: Vec<_> = vectors
        .iter()
        .zip(&messages)
        .zip(&keys)
        .map(|(((_, v), message), key)| VerifyJob {
            key,
            sender: sender(v),
            message,
        })
        .collect();
    assert!(smb2::verify_batch(&jobs).iter().all(Result::is_err));
    drop(jobs);
    let mut jobs: Vec<_> = vectors
        .iter()
        .zip(&mut messages)
        .zip(&keys)
        .map(|(((_, v), message), key)| SignJob {
            key,
            sender: sender(v),
            message,
        })
        .collect();
    smb2::sign_batch(&mut jobs);
    for ((name, vector), message) in vectors.iter().zip(&messages) {
        assert_eq!(message, &bytes(vector, "msg"), "{name} {}", vector["frame"]);
    }
    let cancels = messages.iter().filter(|m| m[12..14] == [0x0C, 0]).count();
    assert!(cancels > 0, "a CANCEL proves its bit of the nonce");
    assert_eq!(vectors.len(), 120);
}

#[test]
fn session_keys() {
    let vectors = vectors("session");
    for (name, vector) in &vectors {
        let dialect =
            u16::from_str_radix(vector["dialect"].as_str().expect("dialect"), 16).expect("hex");
        let preauth: Option<[u8; 64]> = vector["preauth_hash"].as_str().map(|text| {
            hex::decode(text)
                .expect("hex")
                .try_into()
                .expect("64 bytes")
        });
        let expected = |field: &str| vector[field].as_str().map(|t| hex::decode(t).expect("hex"));
        let cipher = expected("c2s").map(|key| match (dialect, key.len()) {
            (_, 32) => Cipher::Aes256Gcm,
            (..0x0311, _) => Cipher::Aes128Ccm,
            _ => Cipher::Aes128Gcm,
        });
        let keys = SessionKeys::derive(
            dialect,
            &bytes(vector, "session_key"),
            preauth.as_ref(),
            cipher,
        )
        .expect(name);
        assert_eq!(keys.signing_key, *bytes(vector, "signing_key"), "{name}");
        let bytes = |key: &Option<smb2::CipherKey>| key.as_ref().map(|k| k.as_bytes().to_vec());
        assert_eq!(bytes(&keys.client_to_server), expected("c2s"), "{name}");
        assert_eq!(bytes(&keys.server_to_client), expected("s2c"), "{name}");
    }
    assert_eq!(vectors.len(), 18);
}

#[test]
fn what_is_missing_is_an_error() {
    use smb2::DeriveError;
    let derive = |dialect, key: &[u8], hash| {
        SessionKeys::derive(dialect, key, hash, Some(Cipher::Aes128Gcm)).map(|_| ())
    };
    for dialect in [0x0202, 0x0210, 0x0300, 0x0302, 0x0311] {
        assert_eq!(
            derive(dialect, &[], Some(&[1; 64])),
            Err(DeriveError::NoSessionKey)
        );
    }
    assert_eq!(
        derive(0x0311, &[7; 16], None),
        Err(DeriveError::NoPreauthHash)
    );
    assert_eq!(derive(0x0302, &[7; 16], None), Ok(()));
    assert!(countersign_crypto::SessionKey::new(Vec::new()).is_none());
}

/// Nothing on the wire shows the application key.
#[test]
fn application_key_differs_from_all_others() {
    let keys = SessionKeys::derive(0x0311, &[9; 16], Some(&[3; 64]), Some(Cipher::Aes128Gcm))
        .expect("keys");
    let c2s = keys.client_to_server.as_ref().expect("key").as_bytes();
    let s2c = keys.server_to_client.as_ref().expect("key").as_bytes();
    for other in [&keys.signing_key[..], c2s, s2c, &[9; 16]] {
        assert_ne!(other, keys.application);
    }
}

#[test]
fn transforms() {
    let all: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(include_str!("../../../testdata/signing/transforms.json"))
            .expect("vectors parse");
    let mut seen = std::collections::BTreeSet::new();
    for (name, vector) in all
        .iter()
        .flat_map(|(name, list)| list.iter().map(move |v| (name, v)))
    {
        let id = u16::try_from(vector["cipher"].as_u64().expect("cipher")).expect("cipher");
        let cipher = Cipher::from_id(id).expect("cipher");
        seen.insert(id);
        let key = TransformKey::from_bytes(cipher, &bytes(vector, "key")).expect("key");
        let sealed = bytes(vector, "msg");
        let mut opened = sealed.clone();
        assert_eq!(
            key.open_in_place(&mut opened).expect(name),
            bytes(vector, "plain"),
            "{name}"
        );
        let (header, data) = opened.split_at_mut(smb2::TRANSFORM_HEADER);
        let algorithm = if id % 2 == 1 {
            AeadAlgorithm::Ccm
        } else {
            AeadAlgorithm::Gcm
        };
        let key = AeadKey::new(algorithm, &bytes(vector, "key")).expect("key");
        let nonce = &header[20..20 + cipher.nonce_length()];
        let tag = key.seal(nonce, &header[20..], data).expect("seals");
        assert_eq!(
            (&tag[..], &*data),
            (&sealed[4..20], &sealed[52..]),
            "{name}"
        );
    }
    assert!(
        [1, 2, 3, 4].iter().all(|id| seen.contains(id)),
        "every cipher is proved: {seen:?}"
    );
}
