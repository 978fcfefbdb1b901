//! Published vectors, by every kernel.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use countersign_kernels::{CmacKey, GmacKey, HmacSha256Key, Kernel, Md5Key, Message};

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).expect("hex").try_into().expect("length")
}

/// [RFC 1321] A.5.
#[test]
fn md5() {
    let vectors = [
        ("", "d41d8cd98f00b204e9800998ecf8427e"),
        ("a", "0cc175b9c0f1b6a831c399e269772661"),
        ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        (
            "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a",
        ),
    ];
    for kernel in Kernel::available() {
        for (text, digest) in vectors {
            for cut in 0..=text.len() {
                let (key, rest) = text.as_bytes().split_at(cut);
                let tag = Md5Key::new(key).tag_with(*kernel, &Message::whole(rest));
                assert_eq!(hex::encode(tag), digest, "{kernel:?} {text} {cut}");
            }
        }
    }
}

/// [RFC 4231] 4.2, 4.3, 4.7 (a key longer than a block).
#[test]
fn hmac_sha256() {
    let vectors: [(Vec<u8>, &[u8], &str); 3] = [
        (
            vec![0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ];
    for kernel in Kernel::available() {
        for (key, text, code) in &vectors {
            let key = HmacSha256Key::new(key);
            let computed = key.code_with(*kernel, &Message::whole(text));
            assert_eq!(hex::encode(computed), *code, "{kernel:?}");
            let tag = key.tag_with(*kernel, &Message::whole(text));
            assert_eq!(hex::encode(tag), code[..32], "{kernel:?}");
        }
    }
}

/// [RFC 4493] 4.
#[test]
fn cmac() {
    let key = CmacKey::new(&array("2b7e151628aed2a6abf7158809cf4f3c"));
    let message: [u8; 64] = array(concat!(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    ));
    for kernel in Kernel::available() {
        for (length, tag) in [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ] {
            let computed = key.tag_with(*kernel, &Message::whole(&message[..length]));
            assert_eq!(hex::encode(computed), tag, "{kernel:?} {length}");
        }
    }
}

/// The GCM specification's test cases 1 (nothing), and NIST's GMAC vectors
/// (gcmEncryptExtIV128, no plaintext, 128 bits of additional data).
#[test]
fn gmac() {
    for kernel in Kernel::available() {
        let zero = GmacKey::new(&[0; 16]);
        let tag = zero.tag_with(*kernel, &[0; 12], &Message::whole(&[]));
        assert_eq!(
            hex::encode(tag),
            "58e2fccefa7e3061367f1d57a4e7455a",
            "{kernel:?}"
        );
        let key = GmacKey::new(&array("77be63708971c4e240d1cb79e8d77feb"));
        let aad: [u8; 16] = array("7a43ec1d9c0a5a78a0b16533a6213cab");
        let tag = key.tag_with(
            *kernel,
            &array("e0e00f19fed7ba0136a797f3"),
            &Message::whole(&aad),
        );
        assert_eq!(
            hex::encode(tag),
            "209fcc8d3675ed938e9c7166709dd946",
            "{kernel:?}"
        );
    }
}
