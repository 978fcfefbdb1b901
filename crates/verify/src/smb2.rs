//! SMB 2.0.2 to 3.1.1 on one connection: negotiation, logons, bindings, keys.
//! [MS-SMB2] 3.1.4, 3.2.5, 3.3.5.

mod logon;
mod opened;

use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::smb2::{PreauthHash, SessionKeys, SigningKey, TransformKey};
use countersign_crypto::{Cipher, SigningAlgorithm};
use zeroize::Zeroizing;

use crate::check::Smb2Check;
use crate::fields::{le16, le32, le64};
use crate::logon::NoKey;
use crate::report::{Cause, Counted};
use crate::sessions::{Channel, Session};
use crate::smb1::no_key_cause;
use crate::state::{Map, Place, State};

use logon::{Exchange, Setup};

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
/// Requests of a connection that wait for a response, and sessions it has used, that
/// are remembered at most.
pub(crate) const MAX_PENDING: usize = 1 << 14;
/// Logons of a connection that are followed at once at most.
pub(crate) const MAX_LOGONS: usize = 256;
/// Longest NEGOTIATE and SESSION_SETUP message that is looked into: the token's length
/// has 16 bits.
pub(crate) const MAX_LOGON_MESSAGE: usize = 66 << 10;

/// SMB2 on one connection.
pub(crate) struct Smb2 {
    connection: u32,
    pub(crate) dialect: Option<u16>,
    algorithm: Option<SigningAlgorithm>,
    cipher: Option<Cipher>,
    server_mode: u16,
    preauth: PreauthHash,
    /// Messages of the negotiation are missing: the hash is not the peers'.
    incomplete: bool,
    chain: Vec<Bytes>,
    exchanges: Map<u64, Exchange>,
    setups: Map<u64, Setup>,
    /// Signature and SIGNED of requests by MessageId.
    requests: Map<u64, ([u8; 16], bool)>,
    /// Sessions as this connection knows them.
    local: Map<u64, usize>,
    /// Compressed messages.
    pub(crate) compressed: u64,
    /// Those among them that could not be looked into.
    pub(crate) passed_over: u64,
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
            incomplete: true,
            chain: Vec::new(),
            exchanges: Map::default(),
            setups: Map::default(),
            requests: Map::default(),
            local: Map::default(),
            compressed: 0,
            passed_over: 0,
        }
    }

    /// Bytes that are kept.
    pub(crate) fn weight(&self) -> usize {
        let setups: usize = self.setups.values().map(|s| s.message.len() + 64).sum();
        let exchanges = self.exchanges.values();
        let exchanges: usize = exchanges.map(Exchange::weight).sum();
        setups + exchanges + self.requests.len() * 32 + self.local.len() * 24
    }

    /// Messages may be missing: logons under way are not whole.
    pub(crate) fn lost(&mut self) {
        self.exchanges.values_mut().for_each(Exchange::lost);
    }

    /// A frame that begins with 0xFE, 0xFD or 0xFC.
    pub(crate) fn frame(&mut self, state: &mut State, place: Place, m: &Bytes) {
        match m.first() {
            Some(0xFD) => self.transform(state, place, m),
            Some(0xFC) => self.compressed(state, place, m, None),
            _ => self.compound(state, place, m, false),
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
        state.sessions.latest(id)
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
        // A binding under way is signed with the session's key, its last response with
        // the new one.
        let bound = h.flags & 1 != 0 && h.status == 0;
        let binding = h.command == SESSION_SETUP && !bound;
        (binding && session.ready && !session.channels.is_empty()).then_some((index, 0))
    }

    fn new_channel(
        &self,
        dialect: u16,
        algorithm: SigningAlgorithm,
        keys: &SessionKeys,
        session_key: Zeroizing<Vec<u8>>,
        chain: Vec<Bytes>,
    ) -> Channel {
        Channel {
            connection: self.connection,
            dialect,
            key: Arc::new(SigningKey::new(algorithm, &keys.signing_key)),
            bytes: Zeroizing::new(keys.signing_key),
            session_key,
            chain,
            verified: 0,
            exchange_searches: 0,
        }
    }

    fn add(&mut self, state: &mut State, session: Session) -> usize {
        let id = session.id;
        let index = state.begin(session, true);
        self.know(id, index);
        index
    }

    fn know(&mut self, id: u64, index: usize) {
        if self.local.len() >= MAX_PENDING {
            self.local.clear();
        }
        self.local.insert(id, index);
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
        } else if known.encrypted && h.command != SESSION_SETUP {
            "encryption is required on this session"
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
