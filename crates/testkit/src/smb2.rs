//! A scripted SMB2/3 client: does what a test says, right or wrong.
//!
//! It signs, encrypts and counts as a client should unless told otherwise, and
//! checks every signature it gets, so that a test asserts statuses and flags only.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign_auth::NtHash;
use countersign_auth::ntlm::seal::Sender as NtlmSender;
use countersign_auth::ntlm::{ClientRandom, NtlmCredentials, NtlmInitiator};
use countersign_auth::spnego::{
    NegState, NegTokenInit, NegTokenResp, NegotiationToken, OID_NTLMSSP,
};
use countersign_crypto::smb2::{
    NonceCounter, PreauthHash, Sender, SessionKeys, SigningKey, TransformKey,
};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_wire::smb2::*;
use countersign_wire::{Guid, NtStatus, Writer};

use crate::wire::Wire;

/// What the client offers.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Dialects.
    pub dialects: Vec<u16>,
    /// SecurityMode of NEGOTIATE.
    pub security_mode: SecurityMode,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// ClientGuid.
    pub guid: Guid,
    /// Signing algorithms for 3.1.1; `None` leaves the context out.
    pub signing: Option<Vec<u16>>,
    /// Ciphers for 3.1.1; `None` leaves the context out.
    pub ciphers: Option<Vec<u16>>,
    /// Hash algorithms for 3.1.1; `None` leaves the context out.
    pub hashes: Option<Vec<u16>>,
}

impl Offer {
    /// One dialect with everything it may have.
    pub fn dialect(dialect: u16) -> Self {
        Self {
            dialects: vec![dialect],
            security_mode: SecurityMode::SIGNING_ENABLED,
            capabilities: Capabilities::LEASING
                | Capabilities::LARGE_MTU
                | Capabilities::MULTI_CHANNEL
                | Capabilities::DIRECTORY_LEASING
                | Capabilities::PERSISTENT_HANDLES
                | Capabilities::ENCRYPTION,
            guid: Guid(*b"countersign-test"),
            signing: Some(vec![2, 1, 0]),
            ciphers: Some(vec![2, 1, 4, 3]),
            hashes: Some(vec![HASH_SHA512]),
        }
    }
}

/// A reply taken apart.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its header.
    pub header: Header,
    /// The whole message from its header.
    pub message: Vec<u8>,
    /// It came inside a transform.
    pub encrypted: bool,
    /// Result of checking the signature; `None` when SIGNED is not set or no key is known.
    pub signature: Option<bool>,
}

impl Reply {
    /// Its status.
    pub fn status(&self) -> NtStatus {
        self.header.status
    }

    /// The body behind the header.
    pub fn body(&self) -> &[u8] {
        self.message.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// A session as the client knows it.
pub struct Session {
    /// SessionId.
    pub id: u64,
    /// Keys; `None` for guests and anonymous.
    pub keys: Option<SessionKeys>,
    /// Signs requests.
    pub sign: bool,
    /// Encrypts requests.
    pub encrypt: bool,
    /// Key of this connection.
    pub signing: Option<SigningKey>,
    seal: Option<TransformKey>,
    open: Option<TransformKey>,
    nonces: NonceCounter,
}

/// How to log on.
#[derive(Debug, Clone)]
pub struct Logon {
    /// Account; empty: anonymous.
    pub user: String,
    /// Password.
    pub password: String,
    /// SecurityMode of SESSION_SETUP.
    pub security_mode: SecurityMode,
    /// SESSION_SETUP Flags (1: binding).
    pub flags: u8,
    /// PreviousSessionId.
    pub previous: u64,
    /// SessionId to use in the first leg (0: a new one).
    pub session: u64,
    /// Raw NTLMSSP without SPNEGO.
    pub raw: bool,
}

impl Logon {
    /// An ordinary logon.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            security_mode: SecurityMode::SIGNING_ENABLED,
            flags: 0,
            previous: 0,
            session: 0,
            raw: false,
        }
    }
}

/// The client: one connection.
pub struct Client<W> {
    /// The connection.
    pub wire: W,
    /// Next MessageId.
    pub message_id: u64,
    /// Dialect agreed on.
    pub dialect: u16,
    /// Signing algorithm agreed on.
    pub algorithm: SigningAlgorithm,
    /// Cipher agreed on.
    pub cipher: Option<Cipher>,
    /// What was offered last.
    pub offer: Offer,
    /// The NEGOTIATE response, whole.
    pub negotiated: Vec<u8>,
    /// Sessions, the present one last.
    pub sessions: Vec<Session>,
    /// Tree in requests.
    pub tree: u32,
    preauth: PreauthHash,
}

impl<W: Wire> Client<W> {
    /// A client on a fresh connection.
    pub fn new(wire: W) -> Self {
        Self {
            wire,
            message_id: 0,
            dialect: 0,
            algorithm: SigningAlgorithm::HmacSha256,
            cipher: None,
            offer: Offer::dialect(dialect::SMB_3_1_1),
            negotiated: Vec::new(),
            sessions: Vec::new(),
            tree: 0,
            preauth: PreauthHash::new(),
        }
    }

    /// A request's header as it should be now; takes a MessageId.
    pub fn header(&mut self, command: Command) -> Header {
        let id = self.message_id;
        self.message_id += 1;
        Header {
            credit_charge: u16::from(self.dialect > dialect::SMB_2_0_2),
            command,
            credits: 64,
            message_id: id,
            target: Target::Sync {
                process_id: 0xFEFF,
                tree_id: self.tree,
            },
            session_id: self.sessions.last().map_or(0, |s| s.id),
            ..Header::default()
        }
    }

    /// A message of a header and a body.
    pub fn message(header: &Header, body: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        header.encode(&mut w);
        body(&mut w);
        out
    }

    /// Signs a message with the present session's key and sets SIGNED.
    pub fn sign(&self, message: &mut [u8]) {
        if let Some(flag) = message.get_mut(16) {
            *flag |= 8;
        }
        if let Some(key) = self.sessions.last().and_then(|s| s.signing.as_ref()) {
            key.sign(Sender::Client, message);
        }
    }

    /// Sends a message as the present session protects it.
    pub fn send(&mut self, mut message: Vec<u8>) {
        let session = self.sessions.last();
        if session.is_some_and(|s| s.encrypt) {
            let sealed = self.seal(&message);
            self.wire.send(&sealed);
            return;
        }
        if session.is_some_and(|s| s.sign && s.signing.is_some()) {
            self.sign(&mut message);
        }
        self.wire.send(&message);
    }

    /// A message inside a transform of the present session.
    pub fn seal(&self, message: &[u8]) -> Vec<u8> {
        let session = self.sessions.last().expect("a session");
        let mut out = vec![0; 52];
        out.extend_from_slice(message);
        let nonce = session.nonces.next().expect("nonces");
        let key = session.seal.as_ref().expect("a cipher key");
        key.seal_in_place(&mut out, session.id, nonce)
            .expect("sealed");
        out
    }

    /// Builds, protects and sends a request; gives the final reply (interim ones are passed over).
    pub fn call(&mut self, command: Command, body: impl FnOnce(&mut Writer<'_>)) -> Option<Reply> {
        let header = self.header(command);
        self.send(Self::message(&header, body));
        self.reply()
    }

    /// As [`Client::call`], with a header the test has changed.
    pub fn call_with(
        &mut self,
        command: Command,
        change: impl FnOnce(&mut Header),
        body: impl FnOnce(&mut Writer<'_>),
    ) -> Option<Reply> {
        let mut header = self.header(command);
        change(&mut header);
        self.send(Self::message(&header, body));
        self.reply()
    }

    /// The next final reply.
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            let reply = self.any_reply()?;
            if reply.status() != NtStatus::PENDING {
                return Some(reply);
            }
        }
    }

    /// The next message from the server, interim replies and breaks included.
    /// Of a compound, the first part.
    pub fn any_reply(&mut self) -> Option<Reply> {
        self.replies()?.into_iter().next()
    }

    /// All parts of the next frame from the server.
    pub fn replies(&mut self) -> Option<Vec<Reply>> {
        let mut frame = self.wire.receive()?;
        let mut encrypted = false;
        if frame.first() == Some(&0xFD) {
            encrypted = true;
            let id = frame.get(44..52)?.try_into().map(u64::from_le_bytes).ok()?;
            let session = self.sessions.iter().find(|s| s.id == id)?;
            let plain = session
                .open
                .as_ref()?
                .open_in_place(&mut frame)
                .expect("opens");
            frame = plain.to_vec();
        }
        let mut out = Vec::new();
        for part in Compound::new(&frame, 64) {
            let part = part.expect("well-formed compound");
            let message = part.message(&frame).to_vec();
            let header = part.header;
            let session = self.sessions.iter().find(|s| s.id == header.session_id);
            let signature = match session.and_then(|s| s.signing.as_ref()) {
                Some(key) if header.is_signed() && !encrypted => {
                    Some(key.verify(Sender::Server, &message).is_ok())
                }
                _ => None,
            };
            out.push(Reply {
                header,
                message,
                encrypted,
                signature,
            });
        }
        Some(out)
    }

    /// NEGOTIATE with an offer; notes what was agreed on success.
    pub fn negotiate(&mut self, offer: Offer) -> Option<Reply> {
        let header = Header {
            credits: 10,
            ..self.header(Command::NEGOTIATE)
        };
        let request = NegotiateRequest {
            security_mode: offer.security_mode,
            capabilities: offer.capabilities,
            client_guid: offer.guid,
            dialects: offer.dialects.clone(),
            contexts: contexts(&offer),
        };
        let message = Self::message(&header, |w| request.encode(w));
        self.negotiate_raw(message, offer)
    }

    /// NEGOTIATE with a message of the test's own.
    pub fn negotiate_raw(&mut self, message: Vec<u8>, offer: Offer) -> Option<Reply> {
        self.wire.send(&message);
        let reply = self.reply()?;
        if reply.status() == NtStatus::SUCCESS {
            let mut hash = PreauthHash::new();
            hash.update(&message);
            hash.update(&reply.message);
            self.preauth = hash;
            let response = NegotiateResponse::decode(&reply.message).expect("NEGOTIATE Response");
            self.dialect = response.dialect;
            self.algorithm = SigningAlgorithm::of_dialect(response.dialect);
            self.cipher = (response.dialect >= dialect::SMB_3_0).then_some(Cipher::Aes128Ccm);
            for context in &response.contexts {
                match context {
                    NegotiateContext::Signing(ids) => {
                        let id = ids.first().copied().expect("one algorithm");
                        self.algorithm = SigningAlgorithm::from_id(id).expect("known algorithm");
                    }
                    NegotiateContext::Encryption(ids) => {
                        self.cipher = ids.first().copied().and_then(Cipher::from_id);
                    }
                    _ => {}
                }
            }
            self.negotiated = reply.message.clone();
        }
        self.offer = offer;
        Some(reply)
    }

    /// Logs on with NTLMv2; gives the last reply. On success the session is
    /// entered with its keys and signs.
    pub fn logon(&mut self, logon: &Logon) -> Option<Reply> {
        let who = NtlmCredentials {
            user: logon.user.clone(),
            domain: "TEST".into(),
            nt_hash: NtHash::from_password(&logon.password),
            workstation: "TESTER".into(),
        };
        let client = NtlmInitiator::new(who, NtlmInitiator::default_flags(), None);
        let mechanisms = [OID_NTLMSSP];
        let list = countersign_auth::spnego::mech_types_der(&mechanisms);
        let first = if logon.raw {
            client.negotiate().to_vec()
        } else {
            NegTokenInit {
                mech_types: mechanisms.to_vec(),
                mech_types_der: &list,
                mech_token: Some(client.negotiate()),
                mech_list_mic: None,
            }
            .encode()
        };
        let mut hash = self.preauth.clone();
        let leg = self.setup_leg(logon, logon.session, &first, &mut hash)?;
        if leg.status() != NtStatus::MORE_PROCESSING_REQUIRED {
            return Some(leg);
        }
        hash.update(&leg.message);
        let id = leg.header.session_id;
        let response = SessionSetupResponse::decode(&leg.message).expect("SESSION_SETUP Response");
        let challenge = if logon.raw {
            response.security_buffer.to_vec()
        } else {
            match NegotiationToken::decode(response.security_buffer).expect("SPNEGO") {
                NegotiationToken::Resp(r) => r.response_token.expect("a challenge").to_vec(),
                NegotiationToken::Init(_) => return Some(leg),
            }
        };
        // Not random, but another key for each logon.
        static LOGONS: AtomicU64 = AtomicU64::new(1);
        let number = LOGONS.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let mut key = [0x5A; 16];
        for (to, from) in key.iter_mut().zip(number) {
            *to ^= from;
        }
        let random = ClientRandom {
            challenge: *b"testtest",
            session_key: key.into(),
        };
        let done = client.authenticate(&challenge, &random).expect("CHALLENGE");
        let second = if logon.raw {
            done.token.clone()
        } else {
            let mic = done.mech_list_mic(NtlmSender::Client, &list);
            NegTokenResp {
                state: Some(NegState::AcceptIncomplete),
                supported_mech: None,
                response_token: Some(&done.token),
                mech_list_mic: done.session_key.is_some().then_some(&mic),
            }
            .encode()
        };
        let last = self.setup_leg(logon, id, &second, &mut hash)?;
        if last.status() != NtStatus::SUCCESS {
            return Some(last);
        }
        let body = SessionSetupResponse::decode(&last.message).expect("SESSION_SETUP Response");
        let flags = body.session_flags;
        let real = !flags.intersects(SessionFlags::IS_GUEST | SessionFlags::IS_NULL)
            && !logon.user.is_empty();
        self.enter(
            id,
            if real {
                done.session_key.as_ref().map(|k| k.as_bytes())
            } else {
                None
            },
            &hash,
        );
        Some(self.judged(last))
    }

    /// The end of a logon, judged by the key it led to.
    fn judged(&self, mut last: Reply) -> Reply {
        if let Some(session) = self.sessions.last()
            && let Some(key) = &session.signing
            && last.header.is_signed()
        {
            last.signature = Some(key.verify(Sender::Server, &last.message).is_ok());
        }
        last
    }

    /// A logon of one leg: this token, and the key both ends know then. Of `logon`
    /// only what is not about NTLM counts.
    pub fn logon_with(&mut self, logon: &Logon, token: &[u8], key: &[u8]) -> Option<Reply> {
        let mut hash = self.preauth.clone();
        let last = self.setup_leg(logon, logon.session, token, &mut hash)?;
        if last.status() != NtStatus::SUCCESS {
            return Some(last);
        }
        self.enter(last.header.session_id, Some(key), &hash);
        Some(self.judged(last))
    }

    fn setup_leg(
        &mut self,
        logon: &Logon,
        id: u64,
        token: &[u8],
        hash: &mut PreauthHash,
    ) -> Option<Reply> {
        let header = Header {
            session_id: id,
            target: Target::Sync {
                process_id: 0xFEFF,
                tree_id: 0,
            },
            ..self.header(Command::SESSION_SETUP)
        };
        let request = SessionSetupRequest {
            flags: logon.flags,
            security_mode: logon.security_mode,
            capabilities: Capabilities::DFS,
            channel: 0,
            previous_session_id: logon.previous,
            security_buffer: token,
        };
        let mut message = Self::message(&header, |w| request.encode(w));
        // Re-authentication and binding are signed with the key the session has.
        let known = self
            .sessions
            .iter()
            .find(|s| s.id == id)
            .and_then(|s| s.signing.as_ref());
        if let Some(key) = known {
            if let Some(flag) = message.get_mut(16) {
                *flag |= 8;
            }
            key.sign(Sender::Client, &mut message);
        }
        hash.update(&message);
        self.wire.send(&message);
        self.reply()
    }

    /// Enters a session with the keys of an exchange (or without any).
    pub fn enter(&mut self, id: u64, key: Option<&[u8]>, hash: &PreauthHash) {
        if self.sessions.iter().any(|s| s.id == id && s.keys.is_some()) {
            // Re-authentication: the keys stay.
            return;
        }
        let keys = key.map(|s| {
            SessionKeys::derive(self.dialect, s, Some(hash.value()), self.cipher).expect("keys")
        });
        let (mut seal, mut open) = (None, None);
        if let (Some(keys), Some(cipher)) = (&keys, self.cipher) {
            seal = keys
                .client_to_server
                .as_ref()
                .and_then(|k| TransformKey::new(cipher, k).ok());
            open = keys
                .server_to_client
                .as_ref()
                .and_then(|k| TransformKey::new(cipher, k).ok());
        }
        let signing = keys
            .as_ref()
            .map(|k| SigningKey::new(self.algorithm, &k.signing_key));
        // A session that was lent for its binding has its own key now.
        self.sessions.retain(|s| s.id != id);
        self.sessions.push(Session {
            id,
            sign: keys.is_some(),
            encrypt: false,
            keys,
            signing,
            seal,
            open,
            nonces: NonceCounter::new(),
        });
    }

    /// TREE_CONNECT; takes the TreeId on success.
    pub fn tree_connect(&mut self, path: &str) -> Option<Reply> {
        self.tree = 0;
        let wide: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let reply = self.call(Command::TREE_CONNECT, |w| {
            TreeConnectRequest {
                flags: 0,
                path: &wide,
            }
            .encode(w);
        })?;
        if reply.status() == NtStatus::SUCCESS {
            self.tree = reply.header.tree_id().expect("a TreeId");
        }
        Some(reply)
    }

    /// Takes other bytes for the NEGOTIATE request than were sent: what a client
    /// knows when somebody alters messages on the way.
    pub fn rehash(&mut self, request: &[u8]) {
        let mut hash = PreauthHash::new();
        hash.update(request);
        hash.update(&self.negotiated);
        self.preauth = hash;
    }

    /// Knows another connection's session with its key, to bind it here.
    pub fn lend_session<V>(&mut self, from: &Client<V>) {
        let lent = from.sessions.last().expect("a session");
        let key = lent.keys.as_ref().map(|k| k.signing_key);
        self.sessions.retain(|s| s.id != lent.id);
        self.sessions.push(Session {
            id: lent.id,
            keys: None,
            sign: key.is_some(),
            encrypt: false,
            signing: key.map(|k| SigningKey::new(from.algorithm, &k)),
            seal: None,
            open: None,
            nonces: NonceCounter::new(),
        });
    }

    /// The present session.
    pub fn session(&mut self) -> &mut Session {
        self.sessions.last_mut().expect("a session")
    }
}

/// The contexts of an offer, in the specification's order; none without 3.1.1.
pub fn contexts(offer: &Offer) -> Vec<NegotiateContext<'static>> {
    let mut out = Vec::new();
    if offer.dialects.contains(&dialect::SMB_3_1_1) {
        if let Some(hashes) = &offer.hashes {
            out.push(NegotiateContext::PreauthIntegrity {
                algorithms: hashes.clone(),
                salt: b"0123456789abcdef0123456789abcdef",
            });
        }
        if let Some(ciphers) = &offer.ciphers {
            out.push(NegotiateContext::Encryption(ciphers.clone()));
        }
        if let Some(signing) = &offer.signing {
            out.push(NegotiateContext::Signing(signing.clone()));
        }
    }
    out
}

impl Session {
    /// A session whose keys are known from elsewhere.
    pub fn known(
        id: u64,
        keys: SessionKeys,
        algorithm: SigningAlgorithm,
        cipher: Option<Cipher>,
    ) -> Self {
        let key = |k: &Option<countersign_crypto::smb2::CipherKey>| {
            TransformKey::new(cipher?, k.as_ref()?).ok()
        };
        Self {
            id,
            sign: true,
            encrypt: false,
            signing: Some(SigningKey::new(algorithm, &keys.signing_key)),
            seal: key(&keys.client_to_server),
            open: key(&keys.server_to_client),
            keys: Some(keys),
            nonces: NonceCounter::new(),
        }
    }
}
