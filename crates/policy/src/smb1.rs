//! The rules of SMB1: [MS-CIFS] 3.2.5, 3.3.5 and [MS-SMB] 3.2.4.2.4, 3.3.5.

use crate::exception::Exception;
use crate::facts::{
    CommandClass, Facts, Identity, MessageFacts, MessageState, Moment, PeerFlags, SessionMoment,
    Side,
};
use crate::posture::Posture;
use crate::reason::Reason;
use crate::verdict::Verdict;

pub(crate) fn verdict(facts: &Facts<'_>) -> Verdict {
    match (facts.side, &facts.moment) {
        (Side::Server, Moment::Negotiate(_)) => {
            server_negotiate(facts.policy.server_posture(), facts.exception.is_some())
        }
        (Side::Server, Moment::Session(logon)) => {
            server_session(facts.policy.server_posture(), logon, facts.exception)
        }
        (Side::Client, Moment::Negotiate(peer)) => {
            client_negotiate(facts.policy.client_posture(), *peer)
        }
        (Side::Client, Moment::Session(logon)) => {
            client_session(facts.policy.client_posture(), logon)
        }
        (side, Moment::Message(message)) => {
            message_verdict(side, message, facts.exception.is_some())
        }
        // Judged before, whatever the dialect.
        (_, Moment::Share(_)) => Verdict::accept(false, false, Reason::NotRequired),
    }
}

/// Whether two sides sign, and why; `None`: they cannot work together.
fn agree(own: Posture, peer: PeerFlags) -> Option<(bool, Reason)> {
    Some(match own {
        Posture::Required => (true, Reason::PolicyRequires),
        Posture::Enabled | Posture::Declined if peer.required => (true, Reason::PeerRequires),
        Posture::Enabled if peer.enabled => (true, Reason::BothAgree),
        Posture::Disabled if peer.required => return None,
        Posture::Enabled | Posture::Declined | Posture::Disabled => (false, Reason::NotRequired),
    })
}

fn server_negotiate(own: Posture, excepted: bool) -> Verdict {
    if excepted {
        // A client that cannot sign gives up where it reads that it must.
        return Verdict::announce(true, false, false, Reason::Exception);
    }
    let reason = if own.requires() {
        Reason::PolicyRequires
    } else {
        Reason::NotRequired
    };
    Verdict::announce(own.announces(), own.requires(), false, reason)
}

/// The first real logon that yields a key activates signing; what follows on the
/// connection is signed with that key, also later logons.
fn server_session(own: Posture, logon: &SessionMoment, exception: Option<&Exception>) -> Verdict {
    if let Some(exception) = exception
        && logon.established.is_none()
        && exception.is_for(logon.identity)
    {
        if logon.identity != Identity::User {
            return Verdict::accept(false, false, Reason::Exception);
        }
        // Required becomes Enabled: who can sign does.
        return match agree(Posture::Enabled, logon.peer) {
            Some((true, reason)) if logon.key => Verdict::accept(true, true, reason),
            Some((true, _)) if logon.peer.required => {
                Verdict::denied(false, Reason::NoKeyUnderRequired)
            }
            _ => Verdict::accept(false, false, Reason::Exception),
        };
    }
    if logon.identity != Identity::User {
        return match (own.requires(), logon.established) {
            (true, _) => Verdict::denied(logon.established.is_some(), Reason::GuestUnderRequired),
            (false, Some(_)) => Verdict::accept(true, true, Reason::PeerRequires),
            (false, None) => Verdict::accept(false, false, Reason::NoKeyForIdentity),
        };
    }
    if logon.established.is_some() {
        let reason = if own.requires() {
            Reason::PolicyRequires
        } else {
            Reason::PeerRequires
        };
        return Verdict::accept(true, true, reason);
    }
    match agree(own, logon.peer) {
        None => Verdict::denied(false, Reason::PeerRequiresWeCannot),
        Some((false, reason)) => Verdict::accept(false, false, reason),
        Some((true, reason)) if logon.key => Verdict::accept(true, true, reason),
        Some((true, _)) => Verdict::denied(false, Reason::NoKeyUnderRequired),
    }
}

/// A client that requires goes on though the server announces nothing: it may be
/// Declined, and a right signature of the final response is the proof.
fn client_negotiate(own: Posture, peer: PeerFlags) -> Verdict {
    match agree(own, peer) {
        None => Verdict::Disconnect {
            reason: Reason::ServerRequiresWeCannot,
        },
        Some((sign, reason)) => Verdict::announce(sign, own.requires(), sign, reason),
    }
}

/// Never falls back: when signing was agreed, the final response is rightly signed
/// or the connection ends.
fn client_session(own: Posture, logon: &SessionMoment) -> Verdict {
    if logon.identity != Identity::User && logon.established.is_none() {
        return if own.requires() {
            Verdict::Disconnect {
                reason: Reason::GuestUnderRequired,
            }
        } else {
            Verdict::accept(false, false, Reason::NoKeyForIdentity)
        };
    }
    if own.requires() && logon.identity != Identity::User {
        return Verdict::Disconnect {
            reason: Reason::GuestUnderRequired,
        };
    }
    let (sign, reason) = match agree(own, logon.peer) {
        None => {
            return Verdict::Disconnect {
                reason: Reason::ServerRequiresWeCannot,
            };
        }
        // An earlier logon of the connection was signed, so this one is.
        Some((false, _)) if logon.established.is_some() => (true, Reason::PeerRequires),
        Some(agreed) => agreed,
    };
    if !sign {
        return Verdict::accept(false, false, reason);
    }
    match logon.response {
        _ if !logon.key && logon.established.is_none() => Verdict::Disconnect {
            reason: Reason::NoKeyUnderRequired,
        },
        MessageState::Verified => Verdict::accept(true, true, reason),
        MessageState::BadSignature => Verdict::Disconnect {
            reason: Reason::BadSignature,
        },
        MessageState::Unsigned | MessageState::SignedNoKey | MessageState::Encrypted => {
            Verdict::Disconnect {
                reason: Reason::FinalResponseUnsigned,
            }
        }
    }
}

/// Once a key is active everything is verified whatever the flags say, and a
/// failure ends the connection: there is no resynchronisation of the numbers.
fn message_verdict(side: Side, message: &MessageFacts<'_>, excepted: bool) -> Verdict {
    let active = message.session.is_some_and(|session| session.key);
    if !active {
        return match message.state {
            MessageState::Verified | MessageState::BadSignature | MessageState::Encrypted => {
                Verdict::Disconnect {
                    reason: Reason::SignedWithoutKey,
                }
            }
            MessageState::Unsigned | MessageState::SignedNoKey => {
                let reason = match (message.class, message.session) {
                    (CommandClass::Negotiate | CommandClass::SessionSetup, _) | (_, None) => {
                        Reason::UnsignedByDesign
                    }
                    (_, Some(_)) if excepted => Reason::Exception,
                    (_, Some(session)) if session.identity != Identity::User => {
                        Reason::NoKeyForIdentity
                    }
                    (_, Some(_)) => Reason::NotRequired,
                };
                Verdict::accept(false, false, reason)
            }
        };
    }
    match message.state {
        MessageState::Verified => Verdict::accept(true, true, Reason::PolicyRequires),
        _ if side == Side::Client && message.class == CommandClass::Break => {
            Verdict::accept(false, true, Reason::UnsignedByDesign)
        }
        MessageState::Unsigned
        | MessageState::BadSignature
        | MessageState::SignedNoKey
        | MessageState::Encrypted => Verdict::Disconnect {
            reason: Reason::BadSignature,
        },
    }
}
