//! The gate of SMB2 and 3: transforms, signatures, admission, sealing.

pub(crate) mod client;
mod frame;
mod inbound;
mod logon;
mod outbound;

use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::smb2::{NonceCounter, Sender, SigningKey, TransformKey};
use countersign_crypto::{Cipher, SigningAlgorithm};
use countersign_policy::{
    CommandClass, Effective, Facts, Family, MessageFacts, MessageState, Moment, Protection, Reason,
    RefuseStatus, SessionFacts, Side, Verdict, verdict,
};
use countersign_wire::NtStatus;
use countersign_wire::smb2::{Command, HEADER_LEN, Header, dialect};

pub(crate) use inbound::{Inbound, open, receive};
pub(crate) use logon::{Established, Logon, LogonRefused, announce, bind, establish, reestablish};
pub(crate) use outbound::{Kind, Outgoing, seal};

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

/// Whether this is a SESSION_SETUP with SMB2_SESSION_FLAG_BINDING.
pub(crate) fn is_binding(header: &Header, message: &[u8]) -> bool {
    header.command == Command::SESSION_SETUP
        && message
            .get(HEADER_LEN + 2)
            .is_some_and(|flags| flags & 1 != 0)
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
            Seal {
                sign: None,
                encrypt: Some(Arc::clone(secrets)),
            },
        ),
        Check::Unsigned => (
            MessageState::Unsigned,
            Seal {
                sign: admission.key.clone(),
                encrypt: None,
            },
        ),
        Check::Checked(..) | Check::NoKey => {
            let state = match (&arrived.check, &admission.key) {
                (_, None) => MessageState::SignedNoKey,
                (Check::Checked(key, right), Some(now)) if key.is(now) => verified(*right),
                // The key came or changed after the batch was verified.
                (_, Some(now)) => verified(now.0.verify(Sender::Client, &arrived.message).is_ok()),
            };
            (
                state,
                Seal {
                    sign: admission.key.clone(),
                    encrypt: None,
                },
            )
        }
    };
    let class = class_of(&arrived.header, &arrived.message);
    let message = MessageFacts::request(class, state, admission.session.as_ref());
    let decision = verdict(&Facts {
        side: Side::Server,
        family: family(admission.dialect),
        policy: admission.policy,
        exception: None,
        moment: Moment::Message(message),
    });
    let proved = !admission.borrowed || state == MessageState::Verified;
    let sealed = |sign: bool| Seal {
        sign: seal.sign.clone().filter(|_| sign && proved),
        encrypt: seal.encrypt.clone(),
    };
    match decision {
        Verdict::Accept(Protection { sign, reason, .. }) => Ok(Admitted {
            seal: sealed(sign),
            class,
            state,
            reason,
        }),
        Verdict::Refuse {
            status,
            sign,
            reason,
        } => Err(Refused::Reply {
            status: refusal(status),
            reason,
            seal: RefusalSeal(sealed(sign)),
        }),
        Verdict::Ignore { .. } => Err(Refused::Ignore),
        Verdict::Disconnect { reason } => Err(Refused::Disconnect(reason)),
    }
}

fn verified(right: bool) -> MessageState {
    if right {
        MessageState::Verified
    } else {
        MessageState::BadSignature
    }
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
    if revision == dialect::SMB_3_1_1 {
        Family::Smb311
    } else {
        Family::Smb2
    }
}

/// How the final SESSION_SETUP response is signed. Only the gate makes one.
#[derive(Debug, Clone)]
pub struct FinalSeal(Option<ChannelKey>);
