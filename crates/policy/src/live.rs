//! What a change of policy means for a session that exists.

use crate::facts::{Family, Identity, SessionFacts, Side, SignedSoFar};
use crate::layers::Effective;
use crate::reason::Reason;

/// What to do with a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiveChange {
    /// It satisfies the new policy as it is.
    Keep,
    /// It signed everything so far of its own will: keep it, and from now on
    /// insist (set `required`).
    Tighten,
    /// It does not satisfy the new policy.
    End {
        /// Why.
        reason: Reason,
    },
}

/// Compares a live session with a changed policy. What was agreed stays agreed: a
/// policy that is relaxed changes nothing for it. Whether a session that does not
/// satisfy is really ended is the administrator's choice (`on-tighten`).
pub fn live_change(
    old: &Effective,
    new: &Effective,
    side: Side,
    session: &SessionFacts,
) -> LiveChange {
    let requires = |policy: &Effective| match side {
        Side::Server => policy.server_requires(),
        Side::Client => policy.client_requires(),
    };
    if !requires(new) || requires(old) {
        return LiveChange::Keep;
    }
    if session.identity != Identity::User {
        return LiveChange::End {
            reason: Reason::PolicyTightenedGuest,
        };
    }
    if session.encryption_required || (session.key && session.required) {
        return LiveChange::Keep;
    }
    match (session.family, session.signed_so_far) {
        (Family::Smb2 | Family::Smb311, SignedSoFar::Always) if session.key => LiveChange::Tighten,
        _ => LiveChange::End {
            reason: Reason::PolicyTightened,
        },
    }
}
