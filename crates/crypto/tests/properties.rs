//! What was signed verifies; any change fails.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use countersign_crypto::smb1::MacKey;
use countersign_crypto::smb2::{
    CipherKey, NonceCounter, OpenError, SealError, Sender, SessionKeys, SigningKey,
    TRANSFORM_HEADER, TransformKey,
};
use countersign_crypto::{Cipher, SigningAlgorithm};
use proptest::prelude::*;

const ALGORITHMS: [SigningAlgorithm; 3] = [
    SigningAlgorithm::HmacSha256,
    SigningAlgorithm::AesCmac,
    SigningAlgorithm::AesGmac,
];
const CIPHERS: [Cipher; 4] = [
    Cipher::Aes128Ccm,
    Cipher::Aes128Gcm,
    Cipher::Aes256Ccm,
    Cipher::Aes256Gcm,
];

fn keys(cipher: Cipher) -> (CipherKey, CipherKey) {
    let keys =
        SessionKeys::derive(0x0311, &[0x5A; 32], Some(&[1; 64]), Some(cipher)).expect("keys");
    (
        keys.client_to_server.clone().expect("key"),
        keys.server_to_client.clone().expect("key"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn smb1_signs_and_verifies(
        key in prop::collection::vec(any::<u8>(), 1..120),
        sequence in any::<u32>(),
        mut message in prop::collection::vec(any::<u8>(), 32..400),
        bit in any::<prop::sample::Index>(),
    ) {
        let key = MacKey::new(&key, &[]);
        key.sign(sequence, &mut message);
        prop_assert!(key.verify(sequence, &message).is_ok());
        prop_assert!(key.verify(sequence ^ 1, &message).is_err());
        let bit = bit.index(message.len() * 8);
        message[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(key.verify(sequence, &message).is_err());
    }

    #[test]
    fn smb2_signs_and_verifies(
        key in any::<[u8; 16]>(),
        mut message in prop::collection::vec(any::<u8>(), 64..1400),
        bit in any::<prop::sample::Index>(),
    ) {
        for algorithm in ALGORITHMS {
            let key = SigningKey::new(algorithm, &key);
            key.sign(Sender::Server, &mut message);
            prop_assert!(key.verify(Sender::Server, &message).is_ok());
            let other = key.verify(Sender::Client, &message);
            prop_assert_eq!(other.is_err(), algorithm == SigningAlgorithm::AesGmac);
            let bit = bit.index(message.len() * 8);
            message[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(key.verify(Sender::Server, &message).is_err());
        }
    }

    #[test]
    fn transforms_open_what_was_sealed(
        plain in prop::collection::vec(any::<u8>(), 0..700),
        session in any::<u64>(),
        nonce in any::<u64>(),
        bit in any::<prop::sample::Index>(),
    ) {
        for cipher in CIPHERS {
            let (key, other) = keys(cipher);
            let key = TransformKey::new(cipher, &key).expect("key");
            let other = TransformKey::new(cipher, &other).expect("key");
            let mut sealed = vec![0; TRANSFORM_HEADER];
            sealed.extend_from_slice(&plain);
            key.seal_in_place(&mut sealed, session, nonce).expect("seals");
            prop_assert_eq!(&sealed[44..52], session.to_le_bytes());
            prop_assert!(plain.len() < 16 || sealed[52..] != plain);
            let mut copy = sealed.clone();
            prop_assert_eq!(key.open_in_place(&mut copy).expect("opens"), &plain[..]);
            let mut copy = sealed.clone();
            prop_assert_eq!(other.open_in_place(&mut copy), Err(OpenError::BadTag));
            let bit = bit.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            // Bytes of the nonce field behind the nonce are authenticated too.
            prop_assert!(key.open_in_place(&mut sealed).is_err());
        }
    }
}

#[test]
fn short_messages_never_verify() {
    for length in 0..64 {
        let message = vec![0; length];
        for algorithm in ALGORITHMS {
            let key = SigningKey::new(algorithm, &[1; 16]);
            let mut signed = message.clone();
            key.sign(Sender::Client, &mut signed);
            assert_eq!(signed, message);
            assert!(key.verify(Sender::Client, &message).is_err());
        }
        if length < 32 {
            let key = MacKey::new(&[1; 16], &[]);
            let mut signed = message.clone();
            key.sign(0, &mut signed);
            assert_eq!(signed, message);
            assert!(key.verify(0, &message).is_err());
        }
    }
}

#[test]
fn a_failed_open_leaves_no_plaintext() {
    for cipher in CIPHERS {
        let (key, _) = keys(cipher);
        let key = TransformKey::new(cipher, &key).expect("key");
        let mut sealed = vec![b'x'; TRANSFORM_HEADER + 100];
        key.seal_in_place(&mut sealed, 1, 1).expect("seals");
        sealed[5] ^= 1;
        assert_eq!(key.open_in_place(&mut sealed), Err(OpenError::BadTag));
        assert!(sealed[TRANSFORM_HEADER..].iter().all(|b| *b == 0));
    }
}

#[test]
fn lengths_are_checked() {
    for cipher in CIPHERS {
        for length in [0, 15, 16, 17, 24, 31, 32, 33] {
            let made = TransformKey::from_bytes(cipher, &vec![1; length]);
            assert_eq!(made.is_ok(), length == cipher.key_length());
        }
        let (key, _) = keys(cipher);
        let key = TransformKey::new(cipher, &key).expect("key");
        assert_eq!(
            key.seal_in_place(&mut [0; 51], 1, 1),
            Err(SealError::Length)
        );
        for length in 0..TRANSFORM_HEADER {
            assert_eq!(
                key.open_in_place(&mut vec![0xFD; length]),
                Err(OpenError::Malformed)
            );
        }
        let mut sealed = vec![0; TRANSFORM_HEADER + 10];
        key.seal_in_place(&mut sealed, 1, 1).expect("seals");
        sealed.push(0);
        assert_eq!(key.open_in_place(&mut sealed), Err(OpenError::Malformed));
    }
}

#[test]
fn nonces_never_repeat() {
    let counter = NonceCounter::new();
    let first: Vec<_> = (0..100).map(|_| counter.next().expect("nonce")).collect();
    assert!(first.windows(2).all(|pair| pair[0] < pair[1]));
}
