//! NEGOTIATE and SESSION_SETUP: what the keys of a session are made of. [MS-SMB2]
//! 3.2.5.2, 3.2.5.3, 3.3.5.4, 3.3.5.5.

use bytes::Bytes;
use countersign_crypto::smb2::{PreauthHash, SessionKeys};
use countersign_crypto::{Cipher, SigningAlgorithm};
use zeroize::Zeroizing;

use super::{
    HEADER, Header, MAX_LOGON_MESSAGE, MAX_LOGONS, MORE_PROCESSING_REQUIRED, Smb2, ciphers,
    describe,
};
use crate::fields::{buffer, le16, le32};
use crate::logon::{Logon, NoKey};
use crate::sessions::{MAX_CHAIN_BYTES, Session};
use crate::smb1::mic_finding;
use crate::state::{Place, State};

/// An authentication exchange that is under way.
pub(super) struct Exchange {
    logon: Logon,
    hash: PreauthHash,
    /// What was hashed, while it is short.
    chain: Vec<Bytes>,
    bytes: usize,
    /// Messages of it are missing.
    incomplete: bool,
    /// It began without a SessionId: a new session.
    pub(super) fresh: bool,
}

/// A SESSION_SETUP request.
pub(super) struct Setup {
    id: u64,
    pub(super) message: Bytes,
    flags: u8,
    mode: u8,
}

impl Smb2 {
    pub(super) fn negotiate(&mut self, from_server: bool, status: u32, m: &Bytes) {
        if m.len() > MAX_LOGON_MESSAGE {
            return;
        }
        if !from_server {
            self.preauth = PreauthHash::new();
            self.preauth.update(m);
            self.incomplete = false;
            self.chain = vec![Bytes::copy_from_slice(m)];
            return;
        }
        let (Some(mode), Some(dialect)) = (le16(m, HEADER + 2), le16(m, HEADER + 4)) else {
            return;
        };
        if status != 0 {
            return;
        }
        self.server_mode = mode;
        self.dialect = Some(dialect);
        if dialect == 0x02FF {
            // Multi-protocol negotiation: neither message is hashed.
            self.preauth = PreauthHash::new();
            self.incomplete = true;
            self.chain.clear();
            return;
        }
        self.preauth.update(m);
        self.chain.push(Bytes::copy_from_slice(m));
        self.algorithm = Some(SigningAlgorithm::of_dialect(dialect));
        self.cipher = None;
        let encryption = le32(m, HEADER + 24).is_some_and(|c| c & 0x40 != 0);
        if (0x0300..0x0311).contains(&dialect) && encryption {
            self.cipher = Some(Cipher::Aes128Ccm);
        }
        if dialect >= 0x0311 {
            self.contexts(m);
        }
    }

    /// [MS-SMB2] 2.2.4.1: cipher and signing algorithm of 3.1.1.
    fn contexts(&mut self, m: &[u8]) -> Option<()> {
        let count = le16(m, HEADER + 6)?;
        let mut at = usize::try_from(le32(m, HEADER + 60)?).ok()?;
        for _ in 0..count {
            let (kind, length) = (le16(m, at)?, usize::from(le16(m, at + 2)?));
            let data = m.get(at + 8..at + 8 + length)?;
            match kind {
                2 => self.cipher = Cipher::from_id(le16(data, 2)?),
                8 => self.algorithm = SigningAlgorithm::from_id(le16(data, 2)?),
                _ => {}
            }
            at = at.checked_add((8 + length).next_multiple_of(8))?;
        }
        Some(())
    }

    fn exchange(&self, fresh: bool) -> Exchange {
        Exchange {
            logon: Logon::default(),
            hash: self.preauth.clone(),
            incomplete: self.incomplete,
            bytes: self.chain.iter().map(Bytes::len).sum(),
            chain: self.chain.clone(),
            fresh,
        }
    }

    pub(super) fn setup_request(&mut self, state: &State, h: Header, id: u64, m: &Bytes) {
        if m.len() > MAX_LOGON_MESSAGE {
            return;
        }
        if self.setups.len() >= MAX_LOGONS || self.exchanges.len() >= MAX_LOGONS {
            self.setups.clear();
            self.exchanges.clear();
        }
        let setup = Setup {
            id,
            message: Bytes::copy_from_slice(m),
            flags: m.get(HEADER + 2).copied().unwrap_or(0),
            mode: m.get(HEADER + 3).copied().unwrap_or(0),
        };
        if id != 0 {
            let mut exchange = match self.exchanges.remove(&id) {
                Some(exchange) => exchange,
                None => self.exchange(false),
            };
            exchange.add(&setup.message);
            let token = buffer(m, HEADER + 12, HEADER + 14).unwrap_or_default();
            exchange.logon.feed(token, false, &state.secrets);
            self.exchanges.insert(id, exchange);
        }
        self.setups.insert(h.message_id, setup);
    }

    pub(super) fn setup_response(
        &mut self,
        state: &mut State,
        place: Place,
        h: Header,
        id: u64,
        m: &Bytes,
    ) {
        let setup = self.setups.remove(&h.message_id);
        if m.len() > MAX_LOGON_MESSAGE {
            return;
        }
        let begins = match &setup {
            Some(setup) => {
                setup.id == 0
                    && (h.status == MORE_PROCESSING_REQUIRED
                        || h.status == 0 && !self.exchanges.contains_key(&id))
            }
            None => false,
        };
        if begins && let Some(setup) = &setup {
            let mut exchange = self.exchange(true);
            exchange.add(&setup.message);
            let request = &setup.message;
            let token = buffer(request, HEADER + 12, HEADER + 14).unwrap_or_default();
            exchange.logon.feed(token, false, &state.secrets);
            self.exchanges.insert(id, exchange);
        }
        let token = buffer(m, HEADER + 4, HEADER + 6).unwrap_or_default();
        if h.status == MORE_PROCESSING_REQUIRED {
            if let Some(exchange) = self.exchanges.get_mut(&id) {
                exchange.add(&Bytes::copy_from_slice(m));
                exchange.logon.feed(token, true, &state.secrets);
            }
            return;
        }
        let Some(mut exchange) = self.exchanges.remove(&id) else {
            return;
        };
        if h.status != 0 {
            return;
        }
        exchange.logon.feed(token, true, &state.secrets);
        self.logged_on(state, place, id, exchange, setup.as_ref(), m);
    }

    fn logged_on(
        &mut self,
        state: &mut State,
        place: Place,
        id: u64,
        exchange: Exchange,
        setup: Option<&Setup>,
        m: &[u8],
    ) {
        let Exchange {
            logon,
            hash,
            chain,
            incomplete,
            fresh,
            ..
        } = exchange;
        let bind = setup.is_some_and(|s| s.flags & 1 != 0);
        let flags = le16(m, HEADER + 2).unwrap_or(0);
        if logon.mic == Some(false) {
            mic_finding(state, place, id, describe(m));
        }
        let existing = if fresh { None } else { self.find(state, id) };
        let ready = existing.filter(|i| state.sessions.get(*i).is_some_and(|s| s.ready));
        if let (Some(index), false) = (ready, bind) {
            // Authenticated again: the keys stay.
            if let Some(session) = state.sessions.get_mut(index) {
                session.reauthentications += 1;
            }
            return;
        }
        let dialect = self.dialect.unwrap_or(0);
        let index = match ready {
            Some(index) => index,
            None => {
                let guest = flags & 1 != 0;
                let anonymous = logon.anonymous || flags & 2 != 0;
                let required = self.server_mode & 2 != 0 || setup.is_some_and(|s| s.mode & 2 != 0);
                let session = Session {
                    id,
                    connection: self.connection,
                    dialect,
                    user: logon.user.clone(),
                    mechanism: logon.mechanism.clone(),
                    algorithm: self.algorithm,
                    cipher: self.cipher,
                    required: required && !guest && !anonymous,
                    guest,
                    anonymous,
                    encrypted: flags & 4 != 0,
                    no_key: logon.no_key.clone(),
                    ntlm_mic: logon.mic,
                    mech_list_mics: logon.mech_list_mics(),
                    ..Session::default()
                };
                self.add(state, session)
            }
        };
        self.know(id, index);
        let given = state
            .secrets
            .session_key(id)
            .map(|k| Zeroizing::new(k.to_vec()));
        let key = logon.key.or(given);
        // From 3.1.1 on the keys depend on every message of the logon.
        let key = key.filter(|_| !incomplete || dialect < 0x0311);
        let keys = key.as_ref().ok_or(NoKey::NoLogon).and_then(|key| {
            let derived = SessionKeys::derive(dialect, key, Some(hash.value()), self.cipher);
            derived.map_err(|_| NoKey::NoLogon)
        });
        let algorithm = self.algorithm.filter(|_| self.dialect.is_some());
        let Some(session) = state.sessions.get_mut(index) else {
            return;
        };
        let (keys, key, algorithm) = match (keys, key, algorithm) {
            (Ok(keys), Some(key), Some(algorithm)) => (keys, key, algorithm),
            (_, key, _) => {
                if session.no_key.is_none() && !session.guest {
                    session.no_key = Some(match key {
                        Some(_) => NoKey::Unknown,
                        None => NoKey::NoLogon,
                    });
                }
                return;
            }
        };
        session.no_key = None;
        if !bind || session.channels.is_empty() {
            session.transform = self.cipher.and_then(|cipher| ciphers(&keys, cipher));
        }
        session.set_channel(self.new_channel(dialect, algorithm, &keys, key, chain));
        session.ready = true;
    }
}

impl Exchange {
    /// Bytes that are kept.
    pub(super) fn weight(&self) -> usize {
        256 + self.logon.weight() + self.bytes.min(MAX_CHAIN_BYTES)
    }

    pub(super) fn lost(&mut self) {
        self.incomplete = true;
    }

    fn add(&mut self, m: &Bytes) {
        self.hash.update(m);
        self.bytes += m.len();
        if self.bytes <= MAX_CHAIN_BYTES {
            self.chain.push(m.clone());
        } else {
            // Only what explains a wrong key.
            self.chain = Vec::new();
        }
    }
}
