//! SMB 2.0.2 to 3.1.1 on one connection: negotiation, logons, bindings, keys.
//! [MS-SMB2] 3.1.4, 3.2.5, 3.3.5.

use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::smb2::{
    PreauthHash, SessionKeys, SigningKey, TRANSFORM_HEADER, TransformKey,
};
use countersign_crypto::{Cipher, SigningAlgorithm};
use zeroize::Zeroizing;

use crate::check::Smb2Check;
use crate::fields::{buffer, le16, le32, le64};
use crate::logon::{Logon, NoKey};
use crate::report::{Cause, Counted};
use crate::smb1::{mic_finding, no_key_cause};
use crate::state::{Channel, Map, Place, Session, State};

const HEADER: usize = 64;
const SIGNED: u32 = 8;
const RELATED: u32 = 4;
const NEGOTIATE: u16 = 0;
const SESSION_SETUP: u16 = 1;
const TREE_CONNECT: u16 = 3;
const CANCEL: u16 = 12;
const OPLOCK_BREAK: u16 = 18;
const STATUS_PENDING: u32 = 0x103;
const MORE_PROCESSING_REQUIRED: u32 = 0xC000_0016;
const NO_MESSAGE_ID: u64 = u64::MAX;
/// Most requests, and most logons, that are remembered.
pub(crate) const MAX_PENDING: usize = 1 << 16;
/// Most messages of one logon.
pub(crate) const MAX_LEGS: usize = 64;

/// An authentication exchange that is under way.
struct Exchange {
    logon: Logon,
    hash: PreauthHash,
    chain: Vec<Bytes>,
    /// It began without a SessionId: a new session.
    fresh: bool,
}

/// A SESSION_SETUP request.
struct Setup {
    id: u64,
    message: Bytes,
    flags: u8,
    mode: u8,
}

/// SMB2 on one connection.
pub(crate) struct Smb2 {
    connection: u32,
    pub(crate) dialect: Option<u16>,
    algorithm: Option<SigningAlgorithm>,
    cipher: Option<Cipher>,
    server_mode: u16,
    preauth: PreauthHash,
    chain: Vec<Bytes>,
    exchanges: Map<u64, Exchange>,
    setups: Map<u64, Setup>,
    /// Signature and SIGNED of requests by MessageId.
    requests: Map<u64, ([u8; 16], bool)>,
    /// Sessions as this connection knows them.
    local: Map<u64, usize>,
}

/// The fields of a header that count here.
#[derive(Clone, Copy)]
struct Header {
    status: u32,
    command: u16,
    flags: u32,
    message_id: u64,
    signature: [u8; 16],
}

fn header(m: &[u8]) -> Option<Header> {
    Some(Header {
        status: le32(m, 8)?,
        command: le16(m, 12)?,
        flags: le32(m, 16)?,
        message_id: le64(m, 24)?,
        signature: *m.get(48..)?.first_chunk()?,
    })
}

impl Smb2 {
    pub(crate) fn new(connection: u32) -> Self {
        Self {
            connection,
            dialect: None,
            algorithm: None,
            cipher: None,
            server_mode: 0,
            preauth: PreauthHash::new(),
            chain: Vec::new(),
            exchanges: Map::default(),
            setups: Map::default(),
            requests: Map::default(),
            local: Map::default(),
        }
    }

    /// A frame that begins with 0xFE or 0xFD.
    pub(crate) fn frame(&mut self, state: &mut State, place: Place, m: &Bytes) {
        if m.first() == Some(&0xFD) {
            self.transform(state, place, m);
        } else {
            self.compound(state, place, m, false);
        }
    }

    fn find(&self, state: &State, id: u64) -> Option<usize> {
        if let Some(own) = self.local.get(&id) {
            return Some(*own);
        }
        // Other servers give the same ids to sessions of their own.
        if self.exchanges.get(&id).is_some_and(|e| e.fresh) {
            return None;
        }
        state.by_id.get(&id)?.last().copied()
    }

    fn transform(&mut self, state: &mut State, place: Place, m: &Bytes) {
        let id = le64(m, 44).unwrap_or(0);
        let what = || "SMB2 encrypted message".to_owned();
        let Some(index) = self.find(state, id) else {
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
            self.compound(state, place, &plain, true);
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

    fn compound(&mut self, state: &mut State, place: Place, frame: &Bytes, inside: bool) {
        let mut at = 0usize;
        let mut previous = None;
        loop {
            let Some(rest) = frame.get(at..) else { return };
            let Some(h) = header(rest) else {
                if at == 0 {
                    state.unsigned(None, "no whole header");
                }
                return;
            };
            let next = le32(rest, 20)
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0);
            let part = if next >= HEADER && next < rest.len() {
                frame.slice(at..at + next)
            } else {
                frame.slice(at..)
            };
            let mut id = le64(rest, 40).unwrap_or(0);
            if h.flags & RELATED != 0 && id == u64::MAX {
                id = previous.unwrap_or(id);
            }
            previous = Some(id);
            let last = part.len() == rest.len();
            self.part(state, place, h, id, inside, &part, (frame, at));
            if last {
                return;
            }
            at += next;
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one message and where it is; nothing of it lives longer"
    )]
    fn part(
        &mut self,
        state: &mut State,
        place: Place,
        h: Header,
        id: u64,
        inside: bool,
        m: &Bytes,
        (frame, offset): (&Bytes, usize),
    ) {
        let signed = h.flags & SIGNED != 0;
        let mut request = None;
        if place.from_server {
            request = self.requests.get(&h.message_id).copied();
            if h.status != STATUS_PENDING {
                self.requests.remove(&h.message_id);
            }
        } else {
            if self.requests.len() >= MAX_PENDING {
                self.requests.clear();
            }
            self.requests.insert(h.message_id, (h.signature, signed));
        }
        if h.command == NEGOTIATE {
            self.negotiate(place.from_server, h.status, m);
        }
        if h.command == SESSION_SETUP {
            if place.from_server {
                self.setup_response(state, place, h, id, m);
            } else {
                self.setup_request(state, h, id, m);
            }
        }
        let session = self.find(state, id);
        if inside {
            state.unsigned(session, "inside encryption");
            return;
        }
        if !signed {
            self.unsigned(state, place, h, id, session, request, m);
            return;
        }
        let key = session.and_then(|index| self.channel(state, h, index));
        let key = key.or_else(|| self.take_session_key(state, place, id, m));
        let echo = request.map(|(signature, _)| signature);
        let Some((index, channel)) = key else {
            if place.from_server && echo == Some(h.signature) {
                state.unsigned(
                    session,
                    "error response that echoes the request's signature",
                );
                return;
            }
            let known = session.and_then(|s| state.sessions.get(s));
            let (cause, why) = match known {
                Some(s) if s.ready => (
                    Cause::NoKey,
                    "the session is not bound to this connection".to_owned(),
                ),
                Some(Session {
                    no_key: Some(k), ..
                }) => (no_key_cause(k), k.to_string()),
                Some(s) if s.guest => (Cause::NoKey, "a guest has no key".to_owned()),
                _ => (Cause::NoKey, NoKey::NoLogon.to_string()),
            };
            state.bad(place, session, id, describe(m), cause, why);
            return;
        };
        let key = state
            .sessions
            .get(index)
            .and_then(|s| s.channels.get(channel))
            .map(|c| c.key.clone());
        if let Some(key) = key {
            state.check_smb2(Smb2Check {
                place,
                session: index,
                channel,
                key,
                message: m.clone(),
                frame: frame.clone(),
                offset,
                echo: echo.filter(|_| place.from_server),
            });
        }
    }

    /// The session and the channel of it whose key a message must verify with.
    fn channel(&self, state: &State, h: Header, index: usize) -> Option<(usize, usize)> {
        let session = state.sessions.get(index)?;
        if let Some(own) = session.channel(self.connection) {
            return Some((index, own));
        }
        // A binding under way is signed with the session's key.
        (h.command == SESSION_SETUP && session.ready && !session.channels.is_empty())
            .then_some((index, 0))
    }

    /// A key that was given for a session whose logon is not in the capture: the
    /// session's or the signing key itself, of whatever dialect it verifies in.
    fn take_session_key(
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
        session.channels.push(Channel {
            connection: self.connection,
            dialect,
            key: Arc::new(SigningKey::new(algorithm, &keys.signing_key)),
            bytes: Zeroizing::new(keys.signing_key),
            session_key: given,
            chain: Vec::new(),
            verified: 0,
        });
        Some((self.add(state, session), 0))
    }

    fn add(&mut self, state: &mut State, session: Session) -> usize {
        let index = state.sessions.len();
        if self.local.len() >= MAX_PENDING {
            self.local.clear();
        }
        self.local.insert(session.id, index);
        state.by_id.entry(session.id).or_default().push(index);
        state.sessions.push(session);
        index
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one message and what is known of it"
    )]
    fn unsigned(
        &self,
        state: &mut State,
        place: Place,
        h: Header,
        id: u64,
        session: Option<usize>,
        request: Option<([u8; 16], bool)>,
        m: &[u8],
    ) {
        let known = session.and_then(|s| state.sessions.get(s));
        let ready = known.is_some_and(|s| s.ready && !s.guest && !s.anonymous);
        let failed = place.from_server && h.status != 0;
        let why = match h.command {
            NEGOTIATE => "negotiate",
            _ if place.from_server && h.status == STATUS_PENDING => {
                "STATUS_PENDING interim response"
            }
            SESSION_SETUP if !ready => "session setup before key",
            SESSION_SETUP => "session setup",
            OPLOCK_BREAK if place.from_server && h.message_id == NO_MESSAGE_ID => {
                "oplock or lease break notification"
            }
            _ if known.is_some_and(|s| s.guest) => "guest session",
            _ if known.is_some_and(|s| s.anonymous) => "anonymous session",
            _ if failed => "error response",
            _ if known.is_none() => "no session",
            _ => "session does not sign",
        };
        state.unsigned(session, why);
        if !ready
            || place.from_server && (h.status == STATUS_PENDING || h.message_id == NO_MESSAGE_ID)
        {
            return;
        }
        let Some(known) = session.and_then(|s| state.sessions.get(s)) else {
            return;
        };
        // Encryption stands in for signing; it was not used here.
        let detail = if place.from_server && request.is_some_and(|(_, signed)| signed) {
            "the request was signed, so its response must be"
        } else if known.required {
            "signing is required on this session"
        } else if known.dialect >= 0x0311 && h.command == TREE_CONNECT && !place.from_server {
            "in SMB 3.1.1 TREE_CONNECT must be signed or encrypted"
        } else if known.dialect >= 0x0311
            && h.command == SESSION_SETUP
            && place.from_server
            && h.status == 0
        {
            "in SMB 3.1.1 the last SESSION_SETUP response must be signed"
        } else {
            return;
        };
        let what = describe(m);
        let detail = detail.to_owned();
        state.find(place, id, what, Counted::Unsigned, Cause::Unsigned, detail);
    }

    fn negotiate(&mut self, from_server: bool, status: u32, m: &Bytes) {
        if !from_server {
            self.preauth = PreauthHash::new();
            self.preauth.update(m);
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
            chain: self.chain.clone(),
            fresh,
        }
    }

    fn setup_request(&mut self, state: &State, h: Header, id: u64, m: &Bytes) {
        if self.setups.len() >= MAX_PENDING || self.exchanges.len() >= MAX_PENDING {
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

    fn setup_response(&mut self, state: &mut State, place: Place, h: Header, id: u64, m: &Bytes) {
        let setup = self.setups.remove(&h.message_id);
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
            fresh,
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
        self.local.insert(id, index);
        let given = state
            .secrets
            .session_key(id)
            .map(|k| Zeroizing::new(k.to_vec()));
        let key = logon.key.or(given);
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
        let channel = Channel {
            connection: self.connection,
            dialect,
            key: Arc::new(SigningKey::new(algorithm, &keys.signing_key)),
            bytes: Zeroizing::new(keys.signing_key),
            session_key: key,
            chain,
            verified: 0,
        };
        match session
            .channel(self.connection)
            .and_then(|c| session.channels.get_mut(c))
        {
            Some(own) => *own = channel,
            None => session.channels.push(channel),
        }
        session.ready = true;
    }
}

impl Exchange {
    fn add(&mut self, m: &Bytes) {
        self.hash.update(m);
        if self.chain.len() < MAX_LEGS {
            self.chain.push(m.clone());
        }
    }
}

fn ciphers(keys: &SessionKeys, cipher: Cipher) -> Option<(TransformKey, TransformKey)> {
    let c2s = TransformKey::new(cipher, keys.client_to_server.as_ref()?).ok()?;
    let s2c = TransformKey::new(cipher, keys.server_to_client.as_ref()?).ok()?;
    Some((c2s, s2c))
}

/// Command, direction and MessageId of a message.
pub(crate) fn describe(m: &[u8]) -> String {
    const NAMES: [&str; 19] = [
        "NEGOTIATE",
        "SESSION_SETUP",
        "LOGOFF",
        "TREE_CONNECT",
        "TREE_DISCONNECT",
        "CREATE",
        "CLOSE",
        "FLUSH",
        "READ",
        "WRITE",
        "LOCK",
        "IOCTL",
        "CANCEL",
        "ECHO",
        "QUERY_DIRECTORY",
        "CHANGE_NOTIFY",
        "QUERY_INFO",
        "SET_INFO",
        "OPLOCK_BREAK",
    ];
    let Some(h) = header(m) else {
        return "SMB2 message without a whole header".to_owned();
    };
    let direction = if h.flags & 1 != 0 {
        "response"
    } else {
        "request"
    };
    let id = if h.message_id == NO_MESSAGE_ID {
        "no MessageId".to_owned()
    } else {
        format!("MessageId {}", h.message_id)
    };
    match NAMES.get(usize::from(h.command)) {
        Some(name) => format!("SMB2 {name} {direction}, {id}"),
        None => format!("SMB2 command 0x{:x} {direction}, {id}", h.command),
    }
}

/// Whether a command is CANCEL, whose requests have a nonce of their own.
pub(crate) fn is_cancel(m: &[u8]) -> bool {
    le16(m, 12) == Some(CANCEL)
}
