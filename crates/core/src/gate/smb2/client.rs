//! The client's side of the gate: requests that leave, replies that arrive.
//!
//! [MS-SMB2] 3.2.4.1.1, 3.2.4.1.8, 3.2.5.1. What a server sends is looked at by
//! nobody before [`admit_reply`] has let it in.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use countersign_auth::SessionKey;
use countersign_crypto::smb2::{
    NonceCounter, Sender, SessionKeys, SignJob, SigningKey, TRANSFORM_HEADER, TransformKey,
    VerifyJob, sign_batch, verify_batch,
};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{
    CommandClass, Effective, Facts, Identity, MessageFacts, MessageState, Moment, PeerFlags,
    Protection, Reason, SessionFacts, SessionMoment, Side, SignedSoFar, Verdict, request_is_signed,
    verdict,
};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{
    Command, Compound, Header, HeaderFlags, Part, Protocol, TransformHeader, UNSOLICITED,
};

use super::super::Sealed;
use super::frame::Frame;
use super::{ChannelKey, Check, Preauth, SessionSecrets, Transform, family, verified};

/// Room in front of a request's first header: transport header and transform.
pub(crate) const REQUEST_HEADROOM: usize = crate::smb2::handler::FRAME_HEADROOM;

/// What NEGOTIATE and SESSION_SETUP announce: whether we require signing.
pub(crate) fn announce_client(policy: &Effective, revision: u16) -> bool {
    negotiated(policy, revision, PeerFlags::default()).is_none_or(|p| p.announce_required)
}

/// Whether signing will be required with a server that announced this. `None`:
/// it must not be gone on with.
pub(crate) fn negotiated(policy: &Effective, revision: u16, peer: PeerFlags) -> Option<Protection> {
    let decision = verdict(&Facts {
        side: Side::Client,
        exception: None,
        family: family(revision),
        policy,
        moment: Moment::Negotiate(peer),
    });
    match decision {
        Verdict::Accept(protection) => Some(protection),
        _ => None,
    }
}

/// A session the client is logged on to.
pub(crate) struct ClientSession {
    /// SessionId.
    pub(crate) id: u64,
    /// Pinned facts.
    pub(crate) facts: SessionFacts,
    /// Why it is signed or not.
    pub(crate) reason: Reason,
    /// Everything is encrypted.
    pub(crate) encrypt: bool,
    key: Option<ChannelKey>,
    secrets: Option<Arc<SessionSecrets>>,
}

impl ClientSession {
    /// The cipher there are keys for.
    pub(crate) fn cipher(&self) -> Option<Cipher> {
        self.secrets.as_ref().and_then(|s| s.cipher())
    }

    /// The algorithm that signs.
    pub(crate) fn algorithm(&self) -> Option<SigningAlgorithm> {
        self.key.as_ref().map(ChannelKey::algorithm)
    }
}

/// A logon whose final response arrived.
pub(crate) struct ClientLogon<'a> {
    /// Policy in force.
    pub(crate) policy: &'a Effective,
    /// Connection.Dialect.
    pub(crate) dialect: u16,
    /// Connection.SigningAlgorithmId.
    pub(crate) algorithm: SigningAlgorithm,
    /// Connection.CipherId.
    pub(crate) cipher: Option<Cipher>,
    /// Hash of the exchange (3.1.1).
    pub(crate) preauth: &'a Preauth,
    /// Whom the logon came out as.
    pub(crate) identity: Identity,
    /// The key of the authentication.
    pub(crate) session_key: Option<&'a SessionKey>,
    /// The server insists on signing.
    pub(crate) peer_requires: bool,
    /// Everything is to be encrypted.
    pub(crate) encrypt: bool,
}

/// [MS-SMB2] 3.2.5.3.1: judges the final response of a logon, and makes the keys.
/// A session that is there already keeps its keys.
pub(crate) fn finish_logon(
    logon: &ClientLogon<'_>,
    arrived: &ArrivedReply,
    before: Option<ClientSession>,
) -> Result<ClientSession, Reason> {
    let id = arrived.header.session_id;
    let (key, secrets) = match &before {
        Some(session) => (session.key.clone(), session.secrets.clone()),
        None => {
            let keys = logon
                .session_key
                .filter(|_| logon.identity == Identity::User)
                .and_then(|key| {
                    SessionKeys::derive(
                        logon.dialect,
                        key.as_bytes(),
                        Some(logon.preauth.value()),
                        logon.cipher,
                    )
                    .ok()
                });
            match keys {
                None => (None, None),
                Some(keys) => {
                    let secrets = Arc::new(secrets(logon, id, &keys));
                    (Some(secrets.signing.clone()), Some(secrets))
                }
            }
        }
    };
    let response = match (&arrived.check, &key) {
        (Check::Encrypted(_), _) => MessageState::Encrypted,
        _ if !arrived.header.is_signed() => MessageState::Unsigned,
        (_, None) => MessageState::SignedNoKey,
        (_, Some(key)) => verified(key.0.verify(Sender::Server, &arrived.message).is_ok()),
    };
    let decision = verdict(&Facts {
        side: Side::Client,
        exception: None,
        family: family(logon.dialect),
        policy: logon.policy,
        moment: Moment::Session(SessionMoment {
            identity: logon.identity,
            key: key.is_some(),
            peer: PeerFlags {
                enabled: true,
                required: logon.peer_requires,
            },
            established: before.as_ref().map(|s| s.facts.required),
            response,
        }),
    });
    let protection = match decision {
        Verdict::Accept(protection) => protection,
        Verdict::Refuse { reason, .. }
        | Verdict::Ignore { reason }
        | Verdict::Disconnect { reason } => return Err(reason),
    };
    let encrypt = logon.encrypt && secrets.as_ref().is_some_and(|s| s.transform.is_some());
    let identity = before.as_ref().map_or(logon.identity, |s| s.facts.identity);
    Ok(ClientSession {
        id,
        facts: SessionFacts {
            family: family(logon.dialect),
            identity,
            key: key.is_some(),
            required: protection.required && key.is_some(),
            encryption_required: encrypt,
            signed_so_far: SignedSoFar::Nothing,
        },
        reason: protection.reason,
        encrypt,
        key,
        secrets,
    })
}

fn secrets(logon: &ClientLogon<'_>, session: u64, keys: &SessionKeys) -> SessionSecrets {
    let transform = logon.cipher.and_then(|cipher| {
        Some(Transform {
            open: TransformKey::new(cipher, keys.server_to_client.as_ref()?).ok()?,
            seal: TransformKey::new(cipher, keys.client_to_server.as_ref()?).ok()?,
            nonces: NonceCounter::new(),
        })
    });
    SessionSecrets {
        session,
        signing: ChannelKey(Arc::new(SigningKey::new(
            logon.algorithm,
            &keys.signing_key,
        ))),
        application: zeroize::Zeroizing::new(keys.application),
        transform,
    }
}

/// How a request left: what its reply is measured by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// Class of the command.
    pub(crate) class: CommandClass,
    signed: bool,
    encrypted: bool,
    signature: [u8; 16],
}

impl Sent {
    /// A request that was not protected.
    pub(crate) fn in_clear(class: CommandClass) -> Self {
        Self {
            class,
            signed: false,
            encrypted: false,
            signature: [0; 16],
        }
    }
}

/// A request, or several in a chain, on the way out.
pub(crate) struct Request(Frame<Asked>);

/// What is kept of a request.
#[derive(Clone, Copy)]
struct Asked {
    message_id: u64,
    class: CommandClass,
    signed: bool,
}

impl Request {
    /// A request whose body begins at `body` in `buffer`, with room for the
    /// headers in front. It is protected as the session and the class ask, and
    /// encrypted with `encrypt` (a share's) where there are keys.
    pub(crate) fn new(
        session: Option<&ClientSession>,
        encrypt: bool,
        class: CommandClass,
        header: Header,
        buffer: Vec<u8>,
        body: usize,
    ) -> Self {
        let secrets = session
            .filter(|s| s.encrypt || encrypt)
            .and_then(|s| s.secrets.clone())
            .filter(|s| s.transform.is_some());
        let key = session
            .filter(|s| secrets.is_none() && request_is_signed(class, &s.facts))
            .and_then(|s| s.key.clone());
        let asked = Asked {
            message_id: header.message_id,
            class,
            signed: key.is_some(),
        };
        let sender = Sender::Client;
        Self(Frame::new(
            sender, key, secrets, header, buffer, body, asked,
        ))
    }

    /// [MS-SMB2] 3.2.4.1.4: another request behind this one, at a multiple of 8.
    pub(crate) fn chain(&mut self, next: &Request) {
        self.0.append(&next.0);
    }

    /// The message as it is on the wire, signed if it has to be: for the
    /// pre-authentication hash.
    pub(crate) fn signed_message(&mut self) -> &[u8] {
        self.0.signed_message()
    }

    /// How each part leaves, by its MessageId. For after signing.
    fn sent(&self) -> impl Iterator<Item = (u64, Sent)> + '_ {
        let encrypted = self.0.is_encrypted();
        self.0.signatures().map(move |(asked, signature)| {
            (
                asked.message_id,
                Sent {
                    class: asked.class,
                    signed: asked.signed,
                    encrypted,
                    signature,
                },
            )
        })
    }
}

/// Signs, as one batch, and encrypts requests; they leave in this order. Tells
/// how each left.
pub(crate) fn seal_requests(
    mut requests: Vec<Request>,
    mut sent: impl FnMut(u64, Sent),
) -> Vec<Result<Sealed, &'static str>> {
    let mut jobs: Vec<SignJob<'_>> = requests.iter_mut().flat_map(|r| r.0.jobs()).collect();
    sign_batch(&mut jobs);
    drop(jobs);
    requests
        .into_iter()
        .map(|request| {
            for (id, how) in request.sent() {
                sent(id, how);
            }
            request.0.finish()
        })
        .collect()
}

/// A message of a server: split off its frame, opened and verified where that
/// was possible. Not admitted yet.
pub(crate) struct ArrivedReply {
    /// Its header.
    pub(crate) header: Header,
    /// From its header to its own end.
    pub(crate) message: Bytes,
    check: Check,
}

/// Frames of a server, as far as they are SMB2.
pub(crate) enum InboundReplies {
    /// Messages in order.
    Messages(Vec<ArrivedReply>),
    /// The server sent nonsense, or what does not open.
    Broken(ReplyError),
}

/// Why frames are not looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReplyError {
    /// Against the rules of the protocol.
    Violation(&'static str),
    /// A transform that does not authenticate.
    BadTransform,
}

/// Splits all frames, opens transforms, and verifies what is signed as one batch.
pub(crate) fn receive_replies(
    frames: Vec<BytesMut>,
    session: Option<&ClientSession>,
    chain: usize,
) -> Vec<InboundReplies> {
    let mut inbound: Vec<InboundReplies> = frames
        .into_iter()
        .map(|frame| match Protocol::of(&frame) {
            Some(Protocol::Smb2) => split(&frame.freeze(), chain, None),
            Some(Protocol::Encrypted) => open_reply(frame, session, chain),
            Some(Protocol::Compressed) => violation("compression was not negotiated"),
            Some(Protocol::Smb1) => violation("an SMB1 message on an SMB2 connection"),
            None => violation("not an SMB2 message"),
        })
        .collect();
    let Some((session, key)) = session.and_then(|s| Some((s, s.key.clone()?))) else {
        return inbound;
    };
    let mut signed: Vec<&mut ArrivedReply> = Vec::new();
    for frame in &mut inbound {
        if let InboundReplies::Messages(parts) = frame {
            signed.extend(parts.iter_mut().filter(|part| {
                matches!(part.check, Check::NoKey)
                    && part.header.session_id == session.id
                    && part.header.message_id != UNSOLICITED
            }));
        }
    }
    let jobs: Vec<VerifyJob<'_>> = signed
        .iter()
        .map(|part| VerifyJob {
            key: &key.0,
            sender: Sender::Server,
            message: &part.message,
        })
        .collect();
    let results = verify_batch(&jobs);
    drop(jobs);
    for (part, result) in signed.into_iter().zip(results) {
        part.check = Check::Checked(key.clone(), result.is_ok());
    }
    inbound
}

fn violation(what: &'static str) -> InboundReplies {
    InboundReplies::Broken(ReplyError::Violation(what))
}

fn open_reply(
    mut frame: BytesMut,
    session: Option<&ClientSession>,
    chain: usize,
) -> InboundReplies {
    let Ok(header) = TransformHeader::decode(&frame) else {
        return violation("a malformed transform header");
    };
    if header.flags != 1 {
        return violation("unknown flags in a transform header");
    }
    let Some(session) = session.filter(|s| s.id == header.session_id) else {
        return violation("encrypted for an unknown session");
    };
    let Some((secrets, transform)) = session
        .secrets
        .as_ref()
        .and_then(|s| Some((s, s.transform.as_ref()?)))
    else {
        return violation("encrypted for a session without a cipher");
    };
    if transform.open.open_in_place(&mut frame).is_err() {
        return InboundReplies::Broken(ReplyError::BadTransform);
    }
    let plain = frame.freeze().slice(TRANSFORM_HEADER..);
    if Protocol::of(&plain) != Some(Protocol::Smb2) {
        return violation("not an SMB2 message in a transform");
    }
    split(&plain, chain, Some(secrets))
}

fn split(frame: &Bytes, chain: usize, encrypted: Option<&Arc<SessionSecrets>>) -> InboundReplies {
    let mut parts = Vec::with_capacity(1);
    for part in Compound::new(frame, chain) {
        let Ok(Part { start, end, header }) = part else {
            return violation("a malformed header or chain");
        };
        if !header.is_response() {
            return violation("a request was sent to a client");
        }
        let check = match encrypted {
            // [MS-SMB2] 3.2.5.1.1: the session inside is the one outside.
            Some(secrets)
                if header.session_id != secrets.session && header.message_id != UNSOLICITED =>
            {
                return violation("an encrypted message of another session");
            }
            Some(secrets) => Check::Encrypted(Arc::clone(secrets)),
            None if header.is_signed() => Check::NoKey,
            None => Check::Unsigned,
        };
        parts.push(ArrivedReply {
            header,
            message: frame.slice(start..end),
            check,
        });
    }
    InboundReplies::Messages(parts)
}

/// The right to believe a reply. Only the gate makes one.
pub(crate) struct AdmittedReply {
    /// Its header.
    pub(crate) header: Header,
    /// From its header to its own end.
    pub(crate) message: Bytes,
}

/// Policy's verdict on a message of a server. `sent`: the request it answers;
/// `None`: a break notification.
pub(crate) fn admit_reply(
    policy: &Effective,
    dialect: u16,
    session: Option<&ClientSession>,
    arrived: ArrivedReply,
    sent: Option<&Sent>,
) -> Result<AdmittedReply, Reason> {
    let state = match &arrived.check {
        Check::Encrypted(_) => MessageState::Encrypted,
        Check::Unsigned => MessageState::Unsigned,
        Check::NoKey => MessageState::SignedNoKey,
        Check::Checked(_, right) => verified(*right),
    };
    let header = arrived.header;
    let interim =
        header.status == NtStatus::PENDING && header.flags.contains(HeaderFlags::ASYNC_COMMAND);
    let class = match sent {
        None => CommandClass::Break,
        Some(_) if interim => CommandClass::Interim,
        Some(sent) => sent.class,
    };
    let mut facts = session.map(|s| s.facts);
    // A share's encryption counts as much as a session's.
    let encrypted = sent.is_some_and(|s| s.encrypted);
    if let Some(facts) = &mut facts {
        facts.encryption_required |= encrypted;
    }
    let keyless = state != MessageState::Verified
        && class != CommandClass::ValidateNegotiate
        && sent.is_some_and(|sent| {
            is_keyless(header.command, header.status)
                && (header.signature == [0; 16] || header.signature == sent.signature)
        });
    let decision = verdict(&Facts {
        side: Side::Client,
        exception: None,
        family: family(dialect),
        policy,
        moment: Moment::Message(MessageFacts {
            class,
            state,
            session: facts.as_ref(),
            request_signed: sent.is_some_and(|s| s.signed || s.encrypted),
            keyless_failure: keyless,
        }),
    });
    match decision {
        // The policy takes a signature for as good as encryption; what was asked
        // in secret must not be answered in the open.
        Verdict::Accept(_)
            if encrypted && !interim && !keyless && state != MessageState::Encrypted =>
        {
            Err(Reason::UnencryptedOnRequired)
        }
        Verdict::Accept(_) => Ok(AdmittedReply {
            header,
            message: arrived.message,
        }),
        Verdict::Refuse { reason, .. }
        | Verdict::Ignore { reason }
        | Verdict::Disconnect { reason } => Err(reason),
    }
}

/// Failures that servers send without a signature, having no key for them.
fn is_keyless(command: Command, status: NtStatus) -> bool {
    match status {
        NtStatus::USER_SESSION_DELETED
        | NtStatus::NETWORK_NAME_DELETED
        | NtStatus::FILE_CLOSED
        | NtStatus::INVALID_PARAMETER => true,
        NtStatus::ACCESS_DENIED | NtStatus::NOT_SUPPORTED | NtStatus::REQUEST_OUT_OF_SEQUENCE => {
            command == Command::SESSION_SETUP
        }
        _ => false,
    }
}
