//! SMB1 on one connection: logons, the connection's one key, sequence numbers.
//! [MS-CIFS] 3.1.5.1, 3.2.5.3, 3.3.5.2.3; [MS-SMB] 3.1.5.1.

mod names;

use std::sync::Arc;

use bytes::Bytes;
use countersign_auth::ntlm::verify::Responses;
use countersign_crypto::smb1::MacKey;

use crate::check::Smb1Check;
use crate::fields::{le16, le32};
use crate::logon::{Logon, NoKey, printable, short};
use crate::proof::{USE_LANMAN_KEY, classic};
use crate::report::{Cause, Counted};
use crate::sessions::Session;
use crate::state::{Map, Place, State};

use names::command_name;
pub(crate) use names::describe;

/// What SESSION_SETUP messages carry while there is no key.
const PLACEHOLDER: [u8; 8] = *b"BSRSPYL ";
const NEGOTIATE: u8 = 0x72;
const SESSION_SETUP_ANDX: u8 = 0x73;
const NT_CANCEL: u8 = 0xA4;
const LOCKING_ANDX: u8 = 0x24;
/// Requests of a connection whose numbers are remembered at most, and users.
pub(crate) const MAX_PENDING: usize = 1 << 16;
/// Longest SESSION_SETUP message that is looked into.
pub(crate) const MAX_LOGON_MESSAGE: usize = 80 << 10;
/// Numbers a lost piece of a capture may have held.
pub(crate) const MAX_LOST_NUMBERS: u32 = 1024;
/// Numbers that are tried in a connection whose start is not in the capture.
pub(crate) const MAX_FIRST_NUMBER: u32 = 1 << 17;
/// Searches for a number that may fail one after another.
const MAX_VAIN: u32 = 16;
/// Longest message that a first number is looked for with.
const SHORT: usize = 256;
/// Bytes that are hashed to find a number.
const SEARCH: usize = 8 << 20;

/// The key a logon would give the connection: the first of these, unless the final
/// response was signed with another.
struct Candidate {
    session: Session,
    keys: Vec<MacKey>,
}

impl Candidate {
    fn key(&mut self, response: &[u8], lanman: bool) -> Option<MacKey> {
        let signed = self.keys.iter().position(|k| k.verify(1, response).is_ok());
        let index = signed.unwrap_or(usize::from(lanman && self.keys.len() > 1));
        (index < self.keys.len()).then(|| self.keys.swap_remove(index))
    }
}

/// SMB1 on one connection.
pub(crate) struct Smb1 {
    connection: u32,
    /// Of a server without extended security.
    challenge: Option<[u8; 8]>,
    server_mode: u8,
    client_flags2: u16,
    logon: Logon,
    candidate: Option<Candidate>,
    key: Option<Arc<MacKey>>,
    /// The session whose logon made the key.
    owner: usize,
    next: u32,
    pending: Map<(u32, u16), u32>,
    sessions: Map<u16, usize>,
    /// The numbers are not known any more.
    uncertain: bool,
    /// Nor ever were.
    from_middle: bool,
    lossy: bool,
    vain: u32,
    pub(crate) negotiated: bool,
}

/// The fields of a header that count here.
#[derive(Clone, Copy)]
struct Header {
    command: u8,
    status: u32,
    reply: bool,
    flags2: u16,
    signature: [u8; 8],
    pid: u32,
    uid: u16,
    mid: u16,
    words: u8,
}

fn header(m: &[u8]) -> Option<Header> {
    Some(Header {
        command: *m.get(4)?,
        status: le32(m, 5)?,
        reply: m.get(9)? & 0x80 != 0,
        flags2: le16(m, 10)?,
        signature: *m.get(14..)?.first_chunk()?,
        pid: u32::from(le16(m, 12)?) << 16 | u32::from(le16(m, 26)?),
        uid: le16(m, 28)?,
        mid: le16(m, 30)?,
        words: *m.get(32)?,
    })
}

impl Smb1 {
    pub(crate) fn new(connection: u32, from_start: bool) -> Self {
        Self {
            connection,
            challenge: None,
            server_mode: 0,
            client_flags2: 0,
            logon: Logon::default(),
            candidate: None,
            key: None,
            owner: usize::MAX,
            next: 2,
            pending: Map::default(),
            sessions: Map::default(),
            uncertain: false,
            from_middle: !from_start,
            lossy: false,
            vain: 0,
            negotiated: false,
        }
    }

    /// Bytes that are kept.
    pub(crate) fn weight(&self) -> usize {
        self.logon.weight() + self.pending.len() * 16 + self.sessions.len() * 16
    }

    /// Messages of the client may be missing.
    pub(crate) fn lost(&mut self) {
        if !self.uncertain {
            self.vain = 0;
        }
        self.uncertain = true;
        self.lossy = true;
    }

    pub(crate) fn message(&mut self, state: &mut State, place: Place, m: &Bytes) {
        let Some(h) = header(m) else {
            state.unsigned(None, "no whole header");
            return;
        };
        if h.command == NEGOTIATE && h.reply && h.status == 0 && h.words == 17 {
            self.negotiate_response(m);
        }
        if h.command == SESSION_SETUP_ANDX && m.len() <= MAX_LOGON_MESSAGE {
            if h.reply {
                self.feed_server_token(state, &h, m);
                self.setup_response(state, place, &h, m);
            } else {
                self.client_flags2 = h.flags2;
                if self.setup_request(state, &h, m).is_none() {
                    self.candidate = None;
                }
            }
        }
        let session = self.sessions.get(&h.uid).copied();
        if self.key.is_none() {
            self.take_session_key(state, place, &h);
        }
        let Some(key) = self.key.clone() else {
            self.without_key(state, place, &h, session);
            return;
        };
        let session = session.or(Some(self.owner));
        self.with_key(state, place, h, session, key, m);
    }

    fn with_key(
        &mut self,
        state: &mut State,
        place: Place,
        h: Header,
        session: Option<usize>,
        key: Arc<MacKey>,
        m: &Bytes,
    ) {
        let id = (h.pid, h.mid);
        let sequence = if place.from_server {
            if h.command == LOCKING_ANDX && !h.reply && h.mid == 0xFFFF {
                state.unsigned(session, "oplock break from the server");
                return;
            }
            let mut number = self.pending.get(&id).map(|n| n.wrapping_add(1));
            let right = |n: &u32| key.verify(*n, m).is_ok();
            if self.lossy && self.vain < MAX_VAIN && !number.as_ref().is_some_and(right) {
                let reach = reach(m);
                let from = self.next.saturating_sub(reach);
                let found = (from..self.next.saturating_add(reach)).find(right);
                self.vain += u32::from(found.is_none());
                if let Some(n) = found {
                    number = found;
                    self.next = self.next.max(n.saturating_add(1));
                }
            }
            let Some(number) = number else {
                let what = describe(m);
                let detail = "no request of this PID and MID was seen".to_owned();
                let uid = u64::from(h.uid);
                state.bad(place, session, uid, what, Cause::NoRequest, detail);
                return;
            };
            number
        } else {
            if self.uncertain && self.vain < MAX_VAIN {
                let end = if self.from_middle && m.len() <= SHORT {
                    MAX_FIRST_NUMBER
                } else {
                    self.next.saturating_add(reach(m))
                };
                let from = if self.from_middle { 0 } else { self.next };
                match (from..end).find(|n| key.verify(*n, m).is_ok()) {
                    Some(n) => {
                        self.next = n;
                        self.uncertain = false;
                        self.from_middle = false;
                    }
                    None => self.vain += 1,
                }
            }
            let number = self.next;
            if h.command == NT_CANCEL {
                // Shares the MID of the request it cancels, whose number stays.
                self.next = number.wrapping_add(1);
                self.pending.entry(id).or_insert(number);
            } else {
                self.next = number.wrapping_add(2);
                if self.pending.len() >= MAX_PENDING {
                    self.pending.clear();
                }
                self.pending.insert(id, number);
            }
            number
        };
        state.check_smb1(Smb1Check {
            place,
            session,
            owner: self.owner,
            key,
            sequence,
            message: m.clone(),
        });
    }

    fn without_key(&self, state: &mut State, place: Place, h: &Header, session: Option<usize>) {
        let why = match h.command {
            _ if h.signature == PLACEHOLDER => "placeholder BSRSPYL",
            NEGOTIATE => "negotiate",
            SESSION_SETUP_ANDX => "session setup before key",
            _ => "signing not active",
        };
        let early = matches!(h.command, NEGOTIATE | SESSION_SETUP_ANDX);
        if h.signature == [0; 8] || h.signature == PLACEHOLDER || early && session.is_none() {
            state.unsigned(session, why);
            return;
        }
        // A signature that cannot be checked.
        let known = session.and_then(|s| state.sessions.get(s));
        if known.is_some_and(|s| s.guest || s.anonymous) {
            state.unsigned(session, why);
            return;
        }
        let no_key = known
            .and_then(|s| s.no_key.clone())
            .unwrap_or(NoKey::NoLogon);
        let cause = no_key_cause(&no_key);
        let what = command_name(h.command, h.reply, h.mid);
        let uid = u64::from(h.uid);
        state.bad(place, session, uid, what, cause, no_key.to_string());
    }

    /// A key that was given for a session whose logon is not in the capture.
    fn take_session_key(&mut self, state: &mut State, place: Place, h: &Header) {
        let early = matches!(h.command, NEGOTIATE | SESSION_SETUP_ANDX);
        if early || h.signature == [0; 8] || h.signature == PLACEHOLDER || h.uid == 0 {
            return;
        }
        let Some(bytes) = state.secrets.session_key(u64::from(h.uid)) else {
            return;
        };
        let key = Arc::new(MacKey::new(bytes, &[]));
        let session = Session {
            id: u64::from(h.uid),
            connection: place.connection,
            mechanism: "session key given".to_owned(),
            ready: true,
            mac: Some(key.clone()),
            ..Session::default()
        };
        let index = state.begin(session, false);
        self.sessions.insert(h.uid, index);
        self.key = Some(key);
        self.owner = index;
        self.uncertain = true;
        self.lossy = true;
        self.from_middle = true;
    }

    fn negotiate_response(&mut self, m: &[u8]) {
        self.negotiated = true;
        self.server_mode = m.get(35).copied().unwrap_or(0);
        let extended = le32(m, 52).is_some_and(|c| c & 0x8000_0000 != 0);
        if !extended {
            self.challenge = m.get(69..).and_then(<[u8]>::first_chunk).copied();
        }
    }

    fn feed_server_token(&mut self, state: &State, h: &Header, m: &[u8]) {
        if h.words != 4 {
            return;
        }
        let token = le16(m, 39).and_then(|l| m.get(43..43 + usize::from(l)));
        let Some(token) = token else { return };
        self.logon.feed(token, true, &state.secrets);
        if self.logon.mechanism.starts_with("Kerberos")
            && let (Some(key), Some(candidate)) = (&self.logon.key, &mut self.candidate)
        {
            candidate.keys = vec![MacKey::new(key, &[])];
            candidate
                .session
                .mechanism
                .clone_from(&self.logon.mechanism);
        }
    }

    fn setup_request(&mut self, state: &State, h: &Header, m: &[u8]) -> Option<()> {
        let mut session = Session {
            connection: self.connection,
            ..Session::default()
        };
        if h.words == 13 {
            let (l1, l2) = (usize::from(le16(m, 47)?), usize::from(le16(m, 49)?));
            let lm = m.get(61..61 + l1)?;
            let nt = m.get(61 + l1..61 + l1 + l2)?;
            let mut at = 61 + l1 + l2;
            if h.flags2 & 0x8000 != 0 {
                at += at & 1;
            }
            let (user, domain) = names(m.get(at..)?, h.flags2 & 0x8000 != 0);
            session.user = short(&user);
            let mut keys = Vec::new();
            if user.is_empty() {
                session.anonymous = true;
                session.mechanism = "anonymous".to_owned();
            } else {
                let proof = self.challenge.ok_or(NoKey::NoLogon).and_then(|c| {
                    let responses = Responses {
                        user: &user,
                        domain: &domain,
                        server_challenge: c,
                        lm,
                        nt,
                        ess: false,
                    };
                    classic(&state.secrets, &responses)
                });
                match proof {
                    Ok((name, parts)) => {
                        session.mechanism = format!("{name} without extended security");
                        let parts = parts.iter();
                        keys = parts
                            .map(|(key, response)| MacKey::new(key.as_slice(), response))
                            .collect();
                    }
                    Err(why) => session.no_key = Some(why),
                }
            }
            self.candidate = Some(Candidate { session, keys });
        } else if h.words == 12 {
            let length = usize::from(le16(m, 47)?);
            let token = m.get(59..59 + length)?;
            if Logon::begins(token) {
                self.logon = Logon::default();
            }
            self.logon.feed(token, false, &state.secrets);
            if self.logon.complete {
                session.user.clone_from(&self.logon.user);
                session.mechanism.clone_from(&self.logon.mechanism);
                session.anonymous = self.logon.anonymous;
                session.no_key.clone_from(&self.logon.no_key);
                let keys = match (&self.logon.key, self.logon.anonymous) {
                    (Some(key), false) => vec![MacKey::new(key, &[])],
                    _ => Vec::new(),
                };
                self.candidate = Some(Candidate { session, keys });
            }
        }
        Some(())
    }

    fn setup_response(&mut self, state: &mut State, place: Place, h: &Header, m: &[u8]) {
        if h.status != 0 {
            return;
        }
        let Some(mut candidate) = self.candidate.take() else {
            return;
        };
        let action = le16(m, 37).unwrap_or(0);
        let key = candidate.key(m, action & USE_LANMAN_KEY != 0);
        let mut session = candidate.session;
        let uid = u64::from(h.uid);
        session.id = uid;
        session.guest = action & 1 != 0;
        // [MS-CIFS] 3.3.5.3: both can sign and either insists or both want to.
        let required = self.server_mode & 8 != 0 || self.client_flags2 & 0x10 != 0;
        session.required = required && !session.guest && !session.anonymous;
        session.ntlm_mic = self.logon.mic;
        session.mech_list_mics = self.logon.mech_list_mics();
        let key = key.or_else(|| {
            let given = state.secrets.session_key(uid)?;
            session.no_key = None;
            Some(MacKey::new(given, &[]))
        });
        let starts = h.signature != [0; 8] && h.signature != PLACEHOLDER;
        let mac = key
            .filter(|_| self.key.is_none() && !session.guest && !session.anonymous)
            .map(Arc::new);
        session.ready = mac.is_some() && starts || self.key.is_some();
        let wanted =
            self.server_mode & 8 != 0 || self.server_mode & 4 != 0 && self.client_flags2 & 4 != 0;
        if session.required && !starts && self.key.is_none() {
            let user = printable(&session.user);
            state.find(
                place,
                uid,
                describe(m),
                Counted::Unsigned,
                Cause::Unsigned,
                format!("signing was negotiated, yet the server does not sign for `{user}`"),
            );
        } else if wanted && !starts && mac.is_some() {
            state.find(
                place,
                uid,
                describe(m),
                Counted::Unsigned,
                Cause::Unsigned,
                "both sides offer signing, yet the server does not start it".to_owned(),
            );
        }
        if session.ntlm_mic == Some(false) {
            mic_finding(state, place, uid, describe(m));
        }
        let mac = mac.filter(|_| starts);
        session.mac.clone_from(&mac);
        let index = state.begin(session, false);
        if let Some(mac) = mac {
            self.key = Some(mac);
            self.owner = index;
            self.next = 2;
            self.pending.clear();
            self.pending.insert((h.pid, h.mid), 0);
            self.from_middle = false;
            self.uncertain = false;
        }
        if self.sessions.len() >= MAX_PENDING {
            self.sessions.clear();
        }
        self.sessions.insert(h.uid, index);
    }
}

/// How far a number is looked for: less with long messages.
fn reach(m: &[u8]) -> u32 {
    let affordable = SEARCH / m.len().max(1);
    u32::try_from(affordable).map_or(MAX_LOST_NUMBERS, |n| n.min(MAX_LOST_NUMBERS))
}

/// A MIC of NTLM that is wrong.
pub(crate) fn mic_finding(state: &mut State, place: Place, id: u64, what: String) {
    let detail = "the MIC of the NTLM messages is wrong: one of the three was changed";
    state.find(
        place,
        id,
        what,
        Counted::Not,
        Cause::Altered,
        detail.to_owned(),
    );
}

pub(crate) fn no_key_cause(no_key: &NoKey) -> Cause {
    match no_key {
        NoKey::WrongPassword(_) => Cause::WrongKey,
        _ => Cause::NoKey,
    }
}

/// The account and domain strings of a logon without extended security.
fn names(bytes: &[u8], unicode: bool) -> (String, String) {
    let text: String = if unicode {
        let units: Vec<u16> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| u16::from_le_bytes(*b))
            .collect();
        String::from_utf16_lossy(&units)
    } else {
        bytes.iter().map(|b| char::from(*b)).collect()
    };
    let mut parts = text.split('\0').map(str::to_owned);
    let user = parts.next().unwrap_or_default();
    (user, parts.next().unwrap_or_default())
}
