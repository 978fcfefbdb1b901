//! What a verdict is based on.

use crate::exception::Exception;
use crate::layers::Effective;

/// Which end we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// We accepted the connection.
    Server,
    /// We opened it.
    Client,
}

/// Dialects that differ in the rules of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// SMB1, NT LM 0.12.
    Smb1,
    /// SMB 2.0.2, 2.1, 3.0, 3.0.2.
    Smb2,
    /// SMB 3.1.1.
    Smb311,
}

/// Whom a logon came out as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A real account.
    User,
    /// The guest account (the password was not checked, or wrong).
    Guest,
    /// A null session.
    Anonymous,
}

/// What the peer says about signing.
///
/// A server fills it, SMB1: from the Flags2 of each SESSION_SETUP request until
/// signing is active; SMB2: `required` from the SecurityMode of the SESSION_SETUP
/// request ([MS-SMB2] 3.3.5.5.3) or that of the NEGOTIATE request
/// (Connection.ShouldSign). A client fills it from the NEGOTIATE response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PeerFlags {
    /// "I can sign": SMB1 Flags2 0x0004 or SecurityMode 0x04. Means nothing in SMB2.
    pub enabled: bool,
    /// "I insist": SMB1 Flags2 0x0010 or SecurityMode 0x08; SMB2 SecurityMode 0x02.
    pub required: bool,
}

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Not signed (SMB2: SIGNED clear; SMB1: no key is active, whatever the field holds).
    Unsigned,
    /// Signed, and the signature is right. In SMB1 every message is verified once a key is active.
    Verified,
    /// The signature is wrong (SMB1 with an active key: also missing, or the wrong number).
    BadSignature,
    /// It says it is signed, but no key exists to verify it with (guest, anonymous,
    /// unknown or unfinished session).
    SignedNoKey,
    /// It came inside a TRANSFORM that opened.
    Encrypted,
}

/// Commands that differ in the rules of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandClass {
    /// NEGOTIATE.
    Negotiate,
    /// SESSION_SETUP (also re-authentication).
    SessionSetup,
    /// SMB2 SESSION_SETUP with the BINDING flag.
    SessionBind,
    /// TREE_CONNECT.
    TreeConnect,
    /// SMB2 CANCEL: has no response.
    Cancel,
    /// FSCTL_VALIDATE_NEGOTIATE_INFO.
    ValidateNegotiate,
    /// Client: an interim STATUS_PENDING response.
    Interim,
    /// Client: an oplock or lease break notification.
    Break,
    /// Everything else.
    Other,
}

/// What ordinary requests of a session have been like (all but SESSION_SETUP,
/// TREE_CONNECT and FSCTL_VALIDATE_NEGOTIATE_INFO, which are signed in any case).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SignedSoFar {
    /// None was seen.
    #[default]
    Nothing,
    /// All were signed or encrypted.
    Always,
    /// At least one was neither.
    NotAlways,
}

/// What was agreed with the peer; pinned in the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionFacts {
    /// The dialect's family.
    pub family: Family,
    /// Who is logged on.
    pub identity: Identity,
    /// A key exists. In SMB1: signing is active on the connection.
    pub key: bool,
    /// Every message must be signed or encrypted (SMB2 Session.SigningRequired).
    /// In SMB1 the same as `key`.
    pub required: bool,
    /// Every message must be encrypted (SMB2 Session.EncryptData, enforced).
    pub encryption_required: bool,
    /// What was seen so far.
    pub signed_so_far: SignedSoFar,
}

/// A logon that succeeded, before its final response goes out (server) or is
/// believed (client).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionMoment {
    /// Whom the logon came out as.
    pub identity: Identity,
    /// The authentication yielded a session key (SMB1 without extended security:
    /// a key and a challenge response).
    pub key: bool,
    /// What the peer says about signing.
    pub peer: PeerFlags,
    /// Signing is there already: SMB1, active on this connection; SMB2, this is a
    /// re-authentication of a session that has a key (`Some(SigningRequired)`).
    pub established: Option<bool>,
    /// Client: how the final response came. A server passes `Unsigned`.
    pub response: MessageState,
}

/// One message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageFacts<'a> {
    /// The command.
    pub class: CommandClass,
    /// How it came.
    pub state: MessageState,
    /// The session it belongs to; `None`: none, or an unknown one. In SMB1 the
    /// facts of the connection's signing once it is active, else of the session.
    pub session: Option<&'a SessionFacts>,
    /// Client: the request this answers was signed.
    pub request_signed: bool,
    /// Client: the response carries only a failure that peers send unsigned because
    /// they have no key left for it: USER_SESSION_DELETED always, NETWORK_NAME_DELETED,
    /// FILE_CLOSED, INVALID_PARAMETER, and for SESSION_SETUP also ACCESS_DENIED,
    /// NOT_SUPPORTED, REQUEST_OUT_OF_SEQUENCE.
    pub keyless_failure: bool,
}

impl<'a> MessageFacts<'a> {
    /// A request as a server receives it.
    pub fn request(
        class: CommandClass,
        state: MessageState,
        session: Option<&'a SessionFacts>,
    ) -> Self {
        Self {
            class,
            state,
            session,
            request_signed: false,
            keyless_failure: false,
        }
    }
}

/// A session asks for a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShareMoment<'a> {
    /// Its name.
    pub name: &'a str,
    /// It is IPC$.
    pub ipc: bool,
    /// Every message of the session is signed or encrypted.
    pub protected: bool,
}

/// The protocol's three moments, and a server's fourth: a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment<'a> {
    /// NEGOTIATE. Server: what to announce. Client: the server's answer.
    Negotiate(PeerFlags),
    /// A logon succeeded.
    Session(SessionMoment),
    /// A message came in.
    Message(MessageFacts<'a>),
    /// Server: a tree connect that would otherwise succeed.
    Share(ShareMoment<'a>),
}

/// Everything a verdict is based on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Which end we are.
    pub side: Side,
    /// The dialect's family. At a server's Negotiate: the one it answers with.
    pub family: Family,
    /// The settings in force.
    pub policy: &'a Effective,
    /// What happens.
    pub moment: Moment<'a>,
    /// Server: the exception that is for the peer (at NEGOTIATE: may be). It weakens
    /// the requirement to sign, nothing else, and only where the policy allows it.
    pub exception: Option<&'a Exception>,
}
