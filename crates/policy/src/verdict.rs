//! The verdict for a peer, at the protocol's three moments.

use crate::exception::Exception;
use crate::facts::{
    CommandClass, Facts, Family, Identity, Moment, SessionFacts, ShareMoment, Side,
};
use crate::reason::Reason;
use crate::{smb1, smb2};

/// What protects the traffic that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Protection {
    /// Negotiate: announce that we can sign (SMB1 server SecurityMode 0x04, client Flags2
    /// 0x0004; SMB2 SecurityMode 0x0001). Elsewhere false.
    pub announce_enabled: bool,
    /// Negotiate: announce that we insist (SMB1 0x08 or 0x0010; SMB2 0x0002). Elsewhere false.
    pub announce_required: bool,
    /// Session: signing is active from here on, and a server signs the final response
    /// (SMB1: with number 1). Message, server: sign the reply. A reply to an encrypted
    /// message is encrypted instead.
    pub sign: bool,
    /// Session: every later message must be signed or encrypted; pin it.
    pub required: bool,
    /// Why.
    pub reason: Reason,
}

/// The status of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefuseStatus {
    /// STATUS_ACCESS_DENIED.
    AccessDenied,
    /// STATUS_INVALID_PARAMETER.
    InvalidParameter,
    /// STATUS_USER_SESSION_DELETED.
    UserSessionDeleted,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Go on, protected so.
    Accept(Protection),
    /// Answer with a failure and keep the connection.
    Refuse {
        /// The failure.
        status: RefuseStatus,
        /// Sign the answer (there is a key).
        sign: bool,
        /// Why.
        reason: Reason,
    },
    /// Do nothing with the message and do not answer it.
    Ignore {
        /// Why.
        reason: Reason,
    },
    /// Close the connection without an answer.
    Disconnect {
        /// Why.
        reason: Reason,
    },
}

impl Verdict {
    /// Why.
    pub fn reason(&self) -> Reason {
        match self {
            Verdict::Accept(protection) => protection.reason,
            Verdict::Refuse { reason, .. }
            | Verdict::Ignore { reason }
            | Verdict::Disconnect { reason } => *reason,
        }
    }

    pub(crate) fn announce(enabled: bool, required: bool, sign: bool, reason: Reason) -> Verdict {
        Verdict::Accept(Protection {
            announce_enabled: enabled,
            announce_required: required,
            sign,
            required,
            reason,
        })
    }

    pub(crate) fn accept(sign: bool, required: bool, reason: Reason) -> Verdict {
        Verdict::Accept(Protection {
            announce_enabled: false,
            announce_required: false,
            sign,
            required,
            reason,
        })
    }

    pub(crate) fn denied(sign: bool, reason: Reason) -> Verdict {
        Verdict::Refuse {
            status: RefuseStatus::AccessDenied,
            sign,
            reason,
        }
    }
}

/// The verdict. Pure; only the gate calls it.
pub fn verdict(facts: &Facts<'_>) -> Verdict {
    // Nothing is excused where nothing is required, for a client, or against the policy.
    let exception = facts.exception.filter(|_| {
        facts.side == Side::Server
            && facts.policy.server_requires()
            && facts.policy.exceptions_allowed()
    });
    let facts = &Facts {
        exception,
        ..*facts
    };
    if let Moment::Share(share) = &facts.moment {
        return share_verdict(share, exception);
    }
    match facts.family {
        Family::Smb1 => smb1::verdict(facts),
        Family::Smb2 | Family::Smb311 => smb2::verdict(facts),
    }
}

/// An unsigned session that an exception lets in has only the shares it names.
fn share_verdict(share: &ShareMoment<'_>, exception: Option<&Exception>) -> Verdict {
    match exception {
        _ if share.protected => Verdict::accept(true, true, Reason::PolicyRequires),
        None => Verdict::accept(false, false, Reason::NotRequired),
        Some(exception) if share.ipc && !exception.no_ipc => {
            Verdict::accept(false, false, Reason::Exception)
        }
        Some(exception) if !share.ipc && exception.names_share(share.name) => {
            Verdict::accept(false, false, Reason::Exception)
        }
        Some(_) => Verdict::denied(false, Reason::ExceptionShare),
    }
}

/// What a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyKind {
    /// The last, or only, response to a request, also an error.
    Final,
    /// The last response of a SESSION_SETUP that succeeded.
    SessionSetupFinal,
    /// A response of SESSION_SETUP that asks for more, or of NEGOTIATE.
    Handshake,
    /// STATUS_PENDING.
    Interim,
    /// An oplock or lease break notification.
    Break,
}

/// Whether a server signs what it sends, [MS-SMB2] 3.3.4.1.1 and [MS-CIFS] 3.3.4.1.
/// In SMB1 the key of the connection signs everything once it is active, save breaks.
/// `request_signed` is whether the request came with a right signature; an encrypted
/// request is answered encrypted and not signed.
pub fn reply_is_signed(kind: ReplyKind, request_signed: bool, session: &SessionFacts) -> bool {
    if !session.key {
        return false;
    }
    match (session.family, kind) {
        (_, ReplyKind::Interim | ReplyKind::Break) => false,
        (Family::Smb1, _) => true,
        (_, ReplyKind::SessionSetupFinal) => true,
        (_, ReplyKind::Final | ReplyKind::Handshake) => request_signed || session.required,
    }
}

/// Whether a client signs a request: everything where signing is required (or
/// active, SMB1); else what proves the negotiation, which 3.1.1 demands and
/// earlier dialects allow.
pub fn request_is_signed(class: CommandClass, session: &SessionFacts) -> bool {
    if !session.key {
        return false;
    }
    match class {
        CommandClass::Negotiate => false,
        // One key for the connection, whoever asks.
        _ if session.family == Family::Smb1 => true,
        CommandClass::SessionBind => true,
        CommandClass::TreeConnect | CommandClass::ValidateNegotiate => {
            session.identity == Identity::User || session.required
        }
        _ => session.required,
    }
}
