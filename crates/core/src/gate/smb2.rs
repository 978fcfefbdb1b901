//! The gate of SMB2 and 3: transforms, signatures, admission, sealing.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_auth::SessionKey;
use countersign_crypto::smb2::{
    NonceCounter, Sender, SessionKeys, SignJob, SigningKey, TRANSFORM_HEADER, TransformKey,
    VerifyJob, sign_batch, verify_batch,
};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{
    CommandClass, Effective, Facts, Family, Identity, MessageFacts, MessageState, Moment,
    PeerFlags, Protection, Reason, RefuseStatus, SessionFacts, SessionMoment, Side, SignedSoFar,
    Verdict, verdict,
};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{
    Command, Compound, HEADER_LEN, Header, HeaderFlags, Part, Protocol, TransformHeader, dialect,
};

use super::Sealed;
use crate::smb2::handler::FRAME_HEADROOM;

pub use countersign_crypto::smb2::PreauthHash as Preauth;

/// A key that signs on one channel.
#[derive(Clone)]
pub struct ChannelKey(Arc<SigningKey>);

impl ChannelKey {
    /// The algorithm it signs with.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.0.algorithm()
    }

    fn is(&self, other: &ChannelKey) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl core::fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ChannelKey({:?})", self.algorithm())
    }
}

/// The keys of a session that all its channels share.
pub struct SessionSecrets {
    session: u64,
    signing: ChannelKey,
    application: zeroize::Zeroizing<[u8; 16]>,
    transform: Option<Transform>,
}

struct Transform {
    open: TransformKey,
    seal: TransformKey,
    nonces: NonceCounter,
}

impl SessionSecrets {
    /// Session.SigningKey: verifies the binding of a new channel.
    pub(crate) fn signing(&self) -> &ChannelKey {
        &self.signing
    }

    /// Session.ApplicationKey.
    pub fn application_key(&self) -> &[u8; 16] {
        &self.application
    }

    /// The cipher of its transforms.
    pub fn cipher(&self) -> Option<Cipher> {
        self.transform.as_ref().map(|t| t.open.cipher())
    }
}

impl core::fmt::Debug for SessionSecrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SessionSecrets({:?})", self.signing)
    }
}

// --- in

/// What the gate needs to know of the connection to open and verify messages.
pub(crate) trait Keys {
    /// The key that signs this session's messages on this channel.
    fn channel_key(&self, session: u64) -> Option<ChannelKey>;
    /// The keys of transforms of a session that may be used on this connection.
    fn secrets(&self, session: u64) -> Option<Arc<SessionSecrets>>;
}

/// What came of looking at a signature.
#[derive(Clone)]
enum Check {
    /// SIGNED is clear.
    Unsigned,
    /// Right or wrong under this key.
    Checked(ChannelKey, bool),
    /// SIGNED is set and no key was known.
    NoKey,
    /// It lay in a transform that opened.
    Encrypted(Arc<SessionSecrets>),
}

/// One message that arrived: split off its frame, opened and verified where
/// that was possible. Not admitted yet.
pub(crate) struct Arrived {
    /// Its header.
    pub(crate) header: Header,
    /// From its header to its own end.
    pub(crate) message: Bytes,
    check: Check,
}

impl Arrived {
    /// The session the transform names, if it came in one.
    pub(crate) fn transform_session(&self) -> Option<u64> {
        match &self.check {
            Check::Encrypted(secrets) => Some(secrets.session),
            Check::Unsigned | Check::Checked(..) | Check::NoKey => None,
        }
    }
}

/// A frame in clear, its messages verified; or one to be opened in its turn.
pub(crate) enum Inbound {
    /// Messages in order.
    Clear(Vec<Arrived>),
    /// Encrypted: [`open`] it when its turn comes, since a logon before it in
    /// the same batch may make its keys.
    Encrypted(BytesMut),
    /// The peer sent nonsense: the connection is closed.
    Broken(&'static str),
}

/// Splits all frames and verifies, as one batch, what can be verified now.
pub(crate) fn receive(frames: Vec<BytesMut>, keys: &dyn Keys, chain: usize) -> Vec<Inbound> {
    let mut inbound: Vec<Inbound> = frames
        .into_iter()
        .map(|frame| match Protocol::of(&frame) {
            Some(Protocol::Smb2) => split(&frame.freeze(), chain, |_| Check::NoKey),
            Some(Protocol::Encrypted) => Inbound::Encrypted(frame),
            Some(Protocol::Compressed) => Inbound::Broken("compression was not negotiated"),
            Some(Protocol::Smb1) => Inbound::Broken("SMB1 message on an SMB2 connection"),
            None => Inbound::Broken("not an SMB2 message"),
        })
        .collect();
    let mut signed: Vec<(&mut Arrived, ChannelKey)> = Vec::new();
    for frame in &mut inbound {
        let Inbound::Clear(parts) = frame else { continue };
        let mut session = 0;
        for part in parts {
            if !part.header.is_related() {
                session = part.header.session_id;
            }
            if !part.header.is_signed() {
                part.check = Check::Unsigned;
            } else if !is_binding(&part.header, &part.message)
                && let Some(key) = keys.channel_key(session)
            {
                signed.push((part, key));
            }
        }
    }
    let jobs: Vec<VerifyJob<'_>> = signed
        .iter()
        .map(|(part, key)| VerifyJob { key: &key.0, sender: Sender::Client, message: &part.message })
        .collect();
    let results = verify_batch(&jobs);
    for ((part, key), result) in signed.into_iter().zip(results) {
        part.check = Check::Checked(key, result.is_ok());
    }
    inbound
}

/// Opens an encrypted frame.
pub(crate) fn open(mut frame: BytesMut, keys: &dyn Keys, chain: usize) -> Inbound {
    let Ok(header) = TransformHeader::decode(&frame) else {
        return Inbound::Broken("malformed transform header");
    };
    if header.flags != 1 {
        return Inbound::Broken("unknown flags in the transform header");
    }
    let Some(secrets) = keys.secrets(header.session_id) else {
        return Inbound::Broken("encrypted for an unknown session");
    };
    let Some(transform) = &secrets.transform else {
        return Inbound::Broken("encrypted for a session without a cipher");
    };
    if transform.open.open_in_place(&mut frame).is_err() {
        return Inbound::Broken("encrypted message does not authenticate");
    }
    let plain = frame.freeze().slice(TRANSFORM_HEADER..);
    split(&plain, chain, |_| Check::Encrypted(Arc::clone(&secrets)))
}

fn split(frame: &Bytes, chain: usize, check: impl Fn(&Header) -> Check) -> Inbound {
    let mut parts = Vec::with_capacity(1);
    for part in Compound::new(frame, chain) {
        let Ok(Part { start, end, header }) = part else {
            return Inbound::Broken("malformed header or chain");
        };
        if header.is_response() {
            return Inbound::Broken("a response was sent to a server");
        }
        let message = frame.slice(start..end);
        parts.push(Arrived { check: check(&header), header, message });
    }
    Inbound::Clear(parts)
}

/// Whether this is a SESSION_SETUP with SMB2_SESSION_FLAG_BINDING.
pub(crate) fn is_binding(header: &Header, message: &[u8]) -> bool {
    header.command == Command::SESSION_SETUP
        && message.get(HEADER_LEN + 2).is_some_and(|flags| flags & 1 != 0)
}

fn class_of(header: &Header, message: &[u8]) -> CommandClass {
    match header.command {
        Command::NEGOTIATE => CommandClass::Negotiate,
        Command::SESSION_SETUP if is_binding(header, message) => CommandClass::SessionBind,
        Command::SESSION_SETUP => CommandClass::SessionSetup,
        Command::TREE_CONNECT => CommandClass::TreeConnect,
        Command::CANCEL => CommandClass::Cancel,
        Command::IOCTL
            if message.get(HEADER_LEN + 4..HEADER_LEN + 8)
                == Some(&0x0014_0204_u32.to_le_bytes()) =>
        {
            CommandClass::ValidateNegotiate
        }
        _ => CommandClass::Other,
    }
}

/// How the reply to a request leaves.
#[derive(Clone, Default)]
struct Seal {
    sign: Option<ChannelKey>,
    encrypt: Option<Arc<SessionSecrets>>,
}

/// The right to act on a request; carries how its reply is protected. Only the
/// gate makes one.
pub struct Admitted {
    seal: Seal,
    class: CommandClass,
    state: MessageState,
    reason: Reason,
}

impl Admitted {
    /// It came inside a transform.
    pub fn is_encrypted(&self) -> bool {
        self.state == MessageState::Encrypted
    }

    /// It came with a right signature.
    pub fn is_signed(&self) -> bool {
        self.state == MessageState::Verified
    }

    /// Whether it shows how the client protects its requests: SESSION_SETUP,
    /// TREE_CONNECT and FSCTL_VALIDATE_NEGOTIATE_INFO are signed in any case.
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self.class, CommandClass::Other | CommandClass::Cancel)
    }

    /// Why it was let in.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// A request that was not let in.
pub(crate) enum Refused {
    /// Answer with this status.
    Reply {
        /// The status.
        status: NtStatus,
        /// Why.
        reason: Reason,
        /// For the reply only: it gives no right to act.
        seal: RefusalSeal,
    },
    /// No answer.
    Ignore,
    /// Close.
    Disconnect(Reason),
}

impl Refused {
    /// A binding to a session whose first logon is not finished, so that no
    /// key can sign it ([MS-SMB2] 3.3.5.5).
    pub(crate) fn unfinished() -> Self {
        Self::Reply {
            status: NtStatus::REQUEST_NOT_ACCEPTED,
            reason: Reason::SignedWithoutKey,
            seal: RefusalSeal(Seal::default()),
        }
    }
}

/// How a refusal is protected.
pub(crate) struct RefusalSeal(Seal);

/// What the admission of one message is decided on.
pub(crate) struct Admission<'a> {
    /// Policy in force.
    pub(crate) policy: &'a Effective,
    /// Connection.Dialect (0 before NEGOTIATE).
    pub(crate) dialect: u16,
    /// Facts of the session, if the message belongs to one that is known here.
    pub(crate) session: Option<SessionFacts>,
    /// The key that signs this session's messages here (the session's own for a binding).
    pub(crate) key: Option<ChannelKey>,
    /// The key is that of another connection (a binding): nothing is signed
    /// with it for a peer that has not proved that it knows it. MessageIds of
    /// two connections collide, and AES-GMAC must not see one twice.
    pub(crate) borrowed: bool,
}

/// Policy's verdict on one message.
pub(crate) fn admit(arrived: &Arrived, admission: &Admission<'_>) -> Result<Admitted, Refused> {
    let (state, seal) = match &arrived.check {
        Check::Encrypted(secrets) => (
            MessageState::Encrypted,
            Seal { sign: None, encrypt: Some(Arc::clone(secrets)) },
        ),
        Check::Unsigned => {
            (MessageState::Unsigned, Seal { sign: admission.key.clone(), encrypt: None })
        }
        Check::Checked(..) | Check::NoKey => {
            let state = match (&arrived.check, &admission.key) {
                (_, None) => MessageState::SignedNoKey,
                (Check::Checked(key, right), Some(now)) if key.is(now) => verified(*right),
                // The key came or changed after the batch was verified.
                (_, Some(now)) => {
                    verified(now.0.verify(Sender::Client, &arrived.message).is_ok())
                }
            };
            (state, Seal { sign: admission.key.clone(), encrypt: None })
        }
    };
    let class = class_of(&arrived.header, &arrived.message);
    let message = MessageFacts::request(class, state, admission.session.as_ref());
    let decision = verdict(&Facts {
        side: Side::Server,
        family: family(admission.dialect),
        policy: admission.policy,
        moment: Moment::Message(message),
    });
    let proved = !admission.borrowed || state == MessageState::Verified;
    let sealed = |sign: bool| Seal {
        sign: seal.sign.clone().filter(|_| sign && proved),
        encrypt: seal.encrypt.clone(),
    };
    match decision {
        Verdict::Accept(Protection { sign, reason, .. }) => {
            Ok(Admitted { seal: sealed(sign), class, state, reason })
        }
        Verdict::Refuse { status, sign, reason } => Err(Refused::Reply {
            status: refusal(status),
            reason,
            seal: RefusalSeal(sealed(sign)),
        }),
        Verdict::Ignore { .. } => Err(Refused::Ignore),
        Verdict::Disconnect { reason } => Err(Refused::Disconnect(reason)),
    }
}

fn verified(right: bool) -> MessageState {
    if right { MessageState::Verified } else { MessageState::BadSignature }
}

fn refusal(status: RefuseStatus) -> NtStatus {
    match status {
        RefuseStatus::AccessDenied => NtStatus::ACCESS_DENIED,
        RefuseStatus::InvalidParameter => NtStatus::INVALID_PARAMETER,
        RefuseStatus::UserSessionDeleted => NtStatus::USER_SESSION_DELETED,
    }
}

/// The dialect's family.
pub(crate) fn family(revision: u16) -> Family {
    if revision == dialect::SMB_3_1_1 { Family::Smb311 } else { Family::Smb2 }
}

// --- negotiate and session

/// What NEGOTIATE announces: whether signing is required.
pub(crate) fn announce(policy: &Effective, revision: u16) -> bool {
    let decision = verdict(&Facts {
        side: Side::Server,
        family: family(revision),
        policy,
        moment: Moment::Negotiate(PeerFlags::default()),
    });
    // SMB2 has no refusal here; if there were one, insisting is the safe side.
    !matches!(decision, Verdict::Accept(Protection { announce_required: false, .. }))
}

/// A logon that succeeded, for the policy to judge.
pub(crate) struct Logon<'a> {
    /// Policy in force.
    pub(crate) policy: &'a Effective,
    /// SessionId.
    pub(crate) session: u64,
    /// Connection.Dialect.
    pub(crate) dialect: u16,
    /// Connection.SigningAlgorithmId.
    pub(crate) algorithm: SigningAlgorithm,
    /// Connection.CipherId.
    pub(crate) cipher: Option<Cipher>,
    /// Hash of the exchange (3.1.1).
    pub(crate) preauth: Option<&'a Preauth>,
    /// Who has logged on.
    pub(crate) identity: Identity,
    /// The key of the authentication.
    pub(crate) session_key: Option<&'a SessionKey>,
    /// The client insists on signing.
    pub(crate) peer_requires: bool,
    /// Session.EncryptData: every request must be encrypted.
    pub(crate) encrypt: bool,
}

/// A logon that policy let in.
pub(crate) struct Established {
    /// To pin in the session.
    pub(crate) facts: SessionFacts,
    /// Keys of the session; `None` for guests and anonymous.
    pub(crate) secrets: Option<Arc<SessionSecrets>>,
    /// Key of this channel.
    pub(crate) key: Option<ChannelKey>,
    /// Signs the final response.
    pub(crate) seal: FinalSeal,
    /// Why it is signed or not.
    pub(crate) reason: Reason,
}

/// How the final SESSION_SETUP response is signed. Only the gate makes one.
#[derive(Debug, Clone)]
pub struct FinalSeal(Option<ChannelKey>);

/// A logon that policy refused.
pub(crate) struct LogonRefused {
    /// What the client is told.
    pub(crate) status: NtStatus,
    /// Why.
    pub(crate) reason: Reason,
}

/// Policy's verdict on a new session, and its keys.
pub(crate) fn establish(logon: &Logon<'_>) -> Result<Established, LogonRefused> {
    let keys = logon.session_key.filter(|_| logon.identity == Identity::User).and_then(|key| {
        SessionKeys::derive(
            logon.dialect,
            key.as_bytes(),
            logon.preauth.map(Preauth::value),
            logon.cipher,
        )
        .ok()
    });
    let protection = judge(logon, keys.is_some(), None)?;
    let secrets = keys.map(|keys| Arc::new(secrets(logon, &keys)));
    let key = secrets.as_ref().map(|s| s.signing.clone());
    Ok(Established {
        facts: SessionFacts {
            family: family(logon.dialect),
            identity: logon.identity,
            key: key.is_some(),
            required: protection.required,
            encryption_required: logon.encrypt && key.is_some(),
            signed_so_far: SignedSoFar::Nothing,
        },
        seal: FinalSeal(key.clone().filter(|_| protection.sign)),
        secrets,
        key,
        reason: protection.reason,
    })
}

/// Policy's verdict on a re-authentication: keys and what was agreed stay.
pub(crate) fn reestablish(
    logon: &Logon<'_>,
    facts: SessionFacts,
    key: Option<&ChannelKey>,
) -> Result<(SessionFacts, FinalSeal), LogonRefused> {
    let protection = judge(logon, facts.key, Some(facts.required))?;
    let facts = SessionFacts { required: protection.required && facts.key, ..facts };
    Ok((facts, FinalSeal(key.filter(|_| protection.sign).cloned())))
}

/// The key of a new channel of a session, from its own authentication.
pub(crate) fn bind(logon: &Logon<'_>) -> Result<(ChannelKey, FinalSeal), LogonRefused> {
    judge(logon, logon.session_key.is_some(), None)?;
    let keys = logon
        .session_key
        .and_then(|key| {
            let preauth = logon.preauth.map(Preauth::value);
            SessionKeys::derive(logon.dialect, key.as_bytes(), preauth, None).ok()
        })
        .ok_or(LogonRefused {
            status: NtStatus::ACCESS_DENIED,
            reason: Reason::NoKeyUnderRequired,
        })?;
    let key = ChannelKey(Arc::new(SigningKey::new(logon.algorithm, &keys.signing_key)));
    Ok((key.clone(), FinalSeal(Some(key))))
}

fn judge(
    logon: &Logon<'_>,
    key: bool,
    established: Option<bool>,
) -> Result<Protection, LogonRefused> {
    let decision = verdict(&Facts {
        side: Side::Server,
        family: family(logon.dialect),
        policy: logon.policy,
        moment: Moment::Session(SessionMoment {
            identity: logon.identity,
            key,
            peer: PeerFlags { enabled: true, required: logon.peer_requires },
            established,
            response: MessageState::Unsigned,
        }),
    });
    match decision {
        Verdict::Accept(protection) => Ok(protection),
        Verdict::Refuse { status, reason, .. } => {
            Err(LogonRefused { status: refusal(status), reason })
        }
        Verdict::Ignore { reason } | Verdict::Disconnect { reason } => {
            Err(LogonRefused { status: NtStatus::ACCESS_DENIED, reason })
        }
    }
}

fn secrets(logon: &Logon<'_>, keys: &SessionKeys) -> SessionSecrets {
    let transform = logon.cipher.and_then(|cipher| {
        Some(Transform {
            open: TransformKey::new(cipher, keys.client_to_server.as_ref()?).ok()?,
            seal: TransformKey::new(cipher, keys.server_to_client.as_ref()?).ok()?,
            nonces: NonceCounter::new(),
        })
    });
    SessionSecrets {
        session: logon.session,
        signing: ChannelKey(Arc::new(SigningKey::new(logon.algorithm, &keys.signing_key))),
        application: zeroize::Zeroizing::new(keys.application),
        transform,
    }
}

// --- out

/// Kinds of reply that differ in protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The last or only reply to a request.
    Final,
    /// STATUS_PENDING: not signed, since its MessageId is signed by the final
    /// reply ([MS-SMB2] 3.3.4.1.1).
    Interim,
}

/// A frame to be sealed: one reply, or those of a compound.
pub(crate) struct Outgoing {
    buffer: Vec<u8>,
    /// Where the first header begins in the buffer; `FRAME_HEADROOM` bytes at
    /// least are free before it.
    start: usize,
    parts: Vec<OutgoingPart>,
    encrypt: Option<Arc<SessionSecrets>>,
}

struct OutgoingPart {
    /// From the start of the first header.
    offset: usize,
    key: Option<ChannelKey>,
}

impl Outgoing {
    /// The reply to an admitted request. `body` is where the body begins in
    /// `buffer`, with room for the headers in front.
    pub(crate) fn reply(
        admitted: &Admitted,
        seal: Option<&FinalSeal>,
        kind: Kind,
        header: Header,
        buffer: Vec<u8>,
        body: usize,
    ) -> Self {
        let mut seal_with = admitted.seal.clone();
        if let Some(FinalSeal(key)) = seal {
            // [MS-SMB2] 3.3.5.5.3: the end of a logon is signed; a transform protects it as well.
            if seal_with.encrypt.is_none() {
                seal_with.sign = key.clone();
            }
        }
        Self::new(seal_with, kind, header, buffer, body)
    }

    /// The reply to a request that was not admitted. `header` still has the
    /// request's flag and signature. Where there is no key they go back as they
    /// came, as smbd sends them: clients that sign let such a failure
    /// (USER_SESSION_DELETED) pass by this alone, and it proves nothing.
    pub(crate) fn refusal(
        seal: &RefusalSeal,
        header: Header,
        buffer: Vec<u8>,
        body: usize,
    ) -> Self {
        let bare = seal.0.sign.is_none() && seal.0.encrypt.is_none();
        let mut out = Self::new(seal.0.clone(), Kind::Final, header, buffer, body);
        if bare && header.is_signed() && header.status == NtStatus::USER_SESSION_DELETED {
            let echo = header.to_bytes();
            if let Some(place) = out.buffer.get_mut(out.start..out.start + HEADER_LEN) {
                place.copy_from_slice(&echo);
            }
        }
        out
    }

    /// What the server sends unasked: neither signed nor encrypted
    /// ([MS-SMB2] 3.3.4.6, 3.3.4.7).
    pub(crate) fn notification(header: Header, buffer: Vec<u8>, body: usize) -> Self {
        Self::new(Seal::default(), Kind::Interim, header, buffer, body)
    }

    fn new(seal: Seal, kind: Kind, mut header: Header, mut buffer: Vec<u8>, body: usize) -> Self {
        let key = seal.sign.filter(|_| {
            kind == Kind::Final && seal.encrypt.is_none() && header.session_id != 0
        });
        header.flags.set(HeaderFlags::SIGNED, key.is_some());
        header.signature = [0; 16];
        let mut body = body;
        if body < FRAME_HEADROOM + HEADER_LEN {
            let short = FRAME_HEADROOM + HEADER_LEN - body;
            buffer.splice(0..0, core::iter::repeat_n(0, short));
            body += short;
        }
        let start = body - HEADER_LEN;
        if let Some(place) = buffer.get_mut(start..body) {
            place.copy_from_slice(&header.to_bytes());
        }
        Self {
            buffer,
            start,
            parts: vec![OutgoingPart { offset: 0, key }],
            encrypt: seal.encrypt,
        }
    }

    /// One frame of several replies: each is padded to 8 bytes, the last too, as
    /// Windows does, and leads to the next. The transform is the first one's.
    pub(crate) fn join(replies: Vec<Outgoing>) -> Option<Self> {
        let mut replies = replies.into_iter();
        let mut joined = replies.next()?;
        for next in replies {
            joined.append(&next);
        }
        if joined.parts.len() > 1 {
            joined.pad();
        }
        Some(joined)
    }

    fn pad(&mut self) -> usize {
        let padded = (self.buffer.len() - self.start).next_multiple_of(8);
        self.buffer.resize(self.start + padded, 0);
        padded
    }

    fn append(&mut self, next: &Outgoing) {
        let last = self.parts.last().map_or(0, |p| p.offset);
        let padded = self.pad();
        let next_command = u32::try_from(padded - last).unwrap_or(0).to_le_bytes();
        let at = self.start + last + 20;
        if let Some(place) = self.buffer.get_mut(at..at + 4) {
            place.copy_from_slice(&next_command);
        }
        self.buffer.extend_from_slice(next.buffer.get(next.start..).unwrap_or_default());
        self.parts.extend(
            next.parts.iter().map(|p| OutgoingPart { offset: padded + p.offset, key: p.key.clone() }),
        );
    }

    /// Signs what is to be signed now, and gives the message as it will be on
    /// the wire: the pre-authentication hash covers signatures too.
    pub(crate) fn signed_message(&mut self) -> &[u8] {
        sign_batch(&mut self.jobs());
        for part in &mut self.parts {
            part.key = None;
        }
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn jobs(&mut self) -> Vec<SignJob<'_>> {
        let ends: Vec<usize> = self
            .parts
            .iter()
            .skip(1)
            .map(|p| p.offset)
            .chain([self.buffer.len().saturating_sub(self.start)])
            .collect();
        let mut rest = self.buffer.get_mut(self.start..).unwrap_or_default();
        let mut jobs = Vec::new();
        for (part, end) in self.parts.iter().zip(ends) {
            let length = end.saturating_sub(part.offset).min(rest.len());
            let (message, after) = rest.split_at_mut(length);
            rest = after;
            if let Some(key) = &part.key {
                jobs.push(SignJob { key: &key.0, sender: Sender::Server, message });
            }
        }
        jobs
    }

    fn finish(mut self) -> Result<Sealed, &'static str> {
        let mut message = self.start;
        if let Some(secrets) = &self.encrypt {
            let transform = secrets.transform.as_ref().ok_or("no cipher")?;
            message = message.checked_sub(TRANSFORM_HEADER).ok_or("no room for a transform")?;
            let nonce = transform.nonces.next().map_err(|_| "nonces are exhausted")?;
            let place = self.buffer.get_mut(message..).ok_or("no room for a transform")?;
            transform
                .seal
                .seal_in_place(place, secrets.session, nonce)
                .map_err(|_| "encryption failed")?;
        }
        Sealed::frame(self.buffer, message).ok_or("frame is too long")
    }
}

/// Signs, as one batch, and encrypts frames; they leave in this order.
pub(crate) fn seal(mut frames: Vec<Outgoing>) -> Vec<Result<Sealed, &'static str>> {
    let mut jobs: Vec<SignJob<'_>> = frames.iter_mut().flat_map(Outgoing::jobs).collect();
    sign_batch(&mut jobs);
    drop(jobs);
    frames.into_iter().map(Outgoing::finish).collect()
}
