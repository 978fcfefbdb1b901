//! Messages behind a transform: encrypted and compressed ones ([MS-SMB2] 2.2.41,
//! 2.2.42), and sessions whose key was given because their logon is not captured.

use bytes::Bytes;
use countersign_crypto::smb2::{SessionKeys, SigningKey, TRANSFORM_HEADER, TransformKey};
use countersign_crypto::{Cipher, SigningAlgorithm};
use zeroize::Zeroizing;

use super::{Smb2, ciphers};
use crate::compression::{self, CompressionError};
use crate::fields::{le32, le64};
use crate::logon::NoKey;
use crate::report::{Cause, Counted};
use crate::sessions::Session;
use crate::smb1::no_key_cause;
use crate::state::{Place, State};

impl Smb2 {
    /// A compressed message, perhaps inside encryption of a session: what it stands
    /// for is what was signed.
    pub(super) fn compressed(
        &mut self,
        state: &mut State,
        place: Place,
        m: &Bytes,
        inside: Option<usize>,
    ) {
        self.compressed += 1;
        let error = match compression::decompress(m) {
            Ok(plain) if plain.starts_with(b"\xFESMB") => {
                self.compound(state, place, &plain, inside.is_some());
                return;
            }
            Ok(_) => CompressionError::Damaged,
            Err(error) => error,
        };
        let what = "SMB2 compressed message".to_owned();
        let id = inside
            .and_then(|i| state.sessions.get(i))
            .map_or(0, |s| s.id);
        let (cause, why) = (Cause::Compression, error.to_string());
        if let CompressionError::Algorithm(_) = error {
            self.passed_over += 1;
            state.find(place, id, what, Counted::Not, cause, why);
        } else {
            state.bad(place, inside, id, what, cause, why);
        }
    }

    pub(super) fn transform(&mut self, state: &mut State, place: Place, m: &Bytes) {
        let id = le64(m, 44).unwrap_or(0);
        let what = || "SMB2 encrypted message".to_owned();
        let found = self.find(state, id);
        let Some(index) = found.or_else(|| self.take_cipher_key(state, id, m)) else {
            let why = NoKey::NoLogon.to_string();
            state.bad(place, None, id, what(), Cause::NoKey, why);
            return;
        };
        let session = state.sessions.get(index);
        let Some((c2s, s2c)) = session.and_then(|s| s.transform.as_ref()) else {
            let no_key = session.and_then(|s| s.no_key.clone());
            let cause = no_key.as_ref().map_or(Cause::NoKey, no_key_cause);
            let why = no_key.map_or_else(|| "no cipher was agreed".to_owned(), |k| k.to_string());
            state.bad(place, Some(index), id, what(), cause, why);
            return;
        };
        let (key, other) = if place.from_server {
            (s2c, c2s)
        } else {
            (c2s, s2c)
        };
        let mut plain = m.to_vec();
        if key.open_in_place(&mut plain).is_ok() {
            state.decrypted(index);
            let plain = Bytes::from(plain).slice(TRANSFORM_HEADER..);
            if plain.first() == Some(&0xFC) {
                self.compressed(state, place, &plain, Some(index));
            } else {
                self.compound(state, place, &plain, true);
            }
            return;
        }
        let (cause, why) = if other.open_in_place(&mut m.to_vec()).is_ok() {
            (
                Cause::WrongKey,
                "encrypted with the key of the other direction".to_owned(),
            )
        } else if le32(m, 36).map(|l| l as usize) != m.len().checked_sub(TRANSFORM_HEADER) {
            (
                Cause::WrongRange,
                "OriginalMessageSize is not what follows".to_owned(),
            )
        } else if session.is_some_and(|s| s.counts.decrypted > 0) {
            let why = "does not authenticate, though other messages of the session do: changed, \
                       or encrypted with another key";
            (Cause::Altered, why.to_owned())
        } else {
            (
                Cause::Encryption,
                "no message of this session authenticates".to_owned(),
            )
        };
        state.bad(place, Some(index), id, what(), cause, why);
    }

    /// A key that was given for a session whose logon is not in the capture: the
    /// session's or the signing key itself, of whatever dialect it verifies in.
    pub(super) fn take_session_key(
        &mut self,
        state: &mut State,
        place: Place,
        id: u64,
        m: &[u8],
    ) -> Option<(usize, usize)> {
        if self.find(state, id).is_some() {
            return None;
        }
        let given = Zeroizing::new(state.secrets.session_key(id)?.to_vec());
        use SigningAlgorithm::{AesCmac, AesGmac, HmacSha256};
        let mut candidates = Vec::new();
        for (dialect, algorithm) in [(0x0210, HmacSha256), (0x0300, AesCmac)] {
            if let Ok(keys) = SessionKeys::derive(dialect, &given, None, Some(Cipher::Aes128Ccm)) {
                candidates.push((dialect, algorithm, keys));
            }
        }
        for algorithm in [AesGmac, AesCmac, HmacSha256] {
            // 3.1.1 derives from messages that are not here: the key itself.
            if let Ok(keys) = SessionKeys::derive(0x0210, &given, None, None) {
                candidates.push((0x0311, algorithm, keys));
            }
        }
        let (dialect, algorithm, keys) = candidates.into_iter().find(|(_, algorithm, keys)| {
            let key = SigningKey::new(*algorithm, &keys.signing_key);
            key.verify(place.sender(), m).is_ok()
        })?;
        let mut session = Session {
            id,
            connection: self.connection,
            dialect,
            mechanism: "session key given".to_owned(),
            algorithm: Some(algorithm),
            ready: true,
            ..Session::default()
        };
        session.transform = ciphers(&keys, Cipher::Aes128Ccm);
        session.set_channel(self.new_channel(dialect, algorithm, &keys, given, Vec::new()));
        Some((self.add(state, session), 0))
    }

    /// The same for a session of which encrypted messages come first: in 3.0 and 3.0.2
    /// the keys depend on the session's alone.
    fn take_cipher_key(&mut self, state: &mut State, id: u64, m: &[u8]) -> Option<usize> {
        let given = Zeroizing::new(state.secrets.session_key(id)?.to_vec());
        let cipher = Cipher::Aes128Ccm;
        let keys = SessionKeys::derive(0x0300, &given, None, Some(cipher)).ok()?;
        let (c2s, s2c) = ciphers(&keys, cipher)?;
        let opens = |key: &TransformKey| key.open_in_place(&mut m.to_vec()).is_ok();
        if !opens(&c2s) && !opens(&s2c) {
            return None;
        }
        let algorithm = SigningAlgorithm::AesCmac;
        let mut session = Session {
            id,
            connection: self.connection,
            dialect: 0x0300,
            mechanism: "session key given".to_owned(),
            algorithm: Some(algorithm),
            cipher: Some(cipher),
            ready: true,
            transform: Some((c2s, s2c)),
            ..Session::default()
        };
        session.set_channel(self.new_channel(0x0300, algorithm, &keys, given, Vec::new()));
        Some(self.add(state, session))
    }
}
