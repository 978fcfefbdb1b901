//! Every kernel against the scalar one; what was sealed opens.
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use countersign_kernels::{
    AeadAlgorithm, AeadError, AeadKey, CmacJob, CmacKey, GmacJob, GmacKey, HmacJob, HmacSha256Key,
    Kernel, Md5Job, Md5Key, Message, Tag,
};
use proptest::prelude::*;

/// A message and where it is cut in three.
fn message() -> impl Strategy<Value = (Vec<u8>, usize, usize)> {
    let length = prop_oneof![
        0..100_usize,
        100..1500_usize,
        Just(1024),
        Just(1040),
        Just(2064)
    ];
    length
        .prop_flat_map(|n| {
            // Anywhere, or where the signature of SMB1 or SMB2 is.
            let cuts = prop_oneof![
                (0..=n, 0..=n).prop_map(|(a, b)| (a.min(b), a.max(b))),
                Just((14.min(n), 22.min(n))),
                Just((48.min(n), 64.min(n))),
            ];
            (prop::collection::vec(any::<u8>(), n), cuts)
        })
        .prop_map(|(bytes, (a, b))| (bytes, a, b))
}

fn cut((bytes, a, b): &(Vec<u8>, usize, usize)) -> Message<'_> {
    Message {
        head: &bytes[..*a],
        field: &bytes[*a..*b],
        tail: &bytes[*b..],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn batches_equal_single_scalar(
        messages in prop::collection::vec((any::<[u8; 16]>(), any::<[u8; 12]>(), message()), 0..40),
    ) {
        let n = messages.len();
        let md5: Vec<_> = messages.iter().map(|(key, ..)| Md5Key::new(key)).collect();
        let hmac: Vec<_> = messages.iter().map(|(key, ..)| HmacSha256Key::new(key)).collect();
        let cmac: Vec<_> = messages.iter().map(|(key, ..)| CmacKey::new(key)).collect();
        let gmac: Vec<_> = messages.iter().map(|(key, ..)| GmacKey::new(key)).collect();
        let cuts: Vec<_> = messages.iter().map(|(.., m)| cut(m)).collect();
        let wholes: Vec<_> = messages.iter().map(|(.., (m, ..))| Message::whole(m)).collect();
        for kernel in Kernel::available().iter().copied() {
            let mut tags: Vec<Tag> = vec![[0; 16]; n];
            let jobs: Vec<_> =
                md5.iter().zip(&cuts).map(|(key, m)| Md5Job { key, message: *m }).collect();
            Md5Key::batch_with(kernel, &jobs, &mut tags);
            for i in 0..n {
                prop_assert_eq!(tags[i], md5[i].tag_with(Kernel::Scalar, &wholes[i]));
            }
            let jobs: Vec<_> =
                hmac.iter().zip(&cuts).map(|(key, m)| HmacJob { key, message: *m }).collect();
            HmacSha256Key::batch_with(kernel, &jobs, &mut tags);
            for i in 0..n {
                prop_assert_eq!(tags[i], hmac[i].tag_with(Kernel::Scalar, &wholes[i]));
            }
            let jobs: Vec<_> =
                cmac.iter().zip(&cuts).map(|(key, m)| CmacJob { key, message: *m }).collect();
            CmacKey::batch_with(kernel, &jobs, &mut tags);
            for i in 0..n {
                prop_assert_eq!(tags[i], cmac[i].tag_with(Kernel::Scalar, &wholes[i]));
            }
            let jobs: Vec<_> = gmac
                .iter()
                .zip(&messages)
                .zip(&cuts)
                .map(|((key, (_, nonce, _)), m)| GmacJob { key, nonce: *nonce, message: *m })
                .collect();
            GmacKey::batch_with(kernel, &jobs, &mut tags);
            for i in 0..n {
                let nonce = &messages[i].1;
                prop_assert_eq!(tags[i], gmac[i].tag_with(Kernel::Scalar, nonce, &wholes[i]));
            }
        }
    }

    #[test]
    fn opens_only_what_was_sealed(
        data in prop::collection::vec(any::<u8>(), 0..2100),
        aad in prop::collection::vec(any::<u8>(), 0..70),
        nonce in any::<[u8; 12]>(),
        key in any::<[u8; 32]>(),
        bit in any::<prop::sample::Index>(),
    ) {
        for (algorithm, nonce) in [(AeadAlgorithm::Ccm, &nonce[..11]), (AeadAlgorithm::Gcm, &nonce)] {
            for key in [&key[..16], &key] {
                let key = AeadKey::new(algorithm, key).expect("key");
                let mut sealed = data.clone();
                let tag = key.seal(nonce, &aad, &mut sealed).expect("seals");
                let mut opened = sealed.clone();
                prop_assert_eq!(key.open(nonce, &aad, &mut opened, &tag), Ok(()));
                prop_assert_eq!(&opened, &data);
                let mut wrong = tag;
                let at = bit.index(128);
                wrong[at / 8] ^= 1 << (at % 8);
                prop_assert_eq!(
                    key.open(nonce, &aad, &mut sealed.clone(), &wrong),
                    Err(AeadError::BadTag)
                );
                let mut aad = aad.clone();
                aad.push(0);
                prop_assert_eq!(
                    key.open(nonce, &aad, &mut sealed, &tag),
                    Err(AeadError::BadTag)
                );
                prop_assert!(sealed.iter().all(|b| *b == 0));
            }
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    for algorithm in [AeadAlgorithm::Ccm, AeadAlgorithm::Gcm] {
        assert!(matches!(
            AeadKey::new(algorithm, &[0; 24]),
            Err(AeadError::KeyLength)
        ));
        let key = AeadKey::new(algorithm, &[0; 16]).expect("key");
        for length in [0, 8, 10, 13, 16] {
            let nonce = vec![0; length];
            assert_eq!(
                key.seal(&nonce, &[], &mut [0; 4]),
                Err(AeadError::NonceLength)
            );
            let opened = key.open(&nonce, &[], &mut [0; 4], &[0; 16]);
            assert_eq!(opened, Err(AeadError::NonceLength));
        }
    }
}
