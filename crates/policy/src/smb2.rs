//! The rules of SMB2 and 3: [MS-SMB2] 3.2.5.1, 3.2.5.3, 3.3.5.2.4, 3.3.5.5, 3.3.5.7.
//! Every implementation can sign; only the two "always" settings count.

use crate::exception::Exception;
use crate::facts::{
    CommandClass, Facts, Family, Identity, MessageFacts, MessageState, Moment, PeerFlags,
    SessionMoment, Side,
};
use crate::reason::Reason;
use crate::verdict::{RefuseStatus, Verdict};

pub(crate) fn verdict(facts: &Facts<'_>) -> Verdict {
    let own = match facts.side {
        Side::Server => facts.policy.server_requires() && facts.exception.is_none(),
        Side::Client => facts.policy.client_requires(),
    };
    match (facts.side, &facts.moment) {
        (Side::Server, Moment::Negotiate(_)) => {
            // The client's NEGOTIATE decides nothing: its SESSION_SETUP does. An exception
            // neither: every client can sign, and who does when told needs none.
            let own = facts.policy.server_requires();
            Verdict::announce(true, own, false, needed(own, PeerFlags::default()).1)
        }
        (Side::Client, Moment::Negotiate(peer)) => {
            let (required, reason) = needed(own, *peer);
            match Verdict::announce(true, own, required, reason) {
                Verdict::Accept(mut protection) => {
                    protection.required = required;
                    Verdict::Accept(protection)
                }
                other => other,
            }
        }
        (Side::Server, Moment::Session(logon)) => match facts.exception {
            Some(exception) => server_session_excepted(facts.family, logon, exception),
            None => server_session(facts.family, own, logon),
        },
        (Side::Client, Moment::Session(logon)) => client_session(facts.family, own, logon),
        (Side::Server, Moment::Message(message)) => {
            server_message(message, facts.exception.is_some())
        }
        (Side::Client, Moment::Message(message)) => client_message(message),
        // Judged before, whatever the dialect.
        (_, Moment::Share(_)) => Verdict::accept(false, false, Reason::NotRequired),
    }
}

fn needed(own: bool, peer: PeerFlags) -> (bool, Reason) {
    match (own, peer.required) {
        (true, _) => (true, Reason::PolicyRequires),
        (false, true) => (true, Reason::PeerRequires),
        (false, false) => (false, Reason::NotRequired),
    }
}

fn server_session(family: Family, own: bool, logon: &SessionMoment) -> Verdict {
    let (required, reason) = needed(own, logon.peer);
    // A re-authentication keeps the session's key and what was agreed with it.
    if let Some(was_required) = logon.established {
        let reason = if was_required && !required {
            Reason::PeerRequires
        } else {
            reason
        };
        return Verdict::accept(true, required || was_required, reason);
    }
    if logon.identity != Identity::User {
        return if own {
            Verdict::denied(false, Reason::GuestUnderRequired)
        } else {
            Verdict::accept(false, false, Reason::NoKeyForIdentity)
        };
    }
    if !logon.key {
        return if required || family == Family::Smb311 {
            Verdict::denied(false, Reason::NoKeyUnderRequired)
        } else {
            Verdict::accept(false, false, Reason::NotRequired)
        };
    }
    Verdict::accept(true, required, reason)
}

/// Our requirement is lifted for whom the exception is for; the peer's is not, and 3.1.1
/// still needs a key.
fn server_session_excepted(
    family: Family,
    logon: &SessionMoment,
    exception: &Exception,
) -> Verdict {
    if !exception.is_for(logon.identity) {
        return server_session(family, true, logon);
    }
    match server_session(family, false, logon) {
        Verdict::Accept(mut protection) if !protection.required => {
            protection.reason = Reason::Exception;
            Verdict::Accept(protection)
        }
        other => other,
    }
}

fn client_session(family: Family, own: bool, logon: &SessionMoment) -> Verdict {
    let (mut required, mut reason) = needed(own, logon.peer);
    if let Some(was_required) = logon.established {
        if was_required && !required {
            (required, reason) = (true, Reason::PeerRequires);
        }
    } else if logon.identity != Identity::User {
        return if required {
            Verdict::Disconnect {
                reason: Reason::GuestUnderRequired,
            }
        } else {
            Verdict::accept(false, false, Reason::NoKeyForIdentity)
        };
    }
    if !logon.key && logon.established.is_none() && (required || family == Family::Smb311) {
        return Verdict::Disconnect {
            reason: Reason::NoKeyUnderRequired,
        };
    }
    match logon.response {
        MessageState::Verified => Verdict::accept(true, required, reason),
        MessageState::Encrypted => Verdict::accept(true, required, Reason::Encrypted),
        MessageState::BadSignature | MessageState::SignedNoKey => Verdict::Disconnect {
            reason: Reason::BadSignature,
        },
        MessageState::Unsigned if required || family == Family::Smb311 => Verdict::Disconnect {
            reason: Reason::FinalResponseUnsigned,
        },
        MessageState::Unsigned => Verdict::accept(logon.key, false, reason),
    }
}

fn server_message(message: &MessageFacts<'_>, excepted: bool) -> Verdict {
    use CommandClass::{Cancel, Negotiate, SessionBind, SessionSetup, TreeConnect};
    let class = message.class;
    if class == Negotiate {
        return match message.state {
            MessageState::Unsigned => Verdict::accept(false, false, Reason::UnsignedByDesign),
            _ => Verdict::Refuse {
                status: RefuseStatus::InvalidParameter,
                sign: false,
                reason: Reason::NegotiateSigned,
            },
        };
    }
    // CANCEL has no response, so a refusal is silence.
    let denied = |sign: bool, reason: Reason| match class {
        Cancel => Verdict::Ignore { reason },
        _ => Verdict::denied(sign, reason),
    };
    let Some(session) = message.session else {
        return match message.state {
            MessageState::Unsigned => Verdict::accept(false, false, Reason::UnsignedByDesign),
            _ if class == Cancel => Verdict::Ignore {
                reason: Reason::UnknownSession,
            },
            _ => Verdict::Refuse {
                status: RefuseStatus::UserSessionDeleted,
                sign: false,
                reason: Reason::UnknownSession,
            },
        };
    };
    match message.state {
        MessageState::Encrypted => Verdict::accept(false, session.required, Reason::Encrypted),
        MessageState::BadSignature => denied(session.key, Reason::BadSignature),
        MessageState::SignedNoKey => denied(false, Reason::SignedWithoutKey),
        MessageState::Verified | MessageState::Unsigned
            if session.encryption_required && !matches!(class, SessionSetup | SessionBind) =>
        {
            denied(session.key, Reason::UnencryptedOnRequired)
        }
        MessageState::Verified => {
            let reason = if session.required {
                Reason::PolicyRequires
            } else {
                Reason::PeerSigns
            };
            Verdict::accept(true, session.required, reason)
        }
        MessageState::Unsigned if class == SessionBind => Verdict::Refuse {
            status: RefuseStatus::InvalidParameter,
            sign: false,
            reason: Reason::BindUnsigned,
        },
        MessageState::Unsigned if session.required => {
            denied(session.key, Reason::UnsignedOnRequired)
        }
        MessageState::Unsigned
            if class == TreeConnect
                && session.family == Family::Smb311
                && session.identity == Identity::User =>
        {
            Verdict::Disconnect {
                reason: Reason::TreeConnectUnsigned,
            }
        }
        MessageState::Unsigned => {
            let reason = if !session.key && class == SessionSetup {
                Reason::UnsignedByDesign
            } else if excepted {
                Reason::Exception
            } else if session.identity == Identity::User {
                Reason::NotRequired
            } else {
                Reason::NoKeyForIdentity
            };
            Verdict::accept(false, false, reason)
        }
    }
}

fn client_message(message: &MessageFacts<'_>) -> Verdict {
    use CommandClass::{Break, Interim, Negotiate, ValidateNegotiate};
    let required = message.session.is_some_and(|session| session.required);
    match message.state {
        MessageState::Encrypted => Verdict::accept(false, required, Reason::Encrypted),
        MessageState::Verified => {
            let reason = if required {
                Reason::PolicyRequires
            } else {
                Reason::PeerSigns
            };
            Verdict::accept(false, required, reason)
        }
        // Never verified and of no effect beyond waiting or giving up caching.
        _ if matches!(message.class, Interim | Break) => {
            Verdict::accept(false, required, Reason::UnsignedByDesign)
        }
        _ if message.keyless_failure => Verdict::accept(false, required, Reason::KeylessFailure),
        MessageState::BadSignature | MessageState::SignedNoKey => Verdict::Disconnect {
            reason: Reason::BadSignature,
        },
        MessageState::Unsigned => {
            let Some(session) = message.session else {
                return Verdict::accept(false, false, Reason::UnsignedByDesign);
            };
            if session.encryption_required {
                Verdict::Disconnect {
                    reason: Reason::UnencryptedOnRequired,
                }
            } else if message.class == ValidateNegotiate {
                Verdict::Disconnect {
                    reason: Reason::ValidateUnsigned,
                }
            } else if message.class == Negotiate {
                Verdict::accept(false, false, Reason::UnsignedByDesign)
            } else if session.required || message.request_signed {
                Verdict::Disconnect {
                    reason: Reason::ResponseUnsigned,
                }
            } else {
                Verdict::accept(false, false, Reason::NotRequired)
            }
        }
    }
}
