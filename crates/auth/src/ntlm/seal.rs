//! Message integrity, [MS-NLMP] 3.4: signatures of GSS_GetMIC, which SPNEGO's
//! mechListMIC is, and the MIC of the AUTHENTICATE message.

use super::flags::NegotiateFlags;
use super::hash::{Rc4State, Secret, equal, hmac_md5, md5};

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A signature: version, random pad, checksum, sequence number.
pub type Signature = [u8; 16];

/// SIGNKEY, [MS-NLMP] 3.4.5.2.
fn sign_key(exported: &[u8; 16], sender: Sender) -> Secret {
    let magic: &[u8] = match sender {
        Sender::Client => b"session key to client-to-server signing key magic constant\0",
        Sender::Server => b"session key to server-to-client signing key magic constant\0",
    };
    md5(&[exported, magic])
}

/// SEALKEY with extended session security, [MS-NLMP] 3.4.5.3.
fn seal_key(exported: &[u8; 16], flags: NegotiateFlags, sender: Sender) -> Secret {
    let magic: &[u8] = match sender {
        Sender::Client => b"session key to client-to-server sealing key magic constant\0",
        Sender::Server => b"session key to server-to-client sealing key magic constant\0",
    };
    let strength = if flags.contains(NegotiateFlags::KEY_128) {
        16
    } else if flags.contains(NegotiateFlags::KEY_56) {
        7
    } else {
        5
    };
    md5(&[exported.get(..strength).unwrap_or(exported), magic])
}

/// The first signature a side makes: sequence number 0 with extended session
/// security. Without it both sides share one key stream and one counter, so the
/// server's first signature comes after the client's ([MS-NLMP] 3.4.4.1).
pub fn first_signature(
    exported: &[u8; 16],
    flags: NegotiateFlags,
    sender: Sender,
    data: &[u8],
) -> Signature {
    let mut out = [0u8; 16];
    let (version, body) = out.split_at_mut(4);
    version.copy_from_slice(&1u32.to_le_bytes());
    if flags.contains(NegotiateFlags::EXTENDED_SESSION_SECURITY) {
        let key = sign_key(exported, sender);
        let mac = hmac_md5(key.as_slice(), &[&[0; 4], data]);
        if let (Some(checksum), Some(mac)) = (body.first_chunk_mut::<8>(), mac.first_chunk::<8>()) {
            *checksum = *mac;
            if flags.contains(NegotiateFlags::KEY_EXCHANGE) {
                Rc4State::new(&seal_key(exported, flags, sender)).apply(checksum);
            }
        }
    } else {
        let mut stream = Rc4State::new(exported);
        let mut sequence = 0u32;
        if sender == Sender::Server {
            stream.apply(&mut [0; 12]);
            sequence = 1;
        }
        if let Some(body) = body.first_chunk_mut::<12>() {
            let (pad_and_crc, seq) = body.split_at_mut(8);
            if let Some(crc) = pad_and_crc.last_chunk_mut::<4>() {
                *crc = crc32(data).to_le_bytes();
            }
            seq.copy_from_slice(&sequence.to_le_bytes());
            stream.apply(body);
        }
    }
    out
}

/// Whether `signature` is [`first_signature`]. The random pad of the form
/// without extended session security does not count.
pub fn verify_first_signature(
    exported: &[u8; 16],
    flags: NegotiateFlags,
    sender: Sender,
    data: &[u8],
    signature: &[u8],
) -> bool {
    let expected = first_signature(exported, flags, sender, data);
    let pad = if flags.contains(NegotiateFlags::EXTENDED_SESSION_SECURITY) {
        4
    } else {
        8
    };
    signature.len() == expected.len()
        && signature.get(..4) == expected.get(..4)
        && match (signature.get(pad..), expected.get(pad..)) {
            (Some(a), Some(b)) => equal(a, b),
            _ => false,
        }
}

/// The MIC of an AUTHENTICATE message whose MIC field is zero, [MS-NLMP] 3.1.5.1.2.
pub fn message_integrity_code(
    exported: &[u8; 16],
    negotiate: &[u8],
    challenge: &[u8],
    authenticate_without_mic: &[u8],
) -> [u8; 16] {
    *hmac_md5(exported, &[negotiate, challenge, authenticate_without_mic])
}

/// CRC32, [MS-NLMP] 6.
fn crc32(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_usual_string() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn keys_of_the_specification() {
        // [MS-NLMP] 4.2.4.4: NTLMv2, RandomSessionKey 0x55..., flags 0xe28a8233.
        let exported = [0x55; 16];
        assert_eq!(
            hex::encode(*seal_key(
                &exported,
                NegotiateFlags::KEY_128,
                Sender::Client
            )),
            "59f600973cc4960a25480a7c196e4c58"
        );
        assert_eq!(
            hex::encode(*sign_key(&exported, Sender::Client)),
            "4788dc861b4782f35d43fd98fe1a2d39"
        );
    }

    #[test]
    fn an_altered_signature_is_found() {
        use NegotiateFlags as F;
        let ess = F::EXTENDED_SESSION_SECURITY | F::KEY_128;
        for flags in [ess, ess | F::KEY_EXCHANGE, F::empty()] {
            for sender in [Sender::Client, Sender::Server] {
                let good = first_signature(&[9; 16], flags, sender, b"list");
                let check = |s: &[u8]| verify_first_signature(&[9; 16], flags, sender, b"list", s);
                assert!(check(&good));
                assert!(!check(&good[..15]));
                assert!(!verify_first_signature(
                    &[9; 16], flags, sender, b"lisT", &good
                ));
                for at in (0..4).chain(8..16) {
                    let mut bad = good;
                    bad[at] ^= 0x80;
                    assert!(!check(&bad), "{flags:?} {at}");
                }
            }
        }
    }
}
